"""MAE and MFE: how far the price went between entry and exit, against a walk over every point."""

from random import Random

import attrs
import numpy as np
import pytest

from hedgegrid.backtest.excursions import excursions, range_least
from hedgegrid.backtest.result import BacktestResult
from hedgegrid.backtest.round_trips import TRIP, round_trips
from hedgegrid.core.codes import LONG, SHORT
from hedgegrid.venues.simulated.arrays import BarArrays
from tests.backtest.made_market import BAR_NS, START_NS
from tests.backtest.made_result import made_result


def points(result: BacktestResult, index: int) -> list[tuple[int, int]]:
    """Every point of an instrument's path: time and price."""
    bars, found = result.bars[index], []
    for i, open_ns in enumerate(bars.open_ns.tolist()):
        o, h, low, c, _ = (int(column[i]) for column in bars.columns())
        path = (o, low, h, c) if c >= o else (o, h, low, c)
        found += [(open_ns + k * result.bar_length_ns // 4, price) for k, price in enumerate(path)]
    return found


@pytest.mark.parametrize("seed", [4, 5])
def test_equal_to_a_walk_over_the_points(seed: int) -> None:
    """The range queries answer what a walk over the path answers, for every trip."""
    result = made_result(seed=seed, bars=400)
    trips = round_trips(result)
    moves = excursions(result, trips)
    for i, trip in enumerate(trips):
        begin, end = int(trip["opened_ns"]), int(trip["closed_ns"])
        seen = [p for ts, p in points(result, int(trip["instrument"])) if ts == begin or begin < ts < end]
        seen += [int(trip[name]) for name in ("entry_ticks", "exit_low_ticks", "exit_high_ticks")]
        below, above = int(trip["entry_ticks"]) - min(seen), max(seen) - int(trip["entry_ticks"])
        expected = (below, above) if trip["leg"] == LONG else (above, below)
        assert (moves.adverse_ticks[i], moves.favourable_ticks[i]) == expected
    assert len(trips) > 100


def test_any_stay_on_any_path() -> None:
    """Stays of every length from any point to any other, over bars with gaps between them."""
    dice = Random(6)
    bars = 60
    opened, close = (np.array([dice.randrange(400, 600) for _ in range(bars)], np.int64) for _ in range(2))
    high = np.maximum(opened, close) + np.array([dice.randrange(200) for _ in range(bars)], np.int64)
    low = np.minimum(opened, close) - np.array([dice.randrange(200) for _ in range(bars)], np.int64)
    wild = BarArrays(
        open_ns=START_NS + BAR_NS * np.arange(bars),
        open_ticks=opened,
        high_ticks=high,
        low_ticks=low,
        close_ticks=close,
        volume_lots=high,
    )
    result = attrs.evolve(made_result(bars=2), bars=(wild, wild))
    path = points(result, 0)
    stays = [(b, e) for b in range(0, 4 * bars, 3) for e in range(b, 4 * bars, 2)]
    trips = np.zeros(len(stays), TRIP)
    trips["opened_ns"] = [path[b][0] for b, _ in stays]
    trips["closed_ns"] = [path[e][0] for _, e in stays]
    trips["entry_ticks"] = trips["exit_low_ticks"] = trips["exit_high_ticks"] = 500
    moves = excursions(result, trips)
    seen = [[500, *(price for _, price in path[b : max(e, b + 1)])] for b, e in stays]
    assert moves.adverse_ticks.tolist() == [500 - min(prices) for prices in seen]
    assert moves.favourable_ticks.tolist() == [max(prices) - 500 for prices in seen]


def test_by_hand() -> None:
    """A LONG of 10 lots at 100 sees 93 and 108 in between: MAE 700 bps, MFE 800 bps, in money by its quantity."""
    columns = ([100, 99, 105], [101, 106, 109], [97, 93, 104], [99, 105, 108])
    opened, high, low, close = (np.array(column, np.int64) for column in columns)
    bars = BarArrays(
        open_ns=START_NS + BAR_NS * np.arange(3),
        open_ticks=opened,
        high_ticks=high,
        low_ticks=low,
        close_ticks=close,
        volume_lots=high,
    )
    result = attrs.evolve(made_result(bars=2), bars=(bars, bars))
    trips = np.zeros(2, TRIP)
    trips["leg"], trips["qty_lots"], trips["entry_ticks"] = [LONG, SHORT], 10, 100
    trips["exit_low_ticks"] = trips["exit_high_ticks"] = 108
    trips["opened_ns"], trips["closed_ns"] = START_NS + 3 * BAR_NS // 4, START_NS + 11 * BAR_NS // 4
    moves = excursions(result, trips)
    assert (moves.adverse_ticks.tolist(), moves.favourable_ticks.tolist()) == ([7, 9], [9, 7])
    assert moves.adverse_bps.tolist() == [700.0, 900.0]
    assert moves.favourable_e8.tolist() == [9 * 10 * 10_000, 7 * 10 * 10_000]


def test_least_of_any_range() -> None:
    """Ranges of every length, the whole one and single values included."""
    dice = Random(2)
    values = np.array([dice.randrange(-50, 50) for _ in range(97)], np.int64)
    pairs = [(b, e) for b in range(97) for e in range(b + 1, 98)]
    begin, end = np.array(pairs, np.int64).T
    assert range_least(values, begin, end).tolist() == [int(values[b:e].min()) for b, e in pairs]


def test_a_trip_within_one_point_reaches_its_exits() -> None:
    """Entry and exit at one instant (a market reduction): the excursion is the exit's, never negative."""
    result = made_result(bars=2)
    trips = np.zeros(1, TRIP)
    trips["entry_ticks"] = trips["exit_high_ticks"] = int(result.bars[0].open_ticks[0])
    trips["exit_low_ticks"] = trips["entry_ticks"] - 3
    trips["opened_ns"] = trips["closed_ns"] = START_NS
    moves = excursions(result, trips)
    assert (moves.adverse_ticks.tolist(), moves.favourable_ticks.tolist()) == ([3], [0])
