"""A dead-man's switch counts as armed until the exchange has said that it is off: else nobody asks for it again."""

from typing import Any

from hedgegrid.actors.dead_mans_switch import DeadMansSwitch
from hedgegrid.core.countdown import Arming, CountdownRule
from hedgegrid.runtime.clock import VirtualClock

BTC = "BTC/USDT:USDT"


class Nobody:
    """Books that are healthy and flat, and an agenda that keeps nothing."""

    healthy = True

    def is_flat(self, _: str) -> bool:
        """Tell that nothing is held."""
        return True

    def put(self, *_: object) -> None:
        """Take a time."""


def test_a_switch_that_was_asked_to_go_off_may_still_stand() -> None:
    """The answer is on its way, or lost: a clean stop must ask once more before it leaves orders behind."""
    asked: list[str] = []
    nobody: Any = Nobody()

    def spawn(request: Any, name: str) -> None:
        asked.append(name)
        request.close()

    switch = DeadMansSwitch(
        rule=CountdownRule(countdown_ms=120_000, strips_stops=False, arming=Arming.WHEN_SAFE),
        instruments=(BTC,),
        trading=nobody,
        clock=VirtualClock(0),
        post=nobody,
        agenda=nobody,
        limit_ns=None,
        validity_ns=1,
        spawn=spawn,
        hydration=nobody,
    )
    switch.end()
    assert asked == [f"countdown {BTC}"]
    assert switch.armed == (BTC,)
