"""From the sending of a closed bar to the receipt of the order that it causes: the bot beside a bare script.

Three kinds of work, each done by both, in turns, at stand-ins of one seed:

- "single": the exchange ends the buy in the middle of each bar, so each bar's decision is one new order and nothing
  else;
- "refill": it ends the sell as well, so each bar's decision is two new orders;
- "recentre": the grid moves with each bar, so each bar's decision is two cancels and two orders (the bot also lays its
  two closing stops anew, which the script does not). Both cancel first, and wait for no answer before they place.

Measured is the first order of a decision: the request that carries both entries, or by websocket the first of two. It
has come when the stand-in has read it from its connection, not when its turn is: in "recentre" the cancels are dealt
with first, and the bot's streams are told of them.
Beside it stands the first request of any kind (in "recentre" the bot's is a cancel, since cancels go first). Each order
channel, REST and the websocket API, is a race of its own: script and bot send over the same kind of connection. They
take turns within a round, and who begins changes from round to round.

The bot may not send before its journal is on disk. Two figures are given: the whole delay, and that delay less the time
in which the commit was under way, which is what the targets are for. What the bot does during a commit (it writes and
signs the requests then) is so taken off too; the commit's own figures stand beside it.
"""

import json
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.request import Request, urlopen

from tools.bench.live_grids import every_bar, refill
from tools.bench.live_running import run_script, running_bot, standin_arguments
from tools.bench.live_wire import Decision, decisions, percentile, read_commits
from tools.rehearsal.processes import NotStartedError, ask, standin

QUOTES_PER_S: Final = 1_000
SPEED: Final = 60
"""A bar of a second holds a minute of market: its close is news in every bar."""
P50_TARGET, P99_TARGET = 1.25, 1.5
SINGLE, REFILL, RECENTRE = WORKS = ("single", "refill", "recentre")
CHANNELS: Final = ("rest", "websocket")
SCRIPT, BOT = CONTESTANTS = ("script", "bot")


def races(
    rounds: int, bars: int, works: Sequence[str], channels: Sequence[str], tell: Callable[[str], None]
) -> dict[str, Any]:
    """Let the script and the bot, on each order channel, take turns; give figures of each work."""
    found: dict[str, dict[str, list[list[Decision]]]] = {work: {} for work in works}
    for number in range(rounds):
        for work in works:
            for channel in channels:
                for who in CONTESTANTS if number % 2 == 0 else CONTESTANTS[::-1]:
                    made = one_round(who, channel, work, bars)
                    if not made:
                        raise NotStartedError(f"{work} {channel} {who}: no decision led to an order")
                    found[work].setdefault(f"{channel} {who}", []).append(made)
                    middle = percentile([one.order_ms for one in made], 0.5)
                    tell(f"round {number + 1} {work} {channel} {who}: {len(made)} decisions, p50 {middle:.2f} ms")
    return {work: compared(found[work], channels) for work in works}


def one_round(who: str, channel: str, work: str, bars: int) -> list[Decision]:
    """Let one contestant trade at a stand-in of its own, over one order channel."""
    arguments = standin_arguments(["BTC"], quotes_per_s=QUOTES_PER_S, speed=SPEED)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        log, times = folder / "wire.jsonl", folder / "commits.txt"
        with standin(log, arguments) as origin, swept(origin, work):
            if who == SCRIPT:
                options = {
                    "cancels": work == RECENTRE,
                    "websocket": channel == "websocket",
                    "long-only": work == SINGLE,
                }
                run_script(origin, "1s", float(bars), [name for name, wanted in options.items() if wanted])
            else:
                config = every_bar(channel) if work == RECENTRE else refill(channel)
                with running_bot(folder, origin, config, journal=folder / "bench.db", times=times):
                    time.sleep(bars)
        return decisions(log, read_commits(times))


@contextmanager
def swept(origin: str, work: str) -> Iterator[None]:
    """Where orders do not move: have the exchange end them in the middle of each bar, until the block is left."""
    over = threading.Event()

    def sweep() -> None:
        while not over.wait((1.5 - time.time() % 1.0) % 1.0 or 1.0):
            orders = ask(origin, "/standin/state")["orders"]
            ended = [one for one in orders if work == REFILL or one["side"] == "BUY"]
            texts = [f"order-expire:symbol={one['symbol']}:order_id={one['orderId']}" for one in ended]
            if texts:
                body = json.dumps({"arm": texts}).encode()
                with urlopen(Request(f"{origin}/standin/faults", data=body), timeout=10.0) as answer:  # noqa: S310
                    answer.read()

    if work == RECENTRE:
        yield
        return
    sweeper = threading.Thread(target=sweep, name="sweeper")
    sweeper.start()
    try:
        yield
    finally:
        over.set()
        sweeper.join()


def compared(found: Mapping[str, Sequence[Sequence[Decision]]], channels: Sequence[str]) -> dict[str, Any]:
    """Set the bot's figures beside the script's, channel by channel."""
    given: dict[str, Any] = {}
    for channel in channels:
        script = figures(found[f"{channel} {SCRIPT}"], own=False)
        given[channel] = {SCRIPT: script, BOT: beside(script, found[f"{channel} {BOT}"])}
    return given


def beside(script: Mapping[str, Any], bot: Sequence[Sequence[Decision]]) -> dict[str, Any]:
    """Give the bot's figures and its ratios to the script; the targets are for what is left without the commits."""
    whole, own = figures(bot, own=False), figures(bot, own=True)
    commits = [one.durable_ms for each in bot for one in each]
    first = [one.first_ms for each in bot for one in each]
    p50, p99 = own["p50_ms"] / script["p50_ms"], own["p99_ms"] / script["p99_ms"]
    return whole | {
        "commit_p50_ms": round(percentile(commits, 0.5), 3),
        "commit_p99_ms": round(percentile(commits, 0.99), 3),
        "without_commit_p50_ms": own["p50_ms"],
        "without_commit_p99_ms": own["p99_ms"],
        "without_commit_min_ms": own["min_ms"],
        "first_request_p50_ms": round(percentile(first, 0.5), 3),
        "first_request_p99_ms": round(percentile(first, 0.99), 3),
        "ratio_p50": round(p50, 3),
        "ratio_p99": round(p99, 3),
        "ratio_p50_with_commit": round(whole["p50_ms"] / script["p50_ms"], 3),
        "ratio_p99_with_commit": round(whole["p99_ms"] / script["p99_ms"], 3),
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
