"""The sheets of an export: their columns, and the rows that the journal gives them.

Invariant: a decimal is made of its integer alone (a count of ticks, lots or 1e-8), so both say the same.
"""

import sqlite3
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final, Literal

import attrs

from hedgegrid.journal import schema
from hedgegrid.journal.entries import OrderEntry
from hedgegrid.journal.reader import read_account
from hedgegrid.journal.rules import RulesAt
from hedgegrid.journal.trips import Trip, read_days, read_fills, read_trips
from hedgegrid.units import NS_PER_DAY, NS_PER_S

Cells = tuple[int | str | Decimal, ...]
Kind = Literal["whole", "text", "flag", "money", "amount"]
"""What a column holds: an integer, a text, a flag, quote currency to 1e-8, or a price or quantity."""


@attrs.frozen(kw_only=True)
class Sheet:
    """A sheet: the name of its file, its columns with their kinds, and where its rows come from."""

    name: str
    columns: tuple[tuple[str, Kind], ...]
    rows: Callable[[sqlite3.Connection, RulesAt], Iterator[Cells]]


def _money(amount_e8: int) -> Decimal:
    return Decimal(amount_e8).scaleb(-8)


def _utc(ts_ns: int) -> str:
    seconds, rest = divmod(ts_ns, NS_PER_S)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


def _fills(connection: sqlite3.Connection, rules: RulesAt) -> Iterator[Cells]:
    for entry in read_fills(connection):
        fill = entry.fill
        rule = rules.at(fill.instrument, entry.tape_row)
        notional_e8 = fill.price_ticks * fill.qty_lots * rule.unit_e8
        yield (
            fill.ts_ns,
            _utc(fill.ts_ns),
            fill.instrument,
            fill.leg.name.lower(),
            fill.side.name.lower(),
            fill.purpose.name.lower(),
            fill.level,
            fill.generation,
            fill.price_ticks,
            rule.tick * fill.price_ticks,
            fill.qty_lots,
            rule.lot * fill.qty_lots,
            notional_e8,
            _money(notional_e8),
            fill.fee_e8,
            _money(fill.fee_e8),
            fill.maker,
            fill.realised_e8,
            _money(fill.realised_e8),
            fill.trade_id,
            fill.client_id,
        )


def _orders(connection: sqlite3.Connection, rules: RulesAt) -> Iterator[Cells]:
    for row in connection.execute(schema.ORDERS.read):
        entry = OrderEntry.read(row)
        record = entry.record
        rule = rules.at(record.instrument, entry.approved_row)
        yield (
            record.created_ns,
            _utc(record.created_ns),
            record.client_id,
            record.instrument,
            record.leg.name.lower(),
            record.side.name.lower(),
            record.purpose.name.lower(),
            entry.kind.name.lower(),
            record.level,
            record.generation,
            record.price_ticks,
            rule.tick * record.price_ticks,
            record.qty_lots,
            rule.lot * record.qty_lots,
            record.filled_lots,
            rule.lot * record.filled_lots,
            record.state.value,
            record.cause,
            record.ts_ns,
            _utc(record.ts_ns),
        )


def _trips(connection: sqlite3.Connection, rules: RulesAt) -> Iterator[Cells]:
    for trip in read_trips(connection, rules):
        lot = trip.lot
        rule = rules.at(lot.instrument, trip.row)
        exits = "; ".join(f"{rule.lot * qty_lots:f} at {rule.tick * ticks:f}" for ticks, qty_lots, _ in trip.exits)
        yield (
            lot.opened_ns,
            _utc(lot.opened_ns),
            trip.closed_ns,
            _utc(trip.closed_ns),
            trip.closed_ns - lot.opened_ns,
            lot.instrument,
            lot.leg.name.lower(),
            lot.lot_id,
            lot.level,
            lot.generation,
            lot.entry_ticks,
            rule.tick * lot.entry_ticks,
            exits,
            lot.opened_lots,
            rule.lot * lot.opened_lots,
            _purposes(trip),
            trip.realised_e8,
            _money(trip.realised_e8),
            trip.fees_e8,
            _money(trip.fees_e8),
        )


def _purposes(trip: Trip) -> str:
    """Give why the lot was closed; several reasons in the order in which they came."""
    return "+".join(dict.fromkeys(purpose.name.lower() for _, _, purpose in trip.exits))


