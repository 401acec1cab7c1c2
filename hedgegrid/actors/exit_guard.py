"""What a strategy does about its exits where the exchange does not link them (law 7, DESIGN 15.1 and 15.2).

It is told of every exit's life and, at the end of every message, has the core put right what races left behind.

Invariants: it decides nothing itself (``core.exit_race``, ``core.protection``); every exit that the exchange may have
is in its book; what it could not put right is an incident, and what stood unprotected for too long latches a pause.
"""

from collections.abc import Iterable, Mapping, Sequence

from hedgegrid.actors.grid_memory import GridTables
from hedgegrid.actors.post import RISK, Post
from hedgegrid.core import exit_race, exits, pipeline
from hedgegrid.core.codes import BACKSTOP, LONG, SHORT, TAKE_PROFIT
from hedgegrid.core.exit_book import ExitBook, ExitOrder
from hedgegrid.core.exit_race import earlier
from hedgegrid.core.pause import Reason
from hedgegrid.core.protection import Protection, ProtectionLimits, Verdict
from hedgegrid.core.records import Lot
from hedgegrid.messages.commands import RaiseReason
from hedgegrid.messages.events import EndReason, Incident, LotProtected, Message, OrderEvent, OrderEventKind
from hedgegrid.model.order import Cover, Fill, Kind, Leg, OpenOrder, Purpose

_REFUSED_TO_REDUCE = (EndReason.REDUCE_REFUSED, EndReason.NOTHING_TO_CLOSE)


