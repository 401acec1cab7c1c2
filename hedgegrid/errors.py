"""What can go wrong with the world, in the four kinds that decide what is done about it.

Broken invariants are not here: they raise ``AssertionError`` and the supervisor restarts the actor.
"""


class HedgegridError(Exception):
    """The root of every error that hedgegrid raises on purpose."""


class Transient(HedgegridError):
    """The request was not accepted and may be sent again later (a busy exchange, a lost connection before sending).

    ``until_ns``: where a limit or a ban was the cause and its end is known, when that is (ns since the epoch).
    """

    until_ns: int | None = None


class Rejected(HedgegridError):
    """The exchange answered no: the request has no effect and the same request would be refused again."""


class OutcomeUnknown(HedgegridError):
    """Nobody knows whether the request took effect. It is never sent again; only the exchange's evidence ends it."""


class Fatal(HedgegridError):
    """Going on would be unsafe: bad input, a corrupt journal, a second writer. One line says what to do."""


class Unreachable(Fatal):
    """The exchange was waited for until the time for it was over, or until somebody ended the wait.

    The same start may do well later, so it is no bad input. ``harmless``: somebody ended the wait of an account that
    leaves nothing undone by it.
    """

    harmless: bool = False
