"""The synthetic market: one seed, one market, from any step on."""

import hashlib
import math
from decimal import Decimal
from itertools import islice, pairwise

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hedgegrid.model.instrument import Instrument
from hedgegrid.model.market import Bar, Step, Tape
from hedgegrid.units import NS_PER_DAY, NS_PER_HOUR, NS_PER_MINUTE, NS_PER_S
from hedgegrid.venues.simulated.arrays import FloatArray
from hedgegrid.venues.simulated.synthetic import SyntheticTape
from hedgegrid.venues.simulated.synthetic_path import BLOCK_BARS, SyntheticSettings, exp

START = 1_700_006_400 * NS_PER_S
BLOCK_STEPS = 4 * BLOCK_BARS


def instrument(name: str = "BTC/USDT:USDT", tick: str = "0.1", hours: int = 8) -> Instrument:
    """An instrument with the given name, tick and funding interval."""
    return Instrument(
        name=name,
        tick=Decimal(tick),
        lot=Decimal("0.001"),
        min_qty_lots=1,
        max_qty_lots=1_000_000,
        min_notional_e8=500_000_000,
        tiers=(),
        liquidation_fee_ppm=12_500,
        funding_interval_ns=hours * NS_PER_HOUR,
    )


def tape_of(
    seed: int = 1,
    instruments: tuple[Instrument, ...] = (instrument(),),
    length_ns: int = NS_PER_MINUTE,
    temper: SyntheticSettings | None = None,
) -> SyntheticTape:
    """A market that starts at 60,000 at START."""
    return SyntheticTape(
        instruments=instruments,
        start_prices=[Decimal(60_000)] * len(instruments),
        seed=seed,
        start_ns=START,
        bar_length_ns=length_ns,
        settings=temper or SyntheticSettings(),
    )


def taken(tape: SyntheticTape, count: int, first: int = 0) -> list[Step]:
    """The next ``count`` steps."""
    return list(islice(tape.steps(first), count))


def bars_of(tape: SyntheticTape, count: int) -> tuple[Bar, ...]:
    """The first ``count`` bars of the first instrument."""
    return tape.history(0, START + count * tape.bar_length_ns, count)


def closes_of(tape: SyntheticTape, blocks: int) -> FloatArray:
    """The logarithms of the closes of the first blocks, relative to the start price."""
    closes = [tape._markets[0].block(block)[3] for block in range(blocks)]
    return np.asarray(np.log(np.concatenate(closes) / 600_000), np.float64)


def test_the_market_of_a_seed_is_this_one() -> None:
    """A journal hash is worth something only if the market is the same on every machine and release."""
    digest = hashlib.sha256()
    for bar in bars_of(tape_of(seed=7), 3 * BLOCK_BARS):
        digest.update(repr(attrs.astuple(bar)).encode())
    assert digest.hexdigest() == "bcdfe909952fb191df8510b4a38226e29c20fc5c33391c033e6c7a257e447e41"


def test_seeds_make_markets() -> None:
    """The same seed gives the same steps, another seed others."""
    assert taken(tape_of(seed=3), 500) == taken(tape_of(seed=3), 500)
    assert taken(tape_of(seed=3), 500) != taken(tape_of(seed=4), 500)
    assert tape_of(seed=3).identity == tape_of(seed=3).identity
    assert tape_of(seed=3).identity != tape_of(seed=4).identity


def test_another_instrument_leaves_the_first_as_it_is() -> None:
    """A config that gains an instrument keeps the markets of the others."""
    both = tape_of(instruments=(instrument(), instrument("ETH/USDT:USDT")))
    alone = [step.points[0] for step in taken(tape_of(), 400)]
    assert [step.points[0] for step in taken(both, 400)] == alone
    assert [step.points[1].price_ticks for step in taken(both, 400)] != [p.price_ticks for p in alone]
    assert all([i for i, _ in step.bars] in ([], [0, 1]) for step in taken(both, 400))


