"""The figures: by hand on a run of two bars, and what must hold between them whatever the run."""

import math

import attrs
import numpy as np
import pytest

from hedgegrid.backtest import exact, logbook, names
from hedgegrid.backtest import result as r
from hedgegrid.backtest.days import daily_equity, final_wallet_e8, held_at_end, months
from hedgegrid.backtest.figures import GROUPS, Figures, absent, definitions
from hedgegrid.backtest.measure import Measures, measure
from hedgegrid.backtest.round_trips import net_e8
from hedgegrid.core.codes import ENTRY, FLATTEN, LIMIT, LONG, MARKET, SHORT, TAKE_PROFIT
from hedgegrid.core.risk import CONTROL_NAMES, PRICE_COLLAR
from hedgegrid.core.standing import DRAWDOWN
from hedgegrid.units import CASH_SCALE, NS_PER_DAY, NS_PER_HOUR
from hedgegrid.venues.simulated.arrays import BarArrays
from tests.backtest.made_market import BTC, START_NS
from tests.backtest.made_result import TAKERS_PPM, made_liquidation, made_result, made_run, result_of

UNIT = BTC.unit_e8
SOME_SEEDS = (11, 12, 13)


def hand_orders(points: list[int]) -> r.Rows:
    """Its orders: of four entries that were sent two filled, one was cancelled, one rests; a fifth was refused."""
    lots = 1_000
    rows = [
        (1, 0, LONG, ENTRY, LIMIT, 1, 1, 1_000, lots, START_NS, points[0], r.FILLED, lots, 0),
        (2, 0, LONG, TAKE_PROFIT, LIMIT, 1, 1, 1_010, lots, points[0], points[1], r.FILLED, lots, 0),
        (3, 0, SHORT, ENTRY, LIMIT, 1, 1, 1_020, lots, START_NS, points[2], r.FILLED, lots, 0),
        (4, 0, LONG, ENTRY, LIMIT, 2, 1, 990, lots, START_NS, points[3], r.CANCELLED, 0, 0),
        (5, 0, LONG, ENTRY, LIMIT, 3, 1, 980, lots, START_NS, 0, r.OPEN, 0, 0),
        (6, 0, LONG, ENTRY, LIMIT, 4, 1, 10, lots, START_NS, START_NS, r.REFUSED, 0, PRICE_COLLAR),
        (7, 0, LONG, FLATTEN, MARKET, -1, -1, 0, lots, START_NS, START_NS, r.NOTHING_LEFT, 0, 0),
    ]
    return np.array(rows, r.ORDER)


def hand_bars() -> BarArrays:
    """Its four bars."""
    columns = (
        [1_000, 1_005, 1_010, 1_022],
        [1_006, 1_011, 1_023, 1_026],
        [990, 1_001, 1_008, 1_015],
        [1_005, 1_010, 1_022, 1_025],
    )
    opened, high, low, close = (np.array(column, np.int64) for column in columns)
    return BarArrays(
        open_ns=START_NS + NS_PER_DAY // 2 * np.arange(4),
        open_ticks=opened,
        high_ticks=high,
        low_ticks=low,
        close_ticks=close,
        volume_lots=high,
    )


