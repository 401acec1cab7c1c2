"""What a run leaves on the screen when it ends: lines for people, the same figures as JSON for programs.

Invariants: both come from the same figures; what is not known is ``-`` in the lines and null in the JSON; money in the
JSON is text in quote currency, exact to 1e-8.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Final

import attrs

from hedgegrid.core.account_figures import AccountFigures
from hedgegrid.model.order import Leg, Purpose
from hedgegrid.ops import account_words, phrases
from hedgegrid.ops.moment import Standing, standing_of
from hedgegrid.ops.open_orders import End
from hedgegrid.ops.view import AccountView
from hedgegrid.units import CASH_SCALE, NS_PER_S

PLACES: Final = 4
"""Decimals of money in the lines."""
FILL_WORDS: Final = {
    Purpose.ENTRY: "entries",
    Purpose.TAKE_PROFIT: "take-profits",
    Purpose.STOP: "stops",
    Purpose.FLATTEN: "flattened",
    Purpose.BACKSTOP: "backstops",
    Purpose.LIQUIDATION: "liquidated",
}
ALWAYS_SHOWN: Final = (Purpose.ENTRY, Purpose.TAKE_PROFIT, Purpose.STOP)


@attrs.frozen(kw_only=True)
class RunExtras:
    """What the view cannot know of a run."""

    ended: str
    """Why it ended, such as ``duration reached``, ``market ended``, ``stopped by SIGINT``, ``LIQUIDATED``."""
    wall_ns: int
    """Wall time that it took, in ns."""
    journal_path: str | None = None
    journal_hash: str | None = None
    ambiguous_bars: int | None = None
    """Bars whose order of exit and stop the market's record leaves open; None where the market has no bars."""
    account: AccountFigures | None = None
    """The account by the gate's books at the end; None where there was none."""
    left: str = ""
    """What a run that failed leaves at the exchange, in words; "" for one that ended as asked."""


def render_summary(view: AccountView, extras: RunExtras) -> str:
    """Write the summary, without a newline at the end."""
    now = standing_of(view, extras.account)
    change = phrases.percent(phrases.change_percent(view.first_equity_e8, now.equity_e8))
    begin, end = phrases.money(view.first_equity_e8, PLACES), phrases.money(now.equity_e8, PLACES)
    realised_e8, fees_e8, funding_e8 = _of_this_run(view, now)
    net_e8 = None if realised_e8 is None else realised_e8 - (fees_e8 or 0) - (funding_e8 or 0)
    realised, unrealised = phrases.signed(realised_e8, PLACES), phrases.signed(now.unrealised_e8, PLACES)
    net = phrases.signed(net_e8, PLACES)
    lines = [
        _market_line(view),
        f"wall time: {phrases.span(extras.wall_ns)}",
        _fills_line(view),
        _orders_line(view),
        f"refused: {_counted(view.refusals)}",
        f"PnL: realised {realised} unrealised {unrealised} (realised after fees and funding: {net})",
        f"fees: {phrases.money(fees_e8, PLACES)}",
        f"funding: {phrases.money(funding_e8, PLACES)} (negative: received)",
        f"equity: {begin} -> {end} (change {change}; since the session began {phrases.percent(now.session_percent)})",
        *_position_lines(view),
        f"ambiguous bars: {phrases.UNKNOWN if extras.ambiguous_bars is None else extras.ambiguous_bars}",
        f"permission: {_permission(view, extras)}",
        f"restarts: {_counted(view.restarts)}",
        f"incidents: {view.incidents}",
        f"journal: {extras.journal_path or phrases.UNKNOWN}",
        f"journal hash: {extras.journal_hash or phrases.UNKNOWN}",
        *([f"left at the exchange: {extras.left}"] if extras.left else ()),
        f"ended: {extras.ended}",
    ]
    return "\n".join(lines)


def _of_this_run(view: AccountView, now: Standing) -> tuple[int | None, int | None, int | None]:
    """Give realised profit, fees and funding of this run alone, like its fills and orders."""
    sums = (now.realised_e8, now.fees_e8, now.funding_e8)
    first, second, third = (
        None if value is None else value - before for value, before in zip(sums, view.before, strict=True)
    )
    return first, second, third


def _permission(view: AccountView, extras: RunExtras) -> str:
    """Write the mode that trading ended in; one that failed has nobody left who could act on it."""
    return (
        f"none, the run failed (it was {account_words.permission(view)})"
        if extras.left
        else account_words.permission(view)
    )


