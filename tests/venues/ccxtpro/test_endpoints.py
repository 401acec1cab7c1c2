"""The addresses: one server at a time, and nothing in plain over a network."""

import pytest

from hedgegrid.errors import Fatal
from hedgegrid.venues.ccxtpro.endpoints import endpoints


def test_the_practice_environment_is_not_the_real_one() -> None:
    """Protects against practice orders at the real exchange: no address of the two is the same."""
    practice, real = endpoints("testnet"), endpoints("production")
    assert practice.rest == "https://demo-fapi.binance.com"
    assert real.rest == "https://fapi.binance.com"
    for name in ("rest", "ws", "ws_api", "sapi"):
        assert getattr(practice, name) != getattr(real, name)


def test_streams_are_on_the_path_that_serves_them() -> None:
    """Protects the subscriptions: on another path they are acknowledged and then silent."""
    real = endpoints("production")
    assert real.public() == "wss://fstream.binance.com/public/ws"
    assert real.market() == "wss://fstream.binance.com/market/ws"
    assert real.private("K") == "wss://fstream.binance.com/private/ws?listenKey=K"


def test_another_server_takes_over_every_address() -> None:
    """Protects a test against the real exchange: with a server of one's own no address of Binance is left."""
    own = endpoints("production", rest_url="http://127.0.0.1:9000/", ws_url="ws://127.0.0.1:9000")
    addresses = [own.rest, own.ws, own.ws_api, own.sapi, *own.api().values()]
    assert "binance" not in str(addresses)
    assert own.ws_api == "ws://127.0.0.1:9000/ws-fapi/v1"
    assert own.api()["fapiPrivateV3"] == "http://127.0.0.1:9000/fapi/v3"
    assert own.api()["fapiPublic"] == "http://127.0.0.1:9000/fapi/v1"
    assert own.api()["sapi"] == "http://127.0.0.1:9000/sapi/v1"


def test_the_order_socket_can_be_elsewhere() -> None:
    """Protects `venue.ws_api_url`: it is the whole address."""
    own = endpoints(
        "testnet", rest_url="https://h:1", ws_url="wss://h:1", ws_api_url="wss://h:2/ws-fapi/v1?returnRateLimits=true"
    )
    assert own.ws_api == "wss://h:2/ws-fapi/v1?returnRateLimits=true"


@pytest.mark.parametrize(
    "given",
    [
        {"rest_url": "http://10.0.0.1:9000", "ws_url": "wss://10.0.0.1:9000"},
        {"rest_url": "https://10.0.0.1:9000", "ws_url": "ws://10.0.0.1:9000"},
        {"rest_url": "http://127.0.0.1.evil.example", "ws_url": "ws://127.0.0.1:1"},
        {"rest_url": "http://127.0.0.1:1", "ws_url": "ws://127.0.0.1:1", "ws_api_url": "ws://example.com/ws-fapi/v1"},
        {"rest_url": "http://127.0.0.1:1/fapi", "ws_url": "ws://127.0.0.1:1"},
        {"rest_url": "http://user:pw@127.0.0.1:1", "ws_url": "ws://127.0.0.1:1"},
        {"rest_url": "ftp://127.0.0.1:1", "ws_url": "ws://127.0.0.1:1"},
        {"rest_url": "http://127.0.0.1:1"},
        {"ws_url": "ws://127.0.0.1:1"},
        {"ws_api_url": "ws://127.0.0.1:1/ws-fapi/v1"},
    ],
)
def test_an_unsafe_or_half_set_of_addresses_is_refused(given: dict[str, str]) -> None:
    """Protects keys from plain networks, and orders from going to another server than the reads."""
    with pytest.raises(Fatal, match="venue"):
        endpoints("testnet", **given)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_this_machine_may_be_spoken_to_in_plain(host: str) -> None:
    """Protects the stand-in: every name of loopback is one."""
    assert endpoints("testnet", rest_url=f"http://{host}:1", ws_url=f"ws://{host}:1").rest == f"http://{host}:1"


@pytest.mark.parametrize(
    ("rest", "streams", "orders"),
    [
        ("https://fapi.binance.com", "wss://fstream.binancefuture.com", None),
        ("https://demo-fapi.binance.com", "wss://fstream.binance.com", None),
        ("https://demo-fapi.binance.com", "wss://fstream.binancefuture.com", "wss://ws-fapi.binance.com/ws-fapi/v1"),
    ],
)
def test_the_practice_environment_never_reaches_the_real_one(rest: str, streams: str, orders: str | None) -> None:
    """Practice settings with the real exchange's address would trade real money without --live."""
    with pytest.raises(Fatal, match="is the real exchange"):
        endpoints("testnet", rest_url=rest, ws_url=streams, ws_api_url=orders)
