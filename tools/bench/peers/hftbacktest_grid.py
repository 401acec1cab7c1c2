# mypy: disable-error-code="import-not-found, import-untyped"
# ruff: noqa: FBT003, PLR0913, PLR0917 - compiled functions of scalars and arrays, called by place
"""The grid in hftbacktest: a compiled loop over its engine, on the same trades and the best bid and ask that they saw.

The loop lets ``poll_ns`` of market time go by, asks whether anything filled, answers with exits, and decides where a
bar ends, as the library's own grid tutorials do: waking at every trade would cost it far more. Orders rest post-only
and without latency; the engine fills a limit whole when a trade or the opposite best price goes through it, and at its
own price once the queue ahead of it is gone. The library has no stop orders: the loop watches them and takes at the
market.

Invariant: each run has an engine of its own, built outside the clock.
"""

from typing import Any

import hftbacktest as hft
import numpy as np
from hftbacktest import BacktestAsset, HashMapMarketDepthBacktest
from hftbacktest.types import event_dtype
from numpy.typing import NDArray

from tools.bench.peers.measuring import MICRO, Case, Fills, IntArray, compiled, main

Engine = Any
"""One of the library's compiled classes."""

LONG, SHORT = 0, 1
ENTRY, TAKE_PROFIT, STOP = 0, 1, 2
LOTS_MAX = 4096
FAR = 1 << 60

# Slots of ``grid``: the scalars that a run changes.
CENTER, STEP, GENERATION, LOTS, LAST_ID, SEEN, STOP_BELOW, STOP_ABOVE = range(8)
# Columns of ``lots``.
LEG, LEVEL, BORN, TARGET_ID, TRIGGER = range(5)
# What a rung holds where it holds no order's id.
FREE, BUSY = 0, -1

GTX, GTC, LIMIT, MARKET, FILLED, EXPIRED = hft.GTX, hft.GTC, hft.LIMIT, hft.MARKET, hft.FILLED, hft.EXPIRED


@compiled
def send(engine: Engine, grid: IntArray, leg: int, price: float, qty: float, kind: int, force: int) -> int:
    """Buy for LONG and sell for SHORT; give the order's id."""
    grid[LAST_ID] += 1
    order_id = grid[LAST_ID]
    if leg == LONG:
        engine.submit_buy_order(0, order_id, price, qty, force, kind, False)
    else:
        engine.submit_sell_order(0, order_id, price, qty, force, kind, False)
    return int(order_id)


@compiled
def watch_stops(grid: IntArray, lots: IntArray) -> None:
    """Note the nearest stop on either side."""
    grid[STOP_BELOW], grid[STOP_ABOVE] = -FAR, FAR
    for k in range(grid[LOTS]):
        if lots[k, LEG] == LONG:
            grid[STOP_BELOW] = max(grid[STOP_BELOW], lots[k, TRIGGER])
        else:
            grid[STOP_ABOVE] = min(grid[STOP_ABOVE], lots[k, TRIGGER])


@compiled
def close_lot(grid: IntArray, rungs: IntArray, lots: IntArray, k: int) -> None:
    """Forget a lot and free its rung."""
    if lots[k, BORN] == grid[GENERATION]:
        rungs[lots[k, LEG], lots[k, LEVEL]] = FREE
    grid[LOTS] -= 1
    lots[k] = lots[grid[LOTS]]


