"""The operator's flatten in virtual time: everything goes, FLAT is said by the exchange's word alone, and it stays.

Invariants: what a leg holds, what rests and what reaches the exchange is read from the exchange itself; the word is
given through the operator's own port, as the HTTP interface gives it.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest

from hedgegrid.actors.post import EXECUTOR, RISK
from hedgegrid.app import House
from hedgegrid.config.schema import AccountConfig
from hedgegrid.errors import Fatal
from hedgegrid.messages.commands import ConfirmFlat, Flatten, IntentBatch, Rehydrate
from hedgegrid.messages.events import (
    ActorRestarted,
    ApprovedBatch,
    EndReason,
    ExecutionBatch,
    FlatConfirmed,
    MarkPrice,
    OrderEvent,
    OrderEventKind,
    PermissionChanged,
    StillHeld,
    VenueReport,
)
from hedgegrid.model.order import Fill, Kind, Leg, OrderRequest, Purpose
from hedgegrid.ops.control import FlattenState
from hedgegrid.ports import FillCursors
from hedgegrid.units import NS_PER_MINUTE
from hedgegrid.venues.simulated.exchange import Exchange
from hedgegrid.venues.simulated.opening import open_simulation
from hedgegrid.venues.simulated.tape_bars import BarTape
from hedgegrid.worlds import simulated
from tests.actors.house import (
    BTC,
    FIRST_BAR,
    STRATEGY,
    Boot,
    Script,
    assert_agrees,
    assert_one_order_a_rung,
    boot,
    changes,
    entries_placed,
    last_mode,
    market,
    messages,
    purpose_of,
    settings,
    simulation,
)
from tests.actors.test_crashes import Nth, on_handle, on_publish
from tests.actors.test_unlinked import PATIENT
from tests.core.made import walk

BOTH = ("long", "short")
ASKED_BAR = 30
"""From here on the word is given as soon as both legs hold something: seven bars later in this market."""


@attrs.define
class Scene:
    """What a test saw at the exchange: when the word was given, and each time that FLAT was said."""

    legs: tuple[str, ...] = BOTH
    kills: bool = False
    """The word is the kill switch."""
    asked_ns: int = 0
    held: dict[str, int] = attrs.field(factory=dict)
    """Lots by leg when the word was given."""
    placed: int = 0
    """Orders that had reached the exchange by then."""
    at_flat: list[dict[str, Any]] = attrs.field(factory=list)


def tape() -> BarTape:
    """A market in which both ladders fill."""
    return market(seed=1, count=65)


def lots(exchange: Exchange) -> dict[str, int]:
    """What each leg holds at the exchange."""
    (book,) = exchange.books
    return {leg.name.lower(): book.accounts[leg].qty_lots for leg in Leg}


def open_at(exchange: Exchange, legs: Iterable[str]) -> list[str]:
    """The client ids of all that rests, or is on its way, on some legs: limits, stops and backstops."""
    (book,) = exchange.books
    orders = [order for kind in (False, True) for order in book.open_orders(conditional=kind)]
    return [order.client_id for order in orders if order.leg.name.lower() in legs]


def both_held(exchange: Exchange) -> bool:
    """Both legs hold something."""
    return all(lots(exchange).values())


def look(house: House, legs: Sequence[str]) -> dict[str, Any]:
    """What stands at the exchange, and what the journal does not know, at this moment."""
    exchange = simulation(house).exchange
    return {
        "held": {leg: lots(exchange)[leg] for leg in legs},
        "open": open_at(exchange, legs),
        "live": [one.record.client_id for one in house.journal.live_orders() if one.record.leg.name.lower() in legs],
    }


EMPTY: dict[str, list[str]] = {"open": [], "live": []}


def asking(
    scene: Scene, script: Script | None = None, *, bar: int = ASKED_BAR, ready: Callable[[Exchange], bool] = both_held
) -> Script:
    """Give the word once the exchange is ``ready``, from a bar on; look whenever FLAT is said. On top of ``script``."""
    script = script or Script()
    before_handle, before_publish = script.before_handle, script.before_publish

    def handled(house: House, actor: Any, message: Any) -> None:
        if not scene.asked_ns and actor.name == RISK and isinstance(message, MarkPrice):
            exchange = simulation(house).exchange
            if house.clock.now_ns() >= (FIRST_BAR + bar) * NS_PER_MINUTE and ready(exchange):
                scene.asked_ns, scene.held, scene.placed = house.clock.now_ns(), lots(exchange), len(script.placed)
                assert scene.kills is False or house.operator.kill()
                if not scene.kills:
                    house.operator.flatten(scene.legs)
        if before_handle is not None:
            before_handle(house, actor, message)

    def published(house: House, message: Any) -> None:
        if isinstance(message, FlatConfirmed):
            scene.at_flat.append(look(house, scene.legs))
        if before_publish is not None:
            before_publish(house, message)

    script.before_handle, script.before_publish = handled, published
    return script


def assert_flat(one: Boot, scene: Scene) -> None:
    """FLAT was said, each time at an exchange with nothing on the legs; no entry reached it after the word."""
    empty = {"held": dict.fromkeys(scene.legs, 0), **EMPTY}
    assert scene.at_flat
    assert scene.at_flat == [empty] * len(scene.at_flat)
    assert look(one.house, scene.legs) == empty
    late = one.script.placed[scene.placed :] if scene.asked_ns else one.script.placed
    assert [client_id for client_id in late if purpose_of(client_id) is Purpose.ENTRY] == []
    assert one.outcome.exit_code == 0, one.outcome.failure
    assert_agrees(one)
    assert_one_order_a_rung(one)


@pytest.mark.asyncio
@pytest.mark.parametrize("latency_ms", [0, 100, 16_000, 40_000])
@pytest.mark.parametrize("legs", [BOTH, ("long",), ("short",)], ids=["both", "long", "short"])
async def test_flatten_closes_what_it_names(legs: tuple[str, ...], latency_ms: int, tmp_path: Path) -> None:
    """The named legs end at zero with nothing resting, whatever the exchange takes; the other keeps its exits."""
    scene = Scene(legs=legs)
    config = settings(tmp_path, sim={"latency_ms": latency_ms})
    one = await boot(config, tape(), asking(scene))
    assert all(scene.held[leg] > 0 for leg in legs), scene.held
    assert_flat(one, scene)
    assert last_mode(one) == "reducing"
    assert one.house.view.reasons.keys() == {("operator", "")}
    assert one.house.operator.flattening().stage == "flat"


def on_exchange(act: Callable[[Exchange, OrderRequest], EndReason | None]) -> Callable[[House], None]:
    """Ask ``act`` about every order that comes to the exchange: a reason refuses it."""

    def wired(house: House) -> None:
        exchange = simulation(house).exchange
        place = exchange.place

        def placed(request: OrderRequest, now_ns: int) -> OrderEvent:
            reason = act(exchange, request)
            if reason is None:
                return place(request, now_ns)
            return OrderEvent(kind=OrderEventKind.REJECTED, client_id=request.client_id, reason=reason)

        exchange.place = placed  # type: ignore[method-assign]

    return wired


def refusing(times: int, reason: EndReason) -> Callable[[House], None]:
    """Refuse so many market reductions of a flatten."""
    refused: list[str] = []

    def act(_exchange: Exchange, request: OrderRequest) -> EndReason | None:
        if request.purpose is Purpose.FLATTEN and len(refused) < times:
            refused.append(request.client_id)
            return reason
        return None

    return on_exchange(act)


@pytest.mark.asyncio
@pytest.mark.parametrize("reason", [EndReason.REDUCE_REFUSED, EndReason.NOTHING_TO_CLOSE, EndReason.REFUSED])
@pytest.mark.parametrize("linked", [True, False], ids=["linked exits", "racing exits"])
async def test_refused_reduction_is_asked_for_again(linked: bool, reason: EndReason, tmp_path: Path) -> None:
    """The exchange refuses the market order five times: the flatten goes on until it does not, and says FLAT then."""
    scene = Scene()
    script = asking(scene, Script(wired=refusing(5, reason)))
    one = await boot_on(settings(tmp_path, risk=PATIENT), script, linked=linked)
    assert all(scene.held.values())
    assert_flat(one, scene)


async def boot_on(config: AccountConfig, script: Script, *, linked: bool, **options: Any) -> Boot:
    """A life on an exchange that links exits, or lets them race."""
    with pytest.MonkeyPatch.context() as patch:
        if not linked:
            patch.setattr(simulated, "open_simulation", partial(open_simulation, linked_exits=False))
        return await boot(config, tape(), script, **options)


@pytest.mark.asyncio
@pytest.mark.parametrize("latency_ms", [0, 16_000, 40_000])
async def test_racing_exits_are_flattened_too(latency_ms: int, tmp_path: Path) -> None:
    """Where exits race each other, stops, take-profits and backstops are gone when FLAT is said."""
    scene = Scene()
    config = settings(tmp_path, sim={"latency_ms": latency_ms}, risk=PATIENT)
    one = await boot_on(config, asking(scene), linked=False)
    assert all(scene.held.values())
    assert_flat(one, scene)


@pytest.mark.asyncio
async def test_entries_that_fill_while_their_cancel_travels_are_closed(tmp_path: Path) -> None:
    """The market rises through the ladder after the word and before the cancels arrive: those lots go too."""
    bars = walk(2, 60)
    for _ in range(20):
        close = bars[-1][3]
        bars.append((close, close * 102 // 100, close, close * 102 // 100))
    scene = Scene()
    config = settings(tmp_path, sim={"latency_ms": 60_000})
    one = await boot(config, market(bars), asking(scene, bar=60, ready=lambda exchange: bool(open_at(exchange, BOTH))))
    late = [fill for fill in one.exchange.fills if fill.purpose is Purpose.ENTRY and fill.ts_ns > scene.asked_ns]
    assert late
    assert_flat(one, scene)


CRASHES: list[tuple[str, str, Callable[[], Script]]] = [
    ("strategy on the word", STRATEGY, lambda: on_handle(STRATEGY, Nth(Flatten, 1))),
    ("strategy on a nudge", STRATEGY, lambda: on_handle(STRATEGY, Nth(Flatten, 3))),
    ("strategy after its intents", STRATEGY, lambda: on_publish(Nth(IntentBatch, 1, reduces), after=True)),
    ("risk on the word", RISK, lambda: on_handle(RISK, Nth(Flatten, 1))),
    ("risk before its approval", RISK, lambda: on_publish(Nth(ApprovedBatch, 1, reduces), after=False)),
    ("risk after its approval", RISK, lambda: on_publish(Nth(ApprovedBatch, 1, reduces), after=True)),
    ("risk on FLAT", RISK, lambda: on_handle(RISK, Nth(FlatConfirmed, 1))),
    ("executor on the approval", EXECUTOR, lambda: on_handle(EXECUTOR, Nth(ApprovedBatch, 1, reduces))),
    ("executor on a fill", EXECUTOR, lambda: on_handle(EXECUTOR, Nth(VenueReport, 1, closes))),
    ("executor on the asking", EXECUTOR, lambda: on_handle(EXECUTOR, Nth(ConfirmFlat, 1))),
    ("executor before it says FLAT", EXECUTOR, lambda: on_publish(Nth(FlatConfirmed, 1), after=False)),
]


def reduces(batch: Any) -> bool:
    """A batch with a market reduction of a flatten in it."""
    orders = batch.orders if isinstance(batch, IntentBatch) else [one.request for one in batch.approved]
    return any(order.purpose is Purpose.FLATTEN for order in orders)


def closes(report: Any) -> bool:
    """A report with the fill of a market reduction in it."""
    return any(event.fill is not None and event.fill.purpose is Purpose.FLATTEN for event in report.events)


@pytest.mark.asyncio
@pytest.mark.parametrize("latency_ms", [0, 16_000])
@pytest.mark.parametrize(("name", "actor", "script"), CRASHES, ids=[name for name, *_ in CRASHES])
async def test_crashed_actor_goes_on_flattening(
    name: str, actor: str, script: Callable[[], Script], latency_ms: int, tmp_path: Path
) -> None:
    """Wherever an actor fails in the middle of a flatten, its successor goes on, and FLAT is said once it is true."""
    assert name
    scene = Scene()
    one = await boot(settings(tmp_path, sim={"latency_ms": latency_ms}), tape(), asking(scene, script()))
    assert [(word.actor, word.error) for word in messages(one.path, ActorRestarted)] == [(actor, "CrashError")]
    assert_flat(one, scene)
    assert last_mode(one) == "reducing"


def dying(kind: type, fits: Callable[[Any], bool] = lambda _: True, *, after: bool) -> Script:
    """Let the whole life end badly as a message is published, or right after."""
    dead: list[Any] = []

    def hook(_house: House, message: Any) -> None:
        if isinstance(message, kind) and fits(message) and not dead:
            dead.append(message)
            raise Fatal("gone")

    return Script(after_publish=hook) if after else Script(before_publish=hook)


def raised_by_operator(message: Any) -> bool:
    """The permission took the operator's word."""
    return bool(message.change == "raised" and message.reason == "operator")


