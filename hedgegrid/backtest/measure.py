"""From a result's tables to its figures. What each figure means stands in ``figures``.

Invariants: nothing is walked in Python but days, months and instruments; money is added up exactly, whatever it comes
to.
"""

from typing import Any

import attrs
import numpy as np

from hedgegrid.backtest import names, series
from hedgegrid.backtest.days import DailyEquity, Held, Month, daily_equity, final_wallet_e8, held_at_end, months
from hedgegrid.backtest.exact import BoolArray, greatest, mean, mean_of, ratio, take, total
from hedgegrid.backtest.excursions import Excursions, excursions
from hedgegrid.backtest.exposure import buy_and_hold, exposure, hold_curve
from hedgegrid.backtest.figures import Figures, InstrumentFigures
from hedgegrid.backtest.liquidation import Nearest, nearest, nearest_by_instrument
from hedgegrid.backtest.result import FILLED, REFUSED, BacktestResult, Rows
from hedgegrid.backtest.round_trips import net_e8, round_trips
from hedgegrid.core.codes import ENTRY, LIQUIDATION
from hedgegrid.units import NS_PER_DAY
from hedgegrid.venues.simulated.arrays import FloatArray, IntArray

_RAISED = names.PAUSE_CHANGES.index("raised")


@attrs.frozen(kw_only=True, eq=False)
class Measures:
    """All that is derived from a result, once: files, report and screen read it here.

    ``hold_e8`` is buy and hold by decision, in quote x 1e8.
    """

    figures: Figures
    instruments: tuple[InstrumentFigures, ...]
    months: tuple[Month, ...]
    daily: DailyEquity
    held: tuple[Held, ...]
    trips: Rows
    excursions: Excursions
    hold_e8: FloatArray
    nearest: Nearest | None


def measure(result: BacktestResult, *, takers_ppm: tuple[int, ...]) -> Measures:
    """Work out every figure. ``takers_ppm``: each instrument's taker fee, which buy and hold pays once."""
    trips = round_trips(result)
    moves = excursions(result, trips)
    held = held_at_end(result)
    daily = daily_equity(result, held)
    hold_e8 = buy_and_hold(result, takers_ppm)
    approaches = nearest_by_instrument(result)
    closest = nearest(result, approaches)
    notionals = _notionals(result)
    everything = tuple(range(len(result.instruments)))
    values = {
        **_result_figures(result, held, hold_e8),
        **_risk_figures(result, daily),
        **_approach_figures(result, closest),
        **_trip_figures(trips),
        **_excursion_figures(moves),
        **_cost_figures(result),
        **_trading_figures(result, notionals),
        **_order_figures(result.orders),
        **attrs.asdict(exposure(result, everything)),
        **_run_figures(result),
    }
    return Measures(
        figures=Figures(**values),
        instruments=tuple(
            _instrument(result, i, trips, held, notionals, approaches[i], takers_ppm[i]) for i in everything
        ),
        months=months(daily),
        daily=daily,
        held=held,
        trips=trips,
        excursions=moves,
        hold_e8=hold_e8,
        nearest=closest,
    )


def _notionals(result: BacktestResult) -> IntArray:
    """Give each fill's notional in quote x 1e8."""
    fills = result.fills
    units = np.array([one.unit_e8 for one in result.instruments], np.int64)
    notionals: IntArray = fills["price_ticks"] * fills["qty_lots"] * units[fills["instrument"]]
    return notionals


def _result_figures(result: BacktestResult, held: tuple[Held, ...], hold_e8: FloatArray) -> dict[str, Any]:
    unrealised_e8 = sum(leg.unrealised_e8 for leg in held)
    first_e8 = result.initial_wallet_e8
    last_e8 = final_wallet_e8(result) + unrealised_e8
    days = (result.end_ns - result.start_ns) / NS_PER_DAY
    return {
        "initial_e8": first_e8,
        "final_e8": last_e8,
        "net_e8": last_e8 - first_e8,
        "total_return": ratio(last_e8 - first_e8, first_e8),
        "annual_return": series.annual_return(first_e8, last_e8, days),
        "realised_e8": total(result.fills["realised_e8"]),
        "unrealised_e8": unrealised_e8,
        "buy_and_hold_return": hold_e8[-1].item() / first_e8 - 1 if len(hold_e8) and first_e8 else None,
        "buy_and_hold_drawdown": series.max_drawdown(np.r_[float(first_e8), hold_e8]) if len(hold_e8) else None,
    }


def _risk_figures(result: BacktestResult, daily: DailyEquity) -> dict[str, Any]:
    extremes = result.extremes
    values = daily.equity_e8.astype(np.float64)
    fall_e8 = extremes.peak_e8 - extremes.trough_e8
    deepest = fall_e8 / extremes.peak_e8 if extremes.peak_e8 > 0 else None
    days = (result.end_ns - result.start_ns) / NS_PER_DAY
    yearly = series.annual_return(result.initial_wallet_e8, int(daily.equity_e8[-1]), days)
    return {
        "max_drawdown": deepest,
        "max_drawdown_e8": fall_e8,
        "drawdown_peak_ns": extremes.peak_ns,
        "drawdown_trough_ns": extremes.trough_ns,
        "longest_drawdown_ns": extremes.longest_ns,
        "least_equity_e8": extremes.least_equity_e8,
        "sharpe": series.sharpe(values),
        "sortino": series.sortino(values),
        "calmar": series.calmar(yearly, deepest),
        "max_drawdown_daily": series.max_drawdown(values),
        "calmar_daily": series.calmar_of(values),
    }


