"""What the projections remember of an order, a fill, a lot and a leg, and how each looks as a row.

Invariant: an entry is the one place where its figures change; its row is made from it when it is written.
"""

from typing import Protocol

import attrs
import msgspec

from hedgegrid.core.order_state import OrderRecord, OrderState
from hedgegrid.core.records import LegAccount
from hedgegrid.model.order import Cover, Fill, Kind, Leg, OrderRequest, Purpose

Cell = int | str | bytes | None
Row = tuple[Cell, ...]
Shares = list[tuple[int, int]]
"""Lots and how much of each: (lot id, quantity in lots)."""


class Entry(Protocol):
    """Something that is one row of a table."""

    def row(self) -> Row:
        """Give the row as it is now."""
        ...


@attrs.frozen(kw_only=True)
class StoredOrder:
    """An order as the journal knows it. ``cancel_ns``: when its cancel was last approved and not refused, 0 = never."""

    record: OrderRecord
    kind: Kind
    post_only: bool
    covers: tuple[Cover, ...]
    tp_micro: int
    step_micro: int
    cancel_ns: int


@attrs.frozen(kw_only=True)
class StoredLot:
    """An open lot: ``qty_lots`` is what is open of the ``opened_lots`` that it was born with."""

    instrument: str
    lot_id: int
    leg: Leg
    level: int
    generation: int
    entry_ticks: int
    opened_lots: int
    qty_lots: int
    tp_ticks: int
    stop_ticks: int
    step_micro: int
    opened_ns: int


@attrs.define(kw_only=True)
class OrderEntry:
    """An order: its record, what the request said beside it, and the tape rows of its approval and its last change."""

    no: int
    record: OrderRecord
    kind: Kind
    post_only: bool
    covers: tuple[Cover, ...]
    tp_micro: int
    step_micro: int
    cancel_ns: int
    sequence: int
    approved_row: int
    changed_row: int

    @classmethod
    def of(cls, no: int, record: OrderRecord, request: OrderRequest, sequence: int, tape_row: int) -> "OrderEntry":
        """Make the entry of an order that has just been approved."""
        return cls(
            no=no,
            record=record,
            kind=request.kind,
            post_only=request.post_only,
            covers=request.covers,
            tp_micro=request.tp_micro,
            step_micro=request.step_micro,
            cancel_ns=0,
            sequence=sequence,
            approved_row=tape_row,
            changed_row=tape_row,
        )

    @classmethod
    def read(cls, row: Row) -> "OrderEntry":
        """Read an entry back from its row."""
        cells = iter(row)
        no, client_id, instrument, leg, purpose, kind, price_ticks, qty_lots, filled_lots, state = (
            next(cells) for _ in range(10)
        )
        level, generation, post_only, close_all, covers, tp_micro, step_micro = (next(cells) for _ in range(7))
        created_ns, updated_ns, cause, cancel_ns, sequence, approved_row = cells
        covered = covers_of(covers)
        return cls(
            no=whole(no),
            record=OrderRecord(
                client_id=str(client_id),
                instrument=str(instrument),
                leg=Leg(whole(leg)),
                purpose=Purpose(whole(purpose)),
                level=whole(level),
                generation=whole(generation),
                price_ticks=whole(price_ticks),
                qty_lots=whole(qty_lots),
                close_all=bool(close_all),
                lot_ids=tuple(cover.lot_id for cover in covered),
                filled_lots=whole(filled_lots),
                state=OrderState(str(state)),
                created_ns=whole(created_ns),
                ts_ns=whole(updated_ns),
                cause=str(cause),
            ),
            kind=Kind(whole(kind)),
            post_only=bool(post_only),
            covers=covered,
            tp_micro=whole(tp_micro),
            step_micro=whole(step_micro),
            cancel_ns=whole(cancel_ns),
            sequence=whole(sequence),
            approved_row=whole(approved_row),
            changed_row=whole(approved_row),
        )

    def row(self) -> Row:
        """Give the row of ``orders``."""
        record = self.record
        return (
            self.no,
            record.client_id,
            record.instrument,
            int(record.leg),
            int(record.purpose),
            int(self.kind),
            record.price_ticks,
            record.qty_lots,
            record.filled_lots,
            record.state.value,
            record.level,
            record.generation,
            int(self.post_only),
            int(record.close_all),
            covers_text(self.covers),
            self.tp_micro,
            self.step_micro,
            record.created_ns,
            record.ts_ns,
            record.cause,
            self.cancel_ns,
            self.sequence,
            self.approved_row,
        )

    def stored(self) -> StoredOrder:
        """Give the order as readers see it."""
        return StoredOrder(
            record=self.record,
            kind=self.kind,
            post_only=self.post_only,
            covers=self.covers,
            tp_micro=self.tp_micro,
            step_micro=self.step_micro,
            cancel_ns=self.cancel_ns,
        )


