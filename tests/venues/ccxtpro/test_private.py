"""The private stream's life against a server on loopback: keys, losses, bad frames, deafness; none silent."""

import asyncio
from typing import Any

import pytest

from hedgegrid.errors import Fatal
from hedgegrid.messages.events import FundingPaid, OrderEventKind
from hedgegrid.units import NS_PER_MS
from hedgegrid.venues.ccxtpro import funding_follow, private
from hedgegrid.venues.ccxtpro.trading import TradingSettings
from tests.venues.ccxtpro.loopback import until
from tests.venues.ccxtpro.raw_events import account_update, order_update, our_id, trade
from tests.venues.ccxtpro.trading_house import House, house

KEY = "POST /fapi/v1/listenKey"
RENEW = "PUT /fapi/v1/listenKey"
POSITIONS = "GET /fapi/v3/positionRisk"
NEW_KEY = "n" * 64


@pytest.fixture
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have minutes pass in milliseconds."""
    monkeypatch.setattr(private, "RENEW_NS", 30 * NS_PER_MS)
    monkeypatch.setattr(private, "RENEW_AGAIN_NS", 10 * NS_PER_MS)
    monkeypatch.setattr(private, "KEY_LIFE_NS", 60 * NS_PER_MS)
    monkeypatch.setattr(private, "CONFIRM_NS", 20 * NS_PER_MS)
    monkeypatch.setattr(funding_follow, "WAIT_NS", 10 * NS_PER_MS)


def row(amount: str, side: str = "LONG") -> dict[str, Any]:
    """Word a position."""
    return {
        "symbol": "BTCUSDT",
        "positionSide": side,
        "positionAmt": amount,
        "entryPrice": "60000.0",
        "breakEvenPrice": "60000.0",
        "markPrice": "60000.0",
        "unRealizedProfit": "0",
        "liquidationPrice": "0",
        "notional": "0",
        "marginAsset": "USDT",
        "initialMargin": "0",
        "maintMargin": "0",
        "updateTime": 0,
    }


@pytest.mark.asyncio
async def test_it_stands_before_it_is_started() -> None:
    """`start` returns with the socket up under the key that the exchange gave, and tells no gap of its own."""
    async with house() as one:
        assert one.venue.paths == [f"/private/ws?listenKey={'k' * 64}"]
        await one.venue.say(order_update(our_id(), "NEW", "NEW"))
        await until(lambda: len(one.orders) == 1)
        assert one.orders[0].kind is OrderEventKind.ACCEPTED
        assert one.gaps == []
        assert one.trading.sockets()[0].connected
        assert one.trading.heard() == {"OrderReport": 1}


@pytest.mark.asyncio
async def test_refused_keys_end_the_start_at_once() -> None:
    """A key that the exchange does not know is no reason to wait: the start fails in the exchange's words."""
    async with house(started=False) as one:
        one.venue.answer(KEY, {"code": -2015, "msg": "Invalid API-key, IP, or permissions for action"}, 401)
        with pytest.raises(Fatal, match="-2015"):
            await one.trading.start()


@pytest.mark.asyncio
@pytest.mark.usefixtures("_fast")
async def test_the_key_is_renewed_again_and_again() -> None:
    """Renewing once, as ccxt does, leaves a quiet account deaf after an hour: it is renewed as long as it lives."""
    async with house(started=False) as one:
        one.venue.answer(RENEW, {})
        await one.trading.start()
        await until(lambda: len(one.sent(RENEW)) >= 3)
        assert len(one.venue.paths) == 1
        assert one.gaps == []


async def _again(one: House, gaps: int = 2) -> None:
    """Wait for the second socket, under the new key, and for the gaps that were told."""
    await until(lambda: len(one.venue.paths) >= 2 and len(one.gaps) >= gaps)
    assert one.venue.paths[1] == f"/private/ws?listenKey={NEW_KEY}"
    await one.venue.say(order_update(our_id(), "NEW", "NEW"))
    await until(lambda: len(one.orders) == 1)


@pytest.mark.asyncio
@pytest.mark.usefixtures("_fast")
async def test_a_key_that_cannot_be_renewed_is_replaced() -> None:
    """-1125 means that the key is gone: a new one, a new socket, and the exchange is read."""
    async with house(started=False) as one:
        one.venue.answer(RENEW, {"code": -1125, "msg": "This listenKey does not exist."}, 400)
        await one.trading.start()
        one.venue.answer(KEY, {"listenKey": NEW_KEY})
        await _again(one)


@pytest.mark.asyncio
@pytest.mark.usefixtures("_fast")
async def test_a_key_that_is_not_renewed_in_time_is_replaced() -> None:
    """An exchange that does not answer the renewal until the key's life is over: the same."""
    async with house(started=False) as one:
        one.venue.answer(RENEW, b"oops", 502)
        await one.trading.start()
        one.venue.answer(KEY, {"listenKey": NEW_KEY})
        await _again(one)
        assert any(text == "the listen key could not be renewed" for text, _ in one.reports)


@pytest.mark.asyncio
async def test_an_expired_key_brings_a_new_socket() -> None:
    """`listenKeyExpired`, which ccxt ignores: the dead key's socket says nothing more, so it is left."""
    async with house() as one:
        one.venue.answer(KEY, {"listenKey": NEW_KEY})
        await one.venue.say({"e": "listenKeyExpired", "E": 1, "listenKey": "k"})
        await _again(one)


