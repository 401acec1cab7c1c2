"""Rules from what the exchange published: exchangeInfo, leverage brackets, the package's own snapshot.

Invariants: figures stay the decimal text that was published; what a source does not tell is left out and noted, never
filled in. ``read_json`` takes plain JSON, gzip, and a recorder's text of the form ``URL -> time: {...}``.
"""

import json
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from hedgegrid.backtest.store.rules import DatedRules, Told, Value, day_of, unknown
from hedgegrid.backtest.store.series import is_perpetual
from hedgegrid.errors import Fatal
from hedgegrid.units import NS_PER_MS
from hedgegrid.venues.simulated.recorded_files import opened, reading, refusal

_RECORDED = re.compile(rb"\s*https?://\S+ -> [\d.]+: (?=[\[{])")
_FILTERS: Final = (
    ("PRICE_FILTER", "tickSize", "tick"),
    ("LOT_SIZE", "stepSize", "lot"),
    ("LOT_SIZE", "minQty", "min_qty"),
    ("LOT_SIZE", "maxQty", "max_qty"),
    ("MIN_NOTIONAL", "notional", "min_notional"),
)
_SNAPSHOT: Final = ("tick", "lot", "min_qty", "max_qty", "min_notional", "funding_interval_hours")
_NOT_IN_INFO: Final = (
    unknown("tiers", "exchangeInfo does not tell margin tiers; import leverage brackets"),
    unknown("funding_interval_hours", "exchangeInfo does not tell it; fundingInfo lists only what is not 8 h"),
    unknown("maker_fee", "exchangeInfo does not tell fees"),
    unknown("taker_fee", "exchangeInfo does not tell fees"),
)


def read_json(path: Path) -> Any:  # noqa: ANN401 - JSON may be anything
    """Read a JSON answer of the exchange; numbers become Decimals. Fatal where it is none."""
    with reading(path), opened(path) as file:
        content = file.read()
    recorded = _RECORDED.match(content)
    if recorded is not None:
        content = content[recorded.end() :].partition(b"\n")[0]
    try:
        return json.loads(content, parse_float=Decimal)
    except ValueError as error:
        raise refusal(path, f"it is not JSON ({error})", "give the exchange's answer as JSON, or gzip of it") from error


def rules_of_exchange_info(answer: object, source: str, wanted: Sequence[str] | None = None) -> list[DatedRules]:
    """Give the rules of all perpetuals of an exchangeInfo (or of those wanted), dated by the exchange's own time.

    Fatal where it is no exchangeInfo, or a wanted instrument is not in it.
    """
    try:
        assert isinstance(answer, Mapping), "symbols"
        day = day_of(int(answer["serverTime"]) * NS_PER_MS)
        symbols = [one for one in answer["symbols"] if one["contractType"] == "PERPETUAL"]
        found = {_name(one): one for one in symbols}
    except (AssertionError, KeyError, TypeError, ValueError) as error:
        raise Fatal(f"{source}: it is no exchangeInfo of USD-M futures (it lacks {error})") from error
    for name in wanted or ():
        if name not in found:
            raise Fatal(f"{source}: it does not list {name}")
    return [_of_symbol(name, found[name], day, source) for name in wanted or sorted(found)]


def _name(symbol: Mapping[str, Any]) -> str:
    return f"{symbol['baseAsset']}/{symbol['quoteAsset']}:{symbol['marginAsset']}"


def _of_symbol(name: str, symbol: Mapping[str, Any], day: str, source: str) -> DatedRules:
    filters = {one.get("filterType"): one for one in symbol.get("filters", ())}
    fields: dict[str, Told] = {}
    for kind, key, field in _FILTERS:
        value = filters.get(kind, {}).get(key)
        if value is not None:
            fields[field] = Told(value=_text(value, f"{source}: {name}: {key}"), source=source)
    notes = list(_NOT_IN_INFO)
    if "liquidationFee" in symbol:
        fee = _text(symbol["liquidationFee"], f"{source}: {name}: liquidationFee")
        fields["liquidation_fee"] = Told(value=fee, source=source)
    else:
        notes.append(unknown("liquidation_fee", "this exchangeInfo does not tell it"))
    return DatedRules(instrument=name, date=day, fields=fields, notes=tuple(notes))


