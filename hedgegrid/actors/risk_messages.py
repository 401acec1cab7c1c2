"""What the risk actor takes: its one closed union."""

from hedgegrid.actors.risk_account import AccountWord
from hedgegrid.messages.commands import (
    CancelEntries,
    ClearReason,
    Flatten,
    Halt,
    IntentBatch,
    Kill,
    Pause,
    RaiseReason,
    Rehydrate,
    Resume,
    Throttle,
    Wake,
)
from hedgegrid.messages.events import (
    AccountHydrated,
    BarClosed,
    ExchangeErred,
    ExecutionBatch,
    FlatConfirmed,
    FundingPaid,
    FundingRate,
    HistoryLoaded,
    Hydrated,
    Liquidated,
    MarkPrice,
    Quote,
    StillHeld,
    StrategyReady,
)

RiskMessage = (
    IntentBatch
    | ExecutionBatch
    | ExchangeErred
    | Quote
    | MarkPrice
    | BarClosed
    | FundingPaid
    | FundingRate
    | HistoryLoaded
    | Hydrated
    | AccountHydrated
    | StrategyReady
    | AccountWord
    | Liquidated
    | RaiseReason
    | ClearReason
    | Rehydrate
    | Pause
    | Resume
    | Throttle
    | CancelEntries
    | Flatten
    | Kill
    | FlatConfirmed
    | StillHeld
    | Halt
    | Wake
)
