"""Fuzz of every parser: whatever a payload is, only ``BadPayloadError`` comes out, and nothing stays behind."""

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hedgegrid.venues.ccxtpro.scaling import BadPayloadError
from tests.venues.ccxtpro.wire_payloads import Parser, every_payload, payloads

CASES = tuple(every_payload())
SCALARS: st.SearchStrategy[Any] = st.sampled_from(
    [
        None,
        True,
        False,
        0,
        1,
        -1,
        2**63,
        -(2**63),
        10**400,
        0.1,
        float("nan"),
        float("inf"),
        "",
        "0",
        "-1",
        "1e400",
        "1E-29",
        "NaN",
        "x",
        "9" * 48,
        "0." + "1" * 40,
        "\ud800",
        "BTCUSDT",
        "true",
        [],
        {},
        [[]],
        [None],
        {"s": None},
    ]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=6),
    max_leaves=12,
)


def outcome(parse: Parser, payload: object) -> object:
    """Parse, and give what came of it; any error but ours goes through."""
    try:
        return parse(payload)
    except BadPayloadError as error:
        return str(error)


def places(payload: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """List the way to every value inside a payload, itself included."""
    inner = payload.items() if isinstance(payload, dict) else enumerate(payload) if isinstance(payload, list) else ()
    return [path, *(place for key, value in inner for place in places(value, (*path, key)))]


def changed(payload: Any, path: tuple[Any, ...], value: Any, *, drop: bool) -> Any:
    """Give a copy with the value at ``path`` replaced, or gone."""
    if not path:
        return value
    spoilt = copy.deepcopy(payload)
    holder = spoilt
    for key in path[:-1]:
        holder = holder[key]
    if drop:
        del holder[path[-1]]
    else:
        holder[path[-1]] = value
    return spoilt


@pytest.mark.parametrize(("payload", "parse"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_a_good_payload_is_read_twice_alike_and_left_as_it_was(payload: Any, parse: Parser) -> None:
    """A parser keeps nothing between payloads and changes none; every good payload is understood."""
    before = json.dumps(payload)
    first = outcome(parse, payload)
    for _, other, parse_other in CASES[::7]:
        outcome(parse_other, other)
    assert outcome(parse, payload) == first
    assert json.dumps(payload) == before
    one_way = "one-way" in str(first)
    assert one_way or not isinstance(first, str) or first == payload.get("listenKey")


@pytest.mark.parametrize(("payload", "parse"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_no_field_dropped_or_retyped_raises_anything_else(payload: Any, parse: Parser) -> None:
    """Each field in turn is dropped, nulled, made huge, negative, of another type: ours is the only error."""
    kinds: list[Any] = [
        None,
        True,
        0,
        -1,
        10**400,
        2.5,
        float("nan"),
        "",
        "-5",
        "1e400",
        "9" * 48,
        "x",
        "\ud800",
        [],
        {},
        [None],
    ]
    for place in places(payload):
        if place:
            outcome(parse, changed(payload, place, None, drop=True))
        for kind in kinds:
            outcome(parse, changed(payload, place, kind, drop=False))


@given(payload=JSON)
@settings(max_examples=60)
def test_arbitrary_json_raises_nothing_else(payload: Any) -> None:
    """A payload of no known shape is a bad payload for every parser."""
    for _, _, parse in CASES:
        outcome(parse, payload)


@given(choice=st.sampled_from(CASES), edits=st.lists(st.tuples(st.integers(0, 10**6), SCALARS | JSON), max_size=4))
@settings(max_examples=300)
def test_payloads_spoilt_in_several_places_raise_nothing_else(choice: Any, edits: list[tuple[int, Any]]) -> None:
    """Several faults at once are no more than one."""
    _, payload, parse = choice
    for number, value in edits:
        ways = places(payload)
        payload = changed(payload, ways[number % len(ways)], value, drop=False)
    outcome(parse, payload)


def test_nothing_is_read_where_a_figure_is_a_float() -> None:
    """A float in any money field of a fill or a position is refused: none has ever been an exact figure."""
    for name, case, path in (
        ("order_stream", "partial fill", ("o", "L")),
        ("order_stream", "partial fill", ("o", "l")),
        ("order_stream", "partial fill", ("o", "n")),
        ("order_stream", "partial fill", ("o", "rp")),
        ("account_stream", "order", ("a", "B", 0, "wb")),
        ("account_stream", "order", ("a", "P", 0, "ep")),
        ("position_lists", "hedge mode", (0, "positionAmt")),
        ("account", "account", ("assets", 0, "walletBalance")),
        ("income", "income", (0, "income")),
    ):
        parse = next(parse for label, _, parse in CASES if label == f"{name}: {case}")
        with pytest.raises(BadPayloadError):
            parse(changed(payloads(name)[case], path, 0.5, drop=False))