DEATHS = [
    ("the word", lambda: dying(PermissionChanged, raised_by_operator, after=True)),
    ("the intents", lambda: dying(IntentBatch, reduces, after=True)),
    ("the approval", lambda: dying(ApprovedBatch, reduces, after=True)),
    ("a fill", lambda: dying(ExecutionBatch, closes, after=True)),
    ("FLAT itself", lambda: dying(FlatConfirmed, after=False)),
]


@pytest.mark.asyncio
@pytest.mark.parametrize("latency_ms", [0, 16_000])
@pytest.mark.parametrize(("name", "script"), DEATHS, ids=[name for name, _ in DEATHS])
async def test_next_life_goes_on_flattening(
    name: str, script: Callable[[], Script], latency_ms: int, tmp_path: Path
) -> None:
    """A life that ends in the middle leaves the word in the journal: the next one goes on unasked, and says FLAT."""
    assert name
    config = settings(tmp_path, sim={"latency_ms": latency_ms})
    first = Scene()
    one = await boot(config, tape(), asking(first, script()))
    assert (one.outcome.exit_code, one.outcome.failure) == (1, "gone")
    second = Scene(asked_ns=1)
    two = await boot(config, tape(), asking(second))
    assert_flat(two, second)
    assert two.house.operator.flattening().legs == BOTH
    assert entries_placed(two) == []


