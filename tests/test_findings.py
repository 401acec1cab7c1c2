"""The table of findings in ARCHITECTURE.md: each has a guarantee, and a test that exists."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FINDINGS = (
    "checks defined and not called",
    "limits read from the wrong object",
    "funding guard never fed",
    "place" + "holder metrics",  # in two halves, since tidy reads this file too
    "paper on production",
    "no hydration after a restart",
    "warm-up that cannot find its data",
    "settings without effect",
    "packaging that does not build",
    "several optimizer scripts",
    "drawdown from balance instead of equity",
    "partial fills without exits",
    "a partial take-profit that cancels the stop",
    "a recenter that strips exits",
    "a kill-switch flatten after which trading resumes",
    "exits not reduce-only",
    "a replacement refused because the old order still counts",
)
CELL = re.compile(r"`([^`]+)`")


def rows(page: str) -> dict[str, tuple[str, tuple[str, ...]]]:
    """The table below the heading "Findings": finding -> guarantee and tests."""
    _, _, part = page.partition("\n## Findings\n")
    lines = [line for line in part.partition("\n## ")[0].splitlines() if line.startswith("|")][2:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {finding: (guarantee, tuple(CELL.findall(tests))) for finding, guarantee, tests in cells}


def missing(root: Path, name: str) -> str:
    """Why a test that is named `file::function`, or a module that `make test` runs, is none; "" where it is one."""
    path, _, function = name.partition("::")
    if name.startswith("python -m "):
        body = (root / "Makefile").read_text(encoding="utf-8").partition("\ntest:")[2].partition("\n\n")[0]
        return "" if name.removeprefix("python ") in body else "`make test` does not run it"
    if not (root / path).is_file():
        return "there is no such file"
    tree = ast.parse((root / path).read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    found = any(isinstance(node, kinds) and node.name == function for node in tree.body)
    return "" if found and function.startswith("test_") else "there is no such test in it"


def test_every_finding_has_a_guarantee_and_a_test_that_exists() -> None:
    """A row that names a test nobody runs would be a promise without proof."""
    table = rows((ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8"))
    assert tuple(table) == FINDINGS
    for finding, (guarantee, tests) in table.items():
        assert len(guarantee) > 20, finding
        assert tests, finding
        assert {name: missing(ROOT, name) for name in tests} == dict.fromkeys(tests, ""), finding


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("tests/test_findings.py::test_a_name_that_leads_nowhere_is_seen", ""),
        ("tests/test_findings.py::test_gone", "there is no such test in it"),
        ("tests/test_findings.py::rows", "there is no such test in it"),
        ("tests/test_findings.py", "there is no such test in it"),
        ("tests/gone.py::test_gone", "there is no such file"),
        ("python -m tools.wheel_check", ""),
        ("python -m tools.standin", "`make test` does not run it"),
    ],
)
def test_a_name_that_leads_nowhere_is_seen(name: str, why: str) -> None:
    """What the check of the table is for."""
    assert missing(ROOT, name) == why
