"""All rows of the table."""

from typing import Any

from tests.settings import (
    rows_account,
    rows_alerts,
    rows_breaker,
    rows_entries,
    rows_exit,
    rows_files,
    rows_gate,
    rows_health,
    rows_ladder,
    rows_served,
    rows_session,
    rows_sim,
    rows_stream,
    rows_trend,
    rows_venue,
)
from tests.settings.table import Row

ROWS: tuple[Row[Any], ...] = (
    *rows_account.ROWS,
    *rows_venue.ROWS,
    *rows_sim.ROWS,
    *rows_ladder.ROWS,
    *rows_exit.ROWS,
    *rows_trend.ROWS,
    *rows_entries.ROWS,
    *rows_gate.ROWS,
    *rows_session.ROWS,
    *rows_health.ROWS,
    *rows_files.ROWS,
    *rows_served.ROWS,
    *rows_breaker.ROWS,
    *rows_stream.ROWS,
    *rows_alerts.ROWS,
)
