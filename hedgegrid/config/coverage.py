"""Which settings this version accepts and checks but does not yet enforce or use.

Invariant: a setting that changes nothing is named here and shown by `check`, so that no limit is believed in that
nobody applies. Each entry covers the path itself and everything under it.
"""

from collections.abc import Mapping
from functools import reduce

from hedgegrid.config.advice import Advice
from hedgegrid.config.schema import AccountConfig

NOT_ENFORCED: Mapping[str, str] = {}
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
    return value not in (None, False) and getattr(value, "enabled", True) is True
