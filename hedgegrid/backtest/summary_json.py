"""``summary.json``: a run in figures and facts, for programs and for ``compare``.

Invariants: money is whole, in quote x 1e8, times in ns since the epoch, ratios are numbers with 1 = 100 %; what cannot
be said is null, and ``absent`` says why; a change of meaning raises ``SCHEMA_VERSION``.
"""

from typing import Any, Final

import attrs
import numpy as np

from hedgegrid.backtest import names
from hedgegrid.backtest.figures import Figures, absent
from hedgegrid.backtest.measure import Measures
from hedgegrid.backtest.result import BacktestResult
from hedgegrid.ops import phrases

SCHEMA_VERSION: Final = 1
SOLVENT: Final = "solvent"
LIQUIDATED: Final = "LIQUIDATED"


@attrs.frozen(kw_only=True)
class RunFacts:
    """What the caller knows of a run and its result does not.

    ``settings`` is the text that a person would read them from (its lines are compared), ``code_version`` names the
    program, ``pessimistic`` holds the figures of the same run in which the worse of two ambiguous fills came first.
    """

    settings: str
    code_version: str
    pessimistic: Figures | None = None


def summary_json(result: BacktestResult, measures: Measures, facts: RunFacts) -> dict[str, Any]:
    """Give the summary as JSON can hold it."""
    figures = measures.figures
    return {
        "schema_version": SCHEMA_VERSION,
        "ended": ended_json(result),
        "run": {
            "instruments": [one.name for one in result.instruments],
            "from_ns": result.start_ns,
            "from_utc": phrases.moment(result.start_ns),
            "to_ns": result.end_ns,
            "to_utc": phrases.moment(result.end_ns),
            "bar_length_ns": result.bar_length_ns,
            "market": "trades" if result.is_ticks else "bars",
            "decisions": figures.decisions,
            "points": result.points,
            "initial_wallet_e8": result.initial_wallet_e8,
            "data_identity": result.data_identity,
            "notes": list(result.notes),
            "code_version": facts.code_version,
            "settings": facts.settings,
        },
        "figures": attrs.asdict(figures),
        "absent": absent(figures),
        "pessimistic": None if facts.pessimistic is None else attrs.asdict(facts.pessimistic),
        "instruments": [attrs.asdict(one) for one in measures.instruments],
        "months": [
            {
                "month": f"{one.year:04d}-{one.month:02d}",
                "first_e8": one.first_e8,
                "last_e8": one.last_e8,
                "return": one.growth,
            }
            for one in measures.months
        ],
        "pauses": pauses_json(result),
    }


def ended_json(result: BacktestResult) -> dict[str, Any]:
    """Give how the run ended; of a liquidation when, at which equity, and what it would have needed."""
    if not result.liquidated_ns:
        return {"state": SOLVENT, "ts_ns": result.end_ns}
    return {
        "state": LIQUIDATED,
        "ts_ns": result.liquidated_ns,
        "equity_e8": result.liquidation_equity_e8,
        "maintenance_e8": result.liquidation_needed_e8,
    }


def pauses_json(result: BacktestResult) -> list[dict[str, Any]]:
    """Give the pauses that came and went, oldest first, with words for codes."""
    scopes = [one.name for one in result.instruments]
    return [
        {
            "ts_ns": row["ts_ns"].item(),
            "reason": names.REASONS[row["reason"]],
            "scope": scopes[row["instrument"]] if row["instrument"] >= 0 else names.ACCOUNT,
            "change": names.PAUSE_CHANGES[row["change"]],
            "value": row["value"].item(),
            "limit": row["limit"].item(),
        }
        for row in result.pauses[np.argsort(result.pauses["ts_ns"], kind="stable")]
    ]
