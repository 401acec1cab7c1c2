"""What the tests of the session controls see of an account: the exchange's own figures, step by step.

Invariant: nothing here asks the bot; what it said is read from the journal.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import attrs

from hedgegrid.app import House
from hedgegrid.core import ledger, margin
from hedgegrid.messages.events import PermissionChanged
from hedgegrid.model.market import Step
from hedgegrid.units import NS_PER_DAY, NS_PER_MINUTE
from hedgegrid.venues.simulated.exchange import Exchange
from tests.actors.house import FIRST_BAR, Boot, Script, entries_at, messages, simulation

WALLET_E8 = 10_000 * 10**8
OFF = {name: {"enabled": False} for name in ("drawdown", "daily_loss", "session_loss", "margin_kill")}
CONTROLS: dict[str, tuple[str, dict[str, Any]]] = {
    "drawdown": ("drawdown", {"max_ratio": Decimal("0.0001")}),
    "daily_loss": ("daily_loss", {"max_quote": Decimal("0.9")}),
    "session_loss": ("session_loss", {"max_quote": Decimal("1.1")}),
    "margin": ("margin_kill", {"max_ratio": Decimal("0.000018")}),
}
"""Reason -> its section and a limit that the made market of seed 2 reaches: the account loses 2 of 10,000."""


@attrs.frozen
class Sight:
    """The exchange's account at one step: after its moves, payments and margin check, before anything falls due."""

    ts_ns: int
    equity_e8: int
    maintenance_e8: int
    held: int
    entries: int


def sight(exchange: Exchange, ts_ns: int) -> Sight:
    """Look at the exchange's account, with figures of its own books alone."""
    needed = held = 0
    for book in exchange.books:
        gross = margin.gross_notional_e8(book.market, book.accounts, book.rules)
        held += sum(account.qty_lots for account in book.accounts)
        needed += ledger.maintenance_e8(gross, book.tiers) if gross else 0
    return Sight(ts_ns, exchange.equity_e8(), needed, held, len(entries_at(exchange)))


def watching(sights: list[Sight]) -> Script:
    """A script that notes the exchange's account at every step, as its prices are about to be shown."""

    def wired(house: House) -> None:
        show = simulation(house).market.show_points

        def shown(step: Step) -> None:
            sights.append(sight(simulation(house).exchange, step.ts_ns))
            show(step)

        simulation(house).market.show_points = shown  # type: ignore[method-assign]

    return Script(wired=wired)


def only(reason: str, **more: Any) -> dict[str, Any]:
    """The risk settings in which one equity control alone is on, with a limit that is met; changed."""
    section, limit = CONTROLS[reason]
    return {**OFF, section: {"enabled": True, **limit, **more}}


def told(one: Boot, reason: str) -> list[PermissionChanged]:
    """What was said of a reason."""
    return [change for change in messages(one.path, PermissionChanged) if change.reason == reason]


def raised_ns(one: Boot, reason: str) -> int:
    """When a reason rose, the first time."""
    return next(change.ts_recv_ns for change in told(one, reason) if change.change == "raised")


def trip_of(reason: str, sights: Sequence[Sight], drawdown_ppm: int = 100) -> int:
    """When a control of `CONTROLS` must trip, by the exchange's account."""
    peak_e8 = day_base_e8 = last_e8 = WALLET_E8
    day = FIRST_BAR * NS_PER_MINUTE // NS_PER_DAY
    for one in sights:
        if one.ts_ns // NS_PER_DAY != day:
            day, day_base_e8 = one.ts_ns // NS_PER_DAY, last_e8
        last_e8, peak_e8 = one.equity_e8, max(peak_e8, one.equity_e8)
        trips = {
            "drawdown": (peak_e8 - one.equity_e8) * 10**6 >= peak_e8 * drawdown_ppm,
            "daily_loss": (day_base_e8 - one.equity_e8) * 10 >= 9 * 10**8,
            "session_loss": (WALLET_E8 - one.equity_e8) * 10 >= 11 * 10**8,
            "margin": one.maintenance_e8 * 10**6 >= 18 * one.equity_e8,
        }
        if trips[reason]:
            return one.ts_ns
    raise AssertionError(f"the market never reaches {reason}")
