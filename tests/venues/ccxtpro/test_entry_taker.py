"""Taking entries away without the rest of the bot: what goes, what stays, and what is said when it does not work."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from hedgegrid.model.order import Leg, Purpose
from hedgegrid.runtime.clock import WallClock
from hedgegrid.units import NS_PER_S
from hedgegrid.venues.ccxtpro.endpoints import endpoints
from hedgegrid.venues.ccxtpro.entry_taker import EntryTaker
from hedgegrid.venues.ccxtpro.wire import TradingWire
from tests.venues.ccxtpro.raw_events import BTC, request
from tests.venues.ccxtpro.standin_house import RECV_WINDOW_MS, Desk, desk

BY_HAND = (
    "symbol=BTCUSDT:side=BUY:positionSide=LONG:type=LIMIT:timeInForce=GTC:quantity=0.002:price=99000"
    ":newClientOrderId=by-hand"
)


@asynccontextmanager
async def taker(
    one: Desk, *, account: str = "demo", offset_ns: int = 0, paused_until_ns: int | None = None
) -> AsyncIterator[EntryTaker]:
    """Make what takes the entries of a desk's account away."""
    standin = one.standin
    made = EntryTaker(
        wire=TradingWire(
            endpoints=endpoints("testnet", rest_url=standin.url, ws_url=standin.ws_url),
            api_key=standin.options.key,
            api_secret=standin.options.secret,
            recv_window_ms=RECV_WINDOW_MS,
        ),
        account=account,
        listed=tuple(one.trading._traded.listed.values()),
        recv_window_ms=RECV_WINDOW_MS,
        offset_ns=lambda: offset_ns,
        paused_until_ns=lambda: paused_until_ns,
    )
    try:
        yield made
    finally:
        await made.close()


def resting(one: Desk) -> set[str]:
    """What rests at the stand-in, both lists."""
    account = one.standin.exchange.summary()
    return {row["clientOrderId"] for row in account["orders"]} | {row["clientAlgoId"] for row in account["algoOrders"]}


async def laid(one: Desk) -> tuple[set[str], set[str]]:
    """Lay entries of both legs, and a take-profit, a stop and a foreign order beside them; give both groups."""
    await one.hold()
    entries = [one.buy(sequence=1), one.buy(sequence=2, price_ticks=one.bid_ticks - 1_100)]
    entries.append(one.buy(leg=Leg.SHORT, sequence=3, price_ticks=one.bid_ticks + 1_000))
    exits = [
        one.stop(qty_lots=10),
        request(Purpose.TAKE_PROFIT, sequence=501, qty_lots=10, price_ticks=one.bid_ticks + 500),
    ]
    await one.trading.place(BTC, entries, [])
    await one.trading.place(BTC, exits, [])
    one.arm(f"manual-order:{BY_HAND}")
    mine = {each.client_id for each in entries}
    return mine, resting(one) - mine


@pytest.mark.asyncio
async def test_only_our_entries_go() -> None:
    """Exits, stops and what others have in the account stay as they are."""
    async with desk() as one, taker(one) as last_resort:
        entries, others = await laid(one)
        assert len(others) >= 3
        taken = await last_resort.take()
        assert (set(taken.asked), taken.problems) == (entries, ())
        assert resting(one) == others
        assert (await last_resort.take()).asked == ()


@pytest.mark.asyncio
async def test_another_accounts_entries_stay() -> None:
    """Two bots under one key do not take each other's orders away."""
    async with desk() as one, taker(one, account="other") as last_resort:
        await laid(one)
        before = resting(one)
        assert (await last_resort.take()).asked == ()
        assert resting(one) == before


@pytest.mark.asyncio
async def test_failed_read_is_told_and_the_next_pass_works() -> None:
    """An exchange that is busy costs a pass, not the thread."""
    async with desk() as one, taker(one) as last_resort:
        entries, _ = await laid(one)
        one.arm("503-unavailable:1:on=GET /fapi/v1/openOrders")
        first = await last_resort.take()
        assert first.asked == ()
        assert len(first.problems) == 1
        assert set((await last_resort.take()).asked) == entries


@pytest.mark.asyncio
async def test_clock_that_is_off_is_measured_anew() -> None:
    """The bot's measure may be old, and the bot cannot measure again: -1021 is answered by a measure of our own."""
    async with desk() as one, taker(one, offset_ns=-60 * NS_PER_S) as last_resort:
        entries, _ = await laid(one)
        assert set((await last_resort.take()).asked) == entries


@pytest.mark.asyncio
async def test_ban_that_stands_is_kept() -> None:
    """What is asked while the exchange has banned us makes the ban longer: nothing is sent before it ends."""
    async with desk() as one, taker(one, paused_until_ns=WallClock().now_ns() + 60 * NS_PER_S) as last_resort:
        await laid(one)
        sent = one.standin.log.count("request", "GET /fapi/v1/openOrders")
        taken = await last_resort.take()
        assert (taken.asked, taken.problems) == ((), ("the exchange has asked for silence",))
        assert one.standin.log.count("request", "GET /fapi/v1/openOrders") == sent


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("change", "ours"),
    [
        ({}, True),
        ({"side": "SELL"}, False),
        ({"positionSide": "SHORT"}, False),
        ({"clientOrderId": "web_1"}, False),
        ({"clientOrderId": None}, False),
    ],
    ids=["an entry", "a side that reduces", "another leg", "foreign", "no id"],
)
async def test_what_an_order_does_must_agree_with_its_id(change: dict[str, Any], ours: bool) -> None:
    """An id alone takes nothing away."""
    async with desk() as one, taker(one) as last_resort:
        name = request(sequence=9).client_id
        row = {"clientOrderId": name, "side": "BUY", "positionSide": "LONG", **change}
        assert last_resort._is_our_entry(row) is ours
