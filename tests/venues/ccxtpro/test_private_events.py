"""The private stream's words as events: once each, whosever order it is, and nothing lost in silence."""

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hedgegrid.messages.events import EndReason, OrderEventKind
from hedgegrid.model.order import Leg, Purpose
from hedgegrid.ports import VenueBatch
from hedgegrid.venues.ccxtpro.private_events import HELD_MAX, LINK_NS, SHORT_NS
from tests.venues.ccxtpro.raw_events import (
    SELL_STOP,
    Told,
    account_update,
    algo_update,
    order_update,
    our_id,
    request,
    trade,
)

ENTRY = our_id()
STOP = our_id(Purpose.STOP)


def test_an_order_is_accepted_filled_in_parts_and_done() -> None:
    """The plain life of an order: each report is one event, with what is left of it and the mark of that instant."""
    told = Told()
    told.hear(
        order_update(ENTRY, "NEW", "NEW"),
        trade(ENTRY, 1, "0.004", "0.004"),
        trade(ENTRY, 2, "0.006", "0.010"),
    )
    assert told.said == [("accepted", ENTRY, 0), ("filled", ENTRY, 4), ("filled", ENTRY, 6)]
    assert [event.qty_lots for event in told.orders[1:]] == [6, 0]
    fill = told.orders[1].fill
    assert fill is not None
    assert (fill.price_ticks, fill.fee_e8, fill.purpose, fill.maker) == (600_000, 1_000_000, Purpose.ENTRY, True)
    assert all(isinstance(batch, VenueBatch) and batch.mark_ticks == 601_234 for batch in told.events)
    assert told.gaps == []


def test_a_fill_before_the_answer_to_its_order_is_told_at_once() -> None:
    """The stream may be faster than REST: a fill of an order that nobody acknowledged yet is not kept waiting."""
    told = Told()
    told.reader.sent(request())
    told.hear(trade(ENTRY, 1, "0.010", "0.010"), order_update(ENTRY, "NEW", "NEW"))
    assert told.said == [("filled", ENTRY, 10), ("accepted", ENTRY, 0)]
    told.reader.due(SHORT_NS)
    assert told.gaps == []


def test_repeated_reports_are_told_once() -> None:
    """A second copy of a fill, an acknowledgement or an end moves nothing."""
    told = Told()
    reports = [
        order_update(ENTRY, "NEW", "NEW"),
        trade(ENTRY, 1, "0.004", "0.004"),
        order_update(ENTRY, "CANCELED", "CANCELED", z="0.004"),
    ]
    told.hear(*reports, *reports, *reports)
    assert told.said == [("accepted", ENTRY, 0), ("filled", ENTRY, 4), ("cancelled", ENTRY, 0)]


def test_the_same_trade_of_two_orders_is_two_fills() -> None:
    """Our own legs can match each other: one trade id, two orders, two fills."""
    told = Told()
    short = our_id(Purpose.ENTRY, Leg.SHORT)
    told.hear(trade(ENTRY, 1, "0.010", "0.010"), trade(short, 1, "0.010", "0.010", order_id=78, S="SELL", ps="SHORT"))
    assert [(one.fill.leg, one.fill.client_id) for one in told.orders if one.fill] == [
        (Leg.LONG, ENTRY),
        (Leg.SHORT, short),
    ]


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_reports_in_any_order_lose_nothing(order: tuple[int, ...]) -> None:
    """However four reports of one order are shuffled, both fills and the end are told once, and no gap is imagined."""
    told = Told()
    told.reader.sent(request())
    reports = [
        order_update(ENTRY, "NEW", "NEW"),
        trade(ENTRY, 1, "0.004", "0.004"),
        trade(ENTRY, 2, "0.002", "0.006"),
        order_update(ENTRY, "CANCELED", "CANCELED", z="0.006"),
    ]
    told.hear(*(reports[at] for at in order), now_ns=1)
    told.reader.due(1 + SHORT_NS)
    assert sorted(told.said) == sorted(
        [("accepted", ENTRY, 0), ("filled", ENTRY, 4), ("filled", ENTRY, 2), ("cancelled", ENTRY, 0)]
    )
    assert told.gaps == []
    assert not told.reader.waits


