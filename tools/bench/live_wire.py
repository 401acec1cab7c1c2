"""What a stand-in's log says of a contestant: for each closed bar, when its first request and its first order came.

Invariants: both ends of every delay are stamps of one process and one clock; a decision is what came in after one bar
was sent and before the next one was; only whole decisions count, the first and the last bars are left out.
"""

import json
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import attrs

NS_PER_MS: Final = 1e6
_PLACED: Final = {"POST /fapi/v1/order": 1, "POST /fapi/v1/batchOrders": 0, "POST /fapi/v1/algoOrder": 1}
_ENTRIES: Final = ("POST /fapi/v1/order", "POST /fapi/v1/batchOrders")
_WRITES: Final = (*_PLACED, "DELETE /fapi/v1/order", "DELETE /fapi/v1/batchOrders", "DELETE /fapi/v1/algoOrder")
_AT_THE_EDGES: Final = 3
"""Bars at either end that are not counted: the first orders of a run meet connections that are still being opened."""


@attrs.frozen(kw_only=True)
class Decision:
    """What one closed bar led to; delays in ms from the sending of the bar.

    ``durable_ms`` is the part of ``order_ms`` in which a commit of the journal was under way.
    """

    first_ms: float
    order_ms: float
    durable_ms: float
    requests: int
    orders: int


def decisions(log: Path, commits: Sequence[tuple[int, int]]) -> list[Decision]:
    """Read the decisions out of a log, and the journal's commits in them."""
    entries = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    bars = [one["mono_ns"] for one in entries if one["kind"] == "event" and one["name"] == "kline closed"]
    writes = [one for one in entries if one["kind"] == "request" and one["name"] in _WRITES]
    of_bar: dict[int, list[dict[str, Any]]] = {}
    for one in writes:
        of_bar.setdefault(bisect_right(bars, one["mono_ns"]) - 1, []).append(one)
    made = [_decision(bars[at], of_bar.get(at, []), commits) for at in range(_AT_THE_EDGES, len(bars) - _AT_THE_EDGES)]
    return [one for one in made if one is not None]


def _decision(bar_ns: int, writes: Sequence[dict[str, Any]], commits: Iterable[tuple[int, int]]) -> Decision | None:
    """Give what a bar led to; None where it led to no entry."""
    entries = [one["mono_ns"] for one in writes if one["name"] in _ENTRIES]
    if not entries:
        return None
    order_ns = min(entries)
    durable_ns = sum(max(0, min(ended, order_ns) - max(began, bar_ns)) for began, ended in commits)
    return Decision(
        first_ms=(min(one["mono_ns"] for one in writes) - bar_ns) / NS_PER_MS,
        order_ms=(order_ns - bar_ns) / NS_PER_MS,
        durable_ms=durable_ns / NS_PER_MS,
        requests=len(writes),
        orders=sum(_orders(one) for one in writes if one["name"] in _PLACED),
    )


def _orders(request: dict[str, Any]) -> int:
    """Count the orders that a request places."""
    batch = request["facts"]["params"].get("batchOrders")
    return 1 if batch is None else len(json.loads(batch))


def read_commits(path: Path) -> list[tuple[int, int]]:
    """Read the stopwatch's times; none where nobody wrote any."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    return [(int(began), int(ended)) for began, _, ended in (line.partition(" ") for line in lines)]


def percentile(values: Sequence[float], share: float) -> float:
    """Give the value below which a share of the values lies (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
