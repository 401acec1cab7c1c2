"""Orders and cancels against a server on loopback: each answer means what it proves, and nothing is sent twice."""

import asyncio
import json
from typing import Any
from urllib.parse import unquote

import pytest
from aiohttp import web

from hedgegrid.errors import Fatal, OutcomeUnknown, Transient
from hedgegrid.messages.events import EndReason, OrderEventKind
from hedgegrid.model.order import Leg, Purpose
from hedgegrid.units import NS_PER_S
from tests.venues.ccxtpro.loopback import Answer, listed, until
from tests.venues.ccxtpro.raw_events import BTC, our_id, request, trade
from tests.venues.ccxtpro.trading_house import (
    ALGO,
    BATCH,
    CANCEL,
    CANCEL_ALGO,
    CANCELS,
    ORDER,
    House,
    cut_off,
    house,
    lost,
)

ACCEPTED, REJECTED, UNKNOWN = OrderEventKind.ACCEPTED, OrderEventKind.REJECTED, OrderEventKind.UNKNOWN
TAKEN = {"orderId": 1, "symbol": "BTCUSDT", "clientOrderId": "x", "status": "NEW"}
OPEN_STOP = our_id(Purpose.STOP, sequence=90)


def refused(code: int, words: str = "words") -> dict[str, Any]:
    """Word a refusal."""
    return {"code": code, "msg": words}


async def place_one(one: House) -> tuple[OrderEventKind, EndReason]:
    """Send one entry and give its answer in short."""
    (answer,) = await one.trading.place(BTC, [request()], [])
    assert answer.client_id == request().client_id
    return answer.kind, answer.reason


@pytest.mark.asyncio
async def test_one_order_is_one_request() -> None:
    """A single order goes to /order with our id, and is acknowledged."""
    async with house(started=False) as one:
        assert await place_one(one) == (ACCEPTED, EndReason.NONE)
        (sent,) = one.sent(ORDER)
        assert (sent["newClientOrderId"], sent["positionSide"], sent["timeInForce"]) == (our_id(), "LONG", "GTX")
        assert sent["recvWindow"] == "2000"


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("status", "body", "kind", "reason"),
    [
        (400, refused(-5022), REJECTED, EndReason.POST_ONLY),
        (400, refused(-2022), REJECTED, EndReason.REDUCE_REFUSED),
        (400, refused(-2019), REJECTED, EndReason.MARGIN),
        (400, refused(-4061), REJECTED, EndReason.MODE),
        (400, refused(-4164), REJECTED, EndReason.REFUSED),
        (400, refused(-1008), REJECTED, EndReason.REFUSED),
        (408, refused(-1007), UNKNOWN, EndReason.NONE),
        (400, refused(-1006), UNKNOWN, EndReason.NONE),
        (503, refused(-1000, "Unknown error, please check your request or try again later."), UNKNOWN, EndReason.NONE),
        (503, b"Unknown error, please check your request or try again later.", UNKNOWN, EndReason.NONE),
        (503, b"Service Unavailable.", REJECTED, EndReason.REFUSED),
        (503, refused(-1008), REJECTED, EndReason.REFUSED),
        (502, b"<html>bad gateway</html>", UNKNOWN, EndReason.NONE),
        (429, refused(-1003), REJECTED, EndReason.RATE_LIMITED),
        (418, refused(-1003), REJECTED, EndReason.RATE_LIMITED),
        (200, b'{"orderId": 1', UNKNOWN, EndReason.NONE),
        (200, b"[]", UNKNOWN, EndReason.NONE),
        (200, {}, UNKNOWN, EndReason.NONE),
    ],
)
async def test_an_answer_means_what_it_proves(
    status: int, body: object, kind: OrderEventKind, reason: EndReason
) -> None:
    """Each refusal with its reason; whatever is not proven "not accepted" is UNKNOWN; nothing is sent again."""
    async with house(started=False) as one:
        one.venue.answer(ORDER, body, status)
        assert await place_one(one) == (kind, reason)
        assert len(one.sent(ORDER)) == 1


