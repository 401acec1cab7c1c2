"""The gate: every control refuses exactly at its edge, in the catalogue's order; reductions only if they add."""

from collections.abc import Callable
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hedgegrid.core import gate_book, risk, worst_case
from hedgegrid.core.codes import BACKSTOP, ENTRY, FLATTEN, LONG, SHORT, STOP, TAKE_PROFIT
from hedgegrid.core.gate_records import AccountRisk, Booked, Exposure, InstrumentRisk, RiskLimits
from hedgegrid.core.records import MarginTier, table
from hedgegrid.messages import events
from hedgegrid.model.order import Kind, Leg, OrderRequest, Purpose
from hedgegrid.units import PPM
from tests.core.bounded import LARGEST, Int64

UNIT = 10_000
NOW = 1_000_000
LEGS = st.sampled_from([LONG, SHORT])
PURPOSES = st.sampled_from([ENTRY, TAKE_PROFIT, STOP, FLATTEN, BACKSTOP])


class Gate:
    """Two instruments at a mark of 1,000 ticks between 999 and 1,001, wide limits, and an entry that passes."""

    def __init__(self, **limits: int) -> None:
        """Nothing is held and nothing booked; the equity is far more than all of it could come to."""
        wide = {field.name: 10**15 for field in attrs.fields(RiskLimits)}
        ratios = {"max_leverage_ppm": 4 * PPM, "max_position_ppm": PPM, "max_margin_ppm": PPM, "max_var_ppm": PPM}
        other = {"price_collar_ppm": 100_000, "max_open_orders_per_leg": 40, "min_distance_ppm": 1, "leverage": 5}
        self.limits = RiskLimits(**{**wide, **ratios, **other, **limits})
        self.account = AccountRisk(equity_e8=10**15)
        self.tiers = [[MarginTier(max_notional_e8=10**18, maintenance_ppm=5_000)] for _ in range(2)]
        self.rules = table(InstrumentRisk, 2)
        for rule in self.rules:
            rule.unit_e8, rule.min_qty_lots, rule.max_qty_lots, rule.max_position_lots = UNIT, 1, 10**9, 10**9
            rule.mark_ticks, rule.bid_ticks, rule.ask_ticks = 1_000, 999, 1_001
            rule.mark_ns = rule.quote_ns = self.balance_ns = self.decided_ns = NOW
            rule.var_ppm = 20_000
        self.exposures = table(Exposure, 4)
        self.booked = table(Booked, 40)
        self.order = Booked(no=500, leg=LONG, purpose=ENTRY, price_ticks=990, qty_lots=10, level=1, generation=1)
        self.may_send = 1

    def check(self, now_ns: int = NOW, has_price: int = 1) -> int:
        """The gate's answer."""
        self.weigh()
        tables = (self.limits, self.account, self.rules, self.exposures, self.booked)
        own = (self.tiers[self.order.instrument], self.order)
        return risk.check(*tables, *own, has_price, self.may_send, self.decided_ns, now_ns)

    def weigh(self) -> None:
        """Add the instruments up."""
        self.account.balance_ns = self.balance_ns
        for index in range(len(self.rules)):
            worst_case.weigh(self.limits, self.account, self.rules, self.exposures, self.tiers[index], index)

    def book(self, no: int, leg: int, purpose: int, price: int, qty: int, instrument: int = 0) -> None:
        """Reserve another order."""
        row = Booked(no=no, instrument=instrument, leg=leg, purpose=purpose, price_ticks=price, qty_lots=qty, level=no)
        assert gate_book.book(self.rules[instrument], self.exposures, self.booked, row)

    def hold(self, leg: int, qty: int, instrument: int = 0) -> None:
        """Hold a position."""
        self.exposures[2 * instrument + leg].position_lots = qty


def test_an_everyday_entry_passes() -> None:
    """The gate is no wall."""
    assert Gate().check() == risk.PASS


