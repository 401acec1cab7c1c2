"""The exchange's rules of the instruments, read again where it refuses an order for one of them.

Invariants: at most one reading in ``AGAIN_NS``, whatever is refused; what was read takes effect whole, for every later
request; tick and lot never change here, for every figure of the bot counts in them: an instrument whose tick or lot the
exchange has changed takes no entries any more until the bot is started anew, and what reduces is sent as before.
"""

import asyncio
from typing import Final

import attrs

from hedgegrid.errors import HedgegridError
from hedgegrid.runtime.clock import Clock
from hedgegrid.units import NS_PER_S
from hedgegrid.venues.ccxtpro.error_codes import FILTERS
from hedgegrid.venues.ccxtpro.parse_rules import ExchangeRules, ListedInstrument, exchange_rules
from hedgegrid.venues.ccxtpro.reads import read
from hedgegrid.venues.ccxtpro.traded import Traded

AGAIN_NS: Final = 5 * NS_PER_S
WAIT_S: Final = 0.5
"""How long an answer waits for the rules, so that whoever hears it is asked for the next order by the new ones."""


class RulesWatch:
    """Keeps ``Traded.listed`` what the exchange lists."""

    def __init__(self, traded: Traded, clock: Clock) -> None:
        """Take the rules that ``traded`` has as the exchange's until an order is refused for one."""
        self._traded = traded
        self._clock = clock
        self._not_before_ns = 0
        self._reading: asyncio.Task[None] | None = None
        self._other_units: dict[str, str] = {}

    def doubt(self, code: int | None) -> None:
        """Take note of the code of a refusal; one for a rule has them read, unless they were just now."""
        now_ns = self._clock.now_ns()
        if code not in FILTERS or now_ns < self._not_before_ns or self._is_reading:
            return
        self._not_before_ns = now_ns + AGAIN_NS
        self._reading = asyncio.create_task(self._read(), name="instruments' rules")

    async def settled(self) -> None:
        """Return once no reading is under way, or after ``WAIT_S``: the reading goes on then."""
        if self._reading is not None and self._is_reading:
            await asyncio.wait((self._reading,), timeout=WAIT_S)

    def no_entries(self, instrument: str) -> str:
        """Say why an instrument takes no entries; empty where it does."""
        return self._other_units.get(instrument, "")

    async def stop(self) -> None:
        """End a reading that is under way."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)

    @property
    def _is_reading(self) -> bool:
        return self._reading is not None and not self._reading.done()

    async def _read(self) -> None:
        traded = self._traded
        wanted = {one.symbol: name for name, one in traded.listed.items()}
        tiers = {one.symbol: one.instrument.tiers for one in traded.listed.values()}
        intervals = {one.symbol: one.instrument.funding_interval_ns for one in traded.listed.values()}

        def parse(answer: object) -> ExchangeRules:
            return exchange_rules(answer, wanted, tiers=tiers, intervals=intervals)

        try:
            rules = await read(traded.session, "fapiPublicGetExchangeInfo", {}, parse, weight=1)
        except HedgegridError as error:
            traded.report("the instruments' rules could not be read again", {"why": str(error)})
            return
        for symbol, why in rules.refused.items():
            self._other_rules(wanted[symbol], f"its rules cannot be followed any more: {why}")
        for symbol, listed in rules.listed.items():
            self._take(wanted[symbol], listed)

    def _take(self, name: str, listed: ListedInstrument) -> None:
        """Take an instrument's rules, and tell what has changed of them."""
        before = self._traded.listed[name]
        if (listed.instrument.tick, listed.instrument.lot) != (before.instrument.tick, before.instrument.lot):
            units = f"tick {before.instrument.tick:f} -> {listed.instrument.tick:f}"
            units += f", lot {before.instrument.lot:f} -> {listed.instrument.lot:f}"
            self._other_rules(name, f"the exchange counts it otherwise: {units}")
            return
        if self._other_units.pop(name, None) is not None:
            self._traded.report("the instrument takes entries again", {"instrument": name})
        if listed != before:
            self._traded.listed[name] = listed
            self._traded.report(
                "the exchange changed an instrument's rules", {"instrument": name, **_news(before, listed)}
            )

    def _other_rules(self, name: str, why: str) -> None:
        if self._other_units.get(name) != why:
            self._other_units[name] = why
            figures = {"instrument": name, "why": why, "remedy": "stop, close what is open, start anew"}
            self._traded.report("the instrument takes no entries any more", figures)


def _news(before: ListedInstrument, after: ListedInstrument) -> dict[str, str]:
    """Name the rules that differ, old and new."""
    old, new = _flat(before), _flat(after)
    return {name: f"{old[name]} -> {new[name]}" for name in new if old[name] != new[name]}


def _flat(listed: ListedInstrument) -> dict[str, object]:
    plain = attrs.asdict(listed, recurse=False)
    return {**plain, **attrs.asdict(plain.pop("instrument"), recurse=False)}
