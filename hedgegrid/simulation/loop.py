"""An event loop whose time, order and chance come from one seed: no thread, no socket, no clock of the machine.

Invariants: time moves only when nothing is ready, and then to the earliest timer; what is ready at one pass runs in an
order that the seed alone decides, and before anything that it makes ready; a loop that has nothing to wait for says so
in place of waiting for ever.
"""

import asyncio
import contextvars
import heapq
import random
import weakref
from asyncio import events
from collections.abc import Callable
from typing import Any, Final, TypeVar, TypeVarTuple

from hedgegrid.runtime.clock import Clock, TimerHandle
from hedgegrid.units import NS_PER_S

PASSES_MAX: Final = 100_000
"""Passes without time moving on; more is a task that wakes itself for ever."""

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")


class StuckError(RuntimeError):
    """Nothing is ready and no timer is set, or nothing lets time move on."""


def _nothing() -> None:
    """Be called in place of what was cancelled."""


class Handle(asyncio.TimerHandle):
    """What is to be called; asyncio's own handles do the same, and keep more than a simulation has use for."""

    __slots__ = ()

    def __init__(
        self,
        callback: Callable[..., object],
        args: tuple[object, ...],
        context: contextvars.Context | None,
        when: float,
    ) -> None:
        """Call ``callback`` with ``args`` in ``context`` (None: the loop's own); ``when`` by the loop's time."""
        self._callback = callback
        self._args = args
        self._context = context
        self._when = when
        self._cancelled = False

    def cancel(self) -> None:
        """Do not call."""
        self._cancelled = True
        self._callback, self._args = _nothing, ()

    def __repr__(self) -> str:
        """Say what is to be called."""
        return f"<Handle {'cancelled' if self._cancelled else self._callback!r}>"