# --- each control at its edge ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("limit", "stamp", "code"), [
    ("approval_ttl_ns", "decided", risk.EXPIRED_APPROVAL), ("max_quote_age_ns", "quote", risk.QUOTE_AGE),
    ("max_mark_age_ns", "mark", risk.MARK_AGE), ("max_balance_age_ns", "balance", risk.BALANCE_AGE),
])  # fmt: skip
def test_ages_refuse_just_beyond_their_limit(limit: str, stamp: str, code: int) -> None:
    """At the limit a figure is still fresh; one nanosecond later it is not."""
    gate = Gate(**{limit: 500})
    for late, answer in ((0, risk.PASS), (1, code)):
        stamps = dict.fromkeys(("decided", "quote", "mark", "balance"), NOW + 500)
        stamps[stamp] = NOW - late
        gate.decided_ns, gate.balance_ns = stamps["decided"], stamps["balance"]
        gate.rules[0].quote_ns, gate.rules[0].mark_ns = stamps["quote"], stamps["mark"]
        assert gate.check(now_ns=NOW + 500) == answer


@pytest.mark.parametrize(
    ("stamp", "code"), [("quote", risk.QUOTE_AGE), ("mark", risk.MARK_AGE), ("balance", risk.BALANCE_AGE)]
)
def test_a_figure_that_never_came_is_missing_not_fresh(stamp: str, code: int) -> None:
    """A stamp of 0 means that nothing was ever heard."""
    gate = Gate()
    gate.balance_ns = 0 if stamp == "balance" else NOW
    gate.rules[0].quote_ns = 0 if stamp == "quote" else NOW
    gate.rules[0].mark_ns = 0 if stamp == "mark" else NOW
    assert gate.check() == code


@pytest.mark.parametrize(("age", "passes"), [(1_000, True), (1_001, False)])
def test_ages_are_never_held_under_two_beats_of_the_source(age: int, passes: bool) -> None:
    """Bars of 500 ns are stale after 1,000 ns, however small the limit is."""
    gate = Gate(max_quote_age_ns=3, max_mark_age_ns=3, max_balance_age_ns=3)
    gate.rules[0].cadence_ns = 500
    assert gate.check(now_ns=NOW + age) == (risk.PASS if passes else risk.QUOTE_AGE)


@pytest.mark.parametrize(("leg", "price", "passes"), [
    (LONG, 990, True), (LONG, 989, False), (LONG, 1_009, False), (LONG, 1_008, True),
    (SHORT, 1_010, True), (SHORT, 1_011, False), (SHORT, 990, False), (SHORT, 991, True),
])  # fmt: skip
def test_the_collar_counts_from_the_mark_and_from_the_quote(leg: int, price: int, passes: bool) -> None:
    """1 % of 1,000 is 10 ticks from the mark; a buy is measured from the bid too, a sell from the ask."""
    gate = Gate(price_collar_ppm=10_000)
    gate.order.leg, gate.order.price_ticks = leg, price
    assert gate.check() == (risk.PASS if passes else risk.PRICE_COLLAR)


@pytest.mark.parametrize("less", [0, 1])
def test_order_notional_quantity_and_minimum_at_their_edges(less: int) -> None:
    """The limit itself passes; one unit less does not."""
    notional = 990 * 10 * UNIT
    assert Gate(max_order_notional_e8=notional - less).check() == (risk.MAX_ORDER_NOTIONAL if less else risk.PASS)
    gate = Gate()
    gate.rules[0].max_qty_lots = 10 - less
    assert gate.check() == (risk.MAX_ORDER_QTY if less else risk.PASS)
    gate = Gate()
    gate.rules[0].min_notional_e8 = notional + less
    assert gate.check() == (risk.MIN_NOTIONAL if less else risk.PASS)
    gate = Gate()
    gate.rules[0].min_qty_lots = 10 + less
    assert gate.check() == (risk.MIN_NOTIONAL if less else risk.PASS)


@pytest.mark.parametrize("less", [0, 1])
@pytest.mark.parametrize("leg", [LONG, SHORT])
def test_the_position_cap_counts_what_could_still_fill(leg: int, less: int) -> None:
    """Position + working entries + this order; the other leg and exits do not count."""
    gate = Gate()
    gate.order.leg = leg
    gate.hold(leg, 7)
    gate.hold(SHORT if leg == LONG else LONG, 1_000)
    gate.book(1, leg, ENTRY, 995 if leg == LONG else 1_005, 3)
    gate.book(2, leg, STOP, 800, 7)
    gate.rules[0].max_position_lots = 20 - less
    assert gate.check() == (risk.MAX_POSITION if less else risk.PASS)


