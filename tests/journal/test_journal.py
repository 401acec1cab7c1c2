"""Appending, committing, and what is read back: in the run and at the next start."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest

from hedgegrid.core.permission import LatchedEntry
from hedgegrid.errors import Fatal
from hedgegrid.journal import journal as journal_module
from hedgegrid.journal import orders, positions
from hedgegrid.journal.journal import ERRAND_DONE, SqliteJournal
from hedgegrid.journal.verify import verify
from hedgegrid.messages.events import (
    AccountHydrated,
    EquitySampled,
    ExecutionBatch,
    MarkPrice,
    Message,
    OrderEvent,
    OrderEventKind,
    Quote,
)
from hedgegrid.model.account import Balance, SessionMemory
from tests.journal.life import BTC, ETH, INSTRUMENTS, START_NS, WALLET_E8, Life, opened, write

LATCHED: tuple[LatchedEntry, ...] = (("drawdown", "", START_NS, (("limit_ppm", 100_000),)),)

SESSION = SessionMemory(peak_e8=9, day_base_e8=8, session_base_e8=7, last_e8=6, next_day_ns=5)


def reads(journal: SqliteJournal) -> dict[str, Any]:
    """Give all that is read back from a journal, but for the number of boots."""
    return {
        "live_orders": journal.live_orders(),
        "lots": [journal.open_lots(name) for name in (BTC, ETH)],
        "unbooked": [journal.unbooked_entries(name) for name in (BTC, ETH)],
        "grids": [journal.grid(name) for name in (BTC, ETH)],
        "legs": journal.legs(),
        "cursors": (journal.fill_cursors(), journal.funding_cursor(), journal.last_ts_ns()),
        "latched": journal.latched(),
        "session": journal.session(),
        "sequence": journal.max_order_sequence(),
        "lot_counters": [journal.lot_counter(name) for name in (BTC, ETH)],
        "totals": journal.totals(),
        "counts": {name: count for name, count in journal.counts().items() if name != "boots"},
        "hash": journal.hash(),
    }


@pytest.mark.asyncio
async def test_a_restart_knows_what_the_run_knew(tmp_path: Path) -> None:
    """Hydration starts from the journal: what it gives must be the state that the last run ended in."""
    journal = opened(tmp_path / "a.db")
    life = Life(11)
    await write(journal, life.run(150))
    journal.set_latched(LATCHED)
    journal.set_session(SESSION)
    await journal.commit()
    before = reads(journal)
    assert before["live_orders"]
    assert before["lots"] != [(), ()]
    assert before["latched"] == LATCHED
    journal.close("done")
    again = opened(tmp_path / "a.db")
    assert reads(again) == before
    again.close("done")


@pytest.mark.asyncio
async def test_what_is_read_agrees_with_the_account_that_lived(tmp_path: Path) -> None:
    """The journal's money, positions, lots and orders are those of the account, to the last unit."""
    journal = opened(tmp_path / "a.db")
    life = Life(5)
    await write(journal, life.run(200))
    totals = journal.totals()
    assert totals.wallet_e8 == life.wallet_e8
    sums = (totals.realised_e8, totals.fees_e8, totals.funding_e8)
    assert sums == (life.realised_e8, life.fees_e8, life.funding_e8)
    held = {(leg.position.instrument, leg.position.leg): leg.position.qty_lots for leg in journal.legs()}
    assert held == {key: account.qty_lots for key, account in life.accounts.items()}
    lots = {
        (lot.instrument, lot.leg, lot.lot_id): lot.qty_lots for name in (BTC, ETH) for lot in journal.open_lots(name)
    }
    assert lots == {(*leg, lot_id): qty for leg, open_lots in life.lots.items() for lot_id, qty in open_lots.items()}
    left = {order.record.client_id: order.record.remaining_lots for order in journal.live_orders()}
    assert left == {client_id: rung.left_lots for client_id, rung in life.working.items()}
    assert max(journal.fill_cursors().values()) == life.trade_id
    assert journal.max_order_sequence() == life.sequence
    journal.close("done")


async def hash_of(path: Path, *, threaded: bool, every: int) -> str:
    """Write a life and give the hash it ends in."""
    journal = opened(path, threaded=threaded, boot_wall_ns=START_NS + every)
    await write(journal, Life(2).run(120), every)
    journal.close("done")
    return journal.hash()


