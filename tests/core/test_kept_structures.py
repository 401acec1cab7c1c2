"""What is kept up to date as things come and go equals what would be worked out anew: lists, edges, counts, stops."""

from collections.abc import Iterator
from random import Random
from typing import Any

import attrs
import pytest

from hedgegrid.core import exits, gate_book, matching, risk, venue_tables
from hedgegrid.core.codes import (
    BACKSTOP,
    ENTRY,
    FILL_QUEUE,
    FILL_TOUCH,
    FLATTEN,
    FREE,
    LIMIT,
    LONG,
    NEVER_NS,
    SHORT,
    STOP,
    TAKE_PROFIT,
)
from hedgegrid.core.gate_records import Booked, Exposure, InstrumentRisk
from hedgegrid.core.venue_tables import LIVE, PENDING
from tests.core.pit import Pit
from tests.core.test_exits import Leg
from tests.core.test_risk import Gate

KEPT = ("falling_first", "rising_first", "down_edge", "up_edge", "backstop_down", "backstop_up", "held")


def listed(orders: list[Any], first: int) -> list[int]:
    """The rows of a list, in its order; each knows the one before it."""
    rows: list[int] = []
    while first >= 0:
        assert orders[first].before == (rows[-1] if rows else -1)
        rows.append(first)
        first = orders[first].after
    return rows