def worst(gate: Gate) -> tuple[int, int, int]:
    """The design's formulas told again, with the order: worst leg notional, gross and net."""
    held, added = [0, 0], [0, 0]
    for i, rule in enumerate(gate.rules):
        for leg in (LONG, SHORT):
            held[leg] += gate.exposures[2 * i + leg].position_lots * rule.mark_ticks * rule.unit_e8
    rows = [row for row in gate.booked if row.state and row.purpose == ENTRY]
    for row in [*rows, gate.order]:
        rule = gate.rules[row.instrument]
        added[row.leg] += max(row.price_ticks, rule.mark_ticks) * row.qty_lots * rule.unit_e8
    gross = sum(held) + sum(added)
    net = max(abs(held[0] + added[0] - held[1]), abs(held[1] + added[1] - held[0]))
    return held[gate.order.leg] + added[gate.order.leg], gross, net


BOOKS = st.lists(st.tuples(PURPOSES, LEGS, st.integers(0, 1), st.integers(950, 1_060), st.integers(1, 30)), max_size=10)


@given(LEGS, BOOKS, st.lists(st.integers(0, 60), min_size=4, max_size=4), st.integers(900, 1_100), st.integers(0, 2))
def test_leg_gross_and_net_refuse_exactly_beyond_the_worst_case(
    leg: int, rows: list[tuple[int, int, int, int, int]], held: list[int], mark: int, which: int
) -> None:
    """Entries at max(limit, mark) over both instruments; stops and exits add and offset nothing; net as in 15.11."""
    gate = Gate(price_collar_ppm=1_000_000)
    gate.rules[1].unit_e8, gate.rules[0].mark_ticks = 3_333, mark
    gate.order.leg, gate.order.price_ticks = leg, 990 if leg == LONG else 1_070
    for i, lots in enumerate(held):
        gate.exposures[i].position_lots = lots
    for no, (purpose, side, instrument, price, qty) in enumerate(rows, start=1):
        low = price - 200 if side == LONG and purpose == ENTRY else price
        gate.book(no, side, purpose, low if purpose != TAKE_PROFIT else 2_000 - 1_000 * side, qty, instrument)
    name, code = [
        ("max_leg_notional_e8", risk.MAX_LEG_NOTIONAL),
        ("max_gross_notional_e8", risk.MAX_GROSS_NOTIONAL),
        ("max_net_notional_e8", risk.MAX_NET_NOTIONAL),
    ][which]
    setattr(gate.limits, name, worst(gate)[which])
    beyond = {risk.MAX_LEG_NOTIONAL, risk.MAX_GROSS_NOTIONAL, risk.MAX_NET_NOTIONAL}
    assert gate.check() not in beyond, "the limit itself passes"
    setattr(gate.limits, name, worst(gate)[which] - 1)
    assert gate.check() == code


@pytest.mark.parametrize(("mark", "counted"), [(1_000, 1_000), (1_200, 1_200), (800, 990)])
def test_an_entry_counts_at_the_larger_of_limit_and_mark(mark: int, counted: int) -> None:
    """A buy below the mark could fill at a gap, but is counted at what it would be worth."""
    assert worst_case.entry_e8(990, 10, mark, UNIT) == counted * 10 * UNIT


@pytest.mark.parametrize(("open_orders", "passes"), [(39, True), (40, False)])
def test_open_orders_are_counted_per_leg(open_orders: int, passes: bool) -> None:
    """At the limit there is no room for one more."""
    gate = Gate()
    gate.exposures[LONG].open_orders, gate.exposures[SHORT].open_orders = open_orders, 99
    assert gate.check() == (risk.PASS if passes else risk.MAX_OPEN_ORDERS)


@pytest.mark.parametrize(("change", "code"), [
    ({}, risk.DUPLICATE), ({"level": 2}, risk.PASS), ({"generation": 2}, risk.PASS), ({"leg": SHORT}, risk.PASS),
    ({"instrument": 1}, risk.PASS), ({"purpose": TAKE_PROFIT, "price_ticks": 1_100}, risk.PASS),
    ({"state": 0}, risk.PASS),
])  # fmt: skip
def test_a_second_order_on_a_rung_is_a_duplicate(change: dict[str, int], code: int) -> None:
    """The same leg, level and generation of the same instrument, already live."""
    gate = Gate()
    twin = attrs.evolve(gate.order, **{"no": 1, "state": 1, **change})
    gate.booked[7] = twin
    assert gate.check() == code


