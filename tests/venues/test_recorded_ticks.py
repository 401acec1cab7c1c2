"""Trades from websocket captures: what counts as a trade, what rode beside it, what is refused."""

import gzip
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from hedgegrid.errors import Fatal
from hedgegrid.model.instrument import Instrument
from hedgegrid.units import NS_PER_HOUR, NS_PER_MS
from hedgegrid.venues.simulated.recorded_ticks import load_ticks

T0 = 1_680_652_700_000
SETTLED = 1_680_652_800_000
BTC = Instrument(
    name="BTC/USDT:USDT",
    tick=Decimal("0.1"),
    lot=Decimal("0.001"),
    min_qty_lots=1,
    max_qty_lots=1_000_000,
    min_notional_e8=500_000_000,
    tiers=(),
    liquidation_fee_ppm=12_500,
    funding_interval_ns=8 * NS_PER_HOUR,
)


def line(stream: str, symbol: str = "BTCUSDT", **fields: object) -> bytes:
    """A capture's line of a stream."""
    message = {"stream": f"{symbol.lower()}@{stream}", "data": {"s": symbol, **fields}}
    return b"1680652700423575 " + msgspec.json.encode(message) + b"\n"


def trade(
    number: int, price: str, qty: str = "0.002", ms: int = T0, origin: str = "MARKET", symbol: str = "BTCUSDT"
) -> bytes:
    """A line of the trade stream."""
    return line("trade", symbol, e="trade", T=ms, t=number, p=price, q=qty, X=origin, m=True)


def aggregate(number: int, price: str) -> bytes:
    """A line of the aggregate trade stream."""
    return line("aggTrade", e="aggTrade", T=T0, a=number, p=price, q="0.005", f=1, l=2, m=True)


def book(bid: str, ask: str, symbol: str = "BTCUSDT", qty: str = "1.2345") -> bytes:
    """A line of the best bid and ask."""
    return line("bookTicker", symbol, e="bookTicker", b=bid, B=qty, a=ask, A="2", T=T0)


def mark(
    price: str, rate: str = "0.0001", event_ms: int = T0, next_ms: int = SETTLED, symbol: str = "BTCUSDT"
) -> bytes:
    """A line of the mark price."""
    return line("markPrice@1s", symbol, e="markPriceUpdate", E=event_ms, p=price, r=rate, T=next_ms)


def capture(path: Path, *lines: bytes) -> Path:
    """A packed capture."""
    path.write_bytes(gzip.compress(b"".join(lines)))
    return path


def test_a_trade_carries_the_book_and_mark_above_it(tmp_path: Path) -> None:
    """Nothing that the stream told later reaches a trade; before anything is known the price stands in."""
    ticks = load_ticks(
        capture(
            tmp_path / "btcusdt.gz",
            trade(1, "100.0"),
            book("99.9", "100.1"),
            mark("99.94000000"),
            trade(2, "100.16", "0.0039", T0 + 1),
            book("100.1", "100.2"),
            mark("100.05"),
        ),
        BTC,
    )
    assert ticks.ts_ns.tolist() == [T0 * NS_PER_MS, (T0 + 1) * NS_PER_MS]
    assert ticks.price_ticks.tolist() == [1000, 1002]
    assert ticks.qty_lots.tolist() == [2, 3]
    assert ticks.bid_ticks.tolist() == [1000, 999]
    assert ticks.ask_ticks.tolist() == [1000, 1001]
    assert ticks.bid_qty_lots.tolist() == [0, 1234]
    assert ticks.ask_qty_lots.tolist() == [0, 2000]
    assert ticks.mark_ticks.tolist() == [1000, 999]
    assert ticks.notes == ()


