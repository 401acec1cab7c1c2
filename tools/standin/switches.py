"""What of the real exchange is not settled without asking it, as switches: the bot has to be safe both ways.

Invariant: a switch acts from the moment at which it is set; nothing caches one.
"""

from typing import Literal

import attrs

OverClose = Literal["refuse", "refuse_sum", "cap"]
GtxCross = Literal["reject", "expire"]
TriggeredId = Literal["client_algo_id", "fresh"]
DuplicateScope = Literal["open", "ever"]
FillModel = Literal["through", "touch", "queue"]
ForcedExecution = Literal["CALCULATED", "TRADE"]


@attrs.define(kw_only=True)
class Switches:
    """How the stand-in behaves where the real exchange's behaviour is not known.

    ``over_close``: a hedge-mode reduction above the position is refused with -2022 (``refuse``; ``refuse_sum`` counts
    the open reductions of the leg too), or accepted, filled up to the position and expired (``cap``).
    ``gtx_cross``: a crossing post-only order is refused with -5022, or accepted and expired.
    ``min_notional_exempt``: a hedge-mode reduction may be under the minimum notional.
    ``triggered_id``: the client id of the order that a triggered conditional becomes.
    ``countdown_strips_stops``: the countdown cancels conditionals too. ``countdown_late_ms`` delays it.
    ``duplicate_scope``: -4116 among open orders only or for ever; ``duplicate_shared``: orders and conditionals
    share one space of names.
    ``fail_triggers``: what triggers is rejected.
    ``gte_expires``: a closePosition conditional ends when its leg is flat; ``gte_needs_position``: it is refused with
    -4509 while the leg is flat; ``gte_single``: a second one of a kind and direction is refused with -4130.
    ``legacy_trigger_reject``: CONDITIONAL_ORDER_TRIGGER_REJECT is sent beside ALGO_UPDATE.
    ``forced_execution``: the execution type of forced fills.
    ``fill``: the fill model of ``hedgegrid.core.matching``.
    """

    over_close: OverClose = "refuse"
    gtx_cross: GtxCross = "reject"
    min_notional_exempt: bool = True
    triggered_id: TriggeredId = "client_algo_id"
    countdown_strips_stops: bool = False
    countdown_late_ms: int = 0
    duplicate_scope: DuplicateScope = "open"
    duplicate_shared: bool = False
    fail_triggers: bool = False
    gte_expires: bool = True
    gte_needs_position: bool = False
    gte_single: bool = True
    legacy_trigger_reject: bool = True
    forced_execution: ForcedExecution = "CALCULATED"
    fill: FillModel = "through"
