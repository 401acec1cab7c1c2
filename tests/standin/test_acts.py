"""Faults that happen at once, and the operator's door: each does what it says, seen from outside."""

from typing import Any

import pytest

from tests.standin.clients import Rest, eventually, private, rest, wire
from tools.standin.fault_kinds import KINDS, Moment
from tools.standin.faults import FaultTextError
from tools.standin.serving import running_standin

SEEN = {
    "listen-key-expiry",
    "half-open",
    "socket-close",
    "bad-frame",
    "burst",
    "event-burst",
    "skew",
    "clock-jump",
    "filter-change",
    "symbol-reduce-only",
    "symbol-status",
    "liquidation",
    "adl",
    "settlement",
    "manual-order",
    "manual-stop",
    "mode-one-way",
    "mode-hedge",
    "fill",
    "order-expire",
    "thin-market",
    "transfer",
    "funding",
    "funding-interval",
    "funding-late",
    "trigger-fails",
    "countdown-late",
    "price",
    "switch",
}


def test_every_act_has_a_test() -> None:
    """A fault that nobody has seen fire is a promise, not a fault."""
    assert {name for name, kind in KINDS.items() if kind.moment is Moment.ACT} == SEEN


async def post(client: Rest, path: str, body: Any) -> tuple[int, Any]:
    """Send the operator's request."""
    async with client.session.post(f"{client.standin.url}/standin/{path}", json=body) as response:
        return response.status, await response.json()


async def state(client: Rest) -> Any:
    """Read the truth of the account."""
    async with client.session.get(f"{client.standin.url}/standin/state") as response:
        return await response.json()


async def leg(client: Rest, side: str = "LONG") -> str:
    """Read how much a leg holds."""
    rows = (await state(client))["positions"]
    return str(next(row["positionAmt"] for row in rows if row["positionSide"] == side))


@pytest.mark.asyncio
async def test_a_half_open_socket_is_there_and_dead() -> None:
    """It stays connected, answers no ping and no request, and tells nothing; a new one is fine."""
    async with running_standin(still=True) as standin, rest(standin) as client, private(client) as stream:
        await post(client, "faults", {"arm": "half-open:path=private"})
        await client.place()
        await stream.socket.ping(b"?")
        assert await stream.silence() == []
        assert not stream.socket.closed
        async with private(client) as again:
            await client.place()
            await again.event("ORDER_TRADE_UPDATE", x="NEW")


@pytest.mark.asyncio
async def test_sockets_are_closed_and_frames_break() -> None:
    """A broken frame comes between good ones; then the private socket is closed, the public one is not."""
    async with (
        running_standin(still=True) as standin,
        rest(standin) as client,
        private(client) as stream,
        wire(standin, "/public/ws") as other,
    ):
        standin.faults.arm("bad-frame:path=private:n=2")
        await client.place()
        await stream.event("ORDER_TRADE_UPDATE", x="NEW")
        assert len(stream.bad) == 2
        standin.faults.arm("socket-close:path=private")
        await stream.end()
        assert (await other.ask("LIST_SUBSCRIPTIONS"))["result"] == []


@pytest.mark.asyncio
async def test_the_listen_key_expires_at_once() -> None:
    """The event names the key; the key is dead."""
    async with running_standin(still=True) as standin, rest(standin) as client, private(client) as stream:
        standin.faults.arm("listen-key-expiry")
        assert (await stream.until(lambda each: each["e"] == "listenKeyExpired"))["listenKey"]
        assert standin.listen_keys.alive is None
        with pytest.raises(FaultTextError, match="no listen key"):
            standin.faults.arm("listen-key-expiry")


@pytest.mark.asyncio
async def test_bursts() -> None:
    """Thousands of quotes, and one event of the account many times, at once."""
    async with running_standin(still=True, book_rate=1) as standin, rest(standin) as client, private(client) as stream:
        async with wire(standin, "/public/ws") as quotes:
            await quotes.ask("SUBSCRIBE", ["btcusdt@bookTicker"])
            standin.faults.arm("burst:n=3000")
            await quotes.until(lambda _: len(quotes.frames) > 3000)
        await client.place()
        await stream.event("ORDER_TRADE_UPDATE", x="NEW")
        standin.faults.arm("event-burst:n=100")
        for _ in range(100):
            await stream.event("ORDER_TRADE_UPDATE", x="NEW")


