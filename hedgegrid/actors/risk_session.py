"""The session controls over the risk actor's own book: when they are judged, and what is kept of them.

The decisions are ``core.session``'s. Here are the equity and the margin that they judge, and the journal's memory.

Invariants: nothing is judged while a price or a wallet that it needs is not known; what the controls remember is in
the journal's tape before anything that follows from it; a resume that comes before the first point is acted on at
that point, with its equity.
"""

from collections.abc import Callable, Mapping, Sequence

import attrs

from hedgegrid.actors.risk_book import RiskBook
from hedgegrid.core import session, session_reasons
from hedgegrid.core.gate_records import Realised, SessionLimits, SessionState
from hedgegrid.core.pause import ControlAction, Reason
from hedgegrid.core.permission import LatchedEntry
from hedgegrid.core.permission_events import ReasonGone, ReasonRaised
from hedgegrid.core.session_figures import ControlFigure, Rate, account_controls, instrument_controls
from hedgegrid.messages.events import FundingRate
from hedgegrid.model.account import SessionMemory
from hedgegrid.model.market import Bar


@attrs.frozen(kw_only=True)
class SessionSettings:
    """The controls' limits, and for each instrument how many of its bars make a year.

    ``actions``: what reasons do whose controls are judged elsewhere.
    """

    limits: SessionLimits
    bars_per_year: Mapping[str, float]
    actions: Mapping[Reason, ControlAction] = attrs.field(factory=dict)


