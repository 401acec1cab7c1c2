"""Each control has a scenario of its own on the crash; a new one without any is found here.

Invariant: what has none has no limit that a market could meet: it is a guard against our own mistakes, or what is
refused by it never gets as far as the gate. Where each of those is shown stands beside it, and has to exist.
"""

from pathlib import Path

from hedgegrid.core.pause import Reason, is_control
from hedgegrid.core.risk import CONTROL_NAMES

HERE = Path(__file__).parent
CALLED = {"max_orders_per_minute": "order_rate", "margin": "margin_kill", "kill": "kill_switch"}
"""Control -> the config that shows it, where that has another name."""
GUARDS = {
    "permission": ("actors/test_worst_case.py", '"permission"'),
    "min_notional": ("core/test_risk.py", "MIN_NOTIONAL"),
    "duplicate": ("actors/test_worst_case.py", '"duplicate"'),
    "self_cross": ("actors/test_worst_case.py", '"self_cross"'),
    "reduce_only_proof": ("actors/test_worst_case.py", '"reduce_only_proof"'),
}
"""Control -> the tests that show it, and its name there; rungs under the exchange's minimum the ladder leaves out."""


def test_each_control_has_its_scenario() -> None:
    """By the gate's own catalogue, and by the reasons that session controls raise."""
    controls = {*CONTROL_NAMES.values(), Reason.KILL.value, *(one.value for one in Reason if is_control(one))}
    shown = {path.stem for path in HERE.glob("*.toml")}
    assert {CALLED.get(name, name) for name in controls - GUARDS.keys()} == shown
    for path, name in GUARDS.values():
        assert name in (HERE.parent / path).read_text(encoding="utf-8"), (name, path)
