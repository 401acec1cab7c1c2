"""The honesty check of the fill model: the fills of a run beside those of a backtest on the market that it saw.

Two fills belong together where instrument, leg, purpose, level and generation are the same: those of one time first,
then what is left between them in order of time. A fill moves the wallet by realised - fee; a difference is always
backtest - run, so above zero the backtest earned what the run did not.

Invariants: money is in quote x 1e8, exact; the differences of all pairs sum to the difference of realised - fees;
fills later than the newest row of the journal are not compared, for the run could not have had them.
"""

import csv
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final

import attrs
import numpy as np

from hedgegrid.backtest import names
from hedgegrid.backtest.recorded_run import RecordedRun
from hedgegrid.backtest.result import BacktestResult, Rows
from hedgegrid.core.codes import ENTRY
from hedgegrid.model.order import Leg, Purpose, Side, side_of

EQUAL: Final = "equal"
OTHER: Final = "other"
ONLY_RUN: Final = "only_in_run"
ONLY_BACKTEST: Final = "only_in_backtest"
KINDS: Final = (EQUAL, OTHER, ONLY_RUN, ONLY_BACKTEST)
COMPARED: Final = ("ts_ns", "price_ticks", "qty_lots", "maker", "fee_e8", "realised_e8")
"""What makes two fills differ; the words of ``FillPair.differs``."""
TOLD_MAX: Final = 100
_KEY: Final = ("instrument", "leg", "purpose", "level", "generation")
_TOTALS: Final = ("realised_e8", "fees_e8", "funding_e8", "wallet_e8")

State = dict[str, Any]


@attrs.frozen(kw_only=True, eq=False)
class FillPair:
    """A fill of the run, the backtest's fill of the same order, or both. ``differs`` names what is not the same.

    ``money_e8`` is what the backtest's fill moved the wallet by, less what the run's did. ``price_e8`` is what the
    other price alone is worth on the quantity that both filled: of an exit it is in ``money_e8`` already, of an entry
    it comes with the exits of its lot.
    """

    run: Any | None
    backtest: Any | None
    kind: str
    differs: tuple[str, ...]
    money_e8: int
    price_e8: int

    @property
    def either(self) -> Any:  # noqa: ANN401 - a row of a table
        """The run's fill, or the backtest's where the run has none."""
        return self.backtest if self.run is None else self.run

    @property
    def ts_ns(self) -> int:
        """The earlier of both times."""
        return min(int(row["ts_ns"]) for row in (self.run, self.backtest) if row is not None)


@attrs.frozen(kw_only=True, eq=False)
class FillCheck:
    """How a backtest's fills differ from a run's. ``totals`` are by name and then run, backtest, difference.

    ``equity`` is that of the newest decision that both took, None without one; ``states`` are both sides just before
    the first difference, None without one; ``extra`` counts fills that are later than the journal.
    """

    instruments: tuple[Any, ...]
    pairs: tuple[FillPair, ...]
    totals: dict[str, tuple[int, int, int]]
    equity: tuple[int, int, int, int] | None
    states: tuple[State, State] | None
    points: str
    extra: int
    notes: tuple[str, ...]

    @property
    def differences(self) -> tuple[FillPair, ...]:
        """The pairs that are not equal, oldest first."""
        return tuple(pair for pair in self.pairs if pair.kind != EQUAL)

    @property
    def first(self) -> FillPair | None:
        """The first difference."""
        return next(iter(self.differences), None)

    def count(self, kind: str) -> int:
        """Give how many pairs are of a kind."""
        return sum(pair.kind == kind for pair in self.pairs)

    def money_e8(self, kind: str) -> int:
        """Give what the pairs of a kind differ by."""
        return sum(pair.money_e8 for pair in self.pairs if pair.kind == kind)


def check(run: RecordedRun, result: BacktestResult, *, points: str, notes: Sequence[str]) -> FillCheck:
    """Compare a run with a backtest on its market."""
    order = np.argsort(result.fills["ts_ns"], kind="stable")
    theirs = result.fills[order]
    kept = theirs[theirs["ts_ns"] <= run.last_ns]
    pairs = sorted(_pairs(run.fills, kept, [one.unit_e8 for one in run.instruments]), key=lambda pair: pair.ts_ns)
    first = next((pair for pair in pairs if pair.kind != EQUAL), None)
    states = None
    if first is not None:
        states = (_run_state(run, first.ts_ns), _backtest_state(run, result, first.ts_ns))
    return FillCheck(
        instruments=run.instruments,
        pairs=tuple(pairs),
        totals=_totals(run, result, kept),
        equity=_equity(run, result),
        states=states,
        points=points,
        extra=len(theirs) - len(kept),
        notes=tuple(notes),
    )


