"""The controls of the account's equity, at their edges, by a second telling of their definitions in exact fractions.

Invariant: what is expected is worked out from the orders and positions of a case alone, never from the gate's sums.
"""

from fractions import Fraction
from math import ceil
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hedgegrid.core import gate_book, risk, worst_case
from hedgegrid.core.codes import ENTRY, LONG, SHORT
from hedgegrid.core.gate_records import UNMEASURED, AccountRisk, RiskLimits
from hedgegrid.core.records import MarginTier
from hedgegrid.units import PPM
from tests.core.bounded import LARGEST, Int64
from tests.core.test_risk import BOOKS, LEGS, Gate

E8 = 10**8
TIERS = (
    ((60_000_000, 10_000), (250_000_000, 40_000), (10**18, 100_000)),
    ((40_000_000, 20_000), (120_000_000, 50_000), (10**18, 250_000)),
)
HELD = st.lists(st.integers(0, 60), min_size=4, max_size=4)


def staged(leg: int, rows: list[tuple[int, int, int, int, int]], held: list[int], equity_e8: int) -> Gate:
    """Two instruments of other units, tiers and volatilities, with positions, foreign ones, entries and exits."""
    gate = Gate(price_collar_ppm=PPM)
    gate.account.equity_e8 = equity_e8
    gate.tiers = [[MarginTier(*one) for one in tiers] for tiers in TIERS]
    gate.rules[1].unit_e8, gate.rules[1].mark_ticks = 3_333, 1_013
    gate.rules[0].var_ppm, gate.rules[1].var_ppm = 23_001, 51_777
    gate.order.leg, gate.order.price_ticks = leg, 985 if leg == LONG else 1_070
    for slot, lots in enumerate(held):
        gate.exposures[slot].position_lots, gate.exposures[slot].foreign_lots = lots - lots // 3, lots // 3
    for no, (purpose, side, instrument, price, qty) in enumerate(rows, start=1):
        below = price - 200 if side == LONG and purpose == ENTRY else price
        gate.book(no, side, purpose, below if purpose == ENTRY else 2_000 - 1_000 * side, qty, instrument)
    return gate


@attrs.frozen(kw_only=True)
class Worst:
    """The account after the worst case, per instrument: legs as held, and with their entries, the order's too."""

    held: list[list[int]]
    full: list[list[int]]

    def gross(self, i: int) -> int:
        """Both legs of an instrument."""
        return sum(self.full[i])

    def fall(self) -> int:
        """LONG with its entries against SHORT as held."""
        return sum(full[LONG] - held[SHORT] for full, held in zip(self.full, self.held, strict=True))

    def rise(self) -> int:
        """SHORT with its entries against LONG as held."""
        return sum(full[SHORT] - held[LONG] for full, held in zip(self.full, self.held, strict=True))


