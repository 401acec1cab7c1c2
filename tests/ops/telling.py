"""What the tests of ops share: an account's messages, made as its actors would publish them.

Invariants: every message has a number and times of its own; one tick on one lot of the instrument is worth 10,000 e8.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import TypeVar

from hedgegrid.core import risk
from hedgegrid.core.account_figures import AccountFigures, AtRisk, LegHeld, Money, worth_of
from hedgegrid.messages import events
from hedgegrid.messages.events import EndReason, OrderEvent, OrderEventKind
from hedgegrid.model.account import Balance, Position, SessionMemory
from hedgegrid.model.grid import GridMemory
from hedgegrid.model.instrument import Instrument, Tier
from hedgegrid.model.market import Bar
from hedgegrid.model.order import Fill, Kind, Leg, OpenOrder, OrderRequest, Purpose, side_of
from hedgegrid.ops.view import AccountView
from hedgegrid.runtime.actor import ActorReading
from hedgegrid.runtime.mailbox import MailboxStatistics
from hedgegrid.runtime.specs import ChildState, ChildStatus

S = 1_000_000_000
START_NS = 1_751_760_000 * S
BTC = "BTC/USDT:USDT"
UNIT_E8 = 10_000

M = TypeVar("M", bound=events.Message)


def instrument(name: str = BTC) -> Instrument:
    """An instrument with a tick of 0.1 and a lot of 0.001."""
    return Instrument(
        name=name,
        tick=Decimal("0.1"),
        lot=Decimal("0.001"),
        min_qty_lots=1,
        max_qty_lots=1_000_000,
        min_notional_e8=500_000_000,
        tiers=(Tier(max_notional_e8=10**18, maintenance_ppm=4_000),),
        liquidation_fee_ppm=10_000,
        funding_interval_ns=8 * 3_600 * S,
    )


def order(client_id: str, leg: Leg = Leg.LONG, purpose: Purpose = Purpose.ENTRY, qty_lots: int = 10) -> OrderRequest:
    """A request; one of purpose BACKSTOP closes the whole leg."""
    close_all = purpose is Purpose.BACKSTOP
    return OrderRequest(
        client_id=client_id,
        instrument=BTC,
        leg=leg,
        purpose=purpose,
        kind=Kind.STOP_MARKET if close_all else Kind.LIMIT,
        price_ticks=1_000_000,
        qty_lots=0 if close_all else qty_lots,
        post_only=not close_all,
        close_all=close_all,
        level=1,
        generation=1,
        decided_ns=START_NS,
    )


def open_order(request: OrderRequest, filled_lots: int = 0) -> OpenOrder:
    """The same order, read back from the exchange."""
    return OpenOrder(
        client_id=request.client_id,
        instrument=request.instrument,
        leg=request.leg,
        purpose=request.purpose,
        kind=request.kind,
        price_ticks=request.price_ticks,
        qty_lots=request.qty_lots,
        filled_lots=filled_lots,
        close_all=request.close_all,
        created_ns=START_NS,
    )


class Account:
    """An account whose actors publish what the test says; ``view`` has seen all of it. A message takes a second."""

    def __init__(self, *names: str) -> None:
        self.view = AccountView("demo", [instrument(name) for name in names or (BTC,)])
        self.now_ns = START_NS
        self.books: AccountFigures | None = None
        """What the gate's books say of the account."""
        self._seq = 0

    def publish(self, kind: type[M], **figures: object) -> M:
        """Publish a message of ``kind`` a second after the last one."""
        self._seq += 1
        self.now_ns += S
        times = {"ts_venue_ns": self.now_ns - 5, "ts_recv_ns": self.now_ns}
        message = kind(seq=self._seq, cause_seq=0, **times, **figures)  # type: ignore[arg-type]
        self.view.observe(message)
        return message

    def hydrate(self, *positions: Position, orders: tuple[OpenOrder, ...] = (), grid: GridMemory | None = None) -> None:
        """The exchange's word on the one instrument."""
        self.publish(
            events.Hydrated,
            instrument=BTC,
            positions=positions,
            orders=orders,
            lots=(),
            unbooked=(),
            grid=grid,
            mark_ticks=0,
            next_order_no=1,
        )

    def hydrate_account(self, balance: Balance, foreign_orders: int = 0) -> None:
        """The exchange's word on the account."""
        self.publish(events.AccountHydrated, balance=balance, foreign_orders=foreign_orders)

    def approve(self, *requests: OrderRequest, cancels: tuple[str, ...] = ()) -> None:
        """The gate lets orders pass."""
        approved = tuple(risk.approve(risk.PASS, one, limits_version="1", expires_ns=0) for one in requests)
        self.publish(events.ApprovedBatch, instrument=BTC, approved=approved, cancels=cancels, retires=())

    def refuse(self, control: str) -> None:
        """The gate refuses one order."""
        refused = events.Refused(request=order("refused"), control=control, limit="1", value="2", remedy="wait")
        self.publish(events.RefusedBatch, instrument=BTC, refused=(refused,))

    def happen(self, *order_events: OrderEvent) -> None:
        """The exchange said something about orders."""
        self.publish(events.ExecutionBatch, instrument=BTC, mark_ticks=1, events=order_events)

    def tell(
        self, kind: OrderEventKind, *client_ids: str, reason: EndReason = EndReason.NONE, qty_lots: int = 0
    ) -> None:
        """The exchange said the same of several orders."""
        self.happen(
            *(OrderEvent(kind=kind, client_id=one, reason=reason, qty_lots=qty_lots) for one in client_ids),
        )

    def rest(self, *requests: OrderRequest) -> None:
        """Orders are approved, and the exchange takes them."""
        self.approve(*requests)
        self.tell(OrderEventKind.ACCEPTED, *(one.client_id for one in requests))

    def fill(self, request: OrderRequest, qty_lots: int | None = None, price_ticks: int = 1_000_000) -> None:
        """A fill of an order, whole unless said otherwise."""
        self.happen(filled(request, qty_lots if qty_lots is not None else request.qty_lots, price_ticks))

    def sample(
        self, equity_e8: int, *, realised_e8: int = 0, unrealised_e8: int = 0, fees_e8: int = 0, funding_e8: int = 0
    ) -> None:
        """An equity sample."""
        self.publish(
            events.EquitySampled,
            wallet_e8=equity_e8 - unrealised_e8,
            unrealised_e8=unrealised_e8,
            equity_e8=equity_e8,
            realised_e8=realised_e8,
            fees_e8=fees_e8,
            funding_e8=funding_e8,
        )

    def worth(
        self,
        equity_e8: int,
        *,
        unrealised_e8: int = 0,
        sums_e8: tuple[int, int, int] = (0, 0, 0),
        lots: Sequence[int] = (),
    ) -> None:
        """The gate's books know the account's money now; ``sums_e8`` are realised, fees and funding.

        ``lots`` are what they hold of the first instrument's legs.
        """
        wallet_e8 = equity_e8 - unrealised_e8
        money = Money(
            wallet_e8=wallet_e8, realised_e8=sums_e8[0], fees_e8=sums_e8[1], funding_e8=sums_e8[2], at_ns=self.now_ns
        )
        worth = worth_of(
            equity_e8=equity_e8,
            unrealised_e8=unrealised_e8,
            maintenance_e8=equity_e8 // 8,
            since=SessionMemory(
                peak_e8=2 * equity_e8,
                day_base_e8=equity_e8 + 7,
                session_base_e8=equity_e8 - 2 * 10**8,
                last_e8=equity_e8,
                next_day_ns=self.now_ns,
            ),
            balance_ns=self.now_ns,
            legs=(),
        )
        at_risk = AtRisk(
            gross_e8=3 * equity_e8,
            net_e8=equity_e8,
            leverage_ppm=3_000_000,
            distance_ppm=250_000,
            var_e8=equity_e8 // 10,
            at_ns=worth.at_ns,
        )
        legs = tuple(
            LegHeld(
                instrument=0,
                leg=leg,
                qty_lots=held,
                foreign_lots=0,
                cost_e8=0,
                notional_e8=None,
                unrealised_e8=None,
                mark_ns=self.now_ns,
            )
            for leg, held in enumerate(lots)
        )
        self.books = AccountFigures(money=money, worth=worth, legs=legs, at_risk=at_risk)

    def quote(self, bid_ticks: int, ask_ticks: int, name: str = BTC) -> None:
        """A best bid and ask."""
        self.publish(events.Quote, instrument=name, bid_ticks=bid_ticks, ask_ticks=ask_ticks)

    def mark(self, mark_ticks: int, name: str = BTC) -> None:
        """A mark price."""
        self.publish(
            events.MarkPrice,
            instrument=name,
            mark_ticks=mark_ticks,
            rate_e8=None,
            next_funding_ns=None,
            funding_interval_ns=8 * 3_600 * S,
        )

    def close_bar(self, name: str = BTC) -> Bar:
        """A minute's bar has closed now."""
        bar = Bar(
            open_ns=self.now_ns - 60 * S,
            length_ns=60 * S,
            open_ticks=1,
            high_ticks=1,
            low_ticks=1,
            close_ticks=1,
            volume_lots=1,
        )
        self.publish(events.BarClosed, instrument=name, bar=bar)
        return bar

    def permit(self, before: str, after: str, change: str, reason: str = "", scope: str = "") -> None:
        """The permission moves, or a reason does."""
        self.publish(
            events.PermissionChanged,
            before=before,
            after=after,
            change=change,
            reason=reason,
            scope=scope,
            figures={"age_ms": "7000"},
        )

    def incident(self, text: str) -> None:
        """Something that a person should know."""
        self.publish(events.Incident, actor="executor", text=text, figures={"order": "3"})


