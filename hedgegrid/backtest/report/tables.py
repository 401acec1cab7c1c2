"""The report's tables and lists, as HTML.

Invariant: every text that comes from outside (names, notes, settings) is escaped here, once.
"""

from collections.abc import Iterable, Sequence
from typing import Final

import attrs
import numpy as np

from hedgegrid.backtest.days import Month
from hedgegrid.backtest.exact import total
from hedgegrid.backtest.measure import Measures
from hedgegrid.backtest.names import ACCOUNT, LEGS, PAUSE_CHANGES, PURPOSES, REASONS
from hedgegrid.backtest.report.wording import (
    UNKNOWN,
    count,
    counted,
    escape,
    minute,
    money,
    percent,
    share,
    signed,
    span,
    words,
)
from hedgegrid.backtest.result import BacktestResult, Rows
from hedgegrid.backtest.round_trips import net_e8, reason_names
from hedgegrid.core.codes import ENTRY
from hedgegrid.core.standing import FUNDING_KILL, VOLATILITY_HALT
from hedgegrid.units import CASH_SCALE, PPM

MONTH_NAMES: Final = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
PAUSES_MOST: Final = 200
"""Rows of the table of pauses; beyond them it says how many there were."""
NOTES_MOST: Final = 200
TRIPS_SHOWN: Final = 5
_FULL_TINT: Final = 0.10
"""The monthly change that is tinted most."""


@attrs.frozen(kw_only=True)
class Column:
    """A column's head; figures stand on the right, under each other."""

    head: str
    is_figure: bool = True


def table(caption: str, columns: Sequence[Column], rows: Iterable[Sequence[str]], *, note: str = "") -> str:
    """Build a table from cells that are HTML already; the first cell of a row is its head."""
    heads = "".join(f'<th scope="col"{_right(one)}>{one.head}</th>' for one in columns)
    body = "".join(
        "<tr>"
        + "".join(
            f'<th scope="row"{_right(column)}>{cell}</th>' if at == 0 else f"<td{_right(column)}>{cell}</td>"
            for at, (column, cell) in enumerate(zip(columns, row, strict=True))
        )
        + "</tr>"
        for row in rows
    )
    foot = f'<p class="note">{note}</p>' if note else ""
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{caption}"><table><caption>{caption}</caption>'
        f"<thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>{foot}"
    )


def _right(column: Column) -> str:
    """The class of a cell under a column of figures."""
    return ' class="figure"' if column.is_figure else ""


def toned(text: str, value: float) -> str:
    """Colour a signed text by its sign, which it also bears as a character."""
    tone = "gain" if value > 0 else "loss" if value < 0 else ""
    return f'<span class="{tone}">{text}</span>' if tone else text


def month_table(months: Sequence[Month]) -> str:
    """Build the calendar: a row a year, a column a month, each with its change, and the year's own."""
    by_place = {(one.year, one.month): one for one in months}
    years = sorted({one.year for one in months})
    rows = []
    for year in years:
        cells = [_month_cell(by_place.get((year, number))) for number in range(1, 13)]
        mine = [one for one in months if one.year == year]
        change = mine[-1].last_e8 - mine[0].first_e8
        growth = change / mine[0].first_e8 if mine[0].first_e8 > 0 else None
        rows.append(
            f'<tr><th scope="row">{year}</th>{"".join(cells)}'
            f'<td class="figure year">{toned(percent(growth), change)}<small>{signed(change)}</small></td></tr>'
        )
    heads = "".join(f'<th scope="col" class="figure">{name}</th>' for name in MONTH_NAMES)
    caption = "Change of equity by month (UTC), in percent of its begin and in quote currency"
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="Months"><table class="months">'
        f"<caption>{caption}</caption>"
        f'<thead><tr><th scope="col">Year</th>{heads}<th scope="col" class="figure">Year</th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _month_cell(month: Month | None) -> str:
    """A month's cell; how strong it is tinted, in ten steps, says how large the change was."""
    if month is None:
        return '<td class="figure"></td>'
    strength = min(10, round(10 * abs(month.growth or 0) / _FULL_TINT))
    tone = "gain" if month.change_e8 > 0 else "loss"
    tint = f" tint {tone} s{strength}" if strength else ""
    return f'<td class="figure{tint}">{percent(month.growth, 1)}<small>{signed(month.change_e8)}</small></td>'


def instrument_table(measures: Measures) -> str:
    """Build one row an instrument: what each did, and what it brought."""
    heads = (
        "Fills",
        "Round trips",
        "Won",
        "Realised",
        "Open",
        "Fees",
        "Funding",
        "Net",
        "Largest LONG",
        "Largest SHORT",
    )
    columns = [
        Column(head="Instrument", is_figure=False),
        *(Column(head=head) for head in heads),
        Column(head="Buy and hold"),
    ]
    rows = [
        [
            escape(one.name),
            count(one.fills),
            count(one.round_trips),
            UNKNOWN if one.win_rate is None else share(round(one.win_rate * PPM), 1),
            signed(one.realised_e8),
            signed(one.unrealised_e8),
            money(one.fees_e8),
            signed(-one.funding_e8),
            toned(signed(one.net_e8), one.net_e8),
            money(one.long_max_e8, 0),
            money(one.short_max_e8, 0),
            percent(one.buy_and_hold_return, 1),
        ]
        for one in measures.instruments
    ]
    note = "Net = realised + open - fees + funding (plus: received). The nets add up to the account's."
    return table("What each instrument brought, in quote currency", columns, rows, note=note)


