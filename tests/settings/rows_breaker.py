"""Rows of [risk.circuit_breaker] and [risk.kill_switch]: an exchange that refuses, a person who wants an end."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs

from hedgegrid.journal import kill_file
from hedgegrid.messages.events import EndReason, OrderEvent, OrderEventKind
from hedgegrid.model.order import Leg, OrderRequest, Purpose
from tests.actors.house import Script, market
from tests.settings import markets
from tests.settings.rows_session import OUTCOME, outcome
from tests.settings.rows_sim import ONCE
from tests.settings.simulated import Played, Simulated
from tests.settings.table import Changes, row

REFUSED_LEVEL = 3


@attrs.define(eq=False)
class RefusingTrading:
    """The exchange's private side, which refuses the SHORT leg's outermost entry each time."""

    real: Any

    def __getattr__(self, name: str) -> Any:
        """Be the exchange in all else."""
        return getattr(self.real, name)

    async def place(
        self, instrument: str, requests: Sequence[OrderRequest], retires: Sequence[str]
    ) -> tuple[OrderEvent, ...]:
        """Refuse the one, and take the rest."""
        bad = [
            one for one in requests if (one.purpose, one.leg, one.level) == (Purpose.ENTRY, Leg.SHORT, REFUSED_LEVEL)
        ]
        good = [one for one in requests if one not in bad]
        refused = [
            OrderEvent(kind=OrderEventKind.REJECTED, client_id=one.client_id, reason=EndReason.REFUSED, detail="no")
            for one in bad
        ]
        taken: tuple[OrderEvent, ...] = await self.real.place(instrument, good, retires)
        told = {one.client_id: one for one in (*taken, *refused)}
        return tuple(told[one.client_id] for one in requests)


REFUSING = Simulated(
    name="one entry is refused each minute from the fourth on, and LONG is held from the sixth on",
    tape=lambda: market([*[markets.STILL] * 5, markets.dip(9_970), *[markets.STILL] * 10]),
    changes={
        "risk.circuit_breaker.max_errors": 4,
        "risk.circuit_breaker.window_s": 300,
        "risk.circuit_breaker.cooldown_s": 10_000,
        "risk.circuit_breaker.action": "cancel_entries",
    },
    script=lambda: Script(trading=RefusingTrading),
)


@attrs.frozen(kw_only=True)
class Thrown:
    """A person throws the kill switch of an account that does not run."""

    name: str = "the kill file is placed"
    together: str = ""

    async def play(self, _changes: Changes, folder: Path) -> None:
        """Place the file."""
        kill_file.place(folder / "house.db")


KILLED = Simulated(
    name="the kill switch is thrown between two lives", tape=ONCE.tape, changes=ONCE.changes, before=(ONCE, Thrown())
)


def killed(played: Played) -> tuple[bool, int, int]:
    """Whether the reason stands, and what is there in the end: entries, lots of LONG."""
    _, entries, held = outcome(played)
    return bool(played.told("kill")), entries, held


def quiet_minutes(played: Played) -> int:
    """How long it stands, the first time."""
    first = {one.change: one.ts_recv_ns for one in reversed(played.told("circuit_breaker"))}
    return (first["cleared"] - first["raised"]) // (60 * 10**9)


KILL = "whether the reason stands, the entries, and the lots of LONG in the end"
CALM: object = ([], 4, 10)
TRIPPED: object = (["circuit_breaker"], 0, 10)

ROWS = (
    row("risk.circuit_breaker.enabled", REFUSING, outcome, OUTCOME, (False, CALM), (True, TRIPPED)),
    row("risk.circuit_breaker.max_errors", REFUSING, outcome, OUTCOME, (100, CALM), (4, TRIPPED)),
    row("risk.circuit_breaker.window_s", REFUSING, outcome, OUTCOME, (120, CALM), (300, TRIPPED)),
    row("risk.circuit_breaker.cooldown_s", REFUSING, quiet_minutes, "the minutes that it stands", (120, 2), (240, 4)),
    row(
        "risk.circuit_breaker.action",
        REFUSING,
        outcome,
        OUTCOME,
        ("pause", (["circuit_breaker"], 4, 10)),
        ("cancel_entries", TRIPPED),
        ("flatten", (["circuit_breaker"], 0, 0)),
    ),
    row("risk.kill_switch.enabled", KILLED, killed, KILL, (False, (False, 5, 10)), (True, (True, 0, 0))),
    row(
        "risk.kill_switch.action",
        KILLED,
        killed,
        KILL,
        ("cancel_entries", (True, 0, 10)),
        ("flatten", (True, 0, 0)),
    ),
)
