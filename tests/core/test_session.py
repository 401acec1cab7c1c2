"""The session controls: exact thresholds, what latches, what is told once, and that calm is really calm."""

from collections.abc import Callable
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hedgegrid.core import regime, session
from hedgegrid.core.codes import NEVER_NS
from hedgegrid.core.gate_records import Realised, SessionLimits, SessionState
from hedgegrid.core.records import GridParams, Indicators
from hedgegrid.units import NS_PER_DAY, NS_PER_HOUR, NS_PER_MINUTE, PPM
from tests.core.bounded import LARGEST, Int64

WALLET = 1_000_003
NOON = 20_000 * NS_PER_DAY + NS_PER_DAY // 2
LARGEST_ACCOUNT = 10**18
"""The largest wallet that the settings take, in quote x 1e8."""


def limits(**changes: Any) -> SessionLimits:
    """Controls that are all off but those that ``changes`` switch on."""
    return SessionLimits(
        **{
            "drawdown_ppm": 100_000,
            "daily_e8": 50_000,
            "session_e8": 70_000,
            "margin_ppm": 800_000,
            "volatility_ppm": 3_000_000,
            "funding_max_e8": 200_000,
            "volatility_lambda": 0.97,
            **changes,
        }
    )


def begun(given_limits: SessionLimits, equity: int = WALLET, ts_ns: int = NOON) -> SessionState:
    """An account that begins."""
    state = SessionState()
    session.begin(given_limits, state, equity, ts_ns)
    return state


def test_an_account_begins_at_its_wallet() -> None:
    """Peak, day and session start at the initial wallet, and the day ends at the next midnight of UTC."""
    state = begun(limits())
    assert (state.peak_e8, state.day_base_e8, state.session_base_e8, state.last_e8) == (WALLET,) * 4
    assert state.next_day_ns == 20_001 * NS_PER_DAY
    assert state.tripped == 0
    assert session.day_end_ns(state.next_day_ns) == state.next_day_ns + NS_PER_DAY


EQUITY_CONTROLS = [
    ("drawdown_on", session.DRAWDOWN_BIT, WALLET - 100_001),
    ("daily_on", session.DAILY_BIT, WALLET - 50_000),
    ("session_on", session.SESSION_BIT, WALLET - 70_000),
]
"""Switch, bit and the highest equity that trips: 10 % of 1,000,003 is lost at 100,001, not at 100,000."""


@pytest.mark.parametrize(("switch", "bit", "trips_at"), EQUITY_CONTROLS, ids=[name for name, *_ in EQUITY_CONTROLS])
def test_a_loss_trips_at_its_limit_and_not_one_unit_before(switch: str, bit: int, trips_at: int) -> None:
    """A limit is a limit: at it the control trips, one unit under it nothing happens."""
    chosen = limits(**{switch: 1})
    state = begun(chosen)
    assert state.floor_e8 == trips_at
    assert session.observe(chosen, state, trips_at + 1, 0, NOON + 1) == 0
    assert session.observe(chosen, state, trips_at, 0, NOON + 2) == bit
    assert state.tripped == bit


@pytest.mark.parametrize("switch", ["drawdown_on", "daily_on", "session_on", "margin_on"])
def test_a_control_that_is_off_never_trips(switch: str) -> None:
    """Each switch is honoured: without it the worst point is none, with it the same point trips that control alone."""
    off = begun(limits())
    assert session.observe(limits(), off, 1, LARGEST_ACCOUNT, NOON + 1) == 0
    assert (off.tripped, off.floor_e8) == (0, session.NO_FLOOR_E8)
    chosen = limits(**{switch: 1})
    bits = {"drawdown_on": 1, "daily_on": 2, "session_on": 4, "margin_on": 8}
    assert session.observe(chosen, begun(chosen), 1, LARGEST_ACCOUNT, NOON + 1) == bits[switch]


@pytest.mark.parametrize(
    ("equity", "maintenance", "short"),
    [
        (1_000, 800, True),
        (1_000, 799, False),
        (1_001, 800, False),
        (1_001, 801, True),
        (0, 1, True),
        (0, 0, False),
        (-5, 1, True),
        (-5, 0, False),
    ],
)
def test_margin_trips_at_its_ratio(equity: int, maintenance: int, short: bool) -> None:
    """It trips at 80 % of equity; any position on no equity at all is too much, no position never is."""
    chosen = limits(margin_on=1)
    assert session.is_margin_short(chosen, equity, maintenance) == short
    assert session.observe(chosen, begun(chosen), equity, maintenance, NOON) == (session.MARGIN_BIT if short else 0)


