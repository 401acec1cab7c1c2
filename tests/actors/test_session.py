"""The controls of an account's equity through the whole bot: when they trip, what that does, what a restart keeps.

Invariants: the moment of a trip is worked out from the exchange's own account, step by step, never from what the bot
says; what an action does is read from the exchange's orders and positions.
"""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from hedgegrid.app import House
from hedgegrid.errors import Fatal
from hedgegrid.messages.events import BarClosed, PermissionChanged
from hedgegrid.units import NS_PER_DAY, NS_PER_MINUTE, NS_PER_S
from tests.actors.house import (
    FIRST_BAR,
    CrashError,
    Script,
    assert_agrees,
    assert_exits_complete,
    assert_one_order_a_rung,
    boot,
    changes,
    entries_placed,
    last_mode,
    market,
    messages,
    query,
    settings,
)
from tests.actors.sights import CONTROLS, WALLET_E8, Sight, only, raised_ns, sight, told, trip_of, watching

# --- the account's controls -------------------------------------------------------------------------------------------


@pytest.mark.asyncio
@pytest.mark.parametrize("latency_ms", [0, 16_000])
@pytest.mark.parametrize("action", ["pause", "cancel_entries", "flatten"])
@pytest.mark.parametrize("reason", list(CONTROLS))
async def test_control_trips_at_the_very_step_and_acts(
    reason: str, action: str, latency_ms: int, tmp_path: Path
) -> None:
    """Each control, each action: it trips at the first step whose account is at its limit, and does what it says."""
    sights: list[Sight] = []
    config = settings(
        tmp_path, risk=only(reason, action=action), sim={"latency_ms": latency_ms}, account={"on_stop": "keep"}
    )
    one = await boot(config, market(seed=2, count=170), watching(sights))
    trip_ns = raised_ns(one, reason)
    assert trip_ns == trip_of(reason, sights)
    assert last_mode(one) == "reducing"
    at = next(i for i, each in enumerate(sights) if each.ts_ns == trip_ns)
    assert sights[at].held > 0
    assert sights[at].entries > 0
    settled = sights[at + 1 + (2 if latency_ms else 0)]
    if action == "pause":
        assert settled.entries > 0, "resting entries stay while they are wanted unchanged"
    else:
        assert {each.entries for each in sights[at + 3 :]} == {0}
    if action == "flatten":
        assert {each.held for each in sights[at + 5 :]} == {0}
        assert [change.change for change in told(one, reason)][:2] == ["raised", "flatten_started"]
        assert ("flatten_done", "", "") in changes(one.path)
    else:
        assert settled.held > 0
    entries = "SELECT count(*) FROM orders WHERE purpose = 0 AND created_ns >= "
    assert query(one.path, f"{entries}{trip_ns}") == [(0,)], "an entry was placed after the trip"
    assert_agrees(one)
    if action != "flatten":
        assert_exits_complete(one)


FIGURES = [
    ("drawdown", "drawdown_ppm", "limit_ppm", 100),
    ("daily_loss", "loss_e8", "limit_e8", 90_000_000),
    ("session_loss", "loss_e8", "limit_e8", 110_000_000),
    ("margin", "margin_ppm", "limit_ppm", 18),
]


@pytest.mark.asyncio
@pytest.mark.parametrize(("reason", "value", "limit", "given"), FIGURES)
async def test_figures_tell_the_value_and_the_limit(
    reason: str, value: str, limit: str, given: int, tmp_path: Path
) -> None:
    """Whoever reads the journal sees by how much a limit was met, in its unit."""
    sights: list[Sight] = []
    one = await boot(settings(tmp_path, risk=only(reason)), market(seed=2, count=170), watching(sights))
    figures = told(one, reason)[0].figures
    assert int(figures[limit]) == given
    assert given <= int(figures[value]) < 2 * given
    seen = next(each for each in sights if each.ts_ns == raised_ns(one, reason))
    assert int(figures["equity_e8"]) == seen.equity_e8


@pytest.mark.asyncio
async def test_disabled_controls_never_trip(tmp_path: Path) -> None:
    """A switch that is off is off: the same market, with limits that it meets, trades on to its end."""
    risk = {section: {**limit, "enabled": False} for section, limit in CONTROLS.values()}
    tight = {"volatility_halt": {"enabled": False, "max_annualised": Decimal("0.01")}}
    dear = {"funding_kill": {"enabled": False, "max_cost_bps_8h": Decimal("0.01")}}
    tape = market(seed=2, count=250, funding=[(-400, 90_000), (80, 90_000)])
    one = await boot(settings(tmp_path, risk={**risk, **tight, **dear}), tape)
    assert {reason for _, reason, _ in changes(one.path)} == {""}
    assert last_mode(one) == "active"


