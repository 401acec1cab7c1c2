"""The session controls of one instrument, volatility and funding, and how several instruments are judged.

Invariants: as for the account's controls: what an action does is read from the exchange's orders and positions.
"""

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hedgegrid.actors.post import strategy_name
from hedgegrid.app import House
from hedgegrid.config.schema import AccountConfig
from hedgegrid.messages.events import BarClosed
from hedgegrid.model.order import Purpose
from hedgegrid.units import NS_PER_MINUTE
from hedgegrid.venues.simulated.arrays import BarArrays, no_funding
from hedgegrid.venues.simulated.tape_bars import BarTape
from tests.actors.house import (
    BTC,
    FIRST_BAR,
    CrashError,
    Script,
    assert_agrees,
    boot,
    changes,
    checked,
    document,
    entries_placed,
    last_mode,
    market,
    messages,
    query,
    settings,
)
from tests.actors.sights import WALLET_E8, Sight, only, raised_ns, told, watching
from tests.core.made import Ohlc, walk

ETH = "ETH/USDT:USDT"


def storm(seed: int = 2) -> list[Ohlc]:
    """A market that is quiet, then wild for ten bars, then quiet again."""
    before = walk(seed, 60, reach=40)
    close = before[-1][3]
    wild: list[Ohlc] = []
    for number in range(10):
        after = close + (90 if number % 2 else -90)
        wild.append((close, max(close, after), min(close, after), after))
        close = after
    return [*before, *wild, *walk(seed + 1, 180, reach=40, start=close)]


STORM_LIMIT = {"enabled": True, "max_annualised": Decimal("2.5")}


@pytest.mark.asyncio
@pytest.mark.parametrize("action", ["pause", "cancel_entries", "flatten"])
async def test_volatility_halt_acts_before_the_decision_and_goes_by_itself(action: str, tmp_path: Path) -> None:
    """It is judged as a bar closes, before the grid decides on that bar, and clears once the market is quiet."""
    sights: list[Sight] = []
    config = settings(
        tmp_path,
        risk={"volatility_halt": {**STORM_LIMIT, "action": action}},
        watchdog={"resume_after_ms": 120_000},
        account={"on_stop": "keep"},
    )
    one = await boot(config, market(storm()), watching(sights))
    steps = told(one, "volatility_halt")
    assert [change.change for change in steps][:1] == ["raised"]
    assert [change.change for change in steps][-2:] == ["recovering", "cleared"]
    assert {change.scope for change in steps} == {BTC}
    closed = {bar.ts_recv_ns for bar in messages(one.path, BarClosed)}
    first_ns, over_ns, clear_ns = steps[0].ts_recv_ns, steps[-2].ts_recv_ns, steps[-1].ts_recv_ns
    assert {first_ns, over_ns} <= closed
    assert int(steps[0].figures["volatility_ppm"]) >= int(steps[0].figures["limit_ppm"]) == 2_500_000
    assert int(steps[-2].figures["volatility_ppm"]) < 2_500_000
    assert 0 <= clear_ns - over_ns - 120 * 10**9 < 10**9
    halted = f"SELECT count(*) FROM orders WHERE purpose = 0 AND created_ns >= {first_ns} AND created_ns < {clear_ns}"  # noqa: S608 - numbers
    assert query(one.path, halted) == [(0,)]
    resting = [each for each in sights if first_ns < each.ts_ns <= over_ns]
    assert resting
    if action == "pause":
        assert resting[0].entries > 0
    else:
        assert {each.entries for each in resting} == {0}
    assert ({each.held for each in resting} == {0}) == (action == "flatten")
    flattened = query(one.path, f"SELECT count(*) FROM orders WHERE purpose = {int(Purpose.FLATTEN)}")  # noqa: S608 - a number
    assert (flattened[0][0] > 0) == (action == "flatten")
    after = [each for each in sights if each.ts_ns > clear_ns + 2 * NS_PER_MINUTE]
    assert any(each.entries for each in after), "the pause was not lifted"
    assert last_mode(one) == "active"
    assert_agrees(one)


