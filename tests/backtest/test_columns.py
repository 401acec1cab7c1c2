"""The columns that the driver walks against the tapes that `run` walks, whole and in stretches from a store."""

import itertools
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hedgegrid import backtesting
from hedgegrid.backtest import columns, driver
from hedgegrid.backtest.result import BacktestResult
from hedgegrid.backtest.store.parquet_files import SourceFile
from hedgegrid.backtest.store.reader import EVER_NS, Store
from hedgegrid.backtest.store.series import Batch, Kind, SeriesName
from hedgegrid.backtest.store.staging import Staging
from hedgegrid.backtest.stretches import BarBuilder, StoredMarket
from hedgegrid.backtest.tape_columns import POINTS
from hedgegrid.config.params import instrument_of
from hedgegrid.config.schema import AccountConfig
from hedgegrid.errors import Fatal
from hedgegrid.model.instrument import Instrument
from hedgegrid.model.market import Tape
from hedgegrid.units import NS_PER_MINUTE
from hedgegrid.venues.simulated.arrays import BarArrays, FundingArrays, TickArrays, no_funding
from hedgegrid.venues.simulated.tape_bars import BarTape
from hedgegrid.venues.simulated.tape_ticks import TickTape, bars_from_ticks
from tests.actors.house import BTC, FIRST_BAR, checked, document
from tests.backtest.lanes import made_bars, made_funding, made_ticks
from tests.core.made import walk

ETH = "ETH/USDT:USDT"
NAMES = (BTC, ETH)
TABLES = ("fills", "cuts", "orders", "equity", "holdings", "funding", "grids", "pauses")
IMPORTED = "2025-03-01T00:00:00+00:00"
TICK_E8, LOT_E8 = 10**7, 10**5
"""The tick and the lot of both instruments here, 0.1 and 0.001, in 1e-8."""

Figures = list[tuple[int, ...]]
Event = tuple[int, Figures, Figures, Figures]
"""A step: its time, its points, its settlements (instrument, time, rate), the bars that close with it."""


# --- both sides as steps ---------------------------------------------------------------------------------------------


def steps_of_tape(tape: Tape) -> list[Event]:
    """What `run` walks; a bar in short: instrument, high, low, close."""
    found: list[Event] = []
    for step in tape.steps(0):
        points = [attrs.astuple(point) for point in step.points]
        due: Figures = [(one.instrument_index, one.ts_ns, one.rate_e8) for one in step.settlements]
        bars: Figures = [(index, bar.high_ticks, bar.low_ticks, bar.close_ticks) for index, bar in step.bars]
        found.append((step.ts_ns, points, due, bars))
    return found


def steps_of_columns(market: columns.Market) -> list[Event]:
    """What the driver walks."""
    steps = list(steps_of_bars(market) if market.bars is not None else steps_of_trades(market))
    for number, *settlement in zip(*market.due, strict=True):
        steps[number][2].append(tuple(int(figure) for figure in settlement))
    assert steps[-1][0] == market.last_step_ns
    return steps


def steps_of_bars(market: columns.Market) -> Iterator[Event]:
    """Four points a bar time, of each instrument that has a bar then."""
    bars = columns.as_lists(market.bars)
    for row, phase in itertools.product(range(bars.rows), range(POINTS)):
        ts_ns = bars.open_ns[row] + phase * bars.length_ns // POINTS
        points: Figures = []
        closed: Figures = []
        for index in range(len(market.closed)):
            first = POINTS * (index * bars.rows + row)
            path = bars.points[first : first + POINTS]
            if path[0] > 0:
                price, low, high = path[phase], min(path[1:3]), max(path[1:3])
                points.append((index, price, phase == 0, 0, price, price, 0, 0, price, low, high))
                closed += [(index, high, low, path[3])] if phase == POINTS - 1 else []
        yield ts_ns, points, [], closed


def steps_of_trades(market: columns.Market) -> Iterator[Event]:
    """A step a trade, and one for each time at which bars end, before the trade that comes next."""
    ends, trades = columns.as_lists(market.ends), list(zip(*columns.as_lists(market.trades), strict=True))
    count = len(ends.ts_ns)
    assert ends.times == count
    for place in range(len(trades) + 1):
        for end in (end for end in range(count) if ends.before[end] == place):
            rows = [(index, index * count + end) for index in range(len(market.closed))]
            figures = [(index, ends.high_ticks[at], ends.low_ticks[at], ends.close_ticks[at]) for index, at in rows]
            yield ends.ts_ns[end], [], [], [row for row in figures if row[3] > 0]
        if place < len(trades):
            ts_ns, index, price, *rest = trades[place]
            yield ts_ns, [(index, price, True, *rest, 0, 0)], [], []


