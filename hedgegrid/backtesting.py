"""Composition of a backtest: a config and a recorded market in, a result and its files out.

What ``app`` is to ``run``: the one place that knows settings, stored markets, the driver and its outputs.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Final

import attrs

from hedgegrid.backtest import driver
from hedgegrid.backtest.figures import Figures
from hedgegrid.backtest.measure import Measures, measure
from hedgegrid.backtest.quality import check_bars
from hedgegrid.backtest.result import BacktestResult
from hedgegrid.backtest.spare_memory import give_back
from hedgegrid.backtest.stretches import joined_bars
from hedgegrid.config import params
from hedgegrid.config.render import config_hash
from hedgegrid.config.schema import AccountConfig
from hedgegrid.errors import Fatal
from hedgegrid.markets import BacktestOptions, OpenMarket, open_market, refuse, timeframe_ns, warm_up_ns
from hedgegrid.model.instrument import Instrument
from hedgegrid.units import cash_e8, ns_from_ms, quote_text
from hedgegrid.venues.simulated.arrays import BarArrays
from hedgegrid.venues.simulated.recorded_files import length_text, utc_text

if TYPE_CHECKING:
    from hedgegrid.backtest.fill_check import FillCheck
    from hedgegrid.backtest.from_journal import JournalMarket
    from hedgegrid.backtest.recorded_run import RecordedRun

BARS_UNTIL_STALE: Final = 2


@attrs.frozen(kw_only=True, eq=False)
class Outcome:
    """A finished backtest: its result, its figures, and those with the worse of two exits first, where any differ."""

    market: OpenMarket
    result: BacktestResult
    measures: Measures
    pessimistic: Figures | None


def cache_folder() -> Path:
    """Give the folder that keeps machine code between runs."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "hedgegrid"


# --- settings ---------------------------------------------------------------------------------------------------------


def account_setup(config: AccountConfig, instruments: tuple[Instrument, ...]) -> driver.AccountSetup:
    """Give an account's settings as the driver reads them. Fatal where a figure leaves what 64 bits hold."""
    watchdog = config.watchdog
    length_ns = timeframe_ns(config)
    stale_ns = max(ns_from_ms(watchdog.feed_stale_ms), BARS_UNTIL_STALE * length_ns)
    return driver.AccountSetup(
        wallet_e8=cash_e8(config.account.wallet_quote),
        limits=params.risk_limits(config),
        session_limits=params.session_limits(config),
        resume_after_ns=ns_from_ms(watchdog.resume_after_ms),
        heartbeat_ns=ns_from_ms(watchdog.heartbeat_ms),
        bar_length_ns=length_ns,
        grids=tuple(
            driver.GridSetup(
                instrument=one,
                params=params.grid_params(grid, one, config.risk),
                rules=params.venue_rules(config, one),
                gate=gate,
                pause_missing=grid.funding.on_missing == "pause",
                stale_ns=stale_ns,
            )
            for grid, one, gate in zip(
                config.grid, instruments, params.instrument_risks(config, instruments), strict=True
            )
        ),
    )


# --- from a journal ---------------------------------------------------------------------------------------------------


def check_journal(
    config: AccountConfig,
    journal: Path,
    options: BacktestOptions,
    *,
    points: str,
    bound: bool = False,
    execution: driver.Execution | None = None,
) -> tuple[Outcome, "FillCheck"]:
    """Walk the market that a run saw and compare the fills. Fatal, in one line, for a journal that cannot serve."""
    from hedgegrid.backtest.fill_check import check  # noqa: PLC0415 - journals, which no other backtest reads
    from hedgegrid.backtest.from_journal import market_of  # noqa: PLC0415 - the same
    from hedgegrid.backtest.recorded_run import read_run  # noqa: PLC0415 - the same

    instruments = tuple(params.instrument_of(config, grid.instrument) for grid in config.grid)
    run = read_run(journal, instruments, timeframe_ns(config))
    history, notes = _history(config, run)
    seen = market_of(run, points, history)
    notes = (*seen.notes(), *_settings_notes(config, run), *run.notes, *notes)
    market = journal_market(seen, notes)
    refuse(market.findings, strict=options.strict)
    outcome = run_backtest(config, options, bound=bound, market=market, execution=execution)
    return outcome, check(run, outcome.result, points=seen.points, notes=market.notes)


def journal_market(seen: "JournalMarket", notes: tuple[str, ...]) -> OpenMarket:
    """Open the market that a run saw."""
    run = seen.run
    findings = [
        finding
        for one, bars in zip(run.instruments, run.bars, strict=True)
        for finding in check_bars(bars, one.name, run.length_ns)
    ]
    return OpenMarket(
        instruments=run.instruments,
        stretches=seen.stretches,
        is_ticks=seen.is_ticks,
        rows=seen.rows,
        start_ns=run.start_ns,
        end_ns=run.last_ns,
        decide_from_ns=seen.decide_from_ns,
        known_rates=run.known_rates,
        findings=tuple(findings),
        notes=(*notes, *(finding.line for finding in findings)),
        identity=seen.identity,
    )


