"""The journal's file, read by a connection of our own: its tape is followed row by row, its tables are asked.

Invariants: nothing is ever written; each row of the tape is decoded once, over all lives, as long as the chain shows
that the next life's file holds what was read of the last one's; what is committed is all that counts.
"""

import sqlite3
from collections import Counter, deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

import attrs
import msgspec

from hedgegrid.model.order import Kind, Leg, Purpose
from hedgegrid.simulation.rare import OrderLives, Rare, of_reason
from hedgegrid.units import NS_PER_S, PPM

AUTOMATIC: Final = frozenset({"circuit_breaker"})
"""Kept over a crash with the latches, but lifted by time."""
RATE_WINDOW_NS: Final = 60 * NS_PER_S
_OPEN: Final = "('intent', 'sent', 'working', 'partial', 'cancelling', 'unknown')"


Standing = tuple[str, str]
"""A reason that stands, and its scope: an instrument, or "" for the account."""


def holding(standing: Iterable[Standing], instrument: str) -> frozenset[str]:
    """Give the reasons that hold an instrument: its own, and the account's."""
    return frozenset(reason for reason, scope in standing if scope in ("", instrument))


@attrs.frozen(kw_only=True)
class Approval:
    """What the gate approved: the order's own figures, and until when by the bot's clock."""

    order: tuple[int, int, int, int, int, bool]
    expires_ns: int


