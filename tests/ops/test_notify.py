"""What systemd is told, over a real socket."""

import os
import socket
from pathlib import Path

import pytest

from hedgegrid.ops.notify import Notifier


def listening(path: Path | str) -> socket.socket:
    """A socket as systemd has it."""
    found = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    found.bind(str(path))
    found.settimeout(1)
    return found


@pytest.mark.parametrize("abstract", [False, True])
def test_lines_arrive_once_each(tmp_path: Path, abstract: bool) -> None:
    """READY and STOPPING once, STATUS where it is news, WATCHDOG each time; by a path or an abstract name."""
    name = f"hedgegrid-test-{os.getpid()}"
    with listening(f"\0{name}" if abstract else tmp_path / "notify") as heard:
        environ = {
            "NOTIFY_SOCKET": f"@{name}" if abstract else str(tmp_path / "notify"),
            "WATCHDOG_USEC": "2000000",
        }
        notifier = Notifier.of(environ)
        assert notifier.watchdog_ns == 2_000_000_000
        for _ in range(2):
            notifier.ready()
            notifier.status("active\nWATCHDOG=1")
            notifier.alive()
            notifier.stopping()
        lines = [heard.recv(1000).decode() for _ in range(5)]
        assert lines == ["READY=1", "STATUS=active WATCHDOG=1", "WATCHDOG=1", "STOPPING=1", "WATCHDOG=1"]
        assert notifier.lost == 0


def test_nobody_asked_nobody_is_told(tmp_path: Path) -> None:
    """Without NOTIFY_SOCKET nothing is sent; without WATCHDOG_USEC, or for another process, no WATCHDOG=1."""
    Notifier.of({}).ready()
    with listening(tmp_path / "notify") as heard:
        for more in ({}, {"WATCHDOG_USEC": "x"}, {"WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"}):
            Notifier.of({"NOTIFY_SOCKET": str(tmp_path / "notify"), **more}).alive()
        heard.settimeout(0)
        with pytest.raises(BlockingIOError):
            heard.recv(1000)


def test_socket_that_is_gone_stops_nobody(tmp_path: Path) -> None:
    """A supervisor that went away is no reason to fail."""
    notifier = Notifier(str(tmp_path / "gone"))
    notifier.ready()
    assert notifier.lost == 1
