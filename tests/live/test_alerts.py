"""Alerts of a bot that trades: what arrives at a service while it lives, and that a broken one does nothing to it."""

from pathlib import Path

import pytest

from tests.live.trading_bot import secret, trading
from tests.ops.alert_service import alert_service


@pytest.mark.asyncio
async def test_a_life_is_told(tmp_path: Path) -> None:
    """Started, centered, filled, stopped: in this order, by the account's name; what is off is not told."""
    with alert_service() as service:
        urls = {"file": str(secret(tmp_path / "urls", f"# who\n{service.url}\n"))}
        alerts = {"urls": urls, "events": {"incident": "off", "refused": "off", "fill": "silent"}}
        async with trading(tmp_path, alerts=alerts) as bot:
            await bot.hold()
            await bot.end_and_prove()
        assert service.events()[0] == "started"
        assert service.events()[-1] == "stopped"
        assert (
            {"recentered", "fill"}
            <= set(service.events())
            <= {"started", "recentered", "fill", "paused", "resumed", "stopped"}
        )
        (fill,) = [one for one in service.arrived if one["title"] == "hedgegrid live: fill"]
        assert fill["message"].startswith("BTC/USDT:USDT LONG entry: 0.01")
        assert fill["type"] == "info"


@pytest.mark.asyncio
async def test_a_service_that_hangs_costs_no_order(tmp_path: Path) -> None:
    """Nothing is answered to any alert: the bot trades, protects and ends as ever."""
    with alert_service() as service:
        service.gate.clear()
        urls = {"file": str(secret(tmp_path / "urls", service.url))}
        async with trading(tmp_path, alerts={"urls": urls}) as bot:
            await bot.hold()
            service.gate.set()
            await bot.end_and_prove()
