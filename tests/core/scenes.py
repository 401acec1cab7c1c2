"""Whole runs of a desk, of the gate and of the session controls, for either execution.

Together they reach every function of the hot path.

Invariant: a scene depends on its seed alone, so two executions that agree see the same market and the same meddling.
"""

from random import Random
from types import SimpleNamespace
from typing import Any

import attrs

from hedgegrid.core import gate_records as g
from hedgegrid.core import records as r
from hedgegrid.core.codes import (
    BACKSTOP,
    ENTRY,
    FILL_QUEUE,
    FILL_THROUGH,
    FILL_TOUCH,
    FLATTEN,
    FUNDING_HALT,
    FUNDING_SCALE,
    LONG,
    MARKET,
    POLICY_CORE,
    POLICY_THROTTLED,
    SHORT,
    STOP,
    TAKE_PROFIT,
)
from hedgegrid.units import NS_PER_HOUR, NS_PER_MINUTE, PPM
from tests.core import made
from tests.core.desk import Desk, Tables
from tests.core.made import BAR_NS, Ohlc

QUARTER = BAR_NS // 4
GATE_CHECKS = 400
SESSION_POINTS = 600


@attrs.frozen(kw_only=True)
class Scene:
    """A configuration and a market; ``trades`` walks trade by trade instead of bar by bar.

    ``refusals`` is the part of all orders that the gate refuses.
    """

    name: str
    seed: int
    bars: int = 400
    trades: bool = False
    refusals: float = 0.0
    params: dict[str, Any]
    rules: dict[str, int]


