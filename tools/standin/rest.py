"""The gateway behind HTTP and behind the websocket API: what came in becomes a ``Call``, what goes out an ``Answer``.

Invariants: a request is observed before anything else happens to it and once more with what was sent; a fault that
answers keeps the request from the exchange, one that changes an answer does not undo what was done.
"""

import asyncio
import json
from collections.abc import Callable
from typing import Any, Final, Protocol

from aiohttp import web

from tools.standin.arrivals import arrived_ns
from tools.standin.gateway import Gateway
from tools.standin.wire import Answer, Call

Observe = Callable[[Call, Answer | None], None]
_METHODS: Final[dict[str, tuple[str, str]]] = {
    "order.place": ("POST", "/fapi/v1/order"),
    "order.modify": ("PUT", "/fapi/v1/order"),
    "order.cancel": ("DELETE", "/fapi/v1/order"),
    "order.status": ("GET", "/fapi/v1/order"),
    "algoOrder.place": ("POST", "/fapi/v1/algoOrder"),
    "algoOrder.cancel": ("DELETE", "/fapi/v1/algoOrder"),
    "account.status": ("GET", "/fapi/v2/account"),
    "v2/account.status": ("GET", "/fapi/v3/account"),
    "account.balance": ("GET", "/fapi/v2/balance"),
    "v2/account.balance": ("GET", "/fapi/v3/balance"),
    "account.position": ("GET", "/fapi/v2/positionRisk"),
    "v2/account.position": ("GET", "/fapi/v3/positionRisk"),
    "depth": ("GET", "/fapi/v1/depth"),
    "ticker.book": ("GET", "/fapi/v1/ticker/bookTicker"),
    "ticker.price": ("GET", "/fapi/v1/ticker/price"),
    "userDataStream.start": ("POST", "/fapi/v1/listenKey"),
    "userDataStream.ping": ("PUT", "/fapi/v1/listenKey"),
    "userDataStream.stop": ("DELETE", "/fapi/v1/listenKey"),
    "ping": ("GET", "/fapi/v1/ping"),
    "time": ("GET", "/fapi/v1/time"),
    "exchangeInfo": ("GET", "/fapi/v1/exchangeInfo"),
}
_OK: Final = 200
_BAD_REQUEST: Final = 400


class Faults(Protocol):
    """What may go wrong around the exchange."""

    async def before(self, call: Call) -> Answer | None:
        """Answer a request that the exchange never sees, or None to let it through."""
        ...

    async def after(self, call: Call, answer: Answer) -> Answer:
        """Give what is sent in place of an answer."""
        ...


async def answered(gateway: Gateway, faults: Faults, observe: Observe, call: Call) -> Answer:
    """Bring a call to the exchange and back, through the faults."""
    observe(call, None)
    answer = await faults.before(call)
    if answer is None:
        answer = await faults.after(call, gateway.answer(call))
    observe(call, answer)
    return answer


def add_rest(app: web.Application, gateway: Gateway, faults: Faults, observe: Observe) -> None:
    """Register /fapi and /sapi."""

    async def handle(request: web.Request) -> web.StreamResponse:
        call = Call(
            method=request.method,
            path=request.path,
            query=request.rel_url.raw_query_string,
            body=(await request.read()).decode(errors="replace"),
            api_key=request.headers.get("X-MBX-APIKEY", ""),
            transport="rest",
            received_ms=gateway.now_ms(),
            arrived_ns=arrived_ns(request),
        )
        return await _written(request, await answered(gateway, faults, observe, call))

    for prefix in ("/fapi/", "/sapi/"):
        app.router.add_route("*", prefix + "{rest:.*}", handle)


async def _written(request: web.Request, answer: Answer) -> web.StreamResponse:
    """Write an answer, or as much of it as its faults allow."""
    if answer.drop:
        _hang_up(request)
        return web.Response()
    body = json.dumps(answer.payload, separators=(",", ":")).encode() if answer.raw is None else answer.raw
    kind = "application/json" if answer.raw is None else "text/html"
    if not answer.short_by:
        return web.Response(status=answer.status, body=body, content_type=kind, headers=dict(answer.headers))
    response = web.StreamResponse(status=answer.status, headers=dict(answer.headers))
    response.content_type = kind
    response.content_length = len(body)
    await response.prepare(request)
    await response.write(body[: max(0, len(body) - answer.short_by)])
    # What was written must leave before the connection does.
    await asyncio.sleep(0)
    _hang_up(request)
    return response


def _hang_up(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.close()


async def ws_api(
    gateway: Gateway, faults: Faults, observe: Observe, request: dict[str, Any], frame_ns: int
) -> dict[str, Any] | None:
    """Answer one frame of /ws-fapi/v1, which came at ``frame_ns``; None where a fault keeps the answer."""
    call = ws_call(request, gateway.now_ms(), frame_ns)
    if call is None:
        error = {"code": -1000, "msg": f"Unknown method '{request.get('method')}'"}
        return {"id": request.get("id"), "status": _BAD_REQUEST, "error": error}
    answer = await answered(gateway, faults, observe, call)
    if answer.drop:
        return None
    reply: dict[str, Any] = {"id": request.get("id"), "status": answer.status}
    if answer.status == _OK:
        reply["result"] = answer.payload
    else:
        text = answer.raw.decode() if answer.raw is not None else ""
        reply["error"] = answer.payload if answer.raw is None else {"code": -1000, "msg": text}
    reply["rateLimits"] = gateway.meter.rate_limits(gateway.now_ms())
    return reply


def ws_call(request: dict[str, Any], now_ms: int, frame_ns: int) -> Call | None:
    """Give the call that a frame of the websocket API stands for; None for a method that is not known.

    Its signature covers the other parameters, sorted by name and unescaped.
    """
    place = _METHODS.get(str(request.get("method", "")))
    params = request.get("params") or {}
    if place is None or not isinstance(params, dict):
        return None
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in params.items()}
    body = "&".join(f"{key}={texts[key]}" for key in sorted(texts))
    return Call(
        method=place[0],
        path=place[1],
        query="",
        body=body,
        api_key=texts.get("apiKey", ""),
        transport="ws",
        received_ms=now_ms,
        arrived_ns=frame_ns,
    )
