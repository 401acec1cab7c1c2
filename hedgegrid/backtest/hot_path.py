"""Which modules the compiler takes, named where the compiler need not be imported.

Invariant: a change in any file that is compiled, or that says what is, changes ``source_hash``.
"""

import hashlib
from pathlib import Path
from types import ModuleType

from hedgegrid.backtest import (
    dealing,
    desk,
    logbook,
    permission,
    result,
    rows,
    step,
    tape_columns,
    valuing,
    walk_bars,
    walk_trades,
)
from hedgegrid.core import (
    actions,
    closing,
    diff,
    exits,
    filling,
    fixed,
    funding,
    gate_book,
    grid,
    inventory,
    ledger,
    margin,
    matching,
    order_rate,
    pipeline,
    policy,
    queue_fills,
    regime,
    repeat,
    risk,
    session,
    standing,
    stop_laying,
    var,
    venue_tables,
    worst_case,
)

HOT_MODULES: tuple[ModuleType, ...] = (
    fixed,
    ledger,
    regime,
    grid,
    policy,
    funding,
    inventory,
    actions,
    diff,
    exits,
    stop_laying,
    closing,
    repeat,
    pipeline,
    venue_tables,
    filling,
    queue_fills,
    margin,
    matching,
    var,
    worst_case,
    gate_book,
    order_rate,
    risk,
    session,
)
"""The decisions and the venue."""

DRIVER_MODULES: tuple[ModuleType, ...] = (
    standing,
    logbook,
    dealing,
    permission,
    valuing,
    step,
    walk_bars,
    walk_trades,
)
"""What drives them without actors."""


def source_hash() -> str:
    """Give a hash of every source file that is compiled or says how, to name what was made of them."""
    digest = hashlib.sha256()
    ours = (Path(module.__file__ or "") for module in (*DRIVER_MODULES, desk, result, rows, tape_columns))
    twins = Path(__file__).with_name("twins.py")
    for path in (*sorted(Path(fixed.__file__).parent.glob("*.py")), *ours, Path(__file__), twins):
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
