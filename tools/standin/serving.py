"""The stand-in as a whole: engine, market, sockets, faults and log on one port of 127.0.0.1.

Invariants: it listens on loopback only; everything runs in one event loop, so nobody calls the engine from
elsewhere; when ``running_standin`` is left, no task and no socket of it is.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import attrs
import msgspec
from aiohttp import web

from hedgegrid.units import CASH_SCALE
from tools.standin.acts import Acts, switch_value
from tools.standin.arrivals import listen
from tools.standin.control import Control
from tools.standin.exchange import Exchange
from tools.standin.exchange_clock import ExchangeClock
from tools.standin.faults import Faults
from tools.standin.gateway import Gateway, RateLimits
from tools.standin.hub import Hub
from tools.standin.listen_keys import VALIDITY_MS, ListenKeys
from tools.standin.market import Market, MarketSettings
from tools.standin.request_log import RequestLog, without_secrets
from tools.standin.rest import add_rest, ws_api
from tools.standin.rules import default_spec
from tools.standin.sockets import SocketRules, Sockets
from tools.standin.stream_faults import StreamFaults
from tools.standin.tapes import OpenTape, recorded, synthetic
from tools.standin.wire import Answer, Call
from tools.standin.wire_faults import WireFaults

LOOPBACK: Final = "127.0.0.1"
DEFAULT_KEY: Final = "standin-key"
DEFAULT_SECRET: Final = "standin-secret"  # noqa: S105 - opens nothing but this stand-in
_SHUTDOWN_S: Final = 0.5


@attrs.define(kw_only=True)
class StandinOptions:
    """What a stand-in is made of. ``data_paths`` empty: a synthetic market, which with ``still`` never moves.

    ``wallet``: quote currency; ``speed``, ``book_rate``: see market.py; ``switches``: NAME -> value as text; ``faults``
    are armed at the start; ``port`` 0: any free one.
    """

    symbols: Sequence[str] = ("BTCUSDT",)
    port: int = 0
    data_paths: Sequence[Path] = ()
    still: bool = False
    volatility: float | None = None
    seed: int = 0
    speed: int = 1
    book_rate: float = 10.0
    funding_in_s: float | None = None
    wallet: int = 10_000
    leverage: int = 20
    hedge: bool = True
    key: str = DEFAULT_KEY
    secret: str = DEFAULT_SECRET
    skew_ms: int = 0
    listen_key_ms: int = VALIDITY_MS
    sockets: SocketRules = attrs.field(factory=SocketRules)
    limits: RateLimits | None = None
    switches: Mapping[str, str] = attrs.field(factory=dict)
    faults: Sequence[str] = ()
    log_path: Path | None = None


class Standin:
    """A stand-in and its parts, for tests and the program; ``start`` and ``stop`` carry it."""

    def __init__(self, options: StandinOptions) -> None:
        """Build it. Fatal or ValueError where the options cannot be."""
        self.options = options
        self.port = options.port
        self.log = RequestLog(options.log_path)
        self.clock = ExchangeClock(skew_ms=options.skew_ms)
        self.hub = Hub()
        self.faults = Faults(seed=options.seed, log=self.log)
        self.listen_keys = ListenKeys(seed=options.seed, validity_ms=options.listen_key_ms)
        self.streams = StreamFaults(faults=self.faults, hub=self.hub, keys=self.listen_keys)
        self.listen_keys.on_expired = self.streams.expired
        specs = [default_spec(symbol) for symbol in options.symbols]
        self.exchange = Exchange(
            specs,
            wallet_e8=options.wallet * CASH_SCALE,
            seed=options.seed,
            hedge=options.hedge,
            leverage=options.leverage,
        )
        for name, text in options.switches.items():
            setattr(self.exchange.switches, name, switch_value(self.exchange, name, text))
        tape = _tape_of(options)
        self.exchange.emit = self.streams.event
        self.market = Market(
            exchange=self.exchange,
            clock=self.clock,
            hub=self.hub,
            faults=self.streams,
            log=self.log,
            tape=tape.tape,
            first_open_ns=tape.first_open_ns,
            settings=MarketSettings(
                speed=options.speed,
                book_rate=options.book_rate,
                funding_in_s=options.funding_in_s,
                seed=options.seed,
            ),
        )
        self._open_doors(options)
        self._runner: web.AppRunner | None = None
        self._doors: asyncio.Server | None = None
        self._market_task: asyncio.Task[None] | None = None

    def _open_doors(self, options: StandinOptions) -> None:
        """Wire REST, sockets, faults and control to the engine."""
        keys = {options.key: options.secret}
        self.wire_faults = WireFaults(faults=self.faults, exchange=self.exchange, clock_ms=self.clock.now_ms, keys=keys)
        self.gateway = Gateway(
            self.exchange,
            clock_ms=self.clock.now_ms,
            keys=keys,
            listen_keys=self.listen_keys,
            market=self.market,
            limits=options.limits,
        )
        self.wire_faults.gateway = self.gateway
        acts = Acts(
            faults=self.faults,
            exchange=self.exchange,
            market=self.market,
            clock=self.clock,
            hub=self.hub,
            keys=self.listen_keys,
            streams=self.streams,
        )
        self.faults.perform = acts.perform
        self.app = web.Application()
        add_rest(self.app, self.gateway, self.wire_faults, self._observe)
        Sockets(hub=self.hub, log=self.log, rules=options.sockets, order_frame=self._order_frame).add_routes(self.app)
        Control(
            exchange=self.exchange,
            clock=self.clock,
            hub=self.hub,
            keys=self.listen_keys,
            faults=self.faults,
            log=self.log,
        ).add_routes(self.app)

    @property
    def url(self) -> str:
        """The origin of its REST half."""
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def ws_url(self) -> str:
        """The origin of its sockets."""
        return f"ws://{LOOPBACK}:{self.port}"

    async def start(self) -> None:
        """Listen, let the market run, and arm the first faults. OSError where the port is taken."""
        self._runner = web.AppRunner(self.app, access_log=None, shutdown_timeout=_SHUTDOWN_S)
        await self._runner.setup()
        self._doors = await listen(self._runner, LOOPBACK, self.options.port)
        self.port = self._doors.sockets[0].getsockname()[1]
        for text in self.options.faults:
            self.faults.arm(text)
        self._market_task = asyncio.create_task(self._run(), name="stand-in market")

    async def wait(self) -> None:
        """Wait for the market, which ends only by an error: that is raised."""
        assert self._market_task is not None
        await asyncio.shield(self._market_task)

    async def stop(self) -> None:
        """Close every socket and end every task."""
        if self._market_task is not None:
            self._market_task.cancel()
            await asyncio.gather(self._market_task, return_exceptions=True)
        if self._doors is not None:
            self._doors.close()
        for listener in tuple(self.hub.listeners.values()):
            listener.closing.set()
        if self._runner is not None:
            await self._runner.cleanup()
        self.log.close()

    async def _run(self) -> None:
        """Let market and listen keys live."""
        async with asyncio.TaskGroup() as living:
            living.create_task(self.market.run())
            living.create_task(self._keep_keys())

    async def _keep_keys(self) -> None:
        while True:
            self.listen_keys.tick(self.clock.now_ms())
            await asyncio.sleep(0.1)

    async def _order_frame(self, text: str, frame_ns: int) -> str | None:
        """Answer a frame of the websocket API, which came at ``frame_ns``."""
        try:
            request = msgspec.json.decode(text, type=dict[str, Any])
        except msgspec.DecodeError:
            error = {"code": -1135, "msg": "Invalid JSON payload."}
            return msgspec.json.encode({"id": None, "status": 400, "error": error}).decode()
        if str(request.get("method", "")).startswith("session."):
            return msgspec.json.encode(self._session(request)).decode()
        answer = await ws_api(self.gateway, self.wire_faults, self._observe, request, frame_ns)
        return None if answer is None else msgspec.json.encode(answer).decode()

    def _session(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer what is asked of a session: nobody can log on, since keys here are HMAC keys."""
        answer: dict[str, Any] = {"id": request.get("id")}
        if request["method"] == "session.logon":
            error = {"code": -4056, "msg": "HMAC_SHA256 API key is not supported."}
            return answer | {"status": 401, "error": error}
        result = {"apiKey": None, "authorizedSince": None, "serverTime": self.clock.now_ms()}
        return answer | {"status": 200, "result": result}

    def _observe(self, call: Call, answer: Answer | None) -> None:
        """Log a request as it comes in, and its answer as it goes out."""
        if answer is None:
            params = without_secrets(call.params)
            self.log.came(call.name, call.arrived_ns, {"transport": call.transport, "params": params})
            return
        facts: dict[str, object] = {"status": answer.status, "transport": call.transport}
        if isinstance(answer.payload, dict):
            for name in ("code", "msg", "orderId", "clientOrderId", "algoId", "clientAlgoId", "status"):
                if name in answer.payload:
                    facts[name if name != "status" else "order_status"] = answer.payload[name]
        if answer.drop or answer.short_by:
            facts["broken"] = True
        self.log.note("answer", call.name, **facts)


def _tape_of(options: StandinOptions) -> OpenTape:
    """Open the tape that the options name."""
    specs = [default_spec(symbol) for symbol in options.symbols]
    if options.data_paths:
        return recorded(options.data_paths, specs, speed=options.speed)
    return synthetic(specs, seed=options.seed, volatility=options.volatility, still=options.still)


@contextlib.asynccontextmanager
async def running_standin(options: StandinOptions | None = None, **changes: Any) -> AsyncIterator[Standin]:  # noqa: ANN401 - any option
    """Run a stand-in in this event loop, for tests: options, or changes of the usual ones."""
    standin = Standin(attrs.evolve(options or StandinOptions(), **changes))
    try:
        await standin.start()
        yield standin
    finally:
        await standin.stop()
