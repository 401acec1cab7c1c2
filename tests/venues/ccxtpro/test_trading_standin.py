"""The trading side at the stand-in: what it tells and reads is the exchange's own account, faults included."""

from typing import Any

import attrs
import pytest

from hedgegrid.errors import OutcomeUnknown
from hedgegrid.messages.events import AccountChanged, EndReason, FundingPaid, OrderEventKind
from hedgegrid.model.order import Fill, Leg, Purpose
from hedgegrid.ports import LookUp
from hedgegrid.units import NS_PER_MINUTE, NS_PER_MS
from hedgegrid.venues.ccxtpro import funding_follow
from tests.venues.ccxtpro.loopback import until
from tests.venues.ccxtpro.raw_events import BTC, request
from tests.venues.ccxtpro.standin_house import desk, desk_at
from tools.standin.serving import running_standin

ACCEPTED, FILLED, CANCELLED = OrderEventKind.ACCEPTED, OrderEventKind.FILLED, OrderEventKind.CANCELLED
BOTH_CHANNELS = pytest.mark.parametrize("by_socket", [False, True], ids=["rest", "websocket"])


@pytest.mark.asyncio
@BOTH_CHANNELS
async def test_the_life_of_an_entry(by_socket: bool) -> None:
    """Placed, acknowledged, listed, looked up, cancelled: the stream and the reads agree, by either channel."""
    async with desk(by_socket=by_socket) as one:
        if by_socket:
            await until(lambda: one.trading.sockets()[1].connected)
        entry = one.buy()
        (answer,) = await one.trading.place(BTC, [entry], [])
        assert answer.kind is ACCEPTED
        await one.told_of(entry.client_id, ACCEPTED)
        (listed,) = await one.trading.open_orders()
        assert (listed.client_id, listed.price_ticks, listed.qty_lots) == (entry.client_id, entry.price_ticks, 10)
        look = await one.trading.look_up(BTC, entry.client_id, conditional=False)
        assert (look.state, look.filled_lots) == (LookUp.OPEN, 0)
        await one.trading.cancel(BTC, [entry.client_id])
        ended = await one.told_of(entry.client_id, CANCELLED)
        assert ended.reason is EndReason.BY_REQUEST
        look = await one.trading.look_up(BTC, entry.client_id, conditional=False)
        assert (look.state, look.end) == (LookUp.ENDED, CANCELLED)
        assert await one.trading.open_orders() == ()
        absent = await one.trading.look_up(BTC, one.buy(sequence=99).client_id, conditional=False)
        assert absent.state is LookUp.ABSENT
        assert one.gaps == []


@pytest.mark.asyncio
@BOTH_CHANNELS
async def test_orders_made_ready_are_sent_by_place_alone(by_socket: bool) -> None:
    """Protects law 4: writing and signing before the journal is done sends nothing, and what is placed is the same."""
    async with desk(by_socket=by_socket) as one:
        if by_socket:
            await until(lambda: one.trading.sockets()[1].connected)
        orders = [one.buy(), one.buy(sequence=2, level=2, price_ticks=one.bid_ticks - 2_000)]
        one.trading.prepare(BTC, orders, [])
        other = one.buy(sequence=3, level=3)
        await one.trading.place(BTC, [other], [])
        assert [order.client_id for order in await one.trading.open_orders()] == [other.client_id]
        one.trading.prepare(BTC, orders, [])
        answers = await one.trading.place(BTC, orders, [])
        assert [answer.kind for answer in answers] == [ACCEPTED, ACCEPTED]
        listed = {order.client_id: order.price_ticks for order in await one.trading.open_orders()}
        assert listed == {order.client_id: order.price_ticks for order in (*orders, other)}


@pytest.mark.asyncio
@BOTH_CHANNELS
async def test_cancels_made_ready_are_sent_by_cancel_alone(by_socket: bool) -> None:
    """A cancel that is written while the disk works ends nothing by that, and no order but those it is asked for."""
    async with desk(by_socket=by_socket) as one:
        if by_socket:
            await until(lambda: one.trading.sockets()[1].connected)
        orders = [one.buy(sequence=at, level=at, price_ticks=one.bid_ticks - 1_000 * at) for at in (1, 2, 3)]
        await one.trading.place(BTC, orders, [])
        names = [order.client_id for order in orders]

        async def standing() -> list[str]:
            return sorted(order.client_id for order in await one.trading.open_orders())

        one.trading.prepare(BTC, [], names[:2])
        assert await standing() == sorted(names)
        await one.trading.cancel(BTC, names[2:])
        assert await standing() == sorted(names[:2])
        one.trading.prepare(BTC, [], names[:2])
        await one.trading.cancel(BTC, names[:2])
        assert await standing() == []


