"""Rows of [watchdog] and [supervisor] that virtual time shows, and of exits that race: pauses, restarts, ends."""

import asyncio
from collections.abc import Collection, Sequence
from typing import Any

import attrs
import pytest

from hedgegrid.actors.risk import Risk
from hedgegrid.actors.watchdog import Watchdog
from hedgegrid.app import House
from hedgegrid.errors import Fatal, OutcomeUnknown
from hedgegrid.messages.events import ActorRestarted, BarClosed, OrderEvent, PermissionChanged
from hedgegrid.model.order import OrderRequest
from hedgegrid.units import NS_PER_MINUTE
from tests.actors.house import FIRST_BAR, CrashError, Script, market, messages
from tests.settings import markets
from tests.settings.simulated import LONG, Played, Simulated
from tests.settings.table import row

HANG_S = 0.4
LINGER_S = 0.2


# --- what goes wrong --------------------------------------------------------------------------------------------------


def failing(bars: Collection[int]) -> Script:
    """A script in which the risk actor fails at each of these bars, once."""
    failed: set[int] = set()

    def hook(_house: House, actor: Any, message: Any) -> None:
        if isinstance(actor, Risk) and isinstance(message, BarClosed):
            number = message.bar.open_ns // NS_PER_MINUTE - FIRST_BAR
            if number in bars and number not in failed:
                failed.add(number)
                raise CrashError("gone")

    return Script(before_handle=hook)


def dying() -> Script:
    """A script in which the whole run fails at its first bar."""

    def hook(_house: House, actor: Any, message: Any) -> None:
        if isinstance(actor, Risk) and isinstance(message, BarClosed):
            raise Fatal("gone")

    return Script(before_handle=hook)


@attrs.define(eq=False)
class OddTrading:
    """The exchange's private side, where the third request to place something goes wrong: it hangs, or it is lost."""

    real: Any
    hangs: bool
    calls: int = 0

    def __getattr__(self, name: str) -> Any:
        """Be the exchange in all else."""
        return getattr(self.real, name)

    async def place(
        self, instrument: str, requests: Sequence[OrderRequest], retires: Sequence[str]
    ) -> tuple[OrderEvent, ...]:
        """Place, late or without an answer."""
        self.calls += 1
        if self.calls == 2:
            if not self.hangs:
                raise OutcomeUnknown("no answer within the request's time")
            await asyncio.sleep(HANG_S)
        placed: tuple[OrderEvent, ...] = await self.real.place(instrument, requests, retires)
        return placed


def odd(*, hangs: bool) -> Script:
    """A script with an exchange that goes wrong once."""
    return Script(trading=lambda real: OddTrading(real, hangs))


# --- scenes -----------------------------------------------------------------------------------------------------------


def failing_at(*bars: int) -> Simulated:
    """A market of a still minute a bar, in which the risk actor fails at some of them."""
    return Simulated(
        name=f"risk fails at {bars}", tape=lambda: markets.still(max(bars) + 8), script=lambda: failing(bars)
    )


EACH_MINUTE = failing_at(8, 9, 10, 11)
HOLE = Simulated(
    name="six minutes are missing",
    tape=lambda: market([markets.STILL] * 24, numbers=[*range(10), *range(16, 30)]),
)
RACE = Simulated(
    name="exits race each other at an exchange that answers after half a minute",
    tape=lambda: market(seed=1, count=60),
    changes={
        "sim.latency_ms": 30_000,
        "risk.max_unprotected_ms": 120_000,
        "risk.stop_overlap_ms": 120_000,
        "risk.exit_excess_ms": 120_000,
    },
    linked=False,
)
HANGING = Simulated(
    name="the exchange takes 0.4 s to answer",
    tape=lambda: markets.after_warmth(markets.dip(9_970), markets.STILL),
    changes={"watchdog.heartbeat_ms": 50},
    script=lambda: odd(hangs=True),
)
LOST = Simulated(
    name="an answer of the exchange is lost",
    tape=lambda: markets.after_warmth(markets.dip(9_970), *[markets.STILL] * 4),
    script=lambda: odd(hangs=False),
)


@attrs.frozen(kw_only=True)
class Outliving(Simulated):
    """A life whose watchdog takes a fifth of a second to stop."""

    async def play(self, changes: Any, folder: Any) -> Played:
        """Live it with a watchdog that lingers."""
        run = Watchdog.run

        async def lingering(actor: Watchdog, *started: Any) -> None:
            try:
                await run(actor, *started)
            except asyncio.CancelledError:
                await asyncio.sleep(LINGER_S)
                raise

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Watchdog, "run", lingering)
            return await super().play(changes, folder)


