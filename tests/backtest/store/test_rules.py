"""Rules by date: what the exchange published, field by field, and what nobody told."""

import gzip
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from hedgegrid.backtest.store.rules import DatedRules, RulesBook, Told
from hedgegrid.backtest.store.rules_sources import (
    read_json,
    rules_of_brackets,
    rules_of_exchange_info,
    rules_of_snapshot,
)
from hedgegrid.config.params import stored_rules
from hedgegrid.errors import Fatal
from hedgegrid.model.instrument import Tier
from hedgegrid.units import NS_PER_DAY, NS_PER_HOUR
from tests.backtest.store.samples import NAME, START_MS, START_NS

INFO: dict[str, Any] = {
    "serverTime": START_MS,
    "symbols": [
        {
            "symbol": "BTCUSDT",
            "contractType": "PERPETUAL",
            "baseAsset": "BTC",
            "quoteAsset": "USDT",
            "marginAsset": "USDT",
            "liquidationFee": "0.012500",
            "filters": [
                {"filterType": "PRICE_FILTER", "tickSize": "0.10"},
                {"filterType": "LOT_SIZE", "stepSize": "0.001", "minQty": "0.001", "maxQty": "1000"},
                {"filterType": "MIN_NOTIONAL", "notional": "100"},
            ],
        }
    ],
}
BRACKETS: list[dict[str, Any]] = [
    {
        "symbol": "BTCUSDT",
        "brackets": [
            {"notionalCap": 800000, "maintMarginRatio": 0.005},
            {"notionalCap": 300000, "maintMarginRatio": 0.004},
        ],
    }
]


def dated(date: str, **fields: str) -> DatedRules:
    """Rules of a day."""
    return DatedRules(
        instrument=NAME, date=date, fields={name: Told(value=value, source=date) for name, value in fields.items()}
    )


def saved(root: Path, *rules: DatedRules) -> RulesBook:
    """A book with these rules."""
    book = RulesBook(root)
    for one in rules:
        book.save(one)
    return book


def test_the_newest_known_by_then_is_in_force(tmp_path: Path) -> None:
    """Each field comes from the newest day at or before the time, and the answer says what is of another day."""
    book = saved(
        tmp_path,
        dated("2025-01-01", tick="0.01", lot="0.001"),
        dated("2025-02-01", tick="0.1"),
        dated("2025-03-01", tick="0.5", max_qty="7"),
    )
    rules = book.at(NAME, START_NS + NS_PER_DAY)
    assert rules.date == "2025-02-01"
    assert (rules.decimal("tick"), rules.decimal("lot"), rules.decimal("max_qty")) == (
        Decimal("0.1"),
        Decimal("0.001"),
        Decimal(7),
    )
    assert rules.notes == ("lot: of 2025-01-01", "max_qty: of 2025-03-01, after 2025-02-02: older rules are not stored")
    assert book.at(NAME, START_NS - NS_PER_DAY).decimal("tick") == Decimal("0.01")


def test_before_all_rules_the_oldest_stand_in(tmp_path: Path) -> None:
    """Where nothing is known by then, the oldest is used and the answer says so."""
    rules = saved(tmp_path, dated("2025-03-01", tick="0.5"), dated("2025-02-15", tick="0.1")).at(NAME, START_NS)
    assert rules.decimal("tick") == Decimal("0.1")
    assert rules.notes == ("tick: of 2025-02-15, after 2025-02-01: older rules are not stored",)


def test_no_rules_say_what_to_do(tmp_path: Path) -> None:
    """An instrument without rules is refused with the command that imports them."""
    with pytest.raises(Fatal, match="no rules of BTC/USDT:USDT are stored; import them with `hedgegrid data rules"):
        RulesBook(tmp_path).at(NAME, START_NS)


def test_published_rules_make_an_instrument(tmp_path: Path) -> None:
    """exchangeInfo, brackets and an operator's figure make what the core reads; each keeps its source."""
    day = "2025-02-01"
    info = rules_of_exchange_info(INFO, "info.json")
    brackets = rules_of_brackets(BRACKETS, "brackets.json", day)
    book = saved(tmp_path, *info, *brackets)
    rules = book.at(NAME, START_NS)
    assert rules.date == day
    with pytest.raises(Fatal, match="do not know funding_interval_hours; import them"):
        rules.to_instrument()
    assert not [note for note in rules.notes if note.startswith("tiers")]
    book.save(dated(day, funding_interval_hours="8"))
    instrument = book.at(NAME, START_NS).to_instrument()
    assert (instrument.tick, instrument.min_notional_e8) == (Decimal("0.10"), 100 * 10**8)
    assert instrument.tiers == (
        Tier(max_notional_e8=300_000 * 10**8, maintenance_ppm=4000),
        Tier(max_notional_e8=800_000 * 10**8, maintenance_ppm=5000),
    )
    assert (instrument.liquidation_fee_ppm, instrument.funding_interval_ns) == (12_500, 8 * NS_PER_HOUR)
    assert instrument.max_qty_lots == 1_000_000
    sources = {field: told.source for field, told in book.at(NAME, START_NS).fields.items()}
    assert (sources["tick"], sources["tiers"], sources["funding_interval_hours"]) == ("info.json", "brackets.json", day)


