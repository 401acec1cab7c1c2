"""The headline and the key figures: what a reader learns before any picture.

Invariants: every figure shown has its definition beside it, from ``figures.definitions``; a figure that cannot be said
says why; solvent or LIQUIDATED is said in words and not by colour alone.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs

from hedgegrid.backtest.figures import GROUPS, Definition, Figures, Unit, definitions
from hedgegrid.backtest.report.wording import (
    UNKNOWN,
    count,
    counted,
    day,
    escape,
    length,
    minute,
    money,
    percent,
    share,
    signed,
    span,
    words,
)
from hedgegrid.backtest.result import BacktestResult
from hedgegrid.units import PPM

KEY_FIGURES: Final = (
    "final_e8",
    "total_return",
    "annual_return",
    "buy_and_hold_return",
    "max_drawdown",
    "longest_drawdown_ns",
    "sharpe",
    "sortino",
    "calmar",
    "liquidation_distance",
    "round_trips",
    "win_rate",
    "profit_factor",
    "trip_average_e8",
    "fees_e8",
    "funding_e8",
    "turnover",
    "maker_ratio",
    "ladder_fill_rate",
    "time_in_market",
)
"""What the cards show, in this order."""
COMPARED: Final = (
    "final_e8",
    "total_return",
    "max_drawdown",
    "sharpe",
    "win_rate",
    "profit_factor",
    "round_trips",
    "fees_e8",
    "funding_e8",
    "liquidation_distance",
)
"""What stands beside its pessimistic bound."""
_CHANGES: Final = frozenset({"total_return", "annual_return", "buy_and_hold_return"})
"""Ratios that are changes: they bear their sign."""
_GAINS: Final = frozenset(
    {"net_e8", "realised_e8", "unrealised_e8", "trip_average_e8", "trip_best_e8", "trip_worst_e8"}
)
"""Money that is a gain or a loss."""
_SHORT_OF_GROUP: Final = {"trip_average_e8": "Average round trip"}
"""Labels that say too little away from their group."""
_MULTIPLES: Final = {"turnover": "\N{MULTIPLICATION SIGN} wallet"}
_AS_BEFORE: Final = "as before"
_TONED: Final = _CHANGES | {"trip_average_e8", "net_e8"}


def explained() -> tuple[Definition, ...]:
    """Give the definitions so that each can be read alone: "as before" is what stood before."""
    found: list[Definition] = []
    for one in definitions():
        if found:
            last = found[-1]
            formula = last.formula if one.formula == _AS_BEFORE else one.formula
            source = last.source if one.source == _AS_BEFORE else one.source
            absent = last.absent if one.absent == _AS_BEFORE else one.absent
            found.append(attrs.evolve(one, formula=formula, source=source, absent=absent))
        else:
            found.append(one)
    return tuple(found)


def quote_name(result: BacktestResult) -> str:
    """Give the currency that the account is kept in, as the instruments' names tell it."""
    found = {name.rpartition(":")[2] for one in result.instruments if ":" in (name := one.name)}
    return found.pop() if len(found) == 1 else "quote"


def figure_text(name: str, value: Any, unit: Unit) -> str:  # noqa: ANN401 a figure is what its unit says
    """Write a figure for people, without the currency's name."""
    if value is None:
        return UNKNOWN
    if name in _GAINS:
        return signed(value)
    return percent(value) if name in _CHANGES else _WRITERS[unit](value)


def _counts_text(value: Mapping[str, int]) -> str:
    """Write counts by name."""
    return ", ".join(f"{words(name)} {count(number)}" for name, number in value.items()) or "none"


_WRITERS: Final[Mapping[Unit, Callable[[Any], str]]] = {
    "quote_e8": money,
    "ratio": lambda value: share(round(value * PPM)),
    "number": lambda value: f"{value:,.2f}".replace("-", "\N{MINUS SIGN}"),
    "bps": lambda value: f"{value:,.1f} bps",
    "count": count,
    "ns": span,
    "time_ns": lambda value: f"{minute(value)} UTC" if value else UNKNOWN,
    "counts": _counts_text,
    "text": str,
}
"""How a figure of each unit reads."""


def meaning(one: Definition, value: object) -> str:
    """Write what a figure means, and why it is absent where it is; HTML."""
    why = f" Not known here: {escape(one.absent)}." if value is None else ""
    return f"{escape(_capital(one.formula))}. Source: {escape(one.source)}.{why}"


def _capital(text: str) -> str:
    """Begin as a sentence does."""
    return text[:1].upper() + text[1:]


