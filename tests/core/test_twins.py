"""The compiled core is the interpreted one, to the last bit, in every function."""

import fcntl
import sys
from pathlib import Path
from types import CodeType, FrameType, SimpleNamespace
from typing import Any

import attrs
import numpy as np
import pytest

from hedgegrid.backtest.twins import HOT_MODULES, compiled, hot_functions
from hedgegrid.core import fixed, risk
from tests.core import made
from tests.core.bounded import LARGEST
from tests.core.desk import PLAIN, Desk, as_arrays, as_lists
from tests.core.scenes import SCENES, Scene, guard, judge, play

TABLES = ("rungs", "entries", "accounts", "lots", "stops", "orders", "links", "cancels", "venue_accounts", "events")
SINGLES = ("params", "rules", "state", "ind", "market", "used", "said")
GATE_SEEDS = (1, 2)
REAL = {"step_ppm": 400, "recenter_ppm": 3_000, "ema_fast": 20, "ema_slow": 60, "adx_len": 14, "atr_len": 14}


@attrs.frozen(kw_only=True)
class Machine:
    """The compiled core and what it made of every scene."""

    core: SimpleNamespace
    folder: Path
    desks: dict[str, Desk]
    verdicts: dict[int, Any]
    guarded: dict[int, Any]


@pytest.fixture(scope="session")
def machine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """Compile once a session, or once for all sessions of the same sources; a second worker waits and loads."""
    cache = getattr(request.config, "cache", None)
    folder = tmp_path_factory.mktemp("twins") if cache is None else cache.mkdir("twins")
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        core = compiled(folder)
        desks = {scene.name: play(scene, core, as_arrays) for scene in SCENES}
        verdicts = {seed: judge(seed, core, as_arrays) for seed in GATE_SEEDS}
        guarded = {seed: guard(seed, core, as_arrays) for seed in GATE_SEEDS}
    return Machine(core=core, folder=folder, desks=desks, verdicts=verdicts, guarded=guarded)


def rows(table: Any) -> list[tuple[Any, ...]]:
    """A table, or one record, of either execution as plain tuples."""
    if isinstance(table, np.ndarray):
        return [tuple(row) for row in table.tolist()]
    if isinstance(table, np.void):
        return [tuple(table.tolist())]
    return [attrs.astuple(row) for row in (table if isinstance(table, list) else [table])]


def differences(ours: Desk, theirs: Desk) -> list[str]:
    """The names of what differs between two desks; floats are compared bit for bit."""
    found = [name for name in ("fills", "told", "wakes") if getattr(ours, name) != getattr(theirs, name)]
    tables = TABLES + SINGLES
    return found + [name for name in tables if repr(rows(getattr(ours, name))) != repr(rows(getattr(theirs, name)))]


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
def test_a_scene_is_equal_bit_for_bit(machine: Machine, scene: Scene) -> None:
    """Every table, every fill and every row of the venue agree between the executions, at the end of a whole run."""
    plain = play(scene, PLAIN, as_lists)
    assert len(plain.fills) > 20, "a scene in which nothing happens proves nothing"
    assert differences(plain, machine.desks[scene.name]) == []


@pytest.mark.parametrize("name", ["plain", "core atr leg stop"])
def test_real_bars_are_equal_bit_for_bit(machine: Machine, shared_dir: Path, name: str) -> None:
    """The same on a recorded market, whose floats are not made up."""
    (scene,) = [scene for scene in SCENES if scene.name == name]
    scene = attrs.evolve(scene, params={**scene.params, **REAL})
    bars = made.real_bars(shared_dir, 1_500)
    plain, twin = play(scene, PLAIN, as_lists, bars), play(scene, machine.core, as_arrays, bars)
    assert len(plain.fills) > 100
    assert differences(plain, twin) == []


@pytest.mark.parametrize("seed", GATE_SEEDS)
def test_the_gate_is_equal_bit_for_bit(machine: Machine, seed: int) -> None:
    """The same verdicts on the same stream of orders, and the same book at the end."""
    codes, tables = judge(seed, PLAIN, as_lists)
    twin_codes, twin_tables = machine.verdicts[seed]
    assert codes == twin_codes
    assert [repr(rows(table)) for table in tables] == [repr(rows(table)) for table in twin_tables]


