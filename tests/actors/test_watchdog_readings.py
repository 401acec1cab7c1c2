"""Every reading of the watchdog: one that goes bad pauses, with its name and figures, and one that is well does not.

Invariant: what is asked is what risk hears; a reading that nobody looks at any more would leave its case silent.
"""

from collections.abc import Collection
from typing import Any, Final

import attrs
import pytest

from hedgegrid.actors.feed import SourceTimes
from hedgegrid.actors.mailboxes import mailbox_maker
from hedgegrid.actors.post import RISK, WATCHDOG, Post
from hedgegrid.actors.watchdog import Watchdog
from hedgegrid.core.health import HealthLimits, VenueProbe
from hedgegrid.core.pause import ACCOUNT, Reason
from hedgegrid.messages.commands import ClearReason, RaiseReason, Wake
from hedgegrid.messages.events import Message
from hedgegrid.runtime.activity import Activity
from hedgegrid.runtime.clock import VirtualClock
from hedgegrid.runtime.router import Router

BTC: Final = "BTC/USDT:USDT"
NOW_NS: Final = 1_000_000_000_000
LIMITS: Final = HealthLimits(
    feed_stale_ns=5_000,
    quote_silence_ns=30_000,
    heartbeat_ns=1_000,
    heartbeat_missed=3,
    max_loop_lag_ns=250,
    max_clock_skew_ns=500,
    unknown_pause_ns=10_000,
)
POLL_NS: Final = 20_000
WELL: Final = VenueProbe(loop_lag_ns=250, clock_skew_ns=-500, last_pong_ns=NOW_NS, account_ns=NOW_NS - 2 * POLL_NS)


class Kept:
    """A journal that keeps what is told."""

    def __init__(self) -> None:
        self.told: list[Message] = []

    def append(self, message: Message) -> None:
        """Keep it."""
        self.told.append(message)

    async def commit(self) -> None:
        """Nothing waits."""


async def told(times: SourceTimes, *probes: VenueProbe) -> list[Any]:
    """Let the watchdog look at each of these in turn; give what it said."""
    return (await looked(VirtualClock(NOW_NS), times, *probes)).told


async def looked(
    clock: VirtualClock,
    times: SourceTimes,
    *probes: VenueProbe,
    cadence_ns: int = 0,
    standing: Collection[tuple[Reason, str]] = (),
) -> Kept:
    """Let the watchdog look at each of these in turn, at a source that speaks once in ``cadence_ns``.

    ``standing``: what pauses already when it starts.
    """
    activity, kept = Activity(), Kept()
    router = Router(on_dead_letter=lambda _: None, on_overflow=lambda *_: None)
    post = Post(router=router, journal=kept, clock=clock, tap=lambda _: None, stands=lambda *one: one in standing)
    make = mailbox_maker(activity)
    router.register(make(RISK))
    seen = list(probes)
    watchdog = Watchdog(
        mailbox=make(WATCHDOG),
        router=router,
        clock=clock,
        post=post,
        limits=LIMITS,
        cadences_ns={BTC: cadence_ns},
        times=times,
        probe=lambda: seen[0],
        account_poll_ns=POLL_NS,
    )
    for _ in probes:
        await watchdog.handle(Wake(**post.head()))
        seen = seen[1:] or seen
    return kept


def heard(*, event_ns: int = NOW_NS, arrival_ns: int = NOW_NS) -> SourceTimes:
    """When the instrument was last heard of."""
    return SourceTimes(last_ns={BTC: event_ns}, last_arrival_ns={BTC: arrival_ns})


