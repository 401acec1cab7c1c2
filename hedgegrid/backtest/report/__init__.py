"""The report of a backtest as one HTML file that needs nothing beside it."""

from hedgegrid.backtest.report.page import write_report

__all__ = ["write_report"]
