"""The risk actor: every order passes here, and here is the trading permission.

Invariants: it approves nothing before the exchange's word on every instrument; an order is booked before its approval
leaves; every change of permission is journaled with its figures and told to the strategies before any later order is
judged.
"""

from collections.abc import Callable, Sequence

import attrs

from hedgegrid.actors.breaker_watch import BreakerWatch
from hedgegrid.actors.flattening import Flattening, wanted
from hedgegrid.actors.permission_words import PermissionWords
from hedgegrid.actors.post import EXECUTOR, Post, strategy_name
from hedgegrid.actors.risk_account import AccountWord, follow
from hedgegrid.actors.risk_book import RiskBook, leg_of
from hedgegrid.actors.risk_gate import Gate
from hedgegrid.actors.risk_messages import RiskMessage
from hedgegrid.actors.risk_readings import RiskReadings
from hedgegrid.actors.risk_session import SessionControls
from hedgegrid.actors.risk_settings import Counted, RiskSettings
from hedgegrid.core import permission, permission_events
from hedgegrid.core.fixed import ceil_div
from hedgegrid.core.gate_records import InstrumentRisk
from hedgegrid.core.pause import ACCOUNT, ControlAction, Reason, is_latched
from hedgegrid.core.permission_events import (
    FlattenDone,
    FlattenStarted,
    OperatorPause,
    OperatorResume,
    PermissionEvent,
    ReasonGone,
    ReasonRaised,
    Started,
    Tick,
    Warmed,
)
from hedgegrid.core.permission_events import (
    Hydrated as HydratedFact,
)
from hedgegrid.messages.commands import (
    CancelEntries,
    ClearReason,
    Flatten,
    Halt,
    IntentBatch,
    Kill,
    Pause,
    RaiseReason,
    Rehydrate,
    Resume,
    Throttle,
    Wake,
)
from hedgegrid.messages.events import (
    AccountHydrated,
    Approved,
    ApprovedBatch,
    BarClosed,
    EquitySampled,
    ExchangeErred,
    ExecutionBatch,
    FlatConfirmed,
    FundingPaid,
    FundingRate,
    HistoryLoaded,
    Hydrated,
    Liquidated,
    MarkPrice,
    Message,
    Quote,
    Refused,
    RefusedBatch,
    StillHeld,
    StrategyReady,
)
from hedgegrid.model.instrument import Instrument
from hedgegrid.model.order import Leg, Purpose
from hedgegrid.ports import RiskMemory
from hedgegrid.runtime.actor import Actor
from hedgegrid.runtime.clock import Clock
from hedgegrid.runtime.mailbox import Mailbox
from hedgegrid.runtime.router import Router

TICK_NS = 1_000_000_000
"""Reasons go at ticks of this length, counted from when the first of those that stand rose."""


