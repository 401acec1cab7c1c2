"""What the journal's tests share: an account's life in messages, made from a seed.

Invariants: the same seed gives the same messages; the life is one that a real account could have (money by average
cost, exits never beyond the position), so a journal of it must verify.
"""

import random
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs

from hedgegrid.core import ledger, risk
from hedgegrid.core.client_id import client_id
from hedgegrid.core.records import LegAccount
from hedgegrid.journal.journal import SqliteJournal
from hedgegrid.journal.opening import open_journal
from hedgegrid.messages.events import (
    AccountChanged,
    ApprovedBatch,
    BarClosed,
    EndReason,
    EquitySampled,
    ExecutionBatch,
    ForeignSeen,
    FundingPaid,
    GridMoved,
    Incident,
    Liquidated,
    LotOpened,
    Message,
    OrderEvent,
    OrderEventKind,
    PermissionChanged,
    Refused,
    RefusedBatch,
    WalletRead,
)
from hedgegrid.model.account import Position
from hedgegrid.model.instrument import Instrument, Tier
from hedgegrid.model.market import Bar
from hedgegrid.model.order import Cover, Fill, Kind, Leg, OrderRequest, Purpose, side_of

START_NS = 1_751_760_000_000_000_000
MINUTE_NS = 60_000_000_000
WALLET_E8 = 10_000 * 10**8
BTC, ETH = "BTC/USDT:USDT", "ETH/USDT:USDT"


def instrument(name: str, tick: str = "0.1", lot: str = "0.001") -> Instrument:
    """Make an instrument's rules."""
    return Instrument(
        name=name,
        tick=Decimal(tick),
        lot=Decimal(lot),
        min_qty_lots=1,
        max_qty_lots=10_000,
        min_notional_e8=5 * 10**8,
        tiers=(Tier(max_notional_e8=10**15, maintenance_ppm=5_000),),
        liquidation_fee_ppm=12_500,
        funding_interval_ns=8 * 60 * MINUTE_NS,
    )


INSTRUMENTS = (instrument(BTC), instrument(ETH, "0.01", "0.01"))


def opened(path: Path, **changes: Any) -> SqliteJournal:
    """Open a journal of the demo account, inline and fast unless told otherwise."""
    settings: dict[str, Any] = {
        "account": "demo",
        "mode": "sim",
        "config_hash": "c0ffee",
        "code_version": "0.1.0",
        "synchronous": "normal",
        "threaded": False,
        "instruments": INSTRUMENTS,
        "wallet_e8": WALLET_E8,
        "boot_wall_ns": START_NS,
        "market": "synthetic seed 1",
    }
    return open_journal(path, **(settings | changes))


@attrs.define
class Rung:
    """An order that works, of the life's own book."""

    request: OrderRequest
    left_lots: int


