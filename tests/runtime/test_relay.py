"""The relay: what follows from a message without awaiting is done when it returns, in order, at nobody else's cost."""

import asyncio

import pytest

from hedgegrid.runtime.relay import STEPS_MAX, Relay
from hedgegrid.runtime.router import DeadReason
from tests.runtime.harness import Action, CrashError, Halt, Job, Message, Recorder, World, ended


class Quick(Recorder):
    """An actor all of whose messages but Halt are quick; it tells the world who handled what."""

    def is_quick(self, message: Message) -> bool:
        """Halt alone takes its time."""
        return not isinstance(message, Halt)

    async def handle(self, message: Message) -> None:
        """Say so, and do what the test says."""
        self.world.trace.append(f"{self.name} {type(message).__name__} {getattr(message, 'number', '')}")
        await super().handle(message)


class Relaying(World):
    """A world with a relay, and actors that run."""

    def __init__(self) -> None:
        super().__init__()
        self.router.relay = Relay()
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def run(self, *actors: Recorder) -> None:
        """Let actors live until they wait for messages."""
        for actor in actors:
            self.tasks[actor.name] = asyncio.create_task(actor.run(lambda: None))
        await self.settle()
        self.trace.clear()

    async def end_all(self) -> None:
        """Stop them all."""
        for task in self.tasks.values():
            task.cancel()
        await asyncio.wait(self.tasks.values())


def passing_on(*to: str) -> Action:
    """Do as an actor that hands each message on, one greater."""

    async def act(actor: Recorder, message: Message) -> None:
        assert isinstance(message, Job)
        for name in to:
            actor.send(name, Job(number=message.number + 1))

    return act


@pytest.mark.asyncio
async def test_all_that_follows_is_done_when_the_hand_over_returns() -> None:
    """A decision passes its five actors in one pass of the loop, each in the order in which it became ready."""
    world = Relaying()
    await world.run(
        Quick(world, world.box("feed"), passing_on("risk", "strategy")),
        Quick(world, world.box("strategy"), passing_on("risk")),
        Quick(world, world.box("risk")),
    )
    world.router.hand_over("feed", Job(number=0))
    handled = [one for one in world.trace if not one.startswith("idle")]
    assert handled == ["feed Job 0", "risk Job 1", "strategy Job 1", "risk Job 2"]
    assert world.activity.busy == 0
    await world.end_all()


@pytest.mark.asyncio
async def test_what_takes_its_time_is_left_to_its_actor_and_overtakes_nothing() -> None:
    """A message that awaits is handled by the actor's own task, and what came behind it comes behind it."""
    world = Relaying()
    gate = asyncio.Event()

    async def wait(_actor: Recorder, message: Message) -> None:
        if isinstance(message, Halt):
            await gate.wait()

    await world.run(Quick(world, world.box("a"), wait))
    world.router.hand_over("a", Halt())
    world.router.hand_over("a", Job(number=1))
    assert world.trace == []
    await world.settle()
    assert world.trace == ["a Halt 0"]
    gate.set()
    await world.settle()
    assert world.trace == ["a Halt 0", "a Job 1", "idle a"]
    await world.end_all()


@pytest.mark.asyncio
async def test_an_error_ends_the_actor_whose_turn_it_was_and_nobody_else() -> None:
    """The sender goes on, the others have their turns, and the failed actor's supervisor hears its error."""
    world = Relaying()

    async def crash(actor: Recorder, _message: Message) -> None:
        raise CrashError(actor.name)

    await world.run(
        Quick(world, world.box("feed"), passing_on("bad", "good")),
        Quick(world, world.box("bad"), crash),
        Quick(world, world.box("good")),
    )
    world.router.hand_over("feed", Job(number=0))
    world.router.send("bad", Job(number=7))
    await world.settle()
    assert "good Job 1" in world.trace
    assert isinstance(await ended(world.tasks["bad"]), CrashError)
    assert not world.tasks["feed"].done()
    assert not world.tasks["good"].done()
    assert [(letter.message, letter.reason) for letter in world.dead] == [(Job(number=7), DeadReason.UNDELIVERED)]
    assert world.activity.busy == 0
    await world.end_all()


@pytest.mark.asyncio
async def test_two_that_answer_each_other_for_ever_do_not_hold_the_loop() -> None:
    """A relay is bounded: sockets and timers get their turn, and nothing is lost."""
    world = Relaying()
    await world.run(
        Quick(world, world.box("a"), passing_on("b")),
        Quick(world, world.box("b"), passing_on("a")),
    )
    world.router.hand_over("a", Job(number=0))
    assert len(world.handled) == STEPS_MAX
    for _ in range(3):
        await asyncio.sleep(0)
    assert len(world.handled) > STEPS_MAX
    assert [message.number for message in world.handled if isinstance(message, Job)] == list(range(len(world.handled)))
    await world.end_all()


@pytest.mark.asyncio
async def test_a_handler_that_awaits_though_it_said_it_would_not_ends_with_words() -> None:
    """Such a message would be half handled: the actor's supervisor starts it anew."""
    world = Relaying()

    async def wait(_actor: Recorder, _message: Message) -> None:
        await asyncio.sleep(0)

    await world.run(Quick(world, world.box("a"), wait))
    world.router.hand_over("a", Job(number=1))
    await world.settle()
    error = await ended(world.tasks["a"])
    assert isinstance(error, RuntimeError)
    assert "a Job is no quick message" in str(error)
    await world.end_all()


@pytest.mark.asyncio
async def test_an_actor_that_is_being_stopped_takes_no_turn() -> None:
    """What comes for an actor that its supervisor has just ended is a dead letter, not one more decision."""
    world = Relaying()

    async def stop_and_send(actor: Recorder, message: Message) -> None:
        world.tasks["b"].cancel()
        actor.send("b", message)

    async def send_and_stop(actor: Recorder, message: Message) -> None:
        actor.send("c", message)
        world.tasks["c"].cancel()

    await world.run(
        Quick(world, world.box("a"), stop_and_send),
        Quick(world, world.box("b")),
        Quick(world, world.box("c")),
        Quick(world, world.box("d"), send_and_stop),
    )
    world.router.hand_over("a", Job(number=1))
    world.router.hand_over("d", Job(number=2))
    await world.settle()
    assert world.handled == [Job(number=1), Job(number=2)]
    assert [(letter.to, letter.reason) for letter in world.dead] == [
        ("b", DeadReason.UNDELIVERED),
        ("c", DeadReason.UNDELIVERED),
    ]
    assert world.activity.busy == 0
    await world.end_all()
