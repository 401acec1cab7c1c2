"""Rehearse: run the bot in testnet mode against a stand-in exchange, kill it if asked to, and compare both accounts.

    python -m tools.rehearsal --minutes 5
    python -m tools.rehearsal --kills 20 --json

The exit code is 0 where journal and exchange agree to the last figure, and after each kill no order was sent before
the exchange had been read, no rung stood twice, and every leg was protected in time.
"""

import json
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import attrs
import click

from hedgegrid.errors import Fatal
from hedgegrid.journal.verify import verify
from tools.rehearsal.accounts import differences, doubled_rungs, read_journal, unprotected
from tools.rehearsal.processes import KEY, ROOT, NotStartedError, ask, bot, end, standin, wait_until

PROTECTED_S: Final = 2.0
LIFE_S: Final = 15.0
"""The longest that a boot lives before it is killed."""
KILLED: Final = """
[supervisor]
crash_boots_max = 1000
[risk.var]
confidence = 0.51
horizon_hours = 1
max_ratio = 1
[risk.volatility_halt]
enabled = false
"""
"""What a config needs so that a bot that is killed for practice goes on trading, in a market that moves a lot."""
READS: Final = ("positionRisk", "openOrders", "openAlgoOrders", "userTrades")
ORDERS: Final = ("POST /fapi/v1/order", "POST /fapi/v1/batchOrders", "POST /fapi/v1/algoOrder")
SECRETS: Final = {"BINANCE_KEY": KEY, "BINANCE_SECRET": "standin-secret", "HEDGEGRID_CONTROL_TOKEN": "rehearsal"}


@attrs.define(kw_only=True)
class Report:
    """What a rehearsal found; ``problems`` empty: it passed."""

    seconds: float = 0.0
    kills: int = 0
    fills: int = 0
    orders: int = 0
    open_orders: int = 0
    protected_s: list[float] = attrs.field(factory=list)
    problems: list[str] = attrs.field(factory=list)


class Rehearsal:
    """One rehearsal in a folder of its own."""

    def __init__(self, folder: Path, origin: str, config: Path) -> None:
        """Use the stand-in at ``origin``."""
        self.folder = folder
        self.origin = origin
        self.journal = folder / "rehearsal.db"
        self.arguments = ["--config", str(config), "--journal", str(self.journal), "--listen", "127.0.0.1:0"]
        self.report = Report()

    def calm(self, seconds: float) -> None:
        """Trade for a while and stop well."""
        child = bot(self.folder, self.origin, [*self.arguments, "--duration", f"{seconds}s"], SECRETS)
        code = child.wait()
        if code != 0:
            self.report.problems.append(f"the bot ended with {code}: {self._last_words()}")

    def kill(self, rng: random.Random, number: int) -> None:
        """Start the bot, see that it reads before it sends and protects in time, and kill it at a random moment."""
        since = self._newest()
        child = bot(self.folder, self.origin, self.arguments, SECRETS)
        try:
            self._see_it_start(child, since, number)
            time.sleep(rng.uniform(0.0, LIFE_S))
        finally:
            if child.poll() is not None:
                self.report.problems.append(f"boot {number} ended by itself: {self._last_words()}")
            end(child, signal.SIGKILL)
        self.report.kills += 1
        self.report.problems += [f"after kill {number}: {one}" for one in doubled_rungs(self._state())]

    def _see_it_start(self, child: "subprocess.Popen[bytes]", since: int, number: int) -> None:
        """Wait for the private stream, then measure how long a leg stays without its stops."""
        heard = wait_until(lambda: child.poll() is not None or self._private_socket(), 60.0)
        if heard is None:
            self.report.problems.append(f"boot {number}: no private stream within a minute: {self._last_words()}")
            return
        took_s = wait_until(lambda: not unprotected(self._state()), 10.0)
        if took_s is None or took_s > PROTECTED_S:
            self.report.problems.append(f"boot {number}: not protected after {took_s} s: {unprotected(self._state())}")
        else:
            self.report.protected_s.append(round(took_s, 3))
        self.report.problems += [f"boot {number}: {one}" for one in sent_before_reading(self._log(since))]

    def settle(self) -> None:
        """Start once more, stop well, and compare both accounts."""
        self.calm(20.0)
        journal = read_journal(self.journal)
        state, trades = self._state(), self.trades()
        self.report.fills, self.report.orders = len(trades), journal.orders
        self.report.open_orders = len(state["orders"]) + len(state["algoOrders"])
        self.report.problems += differences(journal, state, trades)
        self.report.problems += [f"at the end: {one}" for one in (*doubled_rungs(state), *unprotected(state))]
        try:
            proof = verify(self.journal)
            self.report.problems += [] if proof.ok else [proof.text()]
        except Fatal as error:
            self.report.problems.append(str(error))

    # --- the stand-in's own words -----------------------------------------------------------------------------------

    def trades(self) -> list[dict[str, Any]]:
        """Give what the stand-in has filled."""
        rows: list[dict[str, Any]] = ask(self.origin, "/standin/trades")["trades"]
        return rows

    def _state(self) -> dict[str, Any]:
        state: dict[str, Any] = ask(self.origin, "/standin/state")
        return state

    def _log(self, since: int) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = ask(self.origin, f"/standin/log?since={since}&kind=request")
        return rows

    def _newest(self) -> int:
        rows = self._log(0)
        return int(rows[-1]["seq"]) if rows else 0

    def _private_socket(self) -> bool:
        return any("private" in one["path"] for one in self._state()["sockets"])

    def _last_words(self) -> str:
        lines = (self.folder / "bot.log").read_text(encoding="utf-8", errors="replace").splitlines()
        return " | ".join(line.strip() for line in lines[-3:])