class SessionControls:
    """The session controls of one account."""

    def __init__(
        self,
        book: RiskBook,
        settings: SessionSettings,
        *,
        remembered: SessionMemory | None,
        latched: Sequence[LatchedEntry],
        keep: Callable[[SessionMemory], None],
    ) -> None:
        """Go on from what is ``remembered`` (None: the account has no past) with the ``latched`` reasons.

        ``keep`` has the journal remember.
        """
        self._book = book
        self._settings = settings
        self._limits = settings.limits
        self._actions = {**session_reasons.actions(self._limits), **settings.actions}
        self._realised = {name: Realised() for name in book.names}
        self._last_bar_ns: dict[str, int] = {}
        self._rates: dict[str, Rate] = {}
        self._keep = keep
        self._kept: tuple[int, int, int, int] | None = None
        self._begun = remembered is not None
        self._judged = False
        self._resume: tuple[bool] | None = None
        self._state = SessionState(tripped=session_reasons.mask_of(latched))
        if remembered is not None:
            self._take_up(remembered)

    def _take_up(self, memory: SessionMemory) -> None:
        """Go on where the last boot, or the last life of this actor, stopped."""
        state = self._state
        state.peak_e8 = memory.peak_e8
        state.day_base_e8 = memory.day_base_e8
        state.session_base_e8 = memory.session_base_e8
        state.last_e8 = memory.last_e8
        state.next_day_ns = memory.next_day_ns
        session.reckon_floor(self._limits, state)
        self._kept = self._remembered()

    def action(self, reason: Reason) -> ControlAction:
        """Give what a reason does: as its control says, else it takes entries away where its kind does."""
        return self._actions.get(reason, ControlAction.CANCEL_ENTRIES)

    # --- the account's equity ---------------------------------------------------------------------------------------

    def begin(self, ts_ns: int) -> None:
        """Take the wallet that the exchange tells for the beginning of an account that has no past."""
        if not self._begun:
            self._begun = True
            tripped = self._state.tripped
            session.begin(self._limits, self._state, self._book.wallet_e8, ts_ns)
            self._state.tripped = tripped
            session.reckon_floor(self._limits, self._state)
            self._remember()

    def judge(self, ts_ns: int) -> tuple[ReasonRaised, ...]:
        """Judge the equity of an instant, all of whose marks are known; give the reasons that rise."""
        equity_e8 = self._book.equity_e8()
        if not self._begun or equity_e8 is None:
            return ()
        self._judged = True
        if self._resume is not None:
            (new_peak,), self._resume = self._resume, None
            self._lift(equity_e8, ts_ns, new_peak=new_peak)
        maintenance_e8 = self._book.maintenance_e8()
        newly = session.observe(self._limits, self._state, equity_e8, maintenance_e8, ts_ns)
        self._remember()
        return tuple(
            ReasonRaised(
                reason=session_reasons.REASONS[bit],
                figures=session_reasons.equity_figures(bit, self._limits, self._state, equity_e8, maintenance_e8),
            )
            for bit in session_reasons.EQUITY_BITS
            if newly & bit
        )

    def resume(self, ts_ns: int, *, new_peak: bool) -> tuple[Reason, ...]:
        """Take the operator's word: give the reasons that it lifts. A drawdown goes with a new peak alone."""
        equity_e8 = self._book.equity_e8()
        if self._judged and equity_e8 is not None:
            self._lift(equity_e8, ts_ns, new_peak=new_peak)
        else:
            self._resume = (new_peak,)
        return tuple(reason for reason in Reason if new_peak or reason is not Reason.DRAWDOWN)

    def shift(self, delta_e8: int) -> None:
        """Let money that came or went beside all results move what results are measured from (DESIGN 15.6)."""
        state = self._state
        state.peak_e8 += delta_e8
        state.day_base_e8 += delta_e8
        state.session_base_e8 += delta_e8
        state.last_e8 += delta_e8
        session.reckon_floor(self._limits, state)
        self._remember()

    def _lift(self, equity_e8: int, ts_ns: int, *, new_peak: bool) -> None:
        for bit in session_reasons.EQUITY_BITS:
            session.lift(self._limits, self._state, bit, equity_e8, ts_ns, int(new_peak))
        self._remember()

    def _remembered(self) -> tuple[int, int, int, int]:
        state = self._state
        return (state.peak_e8, state.day_base_e8, state.session_base_e8, state.next_day_ns)

    def _remember(self) -> None:
        """Have the journal keep what has changed; the equity seen last it knows from its samples."""
        if self._kept == self._remembered():
            return
        self._kept = self._remembered()
        self._keep(self.memory)

    # --- one instrument ---------------------------------------------------------------------------------------------

    def feed(self, instrument: str, bar: Bar) -> None:
        """Take a closed bar into an instrument's realised volatility, once; the value at risk follows it."""
        if bar.open_ns > self._last_bar_ns.get(instrument, -1):
            self._last_bar_ns[instrument] = bar.open_ns
            session.feed_volatility(self._realised[instrument], bar.close_ticks, self._limits.volatility_lambda)
            self._book.measure(instrument, self._realised[instrument])

    def judge_volatility(self, instrument: str, *, stands: bool) -> ReasonRaised | ReasonGone | None:
        """Judge an instrument's realised volatility; None where it is calm and no reason ``stands`` that could go."""
        realised, bars_per_year = self._realised[instrument], self._settings.bars_per_year[instrument]
        wild = session.is_wild(self._limits, realised, bars_per_year)
        if not wild and not stands:
            return None
        figures = session_reasons.volatility_figures(self._limits, realised, bars_per_year)
        kind = ReasonRaised if wild else ReasonGone
        return kind(reason=Reason.VOLATILITY_HALT, scope=instrument, figures=figures)

    def judge_funding(self, rate: FundingRate) -> ReasonRaised | ReasonGone:
        """Judge what an instrument's funding costs the leg that pays."""
        self._rates[rate.instrument] = Rate(
            rate_e8=rate.rate_e8, interval_ns=rate.funding_interval_ns, next_ns=rate.next_funding_ns
        )
        figures = session_reasons.funding_figures(self._limits, rate.rate_e8, rate.funding_interval_ns)
        dear = session.is_funding_dear(self._limits, rate.rate_e8, rate.funding_interval_ns)
        kind = ReasonRaised if dear else ReasonGone
        return kind(reason=Reason.FUNDING_KILL, scope=rate.instrument, figures=figures)

    # --- for people -------------------------------------------------------------------------------------------------

    @property
    def memory(self) -> SessionMemory:
        """What the equity is measured from: its peak, and where day and session began, less what was drawn since."""
        state = self._state
        return SessionMemory(
            peak_e8=state.peak_e8,
            day_base_e8=state.day_base_e8,
            session_base_e8=state.session_base_e8,
            last_e8=state.last_e8,
            next_day_ns=state.next_day_ns,
        )

    def figures(self, now_ns: int) -> tuple[ControlFigure, ...]:
        """Give every control beside its present value."""
        equity_e8 = self._book.equity_e8() if self._begun else None
        maintenance_e8 = 0 if equity_e8 is None else self._book.maintenance_e8()
        return (
            *account_controls(
                self._limits, self._state, self._actions, equity_e8=equity_e8, maintenance_e8=maintenance_e8
            ),
            *instrument_controls(
                self._limits,
                self._actions,
                [(self._realised[name], self._settings.bars_per_year[name]) for name in self._book.names],
                [self._rates.get(name) for name in self._book.names],
                now_ns,
            ),
        )
