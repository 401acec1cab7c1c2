"""What the watchdog decides from what it reads: which causes of a pause are there, and which are gone.

Invariants:
- age is measured against the source's cadence: a source that gives one event a bar is stale after two bar lengths
  (DESIGN 15.8); at its limit a figure is still fine, but the last heartbeat is missed when its time is up;
- a reading that never came is missing, never zero: its age counts from when it was asked for;
- idle is healthy as long as no probe waits for its answer; busy is healthy as long as the progress counter moves
  (DESIGN 15.12: read at points, not by messages);
- a cause is told once when it comes and once when it goes: what stands already, or never stood, is not repeated.
"""

from collections.abc import Collection, Iterable
from typing import Final

import attrs

from hedgegrid.core.pause import ACCOUNT, Reason
from hedgegrid.core.permission_events import ReasonGone, ReasonRaised

_BARS_UNTIL_STALE: Final = 2


@attrs.frozen(kw_only=True)
class HealthLimits:
    """The limits of ``[watchdog]``: durations in ns, ``heartbeat_missed`` a count of heartbeats."""

    feed_stale_ns: int
    quote_silence_ns: int
    heartbeat_ns: int
    heartbeat_missed: int
    max_loop_lag_ns: int
    max_clock_skew_ns: int
    unknown_pause_ns: int


@attrs.frozen(kw_only=True)
class SourceReading:
    """A source of market events (recorded and synthetic bars, quotes, marks).

    ``cadence_ns``: the length of its bars, 0 for a stream. ``last_event_ns``: the time that its newest event speaks of;
    ``last_arrival_ns``: when that reached us; both None before the first, whose age then counts from ``since_ns``.
    ``last_pong_ns``: when its own socket last answered a ping, None where it has none.
    """

    name: str
    scope: str
    cadence_ns: int
    since_ns: int
    last_event_ns: int | None = None
    last_arrival_ns: int | None = None
    last_pong_ns: int | None = None


@attrs.frozen(kw_only=True)
class VenueProbe:
    """What was measured beside the messages; None where it was not.

    ``loop_lag_ns``: how late the event loop is; ``clock_skew_ns``: the exchange's clock minus ours; ``last_pong_ns``:
    when the sockets of the market last answered a ping, the one that is silent longest; ``account_ns``: when the
    account was last read whole.
    """

    loop_lag_ns: int | None = None
    clock_skew_ns: int | None = None
    last_pong_ns: int | None = None
    account_ns: int | None = None


@attrs.frozen(kw_only=True)
class Progress:
    """What an actor's progress counter has shown so far.

    ``stuck_since_ns``: since when it has had work without moving, None while it is idle; ``probe_since_ns``: since when
    a probe waits for its answer, None where none does.
    """

    name: str
    scope: str
    counter: int
    stuck_since_ns: int | None
    probe_since_ns: int | None


@attrs.frozen(kw_only=True)
class UnknownOrder:
    """An order whose outcome nobody knows, and since when."""

    instrument: str
    since_ns: int


@attrs.frozen(kw_only=True)
class Readings:
    """All that one look of the watchdog saw; ``loop_lag_ns`` and ``clock_skew_ns`` are None where not measured."""

    sources: tuple[SourceReading, ...] = ()
    actors: tuple[Progress, ...] = ()
    loop_lag_ns: int | None = None
    clock_skew_ns: int | None = None
    unknown_orders: tuple[UnknownOrder, ...] = ()


Finding = ReasonRaised | ReasonGone


def first_progress(*, name: str, scope: str, now_ns: int) -> Progress:
    """Give what is known of an actor that has just started: it has shown nothing, and is given the time to."""
    return Progress(name=name, scope=scope, counter=0, stuck_since_ns=now_ns, probe_since_ns=None)


