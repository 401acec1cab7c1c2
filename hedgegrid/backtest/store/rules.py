"""Instruments' rules by date: what the exchange demanded, charged and allowed, and who said so.

Invariants: every field carries the source that told it and is absent where nobody did; a question about a time is
answered field by field from the newest file at or before that time, else from the oldest after it, and the answer says
when it had to reach forward. Files are written whole.
"""

import json
import os
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Final

import attrs

from hedgegrid.backtest.store.parquet_files import PART_PREFIX
from hedgegrid.backtest.store.series import instrument_folder
from hedgegrid.errors import Fatal
from hedgegrid.model.instrument import Instrument, Tier
from hedgegrid.units import NS_PER_HOUR, NS_PER_S, cash_e8, lots_ceiling, lots_floor, ppm_from_ratio

SCHEMA_VERSION: Final = 1
FIELDS: Final = (
    "tick",
    "lot",
    "min_qty",
    "max_qty",
    "min_notional",
    "liquidation_fee",
    "funding_interval_hours",
    "maker_fee",
    "taker_fee",
    "tiers",
)
"""Ratios are plain (0.0125 is 1.25 %); ``tiers`` is a list of [max_notional, maintenance_ratio], ascending."""

NEEDED: Final = ("tick", "lot", "tiers", "liquidation_fee", "funding_interval_hours")
"""What an ``Instrument`` cannot be made without."""

Value = str | list[list[str]]


@attrs.frozen(kw_only=True)
class Told:
    """One field's value, as decimal text, and who told it."""

    value: Value
    source: str


@attrs.frozen(kw_only=True)
class DatedRules:
    """An instrument's rules. ``date`` is their day (UTC); ``notes`` say what is not known, or is of another day."""

    instrument: str
    date: str
    fields: Mapping[str, Told]
    notes: tuple[str, ...] = ()

    def decimal(self, field: str) -> Decimal | None:
        """Give a field's figure, None where nobody told it."""
        told = self.fields.get(field)
        return None if told is None or not isinstance(told.value, str) else Decimal(told.value)

    def tiers(self) -> tuple[Tier, ...]:
        """Give the margin tiers, none where nobody told them."""
        told = self.fields.get("tiers")
        rows = told.value if told is not None and isinstance(told.value, list) else []
        return tuple(
            Tier(max_notional_e8=cash_e8(Decimal(most)), maintenance_ppm=ppm_from_ratio(Decimal(ratio)))
            for most, ratio in rows
        )

    def to_instrument(self) -> Instrument:
        """Give the rules as the core reads them. Fatal where a needed field is not known."""
        missing = [field for field in NEEDED if field not in self.fields]
        if missing:
            raise Fatal(
                f"{self.instrument}: the stored rules do not know {', '.join(missing)}; import them with "
                "`hedgegrid data rules --exchange-info FILE --brackets FILE`"
            )
        tick, lot = self._figure("tick"), self._figure("lot")
        try:
            return Instrument(
                name=self.instrument,
                tick=tick,
                lot=lot,
                min_qty_lots=max(1, lots_ceiling(self.decimal("min_qty") or lot, lot)),
                max_qty_lots=lots_floor(self.decimal("max_qty") or lot * 10**12, lot),
                min_notional_e8=cash_e8(self.decimal("min_notional") or Decimal(0)),
                tiers=self.tiers(),
                liquidation_fee_ppm=ppm_from_ratio(self._figure("liquidation_fee")),
                funding_interval_ns=int(self._figure("funding_interval_hours") * NS_PER_HOUR),
            )
        except ValueError as error:
            raise Fatal(f"{self.instrument}: the stored rules of {self.date} cannot be counted: {error}") from error

    def _figure(self, field: str) -> Decimal:
        figure = self.decimal(field)
        assert figure is not None, f"{field} was asked for before it was known"
        return figure


