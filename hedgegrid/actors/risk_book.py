"""The risk actor's own account: positions, reserved orders and money, from order events alone.

Invariants: it is set by a hydration and moved by events, by nothing else; an order is booked from its approval until
the exchange says that it ended (one whose outcome is not known stays, so the proof takes it for filled and exposure
for open), and an entry that filled until all its fills were told, in whatever order; a stop that is being replaced does
not count for ``stop_overlap_ns``, then it does again; wallet = what hydration read + realised - fees - funding since,
exactly.
"""

from collections.abc import Sequence

import attrs

from hedgegrid.core import gate_book, ledger, var, worst_case
from hedgegrid.core.account_figures import AccountFigures, Money, at_risk_of, legs_held, worth_of
from hedgegrid.core.client_id import parse_client_id
from hedgegrid.core.codes import FREE, LONG, NEVER_NS, SHORT
from hedgegrid.core.gate_records import AccountRisk, Booked, Exposure, InstrumentRisk, Realised, RiskLimits
from hedgegrid.core.records import LegAccount, MarginTier, table
from hedgegrid.messages.events import EndReason, ForeignSeen, FundingPaid, Hydrated, OrderEvent, OrderEventKind
from hedgegrid.model.account import Balance, SessionMemory
from hedgegrid.model.instrument import Instrument
from hedgegrid.model.order import Fill, Kind, Leg, OrderRequest, Purpose

BOOKED_START = 64
BOOKED_MAX = 8_192
_ENDS = (OrderEventKind.CANCELLED, OrderEventKind.REJECTED, OrderEventKind.EXPIRED)


def number_of(client_id: str) -> int:
    """Give the order number inside one of our client ids; 0 for an id that is not ours."""
    parsed = parse_client_id(client_id)
    return 0 if parsed is None else parsed.sequence


def leg_of(client_id: str) -> Leg | None:
    """Give the leg inside one of our client ids; None for an id that is not ours."""
    parsed = parse_client_id(client_id)
    return None if parsed is None else parsed.leg


