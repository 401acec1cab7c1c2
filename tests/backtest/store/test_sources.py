"""Every form of file that is imported, and every way in which one is refused."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from hedgegrid.backtest.store.reader import EVER_NS, Store
from hedgegrid.backtest.store.series import Kind, SeriesName
from hedgegrid.backtest.store.sources import ARCHIVE_HEADERS, Form, Reading, form_of, instrument_in
from hedgegrid.errors import Fatal
from hedgegrid.units import NS_PER_HOUR, NS_PER_MINUTE, NS_PER_MS
from hedgegrid.venues.simulated.recorded_ticks import load_ticks
from tests.backtest.store.samples import (
    BARS,
    BTC,
    MINUTE,
    NAME,
    START_MS,
    START_NS,
    archive,
    bring,
    candles,
    joined,
    write,
    write_candles_json,
    write_feather,
)

AGG = ["26129,0.01633102,4.70443515,27781,27781,{0},true", "26130,0.01633103,1.5,27782,27783,{1},false"]
TRADES = ["7,100.5,0.1,10.05,{0},true", "8,100.6,0.2,20.12,{1},false"]
BOOK = ["5,100.4,1.5,100.5,2.5,{0},{0}", "6,100.5,1,100.6,2,{1},{1}"]
FUNDING = ["{0},8,0.00010000", "1738396800004,8,-0.00002760"]
EXPECTED: dict[Form, dict[str, list[int]]] = {
    Form.AGG_TRADES: {
        "trade_id": [26129, 26130],
        "price_e8": [1633102, 1633103],
        "qty_e8": [470443515, 150000000],
        "buyer_maker": [1, 0],
    },
    Form.TRADES: {
        "trade_id": [7, 8],
        "price_e8": [10050000000, 10060000000],
        "qty_e8": [10**7, 2 * 10**7],
        "buyer_maker": [1, 0],
    },
    Form.BOOK: {
        "update_id": [5, 6],
        "bid_e8": [10040000000, 10050000000],
        "bid_qty_e8": [150000000, 10**8],
        "ask_e8": [10050000000, 10060000000],
        "ask_qty_e8": [250000000, 2 * 10**8],
    },
    Form.FUNDING: {"rate_e8": [10000, -2760]},
}
KINDS = {
    Form.AGG_TRADES: Kind.AGG_TRADES,
    Form.TRADES: Kind.TRADES,
    Form.BOOK: Kind.BOOK,
    Form.FUNDING: Kind.FUNDING,
}
LINES = {Form.AGG_TRADES: AGG, Form.TRADES: TRADES, Form.BOOK: BOOK, Form.FUNDING: FUNDING}


def text_of(form: Form, *, header: bool, per_ms: int = 1) -> str:
    """An archive file of a form."""
    stamps = [START_MS * per_ms, (START_MS + 3) * per_ms]
    lines = [line.format(*stamps).replace("1738396800004", str(1738396800004 * per_ms)) for line in LINES[form]]
    return "\n".join([",".join(ARCHIVE_HEADERS[form])] * header + lines) + "\n"


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".zip"])
@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("per_ms", [1, 1000])
@pytest.mark.parametrize("form", list(LINES))
def test_archive_files(tmp_path: Path, form: Form, per_ms: int, header: bool, suffix: str) -> None:
    """Each kind of the archive is told by content, packed or not, with and without header, in ms and us."""
    path = write(tmp_path / f"BTCUSDT-anything{suffix}", text_of(form, header=header, per_ms=per_ms))
    assert form_of(path, Reading()) is form
    bring(tmp_path / "s", path)
    series = SeriesName(instrument=NAME, kind=KINDS[form])
    stored = joined(list(Store(tmp_path / "s").batches(series)))
    times = stored.pop("ts_ns")
    assert stored == EXPECTED[form]
    second = 1738396800000 if form is Form.FUNDING else START_MS + 3
    assert times == [START_NS, second * NS_PER_MS]


@pytest.mark.parametrize(
    ("header", "per_ms", "suffix"), [(True, 1, ".csv"), (False, 1000, ".zip"), (False, 1, ".csv.gz")]
)
def test_klines(tmp_path: Path, header: bool, per_ms: int, suffix: str) -> None:
    """Archive klines keep their last bar."""
    path = write(tmp_path / f"BTCUSDT-1m-2025-02{suffix}", archive(candles(9), header=header, per_ms=per_ms))
    bring(tmp_path / "s", path)
    stored = joined(list(Store(tmp_path / "s").batches(BARS)))
    assert stored["ts_ns"] == [START_NS + minute * MINUTE for minute in range(9)]
    assert stored["close_e8"][:2] == [10130000000, 10230000000]


def test_mark_klines_are_told_by_their_volume(tmp_path: Path) -> None:
    """Klines that never trade but move are of the mark price; ``kind`` overrules."""
    rows = [(minute, "100.5", "101.12345678", "99.5", "100.9", "0") for minute in range(5)]
    text = archive(rows).replace(",1.5,7,0.5,0.75,0", ",0,60,0,0,0")
    path = write(tmp_path / "BTCUSDT-1m-2025-02.zip", text)
    bring(tmp_path / "s", path)
    (chunk,) = Store(tmp_path / "s").mark_bars(NAME, MINUTE, 0, EVER_NS, BTC)
    assert chunk.high_ticks.tolist() == [1011] * 5
    assert chunk.volume_lots.tolist() == [0] * 5
    bring(tmp_path / "t", path, how=Reading(kind=Kind.BARS))
    assert [one.folder for one in Store(tmp_path / "t").series()] == ["bars-1m"]


@pytest.mark.parametrize("form", ["feather", "json", "json.gz"])
def test_freqtrade_candles(tmp_path: Path, form: str) -> None:
    """Freqtrade's tables lose their last bar, which may be incomplete, and say so."""
    path = tmp_path / f"BTC_USDT_USDT-1m-futures.{form}"
    (write_feather if form == "feather" else write_candles_json)(path, candles(9))
    report = bring(tmp_path / "s", path)
    assert joined(list(Store(tmp_path / "s").batches(BARS)))["volume_e8"] == [
        minute * 10**8 + 25_000_000 for minute in range(8)
    ]
    assert report.notes == (f"{path.name}: the last bar was left out: it may not have been complete",)


