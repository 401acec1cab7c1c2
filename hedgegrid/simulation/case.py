"""What every judge of one run shares: the exchange's truth, the limits, this life's journal, and what was broken."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

from hedgegrid.model.order import Leg
from hedgegrid.simulation.laws import Law, Limits, Violation
from hedgegrid.simulation.rare import Rare
from hedgegrid.simulation.reading import JournalTail
from hedgegrid.simulation.venue import Venue

FOUND_MAX: Final = 200
"""Violations that are kept of one run."""


class Case:
    """One run before its judges."""

    def __init__(self, venue: Venue, limits: Limits) -> None:
        """Nothing is broken yet."""
        self.venue = venue
        self.limits = limits
        self.boot = 0
        self.path = Path()
        self.alive_since_ns: int | None = None
        """Since when this life has read the exchange; None before."""
        self.barred: Callable[[], bool] = lambda: False
        """Tells whether the exchange takes nothing from this life now: what cannot be done is not held against it."""
        self.commits: Callable[[], int | None] = lambda: None
        """Counts what the disk has committed, so that a journal is read only where it grew; None: that is not known."""
        self._followed: int | None = None
        self.disk_failed: Callable[[], bool] = lambda: False
        """Tells whether the journal's disk has failed in this life."""
        self.silent_since_ns: Callable[[], int] = lambda: self.now_ns
        """Tells since when this life hears nothing of the market; what goes by before it listens is no silence."""
        self.violations: list[Violation] = []
        self.rare: Counter[Rare] = Counter()
        """The rare states that the journal does not tell of."""
        self._told: set[tuple[Law, str]] = set()
        self._tail: JournalTail | None = None
        self._turned = False
        """Whether the tail has let go of its file, and is to go on in the one at ``path``."""

    @property
    def now_ns(self) -> int:
        """The true time."""
        return self.venue.clock.now_ns()

    def journal(self) -> JournalTail:
        """Give this life's journal as it is now. It is there once the life has said anything."""
        if self._tail is None or self._turned:
            if self._tail is None or not self._tail.goes_on_in(self.path):
                self._tail = JournalTail(self.path)
            self._turned = False
            self._followed = None
        commits = self.commits()
        if commits is None or commits != self._followed:
            self._followed = commits
            self._tail.follow(self.now_ns)
            for instrument, leg, lot_id, lots in self._tail.adopted:
                self.venue.shares.adopt(instrument, leg, lot_id, lots)
        return self._tail

    def turn(self, path: Path) -> None:
        """Look into another journal from here on."""
        if self._tail is not None and not self._turned:
            self._tail.close()
            self._turned = True
        self.path = path

    def broken(self, law: Law, how: str, ts_ns: int | None = None) -> None:
        """Take note of a violation, once for each way."""
        if (law, how) not in self._told and len(self.violations) < FOUND_MAX:
            self._told.add((law, how))
            self.violations.append(Violation(law=law, ts_ns=self.now_ns if ts_ns is None else ts_ns, how=how))

    def own_lots(self, instrument: str, leg: Leg) -> int:
        """Give how much of a leg is the bot's, by the exchange."""
        held = self.venue.exchange.by_name[instrument].accounts[leg].qty_lots
        return held - self.venue.shares.of_others(instrument, leg)