@pytest.mark.parametrize(("leg", "purpose", "price", "code"), [
    (SHORT, ENTRY, 990, risk.SELF_CROSS), (SHORT, ENTRY, 991, risk.PASS), (LONG, TAKE_PROFIT, 985, risk.SELF_CROSS),
    (LONG, TAKE_PROFIT, 1_050, risk.PASS), (SHORT, TAKE_PROFIT, 995, risk.PASS), (LONG, STOP, 985, risk.PASS),
])  # fmt: skip
def test_own_resting_orders_must_not_meet(leg: int, purpose: int, price: int, code: int) -> None:
    """A buy at 990 meets a resting sell at or under 990: SHORT entries and LONG take-profits, not stops, not buys."""
    gate = Gate()
    gate.book(1, leg, purpose, price, 1)
    assert gate.check() == code


def test_a_sell_must_not_meet_the_highest_own_buy() -> None:
    """The mirror, with several buys resting."""
    gate = Gate()
    for no, price in enumerate((970, 995, 980), start=1):
        gate.book(no, LONG, ENTRY, price, 1)
    gate.order.leg = SHORT
    for price, code in ((996, risk.PASS), (995, risk.SELF_CROSS)):
        gate.order.price_ticks = price
        assert gate.check() == code
    gate.order.instrument, gate.order.price_ticks = 1, 990
    assert gate.check() == risk.PASS, "another instrument's orders meet nobody here"


# --- the order of the controls ---------------------------------------------------------------------------------------


def faults() -> dict[int, Any]:
    """One way to break each control, by its code, in the catalogue's order."""
    return {
        risk.PERMISSION: lambda g: setattr(g, "may_send", 0),
        risk.EXPIRED_APPROVAL: lambda g: setattr(g.limits, "approval_ttl_ns", -1),
        risk.QUOTE_AGE: lambda g: setattr(g.rules[0], "quote_ns", 0),
        risk.MARK_AGE: lambda g: setattr(g.rules[0], "mark_ns", 0),
        risk.BALANCE_AGE: lambda g: setattr(g, "balance_ns", 0),
        risk.PRICE_COLLAR: lambda g: setattr(g.limits, "price_collar_ppm", 1),
        risk.MAX_ORDER_NOTIONAL: lambda g: setattr(g.limits, "max_order_notional_e8", 1),
        risk.MAX_ORDER_QTY: lambda g: setattr(g.rules[0], "max_qty_lots", 1),
        risk.MIN_NOTIONAL: lambda g: setattr(g.rules[0], "min_notional_e8", 10**15),
        risk.MAX_POSITION: lambda g: setattr(g.rules[0], "max_position_lots", 1),
        risk.MAX_LEG_NOTIONAL: lambda g: setattr(g.limits, "max_leg_notional_e8", 1),
        risk.MAX_GROSS_NOTIONAL: lambda g: setattr(g.limits, "max_gross_notional_e8", 1),
        risk.MAX_NET_NOTIONAL: lambda g: setattr(g.limits, "max_net_notional_e8", 1),
        risk.MAX_LEVERAGE: lambda g: setattr(g.limits, "max_leverage_ppm", 0),
        risk.MAX_POSITION_RATIO: lambda g: setattr(g.limits, "max_position_ppm", 0),
        risk.MAX_MARGIN_RATIO: lambda g: setattr(g.limits, "max_margin_ppm", 0),
        risk.LIQUIDATION_DISTANCE: lambda g: setattr(g.limits, "min_distance_ppm", 10**15),
        risk.VAR: lambda g: setattr(g.limits, "max_var_ppm", 0),
        risk.MAX_OPEN_ORDERS: lambda g: setattr(g.limits, "max_open_orders_per_leg", 0),
        risk.ORDERS_PER_MINUTE: lambda g: setattr(g.limits, "max_orders_per_minute", 0),
        risk.DUPLICATE: lambda g: g.booked.append(attrs.evolve(g.order, no=1, state=1)),
        risk.SELF_CROSS: lambda g: setattr(g.exposures[SHORT], "best_own_ticks", 1),
    }


