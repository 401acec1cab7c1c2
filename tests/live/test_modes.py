"""What a mode refuses before anything is connected: one line, exit 2 (1 where nobody is there), nothing on disk.

Invariant: none of these commands reaches a network; the addresses of their configs lead nowhere.
"""

from pathlib import Path

import pytest

from tests.command import ROOT, complaint, invoke
from tests.live.commanding import config_text
from tests.live.trading_bot import secret

NOWHERE = "127.0.0.1:9"
PAPER_PRODUCTION = {"mode": "paper", "environment": "production"}

REFUSED: list[tuple[str, dict[str, str], tuple[str, ...], str]] = [
    ("paper on the real market", PAPER_PRODUCTION, (), "--allow-production-data"),
    ("recorded data in paper", {"mode": "paper"}, ("--data", "."), "--data"),
    ("gaps in paper", {"mode": "paper"}, ("--allow-gaps",), "--allow-gaps"),
    ("speed in paper", {"mode": "paper"}, ("--speed", "10"), "--speed"),
    ("full speed in testnet", {"mode": "testnet"}, ("--speed", "max"), "--speed"),
    ("recorded data in testnet", {"mode": "testnet"}, ("--data", "."), "--data"),
    ("--live in testnet", {"mode": "testnet"}, ("--live",), "--live goes with"),
    ("--live in paper", {"mode": "paper"}, ("--live",), "--live goes with"),
]


def config_of(folder: Path, figures: dict[str, str]) -> Path:
    """Write a config whose exchange is nowhere."""
    secret(folder / "key", "k")
    secret(folder / "secret", "s")
    control = f'control_token = {{ file = "{secret(folder / "control", "control-of-ours")}" }}'
    read = f'read_token = {{ file = "{secret(folder / "read", "read-of-ours")}" }}'
    path = folder / "mode.toml"
    text = config_text(
        folder,
        rest=f"http://{NOWHERE}",
        ws=f"ws://{NOWHERE}",
        tokens=f"{control}\n{read}",
        mode=figures["mode"],
        environment=figures.get("environment", "testnet"),
    )
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(("name", "figures", "arguments", "words"), REFUSED, ids=[name for name, *_ in REFUSED])
def test_modes_refuse_in_one_line(
    name: str, figures: dict[str, str], arguments: tuple[str, ...], words: str, tmp_path: Path
) -> None:
    """Each combination that a mode cannot honour is refused with what to do, before anything is opened."""
    assert name
    config = config_of(tmp_path, figures)
    refusal = complaint(invoke("run", "--config", config, *arguments))
    assert words in refusal
    assert list(tmp_path.glob("live.db*")) == []


def test_real_money_is_said_in_as_many_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mode live without --live is refused in one line; on the practice exchange it is no valid config at all."""
    monkeypatch.chdir(tmp_path)
    for name in ("BINANCE_KEY", "READ_TOKEN", "CONTROL_TOKEN"):
        monkeypatch.setenv(name, "x" * 32)
    (tmp_path / "secrets").mkdir()
    secret(tmp_path / "secrets" / "binance", "s")
    secret(tmp_path / "secrets" / "control", "control-of-ours")
    text = (ROOT / "tests" / "config" / "full.toml").read_text(encoding="utf-8")
    config = tmp_path / "live.toml"
    config.write_text(text, encoding="utf-8")
    assert "add --live" in complaint(invoke("run", "--config", config))
    config.write_text(text.replace('environment = "production"', 'environment = "testnet"'), encoding="utf-8")
    refused = invoke("run", "--config", config, "--live")
    assert refused.exit_code == 2
    assert "environment" in refused.stderr
    assert list(tmp_path.glob("**/*.db")) == []


@pytest.mark.parametrize("mode", ["paper", "sim"])
def test_only_an_account_at_an_exchange_is_checked_online(mode: str, tmp_path: Path) -> None:
    """`check --online` asks an account of keys: a mode without any is told so."""
    config = config_of(tmp_path, {"mode": mode})
    assert "--online is for mode" in complaint(invoke("check", "--config", config, "--online"))


@pytest.mark.parametrize("mode", ["paper", "testnet"])
def test_exchange_that_does_not_answer_is_one_line(mode: str, tmp_path: Path) -> None:
    """Nobody there until the duration is over: one line that says so, exit 1 for a supervisor, no journal was begun."""
    config = config_of(tmp_path, {"mode": mode})
    refusal = complaint(invoke("run", "--config", config, "--listen", "127.0.0.1:0", "--duration", "100ms"), 1)
    assert "the exchange was not reached (within 0.1 s)" in refusal
    assert NOWHERE in refusal
    assert list(tmp_path.glob("live.db")) == []
