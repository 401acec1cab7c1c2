"""Which legs a strategy is told to go on closing: those of its own controls and of the account's, no one else's."""

from typing import Any

import pytest

from hedgegrid.actors.flattening import Flattening
from hedgegrid.core import permission
from hedgegrid.core.pause import ACCOUNT, ControlAction, Reason
from hedgegrid.core.permission_events import ReasonRaised
from hedgegrid.model.order import Leg
from hedgegrid.runtime.clock import VirtualClock

BTC, ETH = "BTC/USDT:USDT", "ETH/USDT:USDT"


@pytest.mark.parametrize(("scope", "closed"), [(ETH, ()), (BTC, tuple(Leg)), (ACCOUNT, tuple(Leg))])
def test_a_control_of_one_instrument_closes_no_other(scope: str, closed: tuple[Leg, ...]) -> None:
    """A volatility halt of one market must not keep another's position on its way out."""
    nobody: Any = None
    flattening = Flattening(nobody, nobody, VirtualClock(0), lambda _: ControlAction.FLATTEN)
    state, _ = permission.step(
        permission.initial(0), ReasonRaised(reason=Reason.VOLATILITY_HALT, scope=scope, figures={}), 1
    )
    assert flattening.closes(state, BTC) == closed
