"""Payloads of the wire for the parsers' tests, and which parser reads which.

The files were written by hand, field by field, from the exchange's documents and its client's models; no value in them
is anybody's.
"""

from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from hedgegrid.units import NS_PER_MINUTE
from hedgegrid.venues.ccxtpro import parse_account, parse_market, parse_orders, parse_rules
from hedgegrid.venues.ccxtpro.scaling import Scale, Scales, read_json

T_MS: Final = 1_790_000_000_000
BTC: Final = Scale(symbol="BTCUSDT", instrument="BTC/USDT:USDT", tick=Decimal("0.1"), lot=Decimal("0.001"))
SCALES: Final[Scales] = {"BTCUSDT": BTC}
_FOLDER: Final = Path(__file__).parent / "payloads"

Parser = Callable[[object], object]


def payloads(name: str) -> Mapping[str, Any]:
    """Read a file of payloads: by case."""
    read: Mapping[str, Any] = read_json((_FOLDER / f"{name}.json").read_bytes())
    return read


def _rules(payload: object) -> object:
    wanted = {"BTCUSDT": "BTC/USDT:USDT", "DOGEUSDT": "DOGE/USDT:USDT"}
    return parse_rules.exchange_rules(payload, wanted, tiers={}, intervals={})


def _private(payload: object) -> object:
    update = parse_account.parse_private(payload, SCALES)
    if isinstance(update, parse_orders.OrderReport):
        return parse_orders.order_events(update, update.client_id, fee_if_unknown_e8=1)
    if isinstance(update, parse_orders.AlgoReport):
        return parse_orders.algo_events(update)
    return update


def _rows(read: Callable[[object, Scales], Any]) -> Parser:
    def parse(payload: object) -> object:
        row = read(payload, SCALES)
        return parse_orders.open_order(row), parse_orders.look(row, T_MS)

    return parse


def _lists(read: Callable[[object, Scales], Any]) -> Parser:
    return lambda payload: read(payload, SCALES)


def _settings(case: str) -> Parser:
    return {
        "position mode": parse_account.hedge_mode,
        "multi-assets": parse_account.multi_assets,
        "fee burn": parse_account.fee_burn,
        "account config": parse_account.account_config,
        "symbol config": parse_account.symbol_configs,
        "key rights": parse_account.key_rights,
        "trading status": parse_account.trading_locks,
        "countdown": parse_account.countdown,
        "listen key": parse_account.listen_key,
    }[case]


def _of_rules(case: str) -> Parser:
    return {
        "exchange info": _rules,
        "brackets": parse_rules.leverage_tiers,
        "one bracket": parse_rules.leverage_caps,
        "funding info": parse_rules.funding_intervals,
        "commission": parse_rules.commission,
    }[case]


def _of_market(case: str) -> Parser:
    return {
        "klines": lambda answer: parse_market.klines(answer, BTC, NS_PER_MINUTE, closed_by_ns=2**62),
        "premium index": lambda answer: parse_market.premium_index(answer, SCALES),
        "premium indexes": lambda answer: parse_market.premium_index(answer, SCALES),
        "time": parse_market.server_ns,
    }[case]


def _of_order_lists(case: str) -> Parser:
    if case == "batch":
        return lambda answer: parse_orders.batch_rows(answer, SCALES, 3)
    return _lists(parse_orders.order_rows)


_PARSERS: Final[Mapping[str, Callable[[str], Parser]]] = {
    "order_stream": lambda _: _private,
    "algo_stream": lambda _: _private,
    "hints": lambda _: _private,
    "account_stream": lambda _: _private,
    "market_stream": lambda _: lambda event: parse_market.parse_public(event, SCALES),
    "market_rest": _of_market,
    "order_rows": lambda _: _rows(parse_orders.order_row),
    "order_lists": _of_order_lists,
    "algo_rows": lambda _: _rows(parse_orders.algo_row),
    "algo_answers": lambda _: parse_orders.algo_placed,
    "trade_lists": lambda _: _lists(parse_orders.trade_rows),
    "position_lists": lambda _: _lists(parse_account.position_rows),
    "account": lambda _: parse_account.account,
    "income": lambda _: parse_account.income_rows,
    "settings": _settings,
    "rules": _of_rules,
}


def every_payload() -> Iterator[tuple[str, Any, Parser]]:
    """Give every payload with a name for it and the parser that reads it."""
    for path in sorted(_FOLDER.glob("*.json")):
        for case, payload in payloads(path.stem).items():
            yield f"{path.stem}: {case}", payload, _PARSERS[path.stem](case)
