"""Where the exchange is: every address by environment, or on another server.

Invariants: one value holds all addresses of one server, never some of the exchange's and some of another's; plain
http and ws reach this machine only. Streams live on three paths since the exchange split them: a stream that is asked
for on the wrong one is acknowledged and then silent.
"""

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Final, Literal
from urllib.parse import urlsplit

import attrs

from hedgegrid.errors import Fatal

Environment = Literal["testnet", "production"]


@attrs.frozen(kw_only=True)
class Endpoints:
    """Addresses of one server. ``rest`` and ``ws`` are origins, ``ws_api`` a whole address.

    ``sapi`` is the origin of the account's own settings (key permissions); None where the environment has none.
    """

    rest: str
    ws: str
    ws_api: str
    sapi: str | None

    def public(self) -> str:
        """Best bid and ask, trades, depth."""
        return f"{self.ws}/public/ws"

    def market(self) -> str:
        """Klines, mark prices, aggregated trades."""
        return f"{self.ws}/market/ws"

    def private(self, listen_key: str) -> str:
        """The account's own events."""
        return f"{self.ws}/private/ws?listenKey={listen_key}"

    def api(self) -> Mapping[str, object]:
        """Give the addresses by ccxt's names: only these sections can be called at all."""
        sections = {
            f"fapi{side}{version}": f"{self.rest}/fapi/{version.lower() or 'v1'}"
            for side in ("Public", "Private")
            for version in ("", "V2", "V3")
        }
        if self.sapi is not None:
            sections["sapi"] = f"{self.sapi}/sapi/v1"
        return {**sections, "ws": {"linear": f"{self.ws}/ws", "ws-api": {"linear": self.ws_api}}}


_KNOWN: Final[Mapping[Environment, Endpoints]] = {
    "production": Endpoints(
        rest="https://fapi.binance.com",
        ws="wss://fstream.binance.com",
        ws_api="wss://ws-fapi.binance.com/ws-fapi/v1",
        sapi="https://api.binance.com",
    ),
    "testnet": Endpoints(
        rest="https://demo-fapi.binance.com",
        ws="wss://fstream.binancefuture.com",
        ws_api="wss://testnet.binancefuture.com/ws-fapi/v1",
        sapi=None,
    ),
}


def endpoints(
    environment: Environment,
    *,
    rest_url: str | None = None,
    ws_url: str | None = None,
    ws_api_url: str | None = None,
) -> Endpoints:
    """Give the exchange's addresses, or another server's: ``rest_url`` and ``ws_url`` are origins of it.

    ``ws_api_url`` is a whole address; without it the order socket is at its usual path of ``ws_url``. Fatal where an
    address is plain and not this machine's, has more than an origin, or only one of REST and streams is moved.
    """
    if rest_url is None and ws_url is None and ws_api_url is None:
        return _KNOWN[environment]
    if rest_url is None or ws_url is None:
        raise Fatal("venue.rest_url and venue.ws_url are given together or not at all: they are one server")
    rest = _origin(rest_url, "venue.rest_url", secure="https", plain="http")
    streams = _origin(ws_url, "venue.ws_url", secure="wss", plain="ws")
    orders = f"{streams}/ws-fapi/v1" if ws_api_url is None else ws_api_url
    if environment != "production":
        _refuse_the_real_one(rest, streams, orders)
    _guarded(orders, "venue.ws_api_url", secure="wss", plain="ws")
    return Endpoints(rest=rest, ws=streams, ws_api=orders, sapi=rest)


def _refuse_the_real_one(*urls: str) -> None:
    """Refuse the real exchange's servers where the practice environment is meant. Raises Fatal."""
    for url in urls:
        host = urlsplit(url).hostname or ""
        if (host == "binance.com" or host.endswith(".binance.com")) and not host.startswith(("demo-", "testnet")):
            raise Fatal(f'{host} is the real exchange: venue.environment is "testnet", which must not reach it')


def _origin(url: str, name: str, *, secure: str, plain: str) -> str:
    """Give ``url`` without a last slash; Fatal where it is no origin."""
    _guarded(url, name, secure=secure, plain=plain)
    parts = urlsplit(url)
    if parts.path.strip("/") or parts.query or parts.fragment or parts.username:
        raise Fatal(f"{name}: {secure}://HOST[:PORT] and nothing after it was expected")
    return f"{parts.scheme}://{parts.netloc}"


def _guarded(url: str, name: str, *, secure: str, plain: str) -> None:
    """Refuse what would travel in plain over a network."""
    parts = urlsplit(url)
    if parts.hostname and (parts.scheme == secure or (parts.scheme == plain and _this_machine(parts.hostname))):
        return
    raise Fatal(f"{name}: the address must begin with {secure}:// ({plain}:// is for this machine alone)")


def _this_machine(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
