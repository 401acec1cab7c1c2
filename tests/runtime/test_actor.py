"""The actor: its loop, its life, and the activity by which virtual time knows that it rests."""

import asyncio
import itertools

import pytest

from hedgegrid.runtime.activity import Activity
from hedgegrid.runtime.actor import BURST_MAX
from hedgegrid.runtime.router import DeadReason
from tests.runtime.harness import START_NS, CrashError, Halt, Job, Message, Recorder, S, World, ended


def running(world: World, actor: Recorder) -> asyncio.Task[None]:
    """Run an actor without a supervisor."""
    return asyncio.create_task(actor.run(lambda: world.trace.append(f"up {actor.name}")))


async def crash(actor: Recorder, message: Message) -> None:
    """Fail on any message."""
    raise CrashError(actor.name, message)


async def hang(_actor: Recorder, _message: Message) -> None:
    """Never return."""
    await asyncio.Event().wait()


@pytest.mark.asyncio
async def test_an_actor_handles_what_waited_and_what_comes() -> None:
    """Messages queue up from the start on; progress counts them, and idle is told once the mailbox is empty."""
    world = World()
    actor = Recorder(world, world.box("a"))
    task = running(world, actor)
    await asyncio.sleep(0)
    for number in range(3):
        world.router.send("a", Job(number=number))
    await world.activity.idle()
    assert world.handled == [Job(number=0), Job(number=1), Job(number=2)]
    assert world.trace == ["start a", "up a", "idle a"]
    reading = actor.reading()
    assert (reading.progress, reading.busy_since_ns, reading.depth, reading.progress_ns) == (3, None, 0, START_NS)
    task.cancel()
    await world.settle()
    assert isinstance(await ended(task), asyncio.CancelledError)
    assert world.trace[-1] == "stop a"


@pytest.mark.asyncio
async def test_a_crash_reaches_the_task_and_releases_everything() -> None:
    """After a crash nothing is counted as busy: what waited became dead letters, and virtual time can go on."""
    world = World()
    task = running(world, Recorder(world, world.box("a"), crash))
    await world.settle()
    for number in range(4):
        world.router.send("a", Job(number=number))
    assert world.activity.busy == 4
    await world.activity.idle()
    await world.settle()
    assert isinstance(await ended(task), CrashError)
    assert [(letter.message, letter.reason) for letter in world.dead] == [
        (Job(number=number), DeadReason.UNDELIVERED) for number in (1, 2, 3)
    ]
    assert world.activity.busy == 0
    assert world.trace[-1] == "stop a"


@pytest.mark.asyncio
async def test_a_long_queue_does_not_starve_the_others() -> None:
    """A flood to one actor lets the event loop run at least once in every burst."""
    world = World()
    box = world.box("a", capacity=10 * BURST_MAX)
    task = running(world, Recorder(world, box))
    await world.settle()
    passes: list[int] = []
    for number in range(10 * BURST_MAX):
        world.router.send("a", Job(number=number))
    while world.activity.busy:
        await asyncio.sleep(0)
        passes.append(len(world.handled))
    assert max(later - earlier for earlier, later in itertools.pairwise(passes)) <= BURST_MAX
    task.cancel()
    await world.settle()


@pytest.mark.asyncio
async def test_a_hung_actor_shows_since_when() -> None:
    """A watchdog reads from the counters that nothing moves; the driver is told that only time can help."""
    world = World()
    actor = Recorder(world, world.box("a"), hang)
    task = running(world, actor)
    await world.run_to(5)
    world.router.send("a", Job(number=1))
    assert not await world.settle()
    await world.run_to(20)
    reading = actor.reading()
    assert (reading.progress, reading.busy_since_ns) == (0, START_NS + 5 * S)
    task.cancel()
    await world.settle()
    assert world.activity.busy == 0


@pytest.mark.asyncio
async def test_a_failed_start_still_stops() -> None:
    """What `on_start` opened before it failed is given back, and its mailbox does not stay open."""

    class Unready(Recorder):
        async def on_start(self) -> None:
            self.send("a", Job(number=1))
            raise CrashError(self.name)

    world = World()
    task = running(world, Unready(world, world.box("a")))
    await world.settle()
    assert isinstance(await ended(task), CrashError)
    assert world.trace == ["stop a"]
    assert [letter.reason for letter in world.dead] == [DeadReason.UNDELIVERED]
    assert world.activity.busy == 0


@pytest.mark.asyncio
async def test_reminders_come_at_their_time_and_die_with_the_actor() -> None:
    """A timer of a dead life must not act on the next one; a cancelled one does not come."""
    world = World()
    actor = Recorder(world, world.box("a"))
    task = running(world, actor)
    await world.settle()
    actor.remind_at(START_NS + 2 * S, Job(number=2))
    actor.remind_at(START_NS + 3 * S, Job(number=3)).cancel()
    actor.remind_at(START_NS + 9 * S, Halt())
    await world.run_to(5)
    assert world.handled == [Job(number=2)]
    task.cancel()
    await world.settle()
    assert world.clock.next_timer_ns() is None
    assert not world.dead


