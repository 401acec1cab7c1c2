"""The journal read back for hydration: what the executor and the strategies must know after a start or a restart."""

from collections.abc import Mapping, Sequence

from hedgegrid.core.reconcile_views import FillKey
from hedgegrid.journal.entries import StoredLot, StoredOrder
from hedgegrid.journal.journal import SqliteJournal, Totals
from hedgegrid.model.account import Balance
from hedgegrid.model.grid import GridMemory, OpenLot
from hedgegrid.model.order import Leg, OrderRequest
from hedgegrid.ports import Books, Recollection, RememberedOrder


class JournalMemory:
    """The ``Memory`` port over an open journal; its state is in memory, so nothing blocks."""

    def __init__(self, journal: SqliteJournal, instruments: Sequence[str], *, order_no_stride: int) -> None:
        """Instrument i numbers its orders i plus multiples of ``order_no_stride``."""
        self._journal = journal
        self._instruments = tuple(instruments)
        self._stride = order_no_stride
        self._first_boot = not journal.past_boots
        self._books: Books | None = None
        self._row = -1
        """The tape's row up to which ``_books`` is what the journal holds."""

    async def recall(self) -> Recollection:
        """Give what the journal holds by now."""
        journal = self._journal
        sequence = (journal.max_order_sequence() // self._stride + 1) * self._stride
        books = self.books()
        return Recollection(
            first_boot=books.first_boot,
            applied=books.applied,
            fill_cursors=books.fill_cursors,
            positions=books.positions,
            foreign=books.foreign,
            balance=books.balance,
            grids=books.grids,
            orders=tuple(_remembered(stored) for stored in journal.live_orders()),
            lots={name: tuple(_lot(lot) for lot in journal.open_lots(name)) for name in self._instruments},
            unbooked={name: journal.unbooked_entries(name) for name in self._instruments},
            next_sequence=sequence,
        )

    def books(self) -> Books:
        """Give what readings are compared with; anew only where a row of the tape may have changed it."""
        journal = self._journal
        if self._books is None or self._row != journal.books_row:
            self._row = journal.books_row
            self._books = Books(
                first_boot=self._first_boot,
                applied=journal.recent_fills(),
                fill_cursors=journal.lagging_cursors(),
                positions=tuple(leg.position for leg in journal.legs() if leg.position.qty_lots > 0),
                foreign=journal.foreign(),
                balance=_balance(journal.totals()),
                grids=self._grids(),
            )
        return self._books

    def order(self, client_id: str) -> RememberedOrder | None:
        """Give an order of any boot."""
        stored = self._journal.order(client_id)
        return None if stored is None else _remembered(stored)

    def held_lots(self, instrument: str, leg: Leg) -> int:
        """Give what a leg holds."""
        return self._journal.held_lots(instrument, leg)

    def has_fill(self, key: FillKey) -> bool:
        """Tell whether a fill was counted in any boot."""
        return self._journal.has_fill(key)

    def newest_trades(self) -> Mapping[str, int]:
        """Give the greatest trade id that was counted, by instrument."""
        return self._journal.fill_cursors()

    def _grids(self) -> dict[str, GridMemory]:
        found: dict[str, GridMemory] = {}
        for name in self._instruments:
            moved = self._journal.grid(name)
            if moved is not None:
                found[name] = GridMemory(
                    regime=moved.regime,
                    center_ticks=moved.center_ticks,
                    step_micro=moved.step_micro,
                    generation=moved.generation,
                )
        return found


def _remembered(stored: StoredOrder) -> RememberedOrder:
    """Give an order with the request that it was sent with."""
    record = stored.record
    return RememberedOrder(
        record=record,
        request=OrderRequest(
            client_id=record.client_id,
            instrument=record.instrument,
            leg=record.leg,
            purpose=record.purpose,
            kind=stored.kind,
            price_ticks=record.price_ticks,
            qty_lots=record.qty_lots,
            post_only=stored.post_only,
            close_all=record.close_all,
            level=record.level,
            generation=record.generation,
            covers=stored.covers,
            tp_micro=stored.tp_micro,
            step_micro=stored.step_micro,
            decided_ns=record.created_ns,
        ),
    )


def _balance(totals: Totals) -> Balance | None:
    """Give the account's money as the books have it."""
    if totals.wallet_e8 is None:
        return None
    return Balance(
        wallet_e8=totals.wallet_e8,
        realised_e8=totals.realised_e8,
        fees_e8=totals.fees_e8,
        funding_e8=totals.funding_e8,
    )


def _lot(lot: StoredLot) -> OpenLot:
    return OpenLot(
        lot_id=lot.lot_id,
        leg=lot.leg,
        level=lot.level,
        generation=lot.generation,
        entry_ticks=lot.entry_ticks,
        qty_lots=lot.qty_lots,
        tp_ticks=lot.tp_ticks,
        stop_ticks=lot.stop_ticks,
        step_micro=lot.step_micro,
    )
