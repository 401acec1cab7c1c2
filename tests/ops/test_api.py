"""The routes that tell how an account stands and control it: who may, what is asked for, what is told."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest

from hedgegrid.ops.control import ControlReading, FlattenStage, FlattenState, Trip
from hedgegrid.ops.http import HttpServer
from hedgegrid.ops.readings import RuntimeReading
from tests.ops.telling import BTC, Account
from tests.ops.test_http import HOST, account_at_work, fetch

READ, CONTROL = "read-token", "control-token"


CONTROL_READING = ControlReading(
    control="max_gross_notional_quote",
    kind="gate",
    scope="",
    unit="quote",
    limit=10.0,
    value=None,
    headroom=None,
    stands=False,
    action="refuse",
    enabled=True,
    refusals=3,
    last_trip=Trip(ts_ns=1_751_760_000_000_000_000, age_s=90.0, scope=BTC, times=2, figures={"limit": "10"}),
)


@attrs.define
class Asked:
    """A running account that writes down what it is asked for."""

    words: list[tuple[Any, ...]] = attrs.field(factory=list)
    switch: bool = True

    def pause(self) -> None:
        """Take note."""
        self.words.append(("pause",))

    def resume(self, *, new_peak: bool) -> None:
        """Take note."""
        self.words.append(("resume", new_peak))

    def throttle(self, factor_ppm: int) -> None:
        """Take note."""
        self.words.append(("throttle", factor_ppm))

    def cancel_entries(self) -> None:
        """Take note."""
        self.words.append(("cancel_entries",))

    def kill(self) -> bool:
        """Take note, unless it is off."""
        if self.switch:
            self.words.append(("kill",))
        return self.switch

    def flatten(self, legs: tuple[str, ...]) -> None:
        """Take note."""
        self.words.append(("flatten", legs))

    def flattening(self) -> FlattenState:
        """Tell of one that is stuck."""
        return FlattenState(stage=FlattenStage.LEFT, legs=("long",), left=("LONG 3 lots",), age_s=2.5)

    def controls(self) -> tuple[ControlReading, ...]:
        """Tell of one."""
        return (CONTROL_READING,)


@asynccontextmanager
async def served(
    account: Account, asked: Asked, *, read: str | None = READ, control: str | None = CONTROL
) -> AsyncIterator[int]:
    """The account behind a port."""
    server = HttpServer(
        account.view,
        now_ns=lambda: account.now_ns,
        mode="sim",
        read_runtime=lambda: RuntimeReading(account=account.books),
        control=asked,
        read_token=read,
        control_token=control,
    )
    await server.start(HOST, 0)
    try:
        yield server.port
    finally:
        await server.stop()


async def ask(port: int, path: str, body: object = None, **headers: Any) -> tuple[int, Any]:
    """One request with the control token unless ``headers`` say otherwise; a body makes it a POST."""
    named: dict[str, Any] = {"authorization": f"Bearer {CONTROL}", **headers}
    method = "GET" if body is None else "POST"
    content = b"" if body is None else (body if isinstance(body, bytes) else json.dumps(body).encode())
    status, _, answer = await fetch(port, path, method=method, content=content, **named)
    return status, json.loads(answer)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("pause", {}, ("pause",)),
        ("resume", {}, ("resume", False)),
        ("resume", {"new_peak": True}, ("resume", True)),
        ("throttle", {"factor": 0.25}, ("throttle", 250_000)),
        ("cancel-entries", {}, ("cancel_entries",)),
        ("flatten", {}, ("flatten", ("long", "short"))),
        ("kill", {}, ("kill",)),
        ("flatten", {"leg": "short"}, ("flatten", ("short",))),
    ],
)
async def test_controls_reach_the_account(path: str, body: object, words: tuple[Any, ...]) -> None:
    """Each control asks the account for exactly what it names, and answers that it is on its way."""
    asked = Asked()
    async with served(account_at_work(), asked) as port:
        status, answer = await ask(port, f"/api/v1/{path}", body)
    assert status == 202, answer
    assert asked.words == [words]


@pytest.mark.asyncio
async def test_a_kill_switch_that_is_off_says_so() -> None:
    """409 with the setting's name, and nothing is asked for."""
    asked = Asked(switch=False)
    async with served(account_at_work(), asked) as port:
        status, answer = await ask(port, "/api/v1/kill", {})
    assert (status, asked.words) == (409, [])
    assert "kill_switch" in answer["detail"]


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("throttle", {"factor": 1.5}),
        ("throttle", {"factor": -0.1}),
        ("throttle", {}),
        ("throttle", b'{"factor": NaN}'),
        ("flatten", {"leg": "all"}),
        ("flatten", {"legs": "long"}),
        ("resume", {"new_peak": "yes"}),
        ("flatten", b"{"),
        ("flatten", b'{"leg": "long"' + b" " * 5_000 + b"}"),
    ],
)
async def test_bad_bodies_are_refused(path: str, body: object) -> None:
    """What is misspelt, out of range, no JSON or too long is refused, and nothing is asked for."""
    asked = Asked()
    async with served(account_at_work(), asked) as port:
        status, _ = await ask(port, f"/api/v1/{path}", body)
    assert status in (400, 413)
    assert asked.words == []


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("tokens", "headers", "expected"),
    [
        ((READ, CONTROL), {"authorization": f"Bearer {READ}"}, 401),
        ((READ, CONTROL), {"authorization": ""}, 401),
        ((READ, CONTROL), {"authorization": f"bearer {CONTROL}"}, 401),
        ((READ, CONTROL), {"origin": "https://evil.example"}, 403),
        ((READ, CONTROL), {"origin": "null"}, 403),
        ((READ, CONTROL), {"host": "evil.example"}, 403),
        ((READ, None), {}, 403),
        ((None, None), {}, 403),
        ((READ, CONTROL), {"origin": "http://localhost:1"}, 202),
        ((None, CONTROL), {}, 202),
    ],
)
async def test_who_may_control(tokens: tuple[str | None, str | None], headers: dict[str, str], expected: int) -> None:
    """Only the control token controls; without one nobody does; a page of another origin is refused with any token."""
    asked = Asked()
    async with served(account_at_work(), asked, read=tokens[0], control=tokens[1]) as port:
        status, _ = await ask(port, "/api/v1/pause", {}, **headers)
    assert status == expected
    assert asked.words == ([("pause",)] if expected == 202 else [])