@pytest.mark.asyncio
async def test_flat_account_stays_paused_until_it_is_resumed(tmp_path: Path) -> None:
    """After FLAT nothing is opened: not in this life, not in the next, but in the one that is started with --resume."""
    config = settings(tmp_path)
    scene = Scene()
    one = await boot(config, tape(), asking(scene), duration_s=60 * 45)
    assert_flat(one, scene)
    second = Scene(asked_ns=1)
    two = await boot(config, tape(), asking(second), duration_s=60 * 5)
    assert_flat(two, second)
    assert last_mode(two) == "reducing"
    assert two.house.view.reasons.keys() == {("operator", "")}
    three = await boot(config, tape(), resume=True)
    assert last_mode(three) == "active"
    assert entries_placed(three)
    assert three.house.operator.flattening().stage == "none"
    assert_agrees(three)


@pytest.mark.asyncio
async def test_resume_gives_a_flatten_up(tmp_path: Path) -> None:
    """The operator resumes while a leg cannot be closed: the flatten ends, and the account trades on with its exits."""
    scene = Scene(legs=("long",))
    resumed: list[int] = []
    script = Script(wired=refusing(10**6, EndReason.REFUSED))

    def hook(house: House, actor: Any, message: Any) -> None:
        late = scene.asked_ns and house.clock.now_ns() > scene.asked_ns + 5 * NS_PER_MINUTE
        if late and not resumed and actor.name == RISK and isinstance(message, MarkPrice):
            resumed.append(house.clock.now_ns())
            house.operator.resume(new_peak=False)

    script.before_handle = hook
    one = await boot(settings(tmp_path), tape(), asking(scene, script))
    assert resumed
    assert scene.at_flat == []
    (lifted,) = [c for c in messages(one.path, PermissionChanged) if (c.change, c.reason) == ("cleared", "operator")]
    assert (lifted.before, lifted.after) == ("flattening", "active")
    assert last_mode(one) == "active"
    late = [client_id for client_id in one.script.placed[scene.placed :] if purpose_of(client_id) is Purpose.ENTRY]
    assert late
    assert one.house.operator.flattening().stage == "none"
    assert_agrees(one)


