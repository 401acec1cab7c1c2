"""The records of the hot path: one definition, two containers.

Interpreted, a record is an instance of its class here and a table is a list of them: plain Python integers, quick to
reach. Compiled, a table is a NumPy structured array whose dtype ``dtype_of`` derives from the same class, and a
record is an element of it. Functions of the hot path reach fields by name and tables by index, so they run on either
unchanged.

Invariants: a field is an int (64 bits, in the logs of a backtest also less) or a float; a table has a fixed capacity; a
slot is free while its ``state`` is FREE and is never moved, so an index stays good for as long as its record lives. The
gate's own records are in ``core.gate_records``.
"""

from collections.abc import Sequence
from typing import Annotated, TypeVar, get_type_hints

import attrs
import numpy as np

Record = TypeVar("Record")

Count = Annotated[int, "32 bits"]
"""What is counted and stays below 2^31: kept narrow in tables of many rows."""
Small = Annotated[int, "16 bits"]
"""A place or a level, below 2^15."""
Code = Annotated[int, "8 bits"]
"""One of ``core.codes`` and their like, below 2^7."""


@attrs.define(eq=False)
class GridParams:
    """One grid's settings as the hot path reads them: distances in ppm, times in ns, money in quote x 1e8.

    ``flatten_slice_e8``: the largest market reduction of a flatten at once; 0: whatever a leg holds.
    """

    unit_e8: int = 0
    min_qty_lots: int = 0
    min_notional_e8: int = 0
    atr_spacing: int = 0
    step_ppm: int = 0
    atr_multiple_ppm: int = 0
    geometric: int = 0
    levels_long: int = 0
    levels_short: int = 0
    base_micro_lots: int = 0
    base_quote_e8: int = 0
    qty_scale_ppm: int = 0
    recenter_ppm: int = 0
    max_inventory_e8: int = 0
    vol_target_ppm: int = 0
    vol_lambda: float = 0.0
    bars_per_year: float = 0.0
    tp_ppm: int = 0
    sl_ppm: int = 0
    leg_stop: int = 0
    max_stop_orders: int = 0
    backstop_ppm: int = 0
    flatten_slice_e8: int = 0
    ema_fast: int = 0
    ema_slow: int = 0
    adx_len: int = 0
    atr_len: int = 0
    adx_threshold: float = 0.0
    hysteresis_bps: float = 0.0
    policy: int = 0
    contrarian: int = 0
    counter_levels: int = 0
    counter_qty_ppm: int = 0
    core_levels: int = 0
    core_tp_ppm: int = 0
    funding_mode: int = 0
    funding_max_e8: int = 0
    funding_window_ns: int = 0
    funding_pause_missing: int = 0
    funding_grace_ns: int = 0
    post_only: int = 0
    retry_attempts: int = 0
    retry_delay_ns: int = 0
    retry_deviation_ppm: int = 0
    price_tolerance_ppm: int = 0
    qty_tolerance_ppm: int = 0


@attrs.define(eq=False)
class Indicators:
    """Running indicators on prices in ticks. ``bars`` counts bars seen.

    A value counts only once its length is reached.
    """

    bars: int = 0
    high: float = 0.0
    low: float = 0.0
    close: float = 0.0
    fast_sum: float = 0.0
    fast: float = 0.0
    slow_sum: float = 0.0
    slow: float = 0.0
    tr_sum: float = 0.0
    atr: float = 0.0
    plus_dm: float = 0.0
    minus_dm: float = 0.0
    dm_tr: float = 0.0
    dx_sum: float = 0.0
    adx: float = 0.0
    variance: float = 0.0


@attrs.define(eq=False)
class GridState:
    """What one instrument's grid remembers between decisions.

    ``position_long_lots``/``position_short_lots`` are the sums of the open lots; ``rate_e8`` with ``rate_known`` is
    the funding rate for one interval and ``next_funding_ns`` its settlement. ``may_add``/``hold_entries`` mirror the
    trading permission. ``close_long``/``close_short`` say that a leg is being closed at the market
    (``core.closing``), ``reduced`` that such a reduction has filled since. ``dirty_long``/``dirty_short`` say that a
    fill changed the leg since its stops were last laid out. ``settled`` is 1 while the last decision would repeat
    itself: at mids from ``repeat_low`` to ``repeat_high`` until ``repeat_until_ns``, with the other ``repeat_*``
    unchanged; ``trim_*`` is what the inventory allows of that, and
    ``trim_room_*`` what it leaves beside a leg's ladder, its position apart (-1: a rung of it did not fit).
    ``freed`` is 1 where lots have closed since, whose rungs alone are to be offered again.
    """

    regime: int = 0
    center_ticks: int = 0
    step_micro: int = 0
    generation: int = 0
    mid_ticks: int = 0
    position_long_lots: int = 0
    position_short_lots: int = 0
    newest_step_long: int = 0
    newest_step_short: int = 0
    rate_known: int = 0
    rate_e8: int = 0
    next_funding_ns: int = 0
    funding_interval_ns: int = 0
    throttle_ppm: int = 1_000_000
    may_add: int = 0
    hold_entries: int = 0
    close_long: int = 0
    close_short: int = 0
    reduced: int = 0
    next_order_no: int = 0
    order_no_stride: int = 1
    dirty_long: int = 0
    dirty_short: int = 0
    backstop_long: int = 0
    backstop_long_no: int = 0
    backstop_short: int = 0
    backstop_short_no: int = 0
    below_minimum: int = 0
    overflowed: int = 0
    settled: int = 0
    trim_low: int = 0
    trim_high: int = 0
    trim_room_long: int = 0
    trim_room_short: int = 0
    repeat_low: int = 0
    repeat_high: int = 0
    repeat_until_ns: int = 0
    repeat_regime: int = 0
    repeat_may_add: int = 0
    repeat_rate_known: int = 0
    repeat_throttle_ppm: int = 0
    repeat_vol_ppm: int = 0
    repeat_below: int = 0
    freed: int = 0