class Risk(Actor[RiskMessage]):
    """The gate and the permission of one account."""

    def __init__(
        self,
        *,
        mailbox: Mailbox[RiskMessage],
        router: Router,
        clock: Clock,
        post: Post,
        instruments: Sequence[Instrument],
        rules: Sequence[InstrumentRisk],
        settings: RiskSettings,
        memory: RiskMemory,
        counted: Counted,
        on_liquidated: Callable[[], None],
    ) -> None:
        """Go on with what ``memory`` holds of the lives before, and with what this life has ``counted``.

        ``on_liquidated`` ends the run.
        """
        super().__init__(mailbox=mailbox, router=router, clock=clock)
        self._post = post
        own_rules = [attrs.evolve(rule) for rule in rules]
        self._book = RiskBook(instruments, own_rules, settings.limits, stop_overlap_ns=settings.stop_overlap_ns)
        self._book.sums_are_ours = settings.wallet_is_polled
        self._gate = Gate(self._book, instruments, settings.limits, settings.limits_version, clock, counted.sent)
        self._settings = settings
        self._permission = permission.initial(settings.resume_after_ns, memory.latched())
        self._session = SessionControls(
            self._book,
            settings.session,
            remembered=memory.session(),
            latched=memory.latched(),
            keep=memory.set_session,
        )
        self._flattening = Flattening(post, self._book, clock, self._session.action)
        action, closes, throttle_ppm = self._session.action, self._flattening.closes, memory.throttle_ppm()
        self._words = PermissionWords(post, self._book.names, action, closes, throttle_ppm, counted.permits)
        self._keep_latched = memory.set_latched
        self._on_liquidated = on_liquidated
        self._sampled_ns = 0
        self._last_sample: Halt | None = None
        self._ticks_from_ns: int | None = None
        self._look_ns = 0
        self._liquidated = False
        self._breaker = BreakerWatch(
            counted.breaker, wake_at=lambda ns: self.remind_at(ns, Wake(**post.head(None, ns)))
        )
        self.readings = RiskReadings(
            book=self._book,
            session=self._session,
            breaker=counted.breaker,
            gate=self._gate,
            clock=clock,
            reasons=lambda: self._permission.reasons,
        )

    async def on_start(self) -> None:
        """Ask the executor where the account stands."""
        self._step(None, Started())
        for one in self._permission.reasons:
            # What was latched before this start still stands, and is said again: a pause is never silent.
            self._words.tell_word(self._permission, "still_latched", one)
        self._breaker.begin(self._permission, self.clock.now_ns())
        self._post.send(Rehydrate(**self._post.head(), instrument="", why="risk started"), EXECUTOR)

    def is_quick(self, message: RiskMessage) -> bool:  # noqa: ARG002 - whatever it is
        """All of the gate's work is."""
        return True

    async def handle(self, message: RiskMessage) -> None:
        """Judge, book, or change the permission."""
        match message:
            case Quote() | MarkPrice():
                self._take_price(message)
            case IntentBatch():
                self._judge(message)
            case ExecutionBatch():
                self._on_execution(message)
            case FundingPaid():
                self._book.apply_funding(message)
            case BarClosed() | HistoryLoaded() | FundingRate():
                self._on_market(message)
            case Hydrated() | AccountHydrated() | StrategyReady() | Rehydrate():
                self._on_state(message)
            case _ if isinstance(message, AccountWord):
                follow(message, self._book, self._session)
            case Flatten() | Kill() | FlatConfirmed() | StillHeld():
                self._on_flatten(message)
            case Liquidated():
                self._liquidated = True
                self._step(message, permission_events.Halt(figures={"equity_e8": message.equity_e8}))
                self._on_liquidated()
            case _:
                self._on_control(message)

    # --- prices and money -------------------------------------------------------------------------------------------

    def _take_price(self, message: Quote | MarkPrice) -> None:
        index = self._book.index[message.instrument]
        rule = self._book.rules[index]
        if isinstance(message, Quote):
            rule.bid_ticks = message.bid_ticks
            rule.ask_ticks = message.ask_ticks
            rule.quote_ns = message.ts_venue_ns
            if not self._settings.wallet_is_polled:
                # The simulated exchange pushes the wallet with everything it says; a quiet one is polled.
                self._book.hear_of_wallet(message.ts_venue_ns)
            return
        self._book.set_mark(index, message.mark_ticks, message.ts_venue_ns)
        if message.last_of_instant:
            self._judge_session(message)

    def _sample_equity(self, cause: BarClosed | Halt) -> None:
        """Note the account as the decision of this instant sees it, once an instant; nothing while it is not known."""
        equity_e8 = self._book.equity_e8()
        if cause.ts_venue_ns == self._sampled_ns or equity_e8 is None:
            return
        self._sampled_ns = cause.ts_venue_ns
        self._post.publish(
            EquitySampled(
                **self._post.head(cause),
                wallet_e8=self._book.wallet_e8,
                unrealised_e8=equity_e8 - self._book.wallet_e8,
                equity_e8=equity_e8,
                realised_e8=self._book.realised_e8,
                fees_e8=self._book.fees_e8,
                funding_e8=self._book.funding_e8,
            )
        )

    def _on_execution(self, message: ExecutionBatch) -> None:
        self._book.apply(message.instrument, message.events)
        flattening = self._permission.mode is permission.Mode.FLATTENING
        if flattening and not self._flattening.is_under_way(self._permission) and self._book.is_all_flat():
            self._step(message, FlattenDone())

    # --- session controls -------------------------------------------------------------------------------------------

    def _on_market(self, message: BarClosed | HistoryLoaded | FundingRate) -> None:
        """Sample the account at a closed bar, and judge what belongs to one instrument."""
        name = message.instrument
        match message:
            case BarClosed():
                self._sample_equity(message)
                self._session.feed(name, message.bar)
                verdict = self._session.judge_volatility(name, stands=bool(self._permission.reasons))
                if verdict is not None:
                    self._judge_instrument(message, verdict)
            case HistoryLoaded():
                for bar in message.bars:
                    self._session.feed(name, bar)
            case FundingRate():
                self._judge_instrument(message, self._session.judge_funding(message))

    def _judge_session(self, cause: MarkPrice) -> None:
        """Judge the account's equity where all marks of an instant are known, once what is held has been read."""
        if self._liquidated or not permission.may_reduce(self._permission):
            return
        for raised in self._session.judge(cause.ts_venue_ns):
            self._step(cause, raised)
        if self._permission.reasons:
            self._flatten_what_stands(cause)
            self._flattening.go_on(cause, self._permission, self._step)
            self._flattening.confirm_control(cause, self._permission)

    def _judge_instrument(self, cause: BarClosed | FundingRate, verdict: ReasonRaised | ReasonGone) -> None:
        """Act on a control of one instrument; that it does not stand is no news where nothing does."""
        if isinstance(verdict, ReasonGone) and not self._permission.reasons:
            return
        self._step(cause, verdict)
        if isinstance(verdict, ReasonRaised):
            self._flatten_what_stands(cause, cause.instrument)

    def _flatten_what_stands(self, cause: Message, *names: str) -> None:
        """Close what is held where a control stands that flattens: all that it covers, or the instruments named.

        At every point anew: an entry that filled before its cancel arrived, a restart or a refusal in between leave
        something that is still to be closed.
        """
        for reason in self._permission.reasons:
            if self._session.action(reason.reason) is not ControlAction.FLATTEN:
                continue
            covered = self._book.names if reason.scope == ACCOUNT else (reason.scope,)
            held = [name for name in names or covered if name in covered and not self._book.is_flat(name)]
            if held and reason.scope == ACCOUNT and is_latched(reason.reason):
                self._step(cause, FlattenStarted(reason=reason.reason, figures=dict(reason.figures)))
                self._flattening.control_began()
            for name in held:
                self._flattening.close(cause, name, tuple(Leg))

    def _on_flatten(self, message: Flatten | Kill | FlatConfirmed | StillHeld) -> None:
        """Begin, or go on with, what a person wants closed, and end it when the exchange has shown it flat."""
        match message:
            case Flatten() | Kill():
                self._step(message, wanted(self._permission, message))
                self._flattening.begin()
                self._flattening.go_on(message, self._permission, self._step)
            case FlatConfirmed():
                if self._flattening.done(message, self._permission):
                    self._step(message, FlattenDone())
            case StillHeld():
                self._flattening.ask_again()

    # --- the gate ---------------------------------------------------------------------------------------------------

    def _judge(self, batch: IntentBatch) -> None:
        """Check every order of a batch, book what passes, and send both answers."""
        self._book.refresh()
        now_ns = self.clock.now_ns()
        self._book.lapse(now_ns)
        self._book.retire(batch.retires, now_ns)
        approved: list[Approved] = []
        refused: list[Refused] = []
        for request in batch.orders:
            verdict = self._gate.judge(request, self._permission)
            if isinstance(verdict, Approved):
                approved.append(verdict)
            else:
                refused.append(verdict)
        amended = self._judge_amendments(batch, refused)
        # Without its successor an old stop stays.
        bare = {one.request.leg for one in refused if one.request.purpose is Purpose.STOP}
        kept = [name for name in batch.retires if leg_of(name) in bare]
        self._book.keep(kept)
        retires = tuple(name for name in batch.retires if name not in kept)
        if refused:
            self._post.publish(
                RefusedBatch(
                    **self._post.head(batch), instrument=batch.instrument, refused=tuple(refused), kept=tuple(kept)
                ),
                strategy_name(batch.instrument),
            )
        if approved or batch.cancels or retires or amended:
            self._post.publish(
                ApprovedBatch(
                    **self._post.head(batch),
                    instrument=batch.instrument,
                    approved=tuple(approved),
                    cancels=batch.cancels,
                    retires=retires,
                    amends=amended,
                ),
                EXECUTOR,
            )
        self._step_if(batch, self._gate.rate_trip())

    def _judge_amendments(self, batch: IntentBatch, refused: list[Refused]) -> tuple[Approved, ...]:
        """Check the amendments of a batch. Of an order that has ended nothing is said: the strategy hears its end."""
        verdicts = [self._gate.judge_amendment(request, self._permission) for request in batch.amends]
        refused.extend(one for one in verdicts if isinstance(one, Refused))
        return tuple(one for one in verdicts if isinstance(one, Approved))

    # --- state and permission ---------------------------------------------------------------------------------------

    def _on_state(self, message: Hydrated | AccountHydrated | StrategyReady | Rehydrate) -> None:
        match message:
            case Hydrated():
                self._book.set_instrument(message)
            case AccountHydrated():
                self._book.set_balance(message.balance, message.ts_venue_ns, of_books=message.of_books)
                self._session.begin(message.ts_venue_ns)
                self._step(message, HydratedFact())
                if self._settings.start_halted:
                    self._step(message, permission_events.Halt(figures={"on_start": "halt"}))
            case StrategyReady():
                self._words.ready(message.instrument)
                if not self._words.unready:
                    self._step(message, Warmed())
                self._words.tell_views(message, self._permission)
            case Rehydrate():
                # Passed on, so that the executor answers after all that was asked for before.
                self._post.send(message, EXECUTOR)

    def _on_control(self, message: Message) -> None:
        """Act on reasons and on the operator's word."""
        match message:
            case RaiseReason():
                reason = Reason(message.reason)
                self._step(message, ReasonRaised(reason=reason, scope=message.scope, figures=dict(message.figures)))
            case ClearReason():
                self._step(
                    message,
                    ReasonGone(reason=Reason(message.reason), scope=message.scope, figures=dict(message.figures)),
                )
            case Pause():
                self._step(message, OperatorPause(scope="", figures={}))
            case Resume():
                self._resume(message)
            case Halt():
                self._step(message, permission_events.Halt(figures={"account": "stopping"}))
                # The last sample of a run: what a liquidation or the last fills left behind. Behind the control lane,
                # where fills may wait that the journal has already.
                self._last_sample = message
                self.send(self.name, Wake(**self._post.head(message)))
            case Throttle():
                self._words.throttle_ppm = message.factor_ppm
                self._words.tell_views(message, self._permission)
            case CancelEntries():
                self._tell_strategies(message)
            case ExchangeErred():
                self._step_if(message, self._breaker.erred(message, self.clock.now_ns()))
            case Wake():
                self._sample_the_last()
                self._step_if(message, self._breaker.look(self.clock.now_ns()))
                self._step(message, Tick())

    def _sample_the_last(self) -> None:
        """Note the account as a run that stops leaves it, once."""
        if self._last_sample is not None:
            self._sampled_ns = 0
            self._sample_equity(self._last_sample)
            self._last_sample = None

    def _resume(self, message: Resume) -> None:
        """Lift what the operator's word lifts; a drawdown stays until its peak is given up too."""
        lifted = self._session.resume(message.ts_venue_ns, new_peak=message.new_peak)
        self._gate.resume()
        self._step(message, OperatorResume(reasons=lifted))
        for one in self._permission.reasons:
            if one.reason is Reason.DRAWDOWN:
                self._words.tell_word(self._permission, "still_latched", one, lifted_by="run --resume --new-peak")

    def _tell_strategies(self, message: Message) -> None:
        for name in self._book.names:
            self._post.send(message, strategy_name(name))

    def _step_if(self, cause: Message, event: PermissionEvent | None) -> None:
        if event is not None:
            self._step(cause, event)

    def _step(self, cause: Message | None, event: PermissionEvent) -> None:
        """Let the permission machine take an event, journal what changed, and tell the strategies."""
        before = permission.export_latched(self._permission)
        self._permission, changes = permission.step(self._permission, event, self.clock.now_ns())
        after = permission.export_latched(self._permission)
        if after != before:
            self._keep_latched(after)
        self._words.tell_changes(cause, changes)
        if changes:
            self._words.tell_views(cause, self._permission)
        self._look_again(cause)

    def _look_again(self, cause: Message | None) -> None:
        """Come back when a recovering reason can go: at a tick of the clock that runs while any reason stands."""
        now_ns = self.clock.now_ns()
        if not self._permission.reasons:
            self._ticks_from_ns = None
            return
        if self._ticks_from_ns is None:
            self._ticks_from_ns = now_ns
        free_ns = [one.gone_ns + one.resume_after_ns for one in self._permission.reasons if one.gone_ns is not None]
        if not free_ns:
            return
        # A tick at this very moment has been: timers fire before whatever else happens at their time.
        ticks = max(
            ceil_div(min(free_ns) - self._ticks_from_ns, TICK_NS), (now_ns - self._ticks_from_ns) // TICK_NS + 1
        )
        due_ns = self._ticks_from_ns + ticks * TICK_NS
        if due_ns != self._look_ns:
            self._look_ns = due_ns
            self.remind_at(due_ns, Wake(**self._post.head(cause, due_ns)))
