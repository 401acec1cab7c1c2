"""No line that leaves the program holds a secret, and every line that should leave does."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from loguru import logger

from hedgegrid.errors import Fatal
from hedgegrid.ops import logs
from hedgegrid.ops.logs import MASK, Masker, configure

PLANTED = 'k3y/"with\\odd+parts é'
OTHER = "hunter2hunter2"
LISTEN_KEY = "pqia91ma19a5s61cv6a81va65sdf19v8a65a1a5s61cv6a81va65sdf19v8a65a1"
SHA256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"


@pytest.fixture(autouse=True)
def restored_logging() -> Iterator[None]:
    """Leave both loggers as they were found."""
    root, server = logging.getLogger(), logging.getLogger("uvicorn.error")
    levels = root.level, server.level
    yield
    root.handlers[:] = [one for one in root.handlers if not isinstance(one, logs._IntoLoguru)]
    root.setLevel(levels[0])
    server.setLevel(levels[1])
    logger.remove()
    logger.configure(patcher=lambda _record: None)


@pytest.fixture
def json_path(tmp_path: Path) -> Path:
    """A log file in a folder that does not exist yet, with both secrets masked."""
    path = tmp_path / "logs" / "demo.jsonl"
    configure(console=True, level="debug", json_path=path, secrets=[PLANTED, OTHER, ""])
    return path


def written(path: Path) -> list[dict[str, Any]]:
    """The lines of the file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def everything(path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """All that was written anywhere, with what JSON escapes shown plain too."""
    text = path.read_text(encoding="utf-8")
    return capsys.readouterr().err + text + "".join(str(line) for line in written(path))


class Holder:
    """A value that shows the secret when it is shown."""

    def __repr__(self) -> str:
        return f"Holder({PLANTED})"


class Broken:
    """A value that cannot be shown."""

    def __repr__(self) -> str:
        raise RuntimeError(PLANTED)


def fail() -> None:
    """Raise with secrets in the error, its cause, its notes and its frames' variables."""
    local_variable = OTHER
    try:
        dict[str, str]()[PLANTED]
    except KeyError as cause:
        error = ValueError(f"https://x/y?a=1&signature=abcdef&b={len(local_variable)} {PLANTED}")
        error.add_note(f"seen with {OTHER}")
        raise error from cause


def test_a_planted_secret_reaches_no_line(json_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Message, arguments, extra values, nested ones, keys and whole exceptions are masked, on console and in file."""
    others: list[str] = []
    logger.add(others.append, format="{message} {extra} {exception}")  # a sink that lays out its own lines
    logger.info(f"plain {PLANTED} and {{}}", OTHER)
    logger.bind(order=Holder(), deep={"a": [{"b": (PLANTED, 1)}], OTHER: 2}, api_secret="x").warning("extra")
    logger.bind(broken=Broken()).warning("unshowable")
    logger.opt(colors=True).info(f"<red>{OTHER}</red>")
    with logger.contextualize(token=PLANTED):
        logger.debug("context")
    try:
        fail()
    except ValueError:
        logger.exception("failed with {}", Holder())
    text = everything(json_path, capsys) + "".join(others)
    for form in (PLANTED, OTHER, PLANTED[:6], "with\\odd", "abcdef", "odd+parts"):
        assert form not in text
    assert text.count(MASK) > 10


def test_lines_still_tell_what_happened(json_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Masking takes the secret and leaves the rest: place, numbers, traceback and notes."""
    try:
        fail()
    except ValueError:
        logger.bind(fills=3, ratio=0.5, on=True, none=None).exception("order {} failed", 7)
    (line,) = written(json_path)
    assert (line["level"], line["message"]) == ("ERROR", "order 7 failed")
    assert line["extra"] == {"fills": 3, "ratio": 0.5, "on": True, "none": None}
    assert line["function"] == "test_lines_still_tell_what_happened"
    for part in ("Traceback", "ValueError: https://x/y?a=1&signature=***&b=14 ***", "KeyError", "seen with ***"):
        assert part in line["exception"]
    console = capsys.readouterr().err
    assert "order 7 failed fills=3 ratio=0.5 on=True none=None" in console
    assert "seen with ***" in console


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("GET /fapi/v1/order?symbol=X&signature=ab12&x=1", "GET /fapi/v1/order?symbol=X&signature=***&x=1"),
        ('{"listenKey": "abc", "a": 1}', '{"listenKey": "***", "a": 1}'),
        ("{'apiKey': 'abc'}", "{'apiKey': '***'}"),
        ("X-MBX-APIKEY: abc", "X-MBX-APIKEY: ***"),
        ("Authorization: Bearer abc", "Authorization: Bearer ***"),
        ("HEDGEGRID_READ_TOKEN=abc next", "HEDGEGRID_READ_TOKEN=*** next"),
        (f"wss://host/ws/{LISTEN_KEY}", "wss://host/ws/***"),
        (f"journal hash: {SHA256}", f"journal hash: {SHA256}"),
        ("tokens left: 5, signatures: 2", "tokens left: 5, signatures: 2"),
        ("BTC/USDT:USDT long 0.010 @ 108,123.4", "BTC/USDT:USDT long 0.010 @ 108,123.4"),
    ],
)
def test_credentials_are_known_by_name_and_shape(text: str, expected: str) -> None:
    """A key that nobody told us of is masked where it looks like one; hashes and prices are not."""
    assert Masker([]).text(text) == expected


