"""What each error code of Binance USD-M futures proves, in one table.

Sources: D = the exchange's page of error codes (developers.binance.com, usds-margined-futures/error-code); G = its page
of general information; R = measured against the practice exchange or through ccxt 4.5.90; X = our own reading, taken to
the safe side. A code proves only what its words say: where the words leave open whether the request took effect, the
kind is OutcomeUnknown.
"""

from collections.abc import Mapping
from typing import Final

import attrs

from hedgegrid.errors import Fatal, HedgegridError, OutcomeUnknown, Rejected, Transient
from hedgegrid.messages.events import EndReason

Kind = type[HedgegridError]


@attrs.frozen
class CodeRule:
    """What a code proves of a request that may have changed something, and who says so."""

    kind: Kind
    reason: EndReason
    source: str


def _rule(kind: Kind, reason: EndReason, source: str) -> CodeRule:
    return CodeRule(kind, reason, source)


_REFUSED: Final = EndReason.REFUSED
_NONE: Final = EndReason.NONE

CODES: Final[Mapping[int, CodeRule]] = {
    # general
    -1000: _rule(OutcomeUnknown, _NONE, "D: an unknown error occurred while it was worked on"),
    -1001: _rule(OutcomeUnknown, _NONE, "D: internal error, unable to answer; G calls it a failure, X: not proven"),
    -1002: _rule(Fatal, _REFUSED, "D: not authorized"),
    -1003: _rule(Transient, EndReason.RATE_LIMITED, "D: too many requests; with 418 the address is banned"),
    -1004: _rule(Rejected, _REFUSED, "D: the address is on the white list already"),
    -1005: _rule(Rejected, _REFUSED, "D: no such address on the white list"),
    -1006: _rule(OutcomeUnknown, _NONE, "D: unexpected answer from the message bus, execution status unknown"),
    -1007: _rule(OutcomeUnknown, _NONE, "D: the backend did not answer in time, execution status unknown"),
    -1008: _rule(Transient, _NONE, "G: throttled by the system's protection, a failure; reductions are exempt"),
    -1010: _rule(OutcomeUnknown, _NONE, "D: an error message was received; X: it does not say of what"),
    -1011: _rule(Fatal, _REFUSED, "D: this address cannot use this route"),
    -1013: _rule(Rejected, _REFUSED, "D: invalid message"),
    -1014: _rule(Rejected, _REFUSED, "D: unsupported combination of an order's parts"),
    -1015: _rule(Transient, EndReason.RATE_LIMITED, "D: too many new orders"),
    -1016: _rule(OutcomeUnknown, _NONE, "D: the service is shutting down; X: it may have taken this one before"),
    -1020: _rule(Rejected, _REFUSED, "D: unsupported operation"),
    -1021: _rule(Transient, _NONE, "D: outside the receive window, or over 1000 ms ahead: refused at the door"),
    -1022: _rule(Fatal, _REFUSED, "D: the signature is not valid"),
    -1023: _rule(Rejected, _REFUSED, "D: start time after end time"),
    -1099: _rule(Fatal, _REFUSED, "D: not found, unauthenticated or unauthorized"),
    # the request's form
    -1106: _rule(Rejected, _REFUSED, "D: a parameter that is not wanted (R: reduceOnly in hedge mode)"),
    -1125: _rule(Rejected, EndReason.NOT_FOUND, "D: this listen key does not exist"),
    # orders
    -2010: _rule(Rejected, _REFUSED, "D: new order rejected"),
    -2011: _rule(Rejected, EndReason.NOT_FOUND, "D: cancel rejected: unknown order, which may have filled"),
    -2012: _rule(OutcomeUnknown, _NONE, "D: batch cancel failed; X: some of it may have been done"),
    -2013: _rule(Rejected, EndReason.NOT_FOUND, "D: the order does not exist"),
    -2014: _rule(Fatal, _REFUSED, "D: the API key's form is invalid"),
    -2015: _rule(Fatal, _REFUSED, "D: invalid API key, address or permissions"),
    -2016: _rule(Rejected, _REFUSED, "D: no trading window"),
    -2017: _rule(Fatal, _REFUSED, "D: API keys are locked on this account"),
    -2018: _rule(Rejected, EndReason.MARGIN, "D: the balance is insufficient"),
    -2019: _rule(Rejected, EndReason.MARGIN, "D: the margin is insufficient"),
    -2020: _rule(Rejected, _REFUSED, "D: unable to fill"),
    -2021: _rule(Rejected, EndReason.WOULD_TRIGGER, "D: the order would trigger immediately"),
    -2022: _rule(Rejected, EndReason.REDUCE_REFUSED, "D: the reducing order is rejected"),
    -2023: _rule(Rejected, _REFUSED, "D: the user is in liquidation"),
    -2024: _rule(Rejected, EndReason.REDUCE_REFUSED, "D: the position is not sufficient"),
    -2025: _rule(Rejected, _REFUSED, "D: the limit of open orders is reached"),
    -2026: _rule(Rejected, _REFUSED, "D: this type cannot be reduce-only"),
    -2027: _rule(Rejected, EndReason.MARGIN, "D: over the largest position at this leverage"),
    -2028: _rule(Rejected, EndReason.MARGIN, "D: leverage too small for the margin balance"),
    # filters and settings (what is not listed of -4xxx is REFUSED)
    -4003: _rule(Rejected, _REFUSED, "D: quantity below zero"),
    -4004: _rule(Rejected, _REFUSED, "D: quantity under the minimum"),
    -4005: _rule(Rejected, _REFUSED, "D: quantity over the maximum"),
    -4013: _rule(Rejected, _REFUSED, "D: price under the minimum"),
    -4014: _rule(Rejected, _REFUSED, "D: price not on the tick"),
    -4015: _rule(Rejected, _REFUSED, "D: client id over 36 characters (R: 36 are accepted)"),
    -4045: _rule(Rejected, _REFUSED, "D: the limit of stop orders is reached"),
    -4046: _rule(Rejected, _NONE, "D: no need to change the margin type"),
    -4047: _rule(Rejected, EndReason.MODE, "D: the margin type cannot change with open orders"),
    -4048: _rule(Rejected, EndReason.MODE, "D: the margin type cannot change with a position"),
    -4050: _rule(Rejected, EndReason.MARGIN, "D: the cross balance is insufficient"),
    -4051: _rule(Rejected, EndReason.MARGIN, "D: the isolated balance is insufficient"),
    -4059: _rule(Rejected, _NONE, "D: no need to change the position mode"),
    -4060: _rule(Rejected, EndReason.MODE, "D: invalid position side"),
    -4061: _rule(Rejected, EndReason.MODE, "D: the position side does not match the account's mode"),
    -4062: _rule(Rejected, EndReason.MODE, "D: reduceOnly in conflict with the mode"),
    -4067: _rule(Rejected, EndReason.MODE, "D: the position mode cannot change with open orders"),
    -4068: _rule(Rejected, EndReason.MODE, "D: the position mode cannot change with a position"),
    -4083: _rule(OutcomeUnknown, _NONE, "D: placing the batch failed; X: it does not say that none of it stands"),
    -4087: _rule(Rejected, _REFUSED, "D: only reducing orders are allowed"),
    -4088: _rule(Rejected, _REFUSED, "D: no order can be placed now"),
    -4116: _rule(OutcomeUnknown, _NONE, "D: the client id is in use; X: never reused, so our own order holds it"),
    -4117: _rule(OutcomeUnknown, _NONE, "D: the stop is triggering; X: what comes of it the stream tells"),
    -4118: _rule(Rejected, EndReason.REDUCE_REFUSED, "D: reducing order failed, see position and open orders"),
    -4120: _rule(Rejected, _REFUSED, "D: conditional orders belong to the algo service"),
    -4130: _rule(Rejected, _REFUSED, "R: a closePosition stop of this direction stands already"),
    -4131: _rule(Rejected, _REFUSED, "D: the counterparty's best price is outside PERCENT_PRICE"),
    -4140: _rule(Rejected, _REFUSED, "D: the symbol's status does not allow opening"),
    -4141: _rule(Rejected, _REFUSED, "D: the symbol is closed"),
    -4142: _rule(Rejected, EndReason.WOULD_TRIGGER, "D: the stop would trigger immediately"),
    -4161: _rule(Rejected, _REFUSED, "D: leverage cannot be lowered in isolated margin with a position"),
    -4164: _rule(Rejected, _REFUSED, "D: under the minimum notional"),
    -4168: _rule(Rejected, EndReason.MODE, "D: no isolated margin in multi-assets mode"),
    -4171: _rule(Rejected, _NONE, "D: no need to change the multi-assets mode"),
    -4400: _rule(Rejected, _REFUSED, "D: quantitative rules violated, only reducing orders for a while"),
    -4401: _rule(Rejected, _REFUSED, "D: large-position rules violated, only reducing orders"),
    # execution (what is not listed of -5xxx is REFUSED)
    -5021: _rule(Rejected, _REFUSED, "D: fill-or-kill could not be filled at once"),
    -5022: _rule(Rejected, EndReason.POST_ONLY, "D: a post-only order would have taken"),
    -5027: _rule(Rejected, _NONE, "D: nothing of the order to modify"),
    -5028: _rule(Transient, _NONE, "D: outside the matching engine's receive window: not taken"),
    -5041: _rule(Rejected, _REFUSED, "D: no depth for a price-match order"),
}
"""By code; for a read, whatever is OutcomeUnknown here is Transient."""

