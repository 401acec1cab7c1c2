"""A decision that would repeat itself is left out, and nobody can tell: every order and table is the same."""

from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any

import attrs
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hedgegrid.core import pipeline, repeat
from hedgegrid.core.codes import (
    FILL_QUEUE,
    FUNDING_HALT,
    FUNDING_SCALE,
    FUNDING_WARN,
    POLICY_CORE,
    POLICY_THROTTLED,
)
from hedgegrid.core.venue_tables import REJECTED
from hedgegrid.units import NS_PER_HOUR, PPM
from tests.core import made
from tests.core.desk import PLAIN, Desk, as_lists
from tests.core.made import BAR_NS, Ohlc
from tests.core.scenes import QUARTER, SCENES, Scene, play

TABLES = ("rungs", "entries", "accounts", "lots", "stops", "orders", "links", "cancels", "venue_accounts", "events")
SINGLES = ("state", "ind", "market")
OWN = {"settled", "trim_low", "trim_high", "trim_room_long", "trim_room_short", "crossing", "freed", "shut", "counted"}
"""Fields, beside those named ``repeat_*``, that may differ: how far the last ladder reaches and what it has room for,
and which of its busy rungs, which are not offered anyway, the mid has crossed since."""

Holds = Callable[..., bool]


def figures(record: Any) -> dict[str, Any]:
    """A record's fields but those that only say how far the last ladder reaches."""
    rows = attrs.asdict(record)
    return {name: rows[name] for name in rows if name not in OWN and not name.startswith("repeat_")}


def seen(desk: Desk) -> dict[str, Any]:
    """All that a desk has done, and what stands on both sides."""
    told: dict[str, Any] = {name: list(getattr(desk, name)) for name in ("fills", "told", "wakes")}
    told |= {name: [figures(row) for row in getattr(desk, name)] for name in TABLES}
    return told | {name: figures(getattr(desk, name)) for name in SINGLES}


def differences(left: dict[str, Any], right: dict[str, Any]) -> list[str]:
    """The names of what two desks do not agree on."""
    return [name for name, rows in left.items() if repr(rows) != repr(right[name])]


def never(*_: object) -> bool:
    """No decision repeats itself: each is made."""
    return False


def counting(held: list[int]) -> Holds:
    """``repeat.holds``, with the time of each decision that it left out noted."""
    holds = repeat.holds

    def noted(params: Any, state: Any, ind: Any, ts_ns: int) -> bool:
        answer = holds(params, state, ind, ts_ns)
        if answer:
            held.append(ts_ns)
        return answer

    return noted


def both(run: Callable[[], Desk]) -> tuple[Desk, Desk, list[int]]:
    """The same run with decisions left out and with each made, and the times of those that were left out."""
    held: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(repeat, "holds", counting(held))
        saved = run()
        patch.setattr(repeat, "holds", never)
        return saved, run(), held


# --- whole runs ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
def test_a_scene_is_the_same_with_every_decision_made(scene: Scene) -> None:
    """In the scenes that between them use the whole core, with refusals, operators and settlements in between."""
    saved, whole, _ = both(lambda: play(scene, PLAIN, as_lists))
    assert len(saved.fills) > 20
    assert differences(seen(saved), seen(whole)) == []


