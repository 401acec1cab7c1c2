"""`report.html` of a simulation: which runs were worst, what struck, what was reached, and what was broken.

Invariants: as the backtest's report, whose pieces it is made of: one file that asks no machine for anything and whose
policy forbids it to; every text is escaped.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from hedgegrid.backtest.report.page import plotly_script, policy_of, stand_ins_of, style_sheet
from hedgegrid.backtest.report.tables import Column, table
from hedgegrid.backtest.report.wording import escape
from hedgegrid.simulation.rare import Rare
from hedgegrid.simulation.run import Plan, Result
from hedgegrid.simulation.series import Sum
from hedgegrid.units import NS_PER_S, PPM

WORST: Final = 10
"""Runs in each list of the worst."""
STORY_MAX: Final = 40
DRAW: Final = """
const rows = JSON.parse(document.getElementById("rows").textContent);
Plotly.newPlot("faults", [{type: "bar", orientation: "h", x: rows.counts, y: rows.names}],
  {margin: {l: 160, r: 20, t: 10, b: 40}, height: 120 + 18 * rows.names.length,
   paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: {color: "#888"}},
  {displayModeBar: false, responsive: true}).then(() => { document.documentElement.dataset.ready = "yes"; });
"""
Replay = Callable[[Plan], str]
"""Gives the command that shows a run again."""


def write_report(folder: Path, results: Sequence[Result], total: Sum, replay: Replay) -> Path:
    """Write the report into ``folder``, made where it is absent, and give its path. Raises OSError, Fatal."""
    folder.mkdir(parents=True, exist_ok=True)
    path, part = folder / "report.html", folder / ".report.html.part"
    try:
        part.write_text(page(results, total, replay), encoding="utf-8")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return path


def page(results: Sequence[Result], total: Sum, replay: Replay) -> str:
    """Build the page."""
    plotly, style = plotly_script(), style_sheet()
    rows = {"names": list(total.strikes), "counts": list(total.strikes.values())}
    told = msgspec.json.encode(rows).decode().replace("<", "\\u003c")
    verdict = "no law was broken" if not total.broken else f"{sum(total.broken.values())} laws were broken"
    sections = "".join(
        (_broken(results, replay), _worst(results, replay), _faults(total), _reached(total), _laws(total))
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(policy_of((plotly, DRAW), (style, "")))}">'
        f"<title>hedgegrid simulate</title>{stand_ins_of(plotly)}<style>{style}</style></head><body><main>"
        f"<h1>{total.runs} seeds, {total.hours:g} hours of market: {verdict}</h1>"
        f"<p>{total.boots} lives, {total.orders} orders, {total.fills} fills, "
        f"{sum(total.strikes.values())} faults that struck.</p>{sections}</main>"
        f'<script type="application/json" id="rows">{told}</script>'
        f"<script>{plotly.decode()}</script><script>{DRAW}</script></body></html>\n"
    )


def _section(title: str, *parts: str) -> str:
    return f"<section><h2>{title}</h2>{''.join(parts)}</section>"


def _worst(results: Sequence[Result], replay: Replay) -> str:
    """List the worst runs by each measure."""
    measures: tuple[tuple[str, Callable[[Result], int], Callable[[int], str]], ...] = (
        ("drawdown", lambda one: one.drawdown_ppm, lambda value: f"{100 * value / PPM:.2f} %"),
        ("incidents", lambda one: one.incidents, str),
        ("longest unprotected", lambda one: one.longest_bare_ns, lambda value: f"{value / NS_PER_S:.1f} s"),
        ("faults that struck", lambda one: len(one.strikes), str),
    )
    parts: list[str] = []
    for name, measure, shown in measures:
        worst = sorted(results, key=lambda one: (-measure(one), one.plan.seed))[:WORST]
        cells = [
            (str(one.plan.seed), shown(measure(one)), escape(one.mode), f"<code>{escape(replay(one.plan))}</code>")
            for one in worst
        ]
        columns = (Column(head="seed"), Column(head=name), *_TEXTS)
        parts.append(table(f"Most {name}", columns, cells))
    return _section("The worst runs", *parts)


_TEXTS: Final = (Column(head="at the end", is_figure=False), Column(head="shows it again", is_figure=False))


def _faults(total: Sum) -> str:
    never = f"<p>Never struck: {escape(', '.join(total.unseen))}.</p>" if total.unseen else ""
    return _section("Faults that struck", '<div id="faults"></div>', never)


def _reached(total: Sum) -> str:
    columns = (Column(head="state", is_figure=False), Column(head="times"))
    rows = [(escape(Rare[name].value), str(count) if count else "never") for name, count in total.rare.items()]
    return _section("Rare states", table("How often each was reached", columns, rows))


def _laws(total: Sum) -> str:
    columns = (Column(head="law", is_figure=False), Column(head="broken"))
    rows = [(escape(law), str(count)) for law, count in total.broken.items()]
    return _section("Laws", table("Laws that were broken", columns, rows) if rows else "<p>None was broken.</p>")


def _broken(results: Sequence[Result], replay: Replay) -> str:
    """Tell each run that broke a law: what broke, what struck before it, and how to see it again."""
    parts: list[str] = []
    for one in results:
        if not one.violations:
            continue
        story = sorted(
            [(strike.ts_ns, f"{strike.fault.value}: {strike.what}") for strike in one.strikes]
            + [(item.ts_ns, f"BROKEN {item.law.name}: {item.how}") for item in one.violations]
        )[-STORY_MAX:]
        lines = "\n".join(f"{ts_ns // NS_PER_S} {escape(words)}" for ts_ns, words in story)
        head = f"<h3>seed {one.plan.seed}</h3><p><code>{escape(replay(one.plan))}</code></p>"
        parts.append(f"{head}<pre>{lines}</pre>")
    return _section("What was broken", *parts) if parts else ""
