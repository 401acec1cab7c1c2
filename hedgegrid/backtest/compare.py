"""Several backtests side by side: figures, how far they lie from the first run's, settings that differ, data.

Invariants: the folders are only read; runs on different data are compared, but never without a warning; names of runs
are the shortest ends of their paths that tell them apart.
"""

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import attrs
from rich.console import Group
from rich.table import Table
from rich.text import Text

from hedgegrid.backtest.figures import Definition, definitions
from hedgegrid.backtest.files import read_summary
from hedgegrid.backtest.showing import change, shown
from hedgegrid.backtest.summary_json import SCHEMA_VERSION
from hedgegrid.errors import Fatal
from hedgegrid.ops import phrases

_FEWEST: Final = 2


@attrs.frozen(kw_only=True)
class Run:
    """One run of a comparison: its name and its summary."""

    name: str
    summary: Mapping[str, Any]

    @property
    def figures(self) -> Mapping[str, Any]:
        """Its figures by name; one that an older version did not know is absent."""
        figures: Mapping[str, Any] = self.summary["figures"]
        return figures


@attrs.frozen(kw_only=True)
class Comparison:
    """Runs beside the first one. ``settings`` are by run the lines that differ from the first run's, with - and +."""

    runs: tuple[Run, ...]
    warnings: tuple[str, ...]
    settings: Mapping[str, tuple[str, ...]]


def compare(folders: Sequence[Path]) -> Comparison:
    """Read output folders. Fatal, in one line, for fewer than two, and for one that is no backtest's."""
    if len(folders) < _FEWEST:
        raise Fatal("name at least two output folders to compare")
    runs = tuple(
        Run(name=name, summary=read_summary(folder))
        for name, folder in zip(_names([folder.absolute() for folder in folders]), folders, strict=True)
    )
    first = runs[0].summary["run"]
    return Comparison(
        runs=runs,
        warnings=tuple(_warnings(runs)),
        settings={run.name: _differing(first["settings"], run.summary["run"]["settings"]) for run in runs[1:]},
    )


def _names(folders: list[Path]) -> list[str]:
    """Give each folder the shortest end of its path that no other one has; the same folder twice is numbered."""
    for parts in range(1, max(len(folder.parts) for folder in folders) + 1):
        names = ["/".join(folder.parts[-parts:]) for folder in folders]
        if len(set(names)) == len(set(folders)):
            break
    else:
        names = [str(folder) for folder in folders]
    return [name if name not in names[:i] else f"{name} ({i + 1})" for i, name in enumerate(names)]


def _warnings(runs: tuple[Run, ...]) -> list[str]:
    """Say what makes runs hard to compare."""
    first, found = runs[0], []
    for run in runs[1:]:
        mine, its = first.summary["run"], run.summary["run"]
        if mine["data_identity"] != its["data_identity"]:
            found.append(f"{run.name} stood on other data than {first.name}: figures differ for that reason too")
        elif (mine["from_ns"], mine["to_ns"]) != (its["from_ns"], its["to_ns"]):
            found.append(f"{run.name} covers another time than {first.name}")
        if mine["code_version"] != its["code_version"]:
            found.append(
                f"{run.name} was made by version {its['code_version']}, {first.name} by {mine['code_version']}"
            )
    found += [
        f"{run.name} was written in schema {run.summary['schema_version']}, this program knows {SCHEMA_VERSION}"
        for run in runs
        if run.summary["schema_version"] != SCHEMA_VERSION
    ]
    return found


def _differing(first: str, other: str) -> tuple[str, ...]:
    """Give the lines that differ, without those around them."""
    lines = list(difflib.unified_diff(first.splitlines(), other.splitlines(), n=0, lineterm=""))
    # The first two lines name the sides; the others that are neither - nor + say where.
    return tuple(line for line in lines[2:] if not line.startswith("@@"))


def compare_json(comparison: Comparison) -> dict[str, Any]:
    """Give a comparison as JSON can hold it: by figure each run's value and its difference from the first's."""
    return {
        "runs": [run.name for run in comparison.runs],
        "ended": {run.name: run.summary["ended"] for run in comparison.runs},
        "same_data": len({run.summary["run"]["data_identity"] for run in comparison.runs}) == 1,
        "warnings": list(comparison.warnings),
        "figures": {
            one.name: {
                "unit": one.unit,
                "values": [run.figures.get(one.name) for run in comparison.runs],
                "differences": [_difference(comparison.runs[0], run, one) for run in comparison.runs],
            }
            for one in definitions()
        },
        "settings": {name: list(lines) for name, lines in comparison.settings.items()},
    }


def _difference(first: Run, run: Run, one: Definition) -> float | None:
    """Give how far a run's figure lies from the first's; None where they are no two numbers."""
    mine, its = first.figures.get(one.name), run.figures.get(one.name)
    return its - mine if isinstance(mine, int | float) and isinstance(its, int | float) else None


def compare_text(comparison: Comparison) -> Group:
    """Give a comparison for the screen: warnings, figures, settings."""
    return Group(
        *(Text(f"warning: {line}", style="yellow") for line in comparison.warnings),
        _table(comparison.runs),
        *_settings(comparison),
    )


def _table(runs: tuple[Run, ...]) -> Table:
    """Give the figures side by side; differences from the first run stand under the others' values."""
    table = Table(show_edge=False, pad_edge=False)
    table.add_column("figure")
    for run in runs:
        table.add_column(run.name, justify="right", overflow="fold")
    table.add_row("Ended", *(_ended(run) for run in runs), end_section=True)
    known = definitions()
    for i, one in enumerate(known):
        values = [run.figures.get(one.name) for run in runs]
        cells = [shown(value, one.unit) for value in values]
        below = [change(values[0], value, one.unit) for value in values]
        texts = [f"{cell}\n{under}" if under else cell for cell, under in zip(cells, below, strict=True)]
        ends = i + 1 == len(known) or known[i + 1].group != one.group
        table.add_row(one.label, *(Text(text) for text in texts), end_section=ends)
    return table


def _ended(run: Run) -> Text:
    ended = run.summary["ended"]
    if ended["state"] == "solvent":
        return Text("solvent")
    return Text(f"{ended['state']}\n{phrases.moment(ended['ts_ns'])}", style="red")


def _settings(comparison: Comparison) -> list[Text]:
    """Give the settings that differ, run by run."""
    first = comparison.runs[0].name
    texts = []
    for name, lines in comparison.settings.items():
        texts.append(
            Text(f"settings of {name}: " + (f"against {first}" if lines else f"those of {first}"), style="bold")
        )
        texts += [Text(f"  {line}", style="red" if line.startswith("-") else "green") for line in lines]
    return texts
