"""The proof: a good journal passes, and an error planted anywhere is found and named."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import attrs
import pytest

from hedgegrid.core.permission import LatchedEntry
from hedgegrid.errors import Fatal
from hedgegrid.journal import schema
from hedgegrid.journal.reader import walk_chain
from hedgegrid.journal.tape import GENESIS, link
from hedgegrid.journal.verify import VerifyReport, verify
from hedgegrid.messages.events import (
    AccountHydrated,
    EquitySampled,
    ExecutionBatch,
    FundingPaid,
    Liquidated,
    Message,
    WalletRead,
)
from hedgegrid.model.account import Balance, SessionMemory
from hedgegrid.model.order import Leg, Purpose
from tests.journal.life import BTC, START_NS, Life, opened

LATCHED: tuple[LatchedEntry, ...] = (("kill", "", START_NS, ()),)
SESSION = SessionMemory(peak_e8=5, day_base_e8=4, session_base_e8=3, last_e8=2, next_day_ns=START_NS)


def journal_of(path: Path, messages: Iterator[Message], *, mode: str = "sim") -> Path:
    """Write messages into a journal, over two boots."""
    whole = list(messages)
    for part in (whole[: len(whole) // 2], whole[len(whole) // 2 :]):
        journal = opened(path, mode=mode)
        for message in part:
            journal.append(message)
        journal.set_latched(LATCHED)
        journal.set_session(SESSION)
        journal.set_throttle(500_000)
        journal.close("done")
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A journal with something in every table."""
    return journal_of(tmp_path / "a.db", Life(21).run(120))


def failed(path: Path) -> list[str]:
    """Give the names of the checks that fail, which the report's lines and verdict must show."""
    report = verify(path)
    names = [check.name for check in report.checks if not check.ok]
    assert report.ok == (not names)
    assert report.text().count("FAILED") == (len(names) + 1 if names else 0)
    return names


def plant(path: Path, *statements: str) -> None:
    """Change the journal behind its back; each statement must change something."""
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            assert connection.execute(statement).rowcount >= 1
        connection.commit()


def test_a_good_journal_is_proved_in_every_respect(path: Path) -> None:
    """Every table has rows here, so that no check passes on nothing; the lines tell what was seen."""
    with closing(sqlite3.connect(path)) as connection:
        for table in schema.PROJECTED:
            (count,) = connection.execute(f"SELECT count(*) FROM {table.name}").fetchone()  # noqa: S608 - our own names
            assert count > 0, table.name
    report = verify(path)
    assert report.ok, report.text()
    assert "2 boots, 2 ended cleanly" in report.text()
    assert "noted: duplicate_fills" in report.text()
    assert report.text().endswith(f"OK: {len(report.checks)} checks")


@pytest.mark.parametrize("seed", range(6))
def test_lives_of_all_kinds_verify(tmp_path: Path, seed: int) -> None:
    """A proof that cries wolf would be ignored: flattened and liquidated accounts pass as well."""

    def messages() -> Iterator[Message]:
        life = Life(seed)
        yield from life.run(80)
        yield from life.flatten(10_000) if seed % 2 else life.liquidate(9_000)

    report = verify(journal_of(tmp_path / "a.db", messages()))
    assert report.ok, report.text()


