"""Exits that race each other, one race a test, and all of them at once."""

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from hedgegrid.messages.events import EndReason
from hedgegrid.model.order import Kind, Leg, Purpose
from tests.actors.played import BTC
from tests.actors.racing import Ring

EXITS = (Purpose.TAKE_PROFIT, Purpose.STOP, Purpose.FLATTEN)
PICK = st.integers(0, 999)


def check_at_rest(ring: Ring) -> None:
    """Lots are the position, on both sides; every lot has its stop and its take-profit, and nothing is too much."""
    assert not ring.words
    for leg in Leg:
        held = ring.position[leg]
        assert sum(lot.qty_lots for lot in ring.lots(leg)) == held
        assert sum(one.qty_lots for one in ring.journal.open_lots(BTC) if one.leg is leg) == held
        stops = [one for one in ring.resting(leg, Purpose.STOP) if one.request.kind is Kind.STOP_MARKET]
        assert sum(one.left for one in stops) == held, (leg, held, stops)
        assert sum(one.left for one in ring.resting(leg, Purpose.TAKE_PROFIT)) == held, leg
        covered = {cover.lot_id for one in stops for cover in one.request.covers}
        assert covered >= {lot.lot_id for lot in ring.lots(leg)}


class Races(RuleBasedStateMachine):
    """Random interleavings of everything that an exchange can do."""

    @initialize(refuse=st.booleans(), leg_stop=st.booleans(), merged=st.booleans())
    def begin(self, refuse: bool, leg_stop: bool, merged: bool) -> None:
        """Start and let the first ladder stand."""
        self.ring = Ring(refuse=refuse, leg_stop=int(leg_stop), max_stop_orders=1 if merged else 4)
        self.ring.bar(0)
        for name in self.ring.named("sent"):
            self.ring.arrive(name)
        self.ring.hear(99)

    def _pick(self, names: list[str], pick: int) -> str | None:
        return names[pick % len(names)] if names else None

    @rule(pick=PICK, refusal=st.sampled_from([None, None, None, EndReason.RATE_LIMITED, EndReason.WOULD_TRIGGER]))
    def arrives(self, pick: int, refusal: EndReason | None) -> None:
        """An order reaches the exchange."""
        name = self._pick(self.ring.named("sent"), pick)
        if name is not None:
            self.ring.arrive(name, refusal)

    @rule()
    def all_arrive(self) -> None:
        """Whatever is on its way reaches the exchange, well."""
        for name in self.ring.named("sent"):
            self.ring.arrive(name)

    @rule(pick=PICK, landed=st.booleans())
    def answer_is_lost(self, pick: int, landed: bool) -> None:
        """Nobody knows what became of an order."""
        name = self._pick(self.ring.named("sent"), pick)
        if name is not None:
            self.ring.lose(name, landed=landed)

    @rule(pick=PICK)
    def is_found(self, pick: int) -> None:
        """The executor finds out."""
        name = self._pick([name for name, one in self.ring.orders.items() if not one.known], pick)
        if name is not None:
            self.ring.find(name)

    @rule(pick=PICK, part=st.integers(1, 4))
    def entry_fills(self, pick: int, part: int) -> None:
        """An entry fills, whole or in part."""
        name = self._pick(self.ring.named("live", Purpose.ENTRY), pick)
        if name is not None:
            self.ring.fill(name, max(1, self.ring.orders[name].left // part))

    @rule(pick=PICK, part=st.integers(1, 4))
    def exit_fills(self, pick: int, part: int) -> None:
        """A take-profit fills or a stop triggers, whole or in part."""
        name = self._pick(self.ring.named("live", *EXITS), pick)
        if name is not None:
            self.ring.fill(name, max(1, self.ring.orders[name].left // part))

    @rule(pick=PICK, fails=st.booleans())
    def cancel_arrives(self, pick: int, fails: bool) -> None:
        """A cancel reaches the exchange."""
        name = self._pick([name for name, one in self.ring.orders.items() if one.cancels], pick)
        if name is not None and self.ring.orders[name].where != "sent":
            self.ring.cancel_arrives(name, fails=fails)

    @rule(pick=PICK)
    def exchange_ends_one(self, pick: int) -> None:
        """The exchange ends an exit by itself."""
        name = self._pick(self.ring.named("live", *EXITS), pick)
        if name is not None:
            self.ring.expire(name)

    @rule(leg=st.sampled_from(Leg), qty=st.integers(1, 25))
    def is_forced(self, leg: Leg, qty: int) -> None:
        """A forced reduction takes part of a leg."""
        self.ring.force(leg, qty)

    @rule(count=st.integers(1, 5))
    def hears(self, count: int) -> None:
        """The bot hears some words."""
        self.ring.hear(count)

    @rule()
    def hears_all(self) -> None:
        """The bot hears all words, one batch."""
        self.ring.hear(999)

    @rule(ms=st.sampled_from([10, 150, 1_100, 2_500, 6_000]))
    def time_passes(self, ms: int) -> None:
        """Time passes."""
        self.ring.wait(ms)

    @rule(move=st.integers(-40, 40))
    def bar_closes(self, move: int) -> None:
        """A bar closes."""
        self.ring.bar(move)

    @rule()
    def operator_pauses(self) -> None:
        """The operator pauses."""
        self.ring.pause()

    @rule()
    def operator_resumes(self) -> None:
        """The operator resumes."""
        self.ring.resume()

    @rule()
    def strategy_restarts(self) -> None:
        """The strategy starts anew."""
        self.ring.restart()

    @precondition(lambda self: hasattr(self, "ring"))
    @invariant()
    def nothing_is_added_while_paused(self) -> None:
        """Law 2."""
        assert self.ring.sent_while_paused == []

    @precondition(lambda self: hasattr(self, "ring"))
    @invariant()
    def lots_are_what_was_heard(self) -> None:
        """The strategy's lots are the journal's."""
        if self.ring.strategy._hydrated:
            for leg in Leg:
                ours = {lot.lot_id: lot.qty_lots for lot in self.ring.lots(leg)}
                told = {one.lot_id: one.qty_lots for one in self.ring.journal.open_lots(BTC) if one.leg is leg}
                assert ours == told

    def teardown(self) -> None:
        """At the quiet end everything is as it should be."""
        if not hasattr(self, "ring"):
            return
        self.ring.calm()
        # What was refused too often waits for a decision.
        self.ring.bar(0)
        self.ring.calm()
        check_at_rest(self.ring)


def test_any_interleaving_ends_right() -> None:
    """Whatever fills, answers, cancels and losses come in which order: lots, exits and position agree at the end."""
    run_state_machine_as_test(
        Races,
        settings=settings(
            max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