@pytest.mark.parametrize("form", ["feather", "json"])
def test_freqtrade_funding(tmp_path: Path, form: str) -> None:
    """Candles with nothing but an open are funding rates; the last one counts."""
    rows = [(480 * place, f"0.0001{place}", "0", "0", "0", "0") for place in range(4)]
    path = tmp_path / f"BTC_USDT_USDT-8h-funding_rate.{form}"
    (write_feather if form == "feather" else write_candles_json)(path, rows)
    bring(tmp_path / "s", path)
    funding = Store(tmp_path / "s").funding(NAME)
    assert funding.ts_ns.tolist() == [START_NS + place * 8 * NS_PER_HOUR for place in range(4)]
    assert funding.rate_e8.tolist() == [10000, 11000, 12000, 13000]


def capture_lines() -> list[str]:
    """A capture that holds trades, aggregates, books, marks and one print that is not of the market."""

    def line(place: int, stream: str, told: dict[str, object]) -> str:
        message = {"stream": f"btcusdt@{stream}", "data": {"s": "BTCUSDT", **told}}
        return f"{(START_MS + place) * 1000} {json.dumps(message)}"

    at = START_MS
    return [
        line(1, "bookTicker", {"b": "100.4", "B": "1.5", "a": "100.5", "A": "2", "T": at, "u": 5}),
        line(2, "markPrice@1s", {"p": "100.45000001", "r": "0.0001", "E": at + 1, "T": at + 30_000_000}),
        line(3, "trade", {"p": "100.5", "q": "0.5", "X": "MARKET", "m": True, "T": at + 4, "t": 8}),
        line(4, "trade", {"p": "100.4", "q": "0.25", "X": "MARKET", "m": False, "T": at + 4, "t": 7}),
        line(5, "trade", {"p": "98.5", "q": "9", "X": "INSURANCE_FUND", "m": False, "T": at + 5, "t": 9}),
        line(6, "bookTicker", {"b": "100.6", "B": "1.5", "a": "100.5", "A": "2", "T": at + 6, "u": 6}),
        line(7, "aggTrade", {"p": "100.5", "q": "0.75", "m": True, "T": at + 4, "a": 3}),
        line(8, "depth@100ms", {"b": [], "a": []}),
    ]


