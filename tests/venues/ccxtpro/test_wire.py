"""The wire: what leaves, what cannot leave, and what a failure proves."""

import hashlib
import hmac
import logging
import ssl
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from hedgegrid.errors import Fatal
from hedgegrid.venues.ccxtpro.endpoints import endpoints
from hedgegrid.venues.ccxtpro.lean_ccxt import BinanceUsdm
from hedgegrid.venues.ccxtpro.wire import LostError, NotSentError, PublicWire, TradingWire, _Exchange
from tests.venues.ccxtpro.loopback import loopback

SECRET = "s3cret-s3cret"
ORDER = {"symbol": "BTCUSDT", "side": "BUY", "newClientOrderId": "hg-1", "price": "100.1"}


def trading(venue: Any) -> TradingWire:
    """Make a wire with keys."""
    return TradingWire(endpoints=venue.endpoints, api_key="the-key", api_secret=SECRET, recv_window_ms=2_000)


def implicit(sections: Any, trail: tuple[str, ...] = ()) -> list[tuple[str, str, str]]:
    """Give ccxt's implicit methods as (section, verb, name of the method)."""
    found = []
    for key, inner in sections.items():
        if key in {"get", "post", "put", "delete"}:
            for path in inner:
                words = "".join(
                    word[:1].upper() + word[1:] for word in path.replace("-", "/").replace("_", "/").split("/")
                )
                found.append((trail[0], key, f"{trail[0]}{key.capitalize()}{words}"))
        elif isinstance(inner, dict):
            found += implicit(inner, (*trail, key))
    return found


@pytest.mark.asyncio
async def test_a_wire_without_keys_can_send_no_request_of_an_account() -> None:
    """Protects paper mode: each of ccxt's signed or changing methods is refused before a byte leaves."""
    async with loopback() as venue:
        wire = PublicWire(endpoints=venue.endpoints)
        methods = implicit(BinanceUsdm({}).describe()["api"])
        guarded = [name for section, verb, name in methods if not (section.startswith("fapiPublic") and verb == "get")]
        assert {"fapiPrivatePostOrder", "fapiPrivatePostListenKey", "sapiPostCapitalWithdrawApply"} <= set(guarded)
        for method in guarded:
            with pytest.raises(Fatal, match="without keys"):
                await wire.request(wire.prepared(method, {}))
        with pytest.raises(Fatal, match="without keys"):
            await wire.request(wire.prepared("fapiPublicGetHistoricalTrades", {"symbol": "BTCUSDT"}))
        with pytest.raises(Fatal, match="without keys"):
            wire._exchange.sign_params({"symbol": "BTCUSDT"})
        assert venue.requests == []
        await wire.close()


@pytest.mark.asyncio
async def test_a_wire_without_keys_has_none_and_opens_no_other_socket() -> None:
    """Protects paper mode: no key lies anywhere, and neither the private nor the order socket can be opened."""
    async with loopback() as venue:
        wire = PublicWire(endpoints=venue.endpoints)
        assert not wire._exchange.apiKey
        assert not wire._exchange.secret
        assert not isinstance(wire, TradingWire)
        for url in (venue.endpoints.private("K"), venue.endpoints.ws_api):
            with pytest.raises(Fatal, match="nothing else"):
                await wire.dial(url, tap=print, on_pong=print, on_bad=print)
        assert venue.paths == []
        await wire.close()


@pytest.mark.asyncio
async def test_a_request_is_signed_with_the_exchanges_time() -> None:
    """Protects the signature, the receive window and the timestamp, which fences late arrivals."""
    async with loopback() as venue:
        venue.answer("POST /fapi/v1/order", {"orderId": 1}, X_MBX_USED_WEIGHT_1M="7")
        wire = trading(venue)
        wire.stamp_with(lambda: 1_700_000_000_123)
        reply = await wire.request(wire.prepared("fapiPrivatePostOrder", ORDER))
        await wire.close()
    assert (reply.status, reply.body) == (200, b'{"orderId": 1}')
    assert reply.headers.get("x-mbx-used-weight-1m") == "7"
    body, _, signature = venue.requests[0].body.rpartition("&signature=")
    assert signature == hmac.new(SECRET.encode(), body.encode(), hashlib.sha256).hexdigest()
    sent = dict(pair.split("=") for pair in body.split("&"))
    assert sent == {**ORDER, "timestamp": "1700000000123", "recvWindow": "2000"}
    assert venue.requests[0].headers["X-MBX-APIKEY"] == "the-key"