CASES: Final = {
    "old by the exchange's time": (heard(event_ns=NOW_NS - 30_001), WELL, Reason.FEED_STALE, BTC, "quotes"),
    "old by its arrival": (heard(arrival_ns=NOW_NS - 30_001), WELL, Reason.FEED_STALE, BTC, "quotes"),
    "quiet, and no pong": (
        heard(event_ns=NOW_NS - 5_001, arrival_ns=NOW_NS - 5_001),
        attrs.evolve(WELL, last_pong_ns=NOW_NS - 5_001),
        Reason.FEED_STALE,
        BTC,
        "quotes",
    ),
    "account not read": (
        heard(),
        attrs.evolve(WELL, account_ns=NOW_NS - 2 * POLL_NS - 1),
        Reason.FEED_STALE,
        ACCOUNT,
        "account",
    ),
    "loop lag": (heard(), attrs.evolve(WELL, loop_lag_ns=251), Reason.LOOP_BLOCKED, ACCOUNT, "251"),
    "clock behind": (heard(), attrs.evolve(WELL, clock_skew_ns=-501), Reason.CLOCK_SKEW, ACCOUNT, "-501"),
    "clock ahead": (heard(), attrs.evolve(WELL, clock_skew_ns=501), Reason.CLOCK_SKEW, ACCOUNT, "501"),
}


@pytest.mark.asyncio
@pytest.mark.parametrize("case", CASES)
async def test_each_reading_pauses_by_itself_and_recovers(case: str) -> None:
    """All else is well at its very limit: the one beyond it is told, with its figures, once, and its end too."""
    times, bad, reason, scope, figure = CASES[case]
    (raised,) = await told(times, bad, bad)
    assert isinstance(raised, RaiseReason)
    assert (raised.reason, raised.scope) == (reason, scope)
    assert figure in raised.figures.values()
    if times == heard():
        _, gone = await told(times, bad, WELL)
        assert isinstance(gone, ClearReason)
        assert (gone.reason, gone.scope) == (reason, scope)


@pytest.mark.asyncio
async def test_what_is_well_is_not_news() -> None:
    """Every figure at its limit, a market that is quiet on sockets that answer: nothing is said."""
    quiet = heard(event_ns=NOW_NS - 30_000, arrival_ns=NOW_NS - 30_000)
    assert await told(quiet, WELL, WELL) == []


@pytest.mark.asyncio
@pytest.mark.parametrize(("cadence_ns", "wait_ns"), [(0, 1_000), (60_000, 2_500), (16_000, 2_000), (6_000, 1_000)])
async def test_what_stands_is_looked_at_as_often_as_it_can_go(cadence_ns: int, wait_ns: int) -> None:
    """A stream every heartbeat, where bars and reads are all that speaks eight times in the shorter of them."""
    clock, old_ns = VirtualClock(NOW_NS), NOW_NS - 1_000_000
    await looked(
        clock, heard(event_ns=old_ns, arrival_ns=old_ns), attrs.evolve(WELL, account_ns=NOW_NS), cadence_ns=cadence_ns
    )
    next_ns = clock.next_timer_ns()
    assert next_ns is not None
    assert next_ns - NOW_NS == wait_ns


LEFT: Final = [
    (Reason.FEED_STALE, BTC),
    (Reason.FEED_STALE, ACCOUNT),
    (Reason.LOOP_BLOCKED, ACCOUNT),
    (Reason.CLOCK_SKEW, ACCOUNT),
]


@pytest.mark.asyncio
async def test_what_the_watchdog_before_it_raised_is_taken_back() -> None:
    """Each of its pauses ends with its cause, though who raised it is no more; others' pauses are others'."""
    others = (Reason.FUNDING_MISSING, BTC)
    kept = await looked(VirtualClock(NOW_NS), heard(), WELL, WELL, WELL, standing=[*LEFT, others])
    assert [type(one) for one in kept.told] == [ClearReason] * len(LEFT)
    assert {(one.reason, one.scope) for one in kept.told if isinstance(one, ClearReason)} == set(LEFT)


@pytest.mark.asyncio
async def test_what_is_still_bad_at_its_start_is_raised_again() -> None:
    """What is told to stand may be about to go with an actor that starts anew: the danger is said once more."""
    kept = await looked(
        VirtualClock(NOW_NS), heard(arrival_ns=NOW_NS - 30_001), WELL, WELL, standing=[(Reason.FEED_STALE, BTC)]
    )
    assert [type(one) for one in kept.told] == [RaiseReason]
