"""Lines to an exchange that speaks TLS: the right one is spoken to over them, a wrong one hears nothing.

Invariant: what counts is what the server got, which it gets only from whoever has agreed to its certificate.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import attrs
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from hedgegrid.venues.ccxtpro.endpoints import endpoints
from hedgegrid.venues.ccxtpro.lines import LineRequest
from hedgegrid.venues.ccxtpro.wire import NotSentError, TradingWire
from tests.venues.ccxtpro.loopback import until
from tests.venues.ccxtpro.test_lines import ANSWER, ORDER

VALID: Final = (datetime(2020, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))


@attrs.frozen
class Authority:
    """Whoever says which server is which."""

    name: x509.Name
    key: ec.EllipticCurvePrivateKey
    path: Path
    """Its own certificate."""

    @classmethod
    def made(cls, path: Path) -> "Authority":
        """Make one, whose certificate lies at ``path``."""
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, path.stem)])
        one = cls(name, ec.generate_private_key(ec.SECP256R1()), path)
        uses = x509.KeyUsage(
            key_cert_sign=True,
            crl_sign=True,
            digital_signature=False,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            encipher_only=False,
            decipher_only=False,
        )
        own = one._begun(name, one.key, is_authority=True).add_extension(uses, critical=True)
        path.write_bytes(own.sign(one.key, hashes.SHA256()).public_bytes(Encoding.PEM))
        return one

    def _begun(
        self, name: x509.Name, key: ec.EllipticCurvePrivateKey, *, is_authority: bool
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(VALID[0])
            .not_valid_after(VALID[1])
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        )

    def server(self, host: str) -> ssl.SSLContext:
        """Give what a server needs that shows itself as ``host``."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([x509.DNSName(host)])
        begun = self._begun(x509.Name([]), key, is_authority=False).add_extension(names, critical=True)
        pem = self.path.with_name(f"{self.path.stem}-{host}.pem")
        secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        pem.write_bytes(secret + begun.sign(self.key, hashes.SHA256()).public_bytes(Encoding.PEM))
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(pem)
        return tls


@attrs.define
class Secured:
    """An exchange behind TLS, and a wire to it: what came on each connection, decrypted."""

    wire: TradingWire
    came: list[list[bytes]] = attrs.field(factory=list)


@asynccontextmanager
async def secured(tls: ssl.SSLContext) -> AsyncIterator[Secured]:
    """Run an exchange as ``tls`` has it, with a wire to it under the name of this machine."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pieces: list[bytes] = []
        one.came.append(pieces)
        while piece := await reader.read(65_536):
            pieces.append(piece)
            writer.write(ANSWER)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    origin = f"localhost:{server.sockets[0].getsockname()[1]}"
    where = endpoints("testnet", rest_url=f"https://{origin}", ws_url=f"wss://{origin}")
    one = Secured(TradingWire(endpoints=where, api_key="the-key", api_secret="s3cret", recv_window_ms=2_000))
    try:
        yield one
    finally:
        await one.wire.close()
        server.close()


@pytest.fixture
def known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
    """Give the one authority that the wire trusts."""
    one = Authority.made(tmp_path / "known.pem")
    monkeypatch.setattr("certifi.where", lambda: str(one.path))
    return one


@pytest.mark.asyncio
async def test_an_order_leaves_on_a_line_to_the_server_that_is_whom_it_says(known: Authority) -> None:
    """Protects the way that all live orders take: over TLS, on a line, whole and once."""
    async with secured(known.server("localhost")) as venue:
        assert (await venue.wire.request(venue.wire.prepared("fapiPrivatePostOrder", ORDER))).status == 200
        await until(lambda: len(venue.wire._lines._resting) == 1)
        made = venue.wire.held(venue.wire.prepared("fapiPrivatePostOrder", ORDER))
        assert isinstance(made, LineRequest)
        await until(lambda: [] in venue.came)
        ahead = next(pieces for pieces in venue.came if not pieces)
        reply = await venue.wire.request(made)
        assert (reply.status, reply.body) == (200, b'{"orderId":1}')
        (piece,) = ahead
        assert piece.startswith(b"POST /fapi/v1/order HTTP/1.1\r\nHost: localhost:")
        await until(lambda: len(venue.wire._lines._resting) == 1)


@pytest.mark.parametrize("wrong", ["host", "authority"])
@pytest.mark.asyncio
async def test_a_server_that_is_not_whom_it_should_be_hears_nothing(
    wrong: str, known: Authority, tmp_path: Path
) -> None:
    """Protects keys and orders: no line stands to it, no other way leads to it, and it is told that nothing left."""
    signed = known if wrong == "host" else Authority.made(tmp_path / "stranger.pem")
    async with secured(signed.server("another.example" if wrong == "host" else "localhost")) as venue:
        order = venue.wire.prepared("fapiPrivatePostOrder", ORDER)
        for _ in range(2):
            with pytest.raises(NotSentError, match="Certificate"):
                await venue.wire.request(order)
            await until(lambda: venue.wire._lines._dialling is None)
            assert venue.wire._on_line(order) is None
        await until(lambda: venue.wire._lines._dialling is None)
        assert (venue.came, venue.wire._lines._lines) == ([], set())
