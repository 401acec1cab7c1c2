"""The export: whole, exact, and the same money as the journal."""

import csv
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hedgegrid.errors import Fatal
from hedgegrid.journal import export as export_module
from hedgegrid.journal.export import export
from hedgegrid.journal.trips import split
from tests.journal.life import BTC, ETH, WALLET_E8, Life, opened

NAMES = ("fills", "orders", "round_trips", "funding", "daily")


@pytest.fixture
def life() -> Life:
    """An account that lived some days and ended flat."""
    return Life(31, step_ns=47 * 60_000_000_000)


@pytest.fixture
def journal(tmp_path: Path, life: Life) -> Path:
    """Its journal."""
    journal = opened(tmp_path / "a.db")
    for messages in (life.run(150), life.flatten(10_000)):
        for message in messages:
            journal.append(message)
    journal.close("done")
    return journal.path


def sheet(folder: Path, name: str) -> list[dict[str, str]]:
    """Read a CSV."""
    with (folder / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def total(rows: list[dict[str, str]], column: str) -> int:
    """Add up a column of integers."""
    return sum(int(row[column]) for row in rows)


def test_every_sheet_adds_up_to_the_account(journal: Path, life: Life, tmp_path: Path) -> None:
    """Fills, round trips, funding and days are four views of one wallet; a tax office adds them up."""
    export(journal, tmp_path / "out", formats=("csv",))
    sheets = {name: sheet(tmp_path / "out", name) for name in NAMES}
    fills, trips, days = sheets["fills"], sheets["round_trips"], sheets["daily"]
    for rows in (fills, trips, days):
        assert total(rows, "realised_e8") == life.realised_e8
        assert total(rows, "fee_e8" if rows is fills else "fees_e8") == life.fees_e8
    paid = sheets["funding"]
    assert total(paid, "long_e8") + total(paid, "short_e8") == life.funding_e8 == total(days, "funding_e8")
    assert WALLET_E8 + life.moved_e8 + total(days, "change_e8") == life.wallet_e8 == int(days[-1]["wallet_e8"])
    assert total(days, "transfers_e8") == life.moved_e8
    assert [row["day_utc"] for row in days] == sorted({row["day_utc"] for row in days})
    assert len(days) > 3
    filled = {row["client_id"]: int(row["filled_lots"]) for row in sheets["orders"] if row["filled_lots"] != "0"}
    by_order: dict[str, int] = {}
    for row in fills:
        by_order[row["client_id"]] = by_order.get(row["client_id"], 0) + int(row["qty_lots"])
    assert filled == by_order


def test_a_transfer_counts_from_its_own_day_on(journal: Path, tmp_path: Path) -> None:
    """Money that came on the third day was not there on the first: each day's wallet is the one of its evening."""
    export(journal, tmp_path / "out", formats=("csv",))
    days = sheet(tmp_path / "out", "daily")
    wallet_e8 = WALLET_E8
    for day in days:
        wallet_e8 += int(day["change_e8"]) + int(day["transfers_e8"])
        assert int(day["wallet_e8"]) == wallet_e8, day["day_utc"]
    assert len([day for day in days if day["transfers_e8"] != "0"]) > 1


def test_decimals_say_what_the_integers_say(journal: Path, tmp_path: Path) -> None:
    """Both columns of an amount are exact: in quote and base units of the instrument's own tick and lot."""
    export(journal, tmp_path / "out", formats=("csv",))
    ticks = {BTC: Decimal("0.1"), ETH: Decimal("0.01")}
    lots = {BTC: Decimal("0.001"), ETH: Decimal("0.01")}
    for row in sheet(tmp_path / "out", "fills"):
        assert Decimal(row["price_quote"]) == ticks[row["instrument"]] * int(row["price_ticks"])
        assert Decimal(row["qty_base"]) == lots[row["instrument"]] * int(row["qty_lots"])
        assert Decimal(row["notional_quote"]) == Decimal(row["price_quote"]) * Decimal(row["qty_base"])
        assert Decimal(row["fee_quote"]) * 10**8 == int(row["fee_e8"])
        assert "E" not in row["price_quote"] + row["qty_base"] + row["fee_quote"]
        assert row["side"] == ("buy" if (row["leg"] == "long") == (row["purpose"] == "entry") else "sell")
        assert row["time_utc"].startswith("2025-07-")


def test_a_round_trip_tells_its_whole_story(tmp_path: Path) -> None:
    """Entry, exits, why it closed, what it made: one lot that is closed in two parts for two reasons."""
    journal, life = opened(tmp_path / "a.db"), Life(1)
    for message in life.run(12):
        journal.append(message)
    for message in life.flatten(9_900):
        journal.append(message)
    journal.close("done")
    export(tmp_path / "a.db", tmp_path / "out", formats=("csv",))
    trips = sheet(tmp_path / "out", "round_trips")
    fills = sheet(tmp_path / "out", "fills")
    assert len(trips) == sum(row["purpose"] == "entry" for row in fills)
    for row in trips:
        parts = [part.split(" at ") for part in row["exits"].split("; ")]
        assert sum(Decimal(qty) for qty, _ in parts) == Decimal(row["qty_base"])
        made = sum(Decimal(qty) * (Decimal(price) - Decimal(row["entry_quote"])) for qty, price in parts)
        assert Decimal(row["realised_quote"]) == (made if row["leg"] == "long" else -made)
        assert int(row["duration_ns"]) == int(row["closed_ns"]) - int(row["opened_ns"]) >= 0
        assert set(row["purpose"].split("+")) <= {"take_profit", "flatten"}
    assert any(len(row["exits"].split(";")) > 1 for row in trips)


def test_parquet_holds_what_csv_holds(journal: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One walk writes both, in batches; types are exact in Parquet."""
    monkeypatch.setattr(export_module, "_BATCH_ROWS", 7)
    written = export(journal, tmp_path / "out")
    assert [(one.path.name, one.rows) for one in written] == [
        (f"{name}.{kind}", len(sheet(tmp_path / "out", name))) for name in NAMES for kind in ("csv", "parquet")
    ]
    text: dict[type, Callable[[Any], str]] = {bool: lambda cell: str(cell).lower()}
    for name in NAMES:
        table = pq.read_table(tmp_path / "out" / f"{name}.parquet")
        rows = sheet(tmp_path / "out", name)
        assert table.num_rows == len(rows)
        for column in table.column_names:
            cells = table.column(column).to_pylist()
            if cells and isinstance(cells[0], Decimal):
                assert cells == [Decimal(row[column]) for row in rows]
            else:
                assert [text.get(type(cell), str)(cell) for cell in cells] == [row[column] for row in rows]
    assert pq.read_schema(tmp_path / "out" / "fills.parquet").field("fee_quote").type == pa.decimal128(38, 8)


def test_an_empty_journal_gives_empty_sheets(tmp_path: Path) -> None:
    """A bot that never traded still has books."""
    opened(tmp_path / "a.db").close("done")
    assert {one.rows for one in export(tmp_path / "a.db", tmp_path / "out")} == {0}
    assert sheet(tmp_path / "out", "fills") == []
    assert pq.read_table(tmp_path / "out" / "daily.parquet").num_rows == 0


def test_nothing_is_overwritten_unasked(journal: Path, tmp_path: Path) -> None:
    """Last year's books must survive a second command."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "daily.csv").write_text("mine")
    with pytest.raises(Fatal, match=r"out holds daily.csv already: .*--force"):
        export(journal, out)
    assert [file.name for file in out.iterdir()] == ["daily.csv"]
    export(journal, out, force=True)
    assert (out / "daily.csv").read_text().startswith("day_utc,")


def test_a_failed_export_leaves_nothing_half_done(
    journal: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk in the middle: one line, and no file that looks whole."""

    def full(_sink: object, _rows: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(export_module._ParquetSink, "write", full)
    with pytest.raises(Fatal, match=r"^cannot write the export into .*out: No space left on device$"):
        export(journal, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(("amount", "parts"), [(100, [1, 1, 1]), (-7, [2, 5]), (0, [3]), (1, [1, 1, 1, 1, 1, 1, 1])])
def test_shares_add_up(amount: int, parts: list[int]) -> None:
    """A fee that several lots share is split to the last unit, rebates too."""
    assert sum(split(amount, parts, sum(parts))) == amount
