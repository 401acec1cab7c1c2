"""`hedgegrid flatten` and its companions, as their users run them, against a bot that trades over real sockets.

Invariants: FLAT is compared with the stand-in's own account; a bot and a command are processes of their own wherever
one is killed or stopped; no secret is in anything that they say or write.
"""

import asyncio
import signal
import time
from pathlib import Path

import pytest

from hedgegrid.journal.verify import verify
from tests.live.commanding import (
    CONTROL,
    IMPATIENT,
    READ,
    Answer,
    RunningBot,
    bot_at,
    config_at,
    free_port,
    run,
    tokens_in,
)
from tests.live.evidence import query
from tests.live.trading_bot import SYMBOL
from tools.standin.serving import Standin, running_standin
from tools.standin.weights import RateLimits


def assert_empty(bot: RunningBot) -> None:
    """Both legs are zero at the stand-in, and nothing of any kind is open."""
    assert (bot.held_lots("LONG"), bot.held_lots("SHORT")) == (0, 0)
    assert bot.open_orders() == []


def assert_flat(answer: Answer, bot: RunningBot, words: str = "FLAT: long and short") -> None:
    """The command said FLAT, and the stand-in's account says so too."""
    assert (answer.code, answer.out.strip()) == (0, words), (answer, bot.words()[-3_000:])
    assert_empty(bot)


def assert_no_secret(standin: Standin, folder: Path, *answers: Answer) -> None:
    """No key, secret or token is in an answer, a log, or the journal."""
    secrets = (CONTROL, READ, standin.options.key, standin.options.secret)
    texts = [answer.out + answer.err for answer in answers]
    files = [path for path in folder.iterdir() if path.suffix in {".log", ".toml"} or ".db" in path.name]
    texts += [path.read_bytes().decode("latin-1") for path in files]
    for one in secrets:
        # The names of the files that hold the tokens are no secret.
        assert not any(one in text.replace(f"_token-{one}", "") for text in texts)


def kept(folder: Path) -> Path:
    """The journal."""
    return folder / "live.db"


@pytest.mark.asyncio
async def test_commands_control_a_running_account(tmp_path: Path) -> None:
    """Each command does at the exchange what it says; two flattens at once are one; it stays flat until resumed."""
    async with running_standin(still=True) as standin:
        config = config_at(tmp_path, standin, port=free_port())
        async with bot_at(standin, config) as bot:
            await bot.hold("LONG", "SHORT")
            told = await run("status", "--config", config, "--json")
            legs = {leg["leg"]: leg["qty"] for leg in told.told["instruments"][0]["legs"]}
            assert legs == {"long": bot.held_lots("LONG") / 1_000, "short": bot.held_lots("SHORT") / 1_000}
            limits = await run("risk", "--config", config)
            assert "max_notional_per_leg_quote" in limits.out
            said = (await run("throttle", "0.5", "--config", config)).out
            assert said == "throttle 0.5: from the next decision on, over restarts too\n"
            assert (await run("pause", "--config", config)).out.startswith("paused: ")
            assert (await run("cancel-entries", "--config", config)).out == "no entry rests\n"
            assert bot.entries() == []
            assert bot.held_lots("LONG") > 0
            assert (await run("resume", "--config", config)).out == "resumed: active\n"
            await bot.until(lambda: bot.entries() != [])
            began_s = time.monotonic()
            both = await asyncio.gather(
                run("flatten", "--config", config, "--wait"), run("flatten", "--config", config, "--wait", "--json")
            )
            assert_flat(both[0], bot)
            assert (both[1].code, both[1].told["stage"], both[1].told["left"]) == (0, "flat", [])
            assert time.monotonic() - began_s < 30
            text = (await run("status", "--config", config)).out
            assert "operator" in text
            assert "FLAT: long and short" in text
            standin.market.move_by_bps(SYMBOL, 40)
            await asyncio.sleep(2)
            assert_empty(bot)
            assert await bot.end(signal.SIGTERM) == 0
        assert_no_secret(standin, tmp_path, told, limits, *both)
    assert verify(kept(tmp_path)).ok


@pytest.mark.asyncio
async def test_flatten_of_one_leg_that_is_refused_sliced_and_filled_in_parts(tmp_path: Path) -> None:
    """A maximum for market orders, three refusals, a thin market: FLAT in the end, and the other leg is held."""
    async with running_standin(still=True) as standin:
        standin.faults.arm("filter-change:market_max_qty=0.004")
        config = config_at(tmp_path, standin, port=free_port())
        async with bot_at(standin, config) as bot:
            await bot.hold("LONG", "SHORT")
            short = bot.held_lots("SHORT")
            standin.faults.arm("2022:3")
            standin.faults.arm("thin-market:lots=3")
            answer = await run("flatten", "--config", config, "--leg", "long", "--wait", "--timeout", "40")
            told = "FLAT: long; the other leg keeps what it holds, its entries are gone too\n"
            assert (answer.code, answer.out) == (0, told), (answer, bot.words()[-3_000:])
            assert bot.entries() == []
            assert (bot.held_lots("LONG"), bot.held_lots("SHORT")) == (0, short)
            assert standin.faults.fired["2022"] == 3
            left = standin.exchange.summary()
            rows = [*left["orders"], *left["algoOrders"]]
            assert rows
            assert {row["positionSide"] for row in rows} == {"SHORT"}
            assert await bot.end(signal.SIGTERM) == 0
    assert verify(kept(tmp_path)).ok


