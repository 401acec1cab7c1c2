"""How fast the whole actor system is: bars a minute, messages a second, and from a market event to a sent order.

    python -m tools.bench.actors --bars 10000 --rounds 3

It runs the real house (actors, supervisor, journal on disk, kept exchange) in virtual time on a seeded market, or on a
recorded file (``--data``), and prints JSON. Fills and orders are reported, so that nobody compares different work.
Latencies are wall times from the moment a market update enters the feed's mailbox to the moment the executor hands an
order of that cause to the venue; the wall clock is read around the ports only.
"""

import argparse
import asyncio
import json
import resource
import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import attrs
from rich.console import Console

from hedgegrid.config.load import loads
from hedgegrid.config.schema import AccountConfig
from hedgegrid.lifecycle import Life
from hedgegrid.messages.events import OrderEvent
from hedgegrid.model.order import OrderRequest
from hedgegrid.venues.simulated.venue import SimulatedMarket, SimulatedTrading
from hedgegrid.worlds.world import RunOptions

NS_PER_US = 1_000


class Stopwatch:
    """Notes when market updates come in and when orders go out."""

    def __init__(self) -> None:
        """Nothing was seen yet."""
        self.came_ns = 0
        self.delays_ns: list[int] = []

    def wrap(self, stack: ExitStack) -> None:
        """Listen at the two ports for as long as ``stack`` lives."""
        show_points, show_bars, place = (
            SimulatedMarket.show_points,
            SimulatedMarket.show_bars,
            SimulatedTrading.place,
        )
        watch = self

        def points(market: SimulatedMarket, *rest: Any) -> None:  # noqa: ANN401 - passed through
            watch.came_ns = time.perf_counter_ns()
            show_points(market, *rest)

        def bars(market: SimulatedMarket, *rest: Any) -> None:  # noqa: ANN401 - passed through
            watch.came_ns = time.perf_counter_ns()
            show_bars(market, *rest)

        async def placed(
            trading: SimulatedTrading, instrument: str, requests: Sequence[OrderRequest], retires: Sequence[str]
        ) -> tuple[OrderEvent, ...]:
            if requests:
                watch.delays_ns.append(time.perf_counter_ns() - watch.came_ns)
            return await place(trading, instrument, requests, retires)

        SimulatedMarket.show_points = points  # type: ignore[assignment, method-assign]
        SimulatedMarket.show_bars = bars  # type: ignore[assignment, method-assign]
        SimulatedTrading.place = placed  # type: ignore[assignment, method-assign]

        def unwrap() -> None:
            SimulatedMarket.show_points = show_points  # type: ignore[method-assign]
            SimulatedMarket.show_bars = show_bars  # type: ignore[method-assign]
            SimulatedTrading.place = place  # type: ignore[method-assign]

        stack.callback(unwrap)


def one_round(config: AccountConfig, market_files: tuple[Path, ...], bars: int) -> dict[str, float]:
    """Run once in a folder of its own and give the figures."""
    watch = Stopwatch()
    length_s = bars * 60.0
    with ExitStack() as stack, tempfile.TemporaryDirectory() as folder:
        watch.wrap(stack)
        here = attrs.evolve(config, journal=attrs.evolve(config.journal, path=str(Path(folder) / "bench.db")))
        options = RunOptions(
            market_files=market_files, speed=None, duration_s=length_s, listen=("127.0.0.1", 0), allow_gaps=True
        )
        life = Life()
        began = time.perf_counter()
        outcome = asyncio.run(life.run(here, options, Console(quiet=True), lambda _: None))
        wall_s = time.perf_counter() - began
        done = sum(one.bars for one in outcome.view.instruments.values())
        received = sum(box.received for box in life.house.router.mailboxes())
        delays = sorted(watch.delays_ns) or [0]
        return {
            "bars": done,
            "wall_s": wall_s,
            "bars_per_minute": done / wall_s * 60,
            "messages": received,
            "messages_per_s": received / wall_s,
            "fills": outcome.view.fills_total(),
            "orders": outcome.view.approved_total(),
            "event_to_send_p50_us": delays[len(delays) // 2] / NS_PER_US,
            "event_to_send_p99_us": delays[len(delays) * 99 // 100] / NS_PER_US,
        }


CONFIG = """
[account]
name = "bench"
wallet_quote = 100000

[sim]
market = "MARKET"

[sim.synthetic]
annual_volatility = 0.5

[[grid]]
instrument = "BTC/USDT:USDT"
max_position_qty = 1.0

[grid.ladder]
step_bps = 12
base_qty = 0.01

[grid.funding]
on_missing = "ignore"

[journal]
synchronous = "normal"
"""


def main(argv: Sequence[str] | None = None) -> None:
    """Run the rounds and print medians as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bars", type=int, default=10_000, help="one-minute bars a round (default 10000)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds; the medians are reported (default 3)")
    parser.add_argument("--data", type=Path, action="append", default=[], help="recorded BTC one-minute bars")
    given = parser.parse_args(argv)
    config = loads(CONFIG.replace("MARKET", "recorded" if given.data else "synthetic"), "the bench's config")
    rounds = [one_round(config, tuple(given.data), given.bars) for _ in range(given.rounds)]
    report = {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}
    report["rounds"] = given.rounds
    report["peak_memory_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
