"""Faults of what is streamed: events of the account and market data on their way to the hub.

Invariant: without an armed fault everything passes at once, in order and unchanged.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

import attrs

from tools.standin.faults import Faults
from tools.standin.hub import Hub, Note
from tools.standin.listen_keys import ListenKeys
from tools.standin.stream_texts import Shown, force_order, json_text, rate_text

_OUTLIER = 3
_CROSSED_BY = 5


class StreamFaults:
    """Stands between the exchange and the hub. ``key`` tells who hears the account."""

    def __init__(self, *, faults: Faults, hub: Hub, keys: ListenKeys) -> None:
        self.last_event: tuple[str, Note] | None = None
        self._faults = faults
        self._hub = hub
        self._keys = keys
        self._held: list[tuple[str, Note]] = []
        self._frozen: dict[str, tuple[int, int]] = {}

    # --- the account ------------------------------------------------------------------------------------------------

    def event(self, event: Mapping[str, Any]) -> None:
        """Send an event of the account to whoever hears it; a forced order is shown to the market too."""
        facts = _facts_of(event)
        if str(facts.get("c", "")).startswith("autoclose-") and facts.get("x") != "NEW":
            self._show_liquidation(event)
        text, note = json_text(event), Note("", str(event["e"]), facts)
        self.last_event = (text, note)
        if not self._faults.any_armed():
            self._send(text, note)
            return
        if self._faults.fires("event-drop", facts):
            return
        if fault := self._faults.fires("event-delay", facts):
            asyncio.get_running_loop().call_later(fault.number("ms", 500) / 1000, self._send, text, note)
            return
        if self._faults.fires("event-reorder", facts):
            self._held.append((text, note))
            return
        self._send(text, note)
        if self._faults.fires("event-dup", facts):
            self._send(text, note)

    def repeat(self, times: int) -> None:
        """Send the account's last event again and again."""
        if self.last_event is not None:
            for _ in range(times):
                self._send(*self.last_event)

    def expired(self, key: str, now_ms: int) -> None:
        """Tell the hearers of a key that it has run out; it is their last event."""
        text = json_text({"e": "listenKeyExpired", "E": now_ms, "listenKey": key})
        self._hub.publish(key, text, Note(key, "listenKeyExpired"))

    def _show_liquidation(self, event: Mapping[str, Any]) -> None:
        """Stream a liquidation as the whole market sees it."""
        text = force_order(event["o"], event["E"])
        self._hub.publish(f"{event['o']['s'].lower()}@forceOrder", text)
        self._hub.publish("!forceOrder@arr", text)

    def _send(self, text: str, note: Note) -> None:
        key = self._keys.alive
        if key is not None:
            self._hub.publish(key, text, attrs.evolve(note, stream=key))
        held, self._held = self._held, []
        for waiting in held:
            self._send(*waiting)

    # --- the market -------------------------------------------------------------------------------------------------

    def quote(self, symbol: str, bid_ticks: int, ask_ticks: int) -> tuple[int, int] | None:
        """Give the best prices to stream, or None for none."""
        if not self._faults.any_armed():
            self._frozen.clear()
            return bid_ticks, ask_ticks
        facts = {"symbol": symbol}
        if self._faults.fires("book-silent", facts):
            return None
        if self._faults.fires("book-frozen", facts):
            return self._frozen.setdefault(symbol, (bid_ticks, ask_ticks))
        self._frozen.pop(symbol, None)
        for name, lie in (
            ("book-crossed", (ask_ticks + _CROSSED_BY, bid_ticks)),
            ("book-zero", (0, 0)),
            ("book-outlier", (bid_ticks * _OUTLIER, ask_ticks * _OUTLIER)),
        ):
            if self._faults.fires(name, facts):
                return lie
        return bid_ticks, ask_ticks

    def closed_bar(self, symbol: str, stream: str, text: str, note: Note) -> None:
        """Send a closed bar."""
        if self._faults.any_armed():
            facts = {"symbol": symbol}
            if self._faults.fires("kline-drop", facts):
                return
            if fault := self._faults.fires("kline-late", facts):
                delay_s = fault.number("ms", 1_000) / 1000
                asyncio.get_running_loop().call_later(delay_s, self._hub.publish, stream, text, note)
                return
        self._hub.publish(stream, text, note)

    def depth_passes(self, symbol: str) -> bool:
        """Tell whether a change of the book is sent."""
        return not (self._faults.any_armed() and self._faults.fires("depth-gap", {"symbol": symbol}))

    def shown(self, symbol: str, shown: Shown, rate_e8: int) -> Shown | None:
        """Give the mark price to stream, or None for none."""
        if not self._faults.any_armed():
            return shown
        facts = {"symbol": symbol}
        if self._faults.fires("mark-silent", facts):
            return None
        if self._faults.fires("funding-missing", facts):
            return attrs.evolve(shown, rate="", next_ms=0)
        if self._faults.fires("funding-flipped", facts):
            return attrs.evolve(shown, rate=rate_text(-rate_e8))
        return shown


def _facts_of(event: Mapping[str, Any]) -> dict[str, object]:
    """Give what tells an event from others: its name, and of an order its symbol, ids, execution and state."""
    order = event.get("o") or event.get("ao") or {}
    facts: dict[str, object] = {"e": event["e"]}
    for short in ("s", "c", "i", "x", "X", "S", "ps", "t", "caid", "aid", "l", "L"):
        if short in order:
            facts[short] = order[short]
    if "a" in event and isinstance(event["a"], Mapping):
        facts["m"] = event["a"].get("m", "")
    return facts
