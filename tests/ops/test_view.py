"""The view says what the actors published, and nothing that they did not."""

import attrs
from hypothesis import given
from hypothesis import strategies as st

from hedgegrid.core import ledger, risk
from hedgegrid.core.pause import Reason
from hedgegrid.core.permission import ChangeKind, Mode
from hedgegrid.core.records import LegAccount
from hedgegrid.messages import events
from hedgegrid.messages.events import EndReason, OrderEventKind
from hedgegrid.model.account import Balance, Position
from hedgegrid.model.grid import GridMemory
from hedgegrid.model.order import Leg, OrderRequest, Purpose
from hedgegrid.ops import view as view_module
from hedgegrid.ops.open_orders import SENT_MAX, OpenOrders
from tests.ops.telling import BTC, START_NS, UNIT_E8, Account, S, open_order, order

STEPS = st.lists(
    st.tuples(st.booleans(), st.integers(1, 50), st.integers(1, 2_000_000)),
    max_size=40,
)
ORDER_STEPS = st.lists(
    st.tuples(
        st.sampled_from(("accept", "fill", "cancel", "reject", "unknown", "amend", "hydrate")),
        st.integers(0, 5),
        st.integers(1, 10),
    ),
    max_size=60,
)


def position(leg: Leg, qty_lots: int, cost_e8: int) -> Position:
    """A position of the one instrument."""
    return Position(instrument=BTC, leg=leg, qty_lots=qty_lots, cost_e8=cost_e8)


def legs(account: Account) -> list[tuple[int | None, int | None]]:
    """Quantity and cost of both legs."""
    return [(leg.qty_lots, leg.cost_e8) for leg in account.view.instruments[BTC].legs]


def resting(account: Account, purpose: Purpose = Purpose.ENTRY, leg: Leg = Leg.LONG) -> int:
    """Open orders of the one instrument."""
    return account.view.orders.count(BTC, leg, purpose)


def test_nothing_is_known_before_it_is_told() -> None:
    """Law 9: missing is missing, never 0.0."""
    view = Account().view
    figures = attrs.asdict(view, recurse=False)
    told = {
        "account",
        "before",
        "instruments",
        "orders",
        "cancels",
        "flatten",
        "incidents",
        "liquidated",
        "notices",
        "notices_total",
        "throttle_ppm",
    }
    empty = {"reasons", "refusals", "rejections", "restarts"}
    assert {name for name, value in figures.items() if value is not None} - {"_handlers"} == told | empty
    assert all(figures[name] == {} for name in empty)
    one = view.instruments[BTC]
    assert one.mark_ticks is one.rate_e8 is one.orders_ns is one.bar_end_ns is None
    assert [leg.qty_lots for leg in one.legs] == [None, None]
    assert view.open_total() is None


def test_equity_sample_is_kept_with_its_time() -> None:
    """Money on the dashboard is the newest sample's, and its age starts when it was told."""
    account = Account()
    account.sample(10_000, realised_e8=3, unrealised_e8=-40, fees_e8=5, funding_e8=-6)
    account.sample(9_000, realised_e8=4, unrealised_e8=-50, fees_e8=6, funding_e8=-7)
    view = account.view
    assert (view.equity_e8, view.wallet_e8, view.unrealised_e8) == (9_000, 9_050, -50)
    assert (view.realised_e8, view.fees_e8, view.funding_e8) == (4, 6, -7)
    assert view.equity_ns == view.balance_ns == START_NS + 2 * S
    assert view.first_equity_e8 == 10_000


def test_account_hydration_sets_the_balance() -> None:
    """After a restart the money that the exchange names is shown before the first decision; equity is not made up."""
    account = Account()
    account.hydrate_account(Balance(wallet_e8=1, realised_e8=2, fees_e8=3, funding_e8=4), foreign_orders=5)
    view = account.view
    assert (view.wallet_e8, view.realised_e8, view.fees_e8, view.funding_e8) == (1, 2, 3, 4)
    assert view.foreign_orders == 5
    assert view.equity_e8 is view.unrealised_e8 is None


def test_hydration_tells_both_legs() -> None:
    """The exchange lists only legs that are not flat: the other one is known to be flat."""
    account = Account()
    account.hydrate(position(Leg.SHORT, 5, 700))
    assert legs(account) == [(0, 0), (5, 700)]
    account.hydrate()
    assert legs(account) == [(0, 0), (0, 0)]


