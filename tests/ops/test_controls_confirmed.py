"""What a control command says is what the account says became of it, and it waits for that word, in bounds.

Invariant: the commands are the program's own, over a socket; the account is one whose view a test moves.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hedgegrid import asking
from hedgegrid.cli import commands
from hedgegrid.messages.commands import Throttle
from hedgegrid.messages.events import OrderEventKind
from hedgegrid.ops.http import HttpServer
from hedgegrid.ops.readings import RuntimeReading
from tests.live.commanding import CONTROL, config_text, free_port, tokens_in
from tests.live.trading_bot import secret
from tests.ops.telling import Account, order
from tests.ops.test_api import Asked

HOST = "127.0.0.1"
LATER_S = 0.3
"""After which an account does what it was asked for."""


class Obeying(Asked):
    """An account that does what it is told, a moment later."""

    def __init__(self, account: Account, does: Callable[[Account], None]) -> None:
        """``does`` is what becomes of any word."""
        super().__init__()
        self.account, self.does = account, does

    def _soon(self) -> None:
        asyncio.get_running_loop().call_later(LATER_S, self.does, self.account)

    def pause(self) -> None:
        """Do it soon."""
        self._soon()

    def resume(self, *, new_peak: bool) -> None:
        """Do it soon."""
        assert not new_peak
        self._soon()

    def throttle(self, factor_ppm: int) -> None:
        """Do it soon."""
        assert factor_ppm == 250_000
        self._soon()

    def flatten(self, legs: tuple[str, ...]) -> None:
        """Do it soon."""
        assert legs
        self._soon()

    def cancel_entries(self) -> None:
        """Do it soon."""
        self._soon()


def account_at_work() -> Account:
    """An account that trades, with an entry that rests."""
    account = Account()
    account.hydrate()
    account.rest(order("a"))
    account.permit("warming", "active", "warmed")
    return account


async def commanded(
    tmp_path: Path,
    account: Account,
    does: Callable[[Account], None],
    *words: str,
    name: str = "demo",
    mode: str = "testnet",
) -> Result:
    """Run a command of the config of the account ``name`` in its ``mode``; who listens is demo, on testnet."""
    server = HttpServer(
        account.view,
        now_ns=lambda: account.now_ns,
        mode="testnet",
        read_runtime=lambda: RuntimeReading(account=account.books),
        control=Obeying(account, does),
        control_token=CONTROL,
    )
    await server.start(HOST, 0)
    for one in ("key", "secret"):
        secret(tmp_path / one, "of-the-exchange")
    config = tmp_path / "account.toml"
    rest = "http://127.0.0.1:1"
    tokens = tokens_in(tmp_path, read=None)
    text = config_text(tmp_path, rest=rest, ws="ws://127.0.0.1:1", tokens=tokens, port=server.port, mode=mode)
    config.write_text(text.replace('name = "live"', f'name = "{name}"'))
    try:
        return await asyncio.to_thread(CliRunner().invoke, commands, [*words, "--config", str(config)])
    finally:
        await server.stop()


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("words", "before", "does", "code", "said"),
    [
        pytest.param(
            ("pause",),
            lambda _: None,
            lambda account: account.permit("active", "reducing", "raised", "operator"),
            0,
            "paused: nothing that increases a leg is sent until `hedgegrid resume`; entries that rest may fill",
            id="paused",
        ),
        pytest.param(
            ("resume",),
            lambda account: account.permit("active", "reducing", "raised", "operator"),
            lambda account: account.permit("reducing", "active", "cleared", "operator"),
            0,
            "resumed: active",
            id="resumed",
        ),
        pytest.param(
            ("resume",),
            lambda account: account.permit("active", "reducing", "raised", "drawdown"),
            lambda _: None,
            1,
            "still paused: drawdown (until `hedgegrid resume --new-peak`)",
            id="a drawdown stays",
        ),
        pytest.param(
            ("resume",),
            lambda account: (
                account.permit("active", "reducing", "raised", "feed_stale"),
                account.permit("reducing", "reducing", "raised", "operator"),
            ),
            lambda account: account.permit("reducing", "reducing", "cleared", "operator"),
            0,
            "still paused: feed_stale (lifts by itself once its cause has been gone for a while)",
            id="what lifts by itself stays",
        ),
        pytest.param(
            ("throttle", "0.25"),
            lambda _: None,
            lambda account: account.publish(Throttle, factor_ppm=250_000),
            0,
            "throttle 0.25: from the next decision on, over restarts too",
            id="throttled",
        ),
        pytest.param(
            ("cancel-entries",),
            lambda _: None,
            lambda account: account.tell(OrderEventKind.CANCELLED, "a"),
            0,
            "no entry rests; a running grid places them again at its next bar: `pause` first",
            id="entries gone",
        ),
    ],
)
async def test_a_control_says_what_came_of_it(
    tmp_path: Path,
    words: tuple[str, ...],
    before: Callable[[Account], None],
    does: Callable[[Account], None],
    code: int,
    said: str,
) -> None:
    """That it was asked for is no answer at night: the command waits for the account's own word, and gives that."""
    account = account_at_work()
    before(account)
    result = await commanded(tmp_path, account, does, *words)
    assert (result.exit_code, result.stdout.strip()) == (code, said), result.output


