"""The journal writer: it brings what has gathered to disk even when no order asks for it.

Invariant: within ``wait_ns`` of each closed bar, all that was published until then is durable; a journal that fails
ends the run.
"""

from hedgegrid.messages.events import BarClosed
from hedgegrid.ports import Journal
from hedgegrid.runtime.actor import Actor
from hedgegrid.runtime.clock import Clock
from hedgegrid.runtime.mailbox import Mailbox
from hedgegrid.runtime.router import Router


class JournalWriter(Actor[BarClosed]):
    """Commits after every closed bar."""

    def __init__(
        self, *, mailbox: Mailbox[BarClosed], router: Router, clock: Clock, journal: Journal, wait_ns: int
    ) -> None:
        """Write to ``journal``, ``wait_ns`` after a bar.

        Where the disk is written beside the event loop, the wait lets the bar's own decision go first: its orders may
        not leave before their intents are durable, and would otherwise wait for this commit and then for theirs.
        """
        super().__init__(mailbox=mailbox, router=router, clock=clock)
        self._journal = journal
        self._wait_ns = wait_ns

    async def handle(self, message: BarClosed) -> None:  # noqa: ARG002 - its coming is the occasion
        """Bring all that was published to disk."""
        if self._wait_ns:
            await self.clock.sleep(self._wait_ns)
        await self._journal.commit()

    async def on_stop(self) -> None:
        """Bring the rest to disk."""
        await self._journal.commit()
