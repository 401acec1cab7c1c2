"""The durable record of an account: a tape of accepted messages, and tables that follow from it.

The tape is the truth: every other table but ``boots``, ``instruments`` and ``quotes`` is what a replay of the tape
gives (``projections``), written in the same transaction, and ``verify`` proves it. ``journal.SqliteJournal`` is what
actors see.
"""