def card_list(figures: Figures, quote: str) -> str:
    """Build the cards; each can be pointed at or focused for its meaning."""
    by_name = {one.name: one for one in explained()}
    cards = []
    for name in KEY_FIGURES:
        one, value = by_name[name], getattr(figures, name)
        tone = ""
        if name in _TONED and value:
            tone = " gain" if value > 0 else " loss"
        word = quote if one.unit == "quote_e8" else _MULTIPLES.get(name, "")
        unit = f' <span class="unit">{escape(word)}</span>' if word and value is not None else ""
        label = _SHORT_OF_GROUP.get(name, one.label)
        cards.append(
            f'<div class="card" tabindex="0" aria-describedby="tip-{name}"><dt>{escape(label)}</dt>'
            f'<dd class="value{tone}">{escape(figure_text(name, value, one.unit))}{unit}</dd>'
            f'<dd class="tip" role="tooltip" id="tip-{name}">{meaning(one, value)}</dd></div>'
        )
    return f'<dl class="cards">{"".join(cards)}</dl>'


def glossary(figures: Figures) -> str:
    """Build the list of all figures with value, formula and source, by group."""
    parts = []
    for group in GROUPS:
        rows = []
        for one in explained():
            if one.group != group:
                continue
            value = getattr(figures, one.name)
            rows.append(
                f"<div><dt>{escape(one.label)}</dt><dd>{escape(figure_text(one.name, value, one.unit))}</dd>"
                f'<dd class="meaning">{meaning(one, value)}</dd></div>'
            )
        parts.append(f"<h3>{escape(group)}</h3><dl class='terms'>{''.join(rows)}</dl>")
    return "".join(parts)


def verdict(result: BacktestResult) -> str:
    """Build the badge: did the account survive."""
    if result.liquidated_ns:
        return '<p class="verdict dead"><span aria-hidden="true">\N{MULTIPLICATION X}</span> LIQUIDATED</p>'
    return '<p class="verdict alive"><span aria-hidden="true">\N{HEAVY CHECK MARK}</span> Solvent to the end</p>'


def headline(result: BacktestResult, figures: Figures, quote: str) -> str:
    """Write the result in words; HTML."""
    begin, end = f"{money(figures.initial_e8)}", f"{money(figures.final_e8)} {escape(quote)}"
    change = percent(figures.total_return)
    tone = "gain" if figures.net_e8 > 0 else "loss" if figures.net_e8 < 0 else ""
    lasted = length(result.end_ns - result.start_ns)
    text = f'In {lasted} {begin} became <strong>{end}</strong>: <strong class="{tone}">{change}</strong>.'
    if result.liquidated_ns:
        text = (
            f"On {minute(result.liquidated_ns)} UTC the exchange closed the account: equity of "
            f"<strong>{money(result.liquidation_equity_e8)}</strong> stood under the "
            f"{money(result.liquidation_needed_e8)} {escape(quote)} that its positions demanded. {text}"
        )
    if figures.buy_and_hold_return is not None:
        text += f" Buying and holding would have brought {percent(figures.buy_and_hold_return)}."
    if figures.max_drawdown:
        deep = share(round(figures.max_drawdown * PPM))
        text += f" The deepest fall was {deep}; the longest time under a peak, {span(figures.longest_drawdown_ns)}."
    else:
        text += " Equity never fell from a peak."
    return text


def facts(result: BacktestResult, code_version: str) -> str:
    """Build the line of facts: period, market, and what code walked it."""
    names = ", ".join(escape(one.name) for one in result.instruments)
    bars = sum(len(one.open_ns) for one in result.bars)
    tape = f"{count(result.points)} trades" if result.is_ticks else counted(bars, "bar", "bars")
    rows = (
        ("Period (UTC)", f"{day(result.start_ns)} to {day(result.end_ns)}"),
        ("Instruments" if len(result.instruments) > 1 else "Instrument", names),
        ("Decided every", span(result.bar_length_ns)),
        ("Market", tape),
        ("Record", f"<code>{escape(result.data_identity)}</code>"),
        ("Code", f"<code>{escape(code_version)}</code>"),
    )
    return f'<dl class="facts">{"".join(f"<div><dt>{name}</dt><dd>{text}</dd></div>" for name, text in rows)}</dl>'


def comparison(figures: Figures, pessimistic: Figures) -> list[tuple[str, str, str]]:
    """Give label, modelled and pessimistic text of the figures that are compared."""
    by_name = {one.name: one for one in definitions()}
    return [
        (
            by_name[name].label,
            figure_text(name, getattr(figures, name), by_name[name].unit),
            figure_text(name, getattr(pessimistic, name), by_name[name].unit),
        )
        for name in COMPARED
    ]
