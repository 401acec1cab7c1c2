"""The composition root: the one place that wires concrete classes into a house that can run.

Read ``open_house`` for what there is, then ``House.tree`` for who supervises whom. ``lifecycle.py`` lets a house live.
"""

import math
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import attrs

from hedgegrid import __version__
from hedgegrid.actors.executor import Executor
from hedgegrid.actors.executor_parts import ExecutorSettings
from hedgegrid.actors.feed import Feed, SourceTimes
from hedgegrid.actors.flattening import with_word
from hedgegrid.actors.funding import RATE_GRACE_NS, Funding
from hedgegrid.actors.grid_memory import room_for_actions
from hedgegrid.actors.journal_writer import JournalWriter
from hedgegrid.actors.mailboxes import mailbox_maker
from hedgegrid.actors.order_names import Numbering
from hedgegrid.actors.post import EXECUTOR, FEED, FUNDING, JOURNAL, RISK, WATCHDOG, Post, strategy_name
from hedgegrid.actors.risk import Risk
from hedgegrid.actors.risk_session import SessionSettings
from hedgegrid.actors.risk_settings import Counted, RiskSettings
from hedgegrid.actors.sent_tally import SentTally
from hedgegrid.actors.strategy import Strategy as GridStrategy
from hedgegrid.actors.watchdog import Watchdog
from hedgegrid.config.params import (
    adopting_params,
    bar_length_ns,
    bars_per_year,
    breaker_limits,
    grid_params,
    health_limits,
    instrument_risks,
    limits_version,
    race_limits,
    risk_limits,
    session_limits,
)
from hedgegrid.config.render import config_hash
from hedgegrid.config.schema import AccountConfig
from hedgegrid.core.account_figures import AccountFigures
from hedgegrid.core.breaker import Breaker
from hedgegrid.core.codes import NEVER_NS
from hedgegrid.core.countdown import Arming, CountdownRule
from hedgegrid.core.order_state import OrderState
from hedgegrid.core.pause import Reason
from hedgegrid.core.protection import ProtectionLimits
from hedgegrid.errors import Fatal
from hedgegrid.journal.journal import SqliteJournal
from hedgegrid.journal.lock import AccountLock, locks_folder
from hedgegrid.journal.memory import JournalMemory
from hedgegrid.journal.opening import open_journal
from hedgegrid.kill_switch import KillSwitch
from hedgegrid.messages.commands import Flatten, Kill, Pause, Throttle
from hedgegrid.messages.events import Incident, Message
from hedgegrid.model.order import Purpose
from hedgegrid.ops.alerting import Alerting
from hedgegrid.ops.control import ControlReading, FlattenStage
from hedgegrid.ops.http import HttpServer
from hedgegrid.ops.limits import ControlSources, control_readings
from hedgegrid.ops.operator import Operator
from hedgegrid.ops.readings import Pace, RuntimeReading, every_child
from hedgegrid.ops.view import AccountView
from hedgegrid.runtime.activity import MENDING_PASSES, Activity
from hedgegrid.runtime.fence import Pulse
from hedgegrid.runtime.relay import Relay
from hedgegrid.runtime.router import Router
from hedgegrid.runtime.specs import (
    Child,
    ChildSpec,
    ChildState,
    Restart,
    RestartLimits,
    Strategy,
)
from hedgegrid.runtime.supervisor import Supervisor
from hedgegrid.sinks import Sinks, hooks_of
from hedgegrid.units import NS_PER_S, ns_from_ms
from hedgegrid.worlds.world import Bound, Past, RunOptions, World

ANSWER_MORE_NS = NS_PER_S
"""What the stream gets beyond a request's validity to tell what became of it, before the exchange is asked."""
REQUEST_MORE_NS = 10 * NS_PER_S
"""What a request gets beyond its validity: one of many parts takes several turns."""
BAR_COMMIT_NS = 50_000_000
"""How long a bar waits for its decision's commit to carry it to the disk."""
INSTRUMENTS_MAX = 64
"""Instruments of one account; their order numbers are apart by this."""
HISTORY_BARS_MIN = 200
_MAY_ARRIVE = (OrderState.SENT, OrderState.UNKNOWN)
Tell = Callable[[str], None]
"""Takes what a person should know."""
Reach = Callable[[Callable[[], Coroutine[Any, Any, None]]], Awaitable[None]]
"""Tries something that needs the exchange."""