# --- made markets ----------------------------------------------------------------------------------------------------


def any_bars(dice: Random, count: int) -> BarArrays:
    """Bars with holes, that may begin late and end early."""
    numbers = sorted(dice.sample(range(count), dice.randint(1, count)))
    return made_bars(walk(dice.randint(0, 999), len(numbers)), numbers)


def any_funding(dice: Random, minutes: int) -> FundingArrays:
    """Settlements before, in, between and after the bars, some of them at the same time."""
    stamps = sorted(dice.sample(range(-3 * POINTS, (minutes + 3) * POINTS), dice.randint(0, 8)))
    times = [
        FIRST_BAR * NS_PER_MINUTE + stamp * NS_PER_MINUTE // POINTS + dice.choice([0, 0, 1, -1]) for stamp in stamps
    ]
    rates = [dice.randint(-(10**5), 10**5) for _ in times]
    return FundingArrays(ts_ns=np.array(times, np.int64), rate_e8=np.array(rates, np.int64))


def any_ticks(dice: Random, count: int) -> TickArrays:
    """Trades on and around the edges of bars, several at one time, with silent bars between."""
    waits = [dice.choice([0, 0, 1, 10**9, 7 * 10**9, NS_PER_MINUTE, 150 * 10**9]) for _ in range(count)]
    begins = FIRST_BAR * NS_PER_MINUTE + dice.choice([0, 1, NS_PER_MINUTE - 1, 5 * 10**9])
    times = begins + np.cumsum(np.array(waits, np.int64))
    # Every third is pulled onto the edge of its bar, where that does not turn time back.
    edges = times // NS_PER_MINUTE * NS_PER_MINUTE
    times = np.maximum.accumulate(np.where(np.arange(count) % 3 == 0, np.maximum(edges, begins), times))
    return attrs.evolve(made_ticks(dice.randint(0, 999), count), ts_ns=times)


def one_or_two(dice: Random) -> Sequence[str]:
    """The names of one instrument or of two."""
    return NAMES[: dice.randint(1, 2)]


# --- whole markets ---------------------------------------------------------------------------------------------------


@given(st.integers(0, 10**9))
def test_bars_are_walked_as_the_tape_walks_them(seed: int) -> None:
    """The same points at the same times in the same order; each settlement and bar in the same step."""
    dice = Random(seed)
    names = one_or_two(dice)
    bars = [any_bars(dice, 12) for _ in names]
    funding = [any_funding(dice, 12) for _ in names]
    market = columns.bars_market(bars, funding, NS_PER_MINUTE)
    tape = BarTape(instruments=names, bars=bars, funding=funding, bar_length_ns=NS_PER_MINUTE)
    assert steps_of_columns(market) == steps_of_tape(tape)
    assert market.rows * POINTS == tape.total_steps()


@given(st.integers(0, 10**9))
def test_trades_are_walked_as_the_tape_walks_them(seed: int) -> None:
    """The same, trade by trade: trades of one time by instrument, bars announced before what follows them."""
    dice = Random(seed)
    names = one_or_two(dice)
    seen = [any_funding(dice, 9) for _ in names]
    ticks = [attrs.evolve(any_ticks(dice, dice.randint(1, 25)), funding=each) for each in seen]
    funding = [dice.choice([no_funding(), any_funding(dice, 9)]) for _ in names]
    market = columns.trades_market(ticks, funding, NS_PER_MINUTE)
    tape = TickTape(instruments=names, ticks=ticks, funding=funding, bar_length_ns=NS_PER_MINUTE)
    assert steps_of_columns(market) == steps_of_tape(tape)
    assert market.rows == sum(len(each.ts_ns) for each in ticks)


def test_columns_become_plain_lists() -> None:
    """The interpreted execution meets Python integers alone, which cannot wrap."""
    market = columns.bars_market([made_bars(walk(1, 3))], [made_funding([(1, 5)])], NS_PER_MINUTE)
    bars, due = columns.as_lists(market.bars), columns.as_lists(market.due)
    assert {type(figure) for part in (bars.open_ns, bars.points, *due) for figure in part} == {int}
    assert columns.as_lists(None) is None


