"""What ends a pause, for the person who reads of it.

Invariant: every reason has words, and a command is named only where it does it.
"""

from hedgegrid.core.pause import Reason, is_latched


def lifted_by(reason: str) -> str:
    """Say what ends a pause for ``reason``: a command, or nothing but time."""
    one = Reason(reason)
    if one is Reason.DRAWDOWN:
        return "until `hedgegrid resume --new-peak`"
    if is_latched(one):
        return "until `hedgegrid resume`"
    if one is Reason.CIRCUIT_BREAKER:
        return "until [risk.circuit_breaker] cooldown_s have passed without an error"
    return "lifts by itself once its cause has been gone for a while"
