"""The vocabulary of the actors: events (past tense) and commands (imperative).

Every message is frozen, keyword-only, and carries ``seq`` (its number in the run), ``cause_seq`` (the message that
led to it, 0 = none), ``ts_venue_ns`` (the exchange's time) and ``ts_recv_ns`` (when it reached us, by the injected
clock). Values that travel inside a message (an intent, a fill, a refusal) are frozen too and carry no numbers of
their own.
"""
