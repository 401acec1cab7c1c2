"""The funding actor asks the exchange for what was settled while nobody listened: from where, and when again.

Invariant: what is asked is the request that the exchange gets, and its time.
"""

from typing import Any, Final

import pytest

from hedgegrid.actors.funding import AGAIN_NS, RATE_GRACE_NS, Funding
from hedgegrid.actors.mailboxes import mailbox_maker
from hedgegrid.actors.post import FUNDING, RISK, Post
from hedgegrid.core.pause import Reason
from hedgegrid.errors import Transient
from hedgegrid.messages.commands import ClearReason
from hedgegrid.messages.events import BarClosed, FundingPaid, MarkPrice
from hedgegrid.model.market import Bar
from hedgegrid.runtime.activity import Activity
from hedgegrid.runtime.clock import VirtualClock
from hedgegrid.runtime.router import Router
from tests.actors.test_watchdog_readings import Kept

NOW_NS: Final = 1_000_000_000_000
SETTLED_NS: Final = {"BTC/USDT:USDT": NOW_NS - 5, "ETH/USDT:USDT": NOW_NS - 9}
"""The newest settlement of each instrument in the journal."""


class Exchange:
    """It keeps what it is asked, and answers with an error where it has one."""

    def __init__(self, error: Exception | None = None) -> None:
        self.asked_since_ns: list[int] = []
        self._error = error

    async def funding_since(self, since_ns: int) -> list[FundingPaid]:
        """List settlements."""
        self.asked_since_ns.append(since_ns)
        if self._error is not None:
            raise self._error
        return []


async def started(exchange: Any) -> VirtualClock:
    """Start the actor at an exchange; give the clock with its reminders."""
    clock = VirtualClock(NOW_NS)
    await starting(exchange, clock, Kept())
    return clock


async def starting(exchange: Any, clock: VirtualClock, kept: Kept, *standing: tuple[Reason, str]) -> Funding:
    """Start the actor; ``standing``: what pauses already. Every instrument's missing rate is a pause."""
    make = mailbox_maker(Activity())
    router = Router(on_dead_letter=lambda _: None, on_overflow=lambda *_: None)
    router.register(make(RISK))
    actor = Funding(
        mailbox=make(FUNDING),
        router=router,
        clock=clock,
        post=Post(router=router, journal=kept, clock=clock, tap=lambda _: None, stands=lambda *one: one in standing),
        trading=exchange,
        instruments=tuple(SETTLED_NS),
        settled_ns=SETTLED_NS.__getitem__,
        grace_ns=RATE_GRACE_NS,
        pause_when_missing=tuple(SETTLED_NS),
    )
    await actor.on_start()
    return actor


@pytest.mark.asyncio
async def test_it_asks_from_the_instrument_that_lags_most() -> None:
    """One instrument's later settlement must not hide what another was charged before it."""
    exchange = Exchange()
    await started(exchange)
    assert exchange.asked_since_ns == [NOW_NS - 9]


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("ends_ns", "again_ns"), [(None, NOW_NS + AGAIN_NS), (NOW_NS + 90 * AGAIN_NS, NOW_NS + 90 * AGAIN_NS)]
)
async def test_it_does_not_ask_again_before_a_ban_has_ended(ends_ns: int | None, again_ns: int) -> None:
    """A request during a ban makes it longer; where no end is known it is asked again soon."""
    error = Transient("busy")
    error.until_ns = ends_ns
    clock = await started(Exchange(error))
    assert clock.next_timer_ns() == again_ns


def test_risk_books_a_settlement_before_it_samples_a_bar_of_the_past() -> None:
    """Behind a sleep much waits at once: what is on the tape is in the account before an older bar is looked at."""
    mailbox = mailbox_maker(Activity())(RISK)
    head = {"seq": 1, "cause_seq": 0, "ts_venue_ns": NOW_NS, "ts_recv_ns": NOW_NS}
    bar = Bar(open_ns=1, length_ns=1, open_ticks=1, high_ticks=1, low_ticks=1, close_ticks=1, volume_lots=1)
    older = BarClosed(**head, instrument="BTC", bar=bar)
    paid = FundingPaid(**head, instrument="BTC", rate_e8=1, mark_ticks=1, long_e8=1, short_e8=0)
    mailbox.put(older)
    mailbox.put(paid)
    assert [mailbox.get_nowait(), mailbox.get_nowait()] == [paid, older]


@pytest.mark.asyncio
async def test_a_pause_for_a_rate_does_not_outlive_who_raised_it() -> None:
    """The rate came back while the actor started anew: its first rate ends the pause, of that instrument alone."""
    clock, kept = VirtualClock(NOW_NS), Kept()
    btc, eth = SETTLED_NS
    actor = await starting(Exchange(), clock, kept, (Reason.FUNDING_MISSING, btc))
    head: Any = {"seq": 1, "cause_seq": 0, "ts_venue_ns": NOW_NS, "ts_recv_ns": NOW_NS}
    for name in (btc, eth, btc):
        mark = MarkPrice(
            **head, instrument=name, mark_ticks=1, rate_e8=1, next_funding_ns=NOW_NS + 9, funding_interval_ns=9
        )
        await actor.handle(mark)
    gone = [one for one in kept.told if isinstance(one, ClearReason)]
    assert [(one.reason, one.scope) for one in gone] == [(Reason.FUNDING_MISSING, btc)]