def test_what_tripped_is_told_once_and_all_at_once() -> None:
    """One point may trip several controls; none is told again before it was lifted, however far equity falls."""
    chosen = limits(drawdown_on=1, daily_on=1, session_on=1, margin_on=1)
    state = begun(chosen)
    both = session.DAILY_BIT | session.SESSION_BIT
    assert session.observe(chosen, state, WALLET - 70_000, 0, NOON + 1) == both
    assert session.observe(chosen, state, WALLET - 90_000, 0, NOON + 2) == 0
    assert session.observe(chosen, state, 10, 9, NOON + 3) == session.DRAWDOWN_BIT | session.MARGIN_BIT
    assert session.observe(chosen, state, -10, 9, NOON + 4) == 0
    assert state.floor_e8 == session.NO_FLOOR_E8


def test_a_peak_moves_even_while_something_stands() -> None:
    """The drawdown is measured from the highest equity ever, pauses or not."""
    chosen = limits(drawdown_on=1, daily_on=1)
    state = begun(chosen)
    session.observe(chosen, state, WALLET - 60_000, 0, NOON + 1)
    assert state.tripped == session.DAILY_BIT
    assert session.observe(chosen, state, 2_000_000, 0, NOON + 2) == 0
    assert state.peak_e8 == 2_000_000
    assert session.observe(chosen, state, 1_800_001, 0, NOON + 3) == 0
    assert session.observe(chosen, state, 1_800_000, 0, NOON + 4) == session.DRAWDOWN_BIT
    assert session.observe(chosen, state, 3_000_000, 0, NOON + 5) == 0
    assert state.peak_e8 == 3_000_000


def test_a_day_begins_at_the_equity_last_seen() -> None:
    """At midnight the loss of the day counts from what was last there, not from the first point of the new day."""
    chosen = limits(daily_on=1)
    state = begun(chosen)
    midnight = state.next_day_ns
    assert session.observe(chosen, state, WALLET - 40_000, 0, midnight - 1) == 0
    assert session.observe(chosen, state, WALLET - 89_999, 0, midnight) == 0, "the gap over midnight is of the new day"
    assert state.day_base_e8 == WALLET - 40_000
    assert session.observe(chosen, state, WALLET - 90_000, 0, midnight + 1) == session.DAILY_BIT
    days_later = midnight + 3 * NS_PER_DAY + 5
    assert session.observe(chosen, state, WALLET, 0, days_later) == 0
    assert state.next_day_ns == midnight + 4 * NS_PER_DAY
    assert state.day_base_e8 == WALLET - 90_000
    assert state.tripped == session.DAILY_BIT, "a new day does not lift what latched"


def test_a_drawdown_is_lifted_with_a_new_peak_alone() -> None:
    """Without the new peak it would trip again at once; with it, ten percent are counted from here."""
    chosen = limits(drawdown_on=1)
    state = begun(chosen)
    session.observe(chosen, state, 900_000, 0, NOON + 1)
    before = attrs.astuple(state)
    session.lift(chosen, state, session.DRAWDOWN_BIT, 900_000, NOON + 2, 0)
    assert attrs.astuple(state) == before
    session.lift(chosen, state, session.DRAWDOWN_BIT, 900_000, NOON + 2, 1)
    assert (state.tripped, state.peak_e8) == (0, 900_000)
    assert session.observe(chosen, state, 810_001, 0, NOON + 3) == 0
    assert session.observe(chosen, state, 810_000, 0, NOON + 4) == session.DRAWDOWN_BIT


def test_a_loss_that_is_lifted_counts_anew() -> None:
    """Day and session begin at the equity of the lift; the session even where it had not tripped, the day not."""
    chosen = limits(daily_on=1, session_on=1)
    state = begun(chosen)
    session.observe(chosen, state, WALLET - 60_000, 0, NOON + 1)
    for bit in (session.DAILY_BIT, session.SESSION_BIT):
        session.lift(chosen, state, bit, WALLET - 60_000, NOON + 2, 0)
    assert (state.tripped, state.day_base_e8, state.session_base_e8) == (0, WALLET - 60_000, WALLET - 60_000)
    session.observe(chosen, state, WALLET - 70_000, 0, NOON + 3)
    session.lift(chosen, state, session.DAILY_BIT, WALLET - 70_000, NOON + 4, 0)
    assert state.day_base_e8 == WALLET - 60_000
    assert session.observe(chosen, state, WALLET - 109_999, 0, NOON + 5) == 0
    assert session.observe(chosen, state, WALLET - 110_000, 0, NOON + 6) == session.DAILY_BIT


