"""A leg's account: average cost, fees, funding and margin, exact to the last unit."""

from decimal import Decimal
from fractions import Fraction
from math import floor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hedgegrid.config.load import loads
from hedgegrid.config.params import check_bounds, grid_params, instrument_of
from hedgegrid.core import ledger
from hedgegrid.core.codes import LONG, SHORT
from hedgegrid.core.records import LegAccount, MarginTier
from hedgegrid.errors import Fatal
from hedgegrid.units import ticks_nearest
from tests.core.bounded import Int64

UNIT_E8 = 10_000
LEGS = st.sampled_from([LONG, SHORT])
TRADES = st.lists(st.tuples(LEGS, st.booleans(), st.integers(1, 50), st.integers(1, 2_000_000)), max_size=60)
LOTS_MAX = 3_037_000_499
"""The largest position whose cost can be split in 64 bits: its square still fits."""


@given(TRADES, st.integers(-100, 1_000))
def test_cash_is_conserved_whatever_the_interleaving(trades: list[tuple[int, bool, int, int]], fee_ppm: int) -> None:
    """Sum of realised - fees = change of the wallet once both legs are flat again, to the last unit."""
    accounts = [LegAccount(), LegAccount()]
    wallet = realised = fees = 0
    closing = [(leg, False, 10**9, 777) for leg in (LONG, SHORT)]
    for leg, opens, qty, price in trades + closing:
        account = accounts[leg]
        lots = qty if opens else min(qty, account.qty_lots)
        if lots == 0:
            continue
        notional = ledger.notional_e8(price, lots, UNIT_E8)
        paid = ledger.fee_e8(notional, fee_ppm)
        fees += paid
        # The wallet of plain cash: buying costs the notional, selling brings it.
        wallet += (-notional if (leg == LONG) == opens else notional) - paid
        if opens:
            ledger.increase(account, lots, notional)
        else:
            realised += ledger.reduce(account, leg, lots, notional)
        assert account.qty_lots >= 0
        assert account.cost_e8 >= 0
        assert account.qty_lots > 0 or account.cost_e8 == 0, "a flat leg has no cost"
    assert wallet == realised - fees
    assert realised == sum(account.realised_e8 for account in accounts)


@given(LEGS, st.integers(1, 10**18), st.integers(1, LOTS_MAX), st.integers(1, LOTS_MAX), st.integers(0, 10**18))
def test_a_reduction_releases_the_floored_part_of_the_cost(
    leg: int, cost: int, held: int, qty: int, notional: int
) -> None:
    """Realised = proceeds - floor(cost x q / position), in 64 bits at the largest account; the last takes the rest."""
    qty = min(qty, held)
    account = LegAccount(qty_lots=Int64(held), cost_e8=Int64(cost))
    realised = ledger.reduce(account, leg, Int64(qty), Int64(notional))
    released = floor(Fraction(cost * qty, held))
    assert released == cost or qty < held
    assert realised == (notional - released if leg == LONG else released - notional)
    assert (account.qty_lots, account.cost_e8, account.realised_e8) == (held - qty, cost - released, realised)


@given(LEGS, st.integers(1, 10**9), st.integers(1, 10**15), st.integers(1, 10**6))
def test_unrealised_is_what_closing_at_the_mark_would_realise(leg: int, held: int, cost: int, mark: int) -> None:
    """The profit shown at the mark is the one that a close at the mark books."""
    account = LegAccount(qty_lots=held, cost_e8=cost)
    shown = ledger.unrealised_e8(account, leg, mark, UNIT_E8)
    assert shown == ledger.reduce(account, leg, held, ledger.notional_e8(mark, held, UNIT_E8))


@given(st.integers(1, 9 * 10**8), st.integers(1, 10**18), st.sampled_from([1, 1_000, UNIT_E8]))
def test_the_average_entry_is_floored_in_millionths(held: int, cost: int, unit: int) -> None:
    """Average entry = floor(cost x 1e6 / (position x unit)), which the leg's one stop is measured from."""
    cost = min(cost, held * unit * 2**40)
    account = LegAccount(qty_lots=Int64(held), cost_e8=Int64(cost))
    assert ledger.average_micro(account, Int64(unit)) == floor(Fraction(cost * 10**6, held * unit))


@given(st.integers(0, 10**18), st.integers(-10_000, 100_000))
def test_fees_round_half_up_and_rebates_too(notional: int, ppm: int) -> None:
    """Fee = floor((2 x notional x ppm + 1e6) / 2e6) for the largest notional, and for a negative rate."""
    assert ledger.fee_e8(Int64(notional), Int64(ppm)) == (2 * notional * ppm + 10**6) // (2 * 10**6)


@given(LEGS, st.integers(0, 10**18), st.integers(-3_000_000, 3_000_000))
def test_longs_pay_a_positive_rate_and_shorts_receive_it(leg: int, notional: int, rate_e8: int) -> None:
    """A settlement is rate x notional, half up, signed by the leg."""
    signed = notional if leg == LONG else -notional
    charge = ledger.funding_charge_e8(leg, Int64(notional), Int64(rate_e8))
    assert charge == floor(Fraction(signed * rate_e8, 10**8) + Fraction(1, 2))


@pytest.mark.parametrize(("leg", "rate_e8", "charge"), [(LONG, 50, 1), (LONG, -50, 0), (SHORT, 50, 0), (SHORT, -50, 1)])
def test_a_settlement_at_the_half_rounds_up(leg: int, rate_e8: int, charge: int) -> None:
    """Half a unit to pay is one, half a unit to receive is none: up means toward the greater charge."""
    assert ledger.funding_charge_e8(leg, 10**6, rate_e8) == charge


@pytest.mark.parametrize(
    ("gross", "maintenance"), [(0, 0), (1_000, 4), (1_001, 11), (5_000, 50), (5_001, 251), (90_000, 4_500)]
)
def test_maintenance_goes_by_the_tier_of_the_notional(gross: int, maintenance: int) -> None:
    """A tier holds up to its end inclusive; beyond the last one its ratio goes on; parts of a unit count as one."""
    tiers = [MarginTier(max_notional_e8=1_000, maintenance_ppm=4_000)]
    tiers.append(MarginTier(max_notional_e8=5_000, maintenance_ppm=10_000))
    tiers.append(MarginTier(max_notional_e8=50_000, maintenance_ppm=50_000))
    assert ledger.maintenance_e8(gross, tiers) == maintenance


def test_the_largest_account_of_the_config_fits_the_ledger() -> None:
    """A position that the config admits is reduced within 64 bits, or the config refuses it."""
    text = """
[account]
name = "largest"
[[grid]]
instrument = "DOGE/USDT:USDT"
max_position_qty = 10_000_000_000
[grid.ladder]
base_quote = 1000
max_inventory_quote = 10_000_000_000
[sim.synthetic.prices]
"DOGE/USDT:USDT" = 0.1
"""
    config = loads(text, "the largest account")
    try:
        instrument = instrument_of(config, "DOGE/USDT:USDT")
        settings = grid_params(config.grid[0], instrument, config.risk)
        check_bounds(instrument, Decimal("0.1"))
    except Fatal:
        return
    price = ticks_nearest(Decimal("0.1"), instrument.tick)
    held = settings.max_inventory_e8 // (price * settings.unit_e8)
    account = LegAccount(qty_lots=Int64(held), cost_e8=Int64(settings.max_inventory_e8 - 1))
    ledger.reduce(account, LONG, Int64(held - 1), Int64(0))