@pytest.mark.asyncio
async def test_the_clock_is_off_and_jumps() -> None:
    """Server time moves; a request that was signed by the right time is refused with -1021."""
    async with running_standin(still=True) as standin, rest(standin) as client:
        standin.faults.arm("skew:ms=4000")
        standin.faults.arm("clock-jump:ms=4000")
        assert standin.clock.skew_ms == 8_000
        right_ms = standin.clock.now_ms() - 8_000
        assert (await client.call("GET", "/fapi/v1/time")).json["serverTime"] - right_ms >= 8_000
        assert (await client.call("GET", "/fapi/v3/account", sent_ms=right_ms)).json["code"] == -1021
        standin.faults.arm("skew:ms=-4000")
        assert (await client.call("GET", "/fapi/v3/account", sent_ms=right_ms)).json["code"] == -1021
        assert (await client.call("GET", "/fapi/v3/account", sent_ms=right_ms - 4_000)).status == 200


@pytest.mark.asyncio
async def test_the_rules_of_a_symbol_change() -> None:
    """Filters, reduce-only, and status are what exchangeInfo says and what orders meet from then on."""
    async with running_standin(still=True) as standin, rest(standin) as client:
        await client.market()
        standin.faults.arm("filter-change:symbol=BTCUSDT:min_notional=5000")
        assert (await client.place()).json["code"] == -4164
        info = (await client.call("GET", "/fapi/v1/exchangeInfo")).json["symbols"][0]
        assert {"filterType": "MIN_NOTIONAL", "notional": "5000"} in info["filters"]
        standin.faults.arm("symbol-reduce-only")
        assert (await client.place(quantity="0.100")).json["code"] < 0
        assert (await client.market(side="SELL", quantity="0.001")).status == 200
        standin.faults.arm("symbol-reduce-only:on=0")
        assert (await client.place(quantity="0.100")).status == 200
        standin.faults.arm("symbol-status:status=SETTLING")
        assert (await client.place(quantity="0.100")).json["code"] < 0


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("path", "body", "prefix"),
    [
        ("liquidate", {}, "autoclose-"),
        ("adl", {"symbol": "BTCUSDT", "side": "LONG", "lots": 10}, "adl_autoclose"),
        ("faults", {"arm": "settlement:symbol=BTCUSDT"}, "settlement_autoclose-"),
    ],
)
async def test_the_exchange_closes_a_leg_by_force(path: str, body: Any, prefix: str) -> None:
    """Liquidation, deleveraging and settlement close the leg under the exchange's own client ids."""
    async with running_standin(still=True) as standin, rest(standin) as client, private(client) as stream:
        await client.market()
        assert await leg(client) == "0.010"
        assert (await post(client, path, body))[0] == 200
        await stream.until(lambda each: str(each.get("o", {}).get("c", "")).startswith(prefix))
        assert await leg(client) == "0.000"


@pytest.mark.asyncio
async def test_the_market_sees_a_liquidation() -> None:
    """A forced order appears on the symbol's forceOrder stream."""
    async with (
        running_standin(still=True) as standin,
        rest(standin) as client,
        wire(standin, "/market/ws/btcusdt@forceOrder") as market,
    ):
        await eventually(lambda: standin.hub.wanted("btcusdt@forceOrder"))
        await client.market()
        await post(client, "liquidate", {})
        frame = await market.until(lambda each: each.get("e") == "forceOrder")
        assert (frame["o"]["s"], frame["o"]["S"]) == ("BTCUSDT", "SELL")


