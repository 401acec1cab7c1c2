"""Round trips, from fills and cuts: one lot, opened by an entry's fill, closed by one or more cuts.

The same definition as ``journal.trips``: a trip's profit is that of its own entry and exits (the leg's average cost
decides when a profit is realised, not how much: over all trips of a leg that ended flat both sums agree), a fee that
several lots share is split into whole units that add up to it, and a lot that is open, or closed in part, is no trip.

Invariants: trips stand in the order in which they ended; a liquidation closes every lot of its leg that is open, also
where no cut says so.
"""

from typing import Final

import attrs
import numpy as np

from hedgegrid.backtest.exact import shares, take
from hedgegrid.backtest.result import CUT, BacktestResult, Rows
from hedgegrid.core.codes import ENTRY, LIQUIDATION, LONG
from hedgegrid.model.order import Purpose
from hedgegrid.venues.simulated.arrays import IntArray

_COLUMNS: Final = (
    "opened_ns closed_ns instrument leg lot_id level generation entry_ticks qty_lots exit_count exit_low_ticks "
    "exit_high_ticks entry_e8 exit_e8 realised_e8 fees_e8 reasons"
)
TRIP: Final = np.dtype([(name, "i8") for name in _COLUMNS.split()])
"""A trip. ``realised_e8`` is before fees and funding; ``reasons`` are its exits' purposes, see ``reason_names``."""

_BASE: Final = len(Purpose) + 1


def net_e8(trips: Rows) -> IntArray:
    """Give what each trip made after its fees, before funding (which belongs to a leg, not to a lot)."""
    made: IntArray = trips["realised_e8"] - trips["fees_e8"]
    return made


def reason_names(code: int) -> tuple[str, ...]:
    """Give the purposes of a trip's exits, each once, in the order in which they came."""
    names: list[str] = []
    while code:
        code, digit = divmod(code, _BASE)
        names.append(Purpose(digit - 1).name.lower())
    return tuple(names)


@attrs.frozen(kw_only=True, eq=False)
class _Closings:
    """The cuts of lots that were closed whole: the number of their lot, and the row of their exit's fill."""

    lot: IntArray
    fill: IntArray
    qty_lots: IntArray
    fees_e8: IntArray


def round_trips(result: BacktestResult) -> Rows:
    """Give the round trips as ``TRIP`` rows."""
    fills = result.fills
    entries = np.flatnonzero(fills["purpose"] == ENTRY)
    order = np.lexsort((fills["trade_id"][entries], fills["instrument"][entries]))
    lots = entries[order]
    cuts = result.cuts
    lot = _lots_of(take(fills, lots), cuts)
    cuts, lot = _with_liquidation(result, lots, cuts, lot)
    closings = _Closings(
        lot=lot,
        fill=cuts["fill"],
        qty_lots=cuts["qty_lots"],
        fees_e8=_fee_shares(fills, cuts["fill"], cuts["qty_lots"]),
    )
    return _trips(result, lots, closings)


def _lots_of(entries: Rows, cuts: Rows) -> IntArray:
    """Give the place of each cut's lot among the entries, which are sorted by instrument and id."""
    keys = np.zeros(len(entries) + len(cuts), np.int64)
    # One number for both parts of the key: instruments are few, and ids are counted from 1.
    span = 1 + max(int(entries["trade_id"].max(initial=0)), int(cuts["lot_id"].max(initial=0)))
    keys[: len(entries)] = entries["instrument"] * span + entries["trade_id"]
    keys[len(entries) :] = cuts["instrument"] * span + cuts["lot_id"]
    place: IntArray = np.searchsorted(keys[: len(entries)], keys[len(entries) :])
    if len(cuts):
        found = place < len(entries)
        assert found.all(), "a cut names a lot that no entry opened"
        assert (keys[place] == keys[len(entries) :]).all(), "a cut names a lot that no entry opened"
    return place


