"""Warnings of `check`: settings that are valid one by one and work against each other.

Invariants: an advice never refuses; it names the setting to look at first and gives the figures it was derived
from. What depends on the market (prices, the exchange's minimums) is not guessed here.
"""

from collections.abc import Iterator
from decimal import ROUND_HALF_EVEN, Decimal
from itertools import pairwise
from statistics import NormalDist

import attrs

from hedgegrid.config.fields import Section, settings_of
from hedgegrid.config.grid import GridConfig, LadderConfig
from hedgegrid.config.schema import AccountConfig
from hedgegrid.config.secrets import SecretError, SecretRef
from hedgegrid.config.values import plain

_BPS = Decimal(10_000)
_FUNDING_INTERVAL_MINUTES = 480
_HOURS_A_YEAR = 8_760
_USUAL_VOLATILITY = Decimal("0.5")
"""Annualised; the largest of these markets have it in quiet months."""


@attrs.frozen(kw_only=True)
class Advice:
    """A warning: the full path of the setting to look at first, and why."""

    path: str
    message: str


def advice(config: AccountConfig) -> tuple[Advice, ...]:
    """Every warning about a config, grids first."""
    found: list[Advice] = []
    for index, grid in enumerate(config.grid):
        for advise in (_recentering, _take_profit, _stop, _policy, _tolerance, _funding_window):
            found += (_under(f"grid[{index}]", each) for each in advise(grid, config))
        for advise in (_inventory, _rung_size, _no_room, _position, _order_count, _collar):
            found += (_under(f"grid[{index}]", each) for each in advise(grid, config))
    return (
        *found,
        *_caps_below_a_rung(config),
        *_worst_case(config),
        *_idle_limits(config),
        *_order_rate(config),
        *_leftovers(config),
    )


def unset_secrets(config: AccountConfig) -> tuple[Advice, ...]:
    """Every secret that is referred to and cannot be had where this is asked: a run from here would be refused."""
    found: list[Advice] = []
    for section in settings_of(type(config)):
        inner = getattr(config, section.name)
        for one in settings_of(type(inner)) if isinstance(inner, Section) else ():
            reference = getattr(inner, one.name)
            if isinstance(reference, SecretRef):
                try:
                    reference.resolve()
                except SecretError as error:
                    found.append(Advice(path=f"{section.key}.{one.key}", message=f"{error}: a run needs it"))
    return tuple(found)


def _under(path: str, each: Advice) -> Advice:
    """Give an advice about a grid its full path."""
    return attrs.evolve(each, path=f"{path}.{each.path}")


def _span_bps(ladder: LadderConfig) -> tuple[Decimal, Decimal]:
    """Distance of the last rung from the center, LONG and SHORT, in bps."""
    if not ladder.geometric:
        return ladder.levels_long * ladder.step_bps, ladder.levels_short * ladder.step_bps
    ratio = ladder.step_bps / _BPS
    return (1 - (1 - ratio) ** ladder.levels_long) * _BPS, ((1 + ratio) ** ladder.levels_short - 1) * _BPS


def _last_rung_factor(ladder: LadderConfig) -> Decimal:
    """The largest rung in terms of the first."""
    return max(Decimal(1), ladder.qty_scale ** (max(ladder.levels_long, ladder.levels_short) - 1))


def _ladder_factor(ladder: LadderConfig) -> Decimal:
    """All rungs of the longer ladder in terms of the first."""
    levels = max(ladder.levels_long, ladder.levels_short)
    return sum((ladder.qty_scale**level for level in range(levels)), Decimal(0))


def _recentering(grid: GridConfig, _: AccountConfig) -> Iterator[Advice]:
    """The price can leave the ladder before the center follows it."""
    span = min(_span_bps(grid.ladder))
    # With ATR spacing the step is only known to be at least step_bps, so the span is not known.
    if grid.ladder.spacing == "bps" and grid.ladder.recenter_trigger_bps > span:
        yield Advice(
            path="ladder.recenter_trigger_bps",
            message=f"{plain(grid.ladder.recenter_trigger_bps)} bps is beyond the ladder's span "
            f"of {_rounded(span)} bps: "
            "the price can leave the ladder and the grid stays behind",
        )


