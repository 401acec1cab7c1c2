"""Every metric has an independent source, named in ``SOURCES``: what Prometheus reads over the wire is what that says.

The source is the exchange's own account (the simulated one here, the stand-in's in tests/live/test_metrics_wire.py),
the market's tape, the settings, or the journal's file; never the bot's view.

Invariant: the market stands still while the two are compared: its next price is hours away on a paced clock.
"""

import asyncio
import json
import urllib.request
from collections import Counter
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import pytest
from prometheus_client.parser import text_string_to_metric_families

from hedgegrid.app import House
from hedgegrid.core.client_id import parse_client_id
from hedgegrid.core.codes import FREE
from hedgegrid.messages.events import ApprovedBatch, MarkPrice, PermissionChanged, RefusedBatch
from hedgegrid.model.order import Kind, Leg, OpenOrder, Purpose
from hedgegrid.ops.metrics import MODES, registry
from hedgegrid.ops.readings import RuntimeReading
from hedgegrid.runtime.actor import Actor
from hedgegrid.units import CASH_SCALE, NS_PER_MINUTE, NS_PER_S
from hedgegrid.venues.simulated.exchange import Exchange
from tests.actors.house import (
    BTC,
    FIRST_BAR,
    Script,
    assert_agrees,
    boot,
    market,
    messages,
    query,
    settings,
    simulation,
    world,
)
from tests.core.made import walk
from tests.ops.exposed import Held, value_at_risk
from tests.ops.telling import Account

BARS = 100
FIRST = 110
"""The first bar's number: midnight is in the middle of them."""
MIDNIGHT_NS = (FIRST_BAR + 160) * NS_PER_MINUTE
RATE_E8, SETTLED = 50_000, 20
"""The last settled rate (x 1e8), and the bar at whose beginning it was charged."""
LEG_NAMES = {leg: leg.name.lower() for leg in Leg}
Labels = tuple[tuple[str, str], ...]
Values = dict[Labels, float]


