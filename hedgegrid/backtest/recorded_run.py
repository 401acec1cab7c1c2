"""What a run did and saw, read back from its journal.

Invariants: a journal is read as of the moment of ``read_run``, also while its bot goes on writing, and never written;
its chain of hashes is proved before anything stands on it; a bar counts once, and a point that is older than the one
before it (a killed run walks some of its market again) not at all; quotes stream, all else is small.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import attrs
import msgspec
import numpy as np

from hedgegrid.backtest.result import EQUITY, FILL, GRID, Rows
from hedgegrid.core.standing import REASON_NAMES
from hedgegrid.errors import Fatal
from hedgegrid.journal.reader import Boot, open_reader, read_account, read_boots, walk_chain
from hedgegrid.journal.tape import decode
from hedgegrid.messages.events import BarClosed, ExecutionBatch, FundingRate, GridMoved, MarkPrice, Message, Quote
from hedgegrid.model.instrument import Instrument
from hedgegrid.model.market import Bar
from hedgegrid.venues.simulated.arrays import BarArrays, FundingArrays

QUOTE_CELLS: Final = 6
"""What ``quote_points`` gives of each point."""
_QUOTE: Final = msgspec.json.Decoder(Quote)
_MARK: Final = msgspec.json.Decoder(MarkPrice)
_OPERATOR: Final = ("Pause", "Resume", "Throttle", "CancelEntries", "Flatten")
_FILLS: Final = (
    "SELECT ts_ns, instrument, leg, purpose, level, generation, price_ticks, qty_lots, fee_e8, maker, realised_e8, "
    "0, trade_id FROM fills ORDER BY ts_ns, n"
)
_EQUITY: Final = "SELECT ts_ns, wallet_e8, unrealised_e8, realised_e8, fees_e8, funding_e8 FROM equity ORDER BY row"


@attrs.frozen(kw_only=True, eq=False)
class RecordedRun:
    """What a journal says of one account. Tables have the dtypes of ``backtest.result``.

    ``known_rates`` are the newest settlements (ts_ns, rate x 1e8) before the first bar; ``pauses`` (ts_ns, change,
    reason, scope) in order; ``walked_bars``: the run's market was bars of four points; ``last_points`` are (instrument
    index, ts_ns, mark in ticks) after the last closed bar; ``quotes`` counts those that are kept, the first of
    ``first_quote_ns``, none newer than row ``last_quote``.
    """

    path: Path
    boots: tuple[Boot, ...]
    wallet_e8: int
    instruments: tuple[Instrument, ...]
    length_ns: int
    bars: tuple[BarArrays, ...]
    funding: tuple[FundingArrays, ...]
    known_rates: tuple[tuple[int, int] | None, ...]
    fills: Rows
    equity: Rows
    grids: Rows
    pauses: tuple[tuple[int, str, str, str], ...]
    paid_e8: int
    walked_bars: bool
    last_points: tuple[tuple[int, int, int], ...]
    quotes: int
    first_quote_ns: int
    last_quote: int
    last_ns: int
    chain: str
    notes: tuple[str, ...]

    @property
    def start_ns(self) -> int:
        """The time of the first bar."""
        return min(int(one.open_ns[0]) for one in self.bars)


def read_run(path: Path, instruments: Sequence[Instrument], length_ns: int) -> RecordedRun:
    """Read a journal, which may be in use. Fatal, in one line, where it cannot be read or is not of these settings."""
    with open_reader(path) as connection:
        rows, chain = walk_chain(connection)
        boots = read_boots(connection)
        if rows == 0 or not boots:
            raise Fatal(f"{path} is empty: no run has written anything into it yet")
        _check_instruments(connection, path, instruments)
        names = {one.name: index for index, one in enumerate(instruments)}
        bars, walked_bars = _read_bars(connection, path, names, length_ns)
        start_ns = min(int(one.open_ns[0]) for one in bars)
        end_ns = max(int(one.open_ns[-1]) for one in bars) + length_ns
        opening = read_account(connection)[2]
        quotes = "SELECT count(*), coalesce(min(ts_ns), 0), coalesce(max(n), 0) FROM quotes"
        count, first_quote_ns, last_quote = connection.execute(quotes).fetchone()
        return RecordedRun(
            path=path,
            boots=boots,
            wallet_e8=opening.given_e8 or opening.wallet_e8 or 0,
            instruments=tuple(instruments),
            length_ns=length_ns,
            bars=bars,
            funding=_read_funding(connection, names),
            known_rates=_known_rates(connection, names, start_ns),
            fills=_coded(connection.execute(_FILLS), names, FILL),
            equity=np.array(connection.execute(_EQUITY).fetchall(), EQUITY),
            grids=_read_grids(connection, names),
            pauses=tuple(connection.execute("SELECT ts_ns, change, reason, scope FROM permission ORDER BY row")),
            paid_e8=connection.execute("SELECT coalesce(sum(long_e8 + short_e8), 0) FROM funding").fetchone()[0],
            walked_bars=walked_bars,
            last_points=_last_points(connection, names, end_ns) if walked_bars else (),
            quotes=count,
            first_quote_ns=first_quote_ns,
            last_quote=last_quote,
            last_ns=connection.execute("SELECT ts_ns FROM tape ORDER BY row DESC LIMIT 1").fetchone()[0],
            chain=chain.hex(),
            notes=tuple(_notes(connection, boots)),
        )


def _check_instruments(connection: sqlite3.Connection, path: Path, instruments: Sequence[Instrument]) -> None:
    """Refuse a journal of other instruments, or one that counts them in other ticks and lots."""
    newest = "SELECT instrument, tick, lot FROM instruments ORDER BY epoch"
    kept = {name: (tick, lot) for name, tick, lot in connection.execute(newest)}
    traded = sorted(kept.keys() - {one.name for one in instruments})
    if traded:
        raise Fatal(
            f"{path} is of a run that traded {', '.join(traded)}, which the config does not: give its own config"
        )
    for one in instruments:
        if one.name not in kept:
            raise Fatal(f"{path} knows nothing of {one.name}: give the config of the run that wrote it")
        was = kept[one.name]
        if was != (f"{one.tick:f}", f"{one.lot:f}") and was != (str(one.tick), str(one.lot)):
            raise Fatal(
                f"{path} counts {one.name} in ticks of {was[0]} and lots of {was[1]}, the config in {one.tick} and "
                f"{one.lot}: prices cannot be compared"
            )


def _messages(connection: sqlite3.Connection, kind: str, after_ns: int = 0) -> Iterator[Message]:
    """Give the messages of a kind that came at or after a time."""
    rows = connection.execute(
        "SELECT kind, payload FROM tape WHERE kind = ? AND ts_ns >= ? ORDER BY row", (kind, after_ns)
    )
    return (decode(name, payload) for name, payload in rows)


def _read_bars(
    connection: sqlite3.Connection, path: Path, names: Mapping[str, int], length_ns: int
) -> tuple[tuple[BarArrays, ...], bool]:
    """Give the closed bars by instrument, each once, and whether they were told before their end, as a tape of bars."""
    found: list[dict[int, Bar]] = [{} for _ in names]
    walked_bars = False
    for message in _messages(connection, "BarClosed"):
        assert isinstance(message, BarClosed)
        bar = message.bar
        if bar.length_ns != length_ns:
            raise Fatal(f"{path} holds bars of {bar.length_ns} ns, the config decides on bars of {length_ns} ns")
        found[names[message.instrument]].setdefault(bar.open_ns, bar)
        walked_bars |= message.ts_venue_ns < bar.open_ns + length_ns
    for name, index in names.items():
        if not found[index]:
            raise Fatal(f"{path} holds no closed bar of {name}: there is no market to walk")
    return tuple(bar_arrays([one[open_ns] for open_ns in sorted(one)]) for one in found), walked_bars


def bar_arrays(bars: Sequence[Bar]) -> BarArrays:
    """Give bars as columns."""
    rows = [
        (bar.open_ns, bar.open_ticks, bar.high_ticks, bar.low_ticks, bar.close_ticks, bar.volume_lots) for bar in bars
    ]
    table = np.array(rows, np.int64).reshape(-1, 6).T.copy()
    return BarArrays(
        open_ns=table[0],
        open_ticks=table[1],
        high_ticks=table[2],
        low_ticks=table[3],
        close_ticks=table[4],
        volume_lots=table[5],
    )


def _read_funding(connection: sqlite3.Connection, names: Mapping[str, int]) -> tuple[FundingArrays, ...]:
    """Give the settlements that were charged, by instrument."""
    statement = "SELECT ts_ns, rate_e8 FROM funding WHERE instrument = ? ORDER BY ts_ns"
    found = []
    for name in names:
        rows = np.array(connection.execute(statement, (name,)).fetchall(), np.int64).reshape(-1, 2)
        found.append(FundingArrays(ts_ns=rows[:, 0].copy(), rate_e8=rows[:, 1].copy()))
    return tuple(found)


def _known_rates(
    connection: sqlite3.Connection, names: Mapping[str, int], start_ns: int
) -> tuple[tuple[int, int] | None, ...]:
    """Give what was known of funding at the first bar: the first rate told, where its settlement is no later."""
    known: list[tuple[int, int] | None] = [None] * len(names)
    seen: set[str] = set()
    for message in _messages(connection, "FundingRate"):
        assert isinstance(message, FundingRate)
        if message.instrument not in seen:
            seen.add(message.instrument)
            settled_ns = message.next_funding_ns - message.funding_interval_ns
            if settled_ns <= start_ns:
                known[names[message.instrument]] = (settled_ns, message.rate_e8)
        if len(seen) == len(names):
            break
    return tuple(known)


def _read_grids(connection: sqlite3.Connection, names: Mapping[str, int]) -> Rows:
    """Give every move of a grid."""
    rows = []
    for message in _messages(connection, "GridMoved"):
        assert isinstance(message, GridMoved)
        place = (message.ts_recv_ns, names[message.instrument], message.regime)
        rows.append((*place, message.center_ticks, message.step_micro, message.generation))
    return np.array(rows, GRID)


def _last_points(
    connection: sqlite3.Connection, names: Mapping[str, int], end_ns: int
) -> tuple[tuple[int, int, int], ...]:
    """Give the marks at which orders changed after the last closed bar; on bars a mark is the point's price."""
    return tuple(
        (names[message.instrument], message.ts_venue_ns, message.mark_ticks)
        for message in _messages(connection, "ExecutionBatch", end_ns)
        if isinstance(message, ExecutionBatch) and message.ts_venue_ns >= end_ns
    )