def _take_profit(grid: GridConfig, config: AccountConfig) -> Iterator[Advice]:
    """A round trip earns less than, or little more than, its fees."""
    entry_bps = config.sim.maker_bps if grid.execution.post_only else config.sim.taker_bps
    fees_bps = entry_bps + config.sim.maker_bps
    steps = min(grid.exit.tp_steps, Decimal(1)) if grid.policy.name == "core-and-scalp" else grid.exit.tp_steps
    profit_bps = steps * grid.ladder.step_bps
    if profit_bps < 2 * fees_bps:
        verdict = "every round trip loses" if profit_bps <= fees_bps else "under twice the fees"
        yield Advice(
            path="exit.tp_steps",
            message=f"a take-profit of {plain(profit_bps)} bps against {plain(fees_bps)} bps of fees "
            f"for entry and exit: {verdict}",
        )


def _stop(grid: GridConfig, _: AccountConfig) -> Iterator[Advice]:
    """A lot is stopped out before the next rung can average it."""
    if grid.exit.sl_steps <= 1:
        yield Advice(
            path="exit.sl_steps",
            message=f"a stop {plain(grid.exit.sl_steps)} steps away is not beyond the next rung, one step away",
        )


def _policy(grid: GridConfig, _: AccountConfig) -> Iterator[Advice]:
    """A policy that holds nothing back, or leaves nothing to scalp."""
    policy, ladder = grid.policy, grid.ladder
    levels = max(ladder.levels_long, ladder.levels_short)
    throttles = policy.name == "throttled-counter" and policy.counter_qty_scale < 1
    if policy.name != "both" and policy.counter_levels >= levels and not throttles:
        yield Advice(path="policy.counter_levels", message=f"keeps all of {levels} rungs: nothing is held back")
    if policy.name == "core-and-scalp" and policy.core_levels >= levels:
        yield Advice(path="policy.core_levels", message=f"makes all of {levels} rungs core: nothing scalps")


def _tolerance(grid: GridConfig, _: AccountConfig) -> Iterator[Advice]:
    """Orders a whole step away count as being in place."""
    if grid.execution.price_tolerance_bps >= grid.ladder.step_bps:
        yield Advice(path="execution.price_tolerance_bps", message="is not below step_bps: a rung off is not noticed")


def _funding_window(grid: GridConfig, _: AccountConfig) -> Iterator[Advice]:
    """The guard's window is longer than the usual time between settlements."""
    if grid.funding.window_minutes > _FUNDING_INTERVAL_MINUTES:
        yield Advice(
            path="funding.window_minutes", message="is longer than 8 hours between settlements: always in force"
        )


def _inventory(grid: GridConfig, config: AccountConfig) -> Iterator[Advice]:
    """The ladder may want more than the gate allows a leg."""
    cap = config.risk.max_notional_per_leg_quote
    if grid.ladder.max_inventory_quote > cap:
        yield Advice(
            path="ladder.max_inventory_quote",
            message=f"{plain(grid.ladder.max_inventory_quote)} is above risk.max_notional_per_leg_quote, {plain(cap)}: "
            "the gate refuses the rest",
        )


def _rung_size(grid: GridConfig, config: AccountConfig) -> Iterator[Advice]:
    """The largest rung is above the gate's largest order."""
    cap = config.risk.max_order_notional_quote
    largest = (grid.ladder.base_quote or Decimal(0)) * _last_rung_factor(grid.ladder)
    if largest > cap:
        yield Advice(
            path="ladder.base_quote",
            message=f"the largest rung is {_rounded(largest)}, above risk.max_order_notional_quote, {plain(cap)}",
        )


def _no_room(grid: GridConfig, config: AccountConfig) -> Iterator[Advice]:
    """Not even the first rung fits into the inventory: nothing is ever placed."""
    one, room = _first_rung_quote(grid, config), grid.ladder.max_inventory_quote
    if one is not None and room < one:
        yield Advice(path="ladder.max_inventory_quote", message=_below_a_rung(grid, room, one))


def _caps_below_a_rung(config: AccountConfig) -> Iterator[Advice]:
    """Not even a grid's smallest rung is within a limit of the gate."""
    for grid in config.grid:
        one, ladder = _first_rung_quote(grid, config), grid.ladder
        if one is None:
            continue
        last = max(ladder.levels_long, ladder.levels_short) - 1
        smallest = one * min(Decimal(1), ladder.qty_scale**last)
        for name in ("max_order_notional_quote", "max_notional_per_leg_quote"):
            cap: Decimal = getattr(config.risk, name)
            if cap < smallest:
                yield Advice(path=f"risk.{name}", message=_below_a_rung(grid, cap, smallest))


