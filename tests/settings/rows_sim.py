"""Rows of [sim]: how the exchange in the process fills, what it charges, and the market that is made for it."""

from decimal import Decimal
from itertools import pairwise
from typing import Any, get_args

import numpy as np

from hedgegrid.app import House
from hedgegrid.config.grid import Timeframe
from hedgegrid.messages.events import BarClosed
from hedgegrid.model.order import Fill
from hedgegrid.units import NS_PER_MINUTE, NS_PER_S, TIMEFRAMES_NS
from hedgegrid.venues.simulated.arrays import TickArrays, no_funding
from hedgegrid.venues.simulated.tape_ticks import TickTape
from tests.actors.house import BTC, FIRST_BAR, Script
from tests.settings import markets
from tests.settings.rows_entries import DEAR, FALLEN, first_lots
from tests.settings.simulated import LONG, Played, Simulated
from tests.settings.table import row

QUEUED_LOTS = 2
FULL = [1_000] * 3


def touched() -> TickTape:
    """Warm minutes, then five trades of a lot each at the price of the first LONG rung, where two lots stand."""
    quiet = [(FIRST_BAR + i) * NS_PER_MINUTE for i in range(8)]
    busy = [quiet[-1] + NS_PER_S * (i + 1) for i in range(5)]
    stamps = np.array([*quiet, *busy, quiet[-1] + NS_PER_MINUTE], np.int64)
    price = np.array([*[markets.CENTER] * len(quiet), *[9_975] * len(busy), markets.CENTER], np.int64)
    ones = np.ones(len(stamps), np.int64)
    ticks = TickArrays(
        ts_ns=stamps,
        price_ticks=price,
        qty_lots=ones,
        bid_ticks=price,
        ask_ticks=price + 1,
        bid_qty_lots=QUEUED_LOTS * ones,
        ask_qty_lots=QUEUED_LOTS * ones,
        mark_ticks=price,
        funding=no_funding(),
    )
    return TickTape(instruments=[BTC], ticks=[ticks], funding=[no_funding()], bar_length_ns=NS_PER_MINUTE)


def ending_after(bars: int) -> Script:
    """A script that ends the run when so many bars have closed."""
    closed: list[Any] = []

    def hook(house: House, message: Any) -> None:
        if isinstance(message, BarClosed):
            closed.append(message)
            if len(closed) == bars:
                house.world.stop()

    return Script(after_publish=hook)


TOUCHED = Simulated(name="trades at the price of the first LONG rung", tape=touched)
STOPPED = Simulated(
    name="the first LONG rung fills and is stopped out at 9825",
    tape=lambda: markets.after_warmth(markets.dip(9_970), markets.dip(9_820)),
    changes={"grid[].ladder.levels_long": 1},
)
AMBIGUOUS = Simulated(
    name="a bar meets the take-profit first, and the stop too",
    tape=lambda: markets.after_warmth((10_000, 10_000, 9_970, 9_980), (9_980, 10_020, 9_940, 9_970)),
    changes={"grid[].ladder.levels_long": 1, "grid[].exit.sl_steps": 1},
)
ONCE = Simulated(
    name="a first life",
    tape=lambda: markets.after_warmth(markets.dip(9_970), markets.STILL, markets.STILL),
    options={"duration_s": 570.0},
)
TWICE = Simulated(name="a second life", tape=ONCE.tape, before=(ONCE,))
MADE = Simulated(
    name="an invented market",
    changes={"sim.market": "synthetic"},
    script=lambda: ending_after(60),
)
MADE_BRIEF = Simulated(name="an invented market, for six bars", changes=MADE.changes, script=lambda: ending_after(6))


def filled(played: Played) -> int:
    """How many lots of the LONG leg's entries filled."""
    return sum(fill.qty_lots for fill in played.fills if fill.leg is LONG and fill.purpose == 0)


def first(played: Played) -> Fill:
    """The first fill: an entry's, that rested."""
    return played.fills[0]


def last(played: Played) -> Fill:
    """The last fill: a stop's, that took."""
    return played.fills[-1]


def moves_bps(played: Played, over: int) -> int:
    """How many of the bars closed further than ``over`` bps from where the one before did."""
    closes = [one.bar.close_ticks for one in played.bars()]
    return sum(abs(after - before) * 10_000 > over * before for before, after in pairwise(closes))


def first_price(played: Played) -> int:
    """Where the first bar opened, in ticks, to a thousand."""
    return round(played.bars()[0].bar.open_ticks, -3)


def last_close(played: Played) -> int:
    """Where the last bar closed, in ticks."""
    return played.bars()[-1].bar.close_ticks