REFUSING_RANGES: Final = ((-1199, -1100), (-4999, -4000), (-5999, -5000))
"""Codes of these ranges that are not listed are refusals (D: the request's form, filters, execution)."""

NOTHING_TO_CHANGE: Final = frozenset({-4046, -4059, -4171, -5027})
"""What was asked for is so already."""
ORDER_NOT_FOUND: Final = frozenset({-2011, -2013})
"""No open order of that id: it may have filled, ended, or never been."""
FILTERS: Final = frozenset(
    {-1013, -1111, -4001, -4002, -4003, -4004, -4005, -4013, -4014, -4016, -4023, -4029, -4030, -4164}
)
"""An order broke one of its instrument's rules (D), which the exchange may have changed."""
CLOCK: Final = frozenset({-1021, -5028})
"""Our clock, or the way there, is out of the receive window."""
KEYS: Final = frozenset({-1002, -1011, -1022, -1099, -2014, -2015, -2017})
"""The keys, their permissions or our address are at fault."""

STATUS: Final[Mapping[int, CodeRule]] = {
    403: _rule(Transient, EndReason.RATE_LIMITED, "G: the firewall's limit is violated"),
    418: _rule(Transient, EndReason.RATE_LIMITED, "G: the address is banned"),
    429: _rule(Transient, EndReason.RATE_LIMITED, "G: a request limit is broken"),
}
"""By HTTP status, where the body has no code. Whatever is not here proves nothing."""

WORDS: Final[tuple[tuple[str, Kind, EndReason], ...]] = (
    ("immediately match and take", Rejected, EndReason.POST_ONLY),
    ("executed as maker", Rejected, EndReason.POST_ONLY),
    ("immediately trigger", Rejected, EndReason.WOULD_TRIGGER),
    ("trigger immediately", Rejected, EndReason.WOULD_TRIGGER),
    ("reduceonly order is rejected", Rejected, EndReason.REDUCE_REFUSED),
    ("reduce only reject", Rejected, EndReason.REDUCE_REFUSED),
    ("insufficient balance", Rejected, EndReason.MARGIN),
    ("margin is insufficient", Rejected, EndReason.MARGIN),
    ("margin check", Rejected, EndReason.MARGIN),
    ("unknown order sent", Rejected, EndReason.NOT_FOUND),
)
"""The exchange's words of refusal, lower case: ccxt raises some without their code, and reject reasons have none."""
