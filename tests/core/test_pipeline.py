"""The whole decision against the whole venue, on any market, with any settings, at every point."""

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hedgegrid.core import diff, exits
from hedgegrid.core.codes import (
    DOWN,
    ENTRY,
    FILL_QUEUE,
    FLATTEN,
    FREE,
    FUNDING_HALT,
    FUNDING_SCALE,
    LONG,
    SHORT,
    SIDEWAYS,
    STOP,
    TAKE_PROFIT,
    UP,
)
from hedgegrid.core.records import GridParams, VenueRules
from hedgegrid.core.venue_tables import FILLED, REJECTED
from hedgegrid.units import NS_PER_HOUR, PPM
from tests.core import made
from tests.core.desk import PLAIN, Desk, Sizes, as_lists
from tests.core.made import BAR_NS
from tests.core.watch import Watch

ROOMY = Sizes(entries=40, lots=80, stops=60, actions=200, orders=220, links=300, cancels=100, events=500)
QUARTER = BAR_NS // 4
LATENCIES = [0, 1, QUARTER, QUARTER + 1, 3 * QUARTER, 2 * BAR_NS]


@st.composite
def grids(draw: st.DrawFn) -> GridParams:
    """Settings of every kind, for a market of moves of about half a per cent."""
    changes = {
        "step_ppm": draw(st.sampled_from([300, 1_000, 3_000, 8_000])),
        "geometric": draw(st.integers(0, 1)),
        "atr_spacing": draw(st.integers(0, 1)),
        "levels_long": draw(st.integers(1, 5)),
        "levels_short": draw(st.integers(1, 5)),
        "base_quote_e8": draw(st.sampled_from([0, 10**9])),
        "qty_scale_ppm": draw(st.sampled_from([700_000, PPM, 1_500_000])),
        "recenter_ppm": draw(st.sampled_from([2_000, 8_000, 30_000])),
        "max_inventory_e8": draw(st.sampled_from([10**15, 3 * 10**9])),
        "vol_target_ppm": draw(st.sampled_from([0, 3 * PPM])),
        "tp_ppm": draw(st.sampled_from([300_000, PPM, 2_500_000])),
        "sl_ppm": draw(st.sampled_from([500_000, 2 * PPM, 6 * PPM])),
        "leg_stop": draw(st.integers(0, 1)),
        "max_stop_orders": draw(st.integers(1, 4)),
        "policy": draw(st.integers(0, 2)),
        "contrarian": draw(st.integers(0, 1)),
        "post_only": draw(st.integers(0, 1)),
        "price_tolerance_ppm": draw(st.sampled_from([0, 50, 2_000])),
        "funding_mode": draw(st.sampled_from([FUNDING_SCALE, FUNDING_HALT])),
        "funding_pause_missing": draw(st.integers(0, 1)),
    }
    return made.params(**changes)


@st.composite
def venues(draw: st.DrawFn) -> VenueRules:
    """A venue with any latency, fill model for bars, and fees or rebates."""
    return made.rules(
        fill_model=draw(st.integers(0, 1)),
        latency_ns=draw(st.sampled_from(LATENCIES)),
        slippage_ppm=draw(st.sampled_from([0, 300])),
        maker_ppm=draw(st.sampled_from([-100, 200])),
        pessimistic=draw(st.integers(0, 1)),
    )


def desk_of(params: GridParams, rules: VenueRules) -> Desk:
    """An interpreted desk with room for any of these settings."""
    return Desk(PLAIN, as_lists, params, rules, ROOMY)


def meddle(desk: Desk, dice: Random, ts_ns: int) -> None:
    """What happens to a grid between bars: permission, throttle, rates, cancels of all entries, flatten."""
    roll = dice.random()
    if roll < 0.10:
        desk.state.may_add = 1 - desk.state.may_add
    elif roll < 0.15:
        desk.state.hold_entries = 1 - desk.state.hold_entries
    elif roll < 0.20:
        desk.state.throttle_ppm = dice.choice([0, 300_000, PPM])
    elif roll < 0.30:
        PLAIN.funding.remember_rate(desk.state, dice.randint(-(10**5), 10**5), ts_ns + BAR_NS * 20, 8 * NS_PER_HOUR)
    elif roll < 0.33:
        desk.drop_entries(ts_ns)
    elif roll < 0.35:
        desk.flatten(ts_ns)


