"""For each law a bug is planted in the bot, and the law finds it: a judge who never condemns proves nothing."""

import contextlib
import fcntl
import sqlite3
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import pytest

from hedgegrid.actors import permission_words
from hedgegrid.actors.executor import Executor
from hedgegrid.actors.flat_watch import FlatWatch
from hedgegrid.actors.hydration import Hydration
from hedgegrid.actors.limits_told import LimitsTold
from hedgegrid.actors.permits import Permits
from hedgegrid.actors.risk_book import RiskBook
from hedgegrid.actors.sender import Sender
from hedgegrid.app import House
from hedgegrid.core import closing, health, risk
from hedgegrid.core.client_id import parse_client_id
from hedgegrid.errors import Fatal, Transient
from hedgegrid.journal.journal import SqliteJournal
from hedgegrid.journal.projections import Projections
from hedgegrid.journal.writer import InlineWriter
from hedgegrid.lifecycle import Life
from hedgegrid.messages.events import OrderEvent, OrderEventKind, StreamGap
from hedgegrid.model.order import Purpose
from hedgegrid.ports import VenueBatch
from hedgegrid.simulation.laws import Law
from hedgegrid.simulation.outages import Outages
from hedgegrid.simulation.weather import Fault
from hedgegrid.simulation.wire import Wire
from tests.simulation.storm import LADDER, account, storm

Plant = Callable[[pytest.MonkeyPatch], object]


def _no_commit(patch: pytest.MonkeyPatch) -> None:
    """Orders leave before they are on disk."""
    real = Sender.__init__

    class Hasty:
        async def commit(self) -> None:
            """Promise what is not done."""

    def made(self: Any, **parts: Any) -> None:
        real(self, **{**parts, "journal": Hasty()})

    patch.setattr(Sender, "__init__", made)


def _deaf_to_pauses(patch: pytest.MonkeyPatch) -> None:
    """What was approved is sent, whatever has happened since."""
    patch.setattr(Permits, "may_add", lambda *_: True)


def _same_numbers_again(patch: pytest.MonkeyPatch) -> None:
    """Every life counts its orders from the same boot."""
    real = SqliteJournal.__init__

    def made(self: Any, *parts: Any, **named: Any) -> None:
        real(self, *parts, **named)
        self.epoch = 1

    patch.setattr(SqliteJournal, "__init__", made)
    patch.setattr(SqliteJournal, "max_order_sequence", lambda _: 0)


def _tries_again_blindly(patch: pytest.MonkeyPatch) -> None:
    """A request without an answer is sent once more, under another id."""
    real = Wire._place_one

    async def place(self: Any, request: Any) -> OrderEvent:
        answer = await real(self, request)
        if answer.kind is OrderEventKind.UNKNOWN:
            await real(self, attrs.evolve(request, client_id=f"{request.client_id}z"))
        return answer

    patch.setattr(Wire, "_place_one", place)


def _no_position_limit(patch: pytest.MonkeyPatch) -> None:
    """The gate forgets the leg's own limit."""
    real = risk.check

    def check(limits: Any, account: Any, rules: Any, *rest: Any) -> int:
        before = [rule.max_position_lots for rule in rules]
        for rule in rules:
            rule.max_position_lots = 1 << 40
        try:
            return real(limits, account, rules, *rest)
        finally:
            for rule, lots in zip(rules, before, strict=True):
                rule.max_position_lots = lots

    patch.setattr(risk, "check", check)


