"""The front door: signatures, time, keys, weights, order counts, bans, batches, and the websocket API's frames."""

import hashlib
import hmac
import json
from typing import Any

import attrs
import pytest

from tests.standin.orders_made import call, limit, stop
from tests.standin.shop import BTC, KEY, SECRET, START_MS, Clock, Stand, made_exchange, made_stand
from tools.standin.gateway import RateLimits
from tools.standin.wire import Answer


def stand(limits: RateLimits | None = None) -> tuple[Stand, Clock]:
    """Give a stand on a clock that the test sets."""
    clock = Clock()
    return made_stand(*made_exchange(), clock, limits), clock


def code_of(answer: Answer) -> int:
    """Give the code of an error's body."""
    return int(answer.payload["code"])


ACCOUNT = call("GET", "v3/account", {})


def test_signed_call_is_answered() -> None:
    """A call with the right signature, time and key is answered, its weight in the headers."""
    place, _ = stand()
    answer = place.gateway.answer(ACCOUNT)
    assert answer.status == 200
    assert answer.headers == {"X-MBX-USED-WEIGHT-1M": "5"}


@pytest.mark.parametrize(
    ("changed", "status", "code"),
    [
        ({"api_key": ""}, 401, -2014),
        ({"api_key": "other"}, 401, -2015),
        ({"query": ACCOUNT.query + "0"}, 400, -1022),
        ({"query": ACCOUNT.query.replace("signature=", "signature=0")}, 400, -1022),
        ({"query": "recvWindow=1000&" + ACCOUNT.query}, 400, -1022),
        ({"query": f"timestamp={START_MS}"}, 400, -1102),
        ({"path": "/fapi/v1/nothing"}, 404, -5000),
        ({"method": "PATCH"}, 404, -5000),
    ],
)
def test_door(changed: dict[str, Any], status: int, code: int) -> None:
    """Each thing wrong with key, signature or path has its own code and status."""
    place, _ = stand()
    answer = place.gateway.answer(attrs.evolve(ACCOUNT, **changed))
    assert (answer.status, code_of(answer)) == (status, code)


def test_signature_covers_query_and_body_together() -> None:
    """Parameters may come in both; the signature covers query then body."""
    place, _ = stand()
    query, body = "symbol=BTCUSDT", f"leverage=7&timestamp={START_MS}"
    signature = hmac.new(SECRET.encode(), (query + body).encode(), hashlib.sha256).hexdigest()
    both = call("POST", "v1/leverage", {}, query=query, body=f"{body}&signature={signature}")
    assert place.gateway.answer(both).payload["leverage"] == 7


@pytest.mark.parametrize(
    ("now_ms", "window", "accepted"),
    [
        (START_MS - 999, "5000", True),
        (START_MS - 1_000, "5000", False),
        (START_MS + 5_000, "5000", True),
        (START_MS + 5_001, "5000", False),
        (START_MS + 200, "100", False),
    ],
)
def test_time_window(now_ms: int, window: str, accepted: bool) -> None:
    """Accepted when timestamp < server + 1000 and server - timestamp <= recvWindow; else -1021."""
    place, clock = stand()
    clock.now_ms = now_ms
    answer = place.gateway.answer(call("GET", "v3/account", {"recvWindow": window}))
    assert (answer.status == 200) is accepted
    if not accepted:
        assert code_of(answer) == -1021


def test_timestamp_and_window_must_be_sensible() -> None:
    """-1102 without a timestamp, -1130 for a window beyond a minute."""
    place, _ = stand()
    text = "symbol=BTCUSDT"
    signature = hmac.new(SECRET.encode(), text.encode(), hashlib.sha256).hexdigest()
    bare = attrs.evolve(ACCOUNT, query=f"{text}&signature={signature}")
    assert code_of(place.gateway.answer(bare)) == -1102
    assert code_of(place.gateway.answer(call("GET", "v3/account", {"recvWindow": "60001"}))) == -1130


def test_key_that_may_not_trade() -> None:
    """-2015 for trading with a key that may only read; reading goes on."""
    place, _ = stand()
    place.gateway.can_trade = False
    order = call("POST", "v1/order", limit("BUY", "LONG", "42000.00"))
    assert code_of(place.gateway.answer(order)) == -2015
    assert place.gateway.answer(ACCOUNT).status == 200


def test_weight_limit_then_ban() -> None:
    """Beyond the weight 429 with Retry-After; who goes on is banned with 418 until its end; then all is well."""
    place, clock = stand(RateLimits(weight_minute=50))
    statuses = [place.gateway.answer(ACCOUNT).status for _ in range(40)]
    assert statuses[:10] == [200] * 10
    assert statuses[10] == 429
    assert statuses[-1] == 418
    refused = place.gateway.answer(ACCOUNT)
    assert refused.headers["Retry-After"] == "120"
    assert "banned until" in refused.payload["msg"]
    clock.now_ms += 121_000
    assert place.gateway.answer(call("GET", "v1/time", {})).status == 200


