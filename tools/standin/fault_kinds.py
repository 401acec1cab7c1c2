"""Every fault that the stand-in can show: its name, when it acts, and what it means.

Invariant: what is not in this table cannot be armed.
"""

import enum
from typing import Final

import attrs


class Moment(enum.Enum):
    """When a fault acts."""

    BEFORE = "a request comes in; the exchange does not do it unless said so"
    AFTER = "a request has been done; its answer suffers"
    EVENT = "an event of the account is sent"
    STREAM = "a market stream is sent"
    ACT = "at once"


@attrs.frozen
class Kind:
    """A fault. ``lasting``: it goes on for its ``ms``, however often it is met, instead of a count."""

    name: str
    moment: Moment
    words: str
    lasting: bool = False


_BEFORE: Final = (
    ("request-lost", "the connection breaks before the exchange has the request"),
    ("503-unknown", "503 'Unknown error', and it was not done"),
    ("503-unavailable", "503 'Service Unavailable': not done"),
    ("1006", "-1006, and it was not done"),
    ("1007", "408 and -1007, and it was not done"),
    ("1008", "503 and -1008: throttled, not done; cancels and reductions pass"),
    ("408", "a bare 408, and it was not done"),
    ("late-accept", "it passes the door in time and is done ms= (8000) later, when the client has given up"),
    ("slow-request", "it reaches the door ms= (500) late; a small recvWindow fences it"),
    ("429", "429 with Retry-After; with ms= every request until then"),
    ("418", "418: the address is banned for ms= (120000)"),
    ("1021", "-1021: outside of the recvWindow"),
    ("2015", "401 and -2015: the key is no longer valid; :always keeps it so"),
    ("2019", "-2019: margin is insufficient"),
    ("2022", "-2022: ReduceOnly order is rejected"),
    ("4061", "-4061: position side does not match the account's mode"),
    ("5022", "-5022: a post-only order would take"),
    ("maintenance", "503 and -1016 for everything, for ms= (10000)"),
    ("batch-partial", "rows= (1) rows of a batch, from its end, are refused with code= (-2019); the others are done"),
    ("cancel-race-fill", "the order is filled just before its cancel arrives (-2011)"),
)
_AFTER: Final = (
    ("response-lost", "done, and the connection breaks before the answer"),
    ("truncated", "done, and the answer's body breaks off in the middle"),
    ("503-unknown-done", "503 'Unknown error', and it was done"),
    ("1006-done", "-1006, and it was done"),
    ("1007-done", "408 and -1007, and it was done"),
    ("slow-answer", "done, and the answer waits ms= (500): its events come first (fill before ack)"),
    ("stale-read", "the answer of an earlier read is given again"),
    ("empty-read", "a list that is read comes back empty"),
    ("bad-json-answer", "done, and the answer is no JSON"),
)
_EVENT: Final = (
    ("event-dup", "sent twice"),
    ("event-drop", "never sent"),
    ("event-delay", "sent ms= (500) late, others overtake it"),
    ("event-reorder", "sent after the next one"),
)
_STREAM: Final = (
    ("book-crossed", "bid above ask"),
    ("book-zero", "prices of zero"),
    ("book-outlier", "prices of three times the market"),
    ("kline-drop", "a closed bar is not streamed"),
    ("kline-late", "a closed bar comes ms= (1000) late"),
    ("depth-gap", "a change of the book is not streamed"),
)
_LASTING: Final = (
    ("book-frozen", "best quotes repeat for ms= (5000) while the market goes on"),
    ("book-silent", "no best quotes for ms= (5000)"),
    ("mark-silent", "no mark prices for ms= (5000)"),
    ("funding-missing", "mark prices announce no rate for ms= (5000)"),
    ("funding-flipped", "mark prices announce the rate with the wrong sign for ms= (5000)"),
)
_ACT: Final = (
    ("listen-key-expiry", "the listen key runs out"),
    ("half-open", "sockets of path= (private) keep their connection and do nothing any more"),
    ("socket-close", "sockets of path= (private) are closed"),
    ("bad-frame", "n= (1) broken frames of JSON on sockets of path= (private)"),
    ("burst", "n= (5000) best quotes of each instrument at once"),
    ("event-burst", "the last event of the account n= (200) times at once"),
    ("skew", "the exchange's clock is ms= (2000) off"),
    ("clock-jump", "the exchange's clock jumps by ms= (2000)"),
    ("filter-change", "symbol='s rules change: any of min_notional=, min_qty=, max_qty=, market_max_qty="),
    ("symbol-reduce-only", "symbol= takes only reductions; on=0 ends it"),
    ("symbol-status", "symbol= has status= (SETTLING)"),
    ("liquidation", "everything is liquidated, or symbol= alone"),
    ("adl", "side= (LONG) of symbol= is reduced by lots= (1) through auto-deleveraging"),
    ("settlement", "symbol= is settled: its positions close"),
    ("manual-order", "an order that is not the bot's: symbol=, side=, positionSide=, type=, quantity=, price=, ..."),
    ("manual-stop", "a conditional order that is not the bot's: as manual-order, with triggerPrice="),
    ("mode-one-way", "the account leaves hedge mode"),
    ("mode-hedge", "the account enters hedge mode"),
    ("fill", "the open order client= or order_id= of symbol= fills now, whole or for lots="),
    ("order-expire", "the open order client= or order_id= of symbol= ends by the exchange's own will"),
    ("thin-market", "a taker order on symbol= finds at most lots= (1); lots=0 ends it"),
    ("transfer", "amount= of quote comes in, or goes out where it is negative"),
    ("funding", "symbol= settles funding now, at rate= (announced)"),
    ("funding-interval", "symbol= settles every hours= (8) from now on: 1, 4 or 8"),
    ("funding-late", "settlements come ms= (5000) late from now on"),
    ("trigger-fails", "stops that trigger are rejected; on=0 ends it"),
    ("countdown-late", "countdowns fire ms= (5000) late from now on"),
    ("price", "symbol= moves by bps= at once"),
    ("switch", "one of the exchange's unknown rules is set: NAME=VALUE"),
)

KINDS: Final[dict[str, Kind]] = {
    name: Kind(name, moment, words, lasting)
    for moment, rows, lasting in (
        (Moment.BEFORE, _BEFORE, False),
        (Moment.AFTER, _AFTER, False),
        (Moment.EVENT, _EVENT, False),
        (Moment.STREAM, _STREAM, False),
        (Moment.STREAM, _LASTING, True),
        (Moment.ACT, _ACT, False),
    )
    for name, words in rows
}
KINDS["maintenance"] = attrs.evolve(KINDS["maintenance"], lasting=True)
