"""Prometheus reads the account's own figures, each with its age, and no figure that is not known."""

import attrs
import pytest
from prometheus_client.parser import text_string_to_metric_families

from hedgegrid.core.health import VenueProbe
from hedgegrid.core.permission import Mode
from hedgegrid.messages import events
from hedgegrid.messages.events import OrderEventKind
from hedgegrid.model.account import Balance, Position
from hedgegrid.model.order import Leg, Purpose
from hedgegrid.ops.metrics import MODES, registry, render
from hedgegrid.ops.readings import RuntimeReading
from hedgegrid.runtime.router import RouterStatistics
from tests.ops.telling import BTC, Account, S, child, mailbox, open_order, order

READING = RuntimeReading(
    mailboxes=(mailbox("feed", depth=3), mailbox("risk")),
    router=RouterStatistics(sent=900, dead_letters=4, overflows=0, unreported=0),
    children=(child("root", child("feed", restarts=2), child("risk")),),
    journal_rows=1_234,
    probe=VenueProbe(loop_lag_ns=2_500_000, clock_skew_ns=-40_000_000),
    sent=lambda name, leg, purpose: 7 if (name, leg, purpose) == (BTC, Leg.SHORT, Purpose.STOP) else 0,
)
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def scrape(account: Account, reading: RuntimeReading = READING, later_ns: int = 0) -> Samples:
    """Every sample of a scrape ``later_ns`` after the last message, as a Prometheus would read it."""
    whole = attrs.evolve(reading, account=account.books)
    made = registry(account.view, now_ns=lambda: account.now_ns + later_ns, read_runtime=lambda: whole)
    text = render(made).decode()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def figure(samples: Samples, name: str, **labels: str) -> float:
    """One sample; KeyError where there is none."""
    return samples[f"hedgegrid_{name}", frozenset({"account": "demo", **labels}.items())]


def names(samples: Samples) -> set[str]:
    """The names of all samples."""
    return {name for name, _ in samples}


def busy_account() -> Account:
    """An account in the middle of its work."""
    account = Account()
    account.hydrate(Position(instrument=BTC, leg=Leg.SHORT, qty_lots=5, cost_e8=5 * 1_081_234 * 10_000))
    account.hydrate_account(Balance(wallet_e8=1, realised_e8=2, fees_e8=3, funding_e8=4), foreign_orders=2)
    account.permit("hydrating", "warming", "hydrated")
    account.permit("active", "reducing", "raised", "feed_stale", BTC)
    account.rest(order("a"), order("b"), order("t", Leg.SHORT, Purpose.TAKE_PROFIT))
    account.tell(OrderEventKind.UNKNOWN, "b")
    account.fill(order("a"))
    account.refuse("price_collar")
    account.mark(1_081_235)
    account.close_bar()
    account.publish(events.FundingRate, instrument=BTC, rate_e8=-12_345, next_funding_ns=9 * S, funding_interval_ns=S)
    account.publish(events.GridMoved, instrument=BTC, regime=0, center_ticks=1_080_000, step_micro=1, generation=4)
    account.quote(1_081_230, 1_081_240)
    account.worth(1_000_012_345_678, unrealised_e8=12_345_678, sums_e8=(-99, 3_141, -59_265))
    return account


def test_money_is_the_books_to_the_last_unit() -> None:
    """What an operator alerts on is what the account has: 1e-8 of the quote currency is not lost on the way."""
    samples = scrape(busy_account(), later_ns=1_500_000_000)
    for name, amount_e8 in (
        ("equity_quote", 1_000_012_345_678),
        ("wallet_quote", 1_000_000_000_000),
        ("unrealised_pnl_quote", 12_345_678),
        ("realised_pnl_quote", -99),
        ("fees_paid_quote", 3_141),
        ("funding_paid_quote", -59_265),
        ("equity_peak_quote", 2_000_024_691_356),
        ("maintenance_margin_quote", 125_001_543_209),
        ("daily_loss_quote", 7),
        ("session_loss_quote", -2 * 10**8),
        ("gross_notional_quote", 3_000_037_037_034),
        ("value_at_risk_quote", 100_001_234_567),
    ):
        assert round(figure(samples, name) * 10**8) == amount_e8
        assert figure(samples, f"{name}_age_seconds") == 1.5


