"""A person's flatten, or kill: a latched reason that names the legs, gone on with until the exchange shows them flat.

Invariants: the word is in the permission's latched reasons and nowhere else, so a restart goes on with it; the legs are
closed at every judged point anew (an entry may fill while its cancel travels); only the executor's two readings end it.
"""

from collections.abc import Callable, Sequence

from hedgegrid.actors.post import EXECUTOR, Post, strategy_name
from hedgegrid.actors.risk_book import RiskBook
from hedgegrid.core import permission
from hedgegrid.core.pause import ACCOUNT, ControlAction, Reason, is_latched
from hedgegrid.core.permission import LatchedEntry, PermissionState
from hedgegrid.core.permission_events import FlattenStarted, OperatorPause, PermissionEvent, ReasonRaised
from hedgegrid.messages.commands import FLATTEN_LEGS, ConfirmFlat, Flatten, Kill, Pause, named_legs
from hedgegrid.messages.events import FlatConfirmed, Message
from hedgegrid.model.order import Leg
from hedgegrid.runtime.clock import Clock

CONFIRM_AGAIN_NS = 5_000_000_000
"""How long the executor gets to say that the exchange is flat before it is asked again."""


def legs_to_flatten(state: PermissionState) -> tuple[Leg, ...]:
    """Give the legs that a person wants closed; none where no such word stands."""
    return tuple(sorted({leg for legs in _wishes(state).values() for leg in legs}))


def _wishes(state: PermissionState) -> dict[Reason, tuple[Leg, ...]]:
    """Give the reasons that are a person's word to close legs, each with its legs."""
    found = {
        one.reason: named_legs(dict(one.figures))
        for one in state.reasons
        if one.reason in (Reason.OPERATOR, Reason.KILL) and one.scope == ACCOUNT
    }
    return {reason: legs for reason, legs in found.items() if legs}


def wanted(state: PermissionState, word: Flatten | Kill | Pause) -> PermissionEvent:
    """Give what a person's word means to the permission: a flatten, of what is being closed already too, or a pause."""
    if isinstance(word, Pause):
        return OperatorPause()
    reason = Reason.KILL if isinstance(word, Kill) else Reason.OPERATOR
    said: dict[str, int | str] = {"by": word.by} if isinstance(word, Kill) else {}
    if not word.legs:
        return ReasonRaised(reason=reason, figures=said)
    legs = sorted({*legs_to_flatten(state), *word.legs})
    return FlattenStarted(reason=reason, figures={**said, FLATTEN_LEGS: ",".join(leg.name for leg in legs)})


def with_word(latched: Sequence[LatchedEntry], word: Flatten | Kill | Pause, now_ns: int) -> tuple[LatchedEntry, ...]:
    """Give latched reasons with a person's word among them."""
    state = permission.initial(0, latched)
    state, _ = permission.step(state, wanted(state, word), now_ns)
    return permission.export_latched(state)


class Flattening:
    """How far a person's flatten is, as the risk actor carries it."""

    def __init__(self, post: Post, book: RiskBook, clock: Clock, action: Callable[[Reason], ControlAction]) -> None:
        """Know of none yet; ``action`` gives what a reason does."""
        self._action = action
        self._post = post
        self._book = book
        self._clock = clock
        self._said = False
        self._controlled = False
        """Whether a control closes the account, and the exchange has not shown it flat since."""
        self._confirm_ns = 0

    def close(self, cause: Message, name: str, legs: tuple[Leg, ...]) -> None:
        """Have a strategy begin to close legs, or go on with it, at the mark that is known here."""
        mark_ticks = self._book.rules[self._book.index[name]].mark_ticks
        order = Flatten(**self._post.head(cause), legs=legs, mark_ticks=mark_ticks)
        self._post.send(order, strategy_name(name))

    def closes(self, state: PermissionState, name: str) -> tuple[Leg, ...]:
        """Give the legs of an instrument that a control, or the operator, wants closed."""
        for one in state.reasons:
            if one.scope in (ACCOUNT, name) and self._action(one.reason) is ControlAction.FLATTEN:
                return tuple(Leg)
        return legs_to_flatten(state) if self.is_under_way(state) else ()

    def is_under_way(self, state: PermissionState) -> bool:
        """Tell whether such a word stands and the exchange has not yet shown it flat."""
        return not self._said and legs_to_flatten(state) != ()

    def begin(self) -> None:
        """Take a new word: what was confirmed before does not count for it."""
        self._said = False
        self._confirm_ns = 0

    def done(self, message: FlatConfirmed, state: PermissionState) -> bool:
        """Take what the exchange has shown flat; True where that is all that is wanted closed by now."""
        self._said = set(message.legs) >= set(legs_to_flatten(state))
        self._controlled &= set(message.legs) < set(Leg)
        return self._said

    def control_began(self) -> None:
        """Take note that a control closes what the account holds."""
        self._controlled = True

    def confirm_control(self, cause: Message, state: PermissionState) -> None:
        """Have the exchange confirm what a control closed, once our books hold nothing; a person's word goes first."""
        stands = any(
            one.scope == ACCOUNT and is_latched(one.reason) and self._action(one.reason) is ControlAction.FLATTEN
            for one in state.reasons
        )
        self._controlled &= stands
        if not self._controlled or self.is_under_way(state) or not permission.may_reduce(state):
            return
        if self._book.is_all_flat():
            self._ask(cause, tuple(Leg))

    def _ask(self, cause: Message, legs: tuple[Leg, ...]) -> None:
        """Ask the executor for the exchange's word, now and then."""
        now_ns = self._clock.now_ns()
        if now_ns >= self._confirm_ns:
            self._confirm_ns = now_ns + CONFIRM_AGAIN_NS
            self._post.send(ConfirmFlat(**self._post.head(cause), legs=legs), EXECUTOR)

    def ask_again(self) -> None:
        """The exchange has shown that it is not: it will be asked at the next point."""
        self._confirm_ns = 0

    def go_on(self, cause: Message, state: PermissionState, step: Callable[[Message, PermissionEvent], None]) -> None:
        """Close what is still held, and have the exchange confirm where nothing is by our books."""
        if not self.is_under_way(state) or not permission.may_reduce(state):
            # Before the exchange was read the books say nothing; the word is latched and waits.
            return
        legs = legs_to_flatten(state)
        if state.mode is not permission.Mode.FLATTENING:
            step(cause, FlattenStarted(reason=min(_wishes(state))))
        for name in self._book.names:
            self.close(cause, name, legs)
        held = any(not self._book.is_leg_flat(name, leg) for name in self._book.names for leg in legs)
        if not held:
            self._ask(cause, legs)
