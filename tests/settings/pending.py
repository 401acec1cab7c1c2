"""Settings that have no row yet, and why. Empty when every setting matters."""

from collections.abc import Mapping

PENDING: Mapping[str, str] = {
    "venue.amend": "entries are always cancelled and added",
    "risk.max_leverage": "the gate does not check it yet",
    "risk.max_position_ratio": "the gate does not check it yet",
    "risk.max_margin_ratio": "the gate does not check it yet",
    "risk.min_liquidation_distance_ratio": "the gate does not check it yet",
    "risk.max_orders_per_minute": "the gate does not check it yet",
    "risk.var.confidence": "the gate does not check it yet",
    "risk.var.horizon_hours": "the gate does not check it yet",
    "risk.var.max_ratio": "the gate does not check it yet",
}
"""Path of a setting or section -> why it has no row. Whatever is accepted and not enforced is here too."""


def is_pending(path: str) -> bool:
    """Whether a setting, or a section that it is in, waits for its row."""
    return any(path == each or path.startswith(f"{each}.") for each in PENDING)
