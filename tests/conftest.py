"""What every test stands on.

Invariants: no test reaches an address beyond this machine, whoever opens the socket and whatever
catches the error; where HEDGEGRID_REQUIRE_ALL=1 is set nothing is skipped: a skip is a failure that
names its reason; property tests are repeatable there, and search anew everywhere else.
"""

import ipaddress
import os
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from loguru import logger

pytest_plugins = ["pytester"]

REQUIRE_ALL = os.environ.get("HEDGEGRID_REQUIRE_ALL") == "1"
LOCAL_NAMES = frozenset({"", "localhost"})

# A shared machine is slow at times: neither a deadline nor slow generation says anything about the code.
settings.register_profile("search", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("repeat", settings.get_profile("search"), derandomize=True, database=None, print_blob=True)
settings.load_profile("repeat" if REQUIRE_ALL else "search")


class OutsideWorldError(RuntimeError):
    """A test tried to reach an address that is not this machine's."""


class Guard:
    """Refuses sockets to other machines while a test runs, and remembers each attempt.

    It is an audit hook, so it also sees what libraries open; a hook cannot be removed, so one serves the session.
    """

    def __init__(self) -> None:
        self.watching = False
        self.attempts: list[str] = []

    def __call__(self, event: str, arguments: tuple[object, ...]) -> None:
        """Judge one audit event; OutsideWorldError where it would leave this machine."""
        if not self.watching:
            return
        if event in {"socket.connect", "socket.sendto", "socket.sendmsg"}:
            address = arguments[1]
            host = address[0] if isinstance(address, tuple) else ""
        elif event == "socket.getaddrinfo":
            host = arguments[0]
        else:
            return
        if not is_local(host):
            self.attempts.append(f"{event} {host!r}")
            message = f"{event} to {host!r}: tests may use loopback addresses only"
            raise OutsideWorldError(message)


def is_local(host: object) -> bool:
    """Whether a socket address, as Python passes it, stays on this machine; names but localhost do not."""
    name = host.decode() if isinstance(host, bytes) else host
    if not isinstance(name, str) or name in LOCAL_NAMES:
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


GUARD = Guard()
sys.addaudithook(GUARD)


@pytest.fixture(autouse=True)
def loopback_only() -> Iterator[None]:
    """Fail the test that tried to leave this machine, even where the code under test caught the refusal."""
    GUARD.attempts.clear()
    GUARD.watching = True
    yield
    GUARD.watching = False
    assert not GUARD.attempts, f"the test reached out: {GUARD.attempts}"


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder of recorded market files beside the clone; the test is skipped where there is none."""
    folder = Path(__file__).parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip(f"no recorded market beside the clone ({folder.name}/ is absent)")
    return folder


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skipped test into a failed one where all are required."""
    report = yield
    if REQUIRE_ALL and report.skipped and not hasattr(report, "wasxfail"):
        refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same for a module that skips itself whole."""
    report = yield
    if REQUIRE_ALL and report.skipped:
        refuse_skip(report)
    return report


def refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Make the report a failure that keeps the reason of the skip."""
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
    report.outcome = "failed"
    report.longrepr = f"HEDGEGRID_REQUIRE_ALL=1 forbids this skip: {reason}"


@pytest.fixture(autouse=True)
def _plain_log() -> None:
    """Undo what a run inside the process did to the log: its masking would reach into other tests."""
    logger.configure(patcher=lambda _record: None)