@pytest.mark.asyncio
async def test_a_foreign_order_and_a_foreign_stop() -> None:
    """Somebody else trades the account: both lists show it; what the exchange refuses is told."""
    order = {"symbol": "BTCUSDT", "side": "BUY", "positionSide": "LONG", "quantity": "0.010"}
    async with running_standin(still=True) as standin, rest(standin) as client:
        status, _ = await post(
            client, "manual-order", order | {"type": "LIMIT", "timeInForce": "GTC", "price": "97000.00"}
        )
        assert status == 200
        stop = "manual-stop:symbol=BTCUSDT:side=SELL:positionSide=LONG:type=STOP_MARKET:quantity=0.010"
        stop += ":algoType=CONDITIONAL:triggerPrice=90000.00"
        standin.faults.arm(stop)
        truth = await state(client)
        assert (len(truth["orders"]), len(truth["algoOrders"])) == (1, 1)
        status, said = await post(client, "manual-order", order | {"type": "LIMIT"})
        assert (status, "refuses" in said["error"]) == (400, True)


@pytest.mark.asyncio
async def test_the_account_leaves_hedge_mode() -> None:
    """Orders with a position side are refused from then on, until the mode is back."""
    async with running_standin(still=True) as standin, rest(standin) as client:
        await post(client, "mode", {"hedge": False})
        assert (await client.place()).json["code"] == -4061
        assert (await client.call("GET", "/fapi/v1/positionSide/dual")).json == {"dualSidePosition": False}
        standin.faults.arm("mode-hedge")
        assert (await client.place()).status == 200


@pytest.mark.asyncio
async def test_an_order_fills_in_part_and_then_ends() -> None:
    """Part of an order fills by hand, the rest expires by the exchange's own will."""
    async with running_standin(still=True) as standin, rest(standin) as client, private(client) as stream:
        await client.place(newClientOrderId="mine")
        standin.faults.arm("fill:client=mine:lots=4")
        standin.faults.arm("order-expire:client=mine")
        assert (await stream.event("ORDER_TRADE_UPDATE", x="TRADE"))["o"]["l"] == "0.004"
        assert (await stream.event("ORDER_TRADE_UPDATE", x="EXPIRED"))["o"]["z"] == "0.004"
        with pytest.raises(FaultTextError, match="no open order"):
            standin.faults.arm("fill:client=mine")


@pytest.mark.asyncio
async def test_a_thin_market_fills_a_market_order_in_part() -> None:
    """What the book does not hold expires."""
    async with running_standin(still=True) as standin, rest(standin) as client:
        standin.faults.arm("thin-market:lots=3")
        await client.market()
        assert await leg(client) == "0.003"


@pytest.mark.asyncio
async def test_money_comes_in_and_funding_is_charged() -> None:
    """Transfers and settlements are events and income rows, and the announced rate is what is charged."""
    async with running_standin(still=True) as standin, rest(standin) as client, private(client) as stream:
        standin.faults.arm("transfer:amount=250")
        assert (await stream.event("ACCOUNT_UPDATE"))["a"]["m"] == "DEPOSIT"
        await client.market()
        standin.faults.arm("funding:symbol=BTCUSDT:rate=0.001")
        await stream.until(lambda each: each.get("a", {}).get("m") == "FUNDING_FEE")
        rows = (await client.call("GET", "/fapi/v1/income", incomeType="FUNDING_FEE")).json
        assert float(rows[0]["income"]) == pytest.approx(-1000 * 0.001, rel=0.01)
        rates = (await client.call("GET", "/fapi/v1/fundingRate", symbol="BTCUSDT")).json
        assert rates[-1]["fundingRate"] == "0.00100000"


@pytest.mark.asyncio
async def test_an_interval_that_changes_is_listed_and_announced() -> None:
    """FundingInfo lists adjusted symbols only; the next settlement is at the next full interval."""
    async with running_standin(still=True) as standin, rest(standin) as client:
        for hours in (1, 4, 8):
            standin.faults.arm(f"funding-interval:hours={hours}")
            listed = (await client.call("GET", "/fapi/v1/fundingInfo")).json
            assert [row["fundingIntervalHours"] for row in listed] == ([] if hours == 8 else [hours])
            next_ms = (await client.call("GET", "/fapi/v1/premiumIndex", symbol="BTCUSDT")).json["nextFundingTime"]
            length_ms = hours * 3_600_000
            assert next_ms % length_ms == 0
            assert 0 < next_ms - standin.clock.now_ms() <= length_ms


