"""The kill switch: a person's word after which nothing is traded until that person says otherwise.

It is thrown over the interface, or by a file beside the journal that a start reads first and a running account looks
for. What it does is ``[risk.kill_switch] action``; either way the reason ``kill`` latches and every entry goes.

Invariants: whoever threw it, no crash between the word and the latch loses it: the file goes only when the journal has
the latch on disk and risk knows it; a file that cannot be taken away is told of, and ends nothing that the word began;
what a start finds thrown is done before any word of that start lifts it; a switch that is off in the settings does
nothing, leaves the file, and says so.
"""

from collections.abc import Callable, Mapping
from typing import Any

from hedgegrid.actors.flattening import with_word
from hedgegrid.config.risk import KillSwitchConfig
from hedgegrid.core.pause import ACCOUNT, Reason
from hedgegrid.core.permission import Mode
from hedgegrid.errors import Fatal
from hedgegrid.journal import kill_file
from hedgegrid.journal.journal import SqliteJournal
from hedgegrid.messages.commands import Kill
from hedgegrid.messages.events import Message, PermissionChanged
from hedgegrid.model.order import Leg
from hedgegrid.ops.view import AccountView

FILE: str = "kill file"
"""Who threw it, where the file did."""


class KillSwitch:
    """The kill switch of one account."""

    def __init__(self, settings: KillSwitchConfig, journal: SqliteJournal) -> None:
        """Act as ``settings`` say; the file lies beside ``journal``."""
        self._enabled = settings.enabled
        self._legs = tuple(Leg) if settings.action == "flatten" else ()
        self._journal = journal
        self._head: Callable[[], Mapping[str, Any]] | None = None
        self._tell: Callable[[Message], None] | None = None
        self._view: AccountView | None = None
        self._publish: Callable[[Message], None] | None = None
        self._said = False
        self.thrown_at_start = False
        """Whether this start found it thrown: since the last run ended nobody has obeyed it."""

    async def read_at_start(self, now_ns: int, tell: Callable[[str], None]) -> None:
        """Latch what the file says before anybody acts; ``tell`` gets a line for the person."""
        path = self._journal.path
        if not kill_file.is_placed(path):
            return
        if not self._enabled:
            tell(self._ignored())
            return
        word = Kill(seq=0, cause_seq=0, ts_venue_ns=now_ns, ts_recv_ns=now_ns, legs=self._legs, by=FILE)
        self._journal.set_latched(with_word(self._journal.latched(), word, now_ns))
        await self._journal.commit()
        self.thrown_at_start = True
        tell("the kill switch was thrown: it is obeyed first, and nothing is traded until `hedgegrid resume`")
        if problem := self._take_away():
            tell(problem)

    def wire(
        self,
        *,
        head: Callable[[], Mapping[str, Any]],
        tell: Callable[[Message], None],
        publish: Callable[[Message], None],
        view: AccountView,
    ) -> None:
        """Get to know the house: ``tell`` latches a word and brings it to risk, ``view`` knows what risk has taken.

        ``publish`` puts a message into the journal and before the people who are told of things.
        """
        self._head, self._tell, self._publish, self._view = head, tell, publish, view

    def say_what_a_start_found(self) -> None:
        """Put a kill that was latched before anybody was there into the journal, as the trip that it is."""
        if not self.thrown_at_start:
            return
        assert self._head is not None, "it is wired before anything is said"
        assert self._publish is not None, "as above"
        assert self._view is not None, "as above"
        mode = self._view.mode or Mode.STARTING.value
        kill = Reason.KILL.value
        self._publish(
            PermissionChanged(
                **self._head(),
                before=mode,
                after=mode,
                change="raised",
                reason=kill,
                scope=ACCOUNT,
                figures={"by": FILE},
            )
        )

    def throw(self, by: str) -> bool:
        """Throw it in the name of ``by``; False where the settings have it off."""
        assert self._head is not None, "it is wired before anybody can throw it"
        assert self._tell is not None, "as above"
        if self._enabled:
            self._tell(Kill(**self._head(), legs=self._legs, by=by))
        return self._enabled

    async def look(self) -> str:
        """Do what the file says while the account runs; to be called again and again. Raises Fatal.

        Give what a person has to do about the file, once; "" where there is nothing.
        """
        if not kill_file.is_placed(self._journal.path):
            return ""
        if not self._enabled:
            return self._once(self._ignored())
        assert self._view is not None, "it is wired before it is looked for"
        if (Reason.KILL.value, ACCOUNT) not in self._view.reasons:
            self.throw(FILE)
            return ""
        # Risk has taken it, so nothing that it exports from now on lacks it.
        await self._journal.commit()
        return self._take_away()

    def _take_away(self) -> str:
        """Take the file away; give, once, why it stays. The word is latched by now: what it began goes on."""
        try:
            kill_file.remove(self._journal.path)
        except Fatal as error:
            return self._once(f"{error}: the kill stands, and a resume will be killed again until it is removed")
        return ""

    def _ignored(self) -> str:
        path = kill_file.kill_file(self._journal.path)
        return f"{path} is ignored, for [risk.kill_switch] enabled is false: remove it, or it kills once that is true"

    def _once(self, words: str) -> str:
        """Give words of the file the first time, nothing later."""
        told, self._said = self._said, True
        return "" if told else words
