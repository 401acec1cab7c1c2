"""Mutation testing of the core: `python -m tools.mutate` fails where a small slip of the code fails no test.

`tools/mutants.toml` names the files with the tests that have to see their slips, and the survivors that are accepted,
each with its reason. Every mutant runs in a fork of its own until the first test fails: a slip inside a function in a
fork of pytest that has collected the tests already, any other in one that loads the changed module first.

Invariants: the files on disk are never touched; a mutant is seen when a test fails or hangs, nothing else counts; the
run fails for a survivor without a reason, for a reason without its survivor, and where the tests fail unchanged.
"""

import argparse
import ast
import inspect
import json
import math
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from itertools import chain
from pathlib import Path
from types import CodeType
from typing import IO, Any, Final

import attrs
import pytest
from hypothesis import HealthCheck, Phase, settings

from tools import reasons
from tools.mutants import Mutant, mutants
from tools.reasons import Accepted, Target, Verdict

POLL_S: Final = 0.005
SLOWEST: Final = 5
"""A mutant may take this many times the processor time that the tests take unchanged, and ..."""
GRACE_S: Final = 1
"""... these seconds more."""
WALL: Final = 20
"""Of the clock on the wall it has this many times as much: others work on this machine too."""
_QUIET: Final = ("-x", "-q", "-s", "--tb=native", "-p", "no:cacheprovider", "-p", "no:pastebin", "-p", "no:junitxml")
_PLUGINS: Final = tuple(f"-p{name}" for name in ("_hypothesis_pytestplugin", "pytest_asyncio.plugin", "pytest_timeout"))
"""What the project's settings of pytest speak of; whatever else is installed stays out."""
_IMPORTED: Final = ("-W", "ignore::pytest.PytestAssertRewriteWarning")
"""Plugins that were imported before are not rewritten again."""
_SEARCH: Final = "--hypothesis-profile=mutate"
"""Property tests search the same way each time, so that a survivor is one tomorrow, and shrink nothing."""
settings.register_profile(
    "mutate",
    phases=[Phase.explicit, Phase.generate],
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


# --- forks -----------------------------------------------------------------------------------------------------------


def _forked(work: Callable[[], int], limit_s: int = resource.RLIM_INFINITY) -> int:
    """Give the process that does some work in silence, in so much processor time, and ends with what it gives."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        resource.setrlimit(resource.RLIMIT_CPU, (limit_s, limit_s))
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 1)
        os.dup2(silence, 2)
        code = work()
    finally:
        os._exit(code)


def _ended(pid: int) -> tuple[int, int]:
    """Wait for a fork; give what it ended with, and what a mutant may take that does as much."""
    _, status, used = os.wait4(pid, 0)
    return os.waitstatus_to_exitcode(status), math.ceil(SLOWEST * (used.ru_utime + used.ru_stime)) + GRACE_S


def _outcome(pid: int, *, late: bool) -> str:
    """What became of a fork; "" while it runs and may go on."""
    done, status = os.waitpid(pid, os.WNOHANG)
    if not done and late:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        return "hung"
    if not done:
        return ""
    code = os.waitstatus_to_exitcode(status)
    if code in {-signal.SIGXCPU, -signal.SIGKILL}:
        return "hung"
    return "survived" if code == 0 else "killed"


def _raced(work: Sequence[tuple[int, Callable[[], int]]], jobs: int, limit_s: int) -> Iterator[tuple[int, str]]:
    """Do numbered work in forks, so many at a time, and give what becomes of each, as it becomes known."""
    waiting = list(work)
    running: dict[int, tuple[int, float]] = {}
    while waiting or running:
        while waiting and len(running) < jobs:
            number, task = waiting.pop(0)
            running[_forked(task, limit_s)] = (number, time.monotonic() + WALL * limit_s)
        for pid, (number, deadline) in tuple(running.items()):
            outcome = _outcome(pid, late=time.monotonic() > deadline)
            if outcome:
                del running[pid]
                yield number, outcome
        time.sleep(POLL_S)


# --- slips inside functions: the tests are collected once, each fork changes a function's code in place ---------------


def _change(target: Target, mutant: Mutant) -> None:
    """Give the living function the code that it has with the slip."""
    path = mutant.outermost.split(".")
    compiled = compile(mutant.made(), target.file, "exec")
    for name in path:
        compiled = next(one for one in compiled.co_consts if isinstance(one, CodeType) and one.co_name == name)
    living: Any = sys.modules[target.module]
    for name in path:
        living = inspect.getattr_static(living, name)
    living = getattr(living, "fget", None) or getattr(living, "__func__", living)
    inspect.unwrap(living).__code__ = compiled


def _played(session: pytest.Session, change: Callable[[], None]) -> int:
    """Make a change, then run what was collected until the first failure; 1 where there is one."""
    change()
    for item, following in zip(session.items, [*session.items[1:], None], strict=True):
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        if session.testsfailed:
            return 1
    return 0


@attrs.define(eq=False, kw_only=True)
class _Stage:
    """A plugin that judges mutants in place of running the tests once; it writes a line of JSON for each."""

    target: Target
    slips: Sequence[tuple[int, Mutant]]
    jobs: int
    told: IO[str]

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Prove that the tests pass unchanged, then judge."""
        code, limit_s = 1, 0
        if session.items and not session.testsfailed:
            code, limit_s = _ended(_forked(partial(_played, session, _nothing)))
        self.told.write(f"{code}\n")
        if code == 0:
            work = [
                (number, partial(_played, session, partial(_change, self.target, mutant)))
                for number, mutant in self.slips
            ]
            for number, outcome in _raced(work, self.jobs, limit_s):
                self.told.write(f"{number} {outcome}\n")
                self.told.flush()
        return True


def _nothing() -> None:
    """Change nothing."""


def _in_place(root: Path, target: Target, slips: Sequence[tuple[int, Mutant]], jobs: int) -> Iterator[tuple[int, str]]:
    """Judge slips inside functions. SystemExit where the tests fail unchanged."""
    ours, theirs = os.pipe()

    def work() -> int:
        with os.fdopen(theirs, "w") as told:
            return _pytest(root, target, _Stage(target=target, slips=slips, jobs=jobs, told=told))

    pid = _forked(work)
    os.close(theirs)
    with os.fdopen(ours, "r") as lines:
        code = next(lines, "no answer").strip()
        if code != "0":
            _ended(pid)
            raise SystemExit(f"{target.file}: its tests fail unchanged, or there are none")
        for line in lines:
            number, outcome = line.split()
            yield int(number), outcome
    _ended(pid)


def _pytest(root: Path, target: Target, *plugins: object) -> int:
    """Run pytest on a target's tests; give its exit code."""
    tests = [str(root / test) for test in target.tests]
    return int(pytest.main([*_QUIET, *_PLUGINS, *_IMPORTED, _SEARCH, f"--rootdir={root}", *tests], plugins=[*plugins]))


# --- the others: each fork loads the changed module before anything needs it -----------------------------------------


class _Changed(SourceFileLoader):
    """Loads a module from a changed tree, as if it had been written so."""

    tree: ast.Module

    def get_code(self, fullname: str) -> CodeType:
        """Compile the tree."""
        return compile(self.tree, self.get_filename(fullname), "exec")


@attrs.frozen(kw_only=True)
class _Finder:
    """Finds one module: the one that is changed."""

    name: str
    file: Path
    tree: ast.Module

    def find_spec(self, name: str, _path: object = None, _target: object = None) -> ModuleSpec | None:
        """Give the changed module's spec; None for every other."""
        if name != self.name:
            return None
        loader = _Changed(name, str(self.file))
        loader.tree = self.tree
        return spec_from_file_location(name, self.file, loader=loader)


def _loaded(root: Path, target: Target, made: Callable[[], ast.Module]) -> int:
    """Run a target's tests on the module that is made."""
    finder: Any = _Finder(name=target.module, file=root / target.file, tree=made())
    sys.meta_path.insert(0, finder)
    return _pytest(root, target)


def _anew(root: Path, target: Target, slips: Sequence[tuple[int, Mutant]], jobs: int) -> Iterator[tuple[int, str]]:
    """Judge slips outside functions. SystemExit where the tests fail with the module as it is, loaded this way."""
    if not slips:
        return
    text = (root / target.file).read_text(encoding="utf-8")
    code, limit_s = _ended(_forked(partial(_loaded, root, target, partial(ast.parse, text))))
    if code != 0:
        raise SystemExit(f"{target.file}: its tests fail unchanged")
    work = [(number, partial(_loaded, root, target, mutant.made)) for number, mutant in slips]
    yield from _raced(work, jobs, limit_s)


def outcomes(root: Path, target: Target, jobs: int) -> Iterator[tuple[Mutant, str]]:
    """Give what becomes of each mutant of a target."""
    every = mutants((root / target.file).read_text(encoding="utf-8"))
    inside = [(number, one) for number, one in enumerate(every) if one.outermost]
    outside = [(number, one) for number, one in enumerate(every) if not one.outermost]
    for number, outcome in chain(_in_place(root, target, inside, jobs), _anew(root, target, outside, jobs)):
        yield every[number], outcome


# --- what it comes to ------------------------------------------------------------------------------------------------


def _row(file: str, verdicts: Sequence[Verdict], seconds: float) -> str:
    """A file's line of the table."""
    count = {name: sum(1 for one in verdicts if one.outcome == name) for name in ("killed", "hung", "survived")}
    accepted = sum(1 for one in verdicts if one.reason)
    left = count["survived"] - accepted
    return f"{file:<34}{len(verdicts):>8}{count['killed']:>8}{count['hung']:>6}{accepted:>10}{left:>10}{seconds:>9.0f}"


def _unseen(verdicts: Sequence[Verdict]) -> Iterator[str]:
    """The survivors without a reason: where, and what the slip is."""
    for one in sorted(verdicts, key=lambda one: (one.file, one.mutant.line)):
        if one.outcome == "survived" and not one.reason:
            yield f"{one.file}:{one.mutant.line}: in {one.mutant.function or 'the module'}"
            yield f"  - {one.mutant.was}"
            yield f"  + {one.mutant.becomes}"


def main(arguments: list[str]) -> int:
    """Judge the mutants of all targets, or of those named; 1 where a slip goes unseen or a reason is stale."""
    options = _options(arguments)
    root = options.root.resolve()
    known = reasons.known(options.settings, root)
    targets = [one for one in known.target if not options.only or any(name in one.file for name in options.only)]
    if not targets:
        raise SystemExit(f"no target has any of {', '.join(options.only)} in its path")
    os.chdir(root)
    sys.path.insert(0, str(root))
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    verdicts: list[Verdict] = []
    old: list[tuple[Accepted, str]] = []
    print(
        f"{'file':<34}{'mutants':>8}{'killed':>8}{'hung':>6}{'accepted':>10}{'survived':>10}{'seconds':>9}", flush=True
    )
    for target in targets:
        began = time.monotonic()
        mine, left = reasons.reasoned(known, target.file, list(outcomes(root, target, options.jobs)))
        verdicts += mine
        old += left
        print("\n".join([_row(target.file, mine, time.monotonic() - began), *_unseen(mine)]), flush=True)
    for entry, why in old:
        print(f"{entry.file}: stale: {entry.function}: {entry.was} -> {entry.becomes} {why}")
    if options.json is not None:
        options.json.write_text(json.dumps([one.row() for one in verdicts], indent=1), encoding="utf-8")
    return 1 if old or any(_unseen(verdicts)) else 0


def _options(arguments: list[str]) -> argparse.Namespace:
    here = Path(__file__).parents[1]
    parser = argparse.ArgumentParser(prog="python -m tools.mutate", description="mutation testing of the core")
    parser.add_argument("only", nargs="*", help="judge only files whose path contains one of these")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="forks at a time")
    parser.add_argument("--json", type=Path, default=None, help="write every verdict there")
    parser.add_argument("--settings", type=Path, default=here / "tools" / "mutants.toml", help="targets and reasons")
    parser.add_argument("--root", type=Path, default=here, help="where the files are")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