@pytest.mark.parametrize(
    "reports",
    [
        [order_update(ENTRY, "NEW", "NEW"), trade(ENTRY, 2, "0.006", "0.010")],
        [order_update(ENTRY, "NEW", "NEW"), order_update(ENTRY, "CANCELED", "CANCELED", z="0.004")],
        [order_update(ENTRY, "CANCELED", "CANCELED", z="0.004")],
    ],
)
def test_a_fill_that_was_not_told_is_a_gap(reports: list[dict[str, object]]) -> None:
    """An order that is filled further than its fills add up to has lost one: the exchange has to be read."""
    told = Told()
    told.reader.sent(request())
    told.hear(*reports, now_ns=1)
    assert told.reader.waits
    told.reader.due(SHORT_NS)
    assert told.gaps == []
    told.reader.due(1 + SHORT_NS)
    assert told.gaps == ["4 lots of order 77 were filled and not told"]
    told.reader.due(10 * SHORT_NS)
    assert len(told.gaps) == 1
    assert not told.reader.waits


def test_an_order_from_before_the_stream_needs_no_past() -> None:
    """Of an order that was partly filled before this stream, the first report's sum is taken as it is."""
    told = Told()
    told.hear(trade(ENTRY, 2, "0.002", "0.006"), trade(ENTRY, 3, "0.004", "0.010"), now_ns=1)
    told.reader.due(1 + SHORT_NS)
    assert told.said == [("filled", ENTRY, 2), ("filled", ENTRY, 4)]
    assert told.gaps == []


def test_a_new_socket_forgets_what_it_cannot_know() -> None:
    """After a loss of the socket the sums begin anew: what happened meanwhile is the read's to find, once."""
    told = Told()
    told.reader.sent(request())
    told.hear(order_update(ENTRY, "NEW", "NEW"), now_ns=1)
    told.reader.start_over(2)
    told.hear(trade(ENTRY, 5, "0.002", "0.008"), now_ns=3)
    told.reader.due(3 + SHORT_NS)
    assert told.gaps == []


def test_a_post_only_order_that_would_take_was_refused() -> None:
    """An exchange that lets a post-only order expire means what another says with -5022: the rung may be retried."""
    told = Told()
    told.hear(order_update(ENTRY, "NEW", "NEW"), order_update(ENTRY, "EXPIRED", "EXPIRED", er="0"))
    last = told.orders[-1]
    assert (last.kind, last.reason) == (OrderEventKind.REJECTED, EndReason.POST_ONLY)


# --- stops ------------------------------------------------------------------------------------------------------------


def test_a_stop_that_triggers_under_our_id_fills_under_it() -> None:
    """The exchange may give the order that a stop becomes the stop's own id."""
    told = Told()
    told.hear(
        algo_update(STOP, "NEW"),
        algo_update(STOP, "TRIGGERED", actual=88),
        order_update(STOP, "NEW", "NEW", order_id=88, **SELL_STOP),
        trade(STOP, 9, "0.010", "0.010", order_id=88, **SELL_STOP),
        algo_update(STOP, "FINISHED", actual=88),
    )
    assert told.said == [("accepted", STOP, 0), ("accepted", STOP, 0), ("filled", STOP, 10)]
    assert told.orders[-1].fill is not None
    assert told.orders[-1].fill.purpose is Purpose.STOP


def test_a_stop_that_triggers_under_a_foreign_id_fills_under_ours() -> None:
    """Whatever the exchange calls the order that a stop becomes, its fill is the stop's."""
    told = Told()
    told.hear(
        algo_update(STOP, "NEW"),
        algo_update(STOP, "TRIGGERED", actual=88),
        trade("x-foreign", 9, "0.010", "0.010", order_id=88, **SELL_STOP),
    )
    assert told.said == [("accepted", STOP, 0), ("filled", STOP, 10)]
    fill = told.orders[-1].fill
    assert fill is not None
    assert (fill.client_id, fill.purpose) == (STOP, Purpose.STOP)


