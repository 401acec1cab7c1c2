"""An actor that fails in the middle of a run is restarted, reads where it stands, and goes on as if nothing had been.

Invariants: what is compared is the exchange's account, its open orders and the journal; a rung never has two live
entries there; a lot keeps the prices that it was born with.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest

from hedgegrid.app import House
from hedgegrid.messages.commands import IntentBatch, Wake
from hedgegrid.messages.events import (
    ActorRestarted,
    ApprovedBatch,
    BarClosed,
    ExecutionBatch,
    GridMoved,
    Hydrated,
    LotOpened,
    MarketSeen,
    MarkPrice,
    VenueReport,
)
from hedgegrid.model.order import Purpose
from tests.actors.house import (
    STRATEGY,
    Boot,
    CrashError,
    Script,
    assert_agrees,
    assert_exits_complete,
    assert_one_order_a_rung,
    boot,
    last_mode,
    market,
    messages,
    settings,
    simulation,
)

Fits = Callable[[Any], bool]


def anything(_message: Any) -> bool:
    """Every message fits."""
    return True


def has_fill(message: Any) -> bool:
    """A batch of events with an entry's fill in it."""
    return any(event.fill is not None and event.fill.purpose is Purpose.ENTRY for event in message.events)


class Nth:
    """Fails at the n-th message of a kind that fits, once."""

    def __init__(self, kind: type, number: int, fits: Fits = anything) -> None:
        self.kind = kind
        self.number = number
        self.fits = fits
        self.seen = 0

    def __call__(self, message: Any) -> None:
        """Count a message, and fail at its number."""
        if type(message) is self.kind and self.fits(message):
            self.seen += 1
            if self.seen == self.number:
                raise CrashError(f"{self.kind.__name__} {self.number}")


def on_handle(actor: str, nth: Nth) -> Script:
    """Fail as ``actor`` begins to handle a message."""

    def hook(_house: House, one: Any, message: Any) -> None:
        if one.name == actor:
            nth(message)

    return Script(before_handle=hook)


def on_publish(nth: Nth, *, after: bool) -> Script:
    """Fail before a message is published, or right after."""

    def hook(_house: House, message: Any) -> None:
        nth(message)

    return Script(after_publish=hook) if after else Script(before_publish=hook)


def assert_lots_keep_their_prices(one: Boot) -> None:
    """Each lot was born once, and every take-profit that was ever sent for it has the price that it was born with."""
    born = [(lot.instrument, lot.leg, lot.lot_id) for lot in messages(one.path, LotOpened)]
    assert len(born) == len(set(born)) > 0
    price = {lot.lot_id: lot.tp_ticks for lot in messages(one.path, LotOpened)}
    for batch in messages(one.path, ApprovedBatch):
        for approved in batch.approved:
            request = approved.request
            if request.purpose is Purpose.TAKE_PROFIT:
                assert {price[cover.lot_id] for cover in request.covers} == {request.price_ticks}