def _below_a_rung(grid: GridConfig, cap: Decimal, rung: Decimal) -> str:
    about = "" if grid.ladder.base_quote is not None else " at the start price"
    return f"{plain(cap)} is below one rung of {_rounded(rung)}{about}: nothing is ever sent for {grid.instrument}"


def _first_rung_quote(grid: GridConfig, config: AccountConfig) -> Decimal | None:
    """The notional of the rung nearest to the center, in quote units; None where it depends on a price to come."""
    if grid.ladder.base_quote is not None:
        return grid.ladder.base_quote
    synthetic = config.account.mode == "sim" and config.sim.market == "synthetic"
    price = config.sim.synthetic.prices.get(grid.instrument) if synthetic else None
    return None if price is None or grid.ladder.base_qty is None else grid.ladder.base_qty * price


def _position(grid: GridConfig, _: AccountConfig) -> Iterator[Advice]:
    """A filled ladder is above the largest position of a leg."""
    filled = (grid.ladder.base_qty or Decimal(0)) * _ladder_factor(grid.ladder)
    if filled > grid.max_position_qty:
        yield Advice(
            path="max_position_qty",
            message=f"a filled ladder holds {_rounded(filled)}, above {plain(grid.max_position_qty)}: "
            "the outer rungs are refused",
        )


def _order_count(grid: GridConfig, config: AccountConfig) -> Iterator[Advice]:
    """A ladder has more rungs than a leg may have orders."""
    levels, cap = max(grid.ladder.levels_long, grid.ladder.levels_short), config.risk.max_open_orders_per_leg
    if levels > cap:
        yield Advice(path="ladder.levels_long", message=f"{levels} rungs against risk.max_open_orders_per_leg of {cap}")


def _collar(grid: GridConfig, config: AccountConfig) -> Iterator[Advice]:
    """The outer rungs are priced outside the collar."""
    span, collar = max(_span_bps(grid.ladder)), config.risk.price_collar_bps
    if span > collar:
        yield Advice(
            path="ladder.step_bps",
            message=f"the ladder spans {_rounded(span)} bps, beyond risk.price_collar_bps of {plain(collar)}: "
            "the outer rungs are refused",
        )


def _worst_case(config: AccountConfig) -> Iterator[Advice]:
    """What the account could come to hold needs more than its wallet, or loses it.

    The wallet is a setting in sim and paper only; elsewhere the pre-flight compares with the real one.
    """
    if config.account.mode not in {"sim", "paper"}:
        return
    wallet, legs = config.account.wallet_quote, [_worst_leg(grid, config) for grid in config.grid]
    gross = worst_gross(config)
    margin = gross / config.venue.leverage
    if margin > wallet:
        yield Advice(
            path="account.wallet_quote",
            message=f"the worst case of {_rounded(gross)} on both legs needs {_rounded(margin)} of margin at leverage "
            f"{config.venue.leverage}, above the wallet of {plain(wallet)}",
        )
    else:
        yield from _over_equity(config, wallet, gross)
    yield from _swings(config, wallet, min(sum(legs, Decimal(0)), *_leg_caps(config)))
    loss = sum((_stopped_out(grid, config, each) for grid, each in zip(config.grid, legs, strict=True)), Decimal(0))
    if loss > wallet:
        yield Advice(
            path="account.wallet_quote",
            message=f"stopping out one full leg of every grid loses {_rounded(loss)}, "
            f"above the wallet of {plain(wallet)}",
        )


def _leg_caps(config: AccountConfig) -> tuple[Decimal, Decimal]:
    """What a leg of the account, and the difference of both, may come to."""
    return config.risk.max_notional_per_leg_quote, config.risk.max_net_notional_quote


def _over_equity(config: AccountConfig, wallet: Decimal, gross: Decimal) -> Iterator[Advice]:
    """The gate refuses part of the worst case, because the wallet is too small for it."""
    risk = config.risk
    if gross > wallet * risk.max_leverage:
        yield Advice(
            path="risk.max_leverage",
            message=f"the worst case of {_rounded(gross)} is above {plain(risk.max_leverage)} times "
            f"the wallet of {plain(wallet)}: the gate refuses the rest",
        )
    margin = gross / config.venue.leverage
    if margin > wallet * risk.max_position_ratio:
        yield Advice(
            path="risk.max_position_ratio",
            message=f"the worst case of {_rounded(gross)} needs {_rounded(margin)} of margin at leverage "
            f"{config.venue.leverage}, above {plain(risk.max_position_ratio)} of the wallet of {plain(wallet)}: "
            "the gate refuses the rest",
        )