def test_margin_that_is_lifted_is_judged_again() -> None:
    """A ratio has no base to move: as long as it is over its limit, a lift lasts for one point."""
    chosen = limits(margin_on=1)
    state = begun(chosen)
    for _ in range(2):
        assert session.observe(chosen, state, 1_000, 900, NOON) == session.MARGIN_BIT
        assert session.observe(chosen, state, 1_000, 900, NOON) == 0
        session.lift(chosen, state, session.MARGIN_BIT, 1_000, NOON, 0)


SWITCHES = st.fixed_dictionaries({name: st.integers(0, 1) for name in ("drawdown_on", "daily_on", "session_on")})
POINTS = st.lists(st.tuples(st.integers(-20_000, 20_000), st.integers(0, NS_PER_DAY)), min_size=1, max_size=60)


@given(SWITCHES, POINTS, st.lists(st.integers(0, 59), max_size=3))
def test_calm_means_that_nothing_happens(
    switches: dict[str, int], points: list[tuple[int, int]], at: list[int]
) -> None:
    """Who skips what is calm, and notes the equity seen, ends in the same state with the same trips: the fast path."""
    chosen = limits(**switches, drawdown_ppm=30_000)
    asked, skipping = begun(chosen), begun(chosen)
    equity, ts_ns, calm_points = WALLET, NOON, 0
    for number, (move, wait) in enumerate(points):
        equity, ts_ns = equity + move, ts_ns + wait
        newly = session.observe(chosen, asked, equity, 0, ts_ns)
        if session.is_calm(skipping, equity, ts_ns):
            calm_points += 1
            skipping.last_e8 = equity
            assert newly == 0
        else:
            assert session.observe(chosen, skipping, equity, 0, ts_ns) == newly
        if number in at:
            for state in (asked, skipping):
                session.lift(chosen, state, session.SESSION_BIT, equity, ts_ns, 0)
                session.lift(chosen, state, session.DRAWDOWN_BIT, equity, ts_ns, 1)
        assert attrs.astuple(asked) == attrs.astuple(skipping)


@given(SWITCHES, POINTS)
def test_the_floor_is_the_highest_equity_that_trips(switches: dict[str, int], points: list[tuple[int, int]]) -> None:
    """One unit above the floor nothing trips, at it something does: whatever came before."""
    chosen = limits(**switches, drawdown_ppm=40_000)
    state = begun(chosen)
    equity, ts_ns = WALLET, NOON
    for move, wait in points:
        equity, ts_ns = equity + move, ts_ns + wait
        session.observe(chosen, state, equity, 0, ts_ns)
        floor = state.floor_e8
        if floor == session.NO_FLOOR_E8:
            continue
        assert session.observe(chosen, attrs.evolve(state), floor + 1, 0, ts_ns) == 0
        assert session.observe(chosen, attrs.evolve(state), floor, 0, ts_ns) != 0


def as_int64(record: Any) -> Any:
    """A record whose integers refuse to leave 64 bits."""
    values = attrs.asdict(record)
    return type(record)(**{name: Int64(v) if isinstance(v, int) else v for name, v in values.items()})


