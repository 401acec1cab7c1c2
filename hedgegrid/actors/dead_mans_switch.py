"""The exchange's dead-man's switch, carried out: what ``core.countdown`` decides, asked for beside the mailbox.

Invariants: a switch counts as armed from the moment it was asked for until the exchange has acknowledged that it is
off; one request an instrument at a time; at the start of a life every switch may be armed by the last one.
"""

from collections.abc import Callable, Collection, Coroutine
from typing import Any, Final

import attrs

from hedgegrid.actors.agenda import Agenda
from hedgegrid.actors.executor_notes import CountdownSet
from hedgegrid.actors.hydration import Hydration
from hedgegrid.actors.outbox import within
from hedgegrid.actors.post import EXECUTOR, Post
from hedgegrid.core.countdown import CountdownAct, CountdownRule, decide
from hedgegrid.core.doubt import LOOK_NS
from hedgegrid.errors import Fatal, HedgegridError
from hedgegrid.messages.events import Incident
from hedgegrid.ports import Trading
from hedgegrid.runtime.clock import Clock

SWITCH: Final = "switch"
"""In the agenda: the switches are to be refreshed."""


@attrs.define(kw_only=True)
class _Switch:
    """``armed``: it may stand at the exchange. ``asking``: a request is on its way. ``again``: judge when it is back.

    ``fence_ns``: until then a request to arm, whose answer was lost, may still arrive, after one to take it off too.
    """

    armed: bool = True
    asking: bool = False
    again: bool = False
    fence_ns: int = 0


class DeadMansSwitch:
    """The switches of one account, one an instrument."""

    def __init__(
        self,
        *,
        rule: CountdownRule | None,
        instruments: Collection[str],
        trading: Trading,
        clock: Clock,
        post: Post,
        agenda: Agenda,
        limit_ns: int | None,
        validity_ns: int,
        spawn: Callable[[Coroutine[Any, Any, None], str], None],
        hydration: Hydration,
    ) -> None:
        """``rule`` None: there is no such switch. ``validity_ns``: how long a lost request may still arrive.

        ``spawn`` runs a request beside the mailbox.
        """
        self._rule = rule
        self._trading = trading
        self._clock = clock
        self._post = post
        self._agenda = agenda
        self._limit_ns = limit_ns
        self._validity_ns = validity_ns
        self._spawn = spawn
        self._hydration = hydration
        self._switches = {name: _Switch() for name in instruments} if rule is not None else {}
        self._ending = False
        self._told = False

    @property
    def armed(self) -> tuple[str, ...]:
        """The instruments whose switch may stand."""
        return tuple(name for name, switch in self._switches.items() if switch.armed)

    def refresh(self) -> None:
        """Judge every switch, and set the next time to do so."""
        if self._rule is not None:
            self._agenda.put(SWITCH, self._clock.now_ns() + self._rule.refresh_ns)
            for name in self._switches:
                self._judge(name, refresh=True)

    def on_fill(self, instrument: str) -> None:
        """Judge one switch at once: what is held has changed."""
        if instrument in self._switches:
            self._judge(instrument, refresh=False)

    def end(self) -> None:
        """Take every switch off: the run ends and keeps its orders."""
        self._ending = True
        self.refresh()

    def on_set(self, note: CountdownSet) -> None:
        """Take the answer of a request in; what is still to be taken off is asked for again soon."""
        switch = self._switches[note.instrument]
        now_ns = self._clock.now_ns()
        switch.asking = False
        if note.countdown_ms > 0 and not note.taken:
            switch.fence_ns = now_ns + self._validity_ns
        elif note.countdown_ms == 0 and note.taken and now_ns >= switch.fence_ns:
            switch.armed = False
        elif note.countdown_ms == 0:
            self._agenda.put_first(SWITCH, max(now_ns + LOOK_NS, switch.fence_ns))
        if switch.again:
            switch.again = False
            self._judge(note.instrument, refresh=False)
        if note.error and note.countdown_ms == 0:
            self._complain(note)

    async def take_off(self) -> None:
        """Ask once more for what is still armed, one after the other: nobody takes notes any more."""
        for name in self.armed if self._ending else ():
            try:
                await within(self._clock, self._limit_ns, self._trading.refresh_countdown(name, 0))
            except HedgegridError:
                continue
            self._switches[name].armed = False

    def _judge(self, name: str, *, refresh: bool) -> None:
        switch, rule = self._switches[name], self._rule
        assert rule is not None, "without a rule there are no switches"
        books = self._hydration
        act = decide(rule, armed=switch.armed, flat=books.is_flat(name), healthy=books.healthy, ending=self._ending)
        if act is CountdownAct.NONE or (act is CountdownAct.REFRESH and switch.armed and not refresh):
            return
        if switch.asking:
            switch.again = True
            return
        countdown_ms = rule.countdown_ms if act is CountdownAct.REFRESH else 0
        switch.asking = True
        switch.armed = switch.armed or countdown_ms > 0
        self._spawn(self._ask(name, countdown_ms), f"countdown {name}")

    async def _ask(self, name: str, countdown_ms: int) -> None:
        error = ""
        try:
            await within(self._clock, self._limit_ns, self._trading.refresh_countdown(name, countdown_ms))
        except Fatal:
            raise
        except HedgegridError as failure:
            error = f"{type(failure).__name__}: {failure}"
        note = CountdownSet(
            **self._post.head(), instrument=name, countdown_ms=countdown_ms, taken=not error, error=error
        )
        self._post.send(note, EXECUTOR)

    def _complain(self, note: CountdownSet) -> None:
        """Say once that a switch that may take protective stops away could not be taken off."""
        if not self._told:
            self._told = True
            figures = {"instrument": note.instrument, "error": note.error}
            text = "the exchange's dead-man's switch could not be taken off yet; it is tried again"
            self._post.publish(Incident(**self._post.head(note), actor=EXECUTOR, text=text, figures=figures))
