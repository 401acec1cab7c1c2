"""What is said of the permission: every change to the journal, and to each strategy what it may do now.

Invariants: a strategy is told only what is new to it, and nothing before it is ready; a change is journaled with its
figures before any strategy hears of it.
"""

from collections.abc import Callable, Sequence

from hedgegrid.actors.permits import Permits
from hedgegrid.actors.post import Post, strategy_name
from hedgegrid.core import permission
from hedgegrid.core.pause import ControlAction, Reason, cancels_entries
from hedgegrid.core.permission import PermissionChange, PermissionState, StandingReason
from hedgegrid.messages.events import Message, PermissionChanged, PermissionView
from hedgegrid.model.order import Leg


class PermissionWords:
    """The words of one account's risk actor."""

    def __init__(
        self,
        post: Post,
        names: Sequence[str],
        action: Callable[[Reason], ControlAction],
        closes: Callable[[PermissionState, str], tuple[Leg, ...]],
        throttle_ppm: int,
        permits: Permits,
    ) -> None:
        """``names`` are the instruments; ``action`` gives what a reason does, ``closes`` the legs being closed.

        ``throttle_ppm`` is what the operator said last, perhaps in an earlier life; ``permits`` is where it is written
        what may be added.
        """
        self._post = post
        self._names = tuple(names)
        self._action = action
        self._closes = closes
        self.throttle_ppm = throttle_ppm
        """The operator's factor on the quantity of new entries."""
        self._views: dict[str, tuple[bool, bool, tuple[Leg, ...], int]] = {}
        self._permits = permits
        self.unready = set(names)
        """The instruments whose strategies are not ready yet."""

    def ready(self, instrument: str) -> None:
        """A strategy is ready, perhaps anew: what it was told before it does not know."""
        self.unready.discard(instrument)
        self._views.pop(instrument, None)

    def tell_changes(self, cause: Message | None, changes: Sequence[PermissionChange]) -> None:
        """Journal changes of the permission."""
        for change in changes:
            self._post.publish(
                PermissionChanged(
                    **self._post.head(cause),
                    before=change.mode_from.value,
                    after=change.mode_to.value,
                    change=change.kind.value,
                    reason="" if change.reason is None else change.reason.value,
                    scope=change.scope,
                    figures={name: str(value) for name, value in change.figures},
                )
            )

    def tell_word(self, state: PermissionState, change: str, one: StandingReason, **more: str) -> None:
        """Journal a word about a reason that stands, which is no change of the mode; ``more`` are figures."""
        mode = state.mode.value
        told = PermissionChanged(
            **self._post.head(),
            before=mode,
            after=mode,
            change=change,
            reason=one.reason.value,
            scope=one.scope,
            figures={**{name: str(value) for name, value in one.figures}, **more},
            since_ns=one.raised_ns,
        )
        self._post.publish(told)

    def tell_views(self, cause: Message | None, state: PermissionState) -> None:
        """Write what may be added now, and tell each strategy what it may do, where that has changed."""
        for name in self._names:
            may_add = permission.may_increase(state, name)
            hold = any(
                cancels_entries(one.reason, self._action(one.reason)) and one.scope in ("", name)
                for one in state.reasons
            ) or state.mode in (permission.Mode.FLATTENING, permission.Mode.HALTED)
            closes = self._closes(state, name)
            view = PermissionView(
                **self._post.head(cause),
                instrument=name,
                may_add=may_add,
                hold_entries=hold,
                closes=closes,
                throttle_ppm=self.throttle_ppm,
            )
            self._permits.tell(name, may_add=may_add)
            told = (may_add, hold, closes, self.throttle_ppm)
            if self._views.get(name) == told or name in self.unready:
                continue
            self._views[name] = told
            self._post.send(view, strategy_name(name))