def _coded(rows: Iterable[tuple[int, ...]], names: Mapping[str, int], layout: np.dtype[np.void]) -> Rows:
    """Give rows whose second cell is an instrument's name with its index instead."""
    return np.array([(row[0], names[str(row[1])], *row[2:]) for row in rows], layout)


def _notes(connection: sqlite3.Connection, boots: Sequence[Boot]) -> Iterator[str]:
    """Say what happened to the run that no backtest knows of."""
    if len(boots) > 1:
        torn = sum(not boot.clean_end for boot in boots[:-1])
        killed = f", {torn} of them after a kill or a failure" if torn else ""
        yield (f"the bot was started {len(boots)} times{killed}: the backtest keeps its entries where the bot had none")
    marks = ", ".join("?" for _ in _OPERATOR)
    statement = f"SELECT kind, count(*) FROM tape WHERE kind IN ({marks}) GROUP BY 1 ORDER BY 1"  # noqa: S608 - marks
    acted = connection.execute(statement, _OPERATOR).fetchall()
    if acted:
        yield f"the operator acted ({', '.join(f'{kind} {count}x' for kind, count in acted)}): the backtest does not"
    raised = connection.execute("SELECT DISTINCT reason FROM permission WHERE change = 'raised' ORDER BY 1").fetchall()
    strange = [reason for (reason,) in raised if reason not in REASON_NAMES]
    if strange:
        yield f"the run paused for what no backtest meets: {', '.join(strange)}"


