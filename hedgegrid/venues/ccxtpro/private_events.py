"""What the exchange says on the private stream, as the events that the executor takes.

Nothing here waits or sends. Invariants:
- an event is told once, however often it comes, and in the order in which it came; nothing is held back but the
  reports of an order that may be a triggered stop of ours, until it is known whose it is, or for ``LINK_NS``;
- a payload that cannot be read changes nothing, and is told as a ``StreamGap``: only a read of the exchange helps;
- an order whose fills do not add up to what its reports say for ``SHORT_NS`` is a ``StreamGap``: one was lost; so is
  a leg that its fills do not make for as long (``leg_watch``).
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import attrs

from hedgegrid.core.client_id import parse_client_id
from hedgegrid.messages.events import AccountChanged, EndReason, OrderEvent, OrderEventKind, StreamGap
from hedgegrid.model.order import OrderRequest, Purpose, side_of
from hedgegrid.ports import PrivateEvent, VenueBatch
from hedgegrid.venues.ccxtpro import parse_account as account
from hedgegrid.venues.ccxtpro import parse_orders as orders
from hedgegrid.venues.ccxtpro.errors import reason_of
from hedgegrid.venues.ccxtpro.leg_watch import LegKey, LegWatch
from hedgegrid.venues.ccxtpro.order_names import KEPT, TRADES_KEPT, OrderKey, keep
from hedgegrid.venues.ccxtpro.order_requests import is_conditional, is_stop_id
from hedgegrid.venues.ccxtpro.scaling import BadPayloadError
from hedgegrid.venues.ccxtpro.sockets import Report
from hedgegrid.venues.ccxtpro.traded import Traded

FeeOf = Callable[[orders.OrderReport], int]

LINK_NS: Final = 1_000_000_000
SHORT_NS: Final = 300_000_000
HELD_MAX: Final = 256
_TRADING_RESULTS: Final = ("ORDER", "FUNDING_FEE")
_FUNDING: Final = "FUNDING_FEE"
_ALGO: Final = "algo"
"""In place of an instrument: a number of the algo service."""
_ALGO_ENDED: Final = (
    orders.AlgoStatus.CANCELED,
    orders.AlgoStatus.REJECTED,
    orders.AlgoStatus.EXPIRED,
    orders.AlgoStatus.FINISHED,
)


@attrs.frozen(kw_only=True)
class Hearers:
    """Who is told: events of the account, problems for a person, a settlement to be read, a dead listen key."""

    emit: Callable[[PrivateEvent], None]
    report: Report
    funding_paid: Callable[[], None]
    key_expired: Callable[[], None]


@attrs.define(kw_only=True)
class _Progress:
    """How far an order's fills are told: the lots that came one by one, and the most that any report spoke of."""

    counted_lots: int
    said_lots: int


