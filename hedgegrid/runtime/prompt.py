"""A future whose waiter goes on in the very call that settles it, instead of in the event loop's next pass.

What an order waits for should not wait once more behind the quotes that came meanwhile. asyncio's own future has its
waiter run in the loop's next pass; this one is the same to a task (asyncio takes whatever has
``_asyncio_future_blocking``), for one waiter and without a value.

Invariants: it is settled once, on its own loop, and the waiter goes on at once where no other task is at work in that
moment, else in the next pass; a task that is cancelled while it waits ends its waiting as with any future.
"""

import asyncio
from collections.abc import Callable, Generator
from contextvars import Context
from typing import Any

_Waiter = Callable[["Prompt"], object]


class Prompt:
    """Settled by ``settle``; awaited by one task. Made inside the running loop."""

    __slots__ = ("_asyncio_future_blocking", "_context", "_done", "_loop", "_stopped", "_waiter")

    def __init__(self) -> None:
        """Begin unsettled."""
        self._loop = asyncio.get_running_loop()
        self._asyncio_future_blocking = False
        self._waiter: _Waiter | None = None
        self._context: Context | None = None
        self._done = False
        self._stopped: tuple[object, ...] | None = None

    def settle(self) -> None:
        """Have the waiter go on, now; nothing where it is settled, or nobody waits any more."""
        self._done = True
        waiter, self._waiter = self._waiter, None
        if waiter is None:
            return
        if asyncio.current_task(self._loop) is None and self._context is not None:
            self._context.run(waiter, self)
        else:
            self._loop.call_soon(waiter, self, context=self._context)

    def __await__(self) -> Generator[Any, None, None]:
        """Wait until it is settled."""
        if not self._done:
            self._asyncio_future_blocking = True
            yield self
        self.result()

    # --- what a task asks of a future -------------------------------------------------------------------------------

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """Give the loop that it belongs to."""
        return self._loop

    def done(self) -> bool:
        """Tell whether it is settled, or its waiter was cancelled."""
        return self._done

    def add_done_callback(self, callback: _Waiter, *, context: Context | None = None) -> None:
        """Take the one waiter. AssertionError for a second."""
        assert self._waiter is None, "one task waits"
        if self._done:
            self._loop.call_soon(callback, self, context=context)
            return
        self._waiter, self._context = callback, context

    def cancel(self, msg: object = None) -> bool:
        """End the waiting; False where it is over."""
        if self._done:
            return False
        self._done, self._stopped = True, () if msg is None else (msg,)
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            self._loop.call_soon(waiter, self, context=self._context)
        return True

    def result(self) -> None:
        """Give nothing where it was settled. Raises CancelledError where its waiter was cancelled."""
        if self._stopped is not None:
            raise asyncio.CancelledError(*self._stopped)
