"""Rows of [alerts]: what arrives at a service, and how."""

from pathlib import Path

import attrs

from tests.ops.alert_service import alert_service
from tests.settings import markets
from tests.settings.simulated import Played, Simulated
from tests.settings.table import ABSENT, Changes, placed, row


@attrs.frozen(kw_only=True)
class Alerted(Simulated):
    """A life that tells a service; in values of text ``{urls}`` stands for the file that has its address."""

    async def play(self, changes: Changes, folder: Path) -> Played:
        """Live it; ``seen`` is each event that arrived, with how bad the service was told that it is."""
        with alert_service() as service:
            urls = folder / "urls"
            urls.touch(mode=0o600)
            urls.write_text(service.url, encoding="utf-8")
            whole = {"alerts.urls": {"file": "{urls}"}, **changes}
            played = await Simulated.play(self, {k: placed(v, {"urls": str(urls)}) for k, v in whole.items()}, folder)
            played.seen = dict(zip(service.events(), (one["type"] for one in service.arrived), strict=True))
        return played


TOLD = Alerted(name="a market that stands still, and a service", tape=markets.still)


def stopped(played: Played) -> object:
    """How bad it is said to be that the run ended; None where nobody is told."""
    return played.seen.get("stopped")


ROWS = (
    row(
        "alerts.urls",
        TOLD,
        lambda played: sorted(played.seen),
        "the events that arrive",
        (ABSENT, []),
        ({"file": "{urls}"}, ["recentered", "started", "stopped"]),
    ),
    row(
        "alerts.default",
        TOLD,
        stopped,
        "how bad the end of the run is said to be",
        ("on", "warning"),
        ("silent", "info"),
        ("off", None),
    ),
    row(
        "alerts.events",
        TOLD,
        stopped,
        "how bad the end of the run is said to be",
        ({}, "warning"),
        ({"stopped": "silent"}, "info"),
        ({"stopped": "off"}, None),
    ),
)
