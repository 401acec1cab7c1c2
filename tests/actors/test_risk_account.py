"""Risk follows the exchange on what is no result of our orders: transfers, reads of the wallet, foreign holdings."""

from typing import Any

import attrs
import pytest

from hedgegrid.actors.risk_account import follow
from hedgegrid.actors.risk_book import RiskBook
from hedgegrid.actors.risk_session import SessionControls, SessionSettings
from hedgegrid.core import risk
from hedgegrid.core.codes import ENTRY, LONG, SHORT
from hedgegrid.core.gate_records import Booked, InstrumentRisk, RiskLimits, SessionLimits
from hedgegrid.messages.events import AccountChanged, ForeignSeen, FundingPaid, Hydrated, WalletRead
from hedgegrid.model.account import Balance, Position, SessionMemory
from hedgegrid.model.order import Kind, Leg, OpenOrder, Purpose
from tests.journal.life import BTC, instrument

HEAD: dict[str, Any] = {"seq": 1, "cause_seq": 0, "ts_venue_ns": 900, "ts_recv_ns": 1_000}
E8 = 10**8


def book() -> RiskBook:
    """One instrument at a mark of 1000 ticks, a wallet of 1000."""
    made = RiskBook(
        [instrument(BTC)],
        [InstrumentRisk(unit_e8=10, max_position_lots=100, mark_ticks=1_000, var_ppm=1)],
        RiskLimits(),
    )
    made.set_balance(Balance(wallet_e8=1_000 * E8, realised_e8=0, fees_e8=0, funding_e8=0), 500)
    return made


def controls(one: RiskBook, kept: list[SessionMemory]) -> SessionControls:
    """Session controls that have begun."""
    limits = SessionLimits(drawdown_on=1, drawdown_ppm=100_000, daily_on=1, daily_e8=50 * E8)
    settings = SessionSettings(limits=limits, bars_per_year={BTC: 1.0})
    made = SessionControls(one, settings, remembered=None, latched=(), keep=kept.append)
    made.begin(500)
    return made


def seen(*, long_lots: int = 0, orders: tuple[OpenOrder, ...] = ()) -> ForeignSeen:
    """A foreign LONG position bought at 900."""
    held = Position(instrument=BTC, leg=Leg.LONG, qty_lots=long_lots, cost_e8=long_lots * 900 * 10)
    return ForeignSeen(**HEAD, instrument=BTC, positions=(held,) if long_lots else (), orders=orders)


def test_a_wallet_without_its_parts_is_no_wallet() -> None:
    """A read of the wallet that comes to a fresh gate before the account does: no equity is known by it."""
    rule = InstrumentRisk(unit_e8=10, max_position_lots=100, mark_ticks=1_000)
    fresh = RiskBook([instrument(BTC)], [rule], RiskLimits())
    follow(WalletRead(**HEAD, wallet_e8=1_000 * E8), fresh, controls(book(), []))
    assert fresh.equity_e8() is None
    fresh.set_balance(Balance(wallet_e8=900 * E8, realised_e8=-100 * E8, fees_e8=0, funding_e8=0), 500)
    assert (fresh.equity_e8(), fresh.realised_e8) == (900 * E8, -100 * E8)


def test_a_transfer_is_neither_profit_nor_loss() -> None:
    """DESIGN 15.6: money that comes or goes moves the wallet, the peak and the baselines of the losses alike."""
    one = book()
    kept: list[SessionMemory] = []
    session = controls(one, kept)
    before = kept[-1]
    follow(AccountChanged(**HEAD, wallet_e8=0, why="WITHDRAW", delta_e8=-300 * E8), one, session)
    assert one.wallet_e8 == 700 * E8
    assert kept[-1] == attrs.evolve(
        before,
        peak_e8=before.peak_e8 - 300 * E8,
        day_base_e8=before.day_base_e8 - 300 * E8,
        session_base_e8=before.session_base_e8 - 300 * E8,
        last_e8=before.last_e8 - 300 * E8,
    )
    assert session.judge(1_000) == ()
    follow(WalletRead(**HEAD, wallet_e8=400 * E8, unexplained_e8=-300 * E8), one, session)
    assert len(session.judge(1_001)) == 2, "what nobody explains is a loss"


