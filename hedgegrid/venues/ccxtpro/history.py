"""The exchange's recorded market over REST, through ccxt: pages of columns, and the rules of the day.

Invariants: every request goes through ccxt's own limiter; only ``ccxt.NetworkError`` (which 429, 418 and 5xx are) and
an answer that was cut short are tried again, ``ATTEMPTS`` times at most, waiting twice as long each time and never less
than the exchange asks for; whatever else goes wrong is Fatal in one line. Nothing is sent that changes anything.
"""

import time
from collections.abc import Callable, Iterator
from typing import Any, Final, Self, TypeVar
from urllib.parse import urlsplit

import attrs
import ccxt

from hedgegrid.errors import Fatal
from hedgegrid.units import NS_PER_HOUR, NS_PER_MS
from hedgegrid.venues.ccxtpro.parse_history import (
    BadAnswerError,
    Columns,
    ListedRules,
    agg_trades,
    commission_rates,
    funding_interval_hours,
    funding_rates,
    klines,
    listed_rules,
    margin_tiers,
    server_ms,
)
from hedgegrid.venues.simulated.recorded_files import length_text, symbol_of

_T = TypeVar("_T")
ATTEMPTS: Final = 8
_FIRST_WAIT_S: Final = 1.0
_LONGEST_WAIT_S: Final = 60.0
_BAN_S: Final = 600.0
_PAGE_BARS: Final = 1500
_PAGE_ROWS: Final = 1000
_WINDOW_MS: Final = NS_PER_HOUR // NS_PER_MS
_SIGNED: Final = "the exchange tells it only to signed requests, and no keys were given"
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


@attrs.frozen(kw_only=True)
class Page:
    """Rows of the exchange, and the time up to which nothing is missing: the page's span is over then."""

    columns: Columns
    done_ns: int


