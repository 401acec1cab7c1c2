"""Tests of orders on the wire: reports of the stream, rows of REST, and what they become in the house."""

import copy
from typing import Any

import pytest

from hedgegrid.messages.events import EndReason, OrderEvent, OrderEventKind
from hedgegrid.model.order import Fill, Kind, Leg, OpenOrder, Purpose, Side
from hedgegrid.ports import LookUp
from hedgegrid.units import NS_PER_MS
from hedgegrid.venues.ccxtpro.errors import Verdict
from hedgegrid.venues.ccxtpro.parse_account import parse_private
from hedgegrid.venues.ccxtpro.parse_market import Elsewhere
from hedgegrid.venues.ccxtpro.parse_orders import (
    AlgoReport,
    AlgoStatus,
    OrderReport,
    OrderRow,
    OrderStatus,
    TradeLite,
    TriggerReject,
    algo_events,
    algo_placed,
    algo_row,
    algo_rows,
    batch_rows,
    fill,
    look,
    open_order,
    order_events,
    order_row,
    order_rows,
    trade_rows,
)
from hedgegrid.venues.ccxtpro.scaling import BadPayloadError
from tests.venues.ccxtpro.wire_payloads import BTC, SCALES, T_MS, payloads

ORDERS, ALGOS, HINTS = payloads("order_stream"), payloads("algo_stream"), payloads("hints")
ROWS, LISTS, ALGO_ROWS = payloads("order_rows"), payloads("order_lists"), payloads("algo_rows")
TRADES = payloads("trade_lists")
OURS = "demo.szabc1LE3.k2"
NAME = BTC.instrument


def report(case: str) -> OrderReport:
    """Read an order's report."""
    update = parse_private(ORDERS[case], SCALES)
    assert isinstance(update, OrderReport)
    return update


def algo(case: str) -> AlgoReport:
    """Read a conditional order's report."""
    update = parse_private(ALGOS[case], SCALES)
    assert isinstance(update, AlgoReport)
    return update


def told(case: str, client_id: str | None = None) -> OrderEvent:
    """Give the one event of a report."""
    read = report(case)
    (event,) = order_events(read, client_id or read.client_id, fee_if_unknown_e8=777)
    return event


def spoilt(case: str, **changes: Any) -> Any:
    """Give a copy of an order's report with other fields."""
    payload = copy.deepcopy(ORDERS[case])
    payload["o"].update(changes)
    return payload


# --- the stream -----------------------------------------------------------------------------------------------------


def test_a_fill_of_an_entry() -> None:
    """Every figure of a fill, exact, with the exchange's trade id and the matching engine's time."""
    event = told("partial fill")
    assert event == OrderEvent(
        kind=OrderEventKind.FILLED,
        client_id=OURS,
        qty_lots=15,
        fill=Fill(
            trade_id=536962673,
            client_id=OURS,
            instrument=NAME,
            leg=Leg.LONG,
            side=Side.BUY,
            purpose=Purpose.ENTRY,
            level=-1,
            generation=-1,
            price_ticks=612345,
            qty_lots=5,
            fee_e8=6123450,
            realised_e8=0,
            maker=True,
            ts_ns=(T_MS + 1) * NS_PER_MS,
        ),
    )


def test_a_rebate_is_a_negative_fee_and_a_profit_keeps_its_sign() -> None:
    """A maker's rebate lowers costs; the exchange's realised profit is taken as told."""
    done = told("take profit").fill
    assert done is not None
    assert (done.fee_e8, done.realised_e8, done.purpose) == (-1226158, 146_800_000, Purpose.TAKE_PROFIT)
    assert told("take profit").qty_lots == 0


def test_a_fee_in_another_asset_is_unknown_and_never_zero() -> None:
    """A fee paid in BNB says so, and the caller's estimate stands in the books; no fee at all is 0."""
    trade = report("fee in another asset").trade
    assert trade is not None
    assert (trade.fee_e8, trade.fee_asset) == (None, "BNB")
    booked = told("fee in another asset").fill
    assert booked is not None
    assert booked.fee_e8 == 777
    free = report("no fee").trade
    assert free is not None
    assert free.fee_e8 == 0


