"""What a person may read of the risk actor while it runs: its limits and controls with their values, and the account.

Invariant: reading changes nothing that is decided; every figure is the book's or the controls' own.
"""

from collections.abc import Callable

from hedgegrid.actors.risk_book import RiskBook
from hedgegrid.actors.risk_gate import Gate
from hedgegrid.actors.risk_session import SessionControls
from hedgegrid.core.account_figures import AccountFigures
from hedgegrid.core.breaker import Breaker
from hedgegrid.core.permission import StandingReason
from hedgegrid.core.risk_figures import LimitFigure
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
        gate: Gate,
        clock: Clock,
        reasons: Callable[[], tuple[StandingReason, ...]],
    ) -> None:
        """``reasons`` gives those that stand."""
        self._book = book
        self._session = session
        self._breaker = breaker
        self._gate = gate
        self._clock = clock
        self.reasons = reasons

    def limits(self) -> tuple[LimitFigure, ...]:
        """Give every limit of the gate beside its present value."""
        return self._gate.figures()

    def controls(self) -> tuple[ControlFigure, ...]:
        """Give every session control beside its present value."""
        now_ns = self._clock.now_ns()
        return (*self._session.figures(now_ns), breaker_control(self._breaker, now_ns))

    def account(self) -> AccountFigures:
        """Give the account as it is held now."""
        return self._book.figures(self._session.memory)
