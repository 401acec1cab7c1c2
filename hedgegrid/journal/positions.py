"""Fills, lots, legs and money, as the tape tells them.

Invariants: a fill and a settlement count once, by their keys; a leg's position is its entries minus its exits; at
every row

    a leg's position = its open lots + its entries that became no lot yet,

as long as no fill closes more than its leg holds and no lot is told without an entry (both are noted).
"""

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Final, TypeVar

import attrs

from hedgegrid.core import ledger
from hedgegrid.core.reconcile_views import FillKey, fill_key
from hedgegrid.core.records import LegAccount
from hedgegrid.journal.changes import Archive, Changes, Moment, Notes
from hedgegrid.journal.entries import FillEntry, LegEntry, LotEntry, OrderEntry, StoredLot
from hedgegrid.journal.schema import FILLS, FUNDING, LEGS, LOTS
from hedgegrid.messages.events import FundingPaid, LotOpened
from hedgegrid.model.grid import AdoptedLot, UnbookedEntry
from hedgegrid.model.order import Cover, Fill, Leg, Purpose

_Key = TypeVar("_Key")

OVERLAP_FILLS: Final = 256
"""Newest fills that are read again from the exchange, in case one of them came before another that was lost."""
RESTORED_FILLS: Final = 512
"""Newest fills of a file whose keys are taken into memory at its opening."""
KEYS_KEPT: Final = 512
"""Keys of fills, lots and settlements that stay in memory to know repeated ones; older ones are looked up on disk."""


@attrs.define(kw_only=True)
class Sums:
    """Money over all legs since the journal began, in quote x 1e8; fees and funding are costs."""

    realised_e8: int = 0
    fees_e8: int = 0
    funding_e8: int = 0

    @property
    def result_e8(self) -> int:
        """What it makes of the wallet."""
        return self.realised_e8 - self.fees_e8 - self.funding_e8


