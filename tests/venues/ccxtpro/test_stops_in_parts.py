"""A stop above the exchange's largest market quantity: several conditionals at the exchange, one stop for everybody."""

from typing import Any

import pytest
from aiohttp import web

from hedgegrid.messages.events import EndReason, OrderEventKind
from hedgegrid.model.order import Purpose
from hedgegrid.ports import LookUp
from hedgegrid.units import NS_PER_MS
from hedgegrid.venues.ccxtpro.order_requests import slice_id
from tests.venues.ccxtpro.loopback import Answer, listed, until
from tests.venues.ccxtpro.raw_events import BTC, algo_update, request
from tests.venues.ccxtpro.standin_house import Desk, desk, desk_at
from tests.venues.ccxtpro.trading_house import ALGO, CANCEL_ALGO, House, house, lost

ACCEPTED, REJECTED, UNKNOWN = OrderEventKind.ACCEPTED, OrderEventKind.REJECTED, OrderEventKind.UNKNOWN
CANCELLED, FILLED = OrderEventKind.CANCELLED, OrderEventKind.FILLED
STOP = request(Purpose.STOP, qty_lots=10)
PARTS = [slice_id(STOP.client_id, number) for number in range(3)]
GONE = {"algoId": 1, "clientAlgoId": "x", "code": "200", "msg": "success"}


def by_name(answers: dict[str, Any]) -> Answer:
    """Answer each part by its id: taken, or refused with a code; None breaks the connection."""

    async def reply(asked: web.Request) -> web.StreamResponse:
        body = (await asked.read()).decode()
        fields = {**asked.query, **dict(pair.split("=", 1) for pair in body.split("&") if "=" in pair)}
        code = answers.get(fields["clientAlgoId"], 0)
        if code is None:
            return await lost()(asked)
        if code:
            return web.json_response({"code": code, "msg": "words"}, status=400)
        return web.json_response({"algoId": 7, "clientAlgoId": fields["clientAlgoId"]})

    return reply


def in_parts(**changes: Any) -> Any:
    """Open a house where a stop of ten lots goes in three."""
    return house(rules=(listed(market_max_lots=4),), **changes)


async def short_desk(one: Desk) -> None:
    """Hold ten lots, and let the exchange admit four at once."""
    await one.hold(10)
    one.arm("filter-change:market_max_qty=0.004")


@pytest.mark.asyncio
async def test_its_parts_are_sent_and_answered_as_one() -> None:
    """Three conditionals under ids of their own, within the maximum, and one answer; they are accepted as one."""
    async with in_parts() as one:
        one.venue.answers[ALGO] = by_name({})
        (answer,) = await one.trading.place(BTC, [STOP], [])
        assert (answer.kind, answer.client_id) == (ACCEPTED, STOP.client_id)
        sent = one.sent(ALGO)
        assert {row["clientAlgoId"]: row["quantity"] for row in sent} == dict(
            zip(PARTS, ("0.004", "0.004", "0.002"), strict=True)
        )
        assert {row["triggerPrice"] for row in sent} == {"60000.0"}
        for number, name in enumerate(PARTS):
            await one.venue.say(algo_update(name, "NEW", aid=number + 1))
        await until(lambda: len(one.orders) == 3)
        assert {(event.kind, event.client_id) for event in one.orders} == {(ACCEPTED, STOP.client_id)}


@pytest.mark.asyncio
async def test_a_refused_part_takes_the_others_back() -> None:
    """A stop that covers less than it says is none: its other parts are cancelled, and it is answered as refused."""
    async with in_parts() as one:
        one.venue.answers[ALGO] = by_name({PARTS[1]: -2021})
        one.venue.answer(CANCEL_ALGO, GONE)
        (answer,) = await one.trading.place(BTC, [STOP], [])
        assert (answer.kind, answer.reason, answer.client_id) == (
            REJECTED,
            EndReason.WOULD_TRIGGER,
            STOP.client_id,
        )
        assert sorted(row["clientAlgoId"] for row in one.sent(CANCEL_ALGO)) == sorted([PARTS[0], PARTS[2]])
        for number in (0, 2):
            await one.venue.say(algo_update(PARTS[number], "NEW", aid=number + 1))
            await one.venue.say(algo_update(PARTS[number], "CANCELED", aid=number + 1))
        await one.venue.say(algo_update(request(Purpose.STOP, sequence=9).client_id, "NEW"))
        await until(lambda: len(one.orders) == 1)
        assert one.orders[0].client_id != STOP.client_id, "what was refused does not speak any more"
        assert one.gaps == []


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("placing", "cancelling"), [({PARTS[2]: None}, {}), ({PARTS[1]: -2021}, {PARTS[0]: None})], ids=["place", "cancel"]
)
async def test_a_part_that_may_stand_leaves_it_unknown(placing: dict[str, Any], cancelling: dict[str, Any]) -> None:
    """One part of which nobody knows: the whole is UNKNOWN, and is looked up."""
    async with in_parts(started=False) as one:
        one.venue.answers[ALGO] = by_name(placing)
        one.venue.answers[CANCEL_ALGO] = by_name(cancelling)
        (answer,) = await one.trading.place(BTC, [STOP], [])
        assert (answer.kind, answer.client_id) == (UNKNOWN, STOP.client_id)


@pytest.mark.asyncio
async def test_more_parts_than_there_can_be_are_refused_here() -> None:
    """A stop that cannot be laid whole is refused at once, so that the lot is closed in another way."""
    async with in_parts(started=False) as one:
        (answer,) = await one.trading.place(BTC, [request(Purpose.STOP, qty_lots=1_000)], [])
        assert answer.kind is REJECTED
        assert one.sent(ALGO) == []


