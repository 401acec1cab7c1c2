"""Scenes in the process: a whole bot on a made market in virtual time, seen from the exchange and from the journal.

Invariants: one life is a real one, as a command lives it; it stops without touching anything (``on_stop = "keep"``), so
that what rests at its end is what trading left there.
"""

from collections.abc import Callable, Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import attrs
import pytest

from hedgegrid.app import House
from hedgegrid.config.schema import AccountConfig
from hedgegrid.config.structure import structure
from hedgegrid.errors import Fatal
from hedgegrid.messages.events import BarClosed, Incident, OrderEvent, PermissionChanged, RefusedBatch
from hedgegrid.model.market import Step, Tape
from hedgegrid.model.order import Fill, Leg, OpenOrder, OrderRequest, Purpose
from hedgegrid.venues.simulated.exchange import Exchange
from hedgegrid.venues.simulated.opening import open_simulation
from hedgegrid.worlds import simulated
from tests.actors.house import Boot, Script, boot, changes, document, messages, simulation
from tests.settings.table import Changes, Scene, placed, put

LONG, SHORT = Leg.LONG, Leg.SHORT


@attrs.frozen
class Asked:
    """An order as it reached the exchange."""

    ts_ns: int
    order: OrderRequest


@attrs.frozen
class Look:
    """What stood at the exchange at one step of the market, before that step's decisions."""

    ts_ns: int
    orders: tuple[OpenOrder, ...]
    held: dict[Leg, int]

    def entries(self, leg: Leg) -> list[OpenOrder]:
        """The entries of a leg that rest, nearest first."""
        mine = [one for one in self.orders if one.leg is leg and one.purpose is Purpose.ENTRY]
        return sorted(mine, key=lambda one: one.level)


@attrs.define(eq=False, kw_only=True)
class Played:
    """What there is to see of a life in the process; ``refused`` says why there was none.

    ``seen`` is what the scene itself noted on the way.
    """

    folder: Path
    boot: Boot | None = None
    refused: str = ""
    seen: Any = None
    asked: list[Asked] = attrs.field(factory=list)
    looks: list[Look] = attrs.field(factory=list)

    @property
    def one(self) -> Boot:
        """The life. AssertionError where the start was refused."""
        assert self.boot is not None, self.refused
        return self.boot

    @property
    def exchange(self) -> Exchange:
        """The exchange's account as the life left it."""
        return self.one.exchange

    @cached_property
    def fills(self) -> list[Fill]:
        """The exchange's fills."""
        return list(self.exchange.fills)

    def orders(self, leg: Leg, purpose: Purpose = Purpose.ENTRY) -> list[OrderRequest]:
        """What the exchange was asked for, in order."""
        return [one.order for one in self.asked if one.order.leg is leg and one.order.purpose is purpose]

    def prices(self, leg: Leg, purpose: Purpose = Purpose.ENTRY) -> list[int]:
        """Their prices in ticks."""
        return [one.price_ticks for one in self.orders(leg, purpose)]

    def lots(self, leg: Leg) -> list[int]:
        """The quantities of a leg's entries, in lots."""
        return [one.qty_lots for one in self.orders(leg)]

    def resting(self, leg: Leg, purpose: Purpose) -> list[int]:
        """The prices of what rests at the end, in ticks, ascending; a backstop closes all that there is."""
        (book,) = self.exchange.books
        every = [one for conditional in (False, True) for one in book.open_orders(conditional=conditional)]
        return sorted(one.price_ticks for one in every if one.leg is leg and one.purpose is purpose)

    def refusals(self) -> list[str]:
        """The controls of the gate that refused something, each once, in order."""
        batches: list[RefusedBatch] = messages(self.one.path, RefusedBatch)
        return list(dict.fromkeys(one.control for batch in batches for one in batch.refused))

    def raised(self) -> list[str]:
        """The reasons for which trading paused, in order."""
        return [reason for change, reason, _ in changes(self.one.path) if change == "raised"]

    def told(self, reason: str) -> list[PermissionChanged]:
        """What the journal says of a reason."""
        every: list[PermissionChanged] = messages(self.one.path, PermissionChanged)
        return [one for one in every if one.reason == reason]

    def incidents(self, words: str) -> int:
        """How many incidents the journal has in these words."""
        return sum(words in one.text for one in messages(self.one.path, Incident))

    def bars(self) -> list[BarClosed]:
        """The bars on which decisions were taken."""
        bars: list[BarClosed] = messages(self.one.path, BarClosed)
        return bars


def configured(folder: Path, own: Changes, wanted: Changes) -> tuple[AccountConfig | None, str]:
    """Settings of the small account with a scene's own changes and a row's over them, or why they are refused."""
    made = document(folder)
    for path, value in {**_USUAL, **own, **wanted}.items():
        put(made, path, placed(value, {"folder": str(folder)}))
    config, problems = structure(made)
    return config, "; ".join(f"{each.path}: {each.message}" for each in problems)


_USUAL: Changes = {"account.on_stop": "keep"}


@attrs.frozen(kw_only=True)
class Simulated:
    """A life on a made market, or on the one that the settings ask for where ``tape`` is None.

    ``changes`` are the scene's own settings; ``options`` are those of ``RunOptions``; ``before`` are lives
    that are lived before, in the same folder, and not looked at; ``script`` makes what happens to the house.
    """

    name: str
    tape: Callable[[], Tape] | None = None
    changes: Changes = attrs.field(factory=dict)
    options: Mapping[str, Any] = attrs.field(factory=dict)
    before: tuple[Scene[Any], ...] = ()
    script: Callable[[], Script] = Script
    linked: bool = True
    together: str = ""

    async def play(self, changes: Changes, folder: Path) -> Played:
        """Live it."""
        for earlier in self.before:
            await earlier.play({**changes, **EARLIER}, folder)
        played = Played(folder=folder)
        config, played.refused = configured(folder, self.changes, changes)
        if config is None:
            return played
        tape = None if self.tape is None else self.tape()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(simulated, "open_simulation", partial(open_simulation, linked_exits=self.linked))
            try:
                played.boot = await boot(config, tape, watched(self.script(), played), **self.options)
            except Fatal as error:
                played.refused = str(error)
        return played


EARLIER: Changes = {"account.on_start": "resume", "account.on_stop": "keep"}
"""A life that is lived before the one that is looked at leaves everything as it is."""


def watched(script: Script, played: Played) -> Script:
    """Have a script's house note what reaches the exchange, and what stands there at every step."""
    first = script.wired

    def wired(house: House) -> None:
        if first is not None:
            first(house)
        venue = simulation(house)
        place, show = venue.exchange.place, venue.market.show_points

        def placed(request: OrderRequest, now_ns: int) -> OrderEvent:
            played.asked.append(Asked(now_ns, request))
            return place(request, now_ns)

        def shown(step: Step) -> None:
            played.looks.append(look(venue.exchange, step.ts_ns))
            show(step)

        venue.exchange.place = placed  # type: ignore[method-assign]
        venue.market.show_points = shown  # type: ignore[method-assign]

    script.wired = wired
    return script


def look(exchange: Exchange, ts_ns: int) -> Look:
    """Look at an exchange of one instrument."""
    book = exchange.books[0]
    orders = tuple(one for conditional in (False, True) for one in book.open_orders(conditional=conditional))
    return Look(ts_ns, orders, {leg: book.accounts[leg].qty_lots for leg in Leg})