class Positions:
    """Legs, open lots, and the entries that became no lot yet."""

    def __init__(self, changes: Changes, notes: Notes, archive: Archive) -> None:
        """Start empty; ``archive`` answers for what left memory."""
        self._changes = changes
        self._notes = notes
        self._archive = archive
        self._units: dict[str, int] = {}
        self._keys: dict[FillKey, int] = {}
        self._unbooked: dict[tuple[str, Leg], list[FillEntry]] = {}
        self._settled_ns: dict[str, int] = {}
        self._settlements: dict[tuple[str, int], int] = {}
        self._lot_keys: dict[tuple[str, Leg, int], int] = {}
        self._trade_ids: dict[str, int] = {}
        self._recently: tuple[frozenset[FillKey], dict[str, int]] | None = None
        self._recent_at = 0
        self.legs: dict[tuple[str, Leg], LegEntry] = {}
        self.open: dict[tuple[str, Leg], dict[int, LotEntry]] = {}
        self.lot_counters: dict[str, int] = {}
        self.sums = Sums()
        self.fills = 0
        self.lots = 0
        self.settlements = 0

    def boot(self, units: Mapping[str, int]) -> None:
        """Begin a boot with the instruments' units (one tick on one lot, in quote x 1e8).

        What was closed before it became a lot will not become one any more: that part of an entry is settled.
        """
        self._units.update(units)
        for key, entries in self._unbooked.items():
            for entry in entries:
                if entry.gone_lots > 0:
                    entry.settle()
                    self._changes.put(FILLS, entry.n, entry)
            self._unbooked[key] = [entry for entry in entries if entry.unbooked_lots > 0]

    # --- fills ------------------------------------------------------------------------------------------------------

    def is_new(self, fill: Fill) -> bool:
        """Tell whether this fill has not been counted yet."""
        if fill.trade_id > self._trade_ids.get(fill.instrument, -1):
            return True
        return not self.has_fill(fill_key(fill))

    def has_fill(self, key: FillKey) -> bool:
        """Tell whether a fill was counted."""
        return key in self._keys or self._archive.has_fill(key)

    def fill(self, at: Moment, fill: Fill, order: OrderEntry | None) -> None:
        """Count a new fill: money, position, and the lots it closes.

        Those are what the fill says it covers, else what its order covers, else the oldest of the leg.
        """
        self.fills += 1
        entry = FillEntry(fill=fill, n=self.fills, tape_row=at.row)
        self._keys[fill_key(fill)] = at.row
        self._trade_ids[fill.instrument] = max(fill.trade_id, self._trade_ids.get(fill.instrument, -1))
        self._book(at, fill)
        if order is not None:
            entry.tp_micro, entry.step_micro = order.tp_micro, order.step_micro
        if fill.purpose is Purpose.ENTRY:
            self._unbooked.setdefault((fill.instrument, fill.leg), []).append(entry)
        else:
            self._close(at, entry, fill.covers or (() if order is None else order.covers))
        self._changes.put(FILLS, entry.n, entry)

    def _book(self, at: Moment, fill: Fill) -> None:
        unit_e8 = self._units[fill.instrument]
        leg = self._leg(fill.instrument, fill.leg)
        account = leg.account
        if fill.purpose is Purpose.ENTRY:
            ledger.increase(account, fill.qty_lots, ledger.notional_e8(fill.price_ticks, fill.qty_lots, unit_e8))
            realised_e8 = 0
        else:
            qty_lots = min(fill.qty_lots, account.qty_lots)
            if qty_lots < fill.qty_lots:
                figures = {"trade_id": str(fill.trade_id), "held_lots": str(qty_lots), "fill_lots": str(fill.qty_lots)}
                self._notes.incident(at, "a fill closes more than its leg holds", figures=figures)
            closed_e8 = ledger.notional_e8(fill.price_ticks, qty_lots, unit_e8)
            realised_e8 = ledger.reduce(account, fill.leg, qty_lots, closed_e8) if qty_lots > 0 else 0
        if realised_e8 != fill.realised_e8:
            # The wallet follows the exchange's word; that ours differs is counted.
            self._notes.count("realised_differs")
            account.realised_e8 += fill.realised_e8 - realised_e8
        account.fees_e8 += fill.fee_e8
        self.sums.realised_e8 += fill.realised_e8
        self.sums.fees_e8 += fill.fee_e8
        self._changes.put(LEGS, (leg.instrument, leg.leg), leg)

    def _close(self, at: Moment, closer: FillEntry, covers: tuple[Cover, ...]) -> None:
        """Take an exit off its lots, then off the oldest ones, then off entries that became no lot yet."""
        fill = closer.fill
        lots = self.open.get((fill.instrument, fill.leg), {})
        rest = fill.qty_lots
        for cover in covers:
            rest -= self._cut(at, closer, lots.get(cover.lot_id), min(rest, cover.qty_lots))
        if rest > 0:
            for lot_id in sorted(lots):
                rest -= self._cut(at, closer, lots.get(lot_id), rest)
        for entry in self._unbooked.get((fill.instrument, fill.leg), ()):
            gone = min(rest, entry.unbooked_lots)
            if gone > 0:
                rest -= gone
                entry.gone_lots += gone
                entry.closers.append((closer, gone))
                self._changes.put(FILLS, entry.n, entry)
        if rest > 0:
            figures = {"trade_id": str(fill.trade_id), "without_lot": str(rest)}
            self._notes.incident(at, "a fill closes more than the lots of its leg", figures=figures)

    def _cut(self, at: Moment, closer: FillEntry, lot: LotEntry | None, wanted: int) -> int:
        """Close up to ``wanted`` of a lot, and give how much that was."""
        if lot is None:
            return 0
        gone = min(wanted, lot.qty_lots)
        if gone > 0:
            closer.lots.append((lot.lot.lot_id, gone))
            self._shrink(lot, gone, at.ts_ns)
        return gone

    def _shrink(self, lot: LotEntry, gone_lots: int, ts_ns: int) -> None:
        key = (lot.lot.instrument, lot.lot.leg)
        lot.qty_lots -= gone_lots
        if lot.qty_lots == 0:
            lot.closed_ns = ts_ns
            del self.open[key][lot.lot.lot_id]
        self._changes.put(LOTS, (*key, lot.lot.lot_id), lot)

    # --- lots -------------------------------------------------------------------------------------------------------

    def lot_opened(self, at: Moment, told: LotOpened) -> None:
        """Take a new lot, whose number is the trade id of its entry; what was closed before this is closed at once."""
        leg, lot_id = (told.instrument, told.leg), told.lot_id
        lots = self.open.setdefault(leg, {})
        greatest = self.lot_counters.get(told.instrument, 0)
        key = (*leg, lot_id)
        if key in self._lot_keys or lot_id in lots or (lot_id <= greatest and self._archive.has_lot(*key)):
            self._notes.incident(at, "a lot was told twice", figures={"lot_id": str(lot_id)})
            return
        self.lot_counters[told.instrument] = max(greatest, lot_id)
        self._lot_keys[key] = at.row
        self.lots += 1
        lot = LotEntry(lot=_lot_of(told), qty_lots=told.qty_lots)
        lots[lot_id] = lot
        self._changes.put(LOTS, key, lot)
        entries = self._unbooked.get(leg, [])
        rest = told.qty_lots
        for entry in entries:
            if entry.fill.trade_id == lot_id:
                rest -= self._book_entry(at, entry, lot, rest)
        self._unbooked[leg] = [one for one in entries if one.booked_lots < one.fill.qty_lots]
        if rest > 0:
            figures = {"lot_id": str(lot_id), "without_entry": str(rest)}
            self._notes.incident(at, "a lot was told without an entry that filled", figures=figures)

    def adopt(self, at: Moment, instrument: str, one: AdoptedLot) -> None:
        """Take a position that was not ours as an open lot, at its own cost: no fill of ours made it."""
        lot = one.lot
        leg = self._leg(instrument, lot.leg)
        ledger.increase(leg.account, lot.qty_lots, one.cost_e8)
        self._changes.put(LEGS, (instrument, lot.leg), leg)
        self.lot_counters[instrument] = max(self.lot_counters.get(instrument, 0), lot.lot_id)
        self._lot_keys[instrument, lot.leg, lot.lot_id] = at.row
        self.lots += 1
        stored = StoredLot(
            instrument=instrument,
            lot_id=lot.lot_id,
            leg=lot.leg,
            level=lot.level,
            generation=lot.generation,
            entry_ticks=lot.entry_ticks,
            opened_lots=lot.qty_lots,
            qty_lots=lot.qty_lots,
            tp_ticks=lot.tp_ticks,
            stop_ticks=lot.stop_ticks,
            step_micro=lot.step_micro,
            opened_ns=at.ts_ns,
        )
        entry = LotEntry(lot=stored, qty_lots=lot.qty_lots)
        self.open.setdefault((instrument, lot.leg), {})[lot.lot_id] = entry
        self._changes.put(LOTS, (instrument, lot.leg, lot.lot_id), entry)

    def _book_entry(self, at: Moment, entry: FillEntry, lot: LotEntry, wanted: int) -> int:
        """Let an entry become a lot, and give how much of it did; what had closed it closes the lot now."""
        if wanted == entry.unbooked_lots:
            # A restarted strategy tells the lot as it was told of it: less what had closed it.
            entry.settle()
        booked = min(wanted, entry.fill.qty_lots - entry.booked_lots)
        entry.booked_lots += booked
        entry.gone_lots = 0
        entry.lots.append((lot.lot.lot_id, booked))
        for closer, gone in entry.closers:
            closer.lots.append((lot.lot.lot_id, gone))
            self._changes.put(FILLS, closer.n, closer)
            self._shrink(lot, gone, at.ts_ns)
        entry.closers.clear()
        self._changes.put(FILLS, entry.n, entry)
        return booked

    # --- funding ----------------------------------------------------------------------------------------------------

    def funding(self, at: Moment, paid: FundingPaid) -> bool:
        """Count a settlement; False where it was counted before."""
        settled_ns = self._settled_ns.get(paid.instrument, -1)
        ts_ns = paid.ts_venue_ns
        key = (paid.instrument, ts_ns)
        if key in self._settlements or (ts_ns <= settled_ns and self._archive.has_funding(*key)):
            return False
        self._settled_ns[paid.instrument] = max(settled_ns, ts_ns)
        self._settlements[key] = at.row
        self.settlements += 1
        for leg, charge_e8 in ((Leg.LONG, paid.long_e8), (Leg.SHORT, paid.short_e8)):
            if charge_e8 != 0:
                entry = self._leg(paid.instrument, leg)
                entry.account.funding_e8 += charge_e8
                self.sums.funding_e8 += charge_e8
                self._changes.put(LEGS, (entry.instrument, entry.leg), entry)
        row = (paid.instrument, ts_ns, at.row, paid.rate_e8, paid.mark_ticks, paid.long_e8, paid.short_e8)
        self._changes.put(FUNDING, key, row)
        return True

    # --- reading ----------------------------------------------------------------------------------------------------

    def unbooked(self, instrument: str) -> tuple[UnbookedEntry, ...]:
        """Give the entries of an instrument that filled and became no lot yet, each with the quantity that is left."""
        entries = [one for leg in Leg for one in self._unbooked.get((instrument, leg), ()) if one.unbooked_lots > 0]
        entries.sort(key=lambda entry: entry.n)
        return tuple(
            UnbookedEntry(
                trade_id=entry.fill.trade_id,
                leg=entry.fill.leg,
                level=entry.fill.level,
                generation=entry.fill.generation,
                price_ticks=entry.fill.price_ticks,
                qty_lots=entry.unbooked_lots,
                tp_micro=entry.tp_micro,
                step_micro=entry.step_micro,
            )
            for entry in entries
        )

    def open_lots(self, instrument: str) -> tuple[StoredLot, ...]:
        """Give an instrument's open lots, by leg, oldest first."""
        return tuple(entry.stored() for leg in Leg for entry in self.open.get((instrument, leg), {}).values())

    def fill_cursors(self) -> dict[str, int]:
        """Give the greatest trade id that was counted, by instrument; absent for none."""
        return {name: trade_id for name, trade_id in self._trade_ids.items() if trade_id > 0}

    def lagging_cursors(self) -> dict[str, int]:
        """Give the trade ids above which every counted fill is among ``recent_fills``, and the newest ones lie.

        Without any while there are few fills: then they are read from where the books began.
        """
        return self._recent()[1]

    def recent_fills(self) -> frozenset[FillKey]:
        """Give the keys of the newest fills."""
        return self._recent()[0]

    def _recent(self) -> tuple[frozenset[FillKey], dict[str, int]]:
        """Give keys and cursors, worked out anew where a fill came: every reading of the exchange asks."""
        if self._recent_at != self.fills or self._recently is None:
            cursors = self.fill_cursors() if len(self._keys) > OVERLAP_FILLS else {}
            for instrument, trade_id, _ in islice(reversed(self._keys), OVERLAP_FILLS if cursors else 0):
                cursors[instrument] = min(cursors[instrument], trade_id - 1)
            self._recently = (frozenset(self._keys), cursors)
            self._recent_at = self.fills
        return self._recently

    def settled_ns(self, instrument: str) -> int:
        """Give the time of an instrument's newest settlement that was counted, 0 for none."""
        return max(0, self._settled_ns.get(instrument, 0))

    def funding_cursor(self) -> int:
        """Give the time of the newest settlement that was counted, 0 for none."""
        return max(self._settled_ns.values(), default=0)

    def restore(
        self,
        *,
        legs: Iterable[LegEntry],
        lots: Iterable[LotEntry],
        unbooked: Iterable[FillEntry],
        trade_ids: Mapping[str, int],
        settled_ns: Mapping[str, int],
        keys: Mapping[FillKey, int],
    ) -> None:
        """Take over what a file holds; ``keys`` are its newest fills, each with its row, oldest first."""
        self._keys.update(keys)
        for leg in legs:
            self.legs[leg.instrument, leg.leg] = leg
            self.sums.realised_e8 += leg.account.realised_e8
            self.sums.fees_e8 += leg.account.fees_e8
            self.sums.funding_e8 += leg.account.funding_e8
        for lot in lots:
            self.open.setdefault((lot.lot.instrument, lot.lot.leg), {})[lot.lot.lot_id] = lot
        for entry in unbooked:
            self._unbooked.setdefault((entry.fill.instrument, entry.fill.leg), []).append(entry)
        self._trade_ids.update(trade_ids)
        self._settled_ns.update(settled_ns)

    def trim(self, committed_row: int) -> None:
        """Forget the oldest keys of fills, lots and settlements, as far as they are on disk."""
        _forget(self._keys, committed_row)
        _forget(self._settlements, committed_row)
        _forget(self._lot_keys, committed_row)

    def _leg(self, instrument: str, leg: Leg) -> LegEntry:
        entry = self.legs.get((instrument, leg))
        if entry is None:
            entry = self.legs[instrument, leg] = LegEntry(instrument=instrument, leg=leg, account=LegAccount())
        return entry


def _lot_of(told: LotOpened) -> StoredLot:
    return StoredLot(
        instrument=told.instrument,
        lot_id=told.lot_id,
        leg=told.leg,
        level=told.level,
        generation=told.generation,
        entry_ticks=told.entry_ticks,
        opened_lots=told.qty_lots,
        qty_lots=told.qty_lots,
        tp_ticks=told.tp_ticks,
        stop_ticks=told.stop_ticks,
        step_micro=told.step_micro,
        opened_ns=told.ts_venue_ns,
    )


def _forget(keys: dict[_Key, int], committed_row: int) -> None:
    for _ in range(len(keys) - KEYS_KEPT):
        key, row = next(iter(keys.items()))
        if row > committed_row:
            return
        del keys[key]