def check_decision(desk: Desk) -> None:
    """A decision's actions: cancels before adds, new numbers; while paused nothing but exits."""
    count = int(desk.used.n)
    entries = [action for action in desk.actions[:count] if action.purpose == ENTRY]
    kinds = [action.kind for action in entries]
    assert kinds == sorted(kinds, reverse=True), "cancels go before adds"
    if desk.state.may_add == 0 or desk.state.hold_entries == 1:
        assert PLAIN.actions.PLACE not in kinds, "paused means that nothing is added"
    for kind in (PLAIN.actions.CANCEL, PLAIN.actions.PLACE):
        distances = [action.distance for action in entries if action.kind == kind]
        assert distances == sorted(distances), "nearest to the mid first"


@settings(max_examples=80)
@given(grids(), venues(), st.integers(0, 10**9))
def test_the_laws_hold_at_every_point_of_any_walk(params: GridParams, rules: VenueRules, seed: int) -> None:
    """Cash, positions, one order a rung, exits within the position, birth prices, latency, path: whatever happens."""
    desk, dice = desk_of(params, rules), Random(seed)
    watch = Watch(desk)

    def watching(stage: str) -> None:
        watch(stage)
        if stage == "decided":
            check_decision(desk)

    desk.watch = watching
    for number, bar in enumerate(made.walk(seed, 50)):
        desk.walk_bar(number, bar, BAR_NS)
        meddle(desk, dice, number * BAR_NS + 3 * QUARTER)
    assert watch.checks > 300


@settings(max_examples=60)
@given(grids(), st.sampled_from(LATENCIES), st.integers(0, 10**9))
def test_the_laws_hold_on_trades_with_partial_fills(params: GridParams, latency: int, seed: int) -> None:
    """Queue mode: fills sum to their orders, exits stand for the filled part at once, the rest stays wanted."""
    desk, dice = desk_of(params, made.rules(fill_model=FILL_QUEUE, latency_ns=latency)), Random(seed)
    Watch(desk)
    sizes: dict[int, int] = {}
    now = 0
    for bar in made.walk(seed, 40):
        for price in (bar[0], bar[2], bar[1], bar[3]):
            for step in range(3):
                now += BAR_NS // 12
                at = price + dice.randint(-15, 15) * step
                book = (at - dice.randint(0, 2), dice.randint(0, 9), at + dice.randint(0, 2), dice.randint(0, 9))
                desk.point(
                    now, at, jump=True, trade_lots=dice.randint(1, 12), book=book, rate_e8=dice.randint(-900, 900)
                )
                check_parts(desk, sizes)
        desk.bar(now, bar[1], bar[2], bar[3])


def check_parts(desk: Desk, sizes: dict[int, int]) -> None:
    """Filled and remaining quantity of every resting entry make up what was sent."""
    for order in desk.orders:
        if order.state != FREE and order.purpose == ENTRY:
            whole = sizes.setdefault(int(order.no), int(order.qty_lots + order.filled_lots))
            assert order.qty_lots + order.filled_lots == whole
            entry = desk.entries[diff.find(desk.entries, int(order.no))]
            assert entry.no == order.no, "the strategy knows every entry that rests"
            assert (entry.qty_lots, entry.filled_lots) == (whole, order.filled_lots)
            if order.filled_lots and entry.generation == desk.state.generation:
                rung = desk.rungs[PLAIN.grid.rung_index(desk.params, entry.leg, entry.level)]
                assert rung.slot >= 0, "the remainder of a partly filled entry keeps its rung"


# --- scenes ----------------------------------------------------------------------------------------------------------


def warmed(rules: VenueRules | None = None, **changes: Any) -> Desk:
    """A sideways grid centered at 10,000 ticks after five still bars: rungs of 50 ticks, 10 lots each."""
    desk = desk_of(made.params(**{"hysteresis_bps": 1e9, **changes}), rules or made.rules())
    Watch(desk)
    for number in range(5):
        desk.walk_bar(number, (10_000, 10_000, 10_000, 10_000), BAR_NS)
    return desk