def test_the_packages_snapshot_makes_every_instrument(tmp_path: Path) -> None:
    """What the package carries is enough for each of its instruments."""
    snapshot = rules_of_snapshot(stored_rules(), "2025-07-10", "snapshot")
    book = saved(tmp_path, *snapshot)
    for rules in snapshot:
        instrument = book.at(rules.instrument, START_NS).to_instrument()
        assert instrument.unit_e8 >= 1
        assert instrument.tiers
    btc = book.at(NAME, START_NS).to_instrument()
    assert (btc.liquidation_fee_ppm, btc.tiers[0].maintenance_ppm) == (12_500, 4000)


def test_recorded_answers_are_read(tmp_path: Path) -> None:
    """Plain JSON, gzip and a recorder's text give the same answer."""
    text = json.dumps(INFO)
    forms = {
        "a.json": text.encode(),
        "b.json.gz": gzip.compress(text.encode()),
        "c.txt": f"https://fapi.example/fapi/v1/exchangeInfo -> 1618677447.28: {text}\n".encode(),
    }
    for name, content in forms.items():
        (tmp_path / name).write_bytes(content)
        assert read_json(tmp_path / name)["serverTime"] == START_MS
    (tmp_path / "d.json").write_text("<html>")
    with pytest.raises(Fatal, match=r"d.json: it is not JSON"):
        read_json(tmp_path / "d.json")


@pytest.mark.parametrize("answer", [[], {}, {"serverTime": 1}, {"serverTime": 1, "symbols": [{}]}, "text", None])
def test_other_answers_are_refused(answer: object) -> None:
    """What is no exchangeInfo is one line."""
    with pytest.raises(Fatal, match=r"x.json: it is no exchangeInfo"):
        rules_of_exchange_info(answer, "x.json")


@pytest.mark.parametrize(
    "answer", ["text", [{}], {"BTC/USDT:USDT": [{}]}, [{"symbol": "BTCUSDT", "brackets": [{}]}], 5]
)
def test_other_brackets_are_refused(answer: object) -> None:
    """What are no brackets is one line."""
    with pytest.raises(Fatal, match=r"x.json: these are no leverage brackets"):
        rules_of_brackets(answer, "x.json", "2025-01-01")


def test_a_figure_that_is_none_is_refused() -> None:
    """A tick that is no number is refused where it is read, not where it is used."""
    broken = json.loads(json.dumps(INFO).replace("0.10", "ten"))
    with pytest.raises(Fatal, match=r"info.json: BTC/USDT:USDT: tickSize: 'ten' is not a number"):
        rules_of_exchange_info(broken, "info.json")


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"schema": 9, "instrument": "BTC/USDT:USDT"}'])
def test_a_damaged_file_is_one_line(tmp_path: Path, text: str) -> None:
    """A rules file that cannot be read is named, and says what to do."""
    folder = tmp_path / "BTC-USDT-USDT" / "rules"
    folder.mkdir(parents=True)
    (folder / "2025-01-01.json").write_text(text)
    with pytest.raises(Fatal, match=r"2025-01-01.json: the rules cannot be read .*; remove the file") as caught:
        RulesBook(tmp_path).all(NAME)
    assert "\n" not in str(caught.value)


def test_real_publications(tmp_path: Path, shared_dir: Path) -> None:
    """The exchange's real answers of 2021 and 2025 are read: BTC's tick was 0.01 then, and its tiers are 2025's."""
    folder = shared_dir / "data/reference"
    early = read_json(folder / "binance_usdm_exchangeInfo_2021-04-17.cryptofeed.txt.gz")
    later = read_json(folder / "binance_usdm_exchangeInfo_2021-07-21.cryptofeed.txt.gz")
    tiers = read_json(folder / "binance_usdm_leverage_tiers_2025.json.gz")
    small = read_json(folder / "nautilus_http_futures_market_exchange_info.json")
    assert len(rules_of_exchange_info(small, "small")) == 2
    found = [*rules_of_exchange_info(early, "early", [NAME]), *rules_of_exchange_info(later, "later", [NAME])]
    found += rules_of_brackets(tiers, "tiers", "2025-07-10", [NAME])
    book = saved(tmp_path, *found, dated("2021-04-17", funding_interval_hours="8"))
    instrument = book.at(NAME, 1_620_000_000 * 10**9).to_instrument()
    assert instrument.tick == Decimal("0.01")
    assert instrument.liquidation_fee_ppm == 12_000
    assert len(instrument.tiers) == 12
    assert len(rules_of_brackets(tiers, "tiers", "2025-07-10")) > 500
