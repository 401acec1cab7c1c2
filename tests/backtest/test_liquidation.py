"""The distance to liquidation: what the venue's own rule says of the marks around the one that was solved."""

from fractions import Fraction

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hedgegrid.backtest.liquidation import liquidation_distance, liquidation_marks, nearest, nearest_by_instrument
from hedgegrid.backtest.result import EQUITY, HOLDING, BacktestResult
from hedgegrid.model.instrument import Instrument, Tier
from hedgegrid.units import PPM
from tests.backtest.made_market import BTC
from tests.backtest.made_result import made_liquidation, made_result

ONE_TIER = (Tier(max_notional_e8=10**18, maintenance_ppm=10_000),)


def one_decision(equity_e8: int, held: list[tuple[int, int, int]], tiers: tuple[Tier, ...]) -> BacktestResult:
    """A result with one decision at which each instrument has (mark, long lots, short lots)."""
    instruments = tuple(attrs.evolve(BTC, name=f"X{i}", tiers=tiers) for i in range(len(held)))
    return attrs.evolve(
        made_result(bars=2),
        instruments=instruments,
        equity=np.array([(1, equity_e8, 0, 0, 0, 0)], EQUITY),
        holdings=np.array([[(mark, long, 0, short, 0) for mark, long, short in held]], HOLDING),
        fills=made_result(bars=2).fills[:0],
    )


def ratio(instrument: Instrument, gross: Fraction) -> Fraction:
    """The maintenance ratio of a notional."""
    tier = next((tier for tier in instrument.tiers if gross <= tier.max_notional_e8), instrument.tiers[-1])
    return Fraction(tier.maintenance_ppm, PPM)


def margin(result: BacktestResult, index: int, price: Fraction) -> Fraction:
    """Equity less maintenance margin if one instrument's mark were ``price``, exactly."""
    spare = Fraction(int(result.equity["wallet_e8"][0]))
    for i, (instrument, row) in enumerate(zip(result.instruments, result.holdings[0], strict=True)):
        mark, long, _, short, _ = (int(value) for value in row)
        at = price if i == index else Fraction(mark)
        gross = at * (long + short) * instrument.unit_e8
        spare += (at - mark) * (long - short) * instrument.unit_e8 - ratio(instrument, gross) * gross
    return spare


def test_by_hand() -> None:
    """10 lots LONG at 1,000 ticks with half of their notional as equity: dead where x - 500 = 1 % of x."""
    result = one_decision(500 * 10 * BTC.unit_e8, [(1_000, 10, 0)], ONE_TIER)
    assert liquidation_marks(result, 0).tolist() == pytest.approx([500 / 0.99], rel=1e-12)
    assert liquidation_distance(result, 0).tolist() == pytest.approx([1 - 0.5 / 0.99], rel=1e-12)


def test_a_short_dies_of_a_rise() -> None:
    """The mirror: dead where 1,500 - x = 1 % of x."""
    result = one_decision(500 * 10 * BTC.unit_e8, [(1_000, 0, 10)], ONE_TIER)
    assert liquidation_marks(result, 0).tolist() == pytest.approx([1_500 / 1.01], rel=1e-12)


def test_a_hedged_account_dies_of_its_margin_alone() -> None:
    """Equal legs lose nothing either way, but their margin grows with the price."""
    result = one_decision(100 * 10 * BTC.unit_e8, [(1_000, 10, 10)], ONE_TIER)
    assert liquidation_marks(result, 0).tolist() == pytest.approx([5_000.0], rel=1e-12)


def test_unreachable_is_absent() -> None:
    """A LONG that is paid in full cannot be liquidated, nor can an account that holds nothing."""
    for held in ([(1_000, 10, 0)], [(1_000, 0, 0)]):
        result = one_decision(1_000 * 10 * BTC.unit_e8, held, ONE_TIER)
        assert np.isnan(liquidation_marks(result, 0)).all()
        assert nearest(result, nearest_by_instrument(result)) is None


def test_a_higher_tier_kills_at_its_edge() -> None:
    """Where the margin jumps with the notional, the edge itself is deadly."""
    edge_e8 = 1_200 * 10 * BTC.unit_e8
    tiers = (
        Tier(max_notional_e8=edge_e8, maintenance_ppm=10_000),
        Tier(max_notional_e8=10**18, maintenance_ppm=900_000),
    )
    result = one_decision(500 * 10 * BTC.unit_e8, [(1_000, 10, 0)], tiers)
    assert liquidation_marks(result, 0).tolist() == pytest.approx([1_200.0], rel=1e-12)


@given(
    equity=st.integers(1, 3_000),
    held=st.lists(st.tuples(st.integers(50, 5_000), st.integers(0, 40), st.integers(0, 40)), min_size=1, max_size=3),
    edges=st.lists(st.integers(1, 40_000), min_size=1, max_size=4, unique=True),
    ppms=st.lists(st.integers(1_000, 500_000), min_size=4, max_size=4),
)
def test_the_solved_mark_is_the_first_deadly_one(
    equity: int, held: list[tuple[int, int, int]], edges: list[int], ppms: list[int]
) -> None:
    """Between mark and solution the exact margin holds, just past the solution it does not."""
    tiers = tuple(
        Tier(max_notional_e8=edge * BTC.unit_e8, maintenance_ppm=ppm)
        for edge, ppm in zip(sorted(edges), sorted(ppms), strict=False)
    )
    result = one_decision(equity * 10 * BTC.unit_e8, held, tiers)
    mark = Fraction(held[0][0])
    if margin(result, 0, mark) < 0 or held[0][1] + held[0][2] == 0:
        return
    solved = liquidation_marks(result, 0)[0]
    reach = abs(Fraction(float(solved)) - mark) if not np.isnan(solved) else Fraction(10**7)
    for part in (Fraction(i, 50) for i in range(50)):
        for price in (mark - part * reach, mark + part * reach):
            assert price <= 0 or margin(result, 0, price) >= -Fraction(1, 100)
    if not np.isnan(solved):
        step = mark * Fraction(1, 10**9) + Fraction(1, 10**6)
        way = 1 if solved >= mark else -1
        assert margin(result, 0, Fraction(float(solved)) + way * step) < 0


def test_a_liquidation_is_no_distance() -> None:
    """An account that died was as near as can be, whatever its last decision still thought."""
    result = made_liquidation()
    found = nearest(result, nearest_by_instrument(result))
    assert found is not None
    assert (found.distance, found.ts_ns) == (0.0, result.liquidated_ns)


def test_the_nearest_instrument_counts() -> None:
    """Of two instruments the one that kills earlier gives the account's distance."""
    unit = BTC.unit_e8
    result = one_decision(500 * 10 * unit, [(1_000, 10, 0), (1_000, 20, 0)], ONE_TIER)
    found = nearest(result, nearest_by_instrument(result))
    assert found is not None
    assert found.instrument == 1
    assert found.distance == pytest.approx((500 - 10 - 20) / (2 * 1_000 * 0.99), rel=1e-9)
