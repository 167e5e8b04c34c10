"""A TLS end before Temporal's dev server, which has none: with client certificates, or with API keys, if wanted."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import hpack
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from masking.ports import all_let_in

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEADERS, SETTINGS, CONTINUATION = 0x1, 0x4, 0x9
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20
UNAUTHENTICATED = "16"
CHUNK = 65_536


class Authority:
    """Who makes certificates, into a folder."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, name
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._subject = _named(name)
        self._certificate = self._signed(self._subject, self._key.public_key(), is_authority=True)
        self.file = self._written(f"{name}.pem", self._certificate.public_bytes(Encoding.PEM))

    def issues(self, name: str) -> tuple[Path, Path]:
        """The files of a certificate and its key, for this machine or a client of this name."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._signed(_named(name), key.public_key(), is_authority=False)
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return (
            self._written(f"{self._name}-{name}.pem", certificate.public_bytes(Encoding.PEM)),
            self._written(f"{self._name}-{name}.key", private),
        )

    def _signed(self, subject: x509.Name, key: ec.EllipticCurvePublicKey, *, is_authority: bool) -> x509.Certificate:
        now = datetime.now(UTC)
        names = [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._subject)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=5))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(self._key, SHA256())
        )

    def _written(self, name: str, content: bytes) -> Path:
        path = self._folder / name
        path.write_bytes(content)
        return path


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


@dataclass
class TlsEnd:
    """Takes TLS connections and passes on what comes through them.

    Attributes:
        keys: the API keys that are let in; None where none is asked for.
        authorizations: what came in the header `authorization`, of each request.
        paths: what was called.
    """

    upstream: str
    context: ssl.SSLContext
    keys: set[str] | None = None
    authorizations: list[str | None] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    address: str = ""
    _serving: set[asyncio.Task[None]] = field(default_factory=set)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[TlsEnd]:
        """Listen while the context lasts."""

        def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            serving = asyncio.create_task(self._serve(reader, writer))
            self._serving.add(serving)
            serving.add_done_callback(self._serving.discard)

        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=self.context)
        self.address = f"localhost:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            await all_let_in()
            server.close()
            for serving in self._serving:
                serving.cancel()
            await asyncio.gather(*self._serving, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, _, port = self.upstream.partition(":")
        # Connections end in every way, and with the test.
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            answers, asks = await asyncio.open_connection(host, int(port))
            back = asyncio.create_task(_pumped(answers, writer))
            try:
                await self._passed_on(reader, asks, writer)
            finally:
                back.cancel()
                for each in (asks, writer):
                    # Not closed in form: whoever is at the other end may never answer that.
                    each.transport.abort()
                await asyncio.sleep(0)

    async def _passed_on(
        self, reader: asyncio.StreamReader, asks: asyncio.StreamWriter, writer: asyncio.StreamWriter
    ) -> None:
        """Pass on frame by frame, and read the headers of each request on the way."""
        asks.write(await reader.readexactly(len(PREFACE)))
        decoder, block = hpack.Decoder(), b""
        while True:
            head = await reader.readexactly(9)
            length, kind, flags, stream = int.from_bytes(head[:3]), head[3], head[4], head[5:]
            body = await reader.readexactly(length)
            if kind in (HEADERS, CONTINUATION):
                block += _fragment(body, flags) if kind == HEADERS else body
                if flags & END_HEADERS:
                    headers, block = {str(n): str(v) for n, v in decoder.decode(block)}, b""
                    if not self._lets_in(headers):
                        writer.write(_refusal(stream))
                        continue
            asks.write(head + body)
            await asks.drain()

    def _lets_in(self, headers: dict[str, str]) -> bool:
        given = headers.get("authorization")
        self.authorizations.append(given)
        self.paths.append(headers.get(":path", ""))
        return self.keys is None or given in {f"Bearer {key}" for key in self.keys}


async def _pumped(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while chunk := await reader.read(CHUNK):
            writer.write(chunk)
            await writer.drain()


def _fragment(body: bytes, flags: int) -> bytes:
    """The header block in a HEADERS frame (RFC 9113, 6.2)."""
    padding, start = (body[0], 1) if flags & PADDED else (0, 0)
    return body[start + (5 if flags & PRIORITY else 0) : len(body) - padding]


def _refusal(stream: bytes) -> bytes:
    """What a server of Temporal's answers whose authorizer knows no such key: trailers only."""
    # Nothing of it is indexed, so that it does not matter what else is said on the connection.
    told = ((":status", "200"), ("content-type", "application/grpc"), ("grpc-status", UNAUTHENTICATED),
            ("grpc-message", "Request unauthorized."))  # fmt: skip
    block = b"".join(b"\x10" + _literal(name) + _literal(value) for name, value in told)
    return len(block).to_bytes(3) + bytes([HEADERS, END_HEADERS | END_STREAM]) + stream + block


def _literal(text: str) -> bytes:
    return bytes([len(text)]) + text.encode()


def tls(server: tuple[Path, Path], clients: Path | None = None) -> ssl.SSLContext:
    """The server's side: its certificate and key; the authority of clients, where these have to have certificates."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*server)
    context.set_alpn_protocols(["h2"])
    if clients is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(clients)
    return context
