"""What leaves first: nothing urgent waits for a round trip that it does not need."""

import attrs
import pytest

from hedgegrid.model.order import Purpose
from tests.venues.ccxtpro.raw_events import BTC, request
from tests.venues.ccxtpro.standin_house import desk


@pytest.mark.asyncio
async def test_an_entry_does_not_wait_until_a_backstop_has_moved() -> None:
    """The old backstop's cancel is asked and answered before its successor comes; the batch's entry is out by then."""
    async with desk() as one:
        old, new = (
            attrs.evolve(
                request(Purpose.BACKSTOP, sequence=number),
                price_ticks=one.bid_ticks - deep,
                close_all=True,
                qty_lots=0,
            )
            for number, deep in ((501, 3_000), (502, 2_500))
        )
        await one.trading.place(BTC, [old], [])
        before = len(one.standin.log.entries)
        answers = await one.trading.place(BTC, [new, one.buy()], [old.client_id])
        assert all(answer.kind.value == "accepted" for answer in answers)
        log = [
            (entry.kind, entry.name)
            for entry in list(one.standin.log.entries)[before:]
            if entry.name.endswith(("/algoOrder", "/order"))
        ]
        cancelled = log.index(("answer", "DELETE /fapi/v1/algoOrder"))
        assert log.index(("request", "POST /fapi/v1/order")) < cancelled
        assert log.index(("request", "POST /fapi/v1/algoOrder")) > cancelled
