"""The words for the codes in a result's tables, as in files, reports and on the screen.

Invariant: a code's word is that of the enumeration it came from, so journal and backtest say the same. The design's
section 11 lists the purposes without ``backstop``: calling it ``stop`` would hide that a lot's own stop had not covered
it, so it keeps its own word.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from hedgegrid.backtest.result import OUTCOME_NAMES
from hedgegrid.core.risk import CONTROL_NAMES
from hedgegrid.core.standing import REASON_NAMES
from hedgegrid.model.order import Kind, Leg, Purpose, Side
from hedgegrid.venues.simulated.arrays import IntArray

LEGS: Final = tuple(one.name for one in Leg)
SIDES: Final = tuple(one.name for one in Side)
PURPOSES: Final = tuple(one.name.lower() for one in Purpose)
KINDS: Final = tuple(one.name.lower() for one in Kind)
OUTCOMES: Final = OUTCOME_NAMES
CONTROLS: Final = tuple(CONTROL_NAMES.get(code, "") for code in range(max(CONTROL_NAMES) + 1))
"""By code; 0 (not refused) is empty."""
REASONS: Final = REASON_NAMES
PAUSE_CHANGES: Final = ("", "raised", "recovering", "cleared", "flatten_started", "flatten_done")
"""By code, as ``logbook`` counts them from 1."""
ACCOUNT: Final = "account"
"""The scope of a pause that is of no single instrument."""


def counts(codes: IntArray, names: Sequence[str]) -> Mapping[str, int]:
    """Count codes by name, in the order of the codes; those that never came are left out."""
    found = Counter(codes.tolist())
    return {name: found[code] for code, name in enumerate(names) if found[code]}
