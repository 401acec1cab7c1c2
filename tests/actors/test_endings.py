"""How a run ends and what the next one makes of it: policies, giving up, crashed boots, a failing disk, liquidation.

Invariants: what the exchange holds after an end is read from the exchange; each further boot is a new house on the same
files.
"""

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from hedgegrid.app import House
from hedgegrid.errors import Fatal, Transient
from hedgegrid.leaving import cancel_entries
from hedgegrid.messages.events import (
    AccountHydrated,
    ApprovedBatch,
    BarClosed,
    Incident,
    LotOpened,
    MarketSeen,
    PermissionChanged,
)
from hedgegrid.model.order import Purpose
from hedgegrid.units import NS_PER_MINUTE, NS_PER_S
from hedgegrid.venues.simulated.venue import SimulatedTrading
from tests.actors.house import (
    BTC,
    FIRST_BAR,
    Boot,
    CrashError,
    Script,
    assert_agrees,
    assert_exits_complete,
    assert_one_order_a_rung,
    boot,
    changes,
    entries_at,
    entries_placed,
    last_mode,
    market,
    messages,
    query,
    settings,
    simulation,
)


def held(one: Boot) -> int:
    """The lots that both legs hold at the exchange."""
    return sum(account.qty_lots for book in one.exchange.books for account in book.accounts)


def minutes(bars: int) -> int:
    """A duration of so many bars, in seconds."""
    return bars * 60


def from_bar(number: int, kind: type, fail: Callable[[], Exception]) -> Script:
    """Fail the actor that handles a kind of message, at every one from a bar on."""

    def hook(house: House, _actor: Any, message: Any) -> None:
        if type(message) is kind and house.clock.now_ns() >= (FIRST_BAR + number) * NS_PER_MINUTE:
            raise fail()

    return Script(before_handle=hook)


# --- policies ---------------------------------------------------------------------------------------------------------


@pytest.mark.asyncio
@pytest.mark.parametrize("latency_ms", [0, 16_000])
async def test_stop_cancels_the_entries_and_keeps_the_exits(latency_ms: int, tmp_path: Path) -> None:
    """The default stop leaves nothing at the exchange that could add risk, and every lot under its exits."""
    config = settings(tmp_path, sim={"latency_ms": latency_ms})
    one = await boot(config, market(seed=2, count=100), duration_s=minutes(75))
    assert held(one) > 0
    assert entries_at(one.exchange) == []
    assert_agrees(one)
    assert_exits_complete(one)


@pytest.mark.asyncio
async def test_stop_that_keeps_leaves_everything(tmp_path: Path) -> None:
    """With on_stop = keep the ladder rests on, and the next start goes on with the same orders."""
    config, tape = settings(tmp_path, account={"on_stop": "keep"}), market(seed=2, count=100)
    one = await boot(config, tape, duration_s=minutes(75))
    kept = entries_at(one.exchange)
    assert kept
    assert_agrees(one)
    two = await boot(config, tape, duration_s=1)
    assert two.told[0] == "going on with the kept simulated exchange"
    assert set(entries_at(two.exchange)) == set(kept)
    assert entries_placed(two) == []
    assert_agrees(two)


@pytest.mark.asyncio
async def test_stop_that_flattens_leaves_nothing(tmp_path: Path) -> None:
    """With on_stop = flatten both legs are zero and both lists empty at the exchange."""
    config = settings(tmp_path, account={"on_stop": "flatten"})
    one = await boot(config, market(seed=2, count=100), duration_s=minutes(75))
    assert held(one) == 0
    assert entries_at(one.exchange) == []
    assert [o for book in one.exchange.books for o in book.open_orders(conditional=False)] == []
    flattened = query(one.path, f"SELECT count(*) FROM fills WHERE purpose = {int(Purpose.FLATTEN)}")  # noqa: S608
    assert flattened[0][0] > 0
    assert_agrees(one)


@pytest.mark.asyncio
async def test_start_that_halts_adds_nothing(tmp_path: Path) -> None:
    """With on_start = halt a boot places no entry and keeps the exits working."""
    tape = market(seed=2, count=140)
    await boot(settings(tmp_path), tape, duration_s=minutes(75))
    two = await boot(settings(tmp_path, account={"on_start": "halt"}), tape)
    assert entries_placed(two) == []
    assert ("halted", "", "") in changes(two.path)
    assert last_mode(two) == "halted"
    assert_agrees(two)
    assert_exits_complete(two)


@pytest.mark.asyncio
async def test_start_that_flattens_closes_what_was_held(tmp_path: Path) -> None:
    """With on_start = flatten a boot closes both legs and opens nothing."""
    tape = market(seed=2, count=140)
    one = await boot(settings(tmp_path), tape, duration_s=minutes(75))
    assert held(one) > 0
    two = await boot(settings(tmp_path, account={"on_start": "flatten"}), tape)
    assert held(two) == 0
    assert entries_placed(two) == []
    assert ("flatten_done", "", "") in changes(two.path)
    assert_agrees(two)


