"""The routes under ``/api/v1`` that tell how an account stands and that an operator controls it by.

Invariants: a route answers from what is known at once and waits for nobody; a control answers 202, for it is on its
way and not done; what a body may hold is bounded and checked before anybody is asked for anything.
"""

from collections.abc import Callable
from enum import StrEnum
from http import HTTPStatus
from typing import Annotated, Final

import msgspec
from litestar import get, post
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler
from litestar.params import JSONBody

from hedgegrid.ops.control import Control, FlattenState, Taken
from hedgegrid.ops.health import reasons_of
from hedgegrid.ops.readings import RuntimeReading, age_s
from hedgegrid.ops.status import RiskStatus, Status, status_of
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


def reading_routes(
    view: AccountView, control: Control, read: Callable[[], RuntimeReading], now_ns: Callable[[], int]
) -> list[HTTPRouteHandler]:
    """Give the routes that only tell; ``now_ns`` is the clock of the view's times."""

    @get("/api/v1/status")
    async def get_status() -> Status:
        return status_of(view, read(), control.flattening(), now_ns())

    @get("/api/v1/risk")
    async def get_risk() -> RiskStatus:
        now = now_ns()
        return RiskStatus(
            mode=view.mode,
            mode_since_s=age_s(view.mode_since_ns, now),
            reasons=reasons_of(view, now),
            controls=control.controls(),
        )

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

    @post("/api/v1/kill", status_code=_TAKEN, request_max_body_size=BODY_BYTES_MAX)
    async def post_kill() -> Taken:
        if not control.kill():
            raise HTTPException(status_code=HTTPStatus.CONFLICT, detail="[risk.kill_switch] enabled is false")
        return Taken(asked="kill")

    @post("/api/v1/flatten", status_code=_TAKEN, request_max_body_size=BODY_BYTES_MAX)
    async def post_flatten(data: JSONBody[FlattenBody]) -> Taken:  # names: as above
        control.flatten(data.leg.legs)
        return Taken(asked=f"flatten {data.leg.value}")

    return [post_pause, post_resume, post_throttle, post_cancel_entries, post_kill, post_flatten]
