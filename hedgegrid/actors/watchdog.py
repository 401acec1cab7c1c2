"""The watchdog: it looks at the age of what others depend on and has trading paused and resumed.

Invariants: it judges by ``core.health`` alone; a cause is told once when it comes and once when it goes. In a
simulation it looks by market time (data ages) and, beside that, a guard on the wall clock looks at actors that hang,
since market time then stands still.
"""

from collections.abc import Callable, Mapping

from hedgegrid.actors.feed import SourceTimes
from hedgegrid.actors.post import RISK, Post
from hedgegrid.core import health
from hedgegrid.core.pause import Reason
from hedgegrid.core.permission_events import ReasonRaised
from hedgegrid.messages.commands import ClearReason, RaiseReason, Wake
from hedgegrid.runtime.actor import Actor, ActorReading
from hedgegrid.runtime.clock import Clock
from hedgegrid.runtime.mailbox import Mailbox
from hedgegrid.runtime.router import Router

WatchdogMessage = Wake


class Watchdog(Actor[WatchdogMessage]):
    """Data ages of all instruments, by the clock of the market."""

    def __init__(
        self,
        *,
        mailbox: Mailbox[WatchdogMessage],
        router: Router,
        clock: Clock,
        post: Post,
        limits: health.HealthLimits,
        cadences_ns: Mapping[str, int],
        times: SourceTimes,
        probe: Callable[[], health.VenueProbe],
    ) -> None:
        """``cadences_ns``: the bar length of each instrument's source, 0 for a stream; the feed keeps ``times``.

        ``probe`` measures what no message tells.
        """
        super().__init__(mailbox=mailbox, router=router, clock=clock)
        self._post = post
        self._limits = limits
        self._cadences_ns = dict(cadences_ns)
        self._times = times
        self._probe = probe
        self._since_ns = clock.now_ns()
        self._standing: set[tuple[Reason, str]] = set()

    async def on_start(self) -> None:
        """Set the first look."""
        self._since_ns = self.clock.now_ns()
        self._look_again()

    async def handle(self, message: WatchdogMessage) -> None:
        """Look, tell what has come or gone, and set the next look."""
        now_ns = self.clock.now_ns()
        probe = self._probe()
        readings = health.Readings(
            sources=tuple(self._sources(probe)), loop_lag_ns=probe.loop_lag_ns, clock_skew_ns=probe.clock_skew_ns
        )
        for finding in health.assess(self._limits, readings, self._standing, now_ns):
            figures = {name: str(value) for name, value in finding.figures}
            key = (finding.reason, finding.scope)
            if isinstance(finding, ReasonRaised):
                self._standing.add(key)
                raised = RaiseReason(
                    **self._post.head(message), reason=finding.reason, scope=finding.scope, figures=figures
                )
                self._post.publish(raised, RISK)
            else:
                self._standing.discard(key)
                gone = ClearReason(
                    **self._post.head(message), reason=finding.reason, scope=finding.scope, figures=figures
                )
                self._post.publish(gone, RISK)
        self._look_again()

    def _sources(self, probe: health.VenueProbe) -> list[health.SourceReading]:
        return [
            health.SourceReading(
                name="quotes",
                scope=instrument,
                cadence_ns=cadence_ns,
                since_ns=self._since_ns,
                last_event_ns=self._times.last_ns.get(instrument),
                last_arrival_ns=self._times.last_arrival_ns.get(instrument),
                last_pong_ns=probe.last_pong_ns,
            )
            for instrument, cadence_ns in self._cadences_ns.items()
        ]

    def _look_again(self) -> None:
        """Look when the oldest source would become stale, or soon while one is: not once a second of a year."""
        now_ns = self.clock.now_ns()
        due = [
            now_ns + max(1, health.stale_after_ns(self._limits, source) - health.age_ns(source, now_ns) + 1)
            for source in self._sources(self._probe())
            if (Reason.FEED_STALE, source.scope) not in self._standing
        ]
        if self._standing or 0 in self._cadences_ns.values():
            due.append(now_ns + self._limits.heartbeat_ns)
        self.remind_at(min(due), Wake(**self._post.head()))


class HangGuard:
    """Finds actors that hang, by the wall clock: a busy actor whose counter stands still for too many heartbeats.

    ``look`` is called once a heartbeat from outside the loop's actors; market time may stand still meanwhile.
    """

    def __init__(
        self,
        *,
        limits: health.HealthLimits,
        readings: Callable[[], tuple[ActorReading, ...]],
        on_silent: Callable[[str, Mapping[str, str]], None],
        on_alive: Callable[[str], bool],
    ) -> None:
        """``on_silent(actor, figures)`` is told once an episode.

        ``on_alive(actor)`` when it moves again, until it says True.
        """
        self._limits = limits
        self._readings = readings
        self._on_silent = on_silent
        self._on_alive = on_alive
        self._seen: dict[str, health.Progress] = {}
        self._silent: set[str] = set()

    def look(self, wall_ns: int) -> None:
        """Compare every actor's progress with the last look."""
        for reading in self._readings():
            before = self._seen.get(reading.name) or health.first_progress(name=reading.name, scope="", now_ns=wall_ns)
            pending = reading.depth + (0 if reading.busy_since_ns is None else 1)
            after = health.observed(
                before, counter=reading.progress, pending=pending, probe_since_ns=None, now_ns=wall_ns
            )
            self._seen[reading.name] = after
            if health.is_silent(self._limits, after, wall_ns):
                if reading.name not in self._silent:
                    self._silent.add(reading.name)
                    stuck_ns = wall_ns - (after.stuck_since_ns or wall_ns)
                    self._on_silent(reading.name, {"silence_ns": str(stuck_ns), "counter": str(reading.progress)})
            elif reading.name in self._silent and self._on_alive(reading.name):
                self._silent.discard(reading.name)
