"""What the account holds that is not ours: told to risk when it changes, reported once, and left alone.

Invariants: our own orders and positions are never in it; a foreign fill moves it once, over restarts too; nothing is
touched unless the settings say ``adopt_foreign``: then foreign orders are cancelled, and a foreign position becomes a
lot of ours in the one message that tells that it is foreign no more, so that no crash can leave it with both or none.
"""

from collections.abc import Callable, Iterable, Mapping

from hedgegrid.actors.post import EXECUTOR, RISK, Post, strategy_name
from hedgegrid.core.adoption import adopted
from hedgegrid.core.reconcile_views import FillKey, LegLots, Plan, fill_key
from hedgegrid.core.records import GridParams
from hedgegrid.messages.events import ForeignSeen, Incident, Message
from hedgegrid.model.account import Position
from hedgegrid.model.grid import AdoptedLot, OpenLot
from hedgegrid.model.order import Fill, Leg, Purpose
from hedgegrid.ports import Books


class Foreign:
    """What each instrument holds beside our own."""

    def __init__(self, post: Post, instruments: Iterable[str], adopting: Mapping[str, GridParams]) -> None:
        """Know nothing yet; only ``instruments`` can count in exposure, and those in ``adopting`` are adopted."""
        self._post = post
        self._adopting = adopting
        self._bare: dict[tuple[str, Leg], int] = {}
        self._instruments = tuple(instruments)
        self._seen: dict[str, ForeignSeen] = {}
        self._elsewhere: frozenset[str] = frozenset()

    @property
    def orders(self) -> int:
        """How many open orders are not ours."""
        return sum(len(seen.orders) for seen in self._seen.values()) + len(self._elsewhere)

    def recall(self, seen: Mapping[str, ForeignSeen]) -> None:
        """Go on with what the journal remembers."""
        self._seen = dict(seen)

    def legs(self) -> tuple[LegLots, ...]:
        """Give the foreign positions, as reconciliation takes them."""
        return tuple(
            LegLots(instrument=one.instrument, leg=one.leg, qty_lots=one.qty_lots)
            for seen in self._seen.values()
            for one in seen.positions
        )

    def unwanted(self, is_guarded: Callable[[str, Leg, int], bool]) -> dict[str, list[str]]:
        """Give the ids of the open orders to cancel where holdings are adopted, by instrument.

        What may guard a position that was adopted stays until ``is_guarded`` tells that a stop of ours does: by
        instrument, leg and the lot's number.
        """
        self._bare = {leg: lot_id for leg, lot_id in self._bare.items() if not is_guarded(*leg, lot_id)}
        found: dict[str, list[str]] = {}
        for name, seen in self._seen.items():
            orders = [one for one in seen.orders if one.purpose is Purpose.ENTRY or (name, one.leg) not in self._bare]
            if orders and name in self._adopting:
                found[name] = [one.client_id for one in orders]
        return found

    @property
    def has_bare(self) -> bool:
        """Whether a position was adopted that no stop of ours guards yet."""
        return bool(self._bare)

    def counted(self, fills: Iterable[Fill]) -> frozenset[FillKey]:
        """Give which of some foreign fills are in the foreign positions already."""
        newest = {name: seen.last_trade_id for name, seen in self._seen.items()}
        return frozenset(fill_key(fill) for fill in fills if fill.trade_id <= newest.get(fill.instrument, 0))

    def take(
        self, plan: Plan, held: Iterable[Position], memory: Books, cause: Message, to: tuple[str, ...]
    ) -> tuple[tuple[str, AdoptedLot], ...]:
        """Take what a reading shows; tell ``to`` and a person where it is new. A reading in doubt moves no position.

        Give what became ours, by instrument: its strategy is told too where anybody is.
        """
        taken: list[tuple[str, AdoptedLot]] = []
        elsewhere = frozenset(one.client_id for one in plan.foreign_orders if one.instrument not in self._instruments)
        if elsewhere - self._elsewhere:
            self._report(cause, {"orders": str(len(elsewhere)), "where": "instruments that are not traded here"})
        self._elsewhere = elsewhere
        theirs = {(one.instrument, one.leg): one for one in held}
        ours = {(one.instrument, one.leg): one for one in memory.positions}
        for name in self._instruments:
            before = self._seen.get(name)
            positions = before.positions if before is not None else ()
            if plan.agreed:
                legs = (one for one in plan.foreign if one.instrument == name and one.qty_lots > 0)
                positions = tuple(_beyond_ours(one, theirs, ours) for one in legs)
            newest = before.last_trade_id if before is not None else 0
            if plan.agreed:
                newest = max((one.trade_id for one in plan.foreign_fills if one.instrument == name), default=newest)
            adopted = self._adopted(name, positions, plan, memory, newest) if plan.agreed else ()
            taken += [(name, one) for one in adopted]
            now = ForeignSeen(
                **self._post.head(cause),
                instrument=name,
                positions=() if adopted else positions,
                orders=tuple(one for one in plan.foreign_orders if one.instrument == name),
                last_trade_id=newest,
                adopted=adopted,
            )
            self._compare(before, now, (*to, strategy_name(name)) if to and adopted else to)
        self._bare.update({(name, one.lot.leg): one.lot.lot_id for name, one in taken})
        return tuple(taken)

    def _adopted(
        self, name: str, positions: Iterable[Position], plan: Plan, memory: Books, newest: int
    ) -> tuple[AdoptedLot, ...]:
        """Give the lots of an instrument's foreign positions; none where they are left alone.

        A lot is numbered by the newest foreign trade of its leg, as ours are by theirs.
        """
        params = self._adopting.get(name)
        if params is None:
            return ()
        grid = memory.grids.get(name)
        trades = {one.leg: one.trade_id for one in plan.foreign_fills if one.instrument == name}
        return tuple(
            adopted(params, 0 if grid is None else grid.step_micro, one, trades.get(one.leg, newest))
            for one in positions
        )

    def tell_again(self, cause: Message) -> None:
        """Tell a risk actor that is new what stands."""
        for seen in self._seen.values():
            again = ForeignSeen(
                **self._post.head(cause),
                instrument=seen.instrument,
                positions=seen.positions,
                orders=seen.orders,
                last_trade_id=seen.last_trade_id,
            )
            self._post.send(again, RISK)

    def _compare(self, before: ForeignSeen | None, now: ForeignSeen, to: tuple[str, ...]) -> None:
        # Trades of others are remembered though nothing is left of them: they are in what they left of ours.
        if before is None and not now.positions and not now.orders and not now.adopted and not now.last_trade_id:
            return
        if before is not None and _content(before) == _content(now) and not now.adopted:
            return
        self._seen[now.instrument] = now
        self._post.publish(now, *to)
        for one in now.adopted:
            self._tell_adopted(now, one.lot)
        if (now.positions or now.orders) and (before is None or _holding(before) != _holding(now)):
            lots = ", ".join(f"{one.leg.name} {one.qty_lots}" for one in now.positions) or "none"
            orders = ", ".join(one.client_id for one in now.orders[:4]) or "none"
            self._report(now, {"instrument": now.instrument, "lots": lots, "orders": orders})

    def _tell_adopted(self, cause: ForeignSeen, lot: OpenLot) -> None:
        figures = {
            "instrument": cause.instrument,
            "leg": lot.leg.name,
            "lots": str(lot.qty_lots),
            "lot_id": str(lot.lot_id),
            "entry_ticks": str(lot.entry_ticks),
            "take_profit_ticks": str(lot.tp_ticks),
            "stop_ticks": str(lot.stop_ticks),
        }
        text = "a position that was not ours is adopted: it has our exits now"
        self._post.publish(Incident(**self._post.head(cause), actor=EXECUTOR, text=text, figures=figures))

    def _report(self, cause: Message, figures: Mapping[str, str]) -> None:
        text = "the account holds what is not ours: it counts in exposure"
        self._post.publish(Incident(**self._post.head(cause), actor=EXECUTOR, text=text, figures=figures))