@pytest.mark.asyncio
async def test_flatten_goes_on_over_a_kill(tmp_path: Path) -> None:
    """Killed in the middle, the dead account is flattened by the command itself; the next start is paused."""
    # Four starts in one minute are not what is tested here, and weigh more than a minute admits.
    async with running_standin(still=True, limits=RateLimits(weight_minute=24_000)) as standin:
        config = config_at(tmp_path, standin, port=free_port())
        async with bot_at(standin, config) as bot:
            await bot.hold("LONG", "SHORT")
            standin.faults.arm("2022:always")
            asked = await run("flatten", "--config", config)
            assert asked.code == 0
            await bot.until(lambda: standin.faults.fired.get("2022", 0) > 0)
            assert await bot.end(signal.SIGKILL) == -signal.SIGKILL
            standin.faults.disarm("2022")
            answer = await run("flatten", "--config", config, "--wait", "--json")
            assert (answer.code, answer.told["stage"]) == (0, "flat"), answer
            assert_empty(bot)
        assert verify(kept(tmp_path)).ok
        done = "SELECT count(*) FROM permission WHERE change = 'flatten_done'"
        before = query(kept(tmp_path), done)
        async with bot_at(standin, config) as bot:
            await bot.until(lambda: query(kept(tmp_path), done) > before)
            await asyncio.sleep(2)
            assert_empty(bot)
            assert await bot.end(signal.SIGTERM) == 0
        assert_no_secret(standin, tmp_path, asked, answer)
    assert verify(kept(tmp_path)).ok


@pytest.mark.asyncio
async def test_take_over_of_a_process_that_ignores_everything(tmp_path: Path) -> None:
    """Without a token a held account is one clear line; --take-over ends even a stopped process, then flattens."""
    async with running_standin(still=True) as standin:
        port = free_port()
        config = config_at(tmp_path, standin, port=port)
        bare = config_at(tmp_path, standin, port=port, tokens="", name="bare")
        async with bot_at(standin, config) as bot:
            await bot.hold("LONG")
            held = await run("flatten", "--config", bare)
            assert held.code == 2
            assert "trades this account already" in held.complaint
            assert "--take-over" in held.complaint
            bot.running.send_signal(signal.SIGSTOP)
            answer = await run("flatten", "--config", config, "--take-over", code=IMPATIENT)
            assert_flat(answer, bot)
            assert f"process {bot.running.pid} was ended" in answer.err
            assert await bot.running.wait() == -signal.SIGKILL
        dead = await run("cancel-entries", "--config", config, "--dead")
        assert (dead.code, dead.out) == (0, "entries cancelled: none is open\n"), dead
    assert verify(kept(tmp_path)).ok


@pytest.mark.asyncio
async def test_who_may_not_is_told_so_in_one_line(tmp_path: Path) -> None:
    """A wrong token, no token, nobody there: one line each, exit 2, nothing asked for, and no secret said."""
    async with running_standin(still=True) as standin:
        port = free_port()
        config = config_at(tmp_path, standin, port=port)
        wrong = config_at(
            tmp_path,
            standin,
            port=port,
            tokens=tokens_in(tmp_path, control="wrong-control", read="wrong-read-token"),
            name="wrong",
        )
        bare = config_at(tmp_path, standin, port=port, tokens="", name="bare")
        nobody = await run("status", "--config", config)
        assert (nobody.code, "does not answer" in nobody.complaint) == (2, True)
        async with bot_at(standin, config) as bot:
            await bot.until(lambda: len(bot.entries()) >= 4)
            answers = await asyncio.gather(
                run("flatten", "--config", wrong, "--wait"),
                run("pause", "--config", wrong),
                run("pause", "--config", bare),
                run("status", "--config", bare),
                run("status", "--config", wrong),
            )
            assert [answer.code for answer in answers] == [2, 2, 2, 2, 2]
            words = [answer.complaint for answer in answers]
            assert "wants another token" in words[0]
            assert "wants another token: [ops] control_token" in words[1]
            assert "no [ops] control_token" in words[2]
            assert "token" in words[3]
            assert "wants another token: [ops] read_token" in words[4]
            assert len(bot.entries()) >= 4
            assert query(kept(tmp_path), "SELECT count(*) FROM permission WHERE reason = 'operator'") == [(0,)]
            assert await bot.end(signal.SIGTERM) == 0
        assert_no_secret(standin, tmp_path, nobody, *answers)
