"""Scenes on the wire: a whole bot over real sockets, at a stand-in of the exchange whose market moves only when told.

Invariants: what is seen is the stand-in's request log, its own account, and the journal's file; every life has a
stand-in of its own, and nothing of either is left when it has been played.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import attrs

from hedgegrid.config.structure import structure
from hedgegrid.errors import Fatal
from tests.live.evidence import Sent, orders_in, query
from tests.live.trading_bot import TradingBot, configured, document
from tests.settings.table import Changes, placed, put
from tools.standin.request_log import Entry
from tools.standin.serving import Standin, running_standin

CROWD = "at the stand-in"
"""These lives mostly wait for the clock, and are lived side by side."""


@attrs.define(eq=False, kw_only=True)
class Wired:
    """What there is to see of a life at the stand-in; ``refused`` says why it never began.

    ``seen`` is what the driver of the scene gave back.
    """

    standin: Standin
    folder: Path
    refused: str = ""
    market: str = ""
    seen: Any = None
    requests: list[Entry] = attrs.field(factory=list)
    tapped: set[str] = attrs.field(factory=set)
    reasons: list[str] = attrs.field(factory=list)
    incidents: list[str] = attrs.field(factory=list)

    def sent(self) -> list[Sent]:
        """Every order that was sent, in order."""
        return [order for request in self.requests for order in orders_in(request)]

    def params(self, name: str) -> list[Mapping[str, str]]:
        """The parameters of every request of a name."""
        return [each.facts["params"] for each in self.requests if each.name == name]

    def asked(self) -> str:
        """What the exchange is asked at most: nothing, prices, or for orders to be placed."""
        if not self.requests:
            return "nothing"
        return "orders" if self.sent() else "prices" if self.params("GET /fapi/v1/klines") else "rules"


_PATIENT: Changes = {"watchdog.max_clock_skew_ms": 5_000, "venue.recv_window_ms": 10_000}
"""Several lives share a loop here: its delays are no skew of a clock, and no reason to refuse a request."""


async def ladders(bot: TradingBot) -> None:
    """Drive a life until both ladders rest."""
    await bot.ladders()


async def holding(bot: TradingBot) -> None:
    """Drive a life until it holds a LONG lot with its exits."""
    await bot.hold()


@attrs.frozen(kw_only=True)
class AtStandin:
    """A life at a stand-in: ``drive`` moves the market and waits; what it gives back is kept.

    In values of text ``{folder}`` stands for the life's own folder, ``{standin}`` for the stand-in's address and
    ``{tap}`` for one that leads there too, and counts who comes that way. ``standin`` are options of the stand-in.
    """

    name: str
    drive: Callable[[TradingBot], Awaitable[Any]] = ladders
    changes: Changes = attrs.field(factory=dict)
    standin: Mapping[str, Any] = attrs.field(factory=dict)
    options: Mapping[str, Any] = attrs.field(factory=dict)
    together: str = CROWD

    async def play(self, changes: Changes, folder: Path) -> Wired:
        """Live it, and end it as an operator does."""
        async with running_standin(still=True, **self.standin) as standin, tap(standin.port) as (port, taken):
            wired = Wired(standin=standin, folder=folder, tapped=taken)
            made = document(folder, standin)
            words = {"folder": str(folder), "standin": f"127.0.0.1:{standin.port}", "tap": f"127.0.0.1:{port}"}
            for path, value in {**_PATIENT, **self.changes, **changes}.items():
                put(made, path, placed(value, words))
            config, problems = structure(made)
            if config is None:
                wired.refused = "; ".join(f"{each.path}: {each.message}" for each in problems)
                return wired
            try:
                async with configured(standin, config, **self.options) as bot:
                    wired.seen = await self.drive(bot)
                    wired.reasons, wired.incidents = bot.reasons(), bot.incidents()
                    wired.requests = bot.requests()
                    ((wired.market,),) = query(bot.journal, "SELECT market FROM boots LIMIT 1")
            except Fatal as error:
                wired.refused = str(error)
                wired.requests = list(standin.log.of("request"))
        return wired


@asynccontextmanager
async def tap(port: int) -> AsyncIterator[tuple[int, set[str]]]:
    """Lead every connection on to ``port``; give the port to come to, and the first paths of those that came."""
    taken: set[str] = set()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while block := await reader.read(65_536):
                writer.write(block)
                await writer.drain()
        writer.close()

    async def lead(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = await reader.readline()
        if not first:
            # A connection that was dialled ahead and never asked for anything.
            writer.close()
            return
        taken.add(first.split()[1].decode().split("/")[1].partition("?")[0])
        onward = await asyncio.open_connection("127.0.0.1", port)
        onward[1].write(first)
        await asyncio.gather(carry(reader, onward[1]), carry(onward[0], writer))

    server = await asyncio.start_server(lead, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], taken
