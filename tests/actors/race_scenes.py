"""Where a race begins: a grid that stands, rungs that are filled, and what to ask of the exchange then."""

from typing import Any

from hedgegrid.core.pause import Reason
from hedgegrid.messages import events as e
from hedgegrid.messages.commands import RaiseReason
from hedgegrid.model.order import Leg, OrderRequest, Purpose
from tests.actors.racing import Ring

LONG = Leg.LONG


def started(**changes: Any) -> Ring:
    """A grid whose first ladder stands: three rungs of ten lots a leg."""
    ring = Ring(**changes)
    ring.bar(0)
    land(ring)
    return ring


def land(ring: Ring) -> None:
    """Let everything that is on its way arrive and be heard."""
    for name in ring.named("sent"):
        ring.arrive(name)
    ring.hear(99)


def entry(ring: Ring, leg: Leg = LONG, level: int = 1) -> str:
    """The resting entry of a rung."""
    found = [
        name
        for name in ring.named("live", Purpose.ENTRY)
        if (ring.orders[name].request.leg, ring.orders[name].request.level) == (leg, level)
    ]
    assert len(found) == 1
    return found[0]


def filled(ring: Ring, *levels: int) -> None:
    """Fill rungs of the LONG leg whole, and let their exits stand."""
    for level in levels:
        ring.fill(entry(ring, level=level), 10)
    ring.hear(99)
    land(ring)


def one(ring: Ring, purpose: Purpose, level: int) -> str:
    """The live exit of a rung's lot."""
    found = [
        name
        for name in ring.named("live", purpose)
        if ring.orders[name].request.leg is LONG and ring.orders[name].request.level == level
    ]
    assert len(found) == 1, found
    return found[0]


def requests(ring: Ring, where: str, purpose: Purpose) -> list[OrderRequest]:
    """What was asked for, of one purpose, somewhere."""
    return [ring.orders[name].request for name in ring.named(where, purpose)]


def said(ring: Ring, text: str) -> list[e.Incident]:
    """The incidents that say something."""
    return [one for one in ring.told if isinstance(one, e.Incident) and text in one.text]


def latched(ring: Ring) -> bool:
    """Whether the instrument was paused for the operator."""
    return any(isinstance(one, RaiseReason) and one.reason == Reason.SUPERVISOR for one in ring.told)