@pytest.mark.asyncio
async def test_second_leg_asked_for_later_counts_too(tmp_path: Path) -> None:
    """LONG, then SHORT before LONG is shown flat: FLAT is said of both, and of nothing less."""
    scene = Scene(legs=("long",))
    more: list[int] = []

    def hook(house: House, message: Any) -> None:
        if not more and isinstance(message, FlatConfirmed):
            more.append(house.clock.now_ns())
            scene.legs = BOTH
            scene.at_flat.clear()
            house.operator.flatten(("short",))

    one = await boot(settings(tmp_path), tape(), asking(scene, Script(before_publish=hook)))
    assert more
    assert_flat(one, scene)
    confirmed = messages(one.path, FlatConfirmed)
    assert [message.legs for message in confirmed] == [(Leg.LONG,), (Leg.LONG, Leg.SHORT)]
    assert [change for change, *_ in changes(one.path)].count("flatten_done") == 1


@pytest.mark.asyncio
async def test_what_is_left_is_told(tmp_path: Path) -> None:
    """A backstop that the exchange does not cancel: not FLAT, and the answer names it; FLAT once it is gone."""
    scene = Scene()
    seen: list[tuple[tuple[str, ...], FlattenState]] = []
    ignored: list[tuple[str, str]] = []

    def wired(house: House) -> None:
        exchange = simulation(house).exchange
        cancel = exchange.cancel

        def cancelled(instrument: str, client_id: str, now_ns: int) -> None:
            if scene.asked_ns and len(seen) < 3 and purpose_of(client_id) is Purpose.BACKSTOP:
                ignored.append((instrument, client_id))
            else:
                cancel(instrument, client_id, now_ns)

        exchange.cancel = cancelled  # type: ignore[method-assign]

    def after(house: House, message: Any) -> None:
        if isinstance(message, StillHeld):
            assert scene.at_flat == []
            seen.append((message.left, house.operator.flattening()))
            for instrument, client_id in ignored if len(seen) == 3 else ():
                exchange = simulation(house).exchange
                exchange.cancel(instrument, client_id, exchange.ts_ns)

    script = asking(scene, Script(wired=wired, after_publish=after))
    one = await boot(settings(tmp_path), tape(), script)
    left, state = seen[0]
    assert any("order house." in words and words.startswith(BTC) for words in left), left
    assert (state.stage, state.left) == ("left", left)
    assert_flat(one, scene)


