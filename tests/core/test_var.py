"""Value at risk and the targeting of volatility against plain NumPy, on the recorded crash of February 2025."""

from decimal import Decimal
from pathlib import Path
from typing import Final

import attrs
import numpy as np
import pytest
from numpy.typing import NDArray

from hedgegrid.backtest import driver
from hedgegrid.config.params import instrument_of, var_scale
from hedgegrid.config.risk import VarConfig
from hedgegrid.core import session, var, worst_case
from hedgegrid.core.account_figures import Worth, at_risk_of, legs_held
from hedgegrid.core.codes import ENTRY, LONG, SHORT
from hedgegrid.core.gate_records import UNMEASURED, AccountRisk, Exposure, InstrumentRisk, Realised, RiskLimits
from hedgegrid.core.records import LegAccount, MarginTier, table
from hedgegrid.units import CASH_SCALE, NS_PER_MINUTE
from hedgegrid.venues.simulated.arrays import BarArrays, no_funding
from hedgegrid.venues.simulated.recorded_bars import load_bars
from tests.actors.house import BTC, settings
from tests.backtest.lanes import Lane, backtest

NAMES: Final = (BTC, "ETH/USDT:USDT", "SOL/USDT:USDT")
CRASH_NS: Final = 1_738_533_600 * 10**9
"""2025-02-02 22:00 UTC; ETH fell by an eighth in one minute four hours later."""
CRASH_BARS: Final = 300
MINUTES_A_DAY: Final = 1_440
Z99: Final = 2.3263478740408408
Z95: Final = 1.6448536269514722
"""Quantiles of the standard normal distribution, from a table."""

Floats = NDArray[np.float64]


def crash(shared_dir: Path, tmp_path: Path, name: str, count: int = CRASH_BARS) -> BarArrays:
    """Minutes of an instrument through the crash."""
    file = shared_dir / "data/um_1m/2025-01-27_2025-02-26" / f"{name.partition('/')[0]}USDT-1m.feather"
    bars = load_bars(file, instrument_of(settings(tmp_path), name), NS_PER_MINUTE, allow_gaps=True)
    first = int(np.searchsorted(bars.open_ns, CRASH_NS))
    cut = slice(first, first + count)
    return BarArrays(
        **{field.name: getattr(bars, field.name)[cut] for field in attrs.fields(BarArrays) if field.name != "notes"}
    )


def ewma(closes: Floats, lam: float) -> float:
    """The variance of simple returns, as one weighted sum: the first return is the seed."""
    returns = closes[1:] / closes[:-1] - 1.0
    weights = np.append(lam ** (len(returns) - 1), (1.0 - lam) * lam ** np.arange(len(returns) - 2, -1, -1))
    return float(weights @ returns**2)


def measured(bars: BarArrays, lam: float, scale: float) -> int:
    """The gate's rate after all of the bars."""
    realised = Realised()
    for close in bars.close_ticks.tolist():
        session.feed_volatility(realised, close, lam)
    return var.rate_ppm(realised, scale)


@pytest.mark.parametrize(("confidence", "z"), [("0.99", Z99), ("0.95", Z95)])
@pytest.mark.parametrize(
    ("hours", "minutes", "bars"), [(24, 1, 1_440.0), (24, 30, 48.0), (1, 1, 60.0), (168, 15, 672.0)]
)
def test_the_scale_is_the_quantile_times_the_root_of_the_bars(
    confidence: str, z: float, hours: int, minutes: int, bars: float
) -> None:
    """Worked out when the config is read: the horizon in bars, under a root, times z."""
    limits = VarConfig(confidence=Decimal(confidence), horizon_hours=hours)
    assert var_scale(limits, minutes * NS_PER_MINUTE) == pytest.approx(z * np.sqrt(bars), rel=1e-12)


