"""Pre-flight: every reading passes or says what to do, and what the account is decides it."""

from typing import Any

import attrs
import pytest

from hedgegrid.model.account import Position
from hedgegrid.model.instrument import Tier
from hedgegrid.model.order import Kind, Leg, OpenOrder, Purpose
from hedgegrid.units import CASH_SCALE, NS_PER_MINUTE, NS_PER_S
from hedgegrid.venues.ccxtpro.parse_account import AccountConfig, AssetRow, KeyRights, SymbolConfig
from hedgegrid.venues.ccxtpro.parse_rules import ExchangeRules, RateLimit
from hedgegrid.venues.ccxtpro.preflight import Expected, Line, Readings, Unread, judge
from hedgegrid.venues.ccxtpro.preflight_readings import preflight
from tests.venues.ccxtpro.loopback import listed
from tests.venues.ccxtpro.raw_events import BTC, our_id
from tests.venues.ccxtpro.standin_house import desk_at
from tools.standin.serving import Standin, running_standin

RIGHTS = KeyRights(
    reads=True, futures=True, withdraws=False, internal_transfer=False, universal_transfer=False, ip_bound=True
)
WALLET = AssetRow(
    asset="USDT",
    wallet_e8=10_000 * CASH_SCALE,
    available_e8=9_000 * CASH_SCALE,
    unrealised_e8=0,
    margin_e8=0,
    maintenance_e8=0,
    initial_e8=1_000 * CASH_SCALE,
)
PLAIN = listed()
RULES = ExchangeRules(
    taken_ns=0,
    rate_limits=(
        RateLimit(kind="REQUEST_WEIGHT", interval_ns=NS_PER_MINUTE, limit=10),
        RateLimit(kind="ORDERS", interval_ns=10 * NS_PER_S, limit=30),
        RateLimit(kind="ORDERS", interval_ns=NS_PER_MINUTE, limit=1_200),
    ),
    listed={
        "BTCUSDT": attrs.evolve(
            PLAIN,
            instrument=attrs.evolve(PLAIN.instrument, tiers=(Tier(max_notional_e8=10**18, maintenance_ppm=5_000),)),
        )
    },
    refused={},
)
GOOD = Readings(
    skew_ms=20,
    rights=RIGHTS,
    config=AccountConfig(hedge_mode=True, multi_assets=False, can_trade=True),
    fee_burn=False,
    symbols=(SymbolConfig(symbol="BTCUSDT", cross=True, leverage=5),),
    rules=RULES,
    wallet=WALLET,
    orders=(),
    positions=(),
)
EXPECTED = Expected(
    account="demo",
    instruments={"BTCUSDT": BTC},
    cross_margin=True,
    leverage=5,
    max_clock_skew_ms=500,
    orders_per_minute=120,
    stops_per_leg={"BTCUSDT": 4},
    worst_gross_e8=40_000 * CASH_SCALE,
    max_leverage_ppm=4_000_000,
)


def failed(readings: Readings, expected: Expected = EXPECTED) -> list[str]:
    """Give the names of the lines that do not pass; each of them says what to do."""
    lines = judge(readings, expected)
    assert all(line.words for line in lines)
    assert all(line.remedy for line in lines if not line.passed)
    return [line.name for line in lines if not line.passed]


def test_a_fit_account_passes_every_line() -> None:
    """Nothing is wrong: every line passes, and each thing that must be so has a line."""
    assert failed(GOOD) == []
    assert {line.name for line in judge(GOOD, EXPECTED)} == {
        "clock", "key rights", "trading", "hedge mode", "asset mode", "fees", f"margin mode {BTC}", f"leverage {BTC}",
        f"instrument {BTC}", f"stop orders {BTC}", "rate limits", "free margin", "wallet", "foreign orders",
        "foreign positions",
    }  # fmt: skip


