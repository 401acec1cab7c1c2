"""Bars from files: every form gives the same figures, every broken rule one clear line."""

import gzip
import zipfile
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pyarrow import feather

from hedgegrid.errors import Fatal
from hedgegrid.model.instrument import Instrument
from hedgegrid.units import (
    NS_PER_HOUR,
    NS_PER_MINUTE,
    NS_PER_MS,
    lots_floor,
    rate_e8_nearest,
    ticks_nearest,
)
from hedgegrid.venues.simulated.arrays import BarArrays
from hedgegrid.venues.simulated.recorded_bars import ARCHIVE_COLUMNS, load_bars
from hedgegrid.venues.simulated.recorded_funding import load_funding
from hedgegrid.venues.simulated.recorded_units import floored, in_units, nearest, rates_e8

START_MS = 1_706_745_600_000
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

Row = tuple[int, float, float, float, float, float]
"""Opening in minutes after the start, open, high, low, close, volume."""

ROWS: list[Row] = [
    (0, 100.0, 101.05, 99.94, 100.5, 20.406),
    (1, 100.5, 100.5, 100.5, 100.5, 0.0),
    (2, 100.4, 102.0, 100.3, 101.0, 1.0019),
]


def write_feather(path: Path, rows: list[Row], unit: str = "ns") -> Path:
    """A freqtrade file of the rows and a last bar, which is incomplete."""
    last = (rows[-1][0] + 1, 1.0, 1.0, 1.0, 1.0, 1.0) if rows else (0, 1.0, 1.0, 1.0, 1.0, 1.0)
    columns = list(zip(*[*rows, last], strict=True))
    stamps = [START_MS * NS_PER_MS + minute * NS_PER_MINUTE for minute in columns[0]]
    dates = pa.array(stamps, pa.timestamp("ns", tz="UTC")).cast(pa.timestamp(unit, tz="UTC"))
    names = ["date", "open", "high", "low", "close", "volume"]
    figures = [pa.array(column, pa.float64()) for column in columns[1:]]
    feather.write_feather(pa.table([dates, *figures], names=names), path)
    return path


def archive_text(rows: list[Row], *, header: bool = True, per_ms: int = 1) -> str:
    """An archive file of the rows."""
    lines = [",".join(ARCHIVE_COLUMNS)] if header else []
    for minute, *figures in rows:
        stamp = (START_MS + minute * 60_000) * per_ms
        told = ",".join(str(figure) for figure in figures)
        lines.append(f"{stamp},{told},{stamp + 59_999},1.5,7,0.5,0.75,0")
    return "\n".join(lines) + "\n"


def write_archive(path: Path, text: str) -> Path:
    """The text as plain csv, gzip or zip, by the path's name."""
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    elif path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(path.stem + ".csv", text)
    else:
        path.write_text(text)
    return path


def assert_rows(bars: BarArrays) -> None:
    """The bars are ROWS in ticks and lots."""
    start = START_MS * NS_PER_MS
    assert bars.open_ns.tolist() == [start + minute * NS_PER_MINUTE for minute in range(3)]
    assert bars.open_ticks.tolist() == [1000, 1005, 1004]
    assert bars.high_ticks.tolist() == [1011, 1005, 1020]
    assert bars.low_ticks.tolist() == [999, 1005, 1003]
    assert bars.close_ticks.tolist() == [1005, 1005, 1010]
    assert bars.volume_lots.tolist() == [20406, 0, 1001]
    assert bars.notes == ()


@pytest.mark.parametrize("unit", ["ns", "us", "ms"])
def test_feather_in_ticks_without_its_last_bar(tmp_path: Path, unit: str) -> None:
    """Prices go to the nearest tick, half up, volumes down to the lot; the incomplete last bar is dropped."""
    assert_rows(load_bars(write_feather(tmp_path / "BTCUSDT.feather", ROWS, unit), BTC, NS_PER_MINUTE))


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.zip"])
@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("per_ms", [1, 1_000])
def test_archive_in_ticks(tmp_path: Path, name: str, header: bool, per_ms: int) -> None:
    """Plain or packed, with a header or not, in ms or us: the same bars, the last one too."""
    path = write_archive(tmp_path / name, archive_text(ROWS, header=header, per_ms=per_ms))
    assert_rows(load_bars(path, BTC, NS_PER_MINUTE))


