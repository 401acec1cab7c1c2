"""What each leg holds as the private stream says it, against what the fills that the stream told make of it.

Pure. Invariants: what is known of a leg is anchored at one moment of the exchange's time, and nothing of that moment or
before it counts as evidence; legs and fills may come in either order, so that they may differ for a while; a leg that
is not known yet is only noted; a leg that was found to differ for too long is forgotten until somebody tells it anew.
"""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Final

import attrs

from hedgegrid.model.order import Leg, Purpose, side_of
from hedgegrid.venues.ccxtpro.order_names import TRADES_KEPT, keep
from hedgegrid.venues.ccxtpro.parse_orders import OrderReport

LegKey = tuple[str, Leg]

APART_NS: Final = 300_000_000
"""How long a leg and its fills may differ: the exchange tells both within milliseconds."""


@attrs.define(kw_only=True)
class _Known:
    """A leg: the lots that were said last, those that the fills make, since when and as of when."""

    said_lots: int
    said_ns: int
    filled_lots: int
    from_ns: int
    differs_ns: int | None = None


class LegWatch:
    """The legs of one account; lots are signless, times the exchange's but for ``now_ns``, which is ours."""

    def __init__(self, kept: int = TRADES_KEPT) -> None:
        """Begin with no leg known; ``kept``: how many of the newest fills are known again."""
        self._kept = kept
        self._known: dict[LegKey, _Known] = {}
        self._seen: OrderedDict[tuple[str, int, int], None] = OrderedDict()

    @property
    def lots(self) -> Mapping[LegKey, int]:
        """What each known leg holds, as it was said last."""
        return {key: known.said_lots for key, known in self._known.items()}

    @property
    def waits(self) -> bool:
        """Whether a leg differs from its fills."""
        return any(known.differs_ns is not None for known in self._known.values())

    def read(self, key: LegKey, lots: int, as_of_ns: int) -> None:
        """Take what a read of the exchange shows of a leg; it is known from then on."""
        self._known[key] = _Known(said_lots=lots, said_ns=as_of_ns, filled_lots=lots, from_ns=as_of_ns)

    def said(self, key: LegKey, lots: int, ts_ns: int, now_ns: int) -> None:
        """Take what the stream says that a leg holds. One that is older than the last is no news."""
        known = self._known.get(key)
        if known is None or ts_ns <= known.from_ns:
            self.read(key, lots, ts_ns if known is None else known.from_ns)
        elif ts_ns >= known.said_ns:
            known.said_lots, known.said_ns = lots, ts_ns
            _compare(known, now_ns)

    def filled(self, report: OrderReport, now_ns: int) -> None:
        """Take a fill as the stream tells it, whoever told it before; a second copy counts nothing."""
        if report.trade is None or report.leg is None:
            return
        trade = (report.instrument, report.trade.trade_id, report.order_id)
        if trade in self._seen:
            return
        keep(self._seen, trade, None, self._kept)
        known = self._known.get((report.instrument, report.leg))
        if known is None or report.ts_ns <= known.from_ns:
            return
        opens = report.side is side_of(report.leg, Purpose.ENTRY)
        known.filled_lots += report.trade.qty_lots if opens else -report.trade.qty_lots
        _compare(known, now_ns)

    def due(self, now_ns: int) -> tuple[str, ...]:
        """Name the legs that differ from their fills for too long, and forget them."""
        apart = [
            (key, known)
            for key, known in self._known.items()
            if known.differs_ns is not None and now_ns - known.differs_ns >= APART_NS
        ]
        for key, _ in apart:
            del self._known[key]
        return tuple(
            f"{name} {leg.name} holds {known.said_lots} lots, and the fills that were told make {known.filled_lots}"
            for (name, leg), known in apart
        )

    def forget(self) -> None:
        """Take note that nothing is known any more."""
        self._known.clear()


def _compare(known: _Known, now_ns: int) -> None:
    if known.said_lots == known.filled_lots:
        known.differs_ns = None
    elif known.differs_ns is None:
        known.differs_ns = now_ns
