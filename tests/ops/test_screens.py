"""What `status` and `risk` print is readable in a terminal of 100 columns, and says what is not known."""

from typing import Any

import attrs
import pytest

from hedgegrid.core.gate_records import (
    AccountRisk,
    Exposure,
    InstrumentRisk,
    Realised,
    RiskLimits,
    SessionLimits,
    SessionState,
)
from hedgegrid.core.pause import ControlAction, Reason, is_latched
from hedgegrid.core.permission import StandingReason
from hedgegrid.core.risk import CONTROL_NAMES
from hedgegrid.core.risk_figures import figures
from hedgegrid.core.session_figures import account_controls, instrument_controls
from hedgegrid.model.order import Leg, Purpose
from hedgegrid.model.trip import LastTrip
from hedgegrid.ops.control import FlattenState
from hedgegrid.ops.health import reasons_of
from hedgegrid.ops.lifting import lifted_by
from hedgegrid.ops.limits import ControlSources, control_readings
from hedgegrid.ops.operator import flatten_state
from hedgegrid.ops.readings import RuntimeReading
from hedgegrid.ops.screens import COLUMNS, risk_lines, status_lines
from hedgegrid.ops.status import RiskStatus, status_of
from tests.ops.telling import BTC, Account, S, instrument, order

LONGEST = 9 * 10**17
ACTIONS = dict.fromkeys(Reason, ControlAction.CANCEL_ENTRIES)


def told(value: Any) -> Any:
    """An answer as the command gets it: JSON's plain values."""
    return attrs.asdict(value)


def risk_of(account: Account, *, enabled: int = 1, balance_ns: int = 0) -> Any:
    """An answer to `risk` with the largest figures there can be, a trip of every control, and a drawdown.

    ``balance_ns`` is when the wallet was told, 0 never.
    """
    limits = RiskLimits(
        max_order_notional_e8=LONGEST,
        max_leg_notional_e8=LONGEST,
        max_gross_notional_e8=LONGEST,
        max_net_notional_e8=LONGEST,
        max_leverage_ppm=125 * 10**6,
        max_position_ppm=10**6,
        max_margin_ppm=10**6,
        min_distance_ppm=999_999,
        max_var_ppm=10**6,
        max_open_orders_per_leg=1_000,
        price_collar_ppm=9_999_999,
        max_quote_age_ns=86_400 * S,
        max_mark_age_ns=86_400 * S,
        max_balance_age_ns=86_400 * S,
    )
    rules = [InstrumentRisk(unit_e8=1, max_qty_lots=10**12, max_position_lots=10**12)]
    gate = figures(
        limits, AccountRisk(equity_e8=9, balance_ns=balance_ns), rules, [Exposure(), Exposure()], [], now_ns=5
    )
    on = SessionLimits(drawdown_on=enabled, drawdown_ppm=100_000, daily_e8=LONGEST, session_e8=LONGEST)
    state = SessionState(peak_e8=2 * 10**10, day_base_e8=LONGEST, session_base_e8=LONGEST)
    session = (
        *account_controls(on, state, ACTIONS, equity_e8=10**10, maintenance_e8=10**9),
        *instrument_controls(on, ACTIONS, [(Realised(), 1.0)], [None], 5),
    )
    names = (*CONTROL_NAMES.values(), *(one.reason.value for one in session))
    sources = ControlSources(
        gate=gate,
        session=session,
        reasons=[
            StandingReason(reason=Reason.DRAWDOWN, scope="", figures=(), raised_ns=1, resume_after_ns=0),
        ],
        trips=[
            LastTrip(control=name, scope=BTC, ts_ns=1, times=12, figures={"limit": "9" * 70, "value": "8" * 70})
            for name in names
        ],
        view=account.view,
        kill_action="flatten",
        kill_enabled=enabled == 1,
        now_ns=account.now_ns,
    )
    readings = control_readings(sources, [instrument()])
    reasons = reasons_of(account.view, account.now_ns)
    return told(RiskStatus(mode="reducing", mode_since_s=7_200.0, reasons=reasons, controls=readings))


def rows_of(answer: Any) -> dict[str, str]:
    """The table's rows by control."""
    lines = risk_lines(answer)
    return {line[1:].split()[0]: line for line in lines[: lines.index("last trips")] if line[1:].strip()}


def test_the_controls_fit_into_a_hundred_columns() -> None:
    """The largest limits, the longest names and wide figures of trips stay readable in a plain terminal."""
    lines = risk_lines(risk_of(Account()))
    assert max(map(len, lines)) <= COLUMNS
    text = "\n".join(lines)
    assert all(f"{name} " in text for name in (*CONTROL_NAMES.values(), "margin_kill", "funding_kill"))
    assert "9,000,000,000 " in text


