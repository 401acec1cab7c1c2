"""From a run back to a backtest: the market of a journal, and the fills of both beside each other.

Invariants: the run is one of the actors in virtual time; the backtest gets nothing but its journal and a config; the
driver runs interpreted (``test_executions`` proves its compiled twin equal).
"""

import json
import sqlite3
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest

from hedgegrid import backtesting
from hedgegrid.app import House
from hedgegrid.backtest import driver, fill_check
from hedgegrid.backtest.fill_check import EQUAL, ONLY_BACKTEST, ONLY_RUN, OTHER, FillCheck, check_json
from hedgegrid.backtest.fill_check_text import LINES_MAX, check_text
from hedgegrid.backtest.from_journal import market_of
from hedgegrid.backtest.recorded_run import quote_points, read_run
from hedgegrid.backtest.result import FILL
from hedgegrid.config.params import instrument_of, venue_rules
from hedgegrid.config.schema import AccountConfig
from hedgegrid.errors import Fatal
from hedgegrid.markets import BacktestOptions
from hedgegrid.messages.events import BarClosed
from hedgegrid.model.order import Leg, Purpose
from hedgegrid.units import NS_PER_MINUTE
from hedgegrid.worlds.simulated import open_tape
from hedgegrid.worlds.world import RunOptions
from tests.actors.house import BTC, FIRST_BAR, Script, assert_agrees, boot, checked, document, market, query, settings
from tests.backtest.lanes import Lane, made_bars, made_funding, made_lane, made_ticks
from tests.core.made import walk

FUNDED = [(-477, 9_000), (3, 120_000), (60, -80_000), (120, 250_000)]
RECORDED = {"record_quotes": True}
STOPPED_OUT = {"exit": {"sl_steps": 2}, "sim": {"slippage_bps": 3}}


def examined(config: AccountConfig, journal: Path | str, points: str = "auto", **options: Any) -> FillCheck:
    """The check, interpreted."""
    chosen = BacktestOptions(market_paths=(), **options)
    return backtesting.check_journal(config, Path(journal), chosen, points=points, execution=driver.interpreted())[1]


def evolved(config: AccountConfig, **sim: Any) -> AccountConfig:
    """The same settings but for some of the simulation's."""
    return attrs.evolve(config, sim=attrs.evolve(config.sim, **sim))


def assert_adds_up(check: FillCheck) -> None:
    """The pairs' money is the totals' money, and no fill is lost or counted twice."""
    money = sum(pair.money_e8 for pair in check.pairs)
    assert money == check.totals["realised_e8"][2] - check.totals["fees_e8"][2]
    assert sum(check.count(kind) for kind in fill_check.KINDS) == len(check.pairs)
    assert len(check_text(check).splitlines()) <= LINES_MAX
    json.dumps(check_json(check))


def assert_same(check: FillCheck, at_least: int = 15) -> None:
    """No difference at all, in fills or in money."""
    assert check.first is None, check_text(check)
    assert check.count(EQUAL) == len(check.pairs) >= at_least
    assert {figures[2] for figures in check.totals.values()} == {0}
    assert check.equity is not None
    assert check.equity[3] == 0
    assert check.extra == 0
    assert_adds_up(check)


# --- the same market: the same fills ----------------------------------------------------------------------------------


@pytest.mark.asyncio
@pytest.mark.parametrize("record", [False, True])
async def test_a_run_on_bars_is_reproduced(record: bool, tmp_path: Path) -> None:
    """Closed bars are all that such a run walked: no difference, whether quotes were kept or not, funding included."""
    config = settings(
        tmp_path,
        sim={"latency_ms": 100},
        journal={"record_quotes": record},
        exit={"sl_steps": 3},
        # Without the rate that is known at the start nothing would be added before the sixtieth bar.
        funding={"on_missing": "pause"},
    )
    one = await boot(config, market(seed=4, count=150, funding=[(-400, 9_000), *FUNDED[2:]]))
    check = examined(config, one.path)
    assert_same(check)
    assert check.points == "bars"
    totals = one.house.journal.totals()
    ours = [figures[0] for figures in check.totals.values()]
    assert ours == [totals.realised_e8, totals.fees_e8, totals.funding_e8, totals.wallet_e8]
    assert totals.funding_e8 != 0
    assert check_text(check).startswith("The backtest fills as the run did")


