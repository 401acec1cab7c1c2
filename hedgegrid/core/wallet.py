"""Whether the exchange's wallet and ours say the same, and when a difference is told (DESIGN 2, law 9).

Invariants: a difference is called one only when it stood unchanged over two reads that agreed on every position: what
is still on its way (a settlement, a fee) explains it until then; what is called a difference is taken over at once, so
that it is told once.
"""

from enum import StrEnum
from typing import Final

import attrs

ROUNDING_E8: Final = 10_000
"""Quote x 1e8 by which rounding may part the two: each fill rounds its profit and its fee by less than two units."""


class WalletVerdict(StrEnum):
    """EQUAL: within rounding. WAIT: they differ, and the next read tells whether that stays. UNEXPLAINED: it stayed."""

    EQUAL = "equal"
    WAIT = "wait"
    UNEXPLAINED = "unexplained"


@attrs.frozen(kw_only=True)
class WalletJudgement:
    """The verdict, and by how much the exchange's wallet is above ours, in quote x 1e8."""

    verdict: WalletVerdict
    difference_e8: int


def judge(*, ours_e8: int, theirs_e8: int, last_difference_e8: int | None) -> WalletJudgement:
    """Compare the wallets; ``last_difference_e8`` is what waited at the last read, None where nothing did."""
    difference_e8 = theirs_e8 - ours_e8
    verdict = WalletVerdict.WAIT
    if abs(difference_e8) <= ROUNDING_E8:
        verdict = WalletVerdict.EQUAL
    elif last_difference_e8 is not None and abs(difference_e8 - last_difference_e8) <= ROUNDING_E8:
        verdict = WalletVerdict.UNEXPLAINED
    return WalletJudgement(verdict=verdict, difference_e8=difference_e8)
