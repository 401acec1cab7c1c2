"""The executor's table of orders: what it forgets it still does not apply twice."""

from typing import Any, cast

import attrs
import pytest

from hedgegrid.actors import order_table
from hedgegrid.actors.order_table import OrderTable
from hedgegrid.core.reconcile_views import FillKey, fill_key
from hedgegrid.messages.events import OrderEvent, OrderEventKind
from hedgegrid.model.order import Fill, Leg, Purpose, Side

BTC, ETH = "BTC/USDT:USDT", "ETH/USDT:USDT"


@attrs.define
class Journal:
    """What the table asks of the journal: the fills that were counted."""

    counted: set[FillKey] = attrs.field(factory=set)
    asked: int = 0

    def has_fill(self, key: FillKey) -> bool:
        """Tell whether a fill was counted."""
        self.asked += 1
        return key in self.counted

    def order(self, _client_id: str) -> None:
        """Know no order."""


def told(trade_id: int, instrument: str = BTC) -> OrderEvent:
    """Tell a fill."""
    fill = Fill(
        trade_id=trade_id,
        client_id=f"order-{trade_id}",
        instrument=instrument,
        leg=Leg.LONG,
        side=Side.BUY,
        purpose=Purpose.ENTRY,
        level=1,
        generation=1,
        price_ticks=1_000,
        qty_lots=1,
        fee_e8=0,
        realised_e8=0,
        maker=True,
        ts_ns=trade_id,
    )
    return OrderEvent(kind=OrderEventKind.FILLED, client_id=fill.client_id, fill=fill)


def test_a_fill_that_was_forgotten_is_not_applied_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the fills that left the table the journal is asked, so a repeated one is known however long ago it was."""
    monkeypatch.setattr(order_table, "APPLIED_KEPT", 3)
    journal = Journal()
    table = OrderTable("demo", cast("Any", journal))
    for number in (10, 14, 12, 16, 18, 20):
        event = told(number)
        assert table.fresh(event) is not None
        assert event.fill is not None
        journal.counted.add(fill_key(event.fill))
    assert table.fills == 6
    assert [table.fresh(told(number)) for number in (10, 12, 14, 16, 18, 20)] == [None] * 6
    assert table.is_applied((BTC, 10, "order-10"))
    late, other = told(11), told(10, ETH)
    assert late.fill is not None
    assert not table.is_applied(fill_key(late.fill))
    assert table.fresh(late) is not None, "an old number that nobody has counted"
    asked = journal.asked
    assert table.fresh(other) is not None
    assert table.fresh(told(21)) is not None
    assert journal.asked == asked, "what is above all that was forgotten is new without asking"