# --- bars from trades in pieces --------------------------------------------------------------------------------------


def piece(ticks: TickArrays, start: int, stop: int) -> TickArrays:
    """Some of the trades."""
    names = [field.name for field in attrs.fields(TickArrays) if field.name not in ("notes", "funding")]
    return attrs.evolve(ticks, **{name: getattr(ticks, name)[start:stop] for name in names})


def same_bars(left: BarArrays, right: BarArrays) -> bool:
    """Whether both are the same bars."""
    rows = zip((left.open_ns, *left.columns()), (right.open_ns, *right.columns()), strict=True)
    return all(np.array_equal(one, other) for one, other in rows)


@given(st.integers(0, 10**9))
def test_bars_are_the_same_from_pieces_and_from_the_whole(seed: int) -> None:
    """However the trades are cut, also within a bar and at one time, and whenever the bars are asked for."""
    dice = Random(seed)
    ticks = any_ticks(dice, dice.randint(1, 40))
    count = len(ticks.ts_ns)
    cuts = [0, *sorted(dice.choices(range(count + 1), k=dice.randint(0, 6))), count]
    builder = BarBuilder(NS_PER_MINUTE)
    for start, stop in itertools.pairwise(cuts):
        builder.take(piece(ticks, start, stop))
    until_ns = int(ticks.ts_ns[-1]) + dice.choice([0, 0, 1, NS_PER_MINUTE, 10 * NS_PER_MINUTE])
    assert (builder.first_ns, builder.last_ns) == (int(ticks.ts_ns[0]), int(ticks.ts_ns[-1]))
    assert same_bars(builder.bars(until_ns), bars_from_ticks(ticks, NS_PER_MINUTE, until_ns))


# --- stretches -------------------------------------------------------------------------------------------------------


def put(staging: Staging, name: str, kind: Kind, batch: Batch) -> None:
    """Gather rows of one series."""
    if len(batch["ts_ns"]):
        series = SeriesName(instrument=name, kind=kind, length_ns=NS_PER_MINUTE if kind is Kind.BARS else 0)
        source = staging.source(SourceFile(name="made", sha256=""))
        rows = np.arange(len(batch["ts_ns"]))
        staging.add(series, batch, rows, source=source, ids="venue" if kind is Kind.TRADES else "none")


def stored(
    root: Path,
    *,
    bars: Sequence[BarArrays] = (),
    ticks: Sequence[TickArrays] = (),
    funding: Sequence[FundingArrays] = (),
) -> Store:
    """A store of these markets; of trades it keeps no book, so that the price stands in for it."""
    with Staging(root) as staging:
        for name, each in zip(NAMES, bars, strict=False):
            figures = zip(("open", "high", "low", "close"), each.columns(), strict=False)
            priced = {f"{part}_e8": ticks_of * TICK_E8 for part, ticks_of in figures}
            put(staging, name, Kind.BARS, {"ts_ns": each.open_ns, **priced, "volume_e8": each.volume_lots * LOT_E8})
        for name, one in zip(NAMES, ticks, strict=False):
            batch = {
                "ts_ns": one.ts_ns,
                "trade_id": np.arange(len(one.ts_ns)),
                "price_e8": one.price_ticks * TICK_E8,
                "qty_e8": one.qty_lots * LOT_E8,
                "buyer_maker": np.zeros_like(one.ts_ns),
            }
            put(staging, name, Kind.TRADES, batch)
        for name, series in zip(NAMES, funding, strict=False):
            put(staging, name, Kind.FUNDING, {"ts_ns": series.ts_ns, "rate_e8": series.rate_e8})
        staging.publish(IMPORTED)
    return Store(root)


def account(folder: Path, count: int) -> tuple[AccountConfig, tuple[Instrument, ...]]:
    """Settings of one instrument or of two, of the same tick and lot."""
    text = document(folder, ladder={"step_bps": 12, "recenter_trigger_bps": 60}, sim={"latency_ms": 20_000})
    first = text["grid"][0]
    text["grid"] = [first, {**first, "instrument": ETH}][:count]
    text["sim"]["instrument"][ETH] = {"min_notional": 0, "tick": Decimal("0.1"), "lot": Decimal("0.001")}
    config = checked(text)
    return config, tuple(instrument_of(config, grid.instrument) for grid in config.grid)