@pytest.mark.asyncio
async def test_thread_and_inline_write_the_same_journal(tmp_path: Path) -> None:
    """The hash tells of the messages alone: not of threads, commits or wall time."""
    runs = [(False, 1), (False, 50), (True, 1), (True, 7)]
    hashes = {await hash_of(tmp_path / f"{n}.db", threaded=one[0], every=one[1]) for n, one in enumerate(runs)}
    assert len(hashes) == 1
    reports = [verify(tmp_path / f"{n}.db") for n in range(len(runs))]
    assert all(report.ok for report in reports), reports[0].text()
    assert len({report.checks[3:] for report in reports}) == 1


@pytest.mark.asyncio
async def test_memory_is_bounded_and_nothing_is_lost_by_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What left memory is found on disk: late events and repeated fills have the same effect as with all in memory."""
    messages = list(Life(8).run(150))
    # Everything comes a second time, long after.
    late = [one for one in messages if type(one).__name__ in {"ExecutionBatch", "FundingPaid", "LotOpened"}]
    known = opened(tmp_path / "known.db")
    await write(known, iter([*messages, *late]))
    monkeypatch.setattr(orders, "ENDED_KEPT", 2)
    monkeypatch.setattr(positions, "KEYS_KEPT", 2)
    small = opened(tmp_path / "small.db")
    await write(small, iter([*messages, *late]))
    assert len(small._state.orders._ended) <= 2
    assert len(small._state.positions._keys) <= 2
    assert reads(small) == reads(known)
    assert small.counts()["duplicate_fills"] >= small.counts()["fills"]
    for journal in (known, small):
        journal.close("done")
        report = verify(journal.path)
        assert report.ok, report.text()


@pytest.mark.asyncio
async def test_what_is_not_on_disk_stays_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is slow must not make a repeated fill count twice: nothing is forgotten before it is durable."""
    monkeypatch.setattr(orders, "ENDED_KEPT", 0)
    monkeypatch.setattr(positions, "KEYS_KEPT", 0)
    journal = opened(tmp_path / "a.db")
    messages = list(Life(8).run(60))
    for message in messages:
        journal.append(message)
        journal._state.trim(committed_row=0)
    before = {**reads(journal), "counts": None, "hash": None}
    for message in messages:
        if isinstance(message, ExecutionBatch):
            journal.append(message)
            journal._state.trim(committed_row=0)
    assert {**reads(journal), "counts": None, "hash": None} == before
    journal.close("done")
    assert verify(journal.path).ok


@pytest.mark.asyncio
async def test_rows_go_to_disk_without_a_commit_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits is bounded, also where nobody commits for long."""
    monkeypatch.setattr(journal_module, "PENDING_MAX", 10)
    for threaded in (False, True):
        journal = opened(tmp_path / f"{threaded}.db", threaded=threaded)
        for message in Life(1).run(30):
            journal.append(message)
            assert len(journal._tape) < 10
        journal.close("done")
        assert verify(journal.path).ok


@pytest.mark.asyncio
async def test_a_disk_that_does_not_keep_up_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A backlog without bound would hide for hours that nothing is durable."""
    monkeypatch.setattr(journal_module, "BACKLOG_MAX", 20)
    monkeypatch.setattr(journal_module, "PENDING_MAX", 10)
    journal = opened(tmp_path / "a.db", threaded=True)
    monkeypatch.setattr(journal._writer, "_write", lambda _batches: None)
    with pytest.raises(Fatal, match="rows behind"):
        await write(journal, Life(1).run(30))
    journal.close("failed", clean=False)


@pytest.mark.asyncio
async def test_many_may_wait_for_one_commit(tmp_path: Path) -> None:
    """Actors commit at the same time: all of them return, after their rows are durable, a cancelled one aside."""
    journal = opened(tmp_path / "a.db", threaded=True)

    async def actor(message: Message) -> int:
        journal.append(message)
        row = journal.counts()["rows"]
        await journal.commit()
        assert journal._writer.committed_row >= row
        return row

    tasks = [asyncio.create_task(actor(message)) for message in Life(1).run(10)]
    await asyncio.sleep(0)
    tasks[3].cancel()
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(done[3], asyncio.CancelledError)
    assert [row for row in done if isinstance(row, int)] == [n + 1 for n in range(len(tasks)) if n != 3]
    journal.close("done")
    assert verify(journal.path).ok