def _history(config: AccountConfig, run: "RecordedRun") -> tuple[tuple[BarArrays, ...], tuple[str, ...]]:
    """Give the bars from before a run that its indicators had, which no journal holds, or say that they are lost.

    A recorded market begins with its first bar; an invented one can be invented again where the config is the same.
    """
    if config.sim.market == "recorded":
        return (), ()
    from hedgegrid.backtest.recorded_run import bar_arrays  # noqa: PLC0415 - as in check_journal
    from hedgegrid.worlds.simulated import open_tape  # noqa: PLC0415 - the actors, which no other backtest needs
    from hedgegrid.worlds.world import RunOptions  # noqa: PLC0415

    tape = open_tape(config, RunOptions(listen=("", 0)), run.instruments)
    if tape.identity != run.boots[0].market:
        lost = "the config invents another market than the run's: bars from before the run, if it had any, are lost"
        return (), (lost,)
    count = warm_up_ns(config) // run.length_ns
    return tuple(bar_arrays(tape.history(index, run.start_ns, count)) for index in range(len(run.instruments))), ()


def _settings_notes(config: AccountConfig, run: "RecordedRun") -> Iterator[str]:
    """Say where the settings are not those of the run."""
    # `run --journal` names another file than the config does; that alone makes no other run.
    beside = attrs.evolve(config, journal=attrs.evolve(config.journal, path=str(run.path)))
    if not {boot.config_hash for boot in run.boots} <= {config_hash(config), config_hash(beside)}:
        yield "the config is not the one that the run had: differences may come from that"
    wallet_e8 = cash_e8(config.account.wallet_quote)
    if run.wallet_e8 != wallet_e8:
        yield f"the run began with {quote_text(run.wallet_e8)}, the backtest begins with {quote_text(wallet_e8)}"


# --- the run ----------------------------------------------------------------------------------------------------------


def run_backtest(
    config: AccountConfig,
    options: BacktestOptions,
    *,
    bound: bool = True,
    market: OpenMarket | None = None,
    execution: driver.Execution | None = None,
) -> Outcome:
    """Run a backtest, compiled unless said otherwise; ``bound``: with the pessimistic one, where exits were ambiguous.

    The bound is walked first and let go before the run itself, so that memory holds one of them at a time; where no
    exit was ambiguous it is the run, since nothing came in another order.
    """
    market = market or open_market(config, options)
    execution = execution or _compiled(options, trades=market.is_ticks)
    takers = tuple(params.venue_rules(config, one).taker_ppm for one in market.instruments)
    pessimistic = None
    if bound and not config.sim.pessimistic:
        worse = attrs.evolve(config, sim=attrs.evolve(config.sim, pessimistic=True))
        result = walk(worse, market, execution, options)
        if result.ambiguous_bars:
            pessimistic = measure(result, takers_ppm=takers).figures
            del result
            give_back()
            options.tell("some exits were ambiguous: that was the bound with the worse first, now the run itself")
            result = walk(config, market, execution, options)
    else:
        result = walk(config, market, execution, options)
    if not len(result.equity):
        raise Fatal(
            f"no bar of {length_text(result.bar_length_ns)} closed in this market, which runs from "
            f"{utc_text(market.start_ns)} to {utc_text(market.end_ns)}: choose a shorter timeframe"
        )
    measures = measure(result, takers_ppm=takers)
    give_back()
    return Outcome(market=market, result=result, measures=measures, pessimistic=pessimistic)


def _compiled(options: BacktestOptions, *, trades: bool) -> driver.Execution:
    """Give the compiled driver, and say so where that will take its time or cannot be kept."""
    folder = options.cache_dir or cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        options.tell(
            f"compiling for this run alone, a minute or two: {folder} cannot be written ({error.strerror}); "
            "XDG_CACHE_HOME can name another folder"
        )
        return driver.compiled(None)
    if not driver.is_compiled(folder, trades=trades):
        options.tell("compiling the decisions for this machine: once for this version, a minute or two")
    return driver.compiled(folder)


def walk(
    config: AccountConfig, market: OpenMarket, execution: driver.Execution, options: BacktestOptions
) -> BacktestResult:
    """Walk the whole market once."""
    run = driver.Run(
        account_setup(config, market.instruments),
        execution,
        start_ns=market.start_ns,
        known_rates=market.known_rates,
        on_progress=lambda rows: options.on_progress(rows, market.rows),
    )
    parts: list[tuple[BarArrays, ...]] = []
    for stretch in market.stretches():
        run.walk(stretch, decide_from_ns=market.decide_from_ns)
        if not market.is_ticks or not parts:
            parts.append(stretch.closed)
        if run.is_over:
            break
    bars = tuple(joined_bars([part[index] for part in parts]) for index in range(len(market.instruments)))
    result = run.result(
        bars=bars, is_ticks=market.is_ticks, end_ns=market.end_ns, notes=market.notes, identity=market.identity
    )
    # The logs of what became of orders, and the tables of the driver, are done with.
    del run
    give_back()
    return result
