"""Tests of what an error of the exchange proves: never more than it says."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hedgegrid.errors import Fatal, HedgegridError, OutcomeUnknown, Rejected, Transient
from hedgegrid.messages.events import EndReason
from hedgegrid.venues.ccxtpro.error_codes import CODES, WORDS
from hedgegrid.venues.ccxtpro.errors import (
    NOTHING_TO_CHANGE,
    WORDS_MAX,
    classify,
    classify_row,
    reason_of,
)

UNKNOWN_503 = "Unknown error, please check your request or try again later."
URL = "https://fapi.binance.com/fapi/v1/order"


def body(code: int, words: str = "words") -> str:
    """Write an error as the exchange does."""
    return json.dumps({"code": code, "msg": words})


@pytest.mark.parametrize(
    ("code", "words", "kind", "reason"),
    [
        (-1000, "An unknown error occurred", OutcomeUnknown, EndReason.NONE),
        (-1001, "Internal error; unable to process your request. Please try again.", OutcomeUnknown, EndReason.NONE),
        (-1003, "Too many requests", Transient, EndReason.RATE_LIMITED),
        (-1006, "An unexpected response", OutcomeUnknown, EndReason.NONE),
        (-1007, "Timeout waiting for response", OutcomeUnknown, EndReason.NONE),
        (-1008, "Request throttled by system-level protection.", Transient, EndReason.NONE),
        (-1015, "Too many new orders", Transient, EndReason.RATE_LIMITED),
        (-1021, "Timestamp outside of the recvWindow.", Transient, EndReason.NONE),
        (-1022, "Signature is not valid.", Fatal, EndReason.REFUSED),
        (-1102, "Mandatory parameter", Rejected, EndReason.REFUSED),
        (-2010, "Order would immediately match and take.", Rejected, EndReason.POST_ONLY),
        (-2010, "Account has insufficient balance for requested action.", Rejected, EndReason.MARGIN),
        (-2011, "Unknown order sent.", Rejected, EndReason.NOT_FOUND),
        (-2013, "Order does not exist.", Rejected, EndReason.NOT_FOUND),
        (-2014, "API-key format invalid.", Fatal, EndReason.REFUSED),
        (-2015, "Invalid API-key, IP, or permissions for action", Fatal, EndReason.REFUSED),
        (-2018, "Balance is insufficient.", Rejected, EndReason.MARGIN),
        (-2019, "Margin is insufficient.", Rejected, EndReason.MARGIN),
        (-2021, "Order would immediately trigger.", Rejected, EndReason.WOULD_TRIGGER),
        (-2022, "ReduceOnly Order is rejected.", Rejected, EndReason.REDUCE_REFUSED),
        (-2027, "Exceeded the maximum allowable position", Rejected, EndReason.MARGIN),
        (-4003, "Quantity less than zero.", Rejected, EndReason.REFUSED),
        (-4014, "Price not increased by tick size.", Rejected, EndReason.REFUSED),
        (-4046, "No need to change margin type.", Rejected, EndReason.NONE),
        (-4059, "No need to change position side.", Rejected, EndReason.NONE),
        (-4061, "position side does not match", Rejected, EndReason.MODE),
        (-4067, "Position side cannot be changed", Rejected, EndReason.MODE),
        (-4116, "ClientOrderId is duplicated.", OutcomeUnknown, EndReason.NONE),
        (-4118, "ReduceOnly Order Failed.", Rejected, EndReason.REDUCE_REFUSED),
        (-4120, "Order type not supported for this endpoint.", Rejected, EndReason.REFUSED),
        (-4130, "An open stop or take profit order with GTE", Rejected, EndReason.REFUSED),
        (-4131, "PERCENT_PRICE", Rejected, EndReason.REFUSED),
        (-4161, "Leverage reduction is not supported", Rejected, EndReason.REFUSED),
        (-4164, "Order's notional must be no smaller than 50", Rejected, EndReason.REFUSED),
        (-4400, "Futures Trading Quantitative Rules violated", Rejected, EndReason.REFUSED),
        (-4999, "whatever is new among the filters", Rejected, EndReason.REFUSED),
        (-5021, "FOK", Rejected, EndReason.REFUSED),
        (-5022, "could not be executed as maker", Rejected, EndReason.POST_ONLY),
        (-5028, "outside of the ME recvWindow", Transient, EndReason.NONE),
        (-5041, "No depth matches this BBO order", Rejected, EndReason.REFUSED),
        (-1049, "a code that nobody knows", OutcomeUnknown, EndReason.NONE),
        (-2099, "a code that nobody knows", OutcomeUnknown, EndReason.NONE),
        (-9001, "a code that nobody knows", OutcomeUnknown, EndReason.NONE),
    ],
)
def test_a_code_proves_what_its_words_say(code: int, words: str, kind: type[HedgegridError], reason: EndReason) -> None:
    """Each code has one meaning for an order, bare or in ccxt's text, whatever class ccxt makes of it."""
    for text in (
        body(code, words),
        f"binanceusdm {body(code, words)}",
        f"binanceusdm POST {URL} 400 Bad Request {body(code, words)}",
    ):
        verdict = classify(text, status=400, sent_order=True)
        assert (verdict.kind, verdict.reason, verdict.code) == (kind, reason, code)
        assert isinstance(verdict.error(), kind)


