"""The fills of an account, read back: trades by instrument, with the client ids that the exchange leaves out of them.

Invariants: a trade is given once, ascending by time; those above a cursor always, older ones only where this process's
stream ran and did not tell them; a fill of a stop's order bears the stop's id. What an instrument traded before the
books began is not read.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from hedgegrid.core.client_id import parse_client_id
from hedgegrid.errors import Rejected, Transient
from hedgegrid.model.order import Fill, Purpose, side_of
from hedgegrid.ports import FillCursors
from hedgegrid.units import NS_PER_DAY, NS_PER_MINUTE, NS_PER_MS
from hedgegrid.venues.ccxtpro import order_rows, order_words
from hedgegrid.venues.ccxtpro.order_names import KEPT, keep
from hedgegrid.venues.ccxtpro.parse_rules import ListedInstrument
from hedgegrid.venues.ccxtpro.private_events import PrivateEvents
from hedgegrid.venues.ccxtpro.reads import read
from hedgegrid.venues.ccxtpro.refusals import refusal_of
from hedgegrid.venues.ccxtpro.traded import Traded

REWIND_IDS: Final = 5_000
"""Trade ids before a cursor that are read again: an instrument's ids are shared by all its traders."""
LISTED_NS: Final = 5 * NS_PER_MINUTE
"""A trade is listed by then: what a reading has shown up to so long before it is not read again."""
PAGE: Final = 1_000
PAGES_MAX: Final = 200
_SPAN_NS: Final = 7 * NS_PER_DAY
_WEIGHT: Final = 5
_ORDER_PAGES_MAX: Final = 5
_ASKED_MAX: Final = 100

TradeFee = Callable[[str, order_words.Trade], int]


