"""A whole house inside a test: the real life of the bot on a made market, with the faults that a test wants.

Invariants: nothing of the bot is replaced but what a ``Script`` names; a run goes through ``Life``, as a command;
the venue's account and the journal are compared as they stand on their own sides, never through the bot.
"""

import io
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from rich.console import Console

from hedgegrid import app
from hedgegrid.app import House
from hedgegrid.config.schema import AccountConfig
from hedgegrid.config.structure import structure
from hedgegrid.core.client_id import ClientId, parse_client_id
from hedgegrid.core.codes import FREE
from hedgegrid.journal.tape import decode
from hedgegrid.journal.verify import verify
from hedgegrid.lifecycle import Life, Outcome
from hedgegrid.messages.events import Message, OrderEvent, PermissionChanged
from hedgegrid.model.market import Tape
from hedgegrid.model.order import OrderRequest, Purpose
from hedgegrid.ports import Trading
from hedgegrid.runtime.actor import Actor
from hedgegrid.units import NS_PER_MINUTE
from hedgegrid.venues.simulated.arrays import BarArrays, FundingArrays, no_funding
from hedgegrid.venues.simulated.exchange import Exchange
from hedgegrid.venues.simulated.opening import Simulation
from hedgegrid.venues.simulated.tape_bars import BarTape
from hedgegrid.venues.simulated.venue import SimulatedTrading
from hedgegrid.worlds import simulated
from hedgegrid.worlds.simulated import SimulatedWorld
from hedgegrid.worlds.world import RunOptions
from tests.core.made import Ohlc, walk

BTC = "BTC/USDT:USDT"
STRATEGY = f"strategy:{BTC}"
FIRST_BAR = 29_000_000
"""The number of the first bar of a made market: its opening in minutes since the epoch."""
WIDE_VAR: dict[str, Any] = {"max_ratio": 1, "confidence": Decimal("0.51"), "horizon_hours": 1}
"""A cap on value at risk that nothing meets."""
Hook = Callable[[House, Any], None]


class CrashError(Exception):
    """What an actor of a test fails with."""


def document(path: Path, **changes: dict[str, Any]) -> dict[str, Any]:
    """The settings of a small account: three rungs a leg, warm after five bars, limits that nothing meets; changed.

    ``changes`` go over the sections, those named ``ladder``, ``exit``, ``policy``, ``funding`` and ``execution`` over
    the grid's own.
    """
    grid: dict[str, Any] = {
        "instrument": BTC,
        "timeframe": "1m",
        "max_position_qty": 1000,
        "ladder": {
            "step_bps": 25,
            "levels_long": 3,
            "levels_short": 3,
            "base_qty": Decimal("0.01"),
            "recenter_trigger_bps": 150,
            "max_inventory_quote": 1_000_000,
        },
        "exit": {"tp_steps": 1, "sl_steps": 6},
        "regime": {"ema_fast": 2, "ema_slow": 4, "adx_len": 2, "atr_len": 2},
        "policy": {"name": "both"},
        "funding": {"on_missing": "ignore"},
        "execution": {},
    }
    limits = dict.fromkeys(
        (
            "max_order_notional_quote",
            "max_notional_per_leg_quote",
            "max_gross_notional_quote",
            "max_net_notional_quote",
        ),
        1_000_000,
    )
    made: dict[str, Any] = {
        "account": {"name": "house", "mode": "sim", "wallet_quote": 10_000},
        "sim": {"market": "recorded", "instrument": {BTC: {"min_notional": 0}}},
        "risk": {
            **limits,
            "max_leverage": 125,
            "max_position_ratio": 1,
            "max_margin_ratio": 1,
            "min_liquidation_distance_ratio": Decimal("0.000001"),
            "var": dict(WIDE_VAR),
            "max_open_orders_per_leg": 1_000,
            "price_collar_bps": 5_000,
        },
        "venue": {"leverage": 125},
        "supervisor": {"crash_boots_max": 3},
        "journal": {"path": str(path / "house.db"), "synchronous": "normal"},
    }
    for name, change in changes.items():
        section = grid if name in grid else made
        section[name] = {**section.get(name, {}), **change}
    return {**made, "grid": [grid]}


