"""What has happened, as the actors tell each other."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

import attrs

from hedgegrid.model.account import Balance, Position
from hedgegrid.model.grid import AdoptedLot, GridMemory, OpenLot, UnbookedEntry
from hedgegrid.model.market import Bar, MarketUpdate
from hedgegrid.model.order import Fill, Leg, OpenOrder, OrderRequest
from hedgegrid.units import PPM


@attrs.frozen(kw_only=True)
class Message:
    """What every message carries."""

    seq: int
    cause_seq: int
    ts_venue_ns: int
    ts_recv_ns: int


# --- market ---------------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class MarketSeen(Message):
    """What the venue showed at one instant, as it came; the feed makes quotes, marks and bars of it."""

    updates: tuple[MarketUpdate, ...]


@attrs.frozen(kw_only=True)
class Quote(Message):
    """The best bid and ask of an instrument, in ticks."""

    instrument: str
    bid_ticks: int
    ask_ticks: int


@attrs.frozen(kw_only=True)
class MarkPrice(Message):
    """The mark price; the funding rate (x 1e8, for one interval) and its time are None where not given.

    ``last_of_instant``: no other mark of this instant follows, so what depends on all of them can be judged.
    """

    instrument: str
    mark_ticks: int
    rate_e8: int | None
    next_funding_ns: int | None
    funding_interval_ns: int
    last_of_instant: bool = True


@attrs.frozen(kw_only=True)
class BarClosed(Message):
    """A bar has closed."""

    instrument: str
    bar: Bar


@attrs.frozen(kw_only=True)
class HistoryLoaded(Message):
    """Closed bars up to now, oldest first, for a strategy's indicators before its first decision."""

    instrument: str
    bars: tuple[Bar, ...]


@attrs.frozen(kw_only=True)
class StrategyReady(Message):
    """A strategy is hydrated and has taken in the history there is."""

    instrument: str


@attrs.frozen(kw_only=True)
class FundingRate(Message):
    """The rate (x 1e8) that the next settlement will use, as far as is known now."""

    instrument: str
    rate_e8: int
    next_funding_ns: int
    funding_interval_ns: int


@attrs.frozen(kw_only=True)
class FundingRateMissing(Message):
    """No valid funding rate is known: none was ever received, or its settlement has passed (``expired_ns`` > 0)."""

    instrument: str
    expired_ns: int


@attrs.frozen(kw_only=True)
class FundingPaid(Message):
    """A settlement was charged: per leg in quote x 1e8, negative = received.

    ``ts_venue_ns`` names the settlement; ``charged_ns`` is when the wallet moved for it, 0 where that is the same.
    """

    instrument: str
    rate_e8: int
    mark_ticks: int
    long_e8: int
    short_e8: int
    charged_ns: int = 0


# --- orders ---------------------------------------------------------------------------------------------------------


class OrderEventKind(StrEnum):
    """What the exchange said about an order."""

    ACCEPTED = "accepted"
    FILLED = "filled"
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    EXPIRED = "expired"
    CANCEL_FAILED = "cancel_failed"
    AMENDED = "amended"
    UNKNOWN = "unknown"


class EndReason(StrEnum):
    """Why an order ended or changed."""

    NONE = ""
    BY_REQUEST = "by_request"
    OTHER_EXIT = "other_exit"
    LIQUIDATION = "liquidation"
    POST_ONLY = "post_only"
    NOTHING_TO_CLOSE = "nothing_to_close"
    REFUSED = "refused"
    NOT_SENT = "not_sent"
    """Our own side kept it back: the exchange was never asked."""
    EXPIRED_APPROVAL = "expired_approval"
    NOT_FOUND = "not_found"
    MARGIN = "margin"
    REDUCE_REFUSED = "reduce_refused"
    RATE_LIMITED = "rate_limited"
    MODE = "mode"
    WOULD_TRIGGER = "would_trigger"
    """A stop on the wrong side of its trigger price: it has to go as a market reduction."""
    FOUND = "found"
    """A look at the exchange, not its own word, said so: unlike an acknowledgement it ends a doubt."""


@attrs.frozen(kw_only=True)
class OrderEvent:
    """One thing the exchange said about one order. ``qty_lots``: what is left after a fill or an amendment.

    AMENDED with a ``reason`` other than NONE: an amendment of ours was not carried out, or a look at the exchange
    settled it; ``qty_lots`` is what the order stands with, changed or not.

    ``fill`` only on FILLED. ``detail``: the exchange's code and words for a person, without secrets.
    ``until_ns``: where a rate limit kept it back, when that ends by our clock (0: nobody said).
    """

    kind: OrderEventKind
    client_id: str
    reason: EndReason = EndReason.NONE
    qty_lots: int = 0
    fill: Fill | None = None
    detail: str = ""
    until_ns: int = 0