def test_a_fill_before_hydration_makes_no_position() -> None:
    """A sum that starts at an unknown place is unknown."""
    account = Account()
    account.fill(order("a"))
    assert legs(account) == [(None, None), (None, None)]
    assert account.view.fills(Purpose.ENTRY) == 1


@given(STEPS)
def test_positions_follow_fills_as_the_ledger_does(steps: list[tuple[bool, int, int]]) -> None:
    """Position and cost on the dashboard are the books' own, to the last unit."""
    account, books = Account(), LegAccount()
    account.hydrate()
    for enters, qty_lots, price_ticks in steps:
        notional = ledger.notional_e8(price_ticks, qty_lots, UNIT_E8)
        if enters:
            account.fill(order("e", Leg.SHORT), qty_lots, price_ticks)
            ledger.increase(books, qty_lots, notional)
        elif qty_lots <= books.qty_lots:
            account.fill(order("x", Leg.SHORT, Purpose.TAKE_PROFIT), qty_lots, price_ticks)
            ledger.reduce(books, Leg.SHORT, qty_lots, notional)
    assert legs(account) == [(0, 0), (books.qty_lots, books.cost_e8)]


def test_reducing_more_than_is_held_is_not_known() -> None:
    """A contradiction is shown as unknown until the exchange is read again, not as a position that nobody has."""
    account = Account()
    account.hydrate(position(Leg.LONG, 5, 500))
    account.fill(order("s", Leg.LONG, Purpose.STOP), 6)
    account.fill(order("e"), 3)
    assert legs(account)[Leg.LONG] == (None, None)
    account.hydrate(position(Leg.LONG, 2, 200))
    assert legs(account)[Leg.LONG] == (2, 200)


def test_liquidation_closes_both_legs() -> None:
    """After a liquidation nothing is held, whichever of fills and announcement comes first."""
    account = Account()
    account.hydrate(position(Leg.LONG, 5, 500), position(Leg.SHORT, 7, 900))
    account.fill(order("l", Leg.LONG, Purpose.LIQUIDATION), 5)
    account.publish(events.Liquidated, equity_e8=-1, maintenance_e8=2)
    account.fill(order("m", Leg.SHORT, Purpose.LIQUIDATION), 7)
    assert legs(account) == [(0, 0), (0, 0)]
    assert account.view.liquidated
    assert "LIQUIDATED" in account.view.notices[-1].text


def test_open_orders_count_from_acceptance_to_end() -> None:
    """An order on the dashboard is one that the exchange has taken and not ended."""
    account = Account()
    account.hydrate()
    account.approve(*(order(name) for name in "abcde"))
    assert resting(account) == 0
    account.tell(OrderEventKind.ACCEPTED, *"abcde")
    assert resting(account) == account.view.open_total() == 5
    account.fill(order("a"))
    account.tell(OrderEventKind.CANCELLED, "b")
    account.tell(OrderEventKind.EXPIRED, "c")
    account.tell(OrderEventKind.REJECTED, "d", reason=EndReason.POST_ONLY)
    account.tell(OrderEventKind.CANCEL_FAILED, "e", reason=EndReason.NOT_FOUND)
    assert resting(account) == 1
    assert account.view.rejections == {"post_only": 1}


def test_partial_fills_end_an_order_with_its_last_lot() -> None:
    """A half-filled order still rests; an amendment changes what is left of it."""
    account = Account()
    account.hydrate()
    account.rest(order("a", qty_lots=10), order("b", qty_lots=10))
    account.fill(order("a"), 4)
    account.tell(OrderEventKind.AMENDED, "a", qty_lots=2)
    assert resting(account) == 2
    account.fill(order("a"), 2)
    assert resting(account) == 1


def test_fill_before_acceptance_counts_once() -> None:
    """Exchanges tell the fill before the acknowledgement at times; neither order leaves a ghost."""
    account = Account()
    account.hydrate()
    account.approve(order("whole"), order("part"))
    account.fill(order("whole"))
    account.fill(order("part"), 4)
    account.tell(OrderEventKind.ACCEPTED, "whole", "part")
    assert resting(account) == 1