def observed(before: Progress, *, counter: int, pending: int, probe_since_ns: int | None, now_ns: int) -> Progress:
    """Give what is known after a look: ``counter`` of messages done, ``pending`` messages waiting or in hand.

    ``probe_since_ns``: since when the probe of the last look waits, None where it was answered. One that waits behind
    work is as old as the newest progress.
    """
    if probe_since_ns is not None:
        earlier_ns = probe_since_ns if before.probe_since_ns is None else before.probe_since_ns
        probe_since_ns = earlier_ns if counter == before.counter else now_ns
    if pending == 0:
        stuck_since_ns = None
    elif counter != before.counter or before.stuck_since_ns is None:
        stuck_since_ns = now_ns
    else:
        stuck_since_ns = before.stuck_since_ns
    return Progress(
        name=before.name,
        scope=before.scope,
        counter=counter,
        stuck_since_ns=stuck_since_ns,
        probe_since_ns=probe_since_ns,
    )


def stale_after_ns(limits: HealthLimits, source: SourceReading) -> int:
    """Give the age beyond which ``source`` is stale."""
    return max(limits.feed_stale_ns, _BARS_UNTIL_STALE * source.cadence_ns)


def age_ns(source: SourceReading, now_ns: int) -> int:
    """Give the source's age: of the older of what its newest event speaks of and its arrival."""
    if source.last_event_ns is None or source.last_arrival_ns is None:
        return now_ns - source.since_ns
    return now_ns - min(source.last_event_ns, source.last_arrival_ns)


def is_stale(limits: HealthLimits, source: SourceReading, now_ns: int) -> bool:
    """Whether no decision may rest on ``source``; silence on a socket that answers pings is fresh for a while."""
    age = age_ns(source, now_ns)
    limit_ns = stale_after_ns(limits, source)
    if age <= limit_ns:
        return False
    answers = source.last_pong_ns is not None and now_ns - source.last_pong_ns <= limit_ns
    spoke = source.last_event_ns is not None
    return not (answers and spoke and age <= limits.quote_silence_ns)


def is_silent(limits: HealthLimits, actor: Progress, now_ns: int) -> bool:
    """Whether ``actor`` has missed its heartbeats: too long without progress at work, or without answer to a probe."""
    return silence_ns(actor, now_ns) >= _heartbeats_ns(limits)


def silence_ns(actor: Progress, now_ns: int) -> int:
    """Give how long ``actor`` has not shown what it should: progress at work, or an answer to a probe."""
    stuck_ns = 0 if actor.stuck_since_ns is None else now_ns - actor.stuck_since_ns
    probe_ns = 0 if actor.probe_since_ns is None else now_ns - actor.probe_since_ns
    return max(stuck_ns, probe_ns)


def assess(
    limits: HealthLimits, readings: Readings, standing: Collection[tuple[Reason, str]], now_ns: int
) -> tuple[Finding, ...]:
    """Give the causes that have come and those that have gone, by reason and scope.

    ``standing`` are the (reason, scope) whose cause is held to be there (``permission.standing``). A standing reason of
    a scope that the readings do not speak of is left alone, but for UNKNOWN_ORDER: there no order is good news.
    """
    verdicts = [
        *_feed(limits, readings.sources, standing, now_ns),
        *_heartbeat(limits, readings.actors, now_ns),
        *_loop(limits, readings, standing),
        *_unknown(limits, readings.unknown_orders, standing, now_ns),
    ]
    return tuple(one for one in verdicts if isinstance(one, ReasonRaised) != ((one.reason, one.scope) in standing))


def _heartbeats_ns(limits: HealthLimits) -> int:
    return limits.heartbeat_ns * limits.heartbeat_missed


def _scopes(scopes: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(dict.fromkeys(scopes)))