def fill_table(result: BacktestResult) -> str:
    """Build one row a leg and purpose: how often, how much, what it cost and brought."""
    columns = [
        Column(head="Leg and purpose", is_figure=False),
        *(Column(head=head) for head in ("Fills", "Turnover", "As maker", "Fees", "Realised at average cost")),
    ]
    fills = result.fills
    units = np.array([one.unit_e8 for one in result.instruments], np.int64)
    notional = fills["price_ticks"] * fills["qty_lots"] * units[fills["instrument"]] / CASH_SCALE
    kind = fills["leg"] * len(PURPOSES) + fills["purpose"]
    rows = []
    for at in np.flatnonzero(np.bincount(kind)).tolist():
        leg, purpose = divmod(at, len(PURPOSES))
        mine = np.flatnonzero(kind == at)
        realised = total(fills["realised_e8"][mine])
        rows.append(
            [
                f"{LEGS[leg]} {words(PURPOSES[purpose])}",
                count(len(mine)),
                f"{notional[mine].sum():,.0f}",
                share(int(fills["maker"][mine].sum()) * PPM // len(mine), 1),
                money(total(fills["fee_e8"][mine])),
                "" if purpose == ENTRY else toned(signed(realised), realised),
            ]
        )
    return table("Fills by leg and purpose, money in quote currency", columns, rows)


def trip_table(result: BacktestResult, trips: Rows) -> str:
    """Build the best and the worst round trips, after fees."""
    made = net_e8(trips)
    order = np.argsort(made, kind="stable")
    chosen = order if len(order) <= 2 * TRIPS_SHOWN else np.concatenate((order[-TRIPS_SHOWN:], order[:TRIPS_SHOWN]))
    chosen = chosen[np.argsort(-made[chosen], kind="stable")]
    columns = [
        Column(head="Opened (UTC)", is_figure=False),
        *(Column(head=head, is_figure=False) for head in ("Instrument", "Leg", "Ended by")),
        *(Column(head=head) for head in ("Entry", "Quantity", "Held", "Net")),
    ]
    rows = []
    for trip in trips[chosen]:
        rules = result.instruments[int(trip["instrument"])]
        net = int(trip["realised_e8"] - trip["fees_e8"])
        ended = ", ".join(words(name) for name in reason_names(int(trip["reasons"])))
        cells = [minute(int(trip["opened_ns"])), escape(rules.name), LEGS[int(trip["leg"])], escape(ended)]
        cells += [rules.price_text(int(trip["entry_ticks"])), rules.qty_text(int(trip["qty_lots"]))]
        rows.append([*cells, span(int(trip["closed_ns"] - trip["opened_ns"])), toned(signed(net), net)])
    return table("Best and worst round trips, net of fees", columns, rows)


def pause_table(result: BacktestResult) -> str:
    """Build the list of pauses as they came and went."""
    pauses = result.pauses
    if len(pauses) == 0:
        return '<p class="good">Trading was never paused.</p>'
    columns = [
        Column(head="Time (UTC)", is_figure=False),
        *(Column(head=head, is_figure=False) for head in ("Reason", "Scope", "Change")),
        Column(head="Figure"),
        Column(head="Limit"),
    ]
    rows = []
    for pause in pauses[:PAUSES_MOST]:
        reason, instrument = int(pause["reason"]), int(pause["instrument"])
        scope = ACCOUNT if instrument < 0 else result.instruments[instrument].name
        name = REASONS[reason].replace("_", " ")
        figures = [_control_text(reason, int(pause[column])) for column in ("value", "limit")]
        change = PAUSE_CHANGES[int(pause["change"])].replace("_", " ")
        rows.append([minute(int(pause["ts_ns"])), escape(name), escape(scope), change, *figures])
    left = len(pauses) - len(rows)
    note = f"{counted(left, 'later change is', 'later changes are')} not listed." if left else ""
    return table("Pauses, as they came and went", columns, rows, note=note)


def _control_text(reason: int, value: int) -> str:
    """Write the figure of a session control in its own unit; nothing where there is none."""
    if value == 0:
        return ""
    if reason == VOLATILITY_HALT:
        return f"{share(value)} a year"
    if reason == FUNDING_KILL:
        return f"{value / 10_000:.2f} bps"
    return money(value)


def note_list(notes: Sequence[str], nothing: str) -> str:
    """Build the list of what a person should know of the market's record."""
    if not notes:
        return f'<p class="good">{escape(nothing)}</p>'
    items = "".join(f"<li>{escape(note)}</li>" for note in notes[:NOTES_MOST])
    left = len(notes) - NOTES_MOST
    more = f'<p class="note">{counted(left, "more is", "more are")} not listed.</p>' if left > 0 else ""
    return f'<ul class="notes">{items}</ul>{more}'
