"""What the stand-in writes is what the bot reads: each payload of a lively run goes through the bot's own parsers."""

import json
from collections.abc import Mapping
from typing import Any

from hedgegrid.venues.ccxtpro import account_rows, order_rows, parse_account, parse_rules
from hedgegrid.venues.ccxtpro.scaling import Scale, read_json
from tests.standin.orders_made import call, limit, market, stop
from tests.standin.shop import BTC, ETH, START_MS, Clock, made_exchange, made_stand, quote
from tools.standin.gateway import Gateway
from tools.standin.switches import Switches


def asked(gateway: Gateway, path: str, params: Mapping[str, str] | None = None) -> Any:
    """Give what a signed GET answers, through JSON as the bot reads it."""
    answer = gateway.answer(call("GET", path, dict(params or {})))
    assert answer.status == 200, answer.payload
    return read_json(json.dumps(answer.payload))


def test_every_payload_is_read() -> None:
    """Orders, conditionals, fills, funding, margin calls and forced closings are read without a fault, cost exact."""
    exchange, events = made_exchange(wallet=200, switches=Switches(over_close="cap"))
    gateway = made_stand(exchange, events, Clock()).gateway
    tiers = parse_rules.leverage_tiers(asked(gateway, "v1/leverageBracket"))
    names = {BTC: "BTC-USDT", ETH: "ETH-USDT"}
    rules = parse_rules.exchange_rules(asked(gateway, "v1/exchangeInfo"), names, tiers=tiers, intervals={})
    assert not rules.refused
    scales = {
        symbol: Scale(instrument=name, symbol=symbol, tick=exchange.specs[symbol].tick, lot=exchange.specs[symbol].lot)
        for symbol, name in names.items()
    }
    exchange.place(limit("BUY", "LONG", "42990.00", "0.007"), START_MS)
    quote(exchange, BTC, 429_800)
    exchange.place(market("BUY", "LONG", "0.006"), START_MS)
    exchange.place(market("SELL", "SHORT", "0.004"), START_MS)
    exchange.place(limit("SELL", "LONG", "44000.00", "0.003", name="tp"), START_MS)
    exchange.place(limit("BUY", "LONG", "42000.00", "0.003"), START_MS)
    exchange.place_algo(stop("SELL", "LONG", "42900.00", "0.003", name="s"), START_MS)
    exchange.place_algo(stop("SELL", "LONG", "20000.00", ""), START_MS)
    quote(exchange, BTC, 428_000)
    exchange.settle_funding(BTC, 10_000, START_MS)
    rows = account_rows.position_rows(asked(gateway, "v3/positionRisk"), scales)
    told = {(row.leg, row.signed_lots, row.cost_e8) for row in rows.rows}
    legs = [exchange.position(BTC, side) for side in ("LONG", "SHORT")]
    assert {(lots, cost) for _, lots, cost in told} == {(leg.qty_lots, leg.cost_e8) for leg in legs}
    account_rows.account(asked(gateway, "v3/account"))
    assert len(order_rows.order_rows(asked(gateway, "v1/openOrders"), scales).rows) == 2
    assert len(order_rows.algo_rows(asked(gateway, "v1/openAlgoOrders"), scales).rows) == 1
    assert len(order_rows.trade_rows(asked(gateway, "v1/userTrades", {"symbol": BTC}), scales).rows) == 4
    assert len(account_rows.income_rows(asked(gateway, "v1/income"))) == len(exchange.income)
    account_rows.key_rights(read_json(json.dumps(gateway.permissions)))
    exchange.adl(BTC, "SHORT", 1, START_MS)
    exchange.set_leverage(BTC, 10, START_MS)
    exchange.switches.fail_triggers = True
    exchange.place_algo(stop("SELL", "LONG", "42000.00", "0.003"), START_MS)
    for ticks in range(428_000, 200_000, -500):
        quote(exchange, BTC, ticks)
    exchange.transfer(1, START_MS)
    read = [parse_account.parse_private(read_json(json.dumps(event)), scales) for event in events]
    kinds = {type(update).__name__ for update in read}
    expected = {
        "OrderReport",
        "AlgoReport",
        "TradeLite",
        "TriggerReject",
        "AccountReport",
        "MarginCall",
        "LeverageChanged",
    }
    assert kinds == expected
