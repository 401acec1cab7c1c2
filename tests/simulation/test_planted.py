"""For each law a bug is planted in the bot, and the law finds it: a judge who never condemns proves nothing."""

import contextlib
import fcntl
import sqlite3
from collections.abc import Callable
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import pytest

from hedgegrid.actors.executor import Executor
from hedgegrid.actors.flat_watch import FlatWatch
from hedgegrid.actors.risk_book import RiskBook
from hedgegrid.actors.sender import Sender
from hedgegrid.core import risk
from hedgegrid.core.client_id import parse_client_id
from hedgegrid.errors import Fatal
from hedgegrid.journal.journal import SqliteJournal
from hedgegrid.journal.writer import InlineWriter
from hedgegrid.messages.events import OrderEvent, OrderEventKind
from hedgegrid.model.order import Purpose
from hedgegrid.ports import VenueBatch
from hedgegrid.simulation.laws import Law
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
    real = Sender.permit
    patch.setattr(Sender, "permit", lambda self, instrument, **_: real(self, instrument, may_add=True))


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


def _no_order_limit(patch: pytest.MonkeyPatch) -> None:
    """The gate forgets the largest order."""
    real = risk.check

    def check(limits: Any, *rest: Any) -> int:
        before, limits.max_order_notional_e8 = limits.max_order_notional_e8, 1 << 60
        try:
            return real(limits, *rest)
        finally:
            limits.max_order_notional_e8 = before

    patch.setattr(risk, "check", check)


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
        with closing(sqlite3.connect(self.path)) as db:
            db.execute("UPDATE fills SET fee_e8 = fee_e8 + 1")
            db.commit()

    patch.setattr(SqliteJournal, "close", close)


def _always_failing(patch: pytest.MonkeyPatch) -> None:
    """The executor fails on every word about the account."""

    def fail(*_: Any) -> None:
        raise AssertionError("planted")

    patch.setattr(Executor, "_on_report", fail)


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
PLANTED: dict[Law, tuple[Plant, dict[str, Any], tuple[Fault, ...], float, int]] = {
    Law.NOT_DURABLE: (_no_commit, {}, (Fault.BUSY,), 0.1, 1),
    Law.PAUSED: (_deaf_to_pauses, WAITING, (Fault.REQUEST_LOST, Fault.THROTTLED, Fault.BUSY), 8.0, 12),
    Law.ID_REUSED: (_same_numbers_again, {}, (Fault.CRASH,), 40.0, 5),
    Law.TWO_ON_A_RUNG: (_tries_again_blindly, {}, (Fault.ANSWER_LOST,), 5.0, 3),
    Law.POSITION_CAP: (_no_position_limit, {"grid": {"max_position_qty": Decimal("0.015")}}, (Fault.BUSY,), 0.1, 1),
    Law.ORDER_CAP: (_no_order_limit, {"risk": {"max_order_notional_quote": 100}}, (Fault.BUSY,), 0.1, 1),
    Law.UNPROTECTED: (_stops_are_forgotten, {}, (Fault.BUSY,), 0.1, 3),
    Law.BOOKS_AGREE: (_prices_are_off, {}, (Fault.BUSY,), 0.1, 1),
    Law.LATCH_KEPT: (_latches_are_forgotten, LOSING, (Fault.CRASH,), 60.0, 6),
    Law.FLAT_IS_FLAT: (_flat_by_hope, SLICED, (Fault.OPERATOR, Fault.REQUEST_LOST), 12.0, 3),
    Law.EXCESS: (_take_profits_stay, {}, (Fault.BUSY,), 0.1, 3),
    Law.UNREAD: (_stops_are_not_read, {}, (Fault.BUSY,), 0.1, 1),
    Law.JOURNAL_SOUND: (_somebody_writes, {}, (Fault.BUSY,), 0.1, 1),
    Law.ONE_WRITER: (_locks_are_free, {}, (Fault.SECOND_INSTANCE,), 10.0, 2),
    Law.DISK_LOST: (_writes_are_believed, {}, (Fault.DISK_FAILS, Fault.DISK_FULL), 20.0, 5),
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
