"""The picture of a market: its price, the grid over it, and what filled.

Invariants: the page gets what it needs to draw any stretch of time (candles, bands, fills) in bounded numbers, and
beside each the number that there were; a band spans the rungs that were ordered, not what the settings
would have allowed.
"""

from decimal import Decimal
from typing import Final

import attrs
import numpy as np
from numpy.typing import NDArray

from hedgegrid.backtest.report.packing import Spec, packed, times
from hedgegrid.backtest.report.thinning import Ints, candles, keep_rare, spread
from hedgegrid.backtest.report.wording import plot_text
from hedgegrid.backtest.result import BacktestResult
from hedgegrid.core.codes import BACKSTOP, ENTRY, FLATTEN, LIQUIDATION, LONG, NO_PRICE, SHORT, STOP

CANDLES_MOST: Final = 40_000
FILLS_MOST: Final = 36_000
GRIDS_MOST: Final = 6_000
STOPS_MOST: Final = 6_000
"""What one page holds, over all instruments."""
RARE: Final = (STOP, FLATTEN, BACKSTOP, LIQUIDATION)


@attrs.frozen(kw_only=True, eq=False)
class Ladders:
    """The grids of one instrument over time: center, and the prices between which each leg had entries (0: none)."""

    ts_ns: Ints
    center_ticks: Ints
    bounds: tuple[Ints, Ints, Ints, Ints]
    """LONG lowest, LONG highest, SHORT lowest, SHORT highest, in ticks."""


def price_picture(result: BacktestResult, instrument: int) -> Spec:
    """Describe the picture of one instrument; the page's own script draws it."""
    rules = result.instruments[instrument]
    share = len(result.instruments)
    drawn = candles(result.bars[instrument], result.bar_length_ns, max(CANDLES_MOST // share, 1))
    ladders = _ladders(result, instrument, max(GRIDS_MOST // share, 1))
    return {
        "kind": "price",
        "name": plot_text(rules.name),
        "decimals": decimals(rules.tick),
        "end": result.end_ns // 1_000_000,
        "step": drawn.length_ns // 1_000_000,
        "candles": {
            "t": times(drawn.ts_ns),
            **{
                name: packed(column, float(rules.tick))
                for name, column in (
                    ("o", drawn.open_ticks),
                    ("h", drawn.high_ticks),
                    ("l", drawn.low_ticks),
                    ("c", drawn.close_ticks),
                )
            },
        },
        "grid": {
            "t": times(ladders.ts_ns),
            "c": packed(ladders.center_ticks, float(rules.tick)),
            "bounds": [packed(bound, float(rules.tick)) for bound in ladders.bounds],
        },
        "fills": _fills(result, instrument, max(FILLS_MOST // share, 1)),
        "stops": _stops(result, instrument, max(STOPS_MOST // share, 1)),
    }


def decimals(step: Decimal) -> int:
    """Give the decimals of a tick or a lot."""
    return max(0, -int(step.normalize().as_tuple().exponent))


def fills_kept(result: BacktestResult, instrument: int, most: int) -> Ints:
    """Give the rows of an instrument's fills that the page holds: stops and worse first, then the others evenly."""
    mine = np.flatnonzero(result.fills["instrument"] == instrument)
    return mine[keep_rare(np.isin(result.fills["purpose"][mine], RARE), most)]


def _fills(result: BacktestResult, instrument: int, most: int) -> Spec:
    """Pack the fills that the page holds, and say how many there were."""
    rules = result.instruments[instrument]
    kept = result.fills[fills_kept(result, instrument, most)]
    return {
        "total": int((result.fills["instrument"] == instrument).sum()),
        "lot": float(rules.lot),
        "lotDecimals": decimals(rules.lot),
        "t": times(kept["ts_ns"]),
        "p": packed(kept["price_ticks"], float(rules.tick)),
        "q": packed(kept["qty_lots"]),
        "leg": packed(kept["leg"]),
        "purpose": packed(kept["purpose"]),
        "level": packed(kept["level"]),
        "realised": packed(kept["realised_e8"] // 1_000_000, 0.01),
    }


def _stops(result: BacktestResult, instrument: int, most: int) -> Spec:
    """Pack the stops that rested: from when to when, at which price."""
    orders = result.orders
    mine = np.flatnonzero(
        (orders["instrument"] == instrument) & (orders["purpose"] == STOP) & (orders["ended_ns"] != orders["placed_ns"])
    )
    rows = orders[mine[spread(len(mine), most)]]
    ended_ns = np.where(rows["ended_ns"] == 0, result.end_ns, rows["ended_ns"])
    return {
        "total": len(mine),
        "a": times(rows["placed_ns"]),
        "b": times(ended_ns),
        "p": packed(rows["price_ticks"], float(result.instruments[instrument].tick)),
        "leg": packed(rows["leg"]),
    }


def _ladders(result: BacktestResult, instrument: int, most: int) -> Ladders:
    """Give the grids, joined to at most ``most`` rows (the widest bounds and the last center of each)."""
    grids = result.grids[(result.grids["instrument"] == instrument) & (result.grids["center_ticks"] > 0)]
    rungs = _rung_bounds(result, instrument)
    generations = grids["generation"]
    bounds = [bound[generations] if len(bound) else np.zeros(len(grids), np.int64) for bound in rungs]
    first = spread(len(grids), most)
    if len(first) == 0:
        return Ladders(ts_ns=grids["ts_ns"], center_ticks=grids["center_ticks"], bounds=_four(bounds))
    last = np.concatenate((first[1:] - 1, [len(grids) - 1]))
    joined = [
        (np.minimum if lowest else np.maximum).reduceat(bound, first)
        for bound, lowest in zip(bounds, (True, False, True, False), strict=True)
    ]
    none = NO_PRICE
    joined = [np.where(bound == none, 0, bound) for bound in joined]
    return Ladders(ts_ns=grids["ts_ns"][first], center_ticks=grids["center_ticks"][last], bounds=_four(joined))


def _four(bounds: list[Ints]) -> tuple[Ints, Ints, Ints, Ints]:
    """Give four columns as a tuple."""
    first, second, third, fourth = bounds
    return first, second, third, fourth


def _rung_bounds(result: BacktestResult, instrument: int) -> list[NDArray[np.int64]]:
    """Give, by generation, the lowest and highest price of each leg's entries (none: NO_PRICE and 0)."""
    orders = result.orders
    entries = np.flatnonzero((orders["instrument"] == instrument) & (orders["purpose"] == ENTRY))
    generation, price = orders["generation"][entries], orders["price_ticks"][entries]
    legs = orders["leg"][entries]
    mine = result.grids["generation"][result.grids["instrument"] == instrument]
    size = 1 + int(max(generation.max(initial=0), mine.max(initial=0)))
    bounds: list[NDArray[np.int64]] = []
    for leg in (LONG, SHORT):
        rows = np.flatnonzero(legs == leg)
        lowest, highest = np.full(size, NO_PRICE, np.int64), np.zeros(size, np.int64)
        np.minimum.at(lowest, generation[rows], price[rows])
        np.maximum.at(highest, generation[rows], price[rows])
        bounds += [lowest, highest]
    return bounds
