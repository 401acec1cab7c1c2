"""The bench's own rules: what is compared, what is left out and said, and that memory is each process's own."""

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import attrs
import numpy as np
import pytest

from hedgegrid.config.load import loads
from hedgegrid.errors import Fatal
from tools.bench import backtest, markets, year
from tools.bench.contest import ROOT, Contest, Contestant, ContestError, Entry, absence, parse, ratios, write_market

ENTRY = Entry(
    name="ours",
    versions={"python": "3"},
    pinned=False,
    events=1000,
    ready_s=0.5,
    first_run_s=4.0,
    walls_s=(0.2, 0.1, 0.3),
    cpus_s=(0.2, 0.1, 0.3),
    peak_memory_mib=100.0,
    fills={"entries": 3, "take_profits": 2, "stops": 1},
    notes=(),
)

IDLE = Contestant(
    name="idle one",
    module="tests.backtest.idle_contestant",
    python=Path(sys.executable),
    needs="numpy",
    install="nothing",
)


def made_bars(count: int) -> markets.Columns:
    """Give bars that differ in every column."""
    close = 1_000_000 + np.cumsum(np.arange(count) % 7 - 3).astype(np.int64)
    opened = np.concatenate([[1_000_000], close[:-1]])
    return {
        "ts_ns": 1_738_000_020 * 10**9 + np.arange(count, dtype=np.int64) * 60 * 10**9,
        "open_ticks": opened,
        "high_ticks": np.maximum(opened, close) + 2,
        "low_ticks": np.minimum(opened, close) - 1,
        "close_ticks": close,
        "volume_lots": np.arange(1, count + 1, dtype=np.int64),
    }


@pytest.fixture
def contest(tmp_path: Path) -> Contest:
    """A contest of two rounds on any core."""
    return Contest(folder=tmp_path, core=-1, rounds=2)


def test_a_rate_is_events_over_the_median_run() -> None:
    """Neither the first run (it compiles) nor a lucky one may make the rate."""
    assert ENTRY.wall_s == 0.2
    assert ENTRY.events_per_s == 5000
    assert attrs.evolve(ENTRY, walls_s=()).wall_s == 4.0
    assert ENTRY.figures()["wall_s"] == {"median": 0.2, "min": 0.1, "max": 0.3, "rounds": 3}


def test_ratios_compare_rates_and_name_unlike_work() -> None:
    """A ratio is by rate, since the slow run on fewer events; unlike fills show beside it."""
    slow = attrs.evolve(
        ENTRY, name="slow", events=10, walls_s=(1.0,), cpus_s=(0.5,), peak_memory_mib=400.0, fills={"entries": 3}
    )
    assert ratios([ENTRY, slow, attrs.evolve(ENTRY, name="twin")]) == {
        "ours / slow": {"events_per_s": 500.0, "events_per_cpu_s": 250.0, "peak_memory": 0.25, "same_fills": False},
        "ours / twin": {"events_per_s": 1.0, "events_per_cpu_s": 1.0, "peak_memory": 1.0, "same_fills": True},
    }
    assert ratios([]) == {}


def test_the_last_line_is_the_measurement() -> None:
    """Libraries that chat on standard output do not hide what a contestant measured."""
    line = json.dumps({**attrs.asdict(ENTRY), "name": "whatever it calls itself"})
    assert parse("ours", f"welcome to a library\n{line}\n") == ENTRY


@pytest.mark.parametrize("printed", ["", "no json", '{"name": "x"}', '{"walls_s": 1, "notes": []}', "[]"])
def test_no_measurement_is_an_error_that_says_who(printed: str) -> None:
    """A contestant that prints something else is reported, not taken for a fast one."""
    with pytest.raises(ContestError, match="ours printed no measurement"):
        parse("ours", printed)


def test_who_is_not_installed_is_told_with_what_to_install(contest: Contest, tmp_path: Path) -> None:
    """A missing interpreter or package leaves one out, says what to install, and the others race."""
    market = write_market(tmp_path, "market", made_bars(50))
    no_python = attrs.evolve(IDLE, name="far", python=tmp_path / "python", install="make it")
    no_package = attrs.evolve(IDLE, name="bare", needs="a_package_that_nobody_has")
    told = contest.race([no_python, no_package, IDLE], market, markets.BAR_SETUP)
    assert [one["name"] for one in told["absent"]] == ["far", "bare"]
    assert told["absent"][0]["install"] == "make it"
    assert "a_package_that_nobody_has" in told["absent"][1]["absent"]
    assert [one["name"] for one in told["contestants"]] == ["idle one"]
    assert told["contestants"][0]["fills"]["entries"] == 50
    assert absence(IDLE) is None


def test_cold_starts_are_told_apart_from_warm_ones(contest: Contest, tmp_path: Path) -> None:
    """The first start of each contestant, with an empty cache, is kept beside the rounds, and made once."""
    market = write_market(tmp_path, "market", made_bars(50))
    first = contest.race([IDLE], market, markets.BAR_SETUP)
    cold = dict(contest.cold)
    contest.race([IDLE], market, replace(markets.BAR_SETUP, levels=1))
    assert cold == contest.cold
    assert set(cold) == {"idle one"}
    assert contest.versions["idle one"]["numpy"] == np.__version__
    assert first["contestants"][0]["wall_s"]["rounds"] == 2