SCENES = (
    Scene(name="plain", seed=1, params={"step_ppm": 2_000, "recenter_ppm": 9_000}, rules={}),
    Scene(
        name="throttled geometric touch",
        seed=2,
        params={"policy": POLICY_THROTTLED, "geometric": 1, "step_ppm": 1_500, "funding_mode": FUNDING_SCALE},
        rules={"fill_model": FILL_TOUCH, "latency_ns": 1},
    ),
    Scene(
        name="core atr leg stop",
        seed=3,
        params={"policy": POLICY_CORE, "atr_spacing": 1, "step_ppm": 800, "leg_stop": 1, "vol_target_ppm": 2 * PPM},
        rules={"fill_model": FILL_THROUGH, "latency_ns": QUARTER + 1, "maker_ppm": -50},
    ),
    Scene(
        name="contrarian taker quote",
        seed=4,
        params={
            "policy": POLICY_CORE,
            "contrarian": 1,
            "post_only": 0,
            "base_quote_e8": 10**9,
            "qty_scale_ppm": 1_300_000,
            "recenter_ppm": 4_000,
            "step_ppm": 2_000,
            "sl_ppm": 2 * PPM,
            "max_stop_orders": 2,
            "funding_mode": FUNDING_HALT,
        },
        rules={"latency_ns": 2 * BAR_NS, "slippage_ppm": 400},
    ),
    Scene(
        name="pessimistic tight",
        seed=5,
        params={"step_ppm": 600, "tp_ppm": 700_000, "sl_ppm": 900_000, "max_stop_orders": 1, "levels_long": 5},
        rules={"pessimistic": 1, "latency_ns": QUARTER},
    ),
    Scene(
        name="inventory, missing rates, refusals",
        seed=6,
        refusals=0.1,
        params={"max_inventory_e8": 3 * 10**9, "funding_pause_missing": 1, "step_ppm": 1_000, "levels_short": 5},
        rules={"fill_model": FILL_TOUCH},
    ),
    Scene(
        name="queue",
        seed=7,
        bars=150,
        trades=True,
        params={"step_ppm": 400, "recenter_ppm": 6_000, "price_tolerance_ppm": 2_000, "sl_ppm": 2 * PPM},
        rules={"fill_model": FILL_QUEUE, "latency_ns": QUARTER // 3},
    ),
)


def play(scene: Scene, core: SimpleNamespace, tables: Tables, bars: list[Ohlc] | None = None) -> Desk:
    """Run a scene to its end, a liquidation; ``bars`` instead of its made market."""
    desk = Desk(core, tables, made.params(**scene.params), made.rules(**scene.rules))
    dice = Random(scene.seed)
    if scene.refusals:
        desk.refuses = lambda _: dice.random() < scene.refusals
    last_ns = 0
    for number, bar in enumerate(bars or made.walk(scene.seed, scene.bars)):
        if scene.trades:
            _trade_bar(desk, dice, number, bar)
        else:
            desk.walk_bar(number, bar, BAR_NS)
        last_ns = number * BAR_NS + 3 * QUARTER
        _meddle(desk, dice, last_ns)
    _strip(desk, last_ns)
    desk.liquidate(last_ns + QUARTER)
    for refuse in (0, 1):
        _overreach(desk, last_ns + QUARTER, refuse)
    return desk


def _trade_bar(desk: Desk, dice: Random, number: int, bar: Ohlc) -> None:
    """Walk a bar as twelve trades around its points, then decide."""
    for third in range(12):
        at = (bar[0], bar[2], bar[1], bar[3])[third // 3] + dice.randint(-9, 9)
        book = (at - dice.randint(0, 2), dice.randint(0, 9), at + dice.randint(0, 2), dice.randint(0, 9))
        ts_ns = number * BAR_NS + third * BAR_NS // 12
        desk.point(ts_ns, at, jump=True, trade_lots=dice.randint(1, 12), book=book, mark=at + dice.randint(-2, 2))
    desk.bar(number * BAR_NS + 11 * BAR_NS // 12, bar[1], bar[2], bar[3])


def _meddle(desk: Desk, dice: Random, ts_ns: int) -> None:
    """What happens between bars: settlements, rates, permission, throttle, the operator, refusals by the gate."""
    state, core = desk.state, desk.core
    state.may_add, state.hold_entries, state.throttle_ppm = 1, 0, PPM
    roll = dice.random()
    if roll < 0.10:
        core.margin.settle_funding(desk.market, desk.venue_accounts, desk.rules, dice.randint(-9_999, 9_999))
    elif roll < 0.20:
        rate = dice.choice([-90_000, -10_000, 20_000, 90_000])
        core.funding.remember_rate(state, rate, ts_ns + BAR_NS * dice.randint(1, 25), 8 * NS_PER_HOUR)
    elif roll < 0.25:
        state.may_add = 0
    elif roll < 0.28:
        state.hold_entries = 1
    elif roll < 0.31:
        state.throttle_ppm = dice.choice([0, 500_000])
    elif roll < 0.33:
        desk.drop_entries(ts_ns)
    elif roll < 0.34:
        desk.flatten(ts_ns)
    warned = core.funding.is_warning_due(desk.params, state, ts_ns)
    figures = (
        core.margin.unrealised_e8(desk.market, desk.venue_accounts, desk.rules),
        core.margin.gross_notional_e8(desk.market, desk.venue_accounts, desk.rules),
    )
    desk.told.append((ts_ns, int(warned), *(int(figure) for figure in figures)))


def _strip(desk: Desk, ts_ns: int) -> None:
    """Take every stop away behind the strategy's back, and let the market run into the backstops."""
    core = desk.core
    price = int(desk.market.price_ticks)
    for order in desk.orders:
        if order.state != 0 and order.purpose == STOP:
            assert core.venue_tables.request_cancel(desk.market, desk.cancels, int(order.no), ts_ns)
    tables = (desk.market, desk.orders, desk.links, desk.cancels, desk.venue_accounts, desk.rules)
    core.matching.fall_due(*tables, desk.events, desk.said)
    desk.said.n = 0
    for turn, far in enumerate((price * 7 // 10, price * 13 // 10)):
        desk.point(ts_ns + 1 + turn, far, jump=True)


def _overreach(desk: Desk, ts_ns: int, refuse: int) -> None:
    """Let an exit without links meet less than it would close, at a venue that refuses that, or caps it."""
    core, market = desk.core, desk.market
    desk.rules.refuse_over = refuse
    core.ledger.increase(desk.venue_accounts[SHORT], 3, int(market.price_ticks) * 3 * made.UNIT_E8)
    order = desk.orders[int(core.venue_tables.free_order(desk.orders))]
    order.state, order.no, order.leg, order.purpose = core.venue_tables.PENDING, 10**6 + refuse, SHORT, FLATTEN
    order.kind, order.price_ticks, order.qty_lots, order.filled_lots = MARKET, 0, 7, 0
    order.post_only, order.close_all, order.level, order.generation = 0, 0, -1, -1
    order.live_ns, order.seq, order.queue_lots, order.held_bar = ts_ns, int(market.next_seq), -1, -1
    market.next_seq += 1
    market.next_due_ns = ts_ns
    market.ts_ns = ts_ns
    tables = (market, desk.orders, desk.links, desk.cancels, desk.venue_accounts, desk.rules)
    core.matching.fall_due(*tables, desk.events, desk.said)
    for row in desk.events[: int(desk.said.n)]:
        desk.told.append((ts_ns, *(int(x) for x in (row.kind, row.no, row.qty_lots, row.reason))))
    desk.said.n = 0


def judge(seed: int, core: SimpleNamespace, tables: Tables) -> tuple[list[int], list[Any]]:
    """Put a stream of orders before the gate: the codes that it gave, and its tables at the end."""
    dice = Random(seed)
    limits = tables([_limits()])[0]
    rules = tables([_instrument(index) for index in range(2)])
    exposures = tables([g.Exposure(position_lots=dice.randint(0, 40)) for _ in range(4)])
    booked = tables([g.Booked() for _ in range(30)])
    account = tables([g.AccountRisk()])[0]
    pace, beats = tables([g.Pace()])[0], tables([g.Beat() for _ in range(61)])
    realised = tables([g.Realised() for _ in range(2)])
    tiers = tables([r.MarginTier(max_notional_e8=10**9 * 4**i, maintenance_ppm=5_000 * (i + 1)) for i in range(4)])
    codes: list[int] = []
    for no in range(1, GATE_CHECKS):
        order = tables([_order(dice, no)])[0]
        for index, rule in enumerate(rules):
            rule.mark_ticks = dice.randint(980, 1_020)
            core.session.feed_volatility(realised[index], int(rule.mark_ticks), 0.9)
            rule.var_ppm = core.var.rate_ppm(realised[index], 0.9) if dice.random() < 0.97 else g.UNMEASURED
            core.worst_case.weigh(limits, account, rules, exposures, tiers, index)
        account.equity_e8, account.balance_ns = dice.randint(3 * 10**8, 10**9), no - dice.randint(0, 52)
        sent = (int(order.price_ticks > 0), int(dice.random() < 0.97), no - dice.randint(0, 11), no)
        now_ns = no * 400_000_000
        core.order_rate.advance(pace, beats, now_ns)
        account.orders_in_minute = pace.orders
        code = int(core.risk.check(limits, account, rules, exposures, booked, tiers, order, *sent))
        codes.append(code)
        if code == core.risk.PASS:
            core.order_rate.note_sent(pace, beats)
        elif code == core.risk.ORDERS_PER_MINUTE:
            core.order_rate.note_breach(pace, now_ns)
        codes.append(int(pace.latches))
        if pace.latches or no % 97 == 0:
            core.order_rate.forget_breaches(pace)
        instrument = int(order.instrument)
        if code == core.risk.PASS and not core.gate_book.book(rules[instrument], exposures, booked, order):
            codes.append(-1)
        slot = int(core.gate_book.find(booked, dice.randint(1, no)))
        if slot >= 0:
            core.gate_book.take_out(rules, exposures, booked[slot])
            codes += [-2 - int(leg.take_profit_lots + leg.stop_lots + leg.market_lots) for leg in exposures]
            core.gate_book.mark_anew(rules, exposures, booked, int(booked[slot].instrument))
        nets = dice.randint(-(10**9), 10**9), dice.randint(-(10**9), 10**9) * 10 ** dice.randint(0, 9)
        margin = int(account.far_margin_e8)
        codes.append(int(core.worst_case.liquidation_distance_ppm(int(account.equity_e8), margin, *nets)))
        codes.append(int(core.ledger.maintenance_e8(int(exposures[0].entry_worst_e8), tiers)))
    return codes, [limits, account, rules, exposures, booked, pace, beats]


def guard(seed: int, core: SimpleNamespace, tables: Tables) -> tuple[list[Any], list[Any]]:
    """Walk an account and an instrument past the session controls: every verdict, and the records at the end."""
    dice = Random(seed)
    limits = tables([session_limits()])[0]
    state = tables([g.SessionState()])[0]
    realised = tables([g.Realised()])[0]
    session = core.session
    session.begin(limits, state, 10**12, 0)
    equity, price = 10**12, 50_000
    told: list[Any] = []
    for point in range(SESSION_POINTS):
        ts_ns = point * 17 * NS_PER_MINUTE
        equity += dice.randint(-(10**10), 10**10)
        maintenance = dice.randint(0, 10**12) if dice.random() < 0.1 else 0
        calm = bool(session.is_calm(state, equity, ts_ns))
        newly = int(session.observe(limits, state, equity, maintenance, ts_ns))
        told.append((calm, newly, bool(session.is_margin_short(limits, equity, maintenance))))
        if dice.random() < 0.02:
            for bit in (1, 2, 4, 8):
                session.lift(limits, state, bit, equity, ts_ns, dice.randint(0, 1))
                told.append(int(session.action_of(limits, bit)))
        price += dice.randint(-90, 90)
        session.feed_volatility(realised, price, limits.volatility_lambda)
        wild = bool(session.is_wild(limits, realised, 525_600.0))
        rate = dice.randint(-300_000, 300_000)
        dear = bool(session.is_funding_dear(limits, rate, dice.choice([0, 4, 8]) * NS_PER_HOUR))
        told.append((wild, float(session.volatility_ppm(realised, 525_600.0)), dear))
    told += [int(session.drawdown_at_e8(limits, state)), int(session.day_end_ns(5))]
    told += [int(session.action_of(limits, bit)) for bit in (16, 32)]
    return told, [limits, state, realised]


def session_limits() -> g.SessionLimits:
    """Controls that a walk of a few hundred points meets, each with an action of its own."""
    return g.SessionLimits(
        drawdown_on=1,
        drawdown_ppm=60_457,
        drawdown_action=2,
        daily_on=1,
        daily_e8=5 * 10**10 + 7,
        daily_action=1,
        session_on=1,
        session_e8=4 * 10**10 + 11,
        session_action=0,
        margin_on=1,
        margin_ppm=801_003,
        margin_action=2,
        volatility_on=1,
        volatility_ppm=760_000,
        volatility_action=1,
        volatility_lambda=0.97,
        funding_on=1,
        funding_max_e8=200_000,
        funding_action=0,
    )


def _limits() -> g.RiskLimits:
    return g.RiskLimits(
        max_order_notional_e8=29 * 10_000 * 1_000,
        max_leg_notional_e8=95 * 10_000 * 1_000,
        max_gross_notional_e8=150 * 10_000 * 1_000,
        max_net_notional_e8=75 * 10_000 * 1_000,
        max_leverage_ppm=2_900_000,
        max_position_ppm=560_000,
        leverage=5,
        max_margin_ppm=11_000,
        min_distance_ppm=900_000,
        max_var_ppm=55_000,
        max_open_orders_per_leg=6,
        max_orders_per_minute=50,
        price_collar_ppm=38_000,
        max_quote_age_ns=390,
        max_mark_age_ns=380,
        max_balance_age_ns=50,
        approval_ttl_ns=10,
    )


def _instrument(index: int) -> g.InstrumentRisk:
    return g.InstrumentRisk(
        unit_e8=10_000,
        min_qty_lots=2,
        max_qty_lots=28,
        min_notional_e8=0,
        max_position_lots=64,
        bid_ticks=999,
        ask_ticks=1_001,
        mark_ns=1 + index,
        quote_ns=1 + index,
        cadence_ns=3,
    )


def _order(dice: Random, no: int) -> g.Booked:
    """An order of any purpose, near the mark."""
    leg = dice.choice([LONG, SHORT])
    purpose = dice.choice([ENTRY, ENTRY, ENTRY, TAKE_PROFIT, STOP, FLATTEN, BACKSTOP])
    sign = 1 if (leg == LONG) == (purpose in (ENTRY, STOP)) else -1
    price = 1_000 - sign * dice.randint(-9, 40)
    market = purpose == FLATTEN or (purpose == STOP and dice.random() < 0.3)
    return g.Booked(
        no=no,
        instrument=dice.randint(0, 1),
        leg=leg,
        purpose=purpose,
        price_ticks=0 if market else price,
        qty_lots=dice.randint(1, 30),
        level=dice.randint(1, 4),
        generation=1,
    )
