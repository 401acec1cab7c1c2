"""Every actor's mailbox: what it takes, how much, and what is read first.

Invariants: only prices conflate; fills, order events, bars and commands are refused by a full mailbox, never dropped;
a capacity is far above what one point of the market causes, so that a full mailbox means that its actor is in
trouble.
"""

from collections.abc import Callable
from typing import Any

from hedgegrid.actors import executor_notes
from hedgegrid.actors.post import EXECUTOR, FEED, FUNDING, JOURNAL, RISK, WATCHDOG, strategy_name
from hedgegrid.messages import commands, events
from hedgegrid.runtime.activity import Activity
from hedgegrid.runtime.mailbox import REFUSE, Mailbox, Policy, conflate

CAPACITY = 4_096
CONTROL_CAPACITY = 1_024


def _by_instrument(message: Any) -> str:  # noqa: ANN401 - quotes and marks alike
    """Give what a price replaces an older one by."""
    instrument: str = message.instrument
    return instrument


_LATEST = conflate(_by_instrument)

_TAKES: dict[str, tuple[dict[type, Policy], tuple[type, ...]]] = {
    JOURNAL: ({events.BarClosed: REFUSE}, ()),
    EXECUTOR: (
        {
            events.ApprovedBatch: REFUSE,
            events.VenueReport: REFUSE,
            events.AccountChanged: REFUSE,
            events.StreamGap: REFUSE,
            commands.Rehydrate: REFUSE,
            commands.StandDown: REFUSE,
            commands.Wake: REFUSE,
            executor_notes.Sent: REFUSE,
            executor_notes.ExchangeRead: REFUSE,
            executor_notes.StateGathered: REFUSE,
            executor_notes.CountdownSet: REFUSE,
            commands.ConfirmFlat: REFUSE,
        },
        (),
    ),
    RISK: (
        {
            events.Quote: _LATEST,
            events.MarkPrice: conflate(lambda mark: ("mark", mark.instrument)),
            events.BarClosed: REFUSE,
            events.FundingRate: REFUSE,
            events.HistoryLoaded: REFUSE,
            events.StrategyReady: REFUSE,
            commands.IntentBatch: REFUSE,
            commands.Rehydrate: REFUSE,
            commands.Throttle: REFUSE,
            commands.Wake: REFUSE,
        },
        (
            events.ExecutionBatch,
            events.ExchangeErred,
            events.Hydrated,
            events.AccountHydrated,
            events.AccountChanged,
            events.WalletRead,
            # As the fills: what is on the tape is in the account before another bar of the past is sampled.
            events.FundingPaid,
            events.ForeignSeen,
            events.Liquidated,
            events.FlatConfirmed,
            events.StillHeld,
            commands.RaiseReason,
            commands.ClearReason,
            commands.Pause,
            commands.Resume,
            commands.Flatten,
            commands.Kill,
            commands.CancelEntries,
            commands.Halt,
        ),
    ),
    FEED: ({events.MarketSeen: REFUSE, commands.NeedHistory: REFUSE}, ()),
    FUNDING: ({events.MarkPrice: REFUSE, events.FundingPaid: REFUSE, commands.Wake: REFUSE}, ()),
    WATCHDOG: ({commands.Wake: REFUSE}, ()),
    "strategy": (
        {
            events.BarClosed: REFUSE,
            events.ExecutionBatch: REFUSE,
            events.ForeignSeen: REFUSE,
            events.FundingRate: REFUSE,
            events.FundingRateMissing: REFUSE,
            events.HistoryLoaded: REFUSE,
            events.Hydrated: REFUSE,
            events.RefusedBatch: REFUSE,
            commands.Wake: REFUSE,
        },
        (events.PermissionView, commands.CancelEntries, commands.Flatten),
    ),
}


def mailbox_maker(activity: Activity) -> Callable[[str], Mailbox[Any]]:
    """Give the maker of fresh mailboxes by actor name; all of them count in ``activity``."""

    def make(name: str) -> Mailbox[Any]:
        policies, control = _TAKES["strategy" if name.startswith(strategy_name("")) else name]
        return Mailbox(
            name,
            capacity=CAPACITY,
            control_capacity=CONTROL_CAPACITY,
            policies=policies,
            control=control,
            activity=activity,
        )

    return make