CODES = list(faults())


@given(st.sets(st.sampled_from(CODES), min_size=1))
def test_the_first_broken_control_of_the_catalogue_answers(broken: set[int]) -> None:
    """Whatever else is wrong, the refusal names the earliest control of section 6."""
    gate = Gate()
    for code in broken:
        faults()[code](gate)
    assert gate.check() == min(broken, key=CODES.index)


def test_every_control_has_a_name() -> None:
    """No refusal is without one, and no two share one."""
    names = [risk.CONTROL_NAMES[code] for code in (*CODES, risk.REDUCE_PROOF)]
    assert len(set(names)) == len(names) == len(risk.CONTROL_NAMES)


# --- reductions ------------------------------------------------------------------------------------------------------


@given(st.sets(st.sampled_from(CODES[1:-2])), st.sampled_from([TAKE_PROFIT, STOP, FLATTEN, BACKSTOP]), LEGS)
def test_a_reduction_is_never_refused_for_comfort(broken: set[int], purpose: int, leg: int) -> None:
    """Ages, collar, sizes and caps of every kind do not hold a reducing order back."""
    gate = Gate()
    gate.order.leg, gate.order.purpose = leg, purpose
    gate.hold(leg, 10)
    for code in broken:
        faults()[code](gate)
    for has_price in (0, 1):
        assert gate.check(now_ns=NOW + 10**16, has_price=has_price) == risk.PASS


@pytest.mark.parametrize("purpose", [TAKE_PROFIT, STOP, FLATTEN, BACKSTOP])
def test_a_reduction_faces_permission_and_its_own_number(purpose: int) -> None:
    """A number that is booked already is a duplicate; permission comes before everything."""
    gate = Gate()
    gate.hold(LONG, 10)
    gate.order.purpose = purpose
    gate.book(500, SHORT, ENTRY, 1_050, 1)
    assert gate.check() == risk.DUPLICATE
    gate.may_send = 0
    assert gate.check() == risk.PERMISSION


@pytest.mark.parametrize(("purpose", "has_price", "own", "market"), [
    (TAKE_PROFIT, 1, "target", FLATTEN), (STOP, 1, "stop", FLATTEN), (STOP, 0, "market", FLATTEN),
    (FLATTEN, 0, "market", STOP), (FLATTEN, 0, "market", FLATTEN),
])  # fmt: skip
def test_the_proof_of_reduction_is_by_class(purpose: int, has_price: int, own: str, market: int) -> None:
    """Take-profits, resting stops and market reductions may each cover the position once, to the last lot."""
    gate = Gate()
    gate.hold(LONG, 15)
    gate.hold(SHORT, 1)
    booked = {"target": (TAKE_PROFIT, 1_050), "stop": (STOP, 900), "market": (market, 0)}
    for no, (name, (rival, price)) in enumerate(booked.items(), start=1):
        gate.book(no, LONG, rival, price, 5 if name == own else 15)
    gate.order.purpose = purpose
    for qty, code in ((10, risk.PASS), (11, risk.REDUCE_PROOF)):
        gate.order.qty_lots = qty
        assert gate.check(has_price=has_price) == code


# --- the book --------------------------------------------------------------------------------------------------------


@given(BOOKS, st.integers(0, 10))
def test_a_recount_equals_the_running_count(rows: list[tuple[int, int, int, int, int]], dropped: int) -> None:
    """Counting one by one and counting anew agree, and freeing an order is seen by the next recount."""
    gate = Gate()
    for no, (purpose, leg, instrument, price, qty) in enumerate(rows, start=1):
        gate.book(no, leg, purpose, 0 if purpose == FLATTEN else price, qty, instrument)
    gate.weigh()
    running = [attrs.astuple(exposure) for exposure in gate.exposures]
    for instrument in (0, 1):
        gate_book.recount(gate.rules, gate.exposures, gate.booked, instrument)
    assert running == [attrs.astuple(exposure) for exposure in gate.exposures]
    slot = gate_book.find(gate.booked, dropped)
    assert (slot >= 0) == (1 <= dropped <= len(rows))
    if slot >= 0:
        freed, gate.booked[slot].state = attrs.evolve(gate.booked[slot]), 0
        gate_book.recount(gate.rules, gate.exposures, gate.booked, freed.instrument)
        total = sum(exposure.open_orders for exposure in gate.exposures)
        assert total == len(rows) - 1
        assert gate_book.find(gate.booked, dropped) < 0


