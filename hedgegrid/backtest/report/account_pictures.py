"""The pictures of the account over time: equity with its drawdown, inventory, costs, and the way to liquidation.

Invariants: a line keeps the lowest, highest and last value of every stretch that it leaves points out of; the drawdown is
taken from all decisions before anything is left out.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hedgegrid.backtest.days import final_equity_e8
from hedgegrid.backtest.liquidation import liquidation_distance
from hedgegrid.backtest.report.packing import Spec, amounts, packed, percents, times
from hedgegrid.backtest.report.thinning import Ints, envelope, steps
from hedgegrid.backtest.result import BacktestResult, Extremes
from hedgegrid.core.codes import LONG, SHORT
from hedgegrid.units import PPM

Floats = NDArray[np.float64]

BUCKETS: Final = 1_500
"""Stretches of a line: three points each, about one a pixel."""
BUCKETS_ALL: Final = 12_000
"""The same, over all lines that stand once for each instrument."""


def line(name: str, ts_ns: Ints, values: Spec, colour: str, **more: Any) -> Spec:
    """Describe a line."""
    style = {"color": colour, "width": 1.6, **more.pop("line", {})}
    return {"type": "scatter", "mode": "lines", "name": name, "x": times(ts_ns), "y": values, "line": style, **more}


def staircase(name: str, ts_ns: Ints, values: Spec, colour: str, **more: Any) -> Spec:
    """Describe a line that stands until it steps."""
    return line(name, ts_ns, values, colour, line={"shape": "hv"}, **more)


def equity_curve(result: BacktestResult) -> tuple[Ints, Ints]:
    """Give times, and equity then in quote x 1e8: at the start, at each decision and at the end."""
    decisions = result.equity
    ts_ns = np.concatenate(([result.start_ns], decisions["ts_ns"], [result.end_ns]))
    last_e8 = final_equity_e8(result)
    equity = np.concatenate(
        ([result.initial_wallet_e8], decisions["wallet_e8"] + decisions["unrealised_e8"], [last_e8])
    )
    return ts_ns.astype(np.int64), equity.astype(np.int64)


def drawdown_ppm(equity: Ints, initial_e8: int) -> Ints:
    """Give how far equity is under its peak so far, in ppm of the peak, as zero or less."""
    peak = np.maximum(np.maximum.accumulate(equity), initial_e8)
    return -((peak - equity) / peak * PPM).astype(np.int64)


def equity_picture(result: BacktestResult, hold_e8: Floats) -> Spec:
    """Describe equity, buy and hold beside it, and the drawdown beneath on the same axis of time."""
    ts_ns, equity = equity_curve(result)
    fall = drawdown_ppm(equity, result.initial_wallet_e8)
    kept, deep = envelope(equity, BUCKETS), envelope(fall, BUCKETS)
    traces = [line("Equity", ts_ns[kept], amounts(equity[kept]), "$equity", hovertemplate=_money("Equity"))]
    held = hold_e8.astype(np.int64)
    rows = envelope(held, BUCKETS // 2)
    dotted = {"width": 1.1, "dash": "dot"}
    name = "Buy and hold"
    held_ns = result.equity["ts_ns"][rows]
    traces.append(line(name, held_ns, amounts(held[rows]), "$hold", line=dotted, hovertemplate=_money(name)))
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


def inventory_picture(result: BacktestResult, instrument: int) -> Spec:
    """Describe what both legs of an instrument held: LONG above zero, SHORT below."""
    ts_ns = result.equity["ts_ns"]
    lot = float(result.instruments[instrument].lot)
    most = max(BUCKETS_ALL // (3 * len(result.instruments)), 1)
    traces = []
    for leg, name, colour in ((LONG, "LONG", "$long"), (SHORT, "SHORT", "$short")):
        held = result.holdings["long_lots" if leg == LONG else "short_lots"][:, instrument]
        held = held if leg == LONG else -held
        rows = steps(held)
        rows = rows[envelope(held[rows], most)]
        label = f"{name} %{{y:,~f}}<extra></extra>"
        area = {"fill": "tozeroy", "fillcolor": f"{colour}/0.18", "hovertemplate": label}
        traces.append(staircase(name, ts_ns[rows], packed(held[rows], lot), colour, **area))
    layout = {
        "height": 270,
        "hovermode": "x unified",
        "xaxis": {"type": "date"},
        "yaxis": {"title": "base units", "zeroline": True},
    }
    return {"traces": traces, "layout": layout}


def costs_picture(result: BacktestResult) -> Spec:
    """Describe what trading brought before costs, and what fees and funding took, summed since the start."""
    ts_ns = result.equity["ts_ns"]
    traces = []
    columns = (
        ("Realised before costs", "realised_e8", "$gain", 1),
        ("Fees", "fees_e8", "$loss", -1),
        ("Funding", "funding_e8", "$center", -1),
    )
    for name, column, colour, sign in columns:
        values = sign * result.equity[column]
        rows = steps(values)
        rows = rows[envelope(values[rows], BUCKETS)]
        traces.append(staircase(name, ts_ns[rows], amounts(values[rows]), colour, hovertemplate=_money(name)))
    net = result.equity["realised_e8"] - result.equity["fees_e8"] - result.equity["funding_e8"]
    rows = envelope(net, BUCKETS)
    heavy = {"width": 2.2, "shape": "hv"}
    traces.append(line("Net", ts_ns[rows], amounts(net[rows]), "$ink", line=heavy, hovertemplate=_money("Net")))
    layout = {
        "height": 320,
        "hovermode": "x unified",
        "xaxis": {"type": "date"},
        "yaxis": {"title": "quote currency", "tickformat": ",~f", "zeroline": True},
    }
    return {"traces": traces, "layout": layout}


def distance_picture(result: BacktestResult) -> Spec:
    """Describe how far the nearest instrument was from liquidating the account; the whole mark and more is drawn as 100 %."""
    ts_ns = result.equity["ts_ns"]
    nearest = np.ones(len(ts_ns))
    for index in range(len(result.instruments)):
        nearest = np.fmin(nearest, liquidation_distance(result, index))
    ppm = (nearest * PPM).astype(np.int64)
    if result.liquidated_ns:
        ts_ns, ppm = np.append(ts_ns, result.liquidated_ns), np.append(ppm, 0)
    rows = steps(ppm)
    rows = rows[envelope(ppm[rows], BUCKETS)]
    label = "liquidation %{y:.2f} % away<extra></extra>"
    area = {"fill": "tozeroy", "fillcolor": "$drawdown/0.12", "hovertemplate": label}
    traces = [staircase("Distance to liquidation", ts_ns[rows], percents(ppm[rows]), "$drawdown", **area)]
    layout = {
        "height": 270,
        "hovermode": "x unified",
        "xaxis": {"type": "date"},
        "yaxis": {"title": "share of the mark", "ticksuffix": " %"},
    }
    return {"traces": traces, "layout": layout}
