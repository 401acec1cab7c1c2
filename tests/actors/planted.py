"""Bugs that a gate like this has had, as changes of the code that a test can make and undo.

Invariant: each changes one decision, as a slip of the hand would, and leaves everything else as it is.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs
import pytest

from hedgegrid.actors import risk_book
from hedgegrid.actors.risk_book import RiskBook, number_of
from hedgegrid.core import gate_book, permission, risk, worst_case
from hedgegrid.core.codes import LONG, SHORT
from hedgegrid.core.gate_records import AccountRisk, Booked, Exposure
from hedgegrid.messages.events import ForeignSeen, Hydrated, OrderEventKind
from hedgegrid.model.order import Purpose

Bug = Callable[[pytest.MonkeyPatch], None]


def _ends_with(kind: OrderEventKind) -> Bug:
    """An order no longer counts once it is told this."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(risk_book, "_ENDS", (*risk_book._ENDS, kind))

    return plant


def _reserves_late(patch: pytest.MonkeyPatch) -> None:
    """Orders are booked when their batch has been judged and sent."""
    late: dict[int, list[Booked]] = {}

    def reserve(self: RiskBook, order: Booked) -> None:
        late.setdefault(id(self), []).append(order)

    def keep(self: RiskBook, _names: list[str]) -> None:
        # The last thing that a batch does before it is sent.
        for order in late.pop(id(self), []):
            self._book(order)

    patch.setattr(RiskBook, "reserve", reserve)
    patch.setattr(RiskBook, "keep", keep)


