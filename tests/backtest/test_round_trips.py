"""Round trips: a lot from its entry to its last cut, with its own profit and its share of every fee."""

from collections.abc import Sequence

import attrs
import numpy as np
import pytest

from hedgegrid.backtest.exact import shares
from hedgegrid.backtest.result import CUT, FILL, BacktestResult
from hedgegrid.backtest.round_trips import net_e8, reason_names, round_trips
from hedgegrid.core.codes import ENTRY, LIQUIDATION, LONG, SHORT, STOP, TAKE_PROFIT
from hedgegrid.journal.trips import split
from tests.backtest.made_result import made_liquidation, made_result


def plain_trips(result: BacktestResult) -> list[dict[str, int]]:
    """The same by a walk over the cuts in plain Python, as the journal does it."""
    fills = [dict(zip(FILL.names or (), row.tolist(), strict=True)) for row in result.fills]
    lots = {
        (f["instrument"], f["trade_id"]): {"entry": f, "qty": 0, "out": 0, "fees": f["fee_e8"]}
        for f in fills
        if f["purpose"] == ENTRY
    }
    of_fill: dict[int, list[dict[str, int]]] = {}
    for row in result.cuts:
        cut = dict(zip(CUT.names or (), row.tolist(), strict=True))
        of_fill.setdefault(cut["fill"], []).append(cut)
    found = []
    for index, exit_ in enumerate(fills):
        cuts = of_fill.get(index, [])
        fees = split(exit_["fee_e8"], [cut["qty_lots"] for cut in cuts], exit_["qty_lots"])
        for cut, fee in zip(cuts, fees, strict=True):
            lot = lots[cut["instrument"], cut["lot_id"]]
            lot["qty"] += cut["qty_lots"]
            lot["out"] += cut["qty_lots"] * exit_["price_ticks"]
            lot["fees"] += fee
            entry = lot["entry"]
            if lot["qty"] == entry["qty_lots"]:
                unit = result.instruments[entry["instrument"]].unit_e8
                made = (lot["out"] - entry["price_ticks"] * entry["qty_lots"]) * unit
                found.append(
                    {
                        "lot_id": entry["trade_id"],
                        "closed_ns": exit_["ts_ns"],
                        "realised_e8": made if entry["leg"] == LONG else -made,
                        "fees_e8": lot["fees"],
                    }
                )
    return found


def hand_made(fills: Sequence[tuple[int, ...]], cuts: Sequence[tuple[int, ...]]) -> BacktestResult:
    """A result with these fills (leg, purpose, price, quantity, fee, realised) and cuts (fill, lot, quantity)."""
    rows = [
        (1_000 * (i + 1), 0, leg, purpose, 1, 1, price, qty, fee, 1, realised, i + 1, i + 1)
        for i, (leg, purpose, price, qty, fee, realised) in enumerate(fills)
    ]
    return attrs.evolve(
        made_result(bars=2),
        fills=np.array(rows, FILL),
        cuts=np.array([(fill, lot, 0, qty) for fill, lot, qty in cuts], CUT),
    )


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_equal_to_a_plain_walk(seed: int) -> None:
    """The columns say what a walk over the cuts says, trip by trip and in its order."""
    result = made_result(seed=seed, bars=500)
    trips = round_trips(result)
    names = ("lot_id", "closed_ns", "realised_e8", "fees_e8")
    assert [{name: trip[name].item() for name in names} for trip in trips] == plain_trips(result)
    assert len(trips) > 100


def test_two_lots_share_a_stop_and_one_goes_in_parts() -> None:
    """Profit is each lot's own, a shared fee splits into whole units, a lot closed in part is no trip."""
    result = hand_made(
        [
            (LONG, ENTRY, 100, 10, 7, 0),
            (LONG, ENTRY, 90, 10, 7, 0),
            (LONG, TAKE_PROFIT, 110, 4, 3, 0),
            (LONG, STOP, 80, 16, 5, 0),
            (LONG, ENTRY, 70, 5, 1, 0),
            (LONG, TAKE_PROFIT, 75, 2, 1, 0),
        ],
        [(2, 1, 4), (3, 1, 6), (3, 2, 10), (5, 5, 2)],
    )
    trips, unit = round_trips(result), result.instruments[0].unit_e8
    assert trips["lot_id"].tolist() == [1, 2]
    assert trips["realised_e8"].tolist() == [(4 * 10 - 6 * 20) * unit, -10 * 10 * unit]
    assert trips["fees_e8"].tolist() == [7 + 3 + 1, 7 + 4]
    assert net_e8(trips).tolist() == (trips["realised_e8"] - trips["fees_e8"]).tolist()
    assert trips["exit_count"].tolist() == [2, 1]
    assert [reason_names(code) for code in trips["reasons"].tolist()] == [("take_profit", "stop"), ("stop",)]
    assert (trips["exit_low_ticks"].tolist(), trips["exit_high_ticks"].tolist()) == ([80, 80], [110, 80])


@pytest.mark.parametrize("told", [True, False])
def test_a_liquidation_closes_what_is_open(told: bool) -> None:
    """Whether the venue tells what a liquidation cut or not, every open lot of the leg ends in it."""
    fills = [
        (LONG, ENTRY, 100, 10, 2, 0),
        (SHORT, ENTRY, 105, 3, 1, 0),
        (LONG, TAKE_PROFIT, 104, 6, 2, 0),
        (LONG, LIQUIDATION, 50, 4, 9, 0),
        (SHORT, LIQUIDATION, 50, 3, 9, 0),
    ]
    cuts = [(2, 1, 6), *([(3, 1, 4), (4, 2, 3)] if told else [])]
    trips = round_trips(hand_made(fills, cuts))
    assert trips["lot_id"].tolist() == [1, 2]
    assert trips["fees_e8"].tolist() == [2 + 2 + 9, 1 + 9]
    assert reason_names(int(trips["reasons"][0])) == ("take_profit", "liquidation")


def test_trips_of_a_dead_account_add_up() -> None:
    """After a liquidation nothing is open: all realised profit and all fees belong to some trip."""
    result = made_liquidation()
    trips = round_trips(result)
    assert len(trips) == (result.fills["purpose"] == ENTRY).sum()
    assert trips["realised_e8"].sum() == result.fills["realised_e8"].sum()
    assert trips["fees_e8"].sum() == result.fills["fee_e8"].sum()


def test_no_cut_of_an_unknown_lot() -> None:
    """A cut that names no lot is a broken table: figures made of it would be wrong without a sign."""
    with pytest.raises(AssertionError, match="no entry opened"):
        round_trips(hand_made([(LONG, ENTRY, 100, 10, 0, 0), (LONG, STOP, 90, 10, 0, 0)], [(1, 7, 10)]))


def test_nothing_gives_nothing() -> None:
    """A run that never filled has no trips, and no error."""
    assert len(round_trips(hand_made([], []))) == 0


def test_shares_do_not_wrap() -> None:
    """Fees of a whale in a billion of lots: shares stay exact where a product of both would not fit 64 bits."""
    amount, whole = 9_000_000_000_000_000_000, 2_999_999_999
    begins, ends = np.array([0, 1_234_567_890]), np.array([1_234_567_890, whole])
    got = shares(np.array([amount, amount]), begins, ends, np.array([whole, whole]))
    assert got.tolist() == split(amount, [1_234_567_890, whole - 1_234_567_890], whole)
    assert (
        split(-7, [1, 2], 3)
        == shares(np.array([-7, -7]), np.array([0, 1]), np.array([1, 3]), np.array([3, 3])).tolist()
    )