def test_a_stop_for_the_whole_leg_ends_with_the_leg() -> None:
    """A backstop has no quantity of its own: it stands until the leg is flat."""
    account = Account()
    backstop = order("k", Leg.LONG, Purpose.BACKSTOP)
    account.hydrate(position(Leg.LONG, 5, 500))
    account.rest(backstop)
    account.fill(backstop, 3)
    assert resting(account, Purpose.BACKSTOP) == 1
    account.fill(backstop, 2)
    assert resting(account, Purpose.BACKSTOP) == 0


def test_unknown_orders_are_counted_until_evidence_comes() -> None:
    """An operator sees that the outcome of an order is not known, and when it is known again."""
    account = Account()
    account.hydrate()
    account.approve(order("a"), order("b"))
    account.tell(OrderEventKind.UNKNOWN, "a", "b")
    assert (account.view.orders.unknown, resting(account)) == (2, 0)
    account.tell(OrderEventKind.ACCEPTED, "a")
    account.tell(OrderEventKind.REJECTED, "b", reason=EndReason.NOT_FOUND)
    assert (account.view.orders.unknown, resting(account)) == (0, 1)


def test_hydration_replaces_open_orders() -> None:
    """The exchange's list is the truth; what was half filled goes on from there."""
    account = Account()
    account.rest(order("gone"))
    account.approve(order("known"))
    account.hydrate(
        orders=(open_order(order("known"), filled_lots=6), open_order(order("tp", Leg.SHORT, Purpose.STOP)))
    )
    account.tell(OrderEventKind.ACCEPTED, "known")
    account.tell(OrderEventKind.CANCELLED, "gone")
    assert (resting(account), resting(account, Purpose.STOP, Leg.SHORT)) == (1, 1)
    account.fill(order("known"), 4)
    assert account.view.open_total() == 1


@given(ORDER_STEPS)
def test_open_orders_equal_a_plain_model(steps: list[tuple[str, int, int]]) -> None:
    """Whatever order the events come in, the counts are those of a set of open orders, and never negative."""
    account, model = Account(), dict[str, int]()
    requests: list[OrderRequest] = [order(f"o{number}") for number in range(6)]
    waiting = {one.client_id for one in requests}
    account.hydrate()
    account.approve(*requests)
    for step, number, qty_lots in steps:
        request = requests[number]
        name = request.client_id
        if step == "hydrate":
            account.hydrate(orders=tuple(open_order(one) for one in requests if one.client_id in model))
            model = dict.fromkeys(model, 10)
            continue
        if step in {"accept", "fill"} and name in waiting:
            waiting.discard(name)
            model[name] = 10
        if step == "accept":
            account.tell(OrderEventKind.ACCEPTED, name)
        elif step == "fill":
            account.fill(request, qty_lots)
            model[name] = model.get(name, 0) - qty_lots
            if model[name] <= 0:
                del model[name]
        elif step == "amend":
            account.tell(OrderEventKind.AMENDED, name, qty_lots=qty_lots)
            if name in model:
                model[name] = qty_lots
        elif step == "unknown":
            account.tell(OrderEventKind.UNKNOWN, name)
        else:
            account.tell(OrderEventKind.CANCELLED if step == "cancel" else OrderEventKind.REJECTED, name)
            waiting.discard(name)
            model.pop(name, None)
    assert resting(account) == account.view.open_total() == len(model)


def test_unanswered_orders_are_forgotten_in_the_end() -> None:
    """A run of years does not grow: approvals that nothing answers leave, oldest first."""
    books = OpenOrders([BTC])
    for number in range(SENT_MAX + 10):
        books.approved([risk.approve(risk.PASS, order(f"o{number}"), limits_version="1", expires_ns=0)])
    assert len(books._sent) == SENT_MAX
    books.accepted("o9")
    books.accepted("o10")
    assert books.total(BTC) == 1


def test_flows_are_counted() -> None:
    """Approvals, cancels and refusals are what the gate said."""
    account = Account()
    account.approve(order("a"), order("b", Leg.SHORT, Purpose.TAKE_PROFIT), cancels=("x", "y"))
    account.refuse("price_collar")
    account.refuse("price_collar")
    account.refuse("min_notional")
    view = account.view
    assert view.approved_total() == 2
    assert view.instruments[BTC].approved[Leg.SHORT][Purpose.TAKE_PROFIT] == 1
    assert view.cancels == 2
    assert view.refusals == {"price_collar": 2, "min_notional": 1}


