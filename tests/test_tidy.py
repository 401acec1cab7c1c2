"""The house rules find what they forbid, and nothing else."""

from pathlib import Path

import pytest

from tools import tidy

# Written in two halves, since tidy reads this file too.
MARK = "TO" + "DO"
ABSENT = "NotImplemented" + "Error"
MACHINE = "/" + "work/clone"
HOST = "py" + "pi.org"

SIMULATION = "hedgegrid/simulation/weather.py"
CORE = "hedgegrid/core/grid.py"
ACTOR = "hedgegrid/actors/feed.py"
TEST = "tests/core/test_grid.py"

LONG_FUNCTION = "def decide():\n" + "    step()\n" * 59
FULL_FUNCTION = "def decide():\n" + "    step()\n" * 58

BREACHES = [
    ("ambient", ACTOR, "import time\n\nstarted = time.monotonic_ns()"),
    ("ambient", ACTOR, "import time as clock\n\nread = clock.time"),
    ("ambient", ACTOR, "from time import time_ns\n\nstarted = time_ns()"),
    ("ambient", ACTOR, "from datetime import UTC, datetime\n\nnow = datetime.now(UTC)"),
    ("ambient", ACTOR, "import uuid\n\nclient_id = uuid.uuid4()"),
    ("ambient", ACTOR, "import os\n\nsalt = os.urandom(8)"),
    ("ambient", ACTOR, "import secrets\n\ntoken = secrets.token_hex()"),
    ("ambient", "hedgegrid/venues/simulated/market.py", "import random\n\nmove = random.gauss(0, 1)"),
    ("ambient", "hedgegrid/venues/simulated/market.py", "import random\n\nrng = random.Random()"),
    ("ambient", "hedgegrid/venues/simulated/market.py", "import numpy as np\n\nrng = np.random.default_rng()"),
    ("ambient", "hedgegrid/venues/simulated/market.py", "import numpy as np\n\nmove = np.random.normal()"),
    ("ambient", ACTOR, "import time\n\nstarted = time.time()  # ambient:"),
    ("approval", "hedgegrid/actors/executor.py", "order = Approved(limits_version=1)"),
    ("approval", "hedgegrid/actors/executor.py", "order = risk.Approved(limits_version=1)"),
    ("approval", "hedgegrid/app.py", "from hedgegrid.core.risk import Approved as Sent"),
    ("approval", "hedgegrid/actors/risk.py", "order = risk.approve(risk.PASS, request)"),
    ("approval", "hedgegrid/app.py", "make = risk.approve"),
    ("approval", "hedgegrid/actors/risk_gate.py", "from hedgegrid.core.risk import approve"),
    ("approval", "hedgegrid/app.py", "seal = events.claim_approval_seal()"),
    ("broad-except", ACTOR, "try:\n    step()\nexcept Exception:\n    stop()"),
    ("broad-except", ACTOR, "try:\n    step()\nexcept:\n    stop()"),
    ("broad-except", ACTOR, "try:\n    step()\nexcept (OSError, BaseException) as error:\n    stop(error)"),
    ("broad-except", ACTOR, "try:\n    step()\nexcept* Exception:\n    stop()"),
    ("broad-except", ACTOR, "with contextlib.suppress(Exception):\n    step()"),
    ("broad-except", ACTOR, "try:\n    step()\nexcept Exception:  # broad:\n    stop()"),
    ("broad-except", TEST, "try:\n    step()\nexcept Exception:\n    stop()"),
    ("file-length", CORE, "step()\n" * 501),
    ("function-length", CORE, LONG_FUNCTION),
    ("function-length", TEST, "class Case:\n" + "".join(f"    {line}\n" for line in LONG_FUNCTION.splitlines())),
    ("layer-imports", CORE, "import time"),
    ("layer-imports", CORE, "def decide():\n    from datetime import datetime"),
    ("layer-imports", "hedgegrid/messages/events.py", "import asyncio"),
    ("layer-imports", "hedgegrid/model/order.py", "from os import path"),
    ("layer-imports", "hedgegrid/units.py", "import random"),
    ("layer-imports", "hedgegrid/core/risk.py", "import logging"),
    ("layer-imports", CORE, "from numba import njit"),
    ("layer-imports", "hedgegrid/venues/simulated/exchange.py", "import ccxt.pro"),
    ("layer-imports", "hedgegrid/app.py", "import numba"),
    ("machine-words", "README.md", f"cd {MACHINE}"),
    ("machine-words", "Makefile", f"cat '{MACHINE}/x'"),
    ("machine-words", "requirements.lock", f"--index-url https://{HOST}/simple"),
    ("names", CORE, "class GridManager: ..."),
    ("names", CORE, "def rung_helper(): ..."),
    ("names", CORE, "async def process_bar(): ..."),
    ("names", "hedgegrid/core/utils.py", '"""Grids."""'),
    ("names", "hedgegrid/common/grid.py", '"""Grids."""'),
    ("names", CORE, "data = bars()"),
    ("names", "hedgegrid/backtest/data.py", '"""Bars."""'),
    ("names", CORE, "def decide(*, data: bytes): ..."),
    ("names", CORE, "class Tape:\n    data: bytes"),
    ("set-order", CORE, 'for leg in {"LONG", "SHORT"}:\n    step(leg)'),
    ("set-order", CORE, "steps = [rung.step for rung in set(rungs)]"),
    ("set-order", CORE, "for number, rung in enumerate({rung for rung in rungs}):\n    step(rung)"),
    ("set-order", CORE, "for rung in list(frozenset(rungs)):\n    step(rung)"),
    ("set-order", SIMULATION, "self._on: frozenset[str] = given\nkinds = [kind for kind in self._on]"),
    ("set-order", SIMULATION, "self._on = set()\nfor kind in self._on:\n    strike(kind)"),
    ("set-order", SIMULATION, "order = hash(name)"),
    ("set-order", SIMULATION, "order = id(task)"),
    ("test-docstring", TEST, "def test_grid():\n    assert step()"),
    ("test-docstring", TEST, "class TestGrid:\n    async def test_grid(self):\n        assert step()"),
    ("unfinished", CORE, f"step()  # {MARK}: the other leg"),
    ("unfinished", CORE, f"def step():\n    raise {ABSENT}"),
    ("unfinished", "configs/demo.toml", f"# {MARK}"),
    ("unfinished", ".ci/run", f"# {MARK}"),
]

