"""Composition of a backtest: a config and a recorded market in, a result and its files out.

What ``app`` is to ``run``: the one place that knows settings, stored markets, the driver and its outputs.
"""

import os
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Final

import attrs
import numpy as np

from hedgegrid import __version__
from hedgegrid.backtest import columns, driver
from hedgegrid.backtest.figures import Figures
from hedgegrid.backtest.measure import Measures, measure
from hedgegrid.backtest.quality import Finding, Severity, check_bars, check_funding, check_trades
from hedgegrid.backtest.result import BacktestResult
from hedgegrid.backtest.store.reader import Store
from hedgegrid.backtest.store.rules import DatedRules
from hedgegrid.backtest.stretches import StoredMarket, joined_bars
from hedgegrid.config import params
from hedgegrid.config.render import config_hash
from hedgegrid.config.schema import AccountConfig
from hedgegrid.errors import Fatal
from hedgegrid.model.instrument import Instrument
from hedgegrid.units import cash_e8, ns_from_ms, quote_text
from hedgegrid.venues.simulated.arrays import BarArrays, FundingArrays, TickArrays, content_hash
from hedgegrid.venues.simulated.recorded import Recorded, recorded_market
from hedgegrid.venues.simulated.recorded_files import utc_text

if TYPE_CHECKING:
    from hedgegrid.backtest.fill_check import FillCheck
    from hedgegrid.backtest.from_journal import JournalMarket
    from hedgegrid.backtest.recorded_run import RecordedRun

EVER_NS: Final = 9_223_372_036_854_775_807
BARS_UNTIL_STALE: Final = 2
HISTORY_BARS_MIN: Final = 200
BPS_PER_ONE: Final = 10_000


@attrs.frozen(kw_only=True)
class BacktestOptions:
    """What the command line says of a backtest. Times in ns; ``strict`` refuses data with any warning."""

    market_paths: tuple[Path, ...]
    from_ns: int = 0
    to_ns: int = EVER_NS
    strict: bool = False
    cache_dir: Path | None = None
    tell: Callable[[str], None] = lambda _: None
    on_progress: Callable[[int, int], None] = lambda _done, _whole: None
    """Told the rows walked since it was last told, and how many there are in all."""


@attrs.frozen(kw_only=True, eq=False)
class OpenMarket:
    """A recorded market that is ready to be walked as often as asked.

    ``known_rates`` are the newest settlements before the first decision; ``decide_from_ns``: bars before it only warm
    the indicators up; ``rows`` are what will be walked.
    """

    instruments: tuple[Instrument, ...]
    stretches: Callable[[], Iterator[columns.Market]]
    is_ticks: bool
    rows: int
    start_ns: int
    end_ns: int
    decide_from_ns: int
    known_rates: tuple[tuple[int, int] | None, ...]
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]
    identity: str


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
                params=params.grid_params(grid, one),
                rules=params.venue_rules(config, one),
                gate=params.instrument_risk(grid, one),
                pause_missing=grid.funding.on_missing == "pause",
                stale_ns=stale_ns,
            )
            for grid, one in zip(config.grid, instruments, strict=True)
        ),
    )


def timeframe_ns(config: AccountConfig) -> int:
    """Give the one timeframe of the grids. Fatal where they have several."""
    lengths = {params.bar_length_ns(grid) for grid in config.grid}
    if len(lengths) > 1:
        raise Fatal("one backtest has one timeframe: give all grids the same")
    return lengths.pop()


# --- the market -------------------------------------------------------------------------------------------------------


def open_market(config: AccountConfig, options: BacktestOptions) -> OpenMarket:
    """Open what the options name: one store, or files and folders as ``run`` takes them.

    Fatal, in one line, where it is missing or damaged, and with ``strict`` where it is less than clean.
    """
    for path in options.market_paths:
        if not path.exists():
            raise Fatal(f"--data {path}: no such file or folder")
    if not options.market_paths:
        raise Fatal("a backtest needs a recorded market: give it with --data FILE, or a store with --data DIR")
    store = next((path for path in options.market_paths if is_store(path)), None)
    market = _from_files(config, options) if store is None else _from_store(config, options, store)
    _refuse(market.findings, strict=options.strict)
    return market


def _refuse(findings: tuple[Finding, ...], *, strict: bool) -> None:
    """Refuse a market with an error in it, and with ``strict`` one with a warning."""
    for finding in findings:
        if finding.severity is Severity.ERROR or (strict and finding.severity is Severity.WARNING):
            raise Fatal(f"{finding.line}" + ("" if finding.severity is Severity.ERROR else " (--strict)"))


def is_store(path: Path) -> bool:
    """Tell whether a folder is a store of recorded markets."""
    return path.is_dir() and bool(Store(path).instruments())


