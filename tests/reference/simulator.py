"""A second, slow telling of the simulation, written from the design's text alone and sharing no code with the core.

It is for bars of one instrument without the risk gate. Exact arithmetic is int and Fraction; only indicators are
floats. Backstops are left out: they never trigger before a lot's own stop (section 15.5), so never while the strategy
answers. Invariant: nothing is imported from ``hedgegrid.core``, so an error would have to be made twice to go unseen.
Comments name the paragraph of the design's section 14 unless said otherwise.
"""

import math
from collections.abc import Callable, Iterable
from fractions import Fraction
from itertools import pairwise

from tests.reference.decision import Decision
from tests.reference.state import (
    ENTRY,
    LIQUIDATION,
    LONG,
    MILLION,
    SHORT,
    SIGN,
    STOP,
    TAKE_PROFIT,
    Bar,
    Lot,
    Order,
    ceil_div,
)

MINUTE_NS = 60 * 10**9


class Simulator(Decision):
    """One instrument's market and venue, and how the strategy answers fills."""

    # --- the path -------------------------------------------------------------------------------------------------

    def pay(self, settlements: Iterable[tuple[int, int]], start_ns: int) -> None:
        """Take settlements as (ts, rate x 1e8), stamps floored to the minute; those before the start are known (15)."""
        for ts, rate in sorted(settlements):
            stamp = ts // MINUTE_NS * MINUTE_NS
            if stamp < start_ns:
                self.rate = (stamp, rate)
            else:
                self.settlements.append((stamp, rate))

    def walk(self, number: int, bar: Bar) -> None:
        """Walk a bar's four points, then decide."""
        open_ns, first, high, low, close = bar
        path = (first, low, high, close) if close >= first else (first, high, low, close)
        self.bar_no, self.low, self.high = number, low, high
        for phase, price in enumerate(path):
            self.point(open_ns + phase * self.bar_ns // 4, price, jump=phase == 0)
            if self.liquidated:
                return
        self.ind.add(high, low, close)
        self.decide(close)
        self.fall_due()

    def point(self, ts: int, price: int, *, jump: bool) -> None:
        """Reach a point: move, funding, liquidation, what falls due (2)."""
        before, self.ts, self.price = self.price, ts, price
        if before:
            self.send_retries()
            self.move(before, price, jump)
            self.answer()
        self.settle()
        if self.check_liquidation():
            return
        self.fall_due()

    def settle(self) -> None:
        """Charge the settlements that are due (15)."""
        while self.settlements and self.settlements[0][0] <= self.ts:
            stamp, rate = self.settlements.pop(0)
            for leg in (LONG, SHORT):
                paid = self.position[leg] * self.price * self.unit * rate * SIGN[leg]
                self.wallet -= (2 * paid + 10**8) // (2 * 10**8)
            self.rate = (stamp, rate)

    def check_liquidation(self) -> bool:
        """Close both legs at the mark where equity is under maintenance (30)."""
        values = [self.position[leg] * self.price * self.unit for leg in (LONG, SHORT)]
        equity = self.wallet + sum(SIGN[leg] * (values[leg] - self.cost[leg]) for leg in (LONG, SHORT))
        gross = sum(values)
        fits = [tier for tier in self.instrument.tiers if gross <= tier.max_notional_e8]
        tier = fits[0] if fits else self.instrument.tiers[-1]
        if not gross or equity * MILLION >= gross * tier.maintenance_ppm:
            return False
        for leg in (LONG, SHORT):
            if self.position[leg]:
                fee_ppm = self.instrument.liquidation_fee_ppm
                self.book(leg, LIQUIDATION, -1, -1, self.price, self.position[leg], fee_ppm, maker=False)
        self.orders.clear()
        self.liquidated = True
        return True

    # --- fills ----------------------------------------------------------------------------------------------------

    def book(
        self, leg: int, purpose: int, level: int, gen: int, price: int, qty: int, ppm: int, *, maker: bool
    ) -> None:
        """Book a fill in the ledger and as a row (29)."""
        notional = price * qty * self.unit
        fee = (2 * notional * ppm + MILLION) // (2 * MILLION)
        realised = 0
        if purpose == ENTRY:
            self.position[leg] += qty
            self.cost[leg] += notional
        else:
            part = self.cost[leg] * qty // self.position[leg]
            realised = SIGN[leg] * (notional - part)
            self.position[leg] -= qty
            self.cost[leg] -= part
        self.wallet += realised - fee
        self.rows.append((self.ts, leg, purpose, level, gen, price, qty, fee, realised, int(maker)))
        self.seen[str(purpose)] = self.seen.get(str(purpose), 0) + 1

    def worsened(self, buys: bool, price: int) -> int:
        """Worsen a price by slippage, to the tick against the taker (9)."""
        return ceil_div(price * (MILLION + self.slip), MILLION) if buys else price * (MILLION - self.slip) // MILLION

    def fee_ppm(self, maker: bool) -> int:
        """Give the fee of a fill."""
        return int((self.sim.maker_bps if maker else self.sim.taker_bps) * 100)

    def buys(self, order: Order) -> bool:
        """Whether the order is a buy."""
        return (order.leg == LONG) == (order.purpose == ENTRY)

    def execute(self, order: Order, price: int, *, maker: bool) -> None:
        """Fill an order whole, end the other exits of its lots in the same instant (23)."""
        order.where = "over"
        leg, ppm = order.leg, self.fee_ppm(maker)
        if leg not in self.touched:
            self.touched.append(leg)
        if order.purpose == ENTRY:
            _, level, gen = order.rung
            self.book(leg, ENTRY, level, gen, price, order.qty, ppm, maker=maker)
            dist = max(Fraction(1), order.tp)
            stop = max(Fraction(1), Fraction(self.grid.exit.sl_steps) * order.step / MILLION)
            tp_price, stop_price = price + SIGN[leg] * dist, price - SIGN[leg] * stop
            rounding: Callable[[Fraction], int] = math.ceil if leg == LONG else math.floor
            self.newest_step[leg] = order.step
            lot = Lot(order.rung, price, order.qty, order.step, rounding(tp_price), rounding(stop_price))
            self.lots.append(lot)
            self.born.append(lot)
            return
        level, gen = order.lots[0].rung[1:] if len(order.lots) == 1 else (-1, -1)  # 27
        self.book(leg, order.purpose, level, gen, price, sum(lot.qty for lot in order.lots), ppm, maker=maker)
        closed = list(order.lots)
        self.lots = [lot for lot in self.lots if not any(lot is each for each in closed)]
        for other in self.orders:
            if other.purpose == ENTRY or other is order:
                continue
            other.lots = [lot for lot in other.lots if not any(lot is each for each in closed)]
            if not other.lots:
                other.where = "over"

    def beyond(self, order: Order, price: int) -> bool:
        """Whether a price fills a resting limit: strictly past it, or at it with ``touch``."""
        depth = order.price - price if self.buys(order) else price - order.price
        return depth >= 0 if self.sim.fill == "touch" else depth > 0

    def meets(self, order: Order, start: int, end: int) -> bool:
        """Whether a move from start to end fills or triggers a live order."""
        if order.purpose == STOP:
            return end >= order.price if self.buys(order) else end <= order.price
        if order.held_bar in (-1, self.bar_no):
            return self.beyond(order, end)
        low, high = min(start, end), max(start, end)
        return low < order.price if self.buys(order) else high > order.price  # 28: starts or ends beyond

    def is_ambiguous(self, order: Order, jump: bool) -> bool:
        """Whether the lot's other live exit lies inside the bar's range (28)."""
        if jump or order.purpose not in (TAKE_PROFIT, STOP):
            return False
        others = [o for o in self.orders if o.where == "live" and o.purpose in (TAKE_PROFIT, STOP) and o is not order]
        mine = {id(lot) for lot in order.lots}
        others = [o for o in others if o.purpose != order.purpose and mine & {id(lot) for lot in o.lots}]
        return any(self.low <= other.price <= self.high for other in others)

    def move(self, start: int, end: int, jump: bool) -> None:
        """Fill what a move meets, in the order in which it meets it; at one price the oldest first (4, section 9)."""
        if start == end:
            return
        way = 1 if end > start else -1
        met = [o for o in self.orders if o.where == "live" and self.meets(o, start, end)]
        for order in sorted(met, key=lambda o: (way * o.price, o.age)):
            if order.where != "live":
                continue
            if self.is_ambiguous(order, jump):
                self.ambiguous.add(self.bar_no)
                if self.sim.pessimistic and order.purpose == TAKE_PROFIT:
                    order.held_bar = self.bar_no
                    continue
            if order.held_bar == self.bar_no:
                continue
            if order.purpose == STOP:
                price = self.worsened(self.buys(order), end if jump else order.price)
                self.execute(order, price, maker=False)
            else:
                self.execute(order, order.price, maker=True)
        self.orders = [o for o in self.orders if o.where != "over"]

    # --- what falls due -------------------------------------------------------------------------------------------

    def fall_due(self) -> None:
        """Let fall due: cancels, stops and market reductions, take-profits, entries, until nothing is due (2)."""
        while True:
            self.send_retries()
            due = [o for o in self.orders if o.where == "flying" and o.live_ns <= self.ts]
            cancels = [c for c in self.cancels if c[0] <= self.ts]
            changes = [c for c in self.changes if c[0] <= self.ts]
            if not due and not cancels and not changes:
                return
            self.cancels = [c for c in self.cancels if c[0] > self.ts]
            self.changes = [c for c in self.changes if c[0] > self.ts]
            for _, order in cancels:
                if order.where != "over":
                    order.where = "over"
                    self.confirmed.append(order)
            for _, leg, set_no in changes:
                for old in self.orders:
                    if old.purpose == STOP and not old.market and old.leg == leg and old.set_no < set_no:
                        old.where = "over"
            rank = {STOP: 0, TAKE_PROFIT: 1, ENTRY: 2}
            for order in sorted(due, key=lambda o: (rank[o.purpose], o.no)):
                if order.where == "flying":
                    self.becomes_live(order)
            self.orders = [o for o in self.orders if o.where != "over"]
            self.answer()

    def becomes_live(self, order: Order) -> None:
        """Let an order become live, which may reject, trigger or fill it at once (5, 25)."""
        self.age += 1
        order.where, order.age = "live", self.age
        buys, price = self.buys(order), self.price
        if order.purpose == STOP:
            wrong = price >= order.price if buys else price <= order.price
            if order.market or wrong:
                self.execute(order, self.worsened(buys, price), maker=False)
            return
        crosses = order.price >= price if buys else order.price <= price
        if not crosses:
            return
        if order.purpose == ENTRY and self.grid.execution.post_only:
            self.rejected.append(order)
            order.where = "refused"
            return
        worse = self.worsened(buys, price)
        self.execute(order, min(worse, order.price) if buys else max(worse, order.price), maker=False)

    # --- the strategy's answers -----------------------------------------------------------------------------------

    def answer(self) -> None:
        """Answer a batch: exits for new lots, retries, rungs that waited for a cancel, then the stops anew."""
        born, rejected, confirmed, touched = self.born, self.rejected, self.confirmed, sorted(self.touched)
        self.born, self.rejected, self.confirmed, self.touched = [], [], [], []
        for lot in born:
            if any(lot is each for each in self.lots):
                self.send(Order(0, TAKE_PROFIT, lot.rung[0], lot.tp_price, lot.qty, 0, lots=[lot]))
        for order in rejected:
            self.retry(order)
        for order in confirmed:
            wish = self.wanted.get(order.rung)
            if wish is not None:
                self.send_entry(order.rung, wish)
        for leg in touched:
            self.renew_stops(leg)

    def retry(self, order: Order) -> None:
        """Wait to send a rejected entry one tick further (21)."""
        order.attempt += 1
        k, execution = order.attempt, self.grid.execution
        near = k * MILLION <= order.rung_price * int(execution.retry_max_price_deviation_bps * 100)
        if order.cancelling:
            return  # stays "refused": its rung waits for the cancel's confirmation
        if k > execution.retry_attempts or not near:
            order.where = "over"
            self.orders = [o for o in self.orders if o is not order]
            return
        order.price = order.rung_price - SIGN[order.leg] * k
        order.where, order.send_ns = "waiting", self.ts + execution.retry_delay_ms * MILLION

    def send_retries(self) -> None:
        """Send the retries whose delay has passed."""
        for order in self.orders:
            if order.where == "waiting" and order.send_ns <= self.ts:
                self.no += 1
                order.no, order.where, order.live_ns = self.no, "flying", order.send_ns + self.latency
                self.seen["retry"] = self.seen.get("retry", 0) + 1

    def stop_groups(self, leg: int) -> list[tuple[int, list[Lot]]]:
        """Give the stops a leg should have, the earliest first: equal prices shared, neighbours merged (24, 26)."""
        lots = [lot for lot in self.lots if lot.rung[0] == leg and not lot.leaving]
        if not lots:
            return []
        if self.grid.exit.stop_scope == "leg":
            average = self.cost[leg] * MILLION // (self.position[leg] * self.unit)
            dist = max(Fraction(MILLION), Fraction(self.grid.exit.sl_steps) * self.newest_step[leg])
            exact = (average - SIGN[leg] * dist) / MILLION
            return [(math.ceil(exact) if leg == LONG else math.floor(exact), lots)]
        by_price: dict[int, list[Lot]] = {}
        for lot in lots:
            by_price.setdefault(lot.stop_price, []).append(lot)
        groups = sorted(by_price.items(), key=lambda item: -SIGN[leg] * item[0])
        late = [] if self.merges_wrong_side else [g for g in groups if self.wrong_side(leg, g[0])]
        groups = groups[len(late) :]
        while len(groups) > self.grid.exit.max_stop_orders:
            self.seen["merge"] = self.seen.get("merge", 0) + 1
            gaps = [
                (abs(near[0] - far[0]), -abs(far[0] - self.price), i) for i, (near, far) in enumerate(pairwise(groups))
            ]
            i = min(gaps)[2]
            groups[i : i + 2] = [(groups[i][0], groups[i][1] + groups[i + 1][1])]
        return late + groups

    def wrong_side(self, leg: int, trigger: int) -> bool:
        """Whether a stop would trigger at this mark already, equality included (25)."""
        return self.price * SIGN[leg] <= trigger * SIGN[leg]

    def renew_stops(self, leg: int) -> None:
        """Replace a leg's stops as one set; a wrong-side stop goes as a market reduction (25)."""
        groups = self.stop_groups(leg)
        last = {
            (o.price, frozenset(map(id, o.lots))): o
            for o in self.orders
            if o.purpose == STOP and not o.market and o.where != "over" and o.set_no == self.newest_set[leg]
        }
        wanted = [((price, frozenset(map(id, lots))), lots, self.wrong_side(leg, price)) for price, lots in groups]
        if set(last) == {key for key, _, _ in wanted} and not any(wrong for _, _, wrong in wanted):
            return
        self.sets += 1
        self.newest_set[leg] = self.sets
        for key, lots, wrong in wanted:
            if self.keeps_unchanged_stops and key in last and not wrong:
                last[key].set_no = self.sets
                continue
            self.send(Order(0, STOP, leg, key[0], 0, 0, market=wrong, set_no=self.sets, lots=list(lots)))
            if wrong:
                self.seen["wrong side"] = self.seen.get("wrong side", 0) + 1
                for lot in lots:
                    lot.leaving = True
        self.changes.append((self.ts + self.latency, leg, self.sets))
