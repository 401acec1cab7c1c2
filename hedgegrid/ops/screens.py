"""What `status` and `risk` print: the API's answers as lines and tables of at most ``COLUMNS`` columns.

Invariant: what is not known reads "not known", never a number.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from textwrap import wrap
from typing import Any, Final

from hedgegrid.ops import phrases
from hedgegrid.ops.figure_words import written
from hedgegrid.units import NS_PER_S

COLUMNS: Final = 100
UNKNOWN: Final = "not known"
_Row = tuple[str, str, str, str, str, str]
_HEAD: Final[_Row] = ("control", "limit", "value", "headroom", "does", "last trip")
_WIDTHS: Final = (30, 13, 13, 14, 7, 12)
_ACTIONS: Final = {"cancel_entries": "cancel"}
_ADDS_NOTHING: Final = ("reducing", "flattening", "halted")
"""The modes in which something holds entries back."""
_WHOLE: Final = 1_000_000
"""From here on money is shown without its cents."""
_UNITS_S: Final = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def risk_lines(told: Mapping[str, Any]) -> list[str]:
    """Write the controls: those of the account, of each instrument, and what the newest trips were."""
    lines = [_mode(told), *_reasons(told)]
    controls: Sequence[Mapping[str, Any]] = told["controls"]
    for scope in dict.fromkeys(one["scope"] for one in controls):
        mine = [one for one in controls if one["scope"] == scope]
        head = _HEAD if scope == "" else (scope, *_HEAD[1:])
        lines += ["", _line(" ", head), *(_line(_flag(one), _row(one)) for one in mine)]
    tripped = [one for one in controls if one["last_trip"] is not None]
    if tripped:
        lines += ["", "last trips"]
    for one in tripped:
        lines += wrap(_trip(one), COLUMNS, initial_indent="  ", subsequent_indent="    ")
    lines += [
        "",
        "! stands now; refuse: it is not sent; cancel: entries go; off: not judged; none: no move leads there",
    ]
    return lines


def _row(one: Mapping[str, Any]) -> _Row:
    trip = one["last_trip"]
    limit = "-" if one["limit"] is None else f"{_number(one['limit'], one['unit'])}{_suffix(one['unit'])}"
    numbered = one["limit"] is not None
    return (
        one["control"],
        limit,
        _known(one, "value") if numbered else "-",
        _known(one, "headroom") if numbered else "-",
        _ACTIONS.get(one["action"], one["action"]) if one["enabled"] else "off",
        "never" if trip is None else _short(trip["age_s"]),
    )


def _line(flag: str, row: _Row) -> str:
    """Write a row: names to the left, figures to the right."""
    name, *figures = (cell.rjust(width) for cell, width in zip(row[:4], _WIDTHS[:4], strict=True))
    ends = (cell.ljust(width) for cell, width in zip(row[4:], _WIDTHS[4:], strict=True))
    return f"{flag}{name.strip().ljust(_WIDTHS[0])} {' '.join(figures)}  {' '.join(ends)}".rstrip()


def _flag(one: Mapping[str, Any]) -> str:
    return "!" if one["stands"] else " "


def _known(one: Mapping[str, Any], figure: str) -> str:
    if one[figure] is None:
        return "none" if one["unreachable"] else UNKNOWN
    return _number(one[figure], one["unit"])


def _number(value: float, unit: str) -> str:
    """Write a figure in its unit; ratios in percent."""
    match unit:
        case "quote":
            return f"{value:,.0f}" if abs(value) >= _WHOLE else f"{value:,.2f}"
        case "ratio":
            return f"{value * 100:,.2f} %"
        case "ms" | "orders" | "errors":
            return f"{value:,.0f}"
        case _:
            return f"{value:,.6g}"


def _suffix(unit: str) -> str:
    return "" if unit in {"quote", "ratio", "orders", "errors"} else f" {unit}"


def _trip(one: Mapping[str, Any]) -> str:
    trip = one["last_trip"]
    when = datetime.fromtimestamp(trip["ts_ns"] // NS_PER_S, UTC)
    scope = f" ({trip['scope']})" if trip["scope"] else ""
    figures = written(trip["figures"])
    times = f", {trip['times']} times in all" if trip["times"] > 1 else ""
    return f"{one['control']}{scope}: {when:%Y-%m-%d %H:%M:%S}{times}: {figures or 'no figures'}"


def _mode(told: Mapping[str, Any]) -> str:
    since = "" if told["mode_since_s"] is None else f" for {_span(told['mode_since_s'])}"
    return f"{told['mode'] or UNKNOWN}{since}{_paused(told)}"


def _paused(told: Mapping[str, Any]) -> str:
    """Say in a word that nothing is added, and of what; "" where entries may be."""
    if told["mode"] not in _ADDS_NOTHING:
        return ""
    scopes = {one["scope"] for one in told["reasons"]}
    where = f" for {', '.join(sorted(scopes))}" if scopes and "" not in scopes else ""
    lift = ", until `hedgegrid resume`" if told["mode"] == "halted" else ""
    return f": PAUSED{where}, nothing is added{lift}"


def _reasons(told: Mapping[str, Any]) -> Iterator[str]:
    for one in told["reasons"]:
        scope = f" of {one['scope']}" if one["scope"] else ""
        yield f"  {one['reason']}{scope}, {_ago(one['age_s'])}; {one['lifted_by']}"


def _span(seconds: float) -> str:
    return phrases.span(round(seconds * NS_PER_S))


def _short(seconds: float) -> str:
    """Write an age in its largest unit."""
    size_s, unit = next((one for one in _UNITS_S if seconds >= one[0]), _UNITS_S[-1])
    return f"{seconds // size_s:.0f} {unit} ago"


def _ago(seconds: float | None) -> str:
    return UNKNOWN if seconds is None else f"{_span(max(0.0, seconds))} ago"


# --- status -----------------------------------------------------------------------------------------------------------


def status_lines(told: Mapping[str, Any]) -> list[str]:
    """Write how an account stands."""
    lines = [f"{told['account']}: {_mode(told)}", *_reasons(told), *_money(told)]
    for one in told["instruments"]:
        lines += _instrument(one)
    last = told["last_fill"]
    if last is None:
        lines.append("  last fill  none in this run")
    else:
        what = f"{last['instrument']} {last['leg']} {last['purpose']} {last['qty']:g} at {last['price']:,g}"
        lines.append(f"  last fill  {_ago(last['age_s'])}: {what}; {told['fills']} in this run")
    doubtful = f"{told['unknown_orders']} UNKNOWN" if told["unknown_orders"] else ""
    foreign = f"{told['foreign_orders']} not ours" if told["foreign_orders"] else ""
    if doubtful or foreign:
        lines.append(f"  orders     {', '.join(part for part in (doubtful, foreign) if part)}")
    if told["throttle"] != 1:
        lines.append(f"  throttle   {told['throttle']:g}")
    return lines


def _money(told: Mapping[str, Any]) -> Iterator[str]:
    def figure(name: str) -> str:
        return UNKNOWN if told[name] is None else f"{told[name]:,.2f}"

    def share(name: str) -> str:
        return UNKNOWN if told[name] is None else f"{told[name]:.2%}"

    yield f"  equity     {figure('equity')} (wallet {figure('wallet')}, unrealised {figure('unrealised')})"
    yield f"  drawdown   {share('drawdown')} from a peak of {figure('peak')}; margin {share('margin')}"
    if told["equity"] is not None:
        far = told["liquidation_distance"]
        move = "no move liquidates" if far is None else f"a move of {far:.2%} liquidates"
        leverage = UNKNOWN if told["leverage"] is None else f"{told['leverage']:.2f} x equity"
        yield f"  held       {figure('gross')} ({leverage}); {move}; value at risk {figure('value_at_risk')}"
    yield f"  since its beginning  realised {figure('realised')}, fees {figure('fees')}, funding {figure('funding')}"
    if told["wallet_age_s"] is not None:
        yield f"  wallet told {_ago(told['wallet_age_s'])}"


def _instrument(one: Mapping[str, Any]) -> Iterator[str]:
    mark = UNKNOWN if one["mark"] is None else f"{one['mark']:,g}"
    ages = ", ".join(f"{name} {_ago(one[f'{name}_age_s'])}" for name in ("quote", "mark", "bar"))
    orders = UNKNOWN if one["open_orders"] is None else f"{one['open_orders']:,}"
    yield f"  {one['instrument']}  mark {mark}, open orders: {orders}"
    yield f"    {ages}"
    for leg in one["legs"]:
        yield f"    {_leg(leg)}"
    due = one["funding"]
    if due is None:
        yield "    funding: no rate is known"
    else:
        every = f"every {due['interval_s'] / 3600:g} h"
        yield f"    funding: {due['rate'] * 1e4:+.3f} bps in {_span(max(0.0, due['in_s']))}, {every}{_costs(one)}"


def _costs(one: Mapping[str, Any]) -> str:
    costs = [(leg["leg"], leg["next_funding"]) for leg in one["legs"] if leg["next_funding"]]
    return "".join(f"; {leg} {'pays' if cost > 0 else 'gets'} {abs(cost):,.4f}" for leg, cost in costs)


def _leg(leg: Mapping[str, Any]) -> str:
    foreign = f", {leg['foreign']:g} not ours" if leg["foreign"] else ""
    orders = ""
    if leg["entries"] is not None:
        entries = phrases.counted(leg["entries"], "entry", "entries")
        orders = f", {entries} and {phrases.counted(leg['exits'], 'exit', 'exits')} rest"
    if leg["qty"] is None:
        return f"{leg['leg']:<5} {UNKNOWN}{orders}{foreign}"
    if leg["qty"] == 0:
        return f"{leg['leg']:<5} flat{orders}{foreign}"
    average = UNKNOWN if leg["average_entry"] is None else f"{leg['average_entry']:,.10g}"
    return f"{leg['leg']:<5} {leg['qty']:g} at {average}, {_protection(leg)}{orders}{foreign}"


def _protection(leg: Mapping[str, Any]) -> str:
    covered = leg["covered"]
    if covered is None:
        return f"stops {UNKNOWN}"
    return f"{covered['bare']:g} WITHOUT A STOP" if covered["bare"] else "stops cover it"
