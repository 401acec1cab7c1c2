"""How an account's positions and its permission read in the terminal, in the summary and in alerts.

Invariant: what is not known reads ``-``.
"""

from decimal import ROUND_HALF_UP

from hedgegrid.model.order import Leg
from hedgegrid.ops.phrases import UNKNOWN
from hedgegrid.ops.readings import average_entry
from hedgegrid.ops.view import AccountView, InstrumentView


def position(one: InstrumentView, leg: Leg) -> str:
    """Write a leg's position with its average entry."""
    held = one.legs[leg]
    if held.qty_lots is None:
        return UNKNOWN
    average = average_entry(one.rules, held)
    if average is None:
        return "flat"
    shown = average.quantize(one.rules.tick, ROUND_HALF_UP)
    return f"{one.rules.qty_text(held.qty_lots)} @ {shown:,f}"


def permission(view: AccountView) -> str:
    """Write the mode with the reasons that stand."""
    if view.mode is None:
        return UNKNOWN
    reasons = ", ".join(f"{reason} of {scope}" if scope else reason for reason, scope in view.reasons)
    return f"{view.mode} ({reasons})" if reasons else view.mode
