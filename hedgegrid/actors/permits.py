"""For which instruments entries may be sent: risk's word, where the sender reads it in the moment in which it sends.

A message would lie in the executor's mailbox while its outboxes send on: what was approved a moment before a pause
would leave in it.

Invariants: risk alone writes it, with every change of its permission, before any later order is judged; it outlives
both actors; for an instrument of which nobody has spoken nothing may be added.
"""


class Permits:
    """The instruments that may be added to."""

    __slots__ = ("_open",)

    def __init__(self) -> None:
        """Nothing may be added yet."""
        self._open: set[str] = set()

    def tell(self, instrument: str, *, may_add: bool) -> None:
        """Take risk's word on an instrument."""
        if may_add:
            self._open.add(instrument)
        else:
            self._open.discard(instrument)

    def may_add(self, instrument: str) -> bool:
        """Tell whether an entry may be sent now."""
        return instrument in self._open