@pytest.mark.asyncio
async def test_restarts_of_the_bot_go_on_where_they_were(tmp_path: Path) -> None:
    """Cut into boots, a run keeps its account: no order twice, each boot hydrates first, and the exchange agrees."""
    config, tape = settings(tmp_path, account={"on_stop": "keep"}), market(seed=2, count=150)
    boots = [await boot(config, tape, duration_s=s) for s in (minutes(31), 1, minutes(44) + 15, minutes(20) + 46)]
    boots.append(await boot(config, tape))
    for one in boots:
        assert one.outcome.exit_code == 0
    assert_agrees(boots[-1])
    assert_exits_complete(boots[-1])
    assert_one_order_a_rung(*boots)
    assert_hydrated_first(boots[-1].path)
    assert query(boots[-1].path, "SELECT count(*), sum(clean_end) FROM boots") == [(5, 5)]
    lots = messages(boots[-1].path, LotOpened)
    assert len({lot.lot_id for lot in lots}) == len(lots) > 20


def assert_hydrated_first(path: Path) -> None:
    """By the order of the journal's rows no boot approved an order before the whole account was read."""
    starts = [rows for (rows,) in query(path, "SELECT rows_before FROM boots ORDER BY epoch")]
    rows = messages(path)
    for first, end in zip(starts, [*starts[1:], len(rows)], strict=True):
        kinds = [type(row) for row in rows[first:end]]
        if ApprovedBatch in kinds:
            assert AccountHydrated in kinds[: kinds.index(ApprovedBatch)]


# --- giving up --------------------------------------------------------------------------------------------------------


@pytest.mark.asyncio
@pytest.mark.parametrize("latency_ms", [0, 16_000])
async def test_giving_up_latches_and_takes_the_entries_away(latency_ms: int, tmp_path: Path) -> None:
    """More restarts than allowed: entries cancelled at the exchange, exit 1, and only --resume makes it trade again."""
    config = settings(tmp_path, sim={"latency_ms": latency_ms}, account={"on_stop": "keep"})
    tape = market(seed=2, count=140)
    one = await boot(config, tape, from_bar(75, MarketSeen, CrashError))
    assert one.outcome.exit_code == 1
    assert one.outcome.failure.startswith("the actors gave up: root: more than 3 restarts")
    assert query(one.path, "SELECT clean_end FROM boots") == [(0,)]
    assert [reason for reason, *_ in one.house.journal.latched()] == ["supervisor"]
    left = entries_at(one.exchange)
    two = await boot(config, tape, duration_s=minutes(10))
    assert two.outcome.exit_code == 0
    assert entries_placed(two) == []
    assert ("still_latched", "supervisor", "") in changes(two.path)
    assert ("supervisor", "") in two.outcome.view.reasons
    assert last_mode(two) == "reducing"
    assert entries_at(two.exchange) == []
    three = await boot(config, tape, resume=True)
    assert entries_placed(three)
    assert last_mode(three) == "active"
    assert three.house.journal.latched() == ()
    assert_agrees(three)
    assert_exits_complete(three)
    assert_one_order_a_rung(one, two, three)
    assert left == [], "entries rest at the exchange while nobody is there"