@pytest.mark.asyncio
async def test_holes_and_two_instruments_are_reproduced(tmp_path: Path) -> None:
    """Bars that one instrument lacks are one jump of it, and the hole is told."""
    text = document(tmp_path)
    eth = "ETH/USDT:USDT"
    text["grid"] = [text["grid"][0], {**text["grid"][0], "instrument": eth}]
    text["sim"]["instrument"][eth] = {"min_notional": 0, "tick": Decimal("0.1")}
    config = checked(text)
    numbers = [*range(80), *range(95, 150)]
    lane = Lane(
        bars=(made_bars(walk(4, 150)), made_bars(walk(9, len(numbers)), numbers)),
        funding=(made_funding(FUNDED), made_funding(())),
    )
    one = await boot(config, lane.tape([BTC, eth]))
    check = examined(config, one.path)
    assert_same(check)
    assert any("gap" in note and eth in note for note in check.notes)
    with pytest.raises(Fatal, match=r"gap.*\(--strict\)"):
        examined(config, one.path, strict=True)


@pytest.mark.asyncio
async def test_a_liquidated_run_is_reproduced(tmp_path: Path) -> None:
    """Its last bar never closed: the points at which orders changed stand in for it, the liquidation's too."""
    config = settings(
        tmp_path,
        account={"wallet_quote": 12},
        ladder={"base_qty": Decimal("0.3"), "levels_long": 6},
        exit={"sl_steps": 400, "backstop_steps": 400},
        risk={name: {"enabled": False} for name in ("drawdown", "daily_loss", "session_loss", "margin_kill")},
    )
    one = await boot(config, made_lane(7, 400).tape([BTC]))
    assert one.exchange.liquidated
    check = examined(config, one.path)
    assert_same(check, 3)
    assert check.pairs[-1].either["purpose"] == 5


@pytest.mark.asyncio
async def test_an_invented_market_is_reproduced_with_its_history(tmp_path: Path) -> None:
    """The bars from before the run, which no journal holds, are invented again; another seed's are not taken."""
    slow = {"ema_fast": 20, "ema_slow": 60, "adx_len": 14, "atr_len": 14}
    config = settings(
        tmp_path, sim={"market": "synthetic", "seed": 5}, regime=slow, policy={"name": "throttled-counter"}
    )
    options = RunOptions(listen=("", 0))
    tape = open_tape(config, options, (instrument_of(config, BTC),))
    one = await boot(config, tape, duration_s=4 * 3600.0)
    assert_same(examined(config, one.path))
    other = examined(evolved(config, seed=6), one.path)
    assert any("another market" in note for note in other.notes)
    assert_adds_up(other)


@pytest.mark.asyncio
async def test_a_run_on_trades_is_reproduced_from_quotes(tmp_path: Path) -> None:
    """Where bid and ask were the trades' prices, recorded quotes give every point, its mark too; bars give fewer."""
    ticks = made_ticks(3, 4_000, spread=0)
    ticks = attrs.evolve(ticks, qty_lots=ticks.qty_lots * 1_000)
    lane = Lane(ticks=(ticks,), funding=(made_funding(FUNDED),))
    config = settings(tmp_path, sim={"latency_ms": 150}, journal=RECORDED)
    one = await boot(config, lane.tape([BTC]))
    check = examined(config, one.path)
    assert check.points == "quotes"
    assert_same(check)
    recorded = quote_points(read_run(one.path, (instrument_of(config, BTC),), NS_PER_MINUTE))
    columns = (
        ticks.ts_ns,
        ticks.price_ticks * 0,
        ticks.price_ticks,
        ticks.bid_ticks,
        ticks.ask_ticks,
        ticks.mark_ticks,
    )
    assert list(recorded) == list(zip(*(column.tolist() for column in columns), strict=True))
    bars = examined(config, one.path, "bars")
    assert any("are lost" in note for note in bars.notes)
    assert bars.differences
    assert_adds_up(bars)