class RulesBook:
    """The rules of all instruments of a store."""

    def __init__(self, root: Path) -> None:
        """Read and write below a store's folder."""
        self._root = root

    def all(self, instrument: str) -> list[DatedRules]:
        """List the rules of an instrument, oldest first. Fatal for a file that is none."""
        return [self._read(path, instrument) for path in sorted(self._folder(instrument).glob("[0-9]*.json"))]

    def at(self, instrument: str, ts_ns: int) -> DatedRules:
        """Give the rules in force at a time. Fatal where none are stored."""
        every = self.all(instrument)
        if not every:
            raise Fatal(
                f"{self._root}: no rules of {instrument} are stored; import them with "
                f"`hedgegrid data rules --store {self._root} --exchange-info FILE --brackets FILE`"
            )
        day = day_of(ts_ns)
        asked = [rules for rules in every if rules.date <= day][::-1] + [rules for rules in every if rules.date > day]
        fields: dict[str, Told] = {}
        days: dict[str, list[str]] = {}
        for field in FIELDS:
            holder = next((rules for rules in asked if field in rules.fields), None)
            if holder is not None:
                fields[field] = holder.fields[field]
                days.setdefault(holder.date, []).append(field)
        notes = [note for note in asked[0].notes if not _settled(note, fields)]
        for other, names in sorted(days.items()):
            if other > day:
                notes.append(f"{', '.join(names)}: of {other}, after {day}: older rules are not stored")
            elif other != asked[0].date:
                notes.append(f"{', '.join(names)}: of {other}")
        return DatedRules(instrument=instrument, date=asked[0].date, fields=fields, notes=tuple(notes))

    def save(self, rules: DatedRules) -> Path:
        """Write the rules of a day; fields of that day that are stored already and not told now stay.

        Fatal where the disk refuses.
        """
        path = self._folder(rules.instrument) / f"{rules.date}.json"
        there = self._read(path, rules.instrument) if path.exists() else None
        fields = {**(there.fields if there else {}), **rules.fields}
        notes = dict.fromkeys((*(there.notes if there else ()), *rules.notes))
        content = {
            "schema": SCHEMA_VERSION,
            "instrument": rules.instrument,
            "date": rules.date,
            "fields": {name: attrs.asdict(fields[name]) for name in FIELDS if name in fields},
            "notes": [note for note in notes if not _settled(note, fields)],
        }
        part = path.with_name(f"{PART_PREFIX}{path.name}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with part.open("w", encoding="utf-8") as file:
                json.dump(content, file, indent=2)
                file.write("\n")
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise Fatal(f"{path}: it cannot be written ({error.strerror or error})") from error
        return path

    def _folder(self, instrument: str) -> Path:
        return self._root / instrument_folder(instrument) / "rules"

    def _read(self, path: Path, instrument: str) -> DatedRules:
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            about = (content["schema"], content["instrument"])
            assert about == (SCHEMA_VERSION, instrument), f"it is of schema {about[0]} and about {about[1]}"
            rules = DatedRules(
                instrument=instrument,
                date=date.fromisoformat(content["date"]).isoformat(),
                fields={name: Told(**told) for name, told in content["fields"].items()},
                notes=tuple(content["notes"]),
            )
            for name in rules.fields:
                rules.decimal(name)
            rules.tiers()
        except (OSError, AssertionError, ValueError, KeyError, TypeError, AttributeError, InvalidOperation) as error:
            raise Fatal(f"{path}: the rules cannot be read ({error}); remove the file and import them again") from error
        return rules


def unknown(field: str, why: str) -> str:
    """Give the note that says that a field is not known; it goes when the field comes."""
    return f"{field}: not known; {why}"


def day_of(ts_ns: int) -> str:
    """Give the day of a time (UTC), such as 2025-07-10."""
    return datetime.fromtimestamp(ts_ns // NS_PER_S, tz=UTC).date().isoformat()


def _settled(note: str, fields: Mapping[str, Told]) -> bool:
    """Tell whether a note says that a field is unknown which is known now."""
    field, _, rest = note.partition(":")
    return field in fields and rest.startswith(" not known")
