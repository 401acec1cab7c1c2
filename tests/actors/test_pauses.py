"""Danger pauses trading, with its reason and figures in the journal, and what is mended resumes by itself.

Invariants: what is looked at is the exchange's book and the journal; a pause takes the resting entries away and leaves
the protective stops.
"""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest

from hedgegrid.actors.mailboxes import CAPACITY
from hedgegrid.app import House
from hedgegrid.core.codes import FREE
from hedgegrid.errors import OutcomeUnknown
from hedgegrid.messages.commands import IntentBatch, Wake
from hedgegrid.messages.events import (
    ActorRestarted,
    BarClosed,
    EquitySampled,
    ExecutionBatch,
    FundingRate,
    Incident,
    MarketSeen,
    OrderEvent,
    PermissionChanged,
    VenueReport,
)
from hedgegrid.model.order import OrderRequest, Purpose
from hedgegrid.units import NS_PER_MINUTE, NS_PER_S
from hedgegrid.venues.simulated.venue import SimulatedTrading
from tests.actors.house import (
    BTC,
    FIRST_BAR,
    STRATEGY,
    Boot,
    Script,
    assert_agrees,
    assert_exits_complete,
    assert_one_order_a_rung,
    boot,
    changes,
    entries_at,
    entries_placed,
    last_mode,
    live_rungs,
    market,
    messages,
    settings,
    simulation,
)
from tests.core.made import walk


@attrs.frozen
class Look:
    """What rests at the exchange as a bar closes."""

    bar: int
    entries: int
    stops: int
    lots: int


def looking(looks: list[Look]) -> Script:
    """A script that looks at the exchange at every bar's close, before the decision."""

    def hook(house: House, message: Any) -> None:
        if isinstance(message, EquitySampled):
            book = simulation(house).exchange.books[0]
            stops = sum(o.state != FREE and o.purpose == Purpose.STOP for o in book.orders)
            number = message.ts_venue_ns // NS_PER_MINUTE - FIRST_BAR
            held = sum(account.qty_lots for account in book.accounts)
            looks.append(Look(number, len(entries_at(simulation(house).exchange)), stops, held))

    return Script(before_publish=hook)


def told(one: Boot, reason: str) -> list[tuple[str, dict[str, str]]]:
    """The changes of one reason with their figures."""
    return [(c.change, dict(c.figures)) for c in messages(one.path, PermissionChanged) if c.reason == reason]


@pytest.mark.asyncio
async def test_stale_feed_pauses_and_fresh_prices_resume(tmp_path: Path) -> None:
    """No decision on old prices: past two bar lengths entries go and stops stay, until prices are fresh again."""
    looks: list[Look] = []
    bars = walk(2, 100)
    numbers = [*range(50), *range(56, 106)]
    config = settings(tmp_path, watchdog={"resume_after_ms": 200_000}, account={"on_stop": "keep"})
    one = await boot(config, market(bars, numbers=numbers), looking(looks))
    assert one.outcome.exit_code == 0
    steps = told(one, "feed_stale")
    assert [change for change, _ in steps] == ["raised", "recovering", "cleared"]
    raised = next(c for c in messages(one.path, PermissionChanged) if c.reason == "feed_stale")
    assert (raised.before, raised.after, raised.scope) == ("active", "reducing", BTC)
    last_ns = (FIRST_BAR + 49) * NS_PER_MINUTE + 45 * NS_PER_S
    assert 2 * NS_PER_MINUTE < raised.ts_recv_ns - last_ns <= 2 * NS_PER_MINUTE + NS_PER_S
    assert int(raised.figures["age_ns"]) > int(raised.figures["limit_ns"]) == 2 * NS_PER_MINUTE
    cleared = next(c for c in messages(one.path, PermissionChanged) if c.change == "cleared")
    assert cleared.ts_recv_ns - (FIRST_BAR + 56) * NS_PER_MINUTE >= 200 * NS_PER_S
    by_bar = {look.bar: look for look in looks}
    assert by_bar[49].entries > 0
    paused = [by_bar[number] for number in (56, 57, 58)]
    assert [look.entries for look in paused] == [0, 0, 0]
    assert all(look.stops > 0 for look in paused if look.lots)
    assert any(look.lots for look in paused)
    assert by_bar[62].entries > 0
    assert_agrees(one)


@pytest.mark.asyncio
async def test_hole_of_a_bar_is_not_stale(tmp_path: Path) -> None:
    """Age is measured against the source's cadence: one missing minute of a minute's bars is no danger."""
    one = await boot(settings(tmp_path), market(walk(2, 60), numbers=[*range(30), *range(31, 61)]))
    assert told(one, "feed_stale") == []
    gaps = [i for i in messages(one.path, Incident) if "bars are missing" in i.text]
    assert [dict(gap.figures)["missing"] for gap in gaps] == ["1"]


