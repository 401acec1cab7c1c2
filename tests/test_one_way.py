"""One way to do a thing: one command, and one place that may search for settings."""

import re
from pathlib import Path

import pytest
import tomli

from tools.tidy import BUILT_AT_TOP

ROOT = Path(__file__).parents[1]
SEARCHES = re.compile(
    r"^\s*(?:import|from) (optuna|hyperopt|skopt|nevergrad|deap|pymoo|cmaes|bayes_opt|ray)\b", re.MULTILINE
)
"""Libraries that look for settings."""
SCRIPT = re.compile(r"^if __name__ ==", re.MULTILINE)
HOME = "hedgegrid/optimize/"
CODE = ("hedgegrid", "tools", "tests")


def offences(root: Path) -> list[str]:
    """Every second way below a root, in words."""
    found: list[str] = []
    tops = [top for top in root.iterdir() if not top.name.startswith(".") and top.name not in BUILT_AT_TOP]
    for file in sorted(file for top in tops for file in ([top] if top.suffix == ".py" else top.rglob("*.py"))):
        path = file.relative_to(root).as_posix()
        text = file.read_text(encoding="utf-8")
        if not path.startswith(CODE):
            found.append(f"{path}: a script beside the package")
        if path.startswith("hedgegrid/") and path != "hedgegrid/__main__.py" and SCRIPT.search(text):
            found.append(f"{path}: a way in beside the command")
        search = SEARCHES.search(text)
        if search and not path.startswith(HOME):
            found.append(f"{path}: searches with {search[1]} beside {HOME}")
        if re.search(r"optimi[sz]|hyperopt|sweep", file.stem) and not path.startswith(
            (HOME, "tests/", "hedgegrid/opt")
        ):
            found.append(f"{path}: an optimizer beside {HOME}")
    return found


def test_there_is_one_command_and_one_place_that_searches() -> None:
    """Several optimizer scripts give several answers: here is one command, and `hedgegrid/optimize` alone searches."""
    assert offences(ROOT) == []
    project = tomli.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["scripts"] == {"hedgegrid": "hedgegrid.cli:main"}


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("run_fast.py", "x = 1"),
        ("scripts/run.py", "x = 1"),
        ("tools/optimise_btc.py", "x = 1"),
        ("tools/search.py", "def best():\n    import optuna"),
        ("hedgegrid/strategy.py", "from hyperopt import fmin"),
        ("hedgegrid/backtest/quick.py", "if __name__ == '__main__':\n    run()"),
    ],
)
def test_a_second_way_is_seen(path: str, text: str, tmp_path: Path) -> None:
    """What the check is for."""
    file = tmp_path / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    assert len(offences(tmp_path)) == 1
