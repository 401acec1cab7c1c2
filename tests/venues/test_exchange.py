"""The simulated exchange as an account of its own: what it takes, what it refuses, and that its money adds up.

Invariant: wallet = initial wallet + realised - fees - funding, after every step, in integers.
"""

from typing import Any

from hedgegrid.messages.events import EndReason, OrderEventKind
from hedgegrid.model.instrument import Instrument, Tier
from hedgegrid.model.market import Step
from hedgegrid.model.order import Cover, Kind, Leg, OrderRequest, Purpose
from hedgegrid.units import CASH_SCALE
from hedgegrid.venues.simulated.exchange import Exchange
from tests.actors.house import BTC, market
from tests.core import made

WALLET_E8 = 1_000 * CASH_SCALE
RULES = Instrument(
    name=BTC,
    tick=made.BTC.tick,
    lot=made.BTC.lot,
    min_qty_lots=1,
    max_qty_lots=10**9,
    min_notional_e8=0,
    tiers=(Tier(max_notional_e8=10**18, maintenance_ppm=10_000),),
    liquidation_fee_ppm=12_500,
    funding_interval_ns=made.BTC.funding_interval_ns,
)


def request(client_id: str, price: int, **changes: Any) -> OrderRequest:
    """An entry of the LONG leg, 10 lots; changed."""
    settings: dict[str, Any] = {
        "client_id": client_id,
        "instrument": BTC,
        "leg": Leg.LONG,
        "purpose": Purpose.ENTRY,
        "kind": Kind.LIMIT,
        "price_ticks": price,
        "qty_lots": 10,
        "post_only": True,
        "close_all": False,
        "level": 1,
        "generation": 1,
        "decided_ns": 0,
    }
    return OrderRequest(**{**settings, **changes})


class Walked:
    """An exchange on a market of flat bars at given prices."""

    def __init__(
        self, *prices: int, funding: tuple[tuple[int, int], ...] = (), linked: bool = True, refuse: bool = False
    ) -> None:
        rules = made.rules(refuse_over=int(refuse))
        self.exchange = Exchange([RULES], [rules], WALLET_E8, linked_exits=linked)
        self.steps = market([(p, p, p, p) for p in prices], funding=funding).steps(0)
        self.told: list[Any] = []

    def bar(self) -> None:
        """Walk one bar."""
        for _ in range(4):
            self.step(next(self.steps))

    def step(self, step: Step) -> None:
        """Walk one step, and let fall due."""
        self.exchange.walk(step, step.ts_ns // 60_000_000_000)
        self.fall_due()
        accounts = self.exchange.books[0].accounts
        moved = sum(a.realised_e8 - a.fees_e8 - a.funding_e8 for a in accounts)
        assert self.exchange.balance().wallet_e8 == WALLET_E8 + moved

    def fall_due(self) -> None:
        """Let fall due what is due at the present point."""
        due = 1
        while due:
            due = self.exchange.fall_due()
            self.told += [event for batch in self.exchange.drain() for event in batch.events]

    def place(self, one: OrderRequest) -> Any:
        """Send an order at the present time; without latency it is live at once."""
        answer = self.exchange.place(one, self.exchange.ts_ns)
        self.fall_due()
        return answer


def test_order_lives_fills_and_costs() -> None:
    """An entry fills at its price when the market passes it, and the maker fee leaves the wallet."""
    world = Walked(1_000, 980, 980)
    world.bar()
    assert world.place(request("a.1LE1.1", 990)).kind is OrderEventKind.ACCEPTED
    assert [o.client_id for o in world.exchange.books[0].open_orders(conditional=False)] == ["a.1LE1.1"]
    world.bar()
    (fill,) = world.exchange.fills
    assert (fill.price_ticks, fill.qty_lots, fill.maker, fill.trade_id) == (990, 10, True, 1)
    assert fill.fee_e8 == 990 * 10 * made.UNIT_E8 * 200 // 10**6
    assert world.exchange.books[0].open_orders(conditional=False) == ()
    (position,) = world.exchange.books[0].positions()
    assert (position.leg, position.qty_lots, position.cost_e8) == (Leg.LONG, 10, 990 * 10 * made.UNIT_E8)


def test_client_id_that_lives_is_refused() -> None:
    """One id, one live order: the second is rejected and the first stands."""
    world = Walked(1_000)
    world.bar()
    assert world.place(request("a.1LE1.1", 990)).kind is OrderEventKind.ACCEPTED
    again = world.place(request("a.1LE1.1", 980))
    assert (again.kind, again.reason) == (OrderEventKind.REJECTED, EndReason.REFUSED)
    assert [o.price_ticks for o in world.exchange.books[0].open_orders(conditional=False)] == [990]


def test_exit_without_a_position_is_refused() -> None:
    """Nothing can be closed that is not there."""
    world = Walked(1_000)
    world.bar()
    exit_order = request("a.1LT1.1", 1_010, purpose=Purpose.TAKE_PROFIT, covers=(Cover(lot_id=1, qty_lots=10),))
    answer = world.place(exit_order)
    assert (answer.kind, answer.reason) == (OrderEventKind.REJECTED, EndReason.NOTHING_TO_CLOSE)


def test_cancel_of_what_has_ended_is_answered() -> None:
    """A cancel that comes too late gets its answer, under the name that was asked for."""
    world = Walked(1_000, 980, 980)
    world.bar()
    world.place(request("a.1LE1.1", 990))
    world.bar()
    world.exchange.cancel(BTC, "a.1LE1.1", world.exchange.ts_ns)
    world.bar()
    late = [event for event in world.told if event.kind is OrderEventKind.CANCEL_FAILED]
    assert [(event.client_id, event.reason) for event in late] == [("a.1LE1.1", EndReason.NOT_FOUND)]


def test_settlement_is_charged_per_leg_at_the_mark() -> None:
    """Longs pay a positive rate on what they hold at the mark of the settlement's own point."""
    world = Walked(1_000, 980, 980, 980, funding=((2, 100_000),))
    world.bar()
    world.place(request("a.1LE1.1", 990))
    world.bar()
    world.bar()
    (paid,) = world.exchange.settled
    assert (paid.long_e8, paid.short_e8) == (980 * 10 * made.UNIT_E8 // 1_000, 0)
    assert world.exchange.balance().funding_e8 == paid.long_e8


def test_liquidated_account_takes_no_orders() -> None:
    """Equity under the maintenance margin closes everything at the mark, and that is the end."""
    world = Walked(1_000, 980, 500, 500)
    world.bar()
    world.place(request("a.1LE1.1", 990, qty_lots=25_000))
    world.bar()
    assert not world.exchange.liquidated
    world.bar()
    assert world.exchange.liquidated
    last = world.exchange.fills[-1]
    assert (last.purpose, last.price_ticks, last.qty_lots) == (Purpose.LIQUIDATION, 500, 25_000)
    assert list(world.exchange.books[0].positions()) == []
    assert world.place(request("a.1LE1.2", 400)).kind is OrderEventKind.REJECTED
