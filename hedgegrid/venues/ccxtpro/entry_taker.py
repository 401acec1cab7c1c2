"""Takes an account's entries away without the rest of the bot: a session of its own, one list a symbol, cancels.

Invariants: nothing but our own entries is cancelled, never an exit, a stop or a foreign order; a row that says neither
is left alone; what fails for one instrument is told, and does not keep the others; it is made and used in one event
loop, whichever that is.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from hedgegrid.core.client_id import parse_client_id
from hedgegrid.errors import HedgegridError
from hedgegrid.model.order import Leg, Purpose
from hedgegrid.ports import Taken
from hedgegrid.runtime.clock import WallClock
from hedgegrid.venues.ccxtpro.budget import Budget
from hedgegrid.venues.ccxtpro.cancelling import CancelDesk
from hedgegrid.venues.ccxtpro.parse_rules import ListedInstrument
from hedgegrid.venues.ccxtpro.session import Session
from hedgegrid.venues.ccxtpro.traded import Traded
from hedgegrid.venues.ccxtpro.wire import TradingWire

_SIDES: Final = {"BUY": Leg.LONG, "SELL": Leg.SHORT}
"""The leg that a side makes grow."""


class EntryTaker:
    """Cancels one account's entries. Make it inside a running loop; ``close`` it there."""

    def __init__(
        self,
        *,
        wire: TradingWire,
        account: str,
        listed: Sequence[ListedInstrument],
        recv_window_ms: int,
        offset_ns: Callable[[], int],
        paused_until_ns: Callable[[], int | None],
    ) -> None:
        """``offset_ns`` gives the exchange's clock minus ours, as the bot measured it.

        ``paused_until_ns``: until when the bot was told to send nothing, by the epoch; what is asked while a ban
        stands makes it longer.
        """
        self._account = account
        self._paused_until_ns = paused_until_ns
        self._clock = WallClock()
        # What the bot keeps free for cancels is here to be used, also to find out what is to be cancelled.
        self._session = Session(wire=wire, budget=Budget(share_ppm=0), clock=self._clock, recv_window_ms=recv_window_ms)
        self._offset_ns = offset_ns
        self._problems: list[str] = []
        self._traded = Traded.of(self._session, listed, lambda words, _figures: self._problems.append(words))
        self._cancels = CancelDesk(self._traded, None)

    async def take(self) -> Taken:
        """Read the resting orders and cancel those that are our entries; nothing is raised."""
        self._problems = []
        self._session.go_by(self._offset_ns())
        until_ns = self._paused_until_ns()
        if until_ns is not None and until_ns > self._clock.now_ns():
            return Taken(problems=("the exchange has asked for silence",))
        asked: list[str] = []
        for instrument, listed in self._traded.listed.items():
            try:
                names = self._entries(await self._resting(listed.symbol))
                if not names:
                    continue
                asked += names
                refused = await self._cancels.cancel_parts(instrument, names)
            except HedgegridError as error:
                self._problems.append(f"{instrument}: {error}")
                continue
            self._problems += [f"{name}: {one.words}" for name, one in refused.items() if not one.not_found]
        return Taken(asked=tuple(asked), problems=tuple(self._problems))

    async def close(self) -> None:
        """Break the connections off."""
        await self._session.close()

    async def _resting(self, symbol: str) -> object:
        """Read a symbol's open orders, once more by a clock of our own where the time was refused."""
        params = {"symbol": symbol}
        try:
            return await self._session.call("fapiPrivateGetOpenOrders", params, weight=1)
        except HedgegridError:
            if not self._session.is_time_doubted:
                raise
        await self._session.sync_time()
        return await self._session.call("fapiPrivateGetOpenOrders", params, weight=1)

    def _entries(self, rows: object) -> list[str]:
        """Give the ids of our entries among the rows of a list, and note what cannot be read."""
        if not isinstance(rows, list):
            self._problems.append("the list of open orders cannot be read")
            return []
        return [row["clientOrderId"] for row in rows if isinstance(row, dict) and self._is_our_entry(row)]

    def _is_our_entry(self, row: Mapping[str, Any]) -> bool:
        """Tell whether a row is an entry of ours: the id says so, and what the order does agrees with it."""
        parts = parse_client_id(str(row.get("clientOrderId")))
        if parts is None or (parts.account, parts.purpose) != (self._account, Purpose.ENTRY):
            return False
        leg = _SIDES.get(str(row.get("side")))
        return leg is parts.leg and row.get("positionSide") == parts.leg.name
