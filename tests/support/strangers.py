"""Other people's homeservers, honest and not: TLS servers on loopback, and a DNS that lies."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

USERINFO = "/_matrix/federation/v1/openid/userinfo"
NAMES = ("hs.test", "delegated.test", "rebind.test")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Remote:
    """A homeserver's federation port at one loopback address. `seen`: (Host, path) of requests."""

    address: str
    port: int
    handlers: dict[str, Handler] = field(default_factory=dict)
    seen: list[tuple[str, str]] = field(default_factory=list)

    def answer(self, body: object, *, path: str = USERINFO, status: int = 200) -> None:
        async def handler(_request: web.Request) -> web.Response:
            return web.json_response(body, status=status)

        self.handlers[path] = handler

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.seen.append((request.headers["Host"], request.path))
        handler = self.handlers.get(request.path)
        return web.Response(status=404) if handler is None else await handler(request)


class Dns:
    """Answers change with each question where several are given."""

    def __init__(self, **answers: list[list[str]]) -> None:
        self.answers = {name.replace("_", "."): list(lists) for name, lists in answers.items()}
        self.asked: list[str] = []

    async def addresses(self, host: str) -> list[str]:
        self.asked.append(host)
        lists = self.answers.get(host, [[]])
        return lists.pop(0) if len(lists) > 1 else lists[0]

    async def services(self, name: str) -> list[tuple[str, int]]:
        return []


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificate and key for the names of these tests, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    names: list[x509.GeneralName] = [x509.DNSName(name) for name in NAMES]
    names.append(x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path_factory.mktemp("tls") / "server.pem"
    file.write_bytes(
        built.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return file


@pytest.fixture
async def remotes(certificate: Path) -> AsyncIterator[tuple[Remote, Remote]]:
    """Two servers at the same port of 127.0.0.1 and 127.0.0.2."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    runners, found, port = [], [], 0
    for address in ("127.0.0.1", "127.0.0.2"):
        remote = Remote(address, port)
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", remote.handle)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, address, port, ssl_context=context)
        await site.start()
        port = remote.port = runner.addresses[0][1]
        runners.append(runner)
        found.append(remote)
    yield found[0], found[1]
    for runner in runners:
        await runner.cleanup()
