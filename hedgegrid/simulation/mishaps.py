"""What the exchange does by itself, and what other people do in the account: all of it happens to the true account.

Invariants: money and positions stay exact (the venue's own tables and ledger carry everything out); what is not the
bot's bears a name that is not the bot's; the dead-man's switch fires once for each arming, at its time or later.
"""

from collections.abc import Callable
from typing import Final

from hedgegrid.core import ledger
from hedgegrid.core.codes import FREE, LIMIT, STOP_MARKET
from hedgegrid.core.filling import fill
from hedgegrid.core.venue_tables import BY_LIQUIDATION, BY_REQUEST, FILLED, LIVE, REJECTED, drop, end, event, find
from hedgegrid.model.order import Kind, Leg, OrderRequest, Purpose
from hedgegrid.simulation.shares import BY_HAND
from hedgegrid.simulation.venue import Venue
from hedgegrid.simulation.weather import Fault, Weather
from hedgegrid.units import NS_PER_MS, NS_PER_S
from hedgegrid.venues.simulated.book import Book

LIQUIDATED: Final = "autoclose-"
"""How the exchange names the orders of a liquidation."""
DELEVERAGED: Final = "adl_autoclose"
"""How it names those by which it takes a part of a leg."""
_FREE_SLOT: Final = FREE


class Mishaps:
    """What befalls the account at the exchange."""

    def __init__(self, venue: Venue, weather: Weather) -> None:
        """Act on ``venue``."""
        self._venue = venue
        self._weather = weather
        self._number = 0
        self._acts: dict[Fault, Callable[[Book], bool]] = {
            Fault.PARTIAL_FILL: self._fill_a_part,
            Fault.STOP_FAILS: self._fail_a_stop,
            Fault.DELEVERAGED: self._deleverage,
            Fault.LIQUIDATED: self._liquidate,
            Fault.ORDER_BY_HAND: self._order_by_hand,
            Fault.TRADE_BY_HAND: self._trade_by_hand,
        }

    def look(self) -> None:
        """Let something happen at this moment, if so drawn."""
        now_ns = self._venue.clock.now_ns()
        for fault in self._acts:
            if self._venue.is_open and self._weather.strikes_now(fault, now_ns, "the account"):
                # Not in the middle of the market's own step.
                self._venue.clock.call_at(now_ns + NS_PER_MS, lambda fault=fault: self._happen(fault))  # type: ignore[misc]

    def _happen(self, fault: Fault) -> None:
        books = self._venue.exchange.books
        book = books[self._weather.between(fault, 0, len(books) - 1)]
        if not self._venue.exchange.liquidated and self._acts[fault](book):
            self._venue.pass_time()

    def _live(self, book: Book, kind: int) -> list[int]:
        """Give the places of live orders of a kind that are the bot's."""
        rows = enumerate(book.orders)
        return [
            place
            for place, order in rows
            if order.state == LIVE
            and order.kind == kind
            and not order.close_all
            and not book.client_of[order.no].startswith(BY_HAND)
        ]

    def _one_of(self, fault: Fault, places: list[int]) -> int:
        return places[self._weather.between(fault, 0, len(places) - 1)]

    # --- orders of the bot ------------------------------------------------------------------------------------------

    def _fill_a_part(self, book: Book) -> bool:
        """Fill a part of a limit order at its price, as a trade that was just large enough for it would."""
        fault = Fault.PARTIAL_FILL
        places = [place for place in self._live(book, LIMIT) if book.orders[place].qty_lots > 1]
        if not places:
            return False
        place = self._one_of(fault, places)
        order = book.orders[place]
        most = order.qty_lots - 1
        if order.purpose != Purpose.ENTRY:
            most = min(most, book.accounts[order.leg].qty_lots)
        if most < 1:
            return False
        lots = self._weather.between(fault, 1, most)
        tables = (book.market, book.orders, book.links, book.accounts, book.rules)
        fill(*tables, place, lots, order.price_ticks, 1, book.events, book.said)
        if self._weather.between(fault, 0, 1):
            # The fill is told first, as what it is: of an order that still rests.
            no = order.no
            self._venue.pass_time()
            place = find(book.orders, no)
            if place >= 0:
                end(book.market, book.orders, book.links, place, BY_REQUEST, book.events, book.said)
        return True

    def _fail_a_stop(self, book: Book) -> bool:
        """End a stop as one that triggered and was not taken."""
        places = self._live(book, STOP_MARKET)
        if not places:
            return False
        place = self._one_of(Fault.STOP_FAILS, places)
        event(book.events, book.said, REJECTED, book.orders[place], 0)
        drop(book.market, book.orders, book.links, place)
        return True

    # --- what the exchange takes ------------------------------------------------------------------------------------

    def _deleverage(self, book: Book) -> bool:
        """Close a part of one leg at the mark."""
        held = [leg for leg in Leg if book.accounts[leg].qty_lots > 0]
        if not held:
            return False
        leg = held[self._weather.between(Fault.DELEVERAGED, 0, len(held) - 1)]
        self._close(book, leg, self._weather.between(Fault.DELEVERAGED, 1, book.accounts[leg].qty_lots), DELEVERAGED)
        return True

    def _liquidate(self, book: Book) -> bool:
        """End every order of an instrument and close its legs at the mark."""
        if not any(account.qty_lots for account in book.accounts):
            return False
        for place, order in enumerate(book.orders):
            if order.state != _FREE_SLOT:
                end(book.market, book.orders, book.links, place, BY_LIQUIDATION, book.events, book.said)
        self._number += 1
        for leg in Leg:
            if book.accounts[leg].qty_lots:
                self._close(book, leg, book.accounts[leg].qty_lots, f"{LIQUIDATED}{self._number}")
        return True

    @staticmethod
    def _close(book: Book, leg: Leg, lots: int, name: str) -> None:
        """Close ``lots`` of a leg at the mark, for the liquidation's fee, under a name of the exchange's."""
        account, rules, mark_ticks = book.accounts[leg], book.rules, book.market.mark_ticks
        notional_e8 = ledger.notional_e8(mark_ticks, lots, rules.unit_e8)
        fee_e8 = ledger.fee_e8(notional_e8, rules.liquidation_fee_ppm)
        row = book.events[book.said.n]
        book.said.n += 1
        row.kind, row.leg, row.purpose = FILLED, int(leg), int(Purpose.LIQUIDATION)
        row.level = row.generation = -1
        row.price_ticks, row.qty_lots, row.fee_e8 = mark_ticks, lots, fee_e8
        row.realised_e8 = ledger.reduce(account, leg, lots, notional_e8)
        row.maker = row.lot_id = 0
        row.reason = BY_LIQUIDATION
        row.trade_id = book.market.next_trade
        account.fees_e8 += fee_e8
        book.market.next_trade += 1
        row.no = book.next_no
        book.client_of[book.next_no] = name
        book.next_no += 1

    # --- other people -----------------------------------------------------------------------------------------------

    def _by_hand(self, book: Book, leg: Leg, purpose: Purpose, kind: Kind, ticks: int, lots: int) -> bool:
        self._number += 1
        request = OrderRequest(
            client_id=f"{BY_HAND}{self._number}",
            instrument=book.instrument.name,
            leg=leg,
            purpose=purpose,
            kind=kind,
            price_ticks=ticks,
            qty_lots=lots,
            post_only=False,
            level=-1,
            generation=-1,
            decided_ns=self._venue.clock.now_ns(),
        )
        self._venue.place(request)
        return True

    def _order_by_hand(self, book: Book) -> bool:
        """Somebody places an order some way from the market, or cancels the one that rests."""
        fault = Fault.ORDER_BY_HAND
        resting = [name for name in book.number_of if name.startswith(BY_HAND)]
        if resting:
            self._venue.cancel(book.instrument.name, resting[0])
            return True
        leg = Leg(self._weather.between(fault, 0, 1))
        away = book.market.mark_ticks * self._weather.between(fault, 10, 200) // 10_000
        ticks = book.market.mark_ticks + (away if leg is Leg.SHORT else -away)
        return self._by_hand(book, leg, Purpose.ENTRY, Kind.LIMIT, ticks, self._weather.between(fault, 1, 5))

    def _trade_by_hand(self, book: Book) -> bool:
        """Somebody buys or sells at the market, or takes off what was bought or sold by hand."""
        fault = Fault.TRADE_BY_HAND
        for leg in Leg:
            lots = self._venue.shares.of_others(book.instrument.name, leg)
            if lots > 0:
                return self._by_hand(book, leg, Purpose.FLATTEN, Kind.MARKET, 0, lots)
        leg = Leg(self._weather.between(fault, 0, 1))
        return self._by_hand(book, leg, Purpose.ENTRY, Kind.MARKET, 0, self._weather.between(fault, 1, 5))


