"""The port answers with the account's figures, to those who may ask, and gives way at the end."""

import asyncio
import json
import logging
import signal
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
from loguru import logger
from prometheus_client.parser import text_string_to_metric_families

from hedgegrid.errors import Fatal
from hedgegrid.ops.http import HttpServer
from hedgegrid.ops.readings import RuntimeReading
from tests.ops.telling import BTC, Account, S, child, mailbox

PAYLOADS = Path(__file__).parent / "payloads"
# Made for these tests, for loopback names, trusted by nobody.
TLS = (str(PAYLOADS / "loopback.cert.pem"), str(PAYLOADS / "loopback.key.pem"))
HOST = "127.0.0.1"


def account_at_work() -> Account:
    """An account with an equity and a pause."""
    account = Account()
    account.worth(1_000_012_345_678)
    account.permit("active", "reducing", "raised", "feed_stale", BTC)
    account.mark(1_081_235)
    return account


@asynccontextmanager
async def serving(
    account: Account,
    read_runtime: Callable[[], RuntimeReading] = RuntimeReading,
    *,
    read_token: str | None = None,
    tls: tuple[str, str] | None = None,
) -> AsyncIterator[HttpServer]:
    """A server on a free port, stopped at the end."""
    server = HttpServer(
        account.view,
        now_ns=lambda: account.now_ns,
        read_runtime=lambda: attrs.evolve(read_runtime(), account=account.books),
        mode="sim",
        read_token=read_token,
        tls=tls,
    )
    await server.start(HOST, 0)
    try:
        yield server
    finally:
        await server.stop()


async def fetch(
    port: int,
    path: str,
    *,
    method: str = "GET",
    content: bytes = b"",
    context: ssl.SSLContext | None = None,
    **headers: Any,
) -> tuple[int, dict[str, str], bytes]:
    """One request over a connection of its own: status, headers, body."""
    named = {"host": f"localhost:{port}", "connection": "close", **headers}
    if content:
        named |= {"content-length": str(len(content)), "content-type": "application/json"}
    reader, writer = await asyncio.open_connection(HOST, port, ssl=context)
    try:
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in named.items() if value)]
        writer.write("\r\n".join([*lines, "", ""]).encode() + content)
        answer = await reader.read()
    finally:
        await hang_up(writer)
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *fields = head.decode().split("\r\n")
    return int(status.split()[1]), {k.lower(): v for k, _, v in (line.partition(": ") for line in fields)}, body


async def hang_up(writer: asyncio.StreamWriter) -> None:
    """Close, however the other side went."""
    writer.close()
    try:
        await writer.wait_closed()
    except (ConnectionError, ssl.SSLError):
        assert writer.is_closing()


async def read_to_the_end(client: socket.socket) -> int:
    """Bytes that come until the other side ends or cuts the connection."""
    received = 0
    try:
        while chunk := await asyncio.get_running_loop().sock_recv(client, 1 << 20):
            received += len(chunk)
    except ConnectionResetError:
        return received
    return received


@pytest.mark.asyncio
async def test_metrics_are_the_accounts() -> None:
    """A Prometheus that scrapes the port reads the account's equity, in the format that the header names."""
    async with serving(account_at_work(), lambda: RuntimeReading(mailboxes=(mailbox("feed", depth=3),))) as server:
        status, headers, body = await fetch(server.port, "/metrics")
    assert status == 200
    assert headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    samples = {
        sample.name: sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }
    assert round(samples["hedgegrid_equity_quote"] * 10**8) == 1_000_012_345_678
    assert samples["hedgegrid_mark_price"] == 108_123.5
    assert "hedgegrid_mailbox_depth" in samples


