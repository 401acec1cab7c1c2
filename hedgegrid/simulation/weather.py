"""What goes wrong, how often, and when: every fault of a run, drawn from its seed.

Invariants: each kind draws from a stream of its own, so that leaving one strike out moves no other; a strike has a
name (kind and number) by which it can be left out; nothing strikes after ``calm_ns``.
"""

import random
from collections.abc import Collection
from enum import StrEnum
from typing import Final

import attrs

PPM: Final = 1_000_000
MADE: Final = "a fault of the simulation"
"""What the words of an error say that was made here, where a life may end by it."""


class Fault(StrEnum):
    """Everything that can go wrong here."""

    REQUEST_LOST = "request_lost"
    """It never arrives, and nobody says so."""
    ANSWER_LOST = "answer_lost"
    """It took effect, and nobody says so."""
    ARRIVES_LATE = "arrives_late"
    """It takes effect after the bot has given up waiting, while it is still valid."""
    BUSY = "busy"
    """503 and -1008: not taken, and said so."""
    BUSY_UNKNOWN = "busy_unknown"
    """503 of unknown outcome and -1007: not taken, but nobody says so."""
    THROTTLED = "throttled"
    """429: not taken, with the time from which on it may be tried again."""
    MARGIN_REFUSED = "margin_refused"
    """-2019: not taken for want of margin."""
    READ_FAILS = "read_fails"
    """A read of the account fails."""
    READ_STALE = "read_stale"
    """A read shows the account as it was a while ago."""
    READ_SLOW = "read_slow"
    """A read takes seconds."""
    EVENT_LOST = "event_lost"
    """A private event never comes; the account's next comparison finds a gap."""
    EVENT_LATE = "event_late"
    """A private event comes after younger ones."""
    EVENT_TWICE = "event_twice"
    """A private event comes again."""
    STREAM_BREAKS = "stream_breaks"
    """The private stream is silent for a while; then a gap is told."""
    MARKET_SILENT = "market_silent"
    """The market's stream is silent for a while."""
    MARKET_OUTLIER = "market_outlier"
    """A quote far from the market, for one moment."""
    HISTORY_FAILS = "history_fails"
    """A read of past bars fails."""
    ACTOR_FAILS = "actor_fails"
    """An actor fails with a message in hand."""
    OPERATOR = "operator"
    """Somebody flattens, pauses or resumes."""
    CRASH = "crash"
    """The process dies; exchange and disk live on."""
    TORN_WRITE = "torn_write"
    """What was being written to the journal when the process died is there in part."""
    ANSWER_TORN = "answer_torn"
    """It took effect, and what came back breaks off in the middle."""
    BANNED = "banned"
    """418: nothing is taken until a time that is told."""
    MAINTENANCE = "maintenance"
    """The exchange is down for minutes, its streams too."""
    KEY_REFUSED = "key_refused"
    """-2015: the key may do nothing any more, for a while."""
    CLOCK_REFUSED = "clock_refused"
    """-1021: the exchange finds the requests' time wrong, for a while."""
    REDUCE_REFUSED = "reduce_refused"
    """-2022: an exit is not taken."""
    MODE_REFUSED = "mode_refused"
    """-4061: an order is not of the account's position mode."""
    POST_ONLY_REFUSED = "post_only_refused"
    """-5022: an entry would have taken."""
    REDUCE_ONLY = "reduce_only"
    """The instrument takes nothing but reductions for a while."""
    RULES_CHANGED = "rules_changed"
    """The instrument's filters have changed: no entry fits them, until the bot's rules are the exchange's again."""
    BATCH_IN_PART = "batch_in_part"
    """Of a batch the first part is taken, the rest refused."""
    STREAM_HALF_OPEN = "stream_half_open"
    """The private stream is silent, and nobody knows before its ping finds no answer."""
    LISTEN_KEY_EXPIRED = "listen_key_expired"
    """The private stream ends by the exchange's word, and begins anew a little later."""
    BAR_LOST = "bar_lost"
    """A closed bar never comes: a hole in the sequence."""
    BOOK_FROZEN = "book_frozen"
    """Best bid and ask stand still while the market moves."""
    BOOK_CROSSED = "book_crossed"
    """A quote that is crossed or zero: it is dropped, the one before stands."""
    RATE_MISSING = "rate_missing"
    """The funding rate is absent for a while."""
    RATE_FLIPPED = "rate_flipped"
    """The funding rate is told with the other sign for a while."""
    FUNDING_LATE = "funding_late"
    """A settlement is told minutes after it was charged."""
    FLOOD = "flood"
    """More words at once than a mailbox holds."""
    DISK_FULL = "disk_full"
    """The journal's disk has no room for another page."""
    DISK_FAILS = "disk_fails"
    """The journal's disk cannot bring a transaction to rest."""
    DISK_BUSY = "disk_busy"
    """Another program holds the journal's file for longer than is waited for."""
    CRASH_AT_WRITE = "crash_at_write"
    """The process dies before or after a commit that nobody is told of; what was written may be torn."""
    CRASH_AT_SEND = "crash_at_send"
    """The process dies as an order leaves: before it, or behind it."""
    CRASH_AT_ANSWER = "crash_at_answer"
    """The process dies with the answer to an order in hand."""
    ACTOR_HANGS = "actor_hangs"
    """An actor comes back from no message any more."""
    CANCEL_SWALLOWED = "cancel_swallowed"
    """An actor that hangs ignores its cancellation too."""
    RESTART_STORM = "restart_storm"
    """An actor fails, and fails again each time that it is restarted."""
    LOOP_BLOCKED = "loop_blocked"
    """Something holds the event loop for seconds."""
    SUSPENDED = "suspended"
    """The machine sleeps; its own clock knows nothing of it afterwards."""
    CLOCK_JUMPS = "clock_jumps"
    """The machine's clock is set forward or back while the bot is down, and is wrong from then on."""
    SECOND_INSTANCE = "second_instance"
    """Somebody starts the bot a second time."""
    STOPPED = "stopped"
    """A person stops the bot, whatever it is doing, and starts it again."""
    PARTIAL_FILL = "partial_fill"
    """An order fills in part; half of them end by that."""
    STOP_FAILS = "stop_fails"
    """A stop ends without having closed anything."""
    DELEVERAGED = "deleveraged"
    """The exchange closes a part of one leg by itself."""
    LIQUIDATED = "liquidated"
    """The exchange ends all orders of an instrument and closes its legs."""
    ORDER_BY_HAND = "order_by_hand"
    """Somebody else's order rests in the account."""
    TRADE_BY_HAND = "trade_by_hand"
    """Somebody else trades in the account."""
    COUNTDOWN_LATE = "countdown_late"
    """The dead-man's switch fires later than it was set to."""


