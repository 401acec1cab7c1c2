"""Who is told what no actor can act on: failures, messages that nobody takes, an end that is nobody's wish."""

from typing import Protocol

from hedgegrid.runtime.router import DeadLetter
from hedgegrid.runtime.specs import EscalationError, Hooks


class Sinks(Protocol):
    """Who is told what no actor can act on."""

    def on_dead_letter(self, letter: DeadLetter) -> None:
        """Take a message that nobody could take."""
        ...

    def on_overflow(self, name: str, message: object) -> None:
        """Take the word that an actor's mailbox is full."""
        ...

    def on_child_error(self, child_id: str, error: BaseException) -> None:
        """Take a failure that no restart follows."""
        ...

    def on_restart(self, child_id: str, error: BaseException | None, attempt: int) -> None:
        """Take the word that an actor will be restarted."""
        ...

    async def on_give_up(self, error: EscalationError) -> None:
        """Act for the last time before everything is stopped."""
        ...

    def on_unstoppable(self, child_id: str) -> None:
        """End the run at once: an actor outlived its end, and may act on."""
        ...

    def fail(self, why: str) -> None:
        """Have the run end as failed, in one line."""
        ...

    def on_liquidated(self) -> None:
        """Take the word that the exchange closed everything."""
        ...


def hooks_of(sinks: Sinks) -> Hooks:
    """Have a supervisor tell ``sinks``."""
    return Hooks(
        on_child_error=sinks.on_child_error,
        on_restart=sinks.on_restart,
        on_give_up=sinks.on_give_up,
        on_unstoppable=sinks.on_unstoppable,
    )
