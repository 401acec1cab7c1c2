"""A kept websocket against a server on loopback: whatever happens to it is noticed, told, and mended."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest

from hedgegrid.errors import Transient
from hedgegrid.runtime.clock import WallClock
from hedgegrid.venues.ccxtpro import sockets
from hedgegrid.venues.ccxtpro.scaling import BadPayloadError
from hedgegrid.venues.ccxtpro.sockets import KeptSocket, is_told
from hedgegrid.venues.ccxtpro.wire import NotSentError, PublicWire
from tests.venues.ccxtpro.loopback import Loopback, loopback, until


@attrs.define(kw_only=True)
class Owner:
    """Whoever holds the socket: what it was told."""

    venue: Loopback
    events: list[dict[str, Any]] = attrs.field(factory=list)
    ups: int = 0
    downs: list[str] = attrs.field(factory=list)
    bad: list[str] = attrs.field(factory=list)
    reports: list[str] = attrs.field(factory=list)
    socket: KeptSocket | None = None

    def take(self, event: dict[str, Any]) -> None:
        """Keep an event; some are made to fail."""
        self.events.append(event)
        if event.get("fail") == "payload":
            raise BadPayloadError("unreadable")
        if event.get("fail") == "bug":
            raise KeyError("a fault of the owner's")

    async def up(self) -> None:
        """Count."""
        self.ups += 1

    async def url(self) -> str:
        """Give the address."""
        return self.venue.endpoints.public()

    @property
    def kept(self) -> KeptSocket:
        """The socket."""
        assert self.socket is not None
        return self.socket


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the pause between two dials: its growth has a test of its own."""
    monkeypatch.setattr(sockets, "BACKOFF_MIN_NS", 1_000_000)
    monkeypatch.setattr(sockets, "BACKOFF_MAX_NS", 4_000_000)


@asynccontextmanager
async def held(*streams: str, ping_ms: int = 2_000, **changes: Any) -> AsyncIterator[Owner]:
    """Keep a socket to an exchange of its own; the connection need not stand yet."""
    async with loopback() as venue:
        for name in [name for name in changes if hasattr(venue, name)]:
            setattr(venue, name, changes.pop(name))
        owner = Owner(venue=venue)
        wire = PublicWire(endpoints=venue.endpoints)
        parts: dict[str, Any] = {
            "name": "test",
            "wire": wire,
            "clock": WallClock(),
            "url": owner.url,
            "on_event": owner.take,
            "on_up": owner.up,
            "on_down": owner.downs.append,
            "on_bad": owner.bad.append,
            "streams": lambda: streams,
            "ping_ms": ping_ms,
            "report": lambda text, figures: owner.reports.append(f"{text}: {figures['why']}"),
        }
        owner.socket = KeptSocket(**{**parts, **changes})
        owner.socket.start()
        try:
            yield owner
        finally:
            await owner.socket.stop()
            await wire.close()


@pytest.mark.asyncio
async def test_it_subscribes_and_hands_every_message_on_in_order() -> None:
    """Protects the data: nothing is lost or reordered between two looks, in a burst too, combined form included."""
    async with held("btcusdt@bookTicker", "ethusdt@bookTicker") as owner:
        await until(lambda: owner.ups == 1)
        assert owner.venue.messages == [
            {"method": "SUBSCRIBE", "params": ["btcusdt@bookTicker", "ethusdt@bookTicker"], "id": 1}
        ]
        for number in range(500):
            event = {"e": "x", "n": number}
            await owner.venue.say({"stream": "s", "data": event} if number % 2 else event)
        await until(lambda: len(owner.events) == 500)
        assert [event["n"] for event in owner.events] == list(range(500))
        assert owner.kept.health().messages == 501


@pytest.mark.parametrize("frame", ["{no json", "[1, 2]", "7", "null", '{"fail": "payload"}', '{"fail": "bug"}'])
@pytest.mark.asyncio
async def test_a_bad_frame_is_counted_and_the_next_one_is_read(frame: str) -> None:
    """Protects against a deaf socket: no frame, and no fault of whoever reads it, ends the receiving."""
    async with held() as owner:
        await until(lambda: owner.ups == 1)
        await owner.venue.say(frame)
        await owner.venue.say({"e": "good"})
        await until(lambda: {"e": "good"} in owner.events)
        health = owner.kept.health()
        assert (health.bad_frames, health.rebuilds, health.connected) == (1, 0, True)
        assert len(owner.bad) == 1
        assert len(owner.reports) == 1