@attrs.define(eq=False)
class Rung:
    """A desired rung of the present generation: its price, the quantity through the steps, and what works on it.

    ``micro_lots`` is the quantity in millionths of a lot; ``trim_lots`` the whole lots that the inventory limit
    counts; ``qty_lots`` the final quantity (0 = not wanted). ``slot`` is the index of its entry order or -1;
    ``open_lots`` counts its lots. ``shut`` is 1 where the ladder has no place for it, whatever its lots; ``counted``
    where ``GridState.trim_room_*`` has left room for it.
    """

    leg: int = 0
    level: int = 0
    price_ticks: int = 0
    micro_lots: int = 0
    trim_lots: int = 0
    qty_lots: int = 0
    tp_micro: int = 0
    in_ladder: int = 0
    crossing: int = 0
    slot: int = -1
    open_lots: int = 0
    shut: int = 0
    counted: int = 0


@attrs.define(eq=False)
class EntryOrder:
    """The order that works (or waits) on a rung. ``wait_qty_lots`` > 0: what is sent once the cancel is confirmed."""

    state: int = 0
    no: int = 0
    leg: int = 0
    level: int = 0
    generation: int = 0
    price_ticks: int = 0
    rung_price_ticks: int = 0
    qty_lots: int = 0
    filled_lots: int = 0
    tp_micro: int = 0
    step_micro: int = 0
    attempt: int = 0
    retry_ns: int = 0
    wait_qty_lots: int = 0
    wait_price_ticks: int = 0
    wait_tp_micro: int = 0


@attrs.define(eq=False)
class Lot:
    """An open entry with its exits, which keep the prices they were born with.

    ``tp_no`` and ``stop_no`` name the orders that close it (0 = none); ``closing`` is the part of it that a market
    reduction under way closes; ``laid`` is 1 once the present laying of stops has one for it; ``stop_slot`` is the row
    that its stop had when it was laid.
    """

    state: int = 0
    lot_id: int = 0
    leg: int = 0
    level: int = 0
    generation: int = 0
    entry_ticks: int = 0
    qty_lots: int = 0
    tp_ticks: int = 0
    stop_ticks: int = 0
    step_micro: int = 0
    tp_no: int = 0
    stop_no: int = 0
    stop_slot: int = 0
    closing: int = 0
    group_ticks: int = 0
    laid: int = 0


@attrs.define(eq=False)
class StopOrder:
    """A protective stop of a leg. ``covers`` and ``kept`` are the present laying's: its lots, and whether it stays."""

    state: int = 0
    no: int = 0
    leg: int = 0
    price_ticks: int = 0
    covers: int = 0
    kept: int = 0


@attrs.define(eq=False)
class Action:
    """One thing that a decision wants done: an order to place or cancel. ``distance`` orders sending, nearest first."""

    kind: int = 0
    no: int = 0
    leg: int = 0
    purpose: int = 0
    level: int = 0
    generation: int = 0
    price_ticks: int = 0
    qty_lots: int = 0
    lot_id: int = 0
    distance: int = 0


@attrs.define(eq=False)
class Counter:
    """How many records of an output table are in use."""

    n: int = 0


@attrs.define(eq=False)
class LegAccount:
    """A leg's position at average cost. Costs and sums in quote x 1e8; fees and funding are costs (paid = positive)."""

    qty_lots: int = 0
    cost_e8: int = 0
    realised_e8: int = 0
    fees_e8: int = 0
    funding_e8: int = 0


@attrs.define(eq=False)
class VenueRules:
    """How the simulated venue fills one instrument (section 9). Times in ns, rates in ppm.

    ``refuse_over``: an exit that nothing links and that meets less than it would close is refused whole; otherwise it
    closes what there is and ends.
    """

    unit_e8: int = 0
    fill_model: int = 0
    latency_ns: int = 0
    slippage_ppm: int = 0
    maker_ppm: int = 0
    taker_ppm: int = 0
    pessimistic: int = 0
    liquidation_fee_ppm: int = 0
    refuse_over: int = 0


@attrs.define(eq=False)
class MarginTier:
    """Up to ``max_notional_e8`` of gross notional, ``maintenance_ppm`` of it must be held."""

    max_notional_e8: int = 0
    maintenance_ppm: int = 0