LINGERING = Outliving(
    name="the watchdog lingers as it is stopped", tape=markets.still, script=lambda: Script(may_outlive=True)
)
DYING = Simulated(name="it dies at its first bar", tape=lambda: markets.still(12), script=dying)
DIED_TWICE = Simulated(name="two lives before this one died", tape=DYING.tape, before=(DYING, DYING))


# --- what is seen -----------------------------------------------------------------------------------------------------


def ended(played: Played) -> tuple[int, int]:
    """The exit code, and how often an actor was restarted."""
    return played.one.outcome.exit_code, len(messages(played.one.path, ActorRestarted))


def back_after_ms(played: Played) -> list[int]:
    """How long it takes after each failure until the account has been read anew."""
    back: list[PermissionChanged] = messages(played.one.path, PermissionChanged)
    read_ns = [one.ts_recv_ns for one in back if one.change == "hydrated"][1:]
    failed: list[ActorRestarted] = messages(played.one.path, ActorRestarted)
    return [(ns - one.ts_recv_ns) // 10**6 for one, ns in zip(failed, read_ns, strict=True)]


def paused_for_s(played: Played) -> int:
    """How long a pause stands after its cause has gone."""
    steps = {one.change: one.ts_recv_ns for one in played.told("feed_stale")}
    return (steps["cleared"] - steps["recovering"]) // 10**9


def killed(played: Played) -> tuple[list[str], list[str]]:
    """The actors that were restarted, and the reasons of pauses, each once."""
    restarts: list[ActorRestarted] = messages(played.one.path, ActorRestarted)
    return list(dict.fromkeys(one.actor for one in restarts)), list(dict.fromkeys(played.raised()))


ENDED = "the exit code and the number of restarts"
BACK = "the ms from each failure until the account has been read anew"

ROWS = (
    row(
        "watchdog.feed_stale_ms",
        HOLE,
        lambda played: played.raised(),
        "the reasons of a pause",
        (5_000, ["feed_stale"]),
        (600_000, []),
    ),
    row(
        "watchdog.resume_after_ms",
        HOLE,
        paused_for_s,
        "the seconds from fresh prices to the end of the pause",
        (10_000, 10),
        (100_000, 100),
    ),
    row(
        "watchdog.heartbeat_ms",
        HANGING,
        killed,
        "the actors that are restarted, and the reasons of pauses",
        (50, (["executor"], ["heartbeat_missed"])),
        (1_000, ([], [])),
    ),
    row(
        "watchdog.heartbeat_missed",
        HANGING,
        killed,
        "the actors that are restarted, and the reasons of pauses",
        (3, (["executor"], ["heartbeat_missed"])),
        (100, ([], [])),
    ),
    row(
        "watchdog.unknown_pause_ms",
        LOST,
        lambda played: played.raised(),
        "the reasons of a pause",
        (500, ["unknown_order"]),
        (60_000, []),
    ),
    row("supervisor.max_restarts", EACH_MINUTE, ended, ENDED, (3, (1, 3)), (4, (0, 4))),
    row("supervisor.period_s", EACH_MINUTE, ended, ENDED, (300, (1, 3)), (100, (0, 4))),
    row(
        "supervisor.backoff_min_ms",
        EACH_MINUTE,
        back_after_ms,
        BACK,
        (200, [200, 400, 800, 1_600]),
        (1_000, [1_000, 2_000, 4_000, 8_000]),
        given={"supervisor.max_restarts": 9},
    ),
    row(
        "supervisor.backoff_max_ms",
        EACH_MINUTE,
        back_after_ms,
        BACK,
        (30_000, [200, 400, 800, 1_600]),
        (500, [200, 400, 500, 500]),
        given={"supervisor.max_restarts": 9},
    ),
    row(
        "supervisor.stable_s",
        EACH_MINUTE,
        back_after_ms,
        BACK,
        (600, [200, 400, 800, 1_600]),
        (30, [200, 200, 200, 200]),
        given={"supervisor.max_restarts": 9},
    ),
    row(
        "supervisor.crash_boots_max",
        DIED_TWICE,
        lambda played: (played.raised(), len(played.orders(LONG))),
        "the reasons of a pause, and the entries of LONG",
        (2, ([], 3)),
        (1, (["supervisor"], 0)),
    ),
    row(
        "supervisor.shutdown_timeout_ms",
        LINGERING,
        lambda played: played.one.script.unstoppable,
        "the actors over which the process ends itself",
        (5_000, []),
        (50, ["watchdog"]),
    ),
    *(
        row(
            f"risk.{name}",
            RACE,
            lambda played, words=words: played.incidents(words) > 0,  # type: ignore[misc]
            f"whether anything {words}",
            (120_000, False),
            (1_000, True),
        )
        for name, words in (
            ("max_unprotected_ms", "stood without a confirmed stop"),
            ("stop_overlap_ms", "not answered in its time"),
            ("exit_excess_ms", "not answered in its time"),
        )
    ),
)