def resting(desk: Desk, purpose: int = ENTRY) -> list[tuple[int, int, int]]:
    """Leg, price and quantity of the orders that rest, by price."""
    rows = [
        (int(o.leg), int(o.price_ticks), int(o.qty_lots)) for o in desk.orders if o.state == 2 and o.purpose == purpose
    ]
    return sorted(rows, key=lambda row: row[1:])


LADDER = [(LONG, price, 10) for price in (9_850, 9_900, 9_950)] + [
    (SHORT, price, 10) for price in (10_050, 10_100, 10_150)
]


def test_nothing_is_decided_while_cold() -> None:
    """No center, no order before the last indicator is defined; then the whole ladder at once, in a sideways regime."""
    desk = desk_of(made.params(hysteresis_bps=1e9), made.rules())
    for number in range(3):
        desk.walk_bar(number, (10_000, 10_000, 10_000, 10_000), BAR_NS)
        assert desk.state.generation == 0
        assert resting(desk) == []
    desk.walk_bar(3, (10_000, 10_000, 10_000, 10_000), BAR_NS)
    assert (desk.state.generation, desk.state.center_ticks, desk.state.regime) == (1, 10_000, SIDEWAYS)
    assert resting(desk) == LADDER


@pytest.mark.parametrize(("drift", "expected"), [(20, UP), (-20, DOWN)])
def test_a_trend_is_seen_and_the_first_regime_is_sideways(drift: int, expected: int) -> None:
    """Inside the band the first regime stays sideways through any trend; without a band the trend shows."""
    for band, regime in ((1e9, SIDEWAYS), (0.0, expected)):
        desk = desk_of(made.params(hysteresis_bps=band, recenter_ppm=10**6), made.rules())
        for number in range(30):
            close = 10_000 + drift * (number + 1)
            bar = (close - drift, max(close, close - drift), min(close, close - drift), close)
            desk.walk_bar(number, bar, BAR_NS)
        assert desk.state.regime == regime


def test_a_fill_gets_its_exits_at_once_and_its_rung_waits_for_them() -> None:
    """Between bars: take-profit one step up, stop six steps down; the rung returns at a later decision."""
    desk = warmed()
    desk.point(5 * BAR_NS, 9_949, jump=False)
    assert resting(desk, TAKE_PROFIT) == [(LONG, 10_000, 10)]
    assert resting(desk, STOP) == [(LONG, 9_650, 10)]
    desk.bar(5 * BAR_NS, 9_949, 9_949, 9_949)
    assert (LONG, 9_950, 10) not in resting(desk)
    desk.point(6 * BAR_NS, 10_001, jump=False)
    assert resting(desk, TAKE_PROFIT) == resting(desk, STOP) == []
    assert (LONG, 9_950, 10) not in resting(desk), "a closed lot's rung is free at the next bar's decision, not before"
    desk.bar(6 * BAR_NS, 10_001, 10_001, 10_001)
    assert (LONG, 9_950, 10) in resting(desk)
    assert [fill[2] for fill in desk.fills] == [ENTRY, TAKE_PROFIT]


@pytest.mark.parametrize(("latency", "points"), [(0, 0), (1, 1), (QUARTER, 1), (QUARTER + 1, 2), (2 * QUARTER, 2)])
def test_every_latency_up_to_a_point_is_one_point(latency: int, points: int) -> None:
    """An order decided at t is live at the first point at or after t + latency, entries and exits alike."""
    desk = desk_of(made.params(hysteresis_bps=1e9), made.rules(latency_ns=latency))
    Watch(desk)
    ts_ns = 0
    for number in range(4):
        ts_ns = number * BAR_NS + 3 * QUARTER
        desk.walk_bar(number, (10_000, 10_000, 10_000, 10_000), BAR_NS)
    for _ in range(points):
        assert resting(desk) == []
        ts_ns += QUARTER
        desk.point(ts_ns, 10_000, jump=False)
    assert resting(desk) == LADDER


def test_an_exit_never_fills_in_the_move_that_filled_its_entry() -> None:
    """One wide bar: the entry fills on the way down, its take-profit on the way up, at the next point."""
    desk = warmed()
    desk.point(5 * BAR_NS, 9_940, jump=False)
    assert [fill[2] for fill in desk.fills] == [ENTRY]
    desk.point(5 * BAR_NS + QUARTER, 10_010, jump=False)
    assert [(fill[2], fill[0]) for fill in desk.fills] == [(ENTRY, 5 * BAR_NS), (TAKE_PROFIT, 5 * BAR_NS + QUARTER)]


