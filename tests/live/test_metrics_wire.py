"""What Prometheus reads of a bot at the stand-in is what the stand-in's own account says.

Invariant: the truth is read from the exchange's engine and its request log, the figures from /metrics over a socket.
"""

import asyncio
import re
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from hedgegrid.core.client_id import parse_client_id
from hedgegrid.model.order import Leg
from tests.live.trading_bot import BTC, SYMBOL, TradingBot, trading
from tests.ops.exposed import Held, value_at_risk
from tests.test_metric_sources import Values, scraped
from tools.standin.rules import E8

LEGS = ("LONG", "SHORT")
ZERO = Decimal(0)
CLOSE_E8 = 3
"""What rounding a margin up, leg by leg or together, may part."""


def port_of(bot: TradingBot) -> int:
    """The port that the bot said it answers at."""
    said = next(word for word in bot.words if word.startswith("metrics at"))
    match = re.search(r":(\d+)/metrics", said)
    assert match is not None
    return int(match[1])


def summed(bot: TradingBot, kind: str) -> float:
    """What the exchange's income records of a kind add up to."""
    return sum(one.amount_e8 for one in bot.standin.exchange.income if one.kind == kind) / E8


def by_leg(bot: TradingBot, figure: Any) -> Values:
    """A family by leg, of each leg's position at the exchange."""
    return {
        (("instrument", BTC), ("leg", leg.lower())): float(figure(bot.standin.exchange.position(SYMBOL, leg)))
        for leg in LEGS
    }


def sent(bot: TradingBot) -> Counter[str]:
    """The orders of each leg that the exchange was handed, from its request log."""
    parsed = [parse_client_id(order.client_id) for order in bot.sent()]
    return Counter(one.leg.name.lower() for one in parsed if one is not None)


def bare(bot: TradingBot, leg: str) -> Decimal:
    """What a leg holds beyond the conditional orders that rest for a quantity."""
    account = bot.account
    held = sum((abs(Decimal(row["positionAmt"])) for row in account["positions"] if row["positionSide"] == leg), ZERO)
    stops = [row for row in account["algoOrders"] if row["positionSide"] == leg and not row["closePosition"]]
    return max(ZERO, held - sum((Decimal(row["quantity"]) for row in stops), ZERO))