class JournalTail:
    """One life's journal, as far as it has been committed."""

    def __init__(self, path: Path) -> None:
        """Open the journal for reading."""
        self._db = _opened(path)
        self._row = 0
        self._chain: bytes | None = None
        """The hash at ``_row`` while no file is open."""
        self.fresh_ns = 0
        """When anything was last committed, as far as it was looked for."""
        self._windows: deque[tuple[int, int]] = deque()
        self._before_stop = ""
        self.mode = ""
        """The permission that stands by the newest word; "" before the first."""
        self.reasons: dict[Standing, int] = {}
        """Reasons that stand, and since when."""
        self.latched: frozenset[Standing] = frozenset()
        """The latched reasons that stand by the newest word."""
        self.resumes = 0
        """Words that lift latches."""
        self.adopted: list[tuple[str, Leg, int, int]] = []
        """What others held and the settings made the bot's: instrument, leg, lot and quantity."""
        self.flats: list[list[int]] = []
        """Every word that legs are flat: which."""
        self.approvals: dict[str, Approval] = {}
        self.crowded: list[tuple[int, int]] = []
        """When a batch with entries was approved, and how many orders that minute then had."""
        self.is_liquidated = False
        """Whether a forced close was booked, and no person has spoken since."""
        self.rare: Counter[Rare] = Counter()
        """The rare states that the tape tells of, over all lives."""
        self._lives = OrderLives(self.rare)
        self._starts = 0
        self._flatten_of = 0

    def close(self) -> None:
        """Let go of the file; what it told is kept."""
        self._chain = self._chain_at_row()
        self._db.close()

    def goes_on_in(self, path: Path) -> bool:
        """Open the file of the next life; False where it does not hold all that was read: then begin anew there."""
        self._db = _opened(path)
        if self._chain_at_row() == self._chain:
            return True
        self._db.close()
        return False

    def _chain_at_row(self) -> bytes | None:
        row = self._db.execute("SELECT chain FROM tape WHERE row = ?", (self._row,)).fetchone()
        return None if row is None else bytes(row[0])

    def follow(self, now_ns: int) -> None:
        """Take in what has been committed since; it is ``now_ns``."""
        takes = _TAKES
        for row, kind, payload in self._db.execute(_NEWER, (self._row,)):
            self._row, self.fresh_ns = row, now_ns
            if payload is not None:
                takes[kind](self, _DECODE(payload))

    # --- messages by their names, as the tape has them --------------------------------------------------------------

    def _on_PermissionChanged(self, told: dict[str, Any]) -> None:  # noqa: N802
        if told["change"] == "halted" and "stopping" in str(told["figures"]):
            self._before_stop = self.mode_text()
        self.mode = told["after"]
        key = (told["reason"], told["scope"])
        if told["reason"] and told["change"] in ("raised", "still_latched"):
            self.reasons.setdefault(key, told["ts_recv_ns"])
            rare = of_reason(told["reason"]) if told["change"] == "raised" else None
            if rare is not None:
                self.rare[rare] += 1
        elif told["change"] == "cleared":
            self.reasons.pop(key, None)
        elif told["change"] == "started":
            self.reasons.clear()
            self._before_stop = ""
            self._starts += 1
        if told["change"] == "flatten_started":
            self._flatten_of = self._flatten_of or self._starts

    def _on_Latched(self, told: dict[str, Any]) -> None:  # noqa: N802
        entries = [(str(entry[0]), str(entry[1])) for entry in told["entries"]]
        self.latched = frozenset(one for one in entries if one[0] not in AUTOMATIC)

    def _on_Resume(self, _: dict[str, Any]) -> None:  # noqa: N802
        self.rare[Rare.LATCH_LIFTED] += bool(self.latched)
        self.resumes += 1
        self.is_liquidated = False

    def _on_FlatConfirmed(self, told: dict[str, Any]) -> None:  # noqa: N802
        self.flats.append(told["legs"])
        self.rare[Rare.FLATTEN_FINISHED] += 0 < self._flatten_of < self._starts
        self._flatten_of = 0

    def _on_ApprovedBatch(self, told: dict[str, Any]) -> None:  # noqa: N802
        ts_ns, window = told["ts_recv_ns"], self._windows
        for one in told["approved"]:
            order = one["request"]
            self.approvals[order["client_id"]] = Approval(order=_figures(order), expires_ns=one["expires_ns"])
        if told["approved"]:
            window.append((ts_ns, len(told["approved"])))
        while window and window[0][0] <= ts_ns - RATE_WINDOW_NS:
            window.popleft()
        if any(one["request"]["purpose"] == Purpose.ENTRY for one in told["approved"]):
            self.crowded.append((ts_ns, sum(count for _, count in window)))

    def _on_ExecutionBatch(self, told: dict[str, Any]) -> None:  # noqa: N802
        # What a reading found has no mark beside it.
        read = told["mark_ticks"] == 0
        for event in told["events"]:
            self._lives.event(event, read=read)
            fill = event["fill"]
            if fill is not None and fill["purpose"] == Purpose.LIQUIDATION:
                self.rare[Rare.FORCED_CLOSE] += 1
            if fill is not None and fill["client_id"].startswith("autoclose-"):
                self.rare[Rare.LIQUIDATED] += 1
                self.is_liquidated = True

    def _on_ForeignSeen(self, told: dict[str, Any]) -> None:  # noqa: N802
        self.rare[Rare.OTHERS_SEEN] += bool(told["positions"] or told["orders"])
        for one in told["adopted"]:
            lot = one["lot"]
            self.adopted.append((told["instrument"], Leg(lot["leg"]), lot["lot_id"], lot["qty_lots"]))

    def _on_ActorRestarted(self, _: dict[str, Any]) -> None:  # noqa: N802
        self.rare[Rare.ACTOR_RESTARTED] += 1

    def _on_Hydrated(self, told: dict[str, Any]) -> None:  # noqa: N802
        self.rare[Rare.ADOPTED_AT_START] += self._starts > 1 and bool(told["orders"])

    # --- tables -----------------------------------------------------------------------------------------------------

    def state(self, client_id: str) -> str:
        """Give an order's state on disk; "" for one that is not there."""
        row = self._db.execute("SELECT state FROM orders WHERE client_id = ?", (client_id,)).fetchone()
        return "" if row is None else str(row[0])

    def held_lots(self, instrument: str, leg: int) -> int:
        """Give what a leg holds by the journal."""
        row = self._db.execute(
            "SELECT qty_lots FROM legs WHERE instrument = ? AND leg = ?", (instrument, leg)
        ).fetchone()
        return 0 if row is None else int(row[0])

    def reducing(self, instrument: str, leg: int, *, at_market: bool) -> list[tuple[str, int]]:
        """Give the open orders that reduce a leg at the market, or at a limit, and what each could still close."""
        which = f"kind = {Kind.MARKET:d}" if at_market else f"kind = {Kind.LIMIT:d}"
        rows = self._db.execute(
            "SELECT client_id, qty_lots - filled_lots FROM orders WHERE instrument = ? AND leg = ?"  # noqa: S608
            f" AND purpose != {Purpose.ENTRY:d} AND {which} AND state IN {_OPEN}",
            (instrument, leg),
        )
        return [(str(name), int(lots)) for name, lots in rows]

    def fill_sums(self, is_shared: Callable[[str, Leg], bool]) -> dict[tuple[str, int], int]:
        """Give what was adopted and the fills of each leg add up to.

        What a fill closes beyond that is others', where there are any.
        """
        rows = self._db.execute("SELECT instrument, leg, purpose, qty_lots FROM fills ORDER BY n")
        sums: dict[tuple[str, int], int] = {}
        for name, leg, _, lots in self.adopted:
            sums[name, leg] = sums.get((name, leg), 0) + lots
        for name, leg, purpose, lots in rows:
            after = sums.get((name, leg), 0) + (lots if purpose == Purpose.ENTRY else -lots)
            sums[name, leg] = max(0, after) if after < 0 and is_shared(name, Leg(leg)) else after
        return sums

    def legs(self) -> dict[tuple[str, int], int]:
        """Give what each leg holds."""
        rows = self._db.execute("SELECT instrument, leg, qty_lots FROM legs")
        return {(name, leg): lots for name, leg, lots in rows}

    def fills(self) -> set[tuple[str, int, int, int, int]]:
        """Give every fill: instrument, trade, leg, price and quantity."""
        return set(self._db.execute("SELECT instrument, trade_id, leg, price_ticks, qty_lots FROM fills"))

    def live_orders(self) -> list[tuple[str, int]]:
        """Give the orders that live by the journal, and when their cancel was sent, 0 for none."""
        rows = self._db.execute(
            "SELECT client_id, cancel_ns FROM orders WHERE state IN ('sent', 'working', 'partial', 'unknown')"
        )
        return rows.fetchall()

    def wallet_e8(self) -> int | None:
        """Give the wallet by the journal: what it began with, and what the legs have made of it."""
        (began_e8,) = self._db.execute("SELECT wallet_e8 FROM account").fetchone()
        (made_e8,) = self._db.execute("SELECT sum(realised_e8 - fees_e8 - funding_e8) FROM legs").fetchone()
        return None if began_e8 is None else int(began_e8) + int(made_e8 or 0)

    def drawdown_ppm(self) -> int:
        """Give the deepest fall of the sampled equity from its peak, in ppm of the peak."""
        peak_e8 = deepest_ppm = 0
        for (equity_e8,) in self._db.execute("SELECT equity_e8 FROM equity ORDER BY row"):
            peak_e8 = max(peak_e8, equity_e8)
            if peak_e8 > 0:
                deepest_ppm = max(deepest_ppm, (peak_e8 - equity_e8) * PPM // peak_e8)
        return deepest_ppm

    def incidents(self) -> int:
        """Count what a person was told."""
        return int(self._db.execute("SELECT count(*) FROM tape WHERE kind = 'Incident'").fetchone()[0])

    def mode_text(self) -> str:
        """Give the permission with the reasons that stand, those before a stop that was asked for."""
        if self._before_stop:
            return self._before_stop
        names = sorted({reason for reason, _ in self.reasons})
        return self.mode if not names or self.mode == "active" else f"{self.mode} ({', '.join(names)})"


_TAKES: Final = {name.removeprefix("_on_"): take for name, take in vars(JournalTail).items() if name.startswith("_on_")}
_NEWER: Final = (
    f"SELECT row, kind, CASE WHEN kind IN ({', '.join(repr(kind) for kind in sorted(_TAKES))}) THEN payload END"  # noqa: S608 - names of ours
    " FROM tape WHERE row > ? ORDER BY row"
)
"""Of messages that tell the judge nothing the payload is left where it is."""
_DECODE: Final = msgspec.json.Decoder().decode


def _opened(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{path}?mode=ro", uri=True)


def _figures(order: dict[str, Any]) -> tuple[int, int, int, int, int, bool]:
    return (
        order["leg"],
        order["purpose"],
        order["kind"],
        order["price_ticks"],
        order["qty_lots"],
        order["close_all"],
    )