def broken(place: int, **changes: float) -> list[Row]:
    """ROWS with one figure changed."""
    names = ("minute", "open", "high", "low", "close", "volume")
    rows = [dict(zip(names, row, strict=True)) for row in ROWS]
    rows[place] |= changes
    return [tuple(row.values()) for row in rows]  # type: ignore[misc]  # the keys keep their order


@pytest.mark.parametrize(
    ("rows", "row", "rule"),
    [
        (broken(1, open=float("nan")), 2, "the open is missing or not a number"),
        (broken(1, volume=float("inf")), 2, "the volume is missing or not a number"),
        (broken(0, low=0.0), 1, "the low is not above zero"),
        (broken(2, close=-1.0), 3, "the close is not above zero"),
        (broken(2, volume=-0.001), 3, "the volume is negative"),
        (broken(2, high=100.9), 3, "the high is below another price of the bar"),
        (broken(0, low=100.1), 1, "the low is above another price of the bar"),
        (broken(1, minute=0), 2, "the time is that of the row before"),
        (broken(2, minute=-1), 3, "the time is before that of the row before"),
        (broken(2, high=2.0**40), 3, "the high is over 1099511627776 ticks"),
        (broken(0, volume=2.0**40), 1, "the volume is over 1099511627776 lots"),
        (broken(0, low=0.04), 1, "the low is under half a tick"),
    ],
)
def test_a_broken_row_is_named(tmp_path: Path, rows: list[Row], row: int, rule: str) -> None:
    """The line tells file, row and rule, for both forms of files; rows of a csv are its lines."""
    table = write_feather(tmp_path / "BTCUSDT.feather", rows)
    with pytest.raises(Fatal, match=rf"^{table}: row {row}: {rule} \(bar of 202.*UTC\); \w+") as caught:
        load_bars(table, BTC, NS_PER_MINUTE)
    assert "\n" not in str(caught.value)
    text = write_archive(tmp_path / "BTCUSDT.csv", archive_text(rows))
    with pytest.raises(Fatal, match=rf"^{text}: row {row + 1}: {rule}"):
        load_bars(text, BTC, NS_PER_MINUTE)


def gapped(*minutes: int) -> list[Row]:
    """Flat bars at the given minutes."""
    return [(minute, 100.0, 100.0, 100.0, 100.0, 1.0) for minute in minutes]


def test_a_gap_is_refused(tmp_path: Path) -> None:
    """The first missing bar, their number and the flag are told."""
    path = write_feather(tmp_path / "BTCUSDT.feather", gapped(0, 1, 2, 5, 6, 7, 9))
    wanted = (
        f"{path}: row 4: 2 bars are missing from 2024-02-01 00:03:00 UTC on (2 gaps, 3 bars in all); "
        "fill the gap, or take each gap as one jump with --allow-gaps"
    )
    with pytest.raises(Fatal) as caught:
        load_bars(path, BTC, NS_PER_MINUTE)
    assert str(caught.value) == wanted


