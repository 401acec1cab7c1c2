"""Machine code that is kept: whole files, loaded without the compiler, and an error of it is told."""

import subprocess
import sys
from pathlib import Path

import llvmlite.binding as llvm
import numpy as np
import pytest

from hedgegrid.backtest import desk, machine_code, twins
from hedgegrid.backtest.desk import Account, Floor
from hedgegrid.errors import Fatal

FLOORS = [Floor(account=Account(high_e8=10**10, low_e8=9 * 10**9))]


def code_of(body: str) -> bytes:
    """Build a made entry ``made(result, error, number)``."""
    text = f"define i32 @made(ptr %result, ptr %error, i64 %number) {{ {body} }}"
    built: bytes = machine_code._machine().emit_object(llvm.parse_assembly(text))
    return b"made\n" + built


def test_an_entry_gives_its_result() -> None:
    """The number that the code writes down comes back."""
    call = machine_code._loaded(code_of("store i64 %number, ptr %result ret i32 0"), "made")
    assert call(-7) == -7


def test_an_error_of_machine_code_ends_the_backtest() -> None:
    """A status that is no success is never taken for a result."""
    call = machine_code._loaded(code_of("ret i32 1").replace(b"made", b"fail"), "made")
    with pytest.raises(Fatal, match="made failed with status 1"):
        call(1)


def test_arguments_are_taken_apart_as_the_calling_convention_does() -> None:
    """A table is seven words, a record its address in the table, a tuple its parts."""
    floors = desk.as_array(FLOORS)
    column = np.arange(3)
    address = column.ctypes.data
    assert machine_code._words(column) == [0, 0, 3, 8, address, 3, 8]
    assert machine_code._words((column, 5)) == [0, 0, 3, 8, address, 3, 8, 5]
    assert machine_code._words(floors[0]) == [floors.ctypes.data]
    with pytest.raises(AssertionError, match="side by side"):
        machine_code._words(column[::2])


def test_code_is_built_once_and_loaded_without_the_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first call builds and keeps; another process finds it, imports no compiler, and works out the same."""
    cache = tmp_path / "not" / "yet" / "made"
    assert not machine_code.is_kept(cache, "close_episode")
    account = desk.as_array(FLOORS)[0].account
    machine_code.entry(cache, "close_episode")(account, 1)
    assert int(account.worst_ppm) == 100_000
    assert machine_code.is_kept(cache, "close_episode")
    assert [path.suffix for path in cache.iterdir()] == [machine_code.SUFFIX], "nothing half-written is left"
    monkeypatch.setattr(twins, "built", None)
    again = desk.as_array(FLOORS)[0].account
    machine_code.entry(cache, "close_episode")(again, 1)
    assert int(again.worst_ppm) == 100_000
    script = (
        "import sys; from pathlib import Path; from hedgegrid.backtest import desk, machine_code\n"
        "from hedgegrid.backtest.desk import Account, Floor\n"
        "account = desk.as_array([Floor(account=Account(high_e8=10**10, low_e8=9 * 10**9))])[0].account\n"
        "machine_code.entry(Path(sys.argv[1]), 'close_episode')(account, 1)\n"
        "print(int(account.worst_ppm), 'numba' in sys.modules)"
    )
    told = subprocess.run([sys.executable, "-c", script, str(cache)], check=True, capture_output=True, text=True)
    assert told.stdout.split() == ["100000", "False"]
