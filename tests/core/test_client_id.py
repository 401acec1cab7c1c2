"""Client ids: unique, bounded, and readable again."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hedgegrid.core.client_id import EPOCHS, LENGTH_MAX, SEQUENCES, ClientId, client_id, parse_client_id
from hedgegrid.model.order import Leg, Purpose

OURS = [purpose for purpose in Purpose if purpose is not Purpose.LIQUIDATION]
PARTS = st.builds(
    ClientId,
    account=st.text("abz019-", min_size=1, max_size=16),
    epoch=st.integers(0, EPOCHS - 1),
    leg=st.sampled_from(Leg),
    purpose=st.sampled_from(OURS),
    level=st.integers(-1, 999),
    sequence=st.integers(0, SEQUENCES - 1),
)
LONGEST = ClientId(
    account="a" * 16, epoch=EPOCHS - 1, leg=Leg.SHORT, purpose=Purpose.STOP, level=999, sequence=SEQUENCES - 1
)


def write(parts: ClientId) -> str:
    """The text of ``parts``."""
    return client_id(
        account=parts.account,
        epoch=parts.epoch,
        leg=parts.leg,
        purpose=parts.purpose,
        level=parts.level,
        sequence=parts.sequence,
    )


@given(PARTS)
@example(LONGEST)
def test_round_trip_within_the_exchanges_length(parts: ClientId) -> None:
    """An order found on the exchange gives back exactly what it was sent with, in 36 admitted characters."""
    text = write(parts)
    assert parse_client_id(text) == parts
    assert len(text) <= LENGTH_MAX
    assert re.fullmatch(r"[A-Za-z0-9._-]+", text)


@given(PARTS, PARTS)
def test_distinct_parts_give_distinct_ids(left: ClientId, right: ClientId) -> None:
    """Law 5: no two orders share an id, across restarts and levels too."""
    assert (write(left) == write(right)) == (left == right)


@given(st.text(st.sampled_from("ab01.-LSETFB\n "), max_size=40) | st.text(max_size=40))
def test_what_parses_is_what_we_write(text: str) -> None:
    """A foreign id is never taken for ours: whatever parses is written back to the same text."""
    parts = parse_client_id(text)
    assert parts is None or write(parts) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "autoclose-1699999999999",
        "adl_autoclose",
        "web_8fK2",
        "demo.1LE3.k2\n",
        "demo.01LE3.k2",
        "demo.1LE03.k2",
        "demo.1LE\u0663.k2",
        "demo.1LX3.k2",
        "demo.1LE1000.k2",
        "demo.1LE-1.k2",
        "demo.1LE3.1000000",
        "demo.1le3.k2",
        "Demo.1LE3.k2",
        "a" * 17 + ".1LE3.k2",
    ],
)
def test_foreign_and_malformed_ids_are_none(text: str) -> None:
    """Forced, manual and almost-ours ids are foreign: they are reported, never touched."""
    assert parse_client_id(text) is None


@pytest.mark.parametrize(
    "change",
    [
        {"account": ""},
        {"account": "a" * 17},
        {"account": "a.b"},
        {"account": "Demo"},
        {"account": "demo\n"},
        {"epoch": -1},
        {"epoch": EPOCHS},
        {"level": -2},
        {"level": 1000},
        {"sequence": -1},
        {"sequence": SEQUENCES},
        {"purpose": Purpose.LIQUIDATION},
    ],
)
def test_parts_outside_their_range_are_refused(change: dict[str, object]) -> None:
    """An id that would be ambiguous, too long or refused by the exchange is never written."""
    parts: dict[str, object] = {
        "account": "demo",
        "epoch": 1,
        "leg": Leg.LONG,
        "purpose": Purpose.ENTRY,
        "level": 3,
        "sequence": 7,
    }
    with pytest.raises(ValueError, match=r".+"):
        client_id(**(parts | change))  # type: ignore[arg-type]


def test_an_id_reads_as_documented() -> None:
    """The written form is journaled and seen by people: it does not change by accident."""
    assert write(ClientId(account="demo", epoch=1, leg=Leg.LONG, purpose=Purpose.ENTRY, level=3, sequence=722)) == (
        "demo.1LE3.k2"
    )
    assert write(ClientId(account="x-1", epoch=36, leg=Leg.SHORT, purpose=Purpose.STOP, level=-1, sequence=0)) == (
        "x-1.10SS.0"
    )