@pytest.mark.asyncio
async def test_quotes_with_a_spread_say_what_they_lose(tmp_path: Path) -> None:
    """The trades themselves are not recorded: fills that only a trade could give are told as the run's alone."""
    lane = Lane(ticks=(made_ticks(3, 4_000, spread=6),), funding=(made_funding(()),))
    config = settings(tmp_path, journal=RECORDED, ladder={"base_qty": Decimal("0.02")})
    one = await boot(config, lane.tape([BTC]))
    check = examined(config, one.path)
    assert_adds_up(check)
    assert check.differences
    assert any("what traded" in note for note in check.notes)


@pytest.mark.asyncio
async def test_quotes_stream_in_stretches(tmp_path: Path) -> None:
    """A long record is walked in pieces of whole bars, with the outcome of one piece, to the last figure."""
    lane = Lane(ticks=(made_ticks(3, 4_000, spread=0),), funding=(made_funding(FUNDED),))
    config = settings(tmp_path, journal=RECORDED)
    one = await boot(config, lane.tape([BTC]))
    whole = market_of(read_run(one.path, (instrument_of(config, BTC),), NS_PER_MINUTE), "quotes")
    pieces = attrs.evolve(whole, rows_at_once=300)
    assert len(list(whole.stretches())) == 1
    rows = [piece.rows for piece in pieces.stretches()]
    assert sum(rows) == 4_000
    assert all(300 <= count < 450 for count in rows[:-1])
    results = [
        backtesting.run_backtest(
            config,
            BacktestOptions(market_paths=()),
            bound=False,
            market=backtesting.journal_market(seen, ()),
            execution=driver.interpreted(),
        ).result
        for seen in (whole, pieces)
    ]
    for table in ("fills", "equity", "orders", "funding", "grids"):
        assert (getattr(results[0], table) == getattr(results[1], table)).all()
    assert len(results[0].fills) > 15


@pytest.mark.asyncio
async def test_bars_stand_in_for_quotes_that_rotation_took(tmp_path: Path) -> None:
    """The oldest quotes go: the market before them is walked by its bars, every bar is decided on, and it is told."""
    lane = Lane(ticks=(made_ticks(3, 4_000, spread=0),), funding=(made_funding(FUNDED),))
    config = settings(tmp_path, journal=RECORDED)
    one = await boot(config, lane.tape([BTC]))
    change(one.path, "DELETE FROM quotes WHERE n <= 3333")
    outcome, check = backtesting.check_journal(
        config, one.path, BacktestOptions(market_paths=()), points="quotes", execution=driver.interpreted()
    )
    assert any("rotation" in note for note in check.notes)
    assert_adds_up(check)
    assert len(outcome.result.equity) == query(one.path, "SELECT count(*) FROM tape WHERE kind = 'BarClosed'")[0][0]
    assert check.count(EQUAL) > 5


@pytest.mark.asyncio
async def test_a_run_of_two_boots_says_so(tmp_path: Path) -> None:
    """The bot was away from the market between two boots: the backtest was not, and the check says why."""
    config = settings(tmp_path)
    tape = market(seed=4, count=150)
    await boot(config, tape, duration_s=75 * 60.0)
    one = await boot(config, tape)
    check = examined(config, one.path)
    assert any("started 2 times" in note for note in check.notes)
    assert_adds_up(check)
    assert check.count(EQUAL) > 15


@pytest.mark.asyncio
async def test_a_journal_is_checked_while_its_bot_runs(tmp_path: Path) -> None:
    """The journal is read as of one moment beside its writer, which notices nothing."""
    config = settings(tmp_path, journal=RECORDED)
    seen: list[FillCheck] = []

    def look(house: House, message: Any) -> None:
        if isinstance(message, BarClosed) and message.bar.open_ns == (FIRST_BAR + 90) * NS_PER_MINUTE:
            seen.append(examined(config, house.journal.path))

    one = await boot(config, market(seed=4, count=150), Script(after_publish=look))
    assert_agrees(one)
    assert seen[0].first is None, check_text(seen[0])
    assert seen[0].count(EQUAL) > 10
    assert_same(examined(config, one.path))


