"""Funding and liquidation through the whole bot: every settlement once, and the end of an account.

Invariants: what was paid is read from the exchange's account and the journal's tables, and both agree to 1e-8.
"""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from hedgegrid.app import House
from hedgegrid.config.schema import AccountConfig
from hedgegrid.errors import Fatal
from hedgegrid.journal.verify import verify
from hedgegrid.messages.events import FundingPaid
from hedgegrid.model.market import Tape
from hedgegrid.model.order import Purpose
from hedgegrid.ops.summary import render_summary
from hedgegrid.units import NS_PER_MINUTE
from tests.actors.house import FIRST_BAR, Script, assert_agrees, boot, changes, fills, market, query, settings
from tests.core.made import walk


@pytest.mark.asyncio
@pytest.mark.parametrize("cut_s", [1_199, 1_200, 1_214, 1_215])
async def test_settlement_around_a_restart_is_booked_once(cut_s: int, tmp_path: Path) -> None:
    """Wherever a boot ends around a settlement, the wallet has it once and so has the journal."""
    config = settings(tmp_path, account={"on_stop": "keep"})
    tape = market(seed=2, count=90, funding=[(-460, 5_000), (20, 50_000), (60, -70_000)])
    await boot(config, tape, duration_s=cut_s)
    two = await boot(config, tape)
    stamps = query(two.path, "SELECT ts_ns, rate_e8 FROM funding ORDER BY ts_ns")
    assert stamps == [((FIRST_BAR + 20) * NS_PER_MINUTE, 50_000), ((FIRST_BAR + 60) * NS_PER_MINUTE, -70_000)]
    assert two.exchange.balance().funding_e8 != 0
    assert_agrees(two)


@pytest.mark.asyncio
async def test_settlement_that_a_dying_boot_did_not_book_is_booked_by_the_next(tmp_path: Path) -> None:
    """The exchange charged, the bot died before it wrote it down: the next start reads it there."""

    def hook(_house: House, actor: Any, message: Any) -> None:
        if actor.name == "funding" and isinstance(message, FundingPaid):
            raise Fatal("gone")

    config = settings(tmp_path)
    tape = market(seed=2, count=60, funding=[(-460, 5_000), (20, 50_000)])
    one = await boot(config, tape, Script(before_handle=hook))
    assert one.outcome.exit_code == 1
    assert query(one.path, "SELECT count(*) FROM funding") == [(0,)]
    two = await boot(config, tape)
    assert query(two.path, "SELECT count(*) FROM funding") == [(1,)]
    assert_agrees(two)


def doomed(path: Path, *, drawdown: dict[str, Any] | None = None) -> tuple[AccountConfig, Tape]:
    """An account that is far too large for its wallet, without stops in reach, on a market that falls."""
    config = settings(
        path,
        account={"wallet_quote": 20},
        ladder={"base_qty": 1, "levels_short": 1},
        exit={"sl_steps": 200},
        # The controls that would close everything before the exchange does.
        risk={"drawdown": drawdown or {"enabled": False}, "margin_kill": {"enabled": False}},
    )
    calm = walk(2, 30, reach=30, gap=5)
    price, fall = calm[-1][3], []
    for _ in range(40):
        fall.append((price, price, price - 30, price - 30))
        price -= 30
    return config, market([*calm, *fall])


@pytest.mark.asyncio
async def test_liquidation_ends_the_account(tmp_path: Path) -> None:
    """LIQUIDATED, exit 3, a journal that proves it; the next start is a new account and the old files are kept."""
    config, tape = doomed(tmp_path)
    one = await boot(config, tape)
    assert (one.outcome.exit_code, one.outcome.extras.ended) == (3, "LIQUIDATED")
    assert render_summary(one.outcome.view, one.outcome.extras).endswith("ended: LIQUIDATED")
    assert [p for book in one.exchange.books for p in book.positions()] == []
    assert any(purpose == Purpose.LIQUIDATION for _, _, purpose, *_ in fills(one.path))
    assert_agrees(one)
    rows = query(one.path, "SELECT count(*) FROM tape")
    two = await boot(config, tape, duration_s=600)
    assert two.told[0] == f"the last run is set aside beside {two.path}: its run is over: LIQUIDATED"
    old = tmp_path / "house.1.db"
    assert query(old, "SELECT count(*) FROM tape") == rows
    assert verify(old).ok
    assert (tmp_path / "house.venue.1.db").exists()
    assert query(two.path, "SELECT count(*) FROM boots") == [(1,)]
    assert two.outcome.exit_code == 0
    assert two.exchange.initial_wallet_e8 == 20 * 10**8


@pytest.mark.asyncio
async def test_a_liquidated_account_trips_no_control_afterwards(tmp_path: Path) -> None:
    """What the liquidation left is no drawdown to act on: the exchange has closed everything, and the run is over."""
    config, tape = doomed(tmp_path, drawdown={"max_ratio": Decimal("0.995")})
    one = await boot(config, tape)
    assert one.outcome.extras.ended == "LIQUIDATED"
    left_e8 = one.exchange.balance().wallet_e8
    assert left_e8 < 20 * 10**8 * 5 // 1_000, "it would have tripped"
    assert "drawdown" not in {reason for _, reason, _ in changes(one.path)}
    assert_agrees(one)
