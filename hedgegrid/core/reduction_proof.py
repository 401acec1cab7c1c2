"""The proof that an exit reduces, taken once more in the moment in which it is sent.

The gate proves it when it approves. Until an order's turn in the outbox comes, other fills, a forced close or a reading
may have left less than it would close.

Invariants: take-profits count against take-profits, market reductions against market reductions, each order at all that
is left of it, whatever is known of its outcome; what was not sent yet closes nothing; stops are the gate's affair, for
a lot must never lose its stop over a count.
"""

from collections.abc import Iterable

from hedgegrid.core.order_state import OrderRecord
from hedgegrid.model.order import Kind, OrderRequest, Purpose


def needs_proof(request: OrderRequest) -> bool:
    """Tell whether an order is a take-profit or a market reduction; no entry goes at the market."""
    return request.purpose is Purpose.TAKE_PROFIT or request.kind is Kind.MARKET


def is_proven(request: OrderRequest, held_lots: int, out: Iterable[OrderRecord]) -> bool:
    """Tell whether an exit closes no more than the ``held_lots`` of its leg, with what of its class is ``out`` already.

    Those are the other orders that the exchange has or may have.
    """
    profit = request.purpose is Purpose.TAKE_PROFIT
    out_lots = sum(
        record.remaining_lots
        for record in out
        if record.leg is request.leg
        and record.instrument == request.instrument
        and (record.purpose is Purpose.TAKE_PROFIT if profit else _is_market(record))
    )
    return request.qty_lots + out_lots <= held_lots


def _is_market(record: OrderRecord) -> bool:
    """Tell whether an order reduces at the market: then it has neither limit nor trigger."""
    return record.price_ticks == 0 and record.purpose is not Purpose.ENTRY