@pytest.mark.asyncio
async def test_latched_control_stands_over_midnight(tmp_path: Path) -> None:
    """The loss of a day latches: the next day lifts nothing, only the operator does."""
    one = await boot(settings(tmp_path, risk=only("daily_loss", action="pause")), market(seed=2, count=250))
    assert raised_ns(one, "daily_loss") // NS_PER_DAY < messages(one.path, BarClosed)[-1].ts_recv_ns // NS_PER_DAY
    assert last_mode(one) == "reducing"


@pytest.mark.asyncio
async def test_entry_that_fills_while_its_cancel_travels_is_closed_too(tmp_path: Path) -> None:
    """Flatten means flat: what a fill in the last moment opened is reduced at the next point, not left to its exits."""
    late = 0
    for seed in (2, 3, 5, 6, 7):
        sights: list[Sight] = []
        folder = tmp_path / str(seed)
        config = settings(folder, risk=only("drawdown", max_ratio=Decimal("0.00004")), sim={"latency_ms": 50_000})
        one = await boot(config, market(seed=seed, count=150), watching(sights))
        trip_ns = raised_ns(one, "drawdown")
        opened = f"SELECT ts_ns FROM fills WHERE purpose = 0 AND ts_ns > {trip_ns} ORDER BY ts_ns"  # noqa: S608 - a number
        fills_ns = [ts_ns for (ts_ns,) in query(one.path, opened)]
        late += len(fills_ns)
        # Sent as the fill is seen, live after the latency: at the latest one point further on.
        flat_ns = max([trip_ns, *fills_ns]) + 65 * NS_PER_S
        assert {each.held for each in sights if each.ts_ns > flat_ns} == {0}
        assert_agrees(one)
    assert late > 0, "no market here fills an entry while its cancel travels"


# --- restarts ---------------------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_drawdown_stays_latched_until_a_new_peak(tmp_path: Path) -> None:
    """Over restarts, and over `--resume` without `--new-peak`, which says so; with it, trading goes on from there."""
    config, tape = settings(tmp_path, risk=only("drawdown")), market(seed=2, count=400)
    one = await boot(config, tape, duration_s=200 * 60)
    assert last_mode(one) == "reducing"
    two = await boot(config, tape, duration_s=20 * 60)
    assert entries_placed(two) == []
    assert told(two, "drawdown")[-1].change == "still_latched"
    three = await boot(config, tape, duration_s=20 * 60, resume=True)
    assert entries_placed(three) == []
    assert "the drawdown stays latched: lift it with run --resume --new-peak" in " ".join(three.told)
    assert told(three, "drawdown")[-1].figures["lifted_by"] == "run --resume --new-peak"
    sights: list[Sight] = []
    four = await boot(config, tape, watching(sights), duration_s=20 * 60, resume=True, new_peak=True)
    assert entries_placed(four)
    assert last_mode(four) == "active"
    memory = four.house.journal.session()
    assert memory is not None
    assert memory.peak_e8 == max(each.equity_e8 for each in sights)
    assert_agrees(four)


@pytest.mark.asyncio
@pytest.mark.parametrize("reason", ["daily_loss", "session_loss", "margin"])
async def test_resume_lifts_the_other_controls(reason: str, tmp_path: Path) -> None:
    """`--resume` lifts a loss and counts it anew from there; the limit holds from the new beginning."""
    config, tape = settings(tmp_path, risk=only(reason, action="pause")), market(seed=2, count=400)
    one = await boot(config, tape, duration_s=120 * 60)
    assert last_mode(one) == "reducing"
    two = await boot(config, tape, duration_s=5 * 60, resume=True)
    assert "cleared" in [change.change for change in told(two, reason)]
    assert entries_placed(two) or reason == "margin"


