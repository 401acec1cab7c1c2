"""The command as its users start it, in a process of its own or in this one, and what it leaves on disk.

Invariants: a process gets a folder of its own as its present one; it is ended by whoever started it, whatever happens.
"""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
from click.testing import CliRunner, Result
from loguru import logger
from pyarrow import feather

from hedgegrid.cli import commands
from hedgegrid.config.load import load
from hedgegrid.config.params import instrument_of, venue_rules
from hedgegrid.core.order_state import OrderState, is_terminal
from hedgegrid.units import cash_e8
from hedgegrid.venues.simulated.exchange import Exchange
from hedgegrid.venues.simulated.opening import venue_path
from hedgegrid.venues.simulated.store import VenueStore
from tests.core.made import Ohlc

ROOT = Path(__file__).parents[1]
ANY_PORT = ("--listen", "127.0.0.1:0")
FIRST_MS = 1_740_000_000_000
"""When the first made bar opens, in ms since the epoch."""


def invoke(*arguments: str | Path, answers: str | None = None) -> Result:
    """Run a command in this process: quick, for what ends by itself. What it raises but SystemExit is in the result."""
    try:
        return CliRunner().invoke(commands, [str(one) for one in arguments], input=answers)
    finally:
        logger.remove()  # the command's sink writes to a stream that is closed now


def complaint(result: Result, code: int = 2) -> str:
    """The one line with which a command refused; no traceback, nothing else that claims to be an error."""
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    lines = [line for line in result.stderr.splitlines() if line.startswith("hedgegrid: ")]
    assert len(lines) == 1, result.stderr
    assert result.stderr.rstrip("\n").splitlines()[-1] == lines[0], result.stderr
    assert result.stdout == ""
    return lines[0]


@contextmanager
def started(folder: Path, *arguments: str | Path, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """Start a command as a process of its own, and end it in any case."""
    running = subprocess.Popen(
        [sys.executable, "-m", "hedgegrid", *(str(one) for one in arguments)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        with running:
            yield running
    finally:
        if running.poll() is None:
            running.kill()


def lines_until(running: subprocess.Popen[str], start: str) -> list[str]:
    """Read standard error up to the line that starts so; AssertionError where it ends before."""
    assert running.stderr is not None
    seen: list[str] = []
    for line in running.stderr:
        seen.append(line.rstrip("\n"))
        if line.startswith(start):
            return seen
    raise AssertionError("\n".join(["it ended before it said so:", *seen]))


def write_feather(path: Path, bars: Sequence[Ohlc], *, tick: float = 0.1, skip: Sequence[int] = ()) -> Path:
    """Write one-minute bars as a feather file, less those in ``skip``; the last one is dropped on load."""
    kept = [(number, bar) for number, bar in enumerate(bars) if number not in skip]
    columns: dict[str, Any] = {
        "date": pa.array([FIRST_MS + 60_000 * number for number, _ in kept], pa.timestamp("ms", tz="UTC"))
    }
    for place, name in enumerate(("open", "high", "low", "close")):
        columns[name] = pa.array([round(bar[place] * tick, 8) for _, bar in kept], pa.float64())
    columns["volume"] = pa.array([1.0] * len(kept), pa.float64())
    feather.write_feather(pa.table(columns), path, compression="uncompressed")
    return path


def cut_feather(source: Path, target: Path, first: int, count: int) -> Path:
    """Write a part of a feather file."""
    feather.write_feather(feather.read_table(source).slice(first, count), target, compression="uncompressed")
    return target


def rows(path: Path, statement: str) -> list[tuple[Any, ...]]:
    """Read a file of the bot's with a connection of our own."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        return db.execute(statement).fetchall()


def kept_exchange(config_path: Path, journal: Path) -> Exchange:
    """The simulated exchange as its file has it."""
    config = load(config_path)
    instruments = [instrument_of(config, grid.instrument) for grid in config.grid]
    rules = [venue_rules(config, one) for one in instruments]
    exchange = Exchange(instruments, rules, cash_e8(config.account.wallet_quote))
    store = VenueStore(venue_path(journal), "")
    try:
        assert store.load(exchange) is not None
    finally:
        store.close()
    return exchange


def assert_files_agree(config_path: Path, journal: Path) -> None:
    """The journal's tables and the exchange's file tell of the same fills, legs, open orders and money."""
    exchange = kept_exchange(config_path, journal)
    columns = "trade_id, client_id, price_ticks, qty_lots, fee_e8, realised_e8, ts_ns"
    assert rows(journal, f"SELECT {columns} FROM fills ORDER BY trade_id") == [  # noqa: S608 - columns of this line alone
        (f.trade_id, f.client_id, f.price_ticks, f.qty_lots, f.fee_e8, f.realised_e8, f.ts_ns) for f in exchange.fills
    ]
    legs = rows(journal, "SELECT instrument, leg, qty_lots, cost_e8 FROM legs WHERE qty_lots > 0 ORDER BY 1, 2")
    held = [(p.instrument, int(p.leg), p.qty_lots, p.cost_e8) for book in exchange.books for p in book.positions()]
    assert legs == sorted(held)
    live = [s for s in rows(journal, "SELECT client_id, state FROM orders") if not is_terminal(OrderState(s[1]))]
    theirs = [
        o.client_id for book in exchange.books for kind in (False, True) for o in book.open_orders(conditional=kind)
    ]
    assert sorted(client_id for client_id, _ in live) == sorted(theirs)
    wallet = rows(journal, "SELECT wallet_e8 + realised_e8 - fees_e8 - funding_e8 FROM account")
    sums = "coalesce(sum(realised_e8), 0) - coalesce(sum(fees_e8), 0) - coalesce(sum(funding_e8), 0)"
    moved = rows(journal, f"SELECT {sums} FROM legs")  # noqa: S608 - figures of this function alone
    assert wallet[0][0] + moved[0][0] == exchange.balance().wallet_e8