def settings(path: Path, **changes: dict[str, Any]) -> AccountConfig:
    """The small account's settings, checked as a file's are."""
    return checked(document(path, **changes))


def checked(text: dict[str, Any]) -> AccountConfig:
    """Settings of a parsed file."""
    config, problems = structure(text)
    assert config is not None, problems
    return config


def market(
    bars: Sequence[Ohlc] | None = None,
    *,
    seed: int = 1,
    count: int = 150,
    numbers: Sequence[int] | None = None,
    funding: Sequence[tuple[int, int]] = (),
    length_ns: int = NS_PER_MINUTE,
) -> BarTape:
    """A tape of made bars; ``numbers`` count them from the first (holes allowed), ``funding`` is (bar number, rate)."""
    rows = list(bars) if bars is not None else walk(seed, count)
    places = range(len(rows)) if numbers is None else numbers
    columns = np.array(rows, np.int64).T
    series = no_funding()
    if funding:
        stamps = np.array([(FIRST_BAR + number) * length_ns for number, _ in funding], np.int64)
        series = FundingArrays(ts_ns=stamps, rate_e8=np.array([rate for _, rate in funding], np.int64))
    return BarTape(
        instruments=[BTC],
        bars=[
            BarArrays(
                open_ns=np.array([(FIRST_BAR + number) * length_ns for number in places], np.int64),
                open_ticks=columns[0].copy(),
                high_ticks=columns[1].copy(),
                low_ticks=columns[2].copy(),
                close_ticks=columns[3].copy(),
                volume_lots=np.ones(len(rows), np.int64),
            )
        ],
        funding=[series],
        bar_length_ns=length_ns,
    )


@attrs.define(eq=False)
class Script:
    """What a test does to a house, and what it saw of it. Hooks get the house and what is at hand; they may raise."""

    wired: Callable[[House], None] | None = None
    """Called once, before anything runs."""
    before_publish: Hook | None = None
    after_publish: Hook | None = None
    before_handle: Callable[[House, Actor[Any], Any], None] | None = None
    trading: Callable[[SimulatedTrading], Trading] | None = None
    """Gives what the executor and the funding actor get for the venue's private side."""
    placed: list[str] = attrs.field(factory=list)
    """Every client id that reached the exchange, in order."""
    doubles: list[tuple[int, int, int]] = attrs.field(factory=list)
    """Rungs (leg, level, generation) that had two live entries at the exchange at once."""
    unstoppable: list[str] = attrs.field(factory=list)
    """Actors that did not end in time."""
    may_outlive: bool = False
    """Whether an actor that does not end in time is what the test is about."""
    house: House | None = None


def world(house: House) -> SimulatedWorld:
    """The world of a house that lives in a simulation."""
    assert isinstance(house.world, SimulatedWorld)
    return house.world


def simulation(house: House) -> Simulation:
    """The simulated exchange of a house, its market and its clock."""
    return world(house).simulation