def test_positions_orders_and_market() -> None:
    """Quantities are in base units and prices in quote, by instrument and leg."""
    samples = scrape(busy_account())
    assert figure(samples, "position_base", instrument=BTC, leg="long") == 0.01
    assert figure(samples, "position_entry_price", instrument=BTC, leg="short") == 108_123.4
    assert figure(samples, "open_orders", instrument=BTC, leg="long", purpose="entry") == 1
    assert figure(samples, "open_orders", instrument=BTC, leg="short", purpose="take_profit") == 1
    assert figure(samples, "open_orders", instrument=BTC, leg="short", purpose="stop") == 0
    assert figure(samples, "unknown_orders") == 1
    assert figure(samples, "foreign_orders") == 2
    assert figure(samples, "mark_price", instrument=BTC) == 108_123.5
    assert figure(samples, "funding_rate_ratio", instrument=BTC) == -0.00012345
    assert figure(samples, "next_funding_timestamp_seconds", instrument=BTC) == 9
    assert figure(samples, "grid_center_price", instrument=BTC) == 108_000
    assert figure(samples, "fills_total", instrument=BTC, leg="long", purpose="entry") == 1
    assert figure(samples, "orders_approved_total", instrument=BTC, leg="short", purpose="take_profit") == 1
    assert figure(samples, "risk_refusals_total", control="price_collar") == 1
    assert figure(samples, "bars_total", instrument=BTC) == 1


def test_what_is_not_ours_has_its_own_gauges() -> None:
    """A position or an order of somebody else shows as soon as it is seen, and goes when it is gone."""
    account = busy_account()
    held = Position(instrument=BTC, leg=Leg.SHORT, qty_lots=7, cost_e8=1)
    account.publish(events.ForeignSeen, instrument=BTC, positions=(held,), orders=(), last_trade_id=1)
    samples = scrape(account)
    assert figure(samples, "foreign_position_base", instrument=BTC, leg="short") == pytest.approx(0.007)
    assert figure(samples, "foreign_position_base", instrument=BTC, leg="long") == 0
    account.publish(events.ForeignSeen, instrument=BTC, positions=(), orders=(), last_trade_id=1)
    assert figure(scrape(account), "foreign_position_base", instrument=BTC, leg="short") == 0


def test_the_orders_of_others_add_up_over_instruments() -> None:
    """What is seen of one instrument must not hide what rests in another."""
    eth = "ETH/USDT:USDT"
    account = Account(BTC, eth)
    rests = open_order(order("theirs"))
    for name, count in ((BTC, 3), (eth, 2), (BTC, 1)):
        account.publish(events.ForeignSeen, instrument=name, positions=(), orders=(rests,) * count, last_trade_id=1)
    assert figure(scrape(account), "foreign_orders") == 3


def test_permission_is_one_hot_with_its_reasons() -> None:
    """An alert on a mode needs a sample for each of them, and the reason beside it."""
    samples = scrape(busy_account())
    states = {mode: figure(samples, "permission_state", state=mode) for mode in MODES}
    assert states == {mode: float(mode == "reducing") for mode in MODES}
    assert figure(samples, "pause_reasons", reason="feed_stale", scope=BTC) == 1
    assert set(MODES) == {mode.value for mode in Mode}


def test_runtime_figures() -> None:
    """Mailboxes, restarts, dead letters and the journal are the runtime's own counts."""
    samples = scrape(busy_account())
    assert figure(samples, "mailbox_depth", actor="feed", lane="ordinary") == 3
    assert figure(samples, "mailbox_peak_depth", actor="feed", lane="control") == 2
    assert figure(samples, "messages_received_total", actor="risk") == 500
    assert figure(samples, "actor_restarts_total", actor="feed") == 2
    assert figure(samples, "actor_restarts_total", actor="root") == 0
    assert figure(samples, "dead_letters_total") == 4
    assert figure(samples, "journal_rows_total") == 1_234


