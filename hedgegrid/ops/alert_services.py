"""The services that carry alerts: apprise, imported only where alerts are wanted, and only in the thread that sends.

Invariants: an address never leaves this module, for it holds the service's credentials: services are named by their
kind, and by their place in the list; what apprise itself would log goes nowhere, but for a trial's reasons, from which
every part of the address is cut; a service gets one attempt an alert, with its own time limit.
"""

import logging
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import unquote, urlsplit

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


PART_MIN: Final = 3
"""Characters of a part of an address from which on it is cut out of what is told."""


@attrs.frozen(kw_only=True)
class Trial:
    """What became of a trial at one address: its place in the list, its kind, and why it failed ("": it did not)."""

    number: int
    kind: str
    why: str


@attrs.frozen(kw_only=True)
class Service:
    """One service: its place and its kind, and how it is told something, aloud and silently.

    ``parts`` are those of its address, none of which is ever told.
    """

    number: int
    kind: str
    parts: tuple[str, ...] = attrs.field(repr=False)
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
        self._unknown: list[Trial] = []
        for number, url in enumerate(urls, 1):
            kind = urlsplit(url).scheme[:16] or "?"
            aloud, silent = (apprise.Apprise.instantiate(each, suppress_exceptions=True) for each in _both(url, kind))
            if aloud is None or silent is None:
                self.refused.append(kind)
                self._unknown.append(Trial(number=number, kind=kind, why="not an address that apprise knows"))
            else:
                notify = {"aloud": aloud.notify, "silently": silent.notify}
                self._open.append(Service(number=number, kind=kind, parts=_parts(url), **notify))

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

    def trial(self, title: str, text: str, severity: Severity, *, silent: bool) -> tuple[Trial, ...]:
        """Tell every service, and give what became of it, by its place in the list."""
        told = list(self._unknown)
        for one in self._open:
            notify = one.silently if silent else one.aloud
            kind = Severity.INFO if silent else severity
            with _reasons() as reasons:
                try:
                    taken = notify(title=title, body=text, notify_type=kind.value)
                except Exception as error:  # broad: as in ``send``
                    taken = False
                    reasons.append(type(error).__name__)
            why = "" if taken else _without("; ".join(reasons) or "it did not take it, and says no reason", one.parts)
            told.append(Trial(number=one.number, kind=one.kind, why=why))
        return tuple(sorted(told, key=lambda one: one.number))


@contextmanager
def _reasons() -> Iterator[list[str]]:
    """Hear what apprise would log of a failure, and let nobody else hear it."""
    heard: list[str] = []
    listener = logging.Handler(logging.WARNING)
    listener.emit = lambda record: heard.append(record.getMessage())  # type: ignore[method-assign]
    log = logging.getLogger("apprise")
    log.disabled, log.propagate = False, False
    log.addHandler(listener)
    try:
        yield heard
    finally:
        log.removeHandler(listener)
        log.disabled = True


def _parts(url: str) -> tuple[str, ...]:
    """Give whatever of an address could be a credential: all between its marks, as it is written and as it is read."""
    written = re.split(r"[/:@?&=,;#]+", url.partition("://")[2])
    found = {form for one in written for form in (one, unquote(one)) if len(form) >= PART_MIN}
    return tuple(sorted(found, key=len, reverse=True))


def _without(text: str, parts: Sequence[str]) -> str:
    for one in parts:
        text = re.sub(re.escape(one), "***", text, flags=re.IGNORECASE)
    return text


def _both(url: str, kind: str) -> tuple[str, str]:
    """Give an address with its time limits, aloud and silently."""
    joint = "&" if "?" in url else "?"
    aloud = f"{url}{joint}cto={WAIT_S}&rto={WAIT_S}"
    return aloud, f"{aloud}&{QUIET[kind]}" if kind in QUIET else aloud
