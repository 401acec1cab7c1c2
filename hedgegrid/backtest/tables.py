"""A result's tables as Arrow tables: the columns of the files, with words for codes.

Invariants: whole numbers stay whole (ticks, lots, quote x 1e8, ns); words are dictionaries, so that a million rows cost
a million small integers; ``fills`` has the columns that the design names, in its order.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa

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
    return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int32)), pa.array(words, pa.string()))


def _plain(rows: Rows, *columns: str) -> dict[str, Any]:
    return {name: np.ascontiguousarray(rows[name]) for name in columns}


def _instruments(result: BacktestResult, codes: IntArray) -> Any:  # noqa: ANN401 as above
    return _words(codes, [one.name for one in result.instruments])


def _sides(rows: Rows) -> Any:  # noqa: ANN401 as above
    """Give BUY or SELL: LONG entries and SHORT exits buy."""
    buys = (rows["leg"] == LONG) == (rows["purpose"] == ENTRY)
    return _words(np.where(buys, 0, 1), names.SIDES)


def fills(result: BacktestResult, _measures: Measures) -> Columns:
    """Fills, oldest first."""
    rows = result.fills
    return {
        "ts_ns": np.ascontiguousarray(rows["ts_ns"]),
        "instrument": _instruments(result, rows["instrument"]),
        "leg": _words(rows["leg"], names.LEGS),
        "side": _sides(rows),
        "purpose": _words(rows["purpose"], names.PURPOSES),
        **_plain(rows, "level", "generation", "price_ticks", "qty_lots", "fee_e8", "maker", "realised_e8"),
    }


def orders(result: BacktestResult, _measures: Measures) -> Columns:
    """Orders that were decided, with how they ended; ``control`` is empty unless the gate refused."""
    rows = result.orders
    return {
        "no": np.ascontiguousarray(rows["no"]),
        "placed_ns": np.ascontiguousarray(rows["placed_ns"]),
        "ended_ns": pa.array(np.ascontiguousarray(rows["ended_ns"]), mask=rows["ended_ns"] == 0),
        "instrument": _instruments(result, rows["instrument"]),
        "leg": _words(rows["leg"], names.LEGS),
        "side": _sides(rows),
        "purpose": _words(rows["purpose"], names.PURPOSES),
        "kind": _words(rows["kind"], names.KINDS),
        **_plain(rows, "level", "generation", "price_ticks", "qty_lots", "filled_lots"),
        "outcome": _words(rows["outcome"], names.OUTCOMES),
        "control": _words(rows["control"], names.CONTROLS),
    }


def round_trips(result: BacktestResult, measures: Measures) -> Columns:
    """Round trips in the order in which they ended; ``net_e8`` is realised - fees, MAE and MFE never negative."""
    rows, moves = measures.trips, measures.excursions
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
        "mae_bps": moves.adverse_bps,
        "mae_e8": moves.adverse_e8,
        "mfe_bps": moves.favourable_bps,
        "mfe_e8": moves.favourable_e8,
    }


def funding(result: BacktestResult, _measures: Measures) -> Columns:
    """Settlements: what each cost the legs (negative: received)."""
    rows = result.funding
    return {
        "ts_ns": np.ascontiguousarray(rows["ts_ns"]),
        "instrument": _instruments(result, rows["instrument"]),
        **_plain(rows, "rate_e8", "mark_ticks", "long_e8", "short_e8"),
    }


def pauses(result: BacktestResult, _measures: Measures) -> Columns:
    """Pauses that came and went; the scope is an instrument's name or ``account``."""
    rows = result.pauses
    scopes = [one.name for one in result.instruments] + [names.ACCOUNT]
    return {
        "ts_ns": np.ascontiguousarray(rows["ts_ns"]),
        "reason": _words(rows["reason"], names.REASONS),
        "scope": _words(np.where(rows["instrument"] == ACCOUNT, len(scopes) - 1, rows["instrument"]), scopes),
        "change": _words(rows["change"], names.PAUSE_CHANGES),
        **_plain(rows, "value", "limit"),
    }


def equity(result: BacktestResult, _measures: Measures) -> Columns:
    """The account at every decision, then what each instrument held: ``NAME.mark_ticks`` and so on."""
    rows = result.equity
    columns = _plain(rows, "ts_ns", "wallet_e8", "unrealised_e8", "realised_e8", "fees_e8", "funding_e8")
    columns["equity_e8"] = rows["wallet_e8"] + rows["unrealised_e8"]
    for index, instrument in enumerate(result.instruments):
        for name in result.holdings.dtype.names or ():
            columns[f"{instrument.name}.{name}"] = np.ascontiguousarray(result.holdings[name][:, index])
    return columns


TABLES: Final[Mapping[str, Callable[[BacktestResult, Measures], Columns]]] = {
    "fills": fills,
    "orders": orders,
    "round_trips": round_trips,
    "funding": funding,
    "pauses": pauses,
    "equity": equity,
}
"""Every table by the name of its file."""
CSV_TABLES: Final = ("fills", "orders", "round_trips", "funding", "pauses")
"""Those that are written as CSV too; equity has a row a decision and is Parquet alone."""


def arrow_table(columns: Columns) -> Any:  # noqa: ANN401 as above
    """Make an Arrow table of columns."""
    return pa.table(
        {name: pa.array(column) if isinstance(column, np.ndarray) else column for name, column in columns.items()}
    )