@settings(max_examples=15)
@given(first=st.integers(0, 3 * BLOCK_STEPS), hours=st.sampled_from([1, 4, 8]))
def test_seeking_equals_walking(first: int, hours: int) -> None:
    """A restart on a kept exchange finds the market where it was, settlements included."""
    market = (instrument(hours=hours),)
    walked = taken(tape_of(instruments=market), first + 30)
    assert taken(tape_of(instruments=market), 30, first) == walked[first:]


@given(seed=st.integers(0, 2**64))
@settings(max_examples=20)
def test_steps_are_ordered_and_bars_hold_their_points(seed: int) -> None:
    """Whatever the seed: time and numbers grow by one, and the path touches the bar's ends and nothing beyond."""
    temper = SyntheticSettings(annual_volatility=4, jumps_per_day=500)
    steps = taken(tape_of(seed=seed, temper=temper), 400, BLOCK_STEPS - 200)
    assert all(a.ts_ns < b.ts_ns and a.number + 1 == b.number for a, b in pairwise(steps))
    for group in zip(*[iter(steps)] * 4, strict=True):
        ((_, bar),) = group[3].bars
        path = [step.points[0].price_ticks for step in group]
        assert (min(path), max(path)) == (bar.low_ticks, bar.high_ticks)
        assert (path[0], path[3]) == (bar.open_ticks, bar.close_ticks)
        assert group[0].ts_ns == bar.open_ns
        assert bar.volume_lots > 0


def test_blocks_join_without_a_break() -> None:
    """Blocks are made alone, yet the market does not jump where they meet, nor at the start."""
    tape = tape_of(temper=SyntheticSettings(jumps_per_day=0))
    bars = tape.history(0, START + 6 * BLOCK_BARS * NS_PER_MINUTE, 9 * BLOCK_BARS)
    gaps = [abs(b.open_ticks - a.close_ticks) / a.close_ticks for a, b in pairwise(bars)]
    seams = gaps[BLOCK_BARS - 1 :: BLOCK_BARS]
    assert len(seams) == 8
    assert max(seams) < 3 * float(np.quantile(gaps, 0.99))
    assert abs(bars[3 * BLOCK_BARS].open_ticks / 600_000 - 1) < 0.001


def test_history_reaches_back_before_the_start() -> None:
    """Any warm-up is served, and it is the same market as the walk."""
    tape = tape_of()
    warm_up = tape.history(0, START, 1_500)
    assert len(warm_up) == 1_500
    assert [bar.open_ns for bar in warm_up] == [START - place * NS_PER_MINUTE for place in range(1_500, 0, -1)]
    walked = [bar for step in taken(tape, 40) for _, bar in step.bars]
    assert tape.history(0, START + 10 * NS_PER_MINUTE, 12) == (*warm_up[-2:], *walked)
    assert tape.history(0, START + 10 * NS_PER_MINUTE - 1, 2) == tuple(walked[-3:-1])
    assert tape.history(0, START, 0) == ()