class StagedHouse(House):
    """A house with a script's hooks in it."""

    def __init__(self, script: Script, *parts: Any) -> None:
        """Wire as ever, then let the script at it."""
        self.script = script
        super().__init__(*parts)
        script.house = self
        watch_exchange(simulation(self).exchange, script)
        if script.trading is not None:
            self.world.trading = script.trading(simulation(self).trading)
        publish = self.post.publish

        def published(message: Message, *to: str) -> None:
            if script.before_publish is not None:
                script.before_publish(self, message)
            publish(message, *to)
            if script.after_publish is not None:
                script.after_publish(self, message)

        self.post.publish = published  # type: ignore[method-assign]
        if script.wired is not None:
            script.wired(self)

    def _staged(self, actor: Any) -> Any:
        """Let the script see every message before its actor does."""
        handle = actor.handle

        async def handled(message: Any) -> None:
            if self.script.before_handle is not None:
                self.script.before_handle(self, actor, message)
            await handle(message)

        actor.handle = handled
        return actor

    def _journal_writer(self) -> Any:
        return self._staged(super()._journal_writer())

    def _executor(self) -> Any:
        return self._staged(super()._executor())

    def _risk(self) -> Any:
        return self._staged(super()._risk())

    def _feed(self) -> Any:
        return self._staged(super()._feed())

    def _funding(self) -> Any:
        return self._staged(super()._funding())

    def _strategy(self, index: int) -> Any:
        return self._staged(super()._strategy(index))

    def _watchdog(self) -> Any:
        return self._staged(super()._watchdog())


def watch_exchange(exchange: Exchange, script: Script) -> None:
    """Write down every order that reaches the exchange, and every rung that it then has twice."""
    place = exchange.place

    def watched(request: OrderRequest, now_ns: int) -> OrderEvent:
        answer = place(request, now_ns)
        script.placed.append(request.client_id)
        rungs = live_rungs(exchange)
        script.doubles += sorted({rung for rung in rungs if rungs.count(rung) > 1})
        return answer

    exchange.place = watched  # type: ignore[method-assign]


def live_rungs(exchange: Exchange) -> list[tuple[int, int, int]]:
    """The rungs of all live entries at the exchange."""
    return [
        (order.leg, order.level, order.generation)
        for book in exchange.books
        for order in book.orders
        if order.state != FREE and order.purpose == Purpose.ENTRY
    ]


def entries_at(exchange: Exchange) -> list[str]:
    """The client ids of the entries that rest at the exchange."""
    orders = [order for book in exchange.books for order in book.open_orders(conditional=False)]
    return [order.client_id for order in orders if order.purpose is Purpose.ENTRY]


def purpose_of(client_id: str) -> Purpose:
    """What an order is for, by its client id."""
    parsed = parse_client_id(client_id)
    assert isinstance(parsed, ClientId)
    return parsed.purpose


@attrs.frozen(kw_only=True)
class Boot:
    """A run that has ended: how, its house, and what was said to the person at the start."""

    outcome: Outcome
    house: House
    told: list[str]
    script: Script

    @property
    def exchange(self) -> Exchange:
        """The venue's account."""
        return simulation(self.house).exchange

    @property
    def path(self) -> Path:
        """The journal's file."""
        return self.house.journal.path


def entries_placed(one: Boot) -> list[str]:
    """The client ids of the entries that reached the exchange in one life."""
    return [client_id for client_id in one.script.placed if purpose_of(client_id) is Purpose.ENTRY]


async def boot(config: AccountConfig, tape: Tape | None, script: Script | None = None, **options: Any) -> Boot:
    """Live one life in virtual time (or as ``options`` of ``RunOptions`` say) and give what is left.

    Without a ``tape`` the market is the one that the settings ask for.
    """
    script = script or Script()
    told: list[str] = []
    chosen: dict[str, Any] = {"speed": None, "listen": ("127.0.0.1", 0), **options}
    with pytest.MonkeyPatch.context() as patch:
        if tape is not None:
            patch.setattr(simulated, "open_tape", lambda *_: tape)
        patch.setattr(app, "House", partial(StagedHouse, script))
        # An actor that would not stop ends the run, not the tests with it.
        patch.setattr(Life, "on_unstoppable", lambda _, child_id: script.unstoppable.append(child_id))
        outcome = await Life().run(config, RunOptions(**chosen), Console(file=io.StringIO()), told.append)
    assert script.house is not None
    assert script.may_outlive or script.unstoppable == []
    return Boot(outcome=outcome, house=script.house, told=told, script=script)


# --- what is left -----------------------------------------------------------------------------------------------------