def stretched(store: Store, instruments: tuple[Instrument, ...], rows_at_once: int) -> list[columns.Market]:
    """The stretches of a stored market."""
    market = StoredMarket(
        store=store,
        instruments=instruments,
        length_ns=NS_PER_MINUTE,
        from_ns=0,
        to_ns=EVER_NS,
        rows_at_once=rows_at_once,
    )
    return list(market.stretches())


def result_of(config: AccountConfig, instruments: tuple[Instrument, ...], parts: Sequence[columns.Market]) -> Any:
    """Walk a market in its stretches with the interpreted driver."""
    start_ns = steps_of_columns(parts[0])[0][0]
    known = [None for _ in instruments]
    run = driver.Run(
        backtesting.account_setup(config, instruments), driver.interpreted(), start_ns=start_ns, known_rates=known
    )
    for part in parts:
        run.walk(part)
    return run.result(bars=(), is_ticks=False, end_ns=parts[-1].last_step_ns, notes=(), identity="")


def differences(one: BacktestResult, other: BacktestResult) -> list[str]:
    """The names of what differs between two results."""
    found = [name for name in TABLES if getattr(one, name).tobytes() != getattr(other, name).tobytes()]
    plain = ("points", "ambiguous_bars", "below_minimum", "end_ns", "extremes")
    return found + [name for name in plain if repr(getattr(one, name)) != repr(getattr(other, name))]


@settings(max_examples=25)
@given(st.integers(0, 10**9), st.sampled_from([1, 2, 3, 5, 11]))
def test_stretches_hold_every_step_of_bars_once(
    tmp_path_factory: pytest.TempPathFactory, seed: int, rows_at_once: int
) -> None:
    """Two instruments with holes, settlements on the seams and between: end to end the stretches are the whole."""
    dice = Random(seed)
    bars = [any_bars(dice, 20) for _ in NAMES]
    funding = [any_funding(dice, 20) for _ in NAMES]
    _, instruments = account(Path("unused"), 2)
    store = stored(tmp_path_factory.mktemp("store"), bars=bars, funding=funding)
    first, last = (int(edge([each.open_ns[at] for each in bars])) for edge, at in ((max, 0), (min, -1)))
    if first > last:
        with pytest.raises(Fatal, match="share no time"):
            stretched(store, instruments, rows_at_once)
        return
    shared = [kept_bars(each, first, last) for each in bars]
    parts = stretched(store, instruments, rows_at_once)
    assert all(part.rows <= rows_at_once for part in parts)
    whole = columns.bars_market(shared, funding, NS_PER_MINUTE)
    assert [step for part in parts for step in steps_of_columns(part)] == steps_of_columns(whole)
    for index, each in enumerate(shared):
        assert sum(len(part.closed[index].open_ns) for part in parts) == len(each.open_ns)


@settings(max_examples=25)
@given(st.integers(0, 10**9), st.sampled_from([1, 2, 5, 16]))
def test_stretches_hold_every_step_of_trades_once(
    tmp_path_factory: pytest.TempPathFactory, seed: int, rows_at_once: int
) -> None:
    """The same for trades: whole bars, those that span a seam or are silent too, and nothing twice."""
    dice = Random(seed)
    ticks = [plain_ticks(any_ticks(dice, dice.randint(2, 40))) for _ in NAMES]
    funding = [any_funding(dice, 20) for _ in NAMES]
    _, instruments = account(Path("unused"), 2)
    store = stored(tmp_path_factory.mktemp("store"), ticks=ticks, funding=funding)
    first, last = (int(edge([each.ts_ns[at] for each in ticks])) for edge, at in ((max, 0), (min, -1)))
    shared = [kept_ticks(each, first, last) for each in ticks]
    if first > last or not all(len(each.ts_ns) for each in shared):
        with pytest.raises(Fatal):
            stretched(store, instruments, rows_at_once)
        return
    parts = stretched(store, instruments, rows_at_once)
    assert len(parts) > 1 or rows_at_once > 1 or last // NS_PER_MINUTE == first // NS_PER_MINUTE
    whole = columns.trades_market(shared, funding, NS_PER_MINUTE)
    assert [step for part in parts for step in steps_of_columns(part)] == steps_of_columns(whole)
    assert all(same_bars(one, other) for part in parts for one, other in zip(part.closed, whole.closed, strict=True))


