"""The operator's hand on a running account: words become messages, and what is known becomes answers.

Invariant: it asks and reads; it decides nothing and waits for nobody.
"""

from collections.abc import Callable, Mapping
from typing import Any

from hedgegrid.messages import commands
from hedgegrid.messages.events import Message
from hedgegrid.model.order import Leg
from hedgegrid.ops.control import ControlReading, FlattenState
from hedgegrid.ops.readings import age_s
from hedgegrid.ops.view import AccountView


def flatten_state(view: AccountView, now_ns: int) -> FlattenState:
    """Give how far a flatten is, as ``view`` was told."""
    flatten = view.flatten
    return FlattenState(
        stage=flatten.stage,
        legs=tuple(leg.name.lower() for leg in flatten.legs),
        left=flatten.left,
        foreign=flatten.foreign,
        age_s=age_s(flatten.asked_ns, now_ns),
    )


class Operator:
    """The ``Control`` port over the actors' control lane."""

    def __init__(
        self,
        view: AccountView,
        *,
        head: Callable[[], Mapping[str, Any]],
        tell: Callable[[Message], None],
        now_ns: Callable[[], int],
        read_controls: Callable[[], tuple[ControlReading, ...]],
        kill: Callable[[str], bool],
    ) -> None:
        """``tell`` journals a command and brings it to who owns the permission; ``head`` numbers it.

        ``kill`` throws the kill switch in somebody's name.
        """
        self._view = view
        self._head = head
        self._tell = tell
        self._now_ns = now_ns
        self._read_controls = read_controls
        self._kill = kill

    def pause(self) -> None:
        """Latch a pause."""
        self._tell(commands.Pause(**self._head()))

    def resume(self, *, new_peak: bool) -> None:
        """Lift the latched reasons."""
        self._tell(commands.Resume(**self._head(), new_peak=new_peak))

    def throttle(self, factor_ppm: int) -> None:
        """Scale the quantity of new entries."""
        self._tell(commands.Throttle(**self._head(), factor_ppm=factor_ppm))

    def cancel_entries(self) -> None:
        """Take every resting entry away."""
        self._tell(commands.CancelEntries(**self._head()))

    def kill(self) -> bool:
        """Throw the kill switch."""
        return self._kill("api")

    def flatten(self, legs: tuple[str, ...]) -> None:
        """Close legs of every instrument at the market."""
        self._tell(commands.Flatten(**self._head(), legs=tuple(Leg[leg.upper()] for leg in legs)))

    def flattening(self) -> FlattenState:
        """Tell how far a flatten is."""
        return flatten_state(self._view, self._now_ns())

    def controls(self) -> tuple[ControlReading, ...]:
        """Give each control beside its present value."""
        return self._read_controls()
