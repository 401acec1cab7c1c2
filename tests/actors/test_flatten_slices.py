"""A flatten in slices, in virtual time: every market reduction is small, and no leg runs ahead of the other.

Invariant: orders and what each leg holds are read from the exchange's own book of fills.
"""

from collections import defaultdict
from decimal import Decimal
from pathlib import Path

import pytest

from hedgegrid.model.order import Leg, Purpose
from hedgegrid.units import cash_e8
from tests.actors.house import Boot, settings
from tests.actors.test_flatten import BOTH, Scene, asking, assert_flat, boot_on
from tests.actors.test_unlinked import PATIENT


def reductions(one: Boot, after_ns: int) -> tuple[list[int], list[int]]:
    """The notional of each market reduction (quote x 1e8), and LONG - SHORT in lots after each fill from then on."""
    held, notional, net = [0, 0], defaultdict[str, int](int), list[int]()
    unit_e8 = one.house.instruments[0].unit_e8
    for fill in one.exchange.fills:
        held[fill.leg] += fill.qty_lots if fill.purpose is Purpose.ENTRY else -fill.qty_lots
        if fill.purpose is Purpose.FLATTEN:
            notional[fill.client_id] += fill.qty_lots * fill.price_ticks * unit_e8
        if fill.ts_ns >= after_ns:
            net.append(held[Leg.LONG] - held[Leg.SHORT])
    return list(notional.values()), net


@pytest.mark.asyncio
@pytest.mark.parametrize("latency_ms", [0, 16_000])
@pytest.mark.parametrize("linked", [True, False], ids=["linked exits", "racing exits"])
async def test_flatten_goes_in_slices(linked: bool, latency_ms: int, tmp_path: Path) -> None:
    """No reduction is more than the slice (but for the slippage), and |net| grows by no more than one; FLAT follows."""
    slice_quote = Decimal("6.5")
    scene = Scene(legs=BOTH)
    risk = {**PATIENT, "flatten_slice_quote": slice_quote}
    one = await boot_on(
        settings(tmp_path, risk=risk, sim={"latency_ms": latency_ms, "slippage_bps": 0}), asking(scene), linked=linked
    )
    assert all(scene.held.values())
    notional, net = reductions(one, scene.asked_ns)
    slice_e8 = cash_e8(slice_quote)
    # The mark may move on while a slice travels.
    assert max(notional) <= (slice_e8 if latency_ms == 0 else slice_e8 * 102 // 100)
    assert len(notional) > 2
    lots = slice_e8 // one.house.instruments[0].unit_e8 // 9_000
    assert max(map(abs, net)) <= max(abs(net[0]), lots)
    assert_flat(one, scene)