@pytest.mark.asyncio
@pytest.mark.parametrize("answer", [lost(), cut_off(TAKEN)])
async def test_a_response_lost_after_acceptance_is_unknown(answer: Answer) -> None:
    """The exchange has the order, the answer is gone or cut short: UNKNOWN, and it is never sent a second time."""
    async with house(started=False) as one:
        one.venue.answers[ORDER] = answer
        assert await place_one(one) == (UNKNOWN, EndReason.NONE)
        assert len(one.sent(ORDER)) == 1


@pytest.mark.asyncio
async def test_after_a_ban_nothing_is_sent() -> None:
    """A 418 stops the sending itself: the next order is refused here, as RATE_LIMITED."""
    async with house(started=False) as one:
        one.venue.answer(ORDER, refused(-1003, "Way too many requests; IP banned"), 418, Retry_After="120")
        await place_one(one)
        began_ns = one.trading.venue_ns()
        (answer,) = await one.trading.place(BTC, [request()], ())
        assert (answer.kind, answer.reason) == (REJECTED, EndReason.RATE_LIMITED)
        assert 100 * NS_PER_S < answer.until_ns - began_ns <= 120 * NS_PER_S, "it says until when"
        assert len(one.sent(ORDER)) == 1


@pytest.mark.asyncio
async def test_a_batch_is_answered_by_index() -> None:
    """Several orders go in batches of five; each row answers its own order, taken, refused or unknown."""
    async with house(started=False) as one:
        rows = [TAKEN, refused(-5022), refused(-1007), refused(-2019), {"strange": 1}]
        one.venue.answer(BATCH, rows)
        requests = [request(level=level, sequence=level) for level in range(1, 7)]
        answers = await one.trading.place(BTC, requests, [])
        assert [answer.client_id for answer in answers] == [each.client_id for each in requests]
        assert [answer.kind for answer in answers] == [ACCEPTED, REJECTED, UNKNOWN, REJECTED, UNKNOWN, ACCEPTED]
        assert [answer.reason for answer in answers][1:4] == [EndReason.POST_ONLY, EndReason.NONE, EndReason.MARGIN]
        (sent,) = one.sent(BATCH)
        batch = json.loads(unquote(sent["batchOrders"]))
        assert [row["newClientOrderId"] for row in batch] == [each.client_id for each in requests[:5]]
        assert len(one.sent(ORDER)) == 1


@pytest.mark.asyncio
@pytest.mark.parametrize("rows", [[TAKEN], [TAKEN, TAKEN, TAKEN], {"orderId": 1}])
async def test_a_batch_of_the_wrong_length_proves_nothing(rows: object) -> None:
    """Rows that cannot be told to orders leave every order UNKNOWN."""
    async with house(started=False) as one:
        one.venue.answer(BATCH, rows)
        answers = await one.trading.place(BTC, [request(sequence=1), request(sequence=2)], [])
        assert [answer.kind for answer in answers] == [UNKNOWN, UNKNOWN]


@pytest.mark.asyncio
async def test_reductions_and_entries_travel_apart() -> None:
    """A batch is of one kind, so that a refused budget for entries never holds a reduction back."""
    async with house(started=False) as one:
        await one.trading.place(BTC, [request(), request(Purpose.TAKE_PROFIT, sequence=2)], [])
        assert len(one.sent(ORDER)) == 2
        assert one.sent(BATCH) == []


@pytest.mark.asyncio
async def test_a_market_order_above_the_maximum_is_sent_in_parts() -> None:
    """Parts go under ids of their own and are answered as one; their fills are told as the order's."""
    async with house(rules=(listed(market_max_lots=4),)) as one:
        one.venue.answer(BATCH, [TAKEN, {**TAKEN, "orderId": 2}, {**TAKEN, "orderId": 3}])
        whole = request(Purpose.FLATTEN, qty_lots=10, level=-1)
        (answer,) = await one.trading.place(BTC, [whole], [])
        assert (answer.kind, answer.client_id) == (ACCEPTED, whole.client_id)
        (sent,) = one.sent(BATCH)
        batch = json.loads(unquote(sent["batchOrders"]))
        assert [row["quantity"] for row in batch] == ["0.004", "0.004", "0.002"]
        sell = {"S": "SELL", "o": "MARKET", "f": "GTC"}
        for number, row in enumerate(batch):
            q = row["quantity"]
            name = row["newClientOrderId"]
            await one.venue.say(trade(name, number + 1, q, q, q=q, order_id=number + 1, **sell))
        await until(lambda: len(one.orders) == 3)
        assert {event.client_id for event in one.orders} == {whole.client_id}
        assert [event.qty_lots for event in one.orders] == [6, 2, 0]
        assert {event.fill.client_id for event in one.orders if event.fill} == {whole.client_id}


