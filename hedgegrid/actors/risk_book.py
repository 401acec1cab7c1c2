"""The risk actor's own account: positions, reserved orders and money, from order events alone.

Invariants: it is set by a hydration and moved by events, by nothing else; an order is booked from its approval until
the exchange says that it ended; wallet = what hydration read + realised - fees - funding since, exactly.
"""

from collections.abc import Sequence

from hedgegrid.core import ledger, risk
from hedgegrid.core.client_id import parse_client_id
from hedgegrid.core.codes import FREE, LONG, SHORT
from hedgegrid.core.gate_records import Booked, Exposure, InstrumentRisk
from hedgegrid.core.records import LegAccount, table
from hedgegrid.messages.events import FundingPaid, Hydrated, OrderEvent, OrderEventKind
from hedgegrid.model.account import Balance
from hedgegrid.model.instrument import Instrument
from hedgegrid.model.order import Fill, Kind, Leg, OrderRequest, Purpose

BOOKED_START = 64
BOOKED_MAX = 8_192
_ENDS = (OrderEventKind.CANCELLED, OrderEventKind.REJECTED, OrderEventKind.EXPIRED)


def number_of(client_id: str) -> int:
    """Give the order number inside one of our client ids; 0 for an id that is not ours."""
    parsed = parse_client_id(client_id)
    return 0 if parsed is None else parsed.sequence


