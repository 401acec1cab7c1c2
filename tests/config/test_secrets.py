"""Secrets: read by reference at the moment of use, from safe places alone, and shown nowhere."""

import copy
import os
import pickle
from pathlib import Path
from typing import Any

import attrs
import pytest

from hedgegrid.config.load import ConfigError, loads
from hedgegrid.config.render import config_hash, render_effective
from hedgegrid.config.secrets import Secret, SecretError, SecretRef
from hedgegrid.config.structure import structure

TEXT = "hUsHhUsH64"


@pytest.fixture
def secret_file(tmp_path: Path) -> Path:
    """A file that may hold a secret."""
    path = tmp_path / "key"
    path.write_text(f"{TEXT}\n", encoding="utf-8")
    path.chmod(0o600)
    return path


def test_references_resolve(secret_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment variable and a 0600 file both give the text without the newline around it."""
    monkeypatch.setenv("SOME_KEY", f" {TEXT}\n")
    assert SecretRef(env="SOME_KEY").resolve().reveal() == TEXT
    assert SecretRef(file=str(secret_file)).resolve().reveal() == TEXT
    secret_file.chmod(0o400)
    assert SecretRef(file=str(secret_file)).resolve().reveal() == TEXT


def test_a_secret_shows_itself_nowhere() -> None:
    """No way of printing, formatting, copying or storing a secret gives its text."""
    secret = Secret(TEXT)
    shown = [repr(secret), str(secret), f"{secret}", f"{secret!r:>10}", repr({"a": [secret]}), repr(vars_of(secret))]
    assert not any(TEXT in each for each in shown)
    assert str(secret) == "***"
    for spread in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            spread(secret)
    with pytest.raises(TypeError):
        hash(secret)
    assert secret == Secret(TEXT)
    assert secret != Secret("other")
    assert secret != TEXT


def vars_of(secret: Secret) -> dict[str, object]:
    """What a debugger that prints an object's dictionary would see."""
    return getattr(secret, "__dict__", {})


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o700, 0o660])
def test_files_others_can_read_are_refused(secret_file: Path, mode: int) -> None:
    """A secret in a file that is not private is as good as published: refused, with what to do."""
    secret_file.chmod(mode)
    with pytest.raises(SecretError, match="0600") as refused:
        SecretRef(file=str(secret_file)).resolve()
    assert TEXT not in str(refused.value)


def test_odd_places_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Missing, directory, FIFO, empty, binary, oversized, unset: each ends in one message, none hangs."""
    os.mkfifo(tmp_path / "fifo", 0o600)
    for name, content in {"empty": b" \n", "binary": b"\xff\xfe", "large": b"x" * 70_000}.items():
        (tmp_path / name).write_bytes(content)
        (tmp_path / name).chmod(0o600)
    expected = {
        "absent": "No such file",
        ".": "regular file",
        "fifo": "regular file",
        "empty": "is empty",
        "binary": "UTF-8",
        "large": "larger",
    }
    for name, why in expected.items():
        with pytest.raises(SecretError, match=why):
            SecretRef(file=str(tmp_path / name)).resolve()
    monkeypatch.delenv("SOME_KEY", raising=False)
    with pytest.raises(SecretError, match="SOME_KEY is not set"):
        SecretRef(env="SOME_KEY").resolve()


def test_a_file_of_another_user_is_refused(secret_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever owns the file could have put any key there."""
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(SecretError, match="another user"):
        SecretRef(file=str(secret_file)).resolve()


@pytest.mark.parametrize(
    "path", ["venue.api_key", "venue.api_secret", "ops.read_token", "ops.control_token", "alerts.urls"]
)
@pytest.mark.parametrize(
    "inline",
    [
        TEXT,
        {"value": TEXT},
        {"env": TEXT},
        {"env": [TEXT]},
        {"file": {"a": TEXT}},
        {"file": f"{TEXT}\n"},
        {"env": "A", "file": TEXT},
        {TEXT: "A"},
        {},
        [TEXT],
        7,
    ],
)
def test_inline_secrets_are_refused_unrepeated(path: str, inline: object, full_tables: dict[str, Any]) -> None:
    """A key pasted into the file, in whatever shape, is refused at its path and stays out of the message."""
    section, key = path.split(".")
    full_tables[section][key] = inline
    config, problems = structure(full_tables)
    assert config is None
    assert [problem.path for problem in problems] == [path]
    assert TEXT not in problems[0].message
    assert "env" in problems[0].message or "file" in problems[0].message


def test_a_secret_under_a_wrong_name_is_not_repeated(smallest: str) -> None:
    """A pasted key in a misspelt, wrongly typed or textual setting does not come back in the error."""
    text = f"""
    [venue]
    api_keey = "{TEXT}"
    leverage = "{TEXT}"
    rest_url = "https://user:{TEXT}@example.com"
    ws_url = "{TEXT}"
    [account]
    name = "{TEXT}"
    [ops]
    listen = "{TEXT}"
    {smallest}"""
    with pytest.raises(ConfigError) as refused:
        loads(text, "f.toml")
    assert len(refused.value.problems) == 6
    assert TEXT not in str(refused.value)


def test_a_config_never_holds_the_text(full: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Representation, dictionary, rendering and hash of a config know the reference alone."""
    monkeypatch.setenv("BINANCE_KEY", TEXT)
    config = loads(full, "f.toml")
    assert config.venue.api_key is not None
    assert config.venue.api_key.resolve().reveal() == TEXT
    everything = [repr(config), repr(attrs.asdict(config)), render_effective(config), config_hash(config)]
    assert not any(TEXT in each for each in everything)
    assert 'api_key = { env = "BINANCE_KEY" }' in render_effective(config)
    assert "***" in render_effective(config)


def test_the_hash_leaves_references_out(full: str) -> None:
    """Where a key lies says nothing about how the account trades."""
    moved = full.replace("BINANCE_KEY", "OTHER_KEY")
    assert config_hash(loads(moved, "f")) == config_hash(loads(full, "f"))