async def _cancelled(one: House, answers: dict[str, Any]) -> list[tuple[OrderEventKind, EndReason]]:
    one.venue.answers[ALGO] = by_name({})
    await one.trading.place(BTC, [STOP], [])
    one.venue.answers[CANCEL_ALGO] = by_name(answers)
    await one.trading.cancel(BTC, [STOP.client_id])
    assert sorted(row["clientAlgoId"] for row in one.sent(CANCEL_ALGO)) == sorted(PARTS)
    assert {event.client_id for event in one.orders} <= {STOP.client_id}
    return [(event.kind, event.reason) for event in one.orders]


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ({}, []),
        ({PARTS[0]: -2011}, []),
        (dict.fromkeys(PARTS, -2011), [(OrderEventKind.CANCEL_FAILED, EndReason.NOT_FOUND)]),
        ({PARTS[1]: -4088}, [(OrderEventKind.CANCEL_FAILED, EndReason.REFUSED)]),
    ],
    ids=["all", "one gone", "all gone", "one kept"],
)
async def test_it_is_cancelled_part_by_part(answers: dict[str, Any], said: list[Any]) -> None:
    """A cancel reaches every part; it failed where one stands on, or where none was there."""
    async with in_parts(started=False) as one:
        assert await _cancelled(one, answers) == said


@pytest.mark.asyncio
async def test_a_part_that_ends_alone_is_a_gap() -> None:
    """Somebody cancelled a part by hand: the stop covers less than anybody knows until the exchange is read."""
    async with in_parts() as one:
        one.venue.answers[ALGO] = by_name({})
        await one.trading.place(BTC, [STOP], [])
        await one.venue.say(algo_update(PARTS[1], "CANCELED"))
        await until(lambda: len(one.gaps) == 1)
        assert "a part of a stop" in one.gaps[0]
        assert one.orders == []


# --- at the stand-in --------------------------------------------------------------------------------------------------


@pytest.mark.asyncio
@pytest.mark.parametrize("triggered_id", ["client_algo_id", "fresh"])
async def test_it_triggers_and_fills_under_one_id(triggered_id: str) -> None:
    """Three parts become three orders: their fills, streamed and read, and the look-up are the stop's."""
    async with desk(switches={"triggered_id": triggered_id}) as first:
        await short_desk(first)
        async with desk_at(first.standin) as one:
            stop = one.stop()
            (answer,) = await one.trading.place(BTC, [stop], [])
            assert answer.kind is ACCEPTED
            (shown,) = await one.trading.open_stops()
            assert (shown.client_id, shown.qty_lots, shown.filled_lots) == (stop.client_id, 10, 0)
            assert (await one.trading.look_up(BTC, stop.client_id, conditional=True)).state is LookUp.OPEN
            one.arm("price:bps=-100")
            await until(lambda: len(one.fills) == 3)
            assert {fill.client_id for fill in one.fills} == {stop.client_id}
            assert [event.qty_lots for event in one.orders if event.kind is FILLED] == [6, 2, 0]
            assert await one.trading.positions() == ()
            read = await one.trading.fills_since({})
            assert sum(fill.qty_lots for fill in read if fill.client_id == stop.client_id) == 10
            look = await one.trading.look_up(BTC, stop.client_id, conditional=True)
            assert (look.state, look.end, look.filled_lots) == (LookUp.ENDED, FILLED, 10)
            assert one.gaps == []


@pytest.mark.asyncio
async def test_a_later_life_knows_it_again() -> None:
    """After a restart the list of stops shows it whole; it is cancelled whole, and ends once."""
    async with desk() as first:
        await short_desk(first)
        async with desk_at(first.standin) as one:
            stop = one.stop()
            await one.trading.place(BTC, [stop], [])
            began_ns = one.trading.venue_ns() - 60_000 * NS_PER_MS
        async with desk_at(first.standin, books_from_ns=began_ns) as later:
            (shown,) = await later.trading.open_stops()
            assert (shown.client_id, shown.qty_lots) == (stop.client_id, 10)
            await later.trading.cancel(BTC, [stop.client_id])
            await later.told_of(stop.client_id, CANCELLED)
            assert first.standin.exchange.algos.of("BTCUSDT") == []
            assert [event.kind for event in later.orders] == [CANCELLED]
            assert later.gaps == []


@pytest.mark.asyncio
@pytest.mark.parametrize("transport", ["rest", "ws"])
async def test_it_is_replaced_whole(transport: str) -> None:
    """A successor in parts stands before any part of the old one goes, and then all do; by REST or by the socket."""
    async with desk() as first:
        await short_desk(first)
        async with desk_at(first.standin, by_socket=transport == "ws") as one:
            await until(lambda: all(socket.connected for socket in one.trading.sockets()))
            old, new = one.stop(), one.stop(sequence=501, price_ticks=one.bid_ticks - 2_000)
            await one.trading.place(BTC, [old], [])
            (answer,) = await one.trading.place(BTC, [new], [old.client_id])
            assert answer.kind is ACCEPTED
            await one.told_of(old.client_id, CANCELLED)
            (shown,) = await one.trading.open_stops()
            assert (shown.client_id, shown.qty_lots) == (new.client_id, 10)
            asked = [each for each in first.standin.log.of("request") if each.name.endswith("/fapi/v1/algoOrder")]
            assert {each.facts["transport"] for each in asked} == {transport}
            assert len(asked) == 9