@attrs.frozen(kw_only=True)
class ExecutionBatch(Message):
    """All that the exchange said at one instant about one instrument's orders, in order, with the mark at that instant.

    It is one batch of fills: stops are laid anew once after it.
    """

    instrument: str
    mark_ticks: int
    events: tuple[OrderEvent, ...]


@attrs.frozen(kw_only=True)
class VenueReport(Message):
    """What the exchange said, as it came; the executor checks it against its table and tells the others."""

    instrument: str
    mark_ticks: int
    events: tuple[OrderEvent, ...]


class ApprovalSeal:
    """What the gate alone holds, and what an ``Approved`` cannot be made without."""

    __slots__ = ()


_SEAL = ApprovalSeal()
_unclaimed = [_SEAL]


def claim_approval_seal() -> ApprovalSeal:
    """Give the seal to the first who asks, which is the gate as it is imported. RuntimeError for everybody after it."""
    if not _unclaimed:
        raise RuntimeError("the seal of approvals is the gate's alone: send the intent to core/risk.py")
    return _unclaimed.pop()


@attrs.frozen(kw_only=True, init=False)
class Approved:
    """An order that passed the risk gate. Only ``core/risk.py`` makes one; the executor sends nothing else.

    The seal that it is made with is not kept in it, so a copy with other contents cannot be made of one either.
    """

    request: OrderRequest
    limits_version: str
    expires_ns: int

    def __init__(
        self, *, request: OrderRequest, limits_version: str, expires_ns: int, seal: ApprovalSeal | None = None
    ) -> None:
        """Make one with the gate's ``seal``. RuntimeError without it."""
        if seal is not _SEAL:
            raise RuntimeError("an Approved is made by core/risk.py alone: send the intent to the gate")
        self.__attrs_init__(request=request, limits_version=limits_version, expires_ns=expires_ns)


@attrs.frozen(kw_only=True)
class ApprovedBatch(Message):
    """What the executor is to do, in this order: cancels, placements, and retirements once the placements stand.

    ``amends``: entries that rest, each under the id that it has, with the whole quantity that it is to have.
    """

    instrument: str
    approved: tuple[Approved, ...]
    cancels: tuple[str, ...]
    retires: tuple[str, ...]
    amends: tuple[Approved, ...] = ()


@attrs.frozen(kw_only=True)
class Refused:
    """An order that the gate refused: the control, its limit and the value that broke it, and what would help."""

    request: OrderRequest
    control: str
    limit: str
    value: str
    remedy: str


@attrs.frozen(kw_only=True)
class RefusedBatch(Message):
    """The refusals of one batch of intents; ``kept``: the stops that it was to retire and that stay for want of one."""

    instrument: str
    refused: tuple[Refused, ...]
    kept: tuple[str, ...] = ()


# --- state ----------------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class LotOpened(Message):
    """A filled entry became a lot with the exits it keeps for life. Prices in ticks, step in millionths of a tick."""

    instrument: str
    lot_id: int
    leg: Leg
    level: int
    generation: int
    entry_ticks: int
    qty_lots: int
    tp_ticks: int
    stop_ticks: int
    step_micro: int


@attrs.frozen(kw_only=True)
class LotProtected(Message):
    """A lot stands at the exchange with its stop acknowledged, ``after_ns`` (exchange's time) after it stood without.

    Only where the exchange does not link exits: from the fill, or from the loss of the stop that it had.
    """

    instrument: str
    lot_id: int
    leg: Leg
    qty_lots: int
    after_ns: int


@attrs.frozen(kw_only=True)
class GridMoved(Message):
    """The grid was (re)centered or changed its regime: what a restarted strategy must remember."""

    instrument: str
    regime: int
    center_ticks: int
    step_micro: int
    generation: int


@attrs.frozen(kw_only=True)
class Hydrated(Message):
    """The exchange's word on one instrument after a start, a restart or a gap; every later event counts on top of it.

    ``orders`` are all open orders that are ours, of both lists; ``lots`` what is open by the journal and the fills
    since, ``unbooked`` the entries among those fills that became no lot yet. ``mark_ticks`` is 0 where the venue has
    none yet.
    """

    instrument: str
    positions: tuple[Position, ...]
    orders: tuple[OpenOrder, ...]
    lots: tuple[OpenLot, ...]
    unbooked: tuple[UnbookedEntry, ...]
    grid: GridMemory | None
    mark_ticks: int
    next_order_no: int


