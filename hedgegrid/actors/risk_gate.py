"""The gate as the risk actor has it: a request and the permission in, an approval or a refusal in words out.

The decision is ``core.risk``'s; here it is given the book, the clock and the permission.

Invariants: an order that passes is in the book before its approval exists; a refusal tells the figures that were
compared.
"""

from collections.abc import Sequence

import attrs

from hedgegrid.actors.risk_book import RiskBook
from hedgegrid.core import order_rate, permission, refusal, risk
from hedgegrid.core.gate_records import Beat, Pace, RiskLimits
from hedgegrid.core.pause import ACCOUNT, Reason
from hedgegrid.core.permission_events import ReasonRaised
from hedgegrid.core.risk_figures import LimitFigure, figures
from hedgegrid.messages.events import Approved, Refused
from hedgegrid.model.instrument import Instrument
from hedgegrid.model.order import Kind, OrderRequest, Purpose
from hedgegrid.runtime.clock import Clock


@attrs.define(eq=False)
class OrderPace:
    """The orders of the account's last minute; it outlives its actor, so that a restart lets no more pass."""

    pace: Pace = attrs.field(factory=Pace)
    beats: list[Beat] = attrs.field(factory=lambda: [Beat() for _ in range(order_rate.SECONDS)])


class Gate:
    """The limits of one account over its book."""

    def __init__(
        self,
        book: RiskBook,
        instruments: Sequence[Instrument],
        limits: RiskLimits,
        version: str,
        clock: Clock,
        sent: OrderPace,
    ) -> None:
        """Judge by ``limits``, which every approval names by ``version``; ``sent`` is what passed before."""
        self._book = book
        self._instruments = instruments
        self._limits = limits
        self._version = version
        self._clock = clock
        self._pace = sent.pace
        self._beats = sent.beats

    def judge(self, request: OrderRequest, standing: permission.PermissionState) -> Approved | Refused:
        """Check one order of a batch, for which the book has been refreshed, and book it where it passes."""
        book = self._book
        candidate = book.candidate(request)
        index = candidate.instrument
        if request.purpose is Purpose.ENTRY:
            may_send = permission.may_increase(standing, request.instrument)
        else:
            may_send = permission.may_reduce(standing)
        has_price = 0 if request.kind is Kind.MARKET else 1
        now_ns = self._clock.now_ns()
        self._count(now_ns)
        code = risk.check(
            self._limits,
            book.account,
            book.rules,
            book.exposures,
            book.booked[index],
            book.tiers[index],
            candidate,
            has_price,
            1 if may_send else 0,
            request.decided_ns,
            now_ns,
        )
        if code == risk.ORDERS_PER_MINUTE:
            order_rate.note_breach(self._pace, now_ns)
        if code == risk.PASS:
            order_rate.note_sent(self._pace, self._beats)
            book.reserve(candidate)
            expires_ns = request.decided_ns + self._limits.approval_ttl_ns
            return risk.approve(code, request, limits_version=self._version, expires_ns=expires_ns)
        case = refusal.Case(
            limits=self._limits,
            account=book.account,
            rules=book.rules,
            exposures=book.exposures,
            tiers=book.tiers[index],
            order=candidate,
            has_price=has_price,
            instruments=self._instruments,
            decided_ns=request.decided_ns,
            now_ns=now_ns,
            standing=_words(standing, request.instrument),
        )
        limit, value, remedy = refusal.explain(code, case)
        return Refused(request=request, control=risk.CONTROL_NAMES[code], limit=limit, value=value, remedy=remedy)

    def judge_amendment(self, request: OrderRequest, standing: permission.PermissionState) -> Approved | Refused | None:
        """Check another quantity of an entry in the entry's own place; None where the entry has ended.

        From then on the larger of both quantities counts, until the exchange has told one.
        """
        lifted = self._book.lift(request.client_id)
        if lifted is None:
            return None
        verdict = self.judge(request, standing)
        self._book.put_back(lifted)
        return verdict

    def _count(self, now_ns: int) -> None:
        """Bring the orders of the last minute up to now."""
        order_rate.advance(self._pace, self._beats, now_ns)
        self._book.account.orders_in_minute = self._pace.orders

    def rate_trip(self) -> ReasonRaised | None:
        """Give the reason that rises where the limit of orders in a minute has been met once too often."""
        if self._pace.latches == 0:
            return None
        order_rate.forget_breaches(self._pace)
        figures = {
            "orders": self._pace.orders,
            "limit": self._limits.max_orders_per_minute,
            "minutes": order_rate.LATCH_MINUTES,
            "within_minutes": order_rate.LATCH_SPAN_MINUTES,
        }
        return ReasonRaised(reason=Reason.ORDER_RATE, figures=figures)

    def resume(self) -> None:
        """The operator has resumed: breaches count from nothing."""
        order_rate.forget_breaches(self._pace)

    def figures(self) -> tuple[LimitFigure, ...]:
        """Give every limit of the gate beside its present value."""
        book = self._book
        book.refresh()
        self._count(self._clock.now_ns())
        return figures(
            self._limits,
            book.account,
            book.rules,
            book.exposures,
            [order for booked in book.booked for order in booked],
            now_ns=self._clock.now_ns(),
        )


def _words(standing: permission.PermissionState, instrument: str) -> str:
    """Tell the mode, and the reasons that hold the account or one instrument."""
    reasons = [one.reason.value for one in standing.reasons if one.scope in (ACCOUNT, instrument)]
    return standing.mode.value + (f": {', '.join(reasons)}" if reasons else "")
