"""The stand-in as a program: ``python -m tools.standin --port 9000 --symbols BTCUSDT``.

Invariant: one line on the standard output says that it listens and where; SIGINT and SIGTERM end it cleanly.
"""

import asyncio
import signal
import sys
from pathlib import Path
from typing import Any

import click

from hedgegrid.errors import Fatal
from tools.standin.fault_kinds import KINDS
from tools.standin.faults import FaultTextError
from tools.standin.listen_keys import VALIDITY_MS
from tools.standin.serving import DEFAULT_KEY, DEFAULT_SECRET, Standin, StandinOptions
from tools.standin.sockets import SocketRules

_EPILOG = """\b
Examples:
  python -m tools.standin --port 9000
  python -m tools.standin --port 9000 --data BTCUSDT-1m.feather --speed 60
  python -m tools.standin --port 9000 --symbols BTCUSDT,ETHUSDT --book-rate 1000 --log wire.jsonl
  python -m tools.standin --port 9000 --fault response-lost:1 --fault event-drop:0.05:e=ORDER_TRADE_UPDATE
  curl -s localhost:9000/standin/state
  curl -s localhost:9000/standin/faults -d '{"arm": "half-open:path=private"}'
  curl -s localhost:9000/standin/price -d '{"symbol": "BTCUSDT", "bps": -50}'
"""


def _show_faults(context: click.Context, _param: click.Parameter, asked: bool) -> None:  # noqa: FBT001 - click's own form
    if not asked:
        return
    for name, kind in KINDS.items():
        click.echo(f"{name:20} {kind.words}")
    context.exit()


@click.command(epilog=_EPILOG)
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port on 127.0.0.1; 0 takes any free one.")
@click.option(
    "--data",
    "data_paths",
    type=click.Path(path_type=Path, exists=True),
    multiple=True,
    help="Recorded minute bars (file or folder); without it the market is made up from the seed.",
)
@click.option("--symbols", default="BTCUSDT", show_default=True, help="Symbols, with commas between.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--speed", type=click.IntRange(min=1), default=1, show_default=True, help="Market minutes in a minute.")
@click.option("--still", is_flag=True, help="A made-up market that moves only by /standin/price.")
@click.option("--volatility", type=float, help="Annual volatility of the made-up market (0.6 = 60 %).")
@click.option("--book-rate", type=float, default=10.0, show_default=True, help="Best quotes a second and symbol.")
@click.option("--funding-in", "funding_in_s", type=float, help="Seconds until the first funding settlement.")
@click.option("--wallet", type=click.IntRange(min=1), default=10_000, show_default=True, help="Quote currency.")
@click.option("--leverage", type=click.IntRange(1, 125), default=20, show_default=True)
@click.option("--one-way", is_flag=True, help="Start in one-way mode instead of hedge mode.")
@click.option("--key", default=DEFAULT_KEY, show_default=True, help="The API key that it knows.")
@click.option("--secret", default=DEFAULT_SECRET, show_default=True, help="The key's secret.")
@click.option("--skew-ms", type=int, default=0, show_default=True, help="How far its clock is ahead.")
@click.option("--listen-key-ms", type=int, default=VALIDITY_MS, show_default=True, help="Life of a listen key.")
@click.option("--socket-life-s", type=float, default=24 * 3600.0, show_default=True, help="Life of a socket.")
@click.option("--switch", "switches", multiple=True, metavar="NAME=VALUE", help="One of the unknown rules.")
@click.option("--fault", "faults", multiple=True, metavar="NAME[:COUNT|:RATE][:key=value]", help="Arm a fault.")
@click.option("--log", "log_path", type=click.Path(path_type=Path), help="Write every request and event as JSON lines.")
@click.option("--list-faults", is_flag=True, is_eager=True, expose_value=False, callback=_show_faults)
def main(
    *,
    symbols: str,
    one_way: bool,
    socket_life_s: float,
    switches: tuple[str, ...],
    **plain: object,
) -> None:
    """A stand-in for Binance USD-M futures on 127.0.0.1: REST, websockets, one account, and every fault on demand."""
    pairs = [text.partition("=") for text in switches]
    try:
        options = StandinOptions(
            symbols=tuple(name.strip().upper() for name in symbols.split(",") if name.strip()),
            hedge=not one_way,
            sockets=SocketRules(life_s=socket_life_s),
            switches={name: value for name, _, value in pairs},
            **plain,  # type: ignore[arg-type]  # click has made them of the options' own types
        )
        asyncio.run(_serve(options))
    except (Fatal, FaultTextError, ValueError, OSError) as error:
        click.echo(f"standin: {error}", err=True)
        sys.exit(1)


async def _serve(options: StandinOptions) -> None:
    """Run until a signal comes."""
    loop = asyncio.get_running_loop()
    asked_to_stop = asyncio.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, asked_to_stop.set)
    standin = Standin(options)
    stopping = asyncio.create_task(asked_to_stop.wait(), name="stand-in signals")
    tasks: list[asyncio.Task[Any]] = [stopping]
    try:
        await standin.start()
        symbols = ", ".join(options.symbols)
        click.echo(f"standin listening on {standin.url} ({symbols}); faults at {standin.url}/standin")
        sys.stdout.flush()
        running = asyncio.create_task(standin.wait(), name="stand-in")
        tasks.append(running)
        await asyncio.wait({stopping, running}, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            running.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await standin.stop()
