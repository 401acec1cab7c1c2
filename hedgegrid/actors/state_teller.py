"""How the executor tells where things stand: our own books, once all that was asked for before has been sent.

Invariants: what is told is the state after every message that was published before it, and before every later one, the
wallet too: the exchange's may hold a fill that the books have still to hear of, which would then be counted twice. Its
word on the wallet is taken where the books have none yet; a difference is found by the readings (``hydration``).
"""

from collections.abc import Callable

from hedgegrid.actors.executor_notes import StateGathered
from hedgegrid.actors.order_table import OrderTable
from hedgegrid.actors.outbox import within
from hedgegrid.actors.post import EXECUTOR, RISK, Post, strategy_name
from hedgegrid.core.doubt import LOOK_NS
from hedgegrid.errors import Fatal, HedgegridError
from hedgegrid.messages.commands import Rehydrate
from hedgegrid.messages.events import AccountHydrated, Hydrated
from hedgegrid.ports import Recollection, Trading
from hedgegrid.runtime.clock import Clock


class StateTeller:
    """Answers ``Rehydrate``."""

    def __init__(
        self, *, trading: Trading, post: Post, clock: Clock, table: OrderTable, limit_ns: int | None, polled: bool
    ) -> None:
        """``limit_ns``: how long a request may take; ``polled``: the exchange tells the wallet alone."""
        self._polled = polled
        self._trading = trading
        self._post = post
        self._clock = clock
        self._table = table
        self._limit_ns = limit_ns
        self._asked: list[Rehydrate] = []

    def ask(self, asked: Rehydrate) -> None:
        """Take a question."""
        self._asked.append(asked)

    def ready(self, is_idle: Callable[[str], bool], *, reading: bool) -> tuple[Rehydrate, ...]:
        """Give, and forget, the questions that can be answered now: none while a reading is under way."""
        found = () if reading else tuple(asked for asked in self._asked if is_idle(asked.instrument))
        self._asked = [asked for asked in self._asked if asked not in found]
        return found

    async def gather(self, asked: Rehydrate) -> None:
        """Ask the exchange for marks and, for the whole account, the balance, until it answers; then bring a note."""
        while True:
            try:
                note = await self._gather(asked)
            except Fatal:
                raise
            except HedgegridError:
                await self._clock.sleep(LOOK_NS)
            else:
                self._post.send(note, EXECUTOR)
                return

    async def _gather(self, asked: Rehydrate) -> StateGathered:
        marks: dict[str, int] = {}
        for one in self._trading.instruments():
            if asked.instrument in ("", one.name):
                mark = await within(self._clock, self._limit_ns, self._trading.mark_ticks(one.name))
                marks[one.name] = mark or 0
        balance = None
        if not asked.instrument:
            balance = await within(self._clock, self._limit_ns, self._trading.balance())
        return StateGathered(**self._post.head(asked), asked=asked, marks=marks, balance=balance)

    def tell(self, gathered: StateGathered, memory: Recollection, *, foreign_orders: int) -> None:
        """Answer a question: one instrument to its strategy, all of them to risk."""
        asked = gathered.asked
        for name, mark_ticks in gathered.marks.items():
            word = Hydrated(
                **self._post.head(asked),
                instrument=name,
                positions=tuple(one for one in memory.positions if one.instrument == name),
                orders=tuple(self._table.open_orders(name)),
                lots=memory.lots.get(name, ()),
                unbooked=memory.unbooked.get(name, ()),
                grid=memory.grids.get(name),
                mark_ticks=mark_ticks,
                next_order_no=memory.next_sequence,
            )
            self._post.publish(word, strategy_name(name) if asked.instrument else RISK)
        if gathered.balance is not None:
            # A venue in the process adds up what a bot has earned, and loses no word of it.
            ours = memory.balance if self._polled else None
            done = AccountHydrated(
                **self._post.head(asked),
                balance=gathered.balance if ours is None else ours,
                foreign_orders=foreign_orders,
                of_books=ours is not None,
            )
            self._post.publish(done, RISK)
