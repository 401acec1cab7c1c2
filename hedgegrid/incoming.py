"""What the venue says about the account, on its way to the actor whose it is.

Invariants: each event reaches one actor; what is for the journal alone is not changed on the way; nothing here raises
into the stream that brought it.
"""

from hedgegrid.actors.post import EXECUTOR, FUNDING, RISK
from hedgegrid.app import House
from hedgegrid.messages.events import AccountChanged, FundingPaid, Liquidated, StreamGap, VenueReport
from hedgegrid.ports import PrivateEvent, VenueBatch


def bring(house: House, event: PrivateEvent) -> None:
    """Bring an event to its actor, with the head of a message of ours."""
    match event:
        case VenueBatch():
            report = VenueReport(
                **house.post.head(None, event.ts_venue_ns),
                instrument=event.instrument,
                mark_ticks=event.mark_ticks,
                events=event.events,
            )
            house.post.send(report, EXECUTOR)
        case FundingPaid():
            house.post.send(event, FUNDING)
        case AccountChanged() | StreamGap():
            house.post.send(event, EXECUTOR)
        case Liquidated():
            told = Liquidated(
                **house.post.head(None, event.ts_venue_ns),
                equity_e8=event.equity_e8,
                maintenance_e8=event.maintenance_e8,
            )
            house.announce(told, RISK)