@pytest.mark.asyncio
async def test_status_and_risk_tell_what_is_known() -> None:
    """Money, legs, reasons, limits and the flatten come as figures; what is not known is null, never zero."""
    async with served(account_at_work(), Asked()) as port:
        code, status = await ask(port, "/api/v1/status", authorization=f"Bearer {READ}")
        assert code == 200
        _, risk = await ask(port, "/api/v1/risk")
        _, flatten = await ask(port, "/api/v1/flatten")
    assert status["equity"] == 10_000.12345678
    lifts = "lifts by itself once its cause has been gone for a while"
    reasons = [{"reason": "feed_stale", "scope": BTC, "age_s": 1.0, "lifted_by": lifts}]
    assert (status["mode"], status["mode_since_s"], status["reasons"]) == ("reducing", 1.0, reasons)
    assert (status["drawdown"], status["margin"]) == (0.5, 0.124999)
    one = status["instruments"][0]
    assert (one["instrument"], one["open_orders"], one["legs"][0]["qty"]) == (BTC, None, None)
    assert (risk["mode"], risk["reasons"]) == ("reducing", reasons)
    assert risk["controls"] == [attrs.asdict(CONTROL_READING)]
    assert status["flatten"] == flatten
    assert (flatten["stage"], flatten["left"]) == ("left", ["LONG 3 lots"])


@pytest.mark.asyncio
async def test_there_is_no_equity_before_the_wallet_is_known() -> None:
    """A sample of an hour ago is no equity: without the books' own figures the account's money is not known."""
    account = account_at_work()
    account.sample(1_000_012_345_678)
    account.books = None
    async with served(account, Asked()) as port:
        _, status = await ask(port, "/api/v1/status")
    assert {status[name] for name in ("equity", "wallet", "unrealised", "drawdown", "margin", "fees")} == {None}


@pytest.mark.asyncio
async def test_schema_is_served() -> None:
    """The OpenAPI text names every route."""
    async with served(account_at_work(), Asked()) as port:
        _, schema = await ask(port, "/api/v1/openapi/openapi.json")
    assert {"/api/v1/status", "/api/v1/flatten", "/api/v1/cancel-entries"} <= set(schema["paths"])
