"""Each rule of quality finds its planted fault, where it is, and nothing in clean data."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hedgegrid.backtest.outliers import HALF, WINDOW, OutlierScan
from hedgegrid.backtest.quality import (
    TOLD,
    BarCheck,
    BookCheck,
    Finding,
    Severity,
    TradeCheck,
    check_bars,
    check_funding,
    check_trades,
)
from hedgegrid.units import NS_PER_HOUR, NS_PER_MINUTE, NS_PER_S
from hedgegrid.venues.simulated.arrays import BarArrays, FundingArrays, TickArrays, no_funding
from hedgegrid.venues.simulated.recorded_ticks import load_ticks
from tests.backtest.store.samples import BTC, MINUTE, NAME, START_NS

COUNT = 60


def bars(count: int = COUNT) -> BarArrays:
    """Clean bars around 1,000 ticks."""
    step = np.arange(count)
    opened = 1000 + step % 5
    return BarArrays(
        open_ns=START_NS + step * MINUTE,
        open_ticks=opened,
        high_ticks=opened + 3,
        low_ticks=opened - 3,
        close_ticks=opened + 1,
        volume_lots=5 + step,
    )


def with_row(arrays: BarArrays, row: int, **figures: int) -> BarArrays:
    """Bars with other figures in one row, counted from 1."""
    changed: dict[str, Any] = {}
    for name, figure in figures.items():
        changed[name] = getattr(arrays, name).copy()
        changed[name][row - 1] = figure
    return attrs.evolve(arrays, **changed)


def less(arrays: BarArrays, *rows: int) -> BarArrays:
    """Bars without some rows, counted from 1."""
    keep = np.delete(np.arange(len(arrays.open_ns)), [row - 1 for row in rows])
    names = ("open_ns", "open_ticks", "high_ticks", "low_ticks", "close_ticks", "volume_lots")
    return BarArrays(**{name: getattr(arrays, name)[keep] for name in names})


def silent(arrays: BarArrays, first: int, count: int) -> BarArrays:
    """Bars with a stretch without volume."""
    volume = arrays.volume_lots.copy()
    volume[first - 1 : first - 1 + count] = 0
    return attrs.evolve(arrays, volume_lots=volume)


PLANTED: list[tuple[str, str, int, int, Callable[[BarArrays], BarArrays]]] = [
    ("gap", "warning", 20, 3, lambda clean: less(clean, 20, 21, 22)),
    ("duplicate", "error", 20, 1, lambda clean: with_row(clean, 20, open_ns=int(clean.open_ns[18]))),
    ("order", "error", 20, 1, lambda clean: with_row(clean, 20, open_ns=START_NS)),
    ("grid", "error", 20, 1, lambda clean: with_row(clean, 20, open_ns=int(clean.open_ns[19]) + 1)),
    ("ohlc", "error", 20, 1, lambda clean: with_row(clean, 20, high_ticks=int(clean.close_ticks[19]) - 1)),
    ("ohlc", "error", 20, 1, lambda clean: with_row(clean, 20, low_ticks=int(clean.close_ticks[19]) + 1)),
    ("price", "error", 20, 1, lambda clean: with_row(clean, 20, low_ticks=0)),
    ("volume", "error", 20, 1, lambda clean: with_row(clean, 20, volume_lots=-1)),
    ("zero_volume", "warning", 20, 10, lambda clean: silent(clean, 20, 10)),
    ("zero_volume", "warning", 51, 10, lambda clean: silent(clean, 51, 10)),
    ("outlier", "warning", 20, 1, lambda clean: with_row(clean, 20, high_ticks=2000)),
    ("outlier", "warning", 1, 1, lambda clean: with_row(clean, 1, low_ticks=500)),
    ("outlier", "warning", 60, 1, lambda clean: with_row(clean, 60, low_ticks=500)),
]


def cut(arrays: BarArrays, size: int) -> list[Finding]:
    """Findings of bars that come in pieces."""
    check = BarCheck(NAME, "bars-1m", MINUTE)
    names = ("open_ns", "open_ticks", "high_ticks", "low_ticks", "close_ticks", "volume_lots")
    for start in range(0, len(arrays.open_ns), size):
        check.take(BarArrays(**{name: getattr(arrays, name)[start : start + size] for name in names}))
    return check.findings()


@pytest.mark.parametrize(("rule", "severity", "row", "count", "plant"), PLANTED)
def test_planted_faults_of_bars(
    rule: str, severity: str, row: int, count: int, plant: Callable[[BarArrays], BarArrays]
) -> None:
    """A planted fault is found by its rule, in its row, with its size, however the bars come in pieces."""
    found = check_bars(plant(bars()), NAME, MINUTE)
    (told,) = [one for one in found if one.rule == rule]
    assert (told.severity.value, told.row, told.count) == (severity, row, count)
    assert (told.instrument, told.kind) == (NAME, "bars-1m")
    for size in (1, 7, 59):
        assert cut(plant(bars()), size) == found


def test_clean_bars_are_clean() -> None:
    """Nothing is found where nothing is wrong, and mark bars may have no volume."""
    assert check_bars(bars(), NAME, MINUTE) == []
    still = silent(bars(), 1, COUNT)
    assert check_bars(still, NAME, MINUTE, has_volume=False) == []
    assert [one.count for one in check_bars(still, NAME, MINUTE)] == [COUNT]
    assert check_bars(silent(bars(), 20, 9), NAME, MINUTE) == []


def test_a_fall_that_stays_is_no_outlier() -> None:
    """A crash moves its neighbours too; a print that nobody confirms does not."""
    fallen = bars()
    for name in ("open_ticks", "high_ticks", "low_ticks", "close_ticks"):
        column = getattr(fallen, name).copy()
        column[30:] -= 300
        fallen = attrs.evolve(fallen, **{name: column})
    assert check_bars(fallen, NAME, MINUTE) == []


def test_many_faults_are_counted() -> None:
    """The first faults of a rule are told one by one and the rest are counted once."""
    found = check_bars(attrs.evolve(bars(), volume_lots=np.full(COUNT, -1)), NAME, MINUTE)
    assert len(found) == TOLD + 1
    assert (found[-1].count, found[-1].text) == (COUNT - TOLD, f"and {COUNT - TOLD} more of this rule")


@given(
    st.lists(st.integers(900, 1100), min_size=1, max_size=80),
    st.lists(st.tuples(st.integers(0, 79), st.integers(1, 5000)), max_size=3),
    st.integers(1, 90),
)
def test_outliers_are_the_definition(prices: list[int], spikes: list[tuple[int, int]], size: int) -> None:
    """The quick scan in pieces finds what the definition says, price by price."""
    for place, price in spikes:
        prices[place % len(prices)] = price
    column = np.array(prices, np.int64)
    scan = OutlierScan()
    found = [scan.take(column[start : start + size]) for start in range(0, len(column), size)]
    quick = np.concatenate([*found, scan.rest()]).tolist()
    slow = []
    for place, price in enumerate(column):
        first = max(0, min(place - HALF, len(column) - WINDOW))
        window = column[first : first + WINDOW]
        middle = np.median(window)
        away = abs(price - middle)
        if away > 0.05 * middle and away > 25 * np.median(np.abs(window - middle)):
            slow.append(place)
    assert quick == slow


def trades(**changes: Any) -> list[Finding]:
    """Findings of trades a second apart."""
    columns = {
        "times": START_NS + np.arange(COUNT) * NS_PER_S,
        "price": 1000 + np.arange(COUNT) % 3,
        "qty": np.full(COUNT, 5),
        "ids": 70 + np.arange(COUNT),
    }
    for name, (row, figure) in changes.items():
        columns[name] = columns[name].copy()
        columns[name][row - 1 :] = (
            columns[name][row - 1 :] + figure if name in {"times", "ids"} else columns[name][row - 1 :]
        )
        if name in {"price", "qty"}:
            columns[name][row - 1] = figure
    check = TradeCheck(NAME, "trades")
    check.take(**columns)
    return check.findings()


@pytest.mark.parametrize(
    ("changes", "rule", "severity"),
    [
        ({"times": (20, 400 * NS_PER_S)}, "silence", "warning"),
        ({"times": (20, -NS_PER_HOUR)}, "order", "error"),
        ({"price": (20, 1100)}, "outlier", "warning"),
        ({"price": (20, 0)}, "price", "error"),
        ({"qty": (20, 0)}, "volume", "error"),
        ({"ids": (20, 4)}, "numbers", "note"),
    ],
)
def test_planted_faults_of_trades(changes: dict[str, tuple[int, int]], rule: str, severity: str) -> None:
    """A fault among trades is found by its rule and in its row."""
    assert trades() == []
    (told,) = [one for one in trades(**changes) if one.rule == rule]
    assert (told.row, told.severity.value) == (20, severity)


@pytest.mark.parametrize(
    ("spans", "interval_ns", "found"),
    [
        ([8, 8, 8, 8], None, []),
        ([8, 16, 8, 8], None, [("spacing", 3, 1)]),
        ([8, 4, 8, 8], None, [("spacing", 3, 1)]),
        ([8, 8, 8], 4 * NS_PER_HOUR, [("spacing", 2, 1), ("spacing", 3, 1), ("spacing", 4, 1)]),
        ([8, 0, 8, 8], None, [("duplicate", 3, 1)]),
        ([8, -8, 16, 8], None, [("order", 3, 1), ("spacing", 4, 1)]),
    ],
)
def test_planted_faults_of_funding(
    spans: list[int], interval_ns: int | None, found: list[tuple[str, int, int]]
) -> None:
    """Settlements that are missing, doubled, too early or out of order are found."""
    times = START_NS + np.cumsum([0, *spans]) * NS_PER_HOUR
    funding = FundingArrays(ts_ns=times, rate_e8=np.full(len(times), 10_000))
    assert [(one.rule, one.row, one.count) for one in check_funding(funding, NAME, interval_ns)] == found


def test_an_absurd_rate_is_an_error() -> None:
    """A rate of 100 % or more is no rate."""
    funding = FundingArrays(ts_ns=np.array([START_NS]), rate_e8=np.array([-(10**8)]))
    assert [(one.rule, one.severity) for one in check_funding(funding, NAME)] == [("rate", Severity.ERROR)]


def test_crossed_books_are_found() -> None:
    """A bid at or over the ask, or a side that is missing, is found."""
    check = BookCheck(NAME, "book")
    check.take(START_NS + np.arange(4), np.array([9, 10, 0, 9]), np.array([10, 10, 10, 10]))
    assert [(one.rule, one.row) for one in check.findings()] == [("crossed", 2), ("crossed", 3)]


def test_ticks_in_memory_are_judged_with_their_books() -> None:
    """Trades as a replay holds them are judged, and their books where one was known."""
    count = 30
    ones = np.ones(count, np.int64)
    ticks = TickArrays(
        ts_ns=START_NS + np.arange(count) * NS_PER_MINUTE,
        price_ticks=1000 * ones,
        qty_lots=ones,
        bid_ticks=np.where(np.arange(count) == 7, 1001, 999),
        ask_ticks=1001 * ones,
        bid_qty_lots=np.where(np.arange(count) == 3, 0, 1),
        ask_qty_lots=ones,
        mark_ticks=1000 * ones,
        funding=no_funding(),
    )
    assert [(one.rule, one.row) for one in check_trades(ticks, NAME)] == [("crossed", 8)]


def test_a_real_capture_is_clean(shared_dir: Path) -> None:
    """A real capture, as the replay loads it, has no finding of weight: the print off the market is not in it."""
    ticks = load_ticks(shared_dir / "data/ticks_raw_ws/usdm_btcusdt_20230405.dat.gz", BTC)
    assert check_trades(ticks, NAME) == []