def _funding(connection: sqlite3.Connection, rules: RulesAt) -> Iterator[Cells]:
    for row in connection.execute(schema.FUNDING.select("ORDER BY ts_ns, instrument")):
        instrument, ts_ns, tape_row, rate_e8, mark_ticks, long_e8, short_e8 = row
        mark = rules.at(instrument, tape_row).tick * mark_ticks
        sums = (long_e8, _money(long_e8), short_e8, _money(short_e8))
        yield (ts_ns, _utc(ts_ns), instrument, rate_e8, _money(rate_e8), mark_ticks, mark, *sums)


def _days(connection: sqlite3.Connection, _rules: RulesAt) -> Iterator[Cells]:
    _, _, opening = read_account(connection)
    days = read_days(connection)
    # The journal counts what came and went with what the account began with: here each has its day.
    wallet_e8 = (opening.wallet_e8 or 0) - sum(day.transfers_e8 for day in days)
    for day in days:
        wallet_e8 += day.change_e8 + day.transfers_e8
        yield (
            _utc(day.number * NS_PER_DAY)[:10],
            day.fills,
            day.realised_e8,
            _money(day.realised_e8),
            day.fees_e8,
            _money(day.fees_e8),
            day.funding_e8,
            _money(day.funding_e8),
            day.change_e8,
            _money(day.change_e8),
            day.transfers_e8,
            _money(day.transfers_e8),
            wallet_e8,
            _money(wallet_e8),
        )


SHEETS: Final = (
    Sheet(
        name="fills",
        rows=_fills,
        columns=(
            ("ts_ns", "whole"),
            ("time_utc", "text"),
            ("instrument", "text"),
            ("leg", "text"),
            ("side", "text"),
            ("purpose", "text"),
            ("level", "whole"),
            ("generation", "whole"),
            ("price_ticks", "whole"),
            ("price_quote", "amount"),
            ("qty_lots", "whole"),
            ("qty_base", "amount"),
            ("notional_e8", "whole"),
            ("notional_quote", "money"),
            ("fee_e8", "whole"),
            ("fee_quote", "money"),
            ("maker", "flag"),
            ("realised_e8", "whole"),
            ("realised_quote", "money"),
            ("trade_id", "whole"),
            ("client_id", "text"),
        ),
    ),
    Sheet(
        name="orders",
        rows=_orders,
        columns=(
            ("created_ns", "whole"),
            ("created_utc", "text"),
            ("client_id", "text"),
            ("instrument", "text"),
            ("leg", "text"),
            ("side", "text"),
            ("purpose", "text"),
            ("kind", "text"),
            ("level", "whole"),
            ("generation", "whole"),
            ("price_ticks", "whole"),
            ("price_quote", "amount"),
            ("qty_lots", "whole"),
            ("qty_base", "amount"),
            ("filled_lots", "whole"),
            ("filled_base", "amount"),
            ("state", "text"),
            ("cause", "text"),
            ("updated_ns", "whole"),
            ("updated_utc", "text"),
        ),
    ),
    Sheet(
        name="round_trips",
        rows=_trips,
        columns=(
            ("opened_ns", "whole"),
            ("opened_utc", "text"),
            ("closed_ns", "whole"),
            ("closed_utc", "text"),
            ("duration_ns", "whole"),
            ("instrument", "text"),
            ("leg", "text"),
            ("lot_id", "whole"),
            ("level", "whole"),
            ("generation", "whole"),
            ("entry_ticks", "whole"),
            ("entry_quote", "amount"),
            ("exits", "text"),
            ("qty_lots", "whole"),
            ("qty_base", "amount"),
            ("purpose", "text"),
            ("realised_e8", "whole"),
            ("realised_quote", "money"),
            ("fees_e8", "whole"),
            ("fees_quote", "money"),
        ),
    ),
    Sheet(
        name="funding",
        rows=_funding,
        columns=(
            ("ts_ns", "whole"),
            ("time_utc", "text"),
            ("instrument", "text"),
            ("rate_e8", "whole"),
            ("rate", "money"),
            ("mark_ticks", "whole"),
            ("mark_quote", "amount"),
            ("long_e8", "whole"),
            ("long_quote", "money"),
            ("short_e8", "whole"),
            ("short_quote", "money"),
        ),
    ),
    Sheet(
        name="daily",
        rows=_days,
        columns=(
            ("day_utc", "text"),
            ("fills", "whole"),
            ("realised_e8", "whole"),
            ("realised_quote", "money"),
            ("fees_e8", "whole"),
            ("fees_quote", "money"),
            ("funding_e8", "whole"),
            ("funding_quote", "money"),
            ("change_e8", "whole"),
            ("change_quote", "money"),
            ("transfers_e8", "whole"),
            ("transfers_quote", "money"),
            ("wallet_e8", "whole"),
            ("wallet_quote", "money"),
        ),
    ),
)