class HangingTrading:
    """The venue's private side, where one call never comes back: before or after the venue took it."""

    def __init__(self, real: SimulatedTrading, call: str, number: int, *, taken: bool) -> None:
        self.real = real
        self.call = call
        self.number = number
        self.taken = taken
        self.calls = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    async def place(
        self, instrument: str, requests: Sequence[OrderRequest], retires: Sequence[str]
    ) -> tuple[OrderEvent, ...]:
        """Place, or hang."""
        answers: tuple[OrderEvent, ...] = await self._called(
            "place", lambda: self.real.place(instrument, requests, retires)
        )
        return answers

    async def cancel(self, instrument: str, client_ids: Sequence[str]) -> None:
        """Cancel, or hang."""
        await self._called("cancel", lambda: self.real.cancel(instrument, client_ids))

    async def _called(self, name: str, act: Callable[[], Any]) -> Any:
        self.calls += name == self.call
        hangs = name == self.call and self.calls == self.number
        if hangs:
            self.calls += 1
            if self.taken:
                await act()
            await asyncio.Event().wait()
        return await act()


@pytest.mark.asyncio
@pytest.mark.parametrize("taken", [False, True], ids=["request lost", "answer lost"])
@pytest.mark.parametrize("call", ["place", "cancel"])
async def test_hanging_executor_is_killed_and_everything_hydrates(call: str, taken: bool, tmp_path: Path) -> None:
    """A missed heartbeat pauses, the executor starts anew with all that depend on it, and trading resumes."""
    script = Script(trading=lambda real: HangingTrading(real, call, 4, taken=taken))
    config = settings(tmp_path, watchdog={"heartbeat_ms": 50, "resume_after_ms": 1_000})
    one = await boot(config, market(seed=2, count=600), script)
    assert one.outcome.exit_code == 0, one.outcome.failure
    restarts = messages(one.path, ActorRestarted)
    assert [(r.actor, r.error) for r in restarts] == [("executor", "ChildKilledError")]
    steps = told(one, "heartbeat_missed")
    assert [change for change, _ in steps][:1] == ["raised"]
    assert [change for change, _ in steps][-2:] == ["recovering", "cleared"]
    assert steps[0][1]["actor"] == "executor"
    assert int(steps[0][1]["silence_ns"]) >= 3 * 50_000_000
    assert last_mode(one) == "active"
    placed_after = [b for b in messages(one.path) if type(b).__name__ == "ApprovedBatch" and b.seq > restarts[0].seq]
    assert placed_after
    assert_one_order_a_rung(one)
    assert_agrees(one)
    assert_exits_complete(one)


def flood(kind: str, actor: str, message: Callable[[House], Any]) -> Script:
    """A script that fills one actor's mailbox beyond its brim, once."""
    script = Script()

    def hook(house: House, published: Any) -> None:
        if isinstance(published, BarClosed) and published.bar.open_ns // NS_PER_MINUTE == FIRST_BAR + 40:
            flooding = message(house)
            for _ in range(CAPACITY + 5):
                house.post.send(flooding, actor)

    script.after_publish = hook
    assert kind
    return script


def empty_batch(house: House) -> IntentBatch:
    """A decision that asks for nothing."""
    return IntentBatch(**house.post.head(), instrument=BTC, orders=(), cancels=(), retires=())


def same_rate(house: House) -> FundingRate:
    """A rate that costs nothing."""
    return FundingRate(
        **house.post.head(), instrument=BTC, rate_e8=0, next_funding_ns=1, funding_interval_ns=480 * NS_PER_MINUTE
    )


def empty_report(house: House) -> VenueReport:
    """A report in which nothing happened."""
    return VenueReport(**house.post.head(), instrument=BTC, mark_ticks=1, events=())


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("kind", "actor", "message"),
    [
        ("IntentBatch", "risk", empty_batch),
        ("FundingRate", STRATEGY, same_rate),
        ("VenueReport", "executor", empty_report),
        ("Wake", "watchdog", lambda house: Wake(**house.post.head())),
        ("MarketSeen", "feed", lambda house: MarketSeen(**house.post.head(), updates=())),
    ],
)
async def test_full_mailbox_pauses_and_its_actor_starts_anew(
    kind: str, actor: str, message: Callable[[House], Any], tmp_path: Path
) -> None:
    """What may not be dropped is never dropped in silence: pause, restart, hydrate, and go on once it is over."""
    one = await boot(settings(tmp_path), market(seed=2, count=100), flood(kind, actor, message))
    assert one.outcome.exit_code == 0, one.outcome.failure
    assert actor in [r.actor for r in messages(one.path, ActorRestarted)]
    steps = told(one, "overflow")
    assert steps[0] == ("raised", {"actor": actor, "message": kind})
    assert last_mode(one) == "active", "the pause was not lifted after its cause had gone"
    assert_one_order_a_rung(one)
    assert_agrees(one)
    assert_exits_complete(one)