def summary_json(view: AccountView, extras: RunExtras) -> dict[str, object]:
    """Give the summary's figures as JSON can hold them; names carry the units."""
    now = standing_of(view, extras.account)
    change, session = phrases.change_percent(view.first_equity_e8, now.equity_e8), now.session_percent
    return {
        "account": view.account,
        "ended": extras.ended,
        "wall_s": extras.wall_ns / NS_PER_S,
        "market_first_ns": view.market_first_ns,
        "market_last_ns": view.market_ns,
        "steps": view.steps,
        "bars": sum(one.bars for one in view.instruments.values()),
        "fills": view.fills_total(),
        "fills_by_purpose": {purpose.name.lower(): view.fills(purpose) for purpose in Purpose},
        "orders_approved": view.approved_total(),
        "orders_before": view.orders.before,
        "orders_filled": view.orders.ends[End.FILLED],
        "orders_cancelled": view.orders.ends[End.CANCELLED],
        "orders_refused": view.orders.ends[End.REFUSED],
        "orders_not_told": _untold(view),
        "orders_open": view.open_total(),
        "orders_unknown": view.orders.unknown,
        "cancels": view.cancels,
        "refused": sum(view.refusals.values()),
        "refused_by_control": dict(view.refusals),
        "rejected_by_reason": dict(view.rejections),
        "realised_quote": _exact(now.realised_e8),
        "unrealised_quote": _exact(now.unrealised_e8),
        "fees_quote": _exact(now.fees_e8),
        "funding_quote": _exact(now.funding_e8),
        "wallet_quote": _exact(now.wallet_e8),
        "equity_first_quote": _exact(view.first_equity_e8),
        "equity_last_quote": _exact(now.equity_e8),
        "equity_change_percent": None if change is None else str(change),
        "equity_session_percent": None if session is None else str(session),
        "positions": _positions(view),
        "ambiguous_bars": extras.ambiguous_bars,
        "mode": view.mode,
        "reasons": [{"reason": reason, "scope": scope} for reason, scope in view.reasons],
        "restarts": dict(view.restarts),
        "incidents": view.incidents,
        "liquidated": view.liquidated,
        "left": extras.left or None,
        "journal": extras.journal_path,
        "journal_hash": extras.journal_hash,
    }


def _market_line(view: AccountView) -> str:
    first_ns, last_ns = view.market_first_ns, view.market_ns
    took_ns = None if first_ns is None or last_ns is None else last_ns - first_ns
    bars = sum(one.bars for one in view.instruments.values())
    return (
        f"market time: {phrases.moment(first_ns)} -> {phrases.moment(last_ns)} "
        f"({phrases.span(took_ns)}, {phrases.counted(bars, 'bar', 'bars')})"
    )


def _fills_line(view: AccountView) -> str:
    counts = {purpose: view.fills(purpose) for purpose in Purpose}
    shown = (purpose for purpose, count in counts.items() if count or purpose in ALWAYS_SHOWN)
    words = ", ".join(f"{FILL_WORDS[purpose]} {counts[purpose]}" for purpose in shown)
    return f"fills: {view.fills_total()} ({words})"


def _orders_line(view: AccountView) -> str:
    """Say what became of every order: the parts add up to those approved, and those open before this run."""
    ends, resting, before = view.orders.ends, view.open_total(), view.orders.before
    begun = f"{view.approved_total()} approved" + (f" and {before} from before" if before else "")
    parts = [
        f"{ends[End.FILLED]} filled",
        f"{ends[End.CANCELLED]} cancelled or superseded",
        f"{ends[End.REFUSED]} refused by the exchange",
        f"{phrases.UNKNOWN if resting is None else resting} open",
    ]
    if untold := _untold(view):
        parts.append(f"{untold} not told of")
    if view.orders.unknown:
        parts.append(f"{view.orders.unknown} of them UNKNOWN")
    return f"orders: {begun}: {', '.join(parts)}; {phrases.counted(view.cancels, 'cancel', 'cancels')} asked for"


def _untold(view: AccountView) -> int:
    """Count the orders of which nobody has said yet whether they stand or have ended."""
    resting = view.open_total()
    if resting is None:
        return 0
    return view.approved_total() + view.orders.before - sum(view.orders.ends.values()) - resting


def _counted(counts: Mapping[str, int]) -> str:
    total = sum(counts.values())
    names = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
    return f"{total} ({names})" if names else str(total)


def _position_lines(view: AccountView) -> list[str]:
    return [
        f"position left: {name} {leg.name.lower()} {account_words.position(one, leg)}"
        for name, one in view.instruments.items()
        for leg in Leg
        if one.legs[leg].qty_lots != 0
    ]


def _positions(view: AccountView) -> list[dict[str, object]]:
    return [
        {
            "instrument": name,
            "leg": leg.name.lower(),
            "qty_base": None if (lots := one.legs[leg].qty_lots) is None else one.rules.qty_text(lots),
            "cost_quote": _exact(one.legs[leg].cost_e8),
        }
        for name, one in view.instruments.items()
        for leg in Leg
    ]


def _exact(amount_e8: int | None) -> str | None:
    """Write money in full."""
    return None if amount_e8 is None else f"{Decimal(amount_e8) / CASH_SCALE:f}"
