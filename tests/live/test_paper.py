"""Paper: live prices over the wire, orders and fills in the process, and nothing that could send an order."""

from pathlib import Path

import pytest

from hedgegrid.venues.ccxtpro.trading import CcxtTrading
from hedgegrid.venues.ccxtpro.wire import TradingWire
from hedgegrid.worlds.exchange import ExchangeWorld
from tests.live.evidence import query
from tests.live.trading_bot import OVER_A_RUNG_BPS, trading


class ConstructedError(AssertionError):
    """Something that can send orders was made."""


@pytest.mark.asyncio
@pytest.mark.parametrize("with_keys", [False, True])
async def test_paper_cannot_send_an_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, with_keys: bool) -> None:
    """No trading session is made and no request is signed, with keys in the config or without; fills are simulated."""

    def refuse(*_: object, **__: object) -> None:
        raise ConstructedError

    for kind in (TradingWire, CcxtTrading, ExchangeWorld):
        monkeypatch.setattr(kind, "__init__", refuse)
    async with trading(tmp_path, with_keys=with_keys, account={"mode": "paper"}) as bot:
        await bot.until(lambda: query(bot.journal, "SELECT count(*) FROM orders WHERE state = 'working'") >= [(4,)])
        bot.move(-OVER_A_RUNG_BPS)
        await bot.until(lambda: len(bot.fills()) == 1)
        outcome = await bot.end()
        assert (outcome.exit_code, outcome.failure) == (0, "")
    assert bot.sent() == []
    assert {each.name.partition(" ")[0] for each in bot.requests()} == {"GET"}
    assert [each.name for each in bot.requests() if "timestamp" in each.facts["params"]] == []
    assert [len(bot.account["orders"]), bot.account["trades"]] == [0, 0]
