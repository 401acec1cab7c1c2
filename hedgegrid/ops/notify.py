"""What systemd is told of a run: a few lines to a unix datagram socket, as sd_notify(3) has them.

Invariants: nothing is sent where systemd did not ask (NOTIFY_SOCKET), and sending never blocks; a socket that does not
take a line changes nothing for the run.
"""

import os
import socket
from collections.abc import Mapping
from typing import Final, Self

_LINE_MAX: Final = 200
_NS_PER_US: Final = 1_000
EXTEND_MORE_NS: Final = 180_000_000_000
"""What the attempt after a wait may take."""


class Notifier:
    """Tells one supervisor. ``address``: a path, or "@" and a name; "" tells nobody."""

    def __init__(self, address: str, *, watchdog_ns: int | None = None) -> None:
        """``watchdog_ns``: how long silence may last before the process is ended from outside, None: for ever."""
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self.watchdog_ns = watchdog_ns
        self.lost = 0
        """Lines that could not be sent."""
        self._last: dict[str, str] = {}

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Self:
        """Read what systemd asks for; a watchdog of another process is none of ours."""
        usec = environ.get("WATCHDOG_USEC", "")
        ours = environ.get("WATCHDOG_PID") in (None, "", str(os.getpid()))
        watched = ours and usec.isascii() and usec.isdigit() and int(usec) > 0
        return cls(environ.get("NOTIFY_SOCKET", ""), watchdog_ns=int(usec) * _NS_PER_US if watched else None)

    def ready(self) -> None:
        """Say once that the run does what it is for."""
        self._news("READY", "1")

    def stopping(self) -> None:
        """Say once that the run ends."""
        self._news("STOPPING", "1")

    def extend(self, wait_ns: int) -> None:
        """Say that the start is waiting: it is not to be ended for as long as that, and a while beyond."""
        self._send(f"EXTEND_TIMEOUT_USEC={(wait_ns + EXTEND_MORE_NS) // _NS_PER_US}")

    def alive(self) -> None:
        """Say that every part of the run has come further."""
        if self.watchdog_ns is not None:
            self._send("WATCHDOG=1")

    def status(self, words: str) -> None:
        """Say in a line how things stand, where that is news."""
        self._news("STATUS", " ".join(words.split())[:_LINE_MAX])

    def _news(self, name: str, value: str) -> None:
        if self._last.get(name) != value:
            self._last[name] = value
            self._send(f"{name}={value}")

    def _send(self, line: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.settimeout(0)
                sender.sendto(line.encode(), self._address)
        except OSError:
            self.lost += 1