def _rules(**changes: Any) -> ExchangeRules:
    return attrs.evolve(RULES, listed={"BTCUSDT": attrs.evolve(RULES.listed["BTCUSDT"], **changes)})


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"skew_ms": 501}, "clock"),
        ({"skew_ms": -501}, "clock"),
        ({"rights": attrs.evolve(RIGHTS, withdraws=True)}, "key rights"),
        ({"rights": attrs.evolve(RIGHTS, internal_transfer=True)}, "key rights"),
        ({"rights": attrs.evolve(RIGHTS, universal_transfer=True)}, "key rights"),
        ({"rights": attrs.evolve(RIGHTS, futures=False)}, "key rights"),
        ({"rights": attrs.evolve(RIGHTS, reads=False)}, "key rights"),
        ({"config": AccountConfig(hedge_mode=False, multi_assets=False, can_trade=True)}, "hedge mode"),
        ({"config": AccountConfig(hedge_mode=True, multi_assets=True, can_trade=True)}, "asset mode"),
        ({"config": AccountConfig(hedge_mode=True, multi_assets=False, can_trade=False)}, "trading"),
        ({"fee_burn": True}, "fees"),
        ({"symbols": (SymbolConfig(symbol="BTCUSDT", cross=False, leverage=5),)}, f"margin mode {BTC}"),
        ({"symbols": (SymbolConfig(symbol="BTCUSDT", cross=True, leverage=20),)}, f"leverage {BTC}"),
        ({"symbols": ()}, f"margin mode {BTC}"),
        ({"rules": _rules(status="SETTLING")}, f"instrument {BTC}"),
        ({"rules": _rules(max_algo_orders=9)}, f"stop orders {BTC}"),
        ({"rules": attrs.evolve(RULES, listed={}, refused={"BTCUSDT": "is no perpetual"})}, f"instrument {BTC}"),
        ({"rules": attrs.evolve(RULES, rate_limits=())}, "rate limits"),
        (
            {"rules": attrs.evolve(RULES, rate_limits=(RateLimit(kind="ORDERS", interval_ns=NS_PER_S, limit=1),))},
            "rate limits",
        ),
        ({"wallet": attrs.evolve(WALLET, available_e8=6_999 * CASH_SCALE)}, "free margin"),
        ({"wallet": attrs.evolve(WALLET, wallet_e8=9_999 * CASH_SCALE)}, "wallet"),
    ],
)
def test_each_thing_that_is_wrong_fails_its_own_line(changes: dict[str, Any], name: str) -> None:
    """One reading changed: exactly its line fails, with a remedy."""
    assert failed(attrs.evolve(GOOD, **changes)) == [name]


def test_the_configuration_is_half_of_every_judgement() -> None:
    """The same account under another configuration: limits, stops, orders and leverage are the settings' own."""
    assert failed(GOOD, attrs.evolve(EXPECTED, max_clock_skew_ms=10)) == ["clock"]
    assert failed(GOOD, attrs.evolve(EXPECTED, stops_per_leg={"BTCUSDT": 5})) == [f"stop orders {BTC}"]
    assert failed(GOOD, attrs.evolve(EXPECTED, orders_per_minute=181)) == ["rate limits"]
    assert failed(GOOD, attrs.evolve(EXPECTED, cross_margin=False)) == [f"margin mode {BTC}"]
    assert failed(GOOD, attrs.evolve(EXPECTED, leverage=6)) == [f"leverage {BTC}"]
    assert failed(GOOD, attrs.evolve(EXPECTED, max_leverage_ppm=3_999_999)) == ["wallet"]
    assert failed(GOOD, attrs.evolve(EXPECTED, worst_gross_e8=50_001 * CASH_SCALE)) == ["free margin", "wallet"]


@pytest.mark.parametrize("reading", [one.name for one in attrs.fields(Readings) if one.name != "elsewhere"])
def test_what_could_not_be_read_does_not_pass(reading: str) -> None:
    """No reading has a default: unread means not passed, in the exchange's words."""
    changes: dict[str, Any] = {reading: Unread(why="-1003 too many requests")}
    lines = judge(attrs.evolve(GOOD, **changes), EXPECTED)
    (line,) = [one for one in lines if not one.passed]
    assert "-1003" in line.words


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("keys", "code", "words"),
    [({}, "-2015", "look at the key"), ({"": "of another key"}, "-1022", "look at venue.api_secret")],
)
async def test_a_key_that_is_refused_is_one_line(keys: dict[str, str], code: str, words: str) -> None:
    """Every signed question is refused for the same reason: it is said once, with what to look at, and fails."""
    async with running_standin(still=True) as standin, desk_at(standin) as one:
        standin.gateway.keys = {key or standin.options.key: secret for key, secret in keys.items()}
        told = await preflight(one.session, EXPECTED, settle_asset="USDT", ask_rights=True, sets_leverage=True)
        standin.gateway.keys = {standin.options.key: standin.options.secret}
    lines = {line.name: line for line in told}
    assert [name for name, line in lines.items() if not line.passed] == ["key"]
    assert code in lines["key"].words
    assert words in lines["key"].words
    assert lines["clock"].passed


