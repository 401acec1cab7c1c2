"""A config of this folder, run on the recorded crash of 2025-02-03 by the command, and what its journal says then.

Invariants: nothing is asked of the bot: every figure is read from the journal's file, with a connection of our own;
the market is a cut of the recording, and a scenario's lives walk it one after the other, each from where the one
before stopped.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import attrs
from click.testing import Result
from pyarrow import feather

from hedgegrid.journal.tape import decode
from hedgegrid.messages.events import RefusedBatch
from hedgegrid.units import NS_PER_S
from tests.command import ANY_PORT, cut_feather, invoke, rows

HERE: Final = Path(__file__).parent
BARS: Final = "data/um_1m/2025-01-27_2025-02-26"
FUNDING: Final = "data/funding/2024-12-31_2026-02-19"
CRASH: Final = datetime(2025, 2, 3, 1, 0, tzinfo=UTC)
"""40 minutes before the price falls from 95,400 to 91,800 within minutes."""
CRASH_MINUTES: Final = 100
ONE_POINT_NS: Final = 15 * NS_PER_S
"""What was on its way when a control tripped has arrived by then: bars of a minute have four points."""


@attrs.frozen(kw_only=True)
class Change:
    """A change of the permission, as the journal has it: what, why, when (ns), and the figures that caused it."""

    ts_ns: int
    before: str
    after: str
    change: str
    reason: str
    scope: str
    figures: Mapping[str, str]

    def figure(self, name: str) -> int:
        """A figure that is a whole number."""
        return int(self.figures[name])


@attrs.frozen(kw_only=True)
class Refusal:
    """An order that the gate refused, as the journal has it."""

    ts_ns: int
    control: str
    limit: str
    value: str
    purpose: int


@attrs.frozen(kw_only=True)
class Scenario:
    """A config, the market that it is run on, and the journal of its lives."""

    config: Path
    market: tuple[Path, ...]
    journal: Path

    def run(self, *arguments: str, minutes: int | None = None, code: int = 0) -> Result:
        """Live one life: to the market's end, or for so many minutes of it; AssertionError for another exit code."""
        given = [part for path in self.market for part in ("--data", path)]
        length = () if minutes is None else ("--duration", f"{minutes}m")
        place = ("--journal", self.journal, "--speed", "max", *ANY_PORT)
        result = invoke("run", "--config", self.config, *given, *place, *length, *arguments)
        assert result.exit_code == code, result.output
        return result

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        """Ask the journal's file."""
        return rows(self.journal, statement)

    def proven(self) -> None:
        """The journal verifies: its tables follow from its messages, and its money adds up."""
        report = invoke("journal", "verify", self.journal)
        assert report.exit_code == 0, report.output

    # --- what happened --------------------------------------------------------------------------------------------

    def changes(self, reason: str | None = None) -> list[Change]:
        """Every change of the permission, or those of one reason, in order."""
        found = self.query("SELECT ts_ns, before, after, change, reason, scope, figures FROM permission ORDER BY row")
        made = [
            Change(
                ts_ns=ts_ns,
                before=before,
                after=after,
                change=change,
                reason=why,
                scope=scope,
                figures=json.loads(figures),
            )
            for ts_ns, before, after, change, why, scope, figures in found
        ]
        return [one for one in made if reason is None or one.reason == reason]

    def trip(self, reason: str) -> Change:
        """When a reason was raised first, and with which figures. AssertionError where it never was."""
        raised = [one for one in self.changes(reason) if one.change == "raised"]
        assert raised, self.changes()
        return raised[0]

    def refusals(self, control: str | None = None) -> list[Refusal]:
        """Every order that the gate refused, or those that one control did, in order."""
        found = self.query("SELECT ts_ns, kind, payload FROM tape WHERE kind = 'RefusedBatch' ORDER BY row")
        made: list[Refusal] = []
        for ts_ns, kind, payload in found:
            batch = decode(kind, payload)
            assert isinstance(batch, RefusedBatch)
            made += [
                Refusal(
                    ts_ns=ts_ns,
                    control=one.control,
                    limit=one.limit,
                    value=one.value,
                    purpose=int(one.request.purpose),
                )
                for one in batch.refused
            ]
        return [one for one in made if control is None or one.control == control]

    def equities_e8(self, before_ns: int) -> list[int]:
        """The equity at each decision before a time, in quote x 1e8, in order."""
        found = self.query(f"SELECT equity_e8 FROM equity WHERE ts_ns < {before_ns} ORDER BY row")  # noqa: S608 - a number
        return [equity_e8 for (equity_e8,) in found]

    def entries_sent(self, after_ns: int, until_ns: int | None = None) -> int:
        """How many entries were approved after one time, up to another."""
        return self._count("orders WHERE purpose = 0 AND created_ns", after_ns, until_ns)

    def entries_filled(self, after_ns: int, until_ns: int | None = None) -> int:
        """How many times a leg grew after one time, up to another."""
        return self._count("fills WHERE purpose = 0 AND ts_ns", after_ns, until_ns)

    def market_reductions(self, after_ns: int) -> int:
        """How many fills of a flatten there were from a time on."""
        return self._count("fills WHERE purpose = 3 AND ts_ns", after_ns - 1, None)

    def _count(self, what: str, after_ns: int, until_ns: int | None) -> int:
        bound = "" if until_ns is None else f" AND {what.rpartition(' ')[2]} <= {until_ns}"
        ((count,),) = self.query(f"SELECT count(*) FROM {what} > {after_ns}{bound}")  # noqa: S608 - words of this class
        return int(count)

    def entries_open(self) -> int:
        """How many entries may rest by the journal's last word."""
        states = "('filled', 'cancelled', 'rejected', 'expired')"
        ((count,),) = self.query(f"SELECT count(*) FROM orders WHERE purpose = 0 AND state NOT IN {states}")  # noqa: S608
        return int(count)

    def held_lots(self) -> int:
        """What both legs of all instruments hold by the journal's last word."""
        ((held,),) = self.query("SELECT coalesce(sum(qty_lots), 0) FROM legs")
        return int(held)


def staged(
    name: str,
    folder: Path,
    shared_dir: Path,
    *,
    first: datetime = CRASH,
    minutes: int = CRASH_MINUTES,
    funding: bool = False,
    changed: Mapping[str, str] | None = None,
) -> Scenario:
    """Make ready the config ``name`` of this folder and the bars from ``first`` on, the recorded funding too if asked.

    ``changed`` gives texts of the config that are replaced, each of which must be there once.
    """
    text = (HERE / f"{name}.toml").read_text(encoding="utf-8")
    for old, new in (changed or {}).items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    config = folder / f"{name}.toml"
    config.write_text(text, encoding="utf-8")
    source = shared_dir / BARS / "BTCUSDT-1m.feather"
    begin = feather.read_table(source, columns=["date"]).column("date")[0].as_py()
    # A feather file loses its last bar on load: one more is cut.
    bars = cut_feather(source, folder / "BTCUSDT-1m.feather", (first - begin) // timedelta(minutes=1), minutes + 1)
    market = [bars]
    if funding:
        market.append(shared_dir / FUNDING / "BTCUSDT-funding.feather")
    return Scenario(config=config, market=tuple(market), journal=folder / f"{name}.db")