# --- pairs ------------------------------------------------------------------------------------------------------------


def _pairs(ours: Rows, theirs: Rows, units_e8: Sequence[int]) -> Iterator[FillPair]:
    """Pair the fills of every key."""
    sides: dict[tuple[int, ...], tuple[list[Any], list[Any]]] = {}
    for place, rows in enumerate((ours, theirs)):
        for row in rows:
            key = tuple(int(row[name]) for name in _KEY)
            sides.setdefault(key, ([], []))[place].append(row)
    for key, (left, right) in sides.items():
        for one, other in matched(left, right):
            yield _pair(one, other, units_e8[key[0]])


def matched(ours: Sequence[Any], theirs: Sequence[Any]) -> Iterator[tuple[Any | None, Any | None]]:
    """Match fills of one key, both in order of time: equal times first, between them one by one."""
    i = j = 0
    left: list[Any] = []
    right: list[Any] = []
    while i < len(ours) and j < len(theirs):
        if ours[i]["ts_ns"] < theirs[j]["ts_ns"]:
            left.append(ours[i])
            i += 1
        elif ours[i]["ts_ns"] > theirs[j]["ts_ns"]:
            right.append(theirs[j])
            j += 1
        else:
            yield from zip_longest(left, right)
            left, right = [], []
            yield ours[i], theirs[j]
            i, j = i + 1, j + 1
    yield from zip_longest([*left, *ours[i:]], [*right, *theirs[j:]])


def _pair(ours: Any | None, theirs: Any | None, unit_e8: int) -> FillPair:  # noqa: ANN401 - rows of tables
    """Say how two fills differ."""
    money_e8 = _cash_e8(theirs) - _cash_e8(ours)
    if ours is None or theirs is None:
        kind = ONLY_BACKTEST if ours is None else ONLY_RUN
        return FillPair(run=ours, backtest=theirs, kind=kind, differs=(), money_e8=money_e8, price_e8=0)
    differs = tuple(name for name in COMPARED if ours[name] != theirs[name])
    side = side_of(Leg(int(ours["leg"])), Purpose(int(ours["purpose"])))
    better = int(theirs["price_ticks"]) - int(ours["price_ticks"])
    both_lots = min(int(ours["qty_lots"]), int(theirs["qty_lots"]))
    return FillPair(
        run=ours,
        backtest=theirs,
        kind=OTHER if differs else EQUAL,
        differs=differs,
        money_e8=money_e8,
        price_e8=(better if side is Side.SELL else -better) * both_lots * unit_e8,
    )


def _cash_e8(row: Any | None) -> int:  # noqa: ANN401 - a row of a table
    """Give what a fill moved the wallet by."""
    return 0 if row is None else int(row["realised_e8"]) - int(row["fee_e8"])


# --- money ------------------------------------------------------------------------------------------------------------


def _sums(fills: Rows, wallet_e8: int, funding_e8: int) -> tuple[int, ...]:
    realised, fees = int(fills["realised_e8"].sum()), int(fills["fee_e8"].sum())
    return realised, fees, funding_e8, wallet_e8 + realised - fees - funding_e8


def _totals(run: RecordedRun, result: BacktestResult, kept: Rows) -> dict[str, tuple[int, int, int]]:
    """Give realised, fees, funding (costs above zero) and the wallet of both, and backtest - run."""
    settled = result.funding[result.funding["ts_ns"] <= run.last_ns]
    paid = int(settled["long_e8"].sum() + settled["short_e8"].sum())
    ours = _sums(run.fills, run.wallet_e8, run.paid_e8)
    theirs = _sums(kept, result.initial_wallet_e8, paid)
    return {name: (one, other, other - one) for name, one, other in zip(_TOTALS, ours, theirs, strict=True)}


def _equity(run: RecordedRun, result: BacktestResult) -> tuple[int, int, int, int] | None:
    """Give the equity of both at the newest decision that both took: when, run, backtest, difference."""
    both = np.intersect1d(run.equity["ts_ns"], result.equity["ts_ns"])
    if not len(both):
        return None
    found = []
    for table in (run.equity, result.equity):
        row = table[np.flatnonzero(table["ts_ns"] == both[-1])[-1]]
        found.append(int(row["wallet_e8"]) + int(row["unrealised_e8"]))
    return int(both[-1]), found[0], found[1], found[1] - found[0]


# --- what each side held ----------------------------------------------------------------------------------------------


