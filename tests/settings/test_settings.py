"""Every setting matters: for each there is a scene in which changing it changes what is seen from outside.

See ``table.py`` for what a row is, and ``rows_*.py`` for the rows.
"""

from typing import Any

import pytest

from tests.settings.every_row import ROWS
from tests.settings.table import Row, Stage


@pytest.fixture(scope="module")
def stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """Where the scenes of the chosen rows are played, each life once for all rows that look at it."""
    chosen = [item.callspec.params.get("row") for item in request.session.items if hasattr(item, "callspec")]
    return Stage(tmp_path_factory.mktemp("settings"), [each for each in chosen if isinstance(each, Row)])


@pytest.mark.asyncio
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.field)
async def test_changing_a_setting_changes_what_is_seen(row: Row[Any], stage: Stage) -> None:
    """Each value of the setting brings about what the row says of it, and of no other value."""
    faults = await row.faults(stage)
    assert not faults, "\n".join(faults)
