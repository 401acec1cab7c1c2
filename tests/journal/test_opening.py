"""What a journal is opened on, and what is refused: bad files get one line and are left as they are."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import MappingProxyType
from typing import Any

import attrs
import pytest

from hedgegrid.errors import Fatal
from hedgegrid.journal import schema
from hedgegrid.journal.verify import verify
from tests.journal.life import BTC, INSTRUMENTS, WALLET_E8, Life, instrument, opened, write


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A journal with some life in it, closed."""
    journal = opened(tmp_path / "state" / "a.db")
    for message in Life(6).run(40):
        journal.append(message)
    journal.close("done")
    return journal.path


def files(folder: Path) -> dict[str, bytes]:
    """Give the files of a folder, but for SQLite's shared memory and the empty log that a reader leaves."""
    found = {file.name: file.read_bytes() for file in folder.iterdir() if not file.name.endswith("-shm")}
    return {name: content for name, content in found.items() if content or not name.endswith("-wal")}


def sql(path: Path, *statements: str) -> None:
    """Change a journal behind its back."""
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def cut(path: Path) -> None:
    """Tear the file in its middle."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def scribble(path: Path) -> None:
    """Overwrite a page of the file."""
    content = bytearray(path.read_bytes())
    content[8192:12288] = b"\xa5" * 4096
    path.write_bytes(content)


def leave_the_log(path: Path) -> None:
    """Lose the file, with its log left behind."""
    path.rename(path.with_name("a.db-wal"))


BROKEN: list[tuple[Callable[[Path], Any], str]] = [
    (cut, "malformed|corrupt"),
    (scribble, "malformed|corrupt"),
    (lambda path: path.write_bytes(b""), "is torn or no journal"),
    (lambda path: path.write_text("[account]\nname = 'demo'\n"), "is torn or no journal"),
    (leave_the_log, "is gone but its log a.db-wal is there"),
    (lambda path: sql(path, "PRAGMA user_version = 99"), "is a journal of version 99, .* upgrade"),
    (lambda path: sql(path, "PRAGMA application_id = 7"), "is not a hedgegrid journal"),
    (lambda path: sql(path, "DROP TABLE lots"), "no such table: lots"),
    (lambda path: sql(path, "UPDATE tape SET kind = 'Wake' WHERE row = 20"), "the chain of hashes breaks at row 20"),
    (lambda path: sql(path, "UPDATE tape SET payload = x'7b7d' WHERE row = 3"), "the chain of hashes breaks at row 3"),
    (lambda path: sql(path, "DELETE FROM tape WHERE row = 7"), "the chain of hashes breaks at row 7"),
]


@pytest.mark.parametrize(("damage", "words"), BROKEN)
def test_a_damaged_journal_is_refused_and_left_as_it_is(path: Path, damage: Callable[[Path], Any], words: str) -> None:
    """Trading does not start on a record that cannot be trusted, and what is left of it may be all that there is."""
    damage(path)
    before = files(path.parent)
    with pytest.raises(Fatal, match=words) as refusal:
        opened(path)
    assert "\n" not in str(refusal.value)
    assert files(path.parent) == before


def test_damage_is_seen_wherever_it_is(path: Path) -> None:
    """Tables that a start does not read are checked too: a page of any of them may be the one that is torn."""
    whole = path.read_bytes()
    pages = len(whole) // 4096
    assert pages > 30
    for page in range(1, pages):
        path.write_bytes(whole[: page * 4096] + b"\xa5" * 4096 + whole[(page + 1) * 4096 :])
        with pytest.raises(Fatal):
            opened(path)
    path.write_bytes(whole)
    opened(path).close("done")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"account": "other"}, "belongs to account 'demo' in mode sim, not to 'other' in mode sim"),
        ({"mode": "live"}, "belongs to account 'demo' in mode sim, not to 'demo' in mode live"),
        ({"wallet_e8": 5}, r"began with a wallet of 10,000.00, the config says 0.00"),
    ],
)
def test_somebody_elses_journal_is_refused(path: Path, changes: dict[str, Any], words: str) -> None:
    """The record of one account, mode or wallet must not go on as that of another."""
    before = files(path.parent)
    with pytest.raises(Fatal, match=words):
        opened(path, **changes)
    assert files(path.parent) == before


def test_changed_rules_are_refused_while_something_is_open(tmp_path: Path) -> None:
    """A position in old lots read as new lots would be another position; once flat, new rules are welcome."""
    path = tmp_path / "a.db"
    journal, life = opened(path), Life(6)
    for message in life.run(40):
        journal.append(message)
    journal.close("done")
    finer = (instrument(BTC, lot="0.0001"), *INSTRUMENTS[1:])
    with pytest.raises(Fatal, match=r"BTC/USDT:USDT has .* counted in tick / lot 0.1 / 0.001, now 0.1 / 0.0001"):
        opened(path, instruments=finer)
    flat = opened(path)
    life.epoch = flat.epoch
    for message in life.flatten(10_000):
        flat.append(message)
    for order in flat.live_orders():
        flat._state.orders.live.pop(order.record.client_id)
    flat.close("done")
    sql(path, "UPDATE orders SET state = 'cancelled' WHERE state != 'filled'")
    opened(path, instruments=finer).close("done")


def test_an_older_journal_is_brought_up_to_date(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Schema changes migrate, in one transaction: the journal of an older version goes on with its state."""
    names = ("latches", "session", "foreign_holdings", "tripped", "throttle")
    gone = tuple(f"DROP TABLE {name}" for name in names)
    sql(path, "ALTER TABLE orders RENAME COLUMN cause TO reason", *gone, "PRAGMA user_version = 0")
    first = ("ALTER TABLE orders RENAME COLUMN reason TO cause", schema.LATCHES.create)
    steps = {0: first, **schema.MIGRATIONS}
    with pytest.raises(Fatal, match="version 0, too old"):
        opened(path)
    monkeypatch.setattr(schema, "MIGRATIONS", MappingProxyType(steps))
    with pytest.raises(Fatal, match="older version 0: start the bot once"):
        verify(path)
    opened(path).close("done")
    report = verify(path)
    assert report.ok, report.text()


