"""What the risk actor is told at its start, and what it counts that outlives it."""

import attrs

from hedgegrid.actors.permits import Permits
from hedgegrid.actors.risk_gate import OrderPace
from hedgegrid.actors.risk_session import SessionSettings
from hedgegrid.core.breaker import Breaker
from hedgegrid.core.codes import NEVER_NS
from hedgegrid.core.gate_records import RiskLimits


@attrs.frozen(kw_only=True)
class RiskSettings:
    """What the risk actor is told at its start; ``limits_version`` names the limits in every approval."""

    limits: RiskLimits
    limits_version: str
    session: SessionSettings
    resume_after_ns: int
    start_halted: bool
    wallet_is_polled: bool = False
    """Whether the age of the wallet's figures counts from its reads, and not from quotes (a simulated exchange)."""
    stop_overlap_ns: int = NEVER_NS
    """For how long a stop that is being replaced does not count in the proof."""


@attrs.define(eq=False, kw_only=True)
class Counted:
    """What the house keeps for the risk actor, so that its restart forgets neither errors nor orders.

    ``permits`` is where the executor reads what may be added.
    """

    breaker: Breaker
    permits: Permits = attrs.field(factory=Permits)
    sent: OrderPace = attrs.field(factory=OrderPace)
