"""The simulated exchange: one account over the books of its instruments, moved by the steps of a tape.

It knows nothing of the bot: requests come in with the exchange's time, words go out as batches. ``venue.py`` puts it
behind the ports.

Invariants: at a step all moves come first, then all funding, one liquidation check, then what falls due; wallet =
initial wallet + realised - fees - funding, exactly; after a liquidation the account takes no orders.
"""

from collections.abc import Sequence

from hedgegrid.core import ledger, margin
from hedgegrid.core.codes import LONG, SHORT
from hedgegrid.core.records import VenueRules
from hedgegrid.messages.events import EndReason, FundingPaid, Liquidated, OrderEvent, OrderEventKind
from hedgegrid.model.account import Balance
from hedgegrid.model.instrument import Instrument
from hedgegrid.model.market import Settlement, Step
from hedgegrid.model.order import Fill, OrderRequest
from hedgegrid.ports import VenueBatch
from hedgegrid.venues.simulated.book import Book

FILLS_KEPT = 20_000
"""Fills that can be read back; a bot that was away longer than that must not trust its journal."""


class Exchange:
    """One account on the simulated venue."""

    def __init__(
        self,
        instruments: Sequence[Instrument],
        rules: Sequence[VenueRules],
        wallet_e8: int,
        *,
        linked_exits: bool = True,
    ) -> None:
        """Open an account with ``wallet_e8`` (quote x 1e8) and no position; ``linked_exits`` as its books mean it."""
        self.linked_exits = linked_exits
        self.books = tuple(Book(i, r, linked_exits=linked_exits) for i, r in zip(instruments, rules, strict=True))
        self.by_name = {book.instrument.name: book for book in self.books}
        self.initial_wallet_e8 = wallet_e8
        self.next_trade_id = 1
        self.fills: list[Fill] = []
        self.settled: list[FundingPaid] = []
        self.liquidated = False
        self.ts_ns = 0
        self.last_settled_ns = [0] * len(self.books)
        self.unsaved_fills: list[Fill] = []
        self.unsaved_settled: list[FundingPaid] = []
        self.changed = True
        """Whether anything but prices has changed since it was last kept on disk."""

    # --- requests ---------------------------------------------------------------------------------------------------

    def place(self, request: OrderRequest, now_ns: int) -> OrderEvent:
        """Take an order at ``now_ns``; ACCEPTED means taken, not yet live."""
        book = self.by_name.get(request.instrument)
        reason: EndReason | None = EndReason.REFUSED
        if book is not None and not self.liquidated:
            reason = book.place(request, now_ns)
        self.changed = True
        if reason is None:
            return OrderEvent(kind=OrderEventKind.ACCEPTED, client_id=request.client_id)
        return OrderEvent(kind=OrderEventKind.REJECTED, client_id=request.client_id, reason=reason)

    def cancel(self, instrument: str, client_id: str, now_ns: int) -> None:
        """Take a cancel at ``now_ns``; its outcome comes as an event."""
        self.by_name[instrument].cancel(client_id, now_ns)
        self.changed = True

    # --- time -------------------------------------------------------------------------------------------------------

    def walk(self, step: Step, bar_no: int) -> tuple[list[FundingPaid], Liquidated | None]:
        """Move every market of a step, settle the funding that is due, and check the margin once."""
        self.ts_ns = step.ts_ns
        for point in step.points:
            self.books[point.instrument_index].move(point, step.ts_ns, bar_no)
        paid = [self._settle(settlement) for settlement in step.settlements]
        charged = [row for row in paid if row is not None]
        return charged, self._check_margin() if step.points or charged else None

    def _settle(self, settlement: Settlement) -> FundingPaid | None:
        """Charge one settlement to both legs; None where the instrument has no price yet."""
        book = self.books[settlement.instrument_index]
        self.last_settled_ns[settlement.instrument_index] = settlement.ts_ns
        if book.market.seen == 0:
            return None
        before = [account.funding_e8 for account in book.accounts]
        margin.settle_funding(book.market, book.accounts, book.rules, settlement.rate_e8)
        self.changed = True
        row = FundingPaid(
            seq=0,
            cause_seq=0,
            ts_venue_ns=settlement.ts_ns,
            ts_recv_ns=self.ts_ns,
            instrument=book.instrument.name,
            rate_e8=settlement.rate_e8,
            mark_ticks=book.market.mark_ticks,
            long_e8=book.accounts[LONG].funding_e8 - before[LONG],
            short_e8=book.accounts[SHORT].funding_e8 - before[SHORT],
        )
        self.settled.append(row)
        self.unsaved_settled.append(row)
        del self.settled[:-FILLS_KEPT]
        return row

    def _check_margin(self) -> Liquidated | None:
        """Liquidate the account where its equity has fallen under the maintenance margin of all its legs."""
        if self.liquidated or not any(
            book.accounts[LONG].qty_lots or book.accounts[SHORT].qty_lots for book in self.books
        ):
            return None
        needed = 0
        for book in self.books:
            gross = margin.gross_notional_e8(book.market, book.accounts, book.rules)
            if gross:
                needed += ledger.maintenance_e8(gross, book.tiers)
        equity = self.equity_e8()
        if equity >= needed:
            return None
        self.liquidated = True
        self.changed = True
        for book in self.books:
            book.liquidate()
        return Liquidated(
            seq=0, cause_seq=0, ts_venue_ns=self.ts_ns, ts_recv_ns=self.ts_ns, equity_e8=equity, maintenance_e8=needed
        )

    def fall_due(self) -> int:
        """Do one pass over what is due now in every book; give how many things fell due."""
        done = sum(book.fall_due() for book in self.books)
        if done:
            self.changed = True
        return done

    def backstops(self) -> None:
        """Trigger the close-everything stops of every book."""
        for book in self.books:
            book.backstops()

    def drain(self) -> list[VenueBatch]:
        """Give what happened in each book since the last call, in the order of the instruments."""
        batches: list[VenueBatch] = []
        for book in self.books:
            if book.said.n == 0:
                continue
            self.changed = True
            events, self.next_trade_id = book.drain(self.next_trade_id)
            fills = [event.fill for event in events if event.fill is not None]
            self.fills.extend(fills)
            self.unsaved_fills.extend(fills)
            batches.append(
                VenueBatch(
                    instrument=book.instrument.name,
                    ts_venue_ns=self.ts_ns,
                    mark_ticks=book.market.mark_ticks,
                    events=events,
                )
            )
        del self.fills[:-FILLS_KEPT]
        return batches

    def mark_saved(self) -> None:
        """Take note that everything up to now is on disk, or need not be."""
        self.unsaved_fills.clear()
        self.unsaved_settled.clear()
        self.changed = False

    # --- reads ------------------------------------------------------------------------------------------------------

    def balance(self) -> Balance:
        """Give the wallet and what it is made of."""
        accounts = [account for book in self.books for account in book.accounts]
        realised = sum(account.realised_e8 for account in accounts)
        fees = sum(account.fees_e8 for account in accounts)
        paid = sum(account.funding_e8 for account in accounts)
        return Balance(
            wallet_e8=self.initial_wallet_e8 + realised - fees - paid,
            realised_e8=realised,
            fees_e8=fees,
            funding_e8=paid,
        )

    def equity_e8(self) -> int:
        """Give the wallet plus the unrealised profit of all legs at the marks."""
        open_profit = sum(margin.unrealised_e8(book.market, book.accounts, book.rules) for book in self.books)
        return self.balance().wallet_e8 + open_profit

    def has_pending(self) -> bool:
        """Tell whether a request is still on its way."""
        return not self.liquidated and any(book.has_pending() for book in self.books)

    def ambiguous_bars(self) -> int:
        """Give how many bars left open whether an exit or its rival filled first."""
        return sum(book.market.ambiguous_bars for book in self.books)
