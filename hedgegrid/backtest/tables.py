"""A result's tables as Arrow tables: the columns of the files, with words for codes.

Invariants: whole numbers stay whole (ticks, lots, quote x 1e8, ns); words are dictionaries, so that a million rows cost
a million small integers; ``fills`` has the columns that the design names, in its order.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hedgegrid.backtest import names
from hedgegrid.backtest.measure import Measures
from hedgegrid.backtest.result import BacktestResult, Rows
from hedgegrid.backtest.round_trips import net_e8, reason_names
from hedgegrid.core.codes import ENTRY, LONG
from hedgegrid.core.standing import ACCOUNT
from hedgegrid.venues.simulated.arrays import IntArray

Columns = Mapping[str, Any]


def _words(codes: IntArray, words: Sequence[str]) -> Any:  # noqa: ANN401 pyarrow ships no types
    """Give a column of words by code."""
    return pa.DictionaryArray.from_arrays(_array(codes.astype(np.int32)), _texts(words))


def _array(column: NDArray[Any], known: NDArray[np.bool_] | None = None) -> Any:  # noqa: ANN401 as above
    """Give a column of numbers, null where it is not known; pyarrow's own way imports pandas where it is installed."""
    kinds = {"i4": pa.int32(), "i8": pa.int64(), "f8": pa.float64()}
    bits = None if known is None else pa.py_buffer(np.packbits(known, bitorder="little"))
    values = pa.py_buffer(np.ascontiguousarray(column))
    return pa.Array.from_buffers(kinds[column.dtype.str[1:]], len(column), [bits, values])


def _texts(words: Sequence[str]) -> Any:  # noqa: ANN401 as above
    """Give a column of texts, for the same reason from its buffers."""
    encoded = [word.encode() for word in words]
    ends = np.cumsum([0, *map(len, encoded)], dtype=np.int32)
    return pa.StringArray.from_buffers(len(words), pa.py_buffer(ends), pa.py_buffer(b"".join(encoded)))


def _plain(rows: Rows, *columns: str) -> dict[str, Any]:
    return {name: np.ascontiguousarray(rows[name], np.int64) for name in columns}


def _instruments(result: BacktestResult, codes: IntArray) -> Any:  # noqa: ANN401 as above
    return _words(codes, [one.name for one in result.instruments])


def _sides(rows: Rows) -> Any:  # noqa: ANN401 as above
    """Give BUY or SELL: LONG entries and SHORT exits buy."""
    buys = (rows["leg"] == LONG) == (rows["purpose"] == ENTRY)
    return _words(np.where(buys, 0, 1), names.SIDES)


def fills(result: BacktestResult, _measures: Measures, part: slice) -> Columns:
    """Fills, oldest first."""
    rows = result.fills[part]
    return {
        "ts_ns": np.ascontiguousarray(rows["ts_ns"]),
        "instrument": _instruments(result, rows["instrument"]),
        "leg": _words(rows["leg"], names.LEGS),
        "side": _sides(rows),
        "purpose": _words(rows["purpose"], names.PURPOSES),
        **_plain(rows, "level", "generation", "price_ticks", "qty_lots", "fee_e8", "maker", "realised_e8"),
    }


def orders(result: BacktestResult, _measures: Measures, part: slice) -> Columns:
    """Orders that were decided, with how they ended; ``control`` is empty unless the gate refused."""
    rows = result.orders[part]
    return {
        "no": np.ascontiguousarray(rows["no"]),
        "placed_ns": np.ascontiguousarray(rows["placed_ns"]),
        "ended_ns": _array(rows["ended_ns"], known=rows["ended_ns"] != 0),
        "instrument": _instruments(result, rows["instrument"]),
        "leg": _words(rows["leg"], names.LEGS),
        "side": _sides(rows),
        "purpose": _words(rows["purpose"], names.PURPOSES),
        "kind": _words(rows["kind"], names.KINDS),
        **_plain(rows, "level", "generation", "price_ticks", "qty_lots", "filled_lots"),
        "outcome": _words(rows["outcome"], names.OUTCOMES),
        "control": _words(rows["control"], names.CONTROLS),
    }