@attrs.frozen(kw_only=True)
class AccountHydrated(Message):
    """Every instrument has been read from the exchange and agrees with the books.

    ``of_books``: the wallet is what the books hold, so whatever they are told from here on is to be added; else it is
    the exchange's, with all in it that happened until then.
    """

    balance: Balance
    foreign_orders: int
    of_books: bool = False


@attrs.frozen(kw_only=True)
class EquitySampled(Message):
    """The account as the decision of this instant sees it, in quote x 1e8; fees and funding: costs since it began."""

    wallet_e8: int
    unrealised_e8: int
    equity_e8: int
    realised_e8: int
    fees_e8: int
    funding_e8: int


@attrs.frozen(kw_only=True)
class PermissionChanged(Message):
    """The trading permission moved, or a reason did (``change`` says how).

    ``scope`` is the account ("") or an instrument; ``figures`` are what caused it. ``since_ns``: when a reason rose
    that has stood since before this life; 0 for any other.
    """

    before: str
    after: str
    change: str
    reason: str
    scope: str
    figures: Mapping[str, str]
    since_ns: int = 0


@attrs.frozen(kw_only=True)
class PermissionView(Message):
    """What may be done for an instrument now: add entries at all, and whether its resting entries must go.

    The strategy decides by it; the executor sends by it what was approved before. ``closes``: the legs that may be
    closed at the market; a flatten of any other is over. ``throttle_ppm``: the operator's factor on new entries.
    """

    instrument: str
    may_add: bool
    hold_entries: bool
    closes: tuple[Leg, ...] = ()
    throttle_ppm: int = PPM


@attrs.frozen(kw_only=True)
class Liquidated(Message):
    """The exchange closed everything: equity fell under the maintenance margin."""

    equity_e8: int
    maintenance_e8: int


@attrs.frozen(kw_only=True)
class AccountChanged(Message):
    """The exchange said that the wallet moved: its balance in quote x 1e8, and the exchange's own word for why.

    ``delta_e8`` is the change that is no result of trading (a transfer, a bonus), 0 where it is.
    """

    wallet_e8: int
    why: str
    delta_e8: int = 0


@attrs.frozen(kw_only=True)
class WalletRead(Message):
    """The wallet was read at the exchange, in quote x 1e8, at a moment when both sides agreed on every position.

    The books take it over; None: a difference waits for its explanation, so only the age of the figures is new.
    ``unexplained_e8`` is what no message has explained and the books lacked.
    """

    wallet_e8: int | None
    unexplained_e8: int = 0


@attrs.frozen(kw_only=True)
class ForeignSeen(Message):
    """What an instrument holds that is not ours, whole: it counts in exposure, and is left alone.

    ``positions`` are what the legs hold beyond our own; ``last_trade_id`` the newest foreign fill that is in them.
    ``adopted``: what was foreign until now, is in ``positions`` no more, and is our own from this message on.
    """

    instrument: str
    positions: tuple[Position, ...]
    orders: tuple[OpenOrder, ...]
    last_trade_id: int = 0
    adopted: tuple[AdoptedLot, ...] = ()


@attrs.frozen(kw_only=True)
class StreamGap(Message):
    """Private events may have been lost (a lost socket, a bad frame): only a read of the exchange tells where it is."""

    why: str


@attrs.frozen(kw_only=True)
class ExchangeErred(Message):
    """The exchange refused, or left open, what it was asked for: ``errors`` times, ``newest`` in its words.

    ``instrument`` is "" where it is about the whole account. Post-only rejections and rate limits are none.
    """

    instrument: str
    errors: int
    newest: str


EXPENSIVE_FUNDING: Final = "an expensive funding settlement is near"
"""The words of the incident by which the funding guard warns."""


@attrs.frozen(kw_only=True)
class Incident(Message):
    """Something that a person should know, with its figures. Never carries a secret."""

    actor: str
    text: str
    figures: Mapping[str, str]


@attrs.frozen(kw_only=True)
class FlatConfirmed(Message):
    """Two reads of the exchange showed ``legs`` flat, with nothing of ours open or unknown on them.

    ``foreign``: what else the account holds that is not ours, in words.
    """

    legs: tuple[Leg, ...]
    foreign: tuple[str, ...]


@attrs.frozen(kw_only=True)
class StillHeld(Message):
    """A read of the exchange showed that ``legs`` are not flat: ``left`` says what is held, open or unknown."""

    legs: tuple[Leg, ...]
    left: tuple[str, ...]
    foreign: tuple[str, ...]


@attrs.frozen(kw_only=True)
class ActorRestarted(Message):
    """The supervisor restarted an actor; ``error`` is the kind of exception, without its data."""

    actor: str
    error: str
    attempt: int


@attrs.frozen(kw_only=True)
class MarketEnded(Message):
    """The recorded market has no further step."""

    steps: int