@pytest.mark.parametrize(
    ("text", "status", "kind"),
    [
        (UNKNOWN_503, 503, OutcomeUnknown),
        ("Service Unavailable.", 503, Transient),
        (body(-1008), 503, Transient),
        (body(-1001, "Internal error; unable to process your request. Please try again."), 503, OutcomeUnknown),
        (f"binanceusdm POST {URL} 503 Service Unavailable {UNKNOWN_503}", 503, OutcomeUnknown),
        (f"binanceusdm POST {URL} 503 Service Unavailable", 503, OutcomeUnknown),
        (f"binanceusdm POST {URL} 503 Service Unavailable Service Unavailable.", 503, Transient),
        (json.dumps({"msg": "Service Unavailable."}), 503, Transient),
        (json.dumps({"msg": UNKNOWN_503}), 503, OutcomeUnknown),
        ("<html><title>503 Service Temporarily Unavailable</title></html>", 503, OutcomeUnknown),
        ("<html><h1>Service Unavailable</h1></html>", 503, OutcomeUnknown),
        (f"{UNKNOWN_503} Service Unavailable.", 503, OutcomeUnknown),
        ("Service Unavailable.", 502, OutcomeUnknown),
    ],
)
def test_each_503_is_told_apart(text: str, status: int, kind: type[HedgegridError]) -> None:
    """HTTP's own reason phrase, which every 503 has in ccxt's text, is never taken for the exchange's word."""
    assert classify(text, status=status, sent_order=True).kind is kind


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("", 200),
        ("", None),
        ("", 504),
        ('{"orderId": 28581489905, "symb', 200),
        ('{"code": -20', 400),
        ('{"code":-2019,"msg":"Margin is insuff', 400),
        ("<html>Bad Gateway</html>", 502),
        ("Request Timeout", 408),
        ("Connection reset by peer", None),
        (body(200, "success"), 200),
        ('{"code": true, "msg": "x"}', 400),
        ('{"code": "-2011x", "msg": "x"}', 400),
        ('[{"code":-2019,"msg":"Margin is insufficient."},{"orderId":1}]', 200),
        ('[{"code":-2019,"msg":"Margin is insufficient."},{"order', 200),
        ('{"code":-2019,"msg":"Margin is insufficient."', 400),
        ("Margin is insufficient.", 502),
        ("-2019", 400),
        ("null", 400),
    ],
)
def test_what_proves_nothing_is_unknown_for_an_order_and_transient_for_a_read(text: str, status: int | None) -> None:
    """A body that is empty, cut, not JSON, or a batch of mixed answers says nothing of an order's fate."""
    assert classify(text, status=status, sent_order=True).kind is OutcomeUnknown
    assert classify(text, status=status, sent_order=False).kind is Transient


