"""The log of the wire: bounded in memory and on disk, and free of secrets."""

import json
from pathlib import Path

from tools.standin.listen_keys import ListenKeys
from tools.standin.request_log import FILES_MAX, RequestLog, without_secrets


def test_the_log_is_bounded_and_counts_on(tmp_path: Path) -> None:
    """Memory keeps the last entries, files are rotated and the oldest goes, counts go on."""
    log = RequestLog(tmp_path / "wire.jsonl", entries_max=5, file_bytes_max=400)
    for number in range(50):
        log.note("request", "POST /x", number=number)
    log.close()
    assert [entry.facts["number"] for entry in log.entries] == [45, 46, 47, 48, 49]
    assert log.count("request", "POST /x") == 50
    files = sorted(tmp_path.iterdir())
    assert len(files) <= FILES_MAX
    assert all(file.stat().st_size < 800 for file in files)


def test_lines_are_json_in_growing_order(tmp_path: Path) -> None:
    """Each line can be read alone, and times never go back."""
    path = tmp_path / "wire.jsonl"
    log = RequestLog(path)
    for kind in ("request", "answer", "event"):
        log.note(kind, "x", deep={"a": [1]})
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    log.close()
    assert [row["seq"] for row in rows] == [1, 2, 3]
    assert rows[0]["mono_ns"] <= rows[1]["mono_ns"] <= rows[2]["mono_ns"]
    assert [entry.name for entry in log.of("event")] == ["x"]


def test_nothing_that_signs_is_written() -> None:
    """Signatures and keys stay out."""
    assert without_secrets({"signature": "s", "apiKey": "k", "symbol": "X"}) == {"symbol": "X"}


def test_the_life_of_a_listen_key() -> None:
    """One key at a time; it is prolonged by asking and renewing, and ends on time, told once."""
    ended: list[tuple[str, int]] = []
    keys = ListenKeys(validity_ms=100, on_expired=lambda key, now_ms: ended.append((key, now_ms)))
    assert (keys.renew(0), keys.close(0)) == (None, False)
    first = keys.open(0)
    assert (keys.open(50), keys.renew(120), keys.renew(219)) == (first, first, first)
    keys.tick(318)
    assert keys.alive == first
    keys.tick(319)
    keys.tick(320)
    assert ended == [(first, 319)]
    second = keys.open(321)
    assert second != first
    assert keys.close(322)
    assert ended == [(first, 319)]
