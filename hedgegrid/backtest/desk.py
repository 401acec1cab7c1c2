"""One account and its instruments as the driver walks them: every table of strategy, gate, venue and log in one place.

A ``Desk`` is one instrument; the ``Floor`` is what the instruments share. Interpreted they are objects of these classes
with lists; compiled, elements of NumPy arrays with the tables nested inside, so that a desk is one pointer.

Invariants: strategy and venue share no record; a table's capacity is fixed here and exceeds what the schema of the
settings lets happen (``*_used`` says how far it is in use, so that passes stay short); logs are emptied by the caller
before they are full.
"""

from typing import Any, Final, TypeVar

import attrs
import numpy as np
from numpy.typing import NDArray

from hedgegrid.backtest.rows import (
    CutRow,
    EndedRow,
    EquityRow,
    FillRow,
    FundingRow,
    GridRow,
    HoldingRow,
    PauseRow,
    PlacedRow,
)
from hedgegrid.core import gate_records as g
from hedgegrid.core import records as r
from hedgegrid.core.order_rate import SECONDS

RUNGS: Final = 400
ENTRIES: Final = 3 * RUNGS + 8
LOTS: Final = 1_024
STOPS: Final = 1_024
ACTIONS: Final = 4_096
ORDERS: Final = 4_096
LINKS: Final = 4_096
CANCELS: Final = 4_096
EVENTS: Final = 16_384
TIERS: Final = 32
INSTRUMENTS: Final = 64
PAUSES: Final = 512
LOG_ROWS: Final = 16_384
LOG_SPARE: Final = 4_096
"""Rows of a log that one point may need at most: below that much room the driver stops to have it emptied."""

Rows = NDArray[np.void]
Shape = TypeVar("Shape", bound=attrs.AttrsInstance)


def _one(record: type[Shape]) -> Shape:
    """A field that is one record."""
    made: Shape = attrs.field(factory=record, metadata={"record": record, "rows": 0})
    return made


def _many(record: type[Shape], rows: int) -> list[Shape]:
    """A field that is a table of ``rows`` records."""
    made: list[Shape] = attrs.field(factory=list, metadata={"record": record, "rows": rows})
    return made


@attrs.define(eq=False)
class Pulse:
    """What an instrument's desk remembers between points beside the core's own state.

    ``last_ns``: its newest point (0: none yet); ``stale_ns``: the age beyond which its data is stale; ``shown``:
    whether its rate has been told (0 not yet, 1 told as missing, 2 told); ``settled_ns``: the newest settlement,
    ``told_ns`` the one that was told; ``expire_ns``: when that expires; ``wake_ns``: the next post-only retry.
    """

    last_ns: int = 0
    stale_ns: int = 0
    is_stale: int = 0
    funding_interval_ns: int = 0
    shown: int = 0
    settled_ns: int = 0
    settled_rate_e8: int = 0
    told_ns: int = 0
    expire_ns: int = 9_223_372_036_854_775_807
    pause_missing: int = 0
    wake_ns: int = 9_223_372_036_854_775_807
    may_add: int = 1
    holds: int = 0
    told_overflow: int = 0
    told_regime: int = 0
    told_center: int = 0
    told_step: int = 0
    told_generation: int = 0
    entry_room: int = 0
    tier_count: int = 0
    bars_per_year: float = 0.0
    net_units_e8: int = 0
    gross_units_e8: int = 0
    cost_e8: int = 0


@attrs.define(eq=False)
class Desk:
    """One instrument: strategy, venue, and its part of the gate's book. ``booked`` runs parallel to ``orders``."""

    params: r.GridParams = _one(r.GridParams)
    state: r.GridState = _one(r.GridState)
    ind: r.Indicators = _one(r.Indicators)
    used: r.Counter = _one(r.Counter)
    rules: r.VenueRules = _one(r.VenueRules)
    market: r.Market = _one(r.Market)
    said: r.Counter = _one(r.Counter)
    realised: g.Realised = _one(g.Realised)
    candidate: g.Booked = _one(g.Booked)
    pulse: Pulse = _one(Pulse)
    rungs_used: int = 0
    entries_used: int = 0
    lots_used: int = 0
    stops_used: int = 0
    orders_used: int = 0
    links_used: int = 0
    cancels_used: int = 0
    rungs: list[r.Rung] = _many(r.Rung, RUNGS)
    entries: list[r.EntryOrder] = _many(r.EntryOrder, ENTRIES)
    accounts: list[r.LegAccount] = _many(r.LegAccount, 2)
    lots: list[r.Lot] = _many(r.Lot, LOTS)
    stops: list[r.StopOrder] = _many(r.StopOrder, STOPS)
    actions: list[r.Action] = _many(r.Action, ACTIONS)
    orders: list[r.VenueOrder] = _many(r.VenueOrder, ORDERS)
    booked: list[g.Booked] = _many(g.Booked, ORDERS)
    links: list[r.Link] = _many(r.Link, LINKS)
    cancels: list[r.CancelRequest] = _many(r.CancelRequest, CANCELS)
    venue_accounts: list[r.LegAccount] = _many(r.LegAccount, 2)
    tiers: list[r.MarginTier] = _many(r.MarginTier, TIERS)
    events: list[r.VenueEvent] = _many(r.VenueEvent, EVENTS)


