"""The bot as a process of its own, killed at random moments: what the next boot makes of it."""

from pathlib import Path
from typing import Any

import pytest

from tools.rehearsal import __main__ as rehearsal
from tools.rehearsal.processes import ROOT

KILLS = 4
LIFE_S = 2.0
LAST_LIFE_S = 5.0
LAST_LIVES = 8
"""At most so many calm ones, until something was traded: a busy machine starts slowly."""


def test_after_each_kill_it_reads_first_and_protects_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No order twice, none before the exchange was read, every leg protected in time, and both accounts equal."""
    calm = rehearsal.Rehearsal.calm

    def calm_until_traded(self: rehearsal.Rehearsal, _: float) -> None:
        for _ in range(LAST_LIVES):
            calm(self, LAST_LIFE_S)
            if self.report.problems or self.trades():
                return

    monkeypatch.setattr(rehearsal, "LIFE_S", LIFE_S)
    monkeypatch.setattr(rehearsal.Rehearsal, "calm", calm_until_traded)
    given: dict[str, Any] = {
        "kills": KILLS,
        "seed": 5,
        "minutes": 0,
        "config": ROOT / "configs" / "binance-testnet.toml",
        "timeframe": "1s",
        "more": ("--volatility=12", "--book-rate=20"),
    }
    report = rehearsal.rehearse(tmp_path, given)
    assert report.problems == []
    assert report.kills == KILLS
    assert report.fills > 0, "nothing was traded: the kills prove nothing"