@pytest.mark.asyncio
async def test_a_spawned_task_lives_and_fails_with_its_actor() -> None:
    """A broken stream reader ends its actor: nobody goes on with half of its parts."""
    world = World()
    actor = Recorder(world, world.box("a"))
    task = running(world, actor)
    await world.settle()

    async def fail_later() -> None:
        await world.clock.sleep(S)
        raise CrashError("stream")

    async def read_forever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            world.trace.append("reader ended")

    async def return_at_once() -> None:
        """A body that ends by itself ends nothing else."""

    for body in (fail_later(), read_forever(), return_at_once()):
        actor.spawn(body, name="part")
    await world.settle()
    assert not task.done()
    await world.run_to(1)
    assert isinstance(await ended(task), CrashError)
    assert world.trace[-2:] == ["reader ended", "stop a"]


@pytest.mark.asyncio
async def test_no_failure_of_a_spawned_task_is_silent() -> None:
    """A failure during a stop replaces the mere cancellation; beside a crash it is a note on it."""
    world = World()

    async def fail_when_stopped() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise CrashError("part")

    for name, provoke in (("a", False), ("b", True)):
        actor = Recorder(world, world.box(name), crash)
        task = running(world, actor)
        await world.settle()
        actor.spawn(fail_when_stopped(), name="part")
        await world.settle()
        if provoke:
            world.router.send(name, Job(number=1))
        else:
            task.cancel()
        await world.settle()
        error = await ended(task)
        assert isinstance(error, CrashError)
        assert error.args == (("b", Job(number=1)) if provoke else ("part",))
        assert getattr(error, "__notes__", []) == (["a task of b failed too: CrashError('part')"] if provoke else [])


@pytest.mark.asyncio
async def test_idle_waits_for_the_whole_chain() -> None:
    """Virtual time moves only when what a message caused has been handled too, through any number of actors."""
    world = World()

    async def forward(actor: Recorder, message: Message) -> None:
        await asyncio.sleep(0)
        if isinstance(message, Job) and message.number > 0:
            actor.send("b" if actor.name == "a" else "a", Job(number=message.number - 1))

    tasks = [running(world, Recorder(world, world.box(name), forward)) for name in "ab"]
    await world.settle()
    world.router.send("a", Job(number=20))
    await asyncio.gather(world.activity.idle(), world.activity.idle())
    assert len(world.handled) == 21
    await world.activity.idle()
    for task in tasks:
        task.cancel()
    await world.settle()


@pytest.mark.asyncio
async def test_idle_looks_again_when_it_wakes() -> None:
    """A message that begins in the same pass in which the last one ended keeps virtual time where it is."""
    activity = Activity()
    activity.begin()
    waiter = asyncio.create_task(activity.idle())
    await asyncio.sleep(0)
    activity.end()
    activity.begin()
    for _ in range(5):
        await asyncio.sleep(0)
    assert not waiter.done()
    activity.end()
    await waiter


@pytest.mark.asyncio
async def test_the_activity_cannot_go_below_zero() -> None:
    """A message that is released twice would let time move while another is handled."""
    activity = Activity()
    activity.begin()
    waiter = asyncio.create_task(activity.idle())
    await asyncio.sleep(0)
    waiter.cancel()
    await asyncio.wait((waiter,))
    activity.end()
    with pytest.raises(RuntimeError, match="released twice"):
        activity.end()


@pytest.mark.asyncio
async def test_a_probe_is_answered_between_two_messages() -> None:
    """An idle actor answers at once, a busy one when it has done its message, and a hung one never."""
    world = World()
    go_on = asyncio.Event()

    async def wait(_actor: Recorder, _message: Message) -> None:
        await go_on.wait()

    actor = Recorder(world, world.box("a"), wait)
    task = running(world, actor)
    await world.settle()
    world.router.probe()
    await world.settle()
    assert (actor.reading().answered, actor.reading().is_probed, actor.reading().progress) == (1, False, 0)
    world.router.send("a", Job(number=1))
    await world.settle()
    world.router.probe()
    await world.settle()
    assert (actor.reading().answered, actor.reading().is_probed) == (1, True)
    go_on.set()
    await world.activity.idle()
    await world.settle()
    assert (actor.reading().answered, actor.reading().is_probed, actor.reading().progress) == (2, False, 1)
    assert world.activity.ended == 1, "a probe is no message"
    task.cancel()
    await world.settle()
    await ended(task)
    world.router.probe()
    assert not actor.mailbox.probed, "nobody is asked who is gone"


@pytest.mark.asyncio
async def test_an_actor_may_leave_a_probe_unanswered() -> None:
    """One whose work beside the mailbox is stuck says nothing, and goes on handling messages."""
    world = World()
    actor = Recorder(world, world.box("a"))
    actor.answers = lambda: False  # type: ignore[method-assign]
    task = running(world, actor)
    await world.settle()
    world.router.probe()
    await world.settle()
    world.router.send("a", Job(number=1))
    await world.activity.idle()
    assert (actor.reading().answered, actor.reading().is_probed, actor.reading().progress) == (0, True, 1)
    task.cancel()
    await world.settle()
    await ended(task)