@pytest.mark.asyncio
async def test_nothing_is_written_after_the_close(tmp_path: Path) -> None:
    """A late message must fail loudly, and a second close must not."""
    journal = opened(tmp_path / "a.db")
    await write(journal, Life(1).run(2))
    journal.close("done")
    journal.close("again")
    with pytest.raises(Fatal, match="is closed"):
        journal.append(next(Life(1).run(1)))
    with pytest.raises(Fatal, match="is closed"):
        await journal.commit()


def test_epochs_never_repeat(tmp_path: Path) -> None:
    """Client ids carry the epoch: sim counts from 1, so that runs repeat, the others use the time; none goes back."""

    def epochs(name: str, mode: str, walls_s: list[int]) -> list[int]:
        found = []
        for wall_s in walls_s:
            journal = opened(tmp_path / name, mode=mode, boot_wall_ns=wall_s * 10**9)
            found.append(journal.epoch)
            journal.close("done")
        return found

    assert epochs("sim.db", "sim", [1_700_000_000, 1_600_000_000]) == [1, 2]
    assert epochs("live.db", "live", [1_700_000_000, 1_600_000_000, 1_700_000_009]) == [
        1_700_000_000,
        1_700_000_001,
        1_700_000_009,
    ]


def test_boots_that_crashed_are_counted(tmp_path: Path) -> None:
    """A process that keeps crash-booting starts paused: the journal knows how often in a row."""
    ends: list[Callable[[SqliteJournal], None]] = [
        lambda journal: journal.close("stopped"),
        lambda journal: journal.close("error", clean=False),
        lambda journal: journal.close(f"{ERRAND_DONE}entries cancelled"),
        lambda journal: journal.close("error", clean=False),
    ]
    seen = []
    for end in ends:
        journal = opened(tmp_path / "a.db")
        seen.append(journal.crash_boots())
        end(journal)
    journal = opened(tmp_path / "a.db")
    assert [*seen, journal.crash_boots()] == [0, 0, 1, 1, 2]
    assert [boot.clean_end for boot in journal.past_boots] == [True, False, True, False]
    journal.close("done")


@pytest.mark.asyncio
async def test_a_wallet_that_nobody_gave_is_learned_from_the_exchange(tmp_path: Path) -> None:
    """On a real exchange the account has a past: its first balance is what the journal counts from."""
    journal = opened(tmp_path / "a.db", wallet_e8=None)
    assert journal.totals().wallet_e8 is None
    life = Life(4)
    balance = Balance(wallet_e8=WALLET_E8, realised_e8=500, fees_e8=30, funding_e8=7)
    hydrated = AccountHydrated(**life.head(), balance=balance, foreign_orders=0)
    await write(journal, iter([hydrated]))
    life.realised_e8, life.fees_e8, life.funding_e8 = 500, 30, 7
    await write(journal, life.run(80))
    await write(journal, iter([AccountHydrated(**life.head(), balance=balance, foreign_orders=0)]))
    totals = journal.totals()
    assert (totals.wallet_e8, totals.realised_e8) == (life.wallet_e8, life.realised_e8)
    journal.close("done")
    report = verify(tmp_path / "a.db")
    assert report.ok, report.text()
    again = opened(tmp_path / "a.db", wallet_e8=None)
    assert again.totals() == totals
    again.close("done")


