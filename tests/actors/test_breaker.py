"""The circuit breaker through the whole bot: an exchange that refuses, what follows, and what no restart undoes.

Invariant: what reached the exchange is counted there; what was said, and when, is read from the journal.
"""

from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import attrs
import pytest

from hedgegrid.app import House
from hedgegrid.core.pause import Reason
from hedgegrid.messages.events import EndReason, ExchangeErred, OrderEvent, OrderEventKind
from hedgegrid.model.order import Leg, OrderRequest, Purpose
from hedgegrid.units import NS_PER_MINUTE, NS_PER_S
from hedgegrid.venues.simulated.venue import SimulatedTrading
from tests.actors.house import (
    FIRST_BAR,
    CrashError,
    Script,
    assert_agrees,
    boot,
    changes,
    last_mode,
    market,
    messages,
    query,
    settings,
)
from tests.actors.sights import Sight, told, watching

ON_NS = (FIRST_BAR + 30) * NS_PER_MINUTE
"""From then on the exchange refuses entries: the grid stands, and something is held."""
BREAKER = {"max_errors": 4, "window_s": 300, "cooldown_s": 900}
TRIP = "circuit_breaker"


class RefusingTrading:
    """The venue's private side, which refuses the LONG leg's entries for a while, and notes when."""

    def __init__(self, real: SimulatedTrading, reason: EndReason, until_ns: int) -> None:
        self.real = real
        self.reason = reason
        self.until_ns = until_ns
        self.refused: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    async def place(
        self, instrument: str, requests: Sequence[OrderRequest], retires: Sequence[str]
    ) -> tuple[OrderEvent, ...]:
        """Refuse the entries, and take the rest."""
        now_ns = self.real.venue_ns()
        refuses = ON_NS <= now_ns < self.until_ns
        bad = [one for one in requests if refuses and one.purpose is Purpose.ENTRY and one.leg is Leg.LONG]
        self.refused += [now_ns] * len(bad)
        good = [one for one in requests if one not in bad]
        answers = {one.client_id: one for one in await self.real.place(instrument, good, retires)}
        for one in bad:
            answers[one.client_id] = OrderEvent(
                kind=OrderEventKind.REJECTED, client_id=one.client_id, reason=self.reason, detail="-4000: no"
            )
        return tuple(answers[one.client_id] for one in requests)


@attrs.define(eq=False)
class Refusing:
    """A script whose exchange refuses entries for a while, and the sights of its account."""

    reason: EndReason = EndReason.REFUSED
    until_ns: int = ON_NS + 20 * NS_PER_MINUTE
    crash_at: int = 0
    """The number of the told error at which the risk actor fails, once."""
    sights: list[Sight] = attrs.field(factory=list)
    venue: RefusingTrading | None = None
    seen: int = 0

    def script(self) -> Script:
        """The script of one life."""
        script = watching(self.sights)
        script.trading = self._trading
        script.before_handle = self._crash
        return script

    def _trading(self, real: SimulatedTrading) -> Any:
        self.venue = RefusingTrading(real, self.reason, self.until_ns)
        return self.venue

    def _crash(self, _house: House, _actor: Any, message: Any) -> None:
        self.seen += isinstance(message, ExchangeErred)
        if isinstance(message, ExchangeErred) and self.seen == self.crash_at:
            raise CrashError

    @property
    def refused_ns(self) -> list[int]:
        """When the exchange refused, entry by entry."""
        assert self.venue is not None
        return self.venue.refused


@pytest.mark.asyncio
@pytest.mark.parametrize("action", ["pause", "cancel_entries", "flatten"])
async def test_refusals_trip_it_and_quiet_ends_it(action: str, tmp_path: Path) -> None:
    """The fifth refusal in 5 minutes stops entries, does what is configured, and 15 minutes of quiet end it."""
    refusing = Refusing()
    config = settings(tmp_path, risk={TRIP: {**BREAKER, "action": action}}, account={"on_stop": "keep"})
    one = await boot(config, market(seed=2, count=120), refusing.script())
    raised = told(one, TRIP)[0]
    trip_ns = refusing.refused_ns[4]
    assert (raised.change, raised.ts_recv_ns) == ("raised", trip_ns)
    figures = {name: int(value) for name, value in raised.figures.items() if name != "newest"}
    assert figures["errors"] == figures["limit"] + 1 == 5
    assert figures["window_ns"] == 300 * NS_PER_S
    assert raised.figures["newest"] == "-4000: no"
    after = [ts_ns for ts_ns in refusing.refused_ns if ts_ns > trip_ns]
    assert after == [], "an entry was sent while it stood"
    cleared = next(each for each in told(one, TRIP) if each.change == "cleared")
    assert 900 * NS_PER_S <= cleared.ts_recv_ns - trip_ns <= 902 * NS_PER_S
    assert last_mode(one) == "active"
    stood = [each for each in refusing.sights if trip_ns + NS_PER_MINUTE < each.ts_ns < cleared.ts_recv_ns]
    if action == "pause":
        assert stood[0].entries > 0, "resting entries stay while they are wanted unchanged"
    else:
        assert {each.entries for each in stood} == {0}
    if action == "flatten":
        assert {each.held for each in stood} == {0}
    assert any(each.entries > 0 for each in refusing.sights if each.ts_ns > cleared.ts_recv_ns)
    assert_agrees(one)


