"""What hydration reads back is what the journal holds, however little of it is worked out anew."""

from pathlib import Path

from hedgegrid.journal.memory import JournalMemory
from hedgegrid.model.account import Balance
from tests.journal.life import BTC, ETH, Life, opened


def test_the_books_are_never_older_than_the_tape(tmp_path: Path) -> None:
    """After every message of a life the books are those that somebody would read who has never asked before."""
    journal = opened(tmp_path / "a.db")
    kept = JournalMemory(journal, (BTC, ETH), order_no_stride=2)
    life = Life(21)
    seen = 0
    for message in (*life.run(60), *life.refusals(), *life.liquidate(9_000)):
        journal.append(message)
        fresh = JournalMemory(journal, (BTC, ETH), order_no_stride=2).books()
        assert kept.books() == fresh, type(message).__name__
        seen += len(fresh.positions)
    assert seen
    assert kept.books().balance == Balance(
        wallet_e8=life.wallet_e8, realised_e8=life.realised_e8, fees_e8=life.fees_e8, funding_e8=life.funding_e8
    )
    journal.close("done")
