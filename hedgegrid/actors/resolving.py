"""Orders whose outcome is not known, and cancels that did not take: who is looked at when, and what pauses.

Invariants: an order in doubt is never sent again, only looked at, each by its own clock (``core.doubt``); a cancel that
the exchange proves not to have taken is asked for again; an instrument pauses only for a doubt older than the limit,
and the pause is told gone when none is left that old.
"""

from collections.abc import Iterable
from typing import Final

from hedgegrid.actors.agenda import Agenda
from hedgegrid.actors.order_table import OrderTable
from hedgegrid.actors.post import RISK, Post
from hedgegrid.core import doubt
from hedgegrid.core.doubt import Doubt
from hedgegrid.core.order_state import OrderRecord, OrderState, is_terminal
from hedgegrid.core.pause import Reason
from hedgegrid.messages.commands import ClearReason, RaiseReason
from hedgegrid.messages.events import Message
from hedgegrid.runtime.clock import Clock

LOOK: Final = "look"
"""In the agenda: an order in doubt is to be looked at."""
OVERDUE: Final = "overdue"
"""In the agenda: a doubt becomes old enough to pause."""
ANSWERS: Final = "answers"
"""In the agenda: answers of the stream may be overdue."""
_LIVES: Final = (OrderState.SENT, OrderState.WORKING, OrderState.PARTIAL)


class Resolving:
    """The doubts of one account."""

    def __init__(
        self,
        *,
        post: Post,
        clock: Clock,
        table: OrderTable,
        agenda: Agenda,
        pause_ns: int,
        answer_wait_ns: int | None,
    ) -> None:
        """``pause_ns``: the age of a doubt that pauses.

        ``answer_wait_ns``: how long the stream may be silent on an order or a cancel that was sent; None: for ever.
        """
        self._post = post
        self._clock = clock
        self._table = table
        self._agenda = agenda
        self._pause_ns = pause_ns
        self._answer_wait_ns = answer_wait_ns
        self._doubts: dict[str, Doubt] = {}
        self._unwanted: dict[str, str] = {}
        self._asked: dict[str, int] = {}
        """How often each of them was asked to go."""
        self._paused: dict[str, None] = {}
        self._noted = -1
        """The table's version when it was looked through last."""

    @property
    def doubts(self) -> int:
        """How many orders are in doubt."""
        return len(self._doubts)

    def note(self, record: OrderRecord) -> None:
        """Take note of an order that has changed."""
        name, state = record.client_id, record.state
        if is_terminal(state):
            self._unwanted.pop(name, None)
            self._asked.pop(name, None)
        if state is OrderState.UNKNOWN:
            self._begin(name, record.instrument)
        elif state is not OrderState.CANCELLING and self._doubts.pop(name, None) is not None and self._paused:
            self._agenda.put_first(OVERDUE, self._clock.now_ns())
        if state in _LIVES and name in self._unwanted:
            # An exchange that takes no cancel is down, for minutes perhaps: it is not asked once a second.
            self._agenda.put_first(LOOK, self._clock.now_ns() + doubt.again_ns(self._asked.get(name, 0)))

    def note_all(self) -> None:
        """Take note of every order that may have changed: those that live, and those that something waits for."""
        if self._noted == self._table.version and not self._unwanted:
            return
        self._noted = self._table.version
        waited_for = self._doubts.keys() | self._unwanted.keys()
        for name, record in self._table.records.items():
            if not is_terminal(record.state) or name in waited_for:
                self.note(record)

    def sent(self, instrument: str, cancels: Iterable[str]) -> None:
        """Take note that something was sent: these cancels, and perhaps orders."""
        for name in cancels:
            if self._table.may_live(name):
                self._unwanted[name] = instrument
                self._asked[name] = self._asked.get(name, -1) + 1
        if self._answer_wait_ns is not None:
            self._agenda.put_first(ANSWERS, self._clock.now_ns() + self._answer_wait_ns)

    def lost(self, instrument: str, cancels: Iterable[str]) -> None:
        """Take note of cancels that were not taken, or of which nobody knows."""
        for name in cancels:
            if self._table.may_live(name):
                self._begin(name, instrument)

    def doubt_the_overdue(self) -> bool:
        """Doubt what the stream has not spoken of for too long after it was sent; True where there is something."""
        if self._answer_wait_ns is None:
            return False
        now_ns = self._clock.now_ns()
        waiting = [
            record
            for record in self._table.live.values()
            if record.state in (OrderState.SENT, OrderState.CANCELLING) and record.client_id not in self._doubts
        ]
        due_ns = [record.ts_ns + self._answer_wait_ns for record in waiting]
        for record, at_ns in zip(waiting, due_ns, strict=True):
            if at_ns <= now_ns:
                self._begin(record.client_id, record.instrument, now_ns)
        later_ns = [at_ns for at_ns in due_ns if at_ns > now_ns]
        if later_ns:
            self._agenda.put_first(ANSWERS, min(later_ns))
        return len(later_ns) < len(due_ns)

    def looked(self, cause: Message) -> None:
        """Take note of a read that is applied: what is still in doubt waits longer for its next look."""
        now_ns = self._clock.now_ns()
        for name, one in self._doubts.items():
            if one.next_ns <= now_ns:
                self._doubts[name] = doubt.looked(one, now_ns)
        self.judge(cause)

    def again(self) -> dict[str, list[str]]:
        """Give the cancels, by instrument, that have to be asked for again: the exchange shows their orders alive."""
        found: dict[str, list[str]] = {}
        for name, instrument in self._unwanted.items():
            if self._table.state(name) in _LIVES:
                found.setdefault(instrument, []).append(name)
        return found

    def judge(self, cause: Message) -> None:
        """Pause for doubts that are too old, and say where none is left."""
        now_ns = self._clock.now_ns()
        found = {one.instrument: one for one in doubt.overdue(self._doubts.values(), self._pause_ns, now_ns)}
        for instrument, one in found.items():
            if instrument not in self._paused:
                self._paused[instrument] = None
                figures = {"orders": str(one.orders), "oldest": one.oldest, "age_ns": str(one.age_ns)}
                raised = RaiseReason(
                    **self._post.head(cause), reason=Reason.UNKNOWN_ORDER, scope=instrument, figures=figures
                )
                self._post.publish(raised, RISK)
        for instrument in [name for name in self._paused if name not in found]:
            del self._paused[instrument]
            gone = ClearReason(**self._post.head(cause), reason=Reason.UNKNOWN_ORDER, scope=instrument, figures={})
            self._post.publish(gone, RISK)
        self._schedule()

    def _begin(self, name: str, instrument: str, first_look_ns: int | None = None) -> None:
        if name in self._doubts:
            return
        now_ns = self._clock.now_ns()
        begun = doubt.begun(name, instrument, now_ns)
        self._doubts[name] = begun
        self._agenda.put_first(LOOK, begun.next_ns if first_look_ns is None else first_look_ns)
        self._schedule()

    def _schedule(self) -> None:
        now_ns = self._clock.now_ns()
        due_ns = doubt.next_look_ns(self._doubts.values())
        if due_ns is not None:
            self._agenda.put_first(LOOK, due_ns)
        pause_due_ns = doubt.next_pause_ns(self._doubts.values(), self._pause_ns, now_ns)
        if pause_due_ns is not None:
            self._agenda.put_first(OVERDUE, pause_due_ns)