def test_a_foreign_fill_before_the_link_waits_for_it() -> None:
    """The order's report may come before the word on which stop it was: it is told once that is known."""
    told = Told()
    told.reader.sent(request(Purpose.STOP))
    told.hear(trade("x-foreign", 9, "0.010", "0.010", order_id=88, **SELL_STOP))
    assert told.said == []
    assert told.reader.waits
    told.hear(algo_update(STOP, "TRIGGERED", actual=88))
    assert told.said == [("filled", STOP, 10)]
    assert told.gaps == []
    assert not told.reader.waits


def test_a_foreign_order_that_nobody_explains_is_told_after_a_while() -> None:
    """Somebody else's reduction is told under its own id, with a gap: only a read can tell whose it is."""
    told = Told()
    told.reader.sent(request(Purpose.STOP))
    told.hear(trade("x-foreign", 9, "0.004", "0.004", order_id=88, **SELL_STOP), now_ns=5)
    told.reader.due(4 + LINK_NS)
    assert told.said == []
    told.reader.due(5 + LINK_NS)
    assert told.said == [("filled", "x-foreign", 4)]
    assert len(told.gaps) == 1
    told.hear(trade("x-foreign", 10, "0.006", "0.010", order_id=88, **SELL_STOP), now_ns=6 + LINK_NS)
    assert told.said[-1] == ("filled", "x-foreign", 6)


def test_foreign_orders_do_not_wait_where_no_stop_could_be_theirs() -> None:
    """An opening order, or a leg without a stop of ours: nothing to wait for."""
    told = Told()
    told.hear(trade("x-foreign", 9, "0.010", "0.010", order_id=88, **SELL_STOP))
    told.reader.sent(request(Purpose.STOP))
    told.hear(trade("x-other", 10, "0.010", "0.010", order_id=89))
    told.hear(algo_update(STOP, "CANCELED"))
    told.hear(trade("x-third", 11, "0.010", "0.010", order_id=90, **SELL_STOP))
    assert [name for _, name, _ in told.said] == ["x-foreign", "x-other", STOP, "x-third"]
    purposes = [one.fill.purpose for one in told.orders if one.fill]
    assert purposes == [Purpose.FLATTEN, Purpose.ENTRY, Purpose.FLATTEN]


def test_what_is_held_is_bounded() -> None:
    """A flood of foreign reports is let go, oldest first, and said to be a gap."""
    told = Told()
    told.reader.sent(request(Purpose.STOP))
    for number in range(HELD_MAX + 1):
        report = trade("x-foreign", number + 1, "0.010", "0.010", order_id=1_000 + number, **SELL_STOP)
        told.hear(report)
    assert len(told.said) == 1
    assert told.gaps


@pytest.mark.parametrize("number", [88, 5001])
def test_a_refused_trigger_ends_the_stop_once(number: int) -> None:
    """A stop whose order was refused protects no more, whichever of its numbers the exchange names, and once."""
    told = Told()
    reject = {
        "e": "CONDITIONAL_ORDER_TRIGGER_REJECT",
        "E": 1,
        "T": 1,
        "or": {"s": "BTCUSDT", "i": number, "r": "Due to the order could not be filled immediately, the FOK order."},
    }
    told.hear(algo_update(STOP, "NEW"), algo_update(STOP, "TRIGGERED", actual=88), reject, reject)
    assert [kind for kind, _, _ in told.said] == ["accepted", "rejected"]
    told.hear({**reject, "or": {**reject["or"], "i": 99}})  # type: ignore[dict-item]  # a payload is any JSON
    assert "whose it is is not known" in told.gaps[0]


# --- the exchange's own orders ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["autoclose-1790000000000", "adl_autoclose", "settlement_autoclose-1"])
def test_forced_orders_are_liquidations(name: str) -> None:
    """Liquidation, ADL of one leg and settlement shrink the leg as LIQUIDATION, without waiting for any link."""
    told = Told()
    told.reader.sent(request(Purpose.STOP))
    forced = {**SELL_STOP, "o": "LIQUIDATION", "ot": "LIQUIDATION", "f": "IOC"}
    told.hear(order_update(name, "NEW", "NEW", order_id=91, **forced))
    told.hear(trade(name, 12, "0.010", "0.010", order_id=91, **forced))
    fill = told.orders[-1].fill
    assert fill is not None
    assert (fill.purpose, fill.leg, fill.client_id) == (Purpose.LIQUIDATION, Leg.LONG, name)
    assert told.reports == ["the exchange itself closed a part of a leg"]


