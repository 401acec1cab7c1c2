"""The journal writer: it brings what has gathered to disk even when no order asks for it.

Invariant: at least once a bar, all that was published is durable; a journal that fails ends the run.
"""

from hedgegrid.messages.events import BarClosed
from hedgegrid.ports import Journal
from hedgegrid.runtime.actor import Actor
from hedgegrid.runtime.clock import Clock
from hedgegrid.runtime.mailbox import Mailbox
from hedgegrid.runtime.router import Router


class JournalWriter(Actor[BarClosed]):
    """Commits at every closed bar."""

    def __init__(self, *, mailbox: Mailbox[BarClosed], router: Router, clock: Clock, journal: Journal) -> None:
        """Write to ``journal``."""
        super().__init__(mailbox=mailbox, router=router, clock=clock)
        self._journal = journal

    async def handle(self, message: BarClosed) -> None:  # noqa: ARG002 - its coming is the occasion
        """Bring all that was published to disk."""
        await self._journal.commit()

    async def on_stop(self) -> None:
        """Bring the rest to disk."""
        await self._journal.commit()