class PrivateEvents:
    """The reader of one account's private stream; its tables outlive a socket."""

    def __init__(
        self,
        *,
        traded: Traded,
        hearers: Hearers,
        mark_of: Callable[[str], int | None],
        fee_of: FeeOf,
    ) -> None:
        """``fee_of`` estimates a fee that the exchange took in another asset (pre-flight refuses that setting)."""
        self._scales = traded.scales
        self._kept = KEPT * len(traded.scales)
        self._trades_kept = TRADES_KEPT * len(traded.scales)
        self._settle_asset = traded.settle_asset
        self._to = hearers
        self._names = traded.names
        self._slices = traded.slices
        self._mark_of = mark_of
        self._fee_of = fee_of
        self._trades: OrderedDict[tuple[str, int, int], None] = OrderedDict()
        self._said: OrderedDict[tuple[object, ...], None] = OrderedDict()
        self._sent: OrderedDict[str, None] = OrderedDict()
        self._progress: OrderedDict[OrderKey, _Progress] = OrderedDict()
        self._short: dict[OrderKey, int] = {}
        self._held: OrderedDict[OrderKey, tuple[int, list[orders.OrderReport]]] = OrderedDict()
        self._foreign: OrderedDict[OrderKey, None] = OrderedDict()
        self._legs = LegWatch(self._trades_kept)
        self.heard: dict[str, int] = {}
        """How many payloads of each kind came."""

    # --- what others know -------------------------------------------------------------------------------------------

    def sent(self, request: OrderRequest) -> None:
        """Take note of an order before it is sent: its events are ours, and nothing of it is filled yet."""
        keep(self._sent, request.client_id, None, self._kept)
        if is_conditional(request):
            self._names.stop_waits(request.client_id, request.instrument, request.leg)

    def delivered(self, instrument: str, trade_id: int, order_id: int) -> bool:
        """Tell whether a trade was told already."""
        return (instrument, trade_id, order_id) in self._trades

    def note_delivered(self, instrument: str, trade_id: int, order_id: int) -> None:
        """Take note of a trade that a read of the exchange has told."""
        keep(self._trades, (instrument, trade_id, order_id), None, self._trades_kept)

    @property
    def legs(self) -> Mapping[LegKey, int]:
        """Signless lots of each leg that is known, as they were said last."""
        return self._legs.lots

    def read_legs(self, legs: Mapping[LegKey, int], as_of_ns: int) -> None:
        """Take what a read of the exchange shows of legs, as of the exchange's time ``as_of_ns``."""
        for key, lots in legs.items():
            self._legs.read(key, lots, as_of_ns)

    def start_over(self, now_ns: int) -> None:
        """Begin a new socket: what was held is told; what orders had filled and legs held meanwhile is not known."""
        for key in tuple(self._held):
            self._let_go(key, now_ns)
        self._progress.clear()
        self._short.clear()
        self._sent.clear()
        self._legs.forget()

    @property
    def waits(self) -> bool:
        """Whether time alone may have something told: ``due`` is to be called."""
        return bool(self._held or self._short) or self._legs.waits

    # --- what comes -------------------------------------------------------------------------------------------------

    def take(self, payload: Mapping[str, Any], now_ns: int) -> None:
        """Take one payload of the stream."""
        try:
            self._take(payload, now_ns)
        except BadPayloadError as error:
            self._to.report("a private event could not be read", {"why": str(error)[:200]})
            self._gap("a private event could not be read")

    def _take(self, payload: Mapping[str, Any], now_ns: int) -> None:
        update = account.parse_private(payload, self._scales)
        name = type(update).__name__
        self.heard[name] = self.heard.get(name, 0) + 1
        match update:
            case orders.OrderReport():
                self._order(update, now_ns)
            case orders.AlgoReport():
                self._algo(update, now_ns)
            case orders.TriggerReject():
                self._trigger_rejected(update)
            case account.AccountReport():
                self._account(update, now_ns)
            case account.ListenKeyExpired():
                self._to.key_expired()
            case account.MarginCall():
                figures = {str(at): repr(row)[:120] for at, row in enumerate(update.positions)}
                self._to.report("margin call", figures)
            case account.LeverageChanged():
                figures = {"symbol": update.symbol, "leverage": str(update.leverage)}
                self._to.report("the leverage was changed at the exchange", figures)
            case account.MultiAssetsChanged():
                self._to.report("multi-assets mode was changed at the exchange", {"on": str(update.on)})
            case _:
                """A hint (TRADE_LITE), another instrument, or a kind that nobody reads: counted above."""

    def due(self, now_ns: int) -> None:
        """Do what time alone does: let go of what was held too long, and miss fills that did not come."""
        for key, (since_ns, _) in tuple(self._held.items()):
            if now_ns - since_ns >= LINK_NS:
                self._let_go(key, now_ns)
                self._gap(f"order {key[1]} under a foreign id may be a stop of ours")
        for key, since_ns in tuple(self._short.items()):
            if now_ns - since_ns >= SHORT_NS:
                del self._short[key]
                progress = self._progress[key]
                missing, progress.counted_lots = progress.said_lots - progress.counted_lots, progress.said_lots
                self._gap(f"{missing} lots of order {key[1]} were filled and not told")
        for why in self._legs.due(now_ns):
            self._gap(why)

    # --- orders -----------------------------------------------------------------------------------------------------

    def _order(self, report: orders.OrderReport, now_ns: int) -> None:
        key = (report.instrument, report.order_id)
        name = self._names.name_of(*key)
        if name is None or parse_client_id(name) is None:
            name = report.client_id
        self._legs.filled(report, now_ns)
        if parse_client_id(name) is None and not report.forced and self._may_be_ours(report, key):
            self._hold(key, report, now_ns)
            return
        self._tell_order(report, name, now_ns)

    def _may_be_ours(self, report: orders.OrderReport, key: OrderKey) -> bool:
        """Tell whether an order under a foreign id has to wait for the word on whose it is."""
        if key in self._held:
            return True
        if key in self._foreign or report.leg is None or report.side is side_of(report.leg, Purpose.ENTRY):
            return False
        return self._names.could_be_a_stop(report.instrument, report.leg)

    def _hold(self, key: OrderKey, report: orders.OrderReport, now_ns: int) -> None:
        since_ns, reports = self._held.get(key, (now_ns, []))
        reports.append(report)
        self._held[key] = (since_ns, reports)
        if sum(len(held) for _, held in self._held.values()) > HELD_MAX:
            self._let_go(next(iter(self._held)), now_ns)
            self._gap("more reports of foreign orders than can be held")

    def _let_go(self, key: OrderKey, now_ns: int) -> None:
        _, reports = self._held.pop(key)
        name = self._names.name_of(*key)
        if name is None or parse_client_id(name) is None:
            keep(self._foreign, key, None, self._kept)
        for report in reports:
            self._tell_order(report, name or report.client_id, now_ns)

    def _tell_order(self, report: orders.OrderReport, name: str, now_ns: int) -> None:
        """Tell one report under ``name``, once. BadPayloadError before anything has changed."""
        said = orders.order_events(report, name, fee_if_unknown_e8=self._fee(report))
        self._names.learn(report.instrument, report.order_id, name)
        if self._is_repeated(report):
            return
        self._count(report, name, now_ns)
        if report.forced and report.trade is not None:
            self._to.report("the exchange itself closed a part of a leg", _forced_figures(report))
        self._tell_parts(report.instrument, report.ts_ns, [_as_answered(one) for one in said])

    def _fee(self, report: orders.OrderReport) -> int:
        if report.trade is None or report.trade.fee_e8 is not None:
            return 0
        figures = {"asset": report.trade.fee_asset, "instrument": report.instrument}
        self._to.report("a fee was taken in another asset; its worth is estimated", figures)
        return self._fee_of(report)

    def _is_repeated(self, report: orders.OrderReport) -> bool:
        """Note a report; True where it was told already."""
        if report.trade is not None:
            key = (report.instrument, report.trade.trade_id, report.order_id)
            repeated = key in self._trades
            keep(self._trades, key, None, self._trades_kept)
            return repeated
        word = (
            report.instrument,
            report.order_id,
            report.execution,
            report.status,
            report.price_ticks,
            report.qty_lots,
            report.filled_lots,
        )
        repeated = word in self._said
        keep(self._said, word, None, self._kept)
        return repeated

    def _count(self, report: orders.OrderReport, name: str, now_ns: int) -> None:
        """Compare the fills that came with what the report says was filled in all."""
        lots = 0 if report.trade is None else report.trade.qty_lots
        key = (report.instrument, report.order_id)
        progress = self._progress.get(key)
        if progress is None:
            earlier_lots = 0 if name in self._sent else report.filled_lots - lots
            progress = _Progress(counted_lots=earlier_lots, said_lots=report.filled_lots)
            keep(self._progress, key, progress, self._kept)
        progress.counted_lots += lots
        progress.said_lots = max(progress.said_lots, report.filled_lots)
        if progress.counted_lots >= progress.said_lots:
            self._short.pop(key, None)
        else:
            self._short.setdefault(key, now_ns)

    # --- stops ------------------------------------------------------------------------------------------------------

    def _algo(self, report: orders.AlgoReport, now_ns: int) -> None:
        said = orders.algo_events(report)
        name = report.client_id
        if report.actual_order_id is not None:
            self._link(name, (report.instrument, report.actual_order_id), now_ns)
        elif report.status in _ALGO_ENDED:
            self._names.stop_done(name)
        elif report.leg is not None and parse_client_id(name) is not None:
            self._names.stop_waits(name, report.instrument, report.leg)
        self._names.learn(_ALGO, report.algo_id, name)
        word = ("algo", report.algo_id, report.status, report.trigger_ticks, report.qty_lots, report.actual_order_id)
        if word not in self._said:
            keep(self._said, word, None, self._kept)
            self._tell_parts(report.instrument, report.ts_ns, said)

    def _link(self, name: str, key: OrderKey, now_ns: int) -> None:
        """Take note which order a stop has become, and tell what was held of it."""
        self._names.learn(*key, name)
        self._names.stop_done(name)
        if key in self._held:
            self._let_go(key, now_ns)

    def _trigger_rejected(self, reject: orders.TriggerReject) -> None:
        """A stop's trigger was refused: the leg has lost this stop."""
        # Whether the number is the algo order's or that of the order it became is not documented.
        name = self._names.name_of(reject.instrument, reject.order_id) or self._names.name_of(_ALGO, reject.order_id)
        self._to.report(
            "the trigger of a stop was refused", {"order": name or str(reject.order_id), "why": reject.words}
        )
        if name is None:
            self._gap(f"the trigger of order {reject.order_id} was refused, and whose it is is not known")
            return
        self._names.stop_done(name)
        word = ("refused", name)
        if word not in self._said:
            keep(self._said, word, None, self._kept)
            event = OrderEvent(
                kind=OrderEventKind.REJECTED, client_id=name, reason=reason_of(reject.words), detail=reject.words[:160]
            )
            self._tell_parts(reject.instrument, reject.ts_ns, (event,))

    # --- the account ------------------------------------------------------------------------------------------------

    def _account(self, report: account.AccountReport, now_ns: int) -> None:
        for position in report.positions:
            if position.leg is not None:
                key = (position.instrument, position.leg)
                self._legs.said(key, abs(position.signed_lots), report.ts_ns, now_ns)
        for wallet in report.wallets:
            if wallet.asset == self._settle_asset:
                delta_e8 = 0 if report.reason in _TRADING_RESULTS else wallet.change_e8
                changed = AccountChanged(
                    seq=0,
                    cause_seq=0,
                    ts_venue_ns=report.ts_ns,
                    ts_recv_ns=0,
                    wallet_e8=wallet.wallet_e8,
                    why=report.reason,
                    delta_e8=delta_e8,
                )
                self._to.emit(changed)
        if report.reason == _FUNDING:
            self._to.funding_paid()

    # --- words ------------------------------------------------------------------------------------------------------

    def _tell_parts(self, instrument: str, ts_ns: int, said: Sequence[OrderEvent]) -> None:
        """Tell events, those of a part as the whole order's."""
        self._batch(instrument, ts_ns, [event for one in said for event in self._slices.told(one)])
        for one in said:
            ended = one.kind is not OrderEventKind.FILLED and is_stop_id(one.client_id)
            if ended and self._slices.is_short(one.client_id):
                self._gap(f"{one.client_id}, a part of a stop, has ended without the others")

    def _batch(self, instrument: str, ts_ns: int, events: tuple[OrderEvent, ...] | list[OrderEvent]) -> None:
        if events:
            mark_ticks = self._mark_of(instrument) or 0
            batch = VenueBatch(instrument=instrument, ts_venue_ns=ts_ns, mark_ticks=mark_ticks, events=tuple(events))
            self._to.emit(batch)

    def tell(self, instrument: str, ts_ns: int, events: tuple[OrderEvent, ...]) -> None:
        """Tell what came as the answer to a request and not on the stream."""
        self._batch(instrument, ts_ns, events)

    def _gap(self, why: str) -> None:
        self._to.emit(stream_gap(why))


def _forced_figures(report: orders.OrderReport) -> dict[str, str]:
    lots = 0 if report.trade is None else report.trade.qty_lots
    leg = "" if report.leg is None else report.leg.name
    return {"instrument": report.instrument, "leg": leg, "order": report.client_id, "lots": str(lots)}


def _as_answered(event: OrderEvent) -> OrderEvent:
    """Give a post-only order that expired because it would have taken as what it is: refused."""
    if event.kind is OrderEventKind.EXPIRED and event.reason is EndReason.POST_ONLY:
        return attrs.evolve(event, kind=OrderEventKind.REJECTED)
    return event


def stream_gap(why: str) -> StreamGap:
    """Give the word that events may have been lost."""
    return StreamGap(seq=0, cause_seq=0, ts_venue_ns=0, ts_recv_ns=0, why=why)
