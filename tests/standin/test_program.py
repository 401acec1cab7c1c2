"""The stand-in as a program, and the tapes that it walks."""

import asyncio
import signal
import sys
from pathlib import Path

import aiohttp
import pytest

from hedgegrid.errors import Fatal
from hedgegrid.units import NS_PER_MINUTE
from tools.standin.hub import OUTBOX_MAX, Hub, Listener
from tools.standin.hub import Path as StreamPath
from tools.standin.rules import default_spec
from tools.standin.serving import running_standin
from tools.standin.tapes import recorded, synthetic

PROGRAM = (sys.executable, "-m", "tools.standin")


@pytest.mark.asyncio
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
async def test_it_says_where_it_listens_and_ends_cleanly(how: signal.Signals, tmp_path: Path) -> None:
    """One line when it is ready, an answer over the wire, a clean end although a socket is open, a log on disk."""
    log = tmp_path / "wire.jsonl"
    child = await asyncio.create_subprocess_exec(
        *PROGRAM, "--symbols", "btcusdt,ethusdt", "--log", str(log), "--fault", "2019:1", stdout=asyncio.subprocess.PIPE
    )
    assert child.stdout is not None
    async with asyncio.timeout(60):
        line = (await child.stdout.readline()).decode()
        assert line.startswith("standin listening on http://127.0.0.1:")
        url = line.split()[3]
        async with aiohttp.ClientSession() as session, session.ws_connect(f"{url}/public/ws/ethusdt@bookTicker") as ws:
            assert (await ws.receive_json())["s"] == "ETHUSDT"
            async with session.get(f"{url}/standin/state") as response:
                assert [row["name"] for row in (await response.json())["faults"]["armed"]] == ["2019"]
            child.send_signal(how)
            assert await child.wait() == 0
    assert '"kind":"socket"' in log.read_text()


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--fault", "nonsense"), "no fault is called"),
        (("--switch", "nonsense=1"), "no switch is called"),
        (("--list-faults",), "listen-key-expiry"),
        (("--help",), "Examples:"),
    ],
)
async def test_it_helps_and_refuses(arguments: tuple[str, ...], said: str) -> None:
    """Help shows examples and faults; a wrong fault or switch ends it with one line."""
    child = await asyncio.create_subprocess_exec(
        *PROGRAM, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(60):
        told, refused = await child.communicate()
    assert said in (told + refused).decode()
    assert child.returncode == (1 if refused else 0)


@pytest.mark.asyncio
async def test_it_listens_on_loopback_only() -> None:
    """Nobody outside this machine can reach it, and two of them do not share a port."""
    async with running_standin(still=True) as standin:
        assert standin.url.startswith("http://127.0.0.1:")
        with pytest.raises(OSError, match="address already in use"):
            async with running_standin(still=True, port=standin.port):
                pass


@pytest.mark.asyncio
async def test_recorded_bars_are_the_market(shared_dir: Path) -> None:
    """The recorded price is what is quoted, and bars before the start are the record's own."""
    folder = shared_dir / "data" / "um_1m" / "2025-07-06_2025-07-17"
    async with running_standin(symbols=("BTCUSDT", "ETHUSDT"), data_paths=(folder,)) as standin:
        rows = standin.market.klines("ETHUSDT", "1m", None, None, 1_000)
        tape = recorded((folder,), [default_spec("BTCUSDT"), default_spec("ETHUSDT")], speed=1)
        bars = tape.tape.history(1, tape.first_open_ns, 999)
        spec = default_spec("ETHUSDT")
        assert [row[4] for row in rows[:-1]] == [spec.price_text(bar.close_ticks) for bar in bars]
        assert len(rows) == 1_000


def test_recorded_trades_are_refused(shared_dir: Path) -> None:
    """The market is made of minute bars: a capture is refused in one line."""
    capture = next((shared_dir / "data" / "ticks_raw_ws").glob("*btcusdt*"))
    with pytest.raises(Fatal):
        recorded((capture,), [default_spec("BTCUSDT")], speed=1)


def test_a_still_market_stays_where_it_is() -> None:
    """Tests that move the price themselves need one that nothing else moves."""
    tape = synthetic([default_spec("BTCUSDT")], seed=3, still=True)
    bars = tape.tape.history(0, tape.first_open_ns + 500 * NS_PER_MINUTE, 500)
    assert len({price for bar in bars for price in (bar.high_ticks, bar.low_ticks)}) == 1


@pytest.mark.asyncio
async def test_a_slow_client_is_cut_off() -> None:
    """An outbox is bounded: who does not read is closed, and the others go on."""
    hub = Hub()
    slow = Listener(number=1, path=StreamPath.PUBLIC, in_envelopes=False)
    hub.join(slow, ["x@bookTicker"])
    for _ in range(OUTBOX_MAX):
        hub.publish("x@bookTicker", "{}")
    assert not slow.overflowed
    hub.publish("x@bookTicker", "{}")
    assert slow.overflowed
    assert slow.closing.is_set()