def test_the_wallet_that_was_read_contains_the_settlements_up_to_then() -> None:
    """A payment that arrives after the read that had it in is not paid twice; without a figure only the age moves."""
    one = book()
    session = controls(one, [])
    follow(WalletRead(**HEAD, wallet_e8=None), one, session)
    assert (one.wallet_e8, one.balance_ns) == (1_000 * E8, 1_000)
    follow(WalletRead(**HEAD, wallet_e8=990 * E8), one, session)
    paid = FundingPaid(
        **{**HEAD, "ts_venue_ns": 990}, instrument=BTC, rate_e8=1, mark_ticks=1, long_e8=10 * E8, short_e8=0
    )
    one.apply_funding(paid)
    assert one.wallet_e8 == 990 * E8


def test_a_wallet_of_the_books_holds_no_settlement_that_they_were_not_told() -> None:
    """A payment that was charged before a restart and is told after it is paid then, once."""
    one = book()
    one.set_balance(Balance(wallet_e8=1_000 * E8, realised_e8=0, fees_e8=0, funding_e8=0), 1_000, of_books=True)
    paid = FundingPaid(
        **{**HEAD, "ts_venue_ns": 990}, instrument=BTC, rate_e8=1, mark_ticks=1, long_e8=10 * E8, short_e8=0
    )
    one.apply_funding(paid)
    one.apply_funding(paid)
    assert (one.wallet_e8, one.funding_e8) == (990 * E8, 10 * E8)


def test_what_is_not_ours_counts_in_exposure_and_backs_no_reduction() -> None:
    """Position, equity and the caps know of it; the proof of a reduction and flatness are of our own alone."""
    one = book()
    one.set_foreign(seen(long_lots=95))
    limits = RiskLimits(
        max_order_notional_e8=10**12, max_leg_notional_e8=10**12, max_gross_notional_e8=10**12,
        max_net_notional_e8=10**12, max_open_orders_per_leg=5, price_collar_ppm=10**6, max_quote_age_ns=10**9,
        max_orders_per_minute=100,
        max_mark_age_ns=10**9, max_balance_age_ns=10**9, approval_ttl_ns=10**9, max_leverage_ppm=10**7,
        max_position_ppm=10**7, max_margin_ppm=10**6, max_var_ppm=10**6,
    )  # fmt: skip
    rule = one.rules[0]
    rule.mark_ns = rule.quote_ns = one.balance_ns = 1_000
    rule.bid_ticks = rule.ask_ticks = 1_000
    rule.max_qty_lots = 1_000

    def check(order: Booked, has_price: int = 1) -> int:
        one.refresh()
        rows = (one.booked[0], one.tiers[0])
        return risk.check(limits, one.account, one.rules, one.exposures, *rows, order, has_price, 1, 1_000, 1_000)

    entry = Booked(no=7, leg=LONG, purpose=ENTRY, price_ticks=1_000, qty_lots=6, level=1, generation=1)
    assert check(entry) == risk.MAX_POSITION
    assert check(attrs.evolve(entry, qty_lots=5)) == risk.PASS
    limits.max_leg_notional_e8 = 100 * 1_000 * 10 - 1
    assert check(attrs.evolve(entry, qty_lots=5)) == risk.MAX_LEG_NOTIONAL
    flatten = Booked(no=8, leg=LONG, purpose=int(Purpose.FLATTEN), qty_lots=1)
    assert check(flatten, 0) == risk.REDUCE_PROOF
    assert one.is_flat(BTC)
    assert one.unrealised_e8() == 95 * 100 * 10
    one.set_foreign(seen())
    assert one.unrealised_e8() == 0
    assert one.exposures[LONG].foreign_lots == 0


@pytest.mark.parametrize("hydrated_between", [False, True])
def test_foreign_orders_are_counted_at_their_worst_case_until_they_are_gone(hydrated_between: bool) -> None:
    """A foreign entry that rests could fill: it counts like one of ours, whole and once; a hydration keeps it."""
    one = book()
    order = OpenOrder(
        client_id="web_1",
        instrument=BTC,
        leg=Leg.SHORT,
        purpose=Purpose.ENTRY,
        kind=Kind.LIMIT,
        price_ticks=2_000,
        qty_lots=8,
        filled_lots=3,
        close_all=False,
        created_ns=1,
    )
    for _ in range(2):
        one.set_foreign(seen(long_lots=4, orders=(order,)))
    if hydrated_between:
        one.set_instrument(_nothing_of_ours())
    assert one.exposures[SHORT].entry_lots == 5
    assert one.exposures[SHORT].entry_worst_e8 == 5 * 2_000 * 10
    assert one.exposures[LONG].foreign_lots == 4
    one.set_foreign(seen())
    assert one.exposures[SHORT].entry_lots == 0
    assert one.exposures[SHORT].open_orders == 0


