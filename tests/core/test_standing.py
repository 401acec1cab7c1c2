"""The table of pauses against the permission machine of the actors: the same rule, told in integers."""

from random import Random

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hedgegrid.backtest.desk import INSTRUMENTS, PAUSES
from hedgegrid.core import gate_records as g
from hedgegrid.core import pause, permission, session, standing
from hedgegrid.core.codes import FREE, NEVER_NS
from hedgegrid.core.pause import ControlAction, Reason
from hedgegrid.core.permission_events import (
    FlattenDone,
    FlattenStarted,
    Hydrated,
    PermissionEvent,
    ReasonGone,
    ReasonRaised,
    Started,
    Tick,
    Warmed,
)
from hedgegrid.core.records import table
from hedgegrid.units import NS_PER_S

NAMES = ("BTC/USDT:USDT", "ETH/USDT:USDT")
CODES = range(1, len(standing.REASON_NAMES))
EQUITY = (standing.DRAWDOWN, standing.DAILY_LOSS, standing.SESSION_LOSS, standing.MARGIN)
ACCOUNT_WIDE = (*EQUITY, standing.ORDER_RATE)
CONTROLS = (standing.VOLATILITY_HALT, standing.FUNDING_KILL, *EQUITY)
ACTIONS = {
    session.PAUSE: ControlAction.PAUSE,
    session.CANCEL_ENTRIES: ControlAction.CANCEL_ENTRIES,
    session.FLATTEN: ControlAction.FLATTEN,
}
TENTH = NS_PER_S // 10


def reason_of(code: int) -> Reason:
    """The permission machine's word for a code of the table."""
    return Reason(standing.REASON_NAMES[code])


def is_latched(code: int) -> bool:
    """Whether the execution without actors lets a code latch."""
    return code >= standing.DRAWDOWN


@attrs.frozen(kw_only=True)
class Happening:
    """Something that happens ``after_ns`` after the one before: a raise, a cause that goes, a flatten, or just time."""

    after_ns: int
    what: str
    code: int = standing.FEED_STALE
    instrument: int = 0


class Pair:
    """Both executions at one clock: the table looks only when it says so, the machine ticks every second."""

    def __init__(self, resume_after_ns: int, actions: dict[int, int] | None = None) -> None:
        self.actions = actions or {}
        self.now_ns = 0
        self.standing = g.Standing(resume_after_ns=resume_after_ns)
        self.pauses = table(g.Pause, 32)
        self.state = permission.initial(resume_after_ns)
        for event in (Started(), Hydrated(), Warmed()):
            self.step(event)
        self.ticks_ns: int | None = None
        self.looks = 0

    def step(self, event: PermissionEvent) -> None:
        """Let the machine take an event."""
        self.state, _ = permission.step(self.state, event, self.now_ns)

    def action(self, code: int) -> int:
        """What a reason does: dangers always cancel, a missing rate never does, a control what is configured."""
        if code in CONTROLS:
            return self.actions.get(code, session.CANCEL_ENTRIES)
        return session.PAUSE if code == standing.FUNDING_MISSING else session.CANCEL_ENTRIES

    def until(self, end_ns: int) -> None:
        """Let time pass; timers fire before whatever happens at their time."""
        while True:
            looks_ns = standing.next_tick_ns(self.standing, self.pauses)
            due_ns = min(looks_ns, NEVER_NS if self.ticks_ns is None else self.ticks_ns)
            if due_ns > end_ns:
                break
            self.now_ns = due_ns
            if looks_ns == due_ns:
                self.looks += 1
                assert standing.tick(self.standing, self.pauses, due_ns) > 0, "a look that clears nothing is no look"
            if self.ticks_ns == due_ns:
                self.step(Tick())
                self.ticks_ns = due_ns + NS_PER_S if self.state.reasons else None
            self.check()
        self.now_ns = end_ns

    def apply(self, one: Happening) -> None:
        """Let it happen in both."""
        self.until(self.now_ns + one.after_ns)
        scope = standing.ACCOUNT if one.code in ACCOUNT_WIDE else one.instrument
        named = pause.ACCOUNT if scope == standing.ACCOUNT else NAMES[scope]
        if one.what == "raise":
            latched = int(is_latched(one.code))
            action = self.action(one.code)
            standing.begin(self.standing, self.pauses, one.code, scope, action, latched, self.now_ns)
            self.step(ReasonRaised(reason=reason_of(one.code), scope=named))
        elif one.what == "gone":
            standing.cease(self.standing, self.pauses, one.code, scope, self.now_ns)
            self.step(ReasonGone(reason=reason_of(one.code), scope=named))
        elif one.what == "flatten" and standing.find(self.pauses, standing.MARGIN, standing.ACCOUNT) >= 0:
            self.standing.flattening = 1
            self.step(FlattenStarted(reason=Reason.MARGIN))
        elif one.what == "flat":
            self.standing.flattening = 0
            self.step(FlattenDone())
        if self.ticks_ns is None and self.state.reasons:
            self.ticks_ns = self.now_ns + NS_PER_S
        self.check()

    def check(self) -> None:
        """The same reasons, the same permission, the same hold; the table's counts are those of its rows."""
        rows = [row for row in self.pauses if row.state != FREE]
        scopes = {standing.ACCOUNT: pause.ACCOUNT, **dict(enumerate(NAMES))}
        ours = {(reason_of(row.reason), scopes[row.instrument]): row.state == standing.CAUSE_THERE for row in rows}
        assert ours == {(one.reason, one.scope): one.gone_ns is None for one in self.state.reasons}
        assert self.standing.count == len(rows)
        assert self.standing.recovering == sum(row.state == standing.RECOVERING for row in rows)
        assert self.standing.flattens == sum(row.flattens for row in rows)
        for index, name in enumerate(NAMES):
            may_add = standing.may_add(self.standing, self.pauses, index)
            assert may_add == permission.may_increase(self.state, name)
            held = any(
                pause.cancels_entries(one.reason, ACTIONS[self.action(standing.REASON_NAMES.index(one.reason))])
                and one.scope in (pause.ACCOUNT, name)
                for one in self.state.reasons
            )
            held = held or self.state.mode is permission.Mode.FLATTENING
            assert standing.holds_entries(self.standing, self.pauses, index) == held


