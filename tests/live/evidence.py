"""What a stand-in's log and a journal's file say, put so that a test can compare them."""

import json
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import attrs

from hedgegrid.journal.tape import decode
from hedgegrid.messages.events import PermissionChanged
from tools.standin.request_log import Entry
from tools.standin.serving import Standin

GRACE_NS: Final = 100_000_000
"""What was on the wire when a pause began arrives within this."""
_OPENS: Final = (("LONG", "BUY"), ("SHORT", "SELL"))
_IDS: Final = ("newClientOrderId", "clientAlgoId")
_UNTOLD: Final = ("params", "stream", "socket", "transport", "timestamp", "recvWindow", "newOrderRespType", "e", "aid")
_PLACES: Final = ("POST /fapi/v1/order", "POST /fapi/v1/batchOrders", "POST /fapi/v1/algoOrder")


@attrs.frozen(kw_only=True)
class Sent:
    """An order that was sent. ``wall_ns``: when the stand-in received it."""

    client_id: str
    leg: str
    adds: bool
    wall_ns: int
    params: dict[str, str]

    @property
    def stops(self) -> bool:
        """Whether it is a stop of a quantity, not a backstop."""
        return "triggerPrice" in self.params and "closePosition" not in self.params


def orders_in(request: Entry) -> list[Sent]:
    """Give the orders that a request places, none for any other request."""
    if request.name not in _PLACES:
        return []
    params = request.facts["params"]
    rows = json.loads(params["batchOrders"]) if "batchOrders" in params else [params]
    return [
        Sent(
            client_id=next(row[name] for name in _IDS if name in row),
            leg=row["positionSide"],
            adds=(row["positionSide"], row["side"]) in _OPENS,
            wall_ns=request.wall_ns,
            params=row,
        )
        for row in rows
    ]


def account_of(standin: Standin) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Give the stand-in's account and its trades, each under the client id of the order that the bot knows.

    A triggered stop may trade under an id of the exchange's.
    """
    algos = standin.exchange.algos
    ended = (*algos.open.values(), *algos.ended.values())
    stops = {algo.actual.order_id: algo.client_id for algo in ended if algo.actual is not None}
    trades = [one.rest() | {"clientOrderId": stops.get(one.order_id, one.client_id)} for one in standin.exchange.trades]
    return standin.exchange.summary(), trades


def query(path: Path, statement: str) -> list[tuple[Any, ...]]:
    """Read the journal's file with a connection of our own; nothing where there is no journal yet."""
    if not path.exists():
        return []
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5.0)) as db:
        try:
            return db.execute(statement).fetchall()
        except sqlite3.OperationalError:
            return []


def sent_while_paused(path: Path, orders: Iterable[Sent]) -> list[str]:
    """Give the entries that the exchange received while the journal's permission was anything but active."""
    rows = query(path, "SELECT kind, payload FROM tape WHERE kind = 'PermissionChanged' ORDER BY row")
    changes = [decode(kind, payload) for kind, payload in rows]
    found = []
    for order in orders:
        if not order.adds:
            continue
        told = [one for one in changes if isinstance(one, PermissionChanged) and one.ts_recv_ns <= order.wall_ns]
        paused = bool(told) and told[-1].after != "active"
        began_ns = max((one.ts_recv_ns for one in told if one.before == "active" != one.after), default=0)
        if not told or (paused and order.wall_ns - began_ns > GRACE_NS):
            found.append(f"{order.client_id}: {told[-1].change if told else 'before the start'}")
    return found


def told(facts: Mapping[str, Any]) -> str:
    """Put the facts of a log entry shortly, for a person."""
    params = facts.get("params", {})
    plain = {**facts, **(params if isinstance(params, dict) else {})}
    return " ".join(f"{name}={value}" for name, value in plain.items() if name not in _UNTOLD)