def _from_files(config: AccountConfig, options: BacktestOptions) -> OpenMarket:
    length_ns = timeframe_ns(config)
    instruments = tuple(params.instrument_of(config, grid.instrument) for grid in config.grid)
    told = f"instrument rules: the package's snapshot of {params.snapshot_day()}, and what the config says"
    recorded = recorded_market(options.market_paths, instruments, length_ns, allow_gaps=True)
    findings = [*_findings(recorded, instruments, length_ns)]
    whole = _cut(recorded, options, length_ns, _warm_up_ns(config))
    if whole.ticks:
        market = columns.trades_market(whole.ticks, whole.funding, length_ns)
    else:
        market = columns.bars_market(whole.bars, whole.funding, length_ns)
    arrays: tuple[BarArrays | TickArrays, ...] = whole.ticks or whole.bars
    series = [series for one in arrays for series in (one.columns())]
    notes = tuple(f"{one.name}: {note}" for one, each in zip(instruments, arrays, strict=True) for note in each.notes)
    times = market.trades.ts_ns if market.trades is not None else market.bars.open_ns if market.bars else []
    return _open(
        options,
        instruments=instruments,
        stretches=lambda: iter((market,)),
        is_ticks=bool(whole.ticks),
        rows=market.rows,
        span_ns=(int(times[0]), market.last_step_ns),
        funding=whole.funding,
        findings=tuple(findings),
        notes=(told, *notes),
        identity=content_hash([str(length_ns), *(one.name for one in instruments), *series]),
    )


