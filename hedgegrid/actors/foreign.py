"""What the account holds that is not ours: told to risk when it changes, reported once, and left alone.

Invariants: our own orders and positions are never in it; a foreign fill moves it once, over restarts too; nothing is
touched unless the settings say ``adopt_foreign``, and then foreign orders alone are cancelled.
"""

from collections.abc import Iterable, Mapping

from hedgegrid.actors.post import EXECUTOR, RISK, Post
from hedgegrid.core.reconcile_views import FillKey, LegLots, Plan, fill_key
from hedgegrid.messages.events import ForeignSeen, Incident, Message
from hedgegrid.model.account import Position
from hedgegrid.model.order import Fill, Leg


class Foreign:
    """What each instrument holds beside our own."""

    def __init__(self, post: Post, instruments: Iterable[str]) -> None:
        """Know nothing yet; only ``instruments`` can count in exposure."""
        self._post = post
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

    def names(self) -> dict[str, list[str]]:
        """Give the ids of the open orders that are not ours, by instrument."""
        return {name: [one.client_id for one in seen.orders] for name, seen in self._seen.items() if seen.orders}

    def counted(self, fills: Iterable[Fill]) -> frozenset[FillKey]:
        """Give which of some foreign fills are in the foreign positions already."""
        newest = {name: seen.last_trade_id for name, seen in self._seen.items()}
        return frozenset(fill_key(fill) for fill in fills if fill.trade_id <= newest.get(fill.instrument, 0))

    def take(
        self, plan: Plan, held: Iterable[Position], own: Iterable[Position], cause: Message, to: tuple[str, ...]
    ) -> None:
        """Take what a reading shows; tell ``to`` and a person where it is new. A reading in doubt moves no position."""
        elsewhere = frozenset(one.client_id for one in plan.foreign_orders if one.instrument not in self._instruments)
        if elsewhere - self._elsewhere:
            self._report(cause, {"orders": str(len(elsewhere)), "where": "instruments that are not traded here"})
        self._elsewhere = elsewhere
        theirs = {(one.instrument, one.leg): one for one in held}
        ours = {(one.instrument, one.leg): one for one in own}
        for name in self._instruments:
            before = self._seen.get(name)
            positions = before.positions if before is not None else ()
            if plan.agreed:
                legs = (one for one in plan.foreign if one.instrument == name and one.qty_lots > 0)
                positions = tuple(_beyond_ours(one, theirs, ours) for one in legs)
            newest = before.last_trade_id if before is not None else 0
            if plan.agreed:
                newest = max((one.trade_id for one in plan.foreign_fills if one.instrument == name), default=newest)
            now = ForeignSeen(
                **self._post.head(cause),
                instrument=name,
                positions=positions,
                orders=tuple(one for one in plan.foreign_orders if one.instrument == name),
                last_trade_id=newest,
            )
            self._compare(before, now, to)

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
        if before is None and not now.positions and not now.orders:
            return
        if before is not None and _content(before) == _content(now):
            return
        self._seen[now.instrument] = now
        self._post.publish(now, *to)
        if (now.positions or now.orders) and (before is None or _holding(before) != _holding(now)):
            lots = ", ".join(f"{one.leg.name} {one.qty_lots}" for one in now.positions) or "none"
            orders = ", ".join(one.client_id for one in now.orders[:4]) or "none"
            self._report(now, {"instrument": now.instrument, "lots": lots, "orders": orders})

    def _report(self, cause: Message, figures: Mapping[str, str]) -> None:
        text = "the account holds what is not ours: it counts in exposure"
        self._post.publish(Incident(**self._post.head(cause), actor=EXECUTOR, text=text, figures=figures))


def _beyond_ours(
    leg: LegLots, theirs: Mapping[tuple[str, Leg], Position], ours: Mapping[tuple[str, Leg], Position]
) -> Position:
    """Give the foreign part of a leg: what its cost is beyond ours."""
    key = (leg.instrument, leg.leg)
    whole, own = theirs.get(key), ours.get(key)
    cost_e8 = (0 if whole is None else whole.cost_e8) - (0 if own is None else own.cost_e8)
    return Position(instrument=leg.instrument, leg=leg.leg, qty_lots=leg.qty_lots, cost_e8=max(0, cost_e8))


def _holding(seen: ForeignSeen) -> tuple[object, ...]:
    """Give what a person is told of: the legs' quantities and which orders there are."""
    lots = tuple((one.leg, one.qty_lots) for one in seen.positions)
    return (lots, frozenset(one.client_id for one in seen.orders))


def _content(seen: ForeignSeen) -> tuple[object, ...]:
    orders = frozenset((one.client_id, one.price_ticks, one.qty_lots, one.filled_lots) for one in seen.orders)
    return (seen.positions, orders, seen.last_trade_id)
