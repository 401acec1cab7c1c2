"""The state that follows from the tape: what the tables hold, kept in memory and written with the rows that caused it.

Invariants: the state after a row depends on the rows up to it and on the boots between them, on nothing else, so a
replay gives the same tables; memory holds what still lives and a bounded past.
"""

from collections.abc import Mapping
from typing import Final

import attrs

from hedgegrid.core.permission import LatchedEntry
from hedgegrid.journal.changes import Archive, Changes, Moment, Notes, Write
from hedgegrid.journal.orders import Orders
from hedgegrid.journal.positions import Positions
from hedgegrid.journal.schema import ACCOUNT, EQUITY, FOREIGN, GRID, LATCHES, PERMISSION, SESSION, THROTTLE
from hedgegrid.journal.tape import Latched, SessionKept, ThrottleKept, text
from hedgegrid.journal.tripped import Tripped
from hedgegrid.messages.commands import IntentBatch
from hedgegrid.messages.events import (
    AccountChanged,
    AccountHydrated,
    ActorRestarted,
    ApprovedBatch,
    BarClosed,
    EquitySampled,
    ExchangeErred,
    ExecutionBatch,
    ForeignSeen,
    FundingPaid,
    FundingRate,
    GridMoved,
    Incident,
    Liquidated,
    LotOpened,
    Message,
    OrderEventKind,
    PermissionChanged,
    RefusedBatch,
    WalletRead,
)
from hedgegrid.model.account import Balance, SessionMemory
from hedgegrid.units import PPM

_TAPE_ALONE: Final = frozenset({BarClosed, ExchangeErred, FundingRate, IntentBatch})
"""Messages of which no table tells: their rows are all there is to say."""
_BESIDE_THE_BOOKS: Final = frozenset({ApprovedBatch, EquitySampled, PermissionChanged, RefusedBatch})
"""Messages with tables that move none of it."""


@attrs.frozen(kw_only=True)
class Opening:
    """What the account held before the first row: the wallet (None while unknown), and sums paid before it.

    ``given_e8`` is the wallet that the journal was made with; None where the exchange was to tell it.
    """

    given_e8: int | None
    wallet_e8: int | None
    realised_e8: int = 0
    fees_e8: int = 0
    funding_e8: int = 0


