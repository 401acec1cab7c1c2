"""The limits of age, each by a config of its own: the crash of 2025-02-03 at sixty times its pace, over real sockets.

In a replay prices come with the decision that they are for, so nothing is ever too old there. Here an exchange sends
them: quotes ten times a second, marks once, the wallet where it is read.

Invariants: what was refused or not sent is read from the journal's file; no entry reaches the exchange in spite of its
limit; all of them live side by side, for they mostly wait.
"""

import asyncio
import os
import sys
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest
from pyarrow import feather

from hedgegrid.journal.tape import decode
from hedgegrid.journal.verify import verify
from hedgegrid.messages.events import EndReason, ExecutionBatch
from tests.command import ANY_PORT, ROOT, cut_feather
from tests.scenarios.scenario import BARS, CRASH, HERE, Refusal, Scenario
from tools.standin.serving import running_standin

AGES: Final = ("max_quote_age_ms", "max_mark_age_ms", "max_balance_age_ms")
TTL: Final = "approval_ttl_ms"
SPEED: Final = 60
"""A minute of the market in a second: a bar of the configs."""
LIVED_S: Final = 8
WARM_MINUTES: Final = 100
"""Half of what the exchange has: the rest is its history."""
BOUND_S: Final = 120.0


async def lived(name: str, folder: Path, bars: Path) -> Scenario:
    """Let the command trade a config at an exchange that plays ``bars``; give what its journal says."""
    it = Scenario(config=HERE / f"{name}.toml", market=(bars,), journal=folder / f"{name}.db")
    async with running_standin(data_paths=[bars], speed=SPEED) as standin:
        place = ("--exchange", standin.url, "--journal", str(it.journal), *ANY_PORT, "--duration", f"{LIVED_S}s")
        keys = {"BINANCE_KEY": standin.options.key, "BINANCE_SECRET": standin.options.secret}
        running = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "hedgegrid", "run", "--config", str(it.config), *place),
            env={**os.environ, **keys, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(folder / name)},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            async with asyncio.timeout(BOUND_S):
                said, _ = await running.communicate()
        finally:
            if running.returncode is None:
                running.kill()
                await running.wait()
    assert running.returncode == 0, said.decode()
    return it


def expired(it: Scenario) -> int:
    """How many approved entries were not sent, for their approval had run out by then."""
    batches = [
        decode(kind, payload)
        for kind, payload in it.query("SELECT kind, payload FROM tape WHERE kind = 'ExecutionBatch'")
    ]
    return sum(
        event.reason is EndReason.EXPIRED_APPROVAL
        for batch in batches
        if isinstance(batch, ExecutionBatch)
        for event in batch.events
    )


def value_ms(one: Refusal) -> int:
    """The age that was refused, in ms."""
    return int(one.value.removesuffix(" ms").replace(",", ""))


def entries_that_stood(it: Scenario) -> int:
    """How many entries the exchange has taken."""
    ((count,),) = it.query("SELECT count(*) FROM orders WHERE purpose = 0 AND state != 'rejected'")
    return int(count)


@pytest.mark.asyncio
async def test_what_is_too_old_is_not_decided_on(tmp_path: Path, shared_dir: Path) -> None:
    """With a millisecond for each age the journal names the control, its limit and an age beyond it; nothing passed."""
    source = shared_dir / BARS / "BTCUSDT-1m.feather"
    begin = feather.read_table(source, columns=["date"]).column("date")[0].as_py()
    first = (CRASH - begin) // timedelta(minutes=1) - WARM_MINUTES
    bars = cut_feather(source, tmp_path / "BTCUSDT-1m.feather", first, 2 * WARM_MINUTES + 1)
    *aged, late = await asyncio.gather(*(lived(name, tmp_path, bars) for name in (*AGES, TTL)))
    for name, it in zip(AGES, aged, strict=True):
        refused = [one for one in it.refusals(name) if "no " not in one.value]
        assert len(refused) > 10, (name, it.refusals())
        assert {one.limit for one in refused} == {"1 ms"}
        assert min(value_ms(one) for one in refused) > 1
        assert {one.purpose for one in refused} == {0}, "a reduction is never refused for comfort"
        assert verify(it.journal).ok
    assert entries_that_stood(aged[1]) == entries_that_stood(aged[2]) == 0, "a mark and a wallet are never that young"
    assert expired(late) + len(late.refusals(TTL)) > 0, "a decision is not on its way within a millisecond"
    assert {one.limit for one in late.refusals(TTL)} <= {"1 ms"}
    assert verify(late.journal).ok
