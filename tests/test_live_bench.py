"""The live bench reads logs and figures as it says: what it reports is what happened."""

import json
from pathlib import Path
from typing import Any

from tools.bench.live_memory import judged
from tools.bench.live_usage import slope
from tools.bench.live_wire import decisions, percentile, read_commits

MS = 1_000_000
BAR = 1_000 * MS


def entry(mono_ns: int, kind: str, name: str, **params: Any) -> dict[str, Any]:
    """Make a line of a stand-in's log."""
    return {"mono_ns": mono_ns, "kind": kind, "name": name, "facts": {"params": params}}


def written(folder: Path, entries: list[dict[str, Any]]) -> Path:
    """Write a log with ten bars, a second apart, and some entries in it."""
    bars = [entry(number * BAR, "event", "kline closed") for number in range(10)]
    log = folder / "wire.jsonl"
    log.write_text("".join(json.dumps(one) + "\n" for one in bars + entries), encoding="utf-8")
    return log


def test_a_delay_is_from_a_bar_to_the_first_entry_that_follows_it(tmp_path: Path) -> None:
    """Cancels and stops do not count as the order, requests of the next bar are another decision."""
    batch = json.dumps([{"side": "BUY"}, {"side": "SELL"}])
    log = written(
        tmp_path,
        [
            entry(4 * BAR + 2 * MS, "request", "DELETE /fapi/v1/batchOrders"),
            entry(4 * BAR + 3 * MS, "request", "POST /fapi/v1/algoOrder"),
            entry(4 * BAR + 5 * MS, "request", "POST /fapi/v1/batchOrders", batchOrders=batch),
            entry(4 * BAR + 6 * MS, "answer", "POST /fapi/v1/batchOrders"),
            entry(5 * BAR + 9 * MS, "request", "POST /fapi/v1/order"),
        ],
    )
    first, second = decisions(log, [])
    assert (first.first_ms, first.order_ms, first.orders, first.requests) == (2.0, 5.0, 3, 3)
    assert (second.order_ms, second.orders, second.requests) == (9.0, 1, 1)


def test_only_the_part_of_a_commit_that_delays_the_order_is_taken_off(tmp_path: Path) -> None:
    """A commit that began before the bar or ended after the order must not make the bot look faster than it was."""
    log = written(tmp_path, [entry(4 * BAR + 5 * MS, "request", "POST /fapi/v1/order")])
    times = tmp_path / "commits.txt"
    spans = [(4 * BAR - 3 * MS, 4 * BAR + MS), (4 * BAR + 2 * MS, 4 * BAR + 3 * MS), (4 * BAR + 4 * MS, 5 * BAR)]
    times.write_text("".join(f"{began} {ended}\n" for began, ended in spans), encoding="utf-8")
    (one,) = decisions(log, read_commits(times))
    assert one.durable_ms == 1.0 + 1.0 + 1.0


def test_bars_at_the_edges_and_bars_without_an_order_are_no_decisions(tmp_path: Path) -> None:
    """The first bars of a run pay for connections, and a bar that led to nothing has no delay."""
    log = written(tmp_path, [entry(BAR + MS, "request", "POST /fapi/v1/order")])
    assert decisions(log, []) == []


def test_a_percentile_is_a_value_that_was_measured() -> None:
    """The p99 of a few samples is their largest, not something between two of them."""
    assert percentile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert percentile([float(one) for one in range(50)], 0.99) == 49.0


def test_a_slope_is_the_growth_from_one_look_to_the_next() -> None:
    """Memory that grows by two each minute has that slope, and two looks show nothing."""
    assert slope([1.0, 3.0, 5.0, 7.0]) == 2.0
    assert slope([1.0, 3.0]) is None


def test_a_soak_that_grows_or_rests_or_ends_early_does_not_hold() -> None:
    """A leak of a tenth of a MB each minute, a bot that stopped trading, or one that died, must not pass."""

    def rows(growth_mb: float, fills: float) -> list[dict[str, float]]:
        return [
            {"minute": one, "rss_mb": 130.0 + one * growth_mb, "fills": one * fills} for one in map(float, range(31))
        ]

    assert judged(rows(0.0, 5.0), 131.0, "")["holds"]
    assert judged(rows(0.1, 5.0), 134.0, "")["slope_mb_per_hour"] == 6.0
    assert not judged(rows(0.1, 5.0), 134.0, "")["holds"]
    assert judged(rows(0.0, 0.0), 131.0, "")["minutes_without_a_fill"] == 30
    assert not judged(rows(0.0, 0.0), 131.0, "")["holds"]
    assert not judged(rows(0.0, 5.0), None, "it died")["holds"]
