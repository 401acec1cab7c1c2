"""How long things have stood still, in wall time: what the market's own clock cannot tell, since it stands too."""

from hedgegrid.ops.health import health
from hedgegrid.ops.readings import Pace, RuntimeReading
from hedgegrid.ops.view import AccountView
from hedgegrid.runtime.actor import ActorReading
from hedgegrid.runtime.specs import ChildState, ChildStatus
from hedgegrid.units import NS_PER_S

HUNG = ActorReading(name="risk", progress=4, progress_ns=1, busy_since_ns=1, depth=2)
CHILD = ChildStatus(
    id="risk",
    state=ChildState.RUNNING,
    starts=1,
    restarts=0,
    attempt=0,
    started_ns=1,
    last_error=None,
    reading=HUNG,
    children=(),
)


def test_hung_actor_and_standing_market_age_by_the_wall() -> None:
    """An actor hangs, so the market's time stands: its own ages stand at zero, those of the wall go on."""
    pace = Pace()
    reading = RuntimeReading(children=(CHILD,), pace=pace)
    view = AccountView("a", ())
    before = health(view, reading, now_ns=1)
    assert (before.market_still_s, before.actors[0].still_s) == (None, None)
    for second in (10, 15, 20):
        pace.note(second * NS_PER_S, {"risk": 10 * NS_PER_S}, 1)
    told = health(view, reading, now_ns=1)
    assert (told.market_still_s, told.actors[0].still_s) == (10.0, 10.0)
    assert told.actors[0].busy_s == 0.0
    pace.note(21 * NS_PER_S, {"risk": 21 * NS_PER_S}, 2)
    told = health(view, reading, now_ns=2)
    assert (told.market_still_s, told.actors[0].still_s) == (0.0, 0.0)