def test_weight_is_counted_by_the_minute() -> None:
    """A new minute begins a new count."""
    place, clock = stand(RateLimits(weight_minute=5))
    assert place.gateway.answer(ACCOUNT).status == 200
    assert place.gateway.answer(ACCOUNT).status == 429
    clock.now_ms = (START_MS // 60_000 + 1) * 60_000
    assert place.gateway.answer(call("GET", "v1/ping", {})).status == 200


def test_order_count() -> None:
    """Orders are counted by 10 s and by minute, refused ones and batch rows too; beyond it -1015."""
    place, _ = stand(RateLimits(orders_ten_seconds=4))
    order = call("POST", "v1/order", limit("BUY", "LONG", "42000.00"))
    assert place.gateway.answer(order).headers["X-MBX-ORDER-COUNT-10S"] == "1"
    assert place.gateway.answer(call("POST", "v1/order", {})).headers["X-MBX-ORDER-COUNT-10S"] == "2"
    rows = json.dumps([limit("BUY", "LONG", "42000.00")] * 2)
    batch = place.gateway.answer(call("POST", "v1/batchOrders", {"batchOrders": rows}))
    assert (batch.headers["X-MBX-ORDER-COUNT-10S"], batch.headers["X-MBX-ORDER-COUNT-1M"]) == ("4", "4")
    refused = place.gateway.answer(order)
    assert (refused.status, code_of(refused)) == (429, -1015)
    assert len(place.exchange.open_orders()) == 3


def test_operator_bans_and_throttles() -> None:
    """A ban and a throttle that are set act until they end."""
    place, clock = stand()
    place.gateway.throttled_until_ms = START_MS + 2_000
    assert place.gateway.answer(ACCOUNT).headers["Retry-After"] == "2"
    place.gateway.banned_until_ms = START_MS + 3_000
    assert place.gateway.answer(ACCOUNT).status == 418
    clock.now_ms = START_MS + 3_000
    assert place.gateway.answer(ACCOUNT).status == 200


def test_batch_is_answered_row_by_row() -> None:
    """A batch's answers stand in the order of its rows; a refused row has its code and leaves the others be."""
    place, _ = stand()
    rows = [
        limit("BUY", "LONG", "42000.00", name="a"),
        limit("BUY", "LONG", "42000.05"),
        limit("SELL", "SHORT", "44000.00"),
    ]
    placed = place.gateway.answer(call("POST", "v1/batchOrders", {"batchOrders": json.dumps(rows)})).payload
    assert [row.get("code") or row["side"] for row in placed] == ["BUY", -4014, "SELL"]
    changes = [{"symbol": BTC, "side": "BUY", "origClientOrderId": "a", "quantity": 0.02, "price": "42001.00"}, {}]
    amended = place.gateway.answer(call("PUT", "v1/batchOrders", {"batchOrders": json.dumps(changes)})).payload
    assert [row.get("code") or row["origQty"] for row in amended] == ["0.020", -1102]
    names = json.dumps(["nobody", "a"])
    ended = place.gateway.answer(
        call("DELETE", "v1/batchOrders", {"symbol": BTC, "origClientOrderIdList": names})
    ).payload
    assert [row.get("code") or row["status"] for row in ended] == [-2011, "CANCELED"]


@pytest.mark.parametrize("rows", ["[]", "{}", "nonsense", json.dumps([{}] * 6)])
def test_batch_that_is_none(rows: str) -> None:
    """A batch of no rows, too many, or that is no list is refused whole."""
    place, _ = stand()
    assert code_of(place.gateway.answer(call("POST", "v1/batchOrders", {"batchOrders": rows}))) in {-1130, -4082}


def test_listen_key() -> None:
    """A listen key needs the key alone; renewing none is -1125."""
    place, _ = stand()
    bare = {"query": ""}
    assert code_of(place.gateway.answer(call("PUT", "v1/listenKey", {}, **bare))) == -1125
    assert place.gateway.answer(call("POST", "v1/listenKey", {}, **bare)).payload == {"listenKey": "listen-key"}
    assert place.gateway.answer(call("PUT", "v1/listenKey", {}, **bare)).status == 200
    assert place.gateway.answer(call("DELETE", "v1/listenKey", {}, **bare)).payload == {}


def test_lists_of_conditionals_and_orders_are_apart() -> None:
    """OpenOrders shows no conditionals and openAlgoOrders no orders; the whole market weighs 40."""
    place, _ = stand()
    place.exchange.place(limit("BUY", "LONG", "42000.00", name="o"), START_MS)
    place.exchange.place_algo(stop("SELL", "LONG", "41000.00", name="s"), START_MS)
    orders = place.gateway.answer(call("GET", "v1/openOrders", {}))
    assert [row["clientOrderId"] for row in orders.payload] == ["o"]
    assert orders.headers["X-MBX-USED-WEIGHT-1M"] == "40"
    algos = place.gateway.answer(call("GET", "v1/openAlgoOrders", {"symbol": BTC})).payload
    assert [row["clientAlgoId"] for row in algos] == ["s"]


def test_trades_and_income_by_cursor() -> None:
    """UserTrades goes on from an id, income from a time, both oldest first; fromId with a time is refused."""
    place, clock = stand()
    for step in range(5):
        place.exchange.place({**limit("BUY", "LONG", "43001.00")}, START_MS + step)
    trades = place.gateway.answer(call("GET", "v1/userTrades", {"symbol": BTC})).payload
    rest = place.gateway.answer(call("GET", "v1/userTrades", {"symbol": BTC, "fromId": str(trades[3]["id"])})).payload
    assert [row["id"] for row in rest] == [row["id"] for row in trades[3:]]
    both = {"symbol": BTC, "fromId": "1", "startTime": "1"}
    assert code_of(place.gateway.answer(call("GET", "v1/userTrades", both))) == -1128
    clock.now_ms += 10
    income = place.gateway.answer(call("GET", "v1/income", {"startTime": str(START_MS + 3)})).payload
    assert [row["time"] - START_MS for row in income] == [3, 4]
    assert {row["incomeType"] for row in income} == {"COMMISSION"}


def frame(method: str, params: dict[str, Any]) -> dict[str, Any]:
    """Give a signed frame of the websocket API."""
    full = {"apiKey": KEY, "timestamp": START_MS, **params}
    plain = {key: value if isinstance(value, str) else json.dumps(value) for key, value in full.items()}
    text = "&".join(f"{key}={plain[key]}" for key in sorted(plain))
    full["signature"] = hmac.new(SECRET.encode(), text.encode(), hashlib.sha256).hexdigest()
    return {"id": "7", "method": method, "params": full}


@pytest.mark.asyncio
async def test_websocket_api() -> None:
    """order.place, status, modify, cancel and the algo calls do what REST does, with ids, status and rate limits."""
    place, _ = stand()
    placed = await place.frame(frame("order.place", limit("BUY", "LONG", "42000.00", name="w")))
    assert placed is not None
    assert (placed["id"], placed["status"], placed["result"]["clientOrderId"]) == ("7", 200, "w")
    assert {"rateLimitType": "ORDERS", "interval": "MINUTE", "intervalNum": 1, "limit": 1200, "count": 1} in placed[
        "rateLimits"
    ]
    change = {"symbol": BTC, "side": "BUY", "origClientOrderId": "w", "quantity": "0.020", "price": "42001.00"}
    modified = await place.frame(frame("order.modify", change))
    name = {"symbol": BTC, "origClientOrderId": "w"}
    status = await place.frame(frame("order.status", name))
    cancelled = await place.frame(frame("order.cancel", name))
    again = await place.frame(frame("order.cancel", name))
    assert modified is not None
    assert status is not None
    assert cancelled is not None
    assert again is not None
    assert [reply["result"]["status"] for reply in (modified, status, cancelled)] == ["NEW", "NEW", "CANCELED"]
    assert (again["status"], again["error"]["code"]) == (400, -2011)
    algo = await place.frame(frame("algoOrder.place", stop("SELL", "LONG", "41000.00", name="s")))
    assert algo is not None
    ended = await place.frame(frame("algoOrder.cancel", {"clientAlgoId": "s"}))
    assert ended is not None
    assert (algo["result"]["algoStatus"], ended["result"]["code"]) == ("NEW", "200")


@pytest.mark.asyncio
async def test_websocket_api_refuses() -> None:
    """A wrong signature and an unknown method are errors with the frame's id; a dropped answer is none at all."""
    place, _ = stand()
    wrong = frame("order.place", limit("BUY", "LONG", "42000.00"))
    wrong["params"]["quantity"] = "1.000"
    refused = await place.frame(wrong)
    assert refused is not None
    assert refused["error"]["code"] == -1022
    unknown = await place.frame({"id": 3, "method": "order.dance", "params": {}})
    assert unknown is not None
    assert (unknown["id"], unknown["status"]) == (3, 400)
    place.faults.change = Answer(status=200, drop=True)
    assert await place.frame(frame("order.place", limit("BUY", "LONG", "42000.00"))) is None
    assert len(place.exchange.open_orders()) == 1
