"""Which lots stand at the exchange without a stop, since when, and what is to be done about it (DESIGN 15.2).

Invariants: a lot is protected only by stops that the exchange has acknowledged, for its whole quantity; an order that
is sent, or whose outcome is not known, protects nothing; a lot that has stood bare for ``max_unprotected_ns`` gets an
overlapping stop under a new number once, and where that does not stand either, a market reduction, but not before the
first stop's request can no longer arrive. Times come with the calls: ``now_ns`` is ours, ``venue_ns`` the exchange's.
"""

from collections.abc import Sequence

import attrs

from hedgegrid.core.codes import LONG
from hedgegrid.core.exit_book import ExitBook, LotKey
from hedgegrid.core.exit_race import earlier
from hedgegrid.core.exits import OPEN
from hedgegrid.core.records import GridState, Lot


@attrs.frozen(kw_only=True)
class ProtectionLimits:
    """How long a race may last, in ns.

    ``validity_ns``: after this a request that was sent can no longer reach the exchange.
    """

    max_unprotected_ns: int
    stop_overlap_ns: int
    exit_excess_ns: int
    validity_ns: int


@attrs.define(eq=False, kw_only=True)
class Bare:
    """A lot without a stop: since when by our clock and by the exchange's, and what was tried (0: not yet).

    ``first_ns``: when its first stop was sent; ``overlapped_ns``: when an overlapping one was asked for.
    """

    since_ns: int
    since_venue_ns: int
    first_ns: int = 0
    overlapped_ns: int = 0


@attrs.frozen(kw_only=True)
class Verdict:
    """What a look at the lots found.

    ``protected``: lots that stand protected now, with the ns that it took; ``late``: lots that have just stood bare for
    too long, of which those in ``overlap`` get another stop (the others have a second one under way already, or are
    held back by refusals); ``reduce``: lots that are closed at the market; ``next_ns``: when to look again (0: not by
    time).
    """

    protected: tuple[tuple[Lot, int], ...] = ()
    late: tuple[Lot, ...] = ()
    overlap: tuple[Lot, ...] = ()
    reduce: tuple[Lot, ...] = ()
    next_ns: int = 0


@attrs.define(eq=False)
class Protection:
    """The bare lots of one instrument."""

    limits: ProtectionLimits
    bare: dict[LotKey, Bare] = attrs.field(factory=dict)

    def look(self, state: GridState, lots: Sequence[Lot], book: ExitBook, now_ns: int, venue_ns: int) -> Verdict:
        """Compare every open lot with the stops that are known to rest.

        ``venue_ns`` is the exchange's time of what it has just said; a measurement begins and ends with its words.
        """
        resting = book.protected_lots(lots)
        still: dict[LotKey, Bare] = {}
        protected: list[tuple[Lot, int]] = []
        late: list[Lot] = []
        overlap: list[Lot] = []
        reduce: list[Lot] = []
        next_ns = 0
        for lot in lots:
            if lot.state != OPEN:
                continue
            key = (lot.leg, lot.lot_id)
            bare = self.bare.get(key)
            if resting.get(key, 0) >= lot.qty_lots:
                if bare is not None:
                    protected.append((lot, max(0, venue_ns - bare.since_venue_ns)))
                continue
            if not _wants_stop(state, book, lot):
                continue
            bare = still[key] = bare or Bare(since_ns=now_ns, since_venue_ns=venue_ns)
            due_ns = self._due_ns(bare, lot, book)
            if lot.closing > 0:
                continue
            if due_ns > now_ns:
                next_ns = earlier(next_ns, due_ns)
            elif bare.overlapped_ns == 0:
                bare.overlapped_ns = now_ns
                late.append(lot)
                sent = book.orders.get(lot.stop_no)
                if sent is not None and sent.sent_ns <= bare.first_ns:
                    overlap.append(lot)
                next_ns = earlier(next_ns, now_ns + self.limits.max_unprotected_ns)
            else:
                reduce.append(lot)
        self.bare = still
        return Verdict(
            protected=tuple(protected), late=tuple(late), overlap=tuple(overlap), reduce=tuple(reduce), next_ns=next_ns
        )

    def _due_ns(self, bare: Bare, lot: Lot, book: ExitBook) -> int:
        """Give when the next thing is to be done for a bare lot: another stop, then the market reduction."""
        sent = book.orders.get(lot.stop_no)
        if bare.first_ns == 0:
            bare.first_ns = bare.since_ns if sent is None else sent.sent_ns
        if bare.overlapped_ns == 0:
            return bare.since_ns + self.limits.max_unprotected_ns
        gone_ns = bare.first_ns + self.limits.validity_ns
        if sent is None:
            return max(gone_ns, book.stop_setbacks[lot.leg].again_ns)
        return max(gone_ns, sent.sent_ns + self.limits.max_unprotected_ns)

    def unprotected(self, lots: Sequence[Lot], leg: int) -> tuple[int, int]:
        """Give the leg's quantity without a confirmed stop, and since when by our clock (0: there is none)."""
        mine = [lot for lot in lots if lot.state == OPEN and lot.leg == leg and (leg, lot.lot_id) in self.bare]
        since_ns = min((self.bare[leg, lot.lot_id].since_ns for lot in mine), default=0)
        return sum(lot.qty_lots for lot in mine), since_ns


def _wants_stop(state: GridState, book: ExitBook, lot: Lot) -> bool:
    """Tell whether a lot can have a stop: a trigger at or below zero cannot rest. One that is not laid yet can."""
    laid = book.held[lot.leg] is False and (state.dirty_long if lot.leg == LONG else state.dirty_short) == 0
    return lot.group_ticks > 0 or not laid
