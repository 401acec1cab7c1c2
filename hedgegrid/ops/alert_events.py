"""What may be told to people who do not look: the catalogue of events, and which of them a message is.

Invariants: ``EVENTS`` is the whole list, and the settings accept no other name; a text is made of what the message says
and of nothing else, so it holds no secret; nothing here waits, sends or keeps time.
"""

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Final

import attrs

from hedgegrid.core.pause import Reason, is_control
from hedgegrid.messages.events import (
    EXPENSIVE_FUNDING,
    AccountHydrated,
    ActorRestarted,
    ExecutionBatch,
    FlatConfirmed,
    GridMoved,
    Incident,
    Liquidated,
    Message,
    OrderEventKind,
    PermissionChanged,
    RefusedBatch,
)
from hedgegrid.model.instrument import Instrument
from hedgegrid.model.order import Fill
from hedgegrid.ops.figure_words import written
from hedgegrid.ops.lifting import lifted_by

FIGURES_MAX: Final = 12
TEXT_MAX: Final = 1_000
"""Characters of an alert; services cut longer ones in ways of their own."""


class Severity(StrEnum):
    """How bad it is, in the words of the services."""

    INFO = "info"
    SUCCESS = "success"
    WARNING = "warning"
    FAILURE = "failure"


@attrs.frozen
class Event:
    """What an event means, how bad it is, and whether it is one that comes often."""

    meaning: str
    severity: Severity
    frequent: bool = False


EVENTS: Final[Mapping[str, Event]] = {
    "started": Event("the account has been read and its actors run", Severity.INFO),
    "stopped": Event("the run has ended; why", Severity.WARNING),
    "fill": Event("an order of ours filled", Severity.INFO, frequent=True),
    "recentered": Event("a grid has a new center", Severity.INFO, frequent=True),
    "refused": Event("the risk gate refused an order", Severity.WARNING, frequent=True),
    "paused": Event("a reason stands for which nothing is added", Severity.WARNING),
    "resumed": Event("the last such reason is gone", Severity.SUCCESS),
    "tripped": Event("a session control has tripped", Severity.FAILURE),
    "flat": Event("the exchange has shown that a flatten is done", Severity.SUCCESS),
    "unknown_order": Event("the outcome of an order is not known", Severity.WARNING),
    "funding_warning": Event("an expensive funding settlement is near", Severity.WARNING),
    "liquidation": Event("the exchange closed everything", Severity.FAILURE),
    "restart": Event("an actor failed and was restarted", Severity.WARNING),
    "incident": Event("anything else that a person should know", Severity.WARNING, frequent=True),
}
"""Every event by its name in the settings."""


_DONE: Final = {
    "pause": "nothing is added",
    "cancel_entries": "the entries go",
    "flatten": "the entries go, and everything is closed at the market",
}
"""What a control's action is, in words."""


@attrs.frozen
class Alert:
    """An event that happened: its name, and what to say of it."""

    event: str
    text: str


class AlertWords:
    """Makes alerts of what is published."""

    def __init__(self, instruments: Mapping[str, Instrument], actions: Mapping[str, str]) -> None:
        """``instruments`` are the rules by which prices read; ``actions`` what controls do, by their reasons."""
        self._instruments = instruments
        self._actions = actions
        self._generations: dict[str, int] = {}
        self._started = False

    def of(self, message: Message) -> Iterator[Alert]:
        """Give the alerts of a message: none, mostly."""
        match message:
            case ExecutionBatch():
                yield from self._orders(message)
            case GridMoved():
                yield from self._grid(message)
            case PermissionChanged():
                yield from _permission(message, self._actions)
            case RefusedBatch():
                for one in message.refused:
                    yield Alert("refused", f"{message.instrument}: {one.control}: limit {one.limit}, value {one.value}")
            case AccountHydrated() if not self._started:
                self._started = True
                yield Alert("started", f"wallet {message.balance.wallet_e8 / 1e8:.2f} quote")
            case _:
                yield from _words(message)

    def _orders(self, batch: ExecutionBatch) -> Iterator[Alert]:
        for event in batch.events:
            if event.fill is not None:
                yield Alert("fill", self._fill(event.fill))
            elif event.kind is OrderEventKind.UNKNOWN:
                yield Alert("unknown_order", f"{batch.instrument}: {event.client_id}: {event.detail}")

    def _fill(self, fill: Fill) -> str:
        rules = self._instruments[fill.instrument]
        what = fill.purpose.name.lower().replace("_", " ")
        text = f"{fill.instrument} {fill.leg.name} {what}: {rules.qty_text(fill.qty_lots)} at "
        text += f"{rules.tick * fill.price_ticks:f}"
        return f"{text}, realised {fill.realised_e8 / 1e8:+.2f}" if fill.realised_e8 else text

    def _grid(self, moved: GridMoved) -> Iterator[Alert]:
        before = self._generations.get(moved.instrument)
        self._generations[moved.instrument] = moved.generation
        if moved.generation != before:
            center = self._instruments[moved.instrument].tick * moved.center_ticks
            yield Alert("recentered", f"{moved.instrument}: center {center:f}")


def _permission(changed: PermissionChanged, actions: Mapping[str, str]) -> Iterator[Alert]:
    """Give the alert of a change of what may be done; ``actions`` are what controls do, by their reasons."""
    figures = _figures(changed.figures)
    where = f" of {changed.scope}" if changed.scope else ""
    if changed.change in ("raised", "still_latched"):
        event = "tripped" if is_control(Reason(changed.reason)) and changed.change == "raised" else "paused"
        words = " still stands since before this start" if changed.change == "still_latched" else ""
        does = f"; {_DONE[actions[changed.reason]]}" if changed.reason in actions else ""
        yield Alert(event, f"{changed.reason}{where}{words}{figures}{does}; {lifted_by(changed.reason)}")
    if changed.after == "active" and changed.before in ("reducing", "flattening", "halted"):
        yield Alert("resumed", "entries may be added again")


def _words(message: Message) -> Iterator[Alert]:
    """Give the alert of a message that is its own sentence."""
    match message:
        case Incident():
            event = "funding_warning" if message.text == EXPENSIVE_FUNDING else "incident"
            yield Alert(event, f"{message.text}{_figures(message.figures)}")
        case ActorRestarted():
            yield Alert("restart", f"{message.actor}: {message.error}, attempt {message.attempt}")
        case FlatConfirmed():
            legs = " and ".join(leg.name for leg in message.legs)
            beside = f"; not ours: {', '.join(message.foreign)}" if message.foreign else ""
            yield Alert("flat", f"FLAT: {legs}{beside}")
        case Liquidated():
            text = f"equity {message.equity_e8 / 1e8:.2f} under maintenance {message.maintenance_e8 / 1e8:.2f}"
            yield Alert("liquidation", text)
        case _:
            """Nothing that a person is woken for."""


def _figures(figures: Mapping[str, str]) -> str:
    return f" ({written(figures, FIGURES_MAX)})" if figures else ""
