"""Machine code that is kept: whole files, loaded without the compiler, and an error of it is told."""

import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hedgegrid.backtest import code_block, desk, machine_code, twins
from hedgegrid.backtest.desk import Account, Floor
from hedgegrid.errors import Fatal

FLOORS = [Floor(account=Account(high_e8=10**10, low_e8=9 * 10**9))]


def code_of(body: str, name: str = "made", further: str = "") -> bytes:
    """Build a made entry ``made(result, error, number)``."""
    text = f"{further}\ndefine i32 @{name}(ptr %result, ptr %error, i64 %number) {{ {body} }}"
    return machine_code._linked(text, name)


@pytest.fixture(params=[machine_code.BLOCK, machine_code.OBJECT], ids=["block", "object"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """The kind of code that is kept: a block where one can be made, else an object file."""
    kind: bytes = request.param
    if kind == machine_code.OBJECT:
        monkeypatch.setattr(code_block, "linked", lambda *_: None)
    elif (sys.platform, platform.machine()) != ("linux", "x86_64"):
        pytest.skip("blocks are made of ELF files for x86-64")
    return kind


def test_an_entry_gives_its_result(kind: bytes) -> None:
    """The number that the code writes down comes back, also through another function and a table of its own."""
    table = """@seven = internal global i64 -7
        @nine = internal global i64 9
        @table = internal global [2 x ptr] [ptr @seven, ptr @nine]"""
    at_place = """define linkonce_odr i64 @at_place(i64 %place) noinline {
        %at = getelementptr [2 x ptr], ptr @table, i64 0, i64 %place
        %found = load volatile ptr, ptr %at
        %value = load volatile i64, ptr %found
        ret i64 %value }"""
    body = "%value = call i64 @at_place(i64 %number) store i64 %value, ptr %result ret i32 0"
    code = code_of(body, f"gives_{kind.decode()}", table + "\n" + at_place)
    assert code.startswith(kind + b" ")
    assert (b":" in code.partition(b"\n")[0]) == (kind == machine_code.BLOCK), "the table holds addresses"
    call = machine_code._loaded(code, "made")
    assert [call(place) for place in range(2)] == [-7, 9]


def test_an_error_of_machine_code_ends_the_backtest(kind: bytes) -> None:
    """A status that is no success is never taken for a result."""
    call = machine_code._loaded(code_of("ret i32 1", f"fails_{kind.decode()}"), "made")
    with pytest.raises(Fatal, match="made failed with status 1"):
        call(1)


@pytest.mark.skipif((sys.platform, platform.machine()) != ("linux", "x86_64"), reason="no block is made here")
def test_a_system_that_runs_no_new_code_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hardened machine forbids it: one line that says so, and what helps."""

    def forbid(_: object) -> int:
        raise OSError(13, "memory may not be made executable")

    monkeypatch.setattr(code_block, "brought_in", forbid)
    with pytest.raises(Fatal, match="compiled code cannot run here: memory may not be made executable: allow it"):
        machine_code._loaded(code_of("ret i32 0"), "made")


def test_code_that_needs_others_is_no_block() -> None:
    """What is called outside of it would be called at a distance that nobody knows."""
    outside = "declare i64 @elsewhere(i64)"
    body = "%value = call i64 @elsewhere(i64 %number) store i64 %value, ptr %result ret i32 0"
    assert code_of(body, "needs", outside).startswith(machine_code.OBJECT)
    assert code_block.linked(b"\xfe\xed\xfa\xcf" + bytes(200), "made") is None


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
        "print(int(account.worst_ppm), 'numba' in sys.modules, 'llvmlite' in sys.modules)"
    )
    told = subprocess.run([sys.executable, "-c", script, str(cache)], check=True, capture_output=True, text=True)
    is_block = (sys.platform, platform.machine()) == ("linux", "x86_64")
    assert told.stdout.split() == ["100000", "False", str(not is_block)]