def _with_liquidation(result: BacktestResult, lots: IntArray, cuts: Rows, lot: IntArray) -> tuple[Rows, IntArray]:
    """Add the cuts of a liquidation where none are told: it closes all that its leg still holds."""
    fills = result.fills
    closing = np.flatnonzero(fills["purpose"] == LIQUIDATION)
    closing = closing[~np.isin(closing, cuts["fill"])]
    if not len(closing):
        return cuts, lot
    left = fills["qty_lots"][lots] - np.bincount(lot, cuts["qty_lots"], len(lots)).astype(np.int64)
    more_cuts, more_lots = [cuts], [lot]
    for row in closing.tolist():
        legs = (fills["instrument"][lots] == fills["instrument"][row]) & (fills["leg"][lots] == fills["leg"][row])
        open_lots = np.flatnonzero(legs & (left > 0) & (lots < row))
        added = np.zeros(len(open_lots), CUT)
        added["fill"], added["lot_id"] = row, fills["trade_id"][lots][open_lots]
        added["instrument"], added["qty_lots"] = fills["instrument"][row], left[open_lots]
        more_cuts.append(added)
        more_lots.append(open_lots)
        left[open_lots] = 0
    return np.concatenate(more_cuts), np.concatenate(more_lots)


def _fee_shares(fills: Rows, fill: IntArray, qty_lots: IntArray) -> IntArray:
    """Give each cut's share of its exit's fee; cuts of one fill share it in their order."""
    order = np.argsort(fill, kind="stable")
    done = np.cumsum(qty_lots[order])
    begins = done - qty_lots[order]
    first = np.r_[True, np.diff(fill[order]) != 0][: len(order)]
    begins -= np.repeat(begins[first], np.diff(np.r_[np.flatnonzero(first), len(order)]))
    exits = fill[order]
    fees = np.empty(len(fill), np.int64)
    fees[order] = shares(fills["fee_e8"][exits], begins, begins + qty_lots[order], fills["qty_lots"][exits])
    return fees


def _trips(result: BacktestResult, lots: IntArray, closings: _Closings) -> Rows:
    """Sum the cuts of each lot, and keep the lots that were closed whole."""
    order = np.lexsort((closings.fill, closings.lot))
    lot, fill, qty = closings.lot[order], closings.fill[order], closings.qty_lots[order]
    begins = np.flatnonzero(np.r_[True, np.diff(lot) != 0][: len(lot)])
    if not len(begins):
        return np.empty(0, TRIP)
    entries = take(result.fills, lots[lot[begins]])
    exit_ticks = result.fills["price_ticks"][fill]
    units = np.array([one.unit_e8 for one in result.instruments], np.int64)[entries["instrument"]]
    last = np.r_[begins[1:], len(lot)] - 1
    trips = np.zeros(len(begins), TRIP)
    for name in ("instrument", "leg", "level", "generation", "qty_lots"):
        trips[name] = entries[name]
    trips["opened_ns"], trips["closed_ns"] = entries["ts_ns"], result.fills["ts_ns"][fill[last]]
    trips["lot_id"], trips["entry_ticks"] = entries["trade_id"], entries["price_ticks"]
    trips["exit_count"] = last + 1 - begins
    trips["exit_low_ticks"] = np.minimum.reduceat(exit_ticks, begins)
    trips["exit_high_ticks"] = np.maximum.reduceat(exit_ticks, begins)
    trips["entry_e8"] = entries["price_ticks"] * entries["qty_lots"] * units
    trips["exit_e8"] = np.add.reduceat(exit_ticks * qty, begins) * units
    trips["realised_e8"] = (trips["exit_e8"] - trips["entry_e8"]) * np.where(trips["leg"] == LONG, 1, -1)
    trips["fees_e8"] = entries["fee_e8"] + np.add.reduceat(closings.fees_e8[order], begins)
    trips["reasons"] = _reasons(result.fills["purpose"][fill], begins, trips["exit_count"])
    closed = np.add.reduceat(qty, begins)
    assert (closed <= entries["qty_lots"]).all(), "a lot was closed for more than it was opened with"
    ended = np.lexsort((entries["trade_id"], fill[last]))
    return take(trips, ended[closed[ended] == entries["qty_lots"][ended]])


def _reasons(purpose: IntArray, begins: IntArray, exit_count: IntArray) -> IntArray:
    """Write each trip's purposes as digits, the first one lowest, each purpose once. Rows are sorted by trip."""
    codes: IntArray = purpose[begins] + 1
    several = np.flatnonzero(exit_count > 1)
    if len(several):
        trip = np.repeat(several, exit_count[several])
        rows = np.repeat(begins[several] - np.r_[0, np.cumsum(exit_count[several])[:-1]], exit_count[several])
        rows += np.arange(len(trip))
        _, firsts = np.unique(trip * _BASE + purpose[rows], return_index=True)
        firsts.sort()
        owner = trip[firsts]
        place = np.arange(len(firsts)) - np.searchsorted(owner, owner)
        codes[several] = 0
        np.add.at(codes, owner, (purpose[rows][firsts] + 1) * _BASE**place)
    return codes
