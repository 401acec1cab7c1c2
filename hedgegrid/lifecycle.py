"""A house's life: start, run, stop, and what is done when something fails that no actor can mend.

Invariants: the account stops by its stop policy whatever ended the run; a Fatal error ends it at once with one line;
nothing is sent after the supervisor has ended; the journal is marked as ended cleanly only when everything went by
the book.
"""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack

import anyio
import attrs
from loguru import logger
from rich.console import Console

from hedgegrid.actors.post import EXECUTOR, RISK
from hedgegrid.alerts import open_alerting
from hedgegrid.app import House, Reach, at_once, open_house
from hedgegrid.config.schema import AccountConfig
from hedgegrid.core.pause import Reason
from hedgegrid.errors import Fatal, Transient, Unreachable
from hedgegrid.guarding import Guard, tell_last_life
from hedgegrid.incoming import bring
from hedgegrid.journal.journal import ERRAND_DONE
from hedgegrid.leaving import cancel_entries, tell_what_is_left
from hedgegrid.messages.commands import ClearReason, Flatten, Halt, RaiseReason, Resume, StandDown
from hedgegrid.messages.events import ActorRestarted, Incident, MarketEnded
from hedgegrid.ops.control import FlattenStage
from hedgegrid.ops.notify import Notifier
from hedgegrid.ops.summary import RunExtras
from hedgegrid.ops.terminal import StatusPrinter
from hedgegrid.ops.view import AccountView
from hedgegrid.ports import PrivateEvent
from hedgegrid.reaching import Reaching, reaching_of
from hedgegrid.runtime.ending import Ending
from hedgegrid.runtime.interpreter import real_time, settle_memory
from hedgegrid.runtime.router import DeadLetter
from hedgegrid.runtime.specs import EscalationError, exit_now
from hedgegrid.units import NS_PER_S, PPM
from hedgegrid.venues.simulated.opening import LIQUIDATED, MARKET_ENDED
from hedgegrid.worlds.choosing import world_of
from hedgegrid.worlds.world import Errand, ErrandKind, RunOptions

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_LIQUIDATED = 3
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""A closed terminal stops the bot by its policy too."""
TICK_S = 0.1
KILL_LOOK_S = 0.25
END_S = 120.0
"""What an end may take, in wall time, before the process ends itself: a stop policy that is carried out, its cancels
read to be gone, every actor stopped, the journal closed, each within its own bound."""
DURATION_REACHED = "duration reached"
DRAWN_DOWN = (
    "the drawdown stays latched: lift it with run --resume --new-peak, which makes the equity of then the new peak"
)
KILLED_SINCE = (
    "--resume is not taken: the kill switch was thrown since the last run; once its work is done "
    "`hedgegrid resume`, or the next run --resume, lifts it"
)


@attrs.frozen(kw_only=True)
class Outcome:
    """How a run ended: its exit code, the figures, and one line where it failed ("" where it did not)."""

    exit_code: int
    view: AccountView
    extras: RunExtras
    failure: str
    ended_ns: int
    """By the run's own clock."""