@pytest.mark.parametrize("hours", [1, 8])
def test_settlements_fall_on_the_interval(hours: int) -> None:
    """Every interval is settled once, in the first step at or after it, and last_rate tells the same rate."""
    tape = tape_of(instruments=(instrument(hours=hours),))
    steps = taken(tape, 3 * BLOCK_STEPS)
    interval = hours * NS_PER_HOUR
    rows = [(step, row) for step in steps for row in step.settlements]
    first = -(-START // interval) * interval
    assert [row.ts_ns for _, row in rows] == list(range(first, steps[-1].ts_ns + 1, interval))
    for step, row in rows:
        assert row.ts_ns <= step.ts_ns
        assert step.number == 0 or steps[step.number - 1].ts_ns < row.ts_ns
        assert tape.last_rate(0, row.ts_ns) == row
        assert tape.last_rate(0, row.ts_ns + interval - 1) == row
    before = tape.last_rate(0, START - 1)
    assert before.ts_ns == (START - 1) // interval * interval


def test_settlements_between_two_blocks_are_not_lost() -> None:
    """With bars of a day and hourly funding some settlements fall after a block's last point: they ride in the next."""
    tape = tape_of(instruments=(instrument(hours=1),), length_ns=NS_PER_DAY)
    steps = taken(tape, 16, BLOCK_STEPS - 8)
    stamps = [row.ts_ns for step in steps[1:] for row in step.settlements]
    assert stamps == list(range(steps[0].ts_ns + NS_PER_HOUR, steps[-1].ts_ns + 1, NS_PER_HOUR))
    assert [len(step.settlements) for step in steps[1:]] == [6] * 15


def test_funding_is_priced_on_closed_bars() -> None:
    """The rate looks at the interval before it: 1 bps, and 3.5 bps for each deviation that the price moved."""
    tape = tape_of(length_ns=15 * NS_PER_MINUTE)
    for place in range(40):
        now = (START // (8 * NS_PER_HOUR) + place) * 8 * NS_PER_HOUR
        bars = tape.history(0, now, 33)
        assert bars[-1].open_ns + bars[-1].length_ns == now
        moved = bars[-1].close_ticks / bars[0].close_ticks - 1
        rate = 1e-4 + 3.5e-4 * moved / (0.6 * math.sqrt(8 / (24 * 365)))
        assert abs(tape.last_rate(0, now).rate_e8 - rate * 1e8) < 1


def test_funding_follows_the_market_within_its_bound() -> None:
    """Longs pay after a rise, shorts after a fall, never over 0.75 % in 8 hours."""
    temper = SyntheticSettings(annual_volatility=1, jumps_per_day=100, jump_bps=2_000)
    tape = tape_of(temper=temper, length_ns=15 * NS_PER_MINUTE)
    moves, rates = [], []
    for place in range(1, 1_500):
        now = START + place * 8 * NS_PER_HOUR
        last, first = tape.history(0, now, 33)[-1], tape.history(0, now, 33)[0]
        moves.append(last.close_ticks / first.close_ticks - 1)
        rates.append(tape.last_rate(0, now).rate_e8)
    assert max(rates) == 750_000
    assert min(rates) == -750_000
    assert float(np.corrcoef(np.clip(moves, -0.2, 0.2), rates)[0, 1]) > 0.8


def test_the_price_never_runs_away() -> None:
    """Thirty years at a wild volatility stay within the bound, and in the long run the spread is about one half."""
    wild = tape_of(length_ns=NS_PER_HOUR, temper=SyntheticSettings(annual_volatility=20))
    assert float(np.max(np.abs(closes_of(wild, 30 * 365 * 24 // BLOCK_BARS)))) < 4
    calm = tape_of(length_ns=NS_PER_HOUR, temper=SyntheticSettings(annual_volatility=2))
    assert 0.4 < float(np.std(closes_of(calm, 500)[::BLOCK_BARS])) < 0.6


@pytest.mark.parametrize(("volatility", "length_ns"), [(0.6, NS_PER_MINUTE), (3.0, NS_PER_S)])
def test_volatility_is_what_was_asked_and_clusters(volatility: float, length_ns: int) -> None:
    """The setting means what it says, and nervous bars follow nervous bars."""
    tape = tape_of(length_ns=length_ns, temper=SyntheticSettings(annual_volatility=volatility, jumps_per_day=0))
    returns = np.diff(closes_of(tape, 40))
    annual = float(returns.std()) * math.sqrt(365 * NS_PER_DAY / length_ns)
    assert volatility * 0.85 < annual < volatility * 1.15
    sizes = np.abs(returns)
    assert float(np.corrcoef(sizes[:-1], sizes[1:])[0, 1]) > 0.1


def test_jumps_come_as_often_and_as_large_as_asked() -> None:
    """jumps_per_day and jump_bps each change the market as they say."""
    quiet = SyntheticSettings(annual_volatility=0.01, jumps_per_day=24, jump_bps=100)
    moves = np.abs(np.diff(closes_of(tape_of(temper=quiet), 20)))
    jumps = moves[moves > 0.002]
    assert 24 * 0.7 < len(jumps) / (20 * BLOCK_BARS / 1440) < 24 * 1.3
    assert 0.008 < float(np.mean(jumps)) < 0.012


def test_regimes_last_as_asked() -> None:
    """A regime's drift belongs to its length: within a quarter of an hour only short regimes carry the price."""

    def wander(minutes: float) -> float:
        temper = SyntheticSettings(regime_minutes=minutes, jumps_per_day=0)
        closes = closes_of(tape_of(temper=temper), 40)
        return float(np.diff(closes[::15]).std() / np.diff(closes).std())

    assert wander(8) > 1.2 * wander(240)


@pytest.mark.parametrize("seed", range(5))
def test_the_demo_market_is_lively_from_the_start(seed: int) -> None:
    """With bars of a second and a volatility of 3 4 bps are crossed once in 5 s on average, at least."""
    tape = tape_of(seed=seed, length_ns=NS_PER_S, temper=SyntheticSettings(annual_volatility=3))
    prices = [step.points[0].price_ticks for step in taken(tape, 240)]
    cells = [price // 240 for price in prices]
    crossings = sum(abs(b - a) for a, b in pairwise(cells))
    assert crossings >= 12


def test_a_coarse_tick_keeps_a_price() -> None:
    """A price that falls under a tick stays at one tick: no point is ever at zero."""
    coarse = (instrument(tick="60000"),)
    steps = taken(tape_of(instruments=coarse, temper=SyntheticSettings(annual_volatility=20)), 9_000)
    assert min(step.points[0].price_ticks for step in steps) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"annual_volatility": 0.0},
        {"annual_volatility": 21.0},
        {"jumps_per_day": -1.0},
        {"jump_bps": 2_001.0},
        {"regime_minutes": 0.0},
    ],
)
def test_settings_without_a_meaning_are_refused(change: dict[str, float]) -> None:
    """A market that cannot be made is refused where its settings are."""
    with pytest.raises(ValueError, match=next(iter(change))):
        SyntheticSettings(**change)


def test_a_start_off_the_grid_is_refused() -> None:
    """Bars open on whole multiples of their length, in every source."""
    with pytest.raises(ValueError, match="whole multiple"):
        SyntheticTape(
            instruments=[instrument()],
            start_prices=[Decimal(1)],
            seed=1,
            start_ns=START + 1,
            bar_length_ns=NS_PER_MINUTE,
            settings=SyntheticSettings(),
        )


@pytest.mark.parametrize("prices", [[], [Decimal(0)], [Decimal("0.04")], [Decimal(10) ** 15]])
def test_a_start_price_without_a_meaning_is_refused(prices: list[Decimal]) -> None:
    """No price, none that is a tick at least, or one beyond the bound of ticks."""
    with pytest.raises(ValueError, match="start price"):
        SyntheticTape(
            instruments=[instrument()],
            start_prices=prices,
            seed=1,
            start_ns=START,
            bar_length_ns=NS_PER_MINUTE,
            settings=SyntheticSettings(),
        )


def test_steps_are_counted_from_zero() -> None:
    """A negative place is a fault, though the market reaches back before its start."""
    with pytest.raises(ValueError, match="counted from 0"):
        next(tape_of().steps(-1))


def test_a_synthetic_tape_is_an_endless_tape() -> None:
    """The venue takes any Tape, and asks for the end only where there is one."""
    tape: Tape = tape_of()
    assert tape.total_steps() is None


def test_exp_is_exact_enough() -> None:
    """The machine-independent exponential differs from the library's by rounding only."""
    values = np.linspace(-15, 15, 20_001)
    assert float(np.max(np.abs(exp(values) / np.exp(values) - 1))) < 1e-12