@pytest.mark.parametrize("lam", [0.9, 0.97])
def test_the_value_at_risk_of_an_account_is_numpys(shared_dir: Path, tmp_path: Path, lam: float) -> None:
    """Three instruments, legs against each other, entries at their worst: absolute nets added, to a millionth."""
    scale = var_scale(VarConfig(), NS_PER_MINUTE)
    account, rules, exposures = AccountRisk(), table(InstrumentRisk, 3), table(Exposure, 6)
    held = ((0.9, 0.2), (3.0, 11.0), (0.0, 80.0))
    working = ((0.3, 0.4), (0.0, 2.0), (50.0, 0.0))
    expected, notional = 0.0, 0.0
    for i, name in enumerate(NAMES):
        instrument = instrument_of(settings(tmp_path), name)
        bars = crash(shared_dir, tmp_path, name)
        rules[i].unit_e8, rules[i].mark_ticks = instrument.unit_e8, int(bars.close_ticks[-1])
        rules[i].var_ppm = measured(bars, lam, scale)
        for leg in (LONG, SHORT):
            lots = [round(amount[leg] / float(instrument.lot)) for amount in (held[i], working[i])]
            exposures[2 * i + leg].position_lots, exposures[2 * i + leg].entry_lots = lots
            exposures[2 * i + leg].entry_worst_e8 = lots[1] * rules[i].mark_ticks * instrument.unit_e8
        tiers = [MarginTier(one.max_notional_e8, one.maintenance_ppm) for one in instrument.tiers]
        worst_case.weigh(RiskLimits(), account, rules, exposures, tiers, i)
        closes = bars.close_ticks.astype(np.float64) * float(instrument.tick)
        (long, short), (more_long, more_short) = held[i], working[i]
        net = max(abs(long + more_long - short), abs(short + more_short - long)) * closes[-1]
        expected += net * Z99 * np.sqrt(ewma(closes, lam) * MINUTES_A_DAY)
        notional += net
    assert account.unmeasured == 0
    assert expected > 0.1 * notional, "the crash is in it"
    assert 0 <= account.var_e8 / CASH_SCALE - expected <= 1e-6 * notional


def test_the_value_at_risk_as_held_is_numpys(shared_dir: Path, tmp_path: Path) -> None:
    """What is published of three instruments, a part of one not ours: nets added, without orders, to a millionth."""
    lam, rules, legs = 0.94, table(InstrumentRisk, 3), table(LegAccount, 6)
    foreign = table(LegAccount, 6)
    held = ((0.9, 0.2), (3.0, 11.0), (0.0, 80.0))
    expected, notional = 0.0, 0.0
    for i, name in enumerate(NAMES):
        instrument = instrument_of(settings(tmp_path), name)
        bars = crash(shared_dir, tmp_path, name)
        rules[i].unit_e8, rules[i].mark_ticks = instrument.unit_e8, int(bars.close_ticks[-1])
        rules[i].var_ppm = measured(bars, lam, var_scale(VarConfig(), NS_PER_MINUTE))
        for leg in (LONG, SHORT):
            legs[2 * i + leg].qty_lots = round(held[i][leg] / float(instrument.lot))
        foreign[2 * i].qty_lots = legs[2 * i].qty_lots
        closes = bars.close_ticks.astype(np.float64) * float(instrument.tick)
        net = abs(2 * held[i][LONG] - held[i][SHORT]) * closes[-1]
        expected += net * Z99 * np.sqrt(ewma(closes, lam) * MINUTES_A_DAY)
        notional += net
    told = at_risk_of(worth(10**15), rules, legs_held(rules, legs, foreign))
    assert told.var_e8 is not None
    assert 0 <= told.var_e8 / CASH_SCALE - expected <= 1e-6 * notional
    assert told.net_e8 / CASH_SCALE == pytest.approx(notional, rel=1e-9)


def worth(equity_e8: int) -> Worth:
    """An account of this equity that needs a tenth of a unit held."""
    return Worth(
        equity_e8=equity_e8,
        unrealised_e8=0,
        maintenance_e8=10,
        margin_ppm=None,
        peak_e8=0,
        drawdown_ppm=None,
        day_loss_e8=0,
        session_loss_e8=0,
        at_ns=7,
    )