@pytest.mark.asyncio
async def test_entries_go_though_the_exchange_does_not_say_what_rests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A limit of reads that is used up keeps nobody from cancelling: the entries that the books know are taken away."""

    async def unheard(_: SimulatedTrading) -> None:
        raise Transient("no weight is left for reads")

    asked: list[str] = []

    async def heard(_trading: SimulatedTrading, _instrument: str, client_ids: Sequence[str]) -> None:
        asked.extend(client_ids)

    one = await boot(settings(tmp_path, account={"on_stop": "keep"}), market(seed=2, count=90))
    monkeypatch.setattr(SimulatedTrading, "open_orders", unheard)
    monkeypatch.setattr(SimulatedTrading, "cancel", heard)
    await cancel_entries(one.house)
    assert sorted(asked) == sorted(entries_at(one.exchange)) != []


@pytest.mark.asyncio
async def test_crashed_boots_in_a_row_start_paused(tmp_path: Path) -> None:
    """One crashed boot more than allowed: the next start places nothing and says why; the operator lifts it."""
    config, tape = settings(tmp_path, supervisor={"crash_boots_max": 2}), market(seed=2, count=140)
    for number in (20, 30, 40):
        one = await boot(config, tape, from_bar(number, BarClosed, lambda: Fatal("the machine is on fire")))
        assert (one.outcome.exit_code, one.outcome.failure) == (1, "the machine is on fire")
        assert entries_placed(one)
    paused = await boot(config, tape, duration_s=minutes(20))
    assert entries_placed(paused) == []
    raised = [c for c in messages(paused.path, PermissionChanged) if c.reason == "supervisor"]
    figures = {"crashed_boots": "3", "lifted_by": "run --resume"}
    assert [(c.change, dict(c.figures)) for c in raised] == [("raised", figures)]
    again = await boot(config, tape, duration_s=minutes(10))
    assert entries_placed(again) == []
    resumed = await boot(config, tape, resume=True)
    assert entries_placed(resumed)
    assert_agrees(resumed)
    assert_exits_complete(resumed)


@pytest.mark.asyncio
async def test_boot_that_ends_well_forgets_the_crashes(tmp_path: Path) -> None:
    """Crashes count in a row only: two, a clean end, two more, and trading still starts."""
    config, tape = settings(tmp_path, supervisor={"crash_boots_max": 2}), market(seed=2, count=140)
    for number in (20, 30):
        await boot(config, tape, from_bar(number, BarClosed, lambda: Fatal("gone")))
    assert (await boot(config, tape, duration_s=minutes(5))).outcome.exit_code == 0
    for number in (45, 55):
        await boot(config, tape, from_bar(number, BarClosed, lambda: Fatal("gone")))
    last = await boot(config, tape)
    assert entries_placed(last)
    assert_agrees(last)


@pytest.mark.asyncio
async def test_journal_that_knows_a_later_moment_than_the_exchange(tmp_path: Path) -> None:
    """Killed at a point at which the journal wrote and the exchange had nothing to keep: the next start goes on."""

    def hook(house: House, _actor: Any, message: Any) -> None:
        if isinstance(message, MarketSeen) and house.clock.now_ns() == (FIRST_BAR + 30) * NS_PER_MINUTE + 30 * NS_PER_S:
            house.post.publish(Incident(**house.post.head(), actor="feed", text="the last word", figures={}))
            raise Fatal("gone")

    config, tape = settings(tmp_path, account={"on_stop": "keep"}, sim={"latency_ms": 100}), market(seed=2, count=90)
    one = await boot(config, tape, Script(before_handle=hook))
    assert one.outcome.exit_code == 1
    two = await boot(config, tape)
    assert two.outcome.exit_code == 0
    assert_agrees(two)
    assert_exits_complete(two)
    assert_one_order_a_rung(one, two)


# --- the disk ---------------------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_intents_are_on_disk_before_the_exchange_has_them(tmp_path: Path) -> None:
    """Seen from another connection, at the moment an order reaches the exchange its intent is in the journal's file."""
    script = Script()

    def wired(house: House) -> None:
        place = simulation(house).exchange.place

        def looked(request: Any, now_ns: int) -> Any:
            with sqlite3.connect(f"file:{house.journal.path}?mode=ro", uri=True) as db:
                rows = db.execute("SELECT state FROM orders WHERE client_id = ?", (request.client_id,)).fetchall()
            db.close()
            assert len(rows) == 1, f"{request.client_id} was sent before it was durable"
            return place(request, now_ns)

        simulation(house).exchange.place = looked  # type: ignore[method-assign]

    script.wired = wired
    one = await boot(settings(tmp_path), market(seed=2, count=40), script)
    assert one.outcome.exit_code == 0, one.outcome.failure
    assert len(script.placed) > 20


@pytest.mark.asyncio
async def test_nothing_is_sent_that_could_not_be_written(tmp_path: Path) -> None:
    """A commit that fails ends the run in one line, and the order that it stood for never reaches the exchange."""
    script = Script()
    placed_before: list[int] = []

    def wired(house: House) -> None:
        commit, count = house.journal.commit, 0

        async def failing() -> None:
            nonlocal count
            count += 1
            if count > 30:
                placed_before.append(len(script.placed))
                raise Fatal("journal x.db cannot be written: disk I/O error")
            await commit()

        house.journal.commit = failing  # type: ignore[method-assign]

    script.wired = wired
    config, tape = settings(tmp_path), market(seed=2, count=120)
    one = await boot(config, tape, script)
    assert (one.outcome.exit_code, one.outcome.failure) == (1, "journal x.db cannot be written: disk I/O error")
    assert placed_before
    assert len(script.placed) == placed_before[0] > 0
    two = await boot(config, tape)
    assert two.outcome.exit_code == 0
    assert_agrees(two)
    assert_exits_complete(two)
    assert_one_order_a_rung(one, two)


@pytest.mark.asyncio
async def test_same_market_twice_gives_the_same_journal(tmp_path: Path) -> None:
    """Virtual time leaves nothing to chance, wherever the journal lies: equal tapes end in equal hashes."""
    hashes = []
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        (tmp_path / name).mkdir()
        script = from_bar(30, BarClosed, CrashError)
        script.before_handle = once(script.before_handle)
        one = await boot(settings(tmp_path / name), market(seed=seed, count=80, funding=[(3, 100)]), script)
        hashes.append(one.outcome.extras.journal_hash)
        assert_agrees(one)
    assert hashes[0] == hashes[1] != hashes[2]


def once(hook: Any) -> Any:
    """A hook that fails one time only."""
    failed: list[Exception] = []

    def limited(*given: Any) -> None:
        if failed:
            return
        try:
            hook(*given)
        except CrashError as error:
            failed.append(error)
            raise

    return limited


def test_times_of_the_made_market() -> None:
    """The cuts above rest on this: a bar is a minute, its points a quarter of it apart."""
    steps = list(market(count=2).steps(0))
    begin = FIRST_BAR * NS_PER_MINUTE
    assert [(step.ts_ns - begin) // NS_PER_S for step in steps] == [0, 15, 30, 45, 60, 75, 90, 105]
    assert market(count=2).instruments == (BTC,)
