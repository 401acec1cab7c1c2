"""A made backtest: two instruments, a small grid on a seeded walk, with everything that a result can hold.

It is a toy of its own that shares only the ledger with the house, so what is made of its tables can be compared with
what it counted itself while it walked.

Invariants: the same arguments make the same result; wallet = initial wallet + realised - fees - funding at every row;
the exits of a lot close it exactly once; no order fills in the move in which it was placed.
"""

from random import Random
from typing import Final

import attrs
import numpy as np

from hedgegrid.backtest import result as r
from hedgegrid.backtest.logbook import CLEARED, FLATTEN_DONE, FLATTEN_STARTED, RAISED, RECOVERING
from hedgegrid.core import ledger
from hedgegrid.core.codes import (
    BACKSTOP,
    DOWN,
    ENTRY,
    FLATTEN,
    LIMIT,
    LIQUIDATION,
    LONG,
    MARKET,
    SHORT,
    SIDEWAYS,
    STOP,
    STOP_MARKET,
    TAKE_PROFIT,
    UP,
)
from hedgegrid.core.records import LegAccount
from hedgegrid.core.risk import MAX_GROSS_NOTIONAL, PRICE_COLLAR
from hedgegrid.core.standing import ACCOUNT, DRAWDOWN, FUNDING_MISSING
from hedgegrid.units import CASH_SCALE, MICRO, PPM
from hedgegrid.venues.simulated.arrays import BarArrays
from tests.backtest.made_market import BAR_NS, BTC, ETH, START_NS, STARTS_TICKS, made_bars

MAKER_PPM: Final = 200
TAKER_PPM: Final = 500
WALLET_E8: Final = 10_000 * CASH_SCALE
TAKERS_PPM: Final = (TAKER_PPM, TAKER_PPM)
"""The taker fee of each instrument, as ``measure`` is told it."""
_LEVELS: Final = 3
_FUNDING_BARS: Final = 8

_LOTS: Final = (10, 180)


@attrs.define
class _Order:
    no: int
    instrument: int
    leg: int
    purpose: int
    kind: int
    level: int
    generation: int
    price_ticks: int
    qty_lots: int
    placed_ns: int
    ended_ns: int = 0
    outcome: int = r.OPEN
    filled_lots: int = 0
    control: int = 0
    covers: list[tuple[int, int]] = attrs.Factory(list)

    def row(self) -> tuple[int, ...]:
        values: tuple[int, ...] = attrs.astuple(self, recurse=False)[:-1]
        return values


@attrs.define
class _Lot:
    level: int
    generation: int
    qty_lots: int
    born_bar: int


@attrs.define
class _Desk:
    """One instrument: its bars, legs, grid, orders at work and open lots."""

    bars: BarArrays
    price: int
    accounts: tuple[LegAccount, LegAccount]
    center: int = 0
    step: int = 0
    generation: int = 0
    working: list[_Order] = attrs.Factory(list)
    lots: dict[int, _Lot] = attrs.Factory(dict)


