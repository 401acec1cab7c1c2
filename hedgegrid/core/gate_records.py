"""The records of the gate: its limits, its view of the book, the reasons that stand and the session's controls.

They are records as ``core.records`` means them: the gate's functions run on lists of them and on structured arrays.

Invariants: those of ``core.records``. A record here is the gate's own: no grid and no venue reads or writes one, so
what the gate believes cannot be bent by what it judges.
"""

import attrs

UNMEASURED = -1
"""A volatility that is not known yet."""


@attrs.define(eq=False)
class RiskLimits:
    """The limits of the gate as the hot path reads them.

    Money in quote x 1e8, times in ns, distances, multiples and ratios of equity in ppm, 0 never means "off".
    ``leverage`` is what is set at the exchange: it divides a notional into its initial margin.
    """

    max_order_notional_e8: int = 0
    max_leg_notional_e8: int = 0
    max_gross_notional_e8: int = 0
    max_net_notional_e8: int = 0
    max_leverage_ppm: int = 0
    max_position_ppm: int = 0
    leverage: int = 1
    max_margin_ppm: int = 0
    min_distance_ppm: int = 0
    max_var_ppm: int = 0
    max_open_orders_per_leg: int = 0
    max_orders_per_minute: int = 0
    price_collar_ppm: int = 0
    max_quote_age_ns: int = 0
    max_mark_age_ns: int = 0
    max_balance_age_ns: int = 0
    approval_ttl_ns: int = 0


@attrs.define(eq=False)
class AccountRisk:
    """What the whole account comes to: the wallet's equity at the present marks, and its instruments added up.

    Money in quote x 1e8. ``balance_ns`` is when the wallet was told last, 0 never; without it, or with ``unmarked``
    above 0, ``equity_e8`` means nothing. ``held_*`` is what the legs hold, ``worst_*`` that and their entries;
    ``margin_e8`` and ``far_margin_e8`` are the maintenance of the worst case, as ``core.worst_case`` has them.
    ``unmarked`` and ``unmeasured`` count the instruments with exposure whose mark, or volatility, is not known.
    ``orders_in_minute`` are those of all instruments that passed lately (``core.order_rate``).
    """

    equity_e8: int = 0
    balance_ns: int = 0
    held_long_e8: int = 0
    held_short_e8: int = 0
    worst_long_e8: int = 0
    worst_short_e8: int = 0
    margin_e8: int = 0
    far_margin_e8: int = 0
    var_e8: int = 0
    unmarked: int = 0
    unmeasured: int = 0
    orders_in_minute: int = 0


@attrs.define(eq=False)
class Pace:
    """The orders of the account's last minute, up to ``second`` (since the epoch), and the breaches of their limit.

    ``counted`` seconds have orders that count, the first of them at ``oldest`` in the ring of ``Beat``.
    ``breach_*``: the newest minutes with one, newest first, 1 more than their number since the epoch; 0 is none.
    ``latches``: there were too many, and nobody has acted on it yet.
    """

    second: int = 0
    orders: int = 0
    oldest: int = 0
    counted: int = 0
    breach_1: int = 0
    breach_2: int = 0
    breach_3: int = 0
    latches: int = 0


@attrs.define(eq=False)
class Beat:
    """The orders of one second (since the epoch)."""

    second: int = 0
    orders: int = 0


@attrs.define(eq=False)
class Exposure:
    """What one leg of one instrument holds and could come to hold, as the gate counts it, at ``mark_ticks``.

    ``entry_worst_e8``: live, reserved and unknown entries, each at the larger of its limit and the mark;
    ``entry_limits_e8`` the same at their limits, which lie from ``entry_low_ticks`` to ``entry_high_ticks``.
    ``held_e8`` and ``worst_e8`` are its part of ``AccountRisk``, as they were added there.
    ``foreign_lots``: what the leg holds that is not ours; it counts against every limit and backs no reduction.
    ``best_gone`` is 1 where the order at ``best_own_ticks`` has ended since: no other rests nearer.
    ``newest_no`` is the highest number that was ever booked; ``generation`` the newest one with a booked entry, and
    ``levels`` has a bit for each of its low levels that had one since the last recount.
    """

    position_lots: int = 0
    foreign_lots: int = 0
    entry_lots: int = 0
    entry_worst_e8: int = 0
    entry_limits_e8: int = 0
    entry_low_ticks: int = 0
    entry_high_ticks: int = 0
    held_e8: int = 0
    worst_e8: int = 0
    take_profit_lots: int = 0
    stop_lots: int = 0
    market_lots: int = 0
    open_orders: int = 0
    best_own_ticks: int = 0
    best_gone: int = 0
    newest_no: int = 0
    generation: int = 0
    levels: int = 0