CLEAN = [
    ("hedgegrid/app.py", "import time\n\nstarted = time.monotonic_ns()"),
    ("hedgegrid/runtime/clock.py", "import time\n\nnow_ns = time.time_ns"),
    (ACTOR, "import time\n\nstarted = time.time()  # ambient: names the log file, decides nothing"),
    (ACTOR, "import time\n\ntime.sleep(0)"),
    (ACTOR, "def step(time):\n    return time.monotonic()"),
    (ACTOR, "from datetime import UTC, datetime\n\nstamp = datetime.fromtimestamp(0, UTC)"),
    ("tests/test_run.py", "import time\n\nstarted = time.monotonic()"),
    ("hedgegrid/venues/simulated/market.py", "import random\n\nrng = random.Random(7)"),
    ("hedgegrid/venues/simulated/market.py", "import numpy as np\n\nrng = np.random.default_rng(seed)"),
    ("hedgegrid/venues/simulated/market.py", "import numpy as np\n\n\ndef walk(rng: np.random.Generator): ..."),
    ("hedgegrid/ops/api.py", "import secrets\n\nsame = secrets.compare_digest(given, wanted)"),
    ("hedgegrid/core/risk.py", "order = Approved(limits_version=1)"),
    ("hedgegrid/core/risk.py", "_SEAL = claim_approval_seal()"),
    ("hedgegrid/actors/risk_gate.py", "order = risk.approve(code, request)"),
    ("hedgegrid/actors/executor.py", "from hedgegrid.core.risk import Approved\n\n\ndef send(order: Approved): ..."),
    ("hedgegrid/actors/executor.py", "event = ApprovedSent(order=order)"),
    ("hedgegrid/runtime/supervisor.py", "try:\n    step()\nexcept Exception:\n    stop()"),
    (ACTOR, "try:\n    step()\nexcept (OSError, ValueError):\n    stop()"),
    (ACTOR, "try:\n    step()\nexcept Exception:  # broad: the library raises what it likes\n    stop()"),
    (ACTOR, "with contextlib.suppress(OSError):\n    step()"),
    (CORE, "step()\n" * 500),
    ("requirements.lock", "numpy==2\n" * 501),
    (CORE, FULL_FUNCTION),
    (CORE, "import numpy as np\n\nfrom hedgegrid.units import Ticks"),
    (CORE, "from . import time"),
    (ACTOR, "import asyncio\nimport os"),
    ("hedgegrid/venues/ccxtpro/adapter.py", "import ccxt.pro"),
    ("hedgegrid/backtest/driver.py", "from numba import njit"),
    (TEST, "import numba"),
    ("README.md", "cd hedgegrid, then see docs/work/notes and ~/work/ and https://example.org/work/"),
    (CORE, "def multiprocess_bars(): ..."),
    ("hedgegrid/ports.py", "class MarketData(Protocol): ..."),
    (CORE, "data_age_ns = 1\nbarsdata = 2"),
    (TEST, 'def test_second_process_is_refused():\n    """One writer for each account."""'),
    (CORE, "for rung in sorted({1, 2}):\n    step(rung)"),
    (CORE, 'if leg in {"LONG", "SHORT"}:\n    step(leg)'),
    ("hedgegrid/ops/screens.py", 'for leg in {"LONG", "SHORT"}:\n    step(leg)'),
    (TEST, 'def test_grid():\n    """A rung has one live order."""'),
    (TEST, "def ladder():\n    return step()"),
    ("hedgegrid/core/selftest.py", "def test_grid():\n    return step()"),
    ("ARCHITECTURE.md", f"There is no {MARK} list."),
    (CORE, "todos_done = 1"),
]


