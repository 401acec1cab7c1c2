"""The life of the listen key, which names the private stream of the account.

Invariants: at most one key is alive; asking again gives the same key and prolongs it; a key that has ended never comes
back, so a socket that still listens to it hears nothing, as at the real exchange.
"""

import hashlib
from collections.abc import Callable

VALIDITY_MS = 60 * 60 * 1000


class ListenKeys:
    """Creates, renews and ends keys; ``on_expired`` is told the key that has run out and when (ms)."""

    def __init__(
        self, *, seed: int = 0, validity_ms: int = VALIDITY_MS, on_expired: Callable[[str, int], None] | None = None
    ) -> None:
        self.validity_ms = validity_ms
        self.on_expired = on_expired
        self._seed = seed
        self._made = 0
        self._key: str | None = None
        self._ends_ms = 0

    @property
    def alive(self) -> str | None:
        """The key that is alive as far as time was told, or None."""
        return self._key

    def open(self, now_ms: int) -> str:
        """Give the living key, prolonged, or a new one."""
        self.tick(now_ms)
        if self._key is None:
            self._made += 1
            self._key = hashlib.sha256(f"listen key {self._seed} {self._made} {now_ms}".encode()).hexdigest()
        self._ends_ms = now_ms + self.validity_ms
        return self._key

    def renew(self, now_ms: int) -> str | None:
        """Prolong the living key and give it; None where none is alive."""
        self.tick(now_ms)
        if self._key is not None:
            self._ends_ms = now_ms + self.validity_ms
        return self._key

    def close(self, now_ms: int) -> bool:
        """End the living key at its owner's wish; False where none is alive."""
        self.tick(now_ms)
        had = self._key is not None
        self._key = None
        return had

    def tick(self, now_ms: int) -> None:
        """Let time pass: a key at its end expires."""
        if self._key is not None and now_ms >= self._ends_ms:
            self.expire(now_ms)

    def expire(self, now_ms: int) -> bool:
        """Let the living key run out now; False where none is alive."""
        key, self._key = self._key, None
        if key is not None and self.on_expired is not None:
            self.on_expired(key, now_ms)
        return key is not None