@pytest.mark.asyncio
async def test_health_tells_actors_permission_and_ages() -> None:
    """From outside one sees which actor stopped, why trading pauses, and how old the figures are."""
    account = account_at_work()
    reading = RuntimeReading(children=(child("root", child("feed", restarts=2, progress_ns=account.now_ns - 4 * S)),))
    async with serving(account, lambda: reading) as server:
        status, headers, body = await fetch(server.port, "/api/v1/health")
    told: dict[str, Any] = json.loads(body)
    assert (status, headers["content-type"]) == (200, "application/json")
    assert (told["account"], told["mode"], told["equity_age_s"]) == ("demo", "reducing", 2.0)
    lifts = "lifts by itself once its cause has been gone for a while"
    assert told["reasons"] == [{"reason": "feed_stale", "scope": BTC, "age_s": 1.0, "lifted_by": lifts}]
    assert told["balance_age_s"] == 2.0
    assert told["instruments"][0] == {
        "instrument": BTC,
        "mark_age_s": 0.0,
        "funding_age_s": None,
        "bar_age_s": None,
        "orders_age_s": None,
    }
    root, feed = told["actors"]
    assert (root["name"], root["progress"]) == ("root", None)
    assert (feed["name"], feed["state"], feed["restarts"]) == ("feed", "running", 2)
    assert (feed["progress"], feed["progress_age_s"], feed["waiting"]) == (42, 4.0, 3)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("method", "path", "expected"), [("GET", "/", 404), ("GET", "/api/v1/orders", 404), ("POST", "/metrics", 403)]
)
async def test_other_requests_are_refused(method: str, path: str, expected: int) -> None:
    """There is nothing else to find."""
    async with serving(account_at_work()) as server:
        status, _, body = await fetch(server.port, path, method=method)
    assert (status, json.loads(body)["status_code"]) == (expected, expected)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", 200),
        ("localhost:8080", 200),
        ("LOCALHOST", 200),
        ("[::1]:8080", 200),
        ("attacker.example", 403),
        ("attacker.example:8080", 403),
        ("localhost.attacker.example", 403),
        ("[::1].attacker.example", 400),
        ("localhost@attacker.example", 400),
        ("", 400),
    ],
)
async def test_only_our_own_names_are_answered(host: str, expected: int) -> None:
    """DNS rebinding: a web page that points its own name at this machine learns nothing, on any path."""
    async with serving(account_at_work()) as server:
        answers = [await fetch(server.port, path, host=host) for path in ("/metrics", "/nowhere")]
    assert answers[0][0] == expected
    assert answers[1][0] == (404 if expected == 200 else expected)
    assert expected == 200 or b"1000012" not in answers[0][2]


@pytest.mark.asyncio
async def test_read_token_is_asked_for() -> None:
    """Where a token is set, nothing is told without it."""
    async with serving(account_at_work(), read_token="open sesame") as server:
        for wrong in ("", "Bearer open", "Bearer open sesame ", "Basic open sesame"):
            status, headers, body = await fetch(server.port, "/metrics", authorization=wrong)
            expected = 200 if wrong == "Bearer open sesame " else 401  # white space around a value is not part of it
            assert status == expected
            assert status == 200 or (headers["www-authenticate"], b"hedgegrid" in body) == ("Bearer", False)
        status, _, _ = await fetch(server.port, "/api/v1/health", authorization="Bearer open sesame")
        assert status == 200


@pytest.mark.asyncio
async def test_a_failing_route_says_nothing_and_is_logged() -> None:
    """An error's text may hold anything: the client gets none of it, and the log all of it."""

    def broken() -> RuntimeReading:
        raise ValueError("wallet of 123456")

    lines: list[str] = []
    sink = logger.add(lines.append, format="{message} {exception}")
    try:
        async with serving(account_at_work(), broken) as server:
            status, _, body = await fetch(server.port, "/metrics")
            assert (status, b"123456" in body, b"Traceback" in body) == (500, False, False)
            assert (await fetch(server.port, "/nowhere"))[0] == 404
    finally:
        logger.remove(sink)
    assert any("GET /metrics failed" in line and "wallet of 123456" in line for line in lines)


@pytest.mark.asyncio
async def test_a_port_in_use_is_one_clear_error() -> None:
    """The second run on a machine is told what to change; the first is not disturbed."""
    account = account_at_work()
    async with serving(account) as first:
        second = HttpServer(account.view, now_ns=lambda: 0, read_runtime=RuntimeReading, mode="sim")
        with pytest.raises(
            Fatal, match=rf"port {first.port} is in use: change \[ops\] listen or stop the other process"
        ):
            await second.start(HOST, first.port)
        await second.stop()
        assert (await fetch(first.port, "/metrics"))[0] == 200


