"""A recorded market as a whole, on files made here and on real ones."""

import gzip
from decimal import Decimal
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from pyarrow import feather

from hedgegrid.errors import Fatal
from hedgegrid.model.instrument import Instrument
from hedgegrid.units import NS_PER_HOUR, NS_PER_MINUTE, NS_PER_MS, NS_PER_S, lots_floor, ticks_nearest
from hedgegrid.venues.simulated.recorded import recorded_tape
from hedgegrid.venues.simulated.recorded_bars import load_bars
from hedgegrid.venues.simulated.recorded_ticks import load_ticks
from hedgegrid.venues.simulated.tape_bars import BarTape
from hedgegrid.venues.simulated.tape_ticks import TickTape


def instrument(base: str, tick: str, lot: str) -> Instrument:
    """An instrument with the given tick and lot."""
    return Instrument(
        name=f"{base}/USDT:USDT",
        tick=Decimal(tick),
        lot=Decimal(lot),
        min_qty_lots=1,
        max_qty_lots=1_000_000,
        min_notional_e8=500_000_000,
        tiers=(),
        liquidation_fee_ppm=12_500,
        funding_interval_ns=8 * NS_PER_HOUR,
    )


BTC = instrument("BTC", "0.1", "0.001")
ETH = instrument("ETH", "0.01", "0.001")
SOL = instrument("SOL", "0.01", "1")
AVAX = instrument("AVAX", "0.001", "1")
NEAR = instrument("NEAR", "0.001", "1")
DAY_MS = 1_706_745_600_000


def write_bars(path: Path, minutes: range) -> Path:
    """An archive csv of flat bars."""
    lines = [f"{DAY_MS + minute * 60_000},100,100,100,100,5,0,0,0,0,0,0\n" for minute in minutes]
    path.write_text("".join(lines))
    return path


def write_trades(path: Path, symbol: str, stamps_ms: list[int]) -> Path:
    """A capture of trades."""
    lines = [
        f'{ms}000 {{"stream":"x@trade","data":{{"s":"{symbol}","T":{ms},"t":{row},"p":"100","q":"1","X":"MARKET"}}}}\n'
        for row, ms in enumerate(stamps_ms, 1)
    ]
    path.write_bytes(gzip.compress("".join(lines).encode()))
    return path


def test_bars_and_trades_do_not_mix(tmp_path: Path) -> None:
    """One replay is of one form; the line names both files."""
    paths = [
        write_trades(tmp_path / "BTCUSDT.gz", "BTCUSDT", [DAY_MS]),
        write_bars(tmp_path / "ETHUSDT.csv", range(3)),
    ]
    with pytest.raises(Fatal, match=r"BTCUSDT.gz holds trades and .*ETHUSDT.csv bars: one replay is of one form"):
        recorded_tape(paths, [BTC, ETH], NS_PER_MINUTE)


def test_instruments_without_shared_time_are_refused(tmp_path: Path) -> None:
    """Files of different months are a slip, not a market."""
    paths = [write_bars(tmp_path / "BTCUSDT.csv", range(3)), write_bars(tmp_path / "ETHUSDT.csv", range(5, 9))]
    with pytest.raises(Fatal, match=r"BTC/USDT:USDT ends at 2024-02-01 00:02:00 UTC, before ETH/USDT:USDT begins"):
        recorded_tape(paths, [BTC, ETH], NS_PER_MINUTE)


def test_trades_of_two_instruments_make_one_tape(tmp_path: Path) -> None:
    """A folder of captures is a market like a folder of bars."""
    write_trades(tmp_path / "btcusdt.gz", "BTCUSDT", [DAY_MS, DAY_MS + 2_000])
    write_trades(tmp_path / "ethusdt.gz", "ETHUSDT", [DAY_MS + 1_000])
    tape = recorded_tape([tmp_path], [ETH, BTC], NS_PER_S)
    assert isinstance(tape, TickTape)
    order = [step.points[0].instrument_index for step in tape.steps(0) if step.points]
    assert order == [1, 0, 1]


def test_gaps_are_allowed_by_the_flag_alone(tmp_path: Path) -> None:
    """The flag reaches the loader, and the tape keeps the remark."""
    path = write_bars(tmp_path / "BTCUSDT.csv", range(3))
    path.write_text(path.read_text() + f"{DAY_MS + 5 * 60_000},100,100,100,100,5,0,0,0,0,0,0\n")
    with pytest.raises(Fatal, match="--allow-gaps"):
        recorded_tape([path], [BTC], NS_PER_MINUTE)
    tape = recorded_tape([path], [BTC], NS_PER_MINUTE, allow_gaps=True)
    assert tape.total_steps() == 16
    assert len(tape.notes) == 1