@attrs.define(eq=False)
class InstrumentRisk:
    """An instrument as the gate sees it: rules, its newest mark and quote with their times.

    ``var_scale`` is z x sqrt(horizon / bar), ``var_ppm`` what a unit of net notional could lose (``core.var``). The
    last five are its part of ``AccountRisk``, as they were added there.
    """

    unit_e8: int = 0
    min_qty_lots: int = 0
    max_qty_lots: int = 0
    min_notional_e8: int = 0
    max_position_lots: int = 0
    mark_ticks: int = 0
    mark_ns: int = 0
    bid_ticks: int = 0
    ask_ticks: int = 0
    quote_ns: int = 0
    cadence_ns: int = 0
    var_scale: float = 0.0
    var_ppm: int = UNMEASURED
    margin_e8: int = 0
    far_margin_e8: int = 0
    var_e8: int = 0
    unmarked: int = 0
    unmeasured: int = 0


@attrs.define(eq=False)
class Booked:
    """An order in the gate's own book: reserved when approved, freed when the exchange says that it ended."""

    state: int = 0
    no: int = 0
    instrument: int = 0
    leg: int = 0
    purpose: int = 0
    price_ticks: int = 0
    qty_lots: int = 0
    level: int = 0
    generation: int = 0


@attrs.define(eq=False)
class Pause:
    """A reason that stands, for the account (``instrument`` -1) or one instrument; ``gone_ns`` while it recovers.

    ``cancels``: the entries of its scope go too; ``flattens``: its legs are closed, until they are.
    """

    state: int = 0
    reason: int = 0
    instrument: int = 0
    cancels: int = 0
    flattens: int = 0
    latched: int = 0
    gone_ns: int = 0


@attrs.define(eq=False)
class Standing:
    """The permission's own figures: how many reasons stand, recover and flatten, and the clock that ticks meanwhile."""

    count: int = 0
    recovering: int = 0
    flattens: int = 0
    flattening: int = 0
    resume_after_ns: int = 0
    tick_ns: int = 9_223_372_036_854_775_807


@attrs.define(eq=False)
class SessionLimits:
    """The session controls as the hot path reads them.

    ``*_on`` is 1 where a control is judged at all, ``*_action`` one of ``session``'s actions. Ratios and volatility in
    ppm, losses in quote x 1e8; ``funding_max_e8`` is a rate x 1e8 for 8 hours; ``volatility_lambda`` decays the
    estimate of ``Realised``.
    """

    drawdown_on: int = 0
    drawdown_ppm: int = 0
    drawdown_action: int = 0
    daily_on: int = 0
    daily_e8: int = 0
    daily_action: int = 0
    session_on: int = 0
    session_e8: int = 0
    session_action: int = 0
    margin_on: int = 0
    margin_ppm: int = 0
    margin_action: int = 0
    volatility_on: int = 0
    volatility_ppm: int = 0
    volatility_action: int = 0
    volatility_lambda: float = 0.0
    funding_on: int = 0
    funding_max_e8: int = 0
    funding_action: int = 0


@attrs.define(eq=False)
class SessionState:
    """What the controls of an account's equity remember, in quote x 1e8.

    ``last_e8`` is the equity seen last: at midnight (UTC, ``next_day_ns``) it becomes ``day_base_e8``. ``tripped`` is
    the mask of the controls that latch now. ``floor_e8``: the highest equity at which another control would trip.
    """

    peak_e8: int = 0
    day_base_e8: int = 0
    session_base_e8: int = 0
    last_e8: int = 0
    next_day_ns: int = 0
    tripped: int = 0
    floor_e8: int = 0


@attrs.define(eq=False)
class Realised:
    """One instrument's realised volatility: the EWMA of squared simple bar returns; ``bars`` counts bars seen."""

    bars: int = 0
    close: float = 0.0
    variance: float = 0.0
