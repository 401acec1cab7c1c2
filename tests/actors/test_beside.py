"""What runs beside the actors: an account that nobody guards any more is not traded on, one without a display is.

Invariant: what is asked is how the run ended, and what its exchange saw.
"""

from pathlib import Path
from typing import Any

import pytest

from hedgegrid.app import House
from hedgegrid.errors import Fatal
from hedgegrid.guarding import Guard
from hedgegrid.lifecycle import EXIT_FAILED, EXIT_OK, Life
from hedgegrid.messages.events import BarClosed, Incident
from hedgegrid.ops.terminal import StatusPrinter
from tests.actors.house import Script, boot, market, settings


def _broken(*_: Any) -> None:
    raise LookupError("a bug of ours")


@pytest.mark.asyncio
@pytest.mark.parametrize("name", ["guard", "kill file"])
async def test_a_run_ends_with_its_guard(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A guard that has failed guards nobody: the run ends as failed, and says which and why."""
    monkeypatch.setattr(*{"guard": (Guard, "run"), "kill file": (Life, "_watch_kill_file")}[name], _failing)
    one = await boot(settings(tmp_path), market(seed=2, count=60))
    assert one.outcome.exit_code == EXIT_FAILED
    assert one.outcome.failure == f"the {name} has failed: LookupError: a bug of ours"


async def _failing(*_: Any) -> None:
    _broken()


@pytest.mark.asyncio
async def test_a_run_goes_on_without_its_display(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal that takes no more lines is no reason to stop trading."""
    monkeypatch.setattr(StatusPrinter, "tick", _broken)
    one = await boot(settings(tmp_path), market(seed=2, count=60))
    assert (one.outcome.exit_code, one.outcome.failure) == (EXIT_OK, "")
    assert one.script.placed


@pytest.mark.asyncio
async def test_who_reports_beside_the_actors_goes_on_where_the_journal_fails(tmp_path: Path) -> None:
    """The full disk ends the run in one line; the stream that had a word for nobody does not get it in the face."""
    sent: list[str] = []

    def fails(_: House, message: object) -> None:
        if isinstance(message, Incident) and "no taker" in message.text:
            raise Fatal("the journal cannot be written")

    def lose(house: House, _: object, message: object) -> None:
        if isinstance(message, BarClosed) and not sent:
            house.router.send("nobody", message)
            sent.append("and went on")

    one = await boot(settings(tmp_path), market(seed=2, count=60), Script(before_publish=fails, before_handle=lose))
    assert sent
    assert one.outcome.failure == "the journal cannot be written"
