"""What a tick and a lot were worth when a row was written: exchanges change them, so every boot notes them."""

import sqlite3
from bisect import bisect_left
from decimal import Decimal

import attrs

from hedgegrid.errors import Fatal


@attrs.frozen(kw_only=True)
class Rule:
    """An instrument's tick and lot, and one tick on one lot in quote x 1e8."""

    tick: Decimal
    lot: Decimal
    unit_e8: int


class RulesAt:
    """The rules of all instruments at each place of the tape."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Read what the boots noted."""
        self._first: dict[str, list[int]] = {}
        self._rules: dict[str, list[Rule]] = {}
        noted = connection.execute(
            "SELECT instrument, rows_before, tick, lot, unit_e8"
            " FROM instruments JOIN boots USING (epoch) ORDER BY epoch"
        )
        for instrument, rows_before, tick, lot, unit_e8 in noted:
            rule = Rule(tick=Decimal(tick), lot=Decimal(lot), unit_e8=unit_e8)
            self._first.setdefault(instrument, []).append(rows_before)
            self._rules.setdefault(instrument, []).append(rule)

    def at(self, instrument: str, row: int) -> Rule:
        """Give the rules that a tape row was written under. Fatal where no boot before it knew the instrument."""
        place = bisect_left(self._first.get(instrument, []), row)
        if place == 0:
            raise Fatal(f"the journal has no rules of {instrument} at row {row}: verify it")
        return self._rules[instrument][place - 1]
