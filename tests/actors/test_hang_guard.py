"""The guard that finds actors which hang: who is told of, when, and that a loop which was blocked accuses nobody."""

from collections.abc import Mapping

import pytest

from hedgegrid.actors.watchdog import HangGuard
from hedgegrid.core.health import HealthLimits
from hedgegrid.runtime.actor import ActorReading

LIMITS = HealthLimits(
    feed_stale_ns=1,
    quote_silence_ns=1,
    heartbeat_ns=100,
    heartbeat_missed=3,
    max_loop_lag_ns=1,
    max_clock_skew_ns=1,
    unknown_pause_ns=1,
)
LOOK_NS = 25


class Watched:
    """One actor as it is seen, and what the guard said of it."""

    def __init__(self) -> None:
        self.reading = self.seen()
        self.silent: list[Mapping[str, str]] = []
        self.alive = 0
        self.guard = HangGuard(
            limits=LIMITS,
            look_ns=LOOK_NS,
            readings=lambda: (self.reading,),
            on_silent=lambda _, figures: self.silent.append(figures),
            on_alive=self._on_alive,
        )
        self.wall_ns = 1_000

    @staticmethod
    def seen(*, progress: int = 0, busy: bool = False, answered: int = 0, probed: bool = False) -> ActorReading:
        """Give a reading."""
        return ActorReading(
            name="a",
            progress=progress,
            progress_ns=0,
            busy_since_ns=1 if busy else None,
            depth=0,
            answered=answered,
            is_probed=probed,
        )

    def _on_alive(self, _actor: str) -> bool:
        self.alive += 1
        return True

    def looks(self, count: int, step_ns: int = LOOK_NS) -> frozenset[str]:
        """Look a few times; give what the last one found well."""
        well: frozenset[str] = frozenset()
        for _ in range(count):
            self.wall_ns += step_ns
            well = self.guard.look(self.wall_ns)
        return well


def test_busy_actor_that_stands_still_is_told_once() -> None:
    """Three heartbeats at one message: told with its figures, once an episode, and once that it moves again."""
    one = Watched()
    one.reading = one.seen(busy=True)
    one.looks(12)
    assert one.silent == []
    one.looks(10)
    assert [dict(each) for each in one.silent] == [{"silence_ns": "300", "counter": "0"}]
    one.reading = one.seen(progress=1, busy=True)
    one.looks(3)
    assert (len(one.silent), one.alive) == (1, 1)


def test_idle_actor_that_answers_no_probe_is_told() -> None:
    """Nothing to do is no excuse where a probe waits; without a probe it is."""
    one = Watched()
    assert one.looks(40) == {"a"}
    one.reading = one.seen(probed=True)
    assert one.looks(14) == frozenset()
    assert len(one.silent) == 1
    one.reading = one.seen(answered=1)
    assert one.looks(1) == {"a"}
    assert one.alive == 1


def test_blocked_loop_accuses_nobody() -> None:
    """An hour between two looks: the busy actor could not move either, and gets its time from there on."""
    one = Watched()
    one.reading = one.seen(busy=True)
    one.looks(3)
    one.looks(1, step_ns=3_600_000_000_000)
    assert one.silent == []


@pytest.mark.parametrize("sign", [Watched.seen(progress=1), Watched.seen(answered=1)], ids=["moved", "answered"])
def test_each_sign_of_life_is_dated(sign: ActorReading) -> None:
    """What /health shows in wall time: since when an actor has neither come further nor answered."""
    one = Watched()
    one.looks(4)
    assert one.guard.moved_ns == {"a": 1_025}
    one.reading = sign
    one.looks(2)
    assert one.guard.moved_ns == {"a": 1_125}
