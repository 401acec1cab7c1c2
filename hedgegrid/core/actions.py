"""The table in which a decision writes what it wants done, in the order in which it is to be sent.

Invariants: cancels stand before placements of the same decision; within each, nearest to the mid first, then LONG,
generation, level; a full table is counted in ``GridState.overflowed`` and the actor pauses, nothing is lost in
silence.
"""

from hedgegrid.core.records import Action, Counter, GridState

PLACE = 1
CANCEL = 2
RETIRE = 3
"""Cancel a stop once the stops placed in the same batch stand."""
RETRY_AT = 4
"""Wake this grid at ``distance`` ns to send a post-only retry."""


def put(state: GridState, out: list[Action], used: Counter, kind: int, no: int) -> int:
    """Begin an action and give its index; the caller fills it in. A full table reuses its last slot, counted."""
    if used.n >= len(out):
        state.overflowed += 1
        used.n = len(out) - 1
    index = used.n
    used.n += 1
    action = out[index]
    action.kind = kind
    action.no = no
    action.leg = 0
    action.purpose = 0
    action.level = -1
    action.generation = -1
    action.price_ticks = 0
    action.qty_lots = 0
    action.lot_id = 0
    action.distance = 0
    return index


def _goes_before(a: Action, kind: int, distance: int, leg: int, generation: int, level: int) -> bool:
    """Tell whether ``a`` is sent before an action with these keys."""
    if a.kind != kind:
        return a.kind > kind
    if a.distance != distance:
        return a.distance < distance
    if a.leg != leg:
        return a.leg < leg
    if a.generation != generation:
        return a.generation < generation
    return a.level <= level


def sort(out: list[Action], first: int, end: int) -> None:
    """Put the actions first..end-1 into sending order (insertion sort: they are nearly sorted, and few)."""
    for i in range(first + 1, end):
        moving = out[i]
        kind = moving.kind
        no = moving.no
        leg = moving.leg
        purpose = moving.purpose
        level = moving.level
        generation = moving.generation
        price_ticks = moving.price_ticks
        qty_lots = moving.qty_lots
        distance = moving.distance
        j = i
        while j > first and not _goes_before(out[j - 1], kind, distance, leg, generation, level):
            _copy(out[j], out[j - 1])
            j -= 1
        target = out[j]
        target.kind = kind
        target.no = no
        target.leg = leg
        target.purpose = purpose
        target.level = level
        target.generation = generation
        target.price_ticks = price_ticks
        target.qty_lots = qty_lots
        target.distance = distance


def _copy(to: Action, of: Action) -> None:
    """Copy one entry action over another."""
    to.kind = of.kind
    to.no = of.no
    to.leg = of.leg
    to.purpose = of.purpose
    to.level = of.level
    to.generation = of.generation
    to.price_ticks = of.price_ticks
    to.qty_lots = of.qty_lots
    to.distance = of.distance
