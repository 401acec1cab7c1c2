"""The terminal shows the view: a table that people can watch, lines that programs can keep."""

import io
import re
import sys

import attrs
from rich.console import Console

from hedgegrid.messages import events
from hedgegrid.messages.events import OrderEventKind
from hedgegrid.model.account import Position
from hedgegrid.model.order import Leg, Purpose
from hedgegrid.ops.terminal import Progress, StatusPrinter, status_line
from hedgegrid.ops.view import NOTICES_MAX
from tests.ops.telling import BTC, Account, S, order

ANSI = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


@attrs.define
class Wall:
    """A wall clock that the test moves."""

    ns: int = 0

    def __call__(self) -> int:
        """The time."""
        return self.ns


def account_at_work() -> Account:
    """An account with a position, orders, a pause and money."""
    account = Account()
    account.hydrate(Position(instrument=BTC, leg=Leg.LONG, qty_lots=5, cost_e8=5 * 1_081_234 * 10_000))
    account.rest(order("a"), order("b"), order("t", Leg.LONG, Purpose.TAKE_PROFIT, 5))
    account.tell(OrderEventKind.CANCELLED, "b")
    account.refuse("price_collar")
    account.permit("active", "reducing", "raised", "feed_stale", BTC)
    account.mark(1_081_235)
    account.sample(1_000_000_000_000)
    account.close_bar()
    account.sample(1_001_234_400_000)
    account.worth(1_001_234_500_000, unrealised_e8=-5_000_000, sums_e8=(123_400_000, 0, 0), lots=(5, 0))
    return account


def console(*, terminal: bool) -> tuple[Console, io.StringIO]:
    """A console that writes into a text."""
    out = io.StringIO()
    return Console(file=out, force_terminal=terminal, width=120, height=40, _environ={}), out


def printer(account: Account, shown: Console, wall: Wall, progress: Progress | None = None) -> StatusPrinter:
    """A printer of the account's view."""
    return StatusPrinter(
        account.view,
        shown,
        now_ns=lambda: account.now_ns,
        wall_ns=wall,
        progress=lambda: progress,
        account=lambda: account.books,
    )


def test_status_line_says_what_matters() -> None:
    """One line is enough to know whether to worry."""
    account = account_at_work()
    line = status_line(account.view, account.now_ns, None, account.books)
    assert line == (
        "2025-07-06 00:00:08 | reducing (feed_stale of BTC/USDT:USDT) | equity 10,012.35 (session +0.02%)"
        " | realised +1.23 | unrealised -0.05 | BTC/USDT:USDT long 0.005 @ 108,123.4 short flat | open 2"
        " | fills 0 | refused 1 | bar 1.0 s ago"
    )


def test_status_line_of_an_unknown_account() -> None:
    """Before hydration nothing is claimed."""
    account = Account()
    assert status_line(account.view, account.now_ns) == (
        "- | - | equity - (session -) | realised - | unrealised - | BTC/USDT:USDT long - short - | open - | fills 0"
        " | refused 0 | bar -"
    )


def test_a_pipe_gets_plain_lines_at_its_pace() -> None:
    """Log collectors want whole lines without control codes, every few seconds of wall time."""
    account, wall = account_at_work(), Wall()
    shown, out = console(terminal=False)
    with printer(account, shown, wall) as status:
        for _ in range(100):
            wall.ns += S // 10
            status.tick()
    lines = out.getvalue().splitlines()
    assert len(lines) == 2 + 1  # at 0.1 s, at 5.1 s, at the end
    assert ANSI.sub("", out.getvalue()) == out.getvalue()
    assert all("equity 10,012.35" in line for line in lines)


def test_important_events_do_not_wait() -> None:
    """A pause is printed when it happens; what was there before the printer is not told again."""
    account, wall = account_at_work(), Wall()
    shown, out = console(terminal=False)
    status = printer(account, shown, wall)
    status.tick()
    account.permit("active", "reducing", "raised", "drawdown")
    account.incident("a stop was refused [bold]")
    status.tick()
    status.tick()
    lines = out.getvalue().splitlines()
    assert [line.partition("  ")[2] for line in lines[1:]] == [
        "permission active -> reducing: raised drawdown, age 7,000 ms",
        "incident in executor: a stop was refused [bold], order 3",
    ]


def test_a_flood_of_events_is_counted() -> None:
    """What was forgotten between two ticks is said to be missing."""
    account, wall = Account(), Wall()
    shown, out = console(terminal=False)
    status = printer(account, shown, wall)
    for number in range(NOTICES_MAX + 6):
        account.incident(f"number {number}")
    status.tick()
    lines = out.getvalue().splitlines()
    assert lines[0] == "! 6 earlier notices are in the journal only"
    assert len(lines) == 1 + NOTICES_MAX + 1


def test_a_terminal_gets_a_table_four_times_a_second() -> None:
    """The table shows money, legs and orders, and is not drawn more often than the eye needs."""
    account, wall = account_at_work(), Wall()
    shown, out = console(terminal=True)
    status = printer(account, shown, wall)
    for _ in range(100):
        wall.ns += S // 100
        status.tick()
    drawn = out.getvalue()
    assert drawn.count("hedgegrid demo") == 4
    status.close()
    for part in (
        "reducing (feed_stale",
        "10,012.35 (session +0.02%)",
        "108123.5",
        "0.005 @ 108,123.4",
        "flat",
        "1.0 s ago",
    ):
        assert part in ANSI.sub("", drawn)


def test_progress_tells_rate_and_what_is_left() -> None:
    """A replay of known length says when it will be done, on a terminal and in a pipe."""
    account, wall = account_at_work(), Wall()
    for terminal in (True, False):
        shown, out = console(terminal=terminal)
        status = printer(account, shown, wall, Progress(done=5_000, total=20_000))
        wall.ns += 10 * S
        status.tick()
        status.close()
        assert "5,000/20,000 bars (25%), 500/s, 30.0 s left" in ANSI.sub("", out.getvalue())
    empty, out = console(terminal=False)
    printer(account, empty, wall, Progress(done=0, total=0)).tick()
    assert "0/0 bars (100%), 0/s, - left" in out.getvalue()


def test_close_gives_the_terminal_back() -> None:
    """The cursor is shown again, the streams are the old ones, the last state stays; twice is harmless."""
    account, wall = account_at_work(), Wall()
    streams = sys.stdout, sys.stderr
    shown, out = console(terminal=True)
    status = printer(account, shown, wall)
    status.tick()
    assert sys.stderr is not streams[1]
    account.publish(events.MarketEnded, steps=7)
    status.close()
    length = len(out.getvalue())
    status.close()
    status.tick()
    assert (sys.stdout, sys.stderr) == streams
    assert out.getvalue().rindex("\x1b[?25h") > out.getvalue().rindex("\x1b[?25l")
    assert "the market ended after 7 steps" in out.getvalue()
    assert len(out.getvalue()) == length


def test_a_terminal_that_was_never_ticked_is_shown_once() -> None:
    """A run shorter than the first frame leaves its last state all the same."""
    shown, out = console(terminal=False)
    printer(account_at_work(), shown, Wall()).close()
    assert len(out.getvalue().splitlines()) == 1