@pytest.mark.parametrize(
    ("case", "kind", "reason", "left"),
    [
        ("new", OrderEventKind.ACCEPTED, EndReason.NONE, 20),
        ("cancelled", OrderEventKind.CANCELLED, EndReason.BY_REQUEST, 15),
        ("expired post-only", OrderEventKind.EXPIRED, EndReason.POST_ONLY, 20),
        ("expired post-only, unnamed", OrderEventKind.EXPIRED, EndReason.POST_ONLY, 20),
        ("expired by self-trade prevention", OrderEventKind.EXPIRED, EndReason.REFUSED, 20),
        ("market remainder expired", OrderEventKind.EXPIRED, EndReason.NONE, 8),
        ("knocked out", OrderEventKind.CANCELLED, EndReason.REDUCE_REFUSED, 20),
        ("amended", OrderEventKind.AMENDED, EndReason.NONE, 18),
        ("liquidation begins", OrderEventKind.ACCEPTED, EndReason.NONE, 30),
        ("liquidation", OrderEventKind.FILLED, EndReason.LIQUIDATION, 0),
    ],
)
def test_what_happened_to_an_order(case: str, kind: OrderEventKind, reason: EndReason, left: int) -> None:
    """Each execution type is one event, with what is left and why it ended."""
    event = told(case)
    assert (event.kind, event.reason, event.qty_lots) == (kind, reason, left)


@pytest.mark.parametrize(
    ("case", "leg", "ticks"),
    [
        ("liquidation", Leg.LONG, 482114),
        ("auto-deleveraging", Leg.SHORT, 705001),
        ("settlement", Leg.LONG, 610001),
    ],
)
def test_forced_orders_are_liquidations(case: str, leg: Leg, ticks: int) -> None:
    """Liquidation, auto-deleveraging and settlement are the exchange's own; their prices may lie off the tick."""
    read, done = report(case), told(case).fill
    assert read.forced
    assert done is not None
    assert (done.purpose, done.leg, done.price_ticks) == (Purpose.LIQUIDATION, leg, ticks)


def test_our_own_fill_off_the_tick_is_refused() -> None:
    """An order of ours can only trade on the tick: else the rules have changed under us, and nothing is rounded."""
    with pytest.raises(BadPayloadError, match="finer"):
        parse_private(spoilt("partial fill", L="61234.55"), SCALES)


def test_a_triggered_stop_is_told_under_our_id() -> None:
    """The actual order of a stop may carry our id or a foreign one: either way the fill is our stop's."""
    ours = told("triggered stop")
    foreign = told("triggered stop, foreign id", client_id="demo.szabc1LS3.k9")
    assert report("triggered stop, foreign id").client_id == "x-algo-Zs81kT2"
    for event in (ours, foreign):
        assert event.client_id == "demo.szabc1LS3.k9"
        assert event.fill is not None
        assert (event.fill.client_id, event.fill.purpose) == ("demo.szabc1LS3.k9", Purpose.STOP)


def test_an_order_that_closes_all_has_no_quantity_of_its_own() -> None:
    """A closePosition order says quantity 0 and fills what the leg held."""
    event = told("closes all")
    assert report("closes all").close_all
    assert event.fill is not None
    assert (event.qty_lots, event.fill.qty_lots, event.fill.purpose) == (0, 30, Purpose.BACKSTOP)


def test_a_foreign_order_is_what_it_does_to_its_leg() -> None:
    """An order of another hand counts in exposure: opening, or reducing."""
    assert told("foreign").kind is OrderEventKind.ACCEPTED
    opened = fill_of("partial fill", c="web_1")
    assert (opened.purpose, opened.client_id) == (Purpose.ENTRY, "web_1")
    assert fill_of("triggered stop", c="web_1").purpose is Purpose.FLATTEN


def fill_of(case: str, **changes: Any) -> Fill:
    """Read a report with other fields and give its fill."""
    read = parse_private(spoilt(case, **changes), SCALES)
    assert isinstance(read, OrderReport)
    (event,) = order_events(read, read.client_id, fee_if_unknown_e8=0)
    assert event.fill is not None
    return event.fill


def test_an_id_of_ours_on_another_order_does_not_count_as_ours() -> None:
    """Somebody who copies an id onto the other leg gets no purpose of ours."""
    assert fill_of("partial fill", ps="SHORT").purpose is Purpose.TAKE_PROFIT


def test_one_way_mode_is_seen_and_gives_no_fill() -> None:
    """BOTH is no leg: the mode was changed behind our back, and only a read of the exchange helps."""
    assert report("one-way mode").leg is None
    with pytest.raises(BadPayloadError, match="one-way"):
        told("one-way mode")


