"""What the store tells people and programs: lines of text, and plain values for JSON.

Invariant: nothing is decided or counted anew here; text and JSON say the same.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import attrs

from hedgegrid.backtest.quality import Finding
from hedgegrid.backtest.store.importing import ImportReport
from hedgegrid.backtest.store.reader import SeriesFacts
from hedgegrid.backtest.store.rules import DatedRules
from hedgegrid.backtest.store.staging import MonthChange
from hedgegrid.units import NS_PER_S


def import_json(report: ImportReport, notes: Sequence[str]) -> dict[str, Any]:
    """Give what an import did; ``notes`` are the caller's own."""
    months = [
        {
            "instrument": change.series.instrument,
            "series": change.series.folder,
            **attrs.asdict(change, filter=lambda field, _value: field.name != "series"),
        }
        for change in report.changes
    ]
    return {"months": months, "findings": findings_json(report.findings), "notes": [*report.notes, *notes]}


def change_lines(changes: Sequence[MonthChange]) -> list[str]:
    """Give a line for each series that was imported."""
    by_series: dict[str, list[MonthChange]] = {}
    for change in changes:
        by_series.setdefault(change.series.text, []).append(change)
    lines: list[str] = []
    for name, months in by_series.items():
        added, replaced, known = (
            sum(getattr(one, field) for one in months) for field in ("added", "replaced", "known")
        )
        plural = "s" * (len(months) > 1)
        told = f"{added:,} new rows, {replaced:,} replaced, {known:,} there already"
        lines.append(f"{name}: {len(months)} month{plural}, {told}")
    return lines


def rules_lines(rules: DatedRules) -> list[str]:
    """Give the rules of one day, a line a field."""
    lines = [f"{rules.instrument} {rules.date}"]
    for field, told in rules.fields.items():
        value = told.value if isinstance(told.value, str) else f"{len(told.value)} tiers"
        lines.append(f"  {field:<22} {value:<14} {told.source}")
    return [*lines, *(f"  {note}" for note in rules.notes)]


def findings_json(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """Give findings as plain values."""
    return [{**attrs.asdict(finding), "severity": finding.severity.value} for finding in findings]


def facts_json(facts: SeriesFacts) -> dict[str, Any]:
    """Give what is stored of a series as plain values."""
    return {
        "instrument": facts.series.instrument,
        "series": facts.series.folder,
        "rows": facts.rows,
        "first_ns": facts.first_ns,
        "last_ns": facts.last_ns,
        "size_bytes": facts.size_bytes,
        "months": [attrs.asdict(month) for month in facts.months],
    }


def counts(findings: Sequence[Finding]) -> str:
    """Say how many findings of each severity there are."""
    counts = {
        name: sum(finding.severity.value == name for finding in findings) for name in ("error", "warning", "note")
    }
    return ", ".join(f"{count} {name}{'s' * (count > 1)}" for name, count in counts.items() if count) or "nothing found"


def moment(ts_ns: int) -> str:
    """Write a time (UTC) to the second."""
    return datetime.fromtimestamp(ts_ns // NS_PER_S, tz=UTC).strftime("%Y-%m-%d %H:%M:%S")