def test_a_limit_tells_how_long() -> None:
    """A back-off lasts as long as the exchange asks: by header, by its words, or in a socket's answer."""
    slow = classify(body(-1003, "Too many requests"), status=429, sent_order=True, retry_after=" 17")
    assert (slow.kind, slow.wait_s, slow.until_ms, slow.banned) == (Transient, 17, None, False)
    words = "Way too many requests; IP(192.0.2.7) banned until 1790000120000. Please use the websocket"
    for status in (418, None):
        banned = classify(body(-1003, words), status=status, sent_order=True)
        assert (banned.kind, banned.until_ms, banned.banned) == (Transient, 1_790_000_120_000, True)
        assert "192.0.2.7" not in banned.words
    bare = classify("", status=418, sent_order=True, retry_after="soon")
    assert (bare.kind, bare.wait_s, bare.banned) == (Transient, None, True)
    answer = {
        "id": "7",
        "status": 429,
        "error": {"code": -1003, "msg": "Too much", "data": {"retryAfter": 1790000060000}},
    }
    assert classify(json.dumps(answer), status=None, sent_order=True).until_ms == 1_790_000_060_000
    assert classify("", status=429, sent_order=True).reason is EndReason.RATE_LIMITED
    assert classify("<html>", status=403, sent_order=True).kind is Transient
    assert classify(body(0, "slow down"), status=429, sent_order=True).code is None
    assert classify(body(0, "slow down"), status=429, sent_order=True).kind is Transient


def test_words_carry_no_secret() -> None:
    """What goes into the journal and alerts has no URL, key or signature in it, and is short."""
    secret = "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A"
    text = f"binanceusdm POST {URL}?apiKey={secret}&signature=c8db5682 signature: c8db5682 {secret} " + "x " * 200
    verdict = classify(text, status=500, sent_order=True)
    assert secret not in verdict.words
    assert "c8db5682" not in verdict.words
    assert "fapi.binance.com" not in verdict.words
    assert len(verdict.words) <= WORDS_MAX


def test_the_exchanges_words_stand_in_for_a_code_that_ccxt_dropped() -> None:
    """Some refusals are raised by their words alone; they are refusals nevertheless."""
    verdict = classify("binanceusdm Order would immediately match and take.", status=None, sent_order=True)
    assert (verdict.kind, verdict.reason, verdict.code) == (Rejected, EndReason.POST_ONLY, None)
    assert reason_of("Reduce Only reject") is EndReason.REDUCE_REFUSED
    assert reason_of("Margin is insufficient.") is EndReason.MARGIN
    assert reason_of("") is EndReason.REFUSED


def test_a_batch_row_is_classified_by_itself() -> None:
    """A row with a code is that refusal; a row that is anything else proves nothing."""
    assert classify_row({"code": -5022, "msg": "x"}, sent_order=True).reason is EndReason.POST_ONLY
    assert classify_row({"code": "-2011", "msg": "x"}, sent_order=True).reason is EndReason.NOT_FOUND
    silent: tuple[object, ...] = (
        None,
        {},
        [],
        "x",
        7,
        {"code": 200, "msg": "success"},
        {"code": None},
        {"msg": "Margin is insufficient."},
    )
    for row in silent:
        assert classify_row(row, sent_order=True).kind is OutcomeUnknown


def test_the_table_is_whole_and_sourced() -> None:
    """Every code names who says so, and what asked for nothing new is no failure of an order."""
    assert all(code < 0 and rule.source[:2] in {"D:", "G:", "R:"} for code, rule in CODES.items())
    assert all(CODES[code].kind is Rejected and CODES[code].reason is EndReason.NONE for code in NOTHING_TO_CHANGE)


@given(text=st.text(), status=st.none() | st.integers(0, 999), sent_order=st.booleans(), header=st.none() | st.text())
def test_classifying_never_raises(text: str, status: int | None, sent_order: bool, header: str | None) -> None:
    """Whatever text an error has, there is a verdict, and a read is never of unknown outcome."""
    verdict = classify(text, status=status, sent_order=sent_order, retry_after=header)
    assert sent_order or verdict.kind is not OutcomeUnknown
    said = any(known in text.lower() for known, _, _ in WORDS)
    proven = verdict.code is not None or said or status in {403, 418, 429, 503}
    assert verdict.kind is OutcomeUnknown or not sent_order or proven


@given(code=st.integers(-99_999, -1), status=st.none() | st.integers(0, 999))
def test_only_listed_codes_and_ranges_prove_a_refusal(code: int, status: int | None) -> None:
    """A code that no document lists outside the ranges of refusals leaves the outcome open."""
    verdict = classify(body(code), status=status, sent_order=True)
    listed = code in CODES or -1199 <= code <= -1100 or -5999 <= code <= -4000
    assert listed or verdict.kind is OutcomeUnknown
