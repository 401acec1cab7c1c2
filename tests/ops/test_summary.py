"""The end of a run is told in figures that are the account's."""

import json

import attrs

from hedgegrid.messages import events
from hedgegrid.messages.events import EndReason, OrderEventKind
from hedgegrid.model.account import Position
from hedgegrid.model.order import Leg, Purpose
from hedgegrid.ops.phrases import change_percent, percent
from hedgegrid.ops.summary import RunExtras, render_summary, summary_json
from tests.ops.telling import BTC, Account, S, open_order, order

EXTRAS = RunExtras(
    ended="duration reached",
    wall_ns=61_400_000_000,
    journal_path="state/demo.db",
    journal_hash="9f86d0",
    ambiguous_bars=3,
)


def finished_account() -> Account:
    """An account after some trading, one leg still open."""
    account = Account()
    account.hydrate(Position(instrument=BTC, leg=Leg.SHORT, qty_lots=4, cost_e8=4 * 1_081_234 * 10_000))
    account.permit("warming", "active", "warmed")
    account.sample(1_000_000_000_000)
    take_profit = order("t", Leg.LONG, Purpose.TAKE_PROFIT, 10)
    stop = order("s", Leg.LONG, Purpose.STOP, 10)
    account.rest(order("a"), order("b"), take_profit, stop)
    account.approve(order("late"), cancels=("x", "y"))
    account.tell(OrderEventKind.REJECTED, "late", reason=EndReason.POST_ONLY)
    for request in (order("a"), order("b"), take_profit):
        account.fill(request)
    account.refuse("price_collar")
    account.refuse("min_notional")
    account.refuse("price_collar")
    account.close_bar()
    account.publish(events.ActorRestarted, actor="feed", error="OSError", attempt=1)
    account.sample(
        998_765_400_000, realised_e8=123_456_789, unrealised_e8=-5_000, fees_e8=7_654_321, funding_e8=-1_000_000
    )
    return account


def test_summary_lines() -> None:
    """Each line is one that people and scripts look for."""
    lines = render_summary(finished_account().view, EXTRAS).splitlines()
    of_orders = "orders: 5 approved: 3 filled, 0 cancelled or superseded, 1 refused by the exchange, 1 open"
    assert lines == [
        "market time: 2025-07-06 00:00:04 -> 2025-07-06 00:00:13 (9.0 s, 1 bar)",
        "wall time: 1 min 1 s",
        "fills: 3 (entries 2, take-profits 1, stops 0)",
        f"{of_orders}; 2 cancels asked for",
        "refused: 3 (min_notional 1, price_collar 2)",
        "PnL: realised +1.2346 unrealised -0.0001 (realised after fees and funding: +1.1680)",
        "fees: 0.0765",
        "funding: -0.0100 (negative: received)",
        "equity: 10,000.0000 -> 9,987.6540 (change -0.12%; since the session began -)",
        f"position left: {BTC} long 0.010 @ 100,000.0",
        f"position left: {BTC} short 0.004 @ 108,123.4",
        "ambiguous bars: 3",
        "permission: active",
        "restarts: 1 (feed 1)",
        "incidents: 0",
        "journal: state/demo.db",
        "journal hash: 9f86d0",
        "ended: duration reached",
    ]


def test_summary_of_a_run_that_learnt_nothing() -> None:
    """A run that ends before hydration claims no figure; an unknown position is listed as unknown."""
    text = render_summary(Account().view, RunExtras(ended="stopped by SIGINT", wall_ns=5 * S))
    assert "equity: - -> - (change -; since the session began -)" in text
    assert "PnL: realised - unrealised -" in text
    assert f"position left: {BTC} long -" in text
    assert "journal hash: -" in text
    assert text.endswith("ended: stopped by SIGINT")


def test_money_and_positions_are_of_one_moment() -> None:
    """The books' word goes before the last sample, which a fill may have overtaken; books that lag tell no money."""
    account = finished_account()
    held = [account.view.instruments[BTC].legs[leg].qty_lots or 0 for leg in Leg]
    account.worth(1_000_000_000_000, unrealised_e8=-7 * 10**8, sums_e8=(9 * 10**8, 0, 0), lots=held)
    extras = attrs.evolve(EXTRAS, account=account.books)
    text = render_summary(account.view, extras)
    # The session began at 2 quote below 10,000: the fixture's.
    assert "equity: 10,000.0000 -> 10,000.0000 (change +0.00%; since the session began +0.02%)" in text
    assert "realised +9.0000 unrealised -7.0000" in text
    told = summary_json(account.view, extras)
    assert (told["equity_last_quote"], told["equity_session_percent"]) == ("10000", "0.02")
    assert change_percent(1_000_000_000_001, 1_000_000_000_000) == 0
    assert percent(change_percent(1_000_000_000_001, 1_000_000_000_000)) == "+0.00%", (
        "what rounds to nothing is no loss"
    )
    account.fill(order("u", Leg.LONG, Purpose.ENTRY), 1)
    text = render_summary(account.view, extras)
    assert "equity: 10,000.0000 -> - (change -; since the session began -)" in text
    assert "PnL: realised - unrealised -" in text


