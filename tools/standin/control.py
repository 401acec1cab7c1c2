"""The operator's door: faults, the truth of the account, and the log, under /standin.

Invariant: what is told here is the engine's own state, never what was streamed about it.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import attrs
from aiohttp import web

from tools.standin.account_wire import income_row
from tools.standin.exchange import Exchange
from tools.standin.exchange_clock import ExchangeClock
from tools.standin.fault_kinds import KINDS
from tools.standin.faults import Faults, FaultTextError
from tools.standin.hub import Hub
from tools.standin.listen_keys import ListenKeys
from tools.standin.request_log import RequestLog

LOG_ROWS_MAX = 10_000

Handler = Callable[[web.Request], Awaitable[web.Response]]


class Control:
    """The endpoints of the operator."""

    def __init__(
        self,
        *,
        exchange: Exchange,
        clock: ExchangeClock,
        hub: Hub,
        keys: ListenKeys,
        faults: Faults,
        log: RequestLog,
    ) -> None:
        self._exchange = exchange
        self._clock = clock
        self._hub = hub
        self._keys = keys
        self._faults = faults
        self._log = log

    def add_routes(self, app: web.Application) -> None:
        """Register everything under /standin."""
        app.router.add_get("/standin/state", self._state)
        app.router.add_get("/standin/trades", self._trades)
        app.router.add_get("/standin/log", self._tail)
        app.router.add_get("/standin/faults", self._list)
        app.router.add_post("/standin/faults", self._arm)
        app.router.add_delete("/standin/faults", self._disarm)
        for name, fault in {
            "liquidate": "liquidation",
            "adl": "adl",
            "manual-order": "manual-order",
            "price": "price",
            "funding": "funding",
            "fill": "fill",
        }.items():
            app.router.add_post(f"/standin/{name}", self._shortcut(fault))
        app.router.add_post("/standin/mode", self._mode)

    async def _state(self, _request: web.Request) -> web.Response:
        """The account, the market's quotes, the sockets, and what faults have done."""
        quotes = {symbol: attrs.asdict(self._exchange.quote(symbol)) for symbol in self._exchange.symbols}
        sockets = [
            {"socket": each.number, "path": each.path.value, "streams": list(each.streams), "deaf": each.deaf}
            for each in self._hub.listeners.values()
        ]
        return web.json_response(
            self._exchange.summary()
            | {
                "serverTime": self._clock.now_ms(),
                "skewMs": self._clock.skew_ms,
                "listenKeyAlive": self._keys.alive is not None,
                "quotes": quotes,
                "sockets": sockets,
                "faults": {"armed": self._faults.armed(), "fired": self._faults.fired},
            }
        )

    async def _trades(self, _request: web.Request) -> web.Response:
        """Every trade and every change of the wallet that is remembered."""
        trades = [one.rest() | {"clientOrderId": one.client_id} for one in self._exchange.trades]
        income = [income_row(one) for one in self._exchange.income]
        return web.json_response({"trades": trades, "income": income})

    async def _tail(self, request: web.Request) -> web.Response:
        """The log after ``since`` (a seq), of one ``kind`` if asked."""
        since = int(request.query.get("since", "0"))
        kind = request.query.get("kind")
        rows = [
            attrs.asdict(each, recurse=False)
            for each in self._log.entries
            if each.seq > since and kind in {None, each.kind}
        ]
        return web.json_response(rows[:LOG_ROWS_MAX])

    async def _list(self, _request: web.Request) -> web.Response:
        kinds = {name: {"acts": kind.moment.value, "means": kind.words} for name, kind in KINDS.items()}
        return web.json_response({"armed": self._faults.armed(), "fired": self._faults.fired, "known": kinds})

    async def _arm(self, request: web.Request) -> web.Response:
        """Arm what ``{"arm": TEXT or [TEXT, ...]}`` says."""
        body = await _body(request)
        asked = body.get("arm", [])
        return self._armed([asked] if isinstance(asked, str) else [str(each) for each in asked])

    async def _disarm(self, request: web.Request) -> web.Response:
        """Disarm the faults of ``?name=``, or all."""
        return web.json_response({"disarmed": self._faults.disarm(request.query.get("name"))})

    async def _mode(self, request: web.Request) -> web.Response:
        """Set the position mode: ``{"hedge": false}``."""
        hedge = bool((await _body(request)).get("hedge", True))
        return self._armed(["mode-hedge" if hedge else "mode-one-way"])

    def _shortcut(self, fault: str) -> Handler:
        """Make an endpoint that performs one act with the body's members as its parameters."""

        async def act(request: web.Request) -> web.Response:
            body = await _body(request)
            return self._armed([":".join([fault, *(f"{key}={value}" for key, value in body.items())])])

        return act

    def _armed(self, texts: list[str]) -> web.Response:
        self._log.note("control", "arm", faults=texts)
        try:
            for text in texts:
                self._faults.arm(text)
        except FaultTextError as error:
            return web.json_response({"error": str(error)}, status=400)
        return web.json_response({"armed": self._faults.armed(), "fired": self._faults.fired})


async def _body(request: web.Request) -> dict[str, Any]:
    """Read a JSON object; 400 for anything else."""
    if not request.can_read_body:
        return {}
    try:
        body = await request.json()
    except ValueError:
        raise web.HTTPBadRequest(text="the body is no JSON") from None
    if not isinstance(body, dict):
        raise web.HTTPBadRequest(text="the body must be an object")
    return body
