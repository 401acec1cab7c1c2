"""The judge of one run: it sees the wire, the exchange's truth and the journal's file, and nothing of the bot.

Invariants: each violation bears the name of its law and the moment; a law is judged with arithmetic of its own; what
the network may still hide from the bot is never held against it.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from hedgegrid.core.codes import FREE
from hedgegrid.journal.verify import verify
from hedgegrid.model.order import Leg
from hedgegrid.ports import PrivateEvent, VenueBatch
from hedgegrid.simulation.account_laws import AccountLaws
from hedgegrid.simulation.case import Case
from hedgegrid.simulation.laws import LASTING, Law, Limits
from hedgegrid.simulation.rare import Rare
from hedgegrid.simulation.shares import BY_HAND
from hedgegrid.simulation.venue import Venue
from hedgegrid.simulation.wire_laws import WireLaws
from hedgegrid.simulation.words import Word
from hedgegrid.units import NS_PER_S

SETTLED: Final = ("active", "reducing", "flattening", "halted")
REALISED: Final = "realised profit is that of the average cost"
"""The check of the journal that holds where nobody else trades in the account."""
QUIET_NS: Final = 60 * NS_PER_S
"""How long a leg may be without its whole stop at the quiet end."""


class Judge:
    """Watches one run."""

    def __init__(self, venue: Venue, limits: Limits) -> None:
        """Judge what reaches ``venue``."""
        self.case = Case(venue, limits)
        self._wire = WireLaws(self.case)
        self._account = AccountLaws(self.case)
        self._born_ns = 0
        self._told: Counter[Rare] = Counter()
        self.drawdown_ppm = 0
        self.incidents = 0

    @property
    def longest_bare_ns(self) -> int:
        """The longest that a leg stood without its stop while a life could act."""
        return self._account.longest_bare_ns

    # --- lives ------------------------------------------------------------------------------------------------------

    def born(self, boot: int, path: Path) -> None:
        """A life begins: its journal is at ``path``."""
        case = self.case
        case.boot = boot
        case.turn(path)
        self._born_ns = case.now_ns
        self._wire.born()

    def crashes(self) -> None:
        """Note what a crash at this moment leaves behind."""
        rare, books = self.case.rare, self.case.venue.exchange.books
        rare[Rare.PART_THEN_CRASH] += any(
            order.state != FREE and order.filled_lots > 0 for book in books for order in book.orders
        )
        rare[Rare.CRASH_IN_DOUBT] += self._wire.any_in_doubt(self.case.now_ns)

    @property
    def rare(self) -> "Counter[Rare]":
        """The rare states that were reached."""
        return self._told + self.case.rare

    def died(self, left: Path, *, crashed: bool) -> None:
        """The life is over, and its journal is ``left``; what latched before it must stand in the next."""
        case = self.case
        case.alive_since_ns = None
        self._account.died()
        case.turn(left)
        if not left.exists():
            return
        journal = case.journal()
        self._wire.latched, self._wire.resumes = journal.latched, journal.resumes
        self._account.judge_flat(journal.flats)
        self._told = journal.rare
        if crashed:
            case.rare[Rare.FLATTEN_CRASHED] += journal.mode == "flattening"
        elif journal.mode_text().startswith("flattening"):
            case.rare[Rare.FLATTEN_STOPPED] += 1
        legs, sums = journal.legs(), journal.fill_sums(case.venue.shares.were_shared)
        for key in sorted({*legs, *sums}):
            if legs.get(key, 0) != sums.get(key, 0):
                case.broken(Law.FILLS_ADD_UP, f"{key}: {legs.get(key, 0)}, fills {sums.get(key, 0)}")
        case.turn(left)

    def second(self, word: Word) -> None:
        """A second instance has said something to the exchange."""
        if word.kind != "banned":
            self.case.broken(Law.ONE_WRITER, f"boot {self.case.boot}: {word.kind}")

    def countdown_fired(self, instrument: str, set_ns: int, *, well: bool) -> None:
        """A dead-man's switch has fired that was set last at ``set_ns``; ``well``: nothing had gone wrong since."""
        self.case.rare[Rare.SWITCH_FIRED] += 1
        if well and self.case.alive_since_ns is not None and self._born_ns < set_ns:
            self.case.broken(Law.COUNTDOWN, f"{instrument}, set at {set_ns}")

    def heard(self, events: Sequence[PrivateEvent]) -> None:
        """Take note of what the exchange says about the account."""
        for batch in events:
            for event in batch.events if isinstance(batch, VenueBatch) else ():
                if event.fill is not None and self._wire.is_being_cancelled(event.client_id):
                    self.case.rare[Rare.FILL_RACES_CANCEL] += 1

    def word(self, word: Word) -> None:
        """Judge what is said on the wire."""
        self._wire.word(word)

    def moved(self) -> None:
        """Judge the account as it is now."""
        self._account.moved()

    # --- the end ----------------------------------------------------------------------------------------------------

    def quiet(self) -> None:
        """Judge the end of the calm, before the bot is stopped: protected, and traded or paused for a reason."""
        case = self.case
        if case.venue.exchange.liquidated:
            return
        for where, since_ns in self._account.bare.items():
            if case.now_ns - since_ns > QUIET_NS:
                case.broken(Law.QUIET_END, f"{where} is not protected")
        if not case.path.exists():
            case.broken(Law.QUIET_END, "there is no journal")
            return
        journal = case.journal()
        standing = sorted({reason for reason, _ in journal.reasons})
        passing = [reason for reason in standing if reason not in LASTING]
        if journal.mode not in SETTLED or passing or (journal.mode != "active" and not standing):
            case.broken(Law.QUIET_END, f"{journal.mode or 'never started'}: {', '.join(standing) or 'no reason'}")

    def ended(self, path: Path) -> str:
        """Judge what is left after the calm: the journal proves itself, and is the exchange; give its last mode."""
        case = self.case
        case.turn(path)
        report = verify(path)
        if not report.ok:
            # Where others trade in a leg, the exchange's average is of both, and so is what it realises.
            shared = any(fill.client_id.startswith(BY_HAND) for fill in case.venue.exchange.fills)
            failed = [check for check in report.checks if not check.ok and not (shared and check.name == REALISED)]
            if failed:
                case.broken(Law.JOURNAL_SOUND, "; ".join(check.text() for check in failed))
        journal = case.journal()
        exchange = case.venue.exchange
        theirs = {
            (fill.instrument, fill.trade_id, int(fill.leg), fill.price_ticks, fill.qty_lots)
            for fill in exchange.fills
            if not fill.client_id.startswith(BY_HAND)
        }
        ours = journal.fills()
        if ours != theirs:
            case.broken(
                Law.BOOKS_AGREE, f"fills: missing {sorted(theirs - ours)[:3]}, more {sorted(ours - theirs)[:3]}"
            )
        legs = journal.legs()
        for name in case.venue.names:
            for leg in Leg:
                held, known = case.own_lots(name, leg), legs.get((name, int(leg)), 0)
                if held != known:
                    case.broken(Law.BOOKS_AGREE, f"{name} {leg.name}: {known}, is {held}")
        self._orders(journal.live_orders())
        told_e8, wallet_e8 = journal.wallet_e8(), exchange.balance().wallet_e8
        if told_e8 != wallet_e8:
            case.broken(Law.WALLET_TRUE, f"{told_e8}, is {wallet_e8}")
        self.drawdown_ppm, self.incidents = journal.drawdown_ppm(), journal.incidents()
        text = journal.mode_text()
        case.turn(path)
        return text

    def _orders(self, live: list[tuple[str, int]]) -> None:
        """Compare the orders that live by the journal with those that rest."""
        resting = {name for book in self.case.venue.exchange.books for name in book.number_of}
        ours = {name for name in resting if not name.startswith(BY_HAND)}
        # What was cancelled as the last word of the run may have no answer yet.
        gone = {str(name) for name, cancel_ns in live if cancel_ns == 0} - ours
        strange = ours - {str(name) for name, _ in live}
        if gone or strange:
            self.case.broken(Law.BOOKS_AGREE, f"orders: not there {sorted(gone)[:3]}, unknown {sorted(strange)[:3]}")

    def failed(self, how: str) -> None:
        """A life ended by itself."""
        self.case.broken(Law.LIVES_ON, how)
