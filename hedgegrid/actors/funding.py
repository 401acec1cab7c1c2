"""The funding actor: it keeps the rate of the next settlement known or says that it is not, and books what was paid.

Invariants: a missing or expired rate is an event and, where the settings say so, a pause; it is never taken for zero;
a settlement is booked once by (instrument, time).
"""

from collections.abc import Callable, Collection, Sequence

from hedgegrid.actors.post import RISK, Post, strategy_name
from hedgegrid.core.pause import Reason
from hedgegrid.errors import Transient
from hedgegrid.messages.commands import ClearReason, RaiseReason, Wake
from hedgegrid.messages.events import FundingPaid, FundingRate, FundingRateMissing, Incident, MarkPrice, Message
from hedgegrid.ports import Trading
from hedgegrid.runtime.actor import Actor
from hedgegrid.runtime.clock import Clock
from hedgegrid.runtime.mailbox import Mailbox
from hedgegrid.runtime.router import Router

RATE_GRACE_NS = 5_000_000_000
"""What a stream of marks, one a second, gets after a settlement to tell the next rate."""
AGAIN_NS = 5_000_000_000
"""Until what could not be read is asked for again."""
FundingMessage = MarkPrice | FundingPaid | Wake


class Funding(Actor[FundingMessage]):
    """Rates and settlements of all instruments."""

    def __init__(
        self,
        *,
        mailbox: Mailbox[FundingMessage],
        router: Router,
        clock: Clock,
        post: Post,
        trading: Trading,
        instruments: Sequence[str],
        settled_ns: Callable[[str], int],
        grace_ns: int,
        pause_when_missing: Collection[str],
    ) -> None:
        """``settled_ns`` gives an instrument's newest settlement in the journal.

        ``grace_ns``: what the source gets after a settlement to tell the next rate; ``pause_when_missing`` names the
        instruments that pause without one.
        """
        super().__init__(mailbox=mailbox, router=router, clock=clock)
        self._post = post
        self._trading = trading
        self._instruments = tuple(instruments)
        self._settled_ns = settled_ns
        self._paid_ns: dict[str, int] = {}
        self._grace_ns = grace_ns
        self._behind = False
        self._pause_when_missing = frozenset(pause_when_missing)
        self._next_ns: dict[str, int] = {}
        self._missing: dict[str, int] = {}
        self._told: set[str] = set()
        """Instruments whose rate this actor has told."""

    async def on_start(self) -> None:
        """Book the settlements that happened while nobody listened."""
        self._paid_ns = {name: self._settled_ns(name) for name in self._instruments}
        await self._catch_up()

    async def _catch_up(self) -> None:
        """Book what the exchange lists; where it cannot be read, say so and come again: a start does not die of it."""
        try:
            found = await self._trading.funding_since(min(self._paid_ns.values()))
        except Transient as error:
            if not self._behind:
                words, why = "the settlements could not be read: asking again", {"why": str(error)}
                self._post.publish(Incident(**self._post.head(), actor=self.name, text=words, figures=why))
            self._behind = True
            now_ns = self.clock.now_ns()
            self.remind_at(max(now_ns + AGAIN_NS, error.until_ns or 0), Wake(**self._post.head()))
            return
        self._behind = False
        for paid in found:
            self._book(paid)

    def is_quick(self, message: FundingMessage) -> bool:
        """Rates and settlements are; a look at the clock may lead to a reading."""
        return not isinstance(message, Wake)

    async def handle(self, message: FundingMessage) -> None:
        """Take a rate, a settlement, or look whether a rate has expired."""
        match message:
            case MarkPrice():
                self._take_rate(message)
            case FundingPaid():
                self._book(message)
            case Wake():
                for instrument, next_ns in tuple(self._next_ns.items()):
                    if self.clock.now_ns() > next_ns + self._grace_ns:
                        self._lose(message, instrument, next_ns)
                if self._behind:
                    await self._catch_up()

    def _take_rate(self, mark: MarkPrice) -> None:
        if mark.rate_e8 is None or mark.next_funding_ns is None:
            self._lose(mark, mark.instrument, 0)
            return
        self._next_ns[mark.instrument] = mark.next_funding_ns
        rate = FundingRate(
            **self._post.head(mark),
            instrument=mark.instrument,
            rate_e8=mark.rate_e8,
            next_funding_ns=mark.next_funding_ns,
            funding_interval_ns=mark.funding_interval_ns,
        )
        self._post.publish(rate, RISK, strategy_name(mark.instrument))
        if self._was_missing(mark.instrument) and mark.instrument in self._pause_when_missing:
            gone = ClearReason(
                **self._post.head(mark), reason=Reason.FUNDING_MISSING, scope=mark.instrument, figures={}
            )
            self._post.publish(gone, RISK)
        self.remind_at(mark.next_funding_ns + self._grace_ns + 1, Wake(**self._post.head(mark)))

    def _was_missing(self, instrument: str) -> bool:
        """Tell whether this rate ends a want, of this actor's or of what it was before it started anew."""
        first = instrument not in self._told
        self._told.add(instrument)
        missed = self._missing.pop(instrument, None) is not None
        return missed or (first and self._post.stands(Reason.FUNDING_MISSING, instrument))

    def _lose(self, cause: Message, instrument: str, expired_ns: int) -> None:
        """Say once that an instrument's rate is missing or has expired."""
        if instrument in self._missing:
            return
        self._missing[instrument] = expired_ns
        self._next_ns.pop(instrument, None)
        missing = FundingRateMissing(**self._post.head(cause), instrument=instrument, expired_ns=expired_ns)
        self._post.publish(missing, strategy_name(instrument))
        if instrument in self._pause_when_missing:
            raised = RaiseReason(
                **self._post.head(cause),
                reason=Reason.FUNDING_MISSING,
                scope=instrument,
                figures={"expired_ns": str(expired_ns)},
            )
            self._post.publish(raised, RISK)

    def _book(self, paid: FundingPaid) -> None:
        if paid.ts_venue_ns <= self._paid_ns.get(paid.instrument, 0):
            return
        self._paid_ns[paid.instrument] = paid.ts_venue_ns
        booked = FundingPaid(
            **self._post.head(None, paid.ts_venue_ns),
            instrument=paid.instrument,
            rate_e8=paid.rate_e8,
            mark_ticks=paid.mark_ticks,
            long_e8=paid.long_e8,
            short_e8=paid.short_e8,
            charged_ns=paid.charged_ns,
        )
        self._post.publish(booked, RISK)
