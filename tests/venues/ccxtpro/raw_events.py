"""Raw private events of one instrument, as the exchange words them, and a reader of them that keeps what it told."""

from collections.abc import Mapping
from typing import Any, cast

from hedgegrid.core.client_id import client_id
from hedgegrid.messages.events import AccountChanged, OrderEvent, StreamGap
from hedgegrid.model.order import Kind, Leg, OrderRequest, Purpose
from hedgegrid.ports import PrivateEvent, VenueBatch
from hedgegrid.venues.ccxtpro.private_events import Hearers, PrivateEvents
from hedgegrid.venues.ccxtpro.session import Session
from hedgegrid.venues.ccxtpro.traded import Traded
from tests.venues.ccxtpro.loopback import listed

T_MS = 1_790_000_000_000
BTC = "BTC/USDT:USDT"


def our_id(purpose: Purpose = Purpose.ENTRY, leg: Leg = Leg.LONG, *, level: int = 3, sequence: int = 1) -> str:
    """Write one of our ids."""
    return client_id(account="demo", epoch=1, leg=leg, purpose=purpose, level=level, sequence=sequence)


def request(purpose: Purpose = Purpose.ENTRY, leg: Leg = Leg.LONG, **changes: Any) -> OrderRequest:
    """Make a request; stops are conditional, flattening goes to the market, everything else rests."""
    stops = purpose in (Purpose.STOP, Purpose.BACKSTOP)
    kind = Kind.STOP_MARKET if stops else Kind.MARKET if purpose is Purpose.FLATTEN else Kind.LIMIT
    level = changes.pop("level", 3)
    sequence = changes.pop("sequence", 1)
    made: dict[str, Any] = {
        "client_id": our_id(purpose, leg, level=level, sequence=sequence),
        "instrument": BTC,
        "leg": leg,
        "purpose": purpose,
        "kind": kind,
        "price_ticks": 0 if kind is Kind.MARKET else 600_000,
        "qty_lots": 10,
        "post_only": purpose is Purpose.ENTRY,
        "level": level,
        "generation": 1,
        "decided_ns": T_MS * 1_000_000,
    }
    return OrderRequest(**(made | changes))


def order_update(
    name: str, execution: str, status: str, *, order_id: int = 77, q: str = "0.010", z: str = "0", **changes: Any
) -> dict[str, Any]:
    """Word an ORDER_TRADE_UPDATE of BTCUSDT, LONG, BUY, post-only."""
    row: dict[str, Any] = {
        "s": "BTCUSDT", "c": name, "S": "BUY", "o": "LIMIT", "f": "GTX", "q": q, "p": "60000.0", "ap": "0", "sp": "0",
        "x": execution, "X": status, "i": order_id, "l": "0", "z": z, "L": "0", "T": T_MS, "t": 0, "m": False,
        "R": False, "wt": "CONTRACT_PRICE", "ot": "LIMIT", "ps": "LONG", "cp": False, "rp": "0", "er": "0",
    }  # fmt: skip
    return {"e": "ORDER_TRADE_UPDATE", "T": T_MS, "E": T_MS + 1, "o": row | changes}


def trade(name: str, trade_id: int, lots: str, z: str, **changes: Any) -> dict[str, Any]:
    """Word a fill of ``lots`` that brings the order to ``z``."""
    q = changes.get("q", "0.010")
    status = "FILLED" if z == q else "PARTIALLY_FILLED"
    fill: dict[str, Any] = {"l": lots, "L": "60000.0", "t": trade_id, "n": "0.01", "N": "USDT", "m": True}
    return order_update(name, "TRADE", status, z=z, **(fill | changes))


SELL_STOP: Mapping[str, Any] = {"S": "SELL", "o": "MARKET", "ot": "STOP_MARKET", "f": "GTC", "m": False}


def algo_update(name: str, status: str, *, actual: int | None = None, **changes: Any) -> dict[str, Any]:
    """Word an ALGO_UPDATE of a LONG stop."""
    row: dict[str, Any] = {
        "caid": name, "aid": 5001, "at": "CONDITIONAL", "o": "STOP_MARKET", "s": "BTCUSDT", "S": "SELL", "ps": "LONG",
        "f": "GTC", "q": "0.010", "X": status, "tp": "59000.0", "p": "0", "wt": "MARK_PRICE", "cp": False, "R": True,
    }  # fmt: skip
    if actual is not None:
        row |= {"ai": str(actual), "aq": "0", "ap": "0"}
    return {"e": "ALGO_UPDATE", "T": T_MS, "E": T_MS + 1, "o": row | changes}


def account_update(why: str, *, wallet: str = "1000", change: str = "0", long: str | None = None) -> dict[str, Any]:
    """Word an ACCOUNT_UPDATE of the USDT wallet, and of the LONG leg where its amount is given."""
    legs = [] if long is None else [{"s": "BTCUSDT", "pa": long, "ep": "60000.0", "up": "0", "ps": "LONG"}]
    wallets = [{"a": "USDT", "wb": wallet, "cw": wallet, "bc": change}]
    return {"e": "ACCOUNT_UPDATE", "T": T_MS, "E": T_MS + 1, "a": {"m": why, "B": wallets, "P": legs}}


class Told:
    """A reader of raw events and all that it told."""

    def __init__(self) -> None:
        """Begin with nothing heard."""
        self.events: list[PrivateEvent] = []
        self.reports: list[str] = []
        self.charged = 0
        self.expired = 0
        no_session = cast("Session", None)  # the reader of events never asks anything
        self.traded = Traded.of(no_session, [listed()], self._report)
        self.reader = PrivateEvents(
            traded=self.traded,
            hearers=Hearers(
                emit=self.events.append, report=self._report, funding_paid=self._charge, key_expired=self._expire
            ),
            mark_of=lambda _: 601_234,
            fee_of=lambda _: 42,
        )

    def hear(self, *payloads: dict[str, Any], now_ns: int = 0) -> None:
        """Take payloads, all at one time."""
        for payload in payloads:
            self.reader.take(payload, now_ns)

    @property
    def orders(self) -> list[OrderEvent]:
        """Every order event that was told, in order."""
        return [event for batch in self.events if isinstance(batch, VenueBatch) for event in batch.events]

    @property
    def said(self) -> list[tuple[str, str, int]]:
        """Every order event in short: kind, id, lots of its fill."""
        return [(one.kind.value, one.client_id, one.fill.qty_lots if one.fill else 0) for one in self.orders]

    @property
    def gaps(self) -> list[str]:
        """Why events may have been lost."""
        return [event.why for event in self.events if isinstance(event, StreamGap)]

    @property
    def changes(self) -> list[AccountChanged]:
        """What was told of the wallet."""
        return [event for event in self.events if isinstance(event, AccountChanged)]

    def _report(self, text: str, _: Mapping[str, str]) -> None:
        self.reports.append(text)

    def _charge(self) -> None:
        self.charged += 1

    def _expire(self) -> None:
        self.expired += 1