class RiskBook:
    """What the gate counts, for all instruments of the account."""

    def __init__(
        self,
        instruments: Sequence[Instrument],
        rules: list[InstrumentRisk],
        limits: RiskLimits,
        *,
        stop_overlap_ns: int = NEVER_NS,
    ) -> None:
        """Begin empty; nothing may be approved before a hydration."""
        self._limits = limits
        self._stop_overlap_ns = stop_overlap_ns
        self._retired: dict[int, tuple[int, int]] = {}
        """By order number: the quantity of a stop that is being replaced, and since when."""
        self._surplus: dict[int, int] = {}
        """By order number: the lots that only an amendment under way would bring."""
        self._filled: set[int] = set()
        """The entries that the exchange has filled whole, though not every fill has been told: the others count."""
        self.names = [instrument.name for instrument in instruments]
        self.tiers = [
            [
                MarginTier(max_notional_e8=one.max_notional_e8, maintenance_ppm=one.maintenance_ppm)
                for one in instrument.tiers
            ]
            for instrument in instruments
        ]
        self.index = {name: i for i, name in enumerate(self.names)}
        self.rules = rules
        self.exposures = table(Exposure, 2 * len(rules))
        self.account = AccountRisk()
        self.booked = [table(Booked, BOOKED_START) for _ in rules]
        """By instrument."""
        self._free = [slots[::-1] for slots in self.booked]
        self._moved = [False] * len(rules)
        """By instrument: whether its mark has moved since it was counted last."""
        self.accounts = table(LegAccount, 2 * len(rules))
        self.foreign = table(LegAccount, 2 * len(rules))
        self.wallet_e8 = 0
        self.realised_e8 = 0
        self.fees_e8 = 0
        self.funding_e8 = 0
        self.balance_ns = 0
        """When the wallet was told last; 0 while nobody has told it, and then its figures mean nothing."""
        self.sums_are_ours = False
        """Whether hydration reads the wallet alone, so that a settlement that is in it is still to be added up."""
        self._slots: dict[int, Booked] = {}
        self._settled_ns: dict[str, int] = {}

    # --- hydration --------------------------------------------------------------------------------------------------

    def set_balance(self, balance: Balance, ts_ns: int, *, of_books: bool = False) -> None:
        """Take the wallet of ``ts_ns``: the exchange's, with settlements up to then in it, or that of the books."""
        self._settled_ns = {} if of_books else dict.fromkeys(self.names, ts_ns)
        self.wallet_e8 = balance.wallet_e8
        self.realised_e8 = balance.realised_e8
        self.fees_e8 = balance.fees_e8
        self.funding_e8 = balance.funding_e8
        self.balance_ns = ts_ns

    def set_wallet(self, wallet_e8: int, ts_ns: int) -> None:
        """Take the wallet that was read at ``ts_ns``; settlements up to then are in it.

        Before a hydration has told what the wallet is made of, a figure of its own is none.
        """
        if self.balance_ns == 0:
            return
        self._settled_ns = {name: max(ts_ns, self._settled_ns.get(name, 0)) for name in self.names}
        self.wallet_e8 = wallet_e8
        self.balance_ns = ts_ns

    def hear_of_wallet(self, ts_ns: int) -> None:
        """Take note that the wallet's figures held at ``ts_ns``; of a wallet that nobody has told, no word is news."""
        if self.balance_ns > 0:
            self.balance_ns = max(self.balance_ns, ts_ns)

    def set_foreign(self, seen: ForeignSeen) -> None:
        """Take what an instrument holds that is not ours: it counts in exposure and equity, and proves no reduction."""
        index = self.index[seen.instrument]
        for leg in (LONG, SHORT):
            self.foreign[2 * index + leg] = LegAccount()
            self.exposures[2 * index + leg].foreign_lots = 0
        for position in seen.positions:
            slot = 2 * index + position.leg
            self.foreign[slot] = LegAccount(qty_lots=position.qty_lots, cost_e8=position.cost_e8)
            self.exposures[slot].foreign_lots = position.qty_lots
        for one in seen.adopted:
            slot = 2 * index + one.lot.leg
            ledger.increase(self.accounts[slot], one.lot.qty_lots, one.cost_e8)
            self.exposures[slot].position_lots = self.accounts[slot].qty_lots
        for order in self.booked[index]:
            if order.state != FREE and order.no < 0:
                self._release(order)
        for place, open_order in enumerate(seen.orders, 1):
            if open_order.purpose is Purpose.ENTRY:
                self._book(
                    Booked(
                        # Our own numbers are positive, and a foreign order stands on none of our rungs.
                        no=-(place * len(self.names) + index),
                        instrument=index,
                        leg=int(open_order.leg),
                        purpose=int(Purpose.ENTRY),
                        price_ticks=open_order.price_ticks,
                        qty_lots=open_order.qty_lots - open_order.filled_lots,
                        level=-1,
                        generation=-place - 1,
                    )
                )
        self.recount(index)

    def set_instrument(self, word: Hydrated) -> None:
        """Take the exchange's word on what we hold and have resting, in place of everything known of it."""
        index = self.index[word.instrument]
        for leg in (LONG, SHORT):
            slot = 2 * index + leg
            self.accounts[slot] = LegAccount()
            told = self.exposures[slot]
            self.exposures[slot] = Exposure(
                foreign_lots=self.foreign[slot].qty_lots, held_e8=told.held_e8, worst_e8=told.worst_e8
            )
        for position in word.positions:
            slot = 2 * index + position.leg
            self.accounts[slot] = LegAccount(qty_lots=position.qty_lots, cost_e8=position.cost_e8)
            self.exposures[slot].position_lots = position.qty_lots
        for order in self.booked[index]:
            if order.state != FREE and order.no >= 0:
                self._release(order)
        for open_order in word.orders:
            no = number_of(open_order.client_id)
            self._book(
                Booked(
                    no=no,
                    instrument=index,
                    leg=int(open_order.leg),
                    purpose=int(open_order.purpose),
                    price_ticks=open_order.price_ticks,
                    qty_lots=open_order.qty_lots - open_order.filled_lots,
                    level=open_order.level,
                    generation=open_order.generation,
                )
            )
            self._surplus[no] = open_order.surplus_lots
        if word.mark_ticks > 0:
            self.rules[index].mark_ticks = word.mark_ticks
        self.recount(index)

    # --- the account's sums -----------------------------------------------------------------------------------------

    def set_mark(self, index: int, mark_ticks: int, ts_ns: int) -> None:
        """Take the mark of an instrument; what it changes is counted when it is asked for."""
        rule = self.rules[index]
        rule.mark_ns = ts_ns
        self._moved[index] |= rule.mark_ticks != mark_ticks
        rule.mark_ticks = mark_ticks

    def measure(self, instrument: str, realised: Realised) -> None:
        """Take the volatility of an instrument into the account's value at risk."""
        index = self.index[instrument]
        self.rules[index].var_ppm = var.rate_ppm(realised, self.rules[index].var_scale)
        self._weigh(index)

    def refresh(self) -> None:
        """Bring the account's sums and its equity up to the present marks."""
        for index, moved in enumerate(self._moved):
            if moved:
                self.recount(index)
        self.account.balance_ns = self.balance_ns
        self.account.equity_e8 = self.equity_e8() or 0

    def recount(self, index: int) -> None:
        """Work out anew what an instrument's orders come to."""
        self._moved[index] = False
        gate_book.recount(self.rules, self.exposures, self.booked[index], index)
        self._weigh(index)

    def _weigh(self, index: int) -> None:
        worst_case.weigh(self._limits, self.account, self.rules, self.exposures, self.tiers[index], index)

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
        if order.purpose == Purpose.ENTRY:
            self._weigh(order.instrument)

    def lift(self, client_id: str) -> Booked | None:
        """Take an order out of the book whose place its amendment is to take; None where it has ended."""
        order = self._slots.get(number_of(client_id))
        if order is None:
            return None
        lifted = attrs.evolve(order)
        self._release(order)
        self.recount(lifted.instrument)
        return lifted

    def put_back(self, lifted: Booked) -> None:
        """Count a lifted order again: as it was, or with its amendment, if that was booked, at the larger quantity."""
        amended = self._slots.get(lifted.no)
        if amended is None:
            self._book(lifted)
        else:
            self._surplus[lifted.no] = max(0, amended.qty_lots - lifted.qty_lots)
            amended.qty_lots = max(amended.qty_lots, lifted.qty_lots)
        self.recount(lifted.instrument)

    def _book(self, order: Booked) -> None:
        booked, free = self.booked[order.instrument], self._free[order.instrument]
        if not free:
            assert len(booked) < BOOKED_MAX, "more open orders than any venue allows"
            more = table(Booked, len(booked))
            booked.extend(more)
            free.extend(more[::-1])
        slot = free.pop()
        gate_book.put(self.rules[order.instrument], self.exposures, slot, order)
        self._slots[order.no] = slot

    def _release(self, order: Booked) -> None:
        self._slots.pop(order.no, None)
        self._retired.pop(order.no, None)
        self._surplus.pop(order.no, None)
        self._filled.discard(order.no)
        order.state = FREE
        order.no = 0
        self._free[order.instrument].append(order)

    def retire(self, client_ids: Sequence[str], now_ns: int) -> None:
        """Stops that are being replaced do not stand in the way of their successors' proof, for a while."""
        for client_id in client_ids:
            order = self._slots.get(number_of(client_id))
            if order is not None and order.qty_lots > 0:
                self._retired[order.no] = (order.qty_lots, now_ns)
                order.qty_lots = 0
                self.recount(order.instrument)

    def keep(self, client_ids: Sequence[str]) -> None:
        """Stops that were to be replaced stay: they count again."""
        for client_id in client_ids:
            self._count_again(number_of(client_id))

    def lapse(self, now_ns: int) -> None:
        """Count the stops again that should have been gone by now."""
        late = [no for no, (_, since_ns) in self._retired.items() if now_ns - since_ns > self._stop_overlap_ns]
        for no in late:
            self._count_again(no)

    def _count_again(self, no: int) -> None:
        qty_lots, _ = self._retired.pop(no, (0, 0))
        if qty_lots > 0:
            self._slots[no].qty_lots = qty_lots
            self.recount(self._slots[no].instrument)

    def apply(self, instrument: str, events: Sequence[OrderEvent]) -> None:
        """Take in what the exchange said about an instrument's orders."""
        for event in events:
            order = self._slots.get(number_of(event.client_id))
            if event.fill is not None:
                self._apply_fill(event.fill)
                if order is not None:
                    self._fill(order, event.fill.qty_lots, ends=event.qty_lots == 0)
            elif order is not None and event.kind in _ENDS:
                self._release(order)
            elif order is not None and event.kind is OrderEventKind.AMENDED:
                self._surplus.pop(order.no, None)
                self._leave(order, event.qty_lots)
            elif event.kind is OrderEventKind.CANCEL_FAILED and event.reason is not EndReason.NOT_FOUND:
                self._count_again(number_of(event.client_id))
        self.recount(self.index[instrument])

    def _fill(self, order: Booked, qty_lots: int, *, ends: bool) -> None:
        """Count a fill of an order; the last one of an entry may be told before those that came earlier.

        An exit goes with its last fill: the exchange may have cut it to what there was, and the leg needs its room.
        """
        left_lots = max(0, self._left(order) - qty_lots)
        self._leave(order, left_lots)
        if ends:
            self._filled.add(order.no)
        is_over = ends
        if order.purpose == Purpose.ENTRY:
            untold_lots = left_lots - self._surplus.get(order.no, 0)
            is_over = left_lots == 0 or (order.no in self._filled and untold_lots <= 0)
        if is_over:
            self._release(order)

    def _left(self, order: Booked) -> int:
        """Give what is left of an order, whether it counts at present or not."""
        return self._retired[order.no][0] if order.no in self._retired else order.qty_lots

    def _leave(self, order: Booked, qty_lots: int) -> None:
        """Set what is left of an order."""
        if order.no in self._retired:
            self._retired[order.no] = (qty_lots, self._retired[order.no][1])
        else:
            order.qty_lots = qty_lots

    def _apply_fill(self, fill: Fill) -> None:
        """Move the position and the money, whose figures are the exchange's own.

        A reduction of more than is held leaves nothing: a position is never below zero.
        """
        index = self.index[fill.instrument]
        slot = 2 * index + fill.leg
        account = self.accounts[slot]
        is_entry = fill.purpose is Purpose.ENTRY
        qty_lots = fill.qty_lots if is_entry else min(fill.qty_lots, account.qty_lots)
        notional = ledger.notional_e8(fill.price_ticks, qty_lots, self.rules[index].unit_e8)
        if is_entry:
            ledger.increase(account, qty_lots, notional)
        elif qty_lots > 0:
            ledger.reduce(account, fill.leg, qty_lots, notional)
        self.exposures[slot].position_lots = self.accounts[slot].qty_lots
        self.realised_e8 += fill.realised_e8
        self.fees_e8 += fill.fee_e8
        self.wallet_e8 += fill.realised_e8 - fill.fee_e8

    def apply_funding(self, paid: FundingPaid) -> None:
        """Book a settlement, once, unless hydration read a wallet that had it already."""
        charged_ns = paid.charged_ns or paid.ts_venue_ns
        is_new = charged_ns > self._settled_ns.get(paid.instrument, 0)
        if is_new or self.sums_are_ours:
            self.funding_e8 += paid.long_e8 + paid.short_e8
        if is_new:
            self._settled_ns[paid.instrument] = charged_ns
            self.wallet_e8 -= paid.long_e8 + paid.short_e8

    # --- figures ----------------------------------------------------------------------------------------------------

    def unrealised_e8(self) -> int:
        """Give the unrealised profit of all legs at the present marks."""
        total = 0
        for index, rule in enumerate(self.rules):
            for leg in (LONG, SHORT):
                for account in (self.accounts[2 * index + leg], self.foreign[2 * index + leg]):
                    if account.qty_lots:
                        total += ledger.unrealised_e8(account, leg, rule.mark_ticks, rule.unit_e8)
        return total

    def equity_e8(self) -> int | None:
        """Give wallet + unrealised profit; None while the wallet, or the mark of what a leg holds, is not known."""
        if self.balance_ns == 0:
            return None
        for index, rule in enumerate(self.rules):
            legs = (*self.accounts[2 * index : 2 * index + 2], *self.foreign[2 * index : 2 * index + 2])
            if rule.mark_ticks == 0 and any(leg.qty_lots for leg in legs):
                return None
        return self.wallet_e8 + self.unrealised_e8()

    def maintenance_e8(self) -> int:
        """Give the equity that the exchange wants held for all legs, foreign ones too, by each instrument's tier."""
        total = 0
        for index, rule in enumerate(self.rules):
            legs = (*self.accounts[2 * index : 2 * index + 2], *self.foreign[2 * index : 2 * index + 2])
            held = sum(leg.qty_lots for leg in legs)
            if held:
                gross = ledger.notional_e8(rule.mark_ticks, held, rule.unit_e8)
                total += ledger.maintenance_e8(gross, self.tiers[index])
        return total

    def figures(self, since: SessionMemory) -> AccountFigures:
        """Give the account as it is held, beside what its equity is measured from."""
        equity_e8 = self.equity_e8()
        legs = legs_held(self.rules, self.accounts, self.foreign)
        money = worth = at_risk = None
        if self.balance_ns > 0:
            money = Money(
                wallet_e8=self.wallet_e8,
                realised_e8=self.realised_e8,
                fees_e8=self.fees_e8,
                funding_e8=self.funding_e8,
                at_ns=self.balance_ns,
            )
        if equity_e8 is not None:
            worth = worth_of(
                equity_e8=equity_e8,
                unrealised_e8=equity_e8 - self.wallet_e8,
                maintenance_e8=self.maintenance_e8(),
                since=since,
                balance_ns=self.balance_ns,
                legs=legs,
            )
            at_risk = at_risk_of(worth, self.rules, legs)
        return AccountFigures(money=money, worth=worth, legs=legs, at_risk=at_risk)

    def is_all_flat(self) -> bool:
        """Tell whether every leg is zero by our books."""
        return all(self.is_flat(name) for name in self.names)

    def is_leg_flat(self, instrument: str, leg: Leg) -> bool:
        """Tell whether one leg of an instrument is zero by our books."""
        return self.accounts[2 * self.index[instrument] + leg].qty_lots == 0

    def is_flat(self, instrument: str) -> bool:
        """Tell whether both legs of an instrument are zero by our books."""
        index = self.index[instrument]
        return all(self.accounts[2 * index + leg].qty_lots == 0 for leg in (Leg.LONG, Leg.SHORT))
