"""The pump: how a market is walked on when its clock and its steps have drifted apart."""

import pytest

from hedgegrid.runtime.activity import Activity
from hedgegrid.units import CASH_SCALE, NS_PER_HOUR, NS_PER_S
from hedgegrid.venues.simulated.opening import open_simulation
from hedgegrid.venues.simulated.pump import Pump
from tests.actors.house import BTC, market
from tests.core import made
from tests.venues.test_exchange import RULES, request


@pytest.mark.asyncio
async def test_last_requests_arrive_though_the_clock_is_ahead_of_the_market() -> None:
    """After a stop the clock follows the wall: the walk that lets the last cancels through must bear that."""
    opened = open_simulation(
        tape=market([(10_000, 10_000, 10_000, 10_000)] * 4),
        instruments=[RULES],
        rules=[made.rules(latency_ns=NS_PER_S)],
        wallet_e8=1_000 * CASH_SCALE,
        path=None,
        identity="",
        not_before_ns=0,
    )
    pump = Pump(
        exchange=opened.exchange,
        tape=opened.tape,
        market=opened.market,
        trading=opened.trading,
        clock=opened.clock,
        settle=Activity().idle,
        speed=None,
        wall_s=lambda: 0.0,
    )
    await pump.run(opened.clock.now_ns())
    opened.exchange.place(request("house.1LE1.1", 9_900), opened.exchange.ts_ns)
    opened.exchange.cancel(BTC, "house.1LE1.1", opened.exchange.ts_ns)
    opened.clock.advance_to(opened.clock.now_ns() + NS_PER_HOUR)
    await pump.finish("")
    assert not opened.exchange.has_pending()
    assert opened.exchange.books[0].open_orders(conditional=False) == ()
