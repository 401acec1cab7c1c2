"""The mutation tester finds the slips that a weak test leaves unseen, and holds its list of reasons to the truth."""

import json
import subprocess
import sys
from pathlib import Path

import attrs
import pytest

from tools import mutate, reasons
from tools.mutants import mutants

ROOT = Path(__file__).parents[1]
MODULE = '''"""A cap."""

LIMIT = 10


def fits(held: int, wanted: int) -> bool:
    """Whether there is room."""
    if wanted < 0:
        raise ValueError("negative")
    return held + wanted <= LIMIT
'''
WEAK = """import pytest
import cap


def test_far_from_the_edge():
    assert cap.fits(0, 1)
    assert not cap.fits(9, 20)
"""
STRONG = (
    WEAK
    + """

def test_at_the_edges():
    assert cap.fits(4, 6) and not cap.fits(4, 7) and cap.fits(3, 0)
    with pytest.raises(ValueError):
        cap.fits(0, -1)
"""
)
TARGET = '[[target]]\nfile = "cap.py"\ntests = ["test_cap.py"]\n'
EDGE = ("fits", "return held + wanted <= LIMIT", "return held + wanted < LIMIT")


@attrs.frozen
class Outcome:
    """How a run ended, and what it said of each mutant by name."""

    code: int
    said: str
    outcomes: dict[tuple[str, str, str], str]


