"""Two wallets: what rounding parts, what is on its way, and what nobody explains."""

import pytest

from hedgegrid.core.wallet import ROUNDING_E8, WalletVerdict, judge

V = WalletVerdict


@pytest.mark.parametrize(
    ("difference", "last", "verdict"),
    [
        (0, None, V.EQUAL),
        (ROUNDING_E8, None, V.EQUAL),
        (-ROUNDING_E8, 5, V.EQUAL),
        (ROUNDING_E8 + 1, None, V.WAIT),
        (-ROUNDING_E8 - 1, None, V.WAIT),
        (10**9, 10**9, V.UNEXPLAINED),
        (10**9 + ROUNDING_E8, 10**9, V.UNEXPLAINED),
        (10**9, -(10**9), V.WAIT),
        (2 * 10**9, 10**9, V.WAIT),
    ],
)
def test_a_difference_is_called_one_when_it_stands_still(difference: int, last: int | None, verdict: V) -> None:
    """A settlement on its way comes and goes, a loss that nobody told of stays: only that is told."""
    judged = judge(ours_e8=7 * 10**11, theirs_e8=7 * 10**11 + difference, last_difference_e8=last)
    assert (judged.verdict, judged.difference_e8) == (verdict, difference)