def test_market_figures() -> None:
    """Marks, bars and the grid carry their own times."""
    account = Account()
    account.mark(1_000)
    bar = account.close_bar()
    account.publish(events.GridMoved, instrument=BTC, regime=0, center_ticks=990, step_micro=1_500_000, generation=3)
    one = account.view.instruments[BTC]
    assert (one.mark_ticks, one.mark_ns) == (1_000, START_NS + S)
    assert (one.bars, one.bar_end_ns, one.bar_ns) == (1, bar.open_ns + bar.length_ns, START_NS + 2 * S)
    assert (one.center_ticks, one.step_micro, one.generation, one.grid_ns) == (990, 1_500_000, 3, START_NS + 3 * S)
    assert (account.view.market_first_ns, account.view.market_ns) == (START_NS + S - 5, START_NS + 2 * S - 5)


def test_a_remembered_grid_is_shown_after_a_restart() -> None:
    """The grid that the journal kept is the grid, before it moves again."""
    account = Account()
    account.hydrate(grid=GridMemory(regime=1, center_ticks=5, step_micro=6, generation=7))
    one = account.view.instruments[BTC]
    assert (one.center_ticks, one.generation) == (5, 7)


def test_a_missing_funding_rate_is_missing() -> None:
    """A rate that has expired is not shown as the rate."""
    account = Account()
    account.publish(
        events.FundingRate, instrument=BTC, rate_e8=10_000, next_funding_ns=77, funding_interval_ns=8 * 3_600 * S
    )
    one = account.view.instruments[BTC]
    assert (one.rate_e8, one.next_funding_ns, one.funding_ns) == (10_000, 77, START_NS + S)
    account.publish(events.FundingRateMissing, instrument=BTC, expired_ns=1)
    assert (one.rate_e8, one.next_funding_ns, one.funding_ns) == (None, None, START_NS + 2 * S)


def test_reasons_stand_until_they_are_cleared() -> None:
    """Every reason that keeps trading paused is shown, each scope by itself, since it rose."""
    account = Account()
    account.permit("active", "reducing", "raised", "feed_stale", BTC)
    account.permit("reducing", "reducing", "raised", "operator")
    account.permit("reducing", "reducing", "recovering", "feed_stale", BTC)
    assert account.view.reasons == {("feed_stale", BTC): START_NS + S, ("operator", ""): START_NS + 2 * S}
    account.permit("reducing", "reducing", "cleared", "feed_stale", BTC)
    assert account.view.reasons == {("operator", ""): START_NS + 2 * S}
    account.permit("reducing", "hydrating", "executor_lost")
    assert (account.view.mode, len(account.view.reasons)) == ("hydrating", 1)
    account.permit("reducing", "active", "cleared", "operator")
    assert (account.view.mode, account.view.reasons) == ("active", {})
    assert account.view.notices[0].text == f"permission active -> reducing: raised feed_stale of {BTC}, age 7,000 ms"


def test_the_core_uses_the_same_words() -> None:
    """The view reads modes and kinds by name, since it does not import the decisions."""
    assert Mode.ACTIVE.value == view_module.ACTIVE
    assert ChangeKind.CLEARED.value == view_module.CLEARED
    assert Reason.FEED_STALE.value == "feed_stale"


def test_notices_are_bounded_and_counted() -> None:
    """A storm of incidents costs neither memory nor the knowledge that it happened."""
    account = Account()
    for number in range(view_module.NOTICES_MAX + 3):
        account.incident(f"number {number}")
    account.publish(events.ActorRestarted, actor="feed", error="OSError", attempt=2)
    account.publish(events.MarketEnded, steps=12)
    view = account.view
    assert (len(view.notices), view.notices_total, view.incidents) == (view_module.NOTICES_MAX, 69, 67)
    assert view.notices[-3].text == "incident in executor: number 66, order 3"
    assert (view.restarts, view.steps) == ({"feed": 1}, 12)


def test_other_messages_pass_by() -> None:
    """The tap gives the view everything: what it does not show must not hurt."""
    account = Account()
    account.publish(events.Quote, instrument=BTC, bid_ticks=1, ask_ticks=2)
    account.publish(events.PermissionView, instrument="none of ours", may_add=True, hold_entries=False)
    account.view.observe(object())
    assert account.view.market_ns is None
