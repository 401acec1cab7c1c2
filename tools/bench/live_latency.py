"""From the sending of a closed bar to the receipt of the order that it causes: the bot beside a bare script.

Two kinds of work, each done by both, in turns, at stand-ins of one seed:

- "refill": the exchange ends both resting orders in the middle of each bar, so each bar's decision is two new orders
  and nothing else;
- "recentre": the grid moves with each bar, so each bar's decision is two cancels and two orders (the bot also lays its
  two closing stops anew).

Measured is the first order of a decision: the request that carries both entries. Beside it stands the first request
of any kind (in "recentre" the bot's is a cancel, since cancels go first).
"""

import json
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.request import Request, urlopen

from tools.bench.live_grids import every_bar, refill
from tools.bench.live_running import run_script, running_bot, standin_arguments
from tools.bench.live_wire import Decision, decisions, percentile, read_commits
from tools.rehearsal.processes import ask, standin

QUOTES_PER_S: Final = 1_000
SPEED: Final = 60
"""A bar of a second holds a minute of market: its close is news in every bar."""
P50_TARGET, P99_TARGET = 1.25, 1.5
WORKS: Final = ("refill", "recentre")
CHANNELS: Final = ("rest", "websocket")


def races(rounds: int, bars: int, works: Sequence[str], tell: Callable[[str], None]) -> dict[str, Any]:
    """Let script and bot take turns, and give figures of each work."""
    found: dict[str, dict[str, list[list[Decision]]]] = {}
    for number in range(rounds):
        for work in works:
            for name in ("script", "bot"):
                made = one_round(name, work, bars)
                found.setdefault(work, {}).setdefault(name, []).append(made)
                middle = percentile([one.order_ms for one in made], 0.5) if made else 0.0
                tell(f"round {number + 1} {work} {name}: {len(made)} decisions, p50 {middle:.2f} ms")
    return {work: compared(found[work]["script"], found[work]["bot"]) for work in works}


def one_round(name: str, work: str, bars: int) -> list[Decision]:
    """Let one contestant trade at a stand-in of its own."""
    arguments = standin_arguments(["BTC"], quotes_per_s=QUOTES_PER_S, speed=SPEED)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        log, times = folder / "wire.jsonl", folder / "commits.txt"
        with standin(log, arguments) as origin, swept(origin, work):
            if name == "script":
                run_script(origin, "1s", float(bars), cancels=work == "recentre")
            else:
                config = refill("rest") if work == "refill" else every_bar("rest")
                with running_bot(folder, origin, config, journal=folder / "bench.db", times=times):
                    time.sleep(bars)
        return decisions(log, read_commits(times))


@contextmanager
def swept(origin: str, work: str) -> Iterator[None]:
    """For "refill": have the exchange end every resting order in the middle of each bar, until the block is left."""
    over = threading.Event()

    def sweep() -> None:
        while not over.wait((1.5 - time.time() % 1.0) % 1.0 or 1.0):
            orders = ask(origin, "/standin/state")["orders"]
            texts = [f"order-expire:symbol={one['symbol']}:order_id={one['orderId']}" for one in orders]
            if texts:
                body = json.dumps({"arm": texts}).encode()
                with urlopen(Request(f"{origin}/standin/faults", data=body), timeout=10.0) as answer:  # noqa: S310
                    answer.read()

    if work != "refill":
        yield
        return
    sweeper = threading.Thread(target=sweep, name="sweeper")
    sweeper.start()
    try:
        yield
    finally:
        over.set()
        sweeper.join()


def compared(script: Sequence[Sequence[Decision]], bot: Sequence[Sequence[Decision]]) -> dict[str, Any]:
    """Set both contestants' figures beside each other; the ratios leave the journal's commits out, and say so."""
    plain = {"script": figures(script, own=False), "bot": figures(bot, own=False)}
    own = figures(bot, own=True)
    p50 = round(own["p50_ms"] / plain["script"]["p50_ms"], 3)
    p99 = round(own["p99_ms"] / plain["script"]["p99_ms"], 3)
    commits = [one.durable_ms for each in bot for one in each]
    first = [one.first_ms for each in bot for one in each]
    return plain | {
        "bot_without_commit": own,
        "commit_ms": {"p50": round(percentile(commits, 0.5), 3), "p99": round(percentile(commits, 0.99), 3)},
        "bot_first_request_ms": {"p50": round(percentile(first, 0.5), 3), "p99": round(percentile(first, 0.99), 3)},
        "ratio_p50": p50,
        "ratio_p99": p99,
        "ratio_p50_with_commit": round(plain["bot"]["p50_ms"] / plain["script"]["p50_ms"], 3),
        "ratio_p99_with_commit": round(plain["bot"]["p99_ms"] / plain["script"]["p99_ms"], 3),
        "holds": p50 <= P50_TARGET and p99 <= P99_TARGET,
    }


def figures(rounds: Sequence[Sequence[Decision]], *, own: bool) -> dict[str, Any]:
    """Give a contestant's figures: the median of the rounds' p50, the p99 of all; ``own``: without commits."""
    delays = [[one.order_ms - (one.durable_ms if own else 0.0) for one in each] for each in rounds]
    pooled = [one for each in delays for one in each]
    whole = [one for each in rounds for one in each]
    return {
        "p50_ms": round(statistics.median(percentile(each, 0.5) for each in delays), 3),
        "p99_ms": round(percentile(pooled, 0.99), 3),
        "min_ms": round(min(pooled), 3),
        "decisions": len(pooled),
        "orders_a_decision": round(statistics.mean(one.orders for one in whole), 2),
        "requests_a_decision": round(statistics.mean(one.requests for one in whole), 2),
    }
