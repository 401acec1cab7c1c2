"""Alerts on their way: chosen by the settings, never twice in a while, never too many, and never in trading's way.

Invariants: ``observe`` returns at once, whatever the services do: it only puts into a bounded queue; sending is one
thread's, which alone knows the services; what is not told is counted; a service that fails is logged once until it
works again; no text leaves with a secret in it.
"""

import queue
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal

import attrs

from hedgegrid.messages.events import Message
from hedgegrid.ops.alert_events import EVENTS, TEXT_MAX, Alert, AlertWords
from hedgegrid.ops.alert_services import Services
from hedgegrid.ops.logs import Masker

Level = Literal["on", "silent", "off"]
QUEUE_MAX: Final = 200
SAME_S: Final = 300.0
"""How long the same words of the same event are told once."""
SAME_KEPT: Final = 1_000
OPPOSITES: Final[Mapping[str, tuple[str, ...]]] = {
    "paused": ("resumed",),
    "tripped": ("resumed",),
    "resumed": ("paused", "tripped"),
}
"""What each event ends: once the state has changed and changed back, the same words are news."""
PER_MINUTE: Final = 20
"""Alerts a minute of events that come often; and as many again of all others."""
END_S: Final = 5.0
"""What the last alerts get when a run ends."""


@attrs.define(kw_only=True)
class AlertCounts:
    """How many alerts there were since the start, by what became of them."""

    sent: int = 0
    failed: int = 0
    """No service took it, or not every one."""
    repeated: int = 0
    """The same had been told a short while ago."""
    held_back: int = 0
    """Too many came at once."""


@attrs.define
class _Bucket:
    """So many a minute, as many at once."""

    left: float = PER_MINUTE
    since_s: float | None = None
    waiting: int = 0
    """Held back since the last one that went out."""

    def take(self, now_s: float) -> bool:
        """Tell whether one more may go out now."""
        if self.since_s is not None:
            self.left = min(PER_MINUTE, self.left + (now_s - self.since_s) * PER_MINUTE / 60)
        self.since_s = now_s
        if self.left < 1:
            self.waiting += 1
            return False
        self.left -= 1
        return True


class Alerting:
    """Tells people what happens to one account."""

    def __init__(
        self,
        *,
        account: str,
        urls: Sequence[str],
        default: Level,
        events: Mapping[str, Level],
        words: AlertWords,
        masker: Masker,
        now_s: Callable[[], float],
        warn: Callable[[str], None],
    ) -> None:
        """Send to ``urls``, of which nothing is ever said; ``warn`` takes a line for the log, from any thread.

        ``now_s`` is a clock that never goes back, by which repeats and rates are counted.
        """
        self._account = account
        self._urls = tuple(urls)
        self._levels: dict[str, Level] = {name: events.get(name, default) for name in EVENTS}
        self._words = words
        self._masker = masker
        self._now_s = now_s
        self._warn = warn
        self._queue: queue.Queue[tuple[str, Alert] | None] = queue.Queue(QUEUE_MAX)
        self._told: OrderedDict[Alert, float] = OrderedDict()
        self._buckets = {False: _Bucket(), True: _Bucket()}
        self._thread: threading.Thread | None = None
        self._failing: frozenset[str] = frozenset()
        self.counts = AlertCounts()

    def start(self) -> None:
        """Let the thread begin: it opens the services first."""
        self._thread = threading.Thread(target=self._work, name="alerts", daemon=True)
        self._thread.start()

    def stop(self, why: str) -> None:
        """Tell that the run has ended, and give the last alerts a bounded time to leave."""
        if self._thread is None:
            return
        self.tell(Alert("stopped", why))
        if self.close():
            self._thread.join(END_S)

    def close(self) -> bool:
        """Take nothing more; what was told leaves by itself. False where too much waits for that."""
        try:
            self._queue.put_nowait(None)
        except queue.Full:
            return False
        return True

    def observe(self, message: Message) -> None:
        """Take a published message; it is told where the settings say so."""
        for alert in self._words.of(message):
            self.tell(alert)

    def tell(self, alert: Alert) -> None:
        """Put an alert on its way, unless it is off, was just told, or is one too many. Never waits."""
        if self._levels[alert.event] == "off":
            return
        now_s = self._now_s()
        alert = Alert(alert.event, self._masker.text(alert.text)[:TEXT_MAX])
        told_s = self._told.get(alert)
        if told_s is not None and now_s - told_s < SAME_S:
            self.counts.repeated += 1
            return
        for other in OPPOSITES.get(alert.event, ()):
            self._forget(other)
        bucket = self._buckets[EVENTS[alert.event].frequent]
        if not bucket.take(now_s):
            self.counts.held_back += 1
            return
        more, bucket.waiting = bucket.waiting, 0
        text = f"{alert.text}; {more} more were held back" if more else alert.text
        try:
            self._queue.put_nowait((self._levels[alert.event], Alert(alert.event, text)))
        except queue.Full:
            bucket.waiting = more + 1
            self.counts.held_back += 1
            return
        self._told[alert] = now_s
        self._told.move_to_end(alert)
        if len(self._told) > SAME_KEPT:
            self._told.popitem(last=False)

    def _forget(self, event: str) -> None:
        """Let the next alert of an event be news, whatever its words."""
        for alert in [one for one in self._told if one.event == event]:
            del self._told[alert]

    # --- in the thread ------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        try:
            services = Services(self._urls)
        except Exception as error:  # broad: without a library that works there are no alerts, and trading goes on
            self._warn(f"no alert can be sent: {type(error).__name__}")
            return
        if services.refused:
            self._warn(f"alerts.urls: {', '.join(services.refused)}: not an address that apprise knows")
        if not services.kinds:
            self._warn("no alert can be sent: there is nobody to tell")
            return
        while (item := self._queue.get()) is not None:
            level, alert = item
            title = f"hedgegrid {self._account}: {alert.event.replace('_', ' ')}"
            event = EVENTS[alert.event]
            # A service refuses to say nothing.
            failed = services.send(title, alert.text or event.meaning, event.severity, silent=level == "silent")
            self._note(frozenset(failed))

    def _note(self, failed: frozenset[str]) -> None:
        """Count what became of an alert; say once of a service that it fails, and once that it works again."""
        if failed:
            self.counts.failed += 1
        else:
            self.counts.sent += 1
        if news := failed - self._failing:
            self._warn(f"alerts do not arrive by {', '.join(sorted(news))}: trading goes on, this is said once")
        if back := self._failing - failed:
            self._warn(f"alerts arrive by {', '.join(sorted(back))} again")
        self._failing = failed