ROWS = (
    row(
        "sim.fill",
        TOUCHED,
        filled,
        "the lots of LONG that fill",
        ("through", 0),
        ("touch", 10),
        ("queue", 5 - QUEUED_LOTS),
    ),
    row(
        "sim.latency_ms",
        FALLEN,
        filled,
        "the lots of LONG that fill as the price falls a quarter of a minute after the decision",
        (0, 10),
        (1_000, 0),
        given={"grid[].execution.retry_attempts": 0},
    ),
    row(
        "sim.slippage_bps",
        STOPPED,
        lambda played: last(played).price_ticks,
        "the price of the stop's fill",
        (0, 9_825),
        (20, 9_805),
    ),
    row(
        "sim.maker_bps",
        STOPPED,
        lambda played: (first(played).fee_e8, last(played).fee_e8),
        "the fees of entry and stop",
        (2, (199_500, 491_200)),
        (-1, (-99_750, 491_200)),
    ),
    row(
        "sim.taker_bps",
        STOPPED,
        lambda played: (first(played).fee_e8, last(played).fee_e8),
        "the fees of entry and stop",
        (5, (199_500, 491_200)),
        (10, (199_500, 982_400)),
    ),
    row(
        "sim.pessimistic",
        AMBIGUOUS,
        lambda played: last(played).purpose.name,
        "how the lot is closed",
        (False, "TAKE_PROFIT"),
        (True, "STOP"),
    ),
    row(
        "sim.persist",
        TWICE,
        lambda played: (played.looks[0].held[LONG], len(list(played.one.path.parent.glob("*.venue*")))),
        "the lots that the second life begins with, and the files of the exchange",
        (True, (10, 1)),
        (False, (0, 0)),
    ),
    row(
        "sim.market",
        MADE_BRIEF,
        lambda played: played.refused or len(played.bars()),
        "the bars that were walked, or the refusal",
        ("synthetic", 6),
        ("recorded", 'sim.market is "recorded": give the recorded market with --data FILE'),
    ),
    row("sim.seed", MADE, last_close, "the last close in ticks", (1, 588_624), (2, 608_309)),
    row(
        "sim.synthetic.prices",
        MADE_BRIEF,
        first_price,
        "the first price in ticks, to a thousand",
        ({BTC: 60_000}, 600_000),
        ({BTC: 1_000}, 10_000),
    ),
    row(
        "sim.synthetic.annual_volatility",
        MADE,
        lambda played: moves_bps(played, 20),
        "the bars that moved by more than 20 bps",
        (Decimal("0.2"), 0),
        (5, 36),
        given={"sim.synthetic.jumps_per_day": 0},
    ),
    row(
        "sim.synthetic.jumps_per_day",
        MADE,
        lambda played: moves_bps(played, 50),
        "the bars that moved by more than 50 bps",
        (0, 0),
        (1_000, 30),
        given={"sim.synthetic.jump_bps": 200, "sim.synthetic.annual_volatility": Decimal("0.2")},
    ),
    row(
        "sim.synthetic.jump_bps",
        MADE,
        lambda played: moves_bps(played, 50),
        "the bars that moved by more than 50 bps",
        (20, 0),
        (200, 30),
        given={"sim.synthetic.jumps_per_day": 1_000, "sim.synthetic.annual_volatility": Decimal("0.2")},
    ),
    row("sim.synthetic.regime_minutes", MADE, last_close, "the last close in ticks", (60, 588_624), (5, 593_956)),
    row(
        "grid[].timeframe",
        MADE_BRIEF,
        lambda played: played.bars()[1].ts_venue_ns - played.bars()[0].ts_venue_ns,
        "the time from a decision to the next in ns",
        *((name, TIMEFRAMES_NS[name]) for name in get_args(Timeframe)),
    ),
    row(
        "grid[].instrument",
        MADE_BRIEF,
        lambda played: sorted({one.order.instrument for one in played.asked}),
        "the instruments of the orders",
        (BTC, [BTC]),
        ("ETH/USDT:USDT", ["ETH/USDT:USDT"]),
        given={"sim.instrument": {}},
    ),
    # --- the rules of an instrument ---------------------------------------------------------------------------------
    row(
        "sim.instrument.*.tick",
        MADE_BRIEF,
        first_price,
        "the first price of 60,000 in ticks, to a thousand",
        (Decimal("0.1"), 600_000),
        (Decimal("0.5"), 120_000),
    ),
    row(
        "sim.instrument.*.lot",
        MADE_BRIEF,
        lambda played: played.lots(LONG)[0],
        "the quantity of a rung of 0.01 in lots",
        (Decimal("0.001"), 10),
        (Decimal("0.01"), 1),
    ),
    row(
        "sim.instrument.*.min_qty",
        MADE_BRIEF,
        lambda played: played.refused or len(played.orders(LONG)),
        "the LONG rungs that are sent, or the refusal",
        (Decimal("0.001"), 3),
        (Decimal("0.02"), f"{BTC}: base_qty 0.01 is under the smallest order of 0.020; raise it"),
    ),
    row(
        "sim.instrument.*.max_qty",
        MADE_BRIEF,
        lambda played: (len(played.orders(LONG)), played.refusals()),
        "the LONG rungs that are sent, and the controls that refuse some",
        (Decimal("0.01"), (3, [])),
        (Decimal("0.009"), (0, ["max_order_qty"])),
    ),
    row(
        "sim.instrument.*.min_notional",
        MADE_BRIEF,
        lambda played: len(played.orders(LONG)),
        "the LONG rungs (of 600 quote) that are sent",
        (5, 3),
        (700, 0),
    ),
    row(
        "sim.instrument.*.funding_interval_hours",
        DEAR,
        first_lots,
        "the first ladders, where the last settlement is known and the next follows from it",
        (8, ([541] * 3, FULL)),
        (12, (FULL, FULL)),
    ),
)