@attrs.define(kw_only=True)
class FillEntry:
    """A fill and what became of it.

    ``lots``: the lots that an entry became, or that an exit closed. Of an entry, ``booked_lots`` are lots already and
    ``gone_lots`` were closed before that, by the fills in ``closers``. ``tp_micro`` and ``step_micro`` are its order's.
    """

    fill: Fill
    n: int
    tape_row: int
    lots: Shares = attrs.Factory(list)
    booked_lots: int = 0
    gone_lots: int = 0
    closers: "list[tuple[FillEntry, int]]" = attrs.Factory(list)
    tp_micro: int = 0
    step_micro: int = 0

    @property
    def unbooked_lots(self) -> int:
        """What is in the position and in no lot yet."""
        return self.fill.qty_lots - self.booked_lots - self.gone_lots

    def settle(self) -> None:
        """Count what was closed before it became a lot as done: it will not become one any more."""
        self.booked_lots += self.gone_lots
        self.gone_lots = 0
        self.closers.clear()

    @classmethod
    def read(cls, row: Row) -> "FillEntry":
        """Read an entry back from its row."""
        cells = iter(row)
        instrument, trade_id, client_id, n, tape_row, leg, side, purpose, level = (next(cells) for _ in range(9))
        generation, price_ticks, qty_lots, fee_e8, realised_e8, maker, ts_ns = (next(cells) for _ in range(7))
        covers, lots, booked_lots, gone_lots = cells
        fill = msgspec.convert(
            {
                "trade_id": trade_id,
                "client_id": client_id,
                "instrument": instrument,
                "leg": leg,
                "side": side,
                "purpose": purpose,
                "level": level,
                "generation": generation,
                "price_ticks": price_ticks,
                "qty_lots": qty_lots,
                "fee_e8": fee_e8,
                "realised_e8": realised_e8,
                "maker": bool(maker),
                "ts_ns": ts_ns,
            },
            Fill,
        )
        return cls(
            fill=attrs.evolve(fill, covers=covers_of(covers)),
            n=whole(n),
            tape_row=whole(tape_row),
            lots=shares_of(lots),
            booked_lots=whole(booked_lots),
            gone_lots=whole(gone_lots),
        )

    def row(self) -> Row:
        """Give the row of ``fills``."""
        fill = self.fill
        return (
            fill.instrument,
            fill.trade_id,
            fill.client_id,
            self.n,
            self.tape_row,
            int(fill.leg),
            int(fill.side),
            int(fill.purpose),
            fill.level,
            fill.generation,
            fill.price_ticks,
            fill.qty_lots,
            fill.fee_e8,
            fill.realised_e8,
            int(fill.maker),
            fill.ts_ns,
            covers_text(fill.covers),
            shares_text(self.lots),
            self.booked_lots,
            self.gone_lots,
        )


@attrs.define(kw_only=True)
class LotEntry:
    """A lot: what is open of it, and when the last of it closed."""

    lot: StoredLot
    qty_lots: int
    closed_ns: int | None = None

    @classmethod
    def read(cls, row: Row) -> "LotEntry":
        """Read an entry back from its row."""
        instrument, *figures, closed_ns = row
        leg, lot_id, level, generation, entry, opened, qty, tp, stop, step, opened_ns = (whole(one) for one in figures)
        lot = StoredLot(
            instrument=str(instrument),
            lot_id=lot_id,
            leg=Leg(leg),
            level=level,
            generation=generation,
            entry_ticks=entry,
            opened_lots=opened,
            qty_lots=opened,
            tp_ticks=tp,
            stop_ticks=stop,
            step_micro=step,
            opened_ns=opened_ns,
        )
        return cls(lot=lot, qty_lots=qty, closed_ns=None if closed_ns is None else whole(closed_ns))

    def row(self) -> Row:
        """Give the row of ``lots``."""
        lot = self.lot
        return (
            lot.instrument,
            int(lot.leg),
            lot.lot_id,
            lot.level,
            lot.generation,
            lot.entry_ticks,
            lot.opened_lots,
            self.qty_lots,
            lot.tp_ticks,
            lot.stop_ticks,
            lot.step_micro,
            lot.opened_ns,
            self.closed_ns,
        )

    def stored(self) -> StoredLot:
        """Give the lot as readers see it."""
        return attrs.evolve(self.lot, qty_lots=self.qty_lots)


@attrs.define(kw_only=True)
class LegEntry:
    """A leg's account of one instrument."""

    instrument: str
    leg: Leg
    account: LegAccount

    def row(self) -> Row:
        """Give the row of ``legs``."""
        account = self.account
        return (
            self.instrument,
            int(self.leg),
            account.qty_lots,
            account.cost_e8,
            account.realised_e8,
            account.fees_e8,
            account.funding_e8,
        )


def whole(cell: Cell) -> int:
    """Give a cell that holds an integer. AssertionError for another."""
    assert isinstance(cell, int), f"{cell!r} is no integer"
    return cell


def shares_text(shares: Shares) -> str:
    """Write shares as JSON: pairs of lot id and quantity."""
    return "[" + ",".join(f"[{lot_id},{qty_lots}]" for lot_id, qty_lots in shares) + "]"


def shares_of(cell: Cell) -> Shares:
    """Read shares back."""
    return msgspec.json.decode(str(cell), type=Shares)


def covers_text(covers: tuple[Cover, ...]) -> str:
    """Write covers as JSON: pairs of lot id and quantity."""
    return shares_text([(cover.lot_id, cover.qty_lots) for cover in covers]) if covers else "[]"


def covers_of(cell: Cell) -> tuple[Cover, ...]:
    """Read covers back."""
    return tuple(Cover(lot_id=lot_id, qty_lots=qty_lots) for lot_id, qty_lots in shares_of(cell))
