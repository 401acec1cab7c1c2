"""How much memory the bot holds, and whether it stays there when a hundred times as much happens as usual."""

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from tools.bench.live_grids import restless
from tools.bench.live_running import running_bot, standin_arguments
from tools.bench.live_usage import slope, usage
from tools.rehearsal.processes import standin

WARM_UP_MINUTES: Final = 10
MEMORY_TARGET_MB: Final = 200.0
FLAT_MB_PER_HOUR: Final = 5.0
QUOTES_PER_S: Final = 1_000
"""A hundred times the ten a second that a stand-in streams of its own accord."""
SPEED: Final = 100
IDLE_MINUTES_MAX: Final = 2
"""Minutes without a fill, in all: more, and it is a bot at rest whose memory was flat."""
_COUNTED: Final = ("fills", "orders_approved", "bars", "messages_received", "incidents", "orders_rejected")


def soak(minutes: int, tell: Callable[[str], None]) -> dict[str, Any]:
    """Let the bot trade for some minutes in a fast market, and look at its memory once a minute."""
    arguments = standin_arguments(["BTC"], quotes_per_s=QUOTES_PER_S, speed=SPEED, volatility=0.6)
    rows: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with (
            standin(folder / "wire.jsonl", arguments) as origin,
            running_bot(folder, origin, restless(), journal=folder / "soak.db") as bot,
        ):
            began_s, first = time.monotonic(), usage(bot.pid)
            while bot.is_alive():
                now = usage(bot.pid)
                counts = bot.counts()
                minute = (time.monotonic() - began_s) / 60
                row = {"minute": round(minute, 2), "rss_mb": now.rss_mb, "cpu_s": round(now.cpu_s - first.cpu_s, 2)}
                row |= {name: counts.get(f"hedgegrid_{name}_total", 0.0) for name in _COUNTED}
                rows.append(row)
                tell(str(row))
                if len(rows) > minutes:
                    break
                time.sleep(max(0.0, began_s + 60 * len(rows) - time.monotonic()))
            ended = "" if bot.is_alive() else bot.words()[-500:]
            peak_mb = usage(bot.pid).peak_mb if not ended else None
            return judged(rows, peak_mb, ended)


def judged(rows: list[dict[str, float]], peak_mb: float | None, ended: str) -> dict[str, Any]:
    """Say what the rows show; the warm-up does not count in the slope."""
    warm_up = min(WARM_UP_MINUTES, len(rows) // 3)
    warm = [row["rss_mb"] for row in rows if row["minute"] >= warm_up]
    each_minute = slope(warm)
    per_hour = None if each_minute is None else round(60 * each_minute, 2)
    still = idle_minutes(rows)
    return {
        "rss_mb_start": rows[0]["rss_mb"],
        "rss_mb_end": rows[-1]["rss_mb"],
        "rss_mb_peak": peak_mb,
        "rss_mb_target": MEMORY_TARGET_MB,
        "minutes": rows[-1]["minute"],
        "event_rate": f"{QUOTES_PER_S} quotes/s, bars of 1s in place of 1m, a market at {SPEED} times its pace",
        "warm_up_minutes": warm_up,
        "slope_mb_per_hour": per_hour,
        "slope_target_mb_per_hour": FLAT_MB_PER_HOUR,
        "ended_early": ended,
        "minutes_without_a_fill": still,
        "by_minute": rows,
        "holds": not ended
        and still <= IDLE_MINUTES_MAX
        and max(row["rss_mb"] for row in rows) < MEMORY_TARGET_MB
        and (per_hour is None or per_hour < FLAT_MB_PER_HOUR),
    }


def idle_minutes(rows: Sequence[Mapping[str, float]]) -> int:
    """Count the minutes in which nothing filled."""
    return sum(later["fills"] == earlier["fills"] for earlier, later in pairwise(rows))
