"""Settings that have no row yet, and why. Empty when every setting matters."""

from collections.abc import Mapping

PENDING: Mapping[str, str] = {}
"""Path of a setting or section -> why it has no row. Whatever is accepted and not enforced is here too."""


def is_pending(path: str) -> bool:
    """Whether a setting, or a section that it is in, waits for its row."""
    return any(path == each or path.startswith(f"{each}.") for each in PENDING)