@attrs.define(eq=False)
class Account:
    """The figures of the account between points, money in quote x 1e8, times in ns.

    ``fixed_e8`` is what of the equity no mark moves: wallet less the cost of what is open; with the desks'
    ``net_units_e8`` x mark it makes the equity. ``worst_ppm`` is the largest drawdown so far, ``high_*`` the peak of
    the present episode and ``low_*`` its trough. ``next_timer_ns`` is the earliest of all that is due between points.
    An equity above ``bound_ppm`` of the gross notional is far from the margin control and from a liquidation.
    """

    instruments: int = 0
    ts_ns: int = 0
    points: int = 0
    initial_e8: int = 0
    wallet_e8: int = 0
    fixed_e8: int = 0
    equity_e8: int = 0
    realised_e8: int = 0
    fees_e8: int = 0
    funding_e8: int = 0
    open_units: int = 0
    bound_ppm: int = 0
    balance_ns: int = 0
    next_timer_ns: int = 9_223_372_036_854_775_807
    look_ns: int = 9_223_372_036_854_775_807
    heartbeat_ns: int = 0
    since_ns: int = 0
    next_settlement: int = 0
    next_end: int = 0
    fill_count: int = 0
    below_minimum: int = 0
    liquidated_ns: int = 0
    liquidation_equity_e8: int = 0
    liquidation_needed_e8: int = 0
    high_e8: int = 0
    high_ns: int = 0
    low_e8: int = 0
    low_ns: int = 0
    least_e8: int = 0
    worst_ppm: int = 0
    worst_peak_e8: int = 0
    worst_peak_ns: int = 0
    worst_trough_e8: int = 0
    worst_trough_ns: int = 0
    longest_ns: int = 0
    fault: int = 0


@attrs.define(eq=False)
class Floor:
    """What the instruments of an account share: money, permission, session controls, the gate's limits, the logs."""

    account: Account = _one(Account)
    standing: g.Standing = _one(g.Standing)
    limits: g.RiskLimits = _one(g.RiskLimits)
    risk: g.AccountRisk = _one(g.AccountRisk)
    pace: g.Pace = _one(g.Pace)
    session_limits: g.SessionLimits = _one(g.SessionLimits)
    session: g.SessionState = _one(g.SessionState)
    fills_used: int = 0
    cuts_used: int = 0
    placed_used: int = 0
    ended_used: int = 0
    equity_used: int = 0
    holdings_used: int = 0
    funding_used: int = 0
    grids_used: int = 0
    changes_used: int = 0
    pauses: list[g.Pause] = _many(g.Pause, PAUSES)
    rules: list[g.InstrumentRisk] = _many(g.InstrumentRisk, INSTRUMENTS)
    exposures: list[g.Exposure] = _many(g.Exposure, 2 * INSTRUMENTS)
    beats: list[g.Beat] = _many(g.Beat, SECONDS)
    fills: list[FillRow] = _many(FillRow, LOG_ROWS)
    cuts: list[CutRow] = _many(CutRow, LOG_ROWS)
    placed: list[PlacedRow] = _many(PlacedRow, LOG_ROWS)
    ended: list[EndedRow] = _many(EndedRow, LOG_ROWS)
    equity: list[EquityRow] = _many(EquityRow, LOG_ROWS)
    holdings: list[HoldingRow] = _many(HoldingRow, LOG_ROWS)
    funding: list[FundingRow] = _many(FundingRow, LOG_ROWS)
    grids: list[GridRow] = _many(GridRow, LOG_ROWS)
    changes: list[PauseRow] = _many(PauseRow, LOG_ROWS)


LOGS: Final = ("fills", "cuts", "placed", "ended", "equity", "holdings", "funding", "grids", "changes")


def layout(shape: type[attrs.AttrsInstance]) -> np.dtype[np.void]:
    """Give the NumPy dtype of a desk or floor: records and tables nested, plain fields as int64."""
    columns: list[tuple[Any, ...]] = []
    for field in attrs.fields(shape):
        record = field.metadata.get("record")
        if record is None:
            columns.append((field.name, "i8"))
        elif field.metadata["rows"]:
            columns.append((field.name, r.dtype_of(record), (field.metadata["rows"],)))
        else:
            columns.append((field.name, r.dtype_of(record)))
    return np.dtype(columns)


def with_tables(shape: Shape, log_rows: int = LOG_ROWS) -> Shape:
    """Fill an interpreted desk or floor with its tables; its logs hold ``log_rows``."""
    for field in attrs.fields(type(shape)):
        rows = field.metadata.get("rows", 0)
        if rows and not getattr(shape, field.name):
            count = log_rows if field.name in LOGS else rows
            setattr(shape, field.name, r.table(field.metadata["record"], count))
    return shape


def as_array(shapes: list[Any]) -> Any:  # noqa: ANN401 - a record array knows no fields by type
    """Copy interpreted desks or floors (with few rows filled in) into the compiled container."""
    kind = type(shapes[0])
    made = np.zeros(len(shapes), layout(kind))
    for index, shape in enumerate(shapes):
        for field in attrs.fields(kind):
            record, value = field.metadata.get("record"), getattr(shape, field.name)
            if record is None:
                made[index][field.name] = value
            elif not field.metadata["rows"]:
                made[index][field.name] = attrs.astuple(value)
            else:
                _fill_table(made[index][field.name], record, value)
    return made.view(np.recarray)


def _fill_table(target: Rows, record: type, rows: list[Any]) -> None:
    """Write the rows that are given, and the class's defaults into the rest where they are not zero."""
    default = attrs.astuple(record())
    if any(default):
        target[:] = np.array(default, dtype=target.dtype)
    for place, row in enumerate(rows):
        target[place] = attrs.astuple(row)
