"""Faults that happen at once: to sockets, to the clock, to the account, to the market.

Invariant: an act does what an operator, the network or the exchange itself would do, through the same doors; one
that cannot be done says why and changes nothing.
"""

import asyncio
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Final

import attrs

from tools.standin.errors import ExchangeError
from tools.standin.exchange import Exchange
from tools.standin.exchange_clock import ExchangeClock
from tools.standin.faults import Fault, Faults, FaultTextError
from tools.standin.hand import fill_now, order_named
from tools.standin.hub import Hub, Listener, Path
from tools.standin.listen_keys import ListenKeys
from tools.standin.market import Market
from tools.standin.orders import Order
from tools.standin.rules import E8
from tools.standin.stream_faults import StreamFaults

BAD_FRAME: Final = '{"e":"ORDER_TRADE_UPDATE","E":1'
_SPEC_FIELDS: Final = ("min_notional", "min_qty", "max_qty", "market_max_qty")
_INTERVALS_H: Final = (1, 4, 8)
_OWN: Final = frozenset({"after", "n", "ms", "path"})

_Act = Callable[[Fault], None]


class Acts:
    """Performs acts; an act with ``after=`` seconds waits for them."""

    def __init__(
        self,
        *,
        faults: Faults,
        exchange: Exchange,
        market: Market,
        clock: ExchangeClock,
        hub: Hub,
        keys: ListenKeys,
        streams: StreamFaults,
    ) -> None:
        self._faults = faults
        self._exchange = exchange
        self._market = market
        self._clock = clock
        self._hub = hub
        self._keys = keys
        self._streams = streams
        self._acts: dict[str, _Act] = {
            "listen-key-expiry": lambda _: self._need(self._keys.expire(self._now()), "no listen key is alive"),
            "half-open": self._half_open,
            "socket-close": self._close,
            "bad-frame": self._bad_frame,
            "burst": lambda fault: self._market.burst(fault.number("n", 5_000)),
            "event-burst": lambda fault: self._streams.repeat(fault.number("n", 200)),
            "skew": self._skew,
            "clock-jump": self._jump,
            "filter-change": self._filters,
            "symbol-reduce-only": lambda fault: self._respec(fault, reduce_only=_is_on(fault)),
            "symbol-status": lambda fault: self._respec(fault, status=fault.params.get("status", "SETTLING")),
            "liquidation": lambda fault: self._exchange.liquidate(self._now(), fault.params.get("symbol")),
            "adl": self._adl,
            "settlement": lambda fault: self._exchange.settle(self._symbol(fault), self._now()),
            "manual-order": lambda fault: self._place(fault, self._exchange.place),
            "manual-stop": lambda fault: self._place(fault, self._exchange.place_algo),
            "mode-one-way": lambda _: self._exchange.set_position_mode(self._now(), hedge=False),
            "mode-hedge": lambda _: self._exchange.set_position_mode(self._now(), hedge=True),
            "fill": self._fill,
            "order-expire": lambda fault: self._exchange.expire_order(self._order(fault).order_id, self._now()),
            "thin-market": self._thin,
            "transfer": lambda fault: self._exchange.transfer(int(_decimal(fault, "amount") * E8), self._now()),
            "funding": self._settle_funding,
            "funding-late": self._late_funding,
            "funding-interval": self._funding_interval,
            "trigger-fails": lambda fault: self._switch("fail_triggers", _is_on(fault)),
            "countdown-late": lambda fault: self._switch("countdown_late_ms", fault.number("ms", 5_000)),
            "price": lambda fault: self._market.move_by_bps(self._symbol(fault), fault.number("bps", 10)),
            "switch": self._switches,
        }

    @property
    def names(self) -> frozenset[str]:
        """The acts that can be performed."""
        return frozenset(self._acts)

    def perform(self, fault: Fault) -> None:
        """Do an act, or set it for later. FaultTextError where it cannot be done."""
        wait_s = float(fault.params.get("after", 0))
        if wait_s > 0:
            asyncio.get_running_loop().call_later(wait_s, self._do_late, fault)
        else:
            self._do(fault)

    def _do_late(self, fault: Fault) -> None:
        """Do an act that had to wait; what is in its way is logged, since nobody waits for it."""
        try:
            self._do(fault)
        except FaultTextError as error:
            self._faults.failed(fault, str(error))

    def _do(self, fault: Fault) -> None:
        try:
            self._acts[fault.name](fault)
        except ExchangeError as error:
            raise FaultTextError(f"{fault.name}: the exchange refuses: {error}") from error
        self._faults.told(fault)

    def _now(self) -> int:
        return self._clock.now_ms()

    @staticmethod
    def _need(done: bool, why_not: str) -> None:  # noqa: FBT001 - what was tried
        if not done:
            raise FaultTextError(why_not)

    # --- sockets and clock ------------------------------------------------------------------------------------------

    def _chosen(self, fault: Fault) -> list[Listener]:
        """Give the sockets of path=, which may be public, market, private or any."""
        text = fault.params.get("path", "private")
        try:
            path = Path(text)
        except ValueError:
            raise FaultTextError(f"{fault.name}: path={text} is none of public, market, private, orders, any") from None
        if path is Path.ANY:
            return self._hub.on_path(None)
        return self._hub.on_path(path)

    def _half_open(self, fault: Fault) -> None:
        for listener in self._chosen(fault):
            listener.deaf = True

    def _close(self, fault: Fault) -> None:
        for listener in self._chosen(fault):
            listener.closing.set()

    def _bad_frame(self, fault: Fault) -> None:
        for listener in self._chosen(fault):
            for _ in range(fault.number("n", 1)):
                listener.offer(BAD_FRAME)

    def _skew(self, fault: Fault) -> None:
        self._clock.skew_ms = fault.number("ms", 2_000)

    def _jump(self, fault: Fault) -> None:
        self._clock.skew_ms += fault.number("ms", 2_000)

    # --- the account ------------------------------------------------------------------------------------------------

    def _place(self, fault: Fault, place: Callable[[dict[str, str], int], object]) -> None:
        place({key: value for key, value in fault.params.items() if key not in _OWN}, self._now())

    def _adl(self, fault: Fault) -> None:
        side, symbol = fault.params.get("side", "LONG"), self._symbol(fault)
        held = abs(self._exchange.position(symbol, side).qty_lots)
        self._need(held > 0, f"adl: there is no {side} position")
        self._exchange.adl(symbol, side, min(held, fault.number("lots", 1)), self._now())

    def _order(self, fault: Fault) -> Order:
        names = {
            "symbol": self._symbol(fault),
            "orderId": fault.params.get("order_id", ""),
            "origClientOrderId": fault.params.get("client", ""),
        }
        order = order_named(self._exchange, names)
        if order is None:
            raise FaultTextError(f"{fault.name}: no open order is called so")
        return order

    def _fill(self, fault: Fault) -> None:
        lots = fault.number("lots", 0)
        fill_now(self._exchange, self._order(fault), self._now(), lots or None)

    # --- rules and market -------------------------------------------------------------------------------------------

    def _symbol(self, fault: Fault) -> str:
        """Give symbol=, which may be left out where there is one only."""
        symbols = self._exchange.symbols
        symbol = fault.params.get("symbol", symbols[0] if len(symbols) == 1 else "")
        if symbol not in symbols:
            raise FaultTextError(f"{fault.name}: symbol= must be one of {', '.join(symbols)}")
        return symbol

    def _respec(self, fault: Fault, **changes: object) -> None:
        self._exchange.change_spec(self._symbol(fault), **changes)

    def _filters(self, fault: Fault) -> None:
        changes = {name: _decimal(fault, name) for name in _SPEC_FIELDS if name in fault.params}
        self._need(bool(changes), f"filter-change: give any of {', '.join(_SPEC_FIELDS)}")
        self._respec(fault, **changes)

    def _thin(self, fault: Fault) -> None:
        lots = fault.number("lots", 1)
        self._exchange.set_liquidity(self._symbol(fault), lots or None)

    def _settle_funding(self, fault: Fault) -> None:
        rate = int(_decimal(fault, "rate") * E8) if "rate" in fault.params else None
        self._market.settle(self._symbol(fault), rate)

    def _funding_interval(self, fault: Fault) -> None:
        hours = fault.number("hours", 8)
        self._need(hours in _INTERVALS_H, f"funding-interval: hours= must be one of {_INTERVALS_H}")
        self._respec(fault, funding_interval_h=hours)
        self._market.announce(self._symbol(fault))

    def _late_funding(self, fault: Fault) -> None:
        self._market.settings.funding_late_ms = fault.number("ms", 5_000)

    def _switch(self, name: str, value: object) -> None:
        setattr(self._exchange.switches, name, value)

    def _switches(self, fault: Fault) -> None:
        for name, text in fault.params.items():
            if name != "after":
                self._switch(name, switch_value(self._exchange, name, text))


def switch_value(exchange: Exchange, name: str, text: str) -> object:
    """Read a switch's value as the switch's own kind. FaultTextError for an unknown switch or value."""
    known = {field.name for field in attrs.fields(type(exchange.switches))}
    if name not in known:
        raise FaultTextError(f"no switch is called {name!r}; there are {', '.join(sorted(known))}")
    present = getattr(exchange.switches, name)
    if isinstance(present, bool):
        if text.lower() not in {"true", "false"}:
            raise FaultTextError(f"{name}={text}: give true or false")
        return text.lower() == "true"
    if isinstance(present, int):
        return int(text)
    return text


def _is_on(fault: Fault) -> bool:
    return fault.params.get("on", "1") not in {"0", "false"}


def _decimal(fault: Fault, key: str) -> Decimal:
    try:
        return Decimal(fault.params.get(key, ""))
    except InvalidOperation:
        raise FaultTextError(f"{fault.name}: {key}= must be a number") from None