def raised(code: int = standing.FEED_STALE, instrument: int = 0, *, after_ns: int = 0) -> Happening:
    """A cause appears."""
    return Happening(after_ns=after_ns, what="raise", code=code, instrument=instrument)


def gone(code: int = standing.FEED_STALE, instrument: int = 0, *, after_ns: int = 0) -> Happening:
    """A cause goes."""
    return Happening(after_ns=after_ns, what="gone", code=code, instrument=instrument)


def happening(dice: Random) -> Happening:
    """Any happening. Tenths of a second meet the ticks often; odd nanoseconds do not."""
    waits = (dice.randint(0, 40) * TENTH, dice.randint(0, 3) * NS_PER_S, dice.randint(0, 5 * NS_PER_S), 0)
    return Happening(
        after_ns=dice.choice(waits),
        what=dice.choice(["raise", "raise", "gone", "gone", "flatten", "flat", "wait"]),
        code=dice.choice([*CODES, *CODES[:5], *CODES[:5]]),
        instrument=dice.randint(0, 1),
    )


def story_of(seed: int) -> list[Happening]:
    """Forty happenings; a story is named by its seed, since shrinking forty of them would take minutes."""
    dice = Random(seed)
    return [happening(dice) for _ in range(40)]


@given(
    st.integers(0, 10**9).map(story_of),
    st.sampled_from([0, 1, 3 * TENTH, NS_PER_S, 25 * TENTH, 8 * NS_PER_S]),
    st.fixed_dictionaries({code: st.sampled_from(sorted(ACTIONS)) for code in CONTROLS}),
)
@example([raised(), gone(after_ns=NS_PER_S), Happening(after_ns=0, what="wait")], 0, {})
def test_both_executions_say_the_same_at_all_times(
    story: list[Happening], resume_after_ns: int, actions: dict[int, int]
) -> None:
    """Whatever is raised, goes or is flattened, and whenever: each instrument may do the same, tick by tick."""
    pair = Pair(resume_after_ns, actions)
    for one in story:
        pair.apply(one)
    pair.until(pair.now_ns + resume_after_ns + 3 * NS_PER_S)
    pair.check()
    left = {row.reason for row in pair.pauses if row.state == standing.RECOVERING}
    assert left == set(), "what recovers has recovered by now"