def test_captures(tmp_path: Path) -> None:
    """A capture's streams become their own series; what is not of the market is left out and counted."""
    path = write(tmp_path / "usdm_btcusdt_20250201.dat.gz", "\n".join(capture_lines()) + "\n")
    report = bring(tmp_path / "s", path)
    store = Store(tmp_path / "s")
    assert [one.folder for one in store.series()] == ["aggtrades", "book", "marks", "trades"]
    trades = joined(list(store.batches(SeriesName(instrument=NAME, kind=Kind.TRADES))))
    assert trades["trade_id"] == [7, 8]
    assert trades["buyer_maker"] == [0, 1]
    marks = joined(list(store.batches(SeriesName(instrument=NAME, kind=Kind.MARKS))))
    assert marks == {"ts_ns": [START_NS + NS_PER_MS], "price_e8": [10045000001]}
    assert {note.partition(": ")[2] for note in report.notes} == {
        "1 books that were one-sided or crossed",
        "1 prints of INSURANCE_FUND",
    }


def test_stored_captures_replay_as_the_files(tmp_path: Path, shared_dir: Path) -> None:
    """Trades of a real capture come out of the store as the replay reads them, with a sound book before them."""
    path = shared_dir / "data/ticks_raw_ws/usdm_btcusdt_20230405.dat.gz"
    bring(tmp_path, path)
    direct = load_ticks(path, BTC)
    chunks = list(Store(tmp_path).trades(NAME, 0, EVER_NS, BTC))
    for field in ("ts_ns", "price_ticks", "qty_lots"):
        assert np.concatenate([getattr(chunk, field) for chunk in chunks]).tolist() == getattr(direct, field).tolist()
    known = np.concatenate([chunk.bid_qty_lots for chunk in chunks]) > 0
    assert known.mean() > 0.99
    spread = np.concatenate([chunk.ask_ticks - chunk.bid_ticks for chunk in chunks])
    assert (spread[known] > 0).all()
    same = np.concatenate([chunk.mark_ticks for chunk in chunks]) == direct.mark_ticks
    assert same.mean() > 0.9


@pytest.mark.parametrize(
    ("unit", "stamps"),
    [
        (None, ["1738368000000", "1738368060000"]),
        ("s", ["1738368000", "1738368060.0"]),
        ("ms", ["1738368000000", "1738368060000"]),
        ("us", ["1738368000000000", "1738368060000000"]),
        ("ns", ["1738368000000000000", "1738368060000000000"]),
        ("iso", ["2025-02-01T00:00:00Z", "2025-02-01T00:01:00Z"]),
    ],
)
def test_a_column_map(tmp_path: Path, unit: str | None, stamps: list[str]) -> None:
    """Any csv is read by the caller's names, in the caller's unit of time, columns in any order."""
    lines = [f"{stamp},x,99.5,101,100.5,100.75,7.5" for stamp in stamps]
    path = write(tmp_path / "any.csv", "\n".join(["when,note,l,h,o,c,v", *lines]) + "\n")
    columns = {"ts": "when", "open": "o", "high": "h", "low": "l", "close": "c", "volume": "v"}
    how = Reading(columns=columns, time_unit=unit)
    bring(tmp_path / "s", path, how=how, instrument=NAME)
    stored = joined(list(Store(tmp_path / "s").batches(BARS)))
    assert stored["ts_ns"] == [START_NS, START_NS + MINUTE]
    assert [stored[name][0] for name in ("open_e8", "low_e8", "volume_e8")] == [10050000000, 9950000000, 750000000]


def test_trades_without_numbers_are_counted(tmp_path: Path) -> None:
    """Trades of one time are numbered in their order, so that equal ones are kept and a second import adds nothing."""
    rows = [(0, "buy"), (0, "buy"), (5, "SELL"), (5, "buy"), (9, "sell")]
    text = "t,p,q,side\n" + "".join(f"{START_MS + ms},100.5,0.1,{side}\n" for ms, side in rows)
    how = Reading(columns={"ts": "t", "price": "p", "qty": "q", "side": "side"})
    path = write(tmp_path / "BTCUSDT.csv", text)
    bring(tmp_path / "s", path, how=how)
    report = bring(tmp_path / "s", path, how=how)
    assert [change.added for change in report.changes] == [0]
    stored = joined(list(Store(tmp_path / "s").batches(SeriesName(instrument=NAME, kind=Kind.TRADES))))
    assert stored["trade_id"] == [0, 1, 0, 1, 0]
    assert stored["buyer_maker"] == [0, 0, 1, 0, 1]