def test_twelve_real_days_of_bitcoin(shared_dir: Path) -> None:
    """The replay of the acceptance run: all bars but the last, every figure as its decimal says."""
    path = shared_dir / "data/um_1m/2025-07-06_2025-07-17/BTCUSDT-1m.feather"
    tape = recorded_tape([path], [BTC], NS_PER_MINUTE)
    assert isinstance(tape, BarTape)
    assert tape.total_steps() == 4 * 16_566
    assert tape.notes == ()
    assert tape.last_rate(0, 2**62) is None
    table = feather.read_table(path, memory_map=False)
    bars = tape.history(0, 2**62, 20_000)
    for name in ("open", "high", "low", "close"):
        wanted = [ticks_nearest(Decimal(repr(price)), BTC.tick) for price in table.column(name).to_pylist()]
        assert [getattr(bar, f"{name}_ticks") for bar in bars] == wanted[:-1]
    volumes = [lots_floor(Decimal(repr(volume)), BTC.lot) for volume in table.column("volume").to_pylist()]
    assert [bar.volume_lots for bar in bars] == volumes[:-1]
    last = list(tape.steps(4 * 16_565))
    assert len(last) == 4
    assert last[3].bars == ((0, bars[-1]),)


def test_three_real_instruments_with_funding(shared_dir: Path) -> None:
    """Across the outage of 2025-01-29 and the crash of 2025-02-03: every bar, every settlement, the known low."""
    folders = [shared_dir / "data/um_1m/2025-01-27_2025-02-26", shared_dir / "data/funding/2024-12-31_2026-02-19"]
    tape = recorded_tape(folders, [BTC, ETH, SOL], NS_PER_MINUTE)
    assert isinstance(tape, BarTape)
    assert tape.total_steps() == 4 * 43_198
    steps = list(tape.steps(0))
    assert all(len(step.points) == 3 for step in steps)
    assert sum(len(step.settlements) for step in steps) == 3 * 90
    crash = range(1_738_546_200 * NS_PER_S, 1_738_549_800 * NS_PER_S)
    lows = [step.points[1].price_ticks for step in steps if step.ts_ns in crash]
    assert min(lows) == 208_019
    rate = tape.last_rate(0, steps[0].ts_ns)
    assert rate is not None
    assert rate.ts_ns == 1_737_964_800 * NS_PER_S


@pytest.mark.parametrize(
    ("name", "market", "count", "first"),
    [
        ("AVAXUSDT-1m-2024-02.csv.gz", AVAX, 41_760, (33_173, 33_278, 33_148, 33_264, 31_584)),
        ("NEARUSDT-1m-2025-02.csv.gz", NEAR, 40_320, (4_619, 4_619, 4_599, 4_599, 45_002)),
    ],
)
def test_a_real_month_of_the_archive(
    shared_dir: Path, name: str, market: Instrument, count: int, first: tuple[int, ...]
) -> None:
    """An archive month has every minute, the last one too."""
    bars = load_bars(shared_dir / "data/um_1m_archive_csv" / name, market, NS_PER_MINUTE)
    assert len(bars.open_ns) == count
    assert tuple(int(column[0]) for column in bars.columns()) == first


@pytest.mark.parametrize(
    ("name", "market", "count", "notes"),
    [
        ("usdm_btcusdt_20230404.dat.gz", BTC, 2_197, ()),
        (
            "usdm_btcusdt_20230405.dat.gz",
            BTC,
            10_737,
            ("usdm_btcusdt_20230405.dat.gz: 1 prints of INSURANCE_FUND",),
        ),
        ("usdm_ethusdt_20240718.gz", ETH, 1_640, ()),
    ],
)
def test_real_captures(shared_dir: Path, name: str, market: Instrument, count: int, notes: tuple[str, ...]) -> None:
    """Every market trade is there, and the print 2 % off the market is not."""
    ticks = load_ticks(shared_dir / "data/ticks_raw_ws" / name, market)
    assert len(ticks.ts_ns) == count
    assert ticks.notes == notes
    middle = float(np.median(ticks.price_ticks))
    assert float(np.max(np.abs(ticks.price_ticks / middle - 1))) < 0.01
    assert np.all(ticks.bid_ticks <= ticks.ask_ticks)


def test_a_real_capture_knows_its_settlement(shared_dir: Path) -> None:
    """The mark stream of 2023-04-05 saw the settlement of midnight, before the first trade of the tape."""
    path = shared_dir / "data/ticks_raw_ws/usdm_btcusdt_20230405.dat.gz"
    tape = recorded_tape([path], [BTC], NS_PER_MINUTE)
    rate = tape.last_rate(0, next(tape.steps(0)).ts_ns)
    assert rate is not None
    assert (rate.ts_ns, rate.rate_e8) == (1_680_652_800_000 * NS_PER_MS, 2_760)
    assert sum(len(step.bars) for step in islice(tape.steps(0), 20_000)) == 5


def test_real_funding_jitter_is_floored(shared_dir: Path) -> None:
    """Five years of settlements lie on the 8 hours once their milliseconds are gone."""
    folder = shared_dir / "data"
    paths = [folder / "um_30m", folder / "funding/long/BTCUSDT-funding_2019-09_2025-05.feather"]
    tape = recorded_tape(paths, [BTC], 30 * NS_PER_MINUTE)
    settled = [row.ts_ns for step in tape.steps(0) for row in step.settlements]
    assert len(settled) > 6_200
    assert all(stamp % (8 * NS_PER_HOUR) == 0 for stamp in settled)