def test_an_allowed_gap_is_told(tmp_path: Path) -> None:
    """With gaps allowed all bars load, and the notes keep what is missing; the notes are bounded."""
    path = write_feather(tmp_path / "BTCUSDT.feather", gapped(0, 1, 2, 5, 6, 7, 9))
    bars = load_bars(path, BTC, NS_PER_MINUTE, allow_gaps=True)
    assert len(bars.open_ns) == 7
    assert bars.notes == (
        "BTCUSDT.feather: 2 bars are missing from 2024-02-01 00:03:00 UTC on, taken as one jump",
        "BTCUSDT.feather: 1 bars are missing from 2024-02-01 00:08:00 UTC on, taken as one jump",
        "BTCUSDT.feather: 2 gaps, 3 bars in all",
    )
    many = gapped(*(minute + minute // 3 for minute in range(120)))
    notes = load_bars(write_feather(path, many), BTC, NS_PER_MINUTE, allow_gaps=True).notes
    assert len(notes) == 11


@pytest.mark.parametrize(
    ("minutes", "length_ns", "rule"),
    [
        ((0, 5, 10), NS_PER_MINUTE, "the bars are 5m long, not 1m"),
        ((0, 1, 2), 5 * NS_PER_MINUTE, "the bars are 1m long, not 5m"),
        ((0, 7, 14), NS_PER_MINUTE, "the bars are 420 s long, not 1m"),
        ((5, 10, 12, 15, 20, 25), 5 * NS_PER_MINUTE, "the bar opens off the 5m grid"),
    ],
)
def test_another_timeframe_is_refused(tmp_path: Path, minutes: tuple[int, ...], length_ns: int, rule: str) -> None:
    """A file of another timeframe is not a file of gaps: the line says which timeframe it has."""
    path = write_archive(tmp_path / "BTCUSDT.csv", archive_text(gapped(*minutes)))
    for allow_gaps in (False, True):
        with pytest.raises(Fatal, match=rule):
            load_bars(path, BTC, length_ns, allow_gaps=allow_gaps)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        (",".join(ARCHIVE_COLUMNS) + "\n", "it holds no complete bar"),
        ("1706745600000,1,1,1\n", "it has 4 columns"),
        ("agg_trade_id" + archive_text(ROWS)[9:], "its header starts with 'agg_trade_id', not open_time"),
        (archive_text(ROWS).replace("100.5", "abc"), "a line is not a bar"),
        (archive_text(ROWS)[:-30], "a line is not a bar"),
        (archive_text(ROWS).replace("1706745660000,", ","), "a time is missing"),
        (archive_text(ROWS).replace("100.4", ""), "the open is missing or not a number"),
        ('1680652700423575 {"stream":""}\n', "it is a websocket capture, not bars"),
    ],
)
def test_a_damaged_csv_is_one_clear_line(tmp_path: Path, text: str, rule: str) -> None:
    """Another file, a torn line or a missing figure: file, rule and what to do, in one line."""
    path = write_archive(tmp_path / "BTCUSDT.csv", text)
    with pytest.raises(Fatal, match=rule) as caught:
        load_bars(path, BTC, NS_PER_MINUTE)
    assert str(caught.value).startswith(f"{path}: ")
    assert "; " in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kept", [7, 30, 100, -20])
def test_a_truncated_file_is_one_clear_line(tmp_path: Path, kept: int) -> None:
    """A download that was cut anywhere never loads as a shorter market."""
    packed = gzip.compress(archive_text(ROWS * 200, header=False).encode())
    table = write_feather(tmp_path / "whole.feather", ROWS).read_bytes()
    for name, content in (("BTCUSDT.csv.gz", packed), ("BTCUSDT.feather", table)):
        path = tmp_path / name
        path.write_bytes(content[:kept])
        with pytest.raises(Fatal, match=r"cut short or damaged|of no known form|lacks the column") as caught:
            load_bars(path, BTC, NS_PER_MINUTE)
        assert "\n" not in str(caught.value)


def write_table(path: Path, table: pa.Table) -> Path:
    """A feather file of any table."""
    feather.write_feather(table, path)
    return path


def test_a_feather_of_something_else_is_one_clear_line(tmp_path: Path) -> None:
    """Missing columns, dates that are none, and texts for numbers are told apart."""
    path = write_feather(tmp_path / "BTCUSDT.feather", ROWS)
    table = feather.read_table(path, memory_map=False)
    cases = [
        (table.drop_columns(["low"]), "it lacks the column low"),
        (table.drop_columns(["date"]), "it lacks the column date"),
        (table.set_column(0, "date", pa.array([1, 2, 3, 4])), "its date is int64, not a timestamp"),
        (table.set_column(0, "date", pa.array([None] * 4, pa.timestamp("ns", tz="UTC"))), "a date is missing"),
        (table.set_column(1, "open", pa.array(["a", "b", "c", "d"])), "a column is not of numbers"),
        (table.slice(0, 1), "it holds no complete bar"),
        (table.slice(0, 0), "it holds no complete bar"),
        (table.set_column(1, "open", pa.array([100.0, None, 100.4, 1.0])), "the open is missing or not a number"),
    ]
    for changed, rule in cases:
        with pytest.raises(Fatal, match=rule) as caught:
            load_bars(write_table(path, changed), BTC, NS_PER_MINUTE)
        assert "\n" not in str(caught.value)