@pytest.mark.parametrize(
    "changes",
    [{"t": 0}, {"l": "0"}, {"L": "0"}, {"z": "0.021"}, {"x": "PENDING"}, {"X": "DONE"}, {"ps": "long"}, {"S": ""}],
)
def test_a_report_that_cannot_be_is_refused(changes: dict[str, Any]) -> None:
    """A trade without number, price or quantity, more filled than ordered, or a new word is no fill to book."""
    with pytest.raises(BadPayloadError):
        parse_private(spoilt("partial fill", **changes), SCALES)


def test_an_order_elsewhere_is_told_by_its_symbol() -> None:
    """An instrument that is not traded here needs no rules to be noticed."""
    assert parse_private(spoilt("new", s="XRPUSDT"), SCALES) == Elsewhere(event="ORDER_TRADE_UPDATE", symbol="XRPUSDT")


@pytest.mark.parametrize(
    ("case", "kind", "reason"),
    [
        ("new", OrderEventKind.ACCEPTED, EndReason.NONE),
        ("cancelled", OrderEventKind.CANCELLED, EndReason.BY_REQUEST),
        ("expired", OrderEventKind.EXPIRED, EndReason.NOTHING_TO_CLOSE),
        ("rejected", OrderEventKind.REJECTED, EndReason.REDUCE_REFUSED),
        ("rejected for margin", OrderEventKind.REJECTED, EndReason.MARGIN),
    ],
)
def test_what_happened_to_a_stop(case: str, kind: OrderEventKind, reason: EndReason) -> None:
    """A conditional order's life up to its trigger, under its own id, with the exchange's words."""
    read = algo(case)
    (event,) = algo_events(read)
    assert (event.kind, event.client_id, event.reason) == (kind, read.client_id, reason)
    assert event.detail == read.words


@pytest.mark.parametrize(
    ("case", "actual"), [("triggering", None), ("triggered", 28581500001), ("finished", 28581500001)]
)
def test_a_trigger_is_a_link_and_no_event(case: str, actual: int | None) -> None:
    """Once triggered, the actual order's own reports tell what happens; the link says which it is."""
    assert algo_events(algo(case)) == ()
    assert algo(case).actual_order_id == actual


def test_a_stop_in_figures() -> None:
    """Trigger, quantity and leg of a stop; one that closes all; one of another hand off the tick."""
    stop = algo("new")
    assert (stop.trigger_ticks, stop.qty_lots, stop.leg, stop.side) == (605000, 20, Leg.LONG, Side.SELL)
    assert (algo("new, closes all").close_all, algo("new, closes all").qty_lots) == (True, 0)
    assert algo("finished").filled_lots == 20
    assert algo("off the tick").trigger_ticks == 749608


def test_hints() -> None:
    """An early word of a trade, and of a stop that protects no more."""
    lite = parse_private(HINTS["trade lite"], SCALES)
    assert isinstance(lite, TradeLite)
    assert (lite.trade_id, lite.price_ticks, lite.qty_lots, lite.maker) == (536962673, 612345, 5, True)
    refused = parse_private(HINTS["trigger refused"], SCALES)
    assert isinstance(refused, TriggerReject)
    assert refused.order_id == 28581500001
    assert "FOK" in refused.words


# --- REST -----------------------------------------------------------------------------------------------------------


def test_an_open_order_explains_itself() -> None:
    """An order found on the exchange is what its id says."""
    assert open_order(order_row(ROWS["partly filled"], SCALES)) == OpenOrder(
        client_id=OURS,
        instrument=NAME,
        leg=Leg.LONG,
        purpose=Purpose.ENTRY,
        kind=Kind.LIMIT,
        price_ticks=612345,
        qty_lots=20,
        filled_lots=5,
        close_all=False,
        created_ns=T_MS * NS_PER_MS,
    )


def test_open_orders_of_other_hands() -> None:
    """A foreign stop and an order of one-way mode are told as what they do to a leg."""
    stop = open_order(order_row(ROWS["foreign stop"], SCALES))
    assert (stop.leg, stop.purpose, stop.kind, stop.price_ticks) == (
        Leg.SHORT,
        Purpose.TAKE_PROFIT,
        Kind.STOP_MARKET,
        600001,
    )
    reducing = open_order(order_row(ROWS["foreign one-way"], SCALES))
    assert (reducing.leg, reducing.purpose) == (Leg.LONG, Purpose.TAKE_PROFIT)


