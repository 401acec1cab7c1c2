"""All rows of the table."""

from tests.settings import (
    rows_account,
    rows_entries,
    rows_exit,
    rows_gate,
    rows_ladder,
    rows_session,
    rows_sim,
    rows_trend,
)

ROWS = (
    *rows_account.ROWS,
    *rows_sim.ROWS,
    *rows_ladder.ROWS,
    *rows_exit.ROWS,
    *rows_trend.ROWS,
    *rows_entries.ROWS,
    *rows_gate.ROWS,
    *rows_session.ROWS,
)