class SeededLoop(asyncio.AbstractEventLoop):
    """An asyncio loop in virtual time."""

    def __init__(self, seed: int, *, start_ns: int = 0, shuffled: bool = True) -> None:
        """Stand at ``start_ns`` since the epoch; ``shuffled`` False: first come, first run."""
        self.now_ns = start_ns
        self.passes = 0
        self._start_ns = start_ns
        self._chance = random.Random(seed) if shuffled else None  # noqa: S311 - repeatable is the point
        self._ready: list[Handle] = []
        self._timers: list[tuple[int, int, Handle]] = []
        self._sequence = 0
        self._passes_now = 0
        self._stopping = False
        self._closed = False
        self._debug = False
        self._on_error: Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object] | None = None
        # Weakly: a task that its owner has lost is to be found out, not kept alive by this.
        self._tasks: weakref.WeakKeyDictionary[asyncio.Task[Any], None] = weakref.WeakKeyDictionary()

    # --- time -------------------------------------------------------------------------------------------------------

    def time(self) -> float:
        """Give the seconds since the start: exact to the nanosecond for a hundred days."""
        return (self.now_ns - self._start_ns) / NS_PER_S

    def call_at_ns(self, when_ns: int, callback: Callable[[*_Ts], object], *args: *_Ts) -> asyncio.TimerHandle:
        """Call back at ``when_ns`` since the epoch, in no context; a past time is now, in a later pass."""
        return self._set_timer(when_ns, callback, args, None)

    def call_at(
        self, when: float, callback: Callable[..., object], *args: object, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        """Call back at ``when`` seconds of ``time()``."""
        when_ns = self._start_ns + round(when * NS_PER_S)
        return self._set_timer(when_ns, callback, args, context or contextvars.copy_context())

    def call_later(
        self, delay: float, callback: Callable[..., object], *args: object, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        """Call back ``delay`` seconds from now."""
        when_ns = self.now_ns + round(delay * NS_PER_S)
        return self._set_timer(when_ns, callback, args, context or contextvars.copy_context())

    def _set_timer(
        self,
        when_ns: int,
        callback: Callable[..., object],
        args: tuple[object, ...],
        context: contextvars.Context | None,
    ) -> asyncio.TimerHandle:
        handle = Handle(callback, args, context, (when_ns - self._start_ns) / NS_PER_S)
        self._sequence += 1
        # A cancelled timer stays where it is, and is skipped when its time comes.
        heapq.heappush(self._timers, (max(when_ns, self.now_ns), self._sequence, handle))
        return handle

    def call_soon(
        self, callback: Callable[..., object], *args: object, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        """Call back in the next pass."""
        handle = Handle(callback, args, context or contextvars.copy_context(), 0.0)
        self._ready.append(handle)
        return handle

    # --- running ----------------------------------------------------------------------------------------------------

    def run_forever(self) -> None:
        """Run until stopped. Raises StuckError."""
        if self._closed:
            raise RuntimeError("the loop is closed")
        events._set_running_loop(self)  # noqa: SLF001 - what asyncio has for loops of others
        try:
            while not self._stopping:
                self._pass()
        finally:
            self._stopping = False
            events._set_running_loop(None)  # noqa: SLF001

    def run_until_complete(self, future: Any) -> Any:  # noqa: ANN401 - a future or a coroutine, of anything
        """Run until ``future`` is done, and give its result."""
        task: asyncio.Future[Any] = future if asyncio.isfuture(future) else self.create_task(future)
        task.add_done_callback(self._on_done)
        try:
            self.run_forever()
        finally:
            task.remove_done_callback(self._on_done)
        if not task.done():
            raise RuntimeError("the loop was stopped before its work was done")
        return task.result()

    def _on_done(self, _: "asyncio.Future[Any]") -> None:
        self.stop()

    def _pass(self) -> None:
        """Run what is ready, or move time to the earliest timer."""
        self.passes += 1
        self._passes_now += 1
        if not self._ready:
            self._move_time()
        elif self._passes_now > PASSES_MAX:
            raise StuckError(f"{PASSES_MAX} passes at {self.now_ns} ns: something wakes itself for ever")
        batch, self._ready = self._ready, []
        if self._chance is not None and len(batch) > 1:
            self._chance.shuffle(batch)
        for handle in batch:
            if handle._cancelled:  # noqa: SLF001 - here and below: a loop and its handles are one
                continue
            context = handle._context  # noqa: SLF001
            try:
                if context is None:
                    handle._callback(*handle._args)  # noqa: SLF001
                else:
                    context.run(handle._callback, *handle._args)  # noqa: SLF001
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as error:  # broad: as in asyncio, a loop outlives its callbacks
                self.call_exception_handler({"message": f"exception in {handle!r}", "exception": error})

    def _move_time(self) -> None:
        timers, pop = self._timers, heapq.heappop
        while timers and timers[0][2]._cancelled:  # noqa: SLF001
            pop(timers)
        if not timers:
            raise StuckError(f"nothing is ready at {self.now_ns} ns, and no timer is set")
        when_ns, _, handle = pop(timers)
        if when_ns > self.now_ns:
            self.now_ns = when_ns
            self._passes_now = 0
        self._ready.append(handle)
        while timers and timers[0][0] <= when_ns:
            self._ready.append(pop(timers)[2])

    def stop(self) -> None:
        """Return from ``run_forever`` after this pass."""
        self._stopping = True

    def is_running(self) -> bool:
        """Tell whether this loop runs."""
        return events._get_running_loop() is self  # noqa: SLF001

    def is_closed(self) -> bool:
        """Tell whether it was closed."""
        return self._closed

    def close(self) -> None:
        """Forget what was to be called."""
        self._closed = True
        self._ready.clear()
        self._timers.clear()

    # --- what tasks ask of a loop -----------------------------------------------------------------------------------

    def create_future(self) -> "asyncio.Future[Any]":
        """Give a future of this loop."""
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, **options: Any) -> "asyncio.Task[Any]":  # noqa: ANN401
        """Give a task of this loop."""
        task = asyncio.Task(coro, loop=self, **options)
        self._tasks[task] = None
        return task

    def tasks(self) -> "list[asyncio.Task[Any]]":
        """Give the tasks that have not ended, oldest first: the set that asyncio keeps has no order."""
        return [task for task in self._tasks if not task.done()]

    def run_in_executor(
        self,
        executor: object,  # noqa: ARG002 - there are no threads here
        func: Callable[..., _T],
        *args: object,
    ) -> "asyncio.Future[_T]":
        """Call ``func`` at once: there are no threads here."""
        answer: asyncio.Future[_T] = self.create_future()
        try:
            answer.set_result(func(*args))
        except Exception as error:  # broad: whatever it is, it is the caller's
            answer.set_exception(error)
        return answer

    def get_debug(self) -> bool:
        """Tell whether asyncio's checks are on."""
        return self._debug

    def set_debug(self, enabled: bool) -> None:  # noqa: FBT001 - asyncio's signature
        """Switch asyncio's checks."""
        self._debug = enabled

    def get_exception_handler(self) -> Any:  # noqa: ANN401
        """Give who is told of errors that nobody took."""
        return self._on_error

    def set_exception_handler(self, handler: Any) -> None:  # noqa: ANN401
        """Name who is told of errors that nobody took."""
        self._on_error = handler

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Raise an error that nobody took, unless somebody is there to be told: here nothing is only logged."""
        if self._closed:
            # A loop that got stuck takes its tasks with it.
            return
        if self._on_error is not None:
            self._on_error(self, context)
            return
        error = context.get("exception")
        raise RuntimeError(context["message"]) from (error if isinstance(error, BaseException) else None)

    async def shutdown_asyncgens(self) -> None:
        """Do nothing: generators are closed by whoever opened them."""

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:  # noqa: ASYNC109
        """Do nothing: there are no threads here."""


class LoopClock(Clock):
    """The loop's time as everybody's clock."""

    def __init__(self, loop: SeededLoop) -> None:
        """Tell the time of ``loop``."""
        self._loop = loop

    def now_ns(self) -> int:
        """Give the loop's time in ns since the epoch."""
        return self._loop.now_ns

    def call_at(self, when_ns: int, callback: Callable[[], None]) -> TimerHandle:
        """Call back at ``when_ns``, never at once."""
        return self._loop.call_at_ns(when_ns, callback)

    async def sleep_until(self, when_ns: int) -> None:
        """Return at ``when_ns``; other tasks run at least once."""
        loop = self._loop
        if when_ns <= loop.now_ns:
            await asyncio.sleep(0)
            return
        due = loop.create_future()
        timer = loop.call_at_ns(when_ns, _wake, due)
        try:
            await due
        finally:
            timer.cancel()


def _wake(due: "asyncio.Future[None]") -> None:
    """End a wait, unless it was given up."""
    if not due.done():
        due.set_result(None)
