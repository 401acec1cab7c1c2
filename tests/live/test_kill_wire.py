"""`hedgegrid kill` as its users run it, against a bot that trades over real sockets, and against one that is dead.

Invariants: what is held and open is the stand-in's own account; bot and command are processes of their own; nothing but
the operator's resume lets it trade again.
"""

import asyncio
import signal
from pathlib import Path

import pytest

from hedgegrid.journal.kill_file import kill_file
from hedgegrid.journal.verify import verify
from tests.live.commanding import RunningBot, bot_at, config_at, free_port, run
from tests.live.evidence import query
from tests.live.test_flatten_wire import assert_empty, kept
from tests.live.trading_bot import SYMBOL
from tools.standin.serving import running_standin

SAID = "killed: latched, nothing is added until `hedgegrid resume`\n"
BARS_S = 1.5


async def assert_nothing_is_added(bot: RunningBot) -> None:
    """Bars close and the price moves through where the ladders were: no entry comes."""
    bot.standin.market.move_by_bps(SYMBOL, 30)
    await asyncio.sleep(BARS_S)
    assert bot.entries() == []


@pytest.mark.asyncio
async def test_kill_flattens_and_only_a_resume_lets_it_trade_again(tmp_path: Path) -> None:
    """Killed, it is flat; the next start is killed too; a resume lifts it, and the file is gone for good."""
    async with running_standin(still=True) as standin:
        config = config_at(tmp_path, standin, port=free_port())
        async with bot_at(standin, config) as bot:
            await bot.hold("LONG", "SHORT")
            answer = await run("kill", "--config", config, "--wait")
            assert (answer.code, answer.out) == (0, SAID + "FLAT: long and short\n"), (answer, bot.words()[-3_000:])
            assert_empty(bot)
            assert await bot.end(signal.SIGTERM) == 0
        assert not kill_file(kept(tmp_path)).exists()
        async with bot_at(standin, config) as bot:
            await bot.until(lambda: "still_latched kill" in bot.words())
            await assert_nothing_is_added(bot)
            assert (await run("resume", "--config", config)).code == 0
            await bot.until(lambda: bot.entries() != [])
            assert await bot.end(signal.SIGTERM) == 0
    assert verify(kept(tmp_path)).ok


@pytest.mark.asyncio
async def test_a_crash_right_after_the_kill_loses_nothing(tmp_path: Path) -> None:
    """The process dies as the word arrives; the command acts for the dead account, and the next start is killed."""
    async with running_standin(still=True) as standin:
        config = config_at(tmp_path, standin, port=free_port())
        async with bot_at(standin, config) as bot:
            await bot.hold("LONG")
            # It cannot hear, and dies without having heard.
            bot.running.send_signal(signal.SIGSTOP)
            asking = asyncio.create_task(run("kill", "--config", config, "--take-over"))
            await bot.until(kill_file(kept(tmp_path)).exists)
            assert await bot.end(signal.SIGKILL) == -signal.SIGKILL
            answer = await asking
            assert (answer.code, answer.out) == (0, "FLAT: long and short\n"), (answer, bot.words()[-3_000:])
            assert_empty(bot)
        async with bot_at(standin, config) as bot:
            await bot.until(lambda: "still_latched kill" in bot.words())
            await assert_nothing_is_added(bot)
            assert await bot.end(signal.SIGTERM) == 0
        reasons = query(kept(tmp_path), "SELECT DISTINCT reason FROM permission WHERE change = 'flatten_started'")
        assert reasons == [("kill",)], "no operator's flatten was asked for"
    assert verify(kept(tmp_path)).ok


@pytest.mark.asyncio
async def test_the_file_alone_kills_and_the_action_may_leave_what_is_held(tmp_path: Path) -> None:
    """Without a token, by a touch: the entries go; with `cancel_entries` the leg is held on, with its exits."""
    async with running_standin(still=True) as standin:
        config = config_at(tmp_path, standin, port=free_port(), tokens="")
        config.write_text(config.read_text() + '\n[risk.kill_switch]\naction = "cancel_entries"\n')
        async with bot_at(standin, config) as bot:
            await bot.hold("LONG")
            kill_file(kept(tmp_path)).touch()
            await bot.until(lambda: bot.entries() == [] and not kill_file(kept(tmp_path)).exists())
            held = bot.held_lots("LONG")
            assert await bot.end(signal.SIGKILL) == -signal.SIGKILL
        async with bot_at(standin, config) as bot:
            await bot.until(lambda: "still_latched kill" in bot.words())
            await asyncio.sleep(BARS_S)
            assert bot.entries() == []
            assert bot.held_lots("LONG") == held > 0
            assert bot.open_orders(), "what is held keeps its exits"
            assert await bot.end(signal.SIGTERM) == 0
    assert verify(kept(tmp_path)).ok


@pytest.mark.asyncio
async def test_an_account_with_another_journal_is_killed_over_its_interface(tmp_path: Path) -> None:
    """Nobody holds the config's journal, and yet it lives: the command does not call it dead, and leaves no file."""
    async with running_standin(still=True) as standin:
        config = config_at(tmp_path, standin, port=free_port())
        other = tmp_path / "other.toml"
        other.write_text(config.read_text().replace(str(kept(tmp_path)), str(tmp_path / "nobodys.db")))
        assert other.read_text() != config.read_text()
        async with bot_at(standin, config) as bot:
            await bot.hold("LONG")
            answer = await run("kill", "--config", other, "--wait")
            assert (answer.code, answer.out) == (0, SAID + "FLAT: long and short\n"), (answer, bot.words()[-3_000:])
            assert_empty(bot)
            assert not kill_file(tmp_path / "nobodys.db").exists()
            mute = tmp_path / "mute.toml"
            mute.write_text("\n".join(row for row in other.read_text().splitlines() if "control_token" not in row))
            answer = await run("kill", "--config", mute)
            assert (answer.code, "NOT KILLED" in answer.err) == (2, True), answer
            assert await bot.end(signal.SIGTERM) == 0