@pytest.mark.parametrize(("mode", "said"), [("broken", "no grid today"), ("unsteady", "two runs of one case differ")])
def test_who_fails_is_told_with_its_last_words(
    contest: Contest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, said: str
) -> None:
    """A contestant that crashes, or whose runs differ, has no figures, and its reason stands in the report."""
    monkeypatch.setenv("MODE", mode)
    told = contest.race([IDLE], write_market(tmp_path, "market", made_bars(50)), markets.BAR_SETUP)
    assert not told["contestants"]
    assert said in told["absent"][0]["failed"]


def test_overrides_reach_one_contestant_alone(contest: Contest, tmp_path: Path) -> None:
    """A variant of a contestant gets its own settings file; the others keep the case's."""
    market = write_market(tmp_path, "market", made_bars(50))
    variant = attrs.evolve(IDLE, name="idle other", overrides={"poll_ns": 7})
    contest.race([IDLE, variant], market, markets.BAR_SETUP)
    assert json.loads((tmp_path / "idle_one.json").read_text())["poll_ns"] == markets.BAR_SETUP.poll_ns
    assert json.loads((tmp_path / "idle_other.json").read_text())["poll_ns"] == 7


def test_bars_there_and_back_join_without_a_jump() -> None:
    """A market that is made longer has no price jump, no gap and no impossible bar at its seams."""
    bars = made_bars(10)
    long = markets.there_and_back(bars, 35, 60 * 10**9)
    assert {len(column) for column in long.values()} == {35}
    assert np.all(np.diff(long["ts_ns"]) == 60 * 10**9)
    assert np.array_equal(long["close_ticks"][:-1], long["open_ticks"][1:])
    assert np.all(long["low_ticks"] <= np.minimum(long["open_ticks"], long["close_ticks"]))
    assert np.all(long["high_ticks"] >= np.maximum(long["open_ticks"], long["close_ticks"]))
    assert np.array_equal(long["close_ticks"][:10], bars["close_ticks"])


def test_trades_round_and_round_never_go_back_in_time(shared_dir: Path) -> None:
    """The recorded trades are the same in each lap, and time only grows across the seams."""
    ticks, lap_ns = markets.tick_columns(shared_dir / "data")
    length = len(ticks["ts_ns"])
    long = markets.round_and_round(ticks, lap_ns, 2 * length + 5)
    assert np.all(np.diff(long["ts_ns"]) >= 0)
    assert np.array_equal(long["price_ticks"][length : 2 * length], ticks["price_ticks"])
    assert long["ts_ns"][length] - long["ts_ns"][0] == lap_ns
    assert ticks["ts_ns"][0] == long["ts_ns"][0]


def test_the_config_is_the_grid_that_the_peers_trade() -> None:
    """The project's own config of the race says what ``BAR_SETUP`` says, or different work would be compared."""
    path = ROOT / "tools" / "bench" / "same_grid.toml"
    config = loads(path.read_text(), path.name)
    (grid,), setup = config.grid, markets.BAR_SETUP
    assert grid.ladder.levels_long == grid.ladder.levels_short == setup.levels
    assert float(grid.ladder.step_bps) * 100 == setup.step_ppm
    assert float(grid.ladder.recenter_trigger_bps) * 100 == setup.recenter_ppm
    assert float(grid.exit.tp_steps) == setup.tp_steps
    assert float(grid.exit.sl_steps) == setup.sl_steps
    assert float(grid.ladder.base_qty or 0) == setup.qty_lots * float(setup.lot)
    assert (float(config.sim.maker_bps), float(config.sim.taker_bps)) == (2, 5)
    assert (setup.maker_ppm, setup.taker_ppm, setup.slippage_ppm) == (200, 500, 100)
    assert setup.first_decision == max(grid.regime.ema_slow - 1, 2 * grid.regime.adx_len - 1)


def test_memory_of_a_whole_run_is_its_own(tmp_path: Path) -> None:
    """A small program that a large one starts is small: the kernel hands memory marks down, the bench must not."""
    held = np.ones(40_000_000)
    command = [sys.executable, "-S", "-c", "pass"]
    used = year.measured(command, -1, tmp_path, dict(os.environ))
    assert used.peak_memory_mib < held.nbytes / 2**20 / 4


def test_a_whole_run_that_fails_is_told_with_its_last_words(tmp_path: Path) -> None:
    """A backtest that ends early has no wall time to show."""
    failing = "import sys; print('the reason', file=sys.stderr); sys.exit(3)"
    with pytest.raises(ContestError, match="ended with 3: the reason"):
        year.measured([sys.executable, "-S", "-c", failing], -1, tmp_path, dict(os.environ))


def test_the_year_is_a_file_that_the_backtest_reads(tmp_path: Path) -> None:
    """What the whole run is timed on is read back as the same bars, so that nothing is timed that failed early."""
    from hedgegrid.venues.simulated.recorded_bars import load_bars

    bars = markets.there_and_back(made_bars(20), 50, markets.BAR_SETUP.bar_ns)
    path = tmp_path / "BTCUSDT-1m.feather"
    year.write_feather(path, bars)
    read = load_bars(path, markets.BTC, markets.BAR_SETUP.bar_ns)
    for name in ("open_ticks", "high_ticks", "low_ticks", "close_ticks", "volume_lots"):
        assert np.array_equal(getattr(read, name), bars[name][: len(read.open_ns)]), name


def test_a_missing_folder_of_markets_is_said_in_one_line(tmp_path: Path) -> None:
    """Without the recorded markets the bench ends with the file that it wanted."""
    with pytest.raises(Fatal, match="BTCUSDT-1m"):
        backtest.report(backtest.arguments(["--recorded", str(tmp_path), "--only", "bars"]))