def test_a_journal_from_before_the_session_controls_remembers_its_samples(path: Path) -> None:
    """Its peak is the highest equity that was ever sampled, not the wallet of the day of the upgrade."""
    names = ("session", "foreign_holdings", "tripped", "throttle")
    sql(path, *(f"DROP TABLE {name}" for name in names), "PRAGMA user_version = 1")
    with closing(sqlite3.connect(path)) as connection:
        samples = [row[0] for row in connection.execute("SELECT equity_e8 FROM equity ORDER BY row")]
    journal = opened(path)
    memory = journal.session()
    assert memory is not None
    assert memory.peak_e8 == max(WALLET_E8, *samples)
    assert (memory.session_base_e8, memory.last_e8, memory.next_day_ns) == (WALLET_E8, samples[-1], 0)
    journal.set_session(attrs.evolve(memory, peak_e8=memory.peak_e8 + 7))
    journal.close("done")
    report = verify(path)
    assert report.ok, report.text()
    again = opened(path)
    assert again.session() == attrs.evolve(memory, peak_e8=memory.peak_e8 + 7)
    again.close("done")


def test_a_journal_from_before_the_trips_were_kept_finds_them_in_its_tape(path: Path) -> None:
    """When each control last tripped is in the messages of old: an upgrade forgets no drawdown and no refusal."""
    journal = opened(path)
    life = Life(5)
    for message in (*life.refusals(), life.permission(), *life.refusals()):
        journal.append(message)
    trips = {(one.control, one.scope): one for one in journal.last_trips()}
    journal.close("done")
    sql(path, "DROP TABLE tripped", "DROP TABLE throttle", "PRAGMA user_version = 3")
    again = opened(path)
    assert {(one.control, one.scope): one for one in again.last_trips()} == trips
    again.close("done")
    assert trips["price_collar", BTC].times == 4
    assert trips["price_collar", BTC].figures == {"limit": "5 ppm", "value": '6 "ppm"', "remedy": "närrow/wide"}
    assert trips["max_position_qty", BTC].times == 2
    assert trips["feed_stale", ""].figures == {"age_ms": "5100", "limit_ms": "5000"}
    report = verify(path)
    assert report.ok, report.text()


def test_a_migration_that_fails_changes_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A half migrated journal would be of no version at all."""
    sql(path, "PRAGMA user_version = 0")
    steps = {0: ("DROP TABLE latches", "DROP TABLE never_was")}
    monkeypatch.setattr(schema, "MIGRATIONS", MappingProxyType(steps))
    with pytest.raises(Fatal, match="no such table: never_was"):
        opened(path)
    sql(path, f"PRAGMA user_version = {schema.SCHEMA_VERSION}")
    opened(path).close("done")


def test_a_new_journal_appears_whole(tmp_path: Path) -> None:
    """A crash while it is made leaves a file beside its name, which the next start replaces."""
    (tmp_path / "a.db.new").write_text("half of a file")
    opened(tmp_path / "a.db").close("done")
    assert {file.name for file in tmp_path.iterdir()} == {"a.db"}
    assert verify(tmp_path / "a.db").ok


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    """Bad input gets one clear line."""
    (tmp_path / "file").write_text("")
    with pytest.raises(Fatal, match=r"^cannot make the journal .*/file/a.db: "):
        opened(tmp_path / "file" / "a.db")


def test_a_reader_of_nothing_is_one_line(tmp_path: Path) -> None:
    """The same for those who only read."""
    with pytest.raises(Fatal, match=r"^cannot read the journal .*/a.db: No such file or directory$"):
        verify(tmp_path / "a.db")


@pytest.mark.asyncio
async def test_a_journal_can_be_read_while_it_is_written(tmp_path: Path) -> None:
    """Verify and export of a running bot see one moment, and neither waits for the other."""
    journal = opened(tmp_path / "odd name?#%.db")
    life = Life(3)
    for _ in range(5):
        await write(journal, life.run(10))
        report = verify(journal.path)
        assert report.ok, report.text()
    journal.close("done")
