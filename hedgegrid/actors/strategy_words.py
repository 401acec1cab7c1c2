"""What a strategy tells the others beside its orders: its lots, its grid, and what a person should know.

Invariants: a grid is told when it has moved, a funding warning once a settlement, an overflow once until the tables
have room again.
"""

from hedgegrid.actors.post import RISK, Post
from hedgegrid.core import funding
from hedgegrid.core.pause import Reason
from hedgegrid.core.records import GridParams, GridState, Lot
from hedgegrid.messages.commands import ClearReason, RaiseReason
from hedgegrid.messages.events import EXPENSIVE_FUNDING, BarClosed, GridMoved, Incident, LotOpened, Message
from hedgegrid.model.grid import GridMemory, OpenLot
from hedgegrid.model.order import Leg


class StrategyWords:
    """The words of one strategy."""

    def __init__(self, post: Post, name: str, instrument: str) -> None:
        """Speak through ``post`` in the name of the strategy ``name``."""
        self._post = post
        self._name = name
        self._instrument = instrument
        self._told_grid = (0, 0, 0, 0)
        self._told_overflow = 0
        self._has_looked = False
        self._warned_ns = 0

    def lot(self, cause: Message, lot: Lot | OpenLot) -> None:
        """Have a lot's birth prices remembered."""
        self._post.publish(
            LotOpened(
                **self._post.head(cause),
                instrument=self._instrument,
                lot_id=lot.lot_id,
                leg=Leg(lot.leg),
                level=lot.level,
                generation=lot.generation,
                entry_ticks=lot.entry_ticks,
                qty_lots=lot.qty_lots,
                tp_ticks=lot.tp_ticks,
                stop_ticks=lot.stop_ticks,
                step_micro=lot.step_micro,
            )
        )

    def remembers(self, grid: GridMemory) -> None:
        """Take note of a grid that the journal has already."""
        self._told_grid = (grid.regime, grid.center_ticks, grid.step_micro, grid.generation)

    def grid(self, cause: Message, state: GridState) -> None:
        """Have the grid remembered where it has moved."""
        grid = (state.regime, state.center_ticks, state.step_micro, state.generation)
        if grid == self._told_grid:
            return
        self._told_grid = grid
        self._post.publish(
            GridMoved(
                **self._post.head(cause),
                instrument=self._instrument,
                regime=grid[0],
                center_ticks=grid[1],
                step_micro=grid[2],
                generation=grid[3],
            )
        )

    def funding(self, cause: BarClosed, params: GridParams, state: GridState) -> None:
        """Say once a settlement that it is near and expensive, where the settings ask for a warning only."""
        if self._warned_ns == state.next_funding_ns or not funding.is_warning_due(params, state, cause.ts_venue_ns):
            return
        self._warned_ns = state.next_funding_ns
        incident = Incident(
            **self._post.head(cause),
            actor=self._name,
            text=EXPENSIVE_FUNDING,
            figures={"rate_e8": str(state.rate_e8), "next_ns": str(state.next_funding_ns)},
        )
        self._post.publish(incident)

    def difference(self, cause: Message, leg: Leg, ours: int, theirs: int) -> None:
        """The lots do not add up to the position: somebody else traded here. Pause for the operator; exits go on."""
        figures = {"leg": leg.name, "lots": str(ours), "position": str(theirs)}
        text = "open lots differ from the exchange's position: look for manual trades, then resume"
        self._post.publish(Incident(**self._post.head(cause), actor=self._name, text=text, figures=figures))
        raised = RaiseReason(
            **self._post.head(cause), reason=Reason.SUPERVISOR, scope=self._instrument, figures=figures
        )
        self._post.publish(raised, RISK)

    def overflow(self, cause: Message, state: GridState, lots: int) -> None:
        """A table of the core was full: pause this instrument; a person must widen its limits."""
        if state.overflowed <= self._told_overflow:
            return
        self._told_overflow = state.overflowed
        raised = RaiseReason(
            **self._post.head(cause),
            reason=Reason.OVERFLOW,
            scope=self._instrument,
            figures={"overflowed": str(self._told_overflow), "lots": str(lots)},
        )
        self._post.publish(raised, RISK)

    def room_again(self, cause: Message, state: GridState) -> None:
        """Say that the tables have room again, a bar after they last had none; before this strategy started too."""
        first, self._has_looked = not self._has_looked, True
        left_standing = first and self._post.stands(Reason.OVERFLOW, self._instrument)
        if state.overflowed == 0 and not left_standing:
            return
        state.overflowed = 0
        self._told_overflow = 0
        gone = ClearReason(**self._post.head(cause), reason=Reason.OVERFLOW, scope=self._instrument, figures={})
        self._post.publish(gone, RISK)