def _without(name: str) -> Plant:
    """The gate forgets one of its limits."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        real = risk.check

        def check(limits: Any, *rest: Any) -> int:
            before = getattr(limits, name)
            setattr(limits, name, 1 << 60)
            try:
                return real(limits, *rest)
            finally:
                setattr(limits, name, before)

        patch.setattr(risk, "check", check)

    return plant


def _changed_on_the_way(patch: pytest.MonkeyPatch) -> None:
    """An order leaves with another price than was approved."""
    real = Wire.place

    async def place(self: Any, instrument: str, requests: Any, retires: Any) -> Any:
        changed = [attrs.evolve(one, price_ticks=one.price_ticks + 1) if one.price_ticks else one for one in requests]
        return await real(self, instrument, changed, retires)

    patch.setattr(Wire, "place", place)


def _far_too_many(patch: pytest.MonkeyPatch) -> None:
    """Orders leave with a million times their quantity."""
    real = Wire.place

    async def place(self: Any, instrument: str, requests: Any, retires: Any) -> Any:
        many = [attrs.evolve(one, qty_lots=one.qty_lots * 1_000_000) for one in requests]
        return await real(self, instrument, many, retires)

    patch.setattr(Wire, "place", place)


def _approvals_keep(patch: pytest.MonkeyPatch) -> None:
    """What was approved is sent, however late."""
    real = Sender._too_late

    def too_late(self: Any, one: Any, now_ns: int) -> Any:
        return real(self, one, min(now_ns, one.expires_ns))

    patch.setattr(Sender, "_too_late", too_late)


def _dangers_are_nothing(patch: pytest.MonkeyPatch) -> None:
    """A pause leaves the resting entries where they are."""
    patch.setattr(permission_words, "cancels_entries", lambda *_: False)


def _gaps_are_nothing(patch: pytest.MonkeyPatch) -> None:
    """A stream that may have lost something is taken for whole."""
    real = Life._on_private

    def hear(self: Any, event: Any) -> None:
        if not isinstance(event, StreamGap):
            real(self, event)

    patch.setattr(Life, "_on_private", hear)


def _doubts_are_dead(patch: pytest.MonkeyPatch) -> None:
    """An order whose outcome is not known is taken for refused."""
    real = Wire.place

    async def place(self: Any, instrument: str, requests: Any, retires: Any) -> Any:
        answers = await real(self, instrument, requests, retires)
        kind = OrderEventKind.REJECTED
        return tuple(attrs.evolve(one, kind=kind) if one.kind is OrderEventKind.UNKNOWN else one for one in answers)

    patch.setattr(Wire, "place", place)


def _fills_count_twice(patch: pytest.MonkeyPatch) -> None:
    """A leg takes every fill twice."""
    real = Projections.drain

    def drain(self: Any) -> Any:
        for leg in self.positions.legs.values():
            leg.account.qty_lots *= 2
        try:
            return real(self)
        finally:
            for leg in self.positions.legs.values():
                leg.account.qty_lots //= 2

    patch.setattr(Projections, "drain", drain)


def _legs_are_not_kept(patch: pytest.MonkeyPatch) -> None:
    """What a leg holds is not written down, and its exits leave all the same."""
    real = Projections.drain

    def drain(self: Any) -> Any:
        kept = {key: leg.account.qty_lots for key, leg in self.positions.legs.items()}
        for leg in self.positions.legs.values():
            leg.account.qty_lots = 0
        try:
            return real(self)
        finally:
            for key, leg in self.positions.legs.items():
                leg.account.qty_lots = kept[key]

    patch.setattr(Projections, "drain", drain)


def _prices_never_age(patch: pytest.MonkeyPatch) -> None:
    """Nobody looks at how old a price is."""
    patch.setattr(health, "stale_after_ns", lambda *_: 1 << 60)


def _wallet_is_not_told(patch: pytest.MonkeyPatch) -> None:
    """What moves the wallet beside fills is not taken over."""
    patch.setattr(Hydration, "_compare_wallets", lambda *_: None)


def _bans_are_not_heard(patch: pytest.MonkeyPatch) -> None:
    """A ban is an error like any other."""
    real = Outages.hinders

    def hinders(self: Any, what: str) -> Any:
        error = real(self, what)
        return Transient("418") if isinstance(error, Transient) else error

    patch.setattr(Outages, "hinders", hinders)


def _asks_without_end(patch: pytest.MonkeyPatch) -> None:
    """A reading leads to the next one at once."""
    real = Hydration.take

    async def take(self: Any, *parts: Any, **named: Any) -> int:
        await real(self, *parts, **named)
        return 1_000_000

    patch.setattr(Hydration, "take", take)


def _switch_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    """The dead-man's switch is armed once, and never refreshed."""
    real = Wire.refresh_countdown
    armed: list[Any] = []

    async def refresh(self: Any, instrument: str, countdown_ms: int) -> None:
        if countdown_ms and armed == [self]:
            return
        armed[:] = [self] if countdown_ms else []
        await real(self, instrument, countdown_ms)

    patch.setattr(Wire, "refresh_countdown", refresh)