def test_prints_that_are_not_of_the_market_are_left_out(tmp_path: Path) -> None:
    """An insurance fund's print 2 % off the market must not fill a grid; it is counted."""
    lines = [trade(1, "100"), trade(2, "102", origin="INSURANCE_FUND"), trade(3, "0", "0", origin="NA")]
    ticks = load_ticks(capture(tmp_path / "b.gz", *lines), BTC)
    assert ticks.price_ticks.tolist() == [1000]
    assert ticks.notes == ("b.gz: 1 prints of INSURANCE_FUND", "b.gz: 1 prints of NA")


def test_trades_are_ordered_by_id_and_told_once(tmp_path: Path) -> None:
    """A capture over two connections repeats and reorders; time never goes back."""
    lines = [trade(3, "103", ms=T0 + 1), trade(1, "101", ms=T0), trade(2, "102", ms=T0 + 5), trade(1, "101", ms=T0)]
    ticks = load_ticks(capture(tmp_path / "b.gz", *lines), BTC)
    assert ticks.price_ticks.tolist() == [1010, 1020, 1030]
    assert ticks.ts_ns.tolist() == [ms * NS_PER_MS for ms in (T0, T0 + 5, T0 + 5)]
    assert ticks.notes == (
        "b.gz: 1 trades held back to the time of the trade before",
        "b.gz: 1 trades told twice",
    )


def test_aggregates_count_only_where_there_are_no_trades(tmp_path: Path) -> None:
    """A capture of both streams must not trade everything twice."""
    both = load_ticks(capture(tmp_path / "b.gz", aggregate(7, "100"), trade(1, "101")), BTC)
    assert both.price_ticks.tolist() == [1010]
    alone = load_ticks(capture(tmp_path / "c.gz", aggregate(8, "102"), aggregate(7, "100")), BTC)
    assert alone.price_ticks.tolist() == [1000, 1020]
    assert alone.qty_lots.tolist() == [5, 5]


def test_a_trade_under_one_lot_is_left_out(tmp_path: Path) -> None:
    """A quantity of zero lots would read as a trade without a bound."""
    ticks = load_ticks(capture(tmp_path / "b.gz", trade(1, "100", "0.0009"), trade(2, "101")), BTC)
    assert ticks.price_ticks.tolist() == [1010]
    assert ticks.notes == ("b.gz: 1 trades under one lot",)


def test_other_instruments_and_streams_are_passed_over(tmp_path: Path) -> None:
    """One capture may hold many streams; another instrument's book never reaches this one's trades."""
    ticks = load_ticks(
        capture(
            tmp_path / "b.gz",
            b'1680652700423575 {"lastUpdateId":1,"bids":[["1","2"]]}\n',
            line("depth@0ms", b=[["1", "2"]], a=[]),
            book("5.0", "5.1", "ETHUSDT"),
            mark("5.0", symbol="ETHUSDT"),
            trade(9, "5.0", symbol="ETHUSDT"),
            trade(1, "100"),
        ),
        BTC,
    )
    assert ticks.price_ticks.tolist() == ticks.bid_ticks.tolist() == ticks.mark_ticks.tolist() == [1000]
    assert ticks.notes == ("b.gz: 1 trades of other instruments",)


@pytest.mark.parametrize("sides", [("0", "100.1"), ("100.2", "100.1"), ("100.1", "100.1"), ("99", "nan")])
def test_a_crossed_or_one_sided_book_is_not_believed(tmp_path: Path, sides: tuple[str, str]) -> None:
    """The last sound book stays, and the other is counted."""
    ticks = load_ticks(capture(tmp_path / "b.gz", book("99.9", "100.1"), book(*sides), trade(1, "100")), BTC)
    assert (ticks.bid_ticks[0], ticks.ask_ticks[0]) == (999, 1001)
    assert ticks.notes == ("b.gz: 1 books that were one-sided or crossed",)