class MadeRun:
    """Walks the bars point by point and writes every table. ``realised_e8`` and its fellows are its own sums."""

    def __init__(self, *, seed: int, bars: int, wallet_e8: int, drop_bar: int, qty_factor: int) -> None:
        """Prepare a run; nothing has happened yet."""
        self.instruments = (BTC, ETH)
        self.dice = Random(seed)
        self.wallet_e8 = wallet_e8
        self.qty_factor = qty_factor
        self.bars = bars
        self.desks = [
            _Desk(
                bars=made_bars(seed * 2 + i, bars, start, drop_bar=drop_bar),
                price=start,
                accounts=(LegAccount(), LegAccount()),
            )
            for i, start in enumerate(STARTS_TICKS)
        ]
        self.orders: list[_Order] = []
        self.rows: dict[str, list[tuple[int, ...]]] = {
            name: [] for name in ("fills", "cuts", "equity", "funding", "grids", "pauses")
        }
        self.holdings: list[list[tuple[int, ...]]] = []
        self.curve: list[tuple[int, int]] = [(START_NS, wallet_e8)]
        self.ts_ns = START_NS
        self.death = (0, 0, 0)
        self.tripped = False

    def sums(self) -> tuple[int, int, int]:
        """Realised profit, fees and funding so far, in quote x 1e8."""
        legs = [account for desk in self.desks for account in desk.accounts]
        return (
            sum(leg.realised_e8 for leg in legs),
            sum(leg.fees_e8 for leg in legs),
            sum(leg.funding_e8 for leg in legs),
        )

    def wallet(self) -> int:
        """The wallet now, in quote x 1e8."""
        realised, fees, funding = self.sums()
        return self.wallet_e8 + realised - fees - funding

    def unrealised(self) -> int:
        """The open profit of all legs at the present prices."""
        return sum(
            ledger.unrealised_e8(desk.accounts[leg], leg, desk.price, rules.unit_e8)
            for desk, rules in zip(self.desks, self.instruments, strict=True)
            for leg in (LONG, SHORT)
        )

    # --- orders -----------------------------------------------------------------------------------------------------

    def place(
        self, instrument: int, leg: int, purpose: int, kind: int, rung: tuple[int, int], price: int, qty: int
    ) -> _Order:
        """Write an order down and put it to work."""
        order = _Order(
            no=len(self.orders) + 1,
            instrument=instrument,
            leg=leg,
            purpose=purpose,
            kind=kind,
            level=rung[0],
            generation=rung[1],
            price_ticks=price,
            qty_lots=qty,
            placed_ns=self.ts_ns,
        )
        self.orders.append(order)
        self.desks[instrument].working.append(order)
        return order

    def end(self, order: _Order, outcome: int, control: int = 0) -> None:
        """End an order."""
        order.ended_ns, order.outcome, order.control = self.ts_ns, outcome, control
        self.desks[order.instrument].working.remove(order)

    def fill(self, order: _Order, price: int, *, maker: bool) -> None:
        """Fill an order whole: money, the row, its lot or its cuts, and what follows for other orders."""
        desk, unit = self.desks[order.instrument], self.instruments[order.instrument].unit_e8
        account, qty = desk.accounts[order.leg], order.qty_lots
        notional = ledger.notional_e8(price, qty, unit)
        ppm = MAKER_PPM if maker else self.instruments[order.instrument].liquidation_fee_ppm
        fee = ledger.fee_e8(notional, ppm if maker or order.purpose == LIQUIDATION else TAKER_PPM)
        account.fees_e8 += fee
        if order.purpose == ENTRY:
            ledger.increase(account, qty, notional)
            realised = 0
        else:
            realised = ledger.reduce(account, order.leg, qty, notional)
        index = len(self.rows["fills"])
        one = len(order.covers) == 1 or order.purpose == ENTRY
        rung = (order.level, order.generation) if one else (-1, -1)
        no = 0 if order.purpose == LIQUIDATION else order.no
        self.rows["fills"].append(
            (
                self.ts_ns,
                order.instrument,
                order.leg,
                order.purpose,
                *rung,
                price,
                qty,
                fee,
                int(maker),
                realised,
                no,
                index + 1,
            )
        )
        order.filled_lots = qty
        self.end(order, r.FILLED)
        if order.purpose == ENTRY:
            desk.lots[index + 1] = _Lot(order.level, order.generation, qty, (self.ts_ns - START_NS) // BAR_NS)
            self._protect(order, index + 1, price)
        for lot_id, cut in order.covers:
            self.rows["cuts"].append((index, lot_id, order.instrument, cut))
            self._cut(order.instrument, lot_id, cut)

    def _protect(self, entry: _Order, lot_id: int, price: int) -> None:
        """Give a lot its take-profit, and its stop; every third lot's stop is shared with the lot before it."""
        desk = self.desks[entry.instrument]
        sign = 1 if entry.leg == LONG else -1
        rung = (entry.level, entry.generation)
        gain, loss = price + sign * desk.step, price - sign * 4 * desk.step
        exit_ = self.place(entry.instrument, entry.leg, TAKE_PROFIT, LIMIT, rung, gain, entry.qty_lots)
        exit_.covers = [(lot_id, entry.qty_lots)]
        stops = [one for one in desk.working if one.purpose == STOP and one.leg == entry.leg]
        if stops and lot_id % 3 == 0:
            stops[-1].covers.append((lot_id, entry.qty_lots))
            stops[-1].qty_lots += entry.qty_lots
            stops[-1].level = stops[-1].generation = -1
        else:
            stop = self.place(entry.instrument, entry.leg, STOP, STOP_MARKET, rung, loss, entry.qty_lots)
            stop.covers = [(lot_id, entry.qty_lots)]
        if lot_id % 5 == 0:
            back = self.place(
                entry.instrument, entry.leg, BACKSTOP, STOP_MARKET, (-1, -1), loss - sign * 9 * desk.step, 0
            )
            self.end(back, r.NOTHING_LEFT)

    def _cut(self, instrument: int, lot_id: int, cut: int) -> None:
        """Take a closed quantity off a lot and off its other exits."""
        desk = self.desks[instrument]
        desk.lots[lot_id].qty_lots -= cut
        if desk.lots[lot_id].qty_lots == 0:
            del desk.lots[lot_id]
        for order in list(desk.working):
            for cover in [one for one in order.covers if one[0] == lot_id]:
                gone = min(cut, cover[1])
                order.covers.remove(cover)
                if cover[1] > gone:
                    order.covers.append((lot_id, cover[1] - gone))
                order.qty_lots -= gone
                if order.qty_lots == 0:
                    self.end(order, r.ENDED_BY_EXIT)

    # --- time -------------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Walk all bars, or until the account is liquidated."""
        for bar in range(self.bars):
            for point in range(4):
                self.ts_ns = START_NS + bar * BAR_NS + point * BAR_NS // 4
                for index in range(len(self.desks)):
                    self._move(index, bar, point)
                if point == 0 and bar and bar % _FUNDING_BARS == 0:
                    self._settle(bar)
                self.curve.append((self.ts_ns, self.wallet() + self.unrealised()))
                if self._dies():
                    return
            self._decide(bar)

    def _move(self, index: int, bar: int, point: int) -> None:
        """Move one market to a point of a bar and fill what the move meets."""
        desk = self.desks[index]
        b = desk.bars
        rising = b.close_ticks[bar] >= b.open_ticks[bar]
        low, high = int(b.low_ticks[bar]), int(b.high_ticks[bar])
        path = (int(b.open_ticks[bar]), low if rising else high, high if rising else low, int(b.close_ticks[bar]))
        before, desk.price = desk.price, path[point]
        lowest, highest = min(before, desk.price), max(before, desk.price)
        for order in list(desk.working):
            buys = (order.leg == LONG) == (order.purpose == ENTRY)
            if order not in desk.working or order.placed_ns == self.ts_ns:
                continue
            if order.kind == LIMIT and (lowest < order.price_ticks if buys else highest > order.price_ticks):
                self.fill(order, order.price_ticks, maker=True)
            elif order.kind == STOP_MARKET and (highest >= order.price_ticks if buys else lowest <= order.price_ticks):
                self.fill(order, order.price_ticks + (3 if buys else -3), maker=False)

    def _settle(self, bar: int) -> None:
        """Charge a settlement; its rate changes sign."""
        for index, (desk, rules) in enumerate(zip(self.desks, self.instruments, strict=True)):
            rate = 10_000 if bar % (5 * _FUNDING_BARS) else -4_000
            paid = []
            for leg in (LONG, SHORT):
                notional = ledger.notional_e8(desk.price, desk.accounts[leg].qty_lots, rules.unit_e8)
                paid.append(ledger.funding_charge_e8(leg, notional, rate))
                desk.accounts[leg].funding_e8 += paid[-1]
            self.rows["funding"].append((self.ts_ns, index, rate, desk.price, *paid))

    def _dies(self) -> bool:
        """Liquidate the account where its equity is under the maintenance margin."""
        needed = 0
        for desk, rules in zip(self.desks, self.instruments, strict=True):
            gross = ledger.notional_e8(desk.price, sum(one.qty_lots for one in desk.accounts), rules.unit_e8)
            ppm = next(tier.maintenance_ppm for tier in rules.tiers if gross <= tier.max_notional_e8)
            needed += -(-gross * ppm // PPM)
        equity = self.wallet() + self.unrealised()
        if equity >= needed:
            return False
        self.death = (self.ts_ns, equity, needed)
        for index, desk in enumerate(self.desks):
            for order in list(desk.working):
                self.end(order, r.LIQUIDATED)
            for leg in (LONG, SHORT):
                if desk.accounts[leg].qty_lots:
                    order = self.place(
                        index, leg, LIQUIDATION, MARKET, (-1, -1), desk.price, desk.accounts[leg].qty_lots
                    )
                    self.fill(order, desk.price, maker=False)
                    self.orders.remove(order)
            desk.lots.clear()
        self.curve.append((self.ts_ns, self.wallet()))
        return True

    def _decide(self, bar: int) -> None:
        """Sample the account; then move the grid, pause or flatten where it is time, and offer the free rungs."""
        self.rows["equity"].append((self.ts_ns, self.wallet(), self.unrealised(), *self.sums()))
        self.holdings.append(
            [
                (desk.price, long.qty_lots, long.cost_e8, short.qty_lots, short.cost_e8)
                for desk in self.desks
                for long, short in [desk.accounts]
            ]
        )
        if bar == self.bars // 3:
            self.rows["pauses"].append((self.ts_ns, FUNDING_MISSING, 1, RAISED, 0, 0))
        if bar == self.bars // 3 + 5:
            self.rows["pauses"] += [
                (self.ts_ns, FUNDING_MISSING, 1, RECOVERING, 0, 0),
                (self.ts_ns, FUNDING_MISSING, 1, CLEARED, 0, 0),
            ]
        if bar >= self.bars - 8 and not self.tripped and all(desk.lots for desk in self.desks):
            self._trip()
        if not self.tripped:
            for index in range(len(self.desks)):
                self._offer(index, bar)

    def _trip(self) -> None:
        """Let the drawdown control trip: entries go, the first instrument's legs are closed at the market."""
        self.tripped = True
        self.rows["pauses"] += [
            (self.ts_ns, DRAWDOWN, ACCOUNT, RAISED, 101_500, 100_000),
            (self.ts_ns, DRAWDOWN, ACCOUNT, FLATTEN_STARTED, 0, 0),
        ]
        for desk in self.desks:
            for order in [one for one in desk.working if one.purpose == ENTRY]:
                self.end(order, r.CANCELLED)
        desk = self.desks[0]
        for leg in (LONG, SHORT):
            covers = [
                (lot_id, lot.qty_lots) for lot_id, lot in desk.lots.items() if self.rows["fills"][lot_id - 1][2] == leg
            ]
            if covers:
                qty = sum(cut for _, cut in covers)
                order = self.place(0, leg, FLATTEN, MARKET, (-1, -1), 0, qty)
                order.covers = covers
                self.fill(order, desk.price + (-5 if leg == LONG else 5), maker=False)
        self.rows["pauses"].append((self.ts_ns, 0, ACCOUNT, FLATTEN_DONE, 0, 0))

    def _offer(self, index: int, bar: int) -> None:
        """Recenter where the price left, and place the rungs that have neither an order nor an open lot."""
        desk, unit = self.desks[index], self.instruments[index].unit_e8
        if desk.center == 0 or abs(desk.price - desk.center) * 100 > 2 * desk.center:
            desk.center, desk.step, desk.generation = desk.price, max(1, desk.price // 250), desk.generation + 1
            regime = (SIDEWAYS, UP, DOWN)[desk.generation % 3]
            self.rows["grids"].append((self.ts_ns, index, regime, desk.center, desk.step * MICRO, desk.generation))
            for order in [one for one in desk.working if one.purpose == ENTRY]:
                self.end(order, r.CANCELLED)
        taken = {(one.leg, one.level) for one in desk.working if one.purpose == ENTRY}
        held = {(self.rows["fills"][lot_id - 1][2], lot.level) for lot_id, lot in desk.lots.items()}
        for leg, level in [(leg, level) for level in range(1, _LEVELS + 1) for leg in (LONG, SHORT)]:
            if (leg, level) in taken | held:
                continue
            price = desk.center - level * desk.step * (1 if leg == LONG else -1)
            rung, qty = (level, desk.generation), _LOTS[index] * self.qty_factor
            order = self.place(index, leg, ENTRY, LIMIT, rung, price, qty)
            if (desk.price <= price) == (leg == LONG):
                self.end(order, r.REJECTED)
            elif self.dice.random() < 0.04:
                self.end(order, r.REFUSED, MAX_GROSS_NOTIONAL if level > 1 else PRICE_COLLAR)
            assert price * qty * unit > 0, (bar, index)


def _extremes(curve: list[tuple[int, int]]) -> r.Extremes:
    """Walk equity at every point once, in plain Python."""
    (peak_ns, peak), worst, longest, since = curve[0], (0.0, *curve[0], *curve[0]), 0, curve[0][0]
    for ts_ns, equity in curve:
        if equity >= peak:
            peak, peak_ns, since = equity, ts_ns, ts_ns
        elif (peak - equity) / peak > worst[0]:
            worst = ((peak - equity) / peak, peak_ns, peak, ts_ns, equity)
        longest = max(longest, ts_ns - since)
    return r.Extremes(
        peak_e8=worst[2],
        peak_ns=worst[1],
        trough_e8=worst[4],
        trough_ns=worst[3],
        drawdown_ppm=(worst[2] - worst[4]) * PPM // worst[2],
        longest_ns=longest,
        least_equity_e8=min(equity for _, equity in curve),
    )


def made_run(
    *, seed: int = 7, bars: int = 1_900, wallet_e8: int = WALLET_E8, drop_bar: int = -1, qty_factor: int = 1
) -> MadeRun:
    """Walk a run to its end. For a liquidation: ``drop_bar=200, qty_factor=8, wallet_e8=6_000 * CASH_SCALE``."""
    run = MadeRun(seed=seed, bars=bars, wallet_e8=wallet_e8, drop_bar=drop_bar, qty_factor=qty_factor)
    run.run()
    return run


def result_of(run: MadeRun) -> r.BacktestResult:
    """Give the tables of a run."""
    layouts = {
        "fills": r.FILL,
        "cuts": r.CUT,
        "equity": r.EQUITY,
        "funding": r.FUNDING,
        "grids": r.GRID,
        "pauses": r.PAUSE,
    }
    tables = {name: np.array(run.rows[name], dtype=layout) for name, layout in layouts.items()}
    return r.BacktestResult(
        instruments=run.instruments,
        initial_wallet_e8=run.wallet_e8,
        start_ns=START_NS,
        end_ns=run.ts_ns,
        bar_length_ns=BAR_NS,
        is_ticks=False,
        points=4 * len(run.desks) * run.bars,
        orders=np.array([order.row() for order in run.orders], dtype=r.ORDER),
        holdings=np.array(run.holdings, dtype=r.HOLDING).reshape(-1, len(run.desks)),
        extremes=_extremes(run.curve),
        ambiguous_bars=3,
        below_minimum=2,
        liquidated_ns=run.death[0],
        liquidation_equity_e8=run.death[1],
        liquidation_needed_e8=run.death[2],
        bars=tuple(desk.bars for desk in run.desks),
        notes=(
            "BTC/USDT:USDT: a gap of 3 bars at row 120",
            "mark prices are the last prices: no mark series was given",
        ),
        data_identity="sha256:0f1e2d3c4b5a",
        **tables,
    )


def made_result(
    *, seed: int = 7, bars: int = 1_900, wallet_e8: int = WALLET_E8, drop_bar: int = -1, qty_factor: int = 1
) -> r.BacktestResult:
    """Make a result: 79 days of hourly bars by default, with fills, cuts, funding, pauses and grids."""
    return result_of(made_run(seed=seed, bars=bars, wallet_e8=wallet_e8, drop_bar=drop_bar, qty_factor=qty_factor))


def made_liquidation() -> r.BacktestResult:
    """Make a result that ended LIQUIDATED: too much for its wallet when the price halved."""
    return made_result(drop_bar=200, qty_factor=8, wallet_e8=6_000 * CASH_SCALE)
