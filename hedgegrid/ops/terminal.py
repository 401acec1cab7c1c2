"""The run in a terminal: a live table for people, plain lines for pipes.

Invariants: nothing is drawn more often than ``FRAMES_PER_S``, and nothing without ``tick``: no thread, no timer; a pipe
gets whole lines without control codes; ``close`` leaves the cursor and the streams as they were.
"""

from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

import attrs
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from hedgegrid.core.account_figures import AccountFigures
from hedgegrid.model.order import Leg, Purpose
from hedgegrid.ops import account_words, phrases
from hedgegrid.ops.moment import Standing, standing_of
from hedgegrid.ops.view import AccountView, InstrumentView
from hedgegrid.units import NS_PER_S

FRAMES_PER_S: Final = 4
LINE_PERIOD_NS: Final = 5 * NS_PER_S
NOTICES_SHOWN: Final = 5


@attrs.frozen(kw_only=True)
class Progress:
    """How far a replay has come: ``done`` of ``total``, counted in ``unit``."""

    done: int
    total: int
    unit: str = "bars"


class StatusPrinter:
    """Shows a view for as long as a run lasts; ``with`` closes it."""

    def __init__(
        self,
        view: AccountView,
        console: Console,
        *,
        now_ns: Callable[[], int],
        wall_ns: Callable[[], int],
        progress: Callable[[], Progress | None] = lambda: None,
        account: Callable[[], AccountFigures | None] = lambda: None,
        line_period_ns: int = LINE_PERIOD_NS,
    ) -> None:
        """Show ``view`` on ``console``: a table where that is a terminal, else a line every ``line_period_ns``.

        ``now_ns`` is the clock of the view's times; ``wall_ns`` only ever grows and paces the output; ``progress``
        tells how far a replay of known length has come (None: unknown); ``account`` gives the gate's books (None: there
        is no gate yet).
        """
        self._view = view
        self._console = console
        self._now_ns = now_ns
        self._wall_ns = wall_ns
        self._progress = progress
        self._account = account
        self._period_ns = NS_PER_S // FRAMES_PER_S if console.is_terminal else line_period_ns
        self._started_wall_ns = wall_ns()
        self._shown_wall_ns: int | None = None
        self._noticed = view.notices_total
        self._live: Live | None = None
        self._closed = False

    def __enter__(self) -> Self:
        """Show nothing yet: the first ``tick`` does."""
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        """Close, whatever ended the run."""
        self.close()

    def tick(self) -> None:
        """Show what is due by now; cheap where nothing is. Harmless after ``close``."""
        if self._closed:
            return
        if not self._console.is_terminal:
            self._print_notices()
        wall_ns = self._wall_ns()
        if self._shown_wall_ns is None or wall_ns - self._shown_wall_ns >= self._period_ns:
            self._shown_wall_ns = wall_ns
            self._show()

    def close(self) -> None:
        """Show the last state once more and give the terminal back. Harmless when closed already."""
        if self._closed:
            return
        self._closed = True
        if not self._console.is_terminal:
            self._print_notices()
        self._show()
        if self._live is not None:
            self._live.stop()

    def _show(self) -> None:
        if not self._console.is_terminal:
            self._print(status_line(self._view, self._now_ns(), self._pace(), self._account()))
            return
        if self._live is None:
            self._live = Live(console=self._console, auto_refresh=False, redirect_stdout=True, redirect_stderr=True)
            self._live.start()
        self._live.update(_screen(self._view, self._now_ns(), self._pace(), self._account()), refresh=True)

    def _print_notices(self) -> None:
        """Print what was noted since the last time; what the view has forgotten since is only counted."""
        fresh = self._view.notices_total - self._noticed
        self._noticed = self._view.notices_total
        kept = list(self._view.notices)[-fresh:] if fresh else []
        if fresh > len(kept):
            self._print(f"! {fresh - len(kept)} earlier notices are in the journal only")
        for notice in kept:
            self._print(f"! {phrases.moment(notice.at_ns)}  {notice.text}")

    def _print(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _pace(self) -> "_Pace | None":
        progress = self._progress()
        if progress is None:
            return None
        return _Pace(progress=progress, wall_ns=self._wall_ns() - self._started_wall_ns)


@attrs.frozen(kw_only=True)
class _Pace:
    """Progress with the wall time that it took."""

    progress: Progress
    wall_ns: int

    def __str__(self) -> str:
        done, total = self.progress.done, self.progress.total
        rate = done * NS_PER_S / self.wall_ns if self.wall_ns else 0.0
        left = phrases.span(round((total - done) / rate * NS_PER_S)) if rate else phrases.UNKNOWN
        share = done * 100 // total if total else 100
        return f"{done:,}/{total:,} {self.progress.unit} ({share}%), {rate:,.0f}/s, {left} left"


def status_line(
    view: AccountView, now_ns: int, pace: object | None = None, account: AccountFigures | None = None
) -> str:
    """Write the account as one line; percent are since the session began."""
    now = standing_of(view, account)
    open_orders = view.open_total()
    parts = [
        phrases.moment(view.market_ns),
        account_words.permission(view),
        f"equity {phrases.money(now.equity_e8)} (session {phrases.percent(now.session_percent)})",
        f"realised {phrases.signed(now.realised_e8)}",
        f"unrealised {phrases.signed(now.unrealised_e8)}",
    ]
    for name, one in view.instruments.items():
        parts.append(
            f"{name} long {account_words.position(one, Leg.LONG)} short {account_words.position(one, Leg.SHORT)}"
        )
    parts += [
        f"open {phrases.UNKNOWN if open_orders is None else open_orders}",
        f"fills {view.fills_total()}",
        f"refused {sum(view.refusals.values())}",
        f"bar {phrases.age(_newest_bar_ns(view), now_ns)}",
    ]
    if pace is not None:
        parts.append(str(pace))
    return " | ".join(parts)


def _newest_bar_ns(view: AccountView) -> int | None:
    return max((one.bar_ns for one in view.instruments.values() if one.bar_ns is not None), default=None)


def _screen(view: AccountView, now_ns: int, pace: _Pace | None, account: AccountFigures | None) -> Group:
    now = standing_of(view, account)
    parts: list[Table | Text | ProgressBar] = [_account_table(view, now), _instruments_table(view, now_ns)]
    parts += [
        Text(f"{phrases.moment(notice.at_ns)}  {notice.text}", style="yellow", no_wrap=True, overflow="ellipsis")
        for notice in list(view.notices)[-NOTICES_SHOWN:]
    ]
    if pace is not None:
        bar = Table.grid(padding=(0, 1))
        bar.add_row(
            ProgressBar(total=max(1, pace.progress.total), completed=pace.progress.done, width=30), Text(str(pace))
        )
        parts.append(bar)
    return Group(*parts)


def _account_table(view: AccountView, now: Standing) -> Table:
    table = Table(title=f"hedgegrid {view.account}", title_justify="left", show_header=False, expand=False)
    style = "green" if view.mode == "active" else "bold yellow"
    for label, text in (
        ("market", Text(phrases.moment(view.market_ns))),
        ("permission", Text(account_words.permission(view), style=style)),
        ("equity", Text(f"{phrases.money(now.equity_e8)} (session {phrases.percent(now.session_percent)})")),
        (
            "PnL",
            Text(f"realised {phrases.signed(now.realised_e8)}  unrealised {phrases.signed(now.unrealised_e8)}"),
        ),
        ("costs", Text(f"fees {phrases.money(now.fees_e8)}  funding {phrases.money(now.funding_e8)}")),
        (
            "refused",
            Text(f"{sum(view.refusals.values())} by the gate  {sum(view.rejections.values())} by the exchange"),
        ),
    ):
        table.add_row(label, text)
    return table


def _instruments_table(view: AccountView, now_ns: int) -> Table:
    table = Table(expand=False)
    for heading in ("instrument", "mark", "leg", "position", "entries", "exits", "fills", "last bar"):
        table.add_column(heading, justify="left" if heading in {"instrument", "leg"} else "right", no_wrap=True)
    for name, one in view.instruments.items():
        mark = phrases.UNKNOWN if one.mark_ticks is None else one.rules.price_text(one.mark_ticks)
        ends = (name, mark, phrases.age(one.bar_ns, now_ns)), ("", "", "")
        for (title, price, bar), leg in zip(ends, Leg, strict=True):
            entries, exits = _resting(view, name, one, leg)
            fills = str(sum(one.fills[leg]))
            table.add_row(title, price, leg.name.lower(), account_words.position(one, leg), entries, exits, fills, bar)
    return table


def _resting(view: AccountView, name: str, one: InstrumentView, leg: Leg) -> tuple[str, str]:
    """Write how many entries and how many exits rest."""
    if one.orders_ns is None:
        return phrases.UNKNOWN, phrases.UNKNOWN
    entries = view.orders.count(name, leg, Purpose.ENTRY)
    every = sum(view.orders.count(name, leg, purpose) for purpose in Purpose)
    return str(entries), str(every - entries)
