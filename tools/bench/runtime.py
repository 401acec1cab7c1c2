"""Messages a second through the runtime: `python -m tools.bench.runtime [MESSAGES]` prints JSON.

A source sends in batches to a first actor, which forwards each message to a second one; the driver waits for the
activity to come to rest after each batch, as a replay does. One figure is messages handled (both actors) a second of
wall time, best and median of several rounds; the other is what a settled point costs when nothing happens.
"""

import asyncio
import json
import statistics
import sys
import time
from collections.abc import Coroutine
from typing import Any

import attrs

from hedgegrid.runtime.activity import Activity
from hedgegrid.runtime.actor import Actor
from hedgegrid.runtime.clock import Clock, VirtualClock, WallClock
from hedgegrid.runtime.mailbox import REFUSE, Mailbox, conflate
from hedgegrid.runtime.router import Router

BATCH = 256
ROUNDS = 7
POINTS = 2_000


@attrs.frozen(kw_only=True)
class Ping:
    """A message that is never dropped."""

    seq: int


@attrs.frozen(kw_only=True)
class Tick:
    """A message of which the latest counts."""

    seq: int


Message = Ping | Tick


class Forwarder(Actor[Message]):
    """Sends on what it gets, where it has somebody to send it to."""

    def __init__(self, *, mailbox: Mailbox[Message], router: Router, clock: Clock, to: str | None) -> None:
        super().__init__(mailbox=mailbox, router=router, clock=clock)
        self.to = to

    async def handle(self, message: Message) -> None:
        """Forward the message."""
        if self.to is not None:
            self.send(self.to, message)


def refuse(what: object, *_: object) -> None:
    """A measurement in which a message is lost measures nothing."""
    raise RuntimeError(f"lost: {what}")


def actor(name: str, to: str | None, router: Router, clock: Clock, activity: Activity) -> Forwarder:
    """One actor of the pipeline."""
    box: Mailbox[Message] = Mailbox(
        name,
        capacity=4 * BATCH,
        control_capacity=8,
        policies={Ping: REFUSE, Tick: conflate(lambda tick: tick.seq)},
        control=(),
        activity=activity,
    )
    return Forwarder(mailbox=box, router=router, clock=clock, to=to)


async def pipeline(clock: Clock, kind: type[Ping | Tick], messages: int) -> tuple[float, float]:
    """Messages handled a second through two actors, and seconds that one idle point takes to settle."""
    activity = Activity()
    router = Router(on_dead_letter=refuse, on_overflow=refuse)
    actors = [actor(name, to, router, clock, activity) for name, to in (("first", "second"), ("second", None))]
    tasks = [asyncio.create_task(one.run(lambda: None)) for one in actors]
    await activity.settle()
    begun = time.perf_counter()
    for first in range(0, messages, BATCH):
        for seq in range(first, min(first + BATCH, messages)):
            router.send("first", kind(seq=seq))
        await activity.idle()
    took = time.perf_counter() - begun
    begun = time.perf_counter()
    for _ in range(POINTS):
        await activity.settle()
    point = (time.perf_counter() - begun) / POINTS
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    return 2 * messages / took, point


def measured(body: Coroutine[Any, Any, tuple[float, float]]) -> tuple[float, float]:
    """Run one round in a fresh event loop."""
    return asyncio.run(body)


async def wall(kind: type[Ping | Tick], messages: int) -> tuple[float, float]:
    """A round under the wall clock, which has to be made inside the loop."""
    return await pipeline(WallClock(), kind, messages)


def main(arguments: list[str]) -> None:
    """Print the figures as JSON."""
    messages = int(arguments[0]) if arguments else 100_000
    rounds = {
        "virtual_refuse": [measured(pipeline(VirtualClock(0), Ping, messages)) for _ in range(ROUNDS)],
        "virtual_conflate": [measured(pipeline(VirtualClock(0), Tick, messages)) for _ in range(ROUNDS)],
        "wall_refuse": [measured(wall(Ping, messages)) for _ in range(ROUNDS)],
    }
    print(
        json.dumps(
            {
                "messages": messages,
                "batch": BATCH,
                "messages_per_s": {
                    name: {
                        "median": round(statistics.median(rate for rate, _ in result)),
                        "best": round(max(rate for rate, _ in result)),
                    }
                    for name, result in rounds.items()
                },
                "idle_settle_us": round(1e6 * min(point for result in rounds.values() for _, point in result), 1),
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main(sys.argv[1:])