@pytest.mark.asyncio
async def test_resume_begins_the_session_anew_though_nothing_tripped(tmp_path: Path) -> None:
    """The session is what the operator says it is: with his word half the allowance is whole again."""
    sights: list[Sight] = []
    config, tape = settings(tmp_path, risk=only("session_loss")), market(seed=2, count=400)
    await boot(config, tape, duration_s=60 * 60)
    two = await boot(config, tape, watching(sights), duration_s=10 * 60, resume=True)
    memory = two.house.journal.session()
    assert memory is not None
    assert memory.session_base_e8 == sights[0].equity_e8 != WALLET_E8
    assert memory.peak_e8 > max(each.equity_e8 for each in sights), "the peak is not the session's"


@pytest.mark.asyncio
@pytest.mark.parametrize("cut_bars", [20, 37, 50])
async def test_peak_survives_a_restart(cut_bars: int, tmp_path: Path) -> None:
    """Cut anywhere before the trip, a run trips at the drawdown from the peak of all its boots."""
    sights: list[Sight] = []
    risk = only("drawdown")
    config, tape = settings(tmp_path, risk=risk, account={"on_stop": "keep"}), market(seed=2, count=120)
    one = await boot(config, tape, watching(sights), duration_s=cut_bars * 60)
    assert told(one, "drawdown") == []
    peak_e8 = max(WALLET_E8, *(each.equity_e8 for each in sights))
    memory = one.house.journal.session()
    assert memory is not None
    assert memory.peak_e8 == peak_e8
    assert peak_e8 > WALLET_E8 or cut_bars < 30
    two = await boot(config, tape, watching(sights))
    trip_ns = trip_of("drawdown", sights)
    assert raised_ns(two, "drawdown") == trip_ns
    assert int(told(two, "drawdown")[0].figures["peak_e8"]) == max(
        WALLET_E8, *(each.equity_e8 for each in sights if each.ts_ns <= trip_ns)
    )


def dying(bar: int, kind: type[Exception]) -> Script:
    """A script in which the risk actor fails as a bar closes, once."""
    script = Script()
    failed: list[int] = []

    def hook(_house: House, actor: Any, message: Any) -> None:
        late = isinstance(message, BarClosed) and message.bar.open_ns // NS_PER_MINUTE >= FIRST_BAR + bar
        if actor.name == "risk" and late and not failed:
            failed.append(bar)
            raise kind("gone")

    script.before_handle = hook
    return script


@pytest.mark.asyncio
async def test_peak_survives_the_actor_that_knew_it(tmp_path: Path) -> None:
    """A risk actor that is started anew judges from the peak that the last one saw, not from what it finds."""
    sights: list[Sight] = []
    config, tape = settings(tmp_path, risk=only("drawdown")), market(seed=2, count=120)
    script = dying(48, CrashError)
    script.wired = watching(sights).wired
    one = await boot(config, tape, script)
    assert one.outcome.view.restarts["risk"] == 1
    assert raised_ns(one, "drawdown") == trip_of("drawdown", sights)
    assert_agrees(one)
    assert_one_order_a_rung(one)


@pytest.mark.asyncio
async def test_peak_survives_a_process_that_dies(tmp_path: Path) -> None:
    """What the journal had not committed is gone with the process; the next boot's peak is not the wallet it finds."""
    sights: list[Sight] = []
    config, tape = settings(tmp_path, risk=only("drawdown")), market(seed=2, count=120)
    script = dying(49, Fatal)
    script.wired = watching(sights).wired
    one = await boot(config, tape, script)
    assert one.outcome.exit_code == 1
    two = await boot(config, tape, watching(sights))
    assert raised_ns(two, "drawdown") == trip_of("drawdown", sights)
    assert_agrees(two)


@pytest.mark.asyncio
async def test_flatten_that_a_crash_cut_off_is_gone_on_with(tmp_path: Path) -> None:
    """A latched control that flattens leaves nothing open, though the process died between the trip and the order."""
    config, tape = settings(tmp_path, risk=only("drawdown")), market(seed=2, count=120)

    def hook(_house: House, message: Any) -> None:
        if isinstance(message, PermissionChanged) and message.change == "flatten_started" and not dead:
            dead.append(message)
            raise Fatal("gone")

    dead: list[Any] = []
    one = await boot(config, tape, Script(after_publish=hook))
    assert one.outcome.exit_code == 1
    assert sight(one.exchange, 0).held > 0
    two = await boot(config, tape, Script(after_publish=hook))
    assert [change for change, reason, _ in changes(two.path) if reason == "drawdown"].count("flatten_started") == 2
    assert sight(two.exchange, 0).held == 0
    assert entries_placed(two) == []
    assert_agrees(two)