@pytest.mark.asyncio
async def test_switched_off_it_never_trips(tmp_path: Path) -> None:
    """The same exchange with the switch off: every bar is refused anew, and nothing pauses."""
    refusing = Refusing()
    config = settings(tmp_path, risk={TRIP: {**BREAKER, "enabled": False}})
    one = await boot(config, market(seed=2, count=60), refusing.script())
    assert len(refusing.refused_ns) > 10
    assert {reason for _, reason, _ in changes(one.path)} == {""}


@pytest.mark.asyncio
@pytest.mark.parametrize("reason", [EndReason.NOT_SENT, EndReason.RATE_LIMITED, EndReason.WOULD_TRIGGER])
async def test_what_the_exchange_did_not_refuse_counts_for_nothing(reason: EndReason, tmp_path: Path) -> None:
    """Our own side, a limit, a price that moved: none of them is an error of the exchange."""
    refusing = Refusing(reason=reason)
    one = await boot(settings(tmp_path, risk={TRIP: BREAKER}), market(seed=2, count=60), refusing.script())
    assert len(refusing.refused_ns) > 10
    assert messages(one.path, ExchangeErred) == []
    assert told(one, TRIP) == []


@pytest.mark.asyncio
async def test_refusals_of_our_own_gate_count_for_nothing(tmp_path: Path) -> None:
    """A gate that refuses every entry of every bar trips no breaker (15.15)."""
    risk = {TRIP: {**BREAKER, "max_errors": 1}, "max_order_notional_quote": 1}
    one = await boot(settings(tmp_path, risk=risk), market(seed=2, count=60))
    assert one.outcome.view.refusals["max_order_notional_quote"] > 40
    assert told(one, TRIP) == []


@pytest.mark.asyncio
@pytest.mark.parametrize("crash_at", [1, 2, 3])
async def test_a_restart_of_the_risk_actor_loses_no_count_and_no_trip(crash_at: int, tmp_path: Path) -> None:
    """The actor fails as it hears of an error: what was counted before stays, and so does what has tripped."""
    refusing = Refusing(crash_at=crash_at)
    config = settings(tmp_path, risk={TRIP: {**BREAKER, "window_s": 3_600, "cooldown_s": 36_000}})
    one = await boot(config, market(seed=2, count=80), refusing.script())
    raised = [each for each in told(one, TRIP) if each.change == "raised"]
    assert len(raised) == 1
    # What the actor failed at is lost with it, and nothing else.
    heard = [each for number, each in enumerate(messages(one.path, ExchangeErred), start=1) if number != crash_at]
    sums = list(accumulate(each.errors for each in heard))
    trip_ns = next(each.ts_recv_ns for each, total in zip(heard, sums, strict=True) if total > BREAKER["max_errors"])
    assert raised[0].ts_recv_ns == trip_ns
    later = [ts_ns for ts_ns in refusing.refused_ns if ts_ns > raised[0].ts_recv_ns]
    assert later == []
    assert last_mode(one) == "reducing"


@pytest.mark.asyncio
async def test_a_restart_of_the_process_does_not_undo_it(tmp_path: Path) -> None:
    """Within its cooldown a new start stays paused, for the whole quiet anew; then it goes by itself."""
    refusing = Refusing()
    config, tape = settings(tmp_path, risk={TRIP: BREAKER}), market(seed=2, count=150)
    one = await boot(config, tape, refusing.script(), duration_s=45 * 60)
    trip_ns = next(each.ts_recv_ns for each in told(one, TRIP) if each.change == "raised")
    assert last_mode(one) == "reducing"
    assert [entry[0] for entry in one.house.journal.latched()] == [Reason.CIRCUIT_BREAKER]
    two = await boot(config, tape, duration_s=60 * 60, resume=True)
    began_ns = (FIRST_BAR + 45) * NS_PER_MINUTE
    ((cleared_ns,),) = [
        (each.ts_recv_ns,) for each in told(two, TRIP) if each.change == "cleared" and each.ts_recv_ns > trip_ns
    ]
    assert cleared_ns - began_ns >= 900 * NS_PER_S - 2 * NS_PER_S
    sent_ns = query(two.path, f"SELECT created_ns FROM orders WHERE purpose = 0 AND created_ns > {trip_ns}")  # noqa: S608 - a number
    assert sent_ns
    assert min(sent_ns)[0] >= cleared_ns
    assert two.house.journal.latched() == ()
    assert last_mode(two) == "active"
    assert_agrees(two)