class Countdowns:
    """The exchange's dead-man's switches, one an instrument. This exchange's takes stops too."""

    def __init__(self, venue: Venue, weather: Weather, fired: Callable[[str, int], None]) -> None:
        """``fired`` hears of each that fires: the instrument, and when it was last set."""
        self._venue = venue
        self._weather = weather
        self._fired = fired
        self._armings: dict[str, int] = {}

    def set(self, instrument: str, countdown_ms: int) -> None:
        """Arm the switch anew, or take it off with 0."""
        number = self._armings.get(instrument, 0) + 1
        self._armings[instrument] = number
        if countdown_ms:
            set_ns = self._venue.clock.now_ns()
            due_ns = set_ns + countdown_ms * NS_PER_MS
            if self._weather.strikes_now(Fault.COUNTDOWN_LATE, set_ns, instrument):
                due_ns += self._weather.between(Fault.COUNTDOWN_LATE, 1, 30) * NS_PER_S
            self._venue.clock.call_at(due_ns, lambda: self._fire(instrument, number, set_ns))

    def _fire(self, instrument: str, number: int, set_ns: int) -> None:
        """Take the instrument's orders away, unless the switch was set since."""
        if self._armings[instrument] != number:
            return
        names = [name for name in self._venue.exchange.by_name[instrument].number_of if not name.startswith(BY_HAND)]
        for name in names:
            self._venue.cancel(instrument, name)
        if names:
            self._fired(instrument, set_ns)
            self._venue.pass_time()
