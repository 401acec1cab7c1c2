"""The pictures of round trips: what they made, how long they lasted, and how far the price went against and for them.

Invariants: every trip is counted in a column of a distribution; the columns at both ends say that they hold all beyond;
the scatter is thinned evenly, and says of how many.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hedgegrid.backtest.excursions import Excursions
from hedgegrid.backtest.report.packing import Spec, packed
from hedgegrid.backtest.report.thinning import spread
from hedgegrid.backtest.report.wording import counted
from hedgegrid.backtest.result import Rows
from hedgegrid.backtest.round_trips import net_e8
from hedgegrid.core.codes import LONG, SHORT
from hedgegrid.units import CASH_SCALE, NS_PER_DAY, NS_PER_HOUR, NS_PER_MINUTE, NS_PER_S

Floats = NDArray[np.float64]

COLUMNS: Final = 41
DOTS_MOST: Final = 8_000
"""Trips in the scatters of a page, over all instruments."""
_TAIL: Final = 0.005
"""The part of the trips at each end of a distribution that does not stretch its axis."""
_SQUEEZES: Final = 2
"""How many times beyond the usual the farthest trip may lie before the frame leaves it out."""
_LEGS: Final = ((LONG, "LONG", "$long"), (SHORT, "SHORT", "$short"))
_HOLDING: Final = (
    (0, "0"),
    (NS_PER_S, "1 s"),
    (10 * NS_PER_S, "10 s"),
    (NS_PER_MINUTE, "1 min"),
    (5 * NS_PER_MINUTE, "5 min"),
    (15 * NS_PER_MINUTE, "15 min"),
    (NS_PER_HOUR, "1 h"),
    (4 * NS_PER_HOUR, "4 h"),
    (12 * NS_PER_HOUR, "12 h"),
    (NS_PER_DAY, "1 d"),
    (3 * NS_PER_DAY, "3 d"),
    (7 * NS_PER_DAY, "7 d"),
    (30 * NS_PER_DAY, "30 d"),
)


def profit_picture(trips: Rows) -> Spec:
    """Describe how the profits of trips, after fees, are distributed."""
    made = net_e8(trips) / CASH_SCALE
    edges = _edges(made)
    held = np.clip(made, edges[0], edges[-1])
    middles = (edges[:-1] + edges[1:]) / 2
    traces = []
    for leg, name, colour in _LEGS:
        counts = np.histogram(held[trips["leg"] == leg], edges)[0]
        traces.append(_columns(name, middles.round(6).tolist(), counts, colour, "%{x:,.2f}: %{y:,} trips"))
    layout = {
        "height": 300,
        "barmode": "stack",
        "bargap": 0.06,
        "xaxis": {"title": "net result of a trip, quote currency", "tickformat": ",~f", "zeroline": True},
        "yaxis": {"title": "round trips", "tickformat": ",d"},
    }
    return {"traces": traces, "layout": layout}


def _edges(values: Floats) -> Floats:
    """Give the columns' bounds: even, one of them at zero, so that no column mixes gains with losses."""
    if len(values) == 0:
        return np.array([-1.0, 0.0, 1.0])
    low, high = (float(edge) for edge in np.quantile(values, [_TAIL, 1 - _TAIL]))
    low, high = min(low, 0.0), max(high, 0.0)
    width = (high - low) / COLUMNS or 1.0
    edges: Floats = np.arange(np.floor(low / width), np.ceil(high / width) + 1) * width
    return edges if len(edges) > 1 else np.array([0.0, width])


