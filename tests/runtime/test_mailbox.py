"""Mailboxes and routing: what is taken, conflated, refused or dead, and that nothing is lost without a word."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hedgegrid.runtime.activity import Activity
from hedgegrid.runtime.mailbox import REFUSE, Delivery, Mailbox, MailboxClosedError, Overflow, Policy, conflate
from hedgegrid.runtime.router import DeadLetter, DeadReason, Router
from tests.runtime.harness import Halt, Job, Message, Price, Stranger, World, mailbox

MESSAGES = st.one_of(
    st.builds(Job, number=st.integers(0, 99)),
    st.builds(Price, name=st.sampled_from("ab"), number=st.integers(0, 99)),
    st.builds(Halt, number=st.integers(0, 99)),
)


def drained(box: Mailbox[Message]) -> list[Message]:
    """Everything that waits, in reading order."""
    messages: list[Message] = []
    while (message := box.get_nowait()) is not None:
        messages.append(message)
        box.activity.end()
    return messages


def test_the_control_lane_is_read_first() -> None:
    """A halt overtakes the work that waits; within a lane the order of sending stays."""
    box = mailbox("a", Activity())
    for message in (Job(number=1), Halt(number=1), Job(number=2), Halt(number=2)):
        assert box.put(message) is Delivery.TAKEN
    assert drained(box) == [Halt(number=1), Halt(number=2), Job(number=1), Job(number=2)]


def test_conflation_keeps_the_latest_in_the_first_place() -> None:
    """A price that is asked for late is the newest, and did not lose its turn by being replaced."""
    box = mailbox("a", Activity())
    box.put(Price(name="x", number=1))
    box.put(Job(number=1))
    box.put(Price(name="y", number=1))
    assert box.put(Price(name="x", number=2)) is Delivery.CONFLATED
    assert box.put(Price(name="x", number=3)) is Delivery.CONFLATED
    assert drained(box) == [Price(name="x", number=3), Job(number=1), Price(name="y", number=1)]
    assert box.put(Price(name="x", number=4)) is Delivery.TAKEN
    statistics = box.statistics()
    assert (statistics.received, statistics.conflated, statistics.peak_depth) == (6, 2, 3)


def test_a_full_lane_refuses_and_keeps_what_it_has() -> None:
    """Nothing that must not be dropped is dropped, and each lane has its own bound."""
    box = mailbox("a", Activity(), capacity=2, control_capacity=1)
    outcomes = [box.put(Job(number=number)) for number in range(3)]
    assert outcomes == [Delivery.TAKEN, Delivery.TAKEN, Delivery.FULL]
    assert box.put(Price(name="x", number=1)) is Delivery.FULL
    assert [box.put(Halt()), box.put(Halt())] == [Delivery.TAKEN, Delivery.FULL]
    assert drained(box) == [Halt(), Job(number=0), Job(number=1)]
    statistics = box.statistics()
    assert (statistics.refused, statistics.peak_depth, statistics.control_peak_depth) == (3, 2, 1)
    assert (statistics.capacity, statistics.control_capacity) == (2, 1)


def test_a_refused_conflating_message_leaves_no_place_behind() -> None:
    """The place of a refused message must not swallow the next one of its key."""
    box = mailbox("a", Activity(), capacity=1)
    box.put(Job(number=1))
    assert box.put(Price(name="x", number=1)) is Delivery.FULL
    assert drained(box) == [Job(number=1)]
    assert box.put(Price(name="x", number=2)) is Delivery.TAKEN
    assert drained(box) == [Price(name="x", number=2)]


def test_policies_say_what_they_mean() -> None:
    """Capacities have no default and no zero; a key goes with conflation and with nothing else."""
    with pytest.raises(ValueError, match="needs a key"):
        Policy(overflow=Overflow.CONFLATE)
    with pytest.raises(ValueError, match="needs a key"):
        Policy(overflow=Overflow.REFUSE, key=str)
    with pytest.raises(ValueError, match="capacity"):
        mailbox("a", Activity(), capacity=0)


def test_a_control_type_may_conflate() -> None:
    """The lane and the policy of a type are independent of each other."""
    box: Mailbox[Halt | Job] = Mailbox(
        "a",
        capacity=1,
        control_capacity=1,
        policies={Halt: conflate(lambda _: None), Job: REFUSE},
        control=(Halt,),
        activity=Activity(),
    )
    outcomes = [box.put(message) for message in (Job(number=1), Halt(number=1), Halt(number=2))]
    assert outcomes == [Delivery.TAKEN, Delivery.TAKEN, Delivery.CONFLATED]
    assert [box.get_nowait(), box.get_nowait(), box.get_nowait()] == [Halt(number=2), Job(number=1), None]


@given(st.lists(st.one_of(MESSAGES, st.none()), max_size=60))
def test_every_message_is_accounted_for(script: list[Message | None]) -> None:
    """Taken = read + waiting, the activity agrees, and no bound is passed, whatever is put and read (None)."""
    activity = Activity()
    box = mailbox("a", activity, capacity=3, control_capacity=2)
    outcomes: list[Delivery] = []
    read: list[Message] = []
    for step in script:
        if step is not None:
            outcomes.append(box.put(step))
        elif (message := box.get_nowait()) is not None:
            read.append(message)
            activity.end()
        assert box.statistics().depth <= 3
        assert box.statistics().control_depth <= 2
    taken = outcomes.count(Delivery.TAKEN)
    statistics = box.statistics()
    assert activity.busy == box.depth == taken - len(read)
    assert statistics.received == taken + outcomes.count(Delivery.CONFLATED)
    assert statistics.refused == outcomes.count(Delivery.FULL)
    assert len(box.close()) == taken - len(read)
    assert activity.busy == 0


@pytest.mark.asyncio
async def test_a_reader_waits_for_a_message_and_for_the_close() -> None:
    """A waiting reader gets what comes next, and is not left waiting on a mailbox that nothing enters any more."""
    box = mailbox("a", Activity())
    reader = asyncio.create_task(box.get())
    await asyncio.sleep(0)
    box.put(Job(number=1))
    assert await reader == Job(number=1)
    reader = asyncio.create_task(box.get())
    await asyncio.sleep(0)
    assert box.close() == ()
    with pytest.raises(MailboxClosedError):
        await reader


@pytest.mark.asyncio
async def test_a_cancelled_reader_loses_no_message() -> None:
    """A message that arrives while the reader is being cancelled stays in the mailbox."""
    box = mailbox("a", Activity())
    reader = asyncio.create_task(box.get())
    await asyncio.sleep(0)
    box.put(Job(number=1))
    reader.cancel()
    await asyncio.wait((reader,))
    assert reader.cancelled()
    assert box.close() == (Job(number=1),)


def test_dead_letters_say_why() -> None:
    """To nobody, to a closed mailbox, of an unknown type, left behind: each is reported with its reason."""
    world = World()
    box = world.box("a")
    world.router.register(box)
    assert world.router.send("a", Job(number=1))
    assert not world.router.send("nobody", Job(number=2))
    assert not world.router.send("a", Stranger())
    world.router.unregister(box)
    assert not world.router.send("a", Job(number=3))
    assert world.dead == [
        DeadLetter(to="nobody", message=Job(number=2), reason=DeadReason.UNKNOWN_NAME),
        DeadLetter(to="a", message=Stranger(), reason=DeadReason.UNKNOWN_TYPE),
        DeadLetter(to="a", message=Job(number=1), reason=DeadReason.UNDELIVERED),
        DeadLetter(to="a", message=Job(number=3), reason=DeadReason.CLOSED),
    ]
    statistics = world.router.statistics()
    assert (statistics.sent, statistics.dead_letters, statistics.overflows) == (4, 4, 0)
    assert world.activity.busy == 0


def test_an_overflow_is_reported_with_its_message() -> None:
    """A full mailbox is never silent: whoever pauses and rehydrates gets the name and the message."""
    world = World()
    world.router.register(world.box("a", capacity=1))
    assert world.router.send("a", Job(number=1))
    assert not world.router.send("a", Job(number=2))
    assert world.overflows == [("a", Job(number=2))]
    assert not world.dead
    assert world.router.statistics().overflows == 1


def test_sinks_that_send_do_not_recurse() -> None:
    """An alarm that itself finds no reader is counted, not raised again and again until the stack ends."""
    letters: list[DeadLetter] = []
    activity = Activity()

    def on_overflow(_name: str, _message: object) -> None:
        router.send("full", Halt())

    def on_dead_letter(letter: DeadLetter) -> None:
        letters.append(letter)
        router.send("nobody", Halt())

    router = Router(on_dead_letter=on_dead_letter, on_overflow=on_overflow)
    router.register(mailbox("full", activity, control_capacity=1))
    router.send("full", Halt(number=1))
    router.send("full", Halt(number=2))
    assert letters == [DeadLetter(to="full", message=Halt(), reason=DeadReason.OVERFLOW)]
    statistics = router.statistics()
    assert (statistics.overflows, statistics.dead_letters, statistics.unreported) == (2, 2, 1)


def test_one_open_mailbox_a_name() -> None:
    """Two lives of one actor would both act; a fresh mailbox takes over only from a closed one."""
    world = World()
    first, second = world.box("a"), world.box("a")
    world.router.register(first)
    with pytest.raises(ValueError, match="two open mailboxes"):
        world.router.register(second)
    world.router.unregister(first)
    world.router.register(second)
    world.router.unregister(first)
    assert world.router.send("a", Job(number=1))
    assert [statistics.depth for statistics in world.router.mailboxes()] == [1]
