"""Each session control on the crash of 2025-02-03, by a config of its own: what it says, does, and keeps.

Invariant: every test reads from the journal which figure crossed which limit, when, and what was done; that nothing
made a leg grow from then on; and that a restart, on the same files, undoes nothing.
"""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from hedgegrid.journal import kill_file
from hedgegrid.messages.events import EndReason, OrderEvent, OrderEventKind
from hedgegrid.model.order import OrderRequest, Purpose
from hedgegrid.units import NS_PER_MINUTE, NS_PER_S
from hedgegrid.venues.simulated.exchange import Exchange
from tests.command import invoke
from tests.scenarios.scenario import CRASH, ONE_POINT_NS, Change, Scenario, staged

BEFORE_MIDNIGHT = datetime(2025, 2, 2, 23, 20, tzinfo=UTC)
MIDNIGHT_NS = int(datetime(2025, 2, 3, tzinfo=UTC).timestamp()) * NS_PER_S
FALL_NS = int(datetime(2025, 2, 3, 1, 40, tzinfo=UTC).timestamp()) * NS_PER_S
"""Before this the price moves as on any day."""


def assert_over(it: Scenario, trip: Change, *, flat: bool = True) -> None:
    """From the trip on no entry was approved, and none filled but what was on its way; nothing rests; all is closed."""
    assert it.entries_sent(trip.ts_ns) == 0
    assert it.entries_filled(trip.ts_ns + ONE_POINT_NS) == 0
    assert it.entries_open() == 0
    assert (it.held_lots() == 0) or not flat
    it.proven()


def test_drawdown_flattens_for_good(tmp_path: Path, shared_dir: Path) -> None:
    """1 % below the peak of equity everything is closed; a restart, or --resume without --new-peak, adds nothing."""
    it = staged("drawdown", tmp_path, shared_dir)
    it.run(minutes=60)
    trip = it.trip("drawdown")
    assert trip.ts_ns > FALL_NS
    limit_ppm, lost_ppm = trip.figure("limit_ppm"), trip.figure("drawdown_ppm")
    assert limit_ppm == 10_000 <= lost_ppm < 2 * limit_ppm
    peak_e8, equity_e8 = trip.figure("peak_e8"), trip.figure("equity_e8")
    assert (peak_e8 - equity_e8) * 1_000_000 // peak_e8 == lost_ppm
    before = it.equities_e8(trip.ts_ns)
    assert max(before) <= peak_e8
    assert all((peak_e8 - one) * 1_000_000 < limit_ppm * peak_e8 for one in before), "it tripped too late"
    assert it.market_reductions(trip.ts_ns) > 0
    it.run(minutes=15)
    it.run("--resume", minutes=5)
    assert_over(it, trip)
    assert [one.change for one in it.changes("drawdown")].count("still_latched") >= 2
    it.run("--resume", "--new-peak")
    assert it.entries_sent(trip.ts_ns) > 0, "the operator's word lifts it"


@pytest.mark.parametrize(("name", "action"), [("daily_loss", "cancel_entries"), ("session_loss", "flatten")])
def test_a_loss_ends_it_over_restarts(name: str, action: str, tmp_path: Path, shared_dir: Path) -> None:
    """60 below what day or session began with: entries go, with `flatten` all of it; a restart changes nothing."""
    it = staged(name, tmp_path, shared_dir)
    it.run(minutes=55)
    trip = it.trip(name)
    begun_e8 = 10_000 * 10**8
    assert trip.figure("limit_e8") == 60 * 10**8 <= trip.figure("loss_e8") == begun_e8 - trip.figure("equity_e8")
    assert min(it.equities_e8(trip.ts_ns)) > begun_e8 - trip.figure("limit_e8"), "it tripped too late"
    assert (it.market_reductions(trip.ts_ns) > 0) == (action == "flatten")
    it.run(minutes=20)
    assert_over(it, trip, flat=action == "flatten")
    assert "still_latched" in [one.change for one in it.changes(name)]
    it.run("--resume", minutes=20)
    assert it.entries_sent(trip.ts_ns) > 0, "the operator's word lifts it"


def test_a_wild_market_halts_its_instrument_and_a_calm_one_lets_it_go_on(tmp_path: Path, shared_dir: Path) -> None:
    """250 % a year at the crash: no entry until it is calmer, whatever is restarted meanwhile; then by itself."""
    it = staged("volatility_halt", tmp_path, shared_dir, minutes=140)
    it.run(minutes=70)
    trip = it.trip("volatility_halt")
    assert trip.scope == "BTC/USDT:USDT"
    assert trip.ts_ns > FALL_NS
    assert trip.figure("volatility_ppm") >= trip.figure("limit_ppm") == 2_500_000
    assert_over(it, trip, flat=False)
    it.run()
    gone = next(one for one in it.changes("volatility_halt") if one.change == "recovering")
    assert gone.figure("volatility_ppm") < 2_500_000
    assert it.entries_sent(trip.ts_ns, gone.ts_ns) == 0
    assert it.entries_sent(gone.ts_ns) > 0


