"""The session controls' settings as the core reads them: every setting reaches its own field, in its unit."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import pytest

from hedgegrid.config.params import session_limits
from hedgegrid.config.schema import AccountConfig
from hedgegrid.core import session
from hedgegrid.core.gate_records import SessionLimits
from tests.actors.house import settings

FIELDS: list[tuple[str, str, Any, str, Any]] = [
    ("drawdown", "enabled", False, "drawdown_on", 0),
    ("drawdown", "max_ratio", Decimal("0.123456"), "drawdown_ppm", 123_456),
    ("drawdown", "action", "pause", "drawdown_action", session.PAUSE),
    ("daily_loss", "enabled", False, "daily_on", 0),
    ("daily_loss", "max_quote", Decimal("1.00000001"), "daily_e8", 100_000_001),
    ("daily_loss", "action", "cancel_entries", "daily_action", session.CANCEL_ENTRIES),
    ("session_loss", "enabled", False, "session_on", 0),
    ("session_loss", "max_quote", Decimal("2.5"), "session_e8", 250_000_000),
    ("session_loss", "action", "pause", "session_action", session.PAUSE),
    ("margin_kill", "enabled", False, "margin_on", 0),
    ("margin_kill", "max_ratio", Decimal("0.75"), "margin_ppm", 750_000),
    ("margin_kill", "action", "cancel_entries", "margin_action", session.CANCEL_ENTRIES),
    ("volatility_halt", "enabled", False, "volatility_on", 0),
    ("volatility_halt", "max_annualised", Decimal("1.5"), "volatility_ppm", 1_500_000),
    ("volatility_halt", "action", "flatten", "volatility_action", session.FLATTEN),
    ("var", "lambda", Decimal("0.94"), "volatility_lambda", 0.94),
    ("funding_kill", "enabled", False, "funding_on", 0),
    ("funding_kill", "max_cost_bps_8h", Decimal("12.34"), "funding_max_e8", 123_400),
    ("funding_kill", "action", "flatten", "funding_action", session.FLATTEN),
]


@pytest.mark.parametrize(("section", "key", "value", "field", "expected"), FIELDS)
def test_every_setting_reaches_its_own_field(
    section: str, key: str, value: Any, field: str, expected: Any, tmp_path: Path
) -> None:
    """One changed setting changes one field, to its value in the core's unit, and nothing else."""
    before = attrs.asdict(session_limits(settings(tmp_path)))
    after = attrs.asdict(session_limits(settings(tmp_path, risk={section: {key: value}})))
    assert before[field] != expected
    assert after == {**before, field: expected}


def test_no_field_is_left_out() -> None:
    """A field that a later version adds must get its row above."""
    assert {field for *_, field, _ in FIELDS} == set(attrs.fields_dict(SessionLimits))


def test_controls_are_on_by_default(config: AccountConfig) -> None:
    """Whoever says nothing is protected, by the limits of the example file."""
    limits = session_limits(config)
    switches = ("drawdown_on", "daily_on", "session_on", "margin_on", "volatility_on", "funding_on")
    assert {getattr(limits, name) for name in switches} == {1}
    assert (limits.drawdown_ppm, limits.daily_e8, limits.session_e8) == (100_000, 300 * 10**8, 500 * 10**8)
    assert (limits.margin_ppm, limits.volatility_ppm, limits.funding_max_e8) == (800_000, 3_000_000, 200_000)
