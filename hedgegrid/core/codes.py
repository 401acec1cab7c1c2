"""The whole numbers that the hot path uses where the model has enumerations.

Invariant: a name that the model also has bears the model's value (a test compares them), so a code crosses between
the two without translation.
"""

from typing import Final

LONG: Final = 0
SHORT: Final = 1
BUY: Final = 0
SELL: Final = 1

ENTRY: Final = 0
TAKE_PROFIT: Final = 1
STOP: Final = 2
FLATTEN: Final = 3
BACKSTOP: Final = 4
LIQUIDATION: Final = 5

LIMIT: Final = 0
STOP_MARKET: Final = 1
MARKET: Final = 2

SIDEWAYS: Final = 0
UP: Final = 1
DOWN: Final = 2

POLICY_BOTH: Final = 0
POLICY_THROTTLED: Final = 1
POLICY_CORE: Final = 2

FUNDING_SCALE: Final = 0
FUNDING_HALT: Final = 1
FUNDING_WARN: Final = 2

FILL_THROUGH: Final = 0
FILL_TOUCH: Final = 1
FILL_QUEUE: Final = 2

FREE: Final = 0
"""The state of an unused slot, in every table."""

NEVER_NS: Final = 9_223_372_036_854_775_807
NO_PRICE: Final = 9_223_372_036_854_775_807
"""Above every price: "no order would sell" in a search for the lowest."""