def test_dear_funding_closes_its_instrument(tmp_path: Path, shared_dir: Path) -> None:
    """The rate that was really paid rises from -0.09 to 1 bp at midnight: over 0.5 bp everything is closed."""
    it = staged("funding_kill", tmp_path, shared_dir, first=BEFORE_MIDNIGHT, funding=True)
    it.run(minutes=70)
    trip = it.trip("funding_kill")
    assert trip.ts_ns == MIDNIGHT_NS
    assert (trip.figure("rate_e8"), trip.figure("cost_8h_e8"), trip.figure("limit_8h_e8")) == (10_000, 10_000, 5_000)
    assert it.entries_sent(0, trip.ts_ns) > 0
    assert it.market_reductions(trip.ts_ns) > 0
    it.run()
    assert_over(it, trip)


def test_margin_that_comes_near_closes_everything(tmp_path: Path, shared_dir: Path) -> None:
    """Maintenance of a thousandth of equity is the limit here: what is held goes, and it stays latched."""
    it = staged("margin_kill", tmp_path, shared_dir)
    it.run(minutes=60)
    trip = it.trip("margin")
    maintenance_e8, equity_e8 = trip.figure("maintenance_e8"), trip.figure("equity_e8")
    assert maintenance_e8 * 1_000_000 // equity_e8 == trip.figure("margin_ppm") >= trip.figure("limit_ppm") == 1_000
    assert it.market_reductions(trip.ts_ns) > 0
    it.run(minutes=20)
    assert_over(it, trip)


def test_an_exchange_that_refuses_is_left_alone(
    tmp_path: Path, shared_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Entries are refused from 01:30 on: the 11th refusal in 5 minutes ends the asking; a restart asks no sooner."""
    place = Exchange.place
    refused_ns: list[int] = []
    from_ns = FALL_NS - 10 * NS_PER_MINUTE

    def refusing(exchange: Exchange, request: OrderRequest, now_ns: int) -> OrderEvent:
        if request.purpose is not Purpose.ENTRY or now_ns < from_ns:
            return place(exchange, request, now_ns)
        refused_ns.append(now_ns)
        return OrderEvent(
            kind=OrderEventKind.REJECTED, client_id=request.client_id, reason=EndReason.REFUSED, detail="-4000: no"
        )

    monkeypatch.setattr(Exchange, "place", refusing)
    it = staged("circuit_breaker", tmp_path, shared_dir)
    it.run(minutes=45)
    trip = it.trip("circuit_breaker")
    assert trip.figure("errors") > trip.figure("limit") == 10
    assert trip.figure("within_ns") < trip.figure("window_ns") == 300 * NS_PER_S
    assert sum(trip.ts_ns - 300 * NS_PER_S < at_ns <= trip.ts_ns for at_ns in refused_ns) == trip.figure("errors")
    assert_over(it, trip, flat=False)
    monkeypatch.setattr(Exchange, "place", place)
    it.run()
    (cleared,) = [one for one in it.changes("circuit_breaker") if one.change == "cleared"]
    restarted_ns = int(CRASH.timestamp()) * NS_PER_S + 45 * NS_PER_MINUTE
    assert cleared.ts_ns - restarted_ns >= (900 - 60) * NS_PER_S, "the restart cut its quiet short"
    assert it.entries_sent(trip.ts_ns, cleared.ts_ns - 1) == 0
    assert it.entries_sent(cleared.ts_ns - 1) > 0


def test_a_kill_in_the_crash_is_for_good(tmp_path: Path, shared_dir: Path) -> None:
    """Thrown while nothing runs, amid the fall: the next start closes everything, those after it add nothing."""
    it = staged("kill_switch", tmp_path, shared_dir)
    it.run(minutes=42)
    assert it.held_lots() > 0
    killed = invoke("kill", "--config", it.config, "--journal", it.journal)
    assert killed.exit_code == 0, killed.output
    assert kill_file.is_placed(it.journal)
    it.run(minutes=20)
    told = it.changes("kill")
    assert [one.change for one in told] == ["still_latched", "raised", "flatten_started"]
    assert told[0].figures == {"by": "kill file", "flatten": "LONG,SHORT"}
    assert it.market_reductions(told[0].ts_ns) > 0
    it.run(minutes=20)
    assert_over(it, told[0])
    it.run("--resume")
    assert it.entries_sent(told[0].ts_ns) > 0, "the operator's word lifts it"


def test_a_grid_that_lives_at_its_limit_of_orders_is_stopped(tmp_path: Path, shared_dir: Path) -> None:
    """Eight orders a minute are too few in the fall: entries wait, then a habit of it latches, over restarts."""
    it = staged("order_rate", tmp_path, shared_dir)
    it.run(minutes=60)
    trip = it.trip("order_rate")
    refused = [one for one in it.refusals("max_orders_per_minute") if one.ts_ns <= trip.ts_ns]
    assert {(one.limit, one.purpose) for one in refused} == {("8", int(Purpose.ENTRY))}
    minutes = sorted({one.ts_ns // NS_PER_MINUTE for one in refused})
    assert minutes[-1] == trip.ts_ns // NS_PER_MINUTE
    assert minutes[-1] - minutes[-3] < 10
    assert all(high - low >= 10 for low, high in zip(minutes, minutes[2:-1], strict=False)), "it tripped too late"
    assert trip.figure("orders") >= trip.figure("limit") == 8
    it.run(minutes=20)
    assert_over(it, trip, flat=False)
    it.run("--resume", minutes=10)
    assert it.entries_sent(trip.ts_ns) > 0, "the operator's word lifts it"