PLANTED = [
    ("UPDATE orders SET state = 'filled' WHERE state = 'cancelled'", "the table orders"),
    ("UPDATE orders SET filled_lots = filled_lots + 1 WHERE no = 5", "the table orders"),
    ("DELETE FROM orders WHERE no = 5", "every approved order is kept"),
    ("UPDATE fills SET fee_e8 = fee_e8 + 1 WHERE n = 9", "the wallet"),
    ("UPDATE fills SET qty_lots = qty_lots + 1 WHERE n = 9", "fills add up to the positions (lots)"),
    ("DELETE FROM fills WHERE n = 9", "no fill is counted twice"),
    ("UPDATE fills SET realised_e8 = realised_e8 + 1 WHERE n = 9", "the table fills"),
    ("UPDATE lots SET qty_lots = qty_lots + 1 WHERE closed_ns IS NULL", "open lots add up to the positions (lots)"),
    ("UPDATE lots SET tp_ticks = tp_ticks + 1 WHERE closed_ns IS NULL", "the table lots"),
    ("UPDATE legs SET qty_lots = qty_lots + 1", "fills add up to the positions (lots)"),
    ("UPDATE legs SET cost_e8 = cost_e8 + 1", "the table legs"),
    ("UPDATE legs SET funding_e8 = funding_e8 + 1", "the wallet"),
    ("UPDATE funding SET long_e8 = long_e8 + 1 WHERE row = (SELECT min(row) FROM funding)", "the wallet"),
    ("DELETE FROM funding WHERE row = (SELECT min(row) FROM funding)", "the table funding"),
    ("UPDATE equity SET unrealised_e8 = 0 WHERE row = (SELECT max(row) FROM equity)", "the table equity"),
    ("UPDATE permission SET reason = 'kill'", "the table permission"),
    ("DELETE FROM incidents WHERE n = 1", "the table incidents"),
    ("UPDATE grid SET payload = '{}'", "the table grid"),
    ("UPDATE latches SET entries = '[]'", "the table latches"),
    ("UPDATE session SET peak_e8 = peak_e8 + 1", "the table session"),
    ("UPDATE throttle SET factor_ppm = 1000000", "the table throttle"),
    ("UPDATE counters SET value = 0", "the table counters"),
    ("UPDATE account SET wallet_e8 = wallet_e8 + 1", "the table account"),
    (
        "UPDATE account SET wallet_e8 = wallet_e8 + 1, given_e8 = given_e8 + 1",
        "every equity sample agrees with the fills before it",
    ),
    ("UPDATE boots SET rows_before = rows_before + 1 WHERE epoch = 1", "the boots"),
    ("UPDATE boots SET config_hash = ''", "the boots"),
    ("DELETE FROM boots WHERE epoch = 1", "the tape"),
    ("UPDATE instruments SET unit_e8 = unit_e8 + 1", "the table legs"),
    ("UPDATE tape SET ts_ns = ts_ns + 1 WHERE row = 8", "the chain of hashes"),
    ("UPDATE tape SET chain = x'00' WHERE row = 8", "the chain of hashes"),
    ("UPDATE tape SET kind = 'Wake' WHERE row = 8", "the chain of hashes"),
    ("UPDATE tape SET kind = 'Unheard' WHERE row = 8", "the tape"),
    ("DELETE FROM tape WHERE row = (SELECT max(row) FROM tape)", "the table latches"),
]


@pytest.mark.parametrize(("statement", "check"), PLANTED)
def test_a_planted_error_is_found(path: Path, statement: str, check: str) -> None:
    """Whoever changes a row of any table, in the file alone, is found out by the check that says so."""
    if "max(row) FROM tape" in statement:
        journal = opened(path)
        journal.set_latched(())
        journal.close("done")
    assert failed(path) == []
    plant(path, statement)
    assert check in failed(path)


def rechained(path: Path) -> None:
    """Give the tape a valid chain again, as a forger would."""
    with closing(sqlite3.connect(path)) as connection:
        chain = GENESIS
        for row, kind, payload in connection.execute("SELECT row, kind, payload FROM tape ORDER BY row").fetchall():
            chain = link(chain, kind, payload)
            connection.execute("UPDATE tape SET chain = ? WHERE row = ?", (chain, row))
        connection.commit()


def test_a_payload_that_became_a_text_breaks_the_chain(path: Path) -> None:
    """What a person edits in a shell may become a text; that is a changed journal, not a crash."""
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE tape SET payload = CAST(payload AS TEXT) WHERE row = 3")
    with closing(sqlite3.connect(path)) as db, pytest.raises(Fatal, match="chain of hashes breaks at row 3"):
        walk_chain(db)


def test_a_forged_tape_with_a_valid_chain_is_found(path: Path) -> None:
    """A changed message with all hashes made anew still contradicts the tables."""
    plant(
        path,
        "UPDATE tape SET payload = CAST(replace(CAST(payload AS TEXT), '\"fee_e8\":', '\"fee_e8\":1') AS BLOB)"
        " WHERE row = (SELECT row FROM fills WHERE n = 9)",
    )
    rechained(path)
    names = failed(path)
    assert "the chain of hashes" not in names
    assert {"the table fills", "the wallet", "every equity sample agrees with the fills before it"} <= set(names)