@pytest.mark.asyncio
async def test_fields_are_written_as_ccxt_writes_them() -> None:
    """Protects the signature: the shorter way of writing a batch gives ccxt's own bytes, and so does a message's."""
    batch = {"batchOrders": [{**ORDER, "goodTillDate": 5}, {**ORDER, "newClientOrderId": "a.1bLE3-2"}], "b": True}
    async with loopback() as venue:
        wire = trading(venue)
        wire.stamp_with(lambda: 1_700_000_000_123)
        ours = wire.prepared("fapiPrivatePostBatchOrders", batch).body, wire.signed({**ORDER, "flag": False})
        plain = BinanceUsdm.rawencode
        wire._exchange.rawencode = plain  # type: ignore[method-assign]
        assert (wire.prepared("fapiPrivatePostBatchOrders", batch).body, wire.signed({**ORDER, "flag": False})) == ours
        await wire.close()


PIECES = st.text(st.sampled_from("aZ09_.~-&=% +,/é[]\"'"), max_size=6)


@given(fields=st.dictionaries(PIECES, PIECES | st.integers() | st.booleans() | st.none() | st.floats(), max_size=4))
def test_fields_are_escaped_as_ccxt_escapes_them(fields: dict[str, Any]) -> None:
    """Protects the signature: whatever the fields hold, the shorter way gives ccxt's own bytes."""
    assert _Exchange.urlencode(fields) == BinanceUsdm.urlencode(fields)
    assert _Exchange.urlencode(fields, True) == BinanceUsdm.urlencode(fields, True)


@pytest.mark.asyncio
async def test_what_did_not_leave_is_told_from_what_may_have() -> None:
    """Protects law 4: only a refused connection proves that nothing was sent."""

    async def drop(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async def cut(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Length": "100"})
        await answer.prepare(request)
        await answer.write(b'{"orderId"')
        assert request.transport is not None
        request.transport.close()
        return answer

    async with loopback() as venue:
        wire = trading(venue)
        venue.answers = {"POST /fapi/v1/order": drop, "GET /fapi/v1/time": cut}
        with pytest.raises(LostError):
            await wire.request(wire.prepared("fapiPrivatePostOrder", ORDER))
        with pytest.raises(LostError):
            await wire.request(wire.prepared("fapiPublicGetTime", {}))
        await wire.close()
    nobody = endpoints("testnet", rest_url="http://127.0.0.1:9", ws_url="ws://127.0.0.1:9")
    lone = TradingWire(endpoints=nobody, api_key="the-key", api_secret=SECRET, recv_window_ms=2_000)
    with pytest.raises(NotSentError, match="ClientConnectorError"):
        await lone.request(lone.prepared("fapiPrivatePostOrder", ORDER))
    with pytest.raises(NotSentError):
        await lone.dial(nobody.private("K"), tap=print, on_pong=print, on_bad=print)
    await lone.close()


@pytest.mark.asyncio
async def test_a_redirection_is_an_answer_and_not_followed() -> None:
    """Protects keys: another address never gets a request that was made for the exchange."""
    async with loopback() as venue:
        venue.answer("POST /fapi/v1/order", {}, status=302, Location="/elsewhere")
        wire = trading(venue)
        assert (await wire.request(wire.prepared("fapiPrivatePostOrder", ORDER))).status == 302
        await wire.close()
    assert [one.path for one in venue.requests] == ["/fapi/v1/order"]


@pytest.mark.asyncio
async def test_a_closed_wire_leaves_nothing_open(caplog: pytest.LogCaptureFixture) -> None:
    """Protects against leaks: closing ends the session and its sockets, and ccxt has nothing to complain of."""
    async with loopback() as venue:
        wire = trading(venue)
        connection = await wire.dial(venue.endpoints.private("K"), tap=print, on_pong=print, on_bad=print)
        with caplog.at_level(logging.WARNING):
            await wire.close()
            assert connection.closed()
            assert wire._exchange.http.closed
            del wire
    assert caplog.records == []


@pytest.mark.parametrize("plain_rest", [False, True])
@pytest.mark.asyncio
async def test_certificates_are_checked_wherever_one_is_shown(plain_rest: bool) -> None:
    """Protects keys and orders: no wire takes a certificate unseen, plain addresses beside secure ones included."""
    mixed = endpoints("testnet", rest_url="http://127.0.0.1:1" if plain_rest else "https://h:1", ws_url="wss://h:2")
    wire = PublicWire(endpoints=mixed)
    connector = wire._exchange.http.connector
    assert isinstance(connector, aiohttp.TCPConnector)
    for context in (connector._ssl, None if plain_rest else wire._lines._tls):
        if context is None:
            continue
        assert isinstance(context, ssl.SSLContext)
        assert context.check_hostname
        assert context.verify_mode is ssl.CERT_REQUIRED
    await wire.close()