def _from_store(config: AccountConfig, options: BacktestOptions, root: Path) -> OpenMarket:
    if len(options.market_paths) > 1:
        raise Fatal(f"{root} is a store: give it alone, and import the other files into it")
    store = Store(root)
    asked_ns = max(options.from_ns, 1)
    instruments: list[Instrument] = []
    notes: list[str] = []
    for grid in config.grid:
        rules = store.rules_at(grid.instrument, asked_ns if options.from_ns else EVER_NS // 2)
        instruments.append(params.instrument_of(config, grid.instrument, _snapshot_words(rules)))
        notes.append(f"{grid.instrument}: rules stored with the data, of {rules.date}")
        notes += [f"{grid.instrument}: {note}" for note in (*rules.notes, *_fee_notes(config, rules))]
    stored = StoredMarket(
        store=store,
        instruments=tuple(instruments),
        length_ns=timeframe_ns(config),
        from_ns=max(0, options.from_ns - _warm_up_ns(config)),
        to_ns=options.to_ns,
    )
    return _open(
        options,
        instruments=stored.instruments,
        stretches=stored.stretches,
        is_ticks=stored.is_ticks,
        rows=sum(store.facts(series).rows for series in stored.series()),
        span_ns=stored.span(),
        funding=stored.funding(),
        findings=(),
        notes=tuple(notes),
        identity=store.identity(stored.series()),
    )


def _open(
    options: BacktestOptions,
    *,
    instruments: tuple[Instrument, ...],
    stretches: Callable[[], Iterator[columns.Market]],
    is_ticks: bool,
    rows: int,
    span_ns: tuple[int, int],
    funding: tuple[FundingArrays, ...],
    findings: tuple[Finding, ...],
    notes: tuple[str, ...],
    identity: str,
) -> OpenMarket:
    """Finish an open market: where decisions begin, and what is known of funding by then."""
    first_ns, last_ns = span_ns
    start_ns = max(first_ns, options.from_ns)
    silent = [one.name for one, series in zip(instruments, funding, strict=True) if not len(series.ts_ns)]
    if silent:
        notes = (
            *notes,
            f"no funding is recorded for {', '.join(silent)}: none is charged, and the rate counts as missing",
        )
    return OpenMarket(
        instruments=instruments,
        stretches=stretches,
        is_ticks=is_ticks,
        rows=rows,
        start_ns=start_ns,
        end_ns=last_ns,
        decide_from_ns=options.from_ns,
        known_rates=tuple(rate_at(series, first_ns) for series in funding),
        findings=findings,
        notes=(*notes, *(finding.line for finding in findings)),
        identity=identity,
    )


def _warm_up_ns(config: AccountConfig) -> int:
    """Give how much market before the first decision warms the indicators up, where there is any."""
    longest = max(max(g.regime.ema_slow, 2 * g.regime.adx_len, g.regime.atr_len) for g in config.grid)
    return max(HISTORY_BARS_MIN, 4 * longest) * timeframe_ns(config)


def rate_at(series: FundingArrays, ts_ns: int) -> tuple[int, int] | None:
    """Give the newest settlement at or before a time."""
    place = int(np.searchsorted(series.ts_ns, ts_ns, side="right")) - 1
    return None if place < 0 else (int(series.ts_ns[place]), int(series.rate_e8[place]))


def _cut(recorded: Recorded, options: BacktestOptions, length_ns: int, warm_up_ns: int) -> Recorded:
    """Keep what lies between --from (less the warm-up) and --to. Fatal where nothing does."""
    if options.from_ns == 0 and options.to_ns == EVER_NS:
        return recorded
    begin = 0 if options.from_ns == 0 else options.from_ns - warm_up_ns

    def cut(value: object, times: np.ndarray[tuple[int], np.dtype[np.int64]]) -> object:
        keep = (times >= begin) & (times < options.to_ns)
        if not keep.any():
            raise Fatal(
                f"--from and --to leave nothing of the data: it runs from {utc_text(int(times[0]))} to "
                f"{utc_text(int(times[-1]) + length_ns)}"
            )
        names = [field.name for field in attrs.fields(type(value))]  # type: ignore[arg-type]
        taken = {name: getattr(value, name)[keep] for name in names if isinstance(getattr(value, name), np.ndarray)}
        return attrs.evolve(value, **taken)  # type: ignore[misc]

    return Recorded(
        bars=tuple(cut(bars, bars.open_ns) for bars in recorded.bars),  # type: ignore[misc]
        ticks=tuple(cut(ticks, ticks.ts_ns) for ticks in recorded.ticks),  # type: ignore[misc]
        funding=recorded.funding,
    )


def _findings(recorded: Recorded, instruments: tuple[Instrument, ...], length_ns: int) -> Iterator[Finding]:
    """Examine what was loaded."""
    for index, one in enumerate(instruments):
        if recorded.ticks:
            yield from check_trades(recorded.ticks[index], one.name)
        else:
            yield from check_bars(recorded.bars[index], one.name, length_ns)
        if len(recorded.funding[index].ts_ns):
            yield from check_funding(recorded.funding[index], one.name, one.funding_interval_ns)


def _snapshot_words(rules: DatedRules) -> dict[str, object]:
    """Give dated rules in the words of the package's snapshot, for what they know."""
    words: dict[str, object] = {}
    for name in ("tick", "lot", "min_qty", "max_qty", "min_notional", "funding_interval_hours"):
        figure = rules.decimal(name)
        if figure is not None:
            words[name] = figure
    fee = rules.decimal("liquidation_fee")
    if fee is not None:
        words["liquidation_fee_bps"] = fee * BPS_PER_ONE
    tiers = rules.fields.get("tiers")
    if tiers is not None and isinstance(tiers.value, list):
        words["tiers"] = [
            {"max_notional_quote": Decimal(most), "maintenance_margin_ratio": Decimal(ratio)}
            for most, ratio in tiers.value
        ]
    return words


def _fee_notes(config: AccountConfig, rules: DatedRules) -> Iterator[str]:
    """Say where the stored fees are others than the config's, which are the ones that are charged."""
    for name, charged in (("maker_fee", config.sim.maker_bps), ("taker_fee", config.sim.taker_bps)):
        stored = rules.decimal(name)
        if stored is not None and stored * BPS_PER_ONE != charged:
            yield f"{name}: {stored * BPS_PER_ONE:f} bps are stored, the config's {charged:f} bps are charged"


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
    _refuse(market.findings, strict=options.strict)
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
    from hedgegrid.app import RunOptions, open_tape  # noqa: PLC0415 - the actors, which no other backtest needs
    from hedgegrid.backtest.recorded_run import bar_arrays  # noqa: PLC0415 - as in check_journal

    tape = open_tape(config, RunOptions(listen=("", 0)), run.instruments)
    if tape.identity != run.boots[0].market:
        lost = "the config invents another market than the run's: bars from before the run, if it had any, are lost"
        return (), (lost,)
    count = _warm_up_ns(config) // run.length_ns
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
    """Run a backtest, compiled unless said otherwise; where exits were ambiguous, also with the worse of them first.

    The bound goes first, and only its figures are kept, so that memory never holds the tables of two walks. Until the
    first ambiguous exit both walks are the same; so where the bound met none, it is the result.
    """
    market = market or open_market(config, options)
    execution = execution or _compiled(options, trades=market.is_ticks)
    takers = tuple(params.venue_rules(config, one).taker_ppm for one in market.instruments)
    worse = config if not bound else attrs.evolve(config, sim=attrs.evolve(config.sim, pessimistic=True))
    result = walk(worse, market, execution, options)
    pessimistic = None
    if worse != config and result.ambiguous_bars:
        options.tell("some exits were ambiguous: the bound is walked, now the result")
        pessimistic = measure(result, takers_ppm=takers).figures
        del result  # before the next walk needs the room
        result = walk(config, market, execution, options)
    return Outcome(market=market, result=result, measures=measure(result, takers_ppm=takers), pessimistic=pessimistic)


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
    return run.result(
        bars=bars, is_ticks=market.is_ticks, end_ns=market.end_ns, notes=market.notes, identity=market.identity
    )


def code_version() -> str:
    """Give the version that a result was made with."""
    return __version__
