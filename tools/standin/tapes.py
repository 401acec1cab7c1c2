"""The tape that the market walks: recorded minute bars, a synthetic market, or one that stands still.

Invariant: whatever it is, there are bars before the first one that is walked, at least ``HISTORY_BARS`` of the
exchange's minutes, so that a client can warm up (fewer only where a recorded file is too short).
"""

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Final

import attrs

from hedgegrid.errors import Fatal
from hedgegrid.model.instrument import Instrument
from hedgegrid.model.market import Tape
from hedgegrid.units import NS_PER_HOUR, NS_PER_MINUTE, cash_e8
from hedgegrid.venues.simulated.synthetic import SyntheticTape
from hedgegrid.venues.simulated.synthetic_path import SyntheticSettings
from hedgegrid.venues.simulated.tape_bars import POINTS, BarTape
from tools.standin.rules import InstrumentSpec

HISTORY_BARS: Final = 1_500
_HALF: Final = 2
_SYNTHETIC_START_NS: Final = 1_735_689_600 * 1_000_000_000  # 2025-01-01 UTC: any whole minute will do
_STILL: Final = SyntheticSettings(annual_volatility=1e-9, jumps_per_day=0, jump_bps=0)
_PRICES: Final = {
    "BTCUSDT": "100000",
    "ETHUSDT": "3500",
    "SOLUSDT": "180",
    "BNBUSDT": "650",
    "XRPUSDT": "2.2",
    "DOGEUSDT": "0.2",
    "ADAUSDT": "0.8",
    "AVAXUSDT": "30",
    "NEARUSDT": "4",
    "LINKUSDT": "18",
}
_USUAL_PRICE: Final = "10"


@attrs.frozen(kw_only=True)
class OpenTape:
    """A tape, and the opening time of the bar at which the stand-in begins."""

    tape: Tape
    first_open_ns: int


def instrument_of(spec: InstrumentSpec) -> Instrument:
    """Give the rules that a tape needs to know."""
    return Instrument(
        name=f"{spec.base}/USDT:USDT",
        tick=spec.tick,
        lot=spec.lot,
        min_qty_lots=max(1, int(spec.min_qty / spec.lot)),
        max_qty_lots=int(spec.max_qty / spec.lot),
        min_notional_e8=cash_e8(spec.min_notional),
        tiers=(),
        liquidation_fee_ppm=0,
        funding_interval_ns=spec.funding_interval_h * NS_PER_HOUR,
    )


def synthetic(
    specs: Sequence[InstrumentSpec], *, seed: int, volatility: float | None = None, still: bool = False
) -> OpenTape:
    """Make a market that never ends; ``still`` ones never move, but for what an operator does."""
    settings = _STILL if still else SyntheticSettings()
    if volatility is not None and not still:
        settings = attrs.evolve(settings, annual_volatility=volatility)
    tape = SyntheticTape(
        instruments=[instrument_of(spec) for spec in specs],
        start_prices=[Decimal(_PRICES.get(spec.symbol, _USUAL_PRICE)) for spec in specs],
        seed=seed,
        start_ns=_SYNTHETIC_START_NS,
        bar_length_ns=NS_PER_MINUTE,
        settings=settings,
    )
    return OpenTape(tape=tape, first_open_ns=_SYNTHETIC_START_NS)


def recorded(paths: Sequence[Path], specs: Sequence[InstrumentSpec], *, speed: int) -> OpenTape:
    """Open recorded minute bars. Fatal where they cannot be used, and for recorded trades."""
    from hedgegrid.venues.simulated.recorded import recorded_tape  # noqa: PLC0415 - pyarrow is heavy

    instruments = [instrument_of(spec) for spec in specs]
    tape = recorded_tape(paths, instruments, NS_PER_MINUTE, allow_gaps=True)
    if not isinstance(tape, BarTape):
        raise Fatal("the stand-in's market is made of minute bars; these are trades")
    begin_ns = next(tape.steps(0)).ts_ns
    minutes = tape.total_steps() // POINTS
    warm = min(HISTORY_BARS * speed, minutes // _HALF)
    return OpenTape(tape=tape, first_open_ns=begin_ns + warm * NS_PER_MINUTE)