def test_the_list_of_open_orders() -> None:
    """All of it, and the symbols that hold orders beside those that are traded here."""
    read = order_rows(LISTS["open orders"], SCALES)
    assert [row.order_id for row in read.rows] == [28581489905, 28581489906]
    assert read.elsewhere == ("XRPUSDT",)
    assert order_rows([], SCALES).rows == ()
    with pytest.raises(BadPayloadError):
        order_rows([LISTS["open orders"][0], {**LISTS["open orders"][1], "origQty": None}], SCALES)


@pytest.mark.parametrize(
    ("case", "state", "filled", "end"),
    [
        ("open", LookUp.OPEN, 0, None),
        ("placed", LookUp.OPEN, 0, None),
        ("partly filled", LookUp.OPEN, 5, None),
        ("filled", LookUp.ENDED, 20, OrderEventKind.FILLED),
        ("expired", LookUp.ENDED, 0, OrderEventKind.EXPIRED),
    ],
)
def test_looking_an_order_up(case: str, state: LookUp, filled: int, end: OrderEventKind | None) -> None:
    """What a look-up says of an order: whether it can still fill, and how it ended."""
    seen = look(order_row(ROWS[case], SCALES), 5)
    assert (seen.state, seen.filled_lots, seen.end, seen.read_ns) == (state, filled, end, 5)


@pytest.mark.parametrize(
    ("case", "state", "end"),
    [
        ("open", LookUp.OPEN, None),
        ("triggered", LookUp.OPEN, None),
        ("finished", LookUp.ENDED, OrderEventKind.FILLED),
        ("finished, not told how", LookUp.ENDED, None),
        ("cancelled", LookUp.ENDED, OrderEventKind.CANCELLED),
    ],
)
def test_looking_a_stop_up(case: str, state: LookUp, end: OrderEventKind | None) -> None:
    """A triggered stop is open while its actual order may be; a finished one without figures says nothing of how."""
    seen = look(algo_row(ALGO_ROWS[case], SCALES), 5)
    assert (seen.state, seen.end) == (state, end)


def test_open_stops() -> None:
    """A stop's trigger is its price; one that closes all has no quantity."""
    stop = open_order(algo_row(ALGO_ROWS["open"], SCALES))
    assert (stop.kind, stop.price_ticks, stop.qty_lots, stop.purpose) == (Kind.STOP_MARKET, 605000, 20, Purpose.STOP)
    backstop = open_order(algo_row(ALGO_ROWS["closes all"], SCALES))
    assert (backstop.close_all, backstop.qty_lots, backstop.purpose) == (True, 0, Purpose.BACKSTOP)
    assert algo_row(ALGO_ROWS["triggered"], SCALES).actual_order_id == 28581500001
    assert algo_rows([ALGO_ROWS["open"]], SCALES).rows[0].status is AlgoStatus.NEW
    assert algo_placed(payloads("algo_answers")["cancelled"]) == (2146760, "demo.szabc1LS3.k9")


def test_a_batch_is_answered_by_index() -> None:
    """Each row is its own request's answer; a batch of another length says nothing of any."""
    placed, taker, poor = batch_rows(LISTS["batch"], SCALES, 3)
    assert isinstance(placed, OrderRow)
    assert placed.status is OrderStatus.NEW
    assert isinstance(taker, Verdict)
    assert isinstance(poor, Verdict)
    assert (taker.reason, poor.reason) == (EndReason.POST_ONLY, EndReason.MARGIN)
    with pytest.raises(BadPayloadError):
        batch_rows(LISTS["batch"], SCALES, 2)


def test_a_row_of_a_batch_that_cannot_be_read_proves_nothing() -> None:
    """The order may stand: its outcome is unknown, and its neighbours' answers are kept."""
    placed, lost, poor = batch_rows([LISTS["batch"][0], {"orderId": 7}, LISTS["batch"][2]], SCALES, 3)
    assert isinstance(placed, OrderRow)
    assert isinstance(lost, Verdict)
    assert lost.kind.__name__ == "OutcomeUnknown"
    assert isinstance(poor, Verdict)
    assert poor.reason is EndReason.MARGIN


def test_our_trades_by_rest() -> None:
    """Oldest first, a fee of another asset unknown, and a fill once somebody knows the order's id."""
    read = trade_rows(TRADES["trades"], SCALES)
    assert [row.trade.trade_id for row in read.rows] == [536962673, 536962680, 536970001]
    assert read.rows[1].trade.fee_e8 is None
    row = read.rows[0]
    done = fill(row.trade, client_id=OURS, instrument=row.instrument, leg=row.leg, side=row.side, fee_if_unknown_e8=0)
    assert done == told("partial fill").fill
