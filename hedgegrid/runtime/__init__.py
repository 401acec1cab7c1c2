"""Actors, mailboxes, supervision and time on asyncio; it knows nothing of what the messages mean.

Invariants: nothing here imports another part of the package; every queue, wait and restart is bounded;
a message is taken, conflated, refused or a dead letter, and each of the four is counted.
"""
