"""Runs side by side: values, differences, settings, and a warning where the data differ."""

import io
import json
from pathlib import Path

import attrs
import pytest
from rich.console import Console

from hedgegrid.backtest.compare import compare, compare_json, compare_text
from hedgegrid.backtest.files import write_folder
from hedgegrid.backtest.measure import measure
from hedgegrid.backtest.result import BacktestResult
from hedgegrid.backtest.summary_json import RunFacts
from hedgegrid.errors import Fatal
from tests.backtest.made_result import TAKERS_PPM, made_liquidation, made_result


def written(target: Path, result: BacktestResult, settings: str = "levels = 3\nstep = 10\n") -> Path:
    """Write a run's output."""
    facts = RunFacts(settings=settings, code_version="1")
    write_folder(result, measure(result, takers_ppm=TAKERS_PPM), facts, target)
    return target


def screen(folders: list[Path], width: int = 120) -> str:
    """What the terminal shows."""
    text = io.StringIO()
    Console(file=text, width=width, color_system=None).print(compare_text(compare(folders)))
    return text.getvalue()


def test_values_and_differences(tmp_path: Path) -> None:
    """Each figure of each run, and how far it lies from the first."""
    first, other = made_result(bars=300), made_result(bars=300, seed=8)
    folders = [written(tmp_path / "a", first), written(tmp_path / "b", other)]
    told = compare_json(compare(folders))
    nets = [measure(one, takers_ppm=TAKERS_PPM).figures.net_e8 for one in (first, other)]
    assert told["runs"] == ["a", "b"]
    assert told["figures"]["net_e8"] == {"unit": "quote_e8", "values": nets, "differences": [0, nets[1] - nets[0]]}
    assert told["same_data"]
    assert told["warnings"] == []
    json.dumps(told, allow_nan=False)


def test_settings_that_differ(tmp_path: Path) -> None:
    """Only the lines that differ, also where a line looks like the diff's own."""
    result = made_result(bars=60)
    folders = [
        written(tmp_path / "a", result, "levels = 3\n-- x\nsame = 1\n"),
        written(tmp_path / "b", result, "levels = 4\n++ y\nsame = 1\n"),
        written(tmp_path / "c", result, "levels = 3\n-- x\nsame = 1\n"),
    ]
    told = compare_json(compare(folders))
    assert told["settings"] == {"b": ["-levels = 3", "--- x", "+levels = 4", "+++ y"], "c": []}
    text = screen(folders)
    assert "+levels = 4" in text
    assert "settings of c: those of a" in text


def test_other_data_are_a_warning(tmp_path: Path) -> None:
    """Figures of different markets must not be taken for the settings' doing."""
    result = made_result(bars=60)
    other = attrs.evolve(result, data_identity="sha256:other")
    folders = [written(tmp_path / "a", result), written(tmp_path / "b", other)]
    assert not compare_json(compare(folders))["same_data"]
    assert "warning: b stood on other data than a" in screen(folders)


def test_a_dead_run_is_seen(tmp_path: Path) -> None:
    """How a run ended stands above its figures; other times are a warning."""
    folders = [written(tmp_path / "a", made_result(bars=300)), written(tmp_path / "b", made_liquidation())]
    text = screen(folders)
    assert "LIQUIDATED" in text
    assert "covers another time" in text
    assert all(len(line) <= 120 for line in text.splitlines())


def test_names_tell_runs_apart(tmp_path: Path) -> None:
    """Folders of one name are told by their parents, one folder named twice by a number."""
    result = made_result(bars=20)
    folders = [written(tmp_path / "x" / "out", result), written(tmp_path / "y" / "out", result)]
    assert compare_json(compare(folders))["runs"] == ["x/out", "y/out"]
    assert compare_json(compare([folders[0], folders[0]]))["runs"] == ["out", "out (2)"]


def test_what_cannot_be_compared(tmp_path: Path) -> None:
    """One folder, or a folder of something else, is a one-line error."""
    folder = written(tmp_path / "a", made_result(bars=20))
    with pytest.raises(Fatal, match="at least two"):
        compare([folder])
    with pytest.raises(Fatal, match="no output folder"):
        compare([folder, tmp_path])


def test_an_older_summary_still_compares(tmp_path: Path) -> None:
    """A figure that an older version did not write is unknown, not zero, and the schema is a warning."""
    folders = [written(tmp_path / name, made_result(bars=60)) for name in ("a", "b")]
    path = folders[1] / "summary.json"
    summary = json.loads(path.read_text(encoding="utf-8"))
    del summary["figures"]["sharpe"]
    summary["schema_version"] = 0
    summary["run"]["code_version"] = "0"
    path.write_text(json.dumps(summary), encoding="utf-8")
    told = compare_json(compare(folders))
    assert told["figures"]["sharpe"]["values"][1] is None
    assert told["figures"]["sharpe"]["differences"][1] is None
    assert len(told["warnings"]) == 2
