"""The pictures of the account over time: equity with its drawdown, inventory, costs, and the way to liquidation.

Invariants: a line keeps the lowest, highest and last value of every stretch that it leaves points out of; the drawdown
is taken from all decisions before anything is left out.
"""

from typing import Any, Final

import numpy as np

from hedgegrid.backtest.days import Held
from hedgegrid.backtest.figures import Figures
from hedgegrid.backtest.liquidation import liquidation_distance
from hedgegrid.backtest.measure import Measures
from hedgegrid.backtest.report.packing import Spec, amounts, packed, percents, times
from hedgegrid.backtest.report.thinning import Ints, envelope, steps, stretches
from hedgegrid.backtest.result import BacktestResult, Extremes
from hedgegrid.core.codes import LONG, SHORT
from hedgegrid.units import PPM

BUCKETS: Final = 1_500
"""Stretches of a line: three points each, about one a pixel."""
HIDES: Final = 5
"""Buy and hold whose range is this many times equity's own is off until it is asked for: it would flatten equity."""
STEPS_READABLE: Final = 1_500
"""Changes of a staircase that the eye can tell apart."""
STRETCHES_ALL: Final = 400
"""Stretches of a staircase that has more; over all instruments."""


def line(name: str, ts_ns: Ints, values: Spec, colour: str, **more: Any) -> Spec:  # noqa: ANN401 what a plot may be told
    """Describe a line."""
    style = {"color": colour, "width": 1.6, **more.pop("line", {})}
    return {"type": "scatter", "mode": "lines", "name": name, "x": times(ts_ns), "y": values, "line": style, **more}


def staircase(name: str, ts_ns: Ints, values: Spec, colour: str, **more: Any) -> Spec:  # noqa: ANN401 as above
    """Describe a line that stands until it steps."""
    return line(name, ts_ns, values, colour, line={"shape": "hv"}, **more)


def equity_curve(result: BacktestResult, final_e8: int) -> tuple[Ints, Ints]:
    """Give times, and equity then in quote x 1e8: at the start, at each decision and at the end."""
    decisions = result.equity
    ts_ns = np.concatenate(([result.start_ns], decisions["ts_ns"], [result.end_ns]))
    equity = np.concatenate(
        ([result.initial_wallet_e8], decisions["wallet_e8"] + decisions["unrealised_e8"], [final_e8])
    )
    return ts_ns.astype(np.int64), equity.astype(np.int64)


def drawdown_ppm(equity: Ints, initial_e8: int) -> Ints:
    """Give how far equity is under its peak so far, in ppm of the peak, as zero or less."""
    peak = np.maximum(np.maximum.accumulate(equity), max(initial_e8, 1))
    return -((peak - equity) / peak * PPM).astype(np.int64)