def _nobody_is_called(patch: pytest.MonkeyPatch) -> None:
    """A liquidation is an exit like any other."""
    patch.setattr(LimitsTold, "call_for_a_person", lambda *_: None)


def _flattens_whole(patch: pytest.MonkeyPatch) -> None:
    """A flatten closes everything at once."""
    patch.setattr(closing, "slice_lots", lambda *_: 1 << 40)


def _gaps_never_close(patch: pytest.MonkeyPatch) -> None:
    """What was read after a gap ends no pause."""
    patch.setattr(Hydration, "_clear_gap", lambda *_: None)


def _stops_are_forgotten(patch: pytest.MonkeyPatch) -> None:
    """The adapter says yes to stops, and sends none."""
    real = Wire._place_one

    async def place(self: Any, request: Any) -> OrderEvent:
        if request.purpose in (Purpose.STOP, Purpose.BACKSTOP):
            return OrderEvent(kind=OrderEventKind.ACCEPTED, client_id=request.client_id)
        return await real(self, request)

    patch.setattr(Wire, "_place_one", place)


def _prices_are_off(patch: pytest.MonkeyPatch) -> None:
    """The adapter reads the prices of fills wrongly, on the stream and afterwards."""
    heard = Wire.heard

    def off(self: Any, events: Any) -> None:
        heard(self, [_with_prices_off(one) if isinstance(one, VenueBatch) else one for one in events])

    patch.setattr(Wire, "heard", off)


def _with_prices_off(batch: VenueBatch) -> VenueBatch:
    events = list(batch.events)
    for place, one in enumerate(events):
        if one.fill is not None:
            events[place] = attrs.evolve(one, fill=attrs.evolve(one.fill, price_ticks=one.fill.price_ticks + 1))
    return attrs.evolve(batch, events=tuple(events))


def _latches_are_forgotten(patch: pytest.MonkeyPatch) -> None:
    """A start does not know what latched before it."""
    patch.setattr(SqliteJournal, "latched", lambda _: ())


def _flat_by_hope(patch: pytest.MonkeyPatch) -> None:
    """A flatten is over when it was asked for."""
    patch.setattr(FlatWatch, "_left", lambda *_: ())
    patch.setattr(RiskBook, "is_leg_flat", lambda *_: True)


def _take_profits_stay(patch: pytest.MonkeyPatch) -> None:
    """The adapter says that it cancels take-profits, and does not."""
    real = Wire._cancel_one

    async def cancel(self: Any, instrument: str, name: str) -> bool:
        parts = parse_client_id(name)
        if parts is not None and parts.purpose is Purpose.TAKE_PROFIT:
            return True
        return await real(self, instrument, name)

    patch.setattr(Wire, "_cancel_one", cancel)


def _stops_are_not_read(patch: pytest.MonkeyPatch) -> None:
    """A start leaves the list of stops out."""

    async def nothing(_: Any) -> tuple[()]:
        return ()

    patch.setattr(Wire, "open_stops", nothing)


def _somebody_writes(patch: pytest.MonkeyPatch) -> None:
    """Something else changes the journal's file."""
    real = SqliteJournal.close

    def close(self: Any, reason: str, *, clean: bool = True) -> None:
        real(self, reason, clean=clean)
        with contextlib.closing(sqlite3.connect(self.path)) as db:
            db.execute("UPDATE fills SET fee_e8 = fee_e8 + 1")
            db.commit()

    patch.setattr(SqliteJournal, "close", close)


def _always_failing(patch: pytest.MonkeyPatch) -> None:
    """The executor fails on every word about the account."""

    def fail(*_: Any) -> None:
        raise AssertionError("planted")

    patch.setattr(Executor, "_on_report", fail)