def test_blocks_do_not_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A csv read in small blocks gives the rows, numbers and messages that it gives in one."""
    monkeypatch.setattr("hedgegrid.backtest.store.source_csv._BLOCK_BYTES", 200)
    text = "t,p,q\n" + "".join(f"{START_MS + place // 7},100.5,0.{place + 1}\n" for place in range(60))
    how = Reading(columns={"ts": "t", "price": "p", "qty": "q"})
    bring(tmp_path / "s", write(tmp_path / "BTCUSDT.csv", text), how=how)
    stored = joined(list(Store(tmp_path / "s").batches(SeriesName(instrument=NAME, kind=Kind.TRADES))))
    assert stored["trade_id"] == [place % 7 for place in range(60)]
    broken = write(tmp_path / "b" / "BTCUSDT.csv", text.replace("0.41\n", "x\n"))
    with pytest.raises(Fatal, match=r"BTCUSDT.csv: row 42: the qty is missing or not a number"):
        bring(tmp_path / "s", broken, how=how)


@pytest.mark.parametrize(
    ("name", "text", "rule"),
    [
        ("BTCUSDT.csv", "", "the file is empty"),
        ("BTCUSDT.csv", "hello world\n", "of no known form"),
        (
            "BTCUSDT.csv",
            "a,b\n1,2\n",
            "row 1: its first line .a,b. is of no archive file that is known; name its columns",
        ),
        ("BTCUSDT.json", "[[1,2]]", "it is no list of candles"),
        ("BTCUSDT.json", "[", "it is no list of candles"),
        (
            "nothing.csv",
            "7,100.5,0.1,10.05,1738368000000,true\n",
            "does not tell the instrument; say it with --instrument",
        ),
        ("BTCUSDT.csv", "7,100.5,0.1,10.05,1738368000000,maybe\n", "row 1: the buyer_maker is 'maybe'"),
        (
            "BTCUSDT.csv",
            "7,100.5,0.1,10.05,1738368000000,true\n8,x,1,1,1738368000001,true\n",
            "row 2: the price is missing",
        ),
        ("BTCUSDT.csv", "7,100.5,0.123456789,10.05,1738368000000,true\n", "row 1: the qty is finer than 1e-8"),
        ("BTCUSDT.csv", "7,100.5,0.1,10.05,1738368000000,true\n8,1,1\n", "a line cannot be read"),
        ("BTCUSDT.csv", "7,1,1,1,1738368000000,true\n6,1,1,1,1738368000001,true\n", "row 2: its number is before"),
        ("BTCUSDT.csv", "7,1,0,1,1738368000000,true\n", "row 1: volume: the quantity is not above zero"),
        ("BTCUSDT.csv", "7,-1,1,1,1738368000000,true\n", "row 1: price: the price is not above zero"),
        ("BTCUSDT.csv", ",1,1,1,1738368000000,true\n", "is of no archive file that is known"),
        ("BTCUSDT.csv", "7,1,1,1,1738368000000,true\n8,,1,1,1738368000000,true\n", "row 2: the price is missing"),
        ("BTCUSDT.csv", ",".join(ARCHIVE_HEADERS[Form.TRADES]) + "\n", "it holds no row"),
        ("BTCUSDT-1m.csv", archive(candles(1)), "one bar does not tell how long it is; say it with --timeframe"),
        (
            "BTCUSDT-1m.csv",
            archive(candles(5)).replace("99.1", "109.1"),
            "row 2: ohlc: the high is below another price",
        ),
        (
            "BTCUSDT-1m.csv",
            archive([candles(3)[0], *candles(3)]),
            "row 3: duplicate: the time is that of the row before",
        ),
        (
            "BTCUSDT-1m.csv",
            archive([*candles(5), *candles(2)]),
            "row 7: order: the time is before that of the row before",
        ),
        ("BTCUSDT.dat", '1738368000000000 {"stream":\n', "row 1: it makes no sense"),
        ("BTCUSDT.dat", '1738368000000000 {"stream":"x","data":{}}\n', "it holds nothing of BTCUSDT"),
        ("BTCUSDT-f.csv", "1738368000000,8,1.5\n", "row 1: rate: the rate is not under 100 %"),
    ],
)
def test_bad_files_are_one_line(tmp_path: Path, name: str, text: str, rule: str) -> None:
    """Bad input names file, row and rule in one line, and leaves no store behind."""
    path = write(tmp_path / name, text)
    with pytest.raises(Fatal, match=rule) as caught:
        bring(tmp_path / "s", path)
    assert "\n" not in str(caught.value)
    assert name in str(caught.value)
    assert not list((tmp_path / "s").rglob("*.parquet"))


@pytest.mark.parametrize("form", [".csv.gz", ".zip"])
def test_packed_files_that_are_cut_are_refused(tmp_path: Path, form: str) -> None:
    """A compressed file that is cut short is refused though its first blocks could be read."""
    path = tmp_path / f"BTCUSDT-trades{form}"
    lines = "".join(f"{place},100.5,0.{place % 90 + 1},1,{START_MS + place},true\n" for place in range(50_000))
    write(path, lines)
    if form == ".zip":
        packed = bytearray(path.read_bytes())
        packed[len(packed) // 2] ^= 0xFF
        path.write_bytes(packed)
    else:
        path.write_bytes(gzip.compress(lines.encode())[:-2000])
    with pytest.raises(Fatal, match="BTCUSDT-trades"):
        bring(tmp_path / "s", path)
    assert not list((tmp_path / "s").rglob("*.parquet"))


@pytest.mark.parametrize(
    ("columns", "rule"),
    [
        ({"ts": "t", "price": "p", "qty": "z"}, "its header lacks z; it has t, p, q"),
        ({"ts": "t", "qty": "q"}, "the columns given for trades lack price"),
        ({"ts": "t", "price": "p", "qty": "q", "colour": "p"}, "the columns given for trades name colour"),
    ],
)
def test_a_wrong_column_map_is_one_line(tmp_path: Path, columns: dict[str, str], rule: str) -> None:
    """A map that names too little, too much, or what the file lacks is refused."""
    path = write(tmp_path / "BTCUSDT.csv", "t,p,q\n1738368000000,1,1\n")
    with pytest.raises(Fatal, match=rule):
        bring(tmp_path / "s", path, how=Reading(columns=columns))


@pytest.mark.parametrize(
    ("name", "instrument"),
    [
        ("BTCUSDT-1m.feather", "BTC/USDT:USDT"),
        ("BTC_USDT_USDT-1m-futures.feather", "BTC/USDT:USDT"),
        ("1000SHIBUSDT-aggTrades-2025-01.zip", "1000SHIB/USDT:USDT"),
        ("usdm_ethusdt_20240718.gz", "ETH/USDT:USDT"),
        ("BTCUSDC-trades.csv", "BTC/USDC:USDC"),
        ("prices.csv", None),
    ],
)
def test_instruments_of_names(name: str, instrument: str | None) -> None:
    """The usual spellings of files tell the instrument."""
    assert instrument_in(Path(name)) == instrument


def test_crossed_books_are_left_out(tmp_path: Path) -> None:
    """A book whose bid is not below its ask is warned of and not stored; with ``strict`` it is refused."""
    lines = ["5,100.4,1,100.5,2,{0},{0}", "6,100.6,1,100.5,2,{0},{0}", "7,0,0,100.5,2,{0},{0}"]
    path = write(tmp_path / "BTCUSDT-bookTicker.csv", "\n".join(lines).format(START_MS) + "\n")
    report = bring(tmp_path / "s", path)
    assert [(one.rule, one.row) for one in report.findings] == [("crossed", 2), ("crossed", 3)]
    stored = joined(list(Store(tmp_path / "s").batches(SeriesName(instrument=NAME, kind=Kind.BOOK))))
    assert stored["update_id"] == [5]
    with pytest.raises(Fatal, match="row 2: crossed: the bid is not below the ask; leave --strict away"):
        bring(tmp_path / "t", path, strict=True)
    assert not list((tmp_path / "t").rglob("*.parquet"))


def test_one_bar_with_its_timeframe(tmp_path: Path) -> None:
    """A single bar is imported where the caller says how long it is."""
    path = write(tmp_path / "BTCUSDT.csv", archive(candles(1)))
    bring(tmp_path / "s", path, how=Reading(length_ns=NS_PER_MINUTE))
    assert [facts.rows for facts in Store(tmp_path / "s").inventory()] == [1]