@pytest.mark.parametrize("seed", GATE_SEEDS)
def test_the_session_controls_are_equal_bit_for_bit(machine: Machine, seed: int) -> None:
    """The same trips at the same points, and the same records at the end; every control trips in the walk."""
    told, records = guard(seed, PLAIN, as_lists)
    twin_told, twin_records = machine.guarded[seed]
    assert repr(told) == repr(twin_told)
    assert [repr(rows(record)) for record in records] == [repr(rows(record)) for record in twin_records]
    points = [one for one in told if isinstance(one, tuple)]
    assert {one[1] for one in points if one[1] in (1, 2, 4, 8)} == {1, 2, 4, 8}
    assert {(one[0], one[2]) for one in points if isinstance(one[1], float)} == {
        (wild, dear) for wild in (False, True) for dear in (False, True)
    }


def test_the_streams_meet_every_control() -> None:
    """A control that never refused would be compared by nobody."""
    met = {code for seed in GATE_SEEDS for code in judge(seed, PLAIN, as_lists)[0]}
    assert set(risk.CONTROL_NAMES) <= met


def test_the_plain_core_names_the_same_modules() -> None:
    """The two executions are reached by the same names."""
    assert sorted(vars(PLAIN)) == sorted(module.__name__.rpartition(".")[2] for module in HOT_MODULES)


def called() -> set[CodeType]:
    """The code of every function that the interpreted scenes call."""
    seen: set[CodeType] = set()

    def notice(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            seen.add(frame.f_code)

    before = sys.getprofile()
    sys.setprofile(notice)
    try:
        for scene in SCENES:
            play(scene, PLAIN, as_lists)
        for seed in GATE_SEEDS:
            judge(seed, PLAIN, as_lists)
            guard(seed, PLAIN, as_lists)
    finally:
        sys.setprofile(before)
    return seen


def test_the_scenes_reach_every_function_of_the_hot_path() -> None:
    """A function that no scene calls would be compared by nobody."""
    seen = called()
    assert [name for name, function in hot_functions().items() if function.__code__ not in seen] == []


def test_every_function_of_the_hot_path_is_compiled(machine: Machine) -> None:
    """Each dispatcher has machine code: compiled in this session or kept from an earlier one of the same sources."""
    bare = []
    for full in hot_functions():
        module, _, name = full.removeprefix("hedgegrid.core.").rpartition(".")
        dispatcher = getattr(getattr(machine.core, module), name)
        kept = machine.folder.glob(f"**/{module}.{name}-*.nbi")
        if not dispatcher.signatures and not any(kept):
            bare.append(full)
    assert bare == []


def test_fixed_point_agrees_over_the_whole_range(machine: Machine) -> None:
    """Compiled integers wrap in silence: at the bounds of each function they must not."""
    ends = [0, 1, -1, 999_999, 10**6, 10**6 + 1, -(10**6) - 1, 10**18, -(10**18), LARGEST // 2, -LARGEST // 2]
    core = machine.core.fixed
    for value in ends:
        for ppm in (0, 1, 333_333, 10**6):
            assert core.mul_ppm(value, ppm) == fixed.mul_ppm(value, ppm)
            assert core.half_up(value, ppm, 10**6) == fixed.half_up(value, ppm, 10**6)
        for divisor in (1, 7, 10**6, 3_037_000_499):
            assert core.ceil_div(value, divisor) == fixed.ceil_div(value, divisor)
            factor = divisor - 1 if divisor > 1 else 1
            assert core.mul_div(value, factor, divisor) == fixed.mul_div(value, factor, divisor)
    for part, whole in ((0, 1), (1, 3), (9 * 10**15, 9 * 10**15), (8_999_999_999_999_999, 9 * 10**15)):
        assert core.ratio_ppm(part, whole) == fixed.ratio_ppm(part, whole)
