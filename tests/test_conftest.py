"""The safety net of the suite holds: skips are refused where all is required, sockets stay on this machine."""

import socket
from pathlib import Path

import pytest

CONFTEST = Path(__file__).with_name("conftest.py")

SKIPS = """
import pytest

@pytest.fixture
def absent():
    pytest.skip("nothing here")

def test_fixture(absent): ...

@pytest.mark.skip(reason="not today")
def test_marked(): ...

@pytest.mark.xfail(strict=True, reason="known")
def test_expected():
    raise ValueError
"""

MODULE_SKIP = """
import pytest

pytest.skip("whole module", allow_module_level=True)
"""

CAUGHT = """
import socket

def test_caught():
    with socket.socket() as plug:
        try:
            plug.connect(("192.0.2.1", 9))
        except RuntimeError:
            pass
"""


def run_inner(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, required: str, **modules: str
) -> pytest.RunResult:
    """Run made-up test modules under this suite's conftest in a child of their own."""
    monkeypatch.setenv("HEDGEGRID_REQUIRE_ALL", required)
    pytester.makeconftest(CONFTEST.read_text())
    pytester.makepyfile(**modules)
    return pytester.runpytest_subprocess(
        "-p", "no:randomly", "-p", "no:cacheprovider", "--continue-on-collection-errors"
    )


def test_skips_stay_skips_at_home(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clone without the recorded market still has a green suite."""
    result = run_inner(pytester, monkeypatch, "0", test_skips=SKIPS, test_module=MODULE_SKIP)
    result.assert_outcomes(skipped=3, xfailed=1)
    assert result.ret == 0


def test_required_skips_fail(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test is lost in silence: by fixture, mark or module, a required skip fails; an expected failure stays one."""
    result = run_inner(pytester, monkeypatch, "1", test_skips=SKIPS, test_module=MODULE_SKIP)
    result.assert_outcomes(errors=3, xfailed=1)
    for reason in ("nothing here", "not today", "whole module"):
        result.stdout.fnmatch_lines([f"*forbids this skip*{reason}*"])


def test_caught_connection_fails_the_test(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Code that swallows the refusal cannot hide that it reached out."""
    result = run_inner(pytester, monkeypatch, "0", test_caught=CAUGHT)
    result.assert_outcomes(passed=1, errors=1)


def test_loopback_is_open() -> None:
    """Tests of the HTTP application and of local stand-ins may talk to themselves."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        with socket.create_connection(("localhost", port)):
            pass
