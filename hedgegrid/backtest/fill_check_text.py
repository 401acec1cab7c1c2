"""The honesty check as a person reads it.

Invariant: at most ``LINES_MAX`` lines, whatever the journal holds.
"""

from collections.abc import Iterator
from typing import Any, Final

from hedgegrid.backtest import names
from hedgegrid.backtest.fill_check import EQUAL, KINDS, ONLY_BACKTEST, ONLY_RUN, OTHER, FillCheck, FillPair, State
from hedgegrid.ops.phrases import moment, signed
from hedgegrid.units import quote_text

LINES_MAX: Final = 40
_NOTES_MAX: Final = 8
_LARGEST: Final = 5
_LEGS_TOLD: Final = 4
_WIDTH: Final = 160
_PLACES: Final = 8
_KIND_TEXT: Final = {
    EQUAL: "equal",
    OTHER: "same order, other figures",
    ONLY_RUN: "only in the run",
    ONLY_BACKTEST: "only in the backtest",
}
_TOTAL_TEXT: Final = {"realised_e8": "realised", "fees_e8": "fees", "funding_e8": "funding", "wallet_e8": "wallet"}


def check_text(check: FillCheck) -> str:
    """Write the check in at most forty lines; money in quote, backtest - run."""
    lines = [*_headline(check), *_notes(check), *_counts(check), *_money(check), *_first(check), *_largest(check)]
    assert len(lines) <= LINES_MAX, "the check outgrew its page"
    return "\n".join(line if len(line) <= _WIDTH else f"{line[: _WIDTH - 3]}..." for line in lines)


def _headline(check: FillCheck) -> Iterator[str]:
    told = len(check.differences)
    if told == 0:
        yield f"The backtest fills as the run did: {len(check.pairs)} fills, no difference."
    else:
        yield f"{told} of {len(check.pairs)} fills differ, worth {_signed(_whole_e8(check))} (backtest - run)."


def _whole_e8(check: FillCheck) -> int:
    return sum(pair.money_e8 for pair in check.pairs)


def _notes(check: FillCheck) -> Iterator[str]:
    for note in check.notes[:_NOTES_MAX]:
        yield f"  note: {note}"
    if len(check.notes) > _NOTES_MAX:
        yield f"  note: and {len(check.notes) - _NOTES_MAX} more (--json)"
    if check.extra:
        yield f"  note: {check.extra} fills of the backtest are later than the journal and not compared"


def _counts(check: FillCheck) -> Iterator[str]:
    yield f"{'fills':<28}{'count':>10}{'money':>22}"
    for kind in KINDS:
        yield f"  {_KIND_TEXT[kind]:<26}{check.count(kind):>10,}{_signed(check.money_e8(kind)):>22}"


def _money(check: FillCheck) -> Iterator[str]:
    yield f"{'quote':<28}{'run':>22}{'backtest':>22}{'difference':>22}"
    rows = {_TOTAL_TEXT[name]: figures for name, figures in check.totals.items()}
    if check.equity is not None:
        rows[f"equity {moment(check.equity[0])}"] = check.equity[1:]
    for name, (ours, theirs, difference) in rows.items():
        yield f"  {name:<26}{_plain(ours):>22}{_plain(theirs):>22}{_signed(difference):>22}"


def _first(check: FillCheck) -> Iterator[str]:
    if check.first is None or check.states is None:
        return
    yield f"first difference: {_named(check, check.first)}"
    for name, row, state in zip(
        ("run", "backtest"), (check.first.run, check.first.backtest), check.states, strict=True
    ):
        yield f"  {name + ':':<10} {_fill(check, row)}"
        yield f"    before it: {_held(state)}; equity {_plain(state['equity_e8'])}; {_grids(state)}"
        if state["pauses"]:
            yield f"    paused: {', '.join(state['pauses'])}"


def _largest(check: FillCheck) -> Iterator[str]:
    dearest = sorted(check.differences, key=lambda pair: -max(abs(pair.money_e8), abs(pair.price_e8)))[:_LARGEST]
    if not dearest:
        return
    yield "largest:"
    for pair in dearest:
        price = f", by its price {_signed(pair.price_e8)}" if pair.price_e8 else ""
        yield f"  {_named(check, pair)}: {_signed(pair.money_e8)}{price}"


def _named(check: FillCheck, pair: FillPair) -> str:
    row = pair.either
    where = check.instruments[int(row["instrument"])].name
    what = f"{names.LEGS[int(row['leg'])]} {names.PURPOSES[int(row['purpose'])]}"
    rung = "" if row["level"] < 0 else f" level {row['level']} generation {row['generation']}"
    kind = f"other {', '.join(_plainly(name) for name in pair.differs)}" if pair.differs else _KIND_TEXT[pair.kind]
    return f"{moment(pair.ts_ns)} {where} {what}{rung} ({kind})"


def _plainly(column: str) -> str:
    return {"ts_ns": "time", "maker": "maker"}.get(column, column.partition("_")[0])


def _fill(check: FillCheck, row: Any | None) -> str:  # noqa: ANN401 - a row of a table
    if row is None:
        return "no such fill"
    one = check.instruments[int(row["instrument"])]
    maker = "maker" if row["maker"] else "taker"
    money = f"fee {_plain(int(row['fee_e8']))}, realised {_plain(int(row['realised_e8']))}"
    filled = f"{one.qty_text(int(row['qty_lots']))} at {one.price_text(int(row['price_ticks']))}"
    return f"{moment(int(row['ts_ns']))} {filled}, {maker}, {money}"


def _held(state: State) -> str:
    legs = [f"{name} {lots} lots" for name, lots in state["held_lots"].items() if lots]
    return "held " + (", ".join(legs[:_LEGS_TOLD]) if legs else "nothing")


def _grids(state: State) -> str:
    told = [
        f"center {grid['center_ticks']} ticks, generation {grid['generation']}, regime {grid['regime']}"
        for grid in list(state["grid"].values())[:_LEGS_TOLD]
    ]
    return " | ".join(told) if told else "no grid yet"


def _plain(amount_e8: int | None) -> str:
    return "-" if amount_e8 is None else quote_text(amount_e8, _PLACES)


def _signed(amount_e8: int) -> str:
    return signed(amount_e8, _PLACES)
