"""Settings that have no row yet, and why. Empty when every setting matters."""

from collections.abc import Mapping

_NEXT = "its row comes next"

PENDING: Mapping[str, str] = {
    "account.mode": _NEXT,
    "account.adopt_foreign": "foreign positions get no exits yet",
    "venue": _NEXT,
    "risk.max_leverage": "the gate does not check it yet",
    "risk.max_position_ratio": "the gate does not check it yet",
    "risk.max_margin_ratio": "the gate does not check it yet",
    "risk.min_liquidation_distance_ratio": "the gate does not check it yet",
    "risk.max_orders_per_minute": "the gate does not check it yet",
    "risk.max_unprotected_ms": _NEXT,
    "risk.stop_overlap_ms": _NEXT,
    "risk.exit_excess_ms": _NEXT,
    "risk.cancel_budget_ratio": _NEXT,
    "risk.var.confidence": "the gate does not check it yet",
    "risk.var.horizon_hours": "the gate does not check it yet",
    "risk.var.max_ratio": "the gate does not check it yet",
    "risk.circuit_breaker": _NEXT,
    "risk.kill_switch": _NEXT,
    "watchdog": _NEXT,
    "supervisor": _NEXT,
    "journal": _NEXT,
    "ops": _NEXT,
    "alerts": "no alert is sent yet",
}
"""Path of a setting or section -> why it has no row. Whatever is accepted and not enforced is here too."""


def is_pending(path: str) -> bool:
    """Whether a setting, or a section that it is in, waits for its row."""
    return any(path == each or path.startswith(f"{each}.") for each in PENDING)