def judged(folder: Path, tests: str, settings: str = TARGET, module: str = MODULE) -> Outcome:
    """Run the tool on the made module."""
    (folder / "cap.py").write_text(module, encoding="utf-8")
    (folder / "test_cap.py").write_text(tests, encoding="utf-8")
    (folder / "mutants.toml").write_text(settings, encoding="utf-8")
    command = [sys.executable, "-m", "tools.mutate", "--root", str(folder), "--settings", str(folder / "mutants.toml")]
    command += ["--jobs", "2", "--json", str(folder / "found.json")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    found = folder / "found.json"
    rows = json.loads(found.read_text(encoding="utf-8")) if found.exists() else []
    outcomes = {(row["function"], row["was"], row["becomes"]): row["outcome"] for row in rows}
    return Outcome(done.returncode, done.stdout + done.stderr, outcomes)


def accepted(*name: str) -> str:
    """An entry of the list of reasons."""
    function, was, becomes = name
    words = {"file": "cap.py", "function": function, "was": was, "becomes": becomes, "reason": "made for this test"}
    return "\n[[accepted]]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in words.items())


def test_a_weak_test_leaves_known_survivors(tmp_path: Path) -> None:
    """What no test touches survives, with file, line and change; what one does is killed; the run fails."""
    it = judged(tmp_path, WEAK)
    survivors = {name for name, outcome in it.outcomes.items() if outcome == "survived"}
    assert it.code == 1
    assert survivors == {
        ("", "LIMIT = 10", "LIMIT = 11"),
        ("fits", "if wanted < 0:", "if wanted <= 0:"),
        ("fits", "if wanted < 0:", "if wanted < 1:"),
        ("fits", "raise ValueError('negative')", "pass"),
        EDGE,
    }
    assert f"cap.py:10: in fits\n  - {EDGE[1]}\n  + {EDGE[2]}" in it.said
    assert it.outcomes["fits", EDGE[1], "return held - wanted <= LIMIT"] == "killed"


def test_a_strong_test_leaves_none(tmp_path: Path) -> None:
    """Where every slip is seen the run is well."""
    it = judged(tmp_path, STRONG)
    assert (it.code, set(it.outcomes.values())) == (0, {"killed"}), it.said


def test_a_reason_is_good_for_a_survivor_alone(tmp_path: Path) -> None:
    """An accepted survivor passes; one that no longer survives, or that is not there, fails the run by name."""
    test = STRONG.replace("cap.fits(4, 6) and ", "")
    assert judged(tmp_path, test, TARGET + accepted(*EDGE)).code == 0
    it = judged(tmp_path, STRONG, TARGET + accepted(*EDGE) + accepted("gone", "x = 1", "x = 2"))
    assert it.code == 1
    assert f"stale: fits: {EDGE[1]} -> {EDGE[2]} no longer survives" in it.said
    assert "stale: gone: x = 1 -> x = 2 is no slip of it any more" in it.said


def test_a_reason_is_good_for_one_slip(tmp_path: Path) -> None:
    """The same slip at two places of a function needs two reasons, and a third is one too many."""
    line = "    if held > LIMIT:\n        return False\n"
    name = ("fits", "return False", "return True")
    found = [(one, "survived") for one in mutants(MODULE.replace("    if w", line + line + "    if w"))]
    found = [(one, outcome) for one, outcome in found if one.name == name]
    told = []
    for count in (1, 2, 3):
        known = listed(tmp_path, TARGET + count * accepted(*name))
        verdicts, left = reasons.reasoned(known, "cap.py", found)
        told.append((sum(1 for one in verdicts if one.reason), [why for _, why in left]))
    assert told == [(1, []), (2, []), (2, ["no longer survives"])]


def listed(folder: Path, settings: str) -> reasons.Settings:
    """What a list says of the made module."""
    for name, text in {"cap.py": MODULE, "test_cap.py": STRONG, "mutants.toml": settings}.items():
        (folder / name).write_text(text, encoding="utf-8")
    return reasons.known(folder / "mutants.toml", folder)


@pytest.mark.parametrize(("settings", "said"), [
    (TARGET.replace("test_cap", "test_gone"), "test_gone.py: is not there"),
    (TARGET.replace("cap.py", "gone.py", 1), "gone.py: is not there"),
    (TARGET + accepted(*EDGE).replace("cap.py", "moved.py"), "moved.py: stale: fits: no target"),
])  # fmt: skip
def test_a_list_that_speaks_of_nothing_fails(tmp_path: Path, settings: str, said: str) -> None:
    """A file that moved is said to be gone: nothing judged is nothing proven."""
    with pytest.raises(SystemExit, match=said):
        listed(tmp_path, settings)


def test_a_name_that_fits_no_target_fails() -> None:
    """Whoever mistypes a file is told so, and not that all is well."""
    with pytest.raises(SystemExit, match="no target has any of fundin9 in its path"):
        mutate.main(["fundin9"])


def test_a_test_that_fails_unchanged_proves_nothing(tmp_path: Path) -> None:
    """It would kill every mutant: the run refuses."""
    it = judged(tmp_path, WEAK.replace("9, 20", "0, 1"))
    assert it.code == 1
    assert "fail unchanged" in it.said
    assert it.outcomes == {}


def test_a_mutant_that_never_ends_is_killed_by_the_clock(tmp_path: Path) -> None:
    """A loop without an end is a slip that the tests see."""
    loop = '"""A loop."""\n\n\ndef count():\n    n = 0\n    while n < 3:\n        n += 1\n    return n\n'
    it = judged(tmp_path, "import cap\n\n\ndef test_count():\n    assert cap.count() == 3\n", module=loop)
    assert "hung" in it.outcomes.values(), it.said


@pytest.mark.parametrize(
    ("text", "changes"),
    [
        ("x = a < b", ["x = a <= b", "x = a >= b"]),
        ("x = a and b", ["x = b", "x = a"]),
        ("x = not a", ["x = a"]),
        ("x = a if b else c", ["x = a", "x = c"]),
        ("x = max(a, b)", ["x = min(a, b)"]),
        ("x = a // b", ["x = a * b"]),
        ("x = True", ["x = False"]),
        ("x = 1", ["x = 2", "x = 0"]),
        ("a.b = c", ["pass"]),
        ("a += b", ["pass", "a -= b"]),
        ("if a:\n    b()", ["if not a:", "pass"]),
        ("x = [a for a in b if c]", ["x = [a for a in b]"]),
        ("x: int = y", []),
        ("assert a < 1, 2", []),
        ("x = f'{a + 1}'", []),
        ("@frozen(slots=True)\nclass A:\n    x: Literal[1]", []),
    ],
)
def test_each_kind_of_slip_is_made(text: str, changes: list[str]) -> None:
    """Each rule gives what it says, and what is no decision is left alone."""
    assert [mutant.becomes for mutant in mutants(text)] == changes