def test_a_recenter_keeps_lots_and_cancels_entries() -> None:
    """Every old entry goes at that decision; the lot keeps take-profit and stop; rungs are all new."""
    desk = warmed(recenter_ppm=9_000)
    desk.walk_bar(5, (10_000, 10_000, 9_940, 9_940), BAR_NS)
    desk.walk_bar(6, (9_940, 9_940, 9_901, 9_901), BAR_NS)
    assert desk.state.generation == 2
    assert {int(o.generation) for o in desk.orders if o.state and o.purpose == ENTRY} == {2}
    assert len(resting(desk)) == 6, "a new rung is offered even where an old lot is open"
    assert resting(desk, TAKE_PROFIT) == [(LONG, 10_000, 10)]
    assert resting(desk, STOP) == [(LONG, 9_650, 10)]


def test_rejected_entries_step_away_and_end() -> None:
    """A gap down to a rung's price: the new order crosses, is retried tick by tick after the delay, then waits."""
    desk = warmed(made.rules(latency_ns=QUARTER), retry_attempts=2, recenter_ppm=10**6)
    desk.point(5 * BAR_NS, 10_000, jump=False)
    desk.drop_entries(5 * BAR_NS)
    desk.point(5 * BAR_NS + QUARTER, 10_000, jump=False)
    desk.bar(5 * BAR_NS + QUARTER, 10_000, 10_000, 10_000)
    desk.point(5 * BAR_NS + 2 * QUARTER, 9_940, jump=True)
    rejected = [row for row in desk.told if row[1] == REJECTED]
    assert [row[4] for row in rejected] == [9_950]
    for later in range(3, 9):
        desk.point(5 * BAR_NS + later * QUARTER, 9_940, jump=False)
    prices = [row[4] for row in desk.told if row[1] == REJECTED]
    assert prices == [9_950, 9_949, 9_948]
    assert not [row for row in desk.told if row[1] == FILLED]


def test_flatten_closes_both_legs_at_the_market() -> None:
    """Entries go, both legs are closed in one order each, and every exit ends with its lot."""
    desk = warmed()
    desk.point(5 * BAR_NS, 9_940, jump=False)
    desk.point(6 * BAR_NS, 10_060, jump=False)
    desk.point(7 * BAR_NS, 10_060, jump=False)
    assert desk.venue_accounts[SHORT].qty_lots == 10
    desk.flatten(7 * BAR_NS)
    assert [fill[1] for fill in desk.fills if fill[2] == FLATTEN] == [SHORT]
    left = [o for o in desk.orders if o.state != FREE and o.close_all == 0]
    assert left == []
    assert all(lot.state == FREE for lot in desk.lots)


def test_hold_entries_takes_them_away_and_keeps_exits() -> None:
    """A pause of danger empties the ladder; lots keep their exits; afterwards the ladder comes back."""
    desk = warmed()
    desk.point(5 * BAR_NS, 9_949, jump=False)
    desk.state.hold_entries = 1
    desk.bar(5 * BAR_NS, 9_949, 9_949, 9_949)
    assert resting(desk) == []
    assert resting(desk, TAKE_PROFIT) == [(LONG, 10_000, 10)]
    desk.state.hold_entries = 0
    desk.walk_bar(6, (9_949, 9_949, 9_949, 9_949), BAR_NS)
    assert len(resting(desk)) == 5


def test_an_unknown_order_fills_nothing() -> None:
    """A fill that belongs to no order of ours makes no lot."""
    desk = warmed()
    tables = (desk.params, desk.state, desk.rungs, desk.entries, desk.accounts, desk.lots)
    assert PLAIN.pipeline.on_entry_fill(*tables, 999, 1, 9_950, 10, desk.actions, desk.used) == -1
    assert exits.OPEN not in {lot.state for lot in desk.lots}


