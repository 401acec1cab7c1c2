"""Each session control on the crash of 2025-02-03, by a config of its own: what it says, does, and keeps.

Invariant: every test reads from the journal which figure crossed which limit, when, and what was done; that nothing
made a leg grow from then on; and that a restart, on the same files, undoes nothing.
"""

from pathlib import Path

from tests.scenarios.scenario import ONE_POINT_NS, staged


def test_drawdown_flattens_for_good(tmp_path: Path, shared_dir: Path) -> None:
    """1 % below the peak of equity everything is closed; a restart, or --resume without --new-peak, adds nothing."""
    it = staged("drawdown", tmp_path, shared_dir)
    it.run(minutes=60)
    trip = it.trip("drawdown")
    limit_ppm, lost_ppm = trip.figure("limit_ppm"), trip.figure("drawdown_ppm")
    assert limit_ppm == 10_000 <= lost_ppm < 2 * limit_ppm
    peak_e8, equity_e8 = trip.figure("peak_e8"), trip.figure("equity_e8")
    assert (peak_e8 - equity_e8) * 1_000_000 // peak_e8 == lost_ppm
    before = it.equities_e8(trip.ts_ns)
    assert max(before) <= peak_e8
    assert all((peak_e8 - one) * 1_000_000 < limit_ppm * peak_e8 for one in before), "it tripped too late"
    assert it.market_reductions(trip.ts_ns) > 0
    assert it.entries_filled(trip.ts_ns + ONE_POINT_NS) == 0
    it.run(minutes=20)
    it.run("--resume", minutes=5)
    assert it.entries_sent(trip.ts_ns) == 0
    assert (it.held_lots(), it.entries_open()) == (0, 0)
    assert [one.change for one in it.changes("drawdown")].count("still_latched") >= 2
    it.run("--resume", "--new-peak")
    assert it.entries_sent(trip.ts_ns) > 0, "the operator's word lifts it"
    it.proven()
