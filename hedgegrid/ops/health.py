"""How the run is: what ``/api/v1/health`` answers.

Invariant: plain figures with units in their names; None is "not known".
"""

import attrs

from hedgegrid.ops.lifting import lifted_by
from hedgegrid.ops.readings import Pace, RuntimeReading, age_s, every_child, seconds
from hedgegrid.ops.view import AccountView
from hedgegrid.runtime.specs import ChildStatus


@attrs.frozen(kw_only=True)
class ActorHealth:
    """One actor or supervisor. ``progress`` counts handled messages of its present life."""

    name: str
    state: str
    restarts: int
    progress: int | None
    progress_age_s: float | None
    busy_s: float | None
    """How long it has been at one message; None while it waits for one."""
    still_s: float | None
    """How long it has not come further, nor answered a probe, in wall time; the other ages are the market's."""
    waiting: int | None
    """Messages that wait."""


@attrs.frozen(kw_only=True)
class PauseReason:
    """A reason that stands; ``scope`` is "" for the account, else an instrument; ``lifted_by`` says what ends it."""

    reason: str
    scope: str
    age_s: float | None
    lifted_by: str


@attrs.frozen(kw_only=True)
class InstrumentAges:
    """How old the figures of an instrument are, in seconds."""

    instrument: str
    mark_age_s: float | None
    funding_age_s: float | None
    bar_age_s: float | None
    orders_age_s: float | None


@attrs.frozen(kw_only=True)
class Health:
    """The run as it is now."""

    account: str
    now_ns: int
    market_still_s: float | None
    """How long the market's time has stood, in wall time; None before that was looked at."""
    mode: str | None
    mode_age_s: float | None
    reasons: tuple[PauseReason, ...]
    equity_age_s: float | None
    balance_age_s: float | None
    instruments: tuple[InstrumentAges, ...]
    actors: tuple[ActorHealth, ...]


def reasons_of(view: AccountView, now_ns: int) -> tuple[PauseReason, ...]:
    """Give the reasons that stand, in order of rise."""
    return tuple(
        PauseReason(reason=reason, scope=scope, age_s=age_s(raised_ns, now_ns), lifted_by=lifted_by(reason))
        for (reason, scope), raised_ns in view.reasons.items()
    )


def health(view: AccountView, reading: RuntimeReading, now_ns: int) -> Health:
    """Give the health at ``now_ns``, by the clock that the view's times come from."""
    money = None if reading.account is None else reading.account.money
    worth = None if reading.account is None else reading.account.worth
    return Health(
        account=view.account,
        now_ns=now_ns,
        market_still_s=seconds(reading.pace.market_still_ns()),
        mode=view.mode,
        mode_age_s=age_s(view.mode_ns, now_ns),
        reasons=reasons_of(view, now_ns),
        equity_age_s=None if worth is None else age_s(worth.at_ns, now_ns),
        balance_age_s=None if money is None else age_s(money.at_ns, now_ns),
        instruments=tuple(
            InstrumentAges(
                instrument=name,
                mark_age_s=age_s(one.mark_ns, now_ns),
                funding_age_s=age_s(one.funding_ns, now_ns),
                bar_age_s=age_s(one.bar_ns, now_ns),
                orders_age_s=age_s(one.orders_ns, now_ns),
            )
            for name, one in view.instruments.items()
        ),
        actors=tuple(_actor(child, reading.pace, now_ns) for child in every_child(reading.children)),
    )


def _actor(child: ChildStatus, pace: Pace, now_ns: int) -> ActorHealth:
    reading = child.reading
    return ActorHealth(
        name=child.id,
        state=child.state.value,
        restarts=child.restarts,
        progress=None if reading is None else reading.progress,
        progress_age_s=None if reading is None else age_s(reading.progress_ns, now_ns),
        busy_s=None if reading is None else age_s(reading.busy_since_ns, now_ns),
        still_s=seconds(pace.still_ns(child.id)),
        waiting=None if reading is None else reading.depth,
    )