class History:
    """Recorded market of Binance USD-M futures. Close it at the end; a context does."""

    def __init__(
        self,
        *,
        rest_url: str | None = None,
        api_key: str = "",
        api_secret: str = "",
        tell: Callable[[str], None] = lambda _line: None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Prepare; nothing is sent yet. ``rest_url`` is an origin in place of the exchange's; ``tell`` hears of waits.

        Fatal for plain http to anything but this machine.
        """
        self._tell = tell
        self._sleep = sleep
        self._signed = bool(api_key and api_secret)
        self._exchange: Any = ccxt.binanceusdm(
            {"enableRateLimit": True, "apiKey": api_key, "secret": api_secret, "timeout": 20_000}
        )
        if rest_url is not None:
            self._move(rest_url)

    def _move(self, rest_url: str) -> None:
        parts = urlsplit(rest_url)
        if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
            raise Fatal(f"{rest_url}: the address must begin with https:// (http:// is for this machine alone)")
        api = self._exchange.urls["api"]
        for name in list(api):
            if name.startswith("fapi") and name != "fapiData":
                version = name[-2:].lower() if name[-1].isdigit() else "v1"
                api[name] = f"{rest_url.rstrip('/')}/fapi/{version}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._exchange.session.close()

    def server_ns(self) -> int:
        """Give the exchange's time in ns."""
        return self._read("fapiPublicGetTime", {}, server_ms) * NS_PER_MS

    def bars(self, instrument: str, length_ns: int, from_ns: int, to_ns: int, *, mark: bool = False) -> Iterator[Page]:
        """Page through closed bars with ``from_ns`` <= opening < ``to_ns``, of trades or of the mark price."""
        call = "fapiPublicGetMarkPriceKlines" if mark else "fapiPublicGetKlines"
        asked = {"symbol": symbol_of(instrument), "interval": length_text(length_ns), "limit": _PAGE_BARS}
        while from_ns < to_ns:
            stop_ns = min(to_ns, from_ns + _PAGE_BARS * length_ns)
            span = {"startTime": from_ns // NS_PER_MS, "endTime": stop_ns // NS_PER_MS - 1}
            columns = self._read(
                call,
                {**asked, **span},
                lambda answer: klines(answer, length_ns, closed_by_ms=to_ns // NS_PER_MS, has_volume=not mark),
            )
            yield Page(columns=_cut(columns, "ts_ns", from_ns, stop_ns), done_ns=stop_ns)
            from_ns = stop_ns

    def funding(self, instrument: str, from_ns: int, to_ns: int) -> Iterator[Page]:
        """Page through settlements with ``from_ns`` <= time < ``to_ns``."""
        while from_ns < to_ns:
            asked = {
                "symbol": symbol_of(instrument),
                "startTime": from_ns // NS_PER_MS,
                "endTime": to_ns // NS_PER_MS - 1,
                "limit": _PAGE_ROWS,
            }
            columns = self._read("fapiPublicGetFundingRate", asked, funding_rates)
            times = columns["ts_ns"]
            full = len(times) >= _PAGE_ROWS
            done_ns = int(times[-1]) + NS_PER_MS if full else to_ns
            yield Page(columns=_cut(columns, "ts_ns", from_ns, to_ns), done_ns=done_ns)
            from_ns = done_ns + 60_000 * NS_PER_MS if full else to_ns

    def first_trade(self, instrument: str, from_ns: int, to_ns: int) -> int | None:
        """Give the number of the first aggregate with ``from_ns`` <= time < ``to_ns``, None where there is none."""
        symbol, from_ms, to_ms = symbol_of(instrument), from_ns // NS_PER_MS, to_ns // NS_PER_MS
        while from_ms < to_ms:
            span = {"startTime": from_ms, "endTime": min(to_ms, from_ms + _WINDOW_MS) - 1}
            columns = self._read("fapiPublicGetAggTrades", {"symbol": symbol, "limit": 1, **span}, agg_trades)
            if len(columns["trade_id"]):
                return int(columns["trade_id"][0])
            from_ms += _WINDOW_MS
        return None

    def trades(self, instrument: str, first_id: int, stop_id: int | None, to_ns: int) -> Iterator[Page]:
        """Page through aggregates from ``first_id`` to before ``stop_id``, and before ``to_ns``."""
        symbol = symbol_of(instrument)
        while stop_id is None or first_id < stop_id:
            asked = {"symbol": symbol, "fromId": first_id, "limit": _PAGE_ROWS}
            columns = self._read("fapiPublicGetAggTrades", asked, agg_trades)
            wanted = _cut(columns, "trade_id", first_id, stop_id if stop_id is not None else 2**62)
            inside = _cut(wanted, "ts_ns", 0, to_ns)
            count = len(inside["ts_ns"])
            if count:
                yield Page(columns=inside, done_ns=int(inside["ts_ns"][-1]))
            if not count or count < len(columns["ts_ns"]) or len(columns["ts_ns"]) < _PAGE_ROWS:
                return
            first_id = int(inside["trade_id"][-1]) + 1

    def rules(self, instrument: str) -> ListedRules:
        """Give the instrument's rules, fees and margin tiers of today, as far as the exchange tells them."""
        symbol = symbol_of(instrument)
        info = self._read("fapiPublicGetExchangeInfo", {}, lambda answer: listed_rules(answer, symbol, "exchangeInfo"))
        hours = self._read("fapiPublicGetFundingInfo", {}, lambda answer: funding_interval_hours(answer, symbol))
        told = {**info.told, "funding_interval_hours": (hours, "fundingInfo")}
        if not self._signed:
            fees = self._exchange.fees["linear"]["trading"]
            table = f"the lowest fee level in ccxt {ccxt.__version__}'s table, not the exchange's answer"
            told |= {f"{side}_fee": (str(fees[side]), table) for side in ("maker", "taker") if side in fees}
            return attrs.evolve(info, told=told, absent={**info.absent, "tiers": _SIGNED})
        tiers = self._read(
            "fapiPrivateGetLeverageBracket", {"symbol": symbol}, lambda answer: margin_tiers(answer, symbol)
        )
        rates = self._read("fapiPrivateGetCommissionRate", {"symbol": symbol}, commission_rates)
        told |= {f"{side}_fee": (rate, "commissionRate") for side, rate in rates.items()}
        return attrs.evolve(info, told=told, tiers=tiers)

    def _read(self, call: str, asked: dict[str, Any], parse: Callable[[Any], _T]) -> _T:
        """Ask until there is an answer that can be read. Fatal where there will be none."""
        wait_s = _FIRST_WAIT_S
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return parse(getattr(self._exchange, call)(dict(asked)))
            except (ccxt.NetworkError, BadAnswerError) as error:
                problem = f"{_named(call)}: {_first_line(error)}"
                if attempt == ATTEMPTS:
                    raise Fatal(f"{problem}; given up after {ATTEMPTS} attempts, run it again to go on") from error
                pause_s = max(wait_s, self._asked_for_s(error))
                if pause_s > _BAN_S:
                    raise Fatal(f"{problem}; the exchange asks to wait {pause_s:.0f} s: run it again then") from error
                self._tell(f"{problem}; trying again in {pause_s:g} s")
                self._sleep(pause_s)
                wait_s = min(2 * wait_s, _LONGEST_WAIT_S)
            except ccxt.BaseError as error:
                raise Fatal(f"{_named(call)}: the exchange refused: {_first_line(error)}") from error
        raise AssertionError("the last attempt returned or raised")

    def _asked_for_s(self, error: Exception) -> float:
        """Give the wait that a refusal for too many requests asks for, in seconds."""
        if not isinstance(error, ccxt.DDoSProtection | ccxt.RateLimitExceeded):
            return 0.0
        headers = self._exchange.last_response_headers or {}
        text = next((value for name, value in headers.items() if name.lower() == "retry-after"), "")
        return float(text) if str(text).isdigit() else 0.0


def _cut(columns: Columns, column: str, start: int, stop: int) -> Columns:
    """Give the rows with ``start`` <= column < ``stop``."""
    inside = (columns[column] >= start) & (columns[column] < stop)
    return {name: values[inside] for name, values in columns.items()}


def _named(call: str) -> str:
    return call.removeprefix("fapiPublicGet").removeprefix("fapiPrivateGet")


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:200]
