"""The whole bot, trading at a stand-in of the exchange inside the test's own loop, over real sockets.

Invariants: what a test proves it proves from outside: the stand-in's own account, its request log, and the journal's
file; nothing asks the bot what it thinks. When ``living`` is left, the bot has ended, and nothing of it runs.
"""

import asyncio
import io
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import attrs
from rich.console import Console

from hedgegrid.config.schema import AccountConfig
from hedgegrid.config.structure import structure
from hedgegrid.journal.verify import verify
from hedgegrid.lifecycle import Life, Outcome
from hedgegrid.worlds.world import RunOptions
from tests.live.evidence import Sent, account_of, orders_in, query, sent_while_paused, told
from tests.live.watching import Watch
from tools.rehearsal.__main__ import sent_before_reading
from tools.rehearsal.accounts import differences, read_journal, unprotected
from tools.standin.request_log import Entry
from tools.standin.serving import Standin, running_standin

BTC: Final = "BTC/USDT:USDT"
SYMBOL: Final = "BTCUSDT"
BOUND_S: Final = 20.0
"""How long anything may take before a test gives up; what must be quick has bounds of its own."""
PROTECTED_S: Final = 2.0
EXCESS_S: Final = 2.5
"""The usual stop_overlap_ms, and what a cancel that is asked for again takes on its way."""
LOOK_S: Final = 0.01
DOUBTFUL: Final = (
    "SELECT count(*) FROM orders WHERE state IN ('sent', 'cancelling', 'unknown') "
    "OR (state IN ('working', 'partial') AND cancel_ns > 0)"
)
STORY_LINES: Final = 80
UNTOLD: Final = ("kline closed", "TRADE_LITE", "opened")
END_S: Final = 45.0
RUNG_LOTS: Final = 10
STEP_BPS: Final = 6
OVER_A_RUNG_BPS: Final = 7
"""A move that fills the nearest rung and not the one behind it."""


def settings(folder: Path, standin: Standin, *, with_keys: bool = True, **changes: Mapping[str, Any]) -> AccountConfig:
    """Make the settings of a small account that trades at ``standin``, checked as a file's are."""
    config, problems = structure(document(folder, standin, with_keys=with_keys, **changes))
    assert config is not None, problems
    return config


def document(folder: Path, standin: Standin, *, with_keys: bool = True, **changes: Mapping[str, Any]) -> dict[str, Any]:
    """Make the parsed file of a small account that trades at ``standin``; ``changes`` go over their sections.

    It decides each second, has two rungs a leg, and goes on soon after the cause of a pause is gone.
    """
    grid: dict[str, Any] = {
        "instrument": BTC,
        "timeframe": "1s",
        "max_position_qty": Decimal("0.5"),
        "ladder": {
            "step_bps": STEP_BPS,
            "levels_long": 2,
            "levels_short": 2,
            "base_qty": Decimal("0.01"),
            "recenter_trigger_bps": 60,
            "max_inventory_quote": 15_000,
        },
        "exit": {"tp_steps": 1, "sl_steps": 12, "max_stop_orders": 4},
        "regime": {"ema_fast": 2, "ema_slow": 4, "adx_len": 2, "atr_len": 2},
        "policy": {"name": "both"},
        "funding": {"on_missing": "ignore"},
        "execution": {"retry_delay_ms": 100},
    }
    made: dict[str, Any] = {
        "account": {"name": "live", "mode": "testnet"},
        "venue": {
            "recv_window_ms": 1_000,
            "rest_url": standin.url,
            "ws_url": standin.ws_url,
            "ws_api_url": f"{standin.ws_url}/ws-fapi/v1",
        },
        "risk": {
            "volatility_halt": {"enabled": False},
            # The price jumps by a whole rung within a second.
            "var": {"confidence": Decimal("0.51"), "horizon_hours": 1, "max_ratio": 1},
            "max_unprotected_ms": 1_000,
        },
        "watchdog": {"resume_after_ms": 200, "max_loop_lag_ms": 5_000},
        "supervisor": {"crash_boots_max": 1_000},
        "journal": {"path": str(folder / "live.db")},
    }
    if with_keys:
        made["venue"]["api_key"] = {"file": str(secret(folder / "key", standin.options.key))}
        made["venue"]["api_secret"] = {"file": str(secret(folder / "secret", standin.options.secret))}
    for name, change in changes.items():
        section = grid if name in grid else made
        section[name] = {**section.get(name, {}), **change}
    return {**made, "grid": [grid]}


def secret(path: Path, text: str) -> Path:
    """Write a secret where only its owner reads it."""
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")
    return path


