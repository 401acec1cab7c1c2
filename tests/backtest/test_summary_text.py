"""What a person reads when a backtest has ended."""

import attrs
import numpy as np
import pytest

from hedgegrid.backtest import result as r
from hedgegrid.backtest.logbook import FLATTEN_STARTED, RAISED
from hedgegrid.backtest.measure import measure
from hedgegrid.backtest.result import BacktestResult
from hedgegrid.backtest.showing import change, shown, timeframe
from hedgegrid.backtest.summary_json import RunFacts, summary_json
from hedgegrid.backtest.summary_text import COLUMNS, summary_text
from hedgegrid.core.standing import DAILY_LOSS, DRAWDOWN, FUNDING_MISSING
from hedgegrid.units import CASH_SCALE, NS_PER_HOUR
from tests.backtest.made_market import START_NS
from tests.backtest.made_result import TAKERS_PPM, made_liquidation, made_result


def text_of(result: BacktestResult, *, bounded: bool = False) -> str:
    """The text of a result, in one line where it was wrapped."""
    measures = measure(result, takers_ppm=TAKERS_PPM)
    facts = RunFacts(settings="", code_version="1", pessimistic=measures.figures if bounded else None)
    return summary_text(summary_json(result, measures, facts))


def flowing(text: str) -> str:
    """A text without its line ends."""
    return " ".join(text.split())


def test_it_fits_the_terminal() -> None:
    """Eighty columns, whatever the names and sums."""
    made = made_result(bars=200)
    long = attrs.evolve(made.instruments[0], name="1000000LONGNAME/USDT:USDT-271225")
    huge = attrs.evolve(made, instruments=(long, long), notes=("a note " * 30, *("more" for _ in range(20))))
    for result in (made, huge, made_liquidation(), made_result(bars=1)):
        assert all(len(line) <= COLUMNS for line in text_of(result, bounded=True).splitlines())


def test_it_says_what_it_stood_on() -> None:
    """Data, time, identity and notes come first: figures on bad data are worth nothing."""
    text = flowing(text_of(made_result(bars=200)))
    assert text.startswith("data BTC/USDT:USDT, ETH/USDT:USDT; 1h bars 2024-01-01 00:00:00 -> 2024-01-09 07:45:00 UTC")
    assert "identity sha256:0f1e2d3c4b5a" in text
    assert "note BTC/USDT:USDT: a gap of 3 bars" in text
    assert "ended solvent" in text


def test_a_year_of_a_few_days_is_no_forecast() -> None:
    """A return of days, compounded to a year, is told with what it is worth; of a long stretch it stands alone."""
    short = "note a year's return and ratios of 8 days are arithmetic, no forecast"
    assert short in flowing(text_of(made_result(bars=200)))
    assert "no forecast" not in flowing(text_of(made_result(bars=24 * 95)))


def test_a_liquidation_in_plain_words() -> None:
    """When, at which equity, under which margin."""
    text = flowing(text_of(made_liquidation()))
    assert (
        "ended LIQUIDATED on 2024-01-09 08:30:00 UTC: equity -6,619.74 was under the maintenance margin of 80.91"
        in text
    )


def test_pauses_in_plain_words() -> None:
    """A control that latched says when, at what, and that trading stopped; what came and went is counted."""
    rows = [
        (START_NS, FUNDING_MISSING, 0, RAISED, 0, 0),
        (START_NS + 1, FUNDING_MISSING, 0, RAISED, 0, 0),
        (START_NS + NS_PER_HOUR, DRAWDOWN, -1, RAISED, 101_500, 100_000),
        (START_NS + NS_PER_HOUR, DRAWDOWN, -1, FLATTEN_STARTED, 0, 0),
        (START_NS + NS_PER_HOUR, DAILY_LOSS, -1, RAISED, 501 * CASH_SCALE, 500 * CASH_SCALE),
    ]
    text = flowing(text_of(attrs.evolve(made_result(bars=20), pauses=np.array(rows, r.PAUSE))))
    assert "drawdown tripped at 2024-01-01 01:00:00 UTC (10.15 %, limit 10.00 %): trading stopped" in text
    assert "daily_loss tripped at 2024-01-01 01:00:00 UTC (501.00, limit 500.00): trading stopped" in text
    assert "flattened from 2024-01-01 01:00:00 UTC on: drawdown" in text
    assert "funding_missing (BTC/USDT:USDT) 2 times, first at 2024-01-01 00:00:00 UTC" in text


def test_ambiguity_with_its_bound() -> None:
    """Ambiguous bars stand with what the worse order would have made."""
    assert "3 bars in which an exit and its rival both could have filled; with the worse first: net" in flowing(
        text_of(made_result(bars=100), bounded=True)
    )


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (None, "ratio", "-"),
        (0.12345, "ratio", "12.35 %"),
        (-123_456_789_012, "quote_e8", "-1,234.57"),
        (1_234, "count", "1,234"),
        ({}, "counts", "none"),
        (START_NS, "time_ns", "2024-01-01 00:00:00"),
    ],
)
def test_units_on_the_screen(value: object, unit: str, text: str) -> None:
    """A figure reads with its unit, and what is not known is not 0."""
    assert shown(value, unit) == text  # type: ignore[arg-type]


def test_changes_on_the_screen() -> None:
    """A difference has its sign; one too small to be seen, or between no numbers, is silent."""
    assert change(100, 300_000_000, "quote_e8") == "+3.00"
    assert change(0.5, 0.25, "ratio") == "-25.00 %"
    assert change(0.5, 0.500001, "ratio") == ""
    assert change(None, 1, "count") == ""
    assert change(START_NS, START_NS + 1, "time_ns") == ""
    assert timeframe(NS_PER_HOUR) == "1h"
    assert timeframe(7) == "0.0 s"
