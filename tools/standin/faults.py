"""Which faults are armed, how often they still act, and how often they have.

Invariants: whether a fault acts is a function of the seed, its own count or rate, and what it has met, so a run can be
repeated; every time it acts is counted and logged.

A fault is written NAME, NAME:COUNT, NAME:RATE (with a point: 0.05), or NAME:always, and then :key=value as often as
wanted. ``on`` says which requests it meets: write (the default: orders placed, changed, cancelled), place, cancel,
read, any, or a part of "POST /fapi/v1/order"; ``skip=N`` lets the first N go; ``after=S`` waits S seconds before an
act. Any other key that a request or an event has must be equal: ``positionSide=LONG``, ``x=TRADE``.
"""

import random
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import attrs

from tools.standin.fault_kinds import KINDS, Moment
from tools.standin.request_log import RequestLog

_OWN_KEYS: Final = frozenset({"on", "skip", "after", "ms", "n", "rows", "code", "path", "lots", "rate"})
_LASTING_MS: Final = {"maintenance": 10_000}
_USUAL_LASTING_MS: Final = 5_000


class FaultTextError(ValueError):
    """A fault that is written wrongly; the text says what is."""


@attrs.define(kw_only=True)
class Fault:
    """An armed fault. ``left`` None: without end; ``rate`` None: each time; ``until_s`` on the monotonic clock."""

    name: str
    params: dict[str, str]
    left: int | None
    rate: float | None
    skip: int
    until_s: float | None
    dice: random.Random
    fired: int = 0

    def number(self, key: str, usual: int) -> int:
        """Give a whole number of the fault's own; FaultTextError where it is none."""
        text = self.params.get(key)
        if text is None:
            return usual
        try:
            return int(text)
        except ValueError:
            raise FaultTextError(f"{self.name}: {key}={text} is no whole number") from None

    def over(self, now_s: float) -> bool:
        """Tell whether it will never act again."""
        return self.left == 0 or (self.until_s is not None and now_s >= self.until_s)

    def acts(self) -> bool:
        """Decide whether it acts on something that it has met."""
        if self.skip:
            self.skip -= 1
            return False
        if self.rate is not None and self.dice.random() >= self.rate:
            return False
        if self.left is not None:
            self.left -= 1
        self.fired += 1
        return True


class Faults:
    """The armed faults. An act is handed to ``perform`` when it is armed."""

    def __init__(self, *, seed: int = 0, log: RequestLog, now_s: Callable[[], float] = time.monotonic) -> None:
        self.perform: Callable[[Fault], None] | None = None
        self.fired: dict[str, int] = {}
        self._seed = seed
        self._log = log
        self._now_s = now_s
        self._armed: list[Fault] = []
        self._armings = 0

    def arm(self, text: str) -> Fault:
        """Arm a fault that is written as the module says; an act happens now. FaultTextError for a wrong text."""
        fault = self._read(text)
        self._log.note("fault", "armed", fault=text)
        if KINDS[fault.name].moment is Moment.ACT:
            if self.perform is None:
                raise FaultTextError(f"{fault.name}: nothing here can act")
            self.perform(fault)
        else:
            self._armed.append(fault)
        return fault

    def disarm(self, name: str | None = None) -> int:
        """Take the faults of a name away, or all; give how many there were."""
        before = len(self._armed)
        self._armed = [each for each in self._armed if name not in {None, each.name}]
        return before - len(self._armed)

    def armed(self) -> list[dict[str, Any]]:
        """List what is armed, for people."""
        self._sweep()
        return [
            {"name": each.name, "params": each.params, "left": each.left, "rate": each.rate, "fired": each.fired}
            for each in self._armed
        ]

    def any_armed(self) -> bool:
        """Tell whether anything at all may act."""
        return bool(self._armed)

    def fires(self, name: str, facts: Mapping[str, Any], call: str = "") -> Fault | None:
        """Give the armed fault of this name if it acts on a request (named by ``call``) or an event, else None."""
        self._sweep()
        for fault in self._armed:
            if fault.name == name and _meets(fault, facts, call) and fault.acts():
                self.told(fault, call=call)
                return fault
        return None

    def told(self, fault: Fault, **facts: object) -> None:
        """Count and log that a fault acted."""
        self.fired[fault.name] = self.fired.get(fault.name, 0) + 1
        self._log.note("fault", fault.name, params=dict(fault.params), **facts)

    def failed(self, fault: Fault, why: str) -> None:
        """Log that a fault could not act."""
        self._log.note("fault", f"{fault.name} failed", why=why)

    def _sweep(self) -> None:
        if self._armed:
            now_s = self._now_s()
            self._armed = [each for each in self._armed if not each.over(now_s)]

    def _read(self, text: str) -> Fault:
        """Read a fault's text."""
        name, *parts = text.split(":")
        kind = KINDS.get(name)
        if kind is None:
            raise FaultTextError(f"no fault is called {name!r}; --list-faults names them")
        often = [part for part in parts if "=" not in part]
        params = dict(part.split("=", 1) for part in parts if "=" in part)
        if len(often) > 1:
            raise FaultTextError(f"{text}: give one count or one rate")
        left, rate = _often(text, often[0] if often else "always" if kind.lasting else "1")
        self._armings += 1
        fault = Fault(
            name=name,
            params=params,
            left=left,
            rate=rate,
            skip=0,
            until_s=None,
            dice=random.Random(f"{self._seed} {name} {self._armings}"),  # noqa: S311 - faults have to be repeatable
        )
        fault.skip = fault.number("skip", 0)
        if kind.lasting:
            usual_ms = _LASTING_MS.get(name, _USUAL_LASTING_MS)
            fault.until_s = self._now_s() + fault.number("ms", usual_ms) / 1000
        return fault


def _often(text: str, word: str) -> tuple[int | None, float | None]:
    """Read a count, a rate or "always"."""
    if word == "always":
        return None, None
    try:
        rate = float(word)
    except ValueError:
        raise FaultTextError(f"{text}: {word!r} is neither a count nor a rate") from None
    if "." not in word and word.isdigit():
        return int(word), None
    if not 0 <= rate <= 1:
        raise FaultTextError(f"{text}: a rate lies between 0.0 and 1.0")
    return None, rate


def is_reduction(params: Mapping[str, str]) -> bool:
    """Tell whether an order's parameters shrink a leg."""
    if params.get("closePosition", "").lower() == "true" or params.get("reduceOnly", "").lower() == "true":
        return True
    return (params.get("positionSide"), params.get("side")) in {("LONG", "SELL"), ("SHORT", "BUY")}


def _groups_of(call: str) -> Iterable[str]:
    """Give the groups of requests that a call belongs to."""
    method, _, path = call.partition(" ")
    yield "any"
    about_orders = any(part in path.lower() for part in ("order", "countdown"))
    if method == "GET":
        yield "read"
    elif about_orders:
        yield "write"
        yield "cancel" if method == "DELETE" or "countdown" in path.lower() else "place"


def _meets(fault: Fault, facts: Mapping[str, Any], call: str) -> bool:
    """Tell whether a fault is about this request or event."""
    if call:
        usual = "read" if fault.name in {"stale-read", "empty-read"} else "write"
        usual = {"429": "any", "418": "any", "2015": "any", "1021": "any", "maintenance": "any"}.get(fault.name, usual)
        wanted = fault.params.get("on", usual)
        if wanted not in set(_groups_of(call)) and wanted not in call:
            return False
    return all(str(facts.get(key)) == value for key, value in fault.params.items() if key not in _OWN_KEYS)