def filled(request: OrderRequest, qty_lots: int, price_ticks: int = 1_000_000) -> OrderEvent:
    """The event of a fill."""
    fill = Fill(
        trade_id=1,
        client_id=request.client_id,
        instrument=request.instrument,
        leg=request.leg,
        side=side_of(request.leg, request.purpose),
        purpose=request.purpose,
        level=request.level,
        generation=request.generation,
        price_ticks=price_ticks,
        qty_lots=qty_lots,
        fee_e8=1,
        realised_e8=0,
        maker=True,
        ts_ns=START_NS,
    )
    return OrderEvent(kind=OrderEventKind.FILLED, client_id=request.client_id, fill=fill)


def mailbox(name: str, depth: int = 0) -> MailboxStatistics:
    """The statistics of a mailbox."""
    return MailboxStatistics(
        name=name,
        depth=depth,
        peak_depth=7,
        capacity=100,
        control_depth=1,
        control_peak_depth=2,
        control_capacity=10,
        received=500,
        conflated=20,
        refused=0,
    )


def child(name: str, *children: ChildStatus, restarts: int = 0, progress_ns: int = START_NS) -> ChildStatus:
    """A running actor, or a supervisor of ``children``."""
    reading = ActorReading(name=name, progress=42, progress_ns=progress_ns, busy_since_ns=None, depth=3)
    return ChildStatus(
        id=name,
        state=ChildState.RUNNING,
        starts=1 + restarts,
        restarts=restarts,
        attempt=0,
        started_ns=START_NS,
        last_error=None,
        reading=None if children else reading,
        children=children,
    )
