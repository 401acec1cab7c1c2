"""A second, slow telling of the simulation, written from the design's text alone and sharing no code with the core.

It is for bars of one instrument without the risk gate. Exact arithmetic is int and Fraction; only indicators are
floats. Invariant: nothing is imported from ``hedgegrid.core``, so an error would have to be made twice to go unseen.
Comments name the paragraph of the design (section 14 unless said otherwise).
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from hedgegrid.config.grid import GridConfig
from hedgegrid.config.sim import SimConfig
from hedgegrid.model.instrument import Instrument

from tests.reference.indicators_by_the_book import Indicators

MILLION = 1_000_000
LONG, SHORT = 0, 1
KEEP = True
SIGN = (1, -1)
ENTRY, TAKE_PROFIT, STOP, LIQUIDATION = 0, 1, 2, 5
SIDEWAYS, UP, DOWN = 0, 1, 2
NS_PER_BPS_HOURS = 8 * 3_600 * 10**9

Row = tuple[int, int, int, int, int, int, int, int, int, int]
Rung = tuple[int, int, int]  # leg, level, generation
Bar = tuple[int, int, int, int, int]  # open_ns, open, high, low, close


@dataclass
class Lot:
    """A filled entry: its exits' prices in ticks, and whether a market reduction is on its way."""

    rung: Rung
    price: int
    qty: int
    step: int
    tp_price: int
    stop_price: int
    leaving: bool = False


@dataclass
class Order:
    """An order of any purpose; ``where`` is waiting (a retry), flying, live or over."""

    no: int
    purpose: int
    leg: int
    price: int
    qty: int
    live_ns: int
    where: str = "flying"
    market: bool = False
    age: int = 0
    rung: Rung = (0, -1, -1)
    rung_price: int = 0
    tp: Fraction = Fraction(0)
    step: int = 0
    attempt: int = 0
    send_ns: int = 0
    cancelling: bool = False
    held_bar: int = -1
    set_no: int = 0
    lots: list[Lot] = field(default_factory=list)


@dataclass
class Wish:
    """A rung that the ladder offers: price in ticks, quantity in millionths of a lot, take-profit distance in ticks."""

    price: int
    micro: int
    tp: Fraction
    crossing: bool
    lots: int = 0