def _nothing_of_ours() -> Hydrated:
    return Hydrated(
        **HEAD, instrument=BTC, positions=(), orders=(), lots=(), unbooked=(), grid=None, mark_ticks=0, next_order_no=1
    )


def test_no_word_on_a_wallet_makes_one_that_nobody_has_told() -> None:
    """Another program's transfers and a quiet poll come before the first reading: there is no equity to show yet."""
    one = RiskBook(
        [instrument(BTC)],
        [InstrumentRisk(unit_e8=10, max_position_lots=100, mark_ticks=1_000, var_ppm=1)],
        RiskLimits(),
    )
    settings = SessionSettings(limits=SessionLimits(), bars_per_year={BTC: 1.0})
    session = SessionControls(one, settings, remembered=None, latched=(), keep=lambda _: None)
    follow(AccountChanged(**HEAD, wallet_e8=5 * E8, why="DEPOSIT", delta_e8=5 * E8), one, session)
    follow(AccountChanged(**HEAD, wallet_e8=5 * E8, why="ORDER"), one, session)
    follow(WalletRead(**HEAD, wallet_e8=None), one, session)
    one.hear_of_wallet(2_000)
    assert one.equity_e8() is None
    assert one.balance_ns == 0
    # Of a wallet alone nobody knows what it is made of: the account's reading tells both.
    follow(WalletRead(**HEAD, wallet_e8=400 * E8), one, session)
    assert one.equity_e8() is None
    one.set_balance(Balance(wallet_e8=400 * E8, realised_e8=0, fees_e8=0, funding_e8=0), 2_500)
    assert one.equity_e8() == 400 * E8


@pytest.mark.parametrize("held_by_others", [False, True])
def test_what_is_held_has_no_worth_before_its_mark(held_by_others: bool) -> None:
    """A position, ours or not, without a mark is no loss of all that it cost: equity is not known."""
    one = book()
    one.rules[0].mark_ticks = 0
    assert one.equity_e8() == 1_000 * E8, "nothing is held"
    if held_by_others:
        one.set_foreign(seen(long_lots=3))
    else:
        held = Position(instrument=BTC, leg=Leg.LONG, qty_lots=3, cost_e8=3 * 900 * 10)
        one.set_instrument(attrs.evolve(_nothing_of_ours(), positions=(held,)))
    assert one.equity_e8() is None
    one.rules[0].mark_ticks = 1_000
    assert one.equity_e8() == 1_000 * E8 + 3 * 100 * 10


def test_a_settlement_counts_from_when_it_was_charged() -> None:
    """Its stamp is the full minute, its charge comes a moment later: a wallet read in between has it not yet."""
    one = book()
    one.set_wallet(1_000 * E8, 60_500)
    figures: dict[str, Any] = {"instrument": BTC, "rate_e8": 1, "mark_ticks": 1, "long_e8": 10 * E8, "short_e8": 0}
    paid = FundingPaid(**{**HEAD, "ts_venue_ns": 60_000}, **figures, charged_ns=60_700)
    one.apply_funding(paid)
    one.apply_funding(paid)
    assert (one.wallet_e8, one.funding_e8) == (990 * E8, 10 * E8)


def test_what_is_not_ours_counts_in_every_figure() -> None:
    """Margin, notional and leverage are of all that the exchange would liquidate; they are as old as its mark."""
    one = book()
    one.hear_of_wallet(1_000)
    one.set_mark(0, 1_000, 800)
    one.set_foreign(seen(long_lots=95))
    told = one.figures(SessionMemory(peak_e8=1, day_base_e8=1, session_base_e8=1, last_e8=1, next_day_ns=1))
    gross_e8 = 95 * 1_000 * 10
    assert told.worth is not None
    assert told.at_risk is not None
    assert told.worth.maintenance_e8 == gross_e8 * one.tiers[0][0].maintenance_ppm // 10**6 > 0
    assert (told.at_risk.gross_e8, told.at_risk.net_e8) == (gross_e8, gross_e8)
    assert (told.worth.at_ns, told.at_risk.at_ns) == (800, 800)


def test_a_change_of_the_wallet_is_the_exchanges_word_on_it() -> None:
    """The gate refuses entries on an old balance: what is told of the wallet makes it new, moved or not."""
    one = book()
    session = controls(one, [])
    follow(AccountChanged(**HEAD, wallet_e8=0, why="", delta_e8=0), one, session)
    assert one.balance_ns == 1_000