def proved(tmp_path: Path, *messages: Message) -> VerifyReport:
    """Write messages as they are, and have them proved."""
    return verify(journal_of(tmp_path / "a.db", iter(messages)))


def only(report: VerifyReport) -> list[str]:
    """Give the names of the checks that fail."""
    return [check.name for check in report.checks if not check.ok]


def test_a_sample_that_lies_is_found(tmp_path: Path) -> None:
    """The published equity is what the fills make, at its place in the tape."""
    life = Life(21)
    *before, last = life.run(60)
    assert isinstance(last, EquitySampled)
    report = proved(tmp_path, *before, attrs.evolve(last, fees_e8=last.fees_e8 - 1))
    assert only(report) == ["every equity sample agrees with the fills before it"]
    assert f"fees_e8 {last.fees_e8 - 1}, by the fills {last.fees_e8}" in report.text()


def test_a_sample_that_is_ahead_of_a_settlement_is_explained_by_it(tmp_path: Path) -> None:
    """A wallet that was read holds a charge that is booked a moment later; by any other amount it stays a lie."""
    life = Life(21)
    *before, last = life.run(60)
    assert isinstance(last, EquitySampled)
    ahead = attrs.evolve(last, wallet_e8=last.wallet_e8 - 7, equity_e8=last.equity_e8 - 7)
    paid: dict[str, Any] = {"instrument": BTC, "rate_e8": 1, "mark_ticks": 1, "short_e8": 0}
    fits, differs = (FundingPaid(**life.head(), **paid, long_e8=cost_e8) for cost_e8 in (7, 8))
    assert only(proved(tmp_path, *before, ahead, fits)) == []
    report = verify(journal_of(tmp_path / "b.db", iter((*before, ahead, differs))))
    assert only(report) == ["every equity sample agrees with the fills before it"]


def later_life(life: Life, before: list[Message], *, beyond_e8: int, sampled_e8: int) -> list[Message]:
    """What a life writes that begins with a wallet beyond the books, and ends before that is explained."""
    last = before[-1]
    assert isinstance(last, EquitySampled)
    sums = {"realised_e8": last.realised_e8, "fees_e8": last.fees_e8, "funding_e8": last.funding_e8}
    wallet = Balance(wallet_e8=last.wallet_e8 + beyond_e8, **sums)
    told = AccountHydrated(**life.head(), balance=wallet, foreign_orders=0)
    grown = {"wallet_e8": last.wallet_e8 + sampled_e8, "equity_e8": last.equity_e8 + sampled_e8}
    return [told, attrs.evolve(last, **grown)]


@pytest.mark.parametrize("mode", ["testnet", "sim"])
def test_a_wallet_beyond_the_books_that_nothing_explains_is_found(tmp_path: Path, mode: str) -> None:
    """A start goes on with the wallet of the books: samples that hold more have money without a row."""
    life = Life(21)
    before = list(life.run(60))
    messages = [*before, *later_life(life, before, beyond_e8=-7, sampled_e8=-7)]
    report = verify(journal_of(tmp_path / "a.db", iter(messages), mode=mode))
    assert only(report) == ["every equity sample agrees with the fills before it"]


def test_what_was_explained_may_not_be_beyond_the_books_again(tmp_path: Path) -> None:
    """Once the difference is booked, a sample that still has it counts it twice."""
    life = Life(21)
    before = list(life.run(60))
    told, ahead = later_life(life, before, beyond_e8=-7, sampled_e8=-7)
    assert isinstance(ahead, EquitySampled)
    booked = WalletRead(**life.head(), wallet_e8=ahead.wallet_e8, unexplained_e8=-7)
    twice = attrs.evolve(ahead, wallet_e8=ahead.wallet_e8 - 7, equity_e8=ahead.equity_e8 - 7)
    good = verify(journal_of(tmp_path / "a.db", iter([*before, told, ahead, booked, ahead]), mode="testnet"))
    assert only(good) == []
    bad = verify(journal_of(tmp_path / "b.db", iter([*before, told, ahead, booked, ahead, twice]), mode="testnet"))
    assert only(bad) == ["every equity sample agrees with the fills before it"]