def sent_before_reading(requests: list[dict[str, Any]]) -> list[str]:
    """Give the first order of a boot where it was sent before the exchange had been read."""
    missing = set(READS)
    for row in requests:
        missing -= {read for read in missing if row["name"].startswith("GET") and row["name"].endswith(read)}
        if row["name"] in ORDERS:
            return [f"{row['name']} before {', '.join(sorted(missing))} was read"] if missing else []
    return []


@click.command()
@click.option("--minutes", type=float, default=5.0, show_default=True, help="How long it trades in peace.")
@click.option("--kills", type=int, default=0, show_default=True, help="Boots that are killed at a random moment.")
@click.option("--seed", type=int, default=1, show_default=True, help="Of the stand-in's market and of the kills.")
@click.option("--config", type=click.Path(path_type=Path), default=ROOT / "configs" / "binance-testnet.toml")
@click.option("--timeframe", help="Of the bars, in place of the config's: 5s decides twelve times as often as 1m.")
@click.option("--keep", type=click.Path(path_type=Path), help="Keep journal and logs in this folder.")
@click.option("--standin", "more", multiple=True, help="A further argument of the stand-in, such as --volatility=3.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def main(**given: Any) -> None:  # noqa: ANN401 - click checked every option
    """Rehearse with a stand-in exchange over real sockets and compare both accounts at the end."""
    folder = given["keep"] or Path(tempfile.mkdtemp(prefix="rehearsal-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        report = rehearse(folder, given)
    except NotStartedError as error:
        click.echo(str(error), err=True)
        sys.exit(1)
    finally:
        if given["keep"] is None:
            shutil.rmtree(folder)
    if given["as_json"]:
        click.echo(json.dumps(attrs.asdict(report), indent=2))
    else:
        show(report)
    sys.exit(1 if report.problems else 0)


def rehearse(folder: Path, given: Mapping[str, Any]) -> Report:
    """Run a whole rehearsal in ``folder``."""
    rng = random.Random(given["seed"])  # noqa: S311 - moments to kill at
    began_s = time.monotonic()
    further = [word for one in given["more"] for word in one.split("=", 1)]
    arguments = ["--seed", str(given["seed"]), "--volatility", "3" if given["kills"] else "1.2", *further]
    with standin(folder / "standin.jsonl", arguments) as origin:
        rehearsal = Rehearsal(folder, origin, own_config(folder, given))
        if given["kills"]:
            for number in range(1, given["kills"] + 1):
                rehearsal.kill(rng, number)
        else:
            rehearsal.calm(60.0 * given["minutes"])
        rehearsal.settle()
    rehearsal.report.seconds = round(time.monotonic() - began_s, 1)
    return rehearsal.report


def own_config(folder: Path, given: Mapping[str, Any]) -> Path:
    """Copy the config into ``folder``, with another timeframe where one is given, and fit to be killed where it is."""
    config, timeframe = given["config"], given["timeframe"]
    text = config.read_text(encoding="utf-8") + (KILLED if given["kills"] else "")
    if timeframe is not None:
        text = re.sub(r'(?m)^timeframe = ".*"$', f'timeframe = "{timeframe}"', text)
    own: Path = folder / config.name
    own.write_text(text, encoding="utf-8")
    return own.resolve()


def show(report: Report) -> None:
    """Say in a few lines how it went."""
    click.echo(f"{report.seconds:.0f} s, {report.kills} kills, {report.orders} orders, {report.fills} fills")
    if report.protected_s:
        click.echo(f"protected after a restart in at most {max(report.protected_s):.2f} s")
    for one in report.problems:
        click.echo(f"DIFFERENCE {one}")
    click.echo("journal and exchange agree" if not report.problems else f"{len(report.problems)} differences")


if __name__ == "__main__":
    main()