@pytest.mark.asyncio
@pytest.mark.parametrize("late_ms", [0, 60_000])
async def test_a_settlement_comes_at_its_time_or_late(late_ms: int) -> None:
    """The first settlement is due a second after the start; late ones do not come by then."""
    faults = (f"funding-late:ms={late_ms}",) if late_ms else ()
    async with running_standin(still=True, funding_in_s=1.0, faults=faults) as standin:
        begun_ms = standin.market.lanes["BTCUSDT"].next_funding_ms
        await eventually(lambda: standin.clock.now_ms() > begun_ms + 1_500)
        assert standin.log.count("market", "funding") == (0 if late_ms else 1)


@pytest.mark.asyncio
async def test_a_stop_that_fails_when_it_triggers() -> None:
    """The position stays open and the stop is rejected."""
    async with running_standin(still=True) as standin, rest(standin) as client, private(client) as stream:
        await client.market()
        placed = await client.call(
            "POST",
            "/fapi/v1/algoOrder",
            symbol="BTCUSDT",
            side="SELL",
            positionSide="LONG",
            type="STOP_MARKET",
            quantity="0.010",
            algoType="CONDITIONAL",
            triggerPrice="99500.00",
        )
        assert placed.status == 200
        standin.faults.arm("trigger-fails")
        await post(client, "price", {"symbol": "BTCUSDT", "bps": -100})
        await stream.until(lambda each: each["e"] == "ALGO_UPDATE" and each["o"]["X"] == "REJECTED")
        assert await leg(client) == "0.010"


@pytest.mark.asyncio
async def test_a_countdown_fires_late() -> None:
    """Its order lives on past the end of the countdown."""
    async with running_standin(still=True) as standin, rest(standin) as client:
        standin.faults.arm("countdown-late:ms=60000")
        await client.place()
        await client.call("POST", "/fapi/v1/countdownCancelAll", symbol="BTCUSDT", countdownTime=100)
        ends_ms = standin.clock.now_ms() + 400
        await eventually(lambda: standin.clock.now_ms() > ends_ms)
        assert len(standin.exchange.open_orders()) == 1


@pytest.mark.asyncio
async def test_switches_are_set_by_name_and_checked() -> None:
    """A switch takes its own kind of value only."""
    async with running_standin(still=True, switches={"gtx_cross": "expire"}) as standin:
        assert standin.exchange.switches.gtx_cross == "expire"
        standin.faults.arm("switch:countdown_strips_stops=true:countdown_late_ms=7")
        assert standin.exchange.switches.countdown_strips_stops is True
        assert standin.exchange.switches.countdown_late_ms == 7
        for wrong in ("switch:no_such=1", "switch:duplicate_shared=perhaps"):
            with pytest.raises(FaultTextError):
                standin.faults.arm(wrong)


@pytest.mark.asyncio
async def test_an_act_can_wait_and_its_failure_is_logged() -> None:
    """after= seconds; what cannot be done then is in the log, since nobody waits for it."""
    async with running_standin(still=True) as standin:
        standin.faults.arm("skew:ms=100:after=0.05")
        standin.faults.arm("listen-key-expiry:after=0.05")
        await eventually(lambda: standin.log.count("fault", "listen-key-expiry failed") == 1)
        assert standin.clock.skew_ms == 100


@pytest.mark.asyncio
async def test_the_operator_sees_faults_and_log() -> None:
    """What is armed, what has fired, what is known; a wrong text is answered with what is wrong."""
    async with running_standin(still=True) as standin, rest(standin) as client:
        status, said = await post(client, "faults", {"arm": ["2019:2", "5022:0.5:on=place"]})
        assert (status, [row["name"] for row in said["armed"]]) == (200, ["2019", "5022"])
        assert (await post(client, "faults", {"arm": "no-such"}))[0] == 400
        await client.place()
        async with client.session.get(f"{standin.url}/standin/log", params={"kind": "request"}) as response:
            assert [row["name"] for row in await response.json()] == ["POST /fapi/v1/order"]
        async with client.session.delete(f"{standin.url}/standin/faults") as response:
            assert (await response.json())["disarmed"] == 2
        async with client.session.get(f"{standin.url}/standin/trades") as response:
            assert (await response.json())["trades"] == []