def _approach_figures(result: BacktestResult, closest: Nearest | None) -> dict[str, Any]:
    return {
        "liquidation_distance": None if closest is None else closest.distance,
        "liquidation_nearest_ns": None if closest is None else closest.ts_ns,
        "liquidation_instrument": None if closest is None else result.instruments[closest.instrument].name,
    }


def _trip_figures(trips: Rows) -> dict[str, Any]:
    made = net_e8(trips)
    none = len(trips) == 0
    return {
        "round_trips": len(trips),
        "wins": int((made > 0).sum()),
        "losses": int((made < 0).sum()),
        "win_rate": _win_rate(made),
        "profit_factor": _profit_factor(made),
        "trip_average_e8": None if none else mean(made),
        "trip_best_e8": None if none else int(made.max()),
        "trip_worst_e8": None if none else int(made.min()),
        "trip_duration_ns": None if none else mean(trips["closed_ns"] - trips["opened_ns"]),
    }


def _win_rate(made: IntArray) -> float | None:
    return ratio(int((made > 0).sum()), len(made))


def _profit_factor(made: IntArray) -> float | None:
    return ratio(total(made[made > 0]), -total(made[made < 0]))


def _excursion_figures(moves: Excursions) -> dict[str, Any]:
    return {
        "mae_mean_bps": mean_of(moves.adverse_bps),
        "mae_max_bps": greatest(moves.adverse_bps),
        "mae_max_e8": greatest(moves.adverse_e8),
        "mfe_mean_bps": mean_of(moves.favourable_bps),
        "mfe_max_bps": greatest(moves.favourable_bps),
        "mfe_max_e8": greatest(moves.favourable_e8),
    }


def _cost_figures(result: BacktestResult) -> dict[str, int]:
    fills, legs = result.fills, np.concatenate((result.funding["long_e8"], result.funding["short_e8"]))
    dying = fills["purpose"] == LIQUIDATION
    making = (fills["maker"] == 1) & ~dying
    fees = fills["fee_e8"]
    return {
        "fees_e8": total(fees),
        "fees_maker_e8": total(fees[making]),
        "fees_taker_e8": total(fees[~making & ~dying]),
        "fees_liquidation_e8": total(fees[dying]),
        "funding_e8": total(legs),
        "funding_paid_e8": total(legs[legs > 0]),
        "funding_received_e8": -total(legs[legs < 0]),
    }


def _trading_figures(result: BacktestResult, notionals: IntArray) -> dict[str, Any]:
    fills = result.fills
    making = fills["maker"] == 1
    traded_e8 = total(notionals)
    return {
        "fills": len(fills),
        "fills_by_purpose": names.counts(fills["purpose"], names.PURPOSES),
        "maker_ratio": ratio(int(making.sum()), len(fills)),
        "maker_notional_ratio": ratio(total(notionals[making]), traded_e8),
        "traded_e8": traded_e8,
        "turnover": ratio(traded_e8, result.initial_wallet_e8),
        "below_minimum": result.below_minimum,
    }


def _order_figures(orders: Rows) -> dict[str, Any]:
    refused = orders["outcome"] == REFUSED
    sent = (orders["purpose"] == ENTRY) & ~refused
    filled = sent & (orders["outcome"] == FILLED)
    return {
        "entries_sent": int(sent.sum()),
        "entries_filled": int(filled.sum()),
        "ladder_fill_rate": ratio(int(filled.sum()), int(sent.sum())),
        "orders_by_outcome": names.counts(orders["outcome"], names.OUTCOMES),
        "refusals_by_control": names.counts(orders["control"][refused], names.CONTROLS),
    }


def _run_figures(result: BacktestResult) -> dict[str, Any]:
    raised = result.pauses["reason"][result.pauses["change"] == _RAISED]
    return {
        "duration_ns": result.end_ns - result.start_ns,
        "decisions": len(result.equity),
        "points": result.points,
        "ambiguous_bars": result.ambiguous_bars,
        "pauses_by_reason": names.counts(raised, names.REASONS),
    }


def _instrument(
    result: BacktestResult,
    index: int,
    trips: Rows,
    held: tuple[Held, ...],
    notionals: IntArray,
    approach: Nearest | None,
    taker_ppm: int,
) -> InstrumentFigures:
    """Give one instrument's part."""
    mine: BoolArray = result.fills["instrument"] == index
    fills, made = take(result.fills, mine), net_e8(take(trips, trips["instrument"] == index))
    funding = take(result.funding, result.funding["instrument"] == index)
    legs = [leg for leg in held if leg.instrument == index]
    sums = {
        "realised_e8": total(fills["realised_e8"]),
        "unrealised_e8": sum(leg.unrealised_e8 for leg in legs),
        "fees_e8": total(fills["fee_e8"]),
        "funding_e8": total(funding["long_e8"]) + total(funding["short_e8"]),
    }
    curve = hold_curve(result, index, taker_ppm)
    return InstrumentFigures(
        name=result.instruments[index].name,
        net_e8=sums["realised_e8"] + sums["unrealised_e8"] - sums["fees_e8"] - sums["funding_e8"],
        **sums,
        fills=len(fills),
        round_trips=len(made),
        win_rate=_win_rate(made),
        profit_factor=_profit_factor(made),
        traded_e8=total(notionals[mine]),
        **attrs.asdict(exposure(result, (index,))),
        liquidation_distance=None if approach is None else approach.distance,
        buy_and_hold_return=curve[-1].item() - 1 if len(curve) else None,
        long_lots=legs[0].qty_lots,
        short_lots=legs[1].qty_lots,
    )