class Life:
    """Messages of an account that trades two instruments; ``epoch`` and ``first`` are those of its client ids."""

    def __init__(self, seed: int, *, epoch: int = 1, first: int = 1, step_ns: int = MINUTE_NS) -> None:
        """Begin flat."""
        self.rng = random.Random(seed)
        self.epoch = epoch
        self.sequence = first
        self.step_ns = step_ns
        self.seq = 0
        self.now_ns = START_NS
        self.trade_id = 0
        self.wallet_e8 = WALLET_E8
        self.moved_e8 = 0
        self.realised_e8 = self.fees_e8 = self.funding_e8 = 0
        self.working: dict[str, Rung] = {}
        self.lots: dict[tuple[str, Leg], dict[int, int]] = {}
        self.accounts: dict[tuple[str, Leg], LegAccount] = {}
        self.units = {one.name: one.unit_e8 for one in INSTRUMENTS}

    def head(self) -> dict[str, Any]:
        """Give the next message's numbers and times."""
        self.seq += 1
        return {"seq": self.seq, "cause_seq": self.seq - 1, "ts_venue_ns": self.now_ns, "ts_recv_ns": self.now_ns}

    def run(self, steps: int) -> Iterator[Message]:
        """Live for some bars."""
        for _ in range(steps):
            self.now_ns += self.step_ns
            yield from self.bar(self.rng.choice((BTC, ETH)))

    def bar(self, name: str) -> Iterator[Message]:
        """Live one bar: decide, have orders answered, settle now and then, and sample the equity."""
        price = self.rng.randrange(9_000, 11_000)
        bar = Bar(
            open_ns=self.now_ns - MINUTE_NS,
            length_ns=MINUTE_NS,
            open_ticks=price,
            high_ticks=price + 5,
            low_ticks=price - 5,
            close_ticks=price,
            volume_lots=7,
        )
        yield BarClosed(**self.head(), instrument=name, bar=bar)
        yield self.grid(name, price)
        yield self.approve(name, price)
        yield from self.answers(name)
        if self.rng.random() < 0.1:
            yield self.settle(name, price)
        if self.rng.random() < 0.05:
            yield self.permission()
            yield Incident(**self.head(), actor="feed", text="a gap was filled", figures={"bars": "2"})
            yield self.foreign(name)
            yield from self.transfer()
        yield self.sample()

    def grid(self, name: str, price: int) -> GridMoved:
        """Move the grid."""
        return GridMoved(
            **self.head(), instrument=name, regime=1, center_ticks=price, step_micro=12_000_000, generation=self.seq
        )

    def foreign(self, name: str) -> ForeignSeen:
        """Tell of a position that is not ours."""
        position = Position(instrument=name, leg=Leg.SHORT, qty_lots=3, cost_e8=self.now_ns % 1_000)
        return ForeignSeen(**self.head(), instrument=name, positions=(position,), orders=(), last_trade_id=7)

    def transfer(self) -> Iterator[Message]:
        """Let money come, and a little more that nobody explains."""
        self.moved_e8 += 7
        self.wallet_e8 += 12
        yield AccountChanged(**self.head(), wallet_e8=self.wallet_e8, why="DEPOSIT", delta_e8=12)
        self.wallet_e8 -= 5
        yield WalletRead(**self.head(), wallet_e8=self.wallet_e8, unexplained_e8=-5)

    def permission(self) -> PermissionChanged:
        """Pause."""
        return PermissionChanged(
            **self.head(),
            before="active",
            after="reducing",
            change="raised",
            reason="feed_stale",
            scope="",
            figures={"age_ms": "5100", "limit_ms": "5000"},
        )

    def refusals(self) -> Iterator[Message]:
        """Have the gate refuse three entries of one batch, two of them by the same control."""
        self.now_ns += self.step_ns
        texts = (("price_collar", "4 ppm"), ("max_position_qty", "7 lots"), ("price_collar", '6 "ppm"'))
        refused = tuple(
            Refused(
                request=self.request(BTC, Leg.LONG, Purpose.ENTRY, 10_000, 1),
                control=control,
                limit="5 ppm",
                value=value,
                remedy="närrow/wide",
            )
            for control, value in texts
        )
        yield RefusedBatch(**self.head(), instrument=BTC, refused=refused)

    def approve(self, name: str, price: int) -> ApprovedBatch:
        """Approve entries, and exits for what is open."""
        requests = [self.request(name, self.rng.choice(list(Leg)), Purpose.ENTRY, price, self.rng.randrange(2, 9))]
        for leg in Leg:
            for lot_id, qty_lots in list(self.lots.get((name, leg), {}).items())[:2]:
                exits = [one for one in self.working.values() if one.request.covers and one.request.leg is leg]
                if all(cover.lot_id != lot_id for one in exits for cover in one.request.covers):
                    covers = (Cover(lot_id=lot_id, qty_lots=qty_lots),)
                    requests.append(self.request(name, leg, Purpose.TAKE_PROFIT, price, qty_lots, covers))
        cancels = tuple(one for one in list(self.working)[:1] if self.rng.random() < 0.3)
        approved = tuple(
            risk.approve(risk.PASS, one, limits_version="v1", expires_ns=self.now_ns + MINUTE_NS) for one in requests
        )
        return ApprovedBatch(**self.head(), instrument=name, approved=approved, cancels=cancels, retires=())

    def request(
        self, name: str, leg: Leg, purpose: Purpose, price: int, qty_lots: int, covers: tuple[Cover, ...] = ()
    ) -> OrderRequest:
        """Make an order and put it to work."""
        level = self.rng.randrange(8)
        self.sequence += 1
        made = client_id(
            account="demo", epoch=self.epoch, leg=leg, purpose=purpose, level=level, sequence=self.sequence
        )
        request = OrderRequest(
            client_id=made,
            instrument=name,
            leg=leg,
            purpose=purpose,
            kind=Kind.LIMIT,
            price_ticks=price,
            qty_lots=qty_lots,
            post_only=purpose is Purpose.ENTRY,
            level=level,
            generation=1,
            covers=covers,
            tp_micro=15_000_000,
            step_micro=12_000_000,
            decided_ns=self.now_ns,
        )
        self.working[made] = Rung(request, qty_lots)
        return request

    def answers(self, name: str) -> Iterator[Message]:
        """Let the exchange answer: orders rest, fill (in part, or told twice), end, shrink, or are lost sight of."""
        events: list[OrderEvent] = []
        for made, rung in [(made, rung) for made, rung in self.working.items() if rung.request.instrument == name]:
            fate = self.rng.random()
            events.append(OrderEvent(kind=OrderEventKind.ACCEPTED, client_id=made))
            if fate < 0.5:
                qty_lots = rung.left_lots if fate < 0.4 else max(1, rung.left_lots // 2)
                events.append(self.fill(rung, qty_lots))
                if fate < 0.05:
                    events.append(events[-1])
            elif fate < 0.6:
                events.append(OrderEvent(kind=OrderEventKind.CANCELLED, client_id=made, reason=EndReason.BY_REQUEST))
                del self.working[made]
            elif fate < 0.65:
                events.append(OrderEvent(kind=OrderEventKind.UNKNOWN, client_id=made))
            elif fate < 0.7 and rung.left_lots > 1 and not rung.request.covers:
                rung.left_lots -= 1
                events.append(OrderEvent(kind=OrderEventKind.AMENDED, client_id=made, qty_lots=rung.left_lots))
        yield ExecutionBatch(**self.head(), instrument=name, mark_ticks=10_000, events=tuple(events))
        seen: set[int] = set()
        for event in events:
            fill = event.fill
            if fill is not None and fill.purpose is Purpose.ENTRY and fill.trade_id not in seen:
                seen.add(fill.trade_id)
                yield self.lot(fill)

    def fill(self, rung: Rung, qty_lots: int) -> OrderEvent:
        """Fill an order at its price, as a maker."""
        request = rung.request
        account = self.accounts.setdefault((request.instrument, request.leg), LegAccount())
        notional_e8 = ledger.notional_e8(request.price_ticks, qty_lots, self.units[request.instrument])
        realised_e8 = 0
        covers: tuple[Cover, ...] = ()
        if request.purpose is Purpose.ENTRY:
            ledger.increase(account, qty_lots, notional_e8)
        else:
            realised_e8 = ledger.reduce(account, request.leg, qty_lots, notional_e8)
            covers = (Cover(lot_id=request.covers[0].lot_id, qty_lots=qty_lots),)
            self.close(request, covers[0])
        self.trade_id += 1
        rung.left_lots -= qty_lots
        if rung.left_lots == 0:
            del self.working[request.client_id]
        return self.filled(request, qty_lots, rung.left_lots, ledger.fee_e8(notional_e8, 200), realised_e8, covers)

    def filled(
        self, request: OrderRequest, qty_lots: int, left: int, fee_e8: int, realised_e8: int, covers: tuple[Cover, ...]
    ) -> OrderEvent:
        """Book a fill's money and tell of it."""
        self.fees_e8 += fee_e8
        self.realised_e8 += realised_e8
        self.wallet_e8 += realised_e8 - fee_e8
        fill = Fill(
            trade_id=self.trade_id,
            client_id=request.client_id,
            instrument=request.instrument,
            leg=request.leg,
            side=side_of(request.leg, request.purpose),
            purpose=request.purpose,
            level=request.level,
            generation=request.generation,
            price_ticks=request.price_ticks,
            qty_lots=qty_lots,
            fee_e8=fee_e8,
            realised_e8=realised_e8,
            maker=True,
            ts_ns=self.now_ns,
            covers=covers,
        )
        return OrderEvent(kind=OrderEventKind.FILLED, client_id=request.client_id, qty_lots=left, fill=fill)

    def close(self, request: OrderRequest, cover: Cover) -> None:
        """Take an exit off its lot."""
        lots = self.lots[request.instrument, request.leg]
        lots[cover.lot_id] -= cover.qty_lots
        if lots[cover.lot_id] == 0:
            del lots[cover.lot_id]

    def lot(self, fill: Fill) -> LotOpened:
        """Tell the lot that an entry became."""
        self.lots.setdefault((fill.instrument, fill.leg), {})[fill.trade_id] = fill.qty_lots
        return LotOpened(
            **self.head(),
            instrument=fill.instrument,
            lot_id=fill.trade_id,
            leg=fill.leg,
            level=fill.level,
            generation=fill.generation,
            entry_ticks=fill.price_ticks,
            qty_lots=fill.qty_lots,
            tp_ticks=fill.price_ticks + 15,
            stop_ticks=fill.price_ticks - 150,
            step_micro=12_000_000,
        )

    def settle(self, name: str, mark_ticks: int) -> FundingPaid:
        """Settle funding."""
        charges = []
        for leg in Leg:
            account = self.accounts.setdefault((name, leg), LegAccount())
            notional_e8 = ledger.notional_e8(mark_ticks, account.qty_lots, self.units[name])
            charges.append(ledger.funding_charge_e8(leg, notional_e8, 10_000))
        self.funding_e8 += sum(charges)
        self.wallet_e8 -= sum(charges)
        return FundingPaid(
            **self.head(),
            instrument=name,
            rate_e8=10_000,
            mark_ticks=mark_ticks,
            long_e8=charges[0],
            short_e8=charges[1],
        )

    def sample(self) -> EquitySampled:
        """Sample the equity, with some unrealised profit."""
        return EquitySampled(
            **self.head(),
            wallet_e8=self.wallet_e8,
            unrealised_e8=17,
            equity_e8=self.wallet_e8 + 17,
            realised_e8=self.realised_e8,
            fees_e8=self.fees_e8,
            funding_e8=self.funding_e8,
        )

    def flatten(self, price: int) -> Iterator[Message]:
        """Close every lot, one market order a lot, so that all round trips end."""
        for (name, leg), lots in self.lots.items():
            for lot_id, qty_lots in list(lots.items()):
                self.now_ns += self.step_ns
                covers = (Cover(lot_id=lot_id, qty_lots=qty_lots),)
                request = self.request(name, leg, Purpose.FLATTEN, price, qty_lots, covers)
                approved = (risk.approve(risk.PASS, request, limits_version="v1", expires_ns=self.now_ns),)
                yield ApprovedBatch(**self.head(), instrument=name, approved=approved, cancels=(), retires=())
                event = self.fill(self.working[request.client_id], qty_lots)
                yield ExecutionBatch(**self.head(), instrument=name, mark_ticks=price, events=(event,))
        yield self.sample()

    def liquidate(self, price: int) -> Iterator[Message]:
        """Let the exchange close everything."""
        self.now_ns += self.step_ns
        for (name, leg), account in self.accounts.items():
            if account.qty_lots == 0:
                continue
            request = self.request(name, leg, Purpose.FLATTEN, price, account.qty_lots)
            del self.working[request.client_id]
            request = attrs.evolve(request, client_id="", purpose=Purpose.LIQUIDATION)
            notional_e8 = ledger.notional_e8(price, account.qty_lots, self.units[name])
            qty_lots = account.qty_lots
            realised_e8 = ledger.reduce(account, leg, qty_lots, notional_e8)
            self.trade_id += 1
            event = self.filled(request, qty_lots, 0, ledger.fee_e8(notional_e8, 12_500), realised_e8, ())
            yield ExecutionBatch(**self.head(), instrument=name, mark_ticks=price, events=(event,))
        self.lots.clear()
        yield Liquidated(**self.head(), equity_e8=5, maintenance_e8=6)
        yield self.sample()


async def write(journal: SqliteJournal, messages: Iterator[Message], every: int = 3) -> None:
    """Append messages, with a commit now and then and one at the end."""
    for number, message in enumerate(messages):
        journal.append(message)
        if number % every == 0:
            await journal.commit()
    await journal.commit()