def round_trips(result: BacktestResult, measures: Measures, part: slice) -> Columns:
    """Round trips in the order in which they ended; ``net_e8`` is realised - fees, MAE and MFE never negative."""
    rows, moves = measures.trips[part], measures.excursions
    codes, places = np.unique(rows["reasons"], return_inverse=True)
    return {
        **_plain(rows, "opened_ns", "closed_ns"),
        "duration_ns": rows["closed_ns"] - rows["opened_ns"],
        "instrument": _instruments(result, rows["instrument"]),
        "leg": _words(rows["leg"], names.LEGS),
        **_plain(rows, "lot_id", "level", "generation", "entry_ticks", "exit_count", "qty_lots"),
        "purpose": _words(places, ["+".join(reason_names(code)) for code in codes.tolist()]),
        **_plain(rows, "entry_e8", "exit_e8", "realised_e8", "fees_e8"),
        "net_e8": net_e8(rows),
        "mae_bps": moves.adverse_bps[part],
        "mae_e8": moves.adverse_e8[part],
        "mfe_bps": moves.favourable_bps[part],
        "mfe_e8": moves.favourable_e8[part],
    }


def funding(result: BacktestResult, _measures: Measures, part: slice) -> Columns:
    """Settlements: what each cost the legs (negative: received)."""
    rows = result.funding[part]
    return {
        "ts_ns": np.ascontiguousarray(rows["ts_ns"]),
        "instrument": _instruments(result, rows["instrument"]),
        **_plain(rows, "rate_e8", "mark_ticks", "long_e8", "short_e8"),
    }


def pauses(result: BacktestResult, _measures: Measures, part: slice) -> Columns:
    """Pauses that came and went; the scope is an instrument's name or ``account``."""
    rows = result.pauses[part]
    scopes = [one.name for one in result.instruments] + [names.ACCOUNT]
    return {
        "ts_ns": np.ascontiguousarray(rows["ts_ns"]),
        "reason": _words(rows["reason"], names.REASONS),
        "scope": _words(np.where(rows["instrument"] == ACCOUNT, len(scopes) - 1, rows["instrument"]), scopes),
        "change": _words(rows["change"], names.PAUSE_CHANGES),
        **_plain(rows, "value", "limit"),
    }


def equity(result: BacktestResult, _measures: Measures, part: slice) -> Columns:
    """The account at every decision, then what each instrument held: ``NAME.mark_ticks`` and so on."""
    rows = result.equity[part]
    columns = _plain(rows, "ts_ns", "wallet_e8", "unrealised_e8", "realised_e8", "fees_e8", "funding_e8")
    columns["equity_e8"] = rows["wallet_e8"] + rows["unrealised_e8"]
    for index, instrument in enumerate(result.instruments):
        for name in result.holdings.dtype.names or ():
            columns[f"{instrument.name}.{name}"] = np.ascontiguousarray(result.holdings[name][part, index])
    return columns


TABLES: Final[Mapping[str, Callable[[BacktestResult, Measures, slice], Columns]]] = {
    "fills": fills,
    "orders": orders,
    "round_trips": round_trips,
    "funding": funding,
    "pauses": pauses,
    "equity": equity,
}
"""Every table by the name of its file; each gives some of its rows."""
CSV_TABLES: Final = ("fills", "orders", "round_trips", "funding", "pauses")
"""Those that are written as CSV too; equity has a row a decision and is Parquet alone."""
ROWS_AT_ONCE: Final = 131_072
"""A row group: smaller ones repeat their dictionaries and make larger files."""


def arrow_tables(name: str, result: BacktestResult, measures: Measures) -> Iterator[Any]:
    """Give a table piece by piece, since whole it would take as much memory as the result; at least one piece."""
    for begin in itertools.count(0, ROWS_AT_ONCE):
        columns = TABLES[name](result, measures, slice(begin, begin + ROWS_AT_ONCE))
        piece = pa.table({one: _array(it) if isinstance(it, np.ndarray) else it for one, it in columns.items()})
        if begin == 0 or piece.num_rows:
            yield piece
        if piece.num_rows < ROWS_AT_ONCE:
            return