# --- the account ------------------------------------------------------------------------------------------------------


def test_the_wallet_is_told_and_transfers_apart() -> None:
    """A result of trading moves the wallet without a delta; a transfer tells its own."""
    told = Told()
    told.hear(
        account_update("ORDER", wallet="1001.5", change="0", long="0.010"),
        account_update("DEPOSIT", wallet="1501.5", change="500"),
        account_update("FUNDING_FEE", wallet="1501.25", change="-0.25"),
    )
    assert [(one.wallet_e8, one.why, one.delta_e8) for one in told.changes] == [
        (100_150_000_000, "ORDER", 0),
        (150_150_000_000, "DEPOSIT", 50_000_000_000),
        (150_125_000_000, "FUNDING_FEE", 0),
    ]
    assert told.charged == 1
    assert told.reader.legs == {("BTC/USDT:USDT", Leg.LONG): 10}


def test_a_dead_listen_key_is_heard() -> None:
    """The event that ccxt ignores: the stream has to be made anew."""
    told = Told()
    told.hear({"e": "listenKeyExpired", "E": 1, "listenKey": "k"})
    assert told.expired == 1


@pytest.mark.parametrize(
    "payload",
    [
        {"e": "ORDER_TRADE_UPDATE", "E": 1, "T": 1, "o": {"s": "BTCUSDT"}},
        trade(ENTRY, 1, "0.0005", "0.0005"),
        trade(ENTRY, 1, "0.004", "0.004", ps="BOTH"),
        trade(ENTRY, 1, "0.004", "0.004", q="0.003"),
        {"no": "event"},
    ],
)
def test_what_cannot_be_read_is_a_gap_and_changes_nothing(payload: dict[str, object]) -> None:
    """A payload that is not whole, or of one-way mode: nothing of it counts, and the exchange has to be read."""
    told = Told()
    told.hear(payload)
    assert told.orders == []
    assert told.gaps == ["a private event could not be read"]
    assert told.reports == ["a private event could not be read"]
    told.hear(trade(ENTRY, 1, "0.010", "0.010"))
    assert told.said == [("filled", ENTRY, 10)]


def test_a_fee_in_another_asset_is_estimated_and_told() -> None:
    """What the exchange took in BNB is no zero: the account's rate stands for it, and a person hears of it."""
    told = Told()
    told.hear(trade(ENTRY, 1, "0.010", "0.010", n="0.00001", N="BNB"))
    assert told.orders[0].fill is not None
    assert told.orders[0].fill.fee_e8 == 42
    assert told.reports == ["a fee was taken in another asset; its worth is estimated"]


def test_a_trade_that_a_read_has_given_is_not_told_again() -> None:
    """After a gap the read gives the fill, and the stream's late copy is the same fill."""
    told = Told()
    told.reader.note_delivered("BTC/USDT:USDT", 1, 77)
    told.hear(trade(ENTRY, 1, "0.010", "0.010"))
    assert told.said == []
    assert told.reader.delivered("BTC/USDT:USDT", 1, 77)


_JUNK: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6) | st.just([]) | st.just({})
)
_PAYLOADS = [
    trade(ENTRY, 1, "0.004", "0.004"),
    trade("x-foreign", 9, "0.010", "0.010", order_id=88, **SELL_STOP),
    algo_update(STOP, "TRIGGERED", actual=88),
    account_update("ORDER", long="0.010"),
]


@given(payload=st.sampled_from(_PAYLOADS), part=st.sampled_from(["o", "a", ""]), place=st.integers(0, 40), junk=_JUNK)
def test_no_payload_raises_or_is_half_taken(payload: dict[str, Any], part: str, place: int, junk: object) -> None:
    """Any field of any event replaced by anything: it is told whole, or it is a gap and nothing of it is told."""
    inner = payload.get(part, payload) if part else payload
    key = sorted(inner)[place % len(inner)]
    changed = {**payload, part: {**inner, key: junk}} if part in payload else {**payload, key: junk}
    told = Told()
    told.reader.sent(request(Purpose.STOP))
    told.hear(changed)
    assert len(told.gaps) <= 1
    if told.gaps:
        assert told.orders == []
        assert told.changes == []
        assert told.reader.legs == {}