@attrs.define(eq=False)
class Market:
    """The venue's side of one instrument between points.

    ``down_edge``: the highest price at which an order acts in a falling move; ``up_edge`` the lowest in a rising one
    (they let a quiet move pass at once), ``backstop_down``/``backstop_up`` the same for the close-everything stops.
    ``next_due_ns``: the earliest time at which something falls due. ``join_down``: the highest buy whose queue is not
    known yet, which a bid at or below it makes known; ``join_up`` the lowest such sell. ``falling_first`` and
    ``rising_first`` are the slots of the orders that a move meets first (-1: none), each the head of a list through
    ``VenueOrder.after``; ``held`` counts the take-profits that the pessimistic bound holds back; ``free_from`` is a
    slot below which none is free.
    """

    seen: int = 0
    price_ticks: int = 0
    bid_ticks: int = 0
    ask_ticks: int = 0
    mark_ticks: int = 0
    bid_qty_lots: int = 0
    ask_qty_lots: int = 0
    ts_ns: int = 0
    bar_no: int = 0
    bar_low_ticks: int = 0
    bar_high_ticks: int = 0
    ambiguous_bars: int = 0
    last_ambiguous_bar: int = -1
    down_edge: int = 0
    up_edge: int = 9_223_372_036_854_775_807
    backstop_down: int = 0
    backstop_up: int = 9_223_372_036_854_775_807
    join_down: int = 0
    join_up: int = 9_223_372_036_854_775_807
    next_due_ns: int = 9_223_372_036_854_775_807
    next_seq: int = 1
    next_age: int = 1
    next_trade: int = 1
    falling_first: int = -1
    rising_first: int = -1
    held: int = 0
    free_from: int = 0


@attrs.define(eq=False)
class VenueOrder:
    """An order in the venue, pending until ``live_ns``.

    ``queue_lots``: the quantity ahead of it (-1 = not yet known); ``slot`` its row in its table, where its owner says;
    ``before`` and ``after`` the rows of its neighbours in the list of live orders that it stands in (-1: none).
    """

    state: int = 0
    no: int = 0
    leg: int = 0
    purpose: int = 0
    kind: int = 0
    price_ticks: int = 0
    qty_lots: int = 0
    filled_lots: int = 0
    post_only: int = 0
    close_all: int = 0
    level: int = 0
    generation: int = 0
    live_ns: int = 0
    seq: int = 0
    age: int = 0
    queue_lots: int = 0
    held_bar: int = -1
    slot: int = 0
    before: int = -1
    after: int = -1


@attrs.define(eq=False)
class Link:
    """That order ``no`` closes ``qty_lots`` of lot ``lot_id``; the exits of one lot end each other through it.

    ``level`` and ``generation`` are the lot's: a stop that covers one lot alone bears them in its fill.
    """

    state: int = 0
    no: int = 0
    lot_id: int = 0
    qty_lots: int = 0
    level: int = -1
    generation: int = -1


@attrs.define(eq=False)
class CancelRequest:
    """A cancel on its way to order ``no``, effective at the first point at or after ``due_ns``."""

    state: int = 0
    no: int = 0
    due_ns: int = 0
    seq: int = 0


@attrs.define(eq=False)
class VenueEvent:
    """One row of what the venue says. A FILL that closes lots is followed by one CUT row a lot.

    ``slot`` is the row that the order has, or had, in the venue's table.
    """

    kind: int = 0
    no: int = 0
    leg: int = 0
    purpose: int = 0
    level: int = 0
    generation: int = 0
    price_ticks: int = 0
    qty_lots: int = 0
    fee_e8: int = 0
    realised_e8: int = 0
    maker: int = 0
    lot_id: int = 0
    trade_id: int = 0
    reason: int = 0
    slot: int = 0


def dtype_of(record: type) -> np.dtype[np.void]:
    """Give the NumPy dtype of a record class, in order: an int as int64 or as narrow as it says, a float as float64."""
    kinds: dict[object, str] = {int: "i8", float: "f8", Count: "i4", Small: "i2", Code: "i1"}
    return np.dtype([(name, kinds[hint]) for name, hint in get_type_hints(record, include_extras=True).items()])


def table(record: type[Record], capacity: int) -> list[Record]:
    """Make an interpreted table of ``capacity`` records at their defaults."""
    return [record() for _ in range(capacity)]


def pack(records: Sequence[Record]) -> np.ndarray[tuple[int], np.dtype[np.void]]:
    """Copy an interpreted table into a NumPy structured array; OverflowError where a value leaves 64 bits."""
    dtype = dtype_of(type(records[0]))
    names = dtype.names or ()
    return np.array([tuple(getattr(r, name) for name in names) for r in records], dtype=dtype)


def unpack(array: np.ndarray[tuple[int], np.dtype[np.void]], record: type[Record]) -> list[Record]:
    """Copy a NumPy structured array into an interpreted table of plain Python numbers."""
    return [record(*row) for row in array.tolist()]