@pytest.mark.asyncio
async def test_dead_letters_are_incidents(tmp_path: Path) -> None:
    """A message that nobody can take is in the journal, with its name and why: never a silent loss."""

    def hook(house: House, message: Any) -> None:
        if isinstance(message, BarClosed) and message.bar.open_ns // NS_PER_MINUTE == FIRST_BAR + 10:
            house.post.send(Wake(**house.post.head()), "nobody")
            house.post.send(Wake(**house.post.head()), "feed")

    one = await boot(settings(tmp_path), market(count=20), Script(after_publish=hook))
    found = [(i.actor, dict(i.figures)) for i in messages(one.path, Incident)]
    assert found == [
        ("nobody", {"message": "Wake", "reason": "unknown_name"}),
        ("feed", {"message": "Wake", "reason": "unknown_type"}),
    ]
    assert one.outcome.view.incidents == 2


class LosingTrading(HangingTrading):
    """The venue's private side, where the outcome of one call is not known."""

    async def _called(self, name: str, act: Callable[[], Any]) -> Any:
        self.calls += name == self.call
        if name != self.call or self.calls != self.number:
            return await act()
        if self.taken:
            await act()
        raise OutcomeUnknown("no answer within the request's time")


@pytest.mark.asyncio
@pytest.mark.parametrize("pause_ms", [500, 10_000], ids=["old enough to pause", "too young to pause"])
@pytest.mark.parametrize("taken", [False, True], ids=["request lost", "answer lost"])
async def test_unknown_outcome_is_resolved_by_the_exchange_and_trading_resumes(
    taken: bool, pause_ms: int, tmp_path: Path
) -> None:
    """A timeout is not a failure: nothing is sent twice, the exchange's lists decide, and then the pause ends."""
    script = Script(trading=lambda real: LosingTrading(real, "place", 6, taken=taken))
    config = settings(tmp_path, watchdog={"unknown_pause_ms": pause_ms})
    one = await boot(config, market(seed=2, count=100), script)
    assert one.outcome.exit_code == 0, one.outcome.failure
    steps = [change for change, _ in told(one, "unknown_order")]
    assert steps == (["raised", "recovering", "cleared"] if pause_ms == 500 else [])
    unknown = [e.client_id for b in messages(one.path, ExecutionBatch) for e in b.events if e.kind == "unknown"]
    assert len(unknown) == len(set(unknown)) >= 1
    assert one.house.journal.live_orders() == () or not one.outcome.view.orders.unknown
    assert_one_order_a_rung(one)
    assert_agrees(one)
    assert_exits_complete(one)
    assert last_mode(one) == "active", "the pause was not lifted after its cause had gone"


@pytest.mark.asyncio
async def test_missing_rate_pauses_before_the_first_order(tmp_path: Path) -> None:
    """A missing funding rate is missing, never zero: with on_missing = pause nothing is placed."""
    one = await boot(settings(tmp_path, funding={"on_missing": "pause"}), market(seed=2, count=40))
    assert ("raised", "funding_missing", BTC) in changes(one.path)
    assert entries_placed(one) == []
    assert ("funding_missing", BTC) in one.outcome.view.reasons


@pytest.mark.asyncio
async def test_expired_rate_empties_the_ladders_until_the_next(tmp_path: Path) -> None:
    """A rate whose settlement has passed without a new one is no rate: entries go, and come back with the next rate."""
    looks: list[Look] = []
    tape = market(seed=2, count=110, funding=[(-440, 1_000), (70, 1_000)])
    one = await boot(settings(tmp_path, funding={"on_missing": "pause"}), tape, looking(looks))
    steps = told(one, "funding_missing")
    assert [change for change, _ in steps] == ["raised", "recovering", "cleared"]
    assert steps[0][1] == {"expired_ns": str((FIRST_BAR + 40) * NS_PER_MINUTE)}
    by_bar = {look.bar: look.entries for look in looks}
    assert by_bar[39] > 0
    assert [by_bar[number] for number in range(42, 70)] == [0] * 28
    assert by_bar[73] > 0
    assert_agrees(one)
    assert live_rungs(one.exchange) == []


@pytest.mark.asyncio
async def test_flapping_feed_does_not_resume_trading(tmp_path: Path) -> None:
    """Prices that come and go: each gap begins the wait anew, and trading goes on only after one whole wait without."""
    numbers = [*range(50), *range(56, 58), *range(62, 64), *range(68, 90)]
    config = settings(tmp_path, watchdog={"resume_after_ms": 240_000})
    one = await boot(config, market(walk(2, len(numbers)), numbers=numbers))
    assert one.outcome.exit_code == 0
    steps = [change for change, _ in told(one, "feed_stale")]
    assert steps == ["raised", "recovering", "raised_again", "recovering", "raised_again", "recovering", "cleared"]
    cleared = next(c for c in messages(one.path, PermissionChanged) if c.change == "cleared")
    assert cleared.ts_recv_ns - (FIRST_BAR + 68) * NS_PER_MINUTE >= 240 * NS_PER_S
    assert last_mode(one) == "active"
