"""What a fill is of: the exchange knows our client id alone, rung and lots are in the request that it was sent with.

Invariants: the parts of lots that the fills of one order close never overlap and never exceed what the order covers;
what a venue has said itself (a simulated one knows rung and lots) is not changed; a forced order is nobody's request.
"""

import attrs

from hedgegrid.core.client_id import parse_client_id
from hedgegrid.model.order import Cover, Fill, OrderRequest, Purpose


def allocated(covers: tuple[Cover, ...], done_lots: int, qty_lots: int) -> tuple[Cover, ...]:
    """Give the parts of lots that the next ``qty_lots`` of an order close, after ``done_lots`` of it were filled.

    Lots are closed in the order in which the request names them; what goes beyond all of them covers nothing.
    """
    parts: list[Cover] = []
    for cover in covers:
        skipped = min(done_lots, cover.qty_lots)
        done_lots -= skipped
        part = min(qty_lots, cover.qty_lots - skipped)
        if part > 0:
            parts.append(attrs.evolve(cover, qty_lots=part))
            qty_lots -= part
    return tuple(parts)


def explained(fill: Fill, request: OrderRequest | None, done_lots: int) -> Fill:
    """Give a fill with its purpose, rung and lots, from its order's request or, without one, from its client id."""
    if fill.purpose is Purpose.LIQUIDATION or fill.covers:
        return fill
    parts = parse_client_id(fill.client_id)
    if request is not None:
        purpose, level, generation = request.purpose, request.level, request.generation
        covers = () if purpose is Purpose.ENTRY else allocated(request.covers, done_lots, fill.qty_lots)
    elif parts is not None:
        purpose, level, generation, covers = parts.purpose, parts.level, fill.generation, ()
    else:
        return fill
    level = level if level >= 0 else fill.level
    generation = generation if generation >= 0 else fill.generation
    if (purpose, level, generation, covers) == (fill.purpose, fill.level, fill.generation, fill.covers):
        return fill
    return attrs.evolve(fill, purpose=purpose, level=level, generation=generation, covers=covers)