def _announcing_raises(patch: pytest.MonkeyPatch) -> None:
    """Who reports beside the actors gets the full disk in the face."""

    def announce(self: Any, message: Any, *to: str) -> None:
        self.post.publish(message, *to)

    patch.setattr(House, "announce", announce)


def _locks_are_free(patch: pytest.MonkeyPatch) -> None:
    """Whoever asks for the account's lock has it."""
    patch.setattr(fcntl, "flock", lambda *_: None)


def _writes_are_believed(patch: pytest.MonkeyPatch) -> None:
    """A write that failed is taken for one that was made."""
    real = InlineWriter.put

    def put(self: Any, batch: Any) -> None:
        with contextlib.suppress(Fatal):
            real(self, batch)
        self.failure = ""
        self.committed_row = batch.last_row

    patch.setattr(InlineWriter, "put", put)


WAITING = {
    "grid": {"ladder": {**LADDER, "recenter_trigger_bps": 13}},
    "risk": {"approval_ttl_ms": 20_000},
}
"""Its grid moves often and approvals live long, so that much waits to be sent at once."""
SLICED = {"risk": {"flatten_slice_quote": 100}}
"""A flatten takes it a while."""
LOSING = {"risk": {"session_loss": {"max_quote": Decimal("0.5"), "action": "pause"}}}
"""It latches soon."""


def _limited(name: str, amount: int) -> dict[str, Any]:
    """Give a small limit of the gate."""
    return {"risk": {name: amount}}