class Life:
    """One run of one house: it is also the sink of what nobody else can act on."""

    def __init__(self) -> None:
        """Nothing is opened yet."""
        self._house: House | None = None
        self._ended = ""
        self._failure = ""
        self._over = asyncio.Event()
        self._asked = asyncio.Event()
        self._reaching: Reaching | None = None
        """None where nobody waits for the world: its first try counts."""
        self._reach: Reach = at_once
        self._closing = False
        self._gave_up = False
        self._notifier = Notifier.of(os.environ)
        self._ending = Ending(seconds=END_S)

    @property
    def house(self) -> House:
        """The house that lives. AssertionError before it was opened."""
        assert self._house is not None, "the house is open while it lives"
        return self._house

    async def run(
        self, config: AccountConfig, options: RunOptions, console: Console, tell: Callable[[str], None]
    ) -> Outcome:
        """Open the house, let it live until something ends it, close it. Raises Fatal where it cannot be opened."""
        began = time.monotonic_ns()
        with ExitStack() as stack:
            if options.speed is not None:
                stack.enter_context(real_time())
            # First of all: a signal that comes while the house is opened must find somebody.
            received = stack.enter_context(anyio.open_signal_receiver(*STOP_SIGNALS))
            self._ending.hear(STOP_SIGNALS)
            stack.callback(self._ending.disarm)
            signals = asyncio.create_task(self._watch_signals(received), name="signals")
            stack.callback(signals.cancel)
            world = world_of(config, options)
            self._reaching = reaching_of(world, config, options, self._asked, tell, self._notifier.extend)
            self._reach = self._reach if self._reaching is None else self._reaching.reach
            house = await open_house(world, config, options, stack, tell, self, self._reach)
            self._house = house
            house.alerts = open_alerting(config, house.instruments)
            if house.alerts is not None:
                house.post.also_show(house.alerts.observe)
            if self._ended:
                house.world.stop()
            await tell_last_life(house, tell)
            try:
                await house.http.start(*options.listen)
                tell(f"metrics at http://{options.listen[0]}:{house.http.port}/metrics")
                await self._live(console, tell)
            finally:
                left = await tell_what_is_left(house, self._failure) if self._failure else ""
                await house.http.stop()
                await house.world.close()
                if house.alerts is not None:
                    why = f"{self._failure}; left: {left}" if left else self._ended
                    await asyncio.to_thread(house.alerts.stop, why)
            failed = bool(self._failure)
            house.journal.close(self._failure or self._ended, clean=not failed)
            code = EXIT_LIQUIDATED if house.world.liquidated else EXIT_OK
            return Outcome(
                exit_code=EXIT_FAILED if failed else code,
                view=house.view,
                extras=RunExtras(
                    ended=self._failure or self._ended,
                    wall_ns=time.monotonic_ns() - began,
                    journal_path=str(house.journal.path),
                    journal_hash=house.journal.hash(),
                    ambiguous_bars=house.world.ambiguous_bars(),
                    account=house.account(),
                    left=left,
                ),
                failure=self._failure,
                ended_ns=house.clock.now_ns(),
            )

    def end(self, why: str) -> None:
        """Have the run end; the first reason counts."""
        self._ended = self._ended or why
        self._begin_end()
        if self._house is not None:
            self._house.world.stop()

    def fail(self, why: str) -> None:
        """Have the run end as failed, in one line."""
        self._failure = self._failure or why
        self._begin_end()
        self._over.set()
        if self._house is not None:
            self._house.world.stop()

    def _begin_end(self) -> None:
        self._asked.set()
        self._ending.begin()
        self._notifier.stopping()

    # --- living -----------------------------------------------------------------------------------------------------

    async def _live(self, console: Console, tell: Callable[[str], None]) -> None:
        """Start the actors, walk the market, stop by the policy."""
        house = self.house
        house.world.trading.subscribe(self._on_private)
        try:
            await self._reach(house.world.connect)
        except Unreachable as error:
            self.fail(str(error))
            return
        started = asyncio.Event()
        actors = asyncio.create_task(house.supervisor.run(started.set), name="actors")
        actors.add_done_callback(self._on_actors_ended)
        others = self._beside(console)
        try:
            await self.house.world.follow(lambda: started.is_set() or actors.done() or self._must_end())
            if not self._failure:
                await self._do_what_is_asked(tell)
        finally:
            self._closing = True
            self._notifier.stopping()
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            actors.cancel()
            await self.house.world.follow(actors.done)
            if self._gave_up:
                await self._let_cancels_arrive()
            elif self._failure and self.house.world.polled:
                # Whatever failed (a full disk), nobody watches any more: what could add goes, stops stay.
                await cancel_entries(self.house)

    def _must_end(self) -> bool:
        """Tell whether a start that still reads the account has to end, which is a failure where its time is over."""
        if self._reaching is not None and self._reaching.is_over():
            self.fail(str(self._reaching.given_up("the account could not be read")))
        return self._over.is_set()

    def _beside(self, console: Console) -> list[asyncio.Task[None]]:
        """Start what goes on beside the actors: the display, the kill switch's file, and the guard."""
        guard = Guard(self.house, fail=self.fail, notifier=self._notifier)
        others = [
            asyncio.create_task(self._show(console), name="status"),
            asyncio.create_task(self._watch_kill_file(), name="kill file"),
            asyncio.create_task(guard.run(), name="guard"),
        ]
        for task in others:
            task.add_done_callback(self._on_other_ended)
        return others

    def _on_other_ended(self, task: asyncio.Task[None]) -> None:
        """An account that nobody guards any more is not traded on; without its status line it is."""
        error = None if task.cancelled() else task.exception()
        if error is None or self._closing:
            return
        logger.opt(exception=error).error("the {} has failed", task.get_name())
        if task.get_name() != "status":
            self.fail(f"the {task.get_name()} has failed: {type(error).__name__}: {error}")

    async def _do_what_is_asked(self, tell: Callable[[str], None]) -> None:
        """Trade, or do the one errand that the run is for."""
        self.house.kill_switch.say_what_a_start_found()
        errand = self.house.options.errand
        if errand is None:
            if self.house.view.throttle_ppm != PPM:
                factor = self.house.view.throttle_ppm / PPM
                tell(f"throttle {factor:g} of an earlier run stands: `hedgegrid throttle 1` lifts it")
            await self._tell_warm_up(tell)
            self._greet(tell)
            if self.house.options.speed is not None:
                settle_memory()
            await self._walk()
        elif errand.kind is ErrandKind.CANCEL_ENTRIES or not errand.legs:
            self._ended = f"{ERRAND_DONE}entries cancelled"
            await self._stop_by_policy()
        else:
            await self._flatten(errand)

    async def _flatten(self, errand: Errand) -> None:
        """Flatten as a person asked, and end with the exchange's word, or with what is left."""
        house = self.house
        if errand.kind is ErrandKind.FLATTEN:
            # A kill is latched already: its file was read before anything else.
            house.tell(Flatten(**house.post.head(), legs=errand.legs))
        watching = asyncio.create_task(self._watch_flatten(errand), name="errand")
        try:
            await self._walk()
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
        flatten = house.view.flatten
        if flatten.stage is not FlattenStage.FLAT:
            self.fail(f"NOT FLAT: {', '.join(flatten.left) or 'the exchange has not shown it yet'}")

    async def _watch_flatten(self, errand: Errand) -> None:
        """End the run when the exchange shows it flat, or when the time for it is over."""
        until_s = time.monotonic() + errand.timeout_s
        while self.house.view.flatten.stage is not FlattenStage.FLAT and time.monotonic() < until_s:  # noqa: ASYNC110
            await asyncio.sleep(TICK_S)
        self.end(f"{ERRAND_DONE}over")

    async def _tell_warm_up(self, tell: Callable[[str], None]) -> None:
        """Say which instruments will not trade at once, and why: a bot that is cold looks like one that is broken."""
        for grid in self.house.config.grid:
            needed = max(grid.regime.ema_slow, 2 * grid.regime.adx_len, grid.regime.atr_len + 1)
            try:
                there = len(await self.house.world.market.history(grid.instrument, needed))
            except Transient:
                # The feed says so, and asks again.
                continue
            if there < needed:
                tell(
                    f"{grid.instrument}: no orders for the first {needed - there} bars of {grid.timeframe}: "
                    "the indicators need them to warm up"
                )

    def _greet(self, tell: Callable[[str], None]) -> None:
        """Act on the start policy, and start paused after too many crashed boots in a row."""
        house = self.house
        crashed = house.journal.crash_boots()
        if crashed > house.config.supervisor.crash_boots_max and not house.options.resume:
            raised = RaiseReason(
                **house.post.head(),
                reason=Reason.SUPERVISOR,
                scope="",
                figures={"crashed_boots": str(crashed), "lifted_by": "run --resume"},
            )
            house.post.publish(raised, RISK)
        if house.options.resume and house.kill_switch.thrown_at_start:
            tell(KILLED_SINCE)
        elif house.options.resume:
            if not house.options.new_peak and _is_drawn_down(house):
                tell(DRAWN_DOWN)
            house.post.publish(Resume(**house.post.head(), new_peak=house.options.new_peak), RISK)
        if house.config.account.on_start == "flatten":
            house.tell(Flatten(**house.post.head()))

    async def _walk(self) -> None:
        """Walk the market until it ends, the duration is over, or somebody stops the run; then stop by the policy."""
        house = self.house
        until_ns = None
        duration_s = house.options.duration_s
        timer: asyncio.TimerHandle | None = None
        if duration_s is not None and house.options.speed is None:
            until_ns = house.clock.now_ns() + round(duration_s * NS_PER_S)
        elif duration_s is not None:
            timer = asyncio.get_running_loop().call_later(duration_s, self.end, DURATION_REACHED)
        try:
            market_ended = await house.world.run(until_ns)
        except Fatal as error:
            self.fail(str(error))
            return
        finally:
            if timer is not None:
                timer.cancel()
        if self._failure:
            return
        if market_ended:
            house.post.publish(MarketEnded(**house.post.head(), steps=house.world.steps_done))
        self._ended = self._ended or (MARKET_ENDED if market_ended else DURATION_REACHED)
        await self._stop_by_policy()

    async def _stop_by_policy(self) -> None:
        """Cancel the entries, keep everything, or flatten, as the stop policy says; an errand leaves no entries."""
        house = self.house
        policy = house.config.account.on_stop if house.options.errand is None else "cancel_entries"
        if policy == "cancel_entries" or house.world.liquidated:
            house.post.publish(Halt(**house.post.head()), RISK)
        elif policy == "flatten":
            house.tell(Flatten(**house.post.head()))
        # What stays at the exchange must outlive the run: the dead-man's switch goes.
        house.post.send(StandDown(**house.post.head()), EXECUTOR)
        try:
            await house.world.finish(self._ended, entries_gone=policy != "keep")
            await house.journal.commit()
        except Fatal as error:
            self.fail(str(error))

    async def _let_cancels_arrive(self) -> None:
        """Walk on without actors until the last cancels are through; the next start reads what came of them."""
        try:
            await self.house.world.finish("", entries_gone=False)
        except Fatal as error:
            logger.error("the exchange could not be kept: {}", error)

    def _on_actors_ended(self, task: asyncio.Task[None]) -> None:
        """An end that nobody asked for is a failure."""
        if task.cancelled():
            return
        error = task.exception()
        if self._closing:
            if error is not None:
                logger.error("the actors did not end as they should: {}", error)
            return
        self.fail(f"the actors gave up: {error}" if error is not None else "the actors ended")

    # --- beside it --------------------------------------------------------------------------------------------------

    async def _watch_signals(self, received: AsyncIterator[signal.Signals]) -> None:
        """Stop cleanly on SIGINT and SIGTERM."""
        async for number in received:
            self.end(f"stopped by {signal.Signals(number).name}")

    async def _show(self, console: Console) -> None:
        """Show how things stand, a few times a second."""
        house = self.house
        with StatusPrinter(
            house.view,
            console,
            now_ns=house.clock.now_ns,
            wall_ns=time.monotonic_ns,
            progress=house.world.walked,
            account=house.account,
        ) as printer:
            while True:
                printer.tick()
                await asyncio.sleep(TICK_S)

    async def _watch_kill_file(self) -> None:
        """Look for the kill switch's file."""
        house = self.house
        while True:
            try:
                problem = await house.kill_switch.look()
            except Fatal as error:
                self.fail(str(error))
                return
            if problem:
                house.announce(Incident(**house.post.head(), actor="run", text=problem, figures={}))
            await asyncio.sleep(KILL_LOOK_S)

    # --- what nobody else can act on --------------------------------------------------------------------------------

    def _on_private(self, event: PrivateEvent) -> None:
        """Bring what the venue says about the account to the actor whose it is."""
        bring(self.house, event)

    def on_liquidated(self) -> None:
        """The account is over."""
        self.end(LIQUIDATED)

    def on_dead_letter(self, letter: DeadLetter) -> None:
        """Report a message that nobody could take; while everything is being stopped that is no news."""
        if self._closing:
            return
        house = self.house
        incident = Incident(
            **house.post.head(),
            actor=letter.to,
            text="a message found no taker",
            figures={"message": type(letter.message).__name__, "reason": letter.reason.value},
        )
        house.announce(incident)

    def on_overflow(self, name: str, message: object) -> None:
        """A mailbox that must not lose anything is full: pause, and have its actor start anew and hydrate."""
        house = self.house
        raised = RaiseReason(
            **house.post.head(),
            reason=Reason.OVERFLOW,
            scope="",
            figures={"actor": name, "message": type(message).__name__},
        )
        house.announce(raised, RISK)
        house.supervisor.kill_child(name, "its mailbox is full")
        # The cause goes with the old mailbox; the pause stands until it has been gone for its time.
        gone = ClearReason(**house.post.head(), reason=Reason.OVERFLOW, scope="", figures={"actor": name})
        house.announce(gone, RISK)

    def on_child_error(self, child_id: str, error: BaseException) -> None:
        """A failure that no restart follows."""
        logger.error("{} failed: {}", child_id, error)
        if isinstance(error, Fatal):
            self.fail(str(error))

    def on_restart(self, child_id: str, error: BaseException | None, attempt: int) -> None:
        """An actor will be restarted; a Fatal error is not mended by that and ends the run."""
        if isinstance(error, Fatal):
            self.fail(str(error))
            return
        logger.opt(exception=error).warning("{} failed and is restarted (attempt {})", child_id, attempt)
        house = self.house
        told = ActorRestarted(**house.post.head(), actor=child_id, error=type(error).__name__, attempt=attempt)
        house.announce(told)

    def on_unstoppable(self, child_id: str) -> None:
        """End at once: nothing else can stop an actor that ignores its cancellation."""
        exit_now(child_id)

    async def on_give_up(self, error: EscalationError) -> None:
        """Latch the pause and take away what could add risk, without any actor's help."""
        house = self.house
        self._gave_up = True
        self.fail(f"the actors gave up: {error}")
        # The pause has to be latched whatever the exchange says.
        await cancel_entries(self.house)
        now_ns = house.clock.now_ns()
        latched = [one for one in house.journal.latched() if one[0] != Reason.SUPERVISOR]
        house.journal.set_latched((*latched, (Reason.SUPERVISOR.value, "", now_ns, (("error", str(error)),))))


def _is_drawn_down(house: House) -> bool:
    """Tell whether a drawdown is latched."""
    return any(reason == Reason.DRAWDOWN for reason, *_ in house.journal.latched())
