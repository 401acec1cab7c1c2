"""Session controls through the whole bot: when they trip, what that does at the exchange, and what a restart keeps.

Invariants: the moment of a trip is worked out from the exchange's own account, step by step, never from what the bot
says; what an action does is read from the exchange's orders and positions.
"""

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest

from hedgegrid.app import House
from hedgegrid.config.schema import AccountConfig
from hedgegrid.core import ledger, margin
from hedgegrid.errors import Fatal
from hedgegrid.messages.events import BarClosed, PermissionChanged
from hedgegrid.model.market import Step
from hedgegrid.model.order import Purpose
from hedgegrid.units import NS_PER_DAY, NS_PER_MINUTE
from hedgegrid.venues.simulated.arrays import BarArrays, no_funding
from hedgegrid.venues.simulated.exchange import Exchange
from hedgegrid.venues.simulated.tape_bars import BarTape
from tests.actors.house import (
    BTC,
    FIRST_BAR,
    Boot,
    CrashError,
    Script,
    assert_agrees,
    assert_exits_complete,
    assert_one_order_a_rung,
    boot,
    changes,
    checked,
    document,
    entries_at,
    entries_placed,
    last_mode,
    market,
    messages,
    query,
    settings,
)
from tests.core.made import Ohlc, walk

ETH = "ETH/USDT:USDT"
WALLET_E8 = 10_000 * 10**8
OFF = {name: {"enabled": False} for name in ("drawdown", "daily_loss", "session_loss", "margin_kill")}
CONTROLS: dict[str, tuple[str, dict[str, Any]]] = {
    "drawdown": ("drawdown", {"max_ratio": Decimal("0.0001")}),
    "daily_loss": ("daily_loss", {"max_quote": Decimal("0.9")}),
    "session_loss": ("session_loss", {"max_quote": Decimal("1.1")}),
    "margin": ("margin_kill", {"max_ratio": Decimal("0.000018")}),
}
"""Reason -> its section and a limit that the made market of seed 2 reaches: the account loses 2 of 10,000."""


@attrs.frozen
class Sight:
    """The exchange's account at one step: after its moves, payments and margin check, before anything falls due."""

    ts_ns: int
    equity_e8: int
    maintenance_e8: int
    held: int
    entries: int


def sight(exchange: Exchange, ts_ns: int) -> Sight:
    """Look at the exchange's account, with figures of its own books alone."""
    needed = held = 0
    for book in exchange.books:
        gross = margin.gross_notional_e8(book.market, book.accounts, book.rules)
        held += sum(account.qty_lots for account in book.accounts)
        needed += ledger.maintenance_e8(gross, book.tiers) if gross else 0
    return Sight(ts_ns, exchange.equity_e8(), needed, held, len(entries_at(exchange)))


def watching(sights: list[Sight]) -> Script:
    """A script that notes the exchange's account at every step, as its prices are about to be shown."""

    def wired(house: House) -> None:
        show = house.simulation.market.show_points

        def shown(step: Step) -> None:
            sights.append(sight(house.simulation.exchange, step.ts_ns))
            show(step)

        house.simulation.market.show_points = shown  # type: ignore[method-assign]

    return Script(wired=wired)


def only(reason: str, **more: Any) -> dict[str, Any]:
    """The risk settings in which one equity control alone is on, with a limit that is met; changed."""
    section, limit = CONTROLS[reason]
    return {**OFF, section: {"enabled": True, **limit, **more}}


def told(one: Boot, reason: str) -> list[PermissionChanged]:
    """What was said of a reason."""
    return [change for change in messages(one.path, PermissionChanged) if change.reason == reason]


def raised_ns(one: Boot, reason: str) -> int:
    """When a reason rose, the first time."""
    return next(change.ts_recv_ns for change in told(one, reason) if change.change == "raised")


def trip_of(reason: str, sights: Sequence[Sight], drawdown_ppm: int = 100) -> int:
    """When a control of `CONTROLS` must trip, by the exchange's account."""
    peak_e8 = day_base_e8 = last_e8 = WALLET_E8
    day = FIRST_BAR * NS_PER_MINUTE // NS_PER_DAY
    for one in sights:
        if one.ts_ns // NS_PER_DAY != day:
            day, day_base_e8 = one.ts_ns // NS_PER_DAY, last_e8
        last_e8, peak_e8 = one.equity_e8, max(peak_e8, one.equity_e8)
        trips = {
            "drawdown": (peak_e8 - one.equity_e8) * 10**6 >= peak_e8 * drawdown_ppm,
            "daily_loss": (day_base_e8 - one.equity_e8) * 10 >= 9 * 10**8,
            "session_loss": (WALLET_E8 - one.equity_e8) * 10 >= 11 * 10**8,
            "margin": one.maintenance_e8 * 10**6 >= 18 * one.equity_e8,
        }
        if trips[reason]:
            return one.ts_ns
    raise AssertionError(f"the market never reaches {reason}")


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
        opened = f"SELECT count(*) FROM fills WHERE purpose = 0 AND ts_ns > {trip_ns}"  # noqa: S608 - a number
        late += query(one.path, opened)[0][0]
        assert sights[-1].held == 0
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


# --- one instrument's controls ----------------------------------------------------------------------------------------


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


def two_markets(tmp_path: Path, risk: dict[str, Any]) -> tuple[AccountConfig, BarTape]:
    """An account of two instruments, the second of which is quiet throughout."""
    text = document(tmp_path, risk=risk, account={"on_stop": "keep"})
    text["sim"]["instrument"][ETH] = {"min_notional": 0}
    other = {**text["grid"][0], "instrument": ETH}
    text["grid"] = [*text["grid"], other]
    rows = [storm(), walk(5, 250, reach=40)]
    opens = (FIRST_BAR + np.arange(250)) * NS_PER_MINUTE
    bars = []
    for each in rows:
        columns = np.array(each, np.int64).T
        bars.append(
            BarArrays(
                open_ns=opens,
                open_ticks=columns[0].copy(),
                high_ticks=columns[1].copy(),
                low_ticks=columns[2].copy(),
                close_ticks=columns[3].copy(),
                volume_lots=np.ones(250, np.int64),
            )
        )
    tape = BarTape(instruments=[BTC, ETH], bars=bars, funding=[no_funding(), no_funding()], bar_length_ns=NS_PER_MINUTE)
    return checked(text), tape


@pytest.mark.asyncio
async def test_a_storm_of_one_instrument_leaves_the_other_alone(tmp_path: Path) -> None:
    """The scope of a volatility halt is its instrument: there all is closed, beside it trading goes on."""
    config, tape = two_markets(tmp_path, {"volatility_halt": {**STORM_LIMIT, "action": "flatten"}})
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


@pytest.mark.asyncio
async def test_equity_is_judged_when_all_marks_of_an_instant_are_known(tmp_path: Path) -> None:
    """Half of an instant's marks make an equity that never was: with two instruments the trip is at the same step."""
    sights: list[Sight] = []
    config, tape = two_markets(
        tmp_path, {**only("drawdown", max_ratio=Decimal("0.00003")), "volatility_halt": {"enabled": False}}
    )
    one = await boot(config, tape, watching(sights))
    assert raised_ns(one, "drawdown") == trip_of("drawdown", sights, drawdown_ppm=30)
    memory = one.house.journal.session()
    assert memory is not None
    assert memory.peak_e8 == max(WALLET_E8, *(each.equity_e8 for each in sights))
