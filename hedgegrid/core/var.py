"""Parametric value at risk: what the account could lose over a horizon, at a one-sided confidence.

An instrument's part is |net notional| x z x sigma x sqrt(horizon / bar), with sigma the EWMA of its simple bar returns
(zero mean) and z the normal quantile of the confidence (J.P. Morgan/Reuters, RiskMetrics Technical Document, 1996).
Parts of different instruments are added as they are, which is a correlation of one: nothing diversifies anything.

Invariants: a volatility that is not known is UNMEASURED, never zero; a rate and a part round up.
"""

import math

from hedgegrid.core.fixed import mul_ppm_up
from hedgegrid.core.gate_records import UNMEASURED, Realised

RETURN_BARS = 2
"""Bars that make the first return."""

RATE_MAX_PPM = 8_000_000
"""A rate beyond it counts as this: eight times the notional is more than any limit lets pass, and fits into 64 bits."""


def rate_ppm(realised: Realised, scale: float) -> int:
    """Give what a unit of net notional could lose, in ppm; UNMEASURED before the first return.

    ``scale`` is z x sqrt(horizon / bar).
    """
    if realised.bars < RETURN_BARS:
        return UNMEASURED
    rate = math.sqrt(realised.variance) * scale * 1e6
    # Written so that what is no number at all counts as too much.
    if not rate < RATE_MAX_PPM:
        return RATE_MAX_PPM
    whole = int(rate)
    return whole + 1 if whole < rate else whole


def part_e8(net_e8: int, rate: int) -> int:
    """Give an instrument's part of the account's value at risk, for a net notional and a rate that is measured."""
    return mul_ppm_up(abs(net_e8), rate)