@attrs.define(eq=False, kw_only=True)
class TradingBot:
    """A bot that lives, and the exchange that it trades at."""

    standin: Standin
    journal: Path
    life: Life
    running: "asyncio.Task[Outcome]"
    watch: Watch
    words: list[str]
    """What it said to the person who started it."""
    since_seq: int
    """The stand-in's log before this life."""

    # --- the exchange ---------------------------------------------------------------------------------------------

    @property
    def account(self) -> dict[str, Any]:
        """The stand-in's own account."""
        return self.standin.exchange.summary()

    @property
    def ours(self) -> dict[str, Any]:
        """The account without what the test says that others hold in it."""
        return self.watch.without_foreign(self.account)

    def held_lots(self, leg: str) -> int:
        """Give what the stand-in holds of a leg."""
        return abs(self.standin.exchange.position(SYMBOL, leg).qty_lots)

    def move(self, bps: int) -> None:
        """Move the market."""
        self.standin.market.move_by_bps(SYMBOL, bps)

    def arm(self, *faults: str) -> None:
        """Arm faults, or perform acts."""
        for fault in faults:
            self.standin.faults.arm(fault)

    def fired(self, fault: str) -> int:
        """Tell how often a fault has acted."""
        return self.standin.faults.fired.get(fault, 0)

    def requests(self, name: str = "") -> list[Entry]:
        """Give the requests of this life, of a name ("POST /fapi/v1/order") if one is given."""
        return [each for each in self.standin.log.of("request", name or None) if each.seq > self.since_seq]

    def sent(self) -> list[Sent]:
        """Give every order that this life has sent, in order."""
        return [order for request in self.requests() for order in orders_in(request)]

    def entries(self) -> list[dict[str, Any]]:
        """Give the entries of ours that rest at the stand-in."""
        return [row for row in self.account["orders"] if self.watch.is_entry(row)]

    # --- waiting --------------------------------------------------------------------------------------------------

    async def until(self, holds: Callable[[], bool], bound_s: float = BOUND_S) -> None:
        """Wait until something holds. AssertionError with the story where it never does, or the bot ended before."""
        until_s = time.monotonic() + bound_s
        while not holds():
            assert time.monotonic() < until_s, f"it never came\n{self.story()}"
            if self.running.done():
                ended = self.running.result()
                raise AssertionError(f"the bot has ended: {ended.extras.ended}, {ended.failure}\n{self.story()}")
            await asyncio.sleep(LOOK_S)

    def story(self) -> str:
        """Tell what happened, as the stand-in and the journal have it: for the person who reads a failure."""
        account = self.account
        log = [each for each in self.standin.log.entries if each.seq > self.since_seq and each.name not in UNTOLD]
        newest = [f"{each.wall_ns / 1e9:.3f} {each.kind} {each.name} {told(each.facts)}" for each in log[-STORY_LINES:]]
        orders = [f"{row['clientOrderId']} {row['side']} {row['price']} {row['origQty']}" for row in account["orders"]]
        stops = [
            f"{row['clientAlgoId']} {row['triggerPrice']} {row['quantity']} {row['closePosition']}"
            for row in account["algoOrders"]
        ]
        legs = [f"{row['positionSide']} {row['positionAmt']}" for row in account["positions"]]
        changes = query(self.journal, "SELECT ts_ns / 1e9, change, reason, scope, after, figures FROM permission")
        incidents = query(self.journal, "SELECT ts_ns / 1e9, text, figures FROM incidents")
        return "\n".join(str(one) for one in (*newest, *changes, *incidents, legs, orders, stops))

    async def ladders(self, entries: int = 4) -> None:
        """Wait until as many entries rest as both ladders have, and the backstops."""
        await self.until(lambda: len(self.entries()) >= entries)

    async def hold(self, leg: str = "LONG") -> None:
        """Wait for the ladders, fill the nearest rung of a leg, and wait until its exits stand."""
        await self.ladders()
        self.move(-OVER_A_RUNG_BPS if leg == "LONG" else OVER_A_RUNG_BPS)
        await self.until(lambda: self.held_lots(leg) == RUNG_LOTS)
        await self.settled()

    async def settled(self) -> None:
        """Wait until all that is held has its stops and its take-profits, and nothing beyond."""
        await self.until(lambda: not unprotected(self.ours) and self.watch.profits_match(self.ours))

    async def decided(self, times: int = 2) -> None:
        """Wait until so many further bars have closed: as many decisions were taken, but for the newest perhaps."""
        log = self.standin.log
        closed = log.count("event", "kline closed")
        await self.until(lambda: log.count("event", "kline closed") >= closed + times)

    async def passed(self, mode: str = "active") -> None:
        """Wait until the permission, as the journal has it, is ``mode``."""
        await self.until(lambda: self.mode() == mode)

    async def resolved(self) -> None:
        """Wait until the journal has no order whose outcome is not known."""
        await self.until(lambda: self.doubtful() == 0)

    # --- the journal ----------------------------------------------------------------------------------------------

    def mode(self) -> str:
        """Give the permission that the journal tells last."""
        rows = query(self.journal, "SELECT after FROM permission ORDER BY row DESC LIMIT 1")
        return str(rows[0][0]) if rows else ""

    def reasons(self) -> list[str]:
        """Give every reason for which trading paused, in order."""
        rows = query(self.journal, "SELECT reason FROM permission WHERE change LIKE 'raised%' ORDER BY row")
        return [str(reason) for (reason,) in rows]

    def doubtful(self) -> int:
        """Count the orders of which nobody knows yet what became of them, or of their cancels."""
        ((count,),) = query(self.journal, DOUBTFUL) or [(0,)]
        return int(count)

    def incidents(self) -> list[str]:
        """Give the words of every incident, in order, with their figures."""
        return [f"{text} {figures}" for text, figures in query(self.journal, "SELECT text, figures FROM incidents")]

    def told_of(self, words: str) -> bool:
        """Tell whether an incident has these words."""
        return any(words in incident for incident in self.incidents())

    def fills(self) -> list[tuple[Any, ...]]:
        """Give the fills: trade id, client id, leg, lots."""
        return query(self.journal, "SELECT trade_id, client_id, leg, qty_lots FROM fills ORDER BY trade_id")

    # --- the end --------------------------------------------------------------------------------------------------

    async def end(self) -> Outcome:
        """Stop it as an operator does, and wait until it has ended."""
        self.life.end("the test is over")
        async with asyncio.timeout(END_S):
            outcome = await asyncio.shield(self.running)
        await self.watch.stop()
        return outcome

    async def end_and_prove(self, *, unlike: Callable[[str], bool] = lambda _: False) -> Outcome:
        """End it well, and prove that nothing went wrong that a fault may not bring about.

        ``unlike`` picks the lines of difference that are due to what others did with the account.
        """
        outcome = await self.end()
        assert (outcome.exit_code, outcome.failure) == (0, ""), self.story()
        account, trades = account_of(self.standin)
        lines = list(differences(read_journal(self.journal), account, trades))
        self._none("both sides agree", [line for line in lines if not unlike(line)])
        self._none("every leg has its stops", unprotected(self.ours))
        report = verify(self.journal)
        assert report.ok, report.text()
        self.prove_conduct()
        return outcome

    def prove_conduct(self) -> None:
        """Prove what holds at every moment, however it ended."""
        names = [order.client_id for order in self.sent()]
        self._none("no order is sent twice", sorted({name for name in names if names.count(name) > 1}))
        self._none("no rung stands twice", self.watch.doubled)
        self._none("no leg is without its stops for long", self.watch.bare(PROTECTED_S))
        self._none("no exits are beyond the position for long", self.watch.beyond(EXCESS_S))
        self._none("no entry is sent while paused", sent_while_paused(self.journal, self.sent()))
        rows = [{"name": each.name} for each in self.requests()]
        self._none("nothing is sent before the exchange was read", sent_before_reading(rows))

    def _none(self, rule: str, broken: Sequence[str]) -> None:
        """Fail with the story where a rule is broken."""
        assert not broken, "\n".join((rule, *broken, self.story()))