# --- quotes ---------------------------------------------------------------------------------------------------------


def quote_points(run: RecordedRun) -> Iterator[tuple[int, ...]]:
    """Stream (ts_ns, instrument, price, bid, ask, mark) as recorded; a mark that comes alone is a point too."""
    names = {one.name: index for index, one in enumerate(run.instruments)}
    books: dict[int, tuple[int, int, int]] = {}
    marks: dict[int, int] = {}
    waiting: tuple[int, ...] = ()
    newest_ns = 0
    with open_reader(run.path) as connection:
        statement = "SELECT kind, payload FROM quotes WHERE n <= ? ORDER BY n"
        for kind, payload in connection.execute(statement, (run.last_quote,)):
            seen = _read_price(run.path, kind, payload)
            index, ts_ns = names[seen.instrument], seen.ts_venue_ns
            if ts_ns < newest_ns:
                continue
            newest_ns = ts_ns
            if isinstance(seen, Quote):
                before = books.get(index, ((seen.bid_ticks + seen.ask_ticks) // 2,))[0]
                price = min(max(before, seen.bid_ticks), seen.ask_ticks)
                books[index] = (price, seen.bid_ticks, seen.ask_ticks)
            else:
                marks[index] = seen.mark_ticks
                if waiting[:2] == (ts_ns, index):
                    yield (*waiting[:5], seen.mark_ticks)
                    waiting = ()
                    continue
            if waiting:
                yield waiting
            waiting = (ts_ns, index, *books[index], marks.get(index, books[index][0])) if index in books else ()
    if waiting:
        yield waiting


def _read_price(path: Path, kind: str, payload: bytes) -> Quote | MarkPrice:
    try:
        return _QUOTE.decode(payload) if kind == "Quote" else _MARK.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Fatal(f"journal {path} holds a {kind} that cannot be read: {error}") from error
