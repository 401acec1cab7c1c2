"""The rare states that a run should reach sometimes: a simulation that never gets there proves nothing about them.

Invariants: each is seen where the laws look (the wire, the exchange, the journal's file), never inside the bot; over
the standard seeds none is reached never, which a test demands.
"""

from collections import Counter
from collections.abc import Mapping
from enum import StrEnum


class Rare(StrEnum):
    """A state that is reached sometimes."""

    DOUBT_BY_STREAM = "an order in doubt: the stream told of it"
    DOUBT_BY_LOOK = "an order in doubt: a look found it"
    DOUBT_BY_FILLS = "an order in doubt: its fill was read"
    DOUBT_DEAD = "an order in doubt: found dead by evidence"
    FILL_AFTER_END = "a fill of an order that had ended"
    FILL_RACES_CANCEL = "a fill while its cancel was on its way"
    FILL_BEFORE_ANSWER = "a fill before its order was acknowledged"
    FILL_IN_PART = "a fill of a part"
    FILL_READ = "a fill that a reading found"
    PART_THEN_CRASH = "a crash with an order filled in part"
    CRASH_IN_DOUBT = "a crash with an order on its way"
    FLATTEN_CRASHED = "a crash in the middle of a flatten"
    FLATTEN_FINISHED = "a flatten that a later life finished"
    FLATTEN_STOPPED = "a stop in the middle of a flatten"
    ROOT_GAVE_UP = "the root supervisor gave up"
    ACTOR_RESTARTED = "an actor was restarted"
    ADOPTED_AT_START = "a start found orders of an earlier life"
    SWITCH_FIRED = "the dead-man's switch fired"
    JOURNAL_LOST = "a life ended because its journal could not be written"
    TORN_AND_STARTED = "a life started on a torn journal"
    SECOND_REFUSED = "a second instance was refused"
    OTHERS_SEEN = "what is not ours was seen in the account"
    FORCED_CLOSE = "the exchange closed a part of a leg by itself"
    LIQUIDATED = "a liquidation called for a person"
    LATCH_LIFTED = "a person lifted what had latched"
    KILLED = "the kill switch was thrown"
    GAP = "a gap in the private stream paused"
    FEED_STALE = "a silent market paused"
    HUNG = "an actor that hung was found"
    OVERFLOWED = "a full mailbox paused"
    LIMITED = "a rate limit paused"
    SKEWED = "a wrong clock paused"


_REASONS = {
    "feed_stale": Rare.FEED_STALE,
    "heartbeat_missed": Rare.HUNG,
    "overflow": Rare.OVERFLOWED,
    "rate_limited": Rare.LIMITED,
    "stream_gap": Rare.GAP,
    "clock_skew": Rare.SKEWED,
    "kill": Rare.KILLED,
}
"""By reason of a pause that was raised."""


def of_reason(reason: str) -> Rare | None:
    """Give what the raising of a reason is, or None."""
    return _REASONS.get(reason)


class OrderLives:
    """What an account's orders have been through, told event by event as the journal has them."""

    def __init__(self, counts: "Counter[Rare]") -> None:
        """Count in ``counts``."""
        self._counts = counts
        self._doubted: set[str] = set()
        self._known: set[str] = set()
        self._ended: set[str] = set()

    def event(self, event: Mapping[str, object], *, read: bool) -> None:
        """Take one event; ``read``: a reading told it, not the stream."""
        name, kind = str(event["client_id"]), event["kind"]
        filled = kind == "filled"
        if filled:
            self._filled(name, in_part=event["qty_lots"] != 0, read=read)
        if name in self._doubted and kind != "unknown":
            self._doubted.discard(name)
            self._counts[self._how(str(kind), found=event["reason"] == "found", read=read)] += 1
        if kind == "unknown":
            self._doubted.add(name)
        elif kind == "accepted":
            self._known.add(name)
        elif kind in ("cancelled", "rejected", "expired"):
            self._ended.add(name)

    def _filled(self, name: str, *, in_part: bool, read: bool) -> None:
        counts = self._counts
        counts[Rare.FILL_IN_PART] += in_part
        counts[Rare.FILL_READ] += read
        counts[Rare.FILL_AFTER_END] += name in self._ended
        counts[Rare.FILL_BEFORE_ANSWER] += name not in self._known
        self._known.add(name)
        if not in_part:
            self._ended.add(name)

    @staticmethod
    def _how(kind: str, *, found: bool, read: bool) -> Rare:
        if found or (read and kind == "accepted"):
            return Rare.DOUBT_BY_LOOK
        if not read:
            return Rare.DOUBT_BY_STREAM
        return Rare.DOUBT_BY_FILLS if kind == "filled" else Rare.DOUBT_DEAD