def query(path: Path, statement: str) -> list[tuple[Any, ...]]:
    """Read the journal's (or the exchange's) file with a connection of our own."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        return db.execute(statement).fetchall()


def messages(path: Path, *kinds: type[Message]) -> list[Any]:
    """The journal's messages, all or of some kinds, in order."""
    rows = query(path, "SELECT kind, payload FROM tape ORDER BY row")
    names = {kind.__name__ for kind in kinds}
    return [decode(kind, payload) for kind, payload in rows if not names or kind in names]


def changes(path: Path) -> list[tuple[str, str, str]]:
    """The permission's changes: what changed, the reason, its scope."""
    return query(path, "SELECT change, reason, scope FROM permission ORDER BY row")


def last_mode(one: Boot) -> str:
    """The permission in which a life traded last, before the stop that ended it."""
    last = messages(one.path, PermissionChanged)[-1]
    stopping = last.change == "halted" and last.figures.get("account") == "stopping"
    return str(last.before if stopping else last.after)


def fills(path: Path) -> list[tuple[int, ...]]:
    """The journal's fills in the columns of ``Desk.fills``."""
    columns = "ts_ns, leg, purpose, level, generation, price_ticks, qty_lots, fee_e8, realised_e8, maker"
    return query(path, f"SELECT {columns} FROM fills ORDER BY trade_id")  # noqa: S608 - columns of this line alone


def assert_agrees(one: Boot) -> None:
    """The journal's account is the exchange's: money, legs, open orders, lots and every fill."""
    journal, exchange = one.house.journal, one.exchange
    totals, balance = journal.totals(), exchange.balance()
    assert attrs.astuple(totals) == (balance.realised_e8, balance.fees_e8, balance.funding_e8, balance.wallet_e8)
    theirs = {(p.instrument, p.leg): (p.qty_lots, p.cost_e8) for book in exchange.books for p in book.positions()}
    ours = [leg.position for leg in journal.legs()]
    assert {(p.instrument, p.leg): (p.qty_lots, p.cost_e8) for p in ours if p.qty_lots} == theirs
    live = {o.record.client_id: (o.record.qty_lots - o.record.filled_lots) for o in journal.live_orders()}
    open_orders = [o for book in exchange.books for kind in (False, True) for o in book.open_orders(conditional=kind)]
    assert live == {o.client_id: o.qty_lots - o.filled_lots for o in open_orders}
    for (instrument, leg), (qty_lots, _) in theirs.items():
        assert sum(lot.qty_lots for lot in journal.open_lots(instrument) if lot.leg == leg) == qty_lots
    assert fills(one.path) == [
        (f.ts_ns, f.leg, f.purpose, f.level, f.generation, f.price_ticks, f.qty_lots, f.fee_e8, f.realised_e8, f.maker)
        for f in exchange.fills
    ]
    report = verify(one.path)
    assert report.ok, report.text()


def assert_one_order_a_rung(*boots: Boot) -> None:
    """No rung ever had two live entries, and no client id reached the exchange twice, over several boots."""
    placed = [client_id for one in boots for client_id in one.script.placed]
    assert len(placed) == len(set(placed))
    assert [rung for one in boots for rung in one.script.doubles] == []


def assert_exits_complete(one: Boot) -> None:
    """Every open lot has its take-profit and its stop at the exchange, and nothing covers more than there is."""
    exchange, journal = one.exchange, one.house.journal
    for book in exchange.books:
        lots = journal.open_lots(book.instrument.name)
        held = {leg: sum(lot.qty_lots for lot in lots if lot.leg == leg) for leg in (0, 1)}
        for purpose in (Purpose.TAKE_PROFIT, Purpose.STOP):
            covered = {
                leg: sum(
                    o.qty_lots
                    for o in book.orders
                    if o.state != FREE and o.purpose == purpose and o.leg == leg and not o.close_all
                )
                for leg in (0, 1)
            }
            assert covered == held, (purpose, book.instrument.name)