def _state(run: RecordedRun, fills: Rows, grids: Rows, equity: Rows, ts_ns: int) -> State:
    """Give holdings, grids and equity just before a time."""
    held: dict[str, int] = {}
    for row in fills[fills["ts_ns"] < ts_ns]:
        name = f"{run.instruments[int(row['instrument'])].name} {names.LEGS[int(row['leg'])]}"
        lots = int(row["qty_lots"])
        held[name] = held.get(name, 0) + (lots if row["purpose"] == ENTRY else -lots)
    moved: dict[str, dict[str, int]] = {}
    for row in grids[grids["ts_ns"] < ts_ns]:
        figures = {name: int(row[name]) for name in ("center_ticks", "step_micro", "generation", "regime")}
        moved[run.instruments[int(row["instrument"])].name] = figures
    sampled = equity[equity["ts_ns"] < ts_ns][-1:]
    worth = [int(row["wallet_e8"]) + int(row["unrealised_e8"]) for row in sampled]
    return {"held_lots": held, "grid": moved, "equity_e8": worth[0] if worth else None}


def _run_state(run: RecordedRun, ts_ns: int) -> State:
    changes = ((change, f"{reason} {scope}".strip()) for at, change, reason, scope in run.pauses if at < ts_ns)
    return {**_state(run, run.fills, run.grids, run.equity, ts_ns), "pauses": _standing(changes)}


def _backtest_state(run: RecordedRun, result: BacktestResult, ts_ns: int) -> State:
    def words() -> Iterator[tuple[str, str]]:
        for row in result.pauses[result.pauses["ts_ns"] < ts_ns]:
            place = int(row["instrument"])
            scope = run.instruments[place].name if place >= 0 else ""
            yield names.PAUSE_CHANGES[int(row["change"])], f"{names.REASONS[int(row['reason'])]} {scope}".strip()

    return {**_state(run, result.fills, result.grids, result.equity, ts_ns), "pauses": _standing(words())}


def _standing(changes: Iterator[tuple[str, str]]) -> list[str]:
    """Give the pauses that stand after these changes."""
    standing: dict[str, None] = {}
    for change, what in changes:
        if change == "raised":
            standing[what] = None
        elif change == "cleared":
            standing.pop(what, None)
    return list(standing)


# --- for programs -----------------------------------------------------------------------------------------------------


def _words(check_: FillCheck, pair: FillPair) -> dict[str, Any]:
    """Give what names a pair."""
    row = pair.either
    return {
        "kind": pair.kind,
        "differs": list(pair.differs),
        "instrument": check_.instruments[int(row["instrument"])].name,
        "leg": names.LEGS[int(row["leg"])],
        "purpose": names.PURPOSES[int(row["purpose"])],
        "level": int(row["level"]),
        "generation": int(row["generation"]),
    }


def _figures(row: Any | None) -> dict[str, int] | None:  # noqa: ANN401 - a row of a table
    return None if row is None else {name: int(row[name]) for name in COMPARED}


def pair_json(check_: FillCheck, pair: FillPair) -> dict[str, Any]:
    """Give a pair as JSON."""
    money = {"money_e8": pair.money_e8, "price_e8": pair.price_e8}
    return {**_words(check_, pair), "run": _figures(pair.run), "backtest": _figures(pair.backtest), **money}


def check_json(check_: FillCheck) -> dict[str, Any]:
    """Give the check as JSON; of the differences the first hundred, ``fill_check.csv`` has all."""
    differences = check_.differences
    first = None
    if check_.first is not None and check_.states is not None:
        states = {"run_state": check_.states[0], "backtest_state": check_.states[1]}
        first = {**pair_json(check_, check_.first), **states}
    sides = ("run", "backtest", "difference")
    return {
        "points": check_.points,
        "fills": {kind: check_.count(kind) for kind in KINDS},
        "later_than_the_journal": check_.extra,
        "money_e8": {kind: check_.money_e8(kind) for kind in KINDS},
        "totals": {name: dict(zip(sides, figures, strict=True)) for name, figures in check_.totals.items()},
        "equity_e8": None if check_.equity is None else dict(zip(("ts_ns", *sides), check_.equity, strict=True)),
        "first_difference": first,
        "differences": [pair_json(check_, pair) for pair in differences[:TOLD_MAX]],
        "differences_left_out": max(0, len(differences) - TOLD_MAX),
        "notes": list(check_.notes),
    }


def write_csv(check_: FillCheck, path: Path) -> None:
    """Write every pair, equal ones too, oldest first; what one side does not have is empty."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        sides = [f"{side}_{name}" for side in ("run", "backtest") for name in COMPARED]
        words = ("kind", "differs", *_KEY)
        writer.writerow([*words, *sides, "money_e8", "price_e8"])
        for pair in check_.pairs:
            named = _words(check_, pair)
            figures = ["" if row is None else int(row[name]) for row in (pair.run, pair.backtest) for name in COMPARED]
            writer.writerow(
                [
                    *({**named, "differs": " ".join(pair.differs)}[w] for w in words),
                    *figures,
                    pair.money_e8,
                    pair.price_e8,
                ]
            )