@given(st.text(min_size=4), st.text(), st.text())
def test_any_secret_is_masked_anywhere(secret: str, before: str, after: str) -> None:
    """Whatever characters a secret has, no text that contains it keeps it: plain, in JSON, in a repr."""
    masker = Masker([secret])
    for form in (secret, json.dumps(secret)[1:-1], repr(secret)[1:-1]):
        assert form not in masker.text(f"{before}{form}{after}").replace(MASK, "") or form in (before + after)


def test_numbers_that_are_secrets_are_masked() -> None:
    """A secret of digits does not slip through as a number."""
    masker = Masker(["12345678"])
    assert masker.value({"pin": 12345678, "qty": 1234567}) == {"pin": MASK, "qty": 1234567}


def test_deep_values_end() -> None:
    """A value that contains itself costs one line, not the run."""
    loop: list[object] = [OTHER]
    loop.append(loop)
    assert OTHER not in json.dumps(Masker([OTHER]).value(loop))


def test_standard_logging_is_masked_and_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Libraries log through the standard library: their lines come out in ours, with place and exception, masked."""
    json_path = tmp_path / "demo.jsonl"
    configure(console=True, level="debug", json_path=json_path, secrets=[PLANTED, OTHER])
    library = logging.getLogger("some.library")
    library.warning("key %s", PLANTED)
    library.warning("arguments that do not fit %s %s", OTHER)
    try:
        fail()
    except ValueError:
        library.exception("it failed")
    logging.getLogger("uvicorn.error").info("press CTRL+C to quit")
    first, second, third = written(json_path)
    assert (first["logger"], first["level"], first["message"]) == ("some.library", "WARNING", f"key {MASK}")
    assert first["function"] == "test_standard_logging_is_masked_and_kept"
    assert "do not fit" in second["message"]
    assert "ValueError" in third["exception"]
    text = everything(json_path, capsys)
    assert PLANTED not in text
    assert OTHER not in text


def test_the_level_is_kept_and_setups_do_not_add_up(tmp_path: Path) -> None:
    """A second setup replaces the first: no line twice, none below the level, the old file left alone."""
    first, second = tmp_path / "first.jsonl", tmp_path / "second.jsonl"
    configure(console=False, level="debug", json_path=first, secrets=[])
    configure(console=False, level="WARNING", json_path=second, secrets=[OTHER])
    logger.info("no")
    logging.getLogger("library").info("no")
    logger.warning("yes")
    logging.getLogger("library").warning("yes")
    assert [line["message"] for line in written(second)] == ["yes", "yes"]
    assert first.read_text() == ""


def test_files_are_private_rotated_and_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Law 11: log files do not fill the disk, and nobody else reads them."""
    monkeypatch.setattr(logs, "FILE_BYTES_MAX", 2_000)
    path = tmp_path / "demo.jsonl"
    configure(console=False, level="info", json_path=path, secrets=[])
    for number in range(400):
        logger.info("line {} {}", number, "x" * 50)
    files = sorted(tmp_path.iterdir())
    assert 2 <= len(files) <= logs.FILES_MAX + 1
    assert all(file.stat().st_size <= 2_000 for file in files)
    assert all(file.stat().st_mode & 0o777 == 0o600 for file in files)
    assert written(path)[-1]["message"].startswith("line 399")


def test_bad_settings_are_one_clear_error(tmp_path: Path) -> None:
    """A level that does not exist and a place that cannot be written are named."""
    with pytest.raises(Fatal, match="no log level 'loud'"):
        configure(console=False, level="loud", json_path=None, secrets=[])
    (tmp_path / "file").write_text("")
    with pytest.raises(Fatal, match="cannot write logs to"):
        configure(console=False, level="info", json_path=tmp_path / "file" / "x.jsonl", secrets=[])
