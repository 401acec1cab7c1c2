"""Reads of the account: positions, both lists of open orders, one order by our id.

Invariants: an answer that cannot be read whole is Transient and gives nothing; what an answer tells of other
instruments is reported, never dropped silently; a look's time is taken before the question is sent, so that nothing
that happened later is taken for absent.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import attrs

from hedgegrid.core.client_id import parse_client_id
from hedgegrid.errors import Rejected, Transient
from hedgegrid.model.account import Position
from hedgegrid.model.order import OpenOrder
from hedgegrid.ports import LookUp, OrderLook
from hedgegrid.runtime.together import together
from hedgegrid.venues.ccxtpro import order_rows, parse_account
from hedgegrid.venues.ccxtpro.refusals import refusal_of
from hedgegrid.venues.ccxtpro.scaling import BadPayloadError, Scales
from hedgegrid.venues.ccxtpro.session import Session
from hedgegrid.venues.ccxtpro.traded import Traded

_ALL_AT_ONCE_WEIGHT = 40
_POSITIONS_WEIGHT = 5
_T = TypeVar("_T")


async def read(
    session: Session, method: str, params: Mapping[str, object], parse: Callable[[Any], _T], *, weight: int
) -> _T:
    """Ask and read the answer whole. Transient where it could not be read."""
    answer = await session.call(method, params, weight=weight)
    try:
        return parse(answer)
    except BadPayloadError as error:
        raise Transient(f"{method}: {error}") from error


class AccountReads:
    """What the account holds, asked of the exchange."""

    def __init__(self, traded: Traded) -> None:
        """Read for the instruments of ``traded``."""
        self._session = traded.session
        self._traded = traded

    async def position_rows(self) -> tuple[parse_account.PositionRow, ...]:
        """Read the position of every leg of our instruments, zeros included where the exchange tells them."""
        found = await read(
            self._session,
            "fapiPrivateV3GetPositionRisk",
            {},
            lambda answer: parse_account.position_rows(answer, self._traded.scales),
            weight=_POSITIONS_WEIGHT,
        )
        self._tell_elsewhere("positions", found.elsewhere)
        return found.rows

    async def positions(self) -> tuple[Position, ...]:
        """Read both legs of every instrument that is not flat. Transient in one-way mode too: legs are not told."""
        try:
            return tuple(row.position() for row in await self.position_rows() if row.signed_lots)
        except BadPayloadError as error:
            raise Transient(f"positions: {error}") from error

    async def open_orders(self) -> tuple[OpenOrder, ...]:
        """Read the resting orders, oldest first; one that a stop of ours has become is told under the stop's id."""
        found = await self._lists("fapiPrivateGetOpenOrders", order_rows.order_rows)
        for row in found:
            self._traded.names.learn(row.instrument, row.order_id, row.client_id)
        return self._open([(self._name(row), row) for row in found])

    async def open_stops(self) -> tuple[OpenOrder, ...]:
        """Read the conditional orders, oldest first."""
        found = await self._lists("fapiPrivateGetOpenAlgoOrders", order_rows.algo_rows)
        for row in found:
            if row.leg is not None and parse_client_id(row.client_id) is not None:
                self._traded.names.stop_waits(row.client_id, row.instrument, row.leg)
        self._traded.slices.found((row.client_id, row.qty_lots) for row in found)
        return self._open([(row.client_id, row) for row in found])

    async def look_up(self, instrument: str, client_id: str, *, conditional: bool) -> OrderLook:
        """Ask for one order by our id. An order in parts is the sum of them."""
        looks: list[OrderLook] = []
        for name in self._traded.slices.parts(client_id):
            if conditional:
                looks.append(await self._look_up_stop(instrument, name))
            else:
                looks.append(await self._look_up_order(instrument, {"origClientOrderId": name}))
        known = [look for look in looks if look.state is not LookUp.ABSENT]
        if len(looks) == 1 or not known:
            return looks[0]
        open_one = next((look for look in known if look.state is LookUp.OPEN), known[0])
        return attrs.evolve(open_one, read_ns=looks[0].read_ns, filled_lots=sum(look.filled_lots for look in known))

    # --- parts ------------------------------------------------------------------------------------------------------

    def _name(self, row: order_rows.OrderRow) -> str:
        return self._traded.names.name_of(row.instrument, row.order_id) or row.client_id

    def _open(
        self, found: Sequence[tuple[str, order_rows.OrderRow]] | Sequence[tuple[str, order_rows.AlgoRow]]
    ) -> tuple[OpenOrder, ...]:
        """Give the orders that are open; ``found`` by the ids that they are told under. Parts are told as one."""
        slices = self._traded.slices
        whole: dict[str, OpenOrder] = {}
        try:
            for name, row in found:
                parent = slices.parent_of(name)
                order = attrs.evolve(order_rows.open_order(attrs.evolve(row, client_id=name)), client_id=parent)
                whole[parent] = _added(whole[parent], order) if parent in whole else order
        except BadPayloadError as error:
            raise Transient(f"an open order: {error}") from error
        orders = [_with_told(order, slices.filled_lots(order.client_id)) for order in whole.values()]
        return tuple(sorted(orders, key=lambda order: (order.created_ns, order.client_id)))

    async def _lists(self, method: str, parse: Callable[[object, Scales], "order_rows.Read[_T]"]) -> tuple[_T, ...]:
        """Read one list: by instrument, or at once where that weighs less."""
        symbols = sorted(self._traded.scales)
        if len(symbols) >= _ALL_AT_ONCE_WEIGHT:
            questions: list[tuple[dict[str, object], int]] = [({}, _ALL_AT_ONCE_WEIGHT)]
        else:
            questions = [({"symbol": symbol}, 1) for symbol in symbols]
        # A list without one of its parts is no list.
        found = await together(
            *(
                read(self._session, method, params, lambda one: parse(one, self._traded.scales), weight=weight)
                for params, weight in questions
            )
        )
        self._tell_elsewhere("open orders", [symbol for one in found for symbol in one.elsewhere])
        return tuple(row for one in found for row in one.rows)

    async def _look_up_order(self, instrument: str, which: Mapping[str, object]) -> OrderLook:
        read_ns = self._session.venue_ns()
        params = {"symbol": self._traded.listed[instrument].symbol, **which}
        try:
            row = await read(
                self._session,
                "fapiPrivateGetOrder",
                params,
                lambda answer: order_rows.order_row(answer, self._traded.scales),
                weight=1,
            )
        except Rejected as error:
            return _absent(error, read_ns)
        self._traded.names.learn(instrument, row.order_id, row.client_id)
        return order_rows.look(row, read_ns)

    async def _look_up_stop(self, instrument: str, client_id: str) -> OrderLook:
        read_ns = self._session.venue_ns()
        try:
            row = await read(
                self._session,
                "fapiPrivateGetAlgoOrder",
                {"clientAlgoId": client_id},
                lambda answer: order_rows.algo_row(answer, self._traded.scales),
                weight=1,
            )
        except Rejected as error:
            return _absent(error, read_ns)
        if row.actual_order_id is None:
            return order_rows.look(row, read_ns)
        self._traded.names.learn(instrument, row.actual_order_id, client_id)
        became = await self._look_up_order(instrument, {"orderId": row.actual_order_id})
        if became.state is LookUp.ABSENT:
            raise Transient(f"{client_id} became order {row.actual_order_id}, which is not shown yet")
        return became

    def _tell_elsewhere(self, what: str, symbols: Sequence[str]) -> None:
        if symbols:
            self._traded.report(
                f"{what} in instruments that are not traded here", {"symbols": ", ".join(sorted(set(symbols)))}
            )


def _absent(error: Rejected, read_ns: int) -> OrderLook:
    """Give what a refused question tells: the order is not there. The error again where it tells something else."""
    if not refusal_of(error).not_found:
        raise error
    return OrderLook(state=LookUp.ABSENT, read_ns=read_ns)


def _added(order: OpenOrder, part: OpenOrder) -> OpenOrder:
    """Add a part to an order that is open."""
    return attrs.evolve(
        order,
        qty_lots=order.qty_lots + part.qty_lots,
        filled_lots=order.filled_lots + part.filled_lots,
        created_ns=min(order.created_ns, part.created_ns),
    )


def _with_told(order: OpenOrder, told_lots: int) -> OpenOrder:
    """Add what parts that are not open any more have filled."""
    more = max(0, told_lots - order.filled_lots)
    return attrs.evolve(order, qty_lots=order.qty_lots + more, filled_lots=order.filled_lots + more)