def test_every_gauge_has_a_twin_with_its_labels() -> None:
    """Law 9: every published figure has an age."""
    account = busy_account()
    whole = attrs.evolve(READING, account=account.books)
    made = registry(account.view, now_ns=lambda: account.now_ns, read_runtime=lambda: whole)
    families = {family.name: family for family in text_string_to_metric_families(render(made).decode())}
    gauges = [one for one in families.values() if one.type == "gauge" and not one.name.endswith("_age_seconds")]
    assert len(gauges) > 20
    for gauge in gauges:
        twin = families[f"{gauge.name}_age_seconds"]
        assert [sample.labels for sample in twin.samples] == [sample.labels for sample in gauge.samples] != []
        assert all(sample.value >= 0 for sample in twin.samples)


def test_nothing_is_invented() -> None:
    """Before the first message there are counters at zero and no gauge at all."""
    samples = scrape(Account(), RuntimeReading())
    counters = {"hedgegrid_fills_total", "hedgegrid_orders_approved_total", "hedgegrid_bars_total"}
    assert names(samples) == counters | {"hedgegrid_incidents_total"}, "and no equity"
    assert set(samples.values()) == {0.0}


def test_what_is_not_known_any_more_disappears() -> None:
    """A rate that expired and a position in doubt leave, rather than freeze at their last value."""
    account = busy_account()
    account.publish(events.FundingRateMissing, instrument=BTC, expired_ns=1)
    account.fill(order("x", Leg.SHORT, Purpose.STOP), 6)
    left = names(scrape(account))
    assert not left & {"hedgegrid_funding_rate_ratio", "hedgegrid_funding_rate_ratio_age_seconds"}
    samples = scrape(account)
    with pytest.raises(KeyError):
        figure(samples, "position_base", instrument=BTC, leg="short")
    assert figure(samples, "position_base", instrument=BTC, leg="long") == 0.01


def test_no_label_names_an_order() -> None:
    """A label value for each order would grow without bound."""
    labels = {label for _, pairs in scrape(busy_account()) for label, _ in pairs}
    assert labels == {
        "account",
        "actor",
        "control",
        "instrument",
        "lane",
        "leg",
        "purpose",
        "reason",
        "scope",
        "state",
    }


def test_a_flat_leg_has_no_entry_price() -> None:
    """An average of nothing is not zero."""
    account = Account()
    account.hydrate()
    assert "hedgegrid_position_entry_price" not in names(scrape(account))
    assert figure(scrape(account), "position_base", instrument=BTC, leg="long") == 0


@pytest.mark.parametrize("last", ["rate", "mark"])
def test_what_funding_will_cost_is_as_old_as_the_oldest_that_it_rests_on(last: str) -> None:
    """A fresh rate on an old mark, or a fresh mark under an old rate, is no fresh projection."""
    account = busy_account()
    account.now_ns += 60 * S
    if last == "mark":
        account.mark(1_081_240)
    else:
        told = {"rate_e8": -12_345, "next_funding_ns": 90 * S, "funding_interval_ns": S}
        account.publish(events.FundingRate, instrument=BTC, **told)
    age_s = figure(scrape(account), "projected_funding_quote_age_seconds", instrument=BTC, leg="long")
    assert age_s >= 60


def test_what_stands_unprotected_is_as_old_as_the_older_of_position_and_stops() -> None:
    """A word on the position says nothing of stops that were last heard of a minute ago."""
    account = busy_account()
    account.now_ns += 60 * S
    account.publish(events.Liquidated, equity_e8=0, maintenance_e8=1)
    samples = scrape(account)
    assert figure(samples, "position_base_age_seconds", instrument=BTC, leg="short") == 0
    assert figure(samples, "unprotected_base_age_seconds", instrument=BTC, leg="short") >= 60
