"""The last trip of each control, as `hedgegrid risk` lists it: by what the journal calls it, and counted whole."""

from hedgegrid.core.gate_records import SessionLimits, SessionState
from hedgegrid.core.pause import ControlAction, Reason
from hedgegrid.core.session_figures import account_controls
from hedgegrid.model.trip import LastTrip
from hedgegrid.ops.control import Trip
from hedgegrid.ops.limits import ControlSources, control_readings
from tests.ops.telling import BTC, Account

ACTIONS = dict.fromkeys(Reason, ControlAction.PAUSE)
NOW_NS = 10


def trip_of(control: str, *trips: LastTrip) -> Trip | None:
    """Give what is listed for a control where the journal remembers these trips."""
    account = Account()
    session = account_controls(SessionLimits(), SessionState(), ACTIONS, equity_e8=None, maintenance_e8=0)
    sources = ControlSources(
        gate=(),
        session=session,
        reasons=(),
        trips=trips,
        view=account.view,
        kill_action="flatten",
        kill_enabled=True,
        now_ns=NOW_NS,
    )
    rules = [one.rules for one in account.view.instruments.values()]
    (shown,) = (one for one in control_readings(sources, rules) if one.control == control)
    return shown.last_trip


def test_a_margin_kill_is_found_by_its_reason() -> None:
    """The setting is `margin_kill`, the reason that the journal keeps is `margin`."""
    tripped = LastTrip(control=Reason.MARGIN.value, scope="", ts_ns=5, times=1, figures={"margin_ppm": "900000"})
    shown = trip_of("margin_kill", tripped)
    assert shown is not None
    assert (shown.ts_ns, shown.times, dict(shown.figures)) == (5, 1, {"margin_ppm": "900000"})


def test_trips_of_all_instruments_count() -> None:
    """The newest is shown, with how often it has tripped wherever it did."""
    trips = [
        LastTrip(control="reduce_only_proof", scope=scope, ts_ns=ts_ns, times=times, figures={})
        for scope, ts_ns, times in ((BTC, 7, 3), ("ETH/USDT:USDT", 6, 4))
    ]
    shown = trip_of("reduce_only_proof", *trips)
    assert shown is not None
    assert (shown.ts_ns, shown.scope, shown.times) == (7, BTC, 7)
