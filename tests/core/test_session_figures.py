"""What the session controls show of themselves: a figure that is not known is none, and an old one is not known."""

import pytest

from hedgegrid.core.gate_records import Realised, SessionLimits
from hedgegrid.core.pause import ControlAction, Reason
from hedgegrid.core.session_figures import Rate, instrument_controls

SETTLES_NS = 1_000
HOUR_NS = 3_600_000_000_000
ACTIONS = dict.fromkeys(Reason, ControlAction.PAUSE)


@pytest.mark.parametrize(("now_ns", "cost_ppm"), [(SETTLES_NS, 200), (SETTLES_NS + 1, None)])
def test_a_rate_that_has_expired_costs_nothing_that_is_known(now_ns: int, cost_ppm: int | None) -> None:
    """A person reads the headroom to the funding kill: the rate of a settlement that is over is no reading."""
    rate = Rate(rate_e8=-10_000, interval_ns=4 * HOUR_NS, next_ns=SETTLES_NS)
    controls = instrument_controls(SessionLimits(), ACTIONS, [(Realised(), 1.0)], [rate], now_ns)
    (shown,) = (one for one in controls if one.reason is Reason.FUNDING_KILL)
    assert shown.value == cost_ppm