def _beyond_ours(
    leg: LegLots, theirs: Mapping[tuple[str, Leg], Position], ours: Mapping[tuple[str, Leg], Position]
) -> Position:
    """Give the foreign part of a leg: what its cost is beyond ours."""
    key = (leg.instrument, leg.leg)
    whole, own = theirs.get(key), ours.get(key)
    whole_e8 = 0 if whole is None else whole.cost_e8
    cost_e8 = whole_e8 - (0 if own is None else own.cost_e8)
    if cost_e8 <= 0 and whole is not None:
        # The exchange's average has moved away from our own cost: the foreign part has its share of the whole.
        cost_e8 = whole_e8 * leg.qty_lots // max(leg.qty_lots, whole.qty_lots)
    return Position(instrument=leg.instrument, leg=leg.leg, qty_lots=leg.qty_lots, cost_e8=cost_e8)


def _holding(seen: ForeignSeen) -> tuple[object, ...]:
    """Give what a person is told of: the legs' quantities and which orders there are."""
    lots = tuple((one.leg, one.qty_lots) for one in seen.positions)
    return (lots, frozenset(one.client_id for one in seen.orders))


def _content(seen: ForeignSeen) -> tuple[object, ...]:
    orders = frozenset((one.client_id, one.price_ticks, one.qty_lots, one.filled_lots) for one in seen.orders)
    return (seen.positions, orders, seen.last_trade_id)