@pytest.mark.asyncio
async def test_a_frame_that_is_no_text_is_read_too() -> None:
    """Protects against an exchange that sends bytes: they are the same JSON, or one more bad frame."""
    async with held() as owner:
        await until(lambda: owner.ups == 1)
        await owner.venue.sockets[-1].send_bytes(b"\xff\xfe")
        await owner.venue.sockets[-1].send_bytes(b'{"e": "bytes"}')
        await until(lambda: owner.events == [{"e": "bytes"}])
        assert owner.kept.health().bad_frames == 1


def test_a_flood_of_problems_is_told_in_a_few_words() -> None:
    """Protects the journal: the first problem is told, and then each that doubles their number."""
    assert [count for count in range(1, 100) if is_told(count)] == [1, 2, 4, 8, 16, 32, 64]


@pytest.mark.asyncio
async def test_a_half_open_socket_is_noticed_and_left() -> None:
    """Protects against a peer that is gone while TCP stands: no pong and no frame, so a new connection."""
    async with held("btcusdt@bookTicker", ping_ms=30, answers_pings=False) as owner:
        await until(lambda: len(owner.venue.paths) >= 2)
        assert any("silent" in why for why in owner.downs)
        owner.venue.answers_pings = True
        await until(lambda: owner.kept.health().last_pong_ns is not None and owner.kept.connected)


@pytest.mark.asyncio
async def test_a_quiet_socket_that_answers_pings_is_alive() -> None:
    """Protects a quiet market: without any message the socket stays, and says when it last answered."""
    async with held(ping_ms=10) as owner:
        await until(lambda: owner.ups == 1)
        seen: set[int | None] = set()

        def pongs() -> int:
            seen.add(owner.kept.health().last_pong_ns)
            return len(seen - {None})

        await until(lambda: pongs() >= 6)
        health = owner.kept.health()
        assert (health.connected, health.rebuilds, health.last_message_ns) == (True, 0, None)


@pytest.mark.asyncio
async def test_the_exchanges_pings_are_answered() -> None:
    """Protects the connection: an exchange whose ping is not answered closes it."""
    async with held(answers_pings=False) as owner:
        await until(lambda: owner.ups == 1)
        await owner.venue.sockets[-1].ping(b"17")
        await until(lambda: owner.venue.pongs != [])
        assert owner.venue.pongs == [b"17"]


@pytest.mark.parametrize("code", [1000, 1001, 1011])
@pytest.mark.asyncio
async def test_a_close_while_nobody_waits_is_told_and_mended(code: int) -> None:
    """Protects the gap: the owner hears of the loss before it hears of the new connection, and reads again there."""
    async with held("btcusdt@bookTicker") as owner:
        await until(lambda: owner.ups == 1)
        await owner.venue.sockets[-1].close(code=code)
        await until(lambda: owner.ups == 2)
        assert owner.downs == [f"closed by the exchange, code {code}"]
        assert [message["method"] for message in owner.venue.messages] == ["SUBSCRIBE", "SUBSCRIBE"]
        assert owner.kept.health().rebuilds == 1


@pytest.mark.asyncio
async def test_a_connection_that_breaks_is_told_and_mended() -> None:
    """Protects against a reset: TCP that dies without a closing frame is a loss like any other."""
    async with held() as owner:
        await until(lambda: owner.ups == 1)
        transport = owner.venue.transports[-1]
        transport.abort()
        await until(lambda: owner.ups == 2)
        assert len(owner.downs) == 1