def wander(seed: int, **rules: int) -> Iterator[tuple[Pit, list[Any]]]:
    """A venue in a market that wanders from one multiple of five to another, with orders of every purpose."""
    dice = Random(seed)
    pit = Pit(**rules)
    for number in range(60):
        leg, near = dice.choice([LONG, SHORT]), 5 * dice.randint(1, 5)
        away = -near if leg == LONG else near
        price, count = pit.market.price_ticks, sum(order.state != FREE for order in pit.orders)
        if count < 16 and dice.random() < 0.4:
            pit.place(leg, ENTRY, price + away, live_ns=pit.now + dice.randint(0, 2))
        if count < 16 and dice.random() < 0.3:
            pit.hold(leg, price, dice.randint(1, 3), tp=price - away, stop=price + 2 * away)
        if count < 16 and dice.random() < 0.1:
            pit.place(leg, BACKSTOP, price + 3 * away, close_all=1)
        standing = [order.no for order in pit.orders if order.state in {PENDING, LIVE}]
        if standing and dice.random() < 0.3:
            pit.cancel(dice.choice(standing), pit.now + dice.randint(0, 2))
        end = max(100, price + 5 * dice.randint(-8, 8))
        low, high = min(price, end) - 5 * dice.randint(0, 6), max(price, end) + 5 * dice.randint(0, 6)
        bar, qty = (number // 4, low, high), dice.choice([0, 5, 50])
        yield pit, pit.to(end, jump=dice.random() < 0.3, bar=bar, qty=qty)


def check_market(pit: Pit) -> None:
    """Lists, edges and counts are those of a table that was just read."""
    market, orders = attrs.evolve(pit.market), [attrs.evolve(order) for order in pit.orders]
    venue_tables.refresh(market, orders, pit.cancels)
    assert {name: getattr(pit.market, name) for name in KEPT} == {name: getattr(market, name) for name in KEPT}
    for name in ("falling_first", "rising_first"):
        assert listed(pit.orders, getattr(pit.market, name)) == listed(orders, getattr(market, name))
    live = {index for index, order in enumerate(orders) if order.state == LIVE and order.close_all == 0}
    falling, rising = (set(listed(orders, first)) for first in (market.falling_first, market.rising_first))
    assert falling | rising == live
    assert not falling & rising
    assert all(venue_tables.is_buy(orders[index]) == (orders[index].kind == LIMIT) for index in falling)
    assert pit.market.next_due_ns <= market.next_due_ns
    assert all(order.state != FREE for order in pit.orders[: pit.market.free_from])
    if pit.rules.fill_model == FILL_QUEUE:
        assert pit.market.join_down >= market.join_down, "no book that makes a queue known is passed over"
        assert pit.market.join_up <= market.join_up


@pytest.mark.parametrize("pessimistic", [0, 1])
@pytest.mark.parametrize("fill", [0, FILL_TOUCH, FILL_QUEUE])
def test_the_lists_of_live_orders_are_those_of_the_table(fill: int, pessimistic: int) -> None:
    """Orders of every purpose come, fill, shrink, are cancelled and renewed in a market that wanders; some are held."""
    held = 0
    for seed in range(12):
        for pit, _ in wander(seed, fill_model=fill, pessimistic=pessimistic):
            held += pit.market.held
            check_market(pit)
    assert (held > 0) == (pessimistic == 1)


@pytest.mark.parametrize("pessimistic", [0, 1])
@pytest.mark.parametrize("fill", [0, FILL_TOUCH])
def test_the_lists_give_the_fills_that_looking_at_every_order_gives(
    fill: int, pessimistic: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same market with the lists and without: at equal prices a stop is met where a limit is not."""
    settings = {"fill_model": fill, "pessimistic": pessimistic}
    runs = [[fills for _, fills in wander(seed, **settings)] for seed in range(40)]
    monkeypatch.setattr(matching, "_next_met", matching._next_met_of_all)
    assert runs == [[fills for _, fills in wander(seed, **settings)] for seed in range(40)]
    assert sum(len(fills) for run in runs for fills in run) > 400


def test_a_bar_out_of_reach_of_the_stops_is_not_ambiguous(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether a take-profit's rival could have filled is looked up only where the bar reaches an order on its side."""

    def counted() -> list[int]:
        return [[pit.market.ambiguous_bars for pit, _ in wander(seed)][-1] for seed in range(40)]

    saved, near, looked = counted(), matching._is_far_side_inside, list[bool]()

    def noted(*given: Any) -> bool:
        looked.append(near(*given))
        return True

    monkeypatch.setattr(matching, "_is_far_side_inside", noted)
    assert counted() == saved
    assert sum(saved) > 20
    assert 0 < sum(looked) < len(looked)


def test_an_ended_order_leaves_no_request_on_its_way() -> None:
    """A table without pending orders and cancels has nothing due, whatever was due before."""
    pit = Pit()
    pit.buy(990, live_ns=3)
    pit.cancel(1, 1)
    for _ in range(4):
        pit.to(1_000)
    assert pit.market.next_due_ns == NEVER_NS


# --- the gate ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
def test_duplicates_are_found_as_by_looking_at_every_order(seed: int) -> None:
    """What was counted in may only spare the look, over rungs that come, go and come again in new generations."""
    dice = Random(seed)
    gate = Gate()
    next_no, generation = 1, 1
    for _ in range(400):
        generation += dice.random() < 0.02
        leg, level = dice.choice([LONG, SHORT]), dice.choice([1, 2, 3, 61, 62, 90])
        gate.order = Booked(
            no=next_no if dice.random() < 0.8 else dice.randint(1, next_no),
            leg=leg,
            purpose=ENTRY if dice.random() < 0.7 else BACKSTOP,
            price_ticks=990 if leg == LONG else 1_010,
            qty_lots=1,
            level=level,
            generation=generation - dice.choice([0, 0, 0, 1]),
        )
        next_no += 1
        booked = [one for one in gate.booked if one.state != FREE]
        if gate.order.purpose == ENTRY:
            rung = (leg, level, gate.order.generation)
            twins = [one for one in booked if one.purpose == ENTRY and (one.leg, one.level, one.generation) == rung]
        else:
            twins = [one for one in booked if one.no == gate.order.no]
        code = gate.check()
        assert (code == risk.DUPLICATE) == bool(twins)
        if code == risk.PASS and len(booked) < 30:
            gate_book.book(gate.rules[0], gate.exposures, gate.booked, gate.order)
        for one in booked:
            one.state = FREE if dice.random() < 0.1 else one.state
        if dice.random() < 0.3:
            gate_book.recount(gate.rules, gate.exposures, gate.booked, 0)


@pytest.mark.parametrize("seed", range(6))
def test_what_is_counted_out_leaves_the_sums_of_the_book(seed: int) -> None:
    """Orders are booked, shrink and end, and the mark moves: a leg comes to what its booked orders come to."""
    dice, gate = Random(seed), Gate()
    level_of = iter(range(10**6))
    tables = gate.rules, gate.exposures, gate.booked
    searched = 0
    for no in range(1, 300):
        leg, purpose = dice.choice([LONG, SHORT]), dice.choice([ENTRY, ENTRY, TAKE_PROFIT, STOP, FLATTEN, BACKSTOP])
        price, qty_lots = 1_000 + dice.randint(-9, 9), dice.randint(1, 9)
        if purpose == STOP and dice.random() < 0.5:
            price = 0
        rung = next(level_of) % 50 if purpose == ENTRY else -1
        made = Booked(no=no, leg=leg, purpose=purpose, price_ticks=price, qty_lots=qty_lots, level=rung, generation=3)
        gate_book.book(gate.rules[0], gate.exposures, gate.booked, made)
        standing = [one for one in gate.booked if one.state != FREE]
        if len(standing) > 12 or dice.random() < 0.4:
            gone = dice.choice(standing)
            left = dice.randint(0, gone.qty_lots)
            gate_book.count_out(gate.rules, gate.exposures, gone, gone.qty_lots - left)
            gone.qty_lots = left
            if dice.random() < 0.9:
                gate_book.take_out(gate.rules, gate.exposures, gone)
        gate.rules[0].mark_ticks = 1_000 + dice.randint(-15, 15)
        gate_book.mark_anew(*tables, 0)
        kept = [come_to(gate, leg) for leg in (LONG, SHORT)]
        searched += sum(gate.exposures[leg].best_gone for leg in (LONG, SHORT))
        if dice.random() < 0.5:
            best = [gate_book.best_own_ticks(gate.exposures, gate.booked, 0, leg) for leg in (LONG, SHORT)]
            gate_book.recount(*tables, 0)
            assert best == [gate.exposures[leg].best_own_ticks for leg in (LONG, SHORT)]
            assert kept == [come_to(gate, leg) for leg in (LONG, SHORT)]
    assert searched > 5, "no best was ever lost"


def come_to(gate: Gate, leg: int) -> dict[str, int]:
    """What a leg's orders come to, apart from the bounds that may be wider than they are."""
    wide = {"entry_low_ticks", "entry_high_ticks", "best_own_ticks", "best_gone", "generation"}
    return {name: figure for name, figure in attrs.asdict(gate.exposures[leg]).items() if name not in wide}


def test_what_is_counted_out_is_of_its_own_instrument_down_to_the_last_tick() -> None:
    """A stop at a price of one tick is a stop, and it leaves the sums of the second instrument's leg alone."""
    exposures = [Exposure(stop_lots=9, market_lots=9) for _ in range(6)]
    order = Booked(no=1, instrument=1, leg=SHORT, purpose=STOP, price_ticks=1, qty_lots=4)
    gate_book.count_out([InstrumentRisk(), InstrumentRisk()], exposures, order, 4)
    assert [one.stop_lots for one in exposures] == [9, 9, 9, 5, 9, 9]
    assert [one.market_lots for one in exposures] == [9] * 6


# --- stops ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("leg", [LONG, SHORT])
def test_stops_laid_again_and_again_are_those_of_a_fresh_leg(leg: int) -> None:
    """Lots come and go; each time the stops cover what a leg would have them cover that never had any."""
    for seed in range(20):
        dice = Random(seed)
        desk = Leg(leg, max_stop_orders=dice.choice([1, 2, 4, 98]))
        for _ in range(25):
            lots = [lot for lot in desk.lots if lot.state == exits.OPEN]
            if len(lots) < 9 and dice.random() < 0.6:
                desk.fill(dice.choice(range(9_900, 10_100, 10)), dice.randint(1, 5))
            elif lots:
                lot = dice.choice(lots)
                desk.cut(lot, dice.randint(1, lot.qty_lots))
                if lot.state == FREE and not any(one.stop_no == lot.stop_no for one in lots if one is not lot):
                    exits.forget_exit(desk.state, desk.lots, desk.stops, lot.stop_no)
            desk.lay()
            lots = [lot for lot in desk.lots if lot.state == exits.OPEN]
            fresh = Leg(leg, max_stop_orders=desk.params.max_stop_orders)
            twins = [fresh.fill(lot.entry_ticks, lot.qty_lots) for lot in lots]
            fresh.lay()
            assert [lot.group_ticks for lot in lots] == [lot.group_ticks for lot in twins]
            prices = {stop.no: stop.price_ticks for stop in desk.stops if stop.state != FREE}
            assert [prices[lot.stop_no] for lot in lots] == [lot.group_ticks for lot in lots]
            assert len(prices) == len({lot.stop_no for lot in lots}), "no stop covers nothing"
            assert len(set(prices.values())) == len(prices)
