"""Where the rungs lie: step, center and the prices and quantities of both ladders.

Invariants: a step is at least one tick and fixed from one (re)centering to the next; a rung is (leg, level,
generation); prices round away from the spread (LONG down, SHORT up); a rung's price within a generation never
changes.
"""

from hedgegrid.core.codes import LONG, SHORT
from hedgegrid.core.fixed import ceil_div, mul_div, mul_ppm, mul_ppm_up
from hedgegrid.core.records import GridParams, GridState, Indicators, Rung
from hedgegrid.units import MICRO, PPM


def step_micro(params: GridParams, ind: Indicators, center_ticks: int) -> int:
    """Give the step in millionths of a tick for a grid that is centered now."""
    step = max(MICRO, center_ticks * params.step_ppm)
    if params.atr_spacing == 1:
        step = max(step, int(params.atr_multiple_ppm * ind.atr))
    return step


def must_recenter(params: GridParams, state: GridState, mid_ticks: int) -> bool:
    """Tell whether there is no center yet or the mid has left it by strictly more than the trigger."""
    if state.generation == 0:
        return True
    return abs(mid_ticks - state.center_ticks) * PPM > params.recenter_ppm * state.center_ticks


def recenter(params: GridParams, state: GridState, ind: Indicators, rungs: list[Rung]) -> None:
    """Begin a new generation at the mid. Orders and lots of older generations are not touched here."""
    state.center_ticks = state.mid_ticks
    state.step_micro = step_micro(params, ind, state.center_ticks)
    state.generation += 1
    for i in range(len(rungs)):
        rungs[i].slot = -1
        rungs[i].open_lots = 0
    place_rungs(params, state, rungs)


def place_rungs(params: GridParams, state: GridState, rungs: list[Rung]) -> None:
    """Lay the prices of the present generation from its center and step."""
    for leg in (LONG, SHORT):
        first = first_rung(params, leg)
        levels = params.levels_long if leg == LONG else params.levels_short
        micro = state.center_ticks * MICRO
        ratio = state.step_micro // state.center_ticks
        for i in range(levels):
            micro = _next_price_micro(micro, leg, state.step_micro, ratio, params.geometric)
            rung = rungs[first + i]
            rung.leg = leg
            rung.level = i + 1
            rung.price_ticks = micro // MICRO if leg == LONG else ceil_div(micro, MICRO)


def _next_price_micro(micro: int, leg: int, step: int, ratio_ppm: int, geometric: int) -> int:
    """Give the next rung's price in millionths of a tick, one step or one ratio further out."""
    if geometric == 0:
        return micro - step if leg == LONG else micro + step
    if leg == LONG:
        # x (1e6 - r) / 1e6 floored is x less x r / 1e6 rounded up, and that product stays small.
        return micro - mul_ppm_up(micro, ratio_ppm)
    return micro + mul_ppm_up(micro, ratio_ppm)


def first_rung(params: GridParams, leg: int) -> int:
    """Give the index of a leg's level 1 in the table of rungs."""
    return 0 if leg == LONG else params.levels_long


def rung_index(params: GridParams, leg: int, level: int) -> int:
    """Give the index of a leg's rung in the table of rungs."""
    return first_rung(params, leg) + level - 1


def build(params: GridParams, state: GridState, rungs: list[Rung]) -> None:
    """Give every rung its undiminished quantity and take-profit distance, and say which ones may be offered.

    A rung whose lot is open is not offered (the remainder of a partly filled entry stays wanted: ``slot`` >= 0); a
    rung that would cross the mid is marked, and only an order that already works on it is kept. A price below one
    tick is no rung.
    """
    tp_micro = mul_ppm_up(state.step_micro, params.tp_ppm)
    for leg in (LONG, SHORT):
        first = first_rung(params, leg)
        levels = params.levels_long if leg == LONG else params.levels_short
        scale_micro = params.base_micro_lots
        for i in range(levels):
            rung = rungs[first + i]
            if params.base_quote_e8 > 0:
                scale_micro = _scaled_quote_lots(params, rung.price_ticks, i)
            elif i > 0:
                scale_micro = mul_ppm(scale_micro, params.qty_scale_ppm)
            note_crossing(state, rung)
            busy = rung.open_lots > 0 or rung.crossing == 1
            rung.shut = 0 if rung.price_ticks > 0 else 1
            rung.in_ladder = 1 if rung.shut == 0 and (rung.slot >= 0 or not busy) else 0
            rung.counted = 0
            rung.micro_lots = scale_micro
            rung.tp_micro = tp_micro
            rung.trim_lots = 0
            rung.qty_lots = 0


def note_crossing(state: GridState, rung: Rung) -> None:
    """Say of a rung whether its price is at the mid or beyond it."""
    crosses = rung.price_ticks >= state.mid_ticks if rung.leg == LONG else rung.price_ticks <= state.mid_ticks
    rung.crossing = 1 if crosses else 0


def _scaled_quote_lots(params: GridParams, price_ticks: int, steps: int) -> int:
    """Give millionths of a lot for ``base_quote`` at a rung's price, scaled ``steps`` times."""
    if price_ticks <= 0:
        return 0
    micro = mul_div(params.base_quote_e8, MICRO, price_ticks * params.unit_e8)
    for _ in range(steps):
        micro = mul_ppm(micro, params.qty_scale_ppm)
    return micro