@pytest.mark.asyncio
async def test_a_refused_part_ends_the_order_with_the_others() -> None:
    """An order of which one part was refused has ended once the others have: what is left is said to be cancelled."""
    async with house(rules=(listed(market_max_lots=5),)) as one:
        one.venue.answer(BATCH, [TAKEN, refused(-2022)])
        whole = request(Purpose.FLATTEN, qty_lots=10, level=-1)
        (answer,) = await one.trading.place(BTC, [whole], [])
        assert answer.kind is ACCEPTED
        sell = {"S": "SELL", "o": "MARKET", "f": "GTC"}
        await one.venue.say(trade(whole.client_id, 1, "0.005", "0.005", q="0.005", **sell))
        await until(lambda: len(one.orders) == 2)
        assert [event.kind for event in one.orders] == [OrderEventKind.FILLED, OrderEventKind.CANCELLED]


@pytest.mark.asyncio
@pytest.mark.parametrize("code", [-1007, -2022])
async def test_an_order_is_as_unknown_as_its_parts(code: int) -> None:
    """One part UNKNOWN leaves the whole UNKNOWN, whatever became of the others; all refused is REJECTED."""
    async with house(started=False, rules=(listed(market_max_lots=5),)) as one:
        one.venue.answer(BATCH, [refused(-2022), refused(code)])
        whole = request(Purpose.FLATTEN, qty_lots=10, level=-1)
        (answer,) = await one.trading.place(BTC, [whole], [])
        assert answer.kind is (UNKNOWN if code == -1007 else REJECTED)
        assert answer.client_id == whole.client_id
        assert one.orders == []


# --- stops and their successors ---------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_a_stop_is_retired_when_its_successor_stands() -> None:
    """The new stop first; then the old one goes."""
    async with house(started=False) as one:
        one.venue.answer(ALGO, {"algoId": 7, "clientAlgoId": "x"})
        one.venue.answer(CANCEL_ALGO, {"algoId": 6, "clientAlgoId": OPEN_STOP, "code": "200", "msg": "success"})
        (answer,) = await one.trading.place(BTC, [request(Purpose.STOP)], [OPEN_STOP])
        assert answer.kind is ACCEPTED
        routes = [(got.method, got.path) for got in one.venue.requests]
        assert routes == [("POST", "/fapi/v1/algoOrder"), ("DELETE", "/fapi/v1/algoOrder")]
        assert one.sent(CANCEL_ALGO)[0]["clientAlgoId"] == OPEN_STOP
        assert one.orders == []


@pytest.mark.asyncio
@pytest.mark.parametrize(("body", "status"), [(refused(-2021), 400), (refused(-1007), 408)])
async def test_a_stop_stays_where_its_successor_does_not_stand(body: object, status: int) -> None:
    """A successor that was refused, or may not be there, protects nobody: the old stop stays, and that is said."""
    async with house(started=False) as one:
        one.venue.answer(ALGO, body, status)
        short_stop = our_id(Purpose.STOP, Leg.SHORT, sequence=91)
        one.venue.answer(CANCEL_ALGO, {"algoId": 6, "clientAlgoId": short_stop})
        (answer,) = await one.trading.place(BTC, [request(Purpose.STOP)], [OPEN_STOP, short_stop])
        assert answer.kind in (REJECTED, UNKNOWN)
        assert answer.reason is (EndReason.WOULD_TRIGGER if status == 400 else EndReason.NONE)
        (kept,) = one.orders
        assert (kept.kind, kept.client_id, kept.reason) == (
            OrderEventKind.CANCEL_FAILED,
            OPEN_STOP,
            EndReason.REFUSED,
        )
        assert [sent["clientAlgoId"] for sent in one.sent(CANCEL_ALGO)] == [short_stop]