RATE_PPM: Final = {
    Fault.REQUEST_LOST: 8_000,
    Fault.ANSWER_LOST: 8_000,
    Fault.ARRIVES_LATE: 6_000,
    Fault.BUSY: 10_000,
    Fault.BUSY_UNKNOWN: 6_000,
    Fault.THROTTLED: 2_000,
    Fault.MARGIN_REFUSED: 4_000,
    Fault.READ_FAILS: 20_000,
    Fault.READ_STALE: 20_000,
    Fault.READ_SLOW: 20_000,
    Fault.EVENT_LOST: 6_000,
    Fault.EVENT_LATE: 30_000,
    Fault.EVENT_TWICE: 20_000,
    Fault.STREAM_BREAKS: 2_000,
    Fault.MARKET_SILENT: 1_000,
    Fault.MARKET_OUTLIER: 1_000,
    Fault.HISTORY_FAILS: 200_000,
    Fault.ACTOR_FAILS: 8_000,
    Fault.OPERATOR: 10_000,
    Fault.CRASH: 600,
    Fault.TORN_WRITE: 500_000,
    Fault.ANSWER_TORN: 6_000,
    Fault.BANNED: 400,
    Fault.MAINTENANCE: 300,
    Fault.KEY_REFUSED: 100,
    Fault.CLOCK_REFUSED: 600,
    Fault.REDUCE_REFUSED: 6_000,
    Fault.MODE_REFUSED: 1_000,
    Fault.POST_ONLY_REFUSED: 10_000,
    Fault.REDUCE_ONLY: 4_000,
    Fault.RULES_CHANGED: 3_000,
    Fault.BATCH_IN_PART: 8_000,
    Fault.STREAM_HALF_OPEN: 1_000,
    Fault.LISTEN_KEY_EXPIRED: 1_000,
    Fault.BAR_LOST: 5_000,
    Fault.BOOK_FROZEN: 1_000,
    Fault.BOOK_CROSSED: 3_000,
    Fault.RATE_MISSING: 1_000,
    Fault.RATE_FLIPPED: 1_000,
    Fault.FUNDING_LATE: 300_000,
    Fault.FLOOD: 300,
    Fault.DISK_FULL: 400,
    Fault.DISK_FAILS: 500,
    Fault.DISK_BUSY: 500,
    Fault.CRASH_AT_WRITE: 500,
    Fault.CRASH_AT_SEND: 4_000,
    Fault.CRASH_AT_ANSWER: 3_000,
    Fault.ACTOR_HANGS: 1_500,
    Fault.CANCEL_SWALLOWED: 500,
    Fault.RESTART_STORM: 1_000,
    Fault.LOOP_BLOCKED: 2_000,
    Fault.SUSPENDED: 1_000,
    Fault.CLOCK_JUMPS: 300_000,
    Fault.SECOND_INSTANCE: 1_500,
    Fault.STOPPED: 1_000,
    Fault.PARTIAL_FILL: 10_000,
    Fault.STOP_FAILS: 3_000,
    Fault.DELEVERAGED: 1_500,
    Fault.LIQUIDATED: 1_000,
    Fault.ORDER_BY_HAND: 3_000,
    Fault.TRADE_BY_HAND: 3_000,
    Fault.COUNTDOWN_LATE: 100_000,
}
"""How often each strikes where it is on, of the occasions that it has."""