def _swings(config: AccountConfig, wallet: Decimal, net: Decimal) -> Iterator[Advice]:
    """A full leg is too much for the wallet at a volatility that is nothing special."""
    risk = config.risk
    # Without what must be held the liquidation would be farther away than it is.
    if wallet < net * risk.min_liquidation_distance_ratio:
        yield Advice(
            path="risk.min_liquidation_distance_ratio",
            message=f"a full leg of {_rounded(net)} on a wallet of {plain(wallet)} is liquidated nearer than "
            f"{plain(risk.min_liquidation_distance_ratio)} of the price: the gate refuses the rest",
        )
    z = Decimal(repr(NormalDist().inv_cdf(float(risk.var.confidence))))
    a_year = net * z * (Decimal(risk.var.horizon_hours) / _HOURS_A_YEAR).sqrt()
    most = risk.var.max_ratio * wallet / a_year
    if most < _USUAL_VOLATILITY:
        yield Advice(
            path="risk.var.max_ratio",
            message=f"a full leg of {_rounded(net)} on a wallet of {plain(wallet)} is over the limit from "
            f"an annualised volatility of {_rounded(most * 100)} % on: the gate refuses the rest then",
        )


def worst_gross(config: AccountConfig) -> Decimal:
    """Return the largest notional that both legs of all grids can come to hold, in quote units."""
    legs = sum((_worst_leg(grid, config) for grid in config.grid), Decimal(0))
    leg = min(legs, config.risk.max_notional_per_leg_quote)
    return min(2 * leg, config.risk.max_gross_notional_quote)


def _worst_leg(grid: GridConfig, config: AccountConfig) -> Decimal:
    """Return the largest notional a leg of this grid can come to hold, in quote units."""
    caps = [grid.ladder.max_inventory_quote, config.risk.max_notional_per_leg_quote]
    if grid.ladder.base_quote is not None:
        caps.append(grid.ladder.base_quote * _ladder_factor(grid.ladder))
    return min(caps)


def _stopped_out(grid: GridConfig, config: AccountConfig, leg: Decimal) -> Decimal:
    """Loss of a leg of this notional when all its stops fill, in quote units."""
    distance_bps = grid.exit.sl_steps * grid.ladder.step_bps + config.sim.slippage_bps + config.sim.taker_bps
    return leg * distance_bps / _BPS


def _idle_limits(config: AccountConfig) -> Iterator[Advice]:
    """Limits that never bind because a wider quantity is bounded more tightly."""
    ascending = ("max_order_notional_quote", "max_notional_per_leg_quote", "max_gross_notional_quote")
    pairs = (*pairwise(ascending), ("max_net_notional_quote", "max_gross_notional_quote"))
    for inner, outer in pairs:
        if getattr(config.risk, inner) > getattr(config.risk, outer):
            yield Advice(path=f"risk.{inner}", message=f"is above risk.{outer} and never binds")


def _order_rate(config: AccountConfig) -> Iterator[Advice]:
    """All ladders have more rungs than orders may be sent in a minute: laying them is a breach each time."""
    orders = sum(grid.ladder.levels_long + grid.ladder.levels_short for grid in config.grid)
    cap = config.risk.max_orders_per_minute
    if orders > cap:
        yield Advice(
            path="risk.max_orders_per_minute",
            message=f"{cap} is below the {orders} rungs of all ladders: laying them anew takes longer than a minute, "
            "and three such minutes in ten stop trading",
        )


def _leftovers(config: AccountConfig) -> Iterator[Advice]:
    """Settings that nothing asks for, or that a start will refuse."""
    traded = {grid.instrument for grid in config.grid}
    for instrument in config.sim.instrument:
        if instrument not in traded:
            yield Advice(path=f'sim.instrument."{instrument}"', message="no grid trades this instrument")
    if config.venue.amend and config.account.mode in {"sim", "paper"}:
        yield Advice(
            path="venue.amend", message=f'does nothing in mode "{config.account.mode}": no order is amended there'
        )
    if config.venue.margin_mode == "isolated" and config.account.mode in {"testnet", "live"}:
        yield Advice(path="venue.margin_mode", message="isolated margin is refused at every start in this version")


def _rounded(figure: Decimal) -> str:
    """Write a derived figure with at most two decimals."""
    # Named, for other libraries change what the whole process rounds by.
    return plain(figure.quantize(Decimal("0.01"), ROUND_HALF_EVEN))