def rules_of_brackets(answer: object, source: str, day: str, wanted: Sequence[str] | None = None) -> list[DatedRules]:
    """Give margin tiers from leverage brackets: ccxt's (by instrument) or the exchange's own (a list of symbols).

    Brackets carry no date, so the caller gives it. Fatal where they are none, or lack a wanted instrument.
    """
    try:
        if isinstance(answer, Mapping):
            found = {name: [_ccxt_tier(row, source) for row in rows] for name, rows in answer.items()}
        else:
            assert isinstance(answer, list), "symbols"
            found = {
                _by_symbol(str(one["symbol"]), wanted): [_venue_tier(row, source) for row in one["brackets"]]
                for one in answer
            }
    except (AssertionError, KeyError, TypeError, AttributeError) as error:
        raise Fatal(f"{source}: these are no leverage brackets (they lack {error})") from error
    for name in wanted or ():
        if name not in found:
            raise Fatal(f"{source}: it has no brackets of {name}")
    names = wanted or sorted(filter(is_perpetual, found))
    return [
        DatedRules(
            instrument=name,
            date=day,
            fields={"tiers": Told(value=sorted(found[name], key=lambda row: Decimal(row[0])), source=source)},
        )
        for name in names
    ]


def _by_symbol(symbol: str, wanted: Sequence[str] | None) -> str:
    """Give the instrument of the venue's spelling: a wanted one, else one of USDT or USDC."""
    for name in wanted or ():
        if name.partition(":")[0].replace("/", "") == symbol:
            return name
    for quote in ("USDT", "USDC", "BUSD"):
        if symbol.endswith(quote):
            return f"{symbol.removesuffix(quote)}/{quote}:{quote}"
    return symbol


def _ccxt_tier(row: Mapping[str, Any], source: str) -> list[str]:
    info = row.get("info") or {}
    most = info.get("notionalCap", row["maxNotional"])
    ratio = info.get("maintMarginRatio", row["maintenanceMarginRate"])
    return [_text(most, source), _text(ratio, source)]


def _venue_tier(row: Mapping[str, Any], source: str) -> list[str]:
    return [_text(row["notionalCap"], source), _text(row["maintMarginRatio"], source)]


def rules_of_snapshot(rules: Mapping[str, Mapping[str, object]], taken: str, source: str) -> list[DatedRules]:
    """Give the rules of a snapshot such as the package carries; ``taken`` is its day."""
    found: list[DatedRules] = []
    for name, given in rules.items():
        fields: dict[str, Value] = {field: _text(given[field], source) for field in _SNAPSHOT if field in given}
        if "liquidation_fee_bps" in given:
            bps = Decimal(_text(given["liquidation_fee_bps"], source))
            fields["liquidation_fee"] = f"{(bps / 10_000).normalize():f}"
        rows = given.get("tiers")
        if isinstance(rows, Sequence):
            fields["tiers"] = [
                [_text(row["max_notional_quote"], source), _text(row["maintenance_margin_ratio"], source)]
                for row in rows
            ]
        told = {field: Told(value=value, source=source) for field, value in fields.items()}
        notes = tuple(unknown(field, "the snapshot does not tell fees") for field in ("maker_fee", "taker_fee"))
        found.append(DatedRules(instrument=name, date=taken, fields=told, notes=notes))
    return found


def _text(value: object, where: str) -> str:
    """Give a figure as plain decimal text. Fatal where it is none."""
    try:
        figure = Decimal(str(value))
    except ArithmeticError as error:
        raise Fatal(f"{where}: {value!r} is not a number") from error
    if not figure.is_finite() or figure < 0:
        raise Fatal(f"{where}: {value!r} is not a number of at least zero")
    return f"{figure:f}"
