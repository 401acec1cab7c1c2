"""Alerts arrive at a service over HTTP as the settings say, and nothing that a service does holds anybody up."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from hedgegrid.config.values import nearest
from hedgegrid.messages.events import (
    EXPENSIVE_FUNDING,
    ActorRestarted,
    FlatConfirmed,
    GridMoved,
    Incident,
    Liquidated,
    Message,
    PermissionChanged,
)
from hedgegrid.model.order import Leg
from hedgegrid.ops import alerting
from hedgegrid.ops.alert_events import EVENTS, Alert, AlertWords, Severity
from hedgegrid.ops.alert_services import QUIET, Services
from hedgegrid.ops.alerting import PER_MINUTE, QUEUE_MAX, SAME_S, Alerting
from hedgegrid.ops.logs import Masker
from tests.ops.alert_service import AlertService, alert_service
from tests.ops.telling import BTC, Account

HEAD: dict[str, Any] = {"seq": 1, "cause_seq": 0, "ts_venue_ns": 0, "ts_recv_ns": 0}
ADDRESSES = {
    "tgram": "tgram://123456789:abcdefg_hijklmnop/12345/",
    "discord": "discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js",
    "ntfy": "ntfy://topic",
    "ntfys": "ntfys://topic",
    "pover": "pover://user@token",
    "gotify": "gotify://localhost/token",
    "gotifys": "gotifys://localhost/token",
}


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that has much else to do is no service that hangs: the last alerts may take their time."""
    monkeypatch.setattr(alerting, "END_S", 60.0)


class Told:
    """An alerting at a service, with a clock and a log of the test's own."""

    def __init__(self, service: AlertService, *extra: str, **levels: Any) -> None:
        """Begin."""
        self.now_s = 0.0
        self.log: list[str] = []
        self.alerting = Alerting(
            account="demo",
            urls=[service.url, *extra],
            default=levels.pop("default", "on"),
            events=levels,
            words=AlertWords({BTC: Account().view.instruments[BTC].rules}, {"drawdown": "flatten"}),
            masker=Masker(["s3cret-t0ken", "pa55word"]),
            now_s=lambda: self.now_s,
            warn=self.log.append,
        )
        self.alerting.start()


@pytest.fixture
def service() -> Iterator[AlertService]:
    """A service that takes everything."""
    with alert_service() as one:
        yield one


def changed(before: str, after: str, change: str, reason: str = "", scope: str = "") -> PermissionChanged:
    """A change of the permission with a figure."""
    figures = {"value": "7"} if reason else {}
    return PermissionChanged(
        **HEAD, before=before, after=after, change=change, reason=reason, scope=scope, figures=figures
    )


MESSAGES: list[tuple[Message, str]] = [
    (changed("active", "reducing", "raised", "feed_stale", BTC), "paused"),
    (changed("active", "reducing", "raised", "drawdown"), "tripped"),
    (changed("reducing", "reducing", "still_latched", "drawdown"), "paused"),
    (changed("reducing", "active", "cleared", "feed_stale"), "resumed"),
    (GridMoved(**HEAD, instrument=BTC, regime=0, center_ticks=10, step_micro=1, generation=3), "recentered"),
    (FlatConfirmed(**HEAD, legs=(Leg.LONG, Leg.SHORT), foreign=()), "flat"),
    (Liquidated(**HEAD, equity_e8=1, maintenance_e8=2), "liquidation"),
    (ActorRestarted(**HEAD, actor="feed", error="OSError", attempt=2), "restart"),
    (Incident(**HEAD, actor="strategy", text=EXPENSIVE_FUNDING, figures={"rate_e8": "9"}), "funding warning"),
    (Incident(**HEAD, actor="executor", text="look at this", figures={}), "incident"),
]


def test_each_message_is_its_event(service: AlertService) -> None:
    """What people are told is what happened, in order, by the name that the settings have for it."""
    told = Told(service)
    for message, _ in MESSAGES:
        told.alerting.observe(message)
    told.alerting.stop("the test is over")
    assert service.events() == [*(event for _, event in MESSAGES), "stopped"]
    assert service.arrived[1]["message"] == (
        "drawdown (value 7); the entries go, and everything is closed at the market; "
        "until `hedgegrid resume --new-peak`"
    )
    assert service.arrived[1]["type"] == "failure"
    assert told.alerting.counts.sent == len(MESSAGES) + 1
    assert told.log == []


def test_warm_up_and_a_change_of_regime_tell_nothing(service: AlertService) -> None:
    """What is no news to a person is no alert."""
    told = Told(service)
    told.alerting.observe(changed("warming", "active", "warmed"))
    for regime in (0, 1, 2):
        moved = GridMoved(**HEAD, instrument=BTC, regime=regime, center_ticks=10, step_micro=1, generation=3)
        told.alerting.observe(moved)
    told.alerting.stop("")
    assert service.events() == ["recentered", "stopped"]