def holding_picture(trips: Rows) -> Spec:
    """Describe how long trips lasted, in columns of lengths that people think in."""
    held = trips["closed_ns"] - trips["opened_ns"]
    bounds = np.array([bound for bound, _ in _HOLDING])
    column = np.searchsorted(bounds, held, side="right") - 1
    used = range(int(column.min()), int(column.max()) + 1) if len(held) else range(1)
    names = [text for _, text in _HOLDING]
    labels = [f"{names[at]} - {names[at + 1]}" if at + 1 < len(names) else f"over {names[at]}" for at in used]
    traces = []
    for leg, name, colour in _LEGS:
        counts = np.bincount(column[trips["leg"] == leg], minlength=len(names))[used.start : used.stop]
        traces.append(_columns(name, labels, counts, colour, "%{x}: %{y:,} trips"))
    layout = {
        "height": 300,
        "barmode": "stack",
        "bargap": 0.12,
        "margin": {"l": 74, "r": 18, "t": 12, "b": 78},
        "xaxis": {"type": "category", "tickangle": -35},
        "yaxis": {"title": "round trips", "tickformat": ",d"},
    }
    return {"traces": traces, "layout": layout}


def _columns(name: str, places: list[Any], counts: NDArray[np.int64], colour: str, label: str) -> Spec:
    """Describe one leg's columns."""
    return {
        "type": "bar",
        "name": name,
        "x": places,
        "y": counts.tolist(),
        "marker": {"color": colour, "line": {"width": 0}},
        "hovertemplate": f"{label}<extra>{name}</extra>",
    }


def dots_kept(trips: int, share: int) -> int:
    """Give how many of ``trips`` the scatter of one instrument out of ``share`` shows."""
    return min(trips, max(DOTS_MOST // share, 1))


def excursion_picture(trips: Rows, moves: Excursions, share: int) -> Spec:
    """Describe MAE against MFE in basis points; a trip that made money is a filled dot, another a cross."""
    frame = _frame(moves)
    kept = spread(len(trips), dots_kept(len(trips), share))
    trips = trips[kept]
    adverse, favourable = moves.adverse_bps[kept], moves.favourable_bps[kept]
    net = net_e8(trips)
    traces = []
    for leg, name, colour in _LEGS:
        for won, word, symbol in ((True, "gained", "circle"), (False, "lost", "x")):
            rows = np.flatnonzero((trips["leg"] == leg) & ((net > 0) == won))
            marker = {"symbol": symbol, "size": 5 if won else 6, "color": colour, "opacity": 0.55 if won else 0.85}
            traces.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "name": f"{name} {word}",
                    "x": packed(np.rint(adverse[rows] * 10), 0.1),
                    "y": packed(np.rint(favourable[rows] * 10), 0.1),
                    "marker": marker,
                    "hovertemplate": "against %{x:.1f} bps<br>for %{y:.1f} bps<extra>" + f"{name} {word}</extra>",
                }
            )
    outside = int(((moves.adverse_bps > frame[0]) | (moves.favourable_bps > frame[1])).sum())
    layout = {
        "height": 400,
        "xaxis": {"title": "farthest against (MAE), bps of entry", "range": [0, frame[0]], "fixedrange": False},
        "yaxis": {"title": "farthest for (MFE), bps of entry", "range": [0, frame[1]], "fixedrange": False},
    }
    if outside:
        layout["annotations"] = [_beyond(outside)]
    return {"traces": traces, "layout": layout}


def _frame(moves: Excursions) -> tuple[float, float]:
    """Give how far both axes reach: to the farthest, unless a few trips would squeeze all the others."""
    reach = []
    for values in (moves.adverse_bps, moves.favourable_bps):
        farthest = float(values.max(initial=1.0))
        usual = float(np.quantile(values, 1 - _TAIL)) if len(values) else 1.0
        reach.append(1.05 * (farthest if farthest < _SQUEEZES * usual else 1.2 * usual) or 1.0)
    return reach[0], reach[1]


def _beyond(outside: int) -> Spec:
    """Say in the picture how many trips its frame leaves out."""
    text = f"{counted(outside, 'round trip lies', 'round trips lie')} beyond this frame: double-click for all"
    place = {"xref": "paper", "yref": "paper", "x": 1, "y": 1, "xanchor": "right", "yanchor": "top"}
    return {"text": text, "showarrow": False, "font": {"size": 12, "color": "$muted"}, "bgcolor": "$surface", **place}