def test_a_fill_that_nobody_approved_is_found(tmp_path: Path) -> None:
    """Law 1: what filled had passed the gate; its approval must come first."""
    messages = list(Life(21).run(60))
    place = next(
        n for n, one in enumerate(messages) if isinstance(one, ExecutionBatch) and any(e.fill for e in one.events)
    )
    approval = max(n for n in range(place) if type(messages[n]).__name__ == "ApprovedBatch")
    messages[approval], messages[place] = messages[place], messages[approval]
    assert "every fill belongs to an order approved before it, or to a liquidation" in only(proved(tmp_path, *messages))


@pytest.mark.parametrize("kind", [Liquidated, ExecutionBatch])
def test_a_liquidation_needs_its_fills_and_its_reason(tmp_path: Path, kind: type[Message]) -> None:
    """Forced fills without the exchange's word, or the word without fills, are no explanation."""
    life = Life(21)
    messages = list(life.run(60))
    end = [one for one in life.liquidate(9_000) if not isinstance(one, kind)]
    assert "every liquidation is explained" in only(proved(tmp_path, *messages, *end))


def test_a_liquidation_above_maintenance_is_found(tmp_path: Path) -> None:
    """An exchange that liquidates a healthy account is worth a look."""
    life = Life(21)
    messages = [*life.run(60), *life.liquidate(9_000)]
    messages = [attrs.evolve(one, equity_e8=7) if isinstance(one, Liquidated) else one for one in messages]
    assert only(proved(tmp_path, *messages)) == ["every liquidation is explained"]


def test_a_profit_that_is_not_the_ledgers_is_found(tmp_path: Path) -> None:
    """A simulated exchange realises by average cost, exactly; a real one rounds its own way, and is believed."""

    def life_with_another_profit() -> Iterator[Message]:
        life = Life(21)
        changed = False
        for message in life.run(60):
            if isinstance(message, ExecutionBatch) and not changed:
                events = [one for one in message.events if one.fill is not None and one.fill.realised_e8]
                if len(events) == 1 and events[0].fill is not None:
                    changed = True
                    life.wallet_e8 += 1
                    life.realised_e8 += 1
                    fill = attrs.evolve(events[0].fill, realised_e8=events[0].fill.realised_e8 + 1)
                    told = [attrs.evolve(one, fill=fill) if one is events[0] else one for one in message.events]
                    yield attrs.evolve(message, events=tuple(told))
                    continue
            yield message

    report = verify(journal_of(tmp_path / "a.db", life_with_another_profit()))
    assert only(report) == ["realised profit is that of the average cost"]


def test_a_word_that_came_late_changes_no_profit(tmp_path: Path) -> None:
    """An entry told after the exit that it preceded: each realised what the average cost was at its trade."""

    def entry_last(batch: ExecutionBatch) -> ExecutionBatch:
        late = [one for one in batch.events if one.fill is not None and one.fill.purpose is Purpose.ENTRY]
        late = [one for one in late if one.fill is not None and one.fill.leg is Leg.SHORT]
        return attrs.evolve(batch, events=(*(one for one in batch.events if one not in late), *late))

    def both(batch: ExecutionBatch) -> bool:
        """Whether a batch increases the SHORT leg and then reduces it."""
        short = [one.fill.purpose for one in batch.events if one.fill is not None and one.fill.leg is Leg.SHORT]
        return short == [Purpose.ENTRY, Purpose.TAKE_PROFIT] and batch.instrument == BTC

    messages = list(Life(21).run(60))
    assert any(isinstance(one, ExecutionBatch) and both(one) for one in messages)
    told = [entry_last(one) if isinstance(one, ExecutionBatch) and both(one) else one for one in messages]
    path = journal_of(tmp_path / "a.db", iter(told))
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT value FROM counters WHERE name = 'realised_differs'").fetchone(), "told out of order"
    assert only(verify(path)) == []
