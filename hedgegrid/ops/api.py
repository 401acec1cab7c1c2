"""The routes under ``/api/v1`` that tell how an account stands and that an operator controls it by.

Invariants: a route answers from what is known at once and waits for nobody; a control answers 202, for it is on its
way and not done; what a body may hold is bounded and checked before anybody is asked for anything.
"""

from enum import StrEnum
from http import HTTPStatus
from typing import Annotated, Final

import attrs
import msgspec
from litestar import get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import JSONBody

from hedgegrid.model.order import Leg
from hedgegrid.ops.control import Control, FlattenState, LimitReading, Taken
from hedgegrid.ops.readings import average_entry, price, qty, quote
from hedgegrid.ops.view import AccountView
from hedgegrid.units import PPM

BODY_BYTES_MAX: Final = 4_096
_TAKEN: Final = HTTPStatus.ACCEPTED


class LegChoice(StrEnum):
    """Which legs a control is about."""

    LONG = "long"
    SHORT = "short"
    BOTH = "both"

    @property
    def legs(self) -> tuple[str, ...]:
        """The legs in words."""
        return ("long", "short") if self is LegChoice.BOTH else (self.value,)


class FlattenBody(msgspec.Struct, forbid_unknown_fields=True):
    """What ``POST /api/v1/flatten`` is told."""

    leg: LegChoice = LegChoice.BOTH


class ResumeBody(msgspec.Struct, forbid_unknown_fields=True):
    """What ``POST /api/v1/resume`` is told."""

    new_peak: bool = False


class ThrottleBody(msgspec.Struct, forbid_unknown_fields=True):
    """What ``POST /api/v1/throttle`` is told: the factor on the quantity of new entries."""

    factor: Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]


@attrs.frozen(kw_only=True)
class LegStatus:
    """One leg: base units and quote currency; None where it is not known."""

    leg: str
    qty: float | None
    average_entry: float | None


@attrs.frozen(kw_only=True)
class InstrumentStatus:
    """One instrument: its mark in quote currency, its legs and how many orders of it are open."""

    instrument: str
    mark: float | None
    open_orders: int | None
    legs: tuple[LegStatus, ...]


@attrs.frozen(kw_only=True)
class Status:
    """The account as last told; money in quote currency, None where it is not known."""

    account: str
    mode: str | None
    reasons: tuple[str, ...]
    wallet: float | None
    equity: float | None
    realised: float | None
    fees: float | None
    funding: float | None
    fills: int
    foreign_orders: int | None
    flatten: FlattenState
    instruments: tuple[InstrumentStatus, ...]


@attrs.frozen(kw_only=True)
class RiskStatus:
    """The limits beside their present values, and the reasons that stand."""

    mode: str | None
    reasons: tuple[str, ...]
    limits: tuple[LimitReading, ...]


def status_of(view: AccountView, flatten: FlattenState) -> Status:
    """Give the account as ``view`` knows it."""
    return Status(
        account=view.account,
        mode=view.mode,
        reasons=_reasons(view),
        wallet=quote(view.wallet_e8),
        equity=quote(view.equity_e8),
        realised=quote(view.realised_e8),
        fees=quote(view.fees_e8),
        funding=quote(view.funding_e8),
        fills=view.fills_total(),
        foreign_orders=view.foreign_orders,
        flatten=flatten,
        instruments=tuple(
            InstrumentStatus(
                instrument=name,
                mark=price(one.rules, one.mark_ticks),
                open_orders=None if one.orders_ns is None else view.orders.total(name),
                legs=tuple(
                    LegStatus(
                        leg=leg.name.lower(),
                        qty=qty(one.rules, one.legs[leg].qty_lots),
                        average_entry=_float(average_entry(one.rules, one.legs[leg])),
                    )
                    for leg in Leg
                ),
            )
            for name, one in view.instruments.items()
        ),
    )


def _reasons(view: AccountView) -> tuple[str, ...]:
    return tuple(f"{reason} ({scope})" if scope else reason for reason, scope in view.reasons)


def _float(value: object) -> float | None:
    return None if value is None else float(str(value))


def reading_routes(view: AccountView, control: Control) -> list[HTTPRouteHandler]:
    """Give the routes that only tell."""

    @get("/api/v1/status")
    async def get_status() -> Status:
        return status_of(view, control.flattening())

    @get("/api/v1/risk")
    async def get_risk() -> RiskStatus:
        return RiskStatus(mode=view.mode, reasons=_reasons(view), limits=control.limits())

    @get("/api/v1/flatten")
    async def get_flatten() -> FlattenState:
        return control.flattening()

    return [get_status, get_risk, get_flatten]


def control_routes(control: Control) -> list[HTTPRouteHandler]:
    """Give the routes that an operator acts by."""

    @post("/api/v1/pause", status_code=_TAKEN, request_max_body_size=BODY_BYTES_MAX)
    async def post_pause() -> Taken:
        control.pause()
        return Taken(asked="pause")

    @post("/api/v1/resume", status_code=_TAKEN, request_max_body_size=BODY_BYTES_MAX)
    async def post_resume(data: JSONBody[ResumeBody]) -> Taken:  # names: Litestar gives the body by this one
        control.resume(new_peak=data.new_peak)
        return Taken(asked="resume")

    @post("/api/v1/throttle", status_code=_TAKEN, request_max_body_size=BODY_BYTES_MAX)
    async def post_throttle(data: JSONBody[ThrottleBody]) -> Taken:  # names: as above
        control.throttle(round(data.factor * PPM))
        return Taken(asked="throttle")

    @post("/api/v1/cancel-entries", status_code=_TAKEN, request_max_body_size=BODY_BYTES_MAX)
    async def post_cancel_entries() -> Taken:
        control.cancel_entries()
        return Taken(asked="cancel-entries")

    @post("/api/v1/flatten", status_code=_TAKEN, request_max_body_size=BODY_BYTES_MAX)
    async def post_flatten(data: JSONBody[FlattenBody]) -> Taken:  # names: as above
        control.flatten(data.leg.legs)
        return Taken(asked=f"flatten {data.leg.value}")

    return [post_pause, post_resume, post_throttle, post_cancel_entries, post_flatten]
