"""What a run leaves at the exchange: our entries go, instrument by instrument, and what is said is what is there.

Invariant: positions, stops and entries are counted at the exchange's own account.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import attrs
import pytest

from hedgegrid import leaving
from hedgegrid.app import House
from hedgegrid.errors import Fatal, Transient
from hedgegrid.leaving import FAILED, cancel_entries, tell_what_is_left
from hedgegrid.messages.events import BarClosed, Incident
from hedgegrid.model.order import Leg, OpenOrder, Purpose
from hedgegrid.runtime.actor import Actor
from hedgegrid.venues.simulated.venue import SimulatedTrading
from tests.actors.house import BTC, Boot, Script, boot, entries_at, market, query, settings
from tests.actors.test_session_instruments import ETH, two_markets
from tests.core.made import walk


def failing(at_bar: int) -> Script:
    """A life whose strategy fails at a bar in a way that no restart mends."""
    bars = [0]

    def hook(_: House, actor: Actor[Any], message: Any) -> None:
        if isinstance(message, BarClosed) and actor.name.startswith("strategy"):
            bars[0] += 1
            if bars[0] == at_bar:
                raise Fatal("the planted end")

    return Script(before_handle=hook)


def held(one: Boot, leg: Leg) -> str:
    """What the exchange holds of a leg, as the words begin."""
    book = one.exchange.books[0]
    return f"{BTC} {leg.name.lower()} {book.instrument.qty_text(book.accounts[leg].qty_lots)} @ "


@pytest.mark.asyncio
@pytest.mark.parametrize("at_bar", [3, 40, 60])
async def test_what_is_told_is_what_the_exchange_holds(tmp_path: Path, at_bar: int) -> None:
    """Each leg that holds something is named with its stops, the entries are counted, and the journal has it all."""
    one = await boot(settings(tmp_path), market(seed=1, count=120), failing(at_bar))
    assert one.outcome.failure == "the planted end"
    left = one.outcome.extras.left
    book = one.exchange.books[0]
    for leg in Leg:
        assert (held(one, leg) in left) == (book.accounts[leg].qty_lots > 0), left
    flat = not any(book.accounts[leg].qty_lots for leg in Leg)
    assert ("positions none" in left) == flat
    resting = len(entries_at(one.exchange))
    assert left.endswith(f"entries {resting} rest and may fill" if resting else "entries none")
    assert (at_bar > 3) == (resting > 0)
    assert "WITHOUT A STOP" not in left
    ((words, figures),) = query(one.path, "SELECT text, figures FROM incidents WHERE actor = 'run'")
    assert words == FAILED
    assert "the planted end" in figures
    assert one.house.view.incidents == 1


# --- taking away ----------------------------------------------------------------------------------------------------


async def two_houses(tmp_path: Path) -> Boot:
    """A run that has ended and kept its entries, of two instruments."""
    config, tape = two_markets(tmp_path, [walk(2, 60), walk(3, 60)], {})
    return await boot(config, tape)


def ours(one: Boot) -> dict[str, list[str]]:
    """Our entries at the exchange, by instrument."""
    found = {
        book.instrument.name: [
            order.client_id for order in book.open_orders(conditional=False) if order.purpose is Purpose.ENTRY
        ]
        for book in one.exchange.books
    }
    assert found.keys() == {BTC, ETH}
    assert all(found.values()), "both have entries"
    return found


def hear_cancels(monkeypatch: pytest.MonkeyPatch, refused: str = "") -> dict[str, list[str]]:
    """Keep what the exchange is asked to cancel, once an instrument; it refuses those of one."""
    asked: dict[str, list[str]] = {}

    async def heard(_: SimulatedTrading, instrument: str, client_ids: Sequence[str]) -> None:
        assert instrument not in asked, "once"
        asked[instrument] = list(client_ids)
        if instrument == refused:
            raise Transient("busy")

    monkeypatch.setattr(SimulatedTrading, "cancel", heard)
    return asked


def say_nothing(monkeypatch: pytest.MonkeyPatch, *, hangs: bool) -> None:
    """Have the exchange not say what rests."""

    async def unheard(_: SimulatedTrading) -> tuple[OpenOrder, ...]:
        if hangs:
            await asyncio.Event().wait()
        raise Transient("no weight is left for reads")

    monkeypatch.setattr(leaving, "READ_S", 0.01)
    monkeypatch.setattr(SimulatedTrading, "open_orders", unheard)


@pytest.mark.asyncio
async def test_each_instrument_s_entries_are_cancelled_as_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also behind one that is refused; exits and what others have resting there stay."""
    one = await two_houses(tmp_path)
    resting = await one.house.world.trading.open_orders()
    entry = next(order for order in resting if order.purpose is Purpose.ENTRY)
    strange = attrs.evolve(entry, client_id=entry.client_id.replace("house.", "other."))

    async def shown(_: SimulatedTrading) -> tuple[OpenOrder, ...]:
        return (*resting, strange, attrs.evolve(entry, client_id="by hand"))

    monkeypatch.setattr(SimulatedTrading, "open_orders", shown)
    asked = hear_cancels(monkeypatch, refused=BTC)
    await cancel_entries(one.house)
    assert strange.client_id != entry.client_id
    assert any(order.purpose is not Purpose.ENTRY for order in resting), "an exit rests too"
    assert {name: sorted(each) for name, each in asked.items()} == {n: sorted(e) for n, e in ours(one).items()}