class RiskBook:
    """What the gate counts, for all instruments of the account."""

    def __init__(self, instruments: Sequence[Instrument], rules: list[InstrumentRisk]) -> None:
        """Begin empty; nothing may be approved before a hydration."""
        self.names = [instrument.name for instrument in instruments]
        self.index = {name: i for i, name in enumerate(self.names)}
        self.rules = rules
        self.exposures = table(Exposure, 2 * len(rules))
        self.booked = table(Booked, BOOKED_START)
        self.accounts = table(LegAccount, 2 * len(rules))
        self.wallet_e8 = 0
        self.realised_e8 = 0
        self.fees_e8 = 0
        self.funding_e8 = 0
        self.balance_ns = 0
        self._slots: dict[int, Booked] = {}
        self._settled_ns: dict[str, int] = {}

    # --- hydration --------------------------------------------------------------------------------------------------

    def set_balance(self, balance: Balance, ts_ns: int) -> None:
        """Take the exchange's word on the wallet; settlements up to then are in it."""
        self._settled_ns = dict.fromkeys(self.names, ts_ns)
        self.wallet_e8 = balance.wallet_e8
        self.realised_e8 = balance.realised_e8
        self.fees_e8 = balance.fees_e8
        self.funding_e8 = balance.funding_e8
        self.balance_ns = ts_ns

    def set_instrument(self, word: Hydrated) -> None:
        """Take the exchange's word on one instrument's positions and orders, in place of everything known of it."""
        index = self.index[word.instrument]
        for leg in (LONG, SHORT):
            self.accounts[2 * index + leg] = LegAccount()
            self.exposures[2 * index + leg] = Exposure()
        for position in word.positions:
            slot = 2 * index + position.leg
            self.accounts[slot] = LegAccount(qty_lots=position.qty_lots, cost_e8=position.cost_e8)
            self.exposures[slot].position_lots = position.qty_lots
        for order in self.booked:
            if order.state != FREE and order.instrument == index:
                self._release(order)
        for open_order in word.orders:
            self._book(
                Booked(
                    no=number_of(open_order.client_id),
                    instrument=index,
                    leg=int(open_order.leg),
                    purpose=int(open_order.purpose),
                    price_ticks=open_order.price_ticks,
                    qty_lots=open_order.qty_lots - open_order.filled_lots,
                    level=open_order.level,
                    generation=open_order.generation,
                )
            )
        if word.mark_ticks > 0:
            self.rules[index].mark_ticks = word.mark_ticks
        risk.recount(self.rules, self.exposures, self.booked, index)

    # --- orders -----------------------------------------------------------------------------------------------------

    def candidate(self, request: OrderRequest) -> Booked:
        """Give a request as the gate's check reads it."""
        return Booked(
            no=number_of(request.client_id),
            instrument=self.index[request.instrument],
            leg=int(request.leg),
            purpose=int(request.purpose),
            price_ticks=0 if request.kind is Kind.MARKET else request.price_ticks,
            qty_lots=request.qty_lots,
            level=request.level,
            generation=request.generation,
        )

    def reserve(self, order: Booked) -> None:
        """Book an order that passed, before it is sent."""
        self._book(order)

    def _book(self, order: Booked) -> None:
        if all(slot.state != FREE for slot in self.booked):
            assert len(self.booked) < BOOKED_MAX, "more open orders than any venue allows"
            self.booked.extend(table(Booked, len(self.booked)))
        risk.book(self.rules[order.instrument], self.exposures, self.booked, order)
        self._slots[order.no] = self.booked[risk.find(self.booked, order.no)]

    def _release(self, order: Booked) -> None:
        self._slots.pop(order.no, None)
        order.state = FREE
        order.no = 0

    def retire(self, client_ids: Sequence[str]) -> None:
        """Stops that are being replaced no longer stand in the way of their successors' proof."""
        for client_id in client_ids:
            order = self._slots.get(number_of(client_id))
            if order is not None:
                order.qty_lots = 0
                risk.recount(self.rules, self.exposures, self.booked, order.instrument)

    def apply(self, instrument: str, events: Sequence[OrderEvent]) -> None:
        """Take in what the exchange said about an instrument's orders."""
        for event in events:
            order = self._slots.get(number_of(event.client_id))
            if event.fill is not None:
                self._apply_fill(event.fill)
                if order is not None:
                    order.qty_lots = max(0, order.qty_lots - event.fill.qty_lots)
                if order is not None and event.qty_lots == 0:
                    self._release(order)
            elif order is not None and event.kind in _ENDS:
                self._release(order)
            elif order is not None and event.kind is OrderEventKind.AMENDED:
                order.qty_lots = event.qty_lots
        risk.recount(self.rules, self.exposures, self.booked, self.index[instrument])

    def _apply_fill(self, fill: Fill) -> None:
        """Move the position and the money. Fees are the exchange's figure, realised profit is our own."""
        index = self.index[fill.instrument]
        slot = 2 * index + fill.leg
        notional = ledger.notional_e8(fill.price_ticks, fill.qty_lots, self.rules[index].unit_e8)
        realised = 0
        if fill.purpose is Purpose.ENTRY:
            ledger.increase(self.accounts[slot], fill.qty_lots, notional)
        else:
            realised = ledger.reduce(self.accounts[slot], fill.leg, fill.qty_lots, notional)
        self.exposures[slot].position_lots = self.accounts[slot].qty_lots
        self.realised_e8 += realised
        self.fees_e8 += fill.fee_e8
        self.wallet_e8 += realised - fill.fee_e8

    def apply_funding(self, paid: FundingPaid) -> None:
        """Book a settlement, once, unless hydration read a wallet that had it already."""
        if paid.ts_venue_ns <= self._settled_ns.get(paid.instrument, 0):
            return
        self._settled_ns[paid.instrument] = paid.ts_venue_ns
        self.funding_e8 += paid.long_e8 + paid.short_e8
        self.wallet_e8 -= paid.long_e8 + paid.short_e8

    # --- figures ----------------------------------------------------------------------------------------------------

    def unrealised_e8(self) -> int:
        """Give the unrealised profit of all legs at the present marks."""
        total = 0
        for index, rule in enumerate(self.rules):
            for leg in (LONG, SHORT):
                account = self.accounts[2 * index + leg]
                if account.qty_lots:
                    total += ledger.unrealised_e8(account, leg, rule.mark_ticks, rule.unit_e8)
        return total

    def is_flat(self, instrument: str) -> bool:
        """Tell whether both legs of an instrument are zero by our books."""
        index = self.index[instrument]
        return all(self.accounts[2 * index + leg].qty_lots == 0 for leg in (Leg.LONG, Leg.SHORT))
