"""Whatever happens in whatever order: no order that was approved takes the account over a cap, none leaves paused.

Invariants: the figures are the wire's own; the machine is shown to be about something (orders pass, each cap refuses),
and to see each of the bugs that such a gate has had.
"""

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from hedgegrid.model.order import Leg, Purpose
from tests.actors.gate_machine import GateMachine, Tally
from tests.actors.gate_terms import NAMES, TIGHT
from tests.actors.planted import BUGS, SHORT_OF

BTC, ETH = NAMES
SEEN = {
    "permission",
    "approval_ttl_ms",
    "max_quote_age_ms",
    "price_collar_bps",
    "max_order_notional_quote",
    "max_order_qty",
    "max_position_qty",
    "max_notional_per_leg_quote",
    "max_gross_notional_quote",
    "max_net_notional_quote",
    "max_leverage",
    "max_position_ratio",
    "max_margin_ratio",
    "min_liquidation_distance_ratio",
    "var",
    "max_open_orders_per_leg",
    "max_orders_per_minute",
    "duplicate",
    "self_cross",
    "reduce_only_proof",
}
"""Each of these has to refuse something on the way, else the search was about less than it says."""


def searched(examples: int, number: int = 0) -> None:
    """Search from a numbered seed.

    Which modules are loaded moves the search still, as the library takes their constants for hints: the numbers of
    examples are several times what any seed has needed.
    """
    fixed = settings(
        max_examples=examples,
        stateful_step_count=60,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(seed(number)(GateMachine), settings=fixed)


def test_no_approved_order_breaks_a_cap_and_none_leaves_while_paused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Laws 2 and 4 and section 6: fills, acks, cancels, doubts, prices, pauses, restarts in any order."""
    GateMachine.tally = Tally()
    for number, short_of in enumerate(("", *TIGHT)):
        monkeypatch.setattr(GateMachine, "short_of", short_of)
        searched(25, number)
    assert GateMachine.tally.approved[Purpose.ENTRY] > 1_000
    assert min(GateMachine.tally.approved[purpose] for purpose in (Purpose.TAKE_PROFIT, Purpose.STOP)) > 5
    assert GateMachine.tally.refused.keys() >= SEEN


def test_an_order_that_fills_whole_under_its_amendment_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """A draw that was found: such an order was read as alive after a restart, and nobody would ever end it."""
    monkeypatch.setattr(GateMachine, "short_of", "max_leverage")
    machine = GateMachine()
    machine.start(foreign_first=False)
    machine._want(BTC, Leg.SHORT, [(1, 30, 3)])
    (order,) = machine.desk.wire.orders
    machine.desk.amend(order, 4)
    machine.fill(places=[0, 0, 0], lots=1, hear=True)
    machine.restart(foreign_first=False, reads=False, asked=False)
    machine.teardown()


def test_an_exit_that_filled_unheard_is_no_fault_of_the_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    """A draw that was found: legs that nobody can know to have parted; an entry of the time is judged by what is known.

    The exits of a leg add nothing to a net and take nothing off it, so a net may grow by one of which nobody has heard.
    """
    monkeypatch.setattr(GateMachine, "short_of", "var")
    machine = GateMachine()
    machine.start(foreign_first=False)
    machine.prices(moves=(100, -250), both=True, name=ETH, leg=Leg.LONG, lots=(1,) * 12, holds=True)
    for _ in range(2):
        machine.hold(name=ETH, leg=Leg.SHORT, lots=4)
    machine.press(name=BTC, leg=Leg.LONG, distance=1, lots=(6, 6, 6, 3, 2, 1), sweeps=True)
    machine.exit(place=0, purpose=Purpose.STOP, spare=0, replaces=False)
    machine.fill(places=[0, 0, 0], lots=1, hear=False)
    assert machine.desk.wire.sides[ETH, Leg.LONG].lots < machine.desk.wire.sides[ETH, Leg.LONG].told.lots
    machine.press(name=BTC, leg=Leg.LONG, distance=40, lots=(9, 9, 6, 4, 2, 1, 1), sweeps=True)
    machine.teardown()


@pytest.mark.parametrize("bug", list(BUGS))
def test_the_search_sees_a_planted_bug(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A search that passes whatever the gate does would prove nothing."""
    monkeypatch.setattr(GateMachine, "short_of", SHORT_OF.get(bug, ""))
    BUGS[bug](monkeypatch)
    with pytest.raises(AssertionError):
        searched(1_500)
