"""Proof that the package works away from its clone: `python -m tools.wheel_check`.

It builds the source archive and from that the wheel, compares the wheel with the package's tree,
installs it with the run lock into a bare environment, and runs the demo from an empty folder.

Invariants: nothing but the installed wheel and the locked packages is on the demo's path; the
demo's files stay in a temporary folder; the demo exits 0, says its fills, and never imports numba.
"""

import os
import re
import subprocess
import sys
import tempfile
import venv
import zipfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = "hedgegrid"
DEMO_SECONDS = 10
# Start, stop policy and a slow machine come on top of the demo's own time.
CHILD_SECONDS_MAX = 300
NEVER_RUN_WITH = "numba"
IMPORTED = re.compile(r"^import time:.*\|\s*(?P<module>\S+).*\n?", re.MULTILINE)
FILLS = re.compile(r"\bfills\b\D*\d", re.IGNORECASE)


class WheelError(Exception):
    """The wheel is not what the tree promises; the message says where."""


def run(command: Sequence[str | Path], *, cwd: Path, env: dict[str, str] | None = None) -> str:
    """Run a child to its end and give its standard output; WheelError with all it said where it fails."""
    done = subprocess.run(
        command, cwd=cwd, env=env, capture_output=True, text=True, timeout=CHILD_SECONDS_MAX, check=False
    )
    if done.returncode:
        said = f"{done.stdout}\n{IMPORTED.sub('', done.stderr).strip()}"
        message = f"`{' '.join(map(str, command))}` exited {done.returncode}\n{said}"
        raise WheelError(message)
    return done.stdout + done.stderr


def build(out: Path) -> Path:
    """Build the source archive and, from that alone, the wheel; the path of the wheel."""
    run([sys.executable, "-m", "build", "--no-isolation", "--outdir", out, ROOT], cwd=out)
    (wheel,) = out.glob("*.whl")
    return wheel


def check_contents(wheel: Path) -> None:
    """The wheel holds every file of the package and nothing else; WheelError names the difference."""
    tree = (file.relative_to(ROOT) for file in (ROOT / PACKAGE).rglob("*") if file.is_file())
    wanted = {path.as_posix() for path in tree if "__pycache__" not in path.parts}
    wanted |= {
        f"{PACKAGE}-{version()}.dist-info/{name}"
        for name in ("METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE")
    }
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if not name.endswith("/")}
    if held != wanted:
        message = f"{wheel.name} lacks {sorted(wanted - held)} and has too much: {sorted(held - wanted)}"
        raise WheelError(message)


def version() -> str:
    """The version that the tree names, read without importing it."""
    found = re.search(r'^__version__ = "(.+)"$', (ROOT / PACKAGE / "__init__.py").read_text(), re.MULTILINE)
    if not found:
        message = f"{PACKAGE}/__init__.py names no __version__"
        raise WheelError(message)
    return found[1]


def install(wheel: Path, home: Path) -> Path:
    """Make a bare environment of the locked packages and the wheel, where nothing is amiss; its folder of commands."""
    venv.create(home, with_pip=False)
    pip: list[str | Path] = [sys.executable, "-m", "pip", "--python", home / "bin" / "python"]
    lock = ROOT / "requirements.lock"
    run([*pip, "install", "--quiet", "--no-compile", "--require-hashes", "-r", lock], cwd=home)
    run([*pip, "install", "--quiet", "--no-deps", "--no-index", wheel], cwd=home)
    run([*pip, "check"], cwd=home)
    return home / "bin"


def check_demo(commands: Path, empty: Path) -> str:
    """Name the version both ways and run the demo in `empty`; the demo's line of fills."""
    env = {"HOME": str(empty), "PATH": os.defpath, "TMPDIR": str(empty), "XDG_STATE_HOME": str(empty / "state")}
    module: list[str | Path] = [commands / "python", "-X", "importtime", "-m", PACKAGE]
    script: list[str | Path] = [commands / PACKAGE]
    for command in ([*script, "--version"], [*module, "--version"]):
        if version() not in run(command, cwd=empty, env=env):
            message = f"{command} does not name version {version()}"
            raise WheelError(message)
    said = run([*module, "run", "--duration", f"{DEMO_SECONDS}s"], cwd=empty, env=env)
    if NEVER_RUN_WITH in {module["module"].partition(".")[0] for module in IMPORTED.finditer(said)}:
        message = f"the demo imports {NEVER_RUN_WITH}: only the backtest may"
        raise WheelError(message)
    summary = IMPORTED.sub("", said)
    fills = [line for line in summary.splitlines() if FILLS.search(line)]
    if not fills:
        message = f"the demo's summary names no fills:\n{summary}"
        raise WheelError(message)
    return fills[-1].strip()


def main() -> int:
    """Build, compare, install and run; 1 and the reason on standard error where a step fails."""
    with tempfile.TemporaryDirectory(prefix="hedgegrid-wheel-") as folder:
        built, home, empty = (Path(folder) / name for name in ("built", "home", "empty"))
        built.mkdir()
        empty.mkdir()
        try:
            wheel = build(built)
            check_contents(wheel)
            fills = check_demo(install(wheel, home), empty)
        except (WheelError, subprocess.TimeoutExpired) as error:
            print(f"wheel: {error}", file=sys.stderr)
            return 1
    print(f"wheel: {wheel.name} holds the package and runs alone ({fills})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
