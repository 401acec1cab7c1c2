"""A request that is ready to its last byte, and leaves when it is let go.

aiohttp keeps a request's head back until the first bytes of its body are there. So a body that waits holds the whole
request: the connection is there, the head is written, and nothing of either has left.

Invariants: nothing leaves before ``reply`` is asked for, and then in that very turn of the loop where the connection
was ready by then; it leaves once; a request that is dropped never leaves.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Generic, TypeVar

import aiohttp
from aiohttp.abc import AbstractStreamWriter

R = TypeVar("R")

_UNWAITED_BYTES: Final = 1 << 16
"""More than this aiohttp writes and then waits for room; a batch of orders is a few thousand."""


class HeldBody(aiohttp.BytesPayload):
    """A body that is written when it is let go. ``has_left``: whether it has been handed to the connection."""

    def __init__(self, content: bytes) -> None:
        """Hold ``content``; inside the running loop."""
        assert len(content) < _UNWAITED_BYTES, "a body that its connection takes at once"
        super().__init__(content)
        self._content: Final = content
        self._gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._writer: AbstractStreamWriter | None = None
        self._may_leave = False
        self.has_left = False

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        """Wait until it is let go, where it has not been; aiohttp asks for this once head and connection are ready."""
        assert content_length is None or content_length == len(self._content), "the head tells the body's length"
        self._writer = writer
        if self._may_leave:
            await self._leave(writer)
        await self._gone

    async def let_go(self) -> None:
        """Write it, or have it written as soon as the connection is ready; nothing where it was given up."""
        if self._gone.done():
            return
        self._may_leave = True
        if self._writer is not None:
            await self._leave(self._writer)

    def give_up(self) -> None:
        """Never write it."""
        self._gone.cancel()

    async def _leave(self, writer: AbstractStreamWriter) -> None:
        await writer.write(self._content)  # raises, with nothing written, where the connection is gone
        self.has_left = True
        self._gone.set_result(None)


class HeldRequest(Generic[R]):
    """One request under way but for its leaving. Either its reply is asked for, or it is dropped."""

    def __init__(self, content: bytes, send: Callable[[HeldBody], Awaitable[R]]) -> None:
        """Have ``send`` carry a body of ``content`` to a connection; inside the running loop."""
        self._body = HeldBody(content)

        async def carry() -> R:
            return await send(self._body)

        self._task = asyncio.create_task(carry(), name="held request")
        self._task.add_done_callback(_look_at)

    @property
    def has_left(self) -> bool:
        """Whether a byte of it may have left."""
        return self._body.has_left

    async def reply(self) -> R:
        """Let it go, and give the answer. Raises what ``send`` does."""
        if not self._task.done():
            await self._body.let_go()
        return await self._task

    def drop(self) -> None:
        """Give it up where it has not left; its connection is closed."""
        if not self._body.has_left:
            self._body.give_up()
            self._task.cancel()


def _look_at(task: "asyncio.Task[R]") -> None:
    """See a failure that nobody will ask for: of a request that is dropped it says nothing."""
    if not task.cancelled():
        task.exception()
