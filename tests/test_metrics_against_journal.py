"""What Prometheus reads over the wire is what the exchange and the journal hold at that moment.

Invariant: the market stands still while the two are compared: its next price is hours away on a paced clock.
"""

import asyncio
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from hedgegrid.app import House
from hedgegrid.core.codes import FREE
from hedgegrid.model.order import Leg, Purpose
from hedgegrid.units import CASH_SCALE
from tests.actors.house import BTC, Script, assert_agrees, boot, market, settings, simulation, world
from tests.core.made import walk

BARS = 100
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def scraped(port: int) -> Samples:
    """Every sample of /metrics by name and labels, less the account's."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        assert answer.status == 200
        text = answer.read().decode()
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            assert sample.labels.get("account", "house") == "house"
            labels = tuple(sorted((name, value) for name, value in sample.labels.items() if name != "account"))
            found[sample.name, labels] = sample.value
    return found


def one(samples: Samples, name: str, **labels: str) -> float | None:
    """A sample, or None where there is none."""
    return samples.get((f"hedgegrid_{name}", tuple(sorted(labels.items()))))


async def stood_still(script: Script) -> House:
    """Wait until all bars before the hole are decided and nobody is busy."""
    while script.house is None or world(script.house).pump.bars_done < BARS or script.house.activity.busy:  # noqa: ASYNC110 - it has no event
        await asyncio.sleep(0.02)
    return script.house


def assert_metrics_are_the_accounts(samples: Samples, house: House) -> None:
    """Money, legs, fills, orders and counters against the exchange's account and the journal's."""
    exchange, journal = simulation(house).exchange, house.journal
    balance, totals, book = exchange.balance(), journal.totals(), exchange.books[0]
    money = {
        "wallet_quote": (balance.wallet_e8, totals.wallet_e8),
        "realised_pnl_quote": (balance.realised_e8, totals.realised_e8),
        "fees_paid_quote": (balance.fees_e8, totals.fees_e8),
        "funding_paid_quote": (balance.funding_e8, totals.funding_e8),
    }
    for name, (theirs, ours) in money.items():
        assert theirs == ours
        assert one(samples, name) == theirs / CASH_SCALE, name
    assert one(samples, "equity_quote") == exchange.equity_e8() / CASH_SCALE
    assert one(samples, "mark_price", instrument=BTC) == float(book.market.mark_ticks * book.instrument.tick)
    for leg in Leg:
        labels = {"instrument": BTC, "leg": leg.name.lower()}
        held = book.accounts[leg].qty_lots
        assert one(samples, "position_base", **labels) == float(held * book.instrument.lot)
        for purpose in Purpose:
            labels["purpose"] = purpose.name.lower()
            count = sum(fill.leg is leg and fill.purpose is purpose for fill in exchange.fills)
            assert (one(samples, "fills_total", **labels) or 0) == count, labels
            resting = sum(o.state != FREE and o.leg == leg and o.purpose == purpose for o in book.orders)
            assert one(samples, "open_orders", **labels) == resting, labels
    assert one(samples, "bars_total", instrument=BTC) == BARS
    assert one(samples, "journal_rows_total") == journal.counts()["rows"]
    assert one(samples, "incidents_total") == journal.counts()["incidents"]
    assert one(samples, "permission_state", state=str(house.view.mode)) == 1


@pytest.mark.asyncio
async def test_metrics_are_the_accounts(tmp_path: Path) -> None:
    """Every figure of a scrape in the middle of a run is the exchange's own at that moment, and so is the journal's."""
    bars = walk(2, BARS + 1)
    numbers = [*range(BARS), BARS + 1_000]
    tape = market(bars, numbers=numbers, funding=[(-460, 5_000), (20, 50_000)])
    script = Script()
    running = asyncio.create_task(boot(settings(tmp_path), tape, script, speed=6_000.0))
    house = await stood_still(script)
    samples: Any = await asyncio.to_thread(scraped, house.http.port)
    assert len(simulation(house).exchange.fills) > 20
    assert simulation(house).exchange.balance().funding_e8 != 0
    assert_metrics_are_the_accounts(samples, house)
    world(house).pump.stop()
    ended = await running
    assert ended.outcome.exit_code == 0
    assert_agrees(ended)