@pytest.mark.asyncio
@BOTH_CHANNELS
async def test_a_signature_that_waited_too_long_is_made_anew(by_socket: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that took long must not make the exchange refuse an order for its time: each stamp is of its sending."""
    async with desk(by_socket=by_socket) as one:
        if by_socket:
            await until(lambda: one.trading.sockets()[1].connected)
        venue_ns, late_ms = one.session.venue_ns, 4_000
        monkeypatch.setattr(one.session, "venue_ns", lambda: venue_ns() - late_ms * NS_PER_MS)
        entry = one.buy()
        one.trading.prepare(BTC, [entry], [])
        monkeypatch.setattr(one.session, "venue_ns", venue_ns)
        await one.trading.place(BTC, [entry], [])
        (sent,) = one.standin.log.of("request", "POST /fapi/v1/order")
        assert int(sent.facts["params"]["timestamp"]) > venue_ns() // NS_PER_MS - late_ms // 2


@pytest.mark.asyncio
async def test_fills_read_back_are_the_fills_that_were_told() -> None:
    """Both legs, entries and reductions: the read gives the stream's fills to the last figure, from a cursor on."""
    async with desk() as one:
        await one.hold(10)
        await one.hold(7, Leg.SHORT, sequence=401)
        reduce = request(Purpose.FLATTEN, qty_lots=4, sequence=402, level=-1)
        await one.trading.place(BTC, [reduce], [])
        await one.told_of(reduce.client_id, FILLED)
        read = await one.trading.fills_since({})
        assert sorted(read, key=_key) == sorted(one.fills, key=_key)
        newest = max(fill.trade_id for fill in read)
        assert await one.trading.fills_since({BTC: newest}) == ()
        last = [fill for fill in read if fill.trade_id > min(fill.trade_id for fill in read)]
        assert await one.trading.fills_since({BTC: min(fill.trade_id for fill in read)}) == tuple(last)
        held = {(one_.leg, one_.qty_lots) for one_ in await one.trading.positions()}
        assert held == {(Leg.LONG, 6), (Leg.SHORT, 7)}


def _key(fill: Fill) -> tuple[int, str]:
    return (fill.trade_id, fill.client_id)


@pytest.mark.asyncio
async def test_a_restarted_trading_side_knows_whose_the_fills_are() -> None:
    """After a restart nothing is remembered: ids come from the exchange, and the fills are the same values."""
    async with desk() as one:
        await one.hold(10)
        began_ns = one.trading.venue_ns() - 60_000 * NS_PER_MS
        async with desk_at(one.standin, books_from_ns=began_ns) as other:
            assert await other.trading.fills_since({}) == tuple(one.fills)
        async with desk_at(one.standin) as later:
            assert await later.trading.fills_since({}) == ()


@pytest.mark.asyncio
async def test_the_books_add_up_to_the_wallet() -> None:
    """Wallet = what it began with + realised - fees - funding, as the exchange tells each of them."""
    async with desk() as one:
        before = await one.trading.balance()
        assert (before.realised_e8, before.fees_e8, before.funding_e8) == (0, 0, 0)
        await one.hold(10)
        one.arm("price:bps=50")
        reduce = request(Purpose.FLATTEN, qty_lots=10, sequence=402, level=-1)
        await one.trading.place(BTC, [reduce], [])
        await one.told_of(reduce.client_id, FILLED)
        after = await one.trading.balance()
        again = await one.trading.balance()
        assert again == after
        assert after.wallet_e8 == one.standin.exchange.wallet_e8
        assert after.wallet_e8 == before.wallet_e8 + after.realised_e8 - after.fees_e8 - after.funding_e8
        assert after.realised_e8 == sum(fill.realised_e8 for fill in one.fills) > 0
        assert after.fees_e8 == sum(fill.fee_e8 for fill in one.fills) > 0
        wallets = [event.wallet_e8 for event in one.told if isinstance(event, AccountChanged)]
        assert wallets[-1] == after.wallet_e8


@pytest.mark.asyncio
@pytest.mark.parametrize("triggered_id", ["client_algo_id", "fresh"])
@pytest.mark.parametrize("close_all", [False, True], ids=["stop", "backstop"])
async def test_a_triggered_stop_fills_under_our_id(triggered_id: str, close_all: bool) -> None:
    """Whatever the exchange calls the order that a stop becomes, stream, look-up and read say that it is our stop."""
    async with desk(switches={"triggered_id": triggered_id}) as one:
        await one.hold(10)
        purpose = Purpose.BACKSTOP if close_all else Purpose.STOP
        changes: dict[str, Any] = {"close_all": True, "qty_lots": 0} if close_all else {}
        stop = attrs.evolve(request(purpose, sequence=500), price_ticks=one.bid_ticks - 1_000, **changes)
        (answer,) = await one.trading.place(BTC, [stop], [])
        assert answer.kind is ACCEPTED
        (listed,) = await one.trading.open_stops()
        assert (listed.client_id, listed.close_all, listed.price_ticks) == (
            stop.client_id,
            close_all,
            stop.price_ticks,
        )
        assert (await one.trading.look_up(BTC, stop.client_id, conditional=True)).state is LookUp.OPEN
        began_ns = one.trading.venue_ns() - 60_000 * NS_PER_MS
        one.arm("price:bps=-100")
        filled = await one.told_of(stop.client_id, FILLED)
        assert filled.fill is not None
        assert (filled.fill.purpose, filled.fill.qty_lots, filled.qty_lots) == (purpose, 10, 0)
        look = await one.trading.look_up(BTC, stop.client_id, conditional=True)
        assert (look.state, look.end, look.filled_lots) == (LookUp.ENDED, FILLED, 10)
        async with desk_at(one.standin, books_from_ns=began_ns) as other:
            look = await other.trading.look_up(BTC, stop.client_id, conditional=True)
            assert (look.state, look.filled_lots) == (LookUp.ENDED, 10)
            order_id = one.standin.exchange.trades[-1].order_id
            assert other.trading._traded.names.name_of(BTC, order_id) == stop.client_id
        async with desk_at(one.standin, books_from_ns=began_ns) as other:
            read = await other.trading.fills_since({})
            assert read[-1] == filled.fill
        assert one.gaps == []
        assert await one.trading.positions() == ()


@pytest.mark.asyncio
async def test_a_stop_is_replaced_without_a_moment_without() -> None:
    """The new stop is there before the old one goes; the old one's end is told by the stream."""
    async with desk() as one:
        await one.hold(10)
        old, new = one.stop(), one.stop(sequence=501, price_ticks=one.bid_ticks - 2_000)
        await one.trading.place(BTC, [old], [])
        (answer,) = await one.trading.place(BTC, [new], [old.client_id])
        assert answer.kind is ACCEPTED
        await one.told_of(old.client_id, CANCELLED)
        assert [stop.client_id for stop in await one.trading.open_stops()] == [new.client_id]
        wrong = one.stop(sequence=502, price_ticks=one.bid_ticks + 2_000)
        (answer,) = await one.trading.place(BTC, [wrong], [new.client_id])
        assert answer.reason is EndReason.WOULD_TRIGGER
        kept = await one.told_of(new.client_id, OrderEventKind.CANCEL_FAILED)
        assert kept.reason is EndReason.REFUSED
        assert [stop.client_id for stop in await one.trading.open_stops()] == [new.client_id]


@pytest.mark.asyncio
async def test_a_market_order_above_the_venues_maximum_fills_whole() -> None:
    """Parts of a reduction fill under one id, on the stream and when read, until the leg is flat."""
    async with desk() as one:
        await one.hold(20)
        one.arm("filter-change:market_max_qty=0.008")
        async with desk_at(one.standin) as limited:
            whole = request(Purpose.FLATTEN, qty_lots=20, sequence=402, level=-1)
            (answer,) = await limited.trading.place(BTC, [whole], [])
            assert answer.kind is ACCEPTED
            await until(lambda: len(limited.fills) == 3)
            assert {fill.client_id for fill in limited.fills} == {whole.client_id}
            assert [event.qty_lots for event in limited.orders if event.fill] == [12, 4, 0]
            assert await limited.trading.positions() == ()
            read = await limited.trading.fills_since({})
            assert sorted(read, key=_key) == sorted(limited.fills, key=_key)
            look = await limited.trading.look_up(BTC, whole.client_id, conditional=False)
            assert (look.state, look.filled_lots) == (LookUp.ENDED, 20)


@pytest.mark.asyncio
@pytest.mark.parametrize("fault", ["response-lost", "truncated", "503-unknown-done", "1006-done", "1007-done"])
async def test_a_lost_answer_is_unknown_and_the_order_is_found(fault: str) -> None:
    """The exchange took it and the answer is gone: UNKNOWN, once, and a look finds it working."""
    async with desk() as one:
        one.arm(f"{fault}:1:path=/fapi/v1/order")
        entry = one.buy()
        (answer,) = await one.trading.place(BTC, [entry], [])
        assert answer.kind is OrderEventKind.UNKNOWN
        await one.told_of(entry.client_id, ACCEPTED)
        look = await one.trading.look_up(BTC, entry.client_id, conditional=False)
        assert look.state is LookUp.OPEN
        assert len(one.standin.exchange.open_orders()) == 1
        one.arm(f"{fault}:1:path=/fapi/v1/order")
        with pytest.raises(OutcomeUnknown):
            await one.trading.cancel(BTC, [entry.client_id])
        await one.told_of(entry.client_id, CANCELLED)


@pytest.mark.asyncio
async def test_a_fill_that_the_stream_drops_is_missed_and_read() -> None:
    """One dropped user event: the order's later report shows that lots are missing, and the read has them."""
    async with desk() as one:
        entry = one.buy()
        await one.trading.place(BTC, [entry], [])
        await one.told_of(entry.client_id, ACCEPTED)
        one.arm("event-drop:1:e=ORDER_TRADE_UPDATE")
        one.arm(f"fill:client={entry.client_id}:lots=4")
        one.arm(f"fill:client={entry.client_id}:lots=6")
        await until(lambda: bool(one.gaps))
        assert "4 lots" in one.gaps[0]
        assert [fill.qty_lots for fill in one.fills] == [6]
        newest = one.fills[0].trade_id
        read = await one.trading.fills_since({BTC: newest})
        assert [fill.qty_lots for fill in read] == [4]
        assert await one.trading.fills_since({BTC: newest}) == ()


@pytest.mark.asyncio
@pytest.mark.parametrize("fault", ["event-dup:always", "event-reorder:3", "event-delay:2:ms=50"])
async def test_events_that_come_twice_late_or_in_disorder_are_one_life(fault: str) -> None:
    """Repeated, overtaken and late events tell each fill once, and no gap is imagined."""
    async with desk() as one:
        entry = one.buy()
        one.arm(fault)
        await one.trading.place(BTC, [entry], [])
        one.arm(f"fill:client={entry.client_id}:lots=4")
        one.arm(f"fill:client={entry.client_id}:lots=6")
        second = one.buy(sequence=2)
        await one.trading.place(BTC, [second], [])
        await one.told_of(second.client_id, ACCEPTED)
        await until(lambda: len(one.fills) == 2)
        assert sorted(fill.qty_lots for fill in one.fills) == [4, 6]
        assert len({fill.trade_id for fill in one.fills}) == 2


@pytest.mark.asyncio
async def test_the_exchanges_own_orders_shrink_the_leg() -> None:
    """ADL of one leg, then the liquidation of all: fills with the purpose LIQUIDATION, told and read alike."""
    async with desk() as one:
        await one.hold(10)
        await one.hold(7, Leg.SHORT, sequence=401)
        one.arm("adl:side=LONG:lots=3")
        await until(lambda: any(fill.purpose is Purpose.LIQUIDATION for fill in one.fills))
        forced = [fill for fill in one.fills if fill.purpose is Purpose.LIQUIDATION]
        assert [(fill.leg, fill.qty_lots, fill.client_id.startswith("adl_autoclose")) for fill in forced] == [
            (Leg.LONG, 3, True)
        ]
        one.arm("liquidation")
        await until(lambda: sum(fill.qty_lots for fill in one.fills if fill.purpose is Purpose.LIQUIDATION) == 17)
        assert await one.trading.positions() == ()
        read = await one.trading.fills_since({})
        assert sorted(read, key=_key) == sorted(one.fills, key=_key)


@pytest.mark.asyncio
async def test_a_foreign_order_is_told_as_what_it_is() -> None:
    """Somebody's own order on the account: listed, filled and read under its own id, and nobody's but theirs."""
    async with desk() as one:
        one.arm("manual-order:symbol=BTCUSDT:side=BUY:positionSide=LONG:type=MARKET:quantity=0.005")
        await until(lambda: len(one.fills) == 1)
        assert one.fills[0].purpose is Purpose.ENTRY
        assert not one.fills[0].client_id.startswith("demo.")
        assert await one.trading.fills_since({}) == tuple(one.fills)


@pytest.mark.asyncio
async def test_funding_is_told_by_leg_and_adds_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both legs at a settlement: what each paid or received, the two together what the wallet lost."""
    monkeypatch.setattr(funding_follow, "WAIT_NS", 100 * NS_PER_MS)
    async with (
        running_standin(still=True) as standin,
        desk_at(standin, books_from_ns=standin.clock.now_ms() * NS_PER_MS - NS_PER_MINUTE) as one,
    ):
        await one.hold(10)
        await one.hold(4, Leg.SHORT, sequence=401)
        wallet_e8 = one.standin.exchange.wallet_e8
        one.arm("funding:symbol=BTCUSDT:rate=0.0004")
        await until(lambda: any(isinstance(event, FundingPaid) for event in one.told))
        (paid,) = [event for event in one.told if isinstance(event, FundingPaid)]
        assert paid.rate_e8 == 40_000
        assert paid.long_e8 > 0 > paid.short_e8
        assert paid.long_e8 + paid.short_e8 == wallet_e8 - one.standin.exchange.wallet_e8
        assert await one.trading.funding_since(0) == (paid,)
        assert await one.trading.funding_since(paid.ts_venue_ns) == ()


@pytest.mark.asyncio
async def test_a_transfer_is_no_result() -> None:
    """Money that comes in moves the wallet with its delta, and none of the sums."""
    async with desk() as one:
        one.arm("transfer:amount=500")
        await until(lambda: any(isinstance(event, AccountChanged) for event in one.told))
        (changed,) = [event for event in one.told if isinstance(event, AccountChanged)]
        assert changed.delta_e8 == 50_000_000_000
        balance = await one.trading.balance()
        assert (balance.wallet_e8, balance.realised_e8) == (changed.wallet_e8, 0)


@pytest.mark.asyncio
async def test_an_expired_key_is_replaced_and_events_flow_again() -> None:
    """The listen key runs out in the middle: a new one, gaps, and the next fill is heard."""
    async with desk() as one:
        one.arm("listen-key-expiry")
        await until(lambda: "the private stream stands again" in one.gaps)
        await one.hold(10)


@pytest.mark.asyncio
async def test_one_way_mode_is_refused_with_its_reason() -> None:
    """The account was switched to one-way mode behind our back: every order is refused as MODE."""
    async with desk() as one:
        one.arm("mode-one-way")
        (answer,) = await one.trading.place(BTC, [one.buy()], [])
        assert (answer.kind, answer.reason) == (OrderEventKind.REJECTED, EndReason.MODE)


@pytest.mark.asyncio
async def test_the_countdown_is_armed_and_disarmed() -> None:
    """The dead-man's switch cancels what rests when it is not refreshed, and nothing once it is disarmed."""
    async with desk() as one:
        first, second = one.buy(), one.buy(sequence=2)
        await one.trading.place(BTC, [first], [])
        await one.trading.refresh_countdown(BTC, 200)
        await one.told_of(first.client_id, CANCELLED)
        await one.trading.place(BTC, [second], [])
        await one.trading.refresh_countdown(BTC, 60_000)
        await one.trading.refresh_countdown(BTC, 0)
        one.standin.exchange.tick(one.standin.clock.now_ms() + 120_000)
        assert [order.client_id for order in await one.trading.open_orders()] == [second.client_id]
        assert await one.trading.mark_ticks(BTC) == one.standin.exchange.quote("BTCUSDT").mark_ticks


@pytest.mark.asyncio
async def test_a_backstop_is_moved() -> None:
    """The exchange has one of a leg and refuses a second: the old one goes first, and a lot's own stop stays."""
    async with desk() as one:
        await one.hold(10)
        stop = attrs.evolve(request(Purpose.STOP, sequence=500), price_ticks=one.bid_ticks - 1_000)
        old, new = (
            attrs.evolve(
                request(Purpose.BACKSTOP, sequence=501 + place),
                price_ticks=one.bid_ticks - deep,
                close_all=True,
                qty_lots=0,
            )
            for place, deep in enumerate((3_000, 2_500))
        )
        answers = [
            *await one.trading.place(BTC, [old, stop], []),
            *await one.trading.place(BTC, [new], [old.client_id]),
        ]
        assert [answer.kind for answer in answers] == [ACCEPTED] * 3
        assert {order.client_id for order in await one.trading.open_stops()} == {stop.client_id, new.client_id}