@pytest.mark.parametrize(
    ("equity_e8", "lots", "var_ppm", "leverage_ppm", "distance_ppm", "var_e8"),
    [
        pytest.param(1_000, (0, 0), UNMEASURED, 0, 990 * 10**5, 0, id="flat"),
        pytest.param(1_000, (20, 0), UNMEASURED, 2_000_000, 497_487, None, id="a volatility that nobody has measured"),
        pytest.param(1_000, (20, 20), UNMEASURED, 4_000_000, 99_000_000, 0, id="hedged: nothing is lost by a move"),
        pytest.param(1_000, (5, 0), 10_000, 500_000, None, 5, id="no fall and no rise takes it"),
        pytest.param(0, (20, 0), 10_000, None, 0, 20, id="no equity is no multiple of anything"),
        pytest.param(-5, (0, 20), 10_000, None, 0, 20, id="due already"),
    ],
)
def test_what_cannot_be_known_is_absent(
    equity_e8: int,
    lots: tuple[int, int],
    var_ppm: int,
    leverage_ppm: int | None,
    distance_ppm: int | None,
    var_e8: int | None,
) -> None:
    """Law 9: without equity there is no leverage, without a volatility no value at risk, without a way no distance."""
    rules = [InstrumentRisk(unit_e8=1, mark_ticks=100, var_ppm=var_ppm)]
    held = legs_held(rules, [LegAccount(qty_lots=one) for one in lots], table(LegAccount, 2))
    told = at_risk_of(worth(equity_e8), rules, held)
    assert (told.leverage_ppm, told.distance_ppm, told.var_e8) == (leverage_ppm, distance_ppm, var_e8)
    assert (told.gross_e8, told.at_ns) == (100 * sum(lots), 7)


def test_a_volatility_is_missing_before_the_first_return() -> None:
    """No bar, one bar: not known; a second one at the same price: known, and zero."""
    realised = Realised()
    told = [var.rate_ppm(realised, 88.0)]
    for close in (500, 500, 510):
        session.feed_volatility(realised, close, 0.5)
        told.append(var.rate_ppm(realised, 88.0))
    assert told[:3] == [UNMEASURED, UNMEASURED, 0]
    assert told[3] == int(np.ceil(np.sqrt(0.5 * 0.02**2) * 88.0 * 1e6))


@pytest.mark.parametrize("variance", [1.0, 1e300, float("inf"), float("nan")])
def test_what_is_no_number_counts_as_too_much(variance: float) -> None:
    """A rate has a bound, eight notionals, so that a part stays within 64 bits and nothing passes by being absurd."""
    assert var.rate_ppm(Realised(bars=9, variance=variance), 88.0) == 8_000_000


def test_parts_round_up_and_know_no_sign() -> None:
    """A long and a short of the same size may lose the same, and never less than is told."""
    assert [var.part_e8(net, 33_333) for net in (100, -100, 0)] == [4, 4, 0]


@pytest.mark.parametrize("target", ["0.3", "0.8"])
def test_ladders_are_scaled_to_the_target_as_numpy_has_it(shared_dir: Path, tmp_path: Path, target: str) -> None:
    """Through the crash every entry that is sent has base x min(1, target / volatility), down to the lot."""
    ladder = {"base_qty": Decimal(1), "vol_target": Decimal(target), "vol_lambda": Decimal("0.94"), "step_bps": 60}
    config = settings(
        tmp_path,
        ladder=ladder,
        execution={"qty_tolerance_ratio": 0},
        account={"wallet_quote": 10**8},
        risk=dict.fromkeys(
            (
                "max_order_notional_quote",
                "max_notional_per_leg_quote",
                "max_gross_notional_quote",
                "max_net_notional_quote",
            ),
            10**9,
        ),
    )
    bars = crash(shared_dir, tmp_path, BTC)
    result = backtest(config, Lane(bars=(bars,), funding=(no_funding(),)), driver.interpreted())
    closes = bars.close_ticks.astype(np.float64)
    sent = result.orders[(result.orders["purpose"] == ENTRY)]
    seen: list[float] = []
    for row in sent:
        done = int(np.searchsorted(bars.open_ns, row["placed_ns"]))
        volatility = np.sqrt(ewma(closes[:done], 0.94) * 365 * MINUTES_A_DAY)
        factor = min(1.0, float(target) / volatility)
        assert row["qty_lots"] in {int(1_000 * factor + shift) for shift in (-1e-6, 0.0)}
        seen.append(factor)
    assert len(set(seen)) > 20
    assert (max(seen) == 1.0) == (target == "0.8")