def any_params(dice: Random) -> dict[str, Any]:
    """Settings of every kind whose bounds a market of small moves meets now and then."""
    return {
        "step_ppm": dice.choice([800, 2_000, 5_000]),
        "geometric": dice.randint(0, 1),
        "atr_spacing": dice.choice([0, 0, 1]),
        "levels_long": dice.randint(1, 5),
        "levels_short": dice.randint(1, 5),
        "base_quote_e8": dice.choice([0, 10**9]),
        "qty_scale_ppm": dice.choice([PPM, 1_500_000]),
        "recenter_ppm": dice.choice([6_000, 20_000, 300_000]),
        "max_inventory_e8": dice.choice([10**15, 2 * 10**9, 3 * 10**9, 4 * 10**9]),
        "min_notional_e8": dice.choice([0, 0, 5 * 10**8]),
        "vol_target_ppm": dice.choice([0, 0, PPM // 5, PPM]),
        "tp_ppm": dice.choice([PPM, 2_500_000, 6 * PPM]),
        "policy": dice.choice([0, POLICY_THROTTLED, POLICY_CORE]),
        "contrarian": dice.randint(0, 1),
        "leg_stop": dice.randint(0, 1),
        "funding_mode": dice.choice([FUNDING_WARN, FUNDING_SCALE, FUNDING_HALT]),
        "funding_window_ns": dice.choice([3, 30]) * BAR_NS,
        "funding_pause_missing": dice.choice([0, 0, 0, 1]),
        "price_tolerance_ppm": dice.choice([0, 50]),
        "qty_tolerance_ppm": dice.choice([0, 10_000, 200_000]),
        "hysteresis_bps": dice.choice([0.0, 2.0, 20.0]),
        "adx_threshold": dice.choice([10.0, 25.0, 40.0]),
        **({"ema_fast": 5, "ema_slow": 15, "adx_len": 6} if dice.random() < 0.5 else {}),
    }


def any_rules(dice: Random) -> dict[str, int]:
    """Fills and latencies of every kind."""
    latency = dice.choice([0, 0, 1, QUARTER + 1, 2 * BAR_NS])
    return {"fill_model": dice.randint(0, FILL_QUEUE - 1), "latency_ns": latency, "pessimistic": dice.randint(0, 1)}


def live(seed: int, watch: Callable[[Desk, str], None] | None = None) -> Desk:
    """A market of small moves with an operator, a gate and a funding stream that speak up now and then."""
    dice = Random(seed)
    desk = Desk(PLAIN, as_lists, made.params(**any_params(dice)), made.rules(**any_rules(dice)))
    desk.watch = partial(watch, desk) if watch else None
    refusals = dice.choice([0.0, 0.0, 0.05])
    gate = Random(seed + 1)
    desk.refuses = (lambda _: gate.random() < refusals) if refusals else None
    reach, gap = dice.choice([4, 12, 30, 60]), dice.choice([3, 15, 40])
    for number, bar in enumerate(made.walk(seed, 120, reach=reach, gap=gap)):
        desk.walk_bar(number, bar, BAR_NS)
        speak_up(desk, dice, number * BAR_NS + 3 * QUARTER)
    return desk


def speak_up(desk: Desk, dice: Random, ts_ns: int) -> None:
    """Mostly nothing; else a rate, a settlement, a pause, a throttle, a flatten."""
    roll, state = dice.random(), desk.state
    if roll < 0.02:
        rate = dice.choice([-90_000, -10_000, 20_000, 90_000])
        PLAIN.funding.remember_rate(state, rate, ts_ns + BAR_NS * dice.randint(1, 40), 8 * NS_PER_HOUR)
    elif roll < 0.03:
        state.rate_known = 0
    elif roll < 0.05:
        state.may_add = 0
    elif roll < 0.06:
        state.hold_entries = 1
    elif roll < 0.08:
        state.throttle_ppm = dice.choice([0, PPM // 2, PPM, PPM])
    elif roll < 0.09:
        desk.drop_entries(ts_ns)
    elif roll < 0.10:
        desk.flatten(ts_ns)
    elif roll < 0.12:
        PLAIN.margin.settle_funding(desk.market, desk.venue_accounts, desk.rules, dice.randint(-9_999, 9_999))
    elif roll < 0.40:
        state.may_add, state.hold_entries, state.throttle_ppm = 1, 0, PPM


@settings(max_examples=150)
@given(st.integers(0, 10**9))
@example(67_856)
@example(1_733)
def test_any_run_is_the_same_with_every_decision_made(seed: int) -> None:
    """Any settings, on a market quiet enough for decisions to be left out and lively enough to meet every bound."""
    saved, whole, _ = both(lambda: live(seed))
    assert differences(seen(saved), seen(whole)) == []


def test_the_runs_leave_decisions_out_and_trade() -> None:
    """A comparison in which nothing is left out, or nothing happens, would prove nothing."""
    runs = [both(lambda seed=seed: live(seed)) for seed in range(20)]  # type: ignore[misc]
    assert sum(len(held) for _, _, held in runs) > 20 * 120 // 5
    assert sum(len(saved.fills) for saved, _, _ in runs) > 20 * 5


# --- the bounds ------------------------------------------------------------------------------------------------------


def offer_at(desk: Desk, mid_ticks: int) -> list[tuple[int, ...]]:
    """The ladder that a decision at this mid would build now, and how many of its rungs are under the minimum."""
    state, rungs = attrs.evolve(desk.state, mid_ticks=mid_ticks), [attrs.evolve(rung) for rung in desk.rungs]
    PLAIN.pipeline.build_ladder(desk.params, state, desk.ind, rungs, desk.entries, int(desk.market.ts_ns))
    free = [rung.slot < 0 and rung.open_lots == 0 for rung in rungs]
    rows = [
        (rung.in_ladder, rung.qty_lots, rung.crossing if bare else -1) for rung, bare in zip(rungs, free, strict=True)
    ]
    return [*rows, (state.below_minimum - desk.state.below_minimum,)]


@settings(max_examples=60)
@given(st.integers(0, 10**9))
def test_the_ladder_is_the_same_up_to_both_bounds(seed: int) -> None:
    """At the lowest and the highest mid that were noted, to the tick, the ladder is that of the decision."""

    def watch(desk: Desk, stage: str) -> None:
        state = desk.state
        if stage != "decided" or state.settled == 0:
            return
        low, high = max(1, state.repeat_low), min(10**9, state.repeat_high)
        here = offer_at(desk, state.mid_ticks)
        assert low <= state.mid_ticks <= high
        assert offer_at(desk, low) == here
        assert offer_at(desk, high) == here

    live(seed, watch)


def test_a_rung_that_crosses_bounds_the_mid_on_either_side() -> None:
    """The nearest rungs that could be offered, while paused: the bounds are theirs, and a tick further is another."""
    desk = Desk(PLAIN, as_lists, made.params(hysteresis_bps=1e9), made.rules())
    desk.state.may_add = 0
    for number in range(6):
        desk.walk_bar(number, (10_000, 10_000, 10_000, 10_000), BAR_NS)
    state = desk.state
    assert (state.settled, state.repeat_low, state.repeat_high) == (1, 9_951, 10_049)
    assert offer_at(desk, 9_950) != offer_at(desk, 9_951) == offer_at(desk, 10_049) != offer_at(desk, 10_050)
    desk.walk_bar(6, (10_100, 10_100, 10_100, 10_100), BAR_NS)
    assert (state.settled, state.repeat_low, state.repeat_high) == (1, 10_100, 10_149)
    desk.walk_bar(7, (9_900, 9_900, 9_900, 9_900), BAR_NS)
    assert (state.settled, state.repeat_low, state.repeat_high) == (1, 9_851, 9_900)


def test_what_the_position_is_worth_bounds_the_mid() -> None:
    """Ten lots are held; the rungs that fit beside them fit until the mid makes those dearer, and no tick longer."""
    limit = 30 * 10**8
    desk = Desk(PLAIN, as_lists, made.params(hysteresis_bps=1e9, max_inventory_e8=limit, tp_ppm=9 * PPM), made.rules())
    for number in range(5):
        desk.walk_bar(number, (10_000, 10_000, 10_000, 10_000), BAR_NS)
    desk.walk_bar(5, (10_000, 10_000, 9_949, 9_960), BAR_NS)
    desk.walk_bar(6, (9_960, 9_960, 9_960, 9_960), BAR_NS)
    state = desk.state
    assert (state.settled, state.position_long_lots) == (1, 10)
    kept_e8 = sum(rung.price_ticks * 10 * made.UNIT_E8 for rung in desk.rungs if rung.leg == 0 and rung.in_ladder)
    assert kept_e8 > 0
    assert state.trim_high == (limit - kept_e8) // (10 * made.UNIT_E8)
    assert offer_at(desk, state.trim_high) != offer_at(desk, state.trim_high + 1)


def test_a_cancel_under_way_is_looked_at_again() -> None:
    """What waits behind it is given up once its rung crosses, though the ladder is as wanted."""

    def run() -> Desk:
        desk = Desk(PLAIN, as_lists, made.params(hysteresis_bps=1e9), made.rules(latency_ns=3 * BAR_NS))
        for number in range(9):
            desk.walk_bar(number, (10_000, 10_000, 10_000, 10_000), BAR_NS)
        for number, throttle, price in ((9, PPM // 2, 9_990), (10, PPM, 9_990), (11, PPM, 9_950), (12, PPM, 9_960)):
            desk.state.throttle_ppm = throttle
            desk.walk_bar(number, (price, price, price, price), BAR_NS)
        return desk

    saved, whole, _ = both(run)
    assert differences(seen(saved), seen(whole)) == []


def test_a_retry_that_is_given_up_is_no_repetition() -> None:
    """Giving it up asks for nothing, but the next ladder is without its rung, which crosses and is not counted."""

    def run() -> Desk:
        one = {"levels_long": 1, "levels_short": 1, "max_inventory_e8": 10**9}  # the SHORT rung never fits
        params = made.params(hysteresis_bps=1e9, retry_delay_ns=3 * BAR_NS, **one)
        desk = Desk(PLAIN, as_lists, params, made.rules(latency_ns=QUARTER))
        for number in range(8):
            desk.state.may_add = int(number == 7)
            desk.walk_bar(number, (10_000, 10_000, 10_000, 10_000), BAR_NS)
        # The market gaps below the LONG rung before its order is live: rejected as post-only, it waits to retry.
        desk.walk_bar(8, (9_900, 9_900, 9_900, 9_900), BAR_NS)
        desk.state.throttle_ppm = 0
        for number in range(9, 13):
            desk.walk_bar(number, (9_900, 9_900, 9_900, 9_900), BAR_NS)
        return desk

    saved, whole, _ = both(run)
    assert [row[1] for row in saved.told].count(REJECTED) == 1
    assert differences(seen(saved), seen(whole)) == []


# --- when it holds ---------------------------------------------------------------------------------------------------


def still(count: int, *, seed: int = 1, reach: int = 3) -> list[Ohlc]:
    """Bars within a few ticks of 10,000."""
    dice = Random(seed)
    rows = [(10_000, *(10_000 + dice.randint(-reach, reach) for _ in range(3))) for _ in range(count)]
    return [(opened, max(rest), min(opened, *rest), rest[-1]) for opened, *rest in rows]


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"max_inventory_e8": 25 * 10**8},
        {"policy": POLICY_CORE, "hysteresis_bps": 50.0},
        {"min_notional_e8": 10**9},
    ],
    ids=["plain", "trimmed", "core", "below the minimum"],
)
def test_it_holds_on_most_bars_of_a_quiet_market(params: dict[str, Any]) -> None:
    """Where nothing is met nothing is worked out: all but the first decisions are left out."""
    settings_of = {"hysteresis_bps": 1e9, **params}

    def run() -> Desk:
        desk = Desk(PLAIN, as_lists, made.params(**settings_of), made.rules())
        for number, bar in enumerate(still(200)):
            desk.walk_bar(number, bar, BAR_NS)
        return desk

    saved, whole, held = both(run)
    assert differences(seen(saved), seen(whole)) == []
    assert len(held) >= 190


def test_a_closed_lot_costs_no_ladder(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rung fills and its lot takes profit, again and again: its rung alone is offered again, at the next decision."""
    built: list[int] = []
    build = pipeline.build_ladder

    def noted(*given: Any) -> None:
        built.append(given[-1])
        build(*given)

    monkeypatch.setattr(pipeline, "build_ladder", noted)
    desk = Desk(PLAIN, as_lists, made.params(hysteresis_bps=1e9), made.rules())
    bars = [*still(6), *([(10_000, 10_010, 9_940, 10_000), (10_000, 10_060, 9_990, 10_000)] * 10)]
    for number, bar in enumerate(bars):
        desk.walk_bar(number, bar, BAR_NS)
    assert len(desk.fills) >= 20
    assert max(built) < 6 * BAR_NS


def test_what_did_not_fit_is_looked_at_once_a_lot_is_closed() -> None:
    """A rung that the inventory left out fits after a take-profit: the whole ladder is built, and it is offered."""

    def run() -> Desk:
        limit = {"max_inventory_e8": 22 * 10**8, "levels_short": 0}
        desk = Desk(PLAIN, as_lists, made.params(hysteresis_bps=1e9, **limit), made.rules())
        for number, bar in enumerate(
            [*still(6), *([(10_000, 10_010, 9_940, 10_000), (10_000, 10_060, 9_990, 10_000)] * 4)]
        ):
            desk.walk_bar(number, bar, BAR_NS)
        return desk

    saved, whole, held = both(run)
    assert differences(seen(saved), seen(whole)) == []
    assert len(saved.fills) > 4
    assert held