@pytest.mark.parametrize(
    ("raised_ns", "gone_ns", "resume_ns", "clear_ns"),
    [
        (3 * TENTH, 50 * TENTH, 60 * NS_PER_S, 653 * TENTH),
        (0, 7 * NS_PER_S, 10 * NS_PER_S, 17 * NS_PER_S),
        (0, 7 * NS_PER_S + 1, 10 * NS_PER_S, 18 * NS_PER_S),
        (0, 7 * NS_PER_S - 1, 10 * NS_PER_S, 17 * NS_PER_S),
        (5, 5, 1, NS_PER_S + 5),
        (5, NS_PER_S + 4, 1, NS_PER_S + 5),
        (5, NS_PER_S + 5, 1, 2 * NS_PER_S + 5),
        (5, NS_PER_S + 5, 0, 2 * NS_PER_S + 5),
        (5, NS_PER_S + 4, 0, NS_PER_S + 5),
    ],
)
def test_a_reason_clears_at_the_first_tick_after_its_time(
    raised_ns: int, gone_ns: int, resume_ns: int, clear_ns: int
) -> None:
    """Ticks count from the first raise; the first one that is late enough clears, and none before it looks."""
    pair = Pair(resume_ns)
    pair.apply(raised(after_ns=raised_ns))
    pair.apply(gone(after_ns=gone_ns - raised_ns))
    assert standing.next_tick_ns(pair.standing, pair.pauses) == clear_ns
    pair.until(clear_ns - 1)
    assert not standing.may_add(pair.standing, pair.pauses, 0)
    assert pair.looks == 0
    pair.until(clear_ns)
    assert standing.may_add(pair.standing, pair.pauses, 0)
    assert (pair.looks, pair.standing.count, pair.standing.tick_ns) == (1, 0, NEVER_NS)


def test_the_clock_ticks_on_while_anything_stands() -> None:
    """A second reason recovers by the first one's ticks; when nothing stands, the next raise starts a clock anew."""
    pair = Pair(NS_PER_S)
    pair.apply(raised(after_ns=3))
    pair.apply(raised(standing.OVERFLOW, after_ns=5 * TENTH))
    pair.apply(gone(after_ns=TENTH))
    pair.apply(gone(standing.OVERFLOW, after_ns=2 * NS_PER_S))
    assert standing.next_tick_ns(pair.standing, pair.pauses) == 4 * NS_PER_S + 3
    pair.until(10 * NS_PER_S)
    assert pair.standing.count == 0
    pair.apply(raised(after_ns=7))
    pair.apply(gone())
    assert standing.next_tick_ns(pair.standing, pair.pauses) == 11 * NS_PER_S + 7


def test_a_cause_that_comes_back_ends_the_recovery() -> None:
    """The time counts from when the cause went last; a raise of what stands already changes nothing."""
    pair = Pair(10 * NS_PER_S)
    pair.apply(raised())
    assert not standing.begin(pair.standing, pair.pauses, standing.FEED_STALE, 0, session.CANCEL_ENTRIES, 0, 0)
    pair.apply(gone(after_ns=NS_PER_S))
    pair.apply(raised(after_ns=9 * NS_PER_S))
    assert standing.next_tick_ns(pair.standing, pair.pauses) == NEVER_NS
    pair.apply(gone(after_ns=NS_PER_S))
    assert standing.next_tick_ns(pair.standing, pair.pauses) == 21 * NS_PER_S
    assert not standing.cease(pair.standing, pair.pauses, standing.FEED_STALE, 0, pair.now_ns), "it recovers already"


@pytest.mark.parametrize("code", [code for code in CODES if is_latched(code)])
def test_a_latched_reason_never_goes_by_itself(code: int) -> None:
    """Its cause may go as often as it likes."""
    pair = Pair(0)
    pair.apply(raised(code))
    pair.apply(gone(code, after_ns=NS_PER_S))
    pair.until(1_000 * NS_PER_S)
    assert pair.standing.count == 1
    assert not any(standing.may_add(pair.standing, pair.pauses, index) for index in range(2))


def test_what_flattens_is_counted_until_it_clears() -> None:
    """The driver asks for a flatten while the count is not zero."""
    pair = Pair(NS_PER_S, {standing.VOLATILITY_HALT: session.FLATTEN})
    pair.apply(raised(standing.VOLATILITY_HALT))
    assert pair.standing.flattens == 1
    pair.apply(gone(standing.VOLATILITY_HALT, after_ns=NS_PER_S))
    assert pair.standing.flattens == 1, "its cause may come back"
    pair.until(2 * NS_PER_S)
    assert (pair.standing.flattens, pair.standing.count) == (0, 0)


def test_codes_and_reasons_are_the_same_words() -> None:
    """Every code has a reason of its own; what latches there latches here; none is told without a name."""
    assert standing.REASON_NAMES[0] == ""
    reasons = [reason_of(code) for code in CODES]
    assert len(set(reasons)) == len(reasons)
    assert [pause.is_latched(reason) for reason in reasons] == [is_latched(code) for code in CODES]


def test_the_table_has_a_row_for_every_reason_of_every_scope() -> None:
    """A reason without a row would not stand: the backtest's table cannot be full."""
    assert len(ACCOUNT_WIDE) + (len(CODES) - len(ACCOUNT_WIDE)) * INSTRUMENTS <= PAUSES
    own, pauses = g.Standing(), table(g.Pause, 2)
    rows = [standing.begin(own, pauses, standing.OVERFLOW, index, session.PAUSE, 0, 0) for index in range(3)]
    assert rows == [True, True, False]
    assert own.count == 2
