"""When a control last stopped something, as the journal remembers it over restarts."""

from collections.abc import Mapping

import attrs


@attrs.frozen(kw_only=True)
class LastTrip:
    """The newest trip of a control: by the gate's name, or the reason of a pause; ``scope`` "" is the account.

    ``times``: how often it has tripped since the journal began; time in ns.
    """

    control: str
    scope: str
    ts_ns: int
    times: int
    figures: Mapping[str, str]
