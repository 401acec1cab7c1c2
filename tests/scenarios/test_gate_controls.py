"""Each control of the gate on the crash of 2025-02-03, by a config of its own: what it refused, and what it held.

Invariants: limit and value of every refusal are read from the journal, as a person reads them; that the exposure kept
to the limit is worked out from the journal's messages, by sums that are not the gate's. Ages need a market that can
fall silent: see test_age_controls.py.
"""

import re
from pathlib import Path

import attrs
import pytest

from hedgegrid.units import CASH_SCALE
from tests.scenarios.replayed import WIDE, Entry, entries
from tests.scenarios.scenario import Scenario, staged

NUMBER = re.compile(r"-?[\d,]+(?:\.\d+)?")
PPM = 1_000_000
HELD = {
    "max_position_qty": ("30", "position of", attrs.evolve(WIDE, position_lots=30)),
    "max_notional_per_leg_quote": ("3000", "notional of", attrs.evolve(WIDE, leg_e8=3_000 * CASH_SCALE)),
    "max_gross_notional_quote": ("5000", "gross notional", attrs.evolve(WIDE, gross_e8=5_000 * CASH_SCALE)),
    "max_net_notional_quote": ("2500", "net notional", attrs.evolve(WIDE, net_e8=2_500 * CASH_SCALE)),
    "max_leverage": ("0.6", "leverage", attrs.evolve(WIDE, leverage_ppm=600_000)),
    "max_position_ratio": ("5", "position ratio", attrs.evolve(WIDE, position_ppm=50_000)),
    "max_margin_ratio": ("0.2", "margin ratio", attrs.evolve(WIDE, margin_ppm=2_000)),
    "var": ("1", "value at risk", attrs.evolve(WIDE, var_ppm=10_000)),
    "max_open_orders_per_leg": ("4", "open orders of", attrs.evolve(WIDE, open_orders=4)),
}
"""Control -> the limit in its refusals, the figure that it holds, and the caps of its config."""


def ran(control: str, folder: Path, shared_dir: Path) -> Scenario:
    """Run a control's config on the crash."""
    it = staged(control, folder, shared_dir)
    it.run()
    return it


def figure(text: str) -> float:
    """The first number of a limit or a value."""
    found = NUMBER.search(text)
    assert found is not None, text
    return float(found[0].replace(",", ""))


def refused(it: Scenario, control: str, limit: float, *, below: bool = False) -> list[float]:
    """The values that a control refused, each beyond its limit by what the journal says."""
    values = [figure(one.value) for one in it.refusals(control)]
    assert {figure(one.limit) for one in it.refusals(control)} == {limit}
    assert all((value < limit) if below else (value > limit) for value in values)
    assert {one.purpose for one in it.refusals(control)} == {0}, "a reduction is never refused for comfort"
    return values


def kept(seen: list[Entry], name: str) -> None:
    """No entry took the figure over its cap, and some used more than half of it."""
    assert seen
    used = 0.0
    for entry in seen:
        for what, (before, after, cap) in entry.figures.items():
            if what.startswith(name):
                assert after <= max(cap, before), (what, before, after, cap)
                used = max(used, after / cap)
    assert used > 0.5


@pytest.mark.parametrize("control", list(HELD))
def test_a_tight_limit_refuses_and_is_kept(control: str, tmp_path: Path, shared_dir: Path) -> None:
    """Through the whole crash the journal names the control with its limit and a value beyond it; nothing passed it."""
    limit, name, caps = HELD[control]
    it = ran(control, tmp_path, shared_dir)
    values = refused(it, control, 0.03 if control == "max_position_qty" else float(limit))
    assert len(values) > 20
    kept(entries(it.journal, it.config, caps), name)
    it.proven()


def test_the_distance_to_a_liquidation_is_kept(tmp_path: Path, shared_dir: Path) -> None:
    """A fall or a rise of 90 % would not have ended the account at any entry that left."""
    control = "min_liquidation_distance_ratio"
    it = ran(control, tmp_path, shared_dir)
    assert len(refused(it, control, 90.0, below=True)) > 20
    seen = entries(it.journal, it.config, attrs.evolve(WIDE, distance_ppm=900_000))
    assert seen
    for entry in seen:
        for way in ("liquidation after a fall", "liquidation after a rise"):
            _, missed, slack = entry.figures[way]
            assert missed <= slack
    it.proven()


def test_the_collar_keeps_prices_near_the_mark(tmp_path: Path, shared_dir: Path) -> None:
    """Rungs more than 40 bps away are refused with how far they are; none that left was further."""
    it = ran("price_collar_bps", tmp_path, shared_dir)
    assert len(refused(it, "price_collar_bps", 40.0)) > 20
    seen = entries(it.journal, it.config, WIDE)
    away_ppm = [abs(one.request.price_ticks - one.mark_ticks) * PPM / one.mark_ticks for one in seen]
    assert 2_000 < max(away_ppm) <= 4_000
    it.proven()


def test_an_order_is_never_worth_more_than_its_limit(tmp_path: Path, shared_dir: Path) -> None:
    """Outer rungs that grow beyond 1,200 are refused with what they are worth; none that left was worth more."""
    it = ran("max_order_notional_quote", tmp_path, shared_dir)
    assert len(refused(it, "max_order_notional_quote", 1_200.0)) > 20
    seen = entries(it.journal, it.config, WIDE)
    # A tick of 0.1 on a lot of 0.001.
    worth = [one.request.price_ticks * one.request.qty_lots / 10_000 for one in seen]
    assert 1_000 < max(worth) <= 1_200
    it.proven()


def test_an_order_is_never_larger_than_the_exchange_takes(tmp_path: Path, shared_dir: Path) -> None:
    """Outer rungs that grow beyond 0.012 are refused with their size; none that left was larger."""
    it = ran("max_order_qty", tmp_path, shared_dir)
    assert len(refused(it, "max_order_qty", 0.012)) > 20
    lots = [one.request.qty_lots for one in entries(it.journal, it.config, WIDE)]
    assert 10 < max(lots) <= 12
    it.proven()
