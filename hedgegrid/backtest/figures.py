"""The figures of a backtest: what each is called, its unit, its formula and where it comes from, in one place.

``measure`` fills them in; the report's glossary, the summary, the comparison and the README read ``definitions``.

Invariants: money is whole, in quote x 1e8; ratios are floats; a figure that cannot be said (its denominator is 0, the
run was too short) is None and never 0, and its definition says when that is so.
"""

from collections.abc import Mapping
from typing import Any, Final, Literal

import attrs

Unit = Literal["quote_e8", "ratio", "number", "count", "ns", "time_ns", "bps", "text", "counts"]
"""``ratio``: 1 = 100 %; ``ns``: a duration; ``time_ns``: since the epoch, UTC; ``counts``: numbers by name."""

Group = Literal["Result", "Risk", "Round trips", "Costs", "Trading", "Exposure", "Run"]
GROUPS: Final[tuple[Group, ...]] = ("Result", "Risk", "Round trips", "Costs", "Trading", "Exposure", "Run")


@attrs.frozen(kw_only=True)
class Definition:
    """What a figure means. ``absent`` says when it is None, and is empty where it never is."""

    name: str
    group: Group
    label: str
    unit: Unit
    formula: str
    source: str
    absent: str


def _figure(group: Group, label: str, unit: Unit, formula: str, source: str, absent: str = "") -> Any:  # noqa: ANN401 an attrs field is typed by its annotation
    """A field with its definition."""
    metadata = {"group": group, "label": label, "unit": unit, "formula": formula, "source": source, "absent": absent}
    return attrs.field(metadata=metadata)


_SHORT: Final = "the run is shorter than a day, or equity did not stay above zero"
_FLAT: Final = "fewer than two days, no daily deviation, or equity fell to zero on the way"
_NO_TRIPS: Final = "no round trip"
_NO_FILLS: Final = "no fill"
_NO_DECISIONS: Final = "no decision"
_DAILY: Final = "equity at UTC day ends (initial wallet first, end of the run last)"
_TRIPS: Final = "round_trips: lots that were closed whole"


