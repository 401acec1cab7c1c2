"""Which leg is held back in a trend, and how the held and the favoured ladder are shaped.

Invariants: SIDEWAYS changes nothing; a policy only takes away rungs or quantity or moves take-profits, it never adds
a rung; nearest and outer go by level number.
"""

from hedgegrid.core.codes import LONG, POLICY_BOTH, POLICY_CORE, POLICY_THROTTLED, SHORT, SIDEWAYS, UP
from hedgegrid.core.fixed import mul_ppm, mul_ppm_up
from hedgegrid.core.grid import first_rung
from hedgegrid.core.records import GridParams, GridState, Rung


def counter_leg(regime: int, contrarian: int) -> int:
    """Give the leg that is held back in a trend: the one against it, or the one with it under the contrarian bias."""
    against = SHORT if regime == UP else LONG
    if contrarian == 0:
        return against
    return LONG if against == SHORT else SHORT


def apply(params: GridParams, state: GridState, rungs: list[Rung]) -> None:
    """Shape both ladders for the present regime."""
    if state.regime == SIDEWAYS or params.policy == POLICY_BOTH:
        return
    held = counter_leg(state.regime, params.contrarian)
    _hold_back(params, state, rungs, held)
    if params.policy == POLICY_CORE:
        _make_core(params, state, rungs, SHORT if held == LONG else LONG)


def _hold_back(params: GridParams, state: GridState, rungs: list[Rung], leg: int) -> None:
    """Keep only the nearest ``counter_levels`` rungs of a leg, throttled or scalping one step, as the policy says."""
    first = first_rung(params, leg)
    levels = params.levels_long if leg == LONG else params.levels_short
    for i in range(levels):
        rung = rungs[first + i]
        if rung.level > params.counter_levels:
            rung.in_ladder = 0
            rung.shut = 1
        if params.policy == POLICY_THROTTLED:
            rung.micro_lots = mul_ppm(rung.micro_lots, params.counter_qty_ppm)
        else:
            rung.tp_micro = state.step_micro


def _make_core(params: GridParams, state: GridState, rungs: list[Rung], leg: int) -> None:
    """Let the trend leg's outer ``core_levels`` rungs take profit further away."""
    first = first_rung(params, leg)
    levels = params.levels_long if leg == LONG else params.levels_short
    for i in range(levels):
        rung = rungs[first + i]
        if rung.level > levels - params.core_levels:
            rung.tp_micro = mul_ppm_up(state.step_micro, mul_ppm_up(params.tp_ppm, params.core_tp_ppm))