@pytest.mark.asyncio
@pytest.mark.parametrize(("name", "mode"), [("other", "testnet"), ("demo", "paper")])
@pytest.mark.parametrize(
    ("words", "helps"),
    [
        (("status",), "is the account running?"),
        (("risk",), "is the account running?"),
        (("pause",), "`hedgegrid kill` keeps its next start from trading"),
        (("resume",), "`hedgegrid run --resume` starts it"),
        (("throttle", "0.25"), "is the account running?"),
        (("cancel-entries",), "add --dead for an account that does not run"),
    ],
    ids=lambda one: one[0] if isinstance(one, tuple) else "",
)
async def test_another_account_at_the_port_is_not_acted_on(
    tmp_path: Path, name: str, mode: str, words: tuple[str, ...], helps: str
) -> None:
    """Accounts of one machine take each other's ports, with the same token: a word for one reaches no other."""
    acted: list[Account] = []
    result = await commanded(tmp_path, account_at_work(), acted.append, *words, name=name, mode=mode)
    await asyncio.sleep(2 * LATER_S)
    assert (result.exit_code, acted) == (2, [])
    assert f"is another account's, not that of {name} ({mode})" in result.output
    assert helps in result.output


@pytest.mark.asyncio
async def test_a_flatten_never_takes_another_account_s_word(tmp_path: Path) -> None:
    """Whoever listens there is left alone, and FLAT is said only of the account that was named."""
    acted: list[Account] = []
    result = await commanded(
        tmp_path, account_at_work(), acted.append, "flatten", "--wait", "--timeout", "1", name="other"
    )
    assert (result.exit_code, acted) == (1, [])
    assert "is another account's, not that of other (testnet): acting for it under its lock" in result.output
    assert "FLAT:" not in result.output


@pytest.mark.asyncio
async def test_an_account_that_does_not_do_it_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wait is bounded, and what did not happen is no success."""
    monkeypatch.setattr(asking, "CONFIRM_S", 0.2)
    result = await commanded(tmp_path, account_at_work(), lambda _: None, "pause")
    assert result.exit_code == 1
    assert "asked for: pause; not done within 0.2 s" in result.output
    entries = await commanded(tmp_path, account_at_work(), lambda _: None, "cancel-entries")
    assert (entries.exit_code, "1 entry rests" in entries.output) == (0, True)


@pytest.mark.parametrize("name", ["control_token", "read_token"])
def test_a_token_that_is_too_short_is_refused_at_load(tmp_path: Path, name: str) -> None:
    """It would be guessed, and masking it would mangle every line of a log: each command says so, and the remedy."""
    tokens = tokens_in(tmp_path, **{"control": None, "read": None, name.partition("_")[0]: "tiny5"})
    config = tmp_path / "account.toml"
    config.write_text(config_text(tmp_path, rest="http://127.0.0.1:1", ws="ws://127.0.0.1:1", tokens=tokens))
    result = CliRunner().invoke(commands, ["status", "--config", str(config)])
    assert result.exit_code == 2
    assert f"[ops] {name}: file {tmp_path}" in result.output
    assert "is too short (5 of at least 8 characters): `openssl rand -hex 16`" in result.output
    assert "tiny5" not in result.output.replace(str(tmp_path), "").replace("_token-tiny5", "")


@pytest.mark.parametrize("words", [("flatten",), ("kill", "--wait"), ("cancel-entries", "--dead")])
def test_a_dead_account_that_is_not_reached_is_told_of_its_options(tmp_path: Path, words: tuple[str, ...]) -> None:
    """Whoever ran it at another server, or with another journal, has to say so again: the refusal names the options.

    It is no bad input: the exchange gets its time, and exit 1 says that the same command may do well later.
    """
    for name in ("key", "secret"):
        secret(tmp_path / name, "of-the-exchange")
    nowhere = f"127.0.0.1:{free_port()}"
    config = tmp_path / "account.toml"
    config.write_text(config_text(tmp_path, rest=f"http://{nowhere}", ws=f"ws://{nowhere}", tokens=""))
    bare = CliRunner().invoke(commands, [*words, "--timeout", "1", "--config", str(config)])
    assert bare.exit_code == 1
    assert "waiting for the exchange" in bare.output
    assert "not reached (within 1 s)" in bare.output
    assert "(an account that was run with --journal or --exchange needs the same here)" in bare.output
    given = ["--exchange", f"http://{nowhere}", "--journal", str(tmp_path / "other.db")]
    full = CliRunner().invoke(commands, [*words, "--timeout", "1", "--config", str(config), *given])
    assert full.exit_code == 1
    assert "needs the same here" not in full.output
