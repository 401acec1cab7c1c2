"""A run that failed tells what it leaves at the exchange: what is said is what the exchange holds.

Invariant: positions, stops and entries are counted at the exchange's own account.
"""

from pathlib import Path
from typing import Any

import pytest

from hedgegrid.app import House
from hedgegrid.errors import Fatal
from hedgegrid.leaving import FAILED
from hedgegrid.messages.events import BarClosed
from hedgegrid.model.order import Leg
from hedgegrid.runtime.actor import Actor
from tests.actors.house import BTC, Boot, Script, boot, entries_at, market, query, settings


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
