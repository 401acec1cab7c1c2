"""The times and ways in which an exchange answers but does not take what it is asked for.

Invariants: what is refused here never reaches the exchange; what an answer says is what a real adapter would make of
the exchange's words; while a ban or a rate limit stands, whatever is asked is refused with its end.
"""

from collections.abc import Callable
from typing import Final

from hedgegrid.errors import Fatal, HedgegridError, Transient
from hedgegrid.messages.events import EndReason, OrderEvent, OrderEventKind
from hedgegrid.model.order import OrderRequest, Purpose
from hedgegrid.runtime.clock import Clock
from hedgegrid.simulation.life_clock import LifeClock
from hedgegrid.simulation.weather import MADE, Fault, Weather
from hedgegrid.units import NS_PER_S

BanTold = Callable[[int], None]
"""Hears until when nothing may be asked for."""
_REFUSALS: Final = {
    Fault.BUSY: (EndReason.RATE_LIMITED, None),
    Fault.MARGIN_REFUSED: (EndReason.MARGIN, True),
    Fault.REDUCE_REFUSED: (EndReason.REDUCE_REFUSED, False),
    Fault.POST_ONLY_REFUSED: (EndReason.POST_ONLY, True),
    Fault.MODE_REFUSED: (EndReason.MODE, None),
}
"""By fault: what the answer says, and whether it is about entries alone (True), exits alone (False), or any order."""
_SPELLS: Final = {
    Fault.MAINTENANCE: (20, 600),
    Fault.CLOCK_REFUSED: (1, 20),
    Fault.KEY_REFUSED: (5, 120),
}
"""By fault: how many seconds it lasts."""
_WORDS: Final = {
    Fault.MAINTENANCE: "503 Service Unavailable: maintenance",
    Fault.CLOCK_REFUSED: "-1021: outside the receive window",
    Fault.KEY_REFUSED: f"-2015: the key may not do this ({MADE}): see to the key, then start again",
}


class Outages:
    """What one line refuses at the moment."""

    def __init__(self, weather: Weather, clock: Clock, life_clock: LifeClock, *, banned: BanTold) -> None:
        """Nothing is refused yet; ``banned`` hears of every limit whose end was told, by the bot's own clock."""
        self._weather = weather
        self._clock = clock
        self._life_clock = life_clock
        self._banned = banned
        self._until_ns: dict[Fault, int] = {}
        self._limited_until_ns = 0

    def _lasts(self, fault: Fault, what: str, shortest_s: int, longest_s: int) -> bool:
        """Tell whether a spell of ``fault`` is on, drawing whether one begins."""
        now_ns = self._clock.now_ns()
        if now_ns < self._until_ns.get(fault, 0):
            return True
        if not self._weather.strikes_now(fault, now_ns, what):
            return False
        self._until_ns[fault] = now_ns + self._weather.between(fault, shortest_s, longest_s) * NS_PER_S
        return True

    def hinders(self, what: str) -> HedgegridError | None:
        """Give the error that any request meets now, or None."""
        now_ns = self._clock.now_ns()
        if now_ns >= self._limited_until_ns and self._weather.strikes_now(Fault.BANNED, now_ns, what):
            self._limited_until_ns = now_ns + self._weather.between(Fault.BANNED, 10, 180) * NS_PER_S
        if now_ns < self._limited_until_ns:
            self._banned(self._limited_until_ns)
            error = Transient("418: banned")
            error.until_ns = self._limited_until_ns + self._life_clock.offset_ns
            return error
        for fault, (shortest_s, longest_s) in _SPELLS.items():
            if self._lasts(fault, what, shortest_s, longest_s):
                return Fatal(_WORDS[fault]) if fault is Fault.KEY_REFUSED else Transient(_WORDS[fault])
        return None

    @property
    def dark(self) -> bool:
        """Whether the exchange is down: its streams are silent too."""
        return self._clock.now_ns() < self._until_ns.get(Fault.MAINTENANCE, 0)

    @property
    def hinders_all(self) -> bool:
        """Whether nothing at all can be asked for now."""
        now_ns = self._clock.now_ns()
        return now_ns < self._limited_until_ns or any(now_ns < self._until_ns.get(fault, 0) for fault in _SPELLS)

    def refuses(self, request: OrderRequest) -> OrderEvent | None:
        """Give the answer of an exchange that does not take an order, or None."""
        name, adds, weather = request.client_id, request.purpose is Purpose.ENTRY, self._weather
        now_ns = self._clock.now_ns()
        for fault, (reason, entries) in _REFUSALS.items():
            if entries in (None, adds) and weather.strikes_now(fault, now_ns, name):
                return refused(name, reason, fault.value)
        if adds and self._lasts(Fault.REDUCE_ONLY, request.instrument, 30, 900):
            return refused(name, EndReason.REFUSED, "-4403: reductions alone")
        if adds and self._lasts(Fault.RULES_CHANGED, request.instrument, 30, 900):
            return refused(name, EndReason.REFUSED, "-4014: not on the new tick")
        if weather.strikes_now(Fault.THROTTLED, now_ns, name):
            self._limited_until_ns = now_ns + weather.between(Fault.THROTTLED, 1, 30) * NS_PER_S
            self._banned(self._limited_until_ns)
            ends_ns = self._limited_until_ns + self._life_clock.offset_ns
            return refused(name, EndReason.RATE_LIMITED, "429", ends_ns)
        if weather.strikes_now(Fault.BUSY_UNKNOWN, now_ns, name):
            return OrderEvent(kind=OrderEventKind.UNKNOWN, client_id=name, detail="503")
        return None


def refused(client_id: str, reason: EndReason, detail: str, until_ns: int = 0) -> OrderEvent:
    """Give the word that an order was not taken."""
    return OrderEvent(
        kind=OrderEventKind.REJECTED, client_id=client_id, reason=reason, detail=detail, until_ns=until_ns
    )