def test_a_partial_fill_gets_its_exits_at_once_and_the_rest_stays_wanted() -> None:
    """Four of ten lots fill; their exits stand at once, the other six keep their place over the decision."""
    desk = warmed(made.rules(fill_model=FILL_QUEUE))
    desk.point(5 * BAR_NS, 9_949, jump=True, trade_lots=4)
    first = [order for order in desk.orders if order.state and order.purpose == ENTRY and order.price_ticks == 9_950]
    assert [(int(order.qty_lots), int(order.filled_lots)) for order in first] == [(6, 4)]
    assert resting(desk, TAKE_PROFIT) == [(LONG, 10_000, 4)]
    assert resting(desk, STOP) == [(LONG, 9_650, 4)]
    number, age = int(first[0].no), int(first[0].age)
    desk.bar(5 * BAR_NS, 9_951, 9_949, 9_951)
    assert [(int(order.no), int(order.age)) for order in first] == [(number, age)], "the same order, not a new one"
    desk.point(6 * BAR_NS, 9_949, jump=True, trade_lots=100)
    assert resting(desk, TAKE_PROFIT) == [(LONG, 10_000, 4), (LONG, 10_000, 6)]
    assert resting(desk, STOP) == [(LONG, 9_650, 10)]
    assert [fill[6] for fill in desk.fills if fill[2] == ENTRY] == [4, 6]


@pytest.mark.parametrize("fill_first", [False, True])
def test_a_replacement_waits_for_the_confirm_and_a_fill_before_it_wins(fill_first: bool) -> None:
    """Cancelled at t, confirmed and sent a latency later, live after two; a fill in between ends the wait."""
    desk = warmed(made.rules(latency_ns=2 * QUARTER))
    now = 5 * BAR_NS
    desk.point(now, 10_000, jump=False)
    desk.state.throttle_ppm = PPM // 2
    desk.bar(now, 10_000, 10_000, 10_000)
    desk.point(now + QUARTER, 9_949 if fill_first else 10_000, jump=False)
    old = [row for row in LADDER if row[1] != 9_950] if fill_first else LADDER
    assert resting(desk) == old
    desk.point(now + 2 * QUARTER, 10_000 - 1, jump=False)
    assert resting(desk) == [], "the cancels are effective here, the new orders on their way"
    desk.point(now + 3 * QUARTER, 10_000 - 1, jump=False)
    assert resting(desk) == []
    desk.point(now + 4 * QUARTER, 10_000 - 1, jump=False)
    assert resting(desk) == [(leg, price, 5) for leg, price, _ in old]


def test_a_new_generation_does_not_wait_for_old_cancels() -> None:
    """At a recenter the new ladder is sent at once, while the old one is still on its way out."""
    desk = warmed(made.rules(latency_ns=QUARTER), recenter_ppm=2_000)
    desk.point(5 * BAR_NS, 10_030, jump=True)
    desk.bar(5 * BAR_NS, 10_030, 10_030, 10_030)
    entries = [order for order in desk.orders if order.state and order.purpose == ENTRY]
    assert sorted(int(order.generation) for order in entries) == [1] * 6 + [2] * 6
    desk.point(5 * BAR_NS + QUARTER, 10_030, jump=False)
    assert {int(order.generation) for order in desk.orders if order.state and order.purpose == ENTRY} == {2}


def test_what_the_gate_refuses_is_asked_for_again() -> None:
    """A refused entry waits for the next decision; a refused stop is laid anew with the next batch."""
    desk = warmed()
    desk.watch = None
    desk.refuses = lambda _: True
    desk.point(5 * BAR_NS, 9_949, jump=False)
    assert resting(desk, STOP) == resting(desk, TAKE_PROFIT) == []
    desk.refuses = None
    desk.point(5 * BAR_NS + 1, 9_949, jump=False)
    assert resting(desk, STOP) == [(LONG, 9_650, 10)]
    desk.bar(5 * BAR_NS + 1, 9_949, 9_949, 9_949)
    assert resting(desk, TAKE_PROFIT) == [(LONG, 10_000, 10)]
    desk.drop_entries(5 * BAR_NS + 2)
    desk.refuses = lambda action: action.leg == LONG
    desk.walk_bar(6, (9_949, 9_949, 9_949, 9_949), BAR_NS)
    assert {leg for leg, _, _ in resting(desk)} == {SHORT}
    desk.refuses = None
    desk.walk_bar(7, (9_949, 9_949, 9_949, 9_949), BAR_NS)
    assert {leg for leg, _, _ in resting(desk)} == {LONG, SHORT}