def test_a_recount_takes_the_present_mark() -> None:
    """Working entries are revalued when the mark moves; positions are kept."""
    gate = Gate()
    gate.hold(LONG, 5)
    gate.book(1, LONG, ENTRY, 990, 10)
    gate.rules[0].mark_ticks = 1_200
    gate_book.recount(gate.rules, gate.exposures, gate.booked, 0)
    assert gate.exposures[LONG].entry_worst_e8 == 1_200 * 10 * UNIT
    assert gate.exposures[LONG].position_lots == 5


def test_a_full_book_says_so() -> None:
    """An order that cannot be reserved must not be sent."""
    gate = Gate()
    gate.booked = table(Booked, 1)
    gate.book(1, LONG, ENTRY, 990, 10)
    assert not gate_book.book(gate.rules[0], gate.exposures, gate.booked, gate.order)


@given(st.integers(1, 2**40 - 1), st.integers(1, 2**40 - 1), LEGS)
def test_the_gate_stays_within_64_bits_at_the_largest_account(mark: int, price: int, leg: int) -> None:
    """Any price below 2^40 ticks; legs, entries and the order itself each up to 1e10 quote."""
    gate = Gate(**dict.fromkeys(("max_leg_notional_e8", "max_gross_notional_e8", "max_net_notional_e8"), LARGEST))
    gate.limits.price_collar_ppm, gate.limits.max_order_notional_e8 = Int64(10**6), Int64(10**18)
    for rule in gate.rules:
        rule.unit_e8, rule.mark_ticks = Int64(1), Int64(mark)
        rule.bid_ticks = rule.ask_ticks = Int64(mark)
        rule.max_position_lots = Int64(LARGEST)
    most = 10**18 // (2 * max(mark, price))
    for exposure in gate.exposures:
        exposure.position_lots = exposure.entry_lots = Int64(most)
        exposure.entry_worst_e8 = Int64(most * mark)
    gate.order.leg, gate.order.price_ticks, gate.order.qty_lots = leg, Int64(price), Int64(most)
    gate.check()


# --- approvals -------------------------------------------------------------------------------------------------------

REQUEST = OrderRequest(
    client_id="x",
    instrument="BTC/USDT:USDT",
    leg=Leg.LONG,
    purpose=Purpose.ENTRY,
    kind=Kind.LIMIT,
    price_ticks=990,
    qty_lots=10,
    post_only=True,
    close_all=False,
    level=1,
    generation=1,
    covers=(),
    decided_ns=5,
)


def test_an_approval_wraps_the_request_and_names_its_limits() -> None:
    """What passed is wrapped, unchanged, with the limits' version and its expiry."""
    approved = risk.approve(risk.PASS, REQUEST, limits_version="v1", expires_ns=99)
    assert (approved.request, approved.limits_version, approved.expires_ns) == (REQUEST, "v1", 99)


@pytest.mark.parametrize("code", sorted(risk.CONTROL_NAMES))
def test_a_refused_order_cannot_be_approved(code: int) -> None:
    """Law 1: there is no way round a refusal."""
    with pytest.raises(ValueError, match=risk.CONTROL_NAMES[code]):
        risk.approve(code, REQUEST, limits_version="v1", expires_ns=99)


def test_nobody_else_can_make_an_approval() -> None:
    """Law 1: not by hand, not with a seal of one's own, not from another approval, and the seal is given once."""
    approved = risk.approve(risk.PASS, REQUEST, limits_version="v1", expires_ns=99)
    makers: list[Callable[[], object]] = [
        lambda: events.Approved(request=REQUEST, limits_version="v1", expires_ns=99),
        lambda: events.Approved(request=REQUEST, limits_version="v1", expires_ns=99, seal=events.ApprovalSeal()),
        lambda: attrs.evolve(approved, expires_ns=10**18),
        events.claim_approval_seal,
    ]
    for make in makers:
        with pytest.raises(RuntimeError, match=r"core/risk\.py"):
            make()
