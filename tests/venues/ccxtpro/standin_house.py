"""A whole trading side against the stand-in: real sockets and signatures, the exchange's own account beside."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import attrs

from hedgegrid.messages.events import OrderEvent, OrderEventKind, StreamGap
from hedgegrid.model.order import Fill, Kind, Leg, OrderRequest, Purpose
from hedgegrid.ports import PrivateEvent, VenueBatch
from hedgegrid.runtime.clock import WallClock
from hedgegrid.venues.ccxtpro.budget import Budget
from hedgegrid.venues.ccxtpro.endpoints import endpoints
from hedgegrid.venues.ccxtpro.listing import in_order, read_rules
from hedgegrid.venues.ccxtpro.session import Session
from hedgegrid.venues.ccxtpro.trading import CcxtTrading, TradingSettings
from hedgegrid.venues.ccxtpro.wire import TradingWire
from hedgegrid.venues.ccxtpro.ws_api import OrderSocket
from tests.venues.ccxtpro.loopback import until
from tests.venues.ccxtpro.raw_events import BTC, request
from tools.standin.serving import Standin, running_standin

RECV_WINDOW_MS = 5_000


@attrs.define(kw_only=True)
class Desk:
    """A trading side at the stand-in, and what it told."""

    standin: Standin
    session: Session
    trading: CcxtTrading
    told: list[PrivateEvent]
    reports: list[tuple[str, Mapping[str, str]]]

    @property
    def orders(self) -> list[OrderEvent]:
        """Every order event that was told, in order."""
        return [event for batch in self.told if isinstance(batch, VenueBatch) for event in batch.events]

    @property
    def fills(self) -> list[Fill]:
        """Every fill that was told, in order."""
        return [event.fill for event in self.orders if event.fill is not None]

    @property
    def gaps(self) -> list[str]:
        """Why events may have been lost."""
        return [event.why for event in self.told if isinstance(event, StreamGap)]

    @property
    def bid_ticks(self) -> int:
        """The stand-in's best bid."""
        return self.standin.exchange.quote("BTCUSDT").bid_ticks

    def arm(self, fault: str) -> None:
        """Arm a fault, or perform an act."""
        self.standin.faults.arm(fault)

    async def told_of(self, client_id: str, kind: OrderEventKind) -> OrderEvent:
        """Wait for an event of an order, and give it."""
        await until(lambda: any(one.client_id == client_id and one.kind is kind for one in self.orders))
        return next(one for one in self.orders if one.client_id == client_id and one.kind is kind)

    def buy(self, **changes: Any) -> OrderRequest:
        """Make an entry of the LONG leg well under the market."""
        return request(**{"price_ticks": self.bid_ticks - 1_000, **changes})

    def stop(self, **changes: Any) -> OrderRequest:
        """Make a stop of the LONG leg under the market."""
        return request(Purpose.STOP, **{"price_ticks": self.bid_ticks - 1_000, "sequence": 500, **changes})

    async def hold(self, qty_lots: int = 10, leg: Leg = Leg.LONG, sequence: int = 400) -> Fill:
        """Open a position at the market, and give its fill."""
        taken = request(leg=leg, kind=Kind.MARKET, price_ticks=0, post_only=False, qty_lots=qty_lots, sequence=sequence)
        await self.trading.place(BTC, [taken], [])
        await until(lambda: any(fill.client_id == taken.client_id for fill in self.fills))
        return next(fill for fill in self.fills if fill.client_id == taken.client_id)


@asynccontextmanager
async def desk_at(standin: Standin, *, by_socket: bool = False, **settings: Any) -> AsyncIterator[Desk]:
    """Open a trading side at a stand-in that runs, and start it."""
    clock = WallClock()
    where = endpoints("testnet", rest_url=standin.url, ws_url=standin.ws_url, ws_api_url=f"{standin.ws_url}/ws-fapi/v1")
    wire = TradingWire(
        endpoints=where,
        api_key=standin.options.key,
        api_secret=standin.options.secret,
        recv_window_ms=RECV_WINDOW_MS,
    )
    session = Session(wire=wire, budget=Budget(share_ppm=300_000), clock=clock, recv_window_ms=RECV_WINDOW_MS)
    told: list[PrivateEvent] = []
    reports: list[tuple[str, Mapping[str, str]]] = []
    try:
        await session.sync_time()
        rules = await read_rules(session, [BTC], signed=True)
        trading = CcxtTrading(
            session=session,
            endpoints=where,
            clock=clock,
            listed=in_order(rules, [BTC]),
            socket=OrderSocket(wire=wire, session=session, clock=clock) if by_socket else None,
            mark_of=lambda _: None,
            report=lambda text, figures: reports.append((text, figures)),
            settings=TradingSettings(**settings),
        )
        trading.subscribe(told.append)
        try:
            await trading.start()
            yield Desk(standin=standin, session=session, trading=trading, told=told, reports=reports)
        finally:
            await trading.stop()
    finally:
        await session.close()


@asynccontextmanager
async def desk(*, by_socket: bool = False, switches: Mapping[str, str] | None = None) -> AsyncIterator[Desk]:
    """Run a stand-in whose market stands still, and a trading side at it."""
    async with (
        running_standin(still=True, switches=switches or {}) as standin,
        desk_at(standin, by_socket=by_socket) as one,
    ):
        yield one