def equity_picture(result: BacktestResult, measures: Measures) -> Spec:
    """Describe equity, buy and hold beside it, and the drawdown beneath on the same axis of time."""
    ts_ns, equity = equity_curve(result, measures.figures.final_e8)
    fall = drawdown_ppm(equity, result.initial_wallet_e8)
    kept, deep = envelope(equity, BUCKETS), envelope(fall, BUCKETS)
    traces = [line("Equity", ts_ns[kept], amounts(equity[kept]), "$equity", hovertemplate=_money("Equity"))]
    held = measures.hold_e8.astype(np.int64)
    rows = envelope(held, BUCKETS // 2)
    dotted = {"width": 1.1, "dash": "dot"}
    name = "Buy and hold"
    held_ns = result.equity["ts_ns"][rows]
    hides = len(held) > 0 and int(np.ptp(held)) > HIDES * max(int(np.ptp(equity)), 1)
    traces.append(
        line(name, held_ns, amounts(held[rows]), "$hold", line=dotted, hovertemplate=_money(name), quiet=hides)
    )
    traces.append(
        line(
            "Drawdown",
            ts_ns[deep],
            percents(fall[deep]),
            "$drawdown",
            yaxis="y2",
            fill="tozeroy",
            fillcolor="$drawdown/0.22",
            hovertemplate="Drawdown %{y:.2f} %<extra></extra>",
            line={"width": 1.1},
        )
    )
    traces.append(_fall_marks(result.extremes))
    return {
        "traces": traces,
        "layout": {
            "height": 430,
            "hovermode": "x unified",
            "hoversubplots": "axis",
            "xaxis": {"type": "date", "anchor": "y2"},
            "yaxis": {"domain": [0.36, 1], "title": "quote currency", "tickformat": ",~f"},
            "yaxis2": {"domain": [0, 0.27], "title": "drawdown", "ticksuffix": " %", "rangemode": "tozero"},
        },
    }


def _money(name: str) -> str:
    """The label of an amount under the pointer."""
    return f"{name} %{{y:,.2f}}<extra></extra>"


def _fall_marks(extremes: Extremes) -> Spec:
    """Describe the peak and the trough of the deepest fall, found at every point."""
    return {
        "type": "scatter",
        "mode": "markers",
        "name": "Deepest fall: peak and trough",
        "x": times([extremes.peak_ns, extremes.trough_ns] if extremes.drawdown_ppm else []),
        "y": amounts([extremes.peak_e8, extremes.trough_e8] if extremes.drawdown_ppm else []),
        "marker": {"symbol": "diamond-open", "size": 9, "color": "$drawdown", "line": {"width": 2}},
        "hovertemplate": "%{y:,.2f}<extra>deepest fall</extra>",
    }


def inventory_picture(result: BacktestResult, instrument: int, held_at_end: tuple[Held, ...]) -> Spec:
    """Describe what both legs of an instrument held: LONG above zero, SHORT below."""
    ts_ns = np.append(result.equity["ts_ns"], result.end_ns)
    lot = float(result.instruments[instrument].lot)
    traces: list[Spec] = []
    for leg, name, column, colour in ((LONG, "LONG", "long_lots", "$long"), (SHORT, "SHORT", "short_lots", "$short")):
        last = next(one.qty_lots for one in held_at_end if one.instrument == instrument and one.leg == leg)
        held = np.append(result.holdings[column][:, instrument], last)
        traces += _leg(name, ts_ns, held if leg == LONG else -held, colour, lot, len(result.instruments))
    layout = {
        "height": 270,
        "hovermode": "x unified",
        "xaxis": {"type": "date"},
        "yaxis": {"title": "base units", "zeroline": True},
    }
    return {"traces": traces, "layout": layout}


def _leg(name: str, ts_ns: Ints, held: Ints, colour: str, lot: float, share: int) -> list[Spec]:
    """Describe one leg: every change, or where those are too many for the eye, each stretch's largest and mean."""
    rows = steps(held)
    shade = {"fill": "tozeroy", "fillcolor": f"{colour}/0.22"}
    if len(rows) <= STEPS_READABLE:
        label = f"{name} %{{y:,~f}}<extra></extra>"
        return [staircase(name, ts_ns[rows], packed(held[rows], lot), colour, hovertemplate=label, **shade)]
    parts = stretches(held, max(STRETCHES_ALL // share, min(STRETCHES_ALL, 60)))
    at = ts_ns[parts.first]
    farthest = np.where(np.abs(parts.low) > np.abs(parts.high), parts.low, parts.high)
    most = f"{name} largest"
    mean = f"{name} mean"
    label = "{name} %{{y:,.4~f}}<extra></extra>"
    faint = {"line": {"width": 0, "shape": "hv"}, "area": True}
    return [
        line(most, at, packed(farthest, lot), colour, hovertemplate=label.format(name=most), **faint, **shade),
        staircase(mean, at, packed(parts.mean, lot), colour, hovertemplate=label.format(name=mean)),
    ]


def costs_picture(result: BacktestResult, figures: Figures) -> Spec:
    """Describe what trading brought before costs, and what fees and funding took, summed since the start."""
    ts_ns = np.append(result.equity["ts_ns"], result.end_ns)
    realised = np.append(result.equity["realised_e8"], figures.realised_e8)
    fees = np.append(result.equity["fees_e8"], figures.fees_e8)
    funding = np.append(result.equity["funding_e8"], figures.funding_e8)
    traces = []
    sums = (
        ("Realised before costs", realised, "$gain", 1.6),
        ("Fees", -fees, "$loss", 1.6),
        ("Funding", -funding, "$center", 1.6),
        ("Net", realised - fees - funding, "$ink", 2.2),
    )
    for name, values, colour, width in sums:
        rows = steps(values)
        rows = rows[envelope(values[rows], BUCKETS)]
        style = {"width": width, "shape": "hv"}
        traces.append(line(name, ts_ns[rows], amounts(values[rows]), colour, line=style, hovertemplate=_money(name)))
    layout = {
        "height": 320,
        "hovermode": "x unified",
        "xaxis": {"type": "date"},
        "yaxis": {"title": "quote currency", "tickformat": ",~f", "zeroline": True},
    }
    return {"traces": traces, "layout": layout}


def distance_picture(result: BacktestResult, closest: float | None = None) -> Spec:
    """Describe how far the nearest instrument was from liquidating the account; 100 % stands for the mark and more.

    ``closest`` is the least of all distances where it is known: nothing is worked out where that is the mark or more.
    """
    ts_ns = result.equity["ts_ns"]
    nearest = np.ones(len(ts_ns))
    for index in range(len(result.instruments) if closest is None or closest < 1 else 0):
        nearest = np.fmin(nearest, liquidation_distance(result, index))
    ppm = (nearest * PPM).astype(np.int64)
    if result.liquidated_ns:
        ts_ns, ppm = np.append(ts_ns, result.liquidated_ns), np.append(ppm, 0)
    rows = steps(ppm)
    if len(rows) > STEPS_READABLE:
        parts = stretches(ppm, STRETCHES_ALL)
        rows, ppm = parts.first, parts.low
        ts_ns = ts_ns[rows]
    else:
        ts_ns, ppm = ts_ns[rows], ppm[rows]
    label = "liquidation %{y:.2f} % away<extra></extra>"
    area = {"fill": "tozeroy", "fillcolor": "$drawdown/0.12", "hovertemplate": label}
    traces = [staircase("Distance to liquidation", ts_ns, percents(ppm), "$drawdown", **area)]
    layout = {
        "height": 270,
        "hovermode": "x unified",
        "xaxis": {"type": "date"},
        "yaxis": {"title": "share of the mark", "ticksuffix": " %"},
    }
    return {"traces": traces, "layout": layout}