@pytest.mark.parametrize("error", [{"code": 2, "msg": "Invalid request: invalid stream"}, None])
@pytest.mark.asyncio
async def test_a_subscription_that_is_refused_or_unanswered_is_asked_again(
    error: dict[str, Any] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Protects against a dead stream that looks subscribed: it counts as down until it is acknowledged."""
    monkeypatch.setattr(sockets, "_ANSWER_S", 0.05)
    async with held("nosuch@stream", subscribe_error=error, acknowledges=False) as owner:
        await until(lambda: len(owner.venue.messages) >= 2)
        assert owner.ups == 0
        assert not owner.kept.connected
        assert owner.downs == []
        assert any("subscription was" in text for text in owner.reports)
        owner.venue.subscribe_error, owner.venue.acknowledges = None, True
        await until(lambda: owner.ups == 1)


@pytest.mark.asyncio
async def test_the_owner_can_have_it_rebuilt_and_is_asked_for_the_address_anew() -> None:
    """Protects listen keys: after an expiry the next dial goes to the new key's address."""
    dials: list[int] = []
    async with held() as owner:
        inner = owner.kept._url

        async def url() -> str:
            dials.append(1)
            return await inner()

        owner.kept._url = url
        await until(lambda: owner.ups == 1)
        owner.kept.rebuild("the listen key expired")
        owner.kept.rebuild("twice")
        await until(lambda: owner.ups == 2)
        assert owner.downs == ["the listen key expired"]
        assert dials[-1:] == [1]


@pytest.mark.asyncio
async def test_an_error_of_the_owners_reading_ends_the_connection_and_is_tried_again() -> None:
    """Protects the resync: a connection whose missed events could not be read again does not count."""
    tried: list[int] = []

    async def up() -> None:
        tried.append(1)
        if len(tried) == 1:
            raise Transient("the exchange is busy")
        if len(tried) == 2:
            raise ZeroDivisionError

    async with held(on_up=up) as owner:
        await until(lambda: len(tried) == 3)
        assert owner.downs[0] == "the exchange is busy"
        assert owner.reports[0].endswith("the exchange is busy")
        assert "ZeroDivisionError" in owner.reports[1]


@pytest.mark.asyncio
async def test_pauses_between_dials_double_up_to_their_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects the exchange and its limits from a storm of dials, and the bot from waiting for ever."""
    pauses: list[int] = []
    clock = WallClock()

    async def sleep(delay_ns: int) -> None:
        pauses.append(delay_ns)
        await asyncio.sleep(0)

    async def url() -> str:
        raise Transient("no listen key")

    monkeypatch.setattr(clock, "sleep", sleep)
    async with held(clock=clock, url=url) as owner:
        await until(lambda: len(pauses) >= 5)
        assert pauses[:5] == [1_000_000, 2_000_000, 4_000_000, 4_000_000, 4_000_000]
        assert owner.downs == []


@pytest.mark.asyncio
async def test_stopping_is_no_loss_and_leaves_nothing() -> None:
    """Protects a clean end: no gap is told, the exchange sees the socket close, and nothing can be sent."""
    async with held() as owner:
        await until(lambda: owner.ups == 1)
        await owner.kept.stop()
        await until(lambda: owner.venue.sockets[-1].closed)
        assert owner.downs == []
        assert not owner.kept.connected
        with pytest.raises(NotSentError):
            await owner.kept.send({"id": 1})


@pytest.mark.asyncio
async def test_many_streams_are_asked_for_in_several_requests() -> None:
    """Protects the subscription: a request holds at most as many streams as the exchange takes."""
    names = [f"s{number}@bookTicker" for number in range(250)]
    async with held(*names) as owner:
        await until(lambda: owner.ups == 1)
        asked = [message["params"] for message in owner.venue.messages]
        assert [len(part) for part in asked] == [100, 100, 50]
        assert [name for part in asked for name in part] == names


@pytest.mark.asyncio
async def test_no_report_tells_the_listen_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects the private stream: neither a refused dial nor a lost connection names its address."""
    key = "listen-key-of-a-test"
    monkeypatch.setattr(PublicWire, "_permit", lambda _wire, _url: None)

    async with loopback() as venue:

        async def url() -> str:
            return venue.endpoints.private(key)

        told: list[str] = []
        wire = PublicWire(endpoints=venue.endpoints)
        socket = KeptSocket(
            name="private",
            wire=wire,
            clock=WallClock(),
            url=url,
            on_event=lambda _event: None,
            on_up=_nothing,
            on_down=told.append,
            report=lambda text, figures: told.append(text + json.dumps(dict(figures))),
        )
        socket.start()
        await until(lambda: venue.paths == [f"/private/ws?listenKey={key}"])
        await until(lambda: socket.connected)
        monkeypatch.setattr(venue, "refuses_sockets", True)
        await venue.sockets[-1].close()
        await until(lambda: len(told) >= 3)
        await socket.stop()
        await wire.close()
    assert key not in json.dumps([*told, str(socket.health())])


async def _nothing() -> None:
    """Read nothing again."""


@pytest.mark.asyncio
@pytest.mark.parametrize("passes", range(8))
async def test_a_stop_ends_it_in_the_very_moment_in_which_its_connection_ends(passes: int) -> None:
    """A connection that ends just then must not take the stop with it: a bot that ends would dial on, and never end."""
    async with held("btcusdt@bookTicker") as owner:
        await until(lambda: owner.ups == 1)
        owner.kept.rebuild("the listen key expired")
        for _ in range(passes):
            await asyncio.sleep(0)
        async with asyncio.timeout(10):
            await owner.kept.stop()
        assert not owner.kept.connected
        assert owner.ups == 1