def ceil_div(a: int, b: int) -> int:
    """Divide, rounded up."""
    return -((-a) // b)


class Simulator:
    """One instrument's market, venue and strategy in one."""

    def __init__(self, grid: GridConfig, sim: SimConfig, instrument: Instrument, wallet_e8: int, bar_ns: int) -> None:
        """Read the settings as exact figures."""
        self.grid, self.sim, self.instrument, self.bar_ns = grid, sim, instrument, bar_ns
        self.unit = instrument.unit_e8
        self.latency = sim.latency_ms * MILLION
        self.slip = int(sim.slippage_bps * 100)
        self.wallet = wallet_e8
        self.ind = Indicators(grid.regime, float(grid.ladder.vol_lambda))
        self.regime = SIDEWAYS
        self.center = self.step = self.generation = 0
        self.price, self.ts, self.bar_no, self.low, self.high = 0, 0, -1, 0, 0
        self.position, self.cost = [0, 0], [0, 0]
        self.newest_step, self.newest_set = [0, 0], [0, 0]
        self.orders: list[Order] = []
        self.cancels: list[tuple[int, Order]] = []
        self.changes: list[tuple[int, int, int]] = []  # (live_ns, leg, set_no): a leg's stops change as one set
        self.lots: list[Lot] = []
        self.wanted: dict[Rung, Wish] = {}
        self.rate: tuple[int, int] | None = None  # (stamp, rate x 1e8) of the last settlement
        self.settlements: list[tuple[int, int]] = []
        self.no = self.age = self.sets = 0
        self.touched: list[int] = []  # legs with fills since the strategy last answered
        self.rejected: list[Order] = []
        self.confirmed: list[Order] = []
        self.born: list[Lot] = []
        self.rows: list[Row] = []
        self.ambiguous: set[int] = set()
        self.seen: dict[str, int] = {}
        self.liquidated = False
        self.throttle = MILLION

    # --- the path -------------------------------------------------------------------------------------------------

    def run(self, bars: Iterable[Bar], settlements: Sequence[tuple[int, int]] = ()) -> list[Row]:
        """Walk bars to their end or to a liquidation; settlements are (ts, rate x 1e8), known before the first bar too."""
        self.settlements = sorted((ts // (60 * 10**9) * 60 * 10**9, rate) for ts, rate in settlements)
        for number, bar in enumerate(bars):
            self.walk(number, bar)
            if self.liquidated:
                break
        return self.rows

    def walk(self, number: int, bar: Bar) -> None:
        """Walk a bar's four points, then decide."""
        open_ns, first, high, low, close = bar
        path = (first, low, high, close) if close >= first else (first, high, low, close)
        if number == 0:
            for ts, rate in [each for each in self.settlements if each[0] < open_ns]:
                self.rate = (ts, rate)
            self.settlements = [each for each in self.settlements if each[0] >= open_ns]
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
            self.orders = [o for o in self.orders if o.where not in ("over",)]
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

    def send(self, order: Order) -> None:
        """Send an order now: it is live one latency later."""
        self.no += 1
        order.no, order.live_ns, order.where = self.no, self.ts + self.latency, "flying"
        self.orders.append(order)

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

    def send_entry(self, rung: Rung, wish: Wish) -> None:
        """Send an entry as the last decision wanted it."""
        order = Order(0, ENTRY, rung[0], wish.price, wish.lots, 0, rung=rung, rung_price=wish.price)
        order.tp, order.step = wish.tp, self.step
        self.send(order)

    def stop_groups(self, leg: int) -> list[tuple[int, list[Lot]]]:
        """Give the stops a leg should have, nearest to triggering first: equal prices shared, neighbours merged (24, 26)."""
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
        while len(groups) > self.grid.exit.max_stop_orders:
            self.seen["merge"] = self.seen.get("merge", 0) + 1
            gaps = [
                (abs(near[0] - far[0]), -abs(far[0] - self.price), i)
                for i, (near, far) in enumerate(zip(groups, groups[1:], strict=False))
            ]
            i = min(gaps)[2]
            groups[i : i + 2] = [(groups[i][0], groups[i][1] + groups[i + 1][1])]
        return groups

    def renew_stops(self, leg: int) -> None:
        """Replace a leg's stops as one set; a wrong-side stop goes as a market reduction (25)."""
        groups = self.stop_groups(leg)
        last = [o for o in self.orders if o.purpose == STOP and not o.market and o.leg == leg and o.where != "over"]
        newest = self.newest_set[leg]
        last = [o for o in last if o.set_no == newest]
        standing = {(o.price, frozenset(map(id, o.lots))) for o in last}
        if standing == {(price, frozenset(map(id, lots))) for price, lots in groups}:
            return
        self.sets += 1
        self.newest_set[leg] = self.sets
        for price, lots in groups:
            same = [o for o in last if KEEP and (o.price, set(map(id, o.lots))) == (price, set(map(id, lots)))]
            if same and self.price * SIGN[leg] > price * SIGN[leg]:
                same[-1].set_no = self.sets
                continue
            wrong = self.price * SIGN[leg] <= price * SIGN[leg]
            order = Order(0, STOP, leg, price, 0, 0, market=wrong, set_no=self.sets, lots=list(lots))
            self.send(order)
            if wrong:
                self.seen["wrong side"] = self.seen.get("wrong side", 0) + 1
                for lot in lots:
                    lot.leaving = True
        self.changes.append((self.ts + self.latency, leg, self.sets))

    # --- the decision ---------------------------------------------------------------------------------------------

    def decide(self, mid: int) -> None:
        """Decide on a closed bar (section 5)."""
        ind, regime = self.ind, self.grid.regime
        if ind.fast is None or ind.slow is None or ind.atr is None or ind.adx is None:
            return
        if abs(ind.fast - ind.slow) / ind.slow * 1e4 >= float(regime.hysteresis_bps):
            trend = UP if ind.fast > ind.slow else DOWN
            self.regime = SIDEWAYS if ind.adx < float(regime.adx_threshold) else trend
        ladder = self.grid.ladder
        if not self.center or abs(mid - self.center) * MILLION > self.center * int(ladder.recenter_trigger_bps * 100):
            self.center, self.generation = mid, self.generation + 1
            self.step = max(MILLION, mid * int(ladder.step_bps * 100))
            if ladder.spacing == "atr":
                self.step = max(self.step, math.floor(Fraction(ladder.atr_multiple) * Fraction(ind.atr) * MILLION))
        wishes: dict[Rung, Wish] = {}
        for leg in (LONG, SHORT):
            wishes.update(self.trimmed(leg, mid, self.guarded(leg, self.ladder(leg, mid))))
        self.wanted = {}
        self.diff(mid, wishes)

    def ladder(self, leg: int, mid: int) -> dict[Rung, Wish]:
        """Give a leg's rungs as policy leaves them (steps 5 and 6)."""
        ladder, policy = self.grid.ladder, self.grid.policy
        levels = ladder.levels_long if leg == LONG else ladder.levels_short
        counter = {UP: SHORT, DOWN: LONG, SIDEWAYS: -1}[self.regime]
        if policy.bias == "contrarian" and counter >= 0:
            counter = 1 - counter
        if policy.name == "both":
            counter = -1
        exact, tp_steps, rungs = self.center * MILLION, Fraction(self.grid.exit.tp_steps), {}
        for level in range(1, levels + 1):
            exact = self.next_price(leg, exact)
            price = exact // MILLION if leg == LONG else ceil_div(exact, MILLION)
            rung, tp, micro = (leg, level, self.generation), tp_steps, self.quantity(price, level)
            if counter == leg:
                if level > policy.counter_levels:
                    break
                if policy.name == "throttled-counter":
                    micro = micro * int(policy.counter_qty_scale * MILLION) // MILLION
                else:
                    tp = Fraction(1)
            elif counter >= 0 and policy.name == "core-and-scalp" and level > levels - policy.core_levels:
                tp *= Fraction(policy.core_tp_multiple)
            if price < 1 or any(lot.rung == rung for lot in self.lots):
                continue
            crossing = price >= mid if leg == LONG else price <= mid
            rungs[rung] = Wish(price, micro, tp * self.step / MILLION, crossing)
        return rungs

    def next_price(self, leg: int, exact: int) -> int:
        """Give the next rung's price in millionths of a tick (7)."""
        if not self.grid.ladder.geometric:
            return exact - SIGN[leg] * self.step
        ratio = self.step // self.center
        return exact * (MILLION - ratio) // MILLION if leg == LONG else ceil_div(exact * (MILLION + ratio), MILLION)

    def quantity(self, price: int, level: int) -> int:
        """Give a rung's quantity in millionths of a lot (8)."""
        ladder = self.grid.ladder
        if ladder.base_qty is not None:
            micro = math.floor(Fraction(ladder.base_qty) / Fraction(self.instrument.lot) * MILLION)
        else:
            assert ladder.base_quote is not None
            micro = math.floor(Fraction(ladder.base_quote) * 10**8 * MILLION / max(1, price * self.unit))
        for _ in range(level - 1):
            micro = micro * int(ladder.qty_scale * MILLION) // MILLION
        return micro

    def guarded(self, leg: int, rungs: dict[Rung, Wish]) -> dict[Rung, Wish]:
        """Apply the funding guard (step 7, 15)."""
        funding, interval = self.grid.funding, self.instrument.funding_interval_ns
        if self.rate is None or self.ts > self.rate[0] + interval:
            return {} if funding.on_missing == "pause" else rungs
        stamp, rate = self.rate
        left, window = stamp + interval - self.ts, funding.window_minutes * 60 * 10**9
        over = Fraction(abs(rate) * NS_PER_BPS_HOURS, interval) > Fraction(funding.max_cost_bps_8h) * 10**4
        pays = rate * SIGN[leg] > 0
        if not over or not pays or left > window or funding.mode == "warn":
            return rungs
        self.seen["guard"] = self.seen.get("guard", 0) + 1
        if funding.mode == "halt":
            return {}
        for wish in rungs.values():
            wish.micro = wish.micro * (left * MILLION // window) // MILLION
        return rungs

    def trimmed(self, leg: int, mid: int, rungs: dict[Rung, Wish]) -> dict[Rung, Wish]:
        """Trim to the inventory limit, then scale by volatility and throttle, then floor to lots (16, 17, 8)."""
        working = {o.rung: o for o in self.orders if o.purpose == ENTRY and o.leg == leg and o.where != "refused"}
        used = self.position[leg] * mid * self.unit
        used += sum(o.price * o.qty * self.unit for rung, o in working.items() if rung not in rungs)
        limit, factor, kept = self.grid.ladder.max_inventory_quote * 10**8, self.volatility_factor(), {}
        for rung, wish in rungs.items():
            order = working.get(rung)
            desired = 0 if wish.crossing and not order else wish.micro // MILLION * wish.price * self.unit
            used += max(desired, order.price * order.qty * self.unit if order else 0)
            if used > limit:
                self.seen["trim"] = self.seen.get("trim", 0) + 1
                break
            wish.lots = wish.micro * factor // MILLION * self.throttle // MILLION // MILLION
            enough = wish.lots * wish.price * self.unit >= self.instrument.min_notional_e8
            if wish.lots >= self.instrument.min_qty_lots and enough:
                kept[rung] = wish
        return kept

    def volatility_factor(self) -> int:
        """Give vol_target / realised volatility in ppm, at most one (17)."""
        target, variance = self.grid.ladder.vol_target, self.ind.variance
        if target is None or variance is None:
            return MILLION
        volatility = math.sqrt(variance * (365 * 86_400 * 10**9 / self.bar_ns))
        return math.floor(1e6 * float(target) / volatility) if volatility > float(target) else MILLION

    def diff(self, mid: int, wishes: dict[Rung, Wish]) -> None:
        """Bring the working entries to the wishes (18, 19, 20)."""
        execution = self.grid.execution
        cancels, busy = [], set()
        for order in [o for o in self.orders if o.purpose == ENTRY]:
            wish = wishes.get(order.rung)
            if order.cancelling:
                busy.add(order.rung)
                continue
            if wish is not None:
                far = abs(order.price - wish.price) * MILLION > wish.price * int(execution.price_tolerance_bps * 100)
                off = abs(order.qty - wish.lots) > wish.lots * execution.qty_tolerance_ratio
                if wish.crossing or not (far or off):
                    order.tp = wish.tp
                    busy.add(order.rung)
                    continue
            if order.where == "waiting":
                order.where = "over"
                continue
            order.cancelling = True
            busy.add(order.rung)
            cancels.append(order)
        self.orders = [o for o in self.orders if o.where != "over"]
        for order in sorted(cancels, key=lambda o: (abs(o.price - mid), o.leg, o.rung[2], o.rung[1])):
            self.cancels.append((self.ts + self.latency, order))
        self.wanted = {rung: wish for rung, wish in wishes.items() if not wish.crossing}
        adds = [(abs(wish.price - mid), *rung) for rung, wish in self.wanted.items() if rung not in busy]
        for _, leg, level, gen in sorted(adds, key=lambda a: (a[0], a[1], a[3], a[2])):
            self.send_entry((leg, level, gen), self.wanted[leg, level, gen])
