"""A refusal in words: the limit, the very value that was compared with it, and what would help, for every control.

Invariant: each case is refused by ``check`` itself before its words are read.
"""

from collections.abc import Callable

import attrs
import pytest

from hedgegrid.core import gate_book, refusal, risk
from hedgegrid.core.codes import BACKSTOP, ENTRY, LONG, SHORT, STOP, TAKE_PROFIT
from hedgegrid.core.gate_records import UNMEASURED
from hedgegrid.core.records import MarginTier
from hedgegrid.units import NS_PER_MS
from tests.core import made
from tests.core.test_risk import NOW, Gate

ETH = attrs.evolve(made.BTC, name="ETH/USDT:USDT")
E8 = 10**8
Change = Callable[[Gate], object]


def staged() -> Gate:
    """An entry of 10 BTC at 99 with the mark at 100, in an account of 4,000 that holds 20 ETH long and 5 short."""
    gate = Gate()
    gate.order.qty_lots = 10_000
    gate.hold(LONG, 20_000, instrument=1)
    gate.hold(SHORT, 5_000, instrument=1)
    gate.account.equity_e8 = 4_000 * E8
    return gate


def words(gate: Gate, *, now_ns: int = NOW, has_price: int = 1, standing: str = "active") -> tuple[int, refusal.Words]:
    """What the gate says, and how it is told."""
    code = gate.check(now_ns=now_ns, has_price=has_price)
    case = refusal.Case(
        limits=gate.limits,
        account=gate.account,
        rules=gate.rules,
        exposures=gate.exposures,
        tiers=gate.tiers[gate.order.instrument],
        order=gate.order,
        has_price=has_price,
        instruments=(made.BTC, ETH),
        decided_ns=gate.decided_ns,
        now_ns=now_ns,
        standing=standing,
    )
    return code, refusal.explain(code, case)


def limits(**values: int) -> Change:
    """Set limits of the account."""
    return lambda gate: put(gate.limits, values)


def rule(**values: int) -> Change:
    """Set figures of the order's instrument."""
    return lambda gate: put(gate.rules[0], values)


def order(**values: int) -> Change:
    """Set fields of the order."""
    return lambda gate: put(gate.order, values)


def put(record: object, values: dict[str, int]) -> None:
    """Set fields of a record."""
    for name, value in values.items():
        setattr(record, name, value)


def rivals(*rows: tuple[int, int, int, int]) -> Change:
    """Book orders of the order's instrument: leg, purpose, price, lots; the first stands on the order's rung."""

    def change(gate: Gate) -> None:
        for no, row in enumerate(rows, start=1):
            gate.book(no, *row)
            gate.booked[no - 1].generation = 1
        gate_book.recount(gate.rules, gate.exposures, gate.booked, 0)

    return change


def sent(orders: int) -> Change:
    """Let so many orders have left within the last minute."""
    return lambda gate: put(gate.account, {"orders_in_minute": orders})


def all_of(*changes: Change) -> Change:
    """Make several changes."""

    def change(gate: Gate) -> None:
        for one in changes:
            one(gate)

    return change


def equity(quote: int) -> Change:
    """Set the equity."""
    return lambda gate: put(gate.account, {"equity_e8": quote * E8})