@pytest.mark.asyncio
async def test_what_is_not_ours_is_named_and_untouched(tmp_path: Path) -> None:
    """A stranger's position and order in the account: FLAT of ours, theirs named beside it and as it was."""
    scene = Scene(legs=("long",))

    def wired(house: House) -> None:
        exchange = simulation(house).exchange
        manual = OrderRequest(
            client_id="web_1",
            instrument=BTC,
            leg=Leg.SHORT,
            purpose=Purpose.ENTRY,
            kind=Kind.LIMIT,
            price_ticks=1_500_000,
            qty_lots=3,
            post_only=False,
            level=-1,
            generation=-1,
            decided_ns=0,
        )
        exchange.place(manual, exchange.ts_ns)

    one = await boot(settings(tmp_path), tape(), asking(scene, Script(wired=wired)))
    assert scene.at_flat
    assert messages(one.path, FlatConfirmed)[0].foreign == (f"{BTC} SHORT order web_1",)
    assert "web_1" in open_at(one.exchange, ("short",))


@pytest.mark.asyncio
@pytest.mark.parametrize("moment", ["before risk is up", "before the exchange was read"])
@pytest.mark.parametrize("holds", [False, True], ids=["an empty account", "positions"])
async def test_word_that_comes_early_is_heard(holds: bool, moment: str, tmp_path: Path) -> None:
    """A flatten that is asked for before anybody can act is latched, and gone on with once the account was read."""
    config, asked = settings(tmp_path), Scene(asked_ns=1)
    if holds:
        one = await boot(config, tape(), duration_s=60 * 38)
        assert any(lots(one.exchange).values())

    def wired(house: House) -> None:
        trading = house.world.trading
        read = trading.fills_since

        async def fills_since(cursors: FillCursors) -> tuple[Fill, ...]:
            if not early and moment == "before risk is up":
                early.append(cursors)
                house.operator.flatten(BOTH)
            return await read(cursors)

        trading.fills_since = fills_since  # type: ignore[method-assign]

    def hook(house: House, actor: Any, message: Any) -> None:
        if not early and moment != "before risk is up" and actor.name == EXECUTOR and isinstance(message, Rehydrate):
            early.append(message)
            house.operator.flatten(BOTH)

    early: list[Any] = []
    two = await boot(config, tape(), asking(asked, Script(wired=wired, before_handle=hook)))
    assert early
    assert_flat(two, asked)
    assert last_mode(two) == "reducing"
