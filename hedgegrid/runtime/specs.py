"""What a supervisor is told, what it reports, and what it raises.

Invariants: every number of restarts, wait and timeout has a bound; backoff is a function of the attempt alone (no
chance in it), so that two runs restart at the same times.
"""

import os
from collections.abc import Callable, Coroutine, Sequence
from enum import Enum
from typing import Any, Final, NoReturn, Protocol

import attrs

from hedgegrid.runtime.actor import ActorReading

EXIT_UNSTOPPABLE: Final = 70
"""Exit status of a run that had to end at once (EX_SOFTWARE of sysexits.h)."""
EXIT_WEDGED: Final = 75
"""Exit status of a run whose event loop did not come back: to be started again (EX_TEMPFAIL of sysexits.h)."""


class Child(Protocol):
    """What a supervisor runs: an actor, another supervisor, or anything with this method."""

    async def run(self, started: Callable[[], None]) -> None:
        """Live once: call `started` when ready, go on until done, failed or cancelled."""
        ...


class Restart(Enum):
    """Which ends of a child are followed by a new start."""

    PERMANENT = "permanent"
    """Every end."""
    TRANSIENT = "transient"
    """A failure; a child that returns is done."""
    TEMPORARY = "temporary"
    """None: neither its own failure nor a restart of an earlier sibling."""

    def follows(self, error: BaseException | None) -> bool:
        """Whether a child that ended with `error` (None: it returned) is started again."""
        return self is Restart.PERMANENT or (self is Restart.TRANSIENT and error is not None)


class Strategy(Enum):
    """Whom a failed child takes with it."""

    ONE_FOR_ONE = "one_for_one"
    """Nobody."""
    REST_FOR_ONE = "rest_for_one"
    """Those started after it: stopped in reverse at once, started again in order once it has started again."""


@attrs.frozen(kw_only=True)
class ChildSpec:
    """How one child is started, restarted and stopped."""

    id: str
    """Unique below one root: kills and reports name it."""
    start: Callable[[], Child]
    """Makes a fresh child; called for every start. What it raises is a failed start."""
    restart: Restart
    shutdown_timeout_ns: int = attrs.field(validator=attrs.validators.gt(0))
    """How long it may take to end after its cancellation; a supervisor gets its own children's timeouts on top."""


@attrs.frozen(kw_only=True)
class RestartLimits:
    """How often and how fast children are restarted; times in ns."""

    max_restarts: int = attrs.field(validator=attrs.validators.ge(0))
    """Restarts of all children of one supervisor within `period_ns` that it bears; one more escalates."""
    period_ns: int = attrs.field(validator=attrs.validators.gt(0))
    backoff_min_ns: int = attrs.field(validator=attrs.validators.gt(0))
    """Wait before a child's first restart; each further one doubles it."""
    backoff_max_ns: int = attrs.field(validator=attrs.validators.gt(0))
    stable_ns: int = attrs.field(validator=attrs.validators.gt(0))
    """Uptime after which a child's next restart counts as its first again."""

    def backoff_ns(self, attempt: int) -> int:
        """Return the wait in ns before restart number `attempt` (from 1) since the child was last stable."""
        doublings = min(attempt - 1, self.backoff_max_ns.bit_length())
        return min(self.backoff_max_ns, self.backoff_min_ns << doublings)


class EscalationError(Exception):
    """A supervisor gave up; its parent decides, and at the root nobody is left to."""


class UnstoppableError(EscalationError):
    """A child did not end within its timeout; no parent restarts over it, for it may still be acting."""


class ChildKilledError(Exception):
    """A child was ended from outside: by `kill_child`, or by a cancellation that was not its supervisor's."""


def exit_now(_child_id: str) -> NoReturn:
    """End the whole run at once: a child that ignores its cancellation may act on, and nothing else can stop it."""
    os._exit(EXIT_UNSTOPPABLE)


def _ignore_restart(_child_id: str, _error: BaseException | None, _attempt: int) -> None:
    """Count only: the statistics hold every restart."""


@attrs.frozen(kw_only=True)
class Hooks:
    """Whom a supervisor tells; what a plain hook raises ends the supervisor."""

    on_child_error: Callable[[str, BaseException], None]
    """(child id, error): a failure that no restart follows: of a temporary child, or while it was being stopped."""
    on_restart: Callable[[str, BaseException | None, int], None] = _ignore_restart
    """(child id, error or None where it returned, attempt since it was stable): called before the backoff."""
    on_give_up: Callable[[EscalationError], Coroutine[Any, Any, None]] | None = None
    """Called before the children that are left are stopped, so that they can still act."""
    give_up_timeout_ns: int = attrs.field(default=5_000_000_000, validator=attrs.validators.gt(0))
    """How long `on_give_up` may take."""
    on_unstoppable: Callable[[str], None] = exit_now
    """(child id): a child outlived its shutdown timeout."""


class ChildState(Enum):
    """Where a child is in its life."""

    PENDING = "pending"
    """Waits for its turn or for the end of its backoff."""
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    DONE = "done"
    """Ended, and not to be started again."""


@attrs.frozen(kw_only=True)
class ChildStatus:
    """One child as it is now; times in ns since the epoch."""

    id: str
    state: ChildState
    starts: int
    """Times it was started, for whatever reason."""
    restarts: int
    """Times it failed and was to be started again."""
    attempt: int
    """Restarts in a row without stable uptime; its backoff follows from it."""
    started_ns: int | None
    """When its present life was ready; None before that."""
    last_error: BaseException | None
    """What ended its previous life."""
    reading: ActorReading | None
    """Progress, where the child is an actor that has been made."""
    children: Sequence["ChildStatus"]
    """Of a child that is a supervisor."""