@pytest.mark.asyncio
async def test_decay_of_the_estimate_is_the_settings(tmp_path: Path) -> None:
    """`risk.var.lambda` says how fast a storm is believed: with less memory the halt comes at its first bar."""
    risen: list[int] = []
    for decay in ("0.97", "0.5"):
        risk = {"volatility_halt": STORM_LIMIT, "var": {"lambda": Decimal(decay)}}
        one = await boot(settings(tmp_path / decay, risk=risk), market(storm()))
        risen.append(raised_ns(one, "volatility_halt") // NS_PER_MINUTE - FIRST_BAR)
    assert risen[0] > risen[1]
    assert risen[1] <= 60


@pytest.mark.asyncio
async def test_volatility_halt_knows_the_history(tmp_path: Path) -> None:
    """A bot that starts in the middle of a storm has seen the bars before: it does not trade into it first."""
    config = settings(
        tmp_path,
        risk={
            "volatility_halt": {
                **STORM_LIMIT,
            }
        },
    )
    tape = market(storm())
    one = await boot(config, tape, duration_s=69 * 60)
    assert told(one, "volatility_halt")[-1].change == "raised"
    two = await boot(config, tape, duration_s=60)
    assert entries_placed(two) == []
    assert ("raised", "volatility_halt", BTC) in changes(two.path)[-3:]


@pytest.mark.asyncio
async def test_history_that_is_told_again_counts_once(tmp_path: Path) -> None:
    """A strategy that restarts in a storm has its history told anew: the estimate is that of bars seen once."""
    seen: list[list[tuple[int, str, int]]] = []
    for fails_at in (None, 63):
        failed: list[int] = []

        def hook(
            _house: House, actor: Any, message: Any, at: int | None = fails_at, failed: list[int] = failed
        ) -> None:
            if not isinstance(message, BarClosed) or at is None or failed:
                return
            if actor.name == strategy_name(BTC) and message.bar.open_ns // NS_PER_MINUTE >= FIRST_BAR + at:
                failed.append(at)
                raise CrashError("gone")

        config = settings(tmp_path / str(fails_at), risk={"volatility_halt": STORM_LIMIT})
        one = await boot(config, market(storm()), Script(before_handle=hook))
        assert len(failed) == (fails_at is not None)
        steps = [each for each in told(one, "volatility_halt") if each.change in {"raised", "recovering"}]
        seen.append([(each.ts_recv_ns, each.change, int(each.figures["volatility_ppm"])) for each in steps])
    assert seen[0] == seen[1] != []


@pytest.mark.asyncio
@pytest.mark.parametrize("action", ["pause", "cancel_entries", "flatten"])
@pytest.mark.parametrize("rate", [200_000, -200_000])
async def test_funding_kill_acts_as_the_rate_becomes_known(rate: int, action: str, tmp_path: Path) -> None:
    """At its limit a rate stops the instrument, whoever pays it, until one that is cheaper is known."""
    sights: list[Sight] = []
    tape = market(walk(2, 200), funding=[(-400, 199_999), (70, rate), (110, 199_999)])
    config = settings(
        tmp_path,
        risk={"funding_kill": {"enabled": True, "max_cost_bps_8h": 20, "action": action}},
        funding={"max_cost_bps_8h": 1_000},
        account={"on_stop": "keep"},
    )
    one = await boot(config, tape, watching(sights))
    steps = told(one, "funding_kill")
    assert [change.change for change in steps] == ["raised", "recovering", "cleared"]
    minutes = [change.ts_recv_ns // NS_PER_MINUTE - FIRST_BAR for change in steps]
    assert minutes[:2] == [70, 110]
    assert steps[0].scope == BTC
    assert (steps[0].figures["cost_8h_e8"], steps[0].figures["limit_8h_e8"]) == ("200000", "200000")
    resting = [each for each in sights if steps[0].ts_recv_ns < each.ts_ns <= steps[1].ts_recv_ns]
    before = next(each for each in sights if each.ts_ns == steps[0].ts_recv_ns)
    assert before.entries > 0
    assert before.held > 0
    if action == "pause":
        assert resting[0].entries > 0
    else:
        assert {each.entries for each in resting} == {0}
    assert ({each.held for each in resting} == {0}) == (action == "flatten")
    assert any(each.entries for each in sights if each.ts_ns > steps[2].ts_recv_ns + 2 * NS_PER_MINUTE)
    assert_agrees(one)


def two_markets(
    tmp_path: Path, rows: Sequence[Sequence[Ohlc]], risk: dict[str, Any], **grid: dict[str, Any]
) -> tuple[AccountConfig, BarTape]:
    """An account of two instruments, each on its own market; a lot of the one is worth as much as one of the other."""
    text = document(tmp_path, risk=risk, account={"on_stop": "keep"}, **grid)
    text["sim"]["instrument"][ETH] = {"min_notional": 0, "tick": Decimal("0.1"), "lot": Decimal("0.001")}
    text["grid"] = [*text["grid"], {**text["grid"][0], "instrument": ETH}]
    bars = []
    for each in rows:
        columns = np.array(each, np.int64).T
        bars.append(
            BarArrays(
                open_ns=(FIRST_BAR + np.arange(len(each))) * NS_PER_MINUTE,
                open_ticks=columns[0].copy(),
                high_ticks=columns[1].copy(),
                low_ticks=columns[2].copy(),
                close_ticks=columns[3].copy(),
                volume_lots=np.ones(len(each), np.int64),
            )
        )
    tape = BarTape(instruments=[BTC, ETH], bars=bars, funding=[no_funding(), no_funding()], bar_length_ns=NS_PER_MINUTE)
    return checked(text), tape


@pytest.mark.asyncio
async def test_a_storm_of_one_instrument_leaves_the_other_alone(tmp_path: Path) -> None:
    """The scope of a volatility halt is its instrument: there all is closed, beside it trading goes on."""
    halt = {"volatility_halt": {**STORM_LIMIT, "action": "flatten"}}
    config, tape = two_markets(tmp_path, [storm(), walk(5, 250, reach=40)], halt)
    one = await boot(config, tape)
    steps = told(one, "volatility_halt")
    assert {change.scope for change in steps} == {BTC}
    start_ns, end_ns = steps[0].ts_recv_ns, steps[-1].ts_recv_ns
    placed = f"SELECT instrument, purpose FROM orders WHERE created_ns > {start_ns} AND created_ns < {end_ns}"  # noqa: S608 - numbers
    found = set(query(one.path, placed))
    assert (ETH, int(Purpose.ENTRY)) in found
    assert (BTC, int(Purpose.ENTRY)) not in found
    flattened = query(one.path, f"SELECT DISTINCT instrument FROM orders WHERE purpose = {int(Purpose.FLATTEN)}")  # noqa: S608 - a number
    assert flattened == [(BTC,)]
    assert_agrees(one)


def seesaw() -> list[list[Ohlc]]:
    """Two markets that fall until both LONG legs are filled, then at one instant one falls far as the other rises."""
    falls = [(price, price + 3, price - 20, price - 20) for price in range(10_000, 9_860, -20)]
    warm = [(10_000, 10_004, 9_996, 10_000)] * 12
    rows = []
    for jump in (-300, 300):
        price = falls[-1][3] + jump
        rows.append([*warm, *falls, *[(price, price, price, price)] * 20])
    return rows


@pytest.mark.asyncio
async def test_equity_is_judged_when_all_marks_of_an_instant_are_known(tmp_path: Path) -> None:
    """Half of an instant's marks make an equity that never was: what one instrument loses the other has gained."""
    sights: list[Sight] = []
    risk = {**only("drawdown"), "volatility_halt": {"enabled": False}}
    config, tape = two_markets(
        tmp_path, seesaw(), risk, exit={"tp_steps": 50, "sl_steps": 50}, ladder={"levels_short": 1}
    )
    one = await boot(config, tape, watching(sights))
    before = next(each for each in reversed(sights) if each.ts_ns < (FIRST_BAR + 19) * NS_PER_MINUTE)
    assert before.held == 60, "both LONG legs are full as the markets part"
    assert told(one, "drawdown") == []
    memory = one.house.journal.session()
    assert memory is not None
    assert memory.peak_e8 == max(WALLET_E8, *(each.equity_e8 for each in sights))
