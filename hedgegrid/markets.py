"""Opening a recorded market for a backtest: files and folders as ``run`` takes them, or a store.

Invariants: what is opened has been examined for the stretch that will be walked, warm-up included; every backtest says
what it stood on: where the rules come from, whose fees are charged, what the record lacks.
"""

from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Final

import attrs
import numpy as np

from hedgegrid.backtest import columns
from hedgegrid.backtest.quality import (
    BarCheck,
    Finding,
    Severity,
    TradeCheck,
    check_bars,
    check_funding,
    check_trades,
)
from hedgegrid.backtest.spare_memory import give_back
from hedgegrid.backtest.store.reader import Store
from hedgegrid.backtest.store.rules import DatedRules
from hedgegrid.backtest.stretches import StoredMarket
from hedgegrid.config import params
from hedgegrid.config.schema import AccountConfig
from hedgegrid.errors import Fatal
from hedgegrid.model.instrument import Instrument
from hedgegrid.venues.simulated.arrays import BarArrays, FundingArrays, TickArrays, content_hash
from hedgegrid.venues.simulated.recorded import Recorded, recorded_market
from hedgegrid.venues.simulated.recorded_files import length_text, utc_text

EVER_NS: Final = 9_223_372_036_854_775_807
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


def timeframe_ns(config: AccountConfig) -> int:
    """Give the one timeframe of the grids. Fatal where they have several."""
    lengths = {params.bar_length_ns(grid) for grid in config.grid}
    if len(lengths) > 1:
        raise Fatal("one backtest has one timeframe: give all grids the same")
    return lengths.pop()


def open_market(config: AccountConfig, options: BacktestOptions) -> OpenMarket:
    """Open what the options name: one store, or files and folders as ``run`` takes them.

    Fatal, in one line, where it is missing or damaged, and with ``strict`` where it is less than clean.
    """
    for path in options.market_paths:
        if not path.exists():
            raise Fatal(f"--data {path}: no such file or folder")
    if options.to_ns <= options.from_ns:
        raise Fatal(f"--to {utc_text(options.to_ns)} is not after --from {utc_text(options.from_ns)}")
    if not options.market_paths:
        raise Fatal("a backtest needs a recorded market: give it with --data FILE, or a store with --data DIR")
    store = next((path for path in options.market_paths if is_store(path)), None)
    market = _from_files(config, options) if store is None else _from_store(config, options, store)
    refuse(market.findings, strict=options.strict)
    give_back()
    return market


def refuse(findings: tuple[Finding, ...], *, strict: bool) -> None:
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
    whole = _cut(recorded, options, length_ns, warm_up_ns(config))
    findings = [*_findings(whole, instruments, length_ns)]
    stretches, rows, last_ns = _laid_out(whole, length_ns)
    arrays: tuple[BarArrays | TickArrays, ...] = whole.ticks or whole.bars
    series = [series for one in arrays for series in (one.columns())]
    # The loader's own word on a gap is told by the findings too, for the stretch that is walked.
    notes = tuple(
        f"{one.name}: {note}"
        for one, each in zip(instruments, arrays, strict=True)
        for note in each.notes
        if not whole.bars or "missing" not in note
    )
    first_ns = min(int(each.ts_ns[0] if isinstance(each, TickArrays) else each.open_ns[0]) for each in arrays)
    return _open(
        options,
        instruments=instruments,
        stretches=stretches,
        is_ticks=bool(whole.ticks),
        rows=rows,
        span_ns=(first_ns, last_ns),
        funding=whole.funding,
        findings=tuple(findings),
        notes=(told, _fees(config), *notes),
        identity=content_hash([str(length_ns), *(one.name for one in instruments), *series]),
    )


def _laid_out(whole: Recorded, length_ns: int) -> tuple[Callable[[], Iterator[columns.Market]], int, int]:
    """Give a recorded market as what is walked, how many rows that has, and when it ends."""
    if whole.ticks:
        market = columns.trades_market(whole.ticks, whole.funding, length_ns)
        return lambda: iter((market,)), market.rows, market.last_step_ns

    def bars() -> Iterator[columns.Market]:
        # At each walk anew, and let go with it: it is quickly done, and of what bars need the largest part.
        yield columns.bars_market(whole.bars, whole.funding, length_ns)

    last_ns = max(int(each.open_ns[-1]) for each in whole.bars) + length_ns
    return bars, len(columns.bar_times(whole.bars)), last_ns