def _never_reserves(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(RiskBook, "reserve", lambda _self, _order: None)


def _forgets_foreign_positions(patch: pytest.MonkeyPatch) -> None:
    take = RiskBook.set_foreign
    patch.setattr(RiskBook, "set_foreign", lambda self, seen: take(self, attrs.evolve(seen, positions=())))


def _forgets_foreign_orders(patch: pytest.MonkeyPatch) -> None:
    take = RiskBook.set_foreign

    def without(self: RiskBook, seen: ForeignSeen) -> None:
        take(self, attrs.evolve(seen, orders=()))

    patch.setattr(RiskBook, "set_foreign", without)


def _hydration_forgets_foreign(patch: pytest.MonkeyPatch) -> None:
    take = RiskBook.set_instrument

    def anew(self: RiskBook, word: Hydrated) -> None:
        take(self, word)
        for leg in (LONG, SHORT):
            self.exposures[2 * self.index[word.instrument] + leg].foreign_lots = 0

    patch.setattr(RiskBook, "set_instrument", anew)


def _hydration_drops_what_is_not_acknowledged(patch: pytest.MonkeyPatch) -> None:
    take = RiskBook.set_instrument

    def stripped(self: RiskBook, word: Hydrated) -> None:
        take(self, attrs.evolve(word, orders=tuple(one for one in word.orders if one.acknowledged)))

    patch.setattr(RiskBook, "set_instrument", stripped)


def _partial_fill_ends_an_order(patch: pytest.MonkeyPatch) -> None:
    fill = RiskBook._fill

    def forget(self: RiskBook, order: Booked, _qty_lots: int, **_ends: bool) -> None:
        fill(self, order, order.qty_lots, ends=True)

    patch.setattr(RiskBook, "_fill", forget)


def _keeps_old_marks(patch: pytest.MonkeyPatch) -> None:
    def set_mark(self: RiskBook, index: int, mark_ticks: int, ts_ns: int) -> None:
        self.rules[index].mark_ticks, self.rules[index].mark_ns = mark_ticks, ts_ns

    patch.setattr(RiskBook, "set_mark", set_mark)


def _counts_entries_at_their_limit(patch: pytest.MonkeyPatch) -> None:
    for module in (worst_case, gate_book):
        patch.setattr(module, "entry_e8", lambda price, qty, _mark, unit_e8: price * qty * unit_e8)


def _position_without_working_entries(patch: pytest.MonkeyPatch) -> None:
    check = risk._check_exposure

    def lenient(limits: Any, account: Any, rule: Any, leg: Exposure, order: Booked) -> int:
        return check(limits, account, rule, attrs.evolve(leg, entry_lots=0), order)

    patch.setattr(risk, "_check_exposure", lenient)


def _sums_one_instrument(patch: pytest.MonkeyPatch) -> None:
    check: Any = risk.check

    def local(
        limits: Any,
        account: AccountRisk,
        rules: Any,
        exposures: list[Exposure],
        booked: Any,
        tiers: Any,
        order: Booked,
        *rest: Any,
    ) -> int:
        long, short = exposures[2 * order.instrument + LONG], exposures[2 * order.instrument + SHORT]
        alone = attrs.evolve(
            account,
            held_long_e8=long.held_e8,
            held_short_e8=short.held_e8,
            worst_long_e8=long.worst_e8,
            worst_short_e8=short.worst_e8,
        )
        return int(check(limits, alone, rules, exposures, booked, tiers, order, *rest))

    patch.setattr(risk, "check", local)


def _equity_is_the_wallet(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(RiskBook, "equity_e8", lambda self: self.wallet_e8 if self.balance_ns else None)


def _margin_and_risk_of_what_is_held(patch: pytest.MonkeyPatch) -> None:
    """What an order adds does not count in what must be held, nor in what could be lost."""
    check: Any = risk._check_equity

    def lenient(*given: Any) -> int:
        *others, order = given
        return int(check(*others, attrs.evolve(order, qty_lots=0)))

    patch.setattr(risk, "_check_equity", lenient)


def _volatility_that_is_not_known_is_none(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(RiskBook, "measure", lambda self, instrument, _realised: _calm(self, instrument))


def _calm(book: RiskBook, instrument: str) -> None:
    index = book.index[instrument]
    book.rules[index].var_ppm = 0
    book._weigh(index)


def _ignores(control: int) -> Bug:
    """A control is there, and what it says is not heard."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        for name in ("_check_order", "_check_exposure", "_check_equity", "_check_book", "_check_reducing"):
            check = getattr(risk, name)

            def deaf(*given: Any, check: Any = check) -> int:
                code = int(check(*given))
                return risk.PASS if code == control else code

            patch.setattr(risk, name, deaf)

    return plant


def _ignores_the_age_of_decisions(patch: pytest.MonkeyPatch) -> None:
    check: Any = risk.check

    def timeless(*given: Any) -> int:
        *others, _decided_ns, now_ns = given
        return int(check(*others, now_ns, now_ns))

    patch.setattr(risk, "check", timeless)


def _ignores_the_age_of_prices(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(risk, "_check_ages", lambda *_given: risk.PASS)


def _asks_permission_once_a_batch(patch: pytest.MonkeyPatch) -> None:
    """What was permitted once is taken for permitted."""
    may = permission.may_increase
    known: set[str] = set()

    def once(state: permission.PermissionState, instrument: str) -> bool:
        if may(state, instrument):
            known.add(instrument)
        return instrument in known

    patch.setattr(permission, "may_increase", once)


def _pauses_the_named_instrument_alone(patch: pytest.MonkeyPatch) -> None:
    def narrow(state: permission.PermissionState, instrument: str) -> bool:
        trades = state.mode in (permission.Mode.ACTIVE, permission.Mode.REDUCING)
        return trades and all(one.scope != instrument for one in state.reasons)

    patch.setattr(permission, "may_increase", narrow)


def _forgets_what_was_latched(patch: pytest.MonkeyPatch) -> None:
    begin = permission.initial
    patch.setattr(permission, "initial", lambda resume_after_ns, _latched=(): begin(resume_after_ns))


def _clears_at_once(patch: pytest.MonkeyPatch) -> None:
    begin = permission.initial
    patch.setattr(permission, "initial", lambda _resume_after_ns, latched=(): begin(0, latched))


def _clears_latched_reasons(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(permission, "is_latched", lambda _reason: False)


def _trades_before_hydration(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(permission, "may_increase", lambda state, _instrument: not state.reasons)
    patch.setattr(permission, "may_reduce", lambda _state: True)


def _ignores_halt(patch: pytest.MonkeyPatch) -> None:
    may = permission.may_increase
    patch.setattr(permission, "may_increase", lambda state, name: may(attrs.evolve(state, halted=False), name))


def _amendments_count_when_told(patch: pytest.MonkeyPatch) -> None:
    """Until it is settled an amended order counts with the quantity that it had."""

    def put_back(self: RiskBook, lifted: Booked) -> None:
        amended = self._slots.get(lifted.no)
        if amended is not None:
            self._release(amended)
        self._book(lifted)
        self.recount(lifted.instrument)

    patch.setattr(RiskBook, "put_back", put_back)


def _smaller_amendments_count_at_once(patch: pytest.MonkeyPatch) -> None:
    """An order that is to shrink counts with what it is to have, though that may be refused."""

    def put_back(self: RiskBook, lifted: Booked) -> None:
        if lifted.no not in self._slots:
            self._book(lifted)
        self.recount(lifted.instrument)

    patch.setattr(RiskBook, "put_back", put_back)


def _refused_amendments_stand(patch: pytest.MonkeyPatch) -> None:
    """An amendment counts as carried out, whatever the exchange made of it."""
    put_back, apply = RiskBook.put_back, RiskBook.apply
    shrunk: dict[int, int] = {}

    def note(self: RiskBook, lifted: Booked) -> None:
        amended = self._slots.get(lifted.no)
        shrunk[lifted.no] = 0 if amended is None else max(0, lifted.qty_lots - amended.qty_lots)
        put_back(self, lifted)

    def apply_each(self: RiskBook, instrument: str, events: Any) -> None:
        for one in events:
            less = shrunk.pop(number_of(one.client_id), 0) if one.kind is OrderEventKind.AMENDED and one.reason else 0
            apply(self, instrument, [attrs.evolve(one, qty_lots=max(0, one.qty_lots - less))])

    patch.setattr(RiskBook, "put_back", note)
    patch.setattr(RiskBook, "apply", apply_each)


def _a_fill_ends_an_amendment(patch: pytest.MonkeyPatch) -> None:
    """What is left after a fill is what the exchange says, which knows nothing yet of the larger quantity."""
    apply = RiskBook.apply

    def apply_each(self: RiskBook, instrument: str, events: Any) -> None:
        for one in events:
            apply(self, instrument, [one])
            order = self._slots.get(number_of(one.client_id))
            if one.fill is not None and one.qty_lots and order is not None:
                self._leave(order, one.qty_lots)
                self.recount(order.instrument)

    patch.setattr(RiskBook, "apply", apply_each)


def _the_last_fill_ends_an_order(patch: pytest.MonkeyPatch) -> None:
    """With the last fill an order is forgotten, though one that came earlier is still to be told."""
    fill = RiskBook._fill

    def forget(self: RiskBook, order: Booked, qty_lots: int, *, ends: bool) -> None:
        fill(self, order, order.qty_lots if ends else qty_lots, ends=ends)

    patch.setattr(RiskBook, "_fill", forget)


def _late_fills_are_dropped(patch: pytest.MonkeyPatch) -> None:
    """A fill whose order was said to have ended moves no position."""
    apply = RiskBook.apply

    def apply_each(self: RiskBook, instrument: str, events: Any) -> None:
        for one in events:
            if one.fill is None or number_of(one.client_id) in self._slots:
                apply(self, instrument, [one])

    patch.setattr(RiskBook, "apply", apply_each)


def _cancels_give_back_what_filled(patch: pytest.MonkeyPatch) -> None:
    """With the end of an order its whole quantity is given back, also what had become a position."""
    apply, book = RiskBook.apply, RiskBook._book
    whole: dict[int, int] = {}

    def note(self: RiskBook, order: Booked) -> None:
        whole[order.no] = order.qty_lots
        book(self, order)

    def apply_each(self: RiskBook, instrument: str, events: Any) -> None:
        for one in events:
            order = self._slots.get(number_of(one.client_id))
            if order is not None and order.purpose == Purpose.ENTRY and one.kind is OrderEventKind.CANCELLED:
                exposure = self.exposures[2 * order.instrument + order.leg]
                exposure.position_lots -= min(exposure.position_lots, whole[order.no] - order.qty_lots)
            apply(self, instrument, [one])

    patch.setattr(RiskBook, "_book", note)
    patch.setattr(RiskBook, "apply", apply_each)


def _causes_that_come_back_are_not_heard(patch: pytest.MonkeyPatch) -> None:
    """While a pause is about to end, its cause is there again: it ends all the same."""
    raised = permission._raised

    def deaf(state: Any, event: Any, now_ns: int) -> Any:
        stands = any((one.reason, one.scope) == (event.reason, event.scope) for one in state.reasons)
        return (state, ()) if stands else raised(state, event, now_ns)

    patch.setattr(permission, "_raised", deaf)


def _a_cause_is_gone_everywhere_at_once(patch: pytest.MonkeyPatch) -> None:
    """Where a cause is gone for one instrument, or for the account, its pauses of all others end too."""
    recovering = permission._recovering

    def wide(state: Any, event: Any, now_ns: int) -> Any:
        after, notes = recovering(state, event, now_ns)
        for one in state.reasons:
            if one.reason is event.reason and one.scope != event.scope:
                after, _ = recovering(after, attrs.evolve(event, scope=one.scope, figures={}), now_ns)
        return after, notes

    patch.setattr(permission, "_recovering", wide)


BUGS: Final[Mapping[str, Bug]] = {
    "an unknown order counts no more": _ends_with(OrderEventKind.UNKNOWN),
    "an acknowledged order counts no more": _ends_with(OrderEventKind.ACCEPTED),
    "an order whose cancel failed counts no more": _ends_with(OrderEventKind.CANCEL_FAILED),
    "a partial fill ends an order": _partial_fill_ends_an_order,
    "orders are reserved after their batch": _reserves_late,
    "orders are never reserved": _never_reserves,
    "foreign positions are forgotten": _forgets_foreign_positions,
    "foreign orders are forgotten": _forgets_foreign_orders,
    "hydration forgets foreign positions": _hydration_forgets_foreign,
    "hydration drops what is not acknowledged": _hydration_drops_what_is_not_acknowledged,
    "marks are those of the booking": _keeps_old_marks,
    "entries count at their limit": _counts_entries_at_their_limit,
    "working entries do not count in the position": _position_without_working_entries,
    "the account is one instrument": _sums_one_instrument,
    "the leg's cap is ignored": _ignores(risk.MAX_LEG_NOTIONAL),
    "the gross cap is ignored": _ignores(risk.MAX_GROSS_NOTIONAL),
    "the net cap is ignored": _ignores(risk.MAX_NET_NOTIONAL),
    "the leverage is ignored": _ignores(risk.MAX_LEVERAGE),
    "the position ratio is ignored": _ignores(risk.MAX_POSITION_RATIO),
    "the margin ratio is ignored": _ignores(risk.MAX_MARGIN_RATIO),
    "the distance to a liquidation is ignored": _ignores(risk.LIQUIDATION_DISTANCE),
    "the value at risk is ignored": _ignores(risk.VAR),
    "equity is the wallet": _equity_is_the_wallet,
    "what an order adds does not count against equity": _margin_and_risk_of_what_is_held,
    "a volatility that is not known is none": _volatility_that_is_not_known_is_none,
    "the count of open orders is ignored": _ignores(risk.MAX_OPEN_ORDERS),
    "the orders of a minute are not counted": _ignores(risk.ORDERS_PER_MINUTE),
    "an amendment counts when it is told": _amendments_count_when_told,
    "a smaller amendment counts at once": _smaller_amendments_count_at_once,
    "a refused amendment stands": _refused_amendments_stand,
    "a fill ends an amendment": _a_fill_ends_an_amendment,
    "the last fill ends an order before the others": _the_last_fill_ends_an_order,
    "a fill after the end is dropped": _late_fills_are_dropped,
    "a cancel gives back what had filled": _cancels_give_back_what_filled,
    "a rung is taken twice": _ignores(risk.DUPLICATE),
    "old decisions pass": _ignores_the_age_of_decisions,
    "old prices pass": _ignores_the_age_of_prices,
    "exits are not proven": _ignores(risk.REDUCE_PROOF),
    "permission is asked once": _asks_permission_once_a_batch,
    "a pause of the account stops no instrument": _pauses_the_named_instrument_alone,
    "a restart forgets what was latched": _forgets_what_was_latched,
    "a pause ends with its cause": _clears_at_once,
    "a cause that comes back is not heard": _causes_that_come_back_are_not_heard,
    "a cause is gone everywhere at once": _a_cause_is_gone_everywhere_at_once,
    "a latched reason clears by itself": _clears_latched_reasons,
    "trading begins before hydration": _trades_before_hydration,
    "a halt is ignored": _ignores_halt,
}
"""Each by what it does."""
SHORT_OF: Final[Mapping[str, str]] = {
    "the leverage is ignored": "max_leverage",
    "the position ratio is ignored": "max_position_ratio",
    "the margin ratio is ignored": "max_margin_ratio",
    "the distance to a liquidation is ignored": "min_liquidation_distance_ratio",
    "the value at risk is ignored": "var",
    "the orders of a minute are not counted": "max_orders_per_minute",
    "equity is the wallet": "max_leverage",
    "what an order adds does not count against equity": "max_margin_ratio",
    "a volatility that is not known is none": "var",
}
"""By which control the account has to be short of equity for a bug to matter."""