async def at_once(attempt: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Try once."""
    await attempt()


async def open_house(
    world: World,
    config: AccountConfig,
    options: RunOptions,
    stack: ExitStack,
    tell: Tell,
    sinks: Sinks,
    reach: Reach = at_once,
) -> "House":
    """Open all that an account needs to live in ``world``, under ``stack``; ``tell`` gets what a person should know.

    ``reach`` tries what needs the exchange. Raises Fatal; where it tries once, Transient.
    """
    if len(config.grid) > INSTRUMENTS_MAX:
        raise Fatal(f"{len(config.grid)} instruments in one account: at most {INSTRUMENTS_MAX}")
    try:
        stack.enter_context(AccountLock(Path(config.journal.path)))
        if world.lock_name:
            # Two journals must not trade one account either.
            stack.enter_context(AccountLock(locks_folder() / world.lock_name))
        await reach(partial(world.prepare, tell))
        return await _furnished(config, options, world, stack, tell, sinks)
    except BaseException:  # broad: whatever it was, connections are closed on the way out
        await world.close()
        raise


async def _furnished(
    config: AccountConfig, options: RunOptions, world: World, stack: ExitStack, tell: Tell, sinks: Sinks
) -> "House":
    """Open the journal of a world that is prepared, and wire the house."""
    for grid, one in zip(config.grid, world.instruments, strict=True):
        # Refuse what cannot be counted before anything is written.
        grid_params(grid, one, config.risk)
    journal = open_journal(
        Path(config.journal.path),
        account=config.account.name,
        mode=config.account.mode,
        config_hash=config_hash(config),
        code_version=__version__,
        synchronous=config.journal.synchronous,
        threaded=options.speed is not None,
        instruments=world.instruments,
        wallet_e8=world.wallet_e8,
        boot_wall_ns=time.time_ns(),
        market=world.identity,
        quotes_kept=1_000_000 if config.journal.record_quotes else 0,
        opens=options.journal_opens,
    )
    stack.callback(journal.close, "failed", clean=False)
    # The first boot says whose it is: a start that was refused here has left a boot of its own.
    if world.lock_name and journal.past_boots and journal.past_boots[0].market != world.identity:
        raise Fatal(
            f"{journal.path} belongs to {journal.past_boots[0].market}, and this start is for {world.identity}: "
            "name the same exchange (--exchange, [venue]), or another journal"
        )
    began_ns = journal.past_boots[0].wall_ns if journal.past_boots else None
    world.begin(stack, Past(last_ns=journal.last_ts_ns(), began_ns=began_ns), tell)
    kill_switch = KillSwitch(config.risk.kill_switch, journal)
    await kill_switch.read_at_start(world.clock.now_ns(), tell)
    return House(config, options, world, journal, kill_switch, sinks)


class House:
    """One account's parts."""

    def __init__(
        self,
        config: AccountConfig,
        options: RunOptions,
        world: World,
        journal: SqliteJournal,
        kill_switch: KillSwitch,
        sinks: Sinks,
    ) -> None:
        """Wire the parts; nothing runs yet. ``sinks`` is told what nobody else can act on."""
        self.config = config
        self.options = options
        self.instruments = world.instruments
        self.world = world
        self.journal = journal
        self.clock = world.clock
        self.activity = Activity()
        self.sinks = sinks
        # Virtual time keeps to the loop's passes: there the order of who is ready is what is examined.
        relay = None if options.speed is None else Relay()
        self.router = Router(on_dead_letter=sinks.on_dead_letter, on_overflow=sinks.on_overflow, relay=relay)
        self.view = view = AccountView(config.account.name, self.instruments, throttle_ppm=journal.throttle_ppm())
        self.post = Post(router=self.router, journal=journal, clock=self.clock, tap=view.observe, stands=view.stands)
        self.memory = JournalMemory(journal, [one.name for one in self.instruments], order_no_stride=INSTRUMENTS_MAX)
        self.times, self.sent = SourceTimes(), SentTally()
        self.pulse, self.pace = Pulse(), Pace()
        self._actions = room_for_actions()
        self._rate_grace_ns = RATE_GRACE_NS if world.streamed else 0
        self.mailbox = mailbox_maker(self.activity)
        bound = Bound(settle=self.settle, quiet=self.quiet, left=self.left, activity=self.activity, report=self.report)
        self.fence = bound.fence
        world.attach(bound)
        self._gate: Risk | None = None
        self.alerts: Alerting | None = None
        self._counted = Counted(breaker=Breaker(limits=breaker_limits(config)))
        self.supervisor = self.tree()
        self._mending = False
        self._closings = 0
        self.kill_switch = kill_switch
        kill_switch.wire(head=self.post.head, tell=self.tell, publish=self.post.publish, view=self.view)
        self.operator = Operator(
            self.view,
            head=self.post.head,
            tell=self.tell,
            now_ns=self.clock.now_ns,
            read_controls=self.controls,
            kill=self.kill_switch.throw,
        )
        ops = config.ops
        self.http = HttpServer(
            self.view,
            now_ns=self.clock.now_ns,
            read_runtime=self.reading,
            mode=config.account.mode,
            control=self.operator,
            control_token=None if ops.control_token is None else ops.control_token.resolve().reveal(),
            read_token=None if ops.read_token is None else ops.read_token.resolve().reveal(),
            tls=None if ops.tls_cert is None or ops.tls_key is None else (ops.tls_cert, ops.tls_key),
        )

    # --- who supervises whom ----------------------------------------------------------------------------------------

    def tree(self) -> Supervisor:
        """Give the tree: what stands further down depends on what stands above it and restarts with it."""
        settings = self.config.supervisor
        limits = RestartLimits(
            max_restarts=settings.max_restarts,
            period_ns=settings.period_s * NS_PER_S,
            backoff_min_ns=ns_from_ms(settings.backoff_min_ms),
            backoff_max_ns=ns_from_ms(settings.backoff_max_ms),
            stable_ns=settings.stable_s * NS_PER_S,
        )
        hooks = hooks_of(self.sinks)
        # Timeouts are of market time: at N times the speed an actor gets N times as much of it.
        timeout_ns = ns_from_ms(settings.shutdown_timeout_ms) * math.ceil(max(1.0, self.options.speed or 1.0))

        def spec(name: str, start: Callable[[], Child]) -> ChildSpec:
            return ChildSpec(id=name, start=start, restart=Restart.PERMANENT, shutdown_timeout_ns=timeout_ns)

        def strategies() -> Supervisor:
            children = [
                spec(strategy_name(one.name), partial(self._strategy, index))
                for index, one in enumerate(self.instruments)
            ]
            return Supervisor(
                "strategies", children, strategy=Strategy.ONE_FOR_ONE, limits=limits, clock=self.clock, hooks=hooks
            )

        children = [
            spec(JOURNAL, self._journal_writer),
            spec(EXECUTOR, self._executor),
            spec(RISK, self._risk),
            spec(FEED, self._feed),
            spec(FUNDING, self._funding),
            spec("strategies", strategies),
            spec(WATCHDOG, self._watchdog),
        ]
        return Supervisor(
            "root", children, strategy=Strategy.REST_FOR_ONE, limits=limits, clock=self.clock, hooks=hooks
        )

    def _journal_writer(self) -> JournalWriter:
        return JournalWriter(
            mailbox=self.mailbox(JOURNAL),
            router=self.router,
            clock=self.clock,
            journal=self.journal,
            # Only where time goes on by itself: a simulated market waits for the writer before it moves its clock.
            wait_ns=BAR_COMMIT_NS if self.world.streamed else 0,
        )

    def _executor(self) -> Executor:
        return Executor(
            mailbox=self.mailbox(EXECUTOR),
            router=self.router,
            clock=self.clock,
            post=self.post,
            trading=self.world.trading,
            journal=self.journal,
            memory=self.memory,
            settings=self._executor_settings(),
            tally=self.sent,
        )

    def _executor_settings(self) -> ExecutorSettings:
        """Give how the executor treats its venue: one in the process neither hangs nor keeps anything to itself."""
        account, venue, watchdog = self.config.account, self.config.venue, self.config.watchdog
        settings = ExecutorSettings(
            account=account.name,
            evidence=self.world.evidence,
            unknown_pause_ns=ns_from_ms(watchdog.unknown_pause_ms),
            permits=self._counted.permits,
            fence=self.fence,
        )
        if not self.world.polled:
            return settings
        return attrs.evolve(
            settings,
            answer_wait_ns=ns_from_ms(venue.recv_window_ms) + ANSWER_MORE_NS,
            request_limit_ns=ns_from_ms(venue.recv_window_ms) + REQUEST_MORE_NS,
            poll_ns=ns_from_ms(watchdog.account_poll_ms),
            countdown=CountdownRule(
                countdown_ms=watchdog.exchange_countdown_s * 1_000,
                strips_stops=venue.countdown_strips_stops != "no",
                arming=Arming(venue.arm_countdown),
            ),
            adopting=adopting_params(self.config, self.instruments),
        )

    def _risk(self) -> Risk:
        rules = instrument_risks(self.config, self.instruments)
        if self.world.streamed:
            rules = [attrs.evolve(rule, cadence_ns=0) for rule in rules]
        races = self._race_limits()
        self._gate = Risk(
            mailbox=self.mailbox(RISK),
            router=self.router,
            clock=self.clock,
            post=self.post,
            instruments=self.instruments,
            rules=rules,
            settings=RiskSettings(
                limits=risk_limits(self.config),
                limits_version=limits_version(self.config),
                session=SessionSettings(
                    limits=session_limits(self.config),
                    bars_per_year={grid.instrument: bars_per_year(grid) for grid in self.config.grid},
                    actions={Reason.CIRCUIT_BREAKER: self._counted.breaker.limits.action},
                ),
                resume_after_ns=ns_from_ms(self.config.watchdog.resume_after_ms),
                start_halted=self.config.account.on_start == "halt" or self.options.errand is not None,
                wallet_is_polled=self.world.polled,
                stop_overlap_ns=NEVER_NS if races is None else races.stop_overlap_ns,
            ),
            memory=self.journal,
            counted=self._counted,
            on_liquidated=self.sinks.on_liquidated,
        )
        return self._gate

    def _feed(self) -> Feed:
        longest = max(max(g.regime.ema_slow, 2 * g.regime.adx_len, g.regime.atr_len) for g in self.config.grid)
        return Feed(
            mailbox=self.mailbox(FEED),
            router=self.router,
            clock=self.clock,
            post=self.post,
            market=self.world.market,
            history_bars=max(HISTORY_BARS_MIN, 4 * longest),
            times=self.times,
        )

    def _funding(self) -> Funding:
        return Funding(
            mailbox=self.mailbox(FUNDING),
            router=self.router,
            clock=self.clock,
            post=self.post,
            trading=self.world.trading,
            instruments=[one.name for one in self.instruments],
            settled_ns=self.journal.settled_ns,
            grace_ns=self._rate_grace_ns,
            pause_when_missing=[g.instrument for g in self.config.grid if g.funding.on_missing == "pause"],
        )

    def _strategy(self, index: int) -> GridStrategy:
        grid, one = self.config.grid[index], self.instruments[index]
        return GridStrategy(
            mailbox=self.mailbox(strategy_name(one.name)),
            router=self.router,
            clock=self.clock,
            post=self.post,
            instrument=one.name,
            numbering=Numbering(
                account=self.config.account.name, epoch=self.journal.epoch, first=index, stride=INSTRUMENTS_MAX
            ),
            params=attrs.evolve(grid_params(grid, one, self.config.risk), funding_grace_ns=self._rate_grace_ns),
            actions=self._actions,
            unlinked=self._race_limits(),
            amends=self.world.trading.amends,
        )

    def _race_limits(self) -> ProtectionLimits | None:
        """Give how long exits may race each other; None where the exchange links them."""
        linked = self.world.trading.exits_are_linked
        return None if linked else race_limits(self.config, self.world.evidence.validity_ns)

    def _watchdog(self) -> Watchdog:
        return Watchdog(
            mailbox=self.mailbox(WATCHDOG),
            router=self.router,
            clock=self.clock,
            post=self.post,
            limits=health_limits(self.config),
            cadences_ns={g.instrument: 0 if self.world.streamed else bar_length_ns(g) for g in self.config.grid},
            times=self.times,
            probe=self.world.probe,
            account_poll_ns=ns_from_ms(self.config.watchdog.account_poll_ms) if self.world.polled else None,
        )

    def report(self, words: str, figures: Mapping[str, str]) -> None:
        """Put a problem of the exchange's connections into the journal."""
        self.announce(Incident(**self.post.head(), actor="venue", text=words, figures=figures))

    def announce(self, message: Message, *to: str) -> None:
        """Publish what no actor says; a journal that cannot take it ends the run, and its teller goes on."""
        try:
            self.post.publish(message, *to)
        except Fatal as error:
            self.sinks.fail(str(error))

    def quiet(self) -> bool:
        """Tell whether nobody has anything left to do at this moment."""
        return self.activity.busy == 0

    def left(self) -> list[str]:
        """Say what a stop must wait for: a flatten that is not confirmed, entries that may still arrive."""
        doubtful = [
            f"entry {one.record.client_id}: its outcome is not known"
            for one in self.journal.live_orders()
            if one.record.purpose is Purpose.ENTRY and one.record.state in _MAY_ARRIVE
        ]
        flatten = self.view.flatten
        if flatten.stage in (FlattenStage.UNDER_WAY, FlattenStage.LEFT):
            legs = " and ".join(leg.name for leg in flatten.legs)
            doubtful.append(f"NOT FLAT: {', '.join(flatten.left) or legs}")
        return doubtful

    async def settle(self) -> None:
        """Return once nobody has anything left to do at this point of market time, restarts under way included."""
        if not self._mending:
            await self.activity.idle()
            if self.router.closings == self._closings:
                return
        # An actor has ended: more than the mailboxes must come to rest before time moves on.
        await self.activity.settle(quiet_passes=MENDING_PASSES)
        self._closings = self.router.closings
        states = {child.state for child in every_child(self.supervisor.statuses())}
        self._mending = states != {ChildState.RUNNING}

    def tell(self, message: Message) -> None:
        """Bring the operator's word to risk; what outlives a restart is kept first, for the actor may fail before."""
        if isinstance(message, Pause | Flatten | Kill):
            self.journal.set_latched(with_word(self.journal.latched(), message, self.clock.now_ns()))
        elif isinstance(message, Throttle):
            self.journal.set_throttle(message.factor_ppm)
        self.post.publish(message, RISK)

    # --- figures ----------------------------------------------------------------------------------------------------

    def controls(self) -> tuple[ControlReading, ...]:
        """Give each control beside its present value; nothing before risk has been started."""
        if self._gate is None:
            return ()
        readings = self._gate.readings
        sources = ControlSources(
            gate=readings.limits(),
            session=readings.controls(),
            reasons=readings.reasons(),
            trips=self.journal.last_trips(),
            view=self.view,
            kill_action=self.config.risk.kill_switch.action,
            kill_enabled=self.config.risk.kill_switch.enabled,
            now_ns=self.clock.now_ns(),
        )
        return control_readings(sources, self.instruments)

    def account(self) -> AccountFigures | None:
        """Give the account by the gate's books at this moment; None before risk has been started."""
        return None if self._gate is None else self._gate.readings.account()

    def reading(self) -> RuntimeReading:
        """Give the runtime's statistics."""
        return RuntimeReading(
            mailboxes=self.router.mailboxes(),
            router=self.router.statistics(),
            children=self.supervisor.statuses(),
            journal_rows=self.journal.counts()["rows"],
            account=self.account(),
            probe=self.world.probe(),
            sent=self.sent.count,
            pace=self.pace,
            alerts=None if self.alerts is None else self.alerts.counts,
        )
