"""The tape's bytes and its chain of hashes."""

import os
import subprocess
import sys
from pathlib import Path

import attrs
import pytest

from hedgegrid.errors import Fatal
from hedgegrid.journal.tape import GENESIS, KINDS, Latched, SessionKept, ThrottleKept, decode, encode, link
from hedgegrid.messages import commands, events
from hedgegrid.messages.events import Incident, MarkPrice, Message, Quote
from tests.journal.life import START_NS, Life

ROOT = Path(__file__).parents[2]
WRITE = """
from hedgegrid.journal.tape import encode
from hedgegrid.messages.events import Incident
from tests.journal.life import Life
from tests.journal.test_tape import chained
figures = {name: "x" for name in {"a", "bb", "ccc", "dddd", "eeeee"}}
incident = Incident(seq=1, cause_seq=0, ts_venue_ns=1, ts_recv_ns=1, actor="a", text="b", figures=figures)
print(chained([*Life(7).run(40), incident]))
"""


def chained(messages: list[Message]) -> str:
    """Give the hash that a tape of these messages ends in."""
    chain = GENESIS
    for message in messages:
        chain = link(chain, type(message).__name__, encode(message))
    return chain.hex()


def test_equal_messages_give_equal_bytes_in_every_interpreter() -> None:
    """Two runs are compared by their hash: neither the hash seed nor the order of a dict may reach it."""
    found = {
        subprocess.run(
            [sys.executable, "-c", WRITE],
            cwd=ROOT,
            env=os.environ | {"PYTHONHASHSEED": seed},
            stdout=subprocess.PIPE,
            check=True,
        ).stdout
        for seed in ("0", "1", "4242")
    }
    assert len(found) == 1


def test_every_message_but_quotes_has_a_place_on_the_tape() -> None:
    """A message that is added later must not be forgotten by the journal."""
    messages = {
        one
        for module in (events, commands)
        for one in vars(module).values()
        if isinstance(one, type) and issubclass(one, Message)
    }
    assert set(KINDS.values()) == messages - {Message, Quote, MarkPrice} | {Latched, SessionKept, ThrottleKept}


def test_messages_come_back_as_they_were() -> None:
    """A replay applies what was applied: enumerations, tuples and nested values included."""
    messages = list(Life(3).run(60))
    assert {type(message).__name__ for message in messages} >= {"ApprovedBatch", "ExecutionBatch", "FundingPaid"}
    for message in messages:
        back = decode(type(message).__name__, encode(message))
        assert back == message
        assert attrs.asdict(back) == attrs.asdict(message)


def test_latched_reasons_come_back_as_permission_takes_them() -> None:
    """Figures hold integers and texts, and both must keep their kind."""
    entries = (("drawdown", "", START_NS, (("limit_ppm", 100_000), ("why", "peak"))),)
    latched = Latched(seq=0, cause_seq=0, ts_venue_ns=1, ts_recv_ns=1, entries=entries)
    assert decode("Latched", encode(latched)) == latched


def test_the_chain_depends_on_every_part_and_on_order() -> None:
    """Whatever is changed, left out or moved is seen."""
    one, two = [
        Incident(seq=n, cause_seq=0, ts_venue_ns=1, ts_recv_ns=1, actor="a", text="b", figures={}) for n in (1, 2)
    ]
    hashes = [chained(list(tape)) for tape in ([one], [two], [one, two], [two, one], [])]
    assert len(set(hashes)) == len(hashes)
    assert link(GENESIS, "a", b"bc") != link(GENESIS, "ab", b"c")


@pytest.mark.parametrize(("kind", "payload"), [("Unheard", b"{}"), ("Incident", b"{}"), ("Incident", b"\xff{")])
def test_what_cannot_be_read_is_one_line(kind: str, payload: bytes) -> None:
    """A message of a newer hedgegrid, or a damaged one, ends in Fatal and not in a trace."""
    with pytest.raises(Fatal, match=r"^the journal holds a"):
        decode(kind, payload)