# --- another market or model: the difference and its money ------------------------------------------------------------


@pytest.mark.asyncio
async def test_other_slippage_is_told_with_its_money(tmp_path: Path) -> None:
    """Stops fill worse by the slippage of the config given, to the tick; the money is price and fee, nothing else."""
    config = settings(tmp_path, exit={"sl_steps": 2}, sim={"slippage_bps": 0})
    one = await boot(config, market(seed=4, count=150))
    check = examined(evolved(config, slippage_bps=Decimal(10)), one.path)
    assert_adds_up(check)
    assert any("not the one that the run had" in note for note in check.notes)
    assert check.count(ONLY_RUN) == check.count(ONLY_BACKTEST) == 0
    stops = [pair for pair in check.pairs if pair.either["purpose"] == Purpose.STOP]
    assert len(stops) > 3
    assert list(check.differences) == stops
    unit_e8 = instrument_of(config, BTC).unit_e8
    for pair in stops:
        assert pair.run is not None
        assert pair.backtest is not None
        was, price, lots = (
            int(one) for one in (pair.run["price_ticks"], pair.backtest["price_ticks"], pair.run["qty_lots"])
        )
        sells = pair.run["leg"] == Leg.LONG
        assert price == (was * 9_990 // 10_000 if sells else -(-was * 10_010 // 10_000))
        taker_ppm = venue_rules(config, instrument_of(config, BTC)).taker_ppm
        fees = [(2 * at * lots * unit_e8 * taker_ppm + 10**6) // (2 * 10**6) for at in (was, price)]
        worse = abs(price - was) * lots * unit_e8
        assert (pair.price_e8, pair.money_e8) == (-worse, -worse - (fees[1] - fees[0]))
        assert {"price_ticks", "realised_e8"} <= set(pair.differs) <= {"price_ticks", "realised_e8", "fee_e8"}
    assert check.totals["wallet_e8"][2] == sum(pair.money_e8 for pair in stops)


@pytest.mark.asyncio
async def test_another_fee_is_told_with_its_money(tmp_path: Path) -> None:
    """The same fills at another fee differ in the fee alone, and by it."""
    config = settings(tmp_path)
    one = await boot(config, market(seed=4, count=150))
    check = examined(evolved(config, maker_bps=config.sim.maker_bps + 1), one.path)
    assert_adds_up(check)
    assert check.differences
    for pair in check.differences:
        assert pair.differs == ("fee_e8",)
        assert pair.price_e8 == 0
        assert pair.run is not None
        assert pair.backtest is not None
        assert pair.money_e8 == int(pair.run["fee_e8"]) - int(pair.backtest["fee_e8"]) < 0


@pytest.mark.asyncio
@pytest.mark.parametrize("change_", [{"fill": "touch"}, {"latency_ms": 60_000}])
async def test_another_fill_model_is_told(change_: dict[str, Any], tmp_path: Path) -> None:
    """Fills that one side alone has are counted apart; the first is told with what both sides held and wanted."""
    config = settings(tmp_path)
    one = await boot(config, market(seed=4, count=150))
    check = examined(evolved(config, **change_), one.path)
    assert_adds_up(check)
    assert check.count(ONLY_BACKTEST) + check.count(ONLY_RUN) + check.count(OTHER) > 0
    assert check.first is not None
    assert check.states is not None
    assert all(pair.ts_ns >= check.first.ts_ns for pair in check.differences)
    # Up to the first difference both sides did the same, and so held the same.
    assert check.states[0]["held_lots"] == check.states[1]["held_lots"]
    text = check_text(check)
    assert "first difference:" in text
    assert text.count("before it: held") == 2
    told = check_json(check)
    assert told["first_difference"]["run_state"]["grid"][BTC]["generation"] >= 1


def test_a_missing_fill_does_not_shift_those_after_it() -> None:
    """Fills of one rung belong together by time first: one that is missing is one difference, not all that follow."""

    def fills(*times: int) -> Any:
        rows = np.zeros(len(times), FILL)
        rows["ts_ns"], rows["price_ticks"], rows["qty_lots"] = times, 100, 1
        return rows

    def matched(ours: Any, theirs: Any) -> list[tuple[int | None, int | None]]:
        return [
            tuple(None if row is None else int(row["ts_ns"]) for row in pair)  # type: ignore[misc]
            for pair in fill_check.matched(list(ours), list(theirs))
        ]

    assert matched(fills(1, 2, 3), fills(2, 3)) == [(1, None), (2, 2), (3, 3)]
    assert matched(fills(1, 5, 9), fills(2, 5, 8, 9)) == [(1, 2), (5, 5), (None, 8), (9, 9)]
    assert matched(fills(), fills(4)) == [(None, 4)]
    assert matched(fills(7, 7), fills(7)) == [(7, 7), (7, None)]


# --- journals that cannot serve ---------------------------------------------------------------------------------------


def change(path: Path, *statements: str) -> None:
    """Change a journal behind the bot's back."""
    with closing(sqlite3.connect(path)) as db, db:
        for statement in statements:
            db.execute(statement)


def newer(path: Path) -> None:
    """A journal of the next version."""
    change(path, "PRAGMA user_version = 999")


def torn(path: Path) -> None:
    """A file whose second half is gone."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def forged(path: Path) -> None:
    """A journal in which somebody changed a bar."""
    change(
        path, "UPDATE tape SET payload = CAST(replace(payload, '1', '2') AS BLOB) WHERE kind = 'BarClosed' AND row > 40"
    )


def empty(path: Path) -> None:
    """A journal that nothing was written into."""
    change(path, "DELETE FROM tape", "DELETE FROM boots")


def no_journal(path: Path) -> None:
    """Another file."""
    path.write_text("ts,price\n1,2\n")


def missing(path: Path) -> None:
    """No file."""
    path.unlink()


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (newer, "version 999"),
        (torn, "malformed|torn"),
        (forged, "chain of hashes"),
        (empty, "is empty"),
        (no_journal, "no journal"),
        (missing, "cannot read"),
    ],
)
async def test_a_bad_journal_is_one_line(spoil: Any, words: str, tmp_path: Path) -> None:
    """Nothing is compared with what cannot be trusted: one line says what is wrong."""
    config = settings(tmp_path)
    one = await boot(config, market(seed=4, count=40))
    spoil(one.path)
    with pytest.raises(Fatal, match=words) as raised:
        examined(config, one.path)
    assert "\n" not in str(raised.value)


@pytest.mark.asyncio
async def test_a_journal_of_other_settings_is_refused(tmp_path: Path) -> None:
    """Another instrument, other ticks, other bars, no bars or no quotes: what cannot be compared is not."""
    config = settings(tmp_path)
    one = await boot(config, market(seed=4, count=40))
    other = document(tmp_path)
    other["grid"][0]["instrument"] = "ETH/USDT:USDT"
    ticks = {"market": "recorded", "instrument": {BTC: {"min_notional": 0, "tick": Decimal("0.5")}}}
    slower = document(tmp_path)
    slower["grid"][0]["timeframe"] = "5m"
    refusals = {"traded BTC": other, "in ticks of": document(tmp_path, sim=ticks), "holds bars of": slower}
    for words, text in refusals.items():
        with pytest.raises(Fatal, match=words):
            examined(checked(text), one.path)
    with pytest.raises(Fatal, match="record_quotes"):
        examined(config, one.path, "quotes")
    short = settings(tmp_path, journal={"path": str(tmp_path / "short.db")})
    stopped = await boot(short, market(seed=4, count=40), duration_s=20.0)
    with pytest.raises(Fatal, match="no closed bar"):
        examined(short, stopped.path)
