"""The operator's commands against a bot that trades at a stand-in: configs as files, commands and bots as processes.

Invariants: whoever starts a process ends it, whatever happens; no secret stands in a config, only where it is kept.
"""

import asyncio
import json
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import attrs

from tests.command import ROOT
from tests.live.trading_bot import LOOK_S, SYMBOL, secret
from tools.standin.serving import Standin

CONTROL: Final = "control-token-of-the-test"
READ: Final = "read-token-of-the-test"
LEFTOVERS: Final = (
    "ResourceWarning",
    "Unclosed",
    "never awaited",
    "never retrieved",
    "Task was destroyed",
    "Traceback",
)
"""What Python's development mode says of a task, a socket or a file that was left behind."""
BOUND_S: Final = 40.0
IMPATIENT: Final = "from hedgegrid.journal import lock; lock.ENDING_S = 1.0; from hedgegrid.cli import main; main()"
"""The command, which waits for a process to end for a second and not for fifteen."""

ACCOUNT: Final = """\
[account]
name = "live"
mode = "{mode}"

[venue]
environment = "{environment}"
api_key = {{ file = "{folder}/key" }}
api_secret = {{ file = "{folder}/secret" }}
recv_window_ms = 1000
rest_url = "{rest}"
ws_url = "{ws}"
ws_api_url = "{ws}/ws-fapi/v1"

[[grid]]
instrument = "BTC/USDT:USDT"
timeframe = "1s"
max_position_qty = 0.5
[grid.ladder]
step_bps = 6
levels_long = 2
levels_short = 2
base_qty = 0.01
recenter_trigger_bps = 60
max_inventory_quote = 15000
[grid.exit]
tp_steps = 8
sl_steps = 12
max_stop_orders = 4
[grid.regime]
ema_fast = 2
ema_slow = 4
adx_len = 2
atr_len = 2
[grid.policy]
name = "both"

[risk]
max_unprotected_ms = 1000
[risk.volatility_halt]
enabled = false
# A jump of a whole rung within a second is what these tests live on.
[risk.var]
confidence = 0.51
horizon_hours = 1
max_ratio = 1

[watchdog]
resume_after_ms = 200
max_loop_lag_ms = 5000

[supervisor]
crash_boots_max = 1000

[journal]
path = "{folder}/live.db"

[ops]
listen = "127.0.0.1:{port}"
{tokens}
"""


def free_port() -> int:
    """Give a port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def tokens_in(folder: Path, control: str | None = CONTROL, read: str | None = READ) -> str:
    """Write tokens beside the config, and give the lines that name them."""
    lines = []
    for name, text in (("control_token", control), ("read_token", read)):
        if text is not None:
            lines.append(f'{name} = {{ file = "{secret(folder / f"{name}-{text}", text)}" }}')
    return "\n".join(lines)


def config_text(
    folder: Path,
    *,
    rest: str,
    ws: str,
    tokens: str,
    port: int = 0,
    mode: str = "testnet",
    environment: str = "testnet",
) -> str:
    """Give the text of a small account's config; its secrets are files in ``folder``."""
    return ACCOUNT.format(folder=folder, rest=rest, ws=ws, tokens=tokens, port=port, mode=mode, environment=environment)


def config_at(
    folder: Path,
    standin: Standin,
    *,
    port: int,
    tokens: str | None = None,
    mode: str = "testnet",
    name: str = "live",
    keys: str | None = None,
) -> Path:
    """Write the config of a small account that trades at ``standin`` and listens on ``port``."""
    secret(folder / "key", keys or standin.options.key)
    secret(folder / "secret", standin.options.secret)
    text = config_text(
        folder,
        rest=standin.url,
        ws=standin.ws_url,
        port=port,
        mode=mode,
        tokens=tokens_in(folder) if tokens is None else tokens,
    )
    path = folder / f"{name}.toml"
    path.write_text(text, encoding="utf-8")
    return path


@attrs.frozen(kw_only=True)
class Answer:
    """What a command came to."""

    code: int
    out: str
    err: str

    @property
    def complaint(self) -> str:
        """The one line with which it refused."""
        lines = [line for line in self.err.splitlines() if line.startswith("hedgegrid: ")]
        assert len(lines) == 1, self.err
        assert "Traceback" not in self.err
        return lines[0]

    @property
    def told(self) -> Any:
        """What it printed as JSON."""
        return json.loads(self.out)


async def run(*arguments: str | Path, code: str | None = None) -> Answer:
    """Run a command as a process of its own, and give its answer; ``code`` runs it otherwise."""
    program = ["-X", "dev", "-m", "hedgegrid"] if code is None else ["-c", code]
    running = await asyncio.create_subprocess_exec(
        sys.executable,
        *program,
        *(str(one) for one in arguments),
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(BOUND_S):
            out, err = await running.communicate()
    finally:
        if running.returncode is None:
            running.kill()
            await running.wait()
    assert running.returncode is not None
    answer = Answer(code=running.returncode, out=out.decode(), err=err.decode())
    assert not any(words in answer.err for words in LEFTOVERS), answer.err
    return answer


@attrs.define(eq=False, kw_only=True)
class RunningBot:
    """A bot that is a process, and the exchange that it trades at."""

    standin: Standin
    running: asyncio.subprocess.Process
    log: Path

    def words(self) -> str:
        """What it has said by now."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def held_lots(self, leg: str) -> int:
        """What the stand-in holds of a leg."""
        return abs(self.standin.exchange.position(SYMBOL, leg).qty_lots)

    def is_held(self, leg: str) -> bool:
        """Whether the stand-in holds anything of a leg."""
        return self.held_lots(leg) > 0

    def open_orders(self) -> list[str]:
        """The client ids of all that is open at the stand-in."""
        account = self.standin.exchange.summary()
        rows = [row["clientOrderId"] for row in account["orders"]]
        return rows + [row["clientAlgoId"] for row in account["algoOrders"]]

    def entries(self) -> list[str]:
        """The client ids of the entries that rest."""
        return [name for name in self.open_orders() if "E" in name.partition(".")[2].partition(".")[0]]

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds. AssertionError with its words where it never does."""
        until_s = time.monotonic() + BOUND_S
        while not holds():
            assert time.monotonic() < until_s, f"it never came: {self.open_orders()}\n{self.words()}"
            await asyncio.sleep(LOOK_S)

    async def hold(self, *legs: str) -> None:
        """Wait for the ladders, then fill the nearest rung of LONG, and of SHORT where it is named too."""
        await self.until(lambda: len(self.entries()) >= 4)
        for leg, bps in zip(legs, (-7, 14), strict=False):
            self.standin.market.move_by_bps(SYMBOL, bps)
            await self.until(partial(self.is_held, leg))

    async def end(self, number: signal.Signals) -> int:
        """Send it a signal and wait for its end."""
        self.running.send_signal(number)
        async with asyncio.timeout(BOUND_S):
            return await self.running.wait()


@asynccontextmanager
async def bot_at(standin: Standin, config: Path, arguments: Sequence[str] = ()) -> AsyncIterator[RunningBot]:
    """Run a bot as a process."""
    log = config.with_suffix(".log")
    with log.open("ab") as out:
        running = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "hedgegrid", "run", "--config", str(config), *arguments),
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=out,
            stderr=out,
        )
    try:
        yield RunningBot(standin=standin, running=running, log=log)
    finally:
        if running.returncode is None:
            running.kill()
        await running.wait()