def _feed(
    limits: HealthLimits, sources: tuple[SourceReading, ...], standing: Collection[tuple[Reason, str]], now_ns: int
) -> tuple[Finding, ...]:
    """Judge each scope by the source that is furthest beyond its limit; one that is as it was is no finding."""
    findings: list[Finding] = []
    for scope in _scopes(source.scope for source in sources):
        ours = [source for source in sources if source.scope == scope]
        bad = [source for source in ours if is_stale(limits, source, now_ns)]
        if bool(bad) == ((Reason.FEED_STALE, scope) in standing):
            continue
        worst = max(bad or ours, key=lambda one: (age_ns(one, now_ns) - stale_after_ns(limits, one), one.name))
        figures: dict[str, int | str] = {
            "source": worst.name,
            "age_ns": age_ns(worst, now_ns),
            "limit_ns": stale_after_ns(limits, worst),
        }
        if worst.last_event_ns is None:
            figures["missing"] = "no event yet"
        made = ReasonRaised if bad else ReasonGone
        findings.append(made(reason=Reason.FEED_STALE, scope=scope, figures=figures))
    return tuple(findings)


def _heartbeat(limits: HealthLimits, actors: tuple[Progress, ...], now_ns: int) -> tuple[Finding, ...]:
    findings: list[Finding] = []
    for scope in _scopes(actor.scope for actor in actors):
        ours = [actor for actor in actors if actor.scope == scope]
        worst = max(ours, key=lambda one: (silence_ns(one, now_ns), one.name))
        figures: dict[str, int | str] = {
            "actor": worst.name,
            "silence_ns": silence_ns(worst, now_ns),
            "limit_ns": _heartbeats_ns(limits),
            "counter": worst.counter,
        }
        made = ReasonRaised if is_silent(limits, worst, now_ns) else ReasonGone
        findings.append(made(reason=Reason.HEARTBEAT_MISSED, scope=scope, figures=figures))
    return tuple(findings)


def _loop(limits: HealthLimits, readings: Readings, standing: Collection[tuple[Reason, str]]) -> tuple[Finding, ...]:
    """Judge the loop and the clock; what is as it was is no finding."""
    findings: list[Finding] = []
    lag_ns, skew_ns = readings.loop_lag_ns, readings.clock_skew_ns
    if lag_ns is not None and (lag_ns > limits.max_loop_lag_ns) != ((Reason.LOOP_BLOCKED, ACCOUNT) in standing):
        lag: dict[str, int | str] = {"lag_ns": lag_ns, "limit_ns": limits.max_loop_lag_ns}
        made = ReasonRaised if lag_ns > limits.max_loop_lag_ns else ReasonGone
        findings.append(made(reason=Reason.LOOP_BLOCKED, figures=lag))
    if skew_ns is not None and (abs(skew_ns) > limits.max_clock_skew_ns) != ((Reason.CLOCK_SKEW, ACCOUNT) in standing):
        skew: dict[str, int | str] = {"skew_ns": skew_ns, "limit_ns": limits.max_clock_skew_ns}
        made = ReasonRaised if abs(skew_ns) > limits.max_clock_skew_ns else ReasonGone
        findings.append(made(reason=Reason.CLOCK_SKEW, figures=skew))
    return tuple(findings)


def _unknown(
    limits: HealthLimits, orders: tuple[UnknownOrder, ...], standing: Collection[tuple[Reason, str]], now_ns: int
) -> tuple[Finding, ...]:
    """Judge each instrument by its oldest UNKNOWN order; one without any is well again."""
    if not orders and not standing:
        return ()
    paused = (scope for reason, scope in standing if reason is Reason.UNKNOWN_ORDER and scope != ACCOUNT)
    findings: list[Finding] = []
    for scope in _scopes((*(order.instrument for order in orders), *paused)):
        ages_ns = [now_ns - order.since_ns for order in orders if order.instrument == scope]
        oldest_ns = max(ages_ns, default=0)
        figures: dict[str, int | str] = {
            "orders": len(ages_ns),
            "age_ns": oldest_ns,
            "limit_ns": limits.unknown_pause_ns,
        }
        made = ReasonRaised if oldest_ns > limits.unknown_pause_ns else ReasonGone
        findings.append(made(reason=Reason.UNKNOWN_ORDER, scope=scope, figures=figures))
    return tuple(findings)
