"""Rows of [ops]: what the process serves to the machine, where, to whom, and how."""

import asyncio
import io
import os
import socket
import ssl
import sys
from pathlib import Path

import attrs
from rich.console import Console

from hedgegrid.config.render import render_effective
from hedgegrid.errors import Fatal
from hedgegrid.lifecycle import Life
from hedgegrid.worlds.world import RunOptions
from tests.command import ROOT
from tests.live.trading_bot import secret
from tests.ops.test_http import TLS, fetch
from tests.settings.simulated import configured
from tests.settings.table import ABSENT, Changes, placed, row
from tests.settings.wire import CROWD

CERTIFICATE, KEY = TLS
OTHER = str(Path(__file__).parent / "payloads" / "other.cert.pem")
"""A second certificate of the same key, made for this table, trusted by nobody."""
SYNTHETIC: Changes = {"sim.market": "synthetic", "grid[].timeframe": "1s"}
READ, CONTROL = "word-to-read", "word-to-control"


@attrs.frozen(kw_only=True)
class Served:
    """What a caller got: the statuses of a read and of a command, each without and with its token."""

    refused: str = ""
    reads: tuple[int, int] = (0, 0)
    commands: tuple[int, int] = (0, 0)
    certificate: str = ""


@attrs.frozen(kw_only=True)
class Called:
    """A life in real time that somebody calls, over TLS where it has a certificate."""

    name: str = "somebody calls"
    together: str = CROWD

    async def play(self, changes: Changes, folder: Path) -> Served:
        """Live it, call it, and end it."""
        secret(folder / "read", READ)
        secret(folder / "control", CONTROL)
        config, why = configured(folder, SYNTHETIC, changes)
        if config is None:
            return Served(refused=why)
        life, told = Life(), list[str]()
        options = RunOptions(listen=("127.0.0.1", 0))
        running = asyncio.create_task(life.run(config, options, Console(file=io.StringIO()), told.append))
        try:
            while not (ports := [line.rpartition(":")[2].partition("/")[0] for line in told if "/metrics" in line]):
                if running.done():
                    running.result()
                await asyncio.sleep(0.01)
            return await called(int(ports[0]), tls=config.ops.tls_cert is not None)
        except Fatal as error:
            return Served(refused=str(error).partition(":")[0])
        finally:
            # Told to a life that is over, the word would bound the end of this process.
            if not running.done():
                life.end("the test is over")
            await asyncio.gather(running, return_exceptions=True)


async def called(port: int, *, tls: bool) -> Served:
    """Call what is served on a port."""
    context = ssl._create_unverified_context() if tls else None  # noqa: S323 - the caller trusts anybody

    async def status(method: str, path: str, token: str) -> int:
        return (await fetch(port, path, method=method, context=context, authorization=token and f"Bearer {token}"))[0]

    return Served(
        reads=(await status("GET", "/metrics", ""), await status("GET", "/metrics", READ)),
        commands=(await status("POST", "/api/v1/pause", ""), await status("POST", "/api/v1/pause", CONTROL)),
        certificate="" if context is None else await certificate_at(port, context),
    )


async def certificate_at(port: int, context: ssl.SSLContext) -> str:
    """Give the file that the certificate which is shown on a port comes from."""
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.transport.abort()
    files = {ssl.PEM_cert_to_DER_cert(Path(each).read_text(encoding="ascii")): each for each in (CERTIFICATE, OTHER)}  # noqa: ASYNC240
    return files[shown]


@attrs.frozen(kw_only=True)
class Listening:
    """The command as a process, while somebody else holds a port of this machine: ``{taken}``."""

    name: str = "the command listens"
    together: str = CROWD

    async def play(self, changes: Changes, folder: Path) -> str:
        """Run it through five minutes of an invented market; give what it says of the port."""
        with socket.create_server(("127.0.0.1", 0)) as holder, socket.create_server(("127.0.0.1", 0)) as other:
            free = other.getsockname()[1]
            other.close()
            words = {"taken": str(holder.getsockname()[1]), "free": str(free)}
            own = {path: placed(value, words) for path, value in changes.items()}
            config, why = configured(folder, SYNTHETIC, own)
            assert config is not None, why
            file = folder / "account.toml"
            file.write_text(render_effective(config), encoding="utf-8")
            arguments = ("run", "--config", str(file), "--speed", "max", "--duration", "10s")
            running = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "hedgegrid", *arguments),
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
            )
            _, said = await running.communicate()
        if f"metrics at http://127.0.0.1:{free}/" in said.decode():
            return "served"
        return "refused" if f"port {words['taken']} is in use" in said.decode() else said.decode()


CALLED = Called()
LISTENING = Listening()
STATUSES = "the HTTP status without and with the token"

ROWS = (
    row(
        "ops.listen",
        LISTENING,
        lambda said: said,
        "what becomes of the port",
        ("127.0.0.1:{free}", "served"),
        ("127.0.0.1:{taken}", "refused"),
    ),
    row(
        "ops.read_token",
        CALLED,
        lambda served: served.reads,
        STATUSES,
        (ABSENT, (200, 200)),
        ({"file": "{folder}/read"}, (401, 200)),
    ),
    row(
        "ops.control_token",
        CALLED,
        lambda served: served.commands,
        STATUSES,
        (ABSENT, (403, 403)),
        ({"file": "{folder}/control"}, (401, 202)),
    ),
    row(
        "ops.tls_cert",
        CALLED,
        lambda served: served.certificate or served.refused,
        "the certificate that is shown",
        (CERTIFICATE, CERTIFICATE),
        (OTHER, OTHER),
        given={"ops.tls_key": KEY},
    ),
    row(
        "ops.tls_key",
        CALLED,
        lambda served: served.certificate or served.refused,
        "the certificate that is shown, or the refusal",
        (KEY, CERTIFICATE),
        ("{folder}/read", "[ops] tls_cert and tls_key"),
        given={"ops.tls_cert": CERTIFICATE},
    ),
)