def test_levels_choose(service: AlertService) -> None:
    """Off is not told, silent is told as plain information, and the rest by the default."""
    told = Told(service, default="off", tripped="silent", flat="on", stopped="off")
    for message, _ in MESSAGES:
        told.alerting.observe(message)
    told.alerting.stop("")
    assert [(name, one["type"]) for name, one in zip(service.events(), service.arrived, strict=True)] == [
        ("tripped", "info"),
        ("flat", "success"),
    ]


@pytest.mark.parametrize("kind", QUIET)
def test_silent_reaches_the_service_in_its_own_words(kind: str) -> None:
    """What a service that can be told to be quiet is told is an address that apprise takes, and differs from aloud."""
    services = Services([ADDRESSES[kind]])
    (one,) = services._open
    bound: tuple[Any, Any] = (one.aloud, one.silently)
    aloud, silent = (notify.__self__.url() for notify in bound)
    assert aloud != silent
    assert services.refused == []


def test_the_same_is_told_once_in_a_while(service: AlertService) -> None:
    """Repeats within five minutes are counted, not told; after that the same words are news again."""
    told = Told(service)
    for _ in range(3):
        told.alerting.tell(Alert("incident", "again"))
    told.now_s = SAME_S
    told.alerting.tell(Alert("incident", "again"))
    told.alerting.stop("")
    assert service.events() == ["incident", "incident", "stopped"]
    assert told.alerting.counts.repeated == 2


def test_a_state_that_changed_between_is_no_repeat(service: AlertService) -> None:
    """Paused, resumed, paused again within a minute: whoever reads the last alert knows how things stand."""
    told = Told(service)
    paused, resumed = Alert("paused", "operator"), Alert("resumed", "entries may be added again")
    for alert in (paused, paused, resumed, paused, resumed, resumed, Alert("tripped", "drawdown"), resumed):
        told.alerting.tell(alert)
    told.alerting.stop("")
    assert service.events() == ["paused", "resumed", "paused", "resumed", "tripped", "resumed", "stopped"]
    assert told.alerting.counts.repeated == 2


def test_a_flood_is_held_back_and_hides_nothing_that_matters(service: AlertService) -> None:
    """Of a hundred fills a minute twenty are told; a trip passes them all, and the next fill says how many more."""
    told = Told(service)
    for number in range(100):
        told.alerting.tell(Alert("fill", f"fill {number}"))
    told.alerting.tell(Alert("tripped", "drawdown"))
    told.now_s = 60.0
    told.alerting.tell(Alert("fill", "one more"))
    told.alerting.stop("")
    assert service.events() == [*["fill"] * PER_MINUTE, "tripped", "fill", "stopped"]
    assert service.arrived[-2]["message"] == f"one more; {100 - PER_MINUTE} more were held back"
    assert told.alerting.counts.held_back == 100 - PER_MINUTE


def test_a_service_that_hangs_holds_nobody_up(service: AlertService) -> None:
    """While it does not answer, telling returns at once, and what there is no room for is counted."""
    told = Told(service)
    service.gate.clear()
    for number in range(2 * QUEUE_MAX):
        told.now_s += 60.0
        told.alerting.tell(Alert("paused", f"pause {number}"))
    assert service.arrived == []
    counts = told.alerting.counts
    assert counts.held_back >= QUEUE_MAX - 1
    assert counts.sent == 0


def test_a_service_that_fails_is_logged_once_and_counted(service: AlertService) -> None:
    """Its kind is named, never its address; when it works again that is said too."""
    told = Told(service)
    service.status = 500
    for number in range(3):
        told.alerting.tell(Alert("paused", f"{number}"))
    service.until(3)
    until_failed(told, 3)
    service.status = 200
    told.alerting.stop("")
    counts = told.alerting.counts
    assert (counts.failed, counts.sent) == (3, 1)
    assert told.log == [
        "alerts do not arrive by json: trading goes on, this is said once",
        "alerts arrive by json again",
    ]


def until_failed(told: Told, count: int) -> None:
    """Wait until so many have failed."""
    until_s = time.monotonic() + 20
    while told.alerting.counts.failed < count and time.monotonic() < until_s:
        time.sleep(0.01)


def test_no_secret_leaves(service: AlertService) -> None:
    """A secret in a text is masked, in whatever message it came; an address that is none is named by its kind alone."""
    told = Told(service, "nosuch://user:pa55word@host")
    told.alerting.observe(Incident(**HEAD, actor="x", text="key s3cret-t0ken", figures={"listenKey": "pa55word"}))
    told.alerting.stop("s3cret-t0ken")
    assert len(service.arrived) == 2
    assert not any("s3cret" in str(one) or "pa55word" in str(one) for one in (*service.arrived, *told.log))
    assert told.log == ["alerts.urls: nosuch: not an address that apprise knows"]


def test_every_event_has_words_and_a_neighbour() -> None:
    """The catalogue is for people: each has a meaning, and a slip in its name finds it again."""
    assert all(event.meaning and event.severity in Severity for event in EVENTS.values())
    assert {nearest(f"{name}s", EVENTS, likeness=0.0) for name in EVENTS} == set(EVENTS)