def test_a_settlement_is_seen_when_the_next_one_is_announced(tmp_path: Path) -> None:
    """The rate that was charged is the last one told before the settlement."""
    ticks = load_ticks(
        capture(
            tmp_path / "b.gz",
            mark("100", "0.0001", SETTLED - 2_000),
            mark("100", "0.00002760", SETTLED + 10),
            mark("100", "", SETTLED + 500),
            mark("100", "0.0003", SETTLED + 1_000, SETTLED + 28_800_000),
            trade(1, "100"),
        ),
        BTC,
    )
    assert ticks.funding.ts_ns.tolist() == [SETTLED * NS_PER_MS]
    assert ticks.funding.rate_e8.tolist() == [2_760]


def test_a_settlement_after_a_silence_has_no_rate(tmp_path: Path) -> None:
    """A rate that nobody saw is missing, not the last one."""
    ticks = load_ticks(
        capture(
            tmp_path / "b.gz",
            mark("100", event_ms=SETTLED - 60_001),
            mark("100", event_ms=SETTLED + 1, next_ms=SETTLED + 28_800_000),
            trade(1, "100"),
        ),
        BTC,
    )
    assert ticks.funding.ts_ns.tolist() == []
    assert ticks.notes == ("b.gz: 1 settlements whose rate was not seen",)


@pytest.mark.parametrize(
    ("bad", "rule"),
    [
        (b"garbage\n", "row 2: it makes no sense"),
        (b'1680652700423575 {"stream":"btcusdt@trade","data":{"s":"BTC', "row 2: it makes no sense"),
        (b'1680652700423575 {"stream":"btcusdt@trade","data":{"s":"BTCUSDT"}}\n', "row 2: .*missing required field"),
        (trade(2, "abc"), "row 2: it makes no sense"),
        (trade(2, "-1"), "row 2: .*-1 is not above zero"),
        (trade(2, "nan"), "row 2: .*nan is not above zero"),
        (trade(2, "100", "0"), "row 2: .*0 is not above zero"),
        (trade(-5, "100"), "row 2: .*no id or no time"),
        (trade(2, "100", ms=0), "row 2: .*no id or no time"),
        (mark("0"), "row 2: .*0 is not above zero"),
        (trade(2, "1e12"), "beyond the bounds of ticks and lots"),
        (trade(2, "0.04"), "a price is under half a tick"),
        (book("100", "1e300") + trade(2, "100"), "beyond the bounds of ticks and lots"),
        (mark("1e300") + trade(2, "100"), "beyond the bounds of ticks and lots"),
        (book("100", "101", qty="1e12") + trade(2, "100"), "beyond the bounds of ticks and lots"),
        (trade(2, "100", "1e12"), "beyond the bounds of ticks and lots"),
    ],
)
def test_a_line_without_sense_is_named(tmp_path: Path, bad: bytes, rule: str) -> None:
    """A damaged capture is refused with file and line, never half read."""
    path = capture(tmp_path / "btcusdt.gz", trade(1, "100"), bad)
    with pytest.raises(Fatal, match=rule) as caught:
        load_ticks(path, BTC)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("lines", "rule"),
    [
        ([trade(1, "100", symbol="ETHUSDT")], "it holds no market trade of BTCUSDT"),
        ([book("1", "2")], "it holds no market trade of BTCUSDT"),
        ([trade(1, "100", "0.0001")], "no trade is as large as one lot"),
        ([b"1,2,3\n"], "it is not a websocket capture"),
    ],
)
def test_a_capture_without_trades_is_refused(tmp_path: Path, lines: list[bytes], rule: str) -> None:
    """An empty market is told as such."""
    with pytest.raises(Fatal, match=rule):
        load_ticks(capture(tmp_path / "b.gz", *lines), BTC)


def test_a_truncated_capture_is_refused(tmp_path: Path) -> None:
    """A capture that was cut never loads as a shorter one."""
    path = capture(tmp_path / "b.gz", *(trade(number, "100") for number in range(1, 3000)))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(Fatal, match="cut short or damaged"):
        load_ticks(path, BTC)
