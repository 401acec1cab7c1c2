"""The kill switch: a person's word after which nothing is traded until that person says otherwise.

It is thrown over the interface, or by a file beside the journal that a start reads first and a running account looks
for. What it does is ``[risk.kill_switch] action``; either way the reason ``kill`` latches and every entry goes.

Invariants: whoever threw it, no crash between the word and the latch loses it: the file goes only when the journal has
the latch on disk and risk knows it; a file that cannot be taken away is told of, and ends nothing that the word began;
a switch that is off in the settings does nothing and leaves the file.
"""

from collections.abc import Callable, Mapping
from typing import Any

from hedgegrid.actors.flattening import with_word
from hedgegrid.config.risk import KillSwitchConfig
from hedgegrid.core.pause import ACCOUNT, Reason
from hedgegrid.errors import Fatal
from hedgegrid.journal import kill_file
from hedgegrid.journal.journal import SqliteJournal
from hedgegrid.messages.commands import Kill
from hedgegrid.messages.events import Message
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
        self._stuck = False

    async def read_at_start(self, now_ns: int, tell: Callable[[str], None]) -> None:
        """Latch what the file says before anybody acts; ``tell`` gets a line for the person."""
        path = self._journal.path
        if not kill_file.is_placed(path):
            return
        if not self._enabled:
            tell(f"{kill_file.kill_file(path)} is ignored: [risk.kill_switch] enabled is false")
            return
        word = Kill(seq=0, cause_seq=0, ts_venue_ns=now_ns, ts_recv_ns=now_ns, legs=self._legs, by=FILE)
        self._journal.set_latched(with_word(self._journal.latched(), word, now_ns))
        await self._journal.commit()
        tell("the kill switch was thrown: nothing is traded until `hedgegrid resume` or `run --resume`")
        if problem := self._take_away():
            tell(problem)

    def wire(self, head: Callable[[], Mapping[str, Any]], tell: Callable[[Message], None], view: AccountView) -> None:
        """Get to know the house: ``tell`` latches a word and brings it to risk, ``view`` knows what risk has taken."""
        self._head, self._tell, self._view = head, tell, view

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
        if not self._enabled or not kill_file.is_placed(self._journal.path):
            return ""
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
            told, self._stuck = self._stuck, True
            return "" if told else f"{error}: the kill stands, and a resume will be killed again until it is removed"
        return ""
