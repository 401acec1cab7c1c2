"""An error of the exchange, classified by what it proves.

Invariants: of a request that may have changed something, whatever is not proven "not accepted" is OutcomeUnknown; of a
read nothing is. The code is taken from the error's own JSON, whole (a truncated body has none), never from a class of
ccxt's, which depends on the URL. The words carry no address, no key and no signature. Nothing here raises.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

import attrs

from hedgegrid.errors import HedgegridError, OutcomeUnknown, Rejected, Transient
from hedgegrid.messages.events import EndReason
from hedgegrid.venues.ccxtpro.error_codes import (
    CLOCK,
    CODES,
    KEYS,
    NOTHING_TO_CHANGE,
    ORDER_NOT_FOUND,
    REFUSING_RANGES,
    STATUS,
    WORDS,
    CodeRule,
    Kind,
)

__all__ = ["CLOCK", "KEYS", "NOTHING_TO_CHANGE", "ORDER_NOT_FOUND", "Verdict", "classify", "classify_row", "reason_of"]

WORDS_MAX: Final = 160
_READ_MAX: Final = 65_536
_LOWEST_CODE: Final = -99_999
_BANNED_STATUS: Final = 418
_UNAVAILABLE_STATUS: Final = 503
_SERVER_STATUS: Final = 500
_URL: Final = re.compile(r"(?:https?|wss?)://\S+")
_ADDRESS: Final = re.compile(r"\bIP\s*\([^)]*\)|\b\d{1,3}(?:\.\d{1,3}){3}\b")
_SECRET: Final = re.compile(
    r"(?i)\b(?:signature|api-?key|listenkey|secret)\b\W{0,2}[=:]\W{0,2}\w+|\b[0-9a-zA-Z]{40,}\b"
)
_REASON_PHRASE: Final = re.compile(r"\b503 Service (?:Temporarily )?Unavailable\b")
_MOMENT: Final = re.compile(r"banned until (\d{13})\b|\"retryAfter\"\s*:\s*(\d{13})\b")
_SECONDS: Final = re.compile(r"\d{1,7}")


@attrs.frozen(kw_only=True)
class Verdict:
    """What an error proves.

    ``kind`` is the error of ours to raise; ``code`` the exchange's, None where it told none. ``wait_s`` is how long it
    asks to wait, ``until_ms`` the exchange's time a ban ends; ``banned``: nothing may be sent before that.
    """

    kind: Kind
    reason: EndReason
    code: int | None
    words: str
    wait_s: int | None = None
    until_ms: int | None = None
    banned: bool = False

    def error(self) -> HedgegridError:
        """Make the error, to be raised."""
        return self.kind(self.words)


def classify(text: str, *, status: int | None, sent_order: bool, retry_after: str | None = None) -> Verdict:
    """Classify an error by its text: a body, or what ccxt made of one.

    ``status`` is HTTP's, None where no answer came; ``sent_order``: the request could have changed something (an order,
    a cancel, a setting). ``retry_after`` is the header of that name.
    """
    bare = _URL.sub("", text[:_READ_MAX])
    told = _told(bare)
    code, message = _code(told), _message(told)
    words = _words(code, message or bare)
    rule = _rule_of(code, message, bare, status)
    kind, reason = (rule.kind, rule.reason) if rule else (OutcomeUnknown, EndReason.NONE)
    if not sent_order and issubclass(kind, OutcomeUnknown):
        kind = Transient
    moment = _MOMENT.search(bare)
    limited = reason is EndReason.RATE_LIMITED
    return Verdict(
        kind=kind,
        reason=reason,
        code=code,
        words=words,
        wait_s=int(retry_after) if retry_after and _SECONDS.fullmatch(retry_after := retry_after.strip()) else None,
        until_ms=int(moment[1] or moment[2]) if moment and limited else None,
        banned=limited and (status == _BANNED_STATUS or "banned" in bare.lower()),
    )


def classify_row(row: object, *, sent_order: bool) -> Verdict:
    """Classify one row of a batch's answer, ``{"code": .., "msg": ..}``: what is no such row proves nothing."""
    told = row if isinstance(row, dict) else {}
    line = {"code": _code(told), "msg": _message(told)}
    return classify(json.dumps(line) if line["code"] is not None else "", status=None, sent_order=sent_order)


def reason_of(words: str) -> EndReason:
    """Give the reason that the exchange's words of refusal stand for; REFUSED where they are not known."""
    lower = words.lower()
    return next((reason for known, _, reason in WORDS if known in lower), EndReason.REFUSED)


def _told(bare: str) -> Mapping[str, Any]:
    """Give the error's own object: the outermost of the text, or the only row of a list; empty where there is none."""
    start = min((place for place in (bare.find("{"), bare.find("[")) if place >= 0), default=-1)
    if start < 0:
        return {}
    try:
        found, _ = json.JSONDecoder().raw_decode(bare[start:])
    except (ValueError, RecursionError):
        return {}
    if isinstance(found, list) and len(found) == 1:
        found = found[0]
    if not isinstance(found, dict):
        return {}
    nested = found.get("error")
    return nested if isinstance(nested, dict) else found


def _code(told: Mapping[str, Any]) -> int | None:
    """Give the error's code; None where there is none, or one of success."""
    value = told.get("code")
    if type(value) is str and re.fullmatch(r"-[0-9]{1,5}", value):
        value = int(value)
    return value if type(value) is int and _LOWEST_CODE <= value < 0 else None


def _message(told: Mapping[str, Any]) -> str:
    value = told.get("msg")
    return value if type(value) is str else ""


def _rule_of(code: int | None, message: str, bare: str, status: int | None) -> CodeRule | None:
    if code is not None:
        return _coded(code, message)
    if status is not None and status in STATUS:
        return STATUS[status]
    if status == _UNAVAILABLE_STATUS:
        return _unavailable(message or _REASON_PHRASE.sub("", bare, count=1))
    return None if (status or 0) >= _SERVER_STATUS else _spoken(message or bare)


def _coded(code: int, message: str) -> CodeRule | None:
    rule = CODES.get(code)
    if rule is None and any(low <= code <= high for low, high in REFUSING_RANGES):
        return CodeRule(Rejected, EndReason.REFUSED, "not listed, of a range of refusals")
    if rule is not None and rule.kind is Rejected and rule.reason is EndReason.REFUSED:
        return CodeRule(rule.kind, reason_of(message), rule.source)
    return rule


def _spoken(said: str) -> CodeRule | None:
    """Take the exchange's words where no code came with them; never those inside a body that was cut or has rows."""
    if "{" in said or "[" in said:
        return None
    lower = said.lower()
    found = next(((kind, reason) for known, kind, reason in WORDS if known in lower), None)
    return CodeRule(*found, "the exchange's words") if found else None


def _unavailable(said: str) -> CodeRule | None:
    """Tell the meanings of a 503 without a code apart (G): only the exchange's own "Service Unavailable" is a failure.

    HTTP's phrase of that name stands before every 503's body in ccxt's text, and a gateway's page may say it too.
    """
    lower = said.lower()
    if "service unavailable" in lower and "unknown error" not in lower and "<" not in lower:
        return CodeRule(Transient, EndReason.NONE, "G: Service Unavailable, a failure")
    return None


def _words(code: int | None, said: str) -> str:
    clean = _SECRET.sub("***", _ADDRESS.sub("IP", said))
    line = " ".join(clean.split())
    return (f"{code} {line}" if code is not None else line)[:WORDS_MAX]