def worst_of(gate: Gate) -> Worst:
    """Add up positions and entries, each entry at the larger of its limit and the mark."""
    held = [[0, 0] for _ in gate.rules]
    for slot, leg in enumerate(gate.exposures):
        rule = gate.rules[slot // 2]
        held[slot // 2][slot % 2] = (leg.position_lots + leg.foreign_lots) * rule.mark_ticks * rule.unit_e8
    full = [list(legs) for legs in held]
    for row in [*(row for row in gate.booked if row.state and row.purpose == ENTRY), gate.order]:
        rule = gate.rules[row.instrument]
        full[row.instrument][row.leg] += max(row.price_ticks, rule.mark_ticks) * row.qty_lots * rule.unit_e8
    return Worst(held=held, full=full)


def maintenance(gate: Gate, worst: Worst, grown: Fraction = Fraction(1)) -> int:
    """Each instrument's notional by the ratio of the tier that the notional, grown, falls into."""
    total = 0
    for i in range(len(gate.rules)):
        ratio = next(ppm for most, ppm in TIERS[i] if int(worst.gross(i) * grown) <= most)
        total += ceil(Fraction(worst.gross(i) * ratio, PPM))
    return total


def part_of(which: int, gate: Gate) -> int:
    """What the control compares with equity."""
    worst = worst_of(gate)
    gross = sum(worst.gross(i) for i in range(2))
    if which == risk.MAX_LEVERAGE:
        return gross
    if which == risk.MAX_POSITION_RATIO:
        return ceil(Fraction(gross, gate.limits.leverage))
    if which == risk.MAX_MARGIN_RATIO:
        return maintenance(gate, worst)
    total = 0
    for rule, full, held in zip(gate.rules, worst.full, worst.held, strict=True):
        net = max(abs(full[LONG] - held[SHORT]), abs(full[SHORT] - held[LONG]))
        total += ceil(Fraction(net * rule.var_ppm, PPM))
    return total


RATIOS = {
    risk.MAX_LEVERAGE: "max_leverage_ppm",
    risk.MAX_POSITION_RATIO: "max_position_ppm",
    risk.MAX_MARGIN_RATIO: "max_margin_ppm",
    risk.VAR: "max_var_ppm",
}


@given(LEGS, BOOKS, HELD, st.integers(5 * 10**8, 4 * 10**9), st.sampled_from(list(RATIOS)))
def test_a_ratio_of_equity_refuses_exactly_beyond_its_limit(
    leg: int, rows: list[tuple[int, int, int, int, int]], held: list[int], equity_e8: int, which: int
) -> None:
    """Account-wide, with foreign positions, entries at their worst and the order: the limit itself passes."""
    gate = staged(leg, rows, held, equity_e8)
    limit = ceil(Fraction(part_of(which, gate) * PPM, equity_e8))
    setattr(gate.limits, RATIOS[which], limit)
    assert gate.check() not in RATIOS
    setattr(gate.limits, RATIOS[which], limit - 1)
    assert gate.check() == which


def survives(gate: Gate, worst: Worst, distance_ppm: int) -> bool:
    """Move all marks by a distance, down and up, and see whether the equity still covers what must be held."""
    x = Fraction(distance_ppm, PPM)
    equity, held = Fraction(gate.account.equity_e8), maintenance(gate, worst, 1 + x)
    falls = equity - x * worst.fall() >= (1 - x) * held
    rises = equity - x * worst.rise() >= (1 + x) * held
    return equity >= held and falls and rises


@given(LEGS, BOOKS, HELD, st.integers(10**8, 10**9))
def test_the_distance_to_a_liquidation_is_that_at_which_the_equity_is_gone(
    leg: int, rows: list[tuple[int, int, int, int, int]], held: list[int], equity_e8: int
) -> None:
    """Found by moving the marks: the last distance that the account survives passes, the next one is refused."""
    gate = staged(leg, rows, held, equity_e8)
    gate.limits.max_leverage_ppm = gate.limits.max_margin_ppm = 10**9
    gate.limits.max_position_ppm = 10**9
    worst = worst_of(gate)
    low, high = -1, PPM
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if survives(gate, worst, middle) else (low, middle)
    if low >= 0:
        gate.limits.min_distance_ppm = low
        assert gate.check() not in {*RATIOS, risk.LIQUIDATION_DISTANCE} - {risk.VAR}
    if high < PPM:
        gate.limits.min_distance_ppm = high
        assert gate.check() == risk.LIQUIDATION_DISTANCE


@pytest.mark.parametrize(("equity_e8", "net", "margin", "distance"), [
    (1_000, 5_000, 100, "900/4900"),  # falling: E - xN = (1 - x)M
    (1_000, -5_000, 100, "900/5100"),  # rising: E - xN = (1 + x)M
    (1_000, 800, 100, "900/-700"),  # long of less than the equity: only a rise can do it, and it cannot
    (99, 5_000, 100, "0/1"),
])  # fmt: skip
def test_the_distance_of_a_plain_position(equity_e8: int, net: int, margin: int, distance: str) -> None:
    """By hand: LONG or SHORT alone, and an account that is past it."""
    told = worst_case.liquidation_distance_ppm(equity_e8, margin, net, -net)
    top, bottom = (int(part) for part in distance.split("/"))
    assert told == (worst_case.NO_LIQUIDATION if bottom < 0 else PPM * top // bottom)


@pytest.mark.parametrize(("falling", "rising"), [(5_100, -9_000), (-9_000, 4_900)])
def test_the_limit_of_the_distance_itself_passes(falling: int, rising: int) -> None:
    """Equity of 600 over a margin of 100, against a fall or a rise that takes 5,000 for the whole price: 10 %."""
    assert not worst_case.is_near_liquidation(600, 100, falling, rising, 100_000)
    assert worst_case.is_near_liquidation(600, 100, falling, rising, 100_001)
    assert worst_case.liquidation_distance_ppm(600, 100, falling, rising) == 100_000


@pytest.mark.parametrize("equity_e8", [0, -1, -(10**12)])
@pytest.mark.parametrize("leg", [LONG, SHORT])
def test_nothing_is_added_without_equity(equity_e8: int, leg: int) -> None:
    """An account that has nothing left adds nothing, however wide its limits; it may still reduce."""
    gate = Gate(max_leverage_ppm=10**9, max_position_ppm=10**9, max_margin_ppm=10**9, max_var_ppm=10**9)
    gate.account.equity_e8, gate.order.leg = equity_e8, leg
    assert gate.check() == risk.MAX_LEVERAGE
    gate.hold(leg, 10)
    gate.order.purpose = 1
    assert gate.check() == risk.PASS


@pytest.mark.parametrize("equity_e8", [-(10**18), -1, 0])
def test_a_loss_leaves_no_room_however_large_it_is(equity_e8: int) -> None:
    """The product would wrap round to a plenty in machine code."""
    assert worst_case.share_e8(Int64(equity_e8), Int64(125 * PPM)) == 0


@pytest.mark.parametrize(("equity_e8", "share"), [(10**18, worst_case.LARGEST_E8), (7 * 10**16, 875 * 10**16)])
def test_the_largest_equity_has_room_for_anything(equity_e8: int, share: int) -> None:
    """What leaves 64 bits is more than any notional, and is told as that."""
    assert worst_case.share_e8(Int64(equity_e8), Int64(125 * PPM)) == share


def test_a_mark_that_is_missing_elsewhere_refuses() -> None:
    """Law 9: what another instrument holds or could come to hold is worth nobody knows what; nothing is worth 0."""
    gate = Gate()
    gate.rules[1].mark_ticks = gate.rules[1].mark_ns = 0
    assert gate.check() == risk.PASS
    gate.book(1, LONG, ENTRY, 990, 1, instrument=1)
    assert gate.check() == risk.MARK_AGE
    gate.booked[0].state = 0
    gate_book.recount(gate.rules, gate.exposures, gate.booked, 1)
    assert gate.check() == risk.PASS
    gate.exposures[3].foreign_lots = 1
    assert gate.check() == risk.MARK_AGE


@pytest.mark.parametrize("instrument", [0, 1])
def test_a_volatility_that_is_missing_refuses_where_it_counts(instrument: int) -> None:
    """Before two bars have closed there is no value at risk: of the order's instrument, and of one that is held."""
    gate = Gate()
    gate.rules[instrument].var_ppm = UNMEASURED
    assert gate.check() == (risk.VAR if instrument == 0 else risk.PASS)
    gate.hold(SHORT, 1, instrument=1)
    assert gate.check() == risk.VAR


def test_volatility_of_zero_is_known() -> None:
    """A market that stands still has a value at risk of nothing."""
    gate = Gate(max_var_ppm=0)
    gate.rules[0].var_ppm = 0
    assert gate.check() == risk.PASS


def plain(gate: Gate) -> list[tuple[Any, ...]]:
    """Everything that was added up."""
    records: list[Any] = [gate.account, *gate.rules, *gate.exposures]
    return [attrs.astuple(one) for one in records]


@given(BOOKS, st.lists(st.tuples(st.integers(0, 3), st.integers(0, 40), st.integers(900, 1_100)), max_size=12))
def test_sums_that_are_kept_equal_sums_worked_out_anew(
    rows: list[tuple[int, int, int, int, int]], moves: list[tuple[int, int, int]]
) -> None:
    """Orders, fills, foreign positions, marks and volatilities change one by one; the account's sums never drift."""
    gate = staged(LONG, rows, [0, 3, 5, 7], E8)
    gate.weigh()
    for slot, lots, mark in moves:
        gate.exposures[slot].position_lots = lots
        gate.exposures[slot].foreign_lots = mark % 3
        gate.rules[slot // 2].mark_ticks = mark if mark % 11 else 0
        gate.rules[slot // 2].var_ppm = mark % 7 * 1_000 if mark % 5 else UNMEASURED
        gate.booked[lots % len(gate.booked)].state = 0
        gate_book.recount(gate.rules, gate.exposures, gate.booked, slot // 2)
        tables = (gate.rules, gate.exposures, gate.tiers[slot // 2])
        worst_case.weigh(gate.limits, gate.account, *tables, slot // 2)
    for index in (0, 1):
        gate_book.recount(gate.rules, gate.exposures, gate.booked, index)
    gate.weigh()
    kept = plain(gate)
    gate.account = AccountRisk(equity_e8=E8)
    for rule in gate.rules:
        rule.margin_e8 = rule.far_margin_e8 = rule.var_e8 = rule.unmarked = rule.unmeasured = 0
    for leg in gate.exposures:
        leg.held_e8 = leg.worst_e8 = 0
    gate.weigh()
    assert kept == plain(gate)


@given(st.integers(1, 2**40 - 1), st.integers(1, 2**40 - 1), LEGS, st.integers(-(10**18), 10**18))
def test_the_equity_controls_stay_within_64_bits_at_the_largest_account(
    mark: int, price: int, leg: int, equity_e8: int
) -> None:
    """Legs, entries and the order each up to 1e10 quote, the widest limits, and the wildest volatility there is."""
    names = ("max_leg_notional_e8", "max_gross_notional_e8", "max_net_notional_e8")
    gate = Gate(**dict.fromkeys(names, LARGEST), price_collar_ppm=Int64(PPM), max_order_notional_e8=Int64(10**18))
    gate.limits = RiskLimits(**{
        **attrs.asdict(gate.limits), "max_leverage_ppm": Int64(125 * PPM), "max_position_ppm": Int64(PPM),
        "leverage": Int64(1), "max_margin_ppm": Int64(PPM), "min_distance_ppm": Int64(999_999),
        "max_var_ppm": Int64(PPM),
    })  # fmt: skip
    gate.tiers = [[MarginTier(Int64(10**18), Int64(5_000)), MarginTier(Int64(10**18), Int64(PPM))]] * 2
    most = 10**18 // (4 * max(mark, price))
    for rule in gate.rules:
        rule.unit_e8, rule.mark_ticks, rule.var_ppm = Int64(1), Int64(mark), Int64(8_000_000)
        rule.bid_ticks = rule.ask_ticks = Int64(mark)
        rule.max_position_lots = Int64(LARGEST)
    for exposure in gate.exposures:
        exposure.position_lots = exposure.entry_lots = Int64(most)
        exposure.entry_worst_e8 = Int64(most * mark)
    gate.account.equity_e8 = Int64(equity_e8)
    gate.order.leg, gate.order.price_ticks, gate.order.qty_lots = leg, Int64(price), Int64(most)
    gate.check()
    account = gate.account
    nets = worst_case.falling_net_e8(account, 0), worst_case.rising_net_e8(account, 0)
    worst_case.liquidation_distance_ppm(account.equity_e8, account.far_margin_e8, *nets)