@pytest.mark.asyncio
async def test_a_lost_socket_is_a_gap_at_its_end_and_when_it_stands_again() -> None:
    """What happened in between is on no stream: the exchange is read when it is lost, and again once events flow."""
    async with house() as one:
        one.venue.answer(KEY, {"listenKey": NEW_KEY})
        await one.venue.sockets[0].close()
        await _again(one)
        assert "was lost" in one.gaps[0]
        assert one.gaps[1] == "the private stream stands again"


@pytest.mark.asyncio
@pytest.mark.parametrize("frame", ["{not json", '{"e": "ORDER_TRADE_UPDATE", "o": {}}', "[1, 2]"])
async def test_a_bad_frame_is_a_gap_and_the_stream_goes_on(frame: str) -> None:
    """A frame that cannot be read may have been a fill: the exchange is read; the next frames are heard."""
    async with house() as one:
        await one.venue.say(frame)
        await one.venue.say(trade(our_id(), 1, "0.010", "0.010"))
        await until(lambda: len(one.orders) == 1)
        assert len(one.gaps) == 1
        assert one.reports
        assert len(one.venue.paths) == 1


@pytest.mark.asyncio
async def test_a_fill_that_is_missed_is_noticed_without_another_event() -> None:
    """Time alone tells of a lost fill: nothing else has to come after the report that speaks of it."""
    async with house() as one:
        await one.venue.say(order_update(our_id(), "NEW", "NEW"))
        await one.venue.say(trade(our_id(), 2, "0.006", "0.010"))
        await until(lambda: bool(one.gaps))
        assert one.gaps == ["4 lots of order 77 were filled and not told"]


@pytest.mark.asyncio
@pytest.mark.usefixtures("_fast")
async def test_a_deaf_stream_is_found_out() -> None:
    """A socket that answers pings and tells nothing: the exchange holds what the stream never said, twice."""
    async with house(started=False, settings=TradingSettings(account_poll_ms=20)) as one:
        one.venue.answer(RENEW, {})
        one.venue.answer(POSITIONS, [row("0.010")])
        await one.trading.start()
        await until(lambda: len(one.sent(POSITIONS)) >= 2)
        assert one.gaps == []
        one.venue.answer(KEY, {"listenKey": NEW_KEY})
        one.venue.answer(POSITIONS, [row("0.004")])
        await _again(one)
        assert "BTC/USDT:USDT LONG" in one.gaps[0]


@pytest.mark.asyncio
@pytest.mark.usefixtures("_fast")
async def test_a_stream_that_is_only_late_is_not_deaf(monkeypatch: pytest.MonkeyPatch) -> None:
    """A read may be ahead of the stream by a moment: what the stream then says counts, and nothing is rebuilt."""
    monkeypatch.setattr(private, "CONFIRM_NS", 500 * NS_PER_MS)
    async with house(started=False, settings=TradingSettings(account_poll_ms=20)) as one:
        one.venue.answer(RENEW, {})
        one.venue.answer(POSITIONS, [row("0.010")])
        await one.trading.start()
        await until(lambda: len(one.sent(POSITIONS)) >= 2)
        one.venue.answer(POSITIONS, [row("0.004")])
        asked = len(one.sent(POSITIONS))
        await until(lambda: len(one.sent(POSITIONS)) > asked)
        await one.venue.say(account_update("ORDER", long="0.004"))
        await until(lambda: len(one.sent(POSITIONS)) >= asked + 4)
        assert one.gaps == []
        assert len(one.venue.paths) == 1


@pytest.mark.asyncio
@pytest.mark.usefixtures("_fast")
async def test_funding_that_is_charged_is_read_and_told_by_leg() -> None:
    """The stream says only that the wallet moved; the records say how much was whose, and two reads must agree."""
    async with house() as one:
        now_ms = one.trading.venue_ns() // NS_PER_MS
        minute_ms = now_ms // 60_000 * 60_000
        one.venue.answer(
            "GET /fapi/v1/fundingRate",
            [{"symbol": "BTCUSDT", "fundingTime": minute_ms + 3, "fundingRate": "0.0001", "markPrice": "60000.00"}],
        )
        record = {"symbol": "BTCUSDT", "incomeType": "FUNDING_FEE", "asset": "USDT", "info": "", "tradeId": ""}
        records = [
            {**record, "income": "-0.06", "time": now_ms, "tranId": 1},
            {**record, "income": "0.024", "time": now_ms, "tranId": 2},
        ]
        one.venue.answer("GET /fapi/v1/income", records)
        await one.venue.say(account_update("FUNDING_FEE", change="-0.036"))
        await until(lambda: any(isinstance(event, FundingPaid) for event in one.told))
        (paid,) = [event for event in one.told if isinstance(event, FundingPaid)]
        assert (paid.long_e8, paid.short_e8, paid.rate_e8) == (6_000_000, -2_400_000, 10_000)
        assert (paid.mark_ticks, paid.ts_venue_ns) == (600_000, minute_ms * NS_PER_MS)
        assert len(one.sent("GET /fapi/v1/income")) >= 2


@pytest.mark.asyncio
async def test_nothing_runs_on_after_the_stop() -> None:
    """A stopped trading side leaves no task behind, and keeps the account's key for others."""
    async with house() as one:
        await one.trading.stop()
        left = [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith(("private", "funding"))]
        assert left == []
        assert not [got for got in one.venue.requests if got.method == "DELETE"]