class ExitGuard:
    """The exits of one instrument."""

    def __init__(self, *, post: Post, name: str, instrument: str, limits: ProtectionLimits) -> None:
        """Speak through ``post`` in the name of the strategy ``name``."""
        self._post = post
        self._name = name
        self._instrument = instrument
        self._limits = limits
        self._book = ExitBook()
        self._protection = Protection(limits)
        self.look_why = ""
        """Why the exchange must be read anew; "" where it need not."""

    # --- what the exchange says -------------------------------------------------------------------------------------

    def adopt(
        self, orders: Sequence[OpenOrder], numbers: Mapping[str, int], leaving: Sequence[str], now_ns: int
    ) -> None:
        """Begin anew with the exits that a hydration found; those in ``leaving`` are being cancelled."""
        before, self._book.orders = self._book.orders, {}
        for order in orders:
            if order.purpose is Purpose.ENTRY:
                continue
            no = numbers[order.client_id]
            known = before.get(no)
            self._book.orders[no] = ExitOrder(
                no=no,
                leg=int(order.leg),
                purpose=int(order.purpose),
                price_ticks=0 if order.kind is Kind.MARKET else order.price_ticks,
                qty_lots=order.qty_lots - order.filled_lots,
                covers=order.covers,
                sent_ns=now_ns if known is None else known.sent_ns,
                cancels=0 if known is None else known.cancels,
                acknowledged=order.acknowledged,
                leaving_ns=now_ns if order.client_id in leaving else 0,
            )

    def on_fill(self, t: GridTables, cause: Message, event: OrderEvent, covers: tuple[Cover, ...], no: int) -> None:
        """Take a filled exit off its lots, or off the oldest of its leg where they are gone."""
        fill = event.fill
        assert fill is not None, "a fill has its figures"
        held_lots = t.accounts[fill.leg].qty_lots
        if held_lots > 0:
            qty_lots = min(fill.qty_lots, held_lots)
            pipeline.on_exit_fill(t.params, t.accounts, fill.leg, fill.price_ticks, qty_lots)
        covers = fill.covers or covers
        lost, surplus = exit_race.close_lots(t.params, t.state, t.rungs, t.lots, fill.leg, covers, fill.qty_lots)
        if lost:
            words = "an exit filled whose lot was closed already" if covers else "a reduction came that covers no lot"
            self._tell(cause, f"{words}: the oldest lots of its leg were cut", _figures(fill, lots=lost))
        if surplus:
            self._tell(cause, "an exit filled for which no lot is open: looking again", _figures(fill, lots=surplus))
            self.look_why = "an exit filled for which no lot is open"
        if fill.purpose is not Purpose.TAKE_PROFIT:
            self._book.clear_way(fill.leg)
        order = self._book.orders.get(no)
        if order is not None:
            order.qty_lots = event.qty_lots
            if event.qty_lots == 0:
                del self._book.orders[no]

    def hold_back(self, t: GridTables, now_ns: int) -> int:
        """Keep legs from what the exchange has just refused, stops and reductions, until their pause is over.

        Give when that is (0: nothing waits).
        """
        return exit_race.hold_back(self._book, t.state, now_ns)

    def covers(self, no: int) -> tuple[Cover, ...]:
        """Give the parts of lots that an exit was made for."""
        return self._book.orders[no].covers

    def on_word(self, event: OrderEvent, no: int, now_ns: int) -> None:
        """Take in what is said of an order that lives on."""
        match event.kind:
            case OrderEventKind.ACCEPTED:
                self._book.acknowledge(no, certain=event.reason is EndReason.FOUND)
            case OrderEventKind.AMENDED if no in self._book.orders:
                self._book.orders[no].qty_lots = event.qty_lots
            case OrderEventKind.UNKNOWN:
                self._book.doubt(no)
            case OrderEventKind.CANCEL_FAILED if event.reason is EndReason.NOT_FOUND:
                # It may have been filled: the executor looks, and its word follows.
                self._book.doubt(no)
            case OrderEventKind.CANCEL_FAILED:
                self._book.not_cancelled(no, now_ns, event.until_ns)
            case _:
                return

    def on_kept(self, t: GridTables, stops: Iterable[int]) -> None:
        """Take in that stops stay: the gate refused what was to replace them, so they were never asked to go."""
        for no in stops:
            exit_race.keep(self._book, t.state, t.lots, t.stops, no)

    def on_end(self, t: GridTables, cause: Message, no: int, reason: EndReason, now_ns: int, until_ns: int = 0) -> None:
        """Take in that an exit has ended unfilled; one that was still wanted is sent again, otherwise or later.

        ``until_ns``: where a rate limit kept it back, when that ends.
        """
        order = self._book.orders.pop(no, None)
        exits.forget_exit(t.state, t.lots, t.stops, no)
        if order is None or order.leaving_ns > 0 or order.purpose == BACKSTOP:
            return
        mine = {cover.lot_id for cover in order.covers}
        lots = [lot for lot in t.lots if lot.state == exits.OPEN and lot.leg == order.leg and lot.lot_id in mine]
        if not lots:
            return
        if reason is EndReason.WOULD_TRIGGER and order.is_stop:
            bare = {lot.lot_id for lot in exit_race.bare_lots(self._book, t.lots, order.leg, 0, now_ns)}
            exit_race.reduce_lots(t.state, [lot for lot in lots if lot.lot_id in bare], order.leg, t.actions, t.used)
            return
        limited = reason is EndReason.RATE_LIMITED
        if (limited or reason is EndReason.NOT_SENT) and self._book.keep_back(
            order, now_ns, until_ns=until_ns, limited=limited
        ):
            return
        self._book.refuse(order, now_ns)
        if order.purpose != TAKE_PROFIT and self._book.stop_setbacks[order.leg].count == exit_race.ATTEMPTS_MAX:
            figures = {"leg": Leg(order.leg).name, "reason": reason.value}
            self._latch(cause, "the exchange refuses stops and reductions again and again", figures)
        if reason in _REFUSED_TO_REDUCE:
            self._on_reduce_refused(t, order)

    def _on_reduce_refused(self, t: GridTables, order: ExitOrder) -> None:
        """The exchange holds less than the order would close: by our own fills, or by what we do not know of."""
        held_lots = t.state.position_long_lots if order.leg == LONG else t.state.position_short_lots
        if order.qty_lots > held_lots:
            return
        self.look_why = f"the exchange refused to reduce {Leg(order.leg).name} by {order.qty_lots} lots"
        if order.purpose != TAKE_PROFIT:
            self._book.crowded[order.leg] = True

    # --- putting right ----------------------------------------------------------------------------------------------

    def settle(self, t: GridTables, cause: Message, mark_ticks: int, now_ns: int) -> int:
        """Put right what this message left behind, and give when to come again by the clock (0: not by time).

        ``mark_ticks`` 0: no mark is known yet, so no stop can be laid.
        """
        book, state = self._book, t.state
        self._ask_again(t, cause, now_ns)
        exit_race.shed(book, state, t.lots, t.stops, t.actions, t.used)
        next_ns = self._lay(t, mark_ticks, now_ns)
        again_ns = exit_race.resend_profits(book, state, t.lots, now_ns, t.actions, t.used)
        exit_race.note_actions(book, t.lots, t.actions, 0, t.used.n, now_ns)
        noted = t.used.n
        verdict = self._protection.look(state, t.lots, book, now_ns, cause.ts_venue_ns)
        for lot, took_ns in verdict.protected:
            self._tell_protected(cause, lot, took_ns)
        if verdict.late or verdict.reduce:
            self._protect(t, cause, verdict, now_ns)
            next_ns = earlier(next_ns, self._lay(t, mark_ticks, now_ns))
        exit_race.note_actions(book, t.lots, t.actions, noted, t.used.n, now_ns)
        late_ns = exit_race.next_cancel_ns(book, self._limits.exit_excess_ns, self._limits.stop_overlap_ns)
        return earlier(earlier(next_ns, again_ns), earlier(late_ns, verdict.next_ns))

    def _ask_again(self, t: GridTables, cause: Message, now_ns: int) -> None:
        """Ask again for cancels that were not taken, or not answered in their time."""
        limits = self._limits
        late = exit_race.cancel_again(
            self._book,
            t.state,
            t.lots,
            t.stops,
            limits.exit_excess_ns,
            limits.stop_overlap_ns,
            now_ns,
            t.actions,
            t.used,
        )
        for order in late:
            self._tell_late(cause, order)

    def _lay(self, t: GridTables, mark_ticks: int, now_ns: int) -> int:
        """Lay the stops of every leg that changed, unless the exchange has just refused them.

        Where it has refused several, what is bare is closed at the market.
        """
        book, state = self._book, t.state
        for leg in (LONG, SHORT):
            setback = book.stop_setbacks[leg]
            dirty = book.held[leg] or (state.dirty_long if leg == LONG else state.dirty_short) == 1
            if dirty and setback.count > exit_race.RESENDS_MAX and setback.again_ns <= now_ns:
                bare = exit_race.bare_lots(book, t.lots, leg, self._limits.validity_ns, now_ns)
                exit_race.reduce_lots(state, bare, leg, t.actions, t.used)
        next_ns = self.hold_back(t, now_ns)
        if mark_ticks > 0:
            pipeline.after_batch(t.params, state, t.accounts, t.lots, t.stops, mark_ticks, t.actions, t.used)
        return next_ns

    def _protect(self, t: GridTables, cause: Message, verdict: Verdict, now_ns: int) -> None:
        """Give bare lots an overlapping stop, or close them at the market; either latches."""
        for leg in (LONG, SHORT):
            qty_lots, since_ns = self._protection.unprotected(t.lots, leg)
            figures = {"leg": Leg(leg).name, "qty_lots": str(qty_lots), "for_ns": str(now_ns - since_ns)}
            overlap = [lot for lot in verdict.overlap if lot.leg == leg]
            reduce = [lot for lot in verdict.reduce if lot.leg == leg]
            if overlap:
                exit_race.strip(t.state, overlap, leg)
            if any(lot.leg == leg for lot in verdict.late):
                self._latch(cause, "a position has stood without a confirmed stop for too long", figures)
            if reduce:
                exit_race.reduce_lots(t.state, reduce, leg, t.actions, t.used)
                self._latch(cause, "no stop can be had for a position: it is closed at the market", figures)

    # --- words ------------------------------------------------------------------------------------------------------

    def _tell(self, cause: Message, text: str, figures: Mapping[str, str]) -> None:
        self._post.publish(Incident(**self._post.head(cause), actor=self._name, text=text, figures=figures))

    def _tell_late(self, cause: Message, order: ExitOrder) -> None:
        """Say that a cancel was not answered in its time; after several the exchange is read anew."""
        figures = {"leg": Leg(order.leg).name, "purpose": Purpose(order.purpose).name, "qty_lots": str(order.qty_lots)}
        self._tell(cause, "the cancel of an exit was not answered in its time: asking again", figures)
        if order.cancels == exit_race.CANCELS_MAX:
            self.look_why = "cancels of an exit are not answered"

    def _tell_protected(self, cause: Message, lot: Lot, took_ns: int) -> None:
        self._post.publish(
            LotProtected(
                **self._post.head(cause),
                instrument=self._instrument,
                lot_id=lot.lot_id,
                leg=Leg(lot.leg),
                qty_lots=lot.qty_lots,
                after_ns=took_ns,
            )
        )

    def _latch(self, cause: Message, text: str, figures: Mapping[str, str]) -> None:
        """Call a person: the instrument stays paused until the operator resumes it."""
        self._tell(cause, text, figures)
        raised = RaiseReason(
            **self._post.head(cause), reason=Reason.SUPERVISOR, scope=self._instrument, figures={**figures, "why": text}
        )
        self._post.publish(raised, RISK)


def _figures(fill: Fill, *, lots: int) -> dict[str, str]:
    return {
        "leg": fill.leg.name,
        "purpose": fill.purpose.name,
        "trade_id": str(fill.trade_id),
        "fill_lots": str(fill.qty_lots),
        "lots": str(lots),
    }
