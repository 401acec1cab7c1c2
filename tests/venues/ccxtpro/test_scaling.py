"""Tests of figures: exact, bounded, and never from a float."""

from decimal import Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hedgegrid.venues.ccxtpro.scaling import (
    INT64_MAX,
    BadPayloadError,
    Rounding,
    Scale,
    decimal_text,
    e8,
    ppm,
    read_json,
)
from tests.venues.ccxtpro.wire_payloads import BTC


@pytest.mark.parametrize(
    ("text", "ticks"),
    [
        ("61234.50", 612345),
        ("61234.5", 612345),
        ("0", 0),
        ("0.00", 0),
        (61234, 612340),
        ("1E+1", 100),
        (".5", 5),
        ("5.", 50),
    ],
)
def test_a_price_on_the_tick_is_its_ticks(text: object, ticks: int) -> None:
    """However a decimal is spelled, its ticks are exact."""
    assert BTC.price_ticks(text) == ticks


@pytest.mark.parametrize(
    "value",
    [
        61234.5,
        0.0,
        True,
        None,
        "",
        " 1",
        "1 ",
        "1_0",
        "\u0661",
        "NaN",
        "Infinity",
        "-",
        "+",
        ".",
        "1.2.3",
        "1e99",
        "1E-31",
        "0x10",
        "--1",
        "9" * 49,
        b"1",
        [],
        {},
        "1,5",
    ],
)
def test_what_is_no_decimal_text_is_refused(value: object) -> None:
    """A float above all, but also what only looks like a number to Python, never becomes a figure."""
    with pytest.raises(BadPayloadError):
        BTC.price_ticks(value)
    with pytest.raises(BadPayloadError):
        e8(value, "amount")


def test_a_price_off_the_tick_is_refused_unless_a_rounding_is_named() -> None:
    """Money is never rounded by accident; a mark is, to the nearest, half up."""
    with pytest.raises(BadPayloadError, match="finer"):
        BTC.price_ticks("61234.55")
    assert BTC.price_ticks("61234.55", "mark", Rounding.NEAREST) == 612346
    assert BTC.price_ticks("61234.5499", "mark", Rounding.NEAREST) == 612345
    assert BTC.price_ticks("61234.59", "least", Rounding.FLOOR) == 612345
    assert BTC.price_ticks("61234.51", "least", Rounding.CEILING) == 612346


def test_what_does_not_fit_64_bits_is_refused() -> None:
    """No figure wraps or grows beyond what the core counts in."""
    assert e8("92233720368.54775807", "amount") == INT64_MAX
    with pytest.raises(BadPayloadError, match="64 bits"):
        e8("92233720368.54775808", "amount")
    with pytest.raises(BadPayloadError, match="64 bits"):
        BTC.qty_lots("9" * 40)


def test_signs_are_only_where_they_belong() -> None:
    """A negative price or quantity is nonsense; a negative position, fee or profit is not."""
    for read in (BTC.price_ticks, BTC.qty_lots):
        with pytest.raises(BadPayloadError, match="below zero"):
            read("-0.1")
    assert BTC.signed_lots("-0.007", "amount") == -7
    assert BTC.money_e8("-0.01226158") == -1226158
    assert BTC.price_ticks("-0.0") == 0


def test_the_cost_of_an_average_price_is_its_nearest_e8() -> None:
    """An entry price finer than the tick still gives the position's cost, for either sign of the quantity."""
    assert BTC.cost_e8("61512.642857143", "-0.007") == 43058850000
    assert BTC.cost_e8("61512.642857143", "0.007") == 43058850000
    with pytest.raises(BadPayloadError):
        BTC.cost_e8("-1", "1")


def test_the_decimal_context_does_not_matter() -> None:
    """A precision that somebody set elsewhere cannot change money."""
    with localcontext() as context:
        context.prec = 2
        assert BTC.price_ticks("61234.50") == 612345
        assert e8("4208.43752587", "wallet") == 420843752587
        assert decimal_text("61234.50", "price").as_tuple() == Decimal("61234.50").as_tuple()


@given(ticks=st.integers(0, 10**12), places=st.integers(0, 6))
def test_every_price_on_the_tick_is_read_back(ticks: int, places: int) -> None:
    """What is written as a multiple of the tick, with any zeros behind it, comes back as the same ticks."""
    scale = Scale(symbol="X", instrument="X/USDT:USDT", tick=Decimal("0.00025"), lot=Decimal(10))
    text = f"{Decimal(ticks) * Decimal('0.00025'):f}"
    assert scale.price_ticks(text + "0" * places) == ticks
    assert scale.qty_lots(str(ticks * 10)) == ticks
    with pytest.raises(BadPayloadError):
        scale.qty_lots(str(ticks * 10 + 1))


def test_a_ratio_is_exact_millionths() -> None:
    """A fee finer than a millionth would be another fee."""
    assert ppm("0.000200", "fee") == 200
    with pytest.raises(BadPayloadError):
        ppm("0.0000005", "fee")


def test_a_tick_that_is_none_is_refused() -> None:
    """A scale of zero would make every price nothing."""
    for tick in ("0", "-0.1", "NaN", "Infinity"):
        with pytest.raises(BadPayloadError):
            Scale(symbol="X", instrument="X/USDT:USDT", tick=Decimal(tick), lot=Decimal(1))


def test_json_keeps_fractions_as_text() -> None:
    """The digits that were sent are the digits that are counted."""
    assert read_json('{"a": 0.0065, "b": 1E-7, "c": 3, "d": "x"}') == {"a": "0.0065", "b": "1E-7", "c": 3, "d": "x"}
    assert ppm(read_json("[0.0065]")[0], "ratio") == 6500


@pytest.mark.parametrize("text", ["", "{", "NaN", '{"a": Infinity}', "[" * 100_000, b"\xff\xfe", "1" * 5000])
def test_what_is_no_json_is_our_error(text: str | bytes) -> None:
    """A truncated or absurd body is a bad payload, whatever the reader inside would raise."""
    with pytest.raises(BadPayloadError):
        read_json(text)