def _from_store(config: AccountConfig, options: BacktestOptions, root: Path) -> OpenMarket:
    if len(options.market_paths) > 1:
        raise Fatal(f"{root} is a store: give it alone, and import the other files into it")
    store = Store(root)
    asked_ns = max(options.from_ns, 1)
    instruments: list[Instrument] = []
    notes = [_fees(config)]
    for grid in config.grid:
        rules = store.rules_at(grid.instrument, asked_ns if options.from_ns else EVER_NS // 2)
        instruments.append(params.instrument_of(config, grid.instrument, _snapshot_words(rules)))
        notes.append(f"{grid.instrument}: rules stored with the data, of {rules.date}")
        about = (note for note in rules.notes if not note.startswith(("maker_fee", "taker_fee")))
        notes += [f"{grid.instrument}: {note}" for note in (*about, *_fee_notes(config, rules))]
    stored = StoredMarket(
        store=store,
        instruments=tuple(instruments),
        length_ns=timeframe_ns(config),
        from_ns=max(0, options.from_ns - warm_up_ns(config)),
        to_ns=options.to_ns,
    )
    first_ns, last_ns = stored.span()
    if not stored.is_ticks:
        last_ns = last_ns // stored.length_ns * stored.length_ns + stored.length_ns
    identity = content_hash([store.identity(stored.series()), str(first_ns), str(last_ns)])
    return _open(
        options,
        instruments=stored.instruments,
        stretches=stored.stretches,
        is_ticks=stored.is_ticks,
        rows=sum(store.facts(series).rows for series in stored.series()),
        span_ns=(first_ns, last_ns),
        funding=stored.funding(),
        findings=tuple(_stored_findings(stored, (first_ns, last_ns))),
        notes=tuple(notes),
        identity=identity,
    )


def _stored_findings(stored: StoredMarket, span_ns: tuple[int, int]) -> Iterator[Finding]:
    """Examine what will be walked of a store, piece by piece."""
    begin, end = span_ns
    for one, settled in zip(stored.instruments, stored.funding(), strict=True):
        if stored.is_ticks:
            trades = TradeCheck(one.name, "trades")
            for ticks in stored.store.trades(one.name, begin, end + 1, one):
                trades.take(ticks.ts_ns, ticks.price_ticks, ticks.qty_lots)
            yield from trades.findings()
        else:
            bars = BarCheck(one.name, f"bars-{length_text(stored.length_ns)}", stored.length_ns)
            for piece in stored.store.bars(one.name, stored.length_ns, begin, end, one):
                bars.take(piece)
            yield from bars.findings()
        within = (settled.ts_ns >= begin) & (settled.ts_ns < end)
        if within.any():
            walked = FundingArrays(ts_ns=settled.ts_ns[within], rate_e8=settled.rate_e8[within])
            yield from check_funding(walked, one.name, one.funding_interval_ns)


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
    if options.from_ns < first_ns and options.from_ns > 0:
        late = f"--from {utc_text(options.from_ns)}: the record begins at {utc_text(first_ns)}"
        if options.strict:
            raise Fatal(f"{late} (--strict)")
        notes = (late, *notes)
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


def warm_up_ns(config: AccountConfig) -> int:
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


def _fees(config: AccountConfig) -> str:
    """Say which fees are charged."""
    return f"fees: maker {config.sim.maker_bps:f} bps, taker {config.sim.taker_bps:f} bps, as the config says"


def _fee_notes(config: AccountConfig, rules: DatedRules) -> Iterator[str]:
    """Say where the stored fees are others than the config's, which are the ones that are charged."""
    for name, charged in (("maker_fee", config.sim.maker_bps), ("taker_fee", config.sim.taker_bps)):
        stored = rules.decimal(name)
        if stored is not None and stored * BPS_PER_ONE != charged:
            yield f"{name}: {stored * BPS_PER_ONE:f} bps are stored, the config's {charged:f} bps are charged"
