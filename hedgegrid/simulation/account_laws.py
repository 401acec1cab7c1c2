"""The account at the exchange, judged whenever something in it may have changed.

Invariants: bounds in time count only while a life could act; what other people hold is never held against the bot.
"""

from typing import Final

from hedgegrid.core.codes import FREE
from hedgegrid.model.order import Kind, Leg, Purpose
from hedgegrid.simulation.case import Case
from hedgegrid.simulation.laws import DANGERS, Law
from hedgegrid.simulation.shares import BY_HAND
from hedgegrid.simulation.venue import Account
from hedgegrid.units import NS_PER_MS, NS_PER_S
from hedgegrid.venues.simulated.book import Book

STORM_NS: Final = 120 * NS_PER_S
"""What a bound is while faults strike: every request can be lost, and be in doubt for long."""
LATE_NS: Final = 100 * NS_PER_MS
"""An order that is taken later than this after it was sent was in doubt."""
STALE_BARS: Final = 2
STALE_MORE_NS: Final = 30 * NS_PER_S
"""What the watchdog and the pause get beside the age itself."""
READ_NS: Final = 25 * NS_PER_S
"""How old the read can be by which flat is said, when the word is seen here."""


class AccountLaws:
    """Judges what the account holds."""

    def __init__(self, case: Case) -> None:
        """Judge for ``case``."""
        self._case = case
        self._since_ns: dict[tuple[Law, str], int] = {}
        self._taken_seen = 0
        self._held: list[tuple[int, int, int]] = []
        self._last: dict[Leg, int] = {}
        self._entries_rest: set[str] = set()
        self._judged: Account | None = None
        """The account that was judged last."""
        self._is_timed = False
        """Whether something was in it that must not stay for long."""
        self.flat_words = 0
        """Words that legs are flat that were judged."""
        self.longest_bare_ns = 0
        """The longest that a leg stood without its stop while a life could act."""
        self.bare: dict[str, int] = {}
        """The legs that stand without their whole stop now, and since when."""

    def died(self) -> None:
        """Nobody can act any more."""
        self._since_ns.clear()

    def moved(self) -> None:
        """Judge the account as it is now."""
        case = self._case
        account = case.venue.account()
        # An account that is as it was when all of it was well is well: only what may not last needs a second look.
        if account is not self._judged or self._is_timed:
            self._judged, self._is_timed = account, False
            self._note_held()
            self._entries_rest.clear()
            for book in case.venue.exchange.books:
                self._book(book)
        self._newcomers()
        if case.alive_since_ns is not None:
            self.judge_flat(case.journal().flats)
        self._silence()
        danger = self._danger() if self._entries_rest and case.alive_since_ns is not None else ""
        if danger or self._since_ns:
            self._time(Law.DANGER_CLEARS, danger, bad=bool(danger))

    def _book(self, book: Book) -> None:
        case, name = self._case, book.instrument.name
        rungs: set[tuple[int, int, int]] = set()
        entries, profits, stops = [0, 0], [0, 0], [0, 0]
        for order in book.orders:
            if order.state == FREE or book.client_of[order.no].startswith(BY_HAND):
                continue
            if order.purpose == Purpose.ENTRY:
                rung = (order.leg, order.level, order.generation)
                if rung in rungs:
                    case.broken(Law.TWO_ON_A_RUNG, f"{name} {rung}")
                rungs.add(rung)
                entries[order.leg] += order.qty_lots
                self._entries_rest.add(name)
            elif order.purpose == Purpose.TAKE_PROFIT:
                profits[order.leg] += order.qty_lots
            elif order.purpose == Purpose.STOP and order.kind == Kind.STOP_MARKET:
                stops[order.leg] += order.qty_lots
        for leg in Leg:
            held = case.own_lots(name, leg)
            if held + entries[leg] > case.limits.position_lots[name]:
                case.broken(Law.POSITION_CAP, f"{name} {leg.name} {held} + {entries[leg]}")
            where = f"{name} {leg.name}"
            self._note_bare(where, bare=held > stops[leg])
            for law, bad in ((Law.UNPROTECTED, held > stops[leg]), (Law.EXCESS, profits[leg] > held)):
                self._is_timed |= bad
                self._time(law, where, bad=bad)

    def _note_bare(self, where: str, *, bare: bool) -> None:
        if bare:
            self.bare.setdefault(where, self._case.now_ns)
        else:
            self.bare.pop(where, None)

    def _time(self, law: Law, where: str, *, bad: bool) -> None:
        """Count how long something has been as it must not stay."""
        case, key = self._case, (law, where)
        if not bad or case.alive_since_ns is None or case.barred():
            self._since_ns.pop(key, None)
            if law is Law.DANGER_CLEARS and not bad:
                self._since_ns = {one: ns for one, ns in self._since_ns.items() if one[0] is not law}
            return
        age_ns = case.now_ns - self._since_ns.setdefault(key, case.now_ns)
        if law is Law.UNPROTECTED:
            self.longest_bare_ns = max(self.longest_bare_ns, age_ns)
        if age_ns > STORM_NS:
            case.broken(law, f"{where} for {age_ns // NS_PER_S} s")
            self._since_ns[key] = case.now_ns

    def _silence(self) -> None:
        """Judge whether a market that has long been silent has paused the bot."""
        case = self._case
        if case.alive_since_ns is None or case.barred():
            return
        journal = case.journal()
        # What a pause says waits for the next commit: only a younger one shows that there was none.
        silent_ns = journal.fresh_ns - max(case.silent_since_ns(), case.alive_since_ns)
        if silent_ns > STALE_BARS * case.limits.bar_ns + STALE_MORE_NS and journal.mode == "active":
            case.broken(Law.STALE, f"active after {silent_ns // NS_PER_S} s of silence, boot {case.boot}")

    def _danger(self) -> str:
        """Name a pause of danger that stands where entries rest; "" where none does."""
        reasons = self._case.journal().reasons
        rest = self._entries_rest
        standing = [reason for reason, scope in reasons if reason in DANGERS and (not scope or scope in rest)]
        return min(standing, default="")

    def _newcomers(self) -> None:
        """Judge the orders that were taken since, where they came late: nobody may have called them dead."""
        case, taken = self._case, self._case.venue.taken
        if len(taken) == self._taken_seen:
            return
        for name in list(taken)[self._taken_seen :]:
            late = case.now_ns - taken[name].decided_ns > LATE_NS
            if late and case.alive_since_ns is not None and not name.startswith(BY_HAND):
                state = case.journal().state(name)
                if state in ("cancelled", "rejected", "expired"):
                    case.broken(Law.DEAD_IS_DEAD, f"{name} was {state}")
        self._taken_seen = len(taken)

    # --- flat -------------------------------------------------------------------------------------------------------

    def _note_held(self) -> None:
        """Remember when what the bot holds or has resting in a leg has changed."""
        for leg in Leg:
            lots = sum(self._case.own_lots(name, leg) for name in self._case.venue.names)
            if self._last.get(leg) != lots:
                self._last[leg] = lots
                self._held.append((self._case.now_ns, int(leg), lots))

    def judge_flat(self, said: list[list[int]]) -> None:
        """Compare each new word that legs are flat with what they held when they were last read, shortly before it."""
        ts_ns = self._case.now_ns
        for legs in said[self.flat_words :]:
            for leg in legs:
                held = [(since_ns, lots) for since_ns, place, lots in self._held if place == leg and since_ns <= ts_ns]
                recent = [lots for since_ns, lots in held if since_ns > ts_ns - READ_NS]
                before = [lots for since_ns, lots in held if since_ns <= ts_ns - READ_NS][-1:]
                if 0 not in [*before, *recent] and held:
                    self._case.broken(Law.FLAT_IS_FLAT, f"leg {leg} held {held[-1][1]}", ts_ns)
        self.flat_words = len(said)