@given(
    st.integers(1, 9 * LARGEST_ACCOUNT),
    st.integers(-8 * LARGEST_ACCOUNT, 9 * LARGEST_ACCOUNT),
    st.integers(0, LARGEST),
    st.integers(1, PPM),
    st.integers(1, LARGEST_ACCOUNT),
)
def test_the_largest_account_stays_within_64_bits(wallet: int, equity: int, held: int, ppm: int, loss: int) -> None:
    """Compiled integers wrap in silence: over all that the settings admit, and far beyond, the arithmetic is exact."""
    chosen = as_int64(
        limits(
            drawdown_on=1, daily_on=1, session_on=1, margin_on=1, drawdown_ppm=ppm, margin_ppm=ppm, daily_e8=loss,
            session_e8=loss,
        )
    )  # fmt: skip
    state = as_int64(SessionState())
    session.begin(chosen, state, Int64(wallet), Int64(NOON))
    newly = session.observe(chosen, state, Int64(equity), Int64(held), Int64(NOON + 1))
    peak = max(wallet, equity)
    expected = session.DRAWDOWN_BIT * ((peak - equity) * PPM >= peak * ppm)
    expected |= (session.DAILY_BIT | session.SESSION_BIT) * (wallet - equity >= loss)
    expected |= session.MARGIN_BIT * (held > 0 and (equity <= 0 or held * PPM >= equity * ppm))
    assert newly == expected
    for bit in (1, 2, 4, 8):
        session.lift(chosen, state, bit, Int64(equity), Int64(NOON + 2), 1)


def test_the_end_of_time_has_a_midnight() -> None:
    """The day's end is within 64 bits for every time that a market of this century carries."""
    assert session.day_end_ns(Int64(NEVER_NS - NS_PER_DAY)) <= NEVER_NS


# --- one instrument ---------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(1, 10**7), max_size=40))
def test_volatility_is_that_of_the_grid(closes: list[int]) -> None:
    """One formula (14.17): the halt sees the very variance, to the last bit, that scales the grid's quantities."""
    realised, ind = Realised(), Indicators()
    params = GridParams(vol_lambda=0.94, ema_fast=2, ema_slow=3, adx_len=2, atr_len=2)
    for close in closes:
        session.feed_volatility(realised, close, 0.94)
        regime.update(ind, params, close, close, close)
    assert (realised.bars, realised.variance) == (ind.bars, ind.variance)


def test_volatility_trips_at_its_limit_and_before_any_return_not() -> None:
    """At it, not under it; a first bar has no return, so no volatility."""
    realised = Realised()
    session.feed_volatility(realised, 100, 0.97)
    assert session.volatility_ppm(realised, 525_600.0) == 0.0
    session.feed_volatility(realised, 101, 0.97)
    seen = session.volatility_ppm(realised, 525_600.0)
    assert seen == pytest.approx(0.01 * 525_600**0.5 * 1e6)
    at = int(seen)
    assert session.is_wild(limits(volatility_on=1, volatility_ppm=at), realised, 525_600.0)
    assert not session.is_wild(limits(volatility_on=1, volatility_ppm=at + 1), realised, 525_600.0)
    assert not session.is_wild(limits(volatility_ppm=1), realised, 525_600.0)


@pytest.mark.parametrize(
    ("rate", "hours", "dear"),
    [
        (200_000, 8, True),
        (199_999, 8, False),
        (-200_000, 8, True),
        (100_000, 4, True),
        (99_999, 4, False),
        (25_000, 1, True),
        (24_999, 1, False),
        (0, 8, False),
        (0, 0, True),
    ],
)
def test_funding_trips_at_its_cost_for_eight_hours(rate: int, hours: int, dear: bool) -> None:
    """20 bps in 8 hours, whoever pays them and however often; an interval that is none counts as too dear."""
    assert session.is_funding_dear(limits(funding_on=1), rate, hours * NS_PER_HOUR) == dear
    assert not session.is_funding_dear(limits(), rate, hours * NS_PER_HOUR)


def test_every_control_has_its_own_action() -> None:
    """A bit gives its own action and nobody else's."""
    names: dict[int, Callable[[int], dict[str, int]]] = {
        session.DRAWDOWN_BIT: lambda action: {"drawdown_action": action},
        session.DAILY_BIT: lambda action: {"daily_action": action},
        session.SESSION_BIT: lambda action: {"session_action": action},
        session.MARGIN_BIT: lambda action: {"margin_action": action},
        session.VOLATILITY_BIT: lambda action: {"volatility_action": action},
        session.FUNDING_BIT: lambda action: {"funding_action": action},
    }
    for bit, change in names.items():
        for action in (session.CANCEL_ENTRIES, session.FLATTEN):
            chosen = limits(**change(action))
            assert session.action_of(chosen, bit) == action
            assert {session.action_of(chosen, other) for other in names if other != bit} == {session.PAUSE}
    assert NS_PER_MINUTE * session.EIGHT_HOURS_MINUTES == 8 * NS_PER_HOUR