def test_what_stands_is_marked_and_what_is_off_says_so() -> None:
    """At a glance: what holds trading back now, which control is not judged, when each last acted."""
    rows = rows_of(risk_of(Account()))
    assert rows["drawdown"].startswith("!")
    assert "50.00 %" in rows["drawdown"]
    assert "-40.00 %" in rows["drawdown"]
    assert " cancel " in rows["drawdown"]
    assert rows["permission"].startswith("!")
    assert rows["duplicate"].startswith(" ")
    assert " off " in rows["daily_loss"]
    assert "not known" in rows["volatility_halt"]
    assert " off " in rows_of(risk_of(Account(), enabled=0))["drawdown"]


def test_a_distance_that_no_move_reaches_is_none_and_not_unknown() -> None:
    """A hedged or flat account has no liquidation price: that is known, and worth knowing."""
    name = "min_liquidation_distance_ratio"
    assert "not known" in rows_of(risk_of(Account()))[name]
    row = rows_of(risk_of(Account(), balance_ns=1))[name]
    assert "not known" not in row
    assert row.split()[3:5] == ["none", "none"]


def status_of_account(account: Account) -> list[str]:
    """What `status` prints of it."""
    reading = RuntimeReading(account=account.books)
    flatten: FlattenState = flatten_state(account.view, account.now_ns)
    return status_lines(told(status_of(account.view, reading, flatten, account.now_ns)))


def test_a_leg_without_its_stop_is_told_in_capitals() -> None:
    """The first thing to see at night: what is held, at which price, and whether a stop covers it."""
    account = Account()
    account.hydrate()
    account.worth(10**12, unrealised_e8=-5 * 10**8)
    account.permit("active", "reducing", "raised", "feed_stale", BTC)
    entry, stop = order("e"), order("s", purpose=Purpose.STOP, qty_lots=6)
    account.rest(entry)
    account.fill(entry)
    stop = attrs.evolve(stop, kind=order("b", purpose=Purpose.BACKSTOP).kind)
    account.approve(stop)
    assert any("0.01 WITHOUT A STOP" in line for line in status_of_account(account)), "only sent"
    account.rest(stop)
    lines = status_of_account(account)
    assert any(line.strip().startswith("long  0.01 at 100,000, 0.004 WITHOUT A STOP") for line in lines)
    assert any("feed_stale of BTC/USDT:USDT" in line for line in lines)
    assert any("equity     10,000.00 (wallet 10,005.00, unrealised -5.00)" in line for line in lines)
    held = "held       30,000.00 (3.00 x equity); a move of 25.00% liquidates; value at risk 1,000.00"
    assert any(held in line for line in lines)
    assert any("last fill" in line and "long entry 0.01 at 100,000" in line for line in lines)
    account.rest(attrs.evolve(stop, client_id="s2", qty_lots=4))
    assert any("stops cover it" in line for line in status_of_account(account))
    account.view.orders.lost("s2")
    assert any("0.004 WITHOUT A STOP" in line for line in status_of_account(account)), "a stop in doubt covers nothing"
    assert account.view.unprotected_lots(BTC, Leg.SHORT) == 0


@pytest.mark.parametrize(
    ("mode", "reason", "scope", "head", "line"),
    [
        ("reducing", "operator", "", ": PAUSED, nothing is added", "; until `hedgegrid resume`"),
        ("reducing", "drawdown", "", ": PAUSED, nothing is added", "; until `hedgegrid resume --new-peak`"),
        ("reducing", "feed_stale", BTC, f": PAUSED for {BTC}, nothing is added", "; lifts by itself once its cause"),
        ("reducing", "circuit_breaker", "", ": PAUSED, nothing is added", "; until [risk.circuit_breaker] cooldown_s"),
        ("halted", "", "", ": PAUSED, nothing is added, until `hedgegrid resume`", ""),
    ],
)
def test_a_pause_says_that_it_is_one_and_what_lifts_it(
    mode: str, reason: str, scope: str, head: str, line: str
) -> None:
    """Whoever reads `status` at night need not know the states of a machine, nor the commands."""
    account = Account()
    account.hydrate()
    account.permit("warming", "active", "warmed")
    assert not any("PAUSED" in one for one in status_of_account(account))
    account.permit("active", mode, "raised" if reason else "halted", reason, scope)
    lines = status_of_account(account)
    assert lines[0].startswith(f"demo: {mode} for ")
    assert lines[0].endswith(head)
    assert not reason or (lines[1].startswith(f"  {reason}") and line in lines[1])


def test_every_reason_says_what_ends_it() -> None:
    """A latched one a command that does it, any other that it ends by itself; none is without words."""
    for reason in Reason:
        words = lifted_by(reason.value)
        assert is_latched(reason) == ("`hedgegrid resume" in words), reason
        assert ("--new-peak" in words) == (reason is Reason.DRAWDOWN)


def test_nothing_is_a_number_before_it_is_known() -> None:
    """Law 9: an account that was just started shows no equity, no drawdown and no position of zero."""
    text = "\n".join(status_of_account(Account()))
    assert "equity     not known (wallet not known, unrealised not known)" in text
    assert "drawdown   not known" in text
    assert "held  " not in text
    assert "long  not known" in text
    assert "funding: no rate is known" in text