CRASHES: list[tuple[str, str, Callable[[], Script]]] = [
    ("strategy on a bar", STRATEGY, lambda: on_handle(STRATEGY, Nth(BarClosed, 40))),
    ("strategy on a fill", STRATEGY, lambda: on_handle(STRATEGY, Nth(ExecutionBatch, 5, has_fill))),
    ("strategy before a lot is told", STRATEGY, lambda: on_publish(Nth(LotOpened, 7), after=False)),
    ("strategy after a lot is told", STRATEGY, lambda: on_publish(Nth(LotOpened, 7), after=True)),
    ("strategy before its intents", STRATEGY, lambda: on_publish(Nth(IntentBatch, 30), after=False)),
    ("strategy after its intents", STRATEGY, lambda: on_publish(Nth(IntentBatch, 30), after=True)),
    ("strategy after its first intents", STRATEGY, lambda: on_publish(Nth(IntentBatch, 1), after=True)),
    ("strategy before it tells the grid", STRATEGY, lambda: on_publish(Nth(GridMoved, 3), after=False)),
    ("strategy after it tells the grid", STRATEGY, lambda: on_publish(Nth(GridMoved, 3), after=True)),
    ("strategy as it hydrates", STRATEGY, lambda: on_handle(STRATEGY, Nth(Hydrated, 1))),
    ("executor on an approval", "executor", lambda: on_handle("executor", Nth(ApprovedBatch, 30))),
    ("executor on a fill", "executor", lambda: on_handle("executor", Nth(VenueReport, 6, has_fill))),
    ("executor before it tells", "executor", lambda: on_publish(Nth(ExecutionBatch, 25, has_fill), after=False)),
    ("executor after it tells", "executor", lambda: on_publish(Nth(ExecutionBatch, 25, has_fill), after=True)),
    ("risk on intents", "risk", lambda: on_handle("risk", Nth(IntentBatch, 30))),
    ("risk on a fill", "risk", lambda: on_handle("risk", Nth(ExecutionBatch, 6, has_fill))),
    ("risk after an approval", "risk", lambda: on_publish(Nth(ApprovedBatch, 30), after=True)),
    ("feed on a price", "feed", lambda: on_handle("feed", Nth(MarketSeen, 200))),
    ("feed after a bar", "feed", lambda: on_publish(Nth(BarClosed, 40), after=True)),
    ("funding on a rate", "funding", lambda: on_handle("funding", Nth(MarkPrice, 2))),
    ("watchdog on its look", "watchdog", lambda: on_handle("watchdog", Nth(Wake, 3))),
    ("journal on a bar", "journal", lambda: on_handle("journal", Nth(BarClosed, 40))),
]


CASES = [(*case, 0) for case in CRASHES] + [(*case, 16_000) for case in CRASHES[::3]]


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("name", "actor", "script", "latency_ms"), CASES, ids=[f"{name}, {latency} ms" for name, *_, latency in CASES]
)
async def test_crashed_actor_goes_on(
    name: str, actor: str, script: Callable[[], Script], latency_ms: int, tmp_path: Path
) -> None:
    """Wherever an actor fails: restarted once, no second order on a rung, every exit in place, the account agrees."""
    assert name
    tape = market(seed=2, count=110, funding=[(-300, 9_000), (20, 8_000)])
    one = await boot(settings(tmp_path, sim={"latency_ms": latency_ms}), tape, script())
    assert one.outcome.exit_code == 0, one.outcome.failure
    told = messages(one.path, ActorRestarted)
    assert [(word.actor, word.error) for word in told] == [(actor, "CrashError")]
    assert last_mode(one) == "active"
    assert_one_order_a_rung(one)
    assert_lots_keep_their_prices(one)
    assert_agrees(one)
    if latency_ms == 0:
        assert_exits_complete(one)
    rows = messages(one.path)
    restarted = rows.index(told[0])
    assert any(isinstance(row, ApprovedBatch) for row in rows[restarted:]), "it never traded again"


@pytest.mark.asyncio
async def test_fill_that_is_told_twice_is_booked_once(tmp_path: Path) -> None:
    """Exchanges repeat themselves: a fill that comes again changes neither the account nor a lot."""
    repeated: list[int] = []

    def wired(house: House) -> None:
        trading = simulation(house).trading
        say = trading.say

        def said(told: Sequence[Any]) -> None:
            say(told)
            for batch in told:
                fills = tuple(e for e in getattr(batch, "events", ()) if e.fill is not None)
                repeated.extend(e.fill.trade_id for e in fills)
                say([attrs.evolve(batch, events=fills)] if fills else [])

        trading.say = said  # type: ignore[method-assign, assignment]

    one = await boot(settings(tmp_path), market(seed=2, count=110), Script(wired=wired))
    assert len(repeated) > 20
    assert_agrees(one)
    assert_exits_complete(one)
    assert_lots_keep_their_prices(one)