@compiled
def take_fills(
    engine: Engine,
    grid: IntArray,
    rungs: IntArray,
    prices: IntArray,
    lots: IntArray,
    counts: IntArray,
    scalars: IntArray,
    tick: float,
    qty: float,
) -> None:
    """Book what filled since the last look: exits first, then entries, which become lots with a take-profit."""
    orders = engine.orders(0)
    for k in range(grid[LOTS] - 1, -1, -1):
        if orders.get(lots[k, TARGET_ID]).status == FILLED:
            counts[TAKE_PROFIT] += 1
            close_lot(grid, rungs, lots, k)
    for leg in range(2):
        for level in range(scalars[0]):
            order_id = rungs[leg, level]
            if order_id <= 0 or order_id not in orders or orders.get(order_id).status != FILLED:
                continue
            counts[ENTRY] += 1
            rungs[leg, level] = BUSY
            price, sign = prices[leg, level], 1 if leg == LONG else -1
            target = price + sign * ((scalars[3] * grid[STEP] + MICRO - 1) // MICRO)
            lot = lots[grid[LOTS]]
            lot[LEG], lot[LEVEL], lot[BORN] = leg, level, grid[GENERATION]
            lot[TARGET_ID] = send(engine, grid, 1 - leg, target * tick, qty, LIMIT, GTC)
            lot[TRIGGER] = price - sign * (scalars[4] * grid[STEP] // MICRO)
            grid[LOTS] += 1
    engine.clear_inactive_orders(0)
    watch_stops(grid, lots)


@compiled
def take_stops(
    engine: Engine,
    grid: IntArray,
    rungs: IntArray,
    lots: IntArray,
    counts: IntArray,
    bid_ticks: int,
    ask_ticks: int,
    qty: float,
) -> None:
    """Take every lot whose stop was touched out at the market."""
    for k in range(grid[LOTS] - 1, -1, -1):
        leg, trigger = lots[k, LEG], lots[k, TRIGGER]
        if (bid_ticks <= trigger) if leg == LONG else (ask_ticks >= trigger):
            engine.cancel(0, lots[k, TARGET_ID], False)
            send(engine, grid, 1 - leg, 0.0, qty, MARKET, GTC)
            counts[STOP] += 1
            close_lot(grid, rungs, lots, k)
    watch_stops(grid, lots)


@compiled
def decide(
    engine: Engine,
    grid: IntArray,
    rungs: IntArray,
    prices: IntArray,
    scalars: IntArray,
    mid: int,
    tick: float,
    qty: float,
) -> None:
    """Recenter where the mid left the center, and rest every rung that is free."""
    levels, center = scalars[0], grid[CENTER]
    orders = engine.orders(0)
    if center == 0 or abs(mid - center) * MICRO > center * scalars[2]:
        step = max(MICRO, mid * scalars[1])
        grid[CENTER], grid[STEP] = mid, step
        grid[GENERATION] += 1
        for level in range(levels):
            far = (level + 1) * step
            prices[LONG, level] = (mid * MICRO - far) // MICRO
            prices[SHORT, level] = (mid * MICRO + far + MICRO - 1) // MICRO
            for leg in range(2):
                if rungs[leg, level] > 0:
                    engine.cancel(0, rungs[leg, level], False)
                rungs[leg, level] = FREE
    for leg in range(2):
        for level in range(levels):
            order_id, price = rungs[leg, level], prices[leg, level]
            if order_id > 0 and (order_id not in orders or orders.get(order_id).status == EXPIRED):
                order_id = FREE
            if order_id == FREE and ((price < mid) if leg == LONG else (price > mid)):
                rungs[leg, level] = send(engine, grid, leg, price * tick, qty, LIMIT, GTX)


@compiled
def trade(
    engine: Engine,
    grid: IntArray,
    rungs: IntArray,
    prices: IntArray,
    lots: IntArray,
    counts: IntArray,
    scalars: IntArray,
    bar_ns: int,
    poll_ns: int,
    tick: float,
    qty: float,
) -> None:
    """Let the market go by, a poll at a time, to its end."""
    bars, bar_end_ns = 0, 0
    while engine.elapse(poll_ns) == 0:
        now_ns = engine.current_timestamp
        filled = engine.state_values(0).num_trades
        if filled != grid[SEEN]:
            grid[SEEN] = filled
            take_fills(engine, grid, rungs, prices, lots, counts, scalars, tick, qty)
        depth = engine.depth(0)
        bid, ask = depth.best_bid_tick, depth.best_ask_tick
        if bid <= grid[STOP_BELOW] or ask >= grid[STOP_ABOVE]:
            take_stops(engine, grid, rungs, lots, counts, bid, ask, qty)
        if now_ns >= bar_end_ns:
            if bar_end_ns > 0 and bars >= scalars[6]:
                decide(engine, grid, rungs, prices, scalars, (bid + ask) // 2, tick, qty)
            bars += bar_end_ns > 0
            bar_end_ns = (now_ns // bar_ns + 1) * bar_ns


def level_changes(
    columns: dict[str, IntArray], leg: int, setup_tick: float, lot: float
) -> tuple[IntArray, NDArray[np.void]]:
    """Give the rows before which a side's best price changed, and two events for each: the new level, the old gone."""
    name, flag = (("bid", hft.BUY_EVENT), ("ask", hft.SELL_EVENT))[leg]
    price, qty = columns[f"{name}_ticks"], columns[f"{name}_qty_lots"]
    rows = np.concatenate([[0], np.flatnonzero(np.diff(price)) + 1])
    events = np.zeros((len(rows), 2), event_dtype)
    events["ev"] = hft.EXCH_EVENT | hft.LOCAL_EVENT | hft.DEPTH_EVENT | flag
    events["exch_ts"] = events["local_ts"] = columns["ts_ns"][rows][:, None]
    events["px"][:, 0] = price[rows] * setup_tick
    events["qty"][:, 0] = np.maximum(qty[rows], 1) * lot
    # The first row has no old level: it names the new one's neighbour, where nothing is.
    events["px"][:, 1] = np.concatenate([price[:1] + (1 if leg else -1), price[rows[1:] - 1]]) * setup_tick
    return rows, events


def events_of(case: Case) -> NDArray[np.void]:
    """Give the market in the library's form: each trade, and before it what changed of the best bid and ask."""
    columns, tick, lot = case.columns, float(case.setup.tick), float(case.setup.lot)
    changes = [level_changes(columns, leg, tick, lot) for leg in (LONG, SHORT)]
    # Where the book moves up its ask goes first, where it moves down its bid: no two sides ever cross.
    rises = np.diff(columns["bid_ticks"], prepend=columns["bid_ticks"][:1]) > 0
    places = [np.arange(case.events) * 4 + 3]
    for leg, (rows, _) in enumerate(changes):
        places.append(np.repeat(rows * 4 + np.where(rises[rows] == (leg == SHORT), 0, 1), 2))
    order = np.argsort(np.concatenate(places), kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    trades, *levels = np.split(place, np.cumsum([len(each) for each in places])[:-1])
    events = np.zeros(len(order), event_dtype)
    bought = columns["price_ticks"] >= columns["ask_ticks"]
    side = np.where(bought, hft.BUY_EVENT, hft.SELL_EVENT).astype(np.uint64)
    events["ev"][trades] = side | np.uint64(hft.EXCH_EVENT | hft.LOCAL_EVENT | hft.TRADE_EVENT)
    events["exch_ts"][trades] = events["local_ts"][trades] = columns["ts_ns"]
    events["px"][trades] = columns["price_ticks"] * tick
    events["qty"][trades] = columns["qty_lots"] * lot
    for at, (_, changed) in zip(levels, changes, strict=True):
        events[at] = changed.reshape(-1)
    return events


class HftbacktestGrid:
    """hftbacktest on the case's trades."""

    name = "hftbacktest"
    packages: tuple[str, ...] = ("hftbacktest", "numba", "numpy")

    def __init__(self, case: Case) -> None:
        self.setup = case.setup
        self.events = events_of(case)
        self.notes: tuple[str, ...] = (
            f"{len(self.events) - case.events} changes of best bid and ask are walked beside the {case.events} trades",
            f"fills are answered and stops are watched every {case.setup.poll_ns // 1_000_000} ms of market time",
            "the queue ahead of an order is modelled (risk-averse); positions are netted, legs are kept by the loop",
            "no funding, margin, liquidation, limits or pauses; no equity at points",
            "timed: the loop alone",
        )
        self.engine: Engine = None
        self.state: tuple[IntArray, IntArray, IntArray, IntArray, IntArray] | None = None

    def prepare(self) -> None:
        """Build an engine with the market loaded, and an empty grid."""
        setup, tick = self.setup, float(self.setup.tick)
        asset = (
            BacktestAsset()
            .data(self.events)
            .linear_asset(1.0)
            .constant_order_latency(0, 0)
            .risk_adverse_queue_model()
            .no_partial_fill_exchange()
            .trading_value_fee_model(setup.maker_ppm / MICRO, setup.taker_ppm / MICRO)
            .tick_size(tick)
            .lot_size(float(setup.lot))
            .last_trades_capacity(0)
        )
        if self.engine is not None:
            self.engine.close()
        self.engine = HashMapMarketDepthBacktest([asset])
        grid = np.zeros(8, np.int64)
        grid[STOP_BELOW], grid[STOP_ABOVE] = -FAR, FAR
        legs = (2, setup.levels)
        self.state = (
            grid,
            np.zeros(legs, np.int64),
            np.zeros(legs, np.int64),
            np.zeros((LOTS_MAX, 5), np.int64),
            np.zeros(3, np.int64),
        )

    def run(self) -> Fills:
        """Trade the whole market."""
        assert self.state is not None, "prepare comes first"
        setup = self.setup
        lot = float(setup.lot)
        times = (setup.bar_ns, setup.poll_ns)
        trade(self.engine, *self.state, setup.scalars(), *times, float(setup.tick), setup.qty_lots * lot)
        entries, take_profits, stops = (int(count) for count in self.state[4])
        return Fills(entries=entries, take_profits=take_profits, stops=stops)


if __name__ == "__main__":
    main(HftbacktestGrid)
