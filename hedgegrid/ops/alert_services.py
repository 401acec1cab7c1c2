"""The services that carry alerts: apprise, imported only where alerts are wanted, and only in the thread that sends.

Invariants: an address never leaves this module, for it holds the service's credentials: services are named by their
kind alone; what apprise itself would log goes nowhere; a service gets one attempt an alert, with its own time limit.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import attrs

from hedgegrid.ops.alert_events import Severity

WAIT_S: Final = 5.0
"""What a service gets to be reached, and again to answer."""
QUIET: Final = {
    "tgram": "silent=yes",
    "discord": "flags=4096",
    "ntfy": "priority=low",
    "ntfys": "priority=low",
    "pover": "priority=low",
    "gotify": "priority=low",
    "gotifys": "priority=low",
}
"""How a service is told to make no sound; others get a silent alert as plain information."""


@attrs.frozen(kw_only=True)
class Service:
    """One service: its kind, and how it is told something, aloud and silently."""

    kind: str
    aloud: Callable[..., Any]
    silently: Callable[..., Any]


class Services:
    """Where alerts go."""

    def __init__(self, urls: Sequence[str]) -> None:
        """Open every address; ``refused`` tells the kinds of those that apprise does not understand."""
        import apprise  # noqa: PLC0415 - a second and more: only where alerts are wanted, and not in the loop

        logging.getLogger("apprise").disabled = True
        self._open: list[Service] = []
        self.refused: list[str] = []
        for url in urls:
            kind = urlsplit(url).scheme[:16] or "?"
            aloud, silent = (apprise.Apprise.instantiate(each, suppress_exceptions=True) for each in _both(url, kind))
            if aloud is None or silent is None:
                self.refused.append(kind)
            else:
                self._open.append(Service(kind=kind, aloud=aloud.notify, silently=silent.notify))

    @property
    def kinds(self) -> tuple[str, ...]:
        """What there is to send by."""
        return tuple(one.kind for one in self._open)

    def send(self, title: str, text: str, severity: Severity, *, silent: bool) -> tuple[str, ...]:
        """Tell every service; give the kinds of those that did not take it."""
        failed: list[str] = []
        for one in self._open:
            notify = one.silently if silent else one.aloud
            kind = Severity.INFO if silent else severity
            try:
                taken = notify(title=title, body=text, notify_type=kind.value)
            except Exception:  # broad: whatever a service's library raises is a service that failed
                taken = False
            if not taken:
                failed.append(one.kind)
        return tuple(failed)


def _both(url: str, kind: str) -> tuple[str, str]:
    """Give an address with its time limits, aloud and silently."""
    joint = "&" if "?" in url else "?"
    aloud = f"{url}{joint}cto={WAIT_S}&rto={WAIT_S}"
    return aloud, f"{aloud}&{QUIET[kind]}" if kind in QUIET else aloud