class Projections:
    """All that the tables hold, and the rows that have changed since they were last drained."""

    def __init__(self, account: str, mode: str, opening: Opening, archive: Archive) -> None:
        """Start with an empty tape."""
        self._account = account
        self._mode = mode
        self.opening = opening
        self.changes = Changes()
        self.notes = Notes(self.changes)
        self.orders = Orders(self.changes, self.notes, archive)
        self.tripped = Tripped(self.changes)
        self.positions = Positions(self.changes, self.notes, archive)
        self.grids: dict[str, GridMoved] = {}
        self.foreign: dict[str, ForeignSeen] = {}
        self.latched: tuple[LatchedEntry, ...] = ()
        self.session: SessionMemory | None = None
        self.throttle_ppm = PPM
        self.last_ts_ns = 0
        self.books_row = 0
        """The newest row that may have moved fills, money, positions or grids."""
        self.samples = 0
        self.permission_changes = 0

    def boot(self, epoch: int, units: Mapping[str, int]) -> None:
        """Begin a boot of this epoch, with the instruments' units."""
        self.orders.boot(epoch)
        self.positions.boot(units)

    def write_account(self) -> None:
        """Have the account's row written."""
        opening = self.opening
        sums = (opening.realised_e8, opening.fees_e8, opening.funding_e8)
        row = (1, self._account, self._mode, opening.given_e8, opening.wallet_e8, *sums)
        self.changes.put(ACCOUNT, 1, row)

    def drain(self) -> list[Write]:
        """Give the rows to write, and forget them."""
        return self.changes.drain()

    def trim(self, committed_row: int) -> None:
        """Let go of the past that is on disk up to ``committed_row``."""
        self.orders.trim(committed_row)
        self.positions.trim(committed_row)

    @property
    def wallet_e8(self) -> int | None:
        """The wallet as the tape tells it; None while nobody has said what it began with."""
        wallet_e8 = self.opening.wallet_e8
        return None if wallet_e8 is None else wallet_e8 + self.positions.sums.result_e8

    def apply(self, row: int, message: Message) -> None:
        """Take the message of a tape row. AssertionError for a message that contradicts itself."""
        at = Moment(row=row, ts_ns=message.ts_venue_ns or message.ts_recv_ns)
        self.last_ts_ns = message.ts_recv_ns
        if type(message) in _TAPE_ALONE:
            return
        self.books_row = self.books_row if type(message) in _BESIDE_THE_BOOKS else row
        match message:
            case ExecutionBatch():
                self._execution(at, message)
            case ApprovedBatch():
                self.orders.approve(at, (one.request for one in message.approved), f"seq {message.cause_seq}")
                self.orders.note_cancels(at, message.cancels)
                self.orders.note_cancels(at, message.retires)
            case RefusedBatch():
                self.notes.count("refused", len(message.refused))
                self.tripped.refused(at, message)
            case LotOpened():
                self.positions.lot_opened(at, message)
            case FundingPaid():
                if not self.positions.funding(at, message):
                    self.notes.count("duplicate_funding")
            case AccountHydrated():
                self._learn(message.balance)
            case GridMoved():
                self.grids[message.instrument] = message
                self.changes.put(GRID, message.instrument, (message.instrument, row, text(message)))
            case _:
                self._record(at, message)

    def _execution(self, at: Moment, batch: ExecutionBatch) -> None:
        """Apply what the exchange said, in its order; a repeated fill is counted and otherwise ignored."""
        for said in batch.events:
            if said.kind is not OrderEventKind.FILLED:
                self.orders.say(at, said)
                continue
            assert said.fill is not None, "a fill has its figures"
            if self.positions.is_new(said.fill):
                self.positions.fill(at, said.fill, self.orders.say(at, said))
            else:
                self.notes.count("duplicate_fills")

    def _record(self, at: Moment, message: Message) -> None:
        """Write the messages that have a table of their own and change nothing else."""
        match message:
            case EquitySampled():
                self.samples += 1
                figures = (message.wallet_e8, message.unrealised_e8, message.equity_e8)
                sums = (message.realised_e8, message.fees_e8, message.funding_e8)
                self.changes.put(EQUITY, at.row, (at.row, at.ts_ns, *figures, *sums))
                if self.session is not None:
                    self.session = attrs.evolve(self.session, last_e8=message.equity_e8)
            case PermissionChanged():
                self.permission_changes += 1
                self.tripped.changed(at, message)
                moved = (message.before, message.after, message.change, message.reason, message.scope)
                self.changes.put(PERMISSION, at.row, (at.row, at.ts_ns, *moved, text(message.figures)))
            case Latched() | SessionKept() | ThrottleKept():
                self._keep(at, message)
            case AccountChanged():
                self._shift(message.delta_e8)
            case WalletRead():
                self._shift(message.unexplained_e8)
            case ForeignSeen():
                self.foreign[message.instrument] = message
                for one in message.adopted:
                    self.positions.adopt(at, message.instrument, one)
                self.changes.put(FOREIGN, message.instrument, (message.instrument, at.row, text(message)))
            case _:
                self._note(at, message)

    def _keep(self, at: Moment, message: Latched | SessionKept | ThrottleKept) -> None:
        """Write what stands from here on, over restarts too."""
        match message:
            case Latched():
                self.latched = message.entries
                self.changes.put(LATCHES, 1, (1, at.row, text(message.entries)))
            case SessionKept():
                self.session = message.memory
                self.changes.put(SESSION, 1, (1, at.row, *attrs.astuple(message.memory)))
            case ThrottleKept():
                self.throttle_ppm = message.factor_ppm
                self.changes.put(THROTTLE, 1, (1, at.row, message.factor_ppm))

    def _note(self, at: Moment, message: Message) -> None:
        """Write what a person should know."""
        match message:
            case Incident():
                self.notes.incident(at, message.text, kind="Incident", actor=message.actor, figures=message.figures)
            case Liquidated():
                figures_e8 = {"equity_e8": str(message.equity_e8), "maintenance_e8": str(message.maintenance_e8)}
                self.notes.incident(at, "liquidated", kind="Liquidated", actor="exchange", figures=figures_e8)
            case ActorRestarted():
                restart = {"error": message.error, "attempt": str(message.attempt)}
                self.notes.incident(at, "restarted", kind="ActorRestarted", actor=message.actor, figures=restart)
            case _:
                """A message of the tape alone: its row is all there is to say."""

    def _shift(self, delta_e8: int) -> None:
        """Count money that came or went beside all results with what the account began with."""
        if delta_e8 != 0 and self.opening.wallet_e8 is not None:
            self.opening = attrs.evolve(self.opening, wallet_e8=self.opening.wallet_e8 + delta_e8)
            self.write_account()

    def _learn(self, balance: Balance) -> None:
        """Take the first balance that the exchange gives as what the account began with, where nobody has said it."""
        if self.opening.wallet_e8 is not None:
            return
        sums = self.positions.sums
        self.opening = Opening(
            given_e8=None,
            wallet_e8=balance.wallet_e8 - sums.result_e8,
            realised_e8=balance.realised_e8 - sums.realised_e8,
            fees_e8=balance.fees_e8 - sums.fees_e8,
            funding_e8=balance.funding_e8 - sums.funding_e8,
        )
        self.write_account()