figures = st.decimals(min_value="0.00000001", max_value="999999.99999999", places=8).filter(lambda x: x < 10**6)


@given(st.lists(figures, min_size=1, max_size=30), st.sampled_from(["0.1", "0.01", "0.05", "0.0001", "1", "0.00001"]))
@example([Decimal("0.15"), Decimal("0.25"), Decimal("1.005"), Decimal("20.406"), Decimal("108153.45")], "0.1")
@example([Decimal("20.406"), Decimal("0.003"), Decimal("4.635")], "0.001")
def test_columns_round_as_decimals_do(values: list[Decimal], unit: str) -> None:
    """The vector conversions give what hedgegrid.units gives for every decimal of a file."""
    multiples = in_units(np.array([float(value) for value in values]), Decimal(unit))
    assert nearest(multiples).tolist() == [ticks_nearest(value, Decimal(unit)) for value in values]
    assert floored(multiples).tolist() == [lots_floor(value, Decimal(unit)) for value in values]


@given(st.lists(st.decimals(min_value="-0.99", max_value="0.99", places=10), max_size=20))
@example([Decimal("0.0001"), Decimal("-0.0000276"), Decimal("0.000000005"), Decimal("-0.000000005")])
def test_rates_round_as_decimals_do(rates: list[Decimal]) -> None:
    """A funding rate has the same integer from a file as from an exchange's text."""
    assert rates_e8(np.array([float(rate) for rate in rates])).tolist() == [rate_e8_nearest(rate) for rate in rates]


def write_funding(path: Path, stamps_ms: list[int], rates: list[float]) -> Path:
    """A freqtrade funding file."""
    dates = pa.array([ms * NS_PER_MS for ms in stamps_ms], pa.timestamp("ns", tz="UTC"))
    return write_table(path, pa.table({"date": dates, "open": pa.array(rates, pa.float64())}))


def test_funding_is_floored_to_the_minute(tmp_path: Path) -> None:
    """Stamps jitter by milliseconds; every row is a settlement, the last one too."""
    path = tmp_path / "BTCUSDT-funding.feather"
    funding = load_funding(write_funding(path, [START_MS + 47, START_MS + 8 * 3_600_000], [0.0001, -0.00002755]))
    start = START_MS * NS_PER_MS
    assert funding.ts_ns.tolist() == [start, start + 8 * NS_PER_HOUR]
    assert funding.rate_e8.tolist() == [10_000, -2_755]


@pytest.mark.parametrize(
    ("stamps_ms", "rates", "rule"),
    [
        ([START_MS, START_MS + 20], [0.0, 0.0], "row 2: the time is not after that of the row before"),
        ([START_MS, START_MS - 60_000], [0.0, 0.0], "row 2: the time is not after"),
        ([START_MS], [float("nan")], "row 1: the rate is missing or not under 100 %"),
        ([START_MS, START_MS + 60_000], [0.0, 1.0], "row 2: the rate is missing or not under 100 %"),
    ],
)
def test_broken_funding_is_one_clear_line(tmp_path: Path, stamps_ms: list[int], rates: list[float], rule: str) -> None:
    """A missing rate is missing, never 0.0."""
    path = write_funding(tmp_path / "BTCUSDT-funding.feather", stamps_ms, rates)
    with pytest.raises(Fatal, match=rule):
        load_funding(path)


def test_funding_of_another_form_is_refused(tmp_path: Path) -> None:
    """Bars of an archive are no funding."""
    path = write_archive(tmp_path / "BTCUSDT-funding.csv", archive_text(ROWS))
    with pytest.raises(Fatal, match="not a feather file"):
        load_funding(path)
