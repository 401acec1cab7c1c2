"""One reading of the exchange: fills since the cursors, both open lists, positions, the balance, and single orders.

Invariants: a reading that is not whole is no reading, and says why; each request has its limit; an order is asked for
by its id only when no list shows it and its own request can have arrived.
"""

from collections.abc import Callable, Collection
from typing import Final

from hedgegrid.actors.executor_notes import ExchangeRead
from hedgegrid.actors.order_table import OrderTable, conditional
from hedgegrid.actors.outbox import Limit, within
from hedgegrid.actors.post import Post
from hedgegrid.core.doubt import LOOK_NS
from hedgegrid.core.order_state import OrderRecord, OrderState
from hedgegrid.core.reconcile_views import Found, Looked, VenueView, held
from hedgegrid.errors import Fatal, HedgegridError
from hedgegrid.model.account import Balance, Position
from hedgegrid.model.order import Fill, OpenOrder
from hedgegrid.ports import FillCursors, LookUp, Trading
from hedgegrid.runtime.clock import Clock

LOOKS_MAX: Final = 20
"""Orders that one reading asks for by their ids; the others wait for the next."""
_FOUND: Final = {LookUp.OPEN: Found.OPEN, LookUp.ENDED: Found.ENDED, LookUp.ABSENT: Found.UNKNOWN_ID}

_Whole = tuple[tuple[Fill, ...], tuple[OpenOrder, ...], tuple[OpenOrder, ...], tuple[Position, ...], Balance | None]


class ExchangeReader:
    """Reads one account."""

    def __init__(
        self,
        *,
        trading: Trading,
        clock: Clock,
        post: Post,
        table: OrderTable,
        limit_ns: int | None,
        looks: bool,
        balance: bool,
        on_answer: Callable[[], None],
    ) -> None:
        """``looks``: ask for missing orders; ``balance``: read the wallet too; ``on_answer`` hears of each answer."""
        self._trading = trading
        self._clock = clock
        self._post = post
        self._table = table
        self._limit_ns = limit_ns
        self._looks = looks
        self._balance = balance
        self._on_answer = on_answer

    async def read(self, cursors: FillCursors, queued: Collection[str]) -> ExchangeRead:
        """Read everything; ``queued`` are orders that were not sent yet. Raises Fatal, nothing else on purpose."""
        fills_before = self._table.fills
        try:
            return await self._read(cursors, queued, fills_before)
        except Fatal:
            raise
        except HedgegridError as error:
            words = f"{type(error).__name__}: {error}"
            until_ns = getattr(error, "until_ns", None)
            return ExchangeRead(
                **self._post.head(), view=None, fills_before=fills_before, error=words, until_ns=until_ns
            )

    async def _read(self, cursors: FillCursors, queued: Collection[str], fills_before: int) -> ExchangeRead:
        began_ns = self._trading.venue_ns()
        limit = Limit(self._clock, self._limit_ns)
        fills, orders, stops, positions, balance = await limit.over(self._whole(cursors, limit))
        shown = {order.client_id for order in (*orders, *stops)}
        looks = [await self._look(record) for record in self._to_look(shown, queued, began_ns)]
        view = VenueView(
            read_ns=began_ns,
            limit_orders=orders,
            stop_orders=stops,
            fills=fills,
            positions=held(positions),
            looks=tuple(look for look in looks if look is not None),
        )
        return ExchangeRead(
            **self._post.head(), view=view, positions=positions, balance=balance, fills_before=fills_before
        )

    async def _whole(self, cursors: FillCursors, limit: Limit) -> _Whole:
        """Read one after the other: fills, both lists, positions, and the balance where it is asked for."""
        trading = self._trading
        fills = await trading.fills_since(cursors)
        self._answered(limit)
        orders = await trading.open_orders()
        self._answered(limit)
        stops = await trading.open_stops()
        self._answered(limit)
        positions = await trading.positions()
        self._answered(limit)
        if not self._balance:
            return fills, orders, stops, positions, None
        balance = await trading.balance()
        self._answered(limit)
        return fills, orders, stops, positions, balance

    def _answered(self, limit: Limit) -> None:
        """An answer came: the next request has its time from here on."""
        limit.again()
        self._on_answer()

    def _to_look(self, shown: Collection[str], queued: Collection[str], began_ns: int) -> list[OrderRecord]:
        """Give the missing orders to ask for, those in doubt first; what was just sent may still be on its way."""
        if not self._looks:
            return []
        missing = [
            record
            for record in self._table.missing(shown, queued)
            if record.state is OrderState.UNKNOWN or record.ts_ns + LOOK_NS <= began_ns
        ]
        missing.sort(key=lambda record: record.state is not OrderState.UNKNOWN)
        return missing[:LOOKS_MAX]

    async def _look(self, record: OrderRecord) -> Looked | None:
        """Ask for one order; None where the exchange did not answer: then this reading says nothing of it."""
        try:
            look = await within(
                self._clock,
                self._limit_ns,
                self._trading.look_up(record.instrument, record.client_id, conditional=conditional(record)),
            )
        except Fatal:
            raise
        except HedgegridError:
            return None
        finally:
            self._on_answer()
        return Looked(
            client_id=record.client_id,
            found=_FOUND[look.state],
            read_ns=look.read_ns,
            filled_lots=look.filled_lots,
            end="" if look.end is None else look.end.value,
        )