@pytest.mark.parametrize(("rule", "path", "text"), BREACHES)
def test_breach_is_found(rule: str, path: str, text: str) -> None:
    """Each rule sees each way of breaking it, and no other rule speaks up for it."""
    assert {finding.rule for finding in tidy.check(path, text)} == {rule}


@pytest.mark.parametrize(("path", "text"), CLEAN)
def test_clean_text_passes(path: str, text: str) -> None:
    """A rule that cries wolf is switched off: what is allowed stays silent."""
    assert tidy.check(path, text) == []


def test_every_rule_has_a_breach() -> None:
    """A rule that no case breaks could be dead."""
    assert {rule for rule, _, _ in BREACHES} == {rule.name for rule in tidy.RULES}


def test_findings_name_place_rule_and_replacement(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The output is enough to mend the breach, and the exit code stops the build."""
    module = tmp_path / "hedgegrid" / "core" / "grid.py"
    module.parent.mkdir(parents=True)
    module.write_text('"""Grids."""\n\nimport time\n')
    assert tidy.main([str(tmp_path)]) == 1
    expected = "hedgegrid/core/grid.py:3: layer-imports: `time` is out of reach here: use the ts_ns"
    assert capsys.readouterr().out.startswith(expected)


def test_clean_tree_passes(tmp_path: Path) -> None:
    """What tools and runs leave behind is not the project's: only its own files are read."""
    for path in (".venv/lib/utils.py", ".mypy_cache/data.py", "state/demo.py", "hedgegrid/__pycache__/data.py"):
        file = tmp_path / path
        file.parent.mkdir(parents=True)
        file.write_text(f"# {MARK}\n")
    (tmp_path / "capture.bin").write_bytes(b"\xff\0")
    (tmp_path / "README.md").write_text("# hedgegrid\n")
    assert tidy.main([str(tmp_path)]) == 0


def test_hidden_project_files_are_read(tmp_path: Path) -> None:
    """What the build runs is checked too, though its folder is hidden."""
    (tmp_path / ".ci").mkdir()
    (tmp_path / ".ci" / "run").write_text(f"# {MARK}\n")
    assert [path for path, _ in tidy.texts(tmp_path)] == [".ci/run"]
    assert tidy.main([str(tmp_path)]) == 1
