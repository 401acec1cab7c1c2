"""What a person may read of the risk actor while it runs: its limits and controls with their values, and the account.

Invariant: reading changes nothing that is decided; every figure is the book's or the controls' own.
"""

from collections.abc import Callable

from hedgegrid.actors.risk_book import RiskBook
from hedgegrid.actors.risk_session import SessionControls
from hedgegrid.core.account_figures import AccountFigures
from hedgegrid.core.breaker import Breaker
from hedgegrid.core.gate_records import RiskLimits
from hedgegrid.core.permission import StandingReason
from hedgegrid.core.risk_figures import LimitFigure, figures
from hedgegrid.core.session_figures import ControlFigure, breaker_control
from hedgegrid.runtime.clock import Clock


class RiskReadings:
    """The readings of one life of the risk actor."""

    def __init__(
        self,
        *,
        book: RiskBook,
        session: SessionControls,
        breaker: Breaker,
        limits: RiskLimits,
        clock: Clock,
        recount: Callable[[], None],
        reasons: Callable[[], tuple[StandingReason, ...]],
    ) -> None:
        """``recount`` brings the book's exposures to the present marks; ``reasons`` gives those that stand."""
        self._book = book
        self._session = session
        self._breaker = breaker
        self._limits = limits
        self._clock = clock
        self._recount = recount
        self.reasons = reasons

    def limits(self) -> tuple[LimitFigure, ...]:
        """Give every limit of the gate beside its present value."""
        self._recount()
        book = self._book
        return figures(
            self._limits,
            book.rules,
            book.exposures,
            book.booked,
            now_ns=self._clock.now_ns(),
            balance_ns=book.balance_ns,
        )

    def controls(self) -> tuple[ControlFigure, ...]:
        """Give every session control beside its present value."""
        now_ns = self._clock.now_ns()
        return (*self._session.figures(now_ns), breaker_control(self._breaker, now_ns))

    def account(self) -> AccountFigures:
        """Give the account as it is held now."""
        return self._book.figures(self._session.peak_e8)
