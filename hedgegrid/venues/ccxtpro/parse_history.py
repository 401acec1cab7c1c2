"""The exchange's recorded market, from its REST answers to columns: pure, no connection, no clock.

Invariants: an answer is read whole or refused with ``BadAnswerError``; figures stay exact (1e-8 from the text that was
sent); times are the exchange's own, in ns; rows ascend in time, aggregates in their numbers.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs
import numpy as np
import pyarrow as pa

from hedgegrid.units import NS_PER_MINUTE, NS_PER_MS
from hedgegrid.venues.exact import BadFigureError, e8_from_text
from hedgegrid.venues.simulated.arrays import IntArray

Columns = dict[str, IntArray]
_CANDLE_FIELDS: Final = ("open_e8", "high_e8", "low_e8", "close_e8", "volume_e8")


class BadAnswerError(ValueError):
    """The exchange's answer is not what was asked for: cut short, of another shape, or with a figure that is none."""


@attrs.frozen(kw_only=True)
class ListedRules:
    """What the exchange told of one instrument, as decimal text by the names of the store's rules.

    ``taken_ms`` is the exchange's time; ``told`` maps a field to its value and to who told it; ``absent`` says why a
    field is not there; ``tiers`` are (largest notional, maintenance ratio), ascending.
    """

    taken_ms: int
    told: Mapping[str, tuple[str, str]]
    absent: Mapping[str, str]
    tiers: tuple[tuple[str, str], ...] = ()


def klines(answer: object, length_ns: int, *, closed_by_ms: int, has_volume: bool) -> Columns:
    """Give the bars of a klines answer that had closed by a time of the exchange's. BadAnswerError otherwise."""
    rows = [row for row in _rows(answer) if _whole(row, 0) + length_ns // NS_PER_MS <= closed_by_ms]
    times = np.array([_whole(row, 0) for row in rows], np.int64) * NS_PER_MS
    _ascending(times, strictly=True)
    fields = _CANDLE_FIELDS if has_volume else _CANDLE_FIELDS[:-1]
    return {"ts_ns": times, **{name: _figures(rows, place) for place, name in enumerate(fields, 1)}}


def agg_trades(answer: object) -> Columns:
    """Give the aggregates of an aggTrades answer. BadAnswerError otherwise."""
    rows = _rows(answer)
    numbers = np.array([_whole(row, "a") for row in rows], np.int64)
    _ascending(numbers, strictly=True)
    times = np.array([_whole(row, "T") for row in rows], np.int64) * NS_PER_MS
    return {
        "ts_ns": np.maximum.accumulate(times) if len(times) else times,
        "trade_id": numbers,
        "price_e8": _figures(rows, "p"),
        "qty_e8": _figures(rows, "q"),
        "buyer_maker": np.array([_flag(row, "m") for row in rows], np.int64),
    }


def funding_rates(answer: object) -> Columns:
    """Give the settlements of a fundingRate answer, at their minute. BadAnswerError otherwise."""
    rows = _rows(answer)
    times = np.array([_whole(row, "fundingTime") for row in rows], np.int64) * NS_PER_MS
    stamps = times // NS_PER_MINUTE * NS_PER_MINUTE
    _ascending(stamps, strictly=True)
    return {"ts_ns": stamps, "rate_e8": _figures(rows, "fundingRate")}


def server_ms(answer: object) -> int:
    """Give the exchange's time. BadAnswerError where the answer has none."""
    return _whole(_table(answer), "serverTime")


def listed_rules(answer: object, symbol: str, source: str) -> ListedRules:
    """Give what an exchangeInfo tells of a symbol. BadAnswerError where it is none or lacks the symbol."""
    table = _table(answer)
    listed = [one for one in _rows(table.get("symbols")) if isinstance(one, Mapping) and one.get("symbol") == symbol]
    if not listed:
        raise BadAnswerError(f"the exchange does not list {symbol}")
    filters = {one.get("filterType"): one for one in _rows(listed[0].get("filters"))}
    places = {
        "tick": ("PRICE_FILTER", "tickSize"),
        "lot": ("LOT_SIZE", "stepSize"),
        "min_qty": ("LOT_SIZE", "minQty"),
        "max_qty": ("LOT_SIZE", "maxQty"),
        "min_notional": ("MIN_NOTIONAL", "notional"),
    }
    found = {field: filters.get(kind, {}).get(key) for field, (kind, key) in places.items()}
    found["liquidation_fee"] = listed[0].get("liquidationFee")
    return ListedRules(
        taken_ms=server_ms(table),
        told={field: (str(value), source) for field, value in found.items() if value is not None},
        absent={field: "exchangeInfo does not tell it" for field, value in found.items() if value is None},
    )


def funding_interval_hours(answer: object, symbol: str) -> str:
    """Give the hours between settlements from a fundingInfo, which lists adjusted symbols only: absent means 8."""
    listed = [one for one in _rows(answer) if isinstance(one, Mapping) and one.get("symbol") == symbol]
    return str(_whole(listed[0], "fundingIntervalHours")) if listed else "8"


def margin_tiers(answer: object, symbol: str) -> tuple[tuple[str, str], ...]:
    """Give the tiers of a leverageBracket answer. BadAnswerError where it lacks the symbol."""
    listed = [one for one in _rows(answer) if isinstance(one, Mapping) and one.get("symbol") == symbol]
    if not listed:
        raise BadAnswerError(f"the exchange tells no leverage brackets of {symbol}")
    rows = sorted(_rows(listed[0].get("brackets")), key=lambda row: _whole(row, "notionalCap"))
    return tuple((str(row["notionalCap"]), str(row["maintMarginRatio"])) for row in rows)


def commission_rates(answer: object) -> dict[str, str]:
    """Give the account's fees, maker and taker, as ratios. BadAnswerError where the answer lacks them."""
    table = _table(answer)
    try:
        return {side: str(table[f"{side}CommissionRate"]) for side in ("maker", "taker")}
    except KeyError as error:
        raise BadAnswerError(f"the answer lacks {error}") from error


def _rows(answer: object) -> Sequence[Any]:
    if not isinstance(answer, list):
        raise BadAnswerError(f"the answer is no list but {str(answer)[:60]!r}")
    return answer


def _table(answer: object) -> Mapping[str, Any]:
    if not isinstance(answer, Mapping):
        raise BadAnswerError(f"the answer is no object but {str(answer)[:60]!r}")
    return answer


def _whole(row: Any, key: int | str) -> int:  # noqa: ANN401 - a row is a list or an object
    try:
        return int(row[key])
    except (LookupError, TypeError, ValueError) as error:
        raise BadAnswerError(f"a row lacks {key!r}: {str(row)[:60]!r}") from error


def _flag(row: Any, key: str) -> int:  # noqa: ANN401 - as above
    try:
        value = row[key]
    except (LookupError, TypeError) as error:
        raise BadAnswerError(f"a row lacks {key!r}: {str(row)[:60]!r}") from error
    return int(value if isinstance(value, bool) else str(value).lower() == "true")


def _figures(rows: Sequence[Any], key: int | str) -> IntArray:
    try:
        return e8_from_text(pa.array([str(row[key]) for row in rows], pa.string()))
    except (LookupError, TypeError, BadFigureError) as error:
        raise BadAnswerError(f"a row's {key!r} cannot be counted ({error})") from error


def _ascending(column: IntArray, *, strictly: bool) -> None:
    steps = np.diff(column)
    if (steps <= 0 if strictly else steps < 0).any():
        raise BadAnswerError("the rows are not in order")
