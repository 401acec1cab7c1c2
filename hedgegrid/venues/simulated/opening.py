"""Opening a simulation: the exchange as it was kept, or a new one, at the right step of its tape.

Invariants: a kept exchange goes on only with the journal it was kept beside and only on the market it belongs to;
what cannot go on is set aside under a number of its own, never deleted or overwritten.
"""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import attrs

from hedgegrid.core.records import VenueRules
from hedgegrid.errors import Fatal
from hedgegrid.model.instrument import Instrument
from hedgegrid.model.market import Tape
from hedgegrid.runtime.clock import VirtualClock
from hedgegrid.venues.simulated.exchange import Exchange
from hedgegrid.venues.simulated.store import VenueStore
from hedgegrid.venues.simulated.venue import SimulatedMarket, SimulatedTrading

MARKET_ENDED = "market ended"
LIQUIDATED = "LIQUIDATED"
FINAL_ENDS = (MARKET_ENDED, LIQUIDATED)
"""Ends after which there is nothing to go on with: the next start is a new account."""
_SUFFIXES = ("-wal", "-shm", "")
_NUMBERS_MAX = 100_000


def venue_path(journal_path: Path) -> Path:
    """Give the file in which the exchange beside a journal is kept."""
    return journal_path.with_name(f"{journal_path.stem}.venue{journal_path.suffix}")


def set_aside_what_cannot_go_on(journal_path: Path, identity: str, *, keep: bool) -> str:
    """Make way for a new account where the old one cannot go on; give the reason in words, "" where it goes on.

    ``identity`` is the market's; ``keep`` False means that exchanges are not kept, so every start is new.
    """
    venue = venue_path(journal_path)
    for path in (journal_path, venue):
        if path.is_dir():
            raise Fatal(f"{path} is a folder; name a file for the journal")
    if not journal_path.exists() and not venue.exists():
        return ""
    if not keep:
        reason = "the simulated exchange is not kept (sim.persist = false)"
    elif not venue.exists():
        reason = "its simulated exchange is gone"
    elif not journal_path.exists():
        reason = "its journal is gone"
    else:
        reason = _why_over(venue, identity)
    if reason:
        _set_aside(journal_path, venue)
    return reason


def _why_over(venue: Path, identity: str) -> str:
    """Say why a kept exchange cannot go on, "" where it can."""
    if venue.stat().st_size == 0:
        return "its simulated exchange is empty"
    try:
        with closing(sqlite3.connect(f"{venue.resolve().as_uri()}?mode=ro", uri=True)) as db:
            market = db.execute("SELECT market FROM identity").fetchone()
            ended = db.execute("SELECT ended FROM state").fetchone()
    except sqlite3.Error as error:
        raise Fatal(f"{venue} cannot be read: {error}; move it away to start a new simulated exchange") from error
    if market is None or market[0] != identity:
        return "it belongs to another market (other files, seed or rules)"
    if ended is not None and ended[0] in FINAL_ENDS:
        return f"its run is over: {ended[0]}"
    return ""


def _set_aside(journal_path: Path, venue: Path) -> None:
    """Move both files, with their logs, to the first number that is free for both."""
    for number in range(1, _NUMBERS_MAX):
        targets = [(path, path.with_name(f"{path.stem}.{number}{path.suffix}")) for path in (journal_path, venue)]
        if any(target.exists() for _, target in targets):
            continue
        for path, target in targets:
            for suffix in _SUFFIXES:
                part = path.with_name(path.name + suffix)
                if part.exists():
                    part.rename(target.with_name(target.name + suffix))
        return
    raise Fatal(f"{journal_path.parent} holds {_NUMBERS_MAX} old runs: remove some")


@attrs.frozen(kw_only=True)
class Simulation:
    """An open simulation: the exchange, its two sides, its clock, and its file (None: not kept)."""

    exchange: Exchange
    tape: Tape
    market: SimulatedMarket
    trading: SimulatedTrading
    clock: VirtualClock
    store: VenueStore | None
    resumed: bool


def open_simulation(
    *,
    tape: Tape,
    instruments: Sequence[Instrument],
    rules: Sequence[VenueRules],
    wallet_e8: int,
    path: Path | None,
    identity: str,
    not_before_ns: int,
    linked_exits: bool = True,
) -> Simulation:
    """Open a simulation at the step where it was kept; ``not_before_ns`` is the newest time that the journal knows.

    ``linked_exits`` False: exits race each other as on a real exchange.
    """
    exchange = Exchange(instruments, rules, wallet_e8, linked_exits=linked_exits)
    store = None if path is None else VenueStore(path, identity)
    kept = None if store is None else store.load(exchange)
    market = SimulatedMarket(tape, instruments)
    next_step = 0
    if kept is not None:
        # Between the saved state and the place that was reached only prices moved: walk them again.
        for step in tape.steps(kept.saved_step):
            if step.number >= kept.next_step:
                break
            exchange.walk(step, step.ts_ns // tape.bar_length_ns)
            assert not exchange.drain(), "a step that changed something was saved"
        next_step = kept.next_step
    start_ns = next((step.ts_ns for step in tape.steps(next_step)), exchange.ts_ns)
    market.begin(start_ns)
    # A start that ended before the first step left neither a time of the market nor of the journal.
    clock = VirtualClock(max(exchange.ts_ns, not_before_ns) or start_ns)
    trading = SimulatedTrading(exchange, clock, store)
    trading.next_step = next_step
    if kept is None:
        trading.keep()
    return Simulation(
        exchange=exchange,
        tape=tape,
        market=market,
        trading=trading,
        clock=clock,
        store=store,
        resumed=kept is not None,
    )