@pytest.mark.asyncio
async def test_a_retirement_that_is_lost_is_said_to_be_unknown() -> None:
    """The new stop stands, the old one's cancel was lost: its answer is UNKNOWN, for the executor to find out."""
    async with house(started=False) as one:
        one.venue.answer(ALGO, {"algoId": 7, "clientAlgoId": "x"})
        one.venue.answers[CANCEL_ALGO] = lost()
        (answer,) = await one.trading.place(BTC, [request(Purpose.STOP)], [OPEN_STOP])
        assert answer.kind is ACCEPTED
        assert [(event.kind, event.client_id) for event in one.orders] == [(UNKNOWN, OPEN_STOP)]


# --- cancels ----------------------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_cancels_go_where_the_orders_are() -> None:
    """Orders by our ids, several at once in a batch; stops one by one at the algo service. Nothing is said yet."""
    async with house(started=False) as one:
        names = [our_id(level=level, sequence=level) for level in range(1, 4)]
        one.venue.answer(CANCELS, [TAKEN, TAKEN, TAKEN])
        one.venue.answer(CANCEL_ALGO, {"algoId": 6, "clientAlgoId": OPEN_STOP})
        await one.trading.cancel(BTC, [names[0], OPEN_STOP, *names[1:]])
        (sent,) = [got for got in one.venue.requests if got.path == "/fapi/v1/batchOrders"]
        assert json.loads(sent.query["origclientorderidlist"]) == names
        assert len(one.sent(CANCEL_ALGO)) == 1
        assert one.orders == []


@pytest.mark.asyncio
async def test_a_cancel_of_nothing_may_be_a_fill() -> None:
    """-2011 proves only that the order is not open: CANCEL_FAILED, NOT_FOUND, alone or as a row of a batch."""
    async with house(started=False) as one:
        one.venue.answer(CANCEL, refused(-2011, "Unknown order sent."), 400)
        await one.trading.cancel(BTC, [our_id()])
        one.venue.answer(CANCELS, [refused(-2011, "Unknown order sent."), TAKEN])
        await one.trading.cancel(BTC, [our_id(sequence=2), our_id(sequence=3)])
        one.venue.answer(CANCEL_ALGO, refused(-2011, "Unknown order sent."), 400)
        await one.trading.cancel(BTC, [OPEN_STOP])
        assert [(event.kind, event.client_id, event.reason) for event in one.orders] == [
            (OrderEventKind.CANCEL_FAILED, our_id(), EndReason.NOT_FOUND),
            (OrderEventKind.CANCEL_FAILED, our_id(sequence=2), EndReason.NOT_FOUND),
            (OrderEventKind.CANCEL_FAILED, OPEN_STOP, EndReason.NOT_FOUND),
        ]


@pytest.mark.asyncio
async def test_a_lost_cancel_is_unknown_after_the_others_were_tried() -> None:
    """One request is lost: the others are sent and judged all the same, and then the caller hears of the loss."""
    async with house(started=False) as one:
        one.venue.answers[CANCEL] = lost()
        one.venue.answer(CANCEL_ALGO, refused(-2011), 400)
        with pytest.raises(OutcomeUnknown, match="1 cancels"):
            await one.trading.cancel(BTC, [our_id(), OPEN_STOP])
        assert [(event.kind, event.client_id) for event in one.orders] == [(OrderEventKind.CANCEL_FAILED, OPEN_STOP)]


@pytest.mark.asyncio
async def test_cancels_that_were_never_taken_may_be_sent_again() -> None:
    """Where every cancel was refused for now, the caller may try again: Transient, and nothing is said of orders."""
    async with house(started=False) as one:
        one.venue.answer(CANCEL, refused(-1003), 429)
        with pytest.raises(Transient):
            await one.trading.cancel(BTC, [our_id()])
        assert one.orders == []


# --- a key that is refused --------------------------------------------------------------------------------------------


