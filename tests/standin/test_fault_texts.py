"""How faults are written, and when they act: by count, by rate, after a while, for some requests only."""

import pytest

from tools.standin.fault_kinds import KINDS
from tools.standin.faults import Faults, FaultTextError, is_reduction
from tools.standin.request_log import RequestLog

ORDER = "POST /fapi/v1/order"


def made(seed: int = 0) -> tuple[Faults, list[float]]:
    """A registry with a clock that the test moves."""
    now = [0.0]
    return Faults(seed=seed, log=RequestLog(), now_s=lambda: now[0]), now


def fired(faults: Faults, name: str, times: int, call: str = ORDER) -> list[bool]:
    """Whether a fault acts on each of so many requests."""
    return [faults.fires(name, {"symbol": "BTCUSDT"}, call) is not None for _ in range(times)]


def test_a_count_acts_so_often_and_then_never() -> None:
    """A count of two is two orders, and what is used up is no longer listed."""
    faults, _ = made()
    faults.arm("2019:2")
    assert fired(faults, "2019", 4) == [True, True, False, False]
    assert faults.armed() == []
    assert faults.fired == {"2019": 2}


def test_a_rate_is_repeatable_by_its_seed() -> None:
    """The same seed meets the same requests; another seed meets others."""
    rows = []
    for seed in (1, 1, 2):
        faults, _ = made(seed)
        faults.arm("2019:0.5")
        rows.append(fired(faults, "2019", 64))
    assert rows[0] == rows[1] != rows[2]
    assert 10 < sum(rows[0]) < 54


def test_some_are_let_go_first() -> None:
    """skip= lets the first ones pass."""
    faults, _ = made()
    faults.arm("2019:1:skip=2")
    assert fired(faults, "2019", 4) == [False, False, True, False]


def test_a_lasting_fault_ends_with_its_time() -> None:
    """It acts on everything until then, on the monotonic clock."""
    faults, now = made()
    faults.arm("maintenance:ms=1000")
    assert fired(faults, "maintenance", 3) == [True, True, True]
    now[0] = 1.0
    assert fired(faults, "maintenance", 1) == [False]


@pytest.mark.parametrize(
    ("text", "call", "meets"),
    [
        ("2019", ORDER, True),
        ("2019", "DELETE /fapi/v1/order", True),
        ("2019", "GET /fapi/v1/openOrders", False),
        ("2019:on=place", "DELETE /fapi/v1/order", False),
        ("2019:on=cancel", "DELETE /fapi/v1/allOpenOrders", True),
        ("2019:on=cancel", ORDER, False),
        ("2019:on=algoOrder", ORDER, False),
        ("2019:on=algoOrder", "POST /fapi/v1/algoOrder", True),
        ("2019:on=read", "GET /fapi/v3/account", True),
        ("stale-read", "GET /fapi/v3/account", True),
        ("429", "GET /fapi/v3/account", True),
        ("2019:symbol=BTCUSDT", ORDER, True),
        ("2019:symbol=ETHUSDT", ORDER, False),
    ],
)
def test_it_meets_what_it_is_about(text: str, call: str, meets: bool) -> None:
    """on= and other keys choose among requests; most faults are about orders unless they say otherwise."""
    faults, _ = made()
    name = faults.arm(text).name
    assert fired(faults, name, 1, call) == [meets]


@pytest.mark.parametrize("text", ["none", "2019:1:2", "2019:often", "2019:1.5", "2019:-1", "2019:skip=x", "half-open"])
def test_wrong_texts_are_refused(text: str) -> None:
    """A typing error is an error, not a fault that never fires."""
    faults, _ = made()
    with pytest.raises(FaultTextError):
        faults.arm(text)


def test_disarming() -> None:
    """By name, or all."""
    faults, _ = made()
    for text in ("2019", "2022", "5022"):
        faults.arm(text)
    assert (faults.disarm("2022"), faults.any_armed(), faults.disarm(), faults.any_armed()) == (1, True, 2, False)


@pytest.mark.parametrize(
    ("params", "reduces"),
    [
        ({"side": "SELL", "positionSide": "LONG"}, True),
        ({"side": "BUY", "positionSide": "SHORT"}, True),
        ({"side": "BUY", "positionSide": "LONG"}, False),
        ({"side": "SELL", "positionSide": "BOTH", "reduceOnly": "true"}, True),
        ({"side": "SELL", "positionSide": "BOTH", "closePosition": "true"}, True),
    ],
)
def test_reductions_are_known(params: dict[str, str], reduces: bool) -> None:
    """Hedge mode's own rule, and the two flags."""
    assert is_reduction(params) is reduces


def test_every_fault_says_what_it_means() -> None:
    """The list of faults is the manual."""
    assert all(kind.words for kind in KINDS.values())
    assert len(KINDS) > 60