@pytest.mark.asyncio
@pytest.mark.parametrize("hangs", [True, False])
async def test_an_exchange_that_does_not_say_what_rests_is_asked_for_what_the_books_know(
    hangs: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By instrument, and in bounded time: what is known to rest is not left over a read."""
    one = await two_houses(tmp_path)
    say_nothing(monkeypatch, hangs=hangs)
    asked = hear_cancels(monkeypatch)
    await cancel_entries(one.house)
    assert {name: sorted(each) for name, each in asked.items()} == {n: sorted(e) for n, e in ours(one).items()}


@pytest.mark.asyncio
async def test_an_instrument_without_entries_is_not_asked_for_any(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty request would be refused, and take the place of one that matters."""
    one = await two_houses(tmp_path)
    resting = await one.house.world.trading.open_orders()

    async def shown(_: SimulatedTrading) -> tuple[OpenOrder, ...]:
        return tuple(order for order in resting if order.instrument == ETH)

    monkeypatch.setattr(SimulatedTrading, "open_orders", shown)
    asked = hear_cancels(monkeypatch)
    await cancel_entries(one.house)
    assert asked.keys() == {ETH}


# --- telling --------------------------------------------------------------------------------------------------------


@pytest.mark.asyncio
@pytest.mark.parametrize("hangs", [True, False])
async def test_what_the_exchange_does_not_tell_is_told_by_the_books_and_says_so(
    hangs: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The entries of all instruments, as many as rest; a leg of which nobody knows is not said to be none."""
    one = await two_houses(tmp_path)
    say_nothing(monkeypatch, hangs=hangs)
    one.house.view.instruments[ETH].legs[Leg.SHORT].put(None, None, 0)
    monkeypatch.setattr(one.house.post, "publish", lambda *_: None)
    told = await tell_what_is_left(one.house, "the planted end")
    count = sum(map(len, ours(one).values()))
    assert told.endswith(f"entries {count} by the books, NOT taken away: the exchange could not be asked")
    assert f"{ETH} short not known" in told


@pytest.mark.asyncio
async def test_a_journal_that_has_failed_keeps_nobody_from_being_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The status and the alerts hear what cannot be written any more."""
    one = await boot(settings(tmp_path), market(seed=1, count=40))
    heard: list[Any] = []

    def failed(*_: object) -> None:
        raise Fatal("the disk is full")

    monkeypatch.setattr(one.house.post, "publish", failed)
    monkeypatch.setattr(one.house, "alerts", SimpleNamespace(observe=heard.append))
    before = one.house.view.incidents
    left = await tell_what_is_left(one.house, "the disk is full")
    (word,) = heard
    assert isinstance(word, Incident)
    assert (word.text, dict(word.figures)["why"]) == (FAILED, "the disk is full")
    assert dict(word.figures)["entries"] in left
    assert one.house.view.incidents == before + 1