@attrs.frozen(kw_only=True)
class Strike:
    """One fault that struck: the ``number``-th of its kind, at ``ts_ns``, on ``what``."""

    fault: Fault
    number: int
    ts_ns: int
    what: str

    @property
    def name(self) -> str:
        """The name under which it can be left out."""
        return f"{self.fault.value}:{self.number}"


class Weather:
    """The faults of one run."""

    def __init__(
        self,
        seed: int,
        *,
        calm_ns: int,
        without: Collection[str] = (),
        only: Collection[Fault] | None = None,
        force_ppm: int = PPM,
    ) -> None:
        """Choose which kinds are on (a random half; ``only``: exactly these); ``without`` names strikes to leave out.

        ``force_ppm`` scales every rate; nothing strikes from ``calm_ns`` on.
        """
        chosen = random.Random(f"{seed} weather")  # noqa: S311 - repeatable is the point
        on = [kind for kind in Fault if chosen.random() < 0.5]  # noqa: PLR2004 - a half of them
        self.on = frozenset(on if only is None else only)
        self.strikes: list[Strike] = []
        self._calm_ns = calm_ns
        self._without = frozenset(without)
        self._counts: dict[Fault, int] = dict.fromkeys(Fault, 0)
        self._chances = {kind: random.Random(f"{seed} {kind.value}") for kind in Fault}  # noqa: S311
        self._draws = {
            kind: (self._chances[kind].random, RATE_PPM[kind] * force_ppm / PPM**2) for kind in sorted(self.on)
        }
        """By kind that is on: its next chance, and the chance below which it strikes."""

    def strikes_now(self, fault: Fault, ts_ns: int, what: str) -> bool:
        """Draw whether a fault strikes on this occasion, and note it."""
        draw = self._draws.get(fault)
        if draw is None or ts_ns >= self._calm_ns:
            return False
        chance, limit = draw
        if chance() >= limit:
            return False
        strike = Strike(fault=fault, number=self._counts[fault], ts_ns=ts_ns, what=what)
        self._counts[fault] += 1
        if strike.name in self._without:
            return False
        self.strikes.append(strike)
        return True

    def is_calm(self, ts_ns: int) -> bool:
        """Tell whether nothing strikes any more."""
        return ts_ns >= self._calm_ns

    def between(self, fault: Fault, low: int, high: int) -> int:
        """Draw a whole number, from the stream of the fault that it belongs to."""
        return self._chances[fault].randint(low, high)
