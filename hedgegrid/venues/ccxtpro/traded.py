"""What every part of an account's trading side shares: the session, the instruments, and whose orders are whose."""

from collections.abc import Sequence
from typing import Self

import attrs

from hedgegrid.venues.ccxtpro.order_names import KEPT, OrderNames, Slices
from hedgegrid.venues.ccxtpro.parse_rules import ListedInstrument
from hedgegrid.venues.ccxtpro.scaling import Scales
from hedgegrid.venues.ccxtpro.session import Session
from hedgegrid.venues.ccxtpro.sockets import Report


@attrs.frozen(kw_only=True)
class Traded:
    """One account's instruments: ``listed`` by our names, ``scales`` by the exchange's symbols.

    ``report`` takes what a person should know. ``listed`` is the only thing here that changes: the exchange's rules do,
    but for tick and lot, which ``scales`` are made of.
    """

    session: Session
    listed: dict[str, ListedInstrument]
    scales: Scales
    names: OrderNames
    slices: Slices
    report: Report

    @classmethod
    def of(cls, session: Session, listed: Sequence[ListedInstrument], report: Report) -> Self:
        """Begin with no order known."""
        return cls(
            session=session,
            listed={one.instrument.name: one for one in listed},
            scales={one.symbol: one.scale for one in listed},
            names=OrderNames(KEPT * len(listed)),
            slices=Slices(),
            report=report,
        )

    @property
    def settle_asset(self) -> str:
        """The asset that all the instruments are settled in."""
        return next(iter(self.scales.values())).settle_asset
