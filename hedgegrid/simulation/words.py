"""What is said on the wire, as the judge and the trace hear it."""

import attrs

from hedgegrid.messages.events import StreamGap
from hedgegrid.model.order import OrderRequest
from hedgegrid.ports import PrivateEvent, VenueBatch


@attrs.frozen(kw_only=True)
class Word:
    """One thing that the bot said on the wire: ``kind`` of ``place``, ``cancel`` or a read's name."""

    ts_ns: int
    boot: int
    kind: str
    instrument: str = ""
    requests: tuple[OrderRequest, ...] = ()
    names: tuple[str, ...] = ()
    until_ns: int = 0
    """Of ``banned``, which the exchange says: nothing may be asked for before that."""
    own_ns: int = 0
    """The bot's own time then."""
    prices_ns: int = 0
    """When the bot was last shown a price."""

    def text(self) -> str:
        """Give what was said in a line, for the trace."""
        said = f"{self.ts_ns} {self.boot} {self.kind} {self.instrument} {self.until_ns} {' '.join(self.names)}"
        return f"{said} {self.requests}" if self.requests else said


def gap_of(why: str) -> StreamGap:
    """Give the word that private events may have been lost."""
    return StreamGap(seq=0, cause_seq=0, ts_venue_ns=0, ts_recv_ns=0, why=why)


def what_of(event: PrivateEvent) -> str:
    """Say what an event is about."""
    if isinstance(event, VenueBatch):
        return ", ".join(f"{one.kind.value} {one.client_id}" for one in event.events)
    return type(event).__name__