@pytest.mark.asyncio
async def test_the_port_is_free_after_a_stop() -> None:
    """A restart finds its port again."""
    async with serving(account_at_work()) as first:
        port = first.port
        assert (await fetch(port, "/metrics"))[0] == 200
    again = HttpServer(Account().view, now_ns=lambda: 0, mode="sim", read_runtime=RuntimeReading)
    await again.start(HOST, port)
    assert (await fetch(port, "/metrics"))[0] == 200
    await again.stop()
    with pytest.raises(ConnectionRefusedError):
        await fetch(port, "/metrics")


@pytest.mark.asyncio
@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "trading.example"])  # noqa: S104 - what is refused
async def test_an_address_that_others_reach_needs_tls_and_a_token(host: str) -> None:
    """Positions and pauses are nobody else's business: neither alone is enough, and no socket is opened."""
    view = account_at_work().view
    for token, tls in ((None, None), ("token", None), (None, TLS)):
        server = HttpServer(view, now_ns=lambda: 0, mode="sim", read_runtime=RuntimeReading, read_token=token, tls=tls)
        with pytest.raises(Fatal, match=r"set tls_cert, tls_key and read_token, or listen on 127\.0\.0\.1"):
            await server.start(host, 0)
        with pytest.raises(RuntimeError):
            _ = server.port


@pytest.mark.asyncio
async def test_a_wildcard_address_with_tls_and_token_is_served() -> None:
    """In a container one listens everywhere; the name is then whatever the certificate says."""
    account = account_at_work()
    server = HttpServer(
        account.view, now_ns=lambda: account.now_ns, mode="sim", read_runtime=RuntimeReading, read_token="t", tls=TLS
    )
    await server.start("0.0.0.0", 0)  # noqa: S104 - what is tested
    context = ssl.create_default_context(cafile=TLS[0])
    try:
        headers: dict[str, Any] = {"host": "trading.example", "authorization": "Bearer t"}
        assert (await fetch(server.port, "/metrics", context=context, **headers))[0] == 200
        assert (await fetch(server.port, "/metrics", context=context))[0] == 401
    finally:
        await server.stop()


@pytest.mark.asyncio
async def test_bad_certificates_are_one_clear_error(tmp_path: Path) -> None:
    """A wrong path or a file that is no certificate is named at the start, and the port is given back."""
    no_key = tmp_path / "key.pem"
    no_key.write_text("no key")
    for tls in ((TLS[0], str(tmp_path / "absent.pem")), (TLS[0], str(no_key))):
        server = HttpServer(Account().view, now_ns=lambda: 0, mode="sim", read_runtime=RuntimeReading, tls=tls)
        with pytest.raises(Fatal, match="tls_cert and tls_key"):
            await server.start(HOST, 0)