SMALL = {"grid": {"max_position_qty": Decimal("0.015")}}
"""A leg takes one entry and a half."""
QUEUED = {"grid": {"ladder": {**LADDER, "recenter_trigger_bps": 13}}, "risk": {"approval_ttl_ms": 500}}
"""Its grid moves often and approvals live short."""
PLANTED: dict[Law, tuple[Plant, dict[str, Any], tuple[Fault, ...], float, int]] = {
    Law.NOT_DURABLE: (_no_commit, {}, (Fault.BUSY,), 0.1, 1),
    Law.PAUSED: (_deaf_to_pauses, WAITING, (Fault.REQUEST_LOST, Fault.THROTTLED, Fault.BUSY), 8.0, 12),
    Law.ID_REUSED: (_same_numbers_again, {}, (Fault.CRASH,), 40.0, 5),
    Law.TWO_ON_A_RUNG: (_tries_again_blindly, {}, (Fault.ANSWER_LOST,), 5.0, 3),
    Law.POSITION_CAP: (_no_position_limit, {"grid": {"max_position_qty": Decimal("0.015")}}, (Fault.BUSY,), 0.1, 1),
    Law.ORDER_CAP: (
        _without("max_order_notional_e8"),
        {"risk": {"max_order_notional_quote": 100}},
        (Fault.BUSY,),
        0.1,
        1,
    ),
    Law.UNPROTECTED: (_stops_are_forgotten, {}, (Fault.BUSY,), 0.1, 3),
    Law.BOOKS_AGREE: (_prices_are_off, {}, (Fault.BUSY,), 0.1, 1),
    Law.LATCH_KEPT: (_latches_are_forgotten, LOSING, (Fault.CRASH,), 60.0, 6),
    Law.FLAT_IS_FLAT: (_flat_by_hope, SLICED, (Fault.OPERATOR, Fault.REQUEST_LOST), 12.0, 3),
    Law.EXCESS: (_take_profits_stay, {}, (Fault.BUSY,), 0.1, 3),
    Law.UNREAD: (_stops_are_not_read, {}, (Fault.BUSY,), 0.1, 1),
    Law.JOURNAL_SOUND: (_somebody_writes, {}, (Fault.BUSY,), 0.1, 1),
    Law.GATED: (_changed_on_the_way, {}, (Fault.BUSY,), 0.1, 1),
    Law.SOUND_FIGURES: (_far_too_many, {}, (Fault.BUSY,), 0.1, 1),
    Law.APPROVAL_YOUNG: (_approvals_keep, QUEUED, (Fault.REQUEST_LOST, Fault.THROTTLED), 20.0, 5),
    Law.DANGER_CLEARS: (_dangers_are_nothing, {}, (Fault.MARKET_SILENT,), 20.0, 5),
    Law.STALE: (_prices_never_age, {}, (Fault.MARKET_SILENT,), 20.0, 3),
    Law.REREAD: (_gaps_are_nothing, {}, (Fault.STREAM_BREAKS,), 40.0, 6),
    Law.DEAD_IS_DEAD: (_doubts_are_dead, {}, (Fault.ARRIVES_LATE,), 10.0, 3),
    Law.UNKNOWN_COUNTS: (_no_position_limit, SMALL, (Fault.ARRIVES_LATE,), 5.0, 2),
    Law.FILLS_ADD_UP: (_fills_count_twice, {}, (Fault.BUSY,), 0.1, 1),
    Law.REDUCTION_PROVEN: (_legs_are_not_kept, {}, (Fault.BUSY,), 0.1, 1),
    Law.FLATTEN_SLICED: (_flattens_whole, SLICED, (Fault.OPERATOR,), 12.0, 3),
    Law.WALLET_TRUE: (_wallet_is_not_told, {}, (Fault.TRADE_BY_HAND,), 10.0, 2),
    Law.LEG_CAP: (
        _without("max_leg_notional_e8"),
        {"risk": {"max_notional_per_leg_quote": 700}},
        (Fault.BUSY,),
        0.1,
        2,
    ),
    Law.GROSS_CAP: (
        _without("max_gross_notional_e8"),
        {"risk": {"max_gross_notional_quote": 700}},
        (Fault.BUSY,),
        0.1,
        1,
    ),
    Law.NET_CAP: (_without("max_net_notional_e8"), _limited("max_net_notional_quote", 700), (Fault.BUSY,), 0.1, 2),
    Law.ORDER_RATE: (_without("max_orders_per_minute"), _limited("max_orders_per_minute", 3), (Fault.BUSY,), 0.1, 1),
    Law.BAN_KEPT: (_bans_are_not_heard, QUEUED, (Fault.BANNED,), 25.0, 8),
    Law.BOUNDED: (_asks_without_end, {}, (Fault.BUSY,), 0.1, 1),
    Law.COUNTDOWN: (_switch_is_forgotten, {"venue": {"arm_countdown": "always"}}, (Fault.BUSY,), 0.1, 2),
    Law.LIQUIDATED: (_nobody_is_called, {}, (Fault.LIQUIDATED,), 60.0, 5),
    Law.QUIET_END: (_gaps_never_close, {}, (Fault.STREAM_BREAKS,), 20.0, 2),
    Law.ONE_WRITER: (_locks_are_free, {}, (Fault.SECOND_INSTANCE,), 10.0, 2),
    Law.DISK_LOST: (_writes_are_believed, {}, (Fault.DISK_FAILS, Fault.DISK_FULL), 20.0, 5),
    Law.ERROR_TAKEN: (_announcing_raises, {}, (Fault.DISK_FULL, Fault.FLOOD), 100.0, 5),
    Law.LIVES_ON: (_always_failing, {}, (Fault.BUSY,), 0.1, 1),
}
"""By law: the bug, changes of the account, the faults that are on, how often they strike, and within how many seeds."""


@pytest.mark.parametrize("law", PLANTED, ids=lambda law: law.name)
def test_a_planted_bug_is_found(law: Law, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The law condemns it within a few seeds; without the bug the same seeds are clean."""
    plant, changes, faults, force, seeds = PLANTED[law]
    config = account(**changes)
    plant(monkeypatch)
    found: set[Law] = set()
    for seed in range(1, seeds + 1):
        result = storm(tmp_path / str(seed), seed, *faults, force=force, config=config)
        found |= {one.law for one in result.violations}
        if law in found:
            break
    assert law in found, found


def test_every_law_has_its_planted_bug() -> None:
    """A law without one was never seen to condemn."""
    assert set(PLANTED) == set(Law)
