"""The reference simulator's decision on a closed bar: section 5 of the design, step by step."""

import math
from fractions import Fraction

from tests.reference.state import (
    DOWN,
    ENTRY,
    LONG,
    MILLION,
    SHORT,
    SIDEWAYS,
    SIGN,
    UP,
    Order,
    Rung,
    State,
    Wish,
    ceil_div,
)

EIGHT_HOURS_NS = 8 * 3_600 * 10**9


class Decision(State):
    """Turns a closed bar into entries and cancels."""

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
        over = Fraction(abs(rate) * EIGHT_HOURS_NS, interval) > Fraction(funding.max_cost_bps_8h) * 10**4
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

    def send_entry(self, rung: Rung, wish: Wish) -> None:
        """Send an entry as the last decision wanted it."""
        order = Order(0, ENTRY, rung[0], wish.price, wish.lots, 0, rung=rung, rung_price=wish.price)
        order.tp, order.step = wish.tp, self.step
        self.send(order)