class FillReads:
    """Reads trades and finds out whose they are."""

    def __init__(
        self,
        *,
        traded: Traded,
        events: PrivateEvents,
        books_from_ns: int,
        heard_from_ns: int,
        fee_of: TradeFee,
    ) -> None:
        """Read for instruments without a cursor from ``books_from_ns`` on.

        ``heard_from_ns``: since when this process's stream has told fills (the exchange's clock).
        """
        self._session = traded.session
        self._listed = traded.listed
        self._scales = traded.scales
        self._names = traded.names
        self._slices = traded.slices
        self._events = events
        self._books_from_ns = books_from_ns
        self._heard_from_ns = heard_from_ns
        self._fee_of = fee_of
        self._looked_at: OrderedDict[tuple[str, int], None] = OrderedDict()
        self._settled: dict[str, int] = {}
        """By symbol, the newest trade id before which no other can be listed any more: all were read."""

    async def since(self, cursors: FillCursors) -> tuple[Fill, ...]:
        """Read the fills above their instrument's cursor, and those below it that the stream has lost."""
        found: list[tuple[order_rows.TradeRow, Fill]] = []
        for listed in self._listed.values():
            cursor = cursors.get(listed.instrument.name)
            rows = [row for row in await self._trades(listed, cursor) if self._is_wanted(row, cursor)]
            await self._learn_names(listed, rows)
            found += [(row, self._fill(row)) for row in rows]
        for row, _ in found:
            self._events.note_delivered(row.instrument, row.trade.trade_id, row.order_id)
        found.sort(key=lambda one: (one[1].ts_ns, one[1].trade_id, one[1].client_id))
        return tuple(fill for _, fill in found)

    def _is_wanted(self, row: order_rows.TradeRow, cursor: int | None) -> bool:
        if cursor is None:
            return row.trade.ts_ns >= self._books_from_ns
        if row.trade.trade_id > cursor:
            return True
        heard = row.trade.ts_ns >= self._heard_from_ns
        return heard and not self._events.delivered(row.instrument, row.trade.trade_id, row.order_id)

    def _fill(self, row: order_rows.TradeRow) -> Fill:
        name = self._names.name_of(row.instrument, row.order_id) or f"order-{row.order_id}"
        if row.leg is None:
            raise Transient(
                f"{row.instrument}: trade {row.trade.trade_id} names no leg: the account is in one-way mode"
            )
        fee_e8 = 0 if row.trade.fee_e8 is not None else self._fee_of(row.instrument, row.trade)
        return order_words.fill(
            row.trade,
            client_id=self._slices.parent_of(name),
            instrument=row.instrument,
            leg=row.leg,
            side=row.side,
            fee_if_unknown_e8=fee_e8,
        )

    # --- trades -----------------------------------------------------------------------------------------------------

    async def _trades(self, listed: ListedInstrument, cursor: int | None) -> list[order_rows.TradeRow]:
        """Read an instrument's trades from a little before the cursor, or from when the books began."""
        found: dict[tuple[int, int], order_rows.TradeRow] = {}
        began_ns = self._session.venue_ns()
        from_id = await self._first_id(listed.symbol) if cursor is None else self._rewound(listed.symbol, cursor)
        if from_id is None:
            return []
        for _ in range(PAGES_MAX):
            page = await self._page(listed.symbol, {"fromId": from_id})
            found |= {(row.trade.trade_id, row.order_id): row for row in page}
            last_id = max((row.trade.trade_id for row in page), default=from_id)
            if len(page) < PAGE:
                self._settle(listed.symbol, found.values(), began_ns - LISTED_NS)
                return sorted(found.values(), key=lambda row: (row.trade.ts_ns, row.trade.trade_id))
            # Two of our orders can share a trade: the last id is asked again, unless it fills a page alone.
            from_id = last_id if last_id > from_id else last_id + 1
        raise Transient(f"{listed.symbol}: more than {PAGES_MAX * PAGE:,} trades since the books' last one")

    def _rewound(self, symbol: str, cursor: int) -> int:
        """Give the id to read from: some before the cursor, for what the stream has lost and nobody has read yet.

        Where few others trade, ids alone would be hours of our own trades in every reading.
        """
        return max(0, min(cursor, max(cursor - REWIND_IDS, self._settled.get(symbol, 0))))

    def _settle(self, symbol: str, rows: Iterable[order_rows.TradeRow], before_ns: int) -> None:
        """Take note of a whole reading: of what was traded before ``before_ns`` it has shown all."""
        ids = [row.trade.trade_id for row in rows if row.trade.ts_ns < before_ns]
        self._settled[symbol] = max(ids, default=self._settled.get(symbol, 0))

    async def _first_id(self, symbol: str) -> int | None:
        """Give the first trade since the books began; the exchange looks at seven days at a time."""
        start_ns, now_ns = self._books_from_ns, self._session.venue_ns()
        while start_ns <= now_ns:
            span = {"startTime": start_ns // NS_PER_MS, "endTime": (start_ns + _SPAN_NS) // NS_PER_MS - 1}
            page = await self._page(symbol, span)
            if page:
                return min(row.trade.trade_id for row in page)
            start_ns += _SPAN_NS
        return None

    async def _page(self, symbol: str, span: Mapping[str, int]) -> tuple[order_rows.TradeRow, ...]:
        found = await read(
            self._session,
            "fapiPrivateGetUserTrades",
            {"symbol": symbol, "limit": PAGE, **span},
            lambda answer: order_rows.trade_rows(answer, self._scales),
            weight=_WEIGHT,
        )
        return found.rows

    # --- names ------------------------------------------------------------------------------------------------------

    async def _learn_names(self, listed: ListedInstrument, rows: list[order_rows.TradeRow]) -> None:
        """Find the client ids of trades' orders: of many at once, then one by one; then of stops that became them."""
        unknown = self._nameless(rows)
        from_id = min(unknown, default=0)
        for _ in range(_ORDER_PAGES_MAX):
            if not unknown:
                break
            page = await self._orders_from(listed, from_id)
            unknown = self._nameless(rows)
            if len(page) < PAGE:
                break
            from_id = max(row.order_id for row in page) + 1
        if len(unknown) > _ASKED_MAX:
            raise Transient(f"{listed.symbol}: {len(unknown)} orders of trades are not shown yet")
        for order_id in unknown:
            await self._ask_name(listed, order_id)
        if any(self._may_be_a_stop(row) for row in rows):
            await self._learn_stops(listed)
            for row in rows:
                keep(self._looked_at, (row.instrument, row.order_id), None, KEPT)

    def _nameless(self, rows: list[order_rows.TradeRow]) -> list[int]:
        return sorted({row.order_id for row in rows if self._names.name_of(row.instrument, row.order_id) is None})

    async def _orders_from(self, listed: ListedInstrument, order_id: int) -> tuple[order_rows.OrderRow, ...]:
        found = await read(
            self._session,
            "fapiPrivateGetAllOrders",
            {"symbol": listed.symbol, "orderId": order_id, "limit": PAGE},
            lambda answer: order_rows.order_rows(answer, self._scales),
            weight=_WEIGHT,
        )
        for row in found.rows:
            self._names.learn(row.instrument, row.order_id, row.client_id)
        return found.rows

    async def _ask_name(self, listed: ListedInstrument, order_id: int) -> None:
        """Ask for one order; one that the exchange does not know any more keeps its number for a name."""
        try:
            row = await read(
                self._session,
                "fapiPrivateGetOrder",
                {"symbol": listed.symbol, "orderId": order_id},
                lambda answer: order_rows.order_row(answer, self._scales),
                weight=1,
            )
        except Rejected as error:
            if not refusal_of(error).not_found:
                raise
            return
        self._names.learn(row.instrument, row.order_id, row.client_id)

    def _may_be_a_stop(self, row: order_rows.TradeRow) -> bool:
        """Tell whether a foreign order that reduced a leg has not been looked for among the stops."""
        name = self._names.name_of(row.instrument, row.order_id) or ""
        if parse_client_id(name) is not None or order_words.is_forced(name) or row.leg is None:
            return False
        known = (row.instrument, row.order_id) in self._looked_at
        return not known and row.side is not side_of(row.leg, Purpose.ENTRY)

    async def _learn_stops(self, listed: ListedInstrument) -> None:
        """Read which orders the stops of the last days have become."""
        found = await read(
            self._session,
            "fapiPrivateGetAllAlgoOrders",
            {"symbol": listed.symbol, "limit": PAGE},
            lambda answer: order_rows.algo_rows(answer, self._scales),
            weight=_WEIGHT,
        )
        for row in found.rows:
            if row.actual_order_id is not None:
                self._names.learn(row.instrument, row.actual_order_id, row.client_id)
