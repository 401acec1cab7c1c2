"""The watchdog: it looks at the age of what others depend on and has trading paused and resumed.

Invariants: it judges by ``core.health`` alone; a cause is told once when it comes and once when it goes. In a
simulation it looks by market time (data ages) and, beside that, a guard on the wall clock looks at actors that hang,
since market time then stands still.
"""

from collections.abc import Callable, Mapping
from typing import Final

from hedgegrid.actors.feed import SourceTimes
from hedgegrid.actors.post import RISK, Post
from hedgegrid.core import health
from hedgegrid.core.pause import ACCOUNT, Reason
from hedgegrid.core.permission_events import ReasonRaised
from hedgegrid.messages.commands import ClearReason, RaiseReason, Wake
from hedgegrid.runtime.actor import Actor, ActorReading
from hedgegrid.runtime.clock import Clock
from hedgegrid.runtime.mailbox import Mailbox
from hedgegrid.runtime.router import Router

WatchdogMessage = Wake

LOOKS_A_CADENCE: Final = 8
"""How often a cause that stands is looked at in the time in which the quickest source should speak once."""


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
        account_poll_ns: int | None,
    ) -> None:
        """``cadences_ns``: the bar length of each instrument's source, 0 for a stream; the feed keeps ``times``.

        ``probe`` measures what no message tells. ``account_poll_ns``: how often the account is read, None: never.
        """
        super().__init__(mailbox=mailbox, router=router, clock=clock)
        self._post = post
        self._limits = limits
        self._cadences_ns = dict(cadences_ns)
        self._times = times
        self._probe = probe
        self._account_poll_ns = account_poll_ns
        self._since_ns = clock.now_ns()
        self._standing: set[tuple[Reason, str]] = set()
        self._looked = False

    async def on_start(self) -> None:
        """Set the first look."""
        self._since_ns = self.clock.now_ns()
        self.remind_at(self._since_ns + self._limits.heartbeat_ns, Wake(**self._post.head()))

    async def handle(self, message: WatchdogMessage) -> None:
        """Look, tell what has come or gone, and set the next look."""
        now_ns = self.clock.now_ns()
        probe = self._probe()
        sources = self._sources(probe)
        readings = health.Readings(sources=sources, loop_lag_ns=probe.loop_lag_ns, clock_skew_ns=probe.clock_skew_ns)
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
        if not self._looked:
            self._looked = True
            self._standing |= self._left_standing()
        self._look_again(sources)

    def _left_standing(self) -> set[tuple[Reason, str]]:
        """Give what a watchdog before this one raised: what is well by now is told to have gone at the next look."""
        ours = [(Reason.FEED_STALE, scope) for scope in (ACCOUNT, *self._cadences_ns)]
        ours += [(Reason.LOOP_BLOCKED, ACCOUNT), (Reason.CLOCK_SKEW, ACCOUNT)]
        return {key for key in ours if self._post.stands(*key)}

    def _sources(self, probe: health.VenueProbe) -> tuple[health.SourceReading, ...]:
        account = () if self._account_poll_ns is None else (self._account(probe, self._account_poll_ns),)
        quotes = [
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
        return (*account, *quotes)

    def _account(self, probe: health.VenueProbe, poll_ns: int) -> health.SourceReading:
        """Give the account as a source: it is read now and then, for a quiet one pushes nothing."""
        return health.SourceReading(
            name="account",
            scope=ACCOUNT,
            cadence_ns=poll_ns,
            since_ns=self._since_ns,
            last_event_ns=probe.account_ns,
            last_arrival_ns=probe.account_ns,
        )

    def _look_again(self, sources: tuple[health.SourceReading, ...]) -> None:
        """Look when the oldest source would become stale, or soon while a cause stands: not once a second of a year.

        Where the quickest source speaks once in seconds, nothing that stands can go sooner.
        """
        now_ns, limits = self.clock.now_ns(), self._limits
        due = [
            now_ns + max(1, health.stale_after_ns(limits, source) - health.age_ns(source, now_ns) + 1)
            for source in sources
            if (Reason.FEED_STALE, source.scope) not in self._standing
        ]
        quickest_ns = min(source.cadence_ns for source in sources)
        if self._standing or not quickest_ns:
            due.append(now_ns + max(limits.heartbeat_ns, quickest_ns // LOOKS_A_CADENCE))
        self.remind_at(min(due), Wake(**self._post.head()))


LOOKS_COUNTED = 2
"""The most that one look may add to a silence, in looks: while the loop itself was blocked nobody could move."""


class HangGuard:
    """Finds actors that hang, by the wall clock: one that has work, or a probe to answer, and does not come further.

    ``look`` is called every ``look_ns`` from outside the loop's actors; market time may stand still meanwhile.
    """

    def __init__(
        self,
        *,
        limits: health.HealthLimits,
        look_ns: int,
        readings: Callable[[], tuple[ActorReading, ...]],
        on_silent: Callable[[str, Mapping[str, str]], None],
        on_alive: Callable[[str], bool],
    ) -> None:
        """``on_silent(actor, figures)`` is told once an episode.

        ``on_alive(actor)`` when it moves again, until it says True.
        """
        self._limits = limits
        self._look_ns = look_ns
        self._readings = readings
        self._on_silent = on_silent
        self._on_alive = on_alive
        self._seen: dict[str, health.Progress] = {}
        self._silent: set[str] = set()
        self._wall_ns: int | None = None
        self._looked_ns = 0
        self._signs: dict[str, tuple[int, int]] = {}
        self.moved_ns: dict[str, int] = {}
        """When each actor was last seen to have come further or to have answered, by the wall clock of the looks."""

    def look(self, wall_ns: int) -> frozenset[str]:
        """Compare every actor with the last look; give those that have moved, or have nothing to do."""
        before_ns = self._looked_ns
        if self._wall_ns is not None:
            self._looked_ns += min(wall_ns - self._wall_ns, LOOKS_COUNTED * self._look_ns)
        self._wall_ns = wall_ns
        readings = self._readings()
        for gone in self.moved_ns.keys() - {one.name for one in readings}:
            del self.moved_ns[gone], self._signs[gone]
        return frozenset(one.name for one in readings if self._look_at(one, before_ns))

    def _look_at(self, reading: ActorReading, before_ns: int) -> bool:
        """Judge one actor; True where it is well at this look."""
        name, now_ns = reading.name, self._looked_ns
        before = self._seen.get(name) or health.first_progress(name=name, scope="", now_ns=now_ns)
        after = health.observed(
            before,
            counter=reading.progress,
            pending=reading.depth + (0 if reading.busy_since_ns is None else 1),
            probe_since_ns=before_ns if reading.is_probed else None,
            now_ns=now_ns,
        )
        self._seen[name] = after
        if health.is_silent(self._limits, after, now_ns):
            if name not in self._silent:
                self._silent.add(name)
                figures = {"silence_ns": str(health.silence_ns(after, now_ns)), "counter": str(reading.progress)}
                self._on_silent(name, figures)
        elif name in self._silent and self._on_alive(name):
            self._silent.discard(name)
        signs = (reading.progress, reading.answered)
        moved = self._signs.get(name) != signs
        if moved:
            self._signs[name] = signs
            self.moved_ns[name] = self._wall_ns or 0
        return moved or (after.stuck_since_ns is None and after.probe_since_ns is None)