@asynccontextmanager
async def living(
    standin: Standin, folder: Path, *, with_keys: bool = True, **changes: Mapping[str, Any]
) -> AsyncIterator[TradingBot]:
    """Let a bot live at a stand-in that runs; a journal that is in ``folder`` already goes on."""
    async with configured(standin, settings(folder, standin, with_keys=with_keys, **changes)) as bot:
        yield bot


@asynccontextmanager
async def configured(standin: Standin, config: AccountConfig, **options: Any) -> AsyncIterator[TradingBot]:
    """Let a bot of these settings live at a stand-in; ``options`` are those of ``RunOptions``."""
    words: list[str] = []
    life = Life()
    newest = standin.log.entries[-1].seq if standin.log.entries else 0
    chosen = RunOptions(listen=("127.0.0.1", 0), **options)
    running = asyncio.create_task(life.run(config, chosen, Console(file=io.StringIO()), words.append), name="the bot")
    watch = Watch(standin)
    try:
        yield TradingBot(
            standin=standin,
            journal=Path(config.journal.path),
            life=life,
            running=running,
            watch=watch,
            words=words,
            since_seq=newest,
        )
    finally:
        if not running.done():
            life.end("the test is over")
            await asyncio.wait({running}, timeout=END_S)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await watch.stop()


@asynccontextmanager
async def trading(
    folder: Path, *, switches: Mapping[str, str] | None = None, with_keys: bool = True, **changes: Mapping[str, Any]
) -> AsyncIterator[TradingBot]:
    """Run a stand-in whose market stands still until it is moved, and a bot that trades at it."""
    async with (
        running_standin(still=True, switches=switches or {}) as standin,
        living(standin, folder, with_keys=with_keys, **changes) as bot,
    ):
        yield bot