def hand_made() -> r.BacktestResult:
    """One instrument, four bars of 12 h, 100 quote: a LONG lot wins 10 ticks, a SHORT one is left open, 5 behind."""
    lots, wallet = 1_000, 100 * CASH_SCALE
    points = [START_NS + 9 * NS_PER_HOUR + i * NS_PER_DAY // 2 for i in range(4)]
    fills = [
        (points[0], 0, LONG, ENTRY, 1, 1, 1_000, lots, 1_000_000, 1, 0, 1, 1),
        (points[1], 0, LONG, TAKE_PROFIT, 1, 1, 1_010, lots, 1_000_000, 1, 10 * lots * UNIT, 2, 2),
        (points[2], 0, SHORT, ENTRY, 1, 1, 1_020, lots, 3_000_000, 0, 0, 3, 3),
    ]
    after_one, after_two = wallet - 1_000_000, wallet - 2_000_000 + 10 * lots * UNIT
    paid = -5_000_000
    last = after_two - 3_000_000 - paid
    equity = [
        (points[0], after_one, 5 * lots * UNIT, 0, 1_000_000, 0),
        (points[1], after_two, 0, 10 * lots * UNIT, 2_000_000, 0),
        (points[2], after_two - 3_000_000, -2 * lots * UNIT, 10 * lots * UNIT, 5_000_000, 0),
        (points[3], last, -5 * lots * UNIT, 10 * lots * UNIT, 5_000_000, paid),
    ]
    holdings = [
        [(1_005, lots, 1_000 * lots * UNIT, 0, 0)],
        [(1_010, 0, 0, 0, 0)],
        [(1_022, 0, 0, lots, 1_020 * lots * UNIT)],
        [(1_025, 0, 0, lots, 1_020 * lots * UNIT)],
    ]
    return attrs.evolve(
        made_result(bars=2),
        instruments=(BTC,),
        initial_wallet_e8=wallet,
        end_ns=points[3],
        bar_length_ns=NS_PER_DAY // 2,
        fills=np.array(fills, r.FILL),
        cuts=np.array([(1, 1, 0, lots)], r.CUT),
        orders=hand_orders(points),
        equity=np.array(equity, r.EQUITY),
        holdings=np.array(holdings, r.HOLDING),
        funding=np.array([(points[2], 0, 5_000, 1_000, 0, paid)], r.FUNDING),
        pauses=np.array(
            [(points[3], DRAWDOWN, -1, logbook.RAISED, 5, 4), (points[3], 0, -1, logbook.FLATTEN_DONE, 0, 0)], r.PAUSE
        ),
        bars=(hand_bars(),),
    )


def hand_measures() -> Measures:
    """The figures of that run."""
    return measure(hand_made(), takers_ppm=(500,))


def test_money_by_hand() -> None:
    """Every sum of the run on paper: 1.00 realised, 0.05 of fees, 0.05 of funding received, 0.50 behind."""
    figures = hand_measures().figures
    assert UNIT * 1_000 == 10_000_000
    assert figures.initial_e8 == 100 * CASH_SCALE
    assert figures.realised_e8 == CASH_SCALE
    assert (figures.fees_e8, figures.fees_maker_e8, figures.fees_taker_e8) == (5_000_000, 2_000_000, 3_000_000)
    assert (figures.funding_e8, figures.funding_paid_e8, figures.funding_received_e8) == (-5_000_000, 0, 5_000_000)
    assert figures.unrealised_e8 == -CASH_SCALE // 2
    assert figures.net_e8 == CASH_SCALE // 2
    assert figures.final_e8 == figures.initial_e8 + figures.net_e8
    assert figures.total_return == pytest.approx(0.005, rel=1e-12)
    days = 45 / 24
    assert figures.annual_return == pytest.approx(1.005 ** (365 / days) - 1, rel=1e-12)


def test_trading_by_hand() -> None:
    """Counts and ratios on paper: a refused order was never sent, an open one was."""
    figures = hand_measures().figures
    assert (figures.entries_sent, figures.entries_filled, figures.ladder_fill_rate) == (4, 2, 0.5)
    assert (figures.fills, figures.maker_ratio) == (3, 2 / 3)
    assert figures.traded_e8 == (1_000 + 1_010 + 1_020) * 1_000 * UNIT
    assert figures.maker_notional_ratio == 2_010 / 3_030
    assert figures.turnover == pytest.approx(3.03)
    assert figures.fills_by_purpose == {"entry": 2, "take_profit": 1}
    assert figures.orders_by_outcome == {"open": 1, "filled": 3, "cancelled": 1, "refused": 1, "nothing_left": 1}
    assert figures.refusals_by_control == {"price_collar_bps": 1}
    assert figures.pauses_by_reason == {"drawdown": 1}


def test_trips_by_hand() -> None:
    """One winner and no loser: a rate of 1 and no profit factor, since there is nothing to divide by."""
    figures = hand_measures().figures
    made = CASH_SCALE - 2_000_000
    assert (figures.round_trips, figures.wins, figures.losses, figures.win_rate) == (1, 1, 0, 1.0)
    assert figures.profit_factor is None
    assert (figures.trip_average_e8, figures.trip_best_e8, figures.trip_worst_e8) == (made, made, made)
    assert figures.trip_duration_ns == NS_PER_DAY // 2
    # After the entry at the close of the first bar: 1,005, then 1,001 and 1,011 before the exit at 1,010.
    assert (figures.mae_max_bps, figures.mfe_max_bps) == (0.0, 110.0)
    assert figures.mfe_max_e8 == 11 * 1_000 * UNIT


def test_exposure_by_hand() -> None:
    """Means are over all decisions, those without a position included."""
    figures = hand_measures().figures
    one = 1_000 * UNIT
    assert (figures.long_mean_e8, figures.long_max_e8) == (1_005 * one // 4, 1_005 * one)
    assert (figures.short_mean_e8, figures.short_max_e8) == (2_047 * one // 4, 1_025 * one)
    assert figures.time_in_market == 0.75
    assert figures.buy_and_hold_return == pytest.approx(0.9995 * 1_025 / 1_005 - 1, rel=1e-12)
    assert figures.buy_and_hold_drawdown == pytest.approx(0.0005, rel=1e-9)


def test_days_by_hand() -> None:
    """Two days: the first ends with the second bar, the second with the run."""
    result = hand_made()
    held = held_at_end(result)
    daily = daily_equity(result, held)
    wallet = 100 * CASH_SCALE
    assert daily.equity_e8.tolist() == [wallet, wallet + CASH_SCALE - 2_000_000, wallet + CASH_SCALE // 2]
    assert daily.end_ns.tolist() == [START_NS, START_NS + NS_PER_DAY, result.end_ns]
    assert [(leg.qty_lots, leg.cost_e8) for leg in held] == [(0, 0), (1_000, 1_020 * 1_000 * UNIT)]
    assert [(one.year, one.month, one.change_e8) for one in months(daily)] == [(2024, 1, CASH_SCALE // 2)]


@pytest.mark.parametrize("end_ns", [START_NS, START_NS + 1, START_NS + NS_PER_DAY, START_NS + NS_PER_DAY + 1])
def test_a_day_ends_once(end_ns: int) -> None:
    """A run that ends with a day has that day, and no empty one after it; a gap keeps the last value."""
    result = attrs.evolve(made_result(bars=2), end_ns=end_ns)
    days = 1 + (end_ns > START_NS + NS_PER_DAY)
    daily = daily_equity(result, held_at_end(result))
    assert len(daily.equity_e8) == days + 1
    assert daily.end_ns[-1] == end_ns


@pytest.mark.parametrize("seed", SOME_SEEDS)
def test_figures_agree_with_the_walk(seed: int) -> None:
    """What is made of the tables is what the account counted while it walked."""
    run = made_run(seed=seed, bars=450)
    result = result_of(run)
    measures = measure(result, takers_ppm=TAKERS_PPM)
    realised, fees, funding = run.sums()
    figures = measures.figures
    assert (figures.realised_e8, figures.fees_e8, figures.funding_e8) == (realised, fees, funding)
    assert final_wallet_e8(result) == run.wallet()
    assert figures.final_e8 == run.wallet() + run.unrealised()
    for leg in measures.held:
        account = run.desks[leg.instrument].accounts[leg.leg]
        assert (leg.qty_lots, leg.cost_e8) == (account.qty_lots, account.cost_e8)


@pytest.mark.parametrize("seed", SOME_SEEDS)
def test_parts_add_up(seed: int) -> None:
    """Instruments, months, kinds of fees and round trips are parts of one result."""
    result = made_result(seed=seed, bars=900)
    measures = measure(result, takers_ppm=TAKERS_PPM)
    figures = measures.figures
    for name in (
        "net_e8",
        "realised_e8",
        "unrealised_e8",
        "fees_e8",
        "funding_e8",
        "traded_e8",
        "fills",
        "round_trips",
    ):
        assert sum(getattr(one, name) for one in measures.instruments) == getattr(figures, name), name
    assert sum(one.change_e8 for one in measures.months) == figures.net_e8
    assert figures.fees_maker_e8 + figures.fees_taker_e8 + figures.fees_liquidation_e8 == figures.fees_e8
    assert figures.funding_paid_e8 - figures.funding_received_e8 == figures.funding_e8
    assert sum(figures.orders_by_outcome.values()) == len(result.orders)
    assert sum(figures.refusals_by_control.values()) == figures.orders_by_outcome["refused"]


def test_trips_of_a_flat_account_are_its_realised_profit() -> None:
    """Where every leg ended flat the trips' own profits and the average-cost ones are the same sum."""
    result = made_liquidation()
    measures = measure(result, takers_ppm=TAKERS_PPM)
    figures = measures.figures
    assert all(leg.qty_lots == leg.cost_e8 == 0 for leg in measures.held)
    assert int(net_e8(measures.trips).sum()) == figures.realised_e8 - figures.fees_e8
    assert figures.net_e8 == int(net_e8(measures.trips).sum()) - figures.funding_e8
    assert figures.fees_liquidation_e8 > 0
    assert figures.annual_return is None
    assert "above zero" in absent(figures)["annual_return"]


def test_funding_is_told_apart() -> None:
    """Paid and received are two figures, leg by leg, down to the last unit: a hedge hides neither."""
    result = made_result(bars=400)
    legs = [value for row in result.funding for value in (int(row["long_e8"]), int(row["short_e8"]))]
    rows = np.concatenate((result.funding, np.array([(1, 0, 1, 1, 3, -2)], r.FUNDING)))
    figures = measure(attrs.evolve(result, funding=rows), takers_ppm=TAKERS_PPM).figures
    assert figures.funding_paid_e8 == sum(value for value in legs if value > 0) + 3
    assert figures.funding_received_e8 == -sum(value for value in legs if value < 0) + 2


def test_buy_and_hold_in_equal_parts() -> None:
    """Two instruments: half of the wallet in each, one fee each, and never traded again."""
    result = made_result(bars=400)
    measures = measure(result, takers_ppm=(500, 1_000))
    marks = result.holdings["mark_ticks"].tolist()
    parts = [(1 - fee) * marks[-1][i] / marks[0][i] for i, fee in enumerate((0.0005, 0.001))]
    assert measures.figures.buy_and_hold_return == pytest.approx(sum(parts) / 2 - 1, rel=1e-12)
    for one, part in zip(measures.instruments, parts, strict=True):
        assert one.buy_and_hold_return == pytest.approx(part - 1, rel=1e-12)


def test_the_order_of_instruments_says_nothing() -> None:
    """Swapping two instruments changes no figure of the account."""
    result = made_result(bars=400)
    tables = {name: getattr(result, name).copy() for name in ("fills", "cuts", "orders", "funding", "grids")}
    for table in tables.values():
        table["instrument"] = 1 - table["instrument"]
    pauses = result.pauses.copy()
    pauses["instrument"] = np.where(pauses["instrument"] < 0, -1, 1 - pauses["instrument"])
    swapped = attrs.evolve(
        result,
        **tables,
        pauses=pauses,
        instruments=result.instruments[::-1],
        holdings=result.holdings[:, ::-1],
        bars=result.bars[::-1],
    )
    before, after = (attrs.asdict(measure(one, takers_ppm=TAKERS_PPM).figures) for one in (result, swapped))
    for name, value in before.items():
        assert after[name] == (pytest.approx(value, rel=1e-12) if isinstance(value, float) else value), name


def test_a_run_without_a_fill() -> None:
    """Nothing happened: counts are 0, ratios are absent with a reason, nothing is infinite."""
    result = made_result(bars=1)
    figures = measure(result, takers_ppm=TAKERS_PPM).figures
    assert (figures.fills, figures.round_trips, figures.net_e8) == (0, 0, 0)
    missing = absent(figures)
    for name in ("win_rate", "profit_factor", "maker_ratio", "trip_average_e8", "mae_mean_bps", "sharpe", "calmar"):
        assert missing[name]
    assert all(math.isfinite(value) for value in attrs.astuple(figures) if isinstance(value, int | float))


def test_a_run_without_a_decision() -> None:
    """Data that ends before its first bar does: still figures, not an error."""
    made = made_result(bars=1)
    result = attrs.evolve(made, equity=made.equity[:0], holdings=made.holdings[:0], fills=made.fills[:0])
    figures = measure(result, takers_ppm=TAKERS_PPM).figures
    assert (figures.decisions, figures.buy_and_hold_return, figures.time_in_market) == (0, None, None)


def test_every_figure_is_defined() -> None:
    """The glossary knows each figure's group, unit, formula and source, and why it may be absent."""
    known = definitions()
    assert [one.name for one in known] == [field.name for field in attrs.fields(Figures)]
    order = [GROUPS.index(one.group) for one in known]
    assert order == sorted(order)
    optional = {field.name for field in attrs.fields(Figures) if "None" in str(field.type)}
    for one in known:
        assert one.label
        assert one.formula
        assert one.source
        assert bool(one.absent) == (one.name in optional), one.name
    assert len({one.label for one in known}) == len(known)


def test_sums_do_not_wrap() -> None:
    """A year of a large account trades more than 64 bits hold; negative amounts add up too."""
    column = np.array([9_000_000_000_000_000_000, 9_000_000_000_000_000_000, -5], np.int64)
    assert exact.total(column) == 17_999_999_999_999_999_995
    assert exact.mean(column) == 17_999_999_999_999_999_995 // 3


def test_words_are_the_codes_own() -> None:
    """Words and codes stand in two lists: a new code must not shift the words of the old ones."""
    assert names.PURPOSES[ENTRY] == "entry"
    assert {names.CONTROLS[code] for code in CONTROL_NAMES} == set(CONTROL_NAMES.values())
    for code, word in enumerate(names.PAUSE_CHANGES[1:], 1):
        assert getattr(logbook, word.upper()) == code
    assert len(names.OUTCOMES) == r.NOTHING_LEFT + 1