@attrs.frozen(kw_only=True)
class Figures:
    """The whole account's figures. Each field's metadata is its definition."""

    initial_e8: int = _figure("Result", "Wallet at the start", "quote_e8", "the initial wallet", "the settings")
    final_e8: int = _figure(
        "Result",
        "Equity at the end",
        "quote_e8",
        "initial wallet + realised - fees - funding + unrealised",
        "fills, funding; open legs at the last decision's mark",
    )
    net_e8: int = _figure("Result", "Net result", "quote_e8", "equity at the end - initial wallet", "as before")
    total_return: float | None = _figure(
        "Result", "Total return", "ratio", "net result / initial wallet", "as before", "the wallet began at zero"
    )
    annual_return: float | None = _figure(
        "Result",
        "Annual return (CAGR)",
        "ratio",
        "(equity at the end / initial wallet)^(365 / days) - 1, days = (end - start) / 24 h",
        "as before",
        _SHORT,
    )
    realised_e8: int = _figure(
        "Result", "Realised profit", "quote_e8", "sum of realised profit by average cost, before fees", "fills"
    )
    unrealised_e8: int = _figure(
        "Result", "Open profit at the end", "quote_e8", "value at the mark - cost (SHORT: cost - value)", "open legs"
    )
    buy_and_hold_return: float | None = _figure(
        "Result",
        "Buy and hold",
        "ratio",
        "mean over instruments of (1 - taker fee) x last mark / first mark, - 1",
        "marks at decisions; equal parts of the wallet",
        _NO_DECISIONS,
    )
    buy_and_hold_drawdown: float | None = _figure(
        "Result", "Buy and hold: max drawdown", "ratio", "as max drawdown", "the same, at decisions", _NO_DECISIONS
    )
    max_drawdown: float | None = _figure(
        "Risk",
        "Max drawdown",
        "ratio",
        "largest (peak - equity) / peak, peak = highest equity so far",
        "equity at every point",
        "equity never stood above zero",
    )
    max_drawdown_e8: int = _figure(
        "Risk", "Max drawdown in money", "quote_e8", "peak - trough of that fall", "equity at every point"
    )
    drawdown_peak_ns: int = _figure("Risk", "Drawdown from", "time_ns", "time of that peak", "equity at every point")
    drawdown_trough_ns: int = _figure("Risk", "Drawdown to", "time_ns", "time of that trough", "equity at every point")
    longest_drawdown_ns: int = _figure(
        "Risk",
        "Longest drawdown",
        "ns",
        "longest time from a peak until equity stood there again, or to the end",
        "equity at every point",
    )
    least_equity_e8: int = _figure("Risk", "Least equity", "quote_e8", "the lowest equity", "equity at every point")
    sharpe: float | None = _figure(
        "Risk",
        "Sharpe",
        "number",
        "mean(r) / std(r, n - 1) x sqrt(365), r = daily returns, risk-free rate 0",
        _DAILY,
        _FLAT,
    )
    sortino: float | None = _figure(
        "Risk",
        "Sortino",
        "number",
        "mean(r) / sqrt(mean(min(r, 0)^2)) x sqrt(365), r = daily returns",
        _DAILY,
        "no losing day, no whole day, or equity fell to zero on the way",
    )
    calmar: float | None = _figure(
        "Risk",
        "Calmar",
        "number",
        "annual return / max drawdown, both as shown",
        "equity at every point",
        "no drawdown, or no annual return",
    )
    max_drawdown_daily: float | None = _figure(
        "Risk",
        "Max drawdown, daily",
        "ratio",
        "as max drawdown, but seen at day ends only, as most libraries do",
        _DAILY,
        "the wallet began at zero",
    )
    calmar_daily: float | None = _figure(
        "Risk",
        "Calmar, daily",
        "number",
        "((last / first)^(365 / days) - 1) / max drawdown, daily",
        _DAILY,
        "no drawdown at day ends, or equity did not stay above zero",
    )
    liquidation_distance: float | None = _figure(
        "Risk",
        "Least distance to liquidation",
        "ratio",
        "|x - mark| / mark, x = the nearest mark at which equity = maintenance margin, this instrument moving alone; 0 "
        "where it was liquidated",
        "account and marks at decisions; the instruments' margin tiers",
        "no position could have been liquidated",
    )
    liquidation_nearest_ns: int | None = _figure(
        "Risk", "Nearest to it at", "time_ns", "time of that decision", "as before", "no position could have been"
    )
    liquidation_instrument: str | None = _figure(
        "Risk", "Nearest to it in", "text", "the instrument that would have moved", "as before", "as before"
    )
    round_trips: int = _figure("Round trips", "Round trips", "count", "lots that were closed whole", "fills and cuts")
    wins: int = _figure("Round trips", "Winners", "count", "realised - fees > 0", _TRIPS)
    losses: int = _figure("Round trips", "Losers", "count", "realised - fees < 0", _TRIPS)
    win_rate: float | None = _figure("Round trips", "Win rate", "ratio", "winners / round trips", _TRIPS, _NO_TRIPS)
    profit_factor: float | None = _figure(
        "Round trips",
        "Profit factor",
        "number",
        "sum of winners / -(sum of losers), after fees",
        _TRIPS,
        "no losing round trip",
    )
    trip_average_e8: int | None = _figure(
        "Round trips", "Average", "quote_e8", "floor(mean of realised - fees)", _TRIPS, _NO_TRIPS
    )
    trip_best_e8: int | None = _figure("Round trips", "Best", "quote_e8", "max of realised - fees", _TRIPS, _NO_TRIPS)
    trip_worst_e8: int | None = _figure("Round trips", "Worst", "quote_e8", "min of realised - fees", _TRIPS, _NO_TRIPS)
    trip_duration_ns: int | None = _figure(
        "Round trips", "Mean duration", "ns", "mean of last exit - entry", _TRIPS, _NO_TRIPS
    )
    mae_mean_bps: float | None = _figure(
        "Round trips",
        "MAE, mean",
        "bps",
        "farthest the price went against the lot, in bps of its entry",
        "the path's points between entry and last exit",
        _NO_TRIPS,
    )
    mae_max_bps: float | None = _figure("Round trips", "MAE, largest", "bps", "as before", "as before", _NO_TRIPS)
    mae_max_e8: int | None = _figure(
        "Round trips", "MAE, largest in money", "quote_e8", "the same x quantity", "as before", _NO_TRIPS
    )
    mfe_mean_bps: float | None = _figure(
        "Round trips",
        "MFE, mean",
        "bps",
        "farthest the price went with the lot, in bps of its entry",
        "the path's points between entry and last exit",
        _NO_TRIPS,
    )
    mfe_max_bps: float | None = _figure("Round trips", "MFE, largest", "bps", "as before", "as before", _NO_TRIPS)
    mfe_max_e8: int | None = _figure(
        "Round trips", "MFE, largest in money", "quote_e8", "the same x quantity", "as before", _NO_TRIPS
    )
    fees_e8: int = _figure("Costs", "Fees", "quote_e8", "maker + taker + liquidation; a rebate is negative", "fills")
    fees_maker_e8: int = _figure("Costs", "Maker fees", "quote_e8", "sum over maker fills", "fills")
    fees_taker_e8: int = _figure("Costs", "Taker fees", "quote_e8", "sum over taker fills, liquidation apart", "fills")
    fees_liquidation_e8: int = _figure("Costs", "Liquidation fees", "quote_e8", "sum over liquidation fills", "fills")
    funding_e8: int = _figure(
        "Costs", "Funding cost, net", "quote_e8", "paid - received; negative: received", "settlements"
    )
    funding_paid_e8: int = _figure(
        "Costs", "Funding paid", "quote_e8", "sum of what a settlement cost a leg", "settlements, leg by leg"
    )
    funding_received_e8: int = _figure(
        "Costs", "Funding received", "quote_e8", "sum of what a settlement gave a leg", "settlements, leg by leg"
    )
    fills: int = _figure("Trading", "Fills", "count", "number of fills", "fills")
    fills_by_purpose: Mapping[str, int] = _figure("Trading", "Fills by purpose", "counts", "number of fills", "fills")
    maker_ratio: float | None = _figure("Trading", "Maker ratio", "ratio", "maker fills / fills", "fills", _NO_FILLS)
    maker_notional_ratio: float | None = _figure(
        "Trading", "Maker ratio by notional", "ratio", "notional of maker fills / notional", "fills", _NO_FILLS
    )
    traded_e8: int = _figure("Trading", "Traded notional", "quote_e8", "sum of price x quantity", "fills")
    turnover: float | None = _figure(
        "Trading", "Turnover", "number", "traded notional / initial wallet", "fills", "the wallet began at zero"
    )
    entries_sent: int = _figure(
        "Trading", "Entry orders sent", "count", "entry orders that the gate let pass", "orders"
    )
    entries_filled: int = _figure("Trading", "Entry orders filled", "count", "those that filled whole", "orders")
    ladder_fill_rate: float | None = _figure(
        "Trading", "Ladder fill rate", "ratio", "entry orders filled / sent", "orders", "no entry order was sent"
    )
    orders_by_outcome: Mapping[str, int] = _figure(
        "Trading", "Orders by outcome", "counts", "number of orders decided", "orders"
    )
    refusals_by_control: Mapping[str, int] = _figure(
        "Trading", "Refusals by control", "counts", "orders that the risk gate refused", "orders"
    )
    below_minimum: int = _figure(
        "Trading",
        "Rungs under the minimum",
        "count",
        "rungs dropped since the exchange would not take them",
        "decisions",
    )
    long_mean_e8: int = _figure(
        "Exposure", "LONG, mean", "quote_e8", "floor(mean of quantity x mark)", "holdings at all decisions"
    )
    long_max_e8: int = _figure("Exposure", "LONG, largest", "quote_e8", "max of quantity x mark", "as before")
    short_mean_e8: int = _figure("Exposure", "SHORT, mean", "quote_e8", "as LONG", "as before")
    short_max_e8: int = _figure("Exposure", "SHORT, largest", "quote_e8", "as LONG", "as before")
    time_in_market: float | None = _figure(
        "Exposure", "Time in market", "ratio", "decisions with a position / decisions", "as before", _NO_DECISIONS
    )
    duration_ns: int = _figure("Run", "Duration", "ns", "end - start", "the market")
    decisions: int = _figure("Run", "Decisions", "count", "closed bars on which was decided", "equity")
    points: int = _figure("Run", "Points", "count", "points of the path: four a bar, one a trade", "the driver")
    ambiguous_bars: int = _figure(
        "Run",
        "Ambiguous bars",
        "count",
        "bars in which an exit and a stop of one lot both could have filled",
        "the venue",
    )
    pauses_by_reason: Mapping[str, int] = _figure(
        "Run", "Pauses by reason", "counts", "how often each reason was raised", "pauses"
    )


@attrs.frozen(kw_only=True)
class InstrumentFigures:
    """One instrument's part. Names mean what they mean in ``Figures``; ``*_lots`` are what is held at the end.

    ``net_e8`` is realised - fees - funding + unrealised: the instruments' nets add up to the account's.
    """

    name: str
    net_e8: int
    realised_e8: int
    unrealised_e8: int
    fees_e8: int
    funding_e8: int
    fills: int
    round_trips: int
    win_rate: float | None
    profit_factor: float | None
    traded_e8: int
    long_mean_e8: int
    long_max_e8: int
    short_mean_e8: int
    short_max_e8: int
    time_in_market: float | None
    liquidation_distance: float | None
    buy_and_hold_return: float | None
    long_lots: int
    short_lots: int


def definitions() -> tuple[Definition, ...]:
    """Give every figure's definition, in the order in which figures are shown."""
    return tuple(Definition(name=field.name, **field.metadata) for field in attrs.fields(Figures))


def absent(figures: Figures) -> dict[str, str]:
    """Give the figures that are None, each with the reason."""
    return {one.name: one.absent for one in definitions() if getattr(figures, one.name) is None}
