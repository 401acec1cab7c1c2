"""Legs against fills: a fill that the stream never told is betrayed by the leg that it moved, soon and only then."""

import itertools
from typing import Any

import pytest

from hedgegrid.model.order import Leg
from hedgegrid.venues.ccxtpro.leg_watch import APART_NS
from tests.venues.ccxtpro.raw_events import BTC, T_MS, Told, account_update, our_id, trade

ENTRY = our_id()
BEFORE_NS = (T_MS - 1) * 1_000_000
LONG = (BTC, Leg.LONG)


def later(payload: dict[str, Any], ms: int) -> dict[str, Any]:
    """Give an event of a later time of the exchange's."""
    moved = {**payload, "T": payload["T"] + ms}
    return {**moved, "o": {**moved["o"], "T": moved["T"]}} if "o" in moved else moved


def leg(amount: str, ms: int = 0) -> dict[str, Any]:
    """Word what the account says of the LONG leg after a trade."""
    return later(account_update("ORDER", long=amount), ms)


def known(lots: int = 0) -> Told:
    """Make a reader that knows the LONG leg by a read."""
    told = Told()
    told.reader.read_legs({LONG: lots}, BEFORE_NS)
    return told


def test_a_leg_that_moves_without_its_fill_is_a_gap() -> None:
    """The account's word on the leg came, the order's report did not: the exchange has to be read, within 300 ms."""
    told = known()
    told.hear(leg("0.010"), now_ns=1)
    assert told.reader.waits
    told.reader.due(APART_NS)
    assert told.gaps == []
    told.reader.due(1 + APART_NS)
    assert told.gaps == [f"{BTC} LONG holds 10 lots, and the fills that were told make 0"]
    told.reader.due(10 * APART_NS)
    assert len(told.gaps) == 1
    assert not told.reader.waits
    assert told.reader.legs == {}


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_leg_and_fills_in_either_order_are_no_gap(order: tuple[int, ...]) -> None:
    """Two fills and the leg that they make, however they are shuffled, and each of them twice."""
    told = known()
    events = [trade(ENTRY, 1, "0.004", "0.004"), trade(ENTRY, 2, "0.006", "0.010"), leg("0.010")]
    shuffled = [events[at] for at in order]
    told.hear(*shuffled, *shuffled, now_ns=1)
    assert told.reader.legs == {LONG: 10}
    assert not told.reader.waits
    told.reader.due(2 + APART_NS)
    assert told.gaps == []


def test_a_fill_without_its_leg_is_a_gap_too() -> None:
    """The account's own word is missing: what the leg holds is not known any more, and a read tells it."""
    told = known()
    told.hear(trade(ENTRY, 1, "0.010", "0.010"), now_ns=1)
    told.reader.due(1 + APART_NS)
    assert len(told.gaps) == 1


def test_a_leg_that_is_not_known_is_only_noted() -> None:
    """Before anybody has said what a leg holds, a fill proves nothing about it; from its first word on it does."""
    told = Told()
    told.hear(trade(ENTRY, 1, "0.010", "0.010"), leg("0.030"), now_ns=1)
    told.reader.due(1 + APART_NS)
    assert told.gaps == []
    assert told.reader.legs == {LONG: 30}
    told.hear(leg("0.035", 5), now_ns=2)
    told.reader.due(2 + APART_NS)
    assert len(told.gaps) == 1


def test_what_a_read_has_shown_is_not_counted_again() -> None:
    """Events of a time before the read are in what it showed: neither a late fill nor a late leg is a difference."""
    told = Told()
    told.reader.read_legs({LONG: 10}, BEFORE_NS + 10_000_000)
    told.hear(trade(ENTRY, 1, "0.010", "0.010"), now_ns=1)
    assert not told.reader.waits
    told.hear(leg("0.010"), leg("0.014", 20), later(trade(ENTRY, 2, "0.004", "0.014", q="0.014"), 20), now_ns=2)
    told.reader.due(2 + APART_NS)
    assert told.gaps == []


def test_an_older_word_on_a_leg_is_no_news() -> None:
    """Words that overtake each other: the newest of the exchange's time stands."""
    told = known(5)
    told.hear(leg("0.005", 9), leg("0.030", 3), now_ns=1)
    assert told.reader.legs == {LONG: 5}
    assert not told.reader.waits


def test_a_reduction_counts_the_other_way() -> None:
    """A SELL of the LONG leg makes it smaller, and the leg's word agrees."""
    told = known(10)
    told.hear(trade(our_id(sequence=2), 1, "0.004", "0.004", S="SELL"), leg("0.006"), now_ns=1)
    told.reader.due(1 + APART_NS)
    assert told.gaps == []
    assert told.reader.legs == {LONG: 6}