@attrs.frozen(kw_only=True)
class Truth:
    """What is outside the bot at the moment of a scrape."""

    house: House
    script: Script
    peak_e8: int
    """The highest equity that the exchange's account ever had at a judged mark."""
    midnight_e8: int
    """Its equity at the last judged mark of the day before."""
    closes: Sequence[float]
    """Of every bar of the tape."""

    @property
    def exchange(self) -> Exchange:
        """The venue's account."""
        return simulation(self.house).exchange

    @property
    def mark(self) -> Decimal:
        """The exchange's mark."""
        book = self.exchange.books[0]
        return book.instrument.tick * book.market.mark_ticks

    def held(self, leg: Leg) -> Decimal:
        """What the exchange holds of a leg, in base units."""
        book = self.exchange.books[0]
        return book.instrument.lot * book.accounts[leg].qty_lots

    def stops(self, leg: Leg) -> list[OpenOrder]:
        """The stops of a leg that rest at the exchange, its backstop aside."""
        listed = self.exchange.books[0].open_orders(conditional=True)
        return [one for one in listed if one.leg is leg and one.kind is Kind.STOP_MARKET and not one.close_all]

    def maintenance_e8(self) -> int:
        """What has to be held by the first tier, which the account never leaves here."""
        book = self.exchange.books[0]
        gross = sum(book.accounts[leg].qty_lots for leg in Leg) * book.market.mark_ticks * book.instrument.unit_e8
        tier = book.instrument.tiers[0]
        assert gross <= tier.max_notional_e8
        return -(-gross * tier.maintenance_ppm // 1_000_000)

    @property
    def exposed(self) -> Held:
        """What the exchange holds of the one instrument, and what that comes to."""
        book = self.exchange.books[0]
        worth = [book.accounts[leg].qty_lots * book.market.mark_ticks * book.instrument.unit_e8 for leg in Leg]
        return Held(
            equity_e8=self.exchange.equity_e8(),
            maintenance_e8=self.maintenance_e8(),
            long_e8=worth[Leg.LONG],
            short_e8=worth[Leg.SHORT],
        )

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """Read the journal's file."""
        return query(self.house.journal.path, statement)


def alone(value: float) -> Values:
    """The one sample of a family without labels."""
    return {(): float(value)}


def of_btc(value: float) -> Values:
    """The one sample of a family by instrument."""
    return {(("instrument", BTC),): float(value)}


def by_leg(value: Callable[[Leg], float]) -> Values:
    """A family by instrument and leg."""
    return {(("instrument", BTC), ("leg", LEG_NAMES[leg])): float(value(leg)) for leg in Leg}


def by_order(counts: Counter[tuple[Leg, Purpose]]) -> Values:
    """A family by instrument, leg and purpose, zeros included."""
    return {
        (("instrument", BTC), ("leg", LEG_NAMES[leg]), ("purpose", purpose.name.lower())): counts[leg, purpose]
        for leg in Leg
        for purpose in Purpose
    }


def entries_price(truth: Truth) -> Values:
    """The average entry of what the exchange holds."""
    book = truth.exchange.books[0]
    held = {leg: book.accounts[leg] for leg in Leg if book.accounts[leg].qty_lots}
    return {
        (("instrument", BTC), ("leg", LEG_NAMES[leg])): float(
            Decimal(one.cost_e8) / (book.instrument.lot * one.qty_lots * CASH_SCALE)
        )
        for leg, one in held.items()
    }


def resting(truth: Truth) -> Values:
    """The orders that rest at the exchange."""
    orders = truth.exchange.books[0].orders
    return by_order(Counter((Leg(one.leg), Purpose(one.purpose)) for one in orders if one.state != FREE))


def sent(truth: Truth) -> Values:
    """Every order that the exchange was handed."""
    parsed = [parse_client_id(name) for name in truth.script.placed]
    return by_order(Counter((one.leg, one.purpose) for one in parsed if one is not None))


def approved(truth: Truth) -> Values:
    """The approvals in the journal's tape."""
    told = messages(truth.house.journal.path, ApprovedBatch)
    return by_order(Counter((one.request.leg, one.request.purpose) for batch in told for one in batch.approved))


def refused(truth: Truth) -> Values:
    """The gate's refusals in the journal's tape."""
    told = messages(truth.house.journal.path, RefusedBatch)
    counts = Counter(one.control for batch in told for one in batch.refused)
    return {(("control", control),): float(count) for control, count in counts.items()}


def permission(truth: Truth) -> Values:
    """The mode that the journal tells last, one-hot."""
    mode = messages(truth.house.journal.path, PermissionChanged)[-1].after
    return {(("state", one),): float(one == mode) for one in MODES}


def grid(truth: Truth, field: str) -> float:
    """A figure of the grid as the journal's table has it."""
    ((payload,),) = truth.rows("SELECT payload FROM grid")
    return float(json.loads(payload)[field])


def money(name: str) -> Callable[[Truth], Values]:
    """A sum of the exchange's account."""
    return lambda truth: alone(getattr(truth.exchange.balance(), name) / CASH_SCALE)


def known(value: float | None) -> Values:
    """The one sample of a family without labels, or none."""
    return {} if value is None else alone(value)


def at_risk(truth: Truth) -> float | None:
    """What NumPy makes of the exchange's legs and the tape's closes, by the settings."""
    held = truth.exposed
    return value_at_risk(held.long_e8 - held.short_e8, truth.closes, lam=0.97, confidence=0.51, horizon_bars=60)


def last_bar_end_s() -> float:
    """When the last bar ended."""
    return (FIRST_BAR + FIRST + BARS) * NS_PER_MINUTE / NS_PER_S


@attrs.frozen
class Source:
    """Where a family's truth comes from, and its samples by that; ``where`` alone: compared in the test it names."""

    where: str
    values: Callable[[Truth], Values] | None = None


RUNTIME = Source("the runtime's own statistics: tests/ops/test_metrics.py")
ALERTS = Source("what a receiver on loopback was sent: tests/ops/test_alerting.py")
WIRE = Source("the stand-in, its clock and the wire: tests/live/test_metrics_wire.py")
SOURCES: dict[str, Source] = {
    "wallet_quote": Source("the exchange's account", money("wallet_e8")),
    "realised_pnl_quote": Source("the exchange's account", money("realised_e8")),
    "fees_paid_quote": Source("the exchange's account", money("fees_e8")),
    "funding_paid_quote": Source("the exchange's account", money("funding_e8")),
    "equity_quote": Source("the exchange's account", lambda t: alone(t.exchange.equity_e8() / CASH_SCALE)),
    "unrealised_pnl_quote": Source(
        "the exchange's account",
        lambda t: alone((t.exchange.equity_e8() - t.exchange.balance().wallet_e8) / CASH_SCALE),
    ),
    "equity_peak_quote": Source("the exchange's equity at every mark", lambda t: alone(t.peak_e8 / CASH_SCALE)),
    "drawdown_ratio": Source(
        "the same", lambda t: alone((t.peak_e8 - t.exchange.equity_e8()) * 1_000_000 // t.peak_e8 / 1_000_000)
    ),
    "maintenance_margin_quote": Source("the exchange's tiers", lambda t: alone(t.maintenance_e8() / CASH_SCALE)),
    "margin_ratio": Source(
        "the same", lambda t: alone(t.maintenance_e8() * 1_000_000 // t.exchange.equity_e8() / 1_000_000)
    ),
    "daily_loss_quote": Source(
        "the exchange's equity at midnight and now", lambda t: alone((t.midnight_e8 - t.exposed.equity_e8) / CASH_SCALE)
    ),
    "session_loss_quote": Source(
        "the settings' wallet, and the exchange's equity", lambda t: alone(10_000 - t.exposed.equity_e8 / CASH_SCALE)
    ),
    "gross_notional_quote": Source("the exchange's legs", lambda t: alone(t.exposed.gross_e8 / CASH_SCALE)),
    "net_notional_quote": Source("the same", lambda t: alone(abs(t.exposed.long_e8 - t.exposed.short_e8) / CASH_SCALE)),
    "leverage_ratio": Source(
        "the same, and its equity", lambda t: alone(-(-t.exposed.gross_e8 * 1_000_000 // t.exposed.equity_e8) / 1e6)
    ),
    "liquidation_distance_ratio": Source(
        "the exchange's account after every move of its mark", lambda t: known(t.exposed.distance_ratio())
    ),
    "value_at_risk_quote": Source("NumPy over the tape's closes and the exchange's legs", lambda t: known(at_risk(t))),
    "bid_price": Source("the market's tape", lambda t: of_btc(float(t.mark))),
    "ask_price": Source("the market's tape", lambda t: of_btc(float(t.mark))),
    "mark_price": Source("the market's tape", lambda t: of_btc(float(t.mark))),
    "market_event_timestamp_seconds": Source("the market's tape", lambda _: of_btc(last_bar_end_s() - 15)),
    "bar_end_timestamp_seconds": Source("the market's tape", lambda _: of_btc(last_bar_end_s())),
    "bars": Source("the market's tape", lambda _: of_btc(BARS)),
    "funding_rate_ratio": Source("the market's tape", lambda _: of_btc(RATE_E8 / CASH_SCALE)),
    "next_funding_timestamp_seconds": Source(
        "the market's tape", lambda _: of_btc((FIRST_BAR + FIRST + SETTLED) * 60 + 8 * 3_600)
    ),
    "funding_interval_seconds": Source("the settings", lambda _: of_btc(8 * 3_600)),
    "projected_funding_quote": Source(
        "the exchange's position and mark at the tape's rate",
        lambda t: by_leg(lambda leg: float(t.held(leg) * t.mark * RATE_E8 / CASH_SCALE) * (1 if leg == 0 else -1)),
    ),
    "position_base": Source("the exchange's account", lambda t: by_leg(lambda leg: float(t.held(leg)))),
    "position_entry_price": Source("the exchange's account", entries_price),
    "position_notional_quote": Source("the exchange's account", lambda t: by_leg(lambda g: float(t.held(g) * t.mark))),
    "unprotected_base": Source(
        "the exchange's positions and conditional orders",
        lambda t: by_leg(
            lambda leg: float(t.held(leg)) - sum(one.qty_lots for one in t.stops(leg)) / 1_000 if t.held(leg) else 0.0
        ),
    ),
    "foreign_position_base": Source("an account in the process is nobody else's", lambda _: by_leg(lambda _leg: 0.0)),
    "foreign_orders": Source("the same", lambda _: alone(0)),
    "open_orders": Source("the exchange's account", resting),
    "unknown_orders": Source("the exchange in the process answers at once", lambda _: alone(0)),
    "orders_sent": Source("the exchange's intake", sent),
    "orders_approved": Source("the journal's tape", approved),
    "orders_rejected": WIRE,
    "fills": Source(
        "the exchange's account", lambda t: by_order(Counter((one.leg, one.purpose) for one in t.exchange.fills))
    ),
    "last_fill_timestamp_seconds": Source(
        "the exchange's account", lambda t: alone(t.exchange.fills[-1].ts_ns / NS_PER_S)
    ),
    "risk_refusals": Source("the journal's tape", refused),
    "grid_center_price": Source("the journal's file", lambda t: of_btc(grid(t, "center_ticks") / 10)),
    "grid_generation": Source("the journal's file", lambda t: of_btc(grid(t, "generation"))),
    "permission_state": Source("the journal's tape", permission),
    "pause_reasons": Source("nothing stands: the journal's last mode is active", lambda _: {}),
    "throttle_ratio": Source("nobody throttled", lambda _: alone(1)),
    "journal_rows": Source("the journal's file", lambda t: alone(t.rows("SELECT count(*) FROM tape")[0][0])),
    "incidents": Source("the journal's file", lambda t: alone(t.rows("SELECT count(*) FROM incidents")[0][0])),
    "loop_lag_seconds": WIRE,
    "clock_skew_seconds": WIRE,
    "alerts": ALERTS,
    "dead_letters": RUNTIME,
    "mailbox_depth": RUNTIME,
    "mailbox_peak_depth": RUNTIME,
    "mailbox_capacity": RUNTIME,
    "messages_received": RUNTIME,
    "messages_conflated": RUNTIME,
    "actor_restarts": RUNTIME,
}
"""By family, without the prefix: a family that is not here fails."""


def families_of(account: Account) -> set[str]:
    """The names of all families, less prefix and ages."""
    made = registry(account.view, now_ns=lambda: account.now_ns, read_runtime=lambda: RuntimeReading(journal_rows=1))
    names = {family.name.removeprefix("hedgegrid_") for family in made.collect()}
    return {name for name in names if not name.endswith("_age_seconds")} | {"dead_letters"}


def test_every_family_has_a_row() -> None:
    """A figure without a source of its own is a constant that nobody would notice."""
    assert families_of(Account()) == SOURCES.keys()


def scraped(port: int, *, account: str = "house") -> dict[str, Values]:
    """Every family of /metrics, less the prefix and the account's label."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        assert answer.status == 200
        text = answer.read().decode()
    found: dict[str, Values] = {}
    for family in text_string_to_metric_families(text):
        values = found.setdefault(family.name.removeprefix("hedgegrid_"), {})
        for sample in family.samples:
            assert sample.labels.get("account", account) == account
            values[tuple(sorted((name, one) for name, one in sample.labels.items() if name != "account"))] = (
                sample.value
            )
    return found


async def stood_still(script: Script) -> House:
    """Wait until all bars before the hole are decided and nobody is busy."""
    while script.house is None or world(script.house).pump.bars_done < BARS or script.house.activity.busy:  # noqa: ASYNC110 - it has no event
        await asyncio.sleep(0.02)
    return script.house


@pytest.mark.asyncio
async def test_each_family_is_what_its_source_says(tmp_path: Path) -> None:
    """A scrape in the middle of a run, after fills, fees and a settlement: row by row, to the last digit."""
    bars = walk(2, BARS + 1)
    numbers = [*range(FIRST, FIRST + BARS), FIRST + BARS + 1_000]
    tape = market(bars, numbers=numbers, funding=[(FIRST - 460, 5_000), (FIRST + SETTLED, RATE_E8)])
    equities_e8: list[int] = []
    before_midnight_e8: list[int] = []

    def hook(house: House, actor: Actor[Any], message: Any) -> None:
        if actor.name == "risk" and isinstance(message, MarkPrice) and message.last_of_instant:
            equities_e8.append(simulation(house).exchange.equity_e8())
            if message.ts_venue_ns < MIDNIGHT_NS:
                before_midnight_e8.append(equities_e8[-1])

    script = Script(before_handle=hook)
    never = {name: {"enabled": False} for name in ("drawdown", "daily_loss", "session_loss")}
    limits = {"max_open_orders_per_leg": 7, **never}
    config = settings(tmp_path, risk=limits, ladder={"base_qty": 12})
    running = asyncio.create_task(boot(config, tape, script, speed=6_000.0))
    house = await stood_still(script)
    await house.journal.commit()
    truth = Truth(
        house=house,
        script=script,
        peak_e8=max(10_000 * CASH_SCALE, *equities_e8),
        midnight_e8=before_midnight_e8[-1],
        closes=[float(bar[3]) for bar in bars[:BARS]],
    )
    samples = await asyncio.to_thread(scraped, house.http.port)
    assert len(truth.exchange.fills) > 20
    assert truth.exchange.balance().funding_e8 != 0
    assert len(before_midnight_e8) > BARS
    assert samples["daily_loss_quote"] != samples["session_loss_quote"]
    assert samples["liquidation_distance_ratio"].keys() == samples["value_at_risk_quote"].keys() == {()}
    totals = house.journal.totals()
    assert (totals.wallet_e8, totals.fees_e8) == (truth.exchange.balance().wallet_e8, truth.exchange.balance().fees_e8)
    wrong = {}
    for name, source in SOURCES.items():
        if source.values is not None and samples.get(name, {}) != pytest.approx(source.values(truth), rel=1e-12):
            wrong[name] = (samples.get(name), source.values(truth))
    world(house).pump.stop()
    ended = await running
    assert wrong == {}
    assert ended.outcome.exit_code == 0
    assert_agrees(ended)