def kept_bars(bars: BarArrays, first_ns: int, last_ns: int) -> BarArrays:
    """The bars that open from ``first_ns`` to ``last_ns``."""
    keep = (bars.open_ns >= first_ns) & (bars.open_ns <= last_ns)
    names = [field.name for field in attrs.fields(BarArrays) if field.name != "notes"]
    return BarArrays(**{name: getattr(bars, name)[keep] for name in names})


def kept_ticks(ticks: TickArrays, first_ns: int, last_ns: int) -> TickArrays:
    """The trades from ``first_ns`` to ``last_ns``."""
    start, stop = np.searchsorted(ticks.ts_ns, [first_ns, last_ns + 1])
    return piece(ticks, int(start), int(stop))


def plain_ticks(ticks: TickArrays) -> TickArrays:
    """Trades without a book: the price stands in for both sides and for the mark."""
    price, none = ticks.price_ticks, np.zeros_like(ticks.price_ticks)
    return attrs.evolve(ticks, bid_ticks=price, ask_ticks=price, mark_ticks=price, bid_qty_lots=none, ask_qty_lots=none)


@pytest.mark.parametrize("rows_at_once", [1, 7, 40, 1_000])
def test_a_result_does_not_depend_on_the_stretches_of_bars(tmp_path: Path, rows_at_once: int) -> None:
    """Two grids trade over the seams: every table is that of the market walked at once."""
    config, instruments = account(tmp_path, 2)
    numbers = [*range(60), *range(66, 128), *range(131, 200)]
    bars = [made_bars(walk(4, 200)), made_bars(walk(9, len(numbers)), numbers)]
    # On the first step of a stretch, between its bars, in a hole, and where the next one begins.
    funding = [made_funding([(7, 90_000), (40, -70_000), (80, 50_000)]), made_funding([(62, 80_000), (120, -9_000)])]
    parts = stretched(stored(tmp_path / "store", bars=bars, funding=funding), instruments, rows_at_once)
    assert len(parts) == -(-200 // rows_at_once)
    whole = result_of(config, instruments, [columns.bars_market(bars, funding, NS_PER_MINUTE)])
    assert len(whole.fills) > 40
    assert len(whole.funding) == 5
    assert differences(result_of(config, instruments, parts), whole) == []


@pytest.mark.parametrize("rows_at_once", [1, 50, 100_000])
def test_a_result_does_not_depend_on_the_stretches_of_trades(tmp_path: Path, rows_at_once: int) -> None:
    """The same on trades, with a silence of several bars and settlements on the seams."""
    config, instruments = account(tmp_path, 2)
    ticks = [plain_ticks(made_ticks(seed, 2_500)) for seed in (3, 8)]
    silent = np.where(np.arange(2_500) >= 1_200, 4 * NS_PER_MINUTE, 0)
    ticks = [attrs.evolve(each, ts_ns=each.ts_ns + silent) for each in ticks]
    first, last = max(int(each.ts_ns[0]) for each in ticks), min(int(each.ts_ns[-1]) for each in ticks)
    shared = [kept_ticks(each, first, last) for each in ticks]
    funding = [made_funding([(2, 90_000), (7, -70_000)]), made_funding([(9, 80_000), (10, -9_000)])]
    parts = stretched(stored(tmp_path / "store", ticks=ticks, funding=funding), instruments, rows_at_once)
    whole = result_of(config, instruments, [columns.trades_market(shared, funding, NS_PER_MINUTE)])
    assert len(whole.fills) > 20
    assert len(whole.funding) == 4
    assert differences(result_of(config, instruments, parts), whole) == []
    assert (len(parts) > 5) == (rows_at_once < 1_000)


def test_trades_that_are_all_too_small_are_no_market(tmp_path: Path) -> None:
    """A store whose trades all lie under one lot is refused in a line: there is nothing to make bars of."""
    _, instruments = account(tmp_path, 1)
    small = attrs.evolve(plain_ticks(made_ticks(3, 20)), qty_lots=np.zeros(20, np.int64))
    with pytest.raises(Fatal, match="as large as one lot"):
        stretched(stored(tmp_path / "store", ticks=[small]), instruments, 100)
