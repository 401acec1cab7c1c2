"""A start, and an errand for a dead account, at an exchange that is busy, bans us, or is closed for a while."""

import socket
from pathlib import Path

import pytest

from hedgegrid import reaching
from hedgegrid.errors import Fatal, Unreachable
from hedgegrid.journal.journal import ERRAND_DONE
from hedgegrid.worlds.world import Errand, ErrandKind
from tests.live.trading_bot import configured, living, settings
from tools.standin.serving import running_standin

WAITED = "waiting for the exchange"


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "fault",
    [
        "418:1:ms=900",
        "1021:2:on=GET /fapi/v1/accountConfig",
        "503-unavailable:1:on=GET /fapi/v1/commissionRate",
    ],
)
async def test_a_start_waits_for_what_passes(fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever a start meets it: it is said in a line, systemd is told, and the run begins as if nothing had been."""
    monkeypatch.setattr(reaching, "FIRST_S", 0)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(str(tmp_path / "notify"))
        heard.settimeout(1)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        async with running_standin(still=True) as standin:
            standin.faults.arm(fault)
            async with living(standin, tmp_path) as bot:
                await bot.passed("active")
                assert bot.fired(fault.partition(":")[0]) > 0
                assert [line for line in bot.words if line.startswith(WAITED)] != []
                assert heard.recv(1000).startswith(b"EXTEND_TIMEOUT_USEC=")
                assert (await bot.end()).exit_code == 0


@pytest.mark.asyncio
async def test_what_a_person_must_mend_ends_a_start(tmp_path: Path) -> None:
    """A wrong mode is refused at once, though another reading could not be taken; so is a key that is not known."""
    async with running_standin(still=True) as standin:
        standin.faults.arm("mode-one-way")
        standin.faults.arm("1021:1:on=GET /fapi/v1/symbolConfig")
        async with living(standin, tmp_path) as bot:
            with pytest.raises(Fatal, match="pre-flight failed") as refused:
                await bot.running
        standin.gateway.keys = {"of another account": "its secret"}
        async with living(standin, tmp_path) as bot:
            with pytest.raises(Fatal, match="-2015") as unknown:
                await bot.running
        assert not isinstance(refused.value, Unreachable)
        assert not isinstance(unknown.value, Unreachable)


@pytest.mark.asyncio
async def test_a_signal_ends_the_wait(tmp_path: Path) -> None:
    """Whoever ends a start that waits is not kept waiting, and nothing was begun."""
    async with running_standin(still=True) as standin:
        standin.faults.arm("maintenance:ms=60000")
        async with living(standin, tmp_path) as bot:
            await bot.until(lambda: any(line.startswith(WAITED) for line in bot.words))
            bot.life.end("stopped by SIGTERM")
            with pytest.raises(Unreachable, match="ended by hand") as ended:
                await bot.running
        assert ended.value.harmless
        assert not bot.journal.exists()


@pytest.mark.asyncio
async def test_an_errand_waits_too(tmp_path: Path) -> None:
    """A rescue under a single 429 is done all the same; under a ban that outlasts its time it says so at once."""
    kind = ErrandKind.CANCEL_ENTRIES
    async with running_standin(still=True) as standin:
        config = settings(tmp_path, standin)
        standin.faults.arm("429:1")
        async with configured(standin, config, errand=Errand(kind=kind, timeout_s=20)) as bot:
            outcome = await bot.running
            assert (outcome.exit_code, outcome.failure) == (0, "")
            assert outcome.extras.ended.startswith(ERRAND_DONE)
        standin.faults.arm("418:1:ms=60000")
        async with configured(standin, config, errand=Errand(kind=kind, timeout_s=5)) as bot:
            with pytest.raises(Unreachable, match="left alone until") as ended:
                await bot.running
        assert not ended.value.harmless


@pytest.mark.asyncio
async def test_an_errand_whose_reading_fails_ends_in_time(tmp_path: Path) -> None:
    """The exchange closes after the pre-flight: the errand is over when its time is, as a failure that says why."""
    async with running_standin(still=True) as standin:
        standin.faults.arm("503-unavailable:always:on=GET /fapi/v1/openAlgoOrders:skip=2")
        errand = Errand(kind=ErrandKind.CANCEL_ENTRIES, legs=(), timeout_s=2)
        async with configured(standin, settings(tmp_path, standin), errand=errand) as bot:
            outcome = await bot.running
        assert outcome.exit_code == 1
        assert "the account could not be read" in outcome.failure