@pytest.mark.asyncio
async def test_slow_clients_hold_nobody_up() -> None:
    """One that sends half a request and one that never reads: others are answered, and the stop does not wait."""
    account = Account(*(f"C{number}/USDT:USDT" for number in range(400)))
    async with serving(account) as server:
        _, half = await asyncio.open_connection(HOST, server.port)
        half.write(b"GET /metrics HTTP/1.1\r\nHost: loc")
        deaf = socket.create_connection((HOST, server.port))
        deaf.settimeout(0)
        deaf.send(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n" * 40)
        await half.drain()
        status, _, body = await fetch(server.port, "/metrics")
        assert (status, len(body) > 500_000) == (200, True)
        inner = server._server
        assert inner is not None
        async with asyncio.timeout(20):
            await server.stop()
            assert inner.server_state.connections == set()
            assert await read_to_the_end(deaf) < 40 * len(body)
    await hang_up(half)
    deaf.close()


@pytest.mark.asyncio
async def test_stop_with_an_open_connection() -> None:
    """A browser keeps its connection open: the run ends all the same, and stopping twice is harmless."""
    server = HttpServer(Account().view, now_ns=lambda: 0, mode="sim", read_runtime=RuntimeReading)
    await server.stop()
    await server.start(HOST, 0)
    reader, writer = await asyncio.open_connection(HOST, server.port)
    writer.write(b"GET /api/v1/health HTTP/1.1\r\nHost: localhost\r\n\r\n")
    await reader.readuntil(b"\r\n\r\n")
    async with asyncio.timeout(20):
        await server.stop()
        await server.stop()
        await reader.read()
    await hang_up(writer)
    assert {task.get_name() for task in asyncio.all_tasks()} & {"http", "http-ready"} == set()


@pytest.mark.asyncio
async def test_connections_are_bounded() -> None:
    """Law 11: who opens connections without end gets refusals, not memory."""
    async with serving(Account()) as server:
        idle: list[asyncio.StreamWriter] = []
        try:
            # Idle ones are cut in time: on a slow machine it takes more of them until the bound is met.
            while (await fetch(server.port, "/metrics"))[0] != 503:
                assert len(idle) < 1_000
                idle += [(await asyncio.open_connection(HOST, server.port))[1] for _ in range(70)]
        finally:
            for writer in idle:
                await hang_up(writer)
        answers = [(await fetch(server.port, "/metrics"))[0] for _ in range(200)]
        assert answers[-1] == 200


@pytest.mark.asyncio
async def test_signals_and_logging_stay_the_runs() -> None:
    """The server is a guest: SIGINT still ends the run by its stop policy, and logging stays as it was set up."""
    before = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
    handlers, level = list(logging.getLogger().handlers), logging.getLogger().level
    async with serving(Account()) as server:
        assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)] == before
        await fetch(server.port, "/metrics")
        assert logging.getLogger("uvicorn.error").handlers == []
        assert (list(logging.getLogger().handlers), logging.getLogger().level) == (handlers, level)
    assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)] == before


@pytest.mark.asyncio
async def test_framework_is_imported_by_the_start_alone() -> None:
    """A command that does not listen does not pay for the framework."""
    child_code = "import sys, hedgegrid.ops.http; sys.exit('litestar' in sys.modules or 'uvicorn' in sys.modules)"
    run = await asyncio.create_subprocess_exec(sys.executable, "-W", "error", "-c", child_code)
    assert await run.wait() == 0


@pytest.mark.asyncio
async def test_connections_that_ask_for_nothing_lock_nobody_out() -> None:
    """Half a request, many times over: those who ask are answered, and the idle ones are cut."""
    async with serving(account_at_work()) as server:
        idle = [await asyncio.open_connection(HOST, server.port) for _ in range(90)]
        for _, writer in idle:
            writer.write(b"GET /metrics HTT")
        async with asyncio.timeout(5.0):
            while (await fetch(server.port, "/metrics"))[0] != 200:  # noqa: ASYNC110 - the server has no event for it
                await asyncio.sleep(0.05)
        # All came at once, so which of them go first is open; how many do is not.
        reads = [asyncio.create_task(_is_cut(reader)) for reader, _ in idle]
        async with asyncio.timeout(5.0):
            for _, ended in zip(range(40), asyncio.as_completed(reads), strict=False):
                assert await ended
        for read in reads:
            read.cancel()
        await asyncio.gather(*reads, return_exceptions=True)
        for _, writer in idle:
            await hang_up(writer)


async def _is_cut(reader: asyncio.StreamReader) -> bool:
    """Whether the other side ended the connection without an answer to read."""
    try:
        return b" 200 " not in await reader.read()
    except ConnectionError:
        return True


@pytest.mark.asyncio
@pytest.mark.parametrize("origin", ["http://[", "http://[abc]/", "://", ""])
async def test_a_malformed_origin_is_refused(origin: str) -> None:
    """What is no address is another host's: one answer, no traceback."""
    async with serving(account_at_work()) as server:
        status, _, _ = await fetch(server.port, "/metrics", origin=origin or "null")
    assert status == 403