CASES: dict[str, tuple[int, Change, str, str, str]] = {
    "order notional": (
        risk.MAX_ORDER_NOTIONAL, limits(max_order_notional_e8=989 * E8), "989.00", "990.00",
        "raise risk.max_order_notional_quote",
    ),
    "order quantity": (risk.MAX_ORDER_QTY, rule(max_qty_lots=9_000), "9.000", "10.000", "lower the base quantity"),
    "minimum notional": (risk.MIN_NOTIONAL, rule(min_notional_e8=991 * E8), "991.00", "990.00", "raise the base"),
    "minimum quantity": (risk.MIN_NOTIONAL, rule(min_qty_lots=10_001), "10.001", "10.000", "raise the base quantity"),
    "collar of the mark": (
        risk.PRICE_COLLAR, all_of(limits(price_collar_ppm=9_000), rule(bid_ticks=990)), "90 bps",
        "100.00 bps: 99.0 against the mark of 100.0", "raise risk.price_collar_bps",
    ),
    "collar of the quote": (
        risk.PRICE_COLLAR, all_of(limits(price_collar_ppm=15_000), rule(bid_ticks=1_100)), "150 bps",
        "1,000.00 bps: 99.0 against the quote of 110.0", "narrow the ladder",
    ),
    "position": (
        risk.MAX_POSITION, all_of(rule(max_position_lots=12_000), rivals((LONG, ENTRY, 980, 3_000))), "12.000",
        "13.000", "raise max_position_qty to 13.000",
    ),
    "leg of all instruments": (
        risk.MAX_LEG_NOTIONAL, limits(max_leg_notional_e8=2_999 * E8), "2,999.00", "3,000.00",
        "raise risk.max_notional_per_leg_quote to 3,000.00",
    ),
    "gross of all instruments": (
        risk.MAX_GROSS_NOTIONAL, limits(max_gross_notional_e8=3_400 * E8), "3,400.00", "3,500.00",
        "raise risk.max_gross_notional_quote to 3,500.00",
    ),
    "net of all instruments": (
        risk.MAX_NET_NOTIONAL, limits(max_net_notional_e8=2_400 * E8), "2,400.00", "2,500.00",
        "raise risk.max_net_notional_quote to 2,500.00",
    ),
    "leverage": (
        risk.MAX_LEVERAGE, limits(max_leverage_ppm=800_000), "0.80 x of equity",
        "0.88 x: 3,500.00 of 4,000.00 equity", "the limit is 3,200.00), or raise risk.max_leverage above 0.875",
    ),
    "leverage of no equity": (
        risk.MAX_LEVERAGE, equity(-7), "4.00 x of equity", "3,500.00 of -7.00 equity", "move money into the wallet",
    ),
    "initial margin": (
        risk.MAX_POSITION_RATIO, limits(max_position_ppm=170_000, leverage=5), "17.00 % of equity",
        "17.50 %: 700.00 of 4,000.00 equity", "the limit is 680.00), or raise risk.max_position_ratio above 0.175",
    ),
    "maintenance": (
        risk.MAX_MARGIN_RATIO, limits(max_margin_ppm=4_000), "0.40 % of equity", "0.44 %: 17.50 of 4,000.00 equity",
        "the limit is 16.00), or raise risk.max_margin_ratio above 0.004375",
    ),
    "distance": (
        risk.LIQUIDATION_DISTANCE, all_of(limits(min_distance_ppm=650_000), equity(1_600)),
        "65.00 % to the liquidation price", "63.75 %: equity 1,600.00, maintenance 17.50",
        "lower risk.min_liquidation_distance_ratio below 0.6375",
    ),
    "value at risk": (
        risk.VAR, limits(max_var_ppm=12_000), "1.20 % of equity", "1.25 %: 50.00 of 4,000.00 equity",
        "the limit is 48.00), or raise risk.var.max_ratio above 0.0125",
    ),
    "volatility of the order's": (
        risk.VAR, rule(var_ppm=UNMEASURED), "100.00 % of equity",
        "no volatility yet of BTC/USDT:USDT", "two closed bars",
    ),
    "volatility of another": (
        risk.VAR, lambda g: setattr(g.rules[1], "var_ppm", UNMEASURED), "100.00 % of equity",
        "no volatility yet of ETH/USDT:USDT", "two closed bars",
    ),
    "open orders": (
        risk.MAX_OPEN_ORDERS, all_of(limits(max_open_orders_per_leg=1), rivals((LONG, ENTRY, 980, 1))), "1", "2",
        "raise risk.max_open_orders_per_leg to 2",
    ),
    "orders a minute": (
        risk.ORDERS_PER_MINUTE, all_of(limits(max_orders_per_minute=7), sent(7)), "7", "8",
        "a higher risk.max_orders_per_minute",
    ),
    "duplicate": (
        risk.DUPLICATE, rivals((LONG, ENTRY, 980, 1)),
        "one live order a rung", "level 1 of generation 1 has one", "the live order stands",
    ),
    "self-cross": (
        risk.SELF_CROSS, rivals((SHORT, ENTRY, 985, 1)), "our own resting sell at 98.5", "99.0",
        "the resting order stands",
    ),
    "proof of a take-profit": (
        risk.REDUCE_PROOF,
        all_of(order(purpose=TAKE_PROFIT), lambda g: g.hold(LONG, 12_000), rivals((LONG, TAKE_PROFIT, 1_100, 5_000))),
        "7.000 of 12.000 held is not covered by an order of its kind", "10.000", "never exceeds what is held",
    ),
    "proof of a stop": (
        risk.REDUCE_PROOF, all_of(order(purpose=STOP), rivals((LONG, STOP, 900, 5_000))),
        "0.000 of 0.000 held is not covered by an order of its kind", "10.000", "never exceeds what is held",
    ),
    "number of a reduction": (
        risk.DUPLICATE, all_of(order(purpose=BACKSTOP, no=1), rivals((LONG, STOP, 900, 5_000))),
        "one live order a rung", "level 1 of generation 1 has one", "the live order stands",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_refusal_tells_what_was_compared(name: str) -> None:
    """Account-wide limits tell the account's figure, with the order; the remedy names the setting and the figure."""
    code, change, limit, value, remedy = CASES[name]
    gate = staged()
    change(gate)
    told, (its_limit, its_value, its_remedy) = words(gate)
    assert told == code
    assert (its_limit, its_value) == (limit, value)
    assert remedy in its_remedy


AGES = {
    risk.EXPIRED_APPROVAL: ("approval_ttl_ns", "decided_ns", "approval"),
    risk.QUOTE_AGE: ("max_quote_age_ns", "quote_ns", "quote"),
    risk.MARK_AGE: ("max_mark_age_ns", "mark_ns", "mark"),
    risk.BALANCE_AGE: ("max_balance_age_ns", "balance_ns", "balance"),
}


@pytest.mark.parametrize("code", AGES)
def test_ages_are_told_in_milliseconds(code: int) -> None:
    """The age that was judged beside the limit that held, and what never came as that."""
    limit, stamp, what = AGES[code]
    gate = staged()
    setattr(gate.limits, limit, 2_000 * NS_PER_MS)
    now_ns = NOW + 5_000 * NS_PER_MS
    for owner in (gate, gate.rules[0]):
        for name in ("decided_ns", "quote_ns", "mark_ns", "balance_ns"):
            if hasattr(owner, name):
                setattr(owner, name, now_ns if name != stamp else NOW)
    told, (its_limit, its_value, _) = words(gate, now_ns=now_ns)
    assert (told, its_limit, its_value) == (code, "2,000 ms", "5,000 ms")
    if code != risk.EXPIRED_APPROVAL:
        setattr(gate if hasattr(gate, stamp) else gate.rules[0], stamp, 0)
        assert words(gate, now_ns=now_ns)[1][1] == f"no {what} yet"


def test_the_age_that_holds_is_the_sources_own_where_it_is_longer() -> None:
    """Two beats of the source, not the setting, where bars come slower than the limit."""
    gate = staged()
    gate.limits.max_quote_age_ns, gate.rules[0].cadence_ns = NS_PER_MS, 60_000 * NS_PER_MS
    assert words(gate, now_ns=NOW + 130_000 * NS_PER_MS)[1][:2] == ("120,000 ms", "130,000 ms")


def test_a_mark_that_is_missing_elsewhere_is_told_by_its_name() -> None:
    """The order's own mark is fresh; the account's limits wait for another's."""
    gate = staged()
    gate.rules[1].mark_ticks = 0
    code, (_, value, _) = words(gate)
    assert (code, value) == (risk.MARK_AGE, "no mark yet of ETH/USDT:USDT")


def test_a_pause_tells_its_reasons() -> None:
    """Who reads a refusal by permission learns what stands."""
    gate = staged()
    gate.may_send = 0
    assert words(gate, standing="reducing: drawdown")[1][:2] == ("active", "reducing: drawdown")


def test_every_control_is_told_here() -> None:
    """A new control needs words, and a case."""
    told = {case[0] for case in CASES.values()} | set(AGES) | {risk.PERMISSION}
    assert told == set(risk.CONTROL_NAMES)


def test_the_tier_of_the_order_counts_in_its_words() -> None:
    """The maintenance that is told is the one at the tier that the order takes its instrument into."""
    gate = staged()
    gate.tiers[0] = [MarginTier(500 * E8, 5_000), MarginTier(10**18, 100_000)]
    gate.limits.max_margin_ppm = 20_000
    assert words(gate)[1][:2] == ("2.00 % of equity", "2.81 %: 112.50 of 4,000.00 equity")
