"""What a person sees when a backtest has ended: on what data it stood, what came of it, what stopped it.

Invariants: lines are at most 80 columns wide, whatever the names; the text holds nothing that ``summary.json`` lacks.
"""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from io import StringIO
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from hedgegrid.backtest.figures import Definition, definitions
from hedgegrid.backtest.showing import limit, shown, timeframe
from hedgegrid.backtest.summary_json import LIQUIDATED
from hedgegrid.ops import phrases
from hedgegrid.units import NS_PER_DAY

COLUMNS: Final = 80
_INDENT: Final = " " * 12
_NOTES_SHOWN: Final = 12
_LATCHED: Final = ("drawdown", "daily_loss", "session_loss", "margin")

_SHOWN: Final = (
    ("net_e8", "max_drawdown"),
    ("total_return", "longest_drawdown_ns"),
    ("annual_return", "sharpe"),
    ("buy_and_hold_return", "sortino"),
    ("realised_e8", "calmar"),
    ("unrealised_e8", "liquidation_distance"),
    ("fees_maker_e8", "funding_paid_e8"),
    ("fees_taker_e8", "funding_received_e8"),
    ("round_trips", "fills"),
    ("win_rate", "maker_ratio"),
    ("profit_factor", "turnover"),
    ("trip_average_e8", "ladder_fill_rate"),
    ("trip_best_e8", "time_in_market"),
    ("trip_worst_e8", "trip_duration_ns"),
    ("mae_mean_bps", "mfe_mean_bps"),
    ("long_mean_e8", "short_mean_e8"),
    ("long_max_e8", "short_max_e8"),
)
"""The figures on the screen, two a line; the rest is in the files."""


SHORT_DAYS: Final = 90
"""A stretch under which a figure for a year is said to be none."""


def summary_text(summary: Mapping[str, Any]) -> str:
    """Write what ``summary_json`` gave (or ``files.read_summary`` read), without a newline at the end."""
    figures = summary["figures"]
    lines = [
        *_data_lines(summary["run"], figures),
        *_result_lines(summary),
        *_table_lines(figures),
        *_line("fills", shown(figures["fills_by_purpose"], "counts")),
        *_line("orders", shown(figures["orders_by_outcome"], "counts")),
        *_line("refused", shown(figures["refusals_by_control"], "counts")),
        *(line for text in _pause_texts(summary["pauses"]) for line in _line("pauses", text)),
        *_ambiguity_lines(figures, summary["pessimistic"]),
        *_line("ended", ended_text(summary["ended"])),
    ]
    return "\n".join(lines)


def ended_text(ended: Mapping[str, Any]) -> str:
    """Say in plain words how the run ended."""
    if ended["state"] != LIQUIDATED:
        return "solvent: the account lived to the end of the data"
    return (
        f"LIQUIDATED on {phrases.moment(ended['ts_ns'])} UTC: equity {phrases.money(ended['equity_e8'])} was under the "
        f"maintenance margin of {phrases.money(ended['maintenance_e8'])}; all legs were closed at the mark, the run "
        "ended there"
    )


def _line(label: str, text: str) -> list[str]:
    """Give a labelled text, wrapped."""
    return textwrap.wrap(
        text, COLUMNS, initial_indent=f"{label:<12}", subsequent_indent=_INDENT, break_on_hyphens=False
    ) or [label]


def _data_lines(run: Mapping[str, Any], figures: Mapping[str, Any]) -> Iterator[str]:
    """Say what data the run stood on."""
    bar = timeframe(run["bar_length_ns"])
    on = f"trades, decided on {bar} bars" if run["market"] == "trades" else f"{bar} bars"
    yield from _line("data", f"{', '.join(run['instruments'])}; {on}")
    yield from _line(
        "",
        f"{phrases.moment(run['from_ns'])} -> {phrases.moment(run['to_ns'])} UTC "
        f"({phrases.span(figures['duration_ns'])}; {run['decisions']:,} decisions, {run['points']:,} points)",
    )
    yield from _line("", f"identity {run['data_identity']}")
    notes: Sequence[str] = run["notes"]
    for note in notes[:_NOTES_SHOWN]:
        yield from _line("note", note)
    if len(notes) > _NOTES_SHOWN:
        yield from _line("note", f"and {len(notes) - _NOTES_SHOWN} more in the summary")


def _result_lines(summary: Mapping[str, Any]) -> list[str]:
    figures = summary["figures"]
    first, last = phrases.money(figures["initial_e8"]), phrases.money(figures["final_e8"])
    text = f"{first} -> {last} ({phrases.signed(figures['net_e8'])}, {shown(figures['total_return'], 'ratio')})"
    lines = _line("result", text)
    days = figures["duration_ns"] / NS_PER_DAY
    if figures["annual_return"] is not None and days < SHORT_DAYS:
        lines += _line("note", f"a year's return and ratios of {days:.0f} days are arithmetic, no forecast")
    return lines


def _table_lines(figures: Mapping[str, Any]) -> list[str]:
    """Give the figures, two a line."""
    known = {one.name: one for one in definitions()}
    table = Table.grid(padding=(0, 1), expand=True)
    for _ in range(2):
        table.add_column(overflow="fold")
        table.add_column(justify="right", no_wrap=True)
    for names in _SHOWN:
        table.add_row(*(cell for name in names for cell in _cells(known[name], figures[name])))
    text = StringIO()
    Console(file=text, width=COLUMNS, color_system=None, highlight=False, markup=False).print(table)
    return ["", *(line.rstrip() for line in text.getvalue().splitlines()), ""]


def _cells(definition: Definition, value: object) -> tuple[str, str]:
    return definition.label, shown(value, definition.unit)


def _pause_texts(pauses: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say what paused: a control that latches in full, what came and went in one line a reason and scope."""
    texts = []
    counted: dict[tuple[str, str], list[int]] = {}
    for pause in pauses:
        key = (pause["reason"], pause["scope"])
        if pause["change"] == "raised" and pause["reason"] in _LATCHED:
            value, at = limit(pause["reason"], pause["value"]), limit(pause["reason"], pause["limit"])
            when = phrases.moment(pause["ts_ns"])
            texts.append(f"{pause['reason']} tripped at {when} UTC ({value}, limit {at}): trading stopped")
        elif pause["change"] == "raised":
            counted.setdefault(key, [0, pause["ts_ns"]])[0] += 1
        elif pause["change"] == "flatten_started":
            texts.append(f"flattened from {phrases.moment(pause['ts_ns'])} UTC on: {pause['reason']}")
    texts += [
        f"{reason} ({scope}) {count} time{'s' * (count > 1)}, first at {phrases.moment(first_ns)} UTC"
        for (reason, scope), (count, first_ns) in counted.items()
    ]
    return texts or ["none"]


def _ambiguity_lines(figures: Mapping[str, Any], bound: Mapping[str, Any] | None) -> list[str]:
    """Say how many bars left it open what filled first, and what the worse order would have made of it."""
    text = f"{figures['ambiguous_bars']:,} bars in which an exit and its rival both could have filled"
    if bound is not None:
        text += f"; with the worse first: net {phrases.signed(bound['net_e8'])}"
    return _line("ambiguous", text)