def expected(bot: TradingBot) -> dict[str, Values]:
    """The account's figures, as the exchange has them."""
    exchange = bot.standin.exchange
    account, spec = exchange.account, exchange.specs[SYMBOL]
    mark = account.mark(SYMBOL)
    rate_e8 = exchange.quote(SYMBOL).rate_e8
    found: dict[str, Values] = {
        "wallet_quote": {(): account.wallet_e8 / E8},
        "equity_quote": {(): account.equity_e8() / E8},
        "unrealised_pnl_quote": {(): account.unrealised_e8() / E8},
        "realised_pnl_quote": {(): summed(bot, "REALIZED_PNL")},
        "fees_paid_quote": {(): -summed(bot, "COMMISSION")},
        "funding_paid_quote": {(): -summed(bot, "FUNDING_FEE")},
        "maintenance_margin_quote": {(): account.maintenance_e8() / E8},
        "margin_ratio": {(): account.maintenance_e8() * 1_000_000 // account.equity_e8() / 1_000_000},
        "position_base": by_leg(bot, lambda one: abs(one.qty_lots) * spec.lot),
        "position_notional_quote": by_leg(bot, lambda one: one.notional_e8(mark, spec.unit_e8) / E8),
        "unprotected_base": by_leg(bot, lambda one: bare(bot, one.side)),
        "projected_funding_quote": by_leg(bot, lambda one: one.qty_lots * mark * spec.unit_e8 * rate_e8 / E8 / E8),
        "mark_price": {(("instrument", BTC),): float(spec.tick * mark)},
        "funding_rate_ratio": {(("instrument", BTC),): rate_e8 / E8},
        "next_funding_timestamp_seconds": {(("instrument", BTC),): exchange.quote(SYMBOL).next_funding_ms / 1_000},
        "unknown_orders": {(): 0.0},
        "foreign_orders": {(): 0.0},
        "session_loss_quote": {(): exchange.initial_e8 / E8 + summed(bot, "TRANSFER") - account.equity_e8() / E8},
    }
    return found | at_risk_of(bot)


def exposed(bot: TradingBot) -> Held:
    """What the exchange holds of the one instrument."""
    account, spec = bot.standin.exchange.account, bot.standin.exchange.specs[SYMBOL]
    worth = {
        leg: bot.standin.exchange.position(SYMBOL, leg).notional_e8(account.mark(SYMBOL), spec.unit_e8) for leg in LEGS
    }
    return Held(
        equity_e8=account.equity_e8(),
        maintenance_e8=account.maintenance_e8(),
        long_e8=worth["LONG"],
        short_e8=worth["SHORT"],
    )


def closes(bot: TradingBot) -> list[float]:
    """The exchange's own closes, from long before the start (the market stood still) to the last bar that ended."""
    return [float(row[4]) for row in bot.standin.market.klines(SYMBOL, "1s", None, None, 300)[:-1]]


def at_risk_of(bot: TradingBot) -> dict[str, Values]:
    """What the exchange's legs are exposed to, worked out anew."""
    held = exposed(bot)
    distance = held.distance_ratio()
    net_e8 = held.long_e8 - held.short_e8
    at_risk = value_at_risk(net_e8, closes(bot), lam=0.97, confidence=0.51, horizon_bars=3_600)
    return {
        "gross_notional_quote": {(): held.gross_e8 / E8},
        "net_notional_quote": {(): abs(net_e8) / E8},
        "leverage_ratio": {(): -(-held.gross_e8 * 1_000_000 // held.equity_e8) / 1_000_000},
        "liquidation_distance_ratio": {} if distance is None else {(): distance},
        "value_at_risk_quote": {} if at_risk is None else {(): at_risk},
    }


def wrong(bot: TradingBot, samples: dict[str, Values]) -> dict[str, Any]:
    """The families that say something else than the exchange."""
    return {
        name: (samples.get(name), values)
        for name, values in expected(bot).items()
        if samples.get(name) != pytest.approx(values, rel=1e-6, abs=CLOSE_E8 / E8)
    }


async def agreed(bot: TradingBot) -> dict[str, Values]:
    """Scrape until it agrees: what is on its way (a mark, a settlement's records) takes a few seconds."""
    samples: dict[str, Values] = {}
    for _ in range(60):
        samples = await asyncio.to_thread(scraped_of, port_of(bot))
        if not wrong(bot, samples):
            return samples
        await asyncio.sleep(0.25)
    raise AssertionError(f"{wrong(bot, samples)}\n{bot.story()}")


def scraped_of(port: int) -> dict[str, Values]:
    """A scrape of the account "live"."""
    return scraped(port, account="live")


@pytest.mark.asyncio
async def test_the_account_over_real_sockets(tmp_path: Path) -> None:
    """Fills of both legs, a take-profit, a settlement, a transfer, a move of the mark: still the exchange's figures."""
    async with trading(tmp_path, watchdog={"account_poll_ms": 2_000}) as bot:
        await bot.hold()
        await agreed(bot)
        bot.move(14)
        await bot.until(lambda: bot.held_lots("SHORT") > 0)
        await bot.settled()
        bot.arm("funding:rate=0.001", "transfer:amount=250")
        bot.move(2)
        await bot.until(lambda: summed(bot, "FUNDING_FEE") != 0)
        samples = await agreed(bot)
        assert summed(bot, "REALIZED_PNL") != 0
        assert samples["drawdown_ratio"][()] < 0.01, "a transfer is no profit and no loss"
        orders = Counter({leg.name.lower(): 0 for leg in Leg})
        for labels, value in samples["orders_sent"].items():
            orders[dict(labels)["leg"]] += int(value)
        assert orders == sent(bot)
        resting = len(bot.account["orders"]) + len(bot.account["algoOrders"])
        assert sum(samples["open_orders"].values()) == resting
        assert 0 <= samples["loop_lag_seconds"][()] < 5
        assert samples["clock_skew_seconds"][()] == pytest.approx(bot.standin.clock.skew_ms / 1_000, abs=0.25)
        await bot.end_and_prove()
