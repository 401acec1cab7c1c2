"""Which settings this version accepts and checks but does not yet enforce or use.

Invariant: a setting that changes nothing is named here and shown by `check`, so that no limit is believed in that
nobody applies. Each entry covers the path itself and everything under it.
"""

from collections.abc import Mapping
from functools import reduce

from hedgegrid.config.advice import Advice
from hedgegrid.config.schema import AccountConfig

_ERRORS = "no error of a real exchange is counted yet"
_GATE = "the gate does not check it yet"
_EXCHANGE = "no real exchange is connected yet"

NOT_ENFORCED: Mapping[str, str] = {
    "account.adopt_foreign": _EXCHANGE,
    "venue": _EXCHANGE,
    "risk.max_leverage": _GATE,
    "risk.max_position_ratio": _GATE,
    "risk.max_margin_ratio": _GATE,
    "risk.min_liquidation_distance_ratio": _GATE,
    "risk.max_orders_per_minute": _GATE,
    "risk.cancel_budget_ratio": _GATE,
    "risk.flatten_slice_quote": _EXCHANGE,
    "risk.var.confidence": _GATE,
    "risk.var.horizon_hours": _GATE,
    "risk.var.max_ratio": _GATE,
    "risk.circuit_breaker": _ERRORS,
    "watchdog.max_clock_skew_ms": _EXCHANGE,
    "watchdog.exchange_countdown_s": _EXCHANGE,
    "watchdog.quote_silence_ms": _EXCHANGE,
    "watchdog.unknown_pause_ms": _EXCHANGE,
    "watchdog.account_poll_ms": _EXCHANGE,
    "watchdog.max_loop_lag_ms": "the watchdog has no thread of its own yet",
    "ops.control_token": "the HTTP interface has no controls yet",
    "alerts": "no alert is sent yet",
}
"""Path of a setting or section -> why it has no effect yet."""


def not_enforced(config: AccountConfig) -> tuple[Advice, ...]:
    """What of `NOT_ENFORCED` a config asks for: absent settings and disabled controls are left out."""
    return tuple(
        Advice(path=path, message=f"accepted, not enforced in this version: {reason}")
        for path, reason in NOT_ENFORCED.items()
        if _asked_for(config, path)
    )


def _asked_for(config: AccountConfig, path: str) -> bool:
    """Whether the config has something at `path` that it could expect an effect of."""
    value: object = reduce(getattr, path.split("."), config)
    return value is not None and getattr(value, "enabled", True) is True
