"""What the bot says, judged as it says it.

Invariants: an order is judged by what was committed before it left and by what the exchange holds at that moment; of
what is on its way everything counts as taken, as long as it may still arrive.
"""

from collections import deque
from typing import Final

from hedgegrid.core.codes import FREE
from hedgegrid.model.order import Kind, Leg, OrderRequest, Purpose
from hedgegrid.simulation.account_laws import STALE_BARS, STALE_MORE_NS
from hedgegrid.simulation.case import Case
from hedgegrid.simulation.laws import Law
from hedgegrid.simulation.reading import JournalTail, Standing, holding
from hedgegrid.simulation.shares import BY_HAND
from hedgegrid.simulation.wire import VALIDITY_NS
from hedgegrid.simulation.words import Word
from hedgegrid.units import NS_PER_S

READS: Final = frozenset({"fills", "open_orders", "open_stops", "positions"})
"""What has to be read of the exchange before the first order of a life, and after a gap."""
BAN_NS: Final = 3 * NS_PER_S
"""How long a ban's word may take to be heard by all."""
ASKED_MAX: Final = 900
"""Requests in a minute: an exchange's weight would not bear more."""
CAP_PERMILLE: Final = 1_020
"""Of a limit in money: the mark moves between the gate's look and ours."""


class WireLaws:
    """Judges what is said on the wire."""

    def __init__(self, case: Case) -> None:
        """Judge for ``case``."""
        self._case = case
        self._ids: set[str] = set()
        self._read: set[str] = set()
        self._gap_ns: int | None = None
        self._read_since_gap: set[str] = set()
        self._banned_ns = 0
        self._banned_until_ns = 0
        self._asked: deque[int] = deque()
        self._cancelled: dict[str, None] = {}
        self._flying: dict[str, tuple[OrderRequest, int]] = {}
        self.latched: frozenset[Standing] = frozenset()
        """What stood latched when the life before ended."""
        self.resumes = 0
        """Words that lift latches, by the journals of the lives before."""

    def born(self) -> None:
        """A life begins, and knows nothing."""
        self._read = set()
        self._gap_ns = None
        self._banned_until_ns = 0
        self._case.alive_since_ns = None

    def word(self, word: Word) -> None:
        """Judge one word, the bot's or the exchange's."""
        match word.kind:
            case "place":
                self._count(word)
                self._place(word)
            case "gap":
                self._gap_ns, self._read_since_gap = word.ts_ns, set()
            case "banned":
                if word.ts_ns >= self._banned_until_ns:
                    self._banned_ns = word.ts_ns
                self._banned_until_ns = word.until_ns
            case "cancel":
                self._count(word)
                self._cancelled.update(dict.fromkeys(word.names))
                self._asks(word)
            case "refused":
                for name in word.names:
                    self._flying.pop(name, None)
            case _:
                self._count(word)
                self._asks(word)

    def _count(self, word: Word) -> None:
        asked = self._asked
        asked.append(word.ts_ns)
        while asked[0] <= word.ts_ns - 60 * NS_PER_S:
            asked.popleft()
        if len(asked) > ASKED_MAX:
            self._case.broken(Law.BOUNDED, f"more than {ASKED_MAX} requests in a minute, boot {word.boot}")

    def _asks(self, word: Word) -> None:
        """Take note of a read."""
        self._read.add(word.kind)
        if self._case.alive_since_ns is None and self._read >= READS:
            self._case.alive_since_ns = word.ts_ns
        if self._gap_ns is not None:
            self._read_since_gap.add(word.kind)
            if self._read_since_gap >= READS:
                self._gap_ns = None

    def _is_banned(self, ts_ns: int) -> bool:
        return self._banned_ns + BAN_NS < ts_ns < self._banned_until_ns

    # --- orders -----------------------------------------------------------------------------------------------------

    def _place(self, word: Word) -> None:
        case = self._case
        if not self._read >= READS:
            case.broken(Law.UNREAD, f"boot {word.boot} read {sorted(self._read)}")
        journal = case.journal()
        for request in word.requests:
            if request.client_id in self._ids:
                case.broken(Law.ID_REUSED, request.client_id)
            self._ids.add(request.client_id)
            self._figures(request)
            self._papers(request, journal)
            self._flying[request.client_id] = (request, word.ts_ns)
        for request in word.requests:
            if request.purpose is Purpose.ENTRY:
                self._entry(request, word, journal)
            elif request.kind is not Kind.STOP_MARKET:
                self._reduction(request, journal)
        if any(request.purpose is Purpose.ENTRY for request in word.requests):
            self._caps(word)
        for ts_ns, count in journal.crowded:
            if count > case.limits.orders_a_minute:
                case.broken(Law.ORDER_RATE, f"{count} orders in the minute before {ts_ns}")
        journal.crowded.clear()

    def _papers(self, request: OrderRequest, journal: JournalTail) -> None:
        """Judge whether an order is on disk, and as the gate approved it."""
        if not journal.state(request.client_id):
            self._case.broken(Law.NOT_DURABLE, request.client_id)
        approval = journal.approvals.get(request.client_id)
        order = (
            int(request.leg),
            int(request.purpose),
            int(request.kind),
            request.price_ticks,
            request.qty_lots,
            request.close_all,
        )
        if approval is None or approval.order != order:
            self._case.broken(Law.GATED, f"{request.client_id}: {order}, approved {approval and approval.order}")

    def _figures(self, request: OrderRequest) -> None:
        """Judge an order's figures by the instrument's rules."""
        rules = self._case.limits.instruments[request.instrument]
        priced = request.kind is not Kind.MARKET
        whole = type(request.price_ticks) is int and type(request.qty_lots) is int
        sound = whole and (request.price_ticks > 0) == priced and (request.qty_lots > 0) != request.close_all
        if request.purpose is Purpose.ENTRY:
            notional_e8 = request.price_ticks * request.qty_lots * rules.unit_e8
            sound = sound and rules.min_qty_lots <= request.qty_lots and notional_e8 >= rules.min_notional_e8
        if not sound or request.qty_lots > rules.max_qty_lots:
            self._case.broken(Law.SOUND_FIGURES, f"{request.client_id}: {request.qty_lots} at {request.price_ticks}")

    def _entry(self, request: OrderRequest, word: Word, journal: JournalTail) -> None:
        """Judge an order that can increase a leg."""
        case, name = self._case, request.client_id
        if case.disk_failed():
            case.broken(Law.DISK_LOST, f"{name}, boot {word.boot}")
        standing, before = (holding(one, request.instrument) for one in (journal.latched, self.latched))
        if standing or (before - standing and journal.resumes == self.resumes):
            case.broken(Law.LATCH_KEPT, f"{sorted(standing | before)} latched, boot {word.boot}")
        if journal.is_liquidated:
            case.broken(Law.LIQUIDATED, name)
        # A reason of another instrument alone reduces the account's mode, and holds nothing here.
        elsewhere = journal.mode == "reducing" and journal.reasons and not holding(journal.reasons, request.instrument)
        if journal.mode != "active" and not elsewhere:
            case.broken(Law.PAUSED, f"{name} in {journal.mode}")
        approval = journal.approvals.get(name)
        if approval is not None and word.own_ns > approval.expires_ns:
            case.broken(Law.APPROVAL_YOUNG, f"{name}: {word.own_ns - approval.expires_ns} ns late")
        if self._gap_ns is not None and word.ts_ns > self._gap_ns:
            case.broken(Law.REREAD, f"{name}, the gap was told at {self._gap_ns}")
        if self._is_banned(word.ts_ns):
            case.broken(Law.BAN_KEPT, name)
        if word.ts_ns - word.prices_ns > STALE_BARS * case.limits.bar_ns + STALE_MORE_NS:
            case.broken(Law.STALE, f"{name}: prices are {(word.ts_ns - word.prices_ns) // NS_PER_S} s old")
        notional_e8 = request.price_ticks * request.qty_lots * case.limits.instruments[request.instrument].unit_e8
        if notional_e8 > case.limits.order_e8:
            case.broken(Law.ORDER_CAP, name)

    def _reduction(self, request: OrderRequest, journal: JournalTail) -> None:
        """Judge an exit at a limit or at the market by what the journal knows of its leg."""
        case, leg = self._case, int(request.leg)
        held = journal.held_lots(request.instrument, leg)
        # An order that never left can close nothing, however long it has waited.
        reducing = journal.reducing(request.instrument, leg, at_market=request.kind is Kind.MARKET)
        out = sum(lots for name, lots in reducing if name in self._ids)
        if out > held:
            case.broken(Law.REDUCTION_PROVEN, f"{request.client_id}: {out} to close, {held} held")
        unit_e8 = case.limits.instruments[request.instrument].unit_e8
        mark_ticks = case.venue.exchange.by_name[request.instrument].market.mark_ticks
        slice_e8 = case.limits.slice_e8 * CAP_PERMILLE // 1_000 + mark_ticks * unit_e8
        if request.purpose is Purpose.FLATTEN and request.qty_lots * mark_ticks * unit_e8 > slice_e8:
            case.broken(Law.FLATTEN_SLICED, f"{request.client_id}: {request.qty_lots} lots")

    # --- limits of the account --------------------------------------------------------------------------------------

    def _doubtful(self, ts_ns: int) -> list[OrderRequest]:
        """Give the entries that may still arrive."""
        taken = self._case.venue.taken
        gone = [
            name
            for name, (_, sent_ns) in self._flying.items()
            if name in taken or ts_ns - sent_ns > VALIDITY_NS + NS_PER_S
        ]
        for name in gone:
            del self._flying[name]
        return [one for one, _ in self._flying.values() if one.purpose is Purpose.ENTRY]

    def is_being_cancelled(self, client_id: str) -> bool:
        """Tell whether the bot has asked for an order's cancel."""
        return client_id in self._cancelled

    def any_in_doubt(self, ts_ns: int) -> bool:
        """Tell whether an order of any kind may still arrive."""
        self._doubtful(ts_ns)
        return bool(self._flying)

    def _caps(self, word: Word) -> None:
        """Judge the account as it would be if everything that adds were filled."""
        case = self._case
        doubtful = self._doubtful(word.ts_ns)
        held_e8, adds_e8 = [0, 0], [0, 0]
        for book in case.venue.exchange.books:
            name, unit_e8, mark_ticks = book.instrument.name, book.rules.unit_e8, book.market.mark_ticks
            for leg in Leg:
                lots = book.accounts[leg].qty_lots
                adding = [
                    (order.qty_lots, order.price_ticks)
                    for order in book.orders
                    if order.state != FREE
                    and order.leg == leg
                    and order.purpose == Purpose.ENTRY
                    and not book.client_of[order.no].startswith(BY_HAND)
                ]
                adding += [
                    (one.qty_lots, one.price_ticks) for one in doubtful if one.instrument == name and one.leg is leg
                ]
                held_e8[leg] += lots * mark_ticks * unit_e8
                adds_e8[leg] += sum(qty * max(ticks, mark_ticks) * unit_e8 for qty, ticks in adding)
                worst = case.own_lots(name, leg) + sum(qty for qty, _ in adding)
                if worst > case.limits.position_lots[name]:
                    case.broken(Law.UNKNOWN_COUNTS, f"{name} {leg.name}: {worst} lots with what is on its way")
        self._money(held_e8, adds_e8)

    def _money(self, held_e8: list[int], adds_e8: list[int]) -> None:
        limits, case = self._case.limits, self._case
        worst = [held + adds for held, adds in zip(held_e8, adds_e8, strict=True)]
        net_e8 = max(abs(worst[0] - held_e8[1]), abs(worst[1] - held_e8[0]))
        for law, amount_e8, limit_e8 in (
            (Law.LEG_CAP, max(worst), limits.leg_e8),
            (Law.GROSS_CAP, sum(worst), limits.gross_e8),
            (Law.NET_CAP, net_e8, limits.net_e8),
        ):
            if amount_e8 * 1_000 > limit_e8 * CAP_PERMILLE:
                case.broken(law, f"{amount_e8 // 10**8} of {limit_e8 // 10**8}")