def test_rights_that_the_environment_does_not_tell_are_said_so() -> None:
    """The practice environment has no such question: the line passes and says it."""
    (line,) = [one for one in judge(attrs.evolve(GOOD, rights=None), EXPECTED) if one.name == "key rights"]
    assert line.passed
    assert "does not tell" in line.words


def _line(readings: Readings, expected: Expected, name: str) -> Line:
    (line,) = [one for one in judge(readings, expected) if one.name == name]
    return line


def test_foreign_orders_and_positions_are_listed_and_do_not_stop_a_start() -> None:
    """They count in exposure and are never touched: a person reads their names, and the start goes on."""
    order = OpenOrder(
        client_id="web_1",
        instrument=BTC,
        leg=Leg.SHORT,
        purpose=Purpose.ENTRY,
        kind=Kind.LIMIT,
        price_ticks=1,
        qty_lots=1,
        filled_lots=0,
        close_all=False,
        created_ns=0,
    )
    ours = attrs.evolve(order, client_id=our_id())
    others = attrs.evolve(order, client_id="other.1LE3.1")
    readings = attrs.evolve(GOOD, orders=(order, ours, others), elsewhere=("XRPUSDT",))
    line = _line(readings, EXPECTED, "foreign orders")
    assert line.passed
    assert line.words.startswith("open orders: 1 of ours, 2 of others")
    assert "web_1" in line.words
    assert "XRPUSDT" in line.words
    held = attrs.evolve(GOOD, positions=(Position(instrument=BTC, leg=Leg.LONG, qty_lots=10, cost_e8=1),))
    assert "no books" in _line(held, EXPECTED, "foreign positions").words
    books = attrs.evolve(EXPECTED, own_lots={(BTC, Leg.LONG): 10})
    assert _line(held, books, "foreign positions").words == "what is held is ours"
    more = attrs.evolve(EXPECTED, own_lots={(BTC, Leg.LONG): 4, (BTC, Leg.SHORT): 2})
    line = _line(held, more, "foreign positions")
    assert line.passed
    assert "LONG +6 lots" in line.words
    assert "SHORT -2 lots" in line.words
    assert line.remedy


# --- at the stand-in --------------------------------------------------------------------------------------------------


async def _lines(standin: Standin, *, sets_leverage: bool = False) -> dict[str, Line]:
    async with desk_at(standin) as one:
        lines = await preflight(
            one.session, EXPECTED, settle_asset="USDT", ask_rights=True, sets_leverage=sets_leverage
        )
    return {line.name: line for line in lines}


@pytest.mark.asyncio
async def test_the_leverage_is_set_at_a_start_and_only_there() -> None:
    """A check tells that it differs and changes nothing; a start sets it, reads again, and everything passes."""
    async with running_standin(still=True) as standin:
        checked = await _lines(standin)
        assert [name for name, line in checked.items() if not line.passed] == [], "a start would set it"
        again = await _lines(standin)
        assert again[f"leverage {BTC}"].words == "20 x instead of 5 x: the next start sets it"
        started = await _lines(standin, sets_leverage=True)
        assert [line for line in started.values() if not line.passed] == []
        assert "5 x" in started[f"leverage {BTC}"].words


@pytest.mark.asyncio
async def test_the_account_is_read_as_it_is() -> None:
    """Rights, modes and what lies there come from the exchange, line by line."""
    async with running_standin(still=True, leverage=5, wallet=20_000) as standin:
        standin.gateway.permissions["enableWithdrawals"] = True
        standin.exchange.set_position_mode(standin.clock.now_ms(), hedge=False)
        standin.exchange.set_multi_assets(standin.clock.now_ms(), on=True)
        lines = await _lines(standin)
        wrong = {name for name, line in lines.items() if not line.passed}
        assert {"key rights", "hedge mode", "asset mode"} <= wrong
        standin.exchange.set_multi_assets(standin.clock.now_ms(), on=False)
        standin.exchange.set_position_mode(standin.clock.now_ms(), hedge=True)
        standin.gateway.permissions["enableWithdrawals"] = False
        standin.faults.arm("manual-order:side=BUY:positionSide=LONG:type=MARKET:quantity=0.005:symbol=BTCUSDT")
        standin.faults.arm(
            "manual-order:side=BUY:positionSide=LONG:type=LIMIT:timeInForce=GTC:quantity=0.005:price=60000:symbol=BTCUSDT"
        )
        lines = await _lines(standin)
        assert all(line.passed for line in lines.values())
        assert "1 of others" in lines["foreign orders"].words
        assert f"{BTC} LONG 5 lots" in lines["foreign positions"].words
