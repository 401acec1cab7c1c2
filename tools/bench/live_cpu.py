"""What share of a core the bot needs while it hears 5,000 best quotes a second of ten instruments."""

import tempfile
import time
from pathlib import Path
from typing import Any, Final

from tools.bench.live_grids import SYMBOLS, many
from tools.bench.live_running import running_bot, standin_arguments
from tools.bench.live_usage import usage
from tools.rehearsal.processes import standin

QUOTES_PER_S: Final = 5_000
SHARE_TARGET: Final = 0.6
SPEED: Final = 60
"""A market that runs so much faster than usual changes its best prices some forty times a second and instrument."""
SETTLE_S: Final = 5.0
"""After the start: the ladders are laid, the history is read."""


def load(seconds: int) -> dict[str, Any]:
    """Let the bot hear and trade for a while; also how much reached it and what it held of memory."""
    arguments = standin_arguments(SYMBOLS, quotes_per_s=QUOTES_PER_S, speed=SPEED)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with (
            standin(folder / "wire.jsonl", arguments) as origin,
            running_bot(folder, origin, many(SYMBOLS), journal=folder / "cpu.db") as bot,
        ):
            time.sleep(SETTLE_S)
            first, first_s, before = usage(bot.pid), time.monotonic(), bot.counts()
            time.sleep(seconds)
            last, last_s, after = usage(bot.pid), time.monotonic(), bot.counts()
    share = (last.cpu_s - first.cpu_s) / (last_s - first_s)
    handled = "hedgegrid_messages_received_total"
    return {
        "instruments": len(SYMBOLS),
        "quotes_per_s": QUOTES_PER_S,
        "seconds": seconds,
        "share_of_core": round(share, 3),
        "share_target": SHARE_TARGET,
        "actor_messages_per_s": round((after[handled] - before[handled]) / (last_s - first_s)),
        "rss_mb_start": first.rss_mb,
        "rss_mb_end": last.rss_mb,
        "holds": share <= SHARE_TARGET,
    }
