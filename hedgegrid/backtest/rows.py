"""The rows that the driver writes while it walks: one class each, a list of them interpreted, an array compiled.

Invariant: their fields, in order, are the columns of the tables in ``result``. Of orders there are the most, so their
codes are kept narrow.
"""

import attrs

from hedgegrid.core.records import Code, Count, Small


@attrs.define(eq=False)
class FillRow:
    """A fill, as ``result.FILL`` says."""

    ts_ns: int = 0
    instrument: int = 0
    leg: int = 0
    purpose: int = 0
    level: int = 0
    generation: int = 0
    price_ticks: int = 0
    qty_lots: int = 0
    fee_e8: int = 0
    maker: int = 0
    realised_e8: int = 0
    no: int = 0
    trade_id: int = 0


@attrs.define(eq=False)
class CutRow:
    """The part of a lot that a fill closed, as ``result.CUT`` says."""

    fill: int = 0
    lot_id: int = 0
    instrument: int = 0
    qty_lots: int = 0


@attrs.define(eq=False)
class PlacedRow:
    """An order that was decided, as ``result.ORDER`` says; how it ended is filled in from the log of ends."""

    no: int = 0
    instrument: Small = 0
    leg: Code = 0
    purpose: Code = 0
    kind: Code = 0
    level: Small = 0
    generation: Count = 0
    price_ticks: int = 0
    qty_lots: int = 0
    placed_ns: int = 0
    ended_ns: int = 0
    outcome: Code = 0
    filled_lots: int = 0
    control: Code = 0


@attrs.define(eq=False)
class EndedRow:
    """The end of an order: when, and how (``result`` names the outcomes)."""

    no: int = 0
    instrument: Small = 0
    ended_ns: int = 0
    outcome: Code = 0


@attrs.define(eq=False)
class EquityRow:
    """The account at a decision, as ``result.EQUITY`` says."""

    ts_ns: int = 0
    wallet_e8: int = 0
    unrealised_e8: int = 0
    realised_e8: int = 0
    fees_e8: int = 0
    funding_e8: int = 0


@attrs.define(eq=False)
class HoldingRow:
    """One instrument at a decision, as ``result.HOLDING`` says."""

    mark_ticks: int = 0
    long_lots: int = 0
    long_cost_e8: int = 0
    short_lots: int = 0
    short_cost_e8: int = 0


@attrs.define(eq=False)
class FundingRow:
    """A settlement, as ``result.FUNDING`` says."""

    ts_ns: int = 0
    instrument: int = 0
    rate_e8: int = 0
    mark_ticks: int = 0
    long_e8: int = 0
    short_e8: int = 0


@attrs.define(eq=False)
class GridRow:
    """A grid that changed, as ``result.GRID`` says."""

    ts_ns: int = 0
    instrument: int = 0
    regime: int = 0
    center_ticks: int = 0
    step_micro: int = 0
    generation: int = 0


@attrs.define(eq=False)
class PauseRow:
    """A pause that came or went, as ``result.PAUSE`` says."""

    ts_ns: int = 0
    reason: int = 0
    instrument: int = 0
    change: int = 0
    value: int = 0
    limit: int = 0
