"""Reports to test: made results, with texts that would break out if they could, and one as long as years of minutes."""

from pathlib import Path
from typing import Any, Final

import attrs
import numpy as np

from hedgegrid.backtest.measure import measure
from hedgegrid.backtest.report import write_report
from hedgegrid.backtest.result import BacktestResult, Rows
from hedgegrid.venues.simulated.arrays import BarArrays
from tests.backtest.made_result import TAKERS_PPM, made_result

HOSTILE: Final = "</script><script>document.title='broken'</script><b onclick=\"x\">&amp;'<!--"


def hostile_result(bars: int = 400) -> BacktestResult:
    """Two instruments, one of which has a name that is HTML, script and more."""
    result = made_result(bars=bars)
    first, second = result.instruments
    notes = (*result.notes, f"row 7 of {HOSTILE}")
    return attrs.evolve(result, instruments=(attrs.evolve(first, name=f"{HOSTILE}:USDT"), second), notes=notes)


def written(path: Path, result: BacktestResult, **changes: Any) -> str:
    """Write a report with all parts and give its text."""
    measures = measure(result, takers_ppm=TAKERS_PPM)
    words: dict[str, Any] = {
        "settings": '[account]\nname = "demo"\n',
        "quality": ["BTCUSDT-1m.feather: row 120: a gap of 3 bars"],
        "title": "A made run",
        "pessimistic": measures.figures,
        "code_version": "1.2.3",
        **changes,
    }
    write_report(path, result, measures, **words)
    return path.read_text(encoding="utf-8")


def repeated(result: BacktestResult, times: int) -> BacktestResult:
    """The same run again and again, one after the other: as many bars, decisions and fills as real ones have."""
    length_ns = result.bar_length_ns * len(result.bars[0].open_ns)
    fills, trades = len(result.fills), int(result.fills["trade_id"].max())

    def again(table: Rows, *columns: str, steps: dict[str, int] | None = None) -> Rows:
        made = np.tile(table, times)
        turn = np.repeat(np.arange(times), len(table))
        for column in columns:
            made[column] += turn * length_ns
        for column, step in (steps or {}).items():
            made[column] += turn * step
        return made

    bars = tuple(
        BarArrays(
            open_ns=(one.open_ns + length_ns * np.arange(times)[:, None]).ravel(),
            open_ticks=np.tile(one.open_ticks, times),
            high_ticks=np.tile(one.high_ticks, times),
            low_ticks=np.tile(one.low_ticks, times),
            close_ticks=np.tile(one.close_ticks, times),
            volume_lots=np.tile(one.volume_lots, times),
        )
        for one in result.bars
    )
    return attrs.evolve(
        result,
        end_ns=result.start_ns + length_ns * times,
        bars=bars,
        fills=again(result.fills, "ts_ns", steps={"trade_id": trades}),
        cuts=again(result.cuts, steps={"fill": fills, "lot_id": trades}),
        orders=again(result.orders, "placed_ns", "ended_ns"),
        equity=again(result.equity, "ts_ns"),
        holdings=np.tile(result.holdings, (times, 1)),
        funding=again(result.funding, "ts_ns"),
        grids=again(result.grids, "ts_ns"),
        pauses=again(result.pauses, "ts_ns"),
    )