@pytest.mark.asyncio
@pytest.mark.parametrize(("code", "remedy"), [(-2015, "look at the key"), (-1022, "look at venue.api_secret")])
async def test_a_refused_key_is_no_refusal_of_an_order(code: int, remedy: str) -> None:
    """The exchange does not know us any more: Fatal with what to do about it, and no stop is retired for another."""
    async with house(started=False) as one:
        for route in (ORDER, ALGO, CANCEL):
            one.venue.answer(route, refused(code, "Invalid API-key, IP, or permissions for action"), 401)
        for asked in (request(), request(Purpose.STOP)):
            with pytest.raises(Fatal, match=f"{code}.*{remedy}"):
                await one.trading.place(BTC, [asked], [OPEN_STOP])
        with pytest.raises(Fatal, match=str(code)):
            await one.trading.cancel(BTC, [our_id()])
        assert one.sent(CANCEL_ALGO) == []


# --- by the websocket API ---------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_orders_go_by_the_socket_where_it_is_configured() -> None:
    """`order_channel = "websocket"`: orders and stops are placed and cancelled there, with the same words."""

    async def answer(socket: web.WebSocketResponse, message: dict[str, Any]) -> None:
        name = message["params"].get("newClientOrderId", "")
        code = {"code": -2011, "msg": "Unknown order sent."}
        order, stop = {**TAKEN, "clientOrderId": name}, {"algoId": 7, "clientAlgoId": "x"}
        good = {"id": message["id"], "status": 200, "result": order if name else stop}
        bad = {"id": message["id"], "status": 400, "error": code}
        await socket.send_json(good if message["method"].endswith(".place") else bad)

    async with house(by_socket=True) as one:
        one.venue.on_message = answer
        await until(lambda: len(one.venue.paths) == 2)
        socket_health = one.trading.sockets()[1]
        await until(lambda: one.trading.sockets()[1].connected)
        assert socket_health.name == "orders"
        answers = await one.trading.place(BTC, [request(), request(Purpose.STOP, sequence=2)], [])
        assert [answer.kind for answer in answers] == [ACCEPTED, ACCEPTED]
        await one.trading.cancel(BTC, [our_id(), OPEN_STOP])
        params = {message["method"]: message["params"] for message in one.venue.messages}
        assert set(params) == {"order.place", "algoOrder.place", "order.cancel", "algoOrder.cancel"}
        entry, stop = params["order.place"], params["algoOrder.place"]
        assert (entry["positionSide"], entry["timeInForce"], entry["price"]) == ("LONG", "GTX", "60000.0")
        assert (stop["algoType"], stop["triggerPrice"], stop["quantity"]) == ("CONDITIONAL", "60000.0", "0.010")
        assert params["algoOrder.cancel"]["clientAlgoId"] == OPEN_STOP
        assert one.sent(ORDER) == one.sent(ALGO) == one.sent(CANCEL_ALGO) == []
        assert [event.reason for event in one.orders] == [EndReason.NOT_FOUND, EndReason.NOT_FOUND]


@pytest.mark.asyncio
async def test_all_requests_of_a_call_are_on_their_way_together() -> None:
    """A stop does not wait for the entries' answer: everything of one call is sent at once."""
    async with house(started=False) as one:
        arrived = asyncio.Event()

        async def waits(_request: web.Request) -> web.Response:
            await arrived.wait()
            return web.json_response(TAKEN)

        async def comes(_request: web.Request) -> web.Response:
            arrived.set()
            return web.json_response({"algoId": 7, "clientAlgoId": "x"})

        one.venue.answers[ORDER] = waits
        one.venue.answers[ALGO] = comes
        answers = await one.trading.place(BTC, [request(), request(Purpose.STOP, sequence=2)], [])
        assert [answer.kind for answer in answers] == [ACCEPTED, ACCEPTED]


@pytest.mark.asyncio
async def test_orders_that_are_kept_back_give_their_connection_back() -> None:
    """Made ready and then not wanted: the line that was held for them is for the next, and nothing was sent."""
    async with house(started=False) as one:
        await place_one(one)
        lines = one.session.wire._lines
        await until(lambda: len(lines._resting) == 1)
        (line,) = lines._resting
        one.trading.prepare(BTC, [request(sequence=2)], ())
        assert line not in lines._resting, "it is held"
        one.trading.prepare(BTC, (), ())
        assert line in lines._resting
        assert len(one.sent(ORDER)) == 1
