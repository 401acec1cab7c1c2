"""Looks at the stand-in's account every few milliseconds, so that what lasted for a moment only is seen too."""

import asyncio
import time
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

import attrs

from tools.rehearsal.accounts import doubled_rungs, unprotected
from tools.standin.serving import Standin

LOOK_S: Final = 0.02
_LEGS: Final = ("LONG", "SHORT")
_OPENS: Final = (("LONG", "BUY"), ("SHORT", "SELL"))


@attrs.define(kw_only=True)
class Stretch:
    """A time during which something was wrong; ``end_s`` None: it still is."""

    what: str
    begin_s: float
    end_s: float | None = None

    def lasted_s(self, not_before_s: float) -> float:
        """Give how long it lasted, counted from when it could be mended."""
        end_s = time.monotonic() if self.end_s is None else self.end_s
        return end_s - max(self.begin_s, not_before_s)


class Watch:
    """What was wrong at the stand-in, and for how long."""

    def __init__(self, standin: Standin) -> None:
        """Begin to look."""
        self.doubled: list[str] = []
        self.foreign_lots: dict[str, int] = {}
        """By leg: what others hold in it."""
        self._exchange = standin.exchange
        self._spec = standin.exchange.specs[standin.exchange.symbols[0]]
        self._possible_s = 0.0
        self._bare: list[Stretch] = []
        self._beyond: list[Stretch] = []
        self._task = asyncio.create_task(self._look(), name="watch")

    async def stop(self) -> None:
        """Look no more."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def without_foreign(self, account: dict[str, Any]) -> dict[str, Any]:
        """Give the account without what others hold in its legs."""
        rows = []
        for row in account["positions"]:
            theirs = Decimal(self._spec.qty_text(self.foreign_lots.get(row["positionSide"], 0)))
            rows.append({**row, "positionAmt": str(abs(Decimal(row["positionAmt"])) - theirs)})
        return {**account, "positions": rows}

    @staticmethod
    async def rest(seconds: float) -> None:
        """Look on for a while, so that what comes late is seen."""
        await asyncio.sleep(seconds)

    def possible(self) -> None:
        """From now on nothing keeps the bot from putting right what is wrong: before, it could not."""
        self._possible_s = time.monotonic()

    def bare(self, bound_s: float) -> list[str]:
        """Give the legs that stood without their stops for longer than ``bound_s``."""
        return self._longer(self._bare, bound_s)

    def beyond(self, bound_s: float) -> list[str]:
        """Give the legs whose take-profits or stops were more than their position for longer than ``bound_s``."""
        return self._longer(self._beyond, bound_s)

    @staticmethod
    def is_entry(row: Mapping[str, Any]) -> bool:
        """Tell whether an open order makes a leg grow."""
        return (row["positionSide"], row["side"]) in _OPENS

    @classmethod
    def profits_match(cls, account: Mapping[str, Any]) -> bool:
        """Tell whether what is held of each leg is what its take-profits would close."""
        held = {row["positionSide"]: abs(Decimal(row["positionAmt"])) for row in account["positions"]}
        return all(cls._profits(account, leg) == held.get(leg, Decimal(0)) for leg in _LEGS)

    def _longer(self, stretches: list[Stretch], bound_s: float) -> list[str]:
        lasted = [(one.lasted_s(self._possible_s), one.what) for one in stretches]
        return [f"{what}: {seconds:.2f} s" for seconds, what in lasted if seconds > bound_s]

    async def _look(self) -> None:
        while True:
            account = self.without_foreign(self._exchange.summary())
            self.doubled += [one for one in doubled_rungs(account) if one not in self.doubled]
            _note(self._bare, unprotected(account))
            _note(self._beyond, self._excess(account))
            await asyncio.sleep(LOOK_S)

    @classmethod
    def _excess(cls, account: Mapping[str, Any]) -> list[str]:
        held = {row["positionSide"]: abs(Decimal(row["positionAmt"])) for row in account["positions"]}
        found = []
        for leg in _LEGS:
            stops = sum(
                (Decimal(row["quantity"]) for row in account["algoOrders"] if row["positionSide"] == leg), Decimal(0)
            )
            for what, total in (("take-profits", cls._profits(account, leg)), ("stops", stops)):
                if total > held.get(leg, Decimal(0)):
                    found.append(f"{leg}: {what} beyond the position")
        return found

    @classmethod
    def _profits(cls, account: Mapping[str, Any], leg: str) -> Decimal:
        """Give what the resting reducing orders of a leg would close."""
        mine = [row for row in account["orders"] if row["positionSide"] == leg and not cls.is_entry(row)]
        return sum((Decimal(row["origQty"]) - Decimal(row["executedQty"]) for row in mine), Decimal(0))


def _note(stretches: list[Stretch], wrong: list[str]) -> None:
    """Begin a stretch for what is newly wrong (by its first two words), and end those that are over."""
    now_s = time.monotonic()
    standing = {" ".join(one.split()[:3]).partition(" holds")[0]: one for one in wrong}
    open_ones = {one.what: one for one in stretches if one.end_s is None}
    for what, one in open_ones.items():
        if what not in standing:
            one.end_s = now_s
    stretches += [Stretch(what=what, begin_s=now_s) for what in standing if what not in open_ones]
