"""A store is whole at every moment: killed writers, full disks and refused renames leave what was there before."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hedgegrid.backtest.store import parquet_files
from hedgegrid.backtest.store.parquet_files import MonthWriter
from hedgegrid.backtest.store.reader import Store
from hedgegrid.backtest.store.verifying import verify_store
from hedgegrid.errors import Fatal
from tests.backtest.store.samples import archive, bring, candles, tree, write

MONTHS = 44_640 * 3
KILLED_AT = ("spill", "write", "fsync", "publish", "between")

CHILD = """
import os, signal, sys
from pathlib import Path
from hedgegrid.backtest.store import parquet_files, staging
from tests.backtest.store.samples import bring

def die(*_args, **_named):
    os.kill(os.getpid(), signal.SIGKILL)

where, root, file = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
if where == "spill":
    staging.Staging.publish = die
elif where == "write":
    parquet_files.MonthWriter.finish = die
elif where == "fsync":
    os.fsync = die
elif where == "publish":
    parquet_files.MonthWriter.publish = die
else:
    whole = parquet_files.MonthWriter.publish
    def once(self):
        whole(self)
        die()
    parquet_files.MonthWriter.publish = once
bring(root, file)
"""


def named_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Act as on a file system that has no files without names."""
    monkeypatch.setattr(parquet_files, "_new_file", lambda part: (part.open("w+b"), True))


@pytest.mark.parametrize("where", KILLED_AT)
def test_a_killed_import_leaves_nothing_half(tmp_path: Path, where: str) -> None:
    """Wherever kill -9 strikes, no part is left, every month is old or new, and the import can be made again."""
    root, first = tmp_path / "s", write(tmp_path / "BTCUSDT-1m.csv", archive(candles(100)))
    bring(root, first)
    before = tree(root)
    second = write(tmp_path / "b" / "BTCUSDT-1m.csv.gz", archive(candles(MONTHS, 50)))
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    child = subprocess.run([sys.executable, "-c", CHILD, where, root, second], env=environment, check=False)
    assert child.returncode == -signal.SIGKILL
    left = tree(root)
    assert all(name.endswith(".parquet") and "/." not in name and not name.startswith(".") for name in left)
    if where == "between":
        assert len(left) == 1, "the first month was published whole, the next not begun"
        assert left.keys() == before.keys()
    else:
        assert left == before
    assert not [report for report in verify_store(Store(root)) if report.broken]
    bring(root, second)
    assert [facts.rows for facts in Store(root).inventory()] == [MONTHS + 50]


def test_parts_with_names_are_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where files need names, a killed writer's part is out of the readers' sight and goes with the next import."""
    named_files(monkeypatch)
    root, file = tmp_path / "s", write(tmp_path / "BTCUSDT-1m.csv", archive(candles(100)))
    bring(root, file)
    (root / ".part-BTC-USDT-USDT-bars-1m-2025-02.parquet").write_bytes(b"half")
    assert [facts.rows for facts in Store(root).inventory()] == [100]
    bring(root, write(tmp_path / "b" / "BTCUSDT-1m.csv", archive(candles(10, 100))))
    assert sorted(tree(root)) == ["BTC-USDT-USDT/bars-1m/2025-02.parquet"]


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("failing", ["fsync", "write", "rename", "spill"])
def test_a_full_disk_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str, named: bool
) -> None:
    """A disk that refuses at any step is one line, and the store is as it was."""
    if named:
        named_files(monkeypatch)
    root = tmp_path / "s"
    bring(root, write(tmp_path / "BTCUSDT-1m.csv", archive(candles(100))))
    before = tree(root)

    def full(*_args: Any, **_named: Any) -> Any:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    match failing:
        case "fsync":
            monkeypatch.setattr(os, "fsync", full)
        case "write":
            monkeypatch.setattr(MonthWriter, "finish", full)
        case "rename":
            monkeypatch.setattr(Path, "replace", full)
        case _:
            monkeypatch.setattr("hedgegrid.backtest.store.staging._Spill.put", full)
    more = write(tmp_path / "b" / "BTCUSDT-1m.csv", archive(candles(100, 50)))
    with pytest.raises(Fatal, match=r"it cannot be written .No space left on device.") as caught:
        bring(root, more)
    assert "\n" not in str(caught.value)
    assert tree(root) == before
    monkeypatch.undo()
    bring(root, more)
    assert [facts.rows for facts in Store(root).inventory()] == [150]


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    """A store below a file is refused, not half made."""
    file = write(tmp_path / "BTCUSDT-1m.csv", archive(candles(100)))
    with pytest.raises(Fatal, match="it cannot be written"):
        bring(file / "s", file)


def test_a_fault_in_the_last_file_undoes_the_import(tmp_path: Path) -> None:
    """A good file is not kept where another of the same import is bad."""
    good = write(tmp_path / "BTCUSDT-1m.csv", archive(candles(100)))
    bad = write(tmp_path / "ETHUSDT-1m.csv", archive(candles(5)).replace("99.1", "nan"))
    with pytest.raises(Fatal, match=r"ETHUSDT-1m.csv: row 2: the low is missing or not a number"):
        bring(tmp_path / "s", good, bad)
    assert tree(tmp_path / "s") == {}