@pytest.mark.asyncio
async def test_quotes_are_kept_apart_and_bounded(tmp_path: Path) -> None:
    """The market tape is optional, rotated, and no part of the hash."""
    life = Life(1)
    quotes = [Quote(**life.head(), instrument=BTC, bid_ticks=n, ask_ticks=n + 1) for n in range(250)]
    mark = MarkPrice(
        **life.head(), instrument=BTC, mark_ticks=5, rate_e8=None, next_funding_ns=None, funding_interval_ns=1
    )
    plain = opened(tmp_path / "plain.db")
    await write(plain, iter([*quotes, mark]))
    kept = opened(tmp_path / "kept.db", quotes_kept=100)
    await write(kept, iter([*quotes, mark]), every=20)
    for journal in (plain, kept):
        assert journal.counts()["rows"] == 0
    assert plain.hash() == kept.hash()
    numbers = [n for (n,) in kept._archive.execute("SELECT n FROM quotes ORDER BY n")]
    assert 100 <= len(numbers) <= 110
    assert numbers[-1] == 251
    assert plain._archive.execute("SELECT count(*) FROM quotes").fetchone() == (0,)
    kept.close("done")
    plain.close("done")
    again = opened(tmp_path / "kept.db", quotes_kept=100)
    again.append(quotes[0])
    await again.commit()
    assert again._archive.execute("SELECT max(n) FROM quotes").fetchone() == (252,)
    again.close("done")


@pytest.mark.asyncio
async def test_session_memory_survives_with_the_newest_equity(tmp_path: Path) -> None:
    """Peak and bases are those that were set, the equity seen last is the newest sample's, over restarts too."""
    journal, life = opened(tmp_path / "a.db"), Life(4)
    assert journal.session() is None
    journal.set_session(SESSION)
    assert journal.session() == SESSION
    rows = journal.counts()["rows"]
    journal.set_session(SESSION)
    assert journal.counts()["rows"] == rows, "what has not changed is not written again"
    sample = EquitySampled(
        **life.head(), wallet_e8=3, unrealised_e8=0, equity_e8=3, realised_e8=0, fees_e8=0, funding_e8=0
    )
    journal.append(sample)
    assert journal.session() == attrs.evolve(SESSION, last_e8=3)
    journal.close("done")
    again = opened(tmp_path / "a.db")
    assert again.session() == attrs.evolve(SESSION, last_e8=3)
    again.close("done")


@pytest.mark.asyncio
async def test_latched_reasons_are_written_when_they_change(tmp_path: Path) -> None:
    """A kill survives a restart; setting it again costs nothing, and lifting it is remembered too."""
    journal = opened(tmp_path / "a.db")
    for entries in (LATCHED, LATCHED, (), LATCHED):
        journal.set_latched(entries)
    await journal.commit()
    assert journal.counts()["rows"] == 3
    journal.close("done")
    again = opened(tmp_path / "a.db")
    assert again.latched() == LATCHED
    again.set_latched(())
    again.close("done")
    assert opened_latched(tmp_path / "a.db") == ()


def opened_latched(path: Path) -> tuple[LatchedEntry, ...]:
    """Give the latched reasons that a start finds."""
    journal = opened(path)
    journal.close("done")
    return journal.latched()


@pytest.mark.asyncio
async def test_an_instrument_that_left_the_config_is_still_known(tmp_path: Path) -> None:
    """Its orders may still fill after it was taken out: the rules that they were counted in stay."""
    journal = opened(tmp_path / "a.db")
    life = Life(9)
    await write(journal, life.run(60))
    journal.close("done")
    again = opened(tmp_path / "a.db", instruments=INSTRUMENTS[:1])
    life.epoch = again.epoch
    await write(again, life.flatten(10_000))
    assert all(leg.position.qty_lots == 0 for leg in again.legs())
    assert {leg.position.instrument for leg in again.legs()} == {BTC, ETH}
    again.close("done")
    assert verify(tmp_path / "a.db").ok


@pytest.mark.asyncio
async def test_a_message_that_contradicts_itself_stops_the_journal(tmp_path: Path) -> None:
    """A half applied message would leave memory and disk apart: nothing is written after it."""
    journal = opened(tmp_path / "a.db")
    life = Life(1)
    messages = list(life.run(3))
    await write(journal, iter(messages))
    empty = OrderEvent(kind=OrderEventKind.FILLED, client_id="demo.1LE1.1")
    batch = ExecutionBatch(**life.head(), instrument=BTC, mark_ticks=1, events=(empty,))
    with pytest.raises(AssertionError, match="a fill has its figures"):
        journal.append(batch)
    with pytest.raises(Fatal, match="an append did not finish"):
        journal.append(messages[0])
    with pytest.raises(Fatal, match="an append did not finish"):
        await journal.commit()
    journal.close("failed", clean=False)
    assert verify(tmp_path / "a.db").ok
