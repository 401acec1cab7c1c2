"""Money that came or went, in the journal's days: counted from the exchange's first word on the wallet, and once."""

import sqlite3
from contextlib import closing
from pathlib import Path

from hedgegrid.journal.trips import read_transfers
from hedgegrid.messages.events import AccountChanged, AccountHydrated
from hedgegrid.model.account import Balance
from tests.journal.life import Life, opened


def test_what_came_before_the_first_word_is_in_what_the_account_began_with(tmp_path: Path) -> None:
    """A deposit that the stream tells before the start has read the wallet is in that wallet: it is not told again."""
    life = Life(1)
    journal = opened(tmp_path / "a.db", wallet_e8=None)
    journal.append(AccountChanged(**life.head(), wallet_e8=12, why="DEPOSIT", delta_e8=12))
    balance = Balance(wallet_e8=12, realised_e8=0, fees_e8=0, funding_e8=0)
    journal.append(AccountHydrated(**life.head(), balance=balance, foreign_orders=0))
    journal.append(AccountChanged(**life.head(), wallet_e8=19, why="DEPOSIT", delta_e8=7))
    journal.close("done")
    with closing(sqlite3.connect(journal.path)) as connection:
        assert [amount_e8 for _, amount_e8 in read_transfers(connection)] == [7]