def test_the_orders_add_up() -> None:
    """Every order that was approved, or open before, is told of once: whatever became of it."""
    account = Account()
    account.hydrate(orders=(open_order(order("old")), open_order(order("older"))))
    account.rest(order("a"), order("b"), order("c"))
    account.approve(order("unheard"), order("lost"))
    account.tell(OrderEventKind.UNKNOWN, "lost")
    account.tell(OrderEventKind.CANCELLED, "a", "old")
    account.tell(OrderEventKind.CANCELLED, "a")
    account.fill(order("b"), 4)
    account.fill(order("b"), 6)
    account.hydrate(orders=(open_order(order("older")), open_order(order("c"))))
    told = summary_json(account.view, EXTRAS)
    parts = [told[f"orders_{name}"] for name in ("filled", "cancelled", "refused", "open", "not_told")]
    assert parts == [1, 2, 0, 2, 2]
    assert told["orders_approved"] == 5
    assert told["orders_before"] == 2
    line = next(one for one in render_summary(account.view, EXTRAS).splitlines() if one.startswith("orders: "))
    assert line.startswith("orders: 5 approved and 2 from before: 1 filled, 2 cancelled or superseded, 0 refused by")
    assert line.endswith("2 open, 2 not told of, 1 of them UNKNOWN; 0 cancels asked for")


def test_a_run_that_failed_says_what_it_leaves() -> None:
    """Nobody acts on its permission any more; what stays at the exchange is told instead."""
    extras = attrs.evolve(EXTRAS, ended="-2015: the key may not do this", left="BTC long 0.010, entries 4")
    lines = render_summary(finished_account().view, extras).splitlines()
    assert "permission: none, the run failed (it was active)" in lines
    assert lines[-2:] == ["left at the exchange: BTC long 0.010, entries 4", "ended: -2015: the key may not do this"]
    assert summary_json(finished_account().view, extras)["left"] == "BTC long 0.010, entries 4"


def test_a_liquidation_shows_in_its_fills() -> None:
    """Purposes beyond the usual three appear where there are any."""
    account = finished_account()
    account.fill(order("l", Leg.SHORT, Purpose.LIQUIDATION), 4)
    account.publish(events.Liquidated, equity_e8=-1, maintenance_e8=2)
    text = render_summary(account.view, EXTRAS)
    assert "fills: 4 (entries 2, take-profits 1, stops 0, liquidated 1)" in text
    assert "position left" not in text


def test_json_has_the_same_figures() -> None:
    """Programs read the exact figures: no thousands, no rounding, null for what is not known."""
    told = json.loads(json.dumps(summary_json(finished_account().view, EXTRAS)))
    assert told["fills_by_purpose"] == {
        "entry": 2,
        "take_profit": 1,
        "stop": 0,
        "flatten": 0,
        "backstop": 0,
        "liquidation": 0,
    }
    assert (told["fills"], told["orders_approved"], told["orders_open"], told["cancels"]) == (3, 5, 1, 2)
    assert told["refused_by_control"] == {"price_collar": 2, "min_notional": 1}
    assert told["rejected_by_reason"] == {"post_only": 1}
    assert (told["realised_quote"], told["unrealised_quote"]) == ("1.23456789", "-0.00005")
    assert (told["equity_first_quote"], told["equity_last_quote"]) == ("10000", "9987.654")
    assert told["equity_change_percent"] == "-0.12"
    assert told["positions"][1] == {
        "instrument": BTC,
        "leg": "short",
        "qty_base": "0.004",
        "cost_quote": "432.4936",
    }
    assert (told["journal_hash"], told["ambiguous_bars"], told["wall_s"]) == ("9f86d0", 3, 61.4)
    empty = summary_json(Account().view, RunExtras(ended="market ended", wall_ns=0))
    assert empty["equity_last_quote"] is empty["market_last_ns"] is empty["orders_open"] is None
