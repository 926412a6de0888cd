"""Backends that have to prove who they are, over real sockets and in both event loops (BackendTLSPolicy)."""

import asyncio
import logging
import ssl
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import trustme
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from starlette.types import Message

from app.backend import Upstream, how_to
from app.rule import serve
from app.upstream.endpoints import Endpoints
from app.upstream.how import H2C, HTTP1, TLS, How
from app.upstream.resolver import Resolver
from app.upstream.timeouts import DEFAULT
from app.upstream.transport import UpstreamTransport
from middleware.errors import BadGateway
from middleware.scope import TARGET_PATH
from routes.graph.nodes import Address, BackendProtocol, BackendTLS
from routes.resources.meta import Key
from routes.table.types import Backend, Rule
from tests.helpers.http2_backend import Http2Backend, Request, http2_backend
from tests.helpers.upstreams import head_of, speaking
from tests.wire.websockets import ACCEPT, KEY

AUTHORITY = trustme.CA()
NAME = "backend.example"
SPIFFE = "spiffe://cluster.example/ns/default/sa/backend"
ROUTE = Key("gateway.networking.k8s.io", "HTTPRoute", "default", "r")

TRUSTED = BackendTLS(NAME, AUTHORITY.cert_pem.bytes().decode())

LoopFactory = Callable[[], asyncio.AbstractEventLoop]


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def factory(request: pytest.FixtureRequest) -> LoopFactory:
    found: LoopFactory = request.param
    return found


#: The server names that were asked for.
ASKED: list[str | None] = []


def certified(*names: str) -> ssl.SSLContext:
    """A server's context with a certificate for ``names``, which are DNS names or URIs."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issued = _issue(*names) if any("://" in name for name in names) else AUTHORITY.issue_cert(*names)
    issued.configure_cert(context)
    context.set_alpn_protocols(["h2", "http/1.1"])

    def asked(connection: Any, name: str | None, _: ssl.SSLContext) -> None:
        ASKED.append(name)

    context.sni_callback = asked
    return context


def _issue(*names: str) -> trustme.LeafCert:
    """trustme makes no certificates with URIs."""
    made = AUTHORITY.issue_cert("to.be.replaced")
    old = x509.load_pem_x509_certificate(made.cert_chain_pems[0].bytes())
    signer: Any = serialization.load_pem_private_key(AUTHORITY.private_key_pem.bytes(), None)
    own = ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateBuilder(
        old.issuer, old.subject, own.public_key(), x509.random_serial_number(), old.not_valid_before_utc,
        old.not_valid_after_utc,
    )  # fmt: skip
    alternatives: list[x509.GeneralName] = [
        x509.UniformResourceIdentifier(name) if "://" in name else x509.DNSName(name) for name in names
    ]
    builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    for extension in old.extensions:
        if isinstance(extension.value, x509.AuthorityKeyIdentifier):
            builder = builder.add_extension(extension.value, extension.critical)
    certificate = builder.sign(signer, hashes.SHA256())
    pem = serialization.Encoding.PEM
    key = own.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return trustme.LeafCert(key, certificate.public_bytes(pem), [])


async def echo(request: Request) -> None:
    await request.body()
    request.respond(200)
    await request.write(b"%b %b" % (request.scheme.encode(), request.authority.encode()))
    request.end()


def ask(factory: LoopFactory, port: int, tls: BackendTLS, **backend: Any) -> tuple[int, bytes]:
    """The answer of a rule whose only backend is at ``port``. Raises a GatewayError."""
    sent: list[Message] = []
    received: list[Message] = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> Message:
        if not received:
            await asyncio.get_running_loop().create_future()
        return received.pop()

    async def send(message: Message) -> None:
        sent.append(message)

    async def main() -> None:
        async with UpstreamTransport() as transport:
            upstream = Upstream(transport, Endpoints(Resolver(60), transport))
            rule = Rule(ROUTE, 0, (Backend("b", 1, (Address("127.0.0.1", port),), tls=tls, **backend),))
            scope = {
                "type": "http", "http_version": "1.1", "method": "GET", "path": "/", TARGET_PATH: b"/",
                "query_string": b"", "headers": [(b"host", b"client.example")], "scheme": "http",
            }  # fmt: skip
            await serve(rule, upstream)(scope, receive, send)

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(asyncio.wait_for(main(), 8))
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])


@pytest.fixture(autouse=True)
def forget() -> None:
    ASKED.clear()


@pytest.fixture(scope="module")
def backend() -> Iterator[Http2Backend]:
    """One whose certificate is for its name, a wildcard and a SPIFFE identity."""
    with http2_backend(echo, certified(NAME, "*.wild.example", SPIFFE)) as backend:
        yield backend


def test_the_policys_name_is_asked_for_and_the_clients_is_the_host(factory: LoopFactory, backend: Http2Backend) -> None:
    assert ask(factory, backend.port, TRUSTED) == (200, b"https client.example")
    assert ASKED == [NAME]


@pytest.mark.parametrize("protocol", list(BackendProtocol))
def test_http2_where_the_backend_speaks_it(
    factory: LoopFactory, backend: Http2Backend, protocol: BackendProtocol
) -> None:
    assert ask(factory, backend.port, TRUSTED, protocol=protocol)[0] == 200


@pytest.mark.parametrize(
    ("hostnames", "uris"),
    [
        ((NAME,), ()),
        (("other.example", NAME.upper()), ()),
        (("a.wild.example",), ()),
        (("*.wild.example",), ()),
        ((), (SPIFFE,)),
        (("other.example",), ("spiffe://other", SPIFFE)),
    ],
    ids=["a name", "one of several", "below a wildcard", "the wildcard itself", "a URI", "names and URIs"],
)
def test_one_of_the_alternative_names_has_to_stand_in_the_certificate(
    factory: LoopFactory, backend: Http2Backend, hostnames: tuple[str, ...], uris: tuple[str, ...]
) -> None:
    asked = replace(TRUSTED, server_name="only.for.the.handshake", hostnames=hostnames, uris=uris)
    assert ask(factory, backend.port, asked)[0] == 200
    assert ASKED == ["only.for.the.handshake"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"server_name": "other.example"}, "Hostname mismatch"),
        ({"server_name": "a.b.wild.example"}, "Hostname mismatch"),
        ({"authorities": trustme.CA().cert_pem.bytes().decode()}, "unable to get local issuer certificate"),
        ({"authorities": "no PEM"}, "cannot be read"),
        ({"hostnames": ("other.example",)}, "none of other.example is among its names"),
        ({"hostnames": ("wild.example",)}, "none of wild.example"),
        ({"hostnames": ("a.b.wild.example",)}, "none of a.b.wild.example"),
        ({"hostnames": ("*.example",)}, "none of"),
        ({"uris": (SPIFFE + "/more",)}, "none of spiffe://"),
        ({"uris": (NAME,)}, "none of backend.example"),
        ({"hostnames": (SPIFFE,)}, "none of spiffe://"),
        (
            {"hostnames": (NAME,), "authorities": trustme.CA().cert_pem.bytes().decode()},
            "unable to get local issuer certificate",
        ),
    ],
)
def test_who_is_another_is_not_asked_and_the_client_is_answered_at_once(
    factory: LoopFactory, backend: Http2Backend, changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(BadGateway) as caught:
        ask(factory, backend.port, replace(TRUSTED, **changes))
    assert (caught.value.status, caught.value.flag) == (502, "UF")
    assert reason in caught.value.detail


def test_who_has_none_of_the_names_is_told_nothing(factory: LoopFactory) -> None:
    got: list[bytes] = []

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.append(b"")
        got.append(await reader.read())

    with speaking(listen, certified(NAME)) as port, pytest.raises(BadGateway):
        ask(factory, port, replace(TRUSTED, hostnames=("other.example",)))
    assert b"".join(got) == b""


def test_the_log_says_once_who_is_not_trusted(
    factory: LoopFactory, backend: Http2Backend, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(BadGateway):
        ask(factory, backend.port, replace(TRUSTED, hostnames=("other.example",)))
    [line] = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert line.startswith(f"127.0.0.1:{backend.port} is not trusted: none of other.example is among its names")


def test_nothing_is_ever_sent_in_clear(factory: LoopFactory) -> None:
    got: list[bytes] = []

    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.append(await reader.read(65536))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()

    with speaking(plain) as port, pytest.raises(BadGateway):
        ask(factory, port, TRUSTED)
    assert got
    assert all(data[:1] == b"\x16" for data in got), "a TLS handshake"


def test_how_a_backend_is_spoken_to() -> None:
    plain = Backend("b", 1)
    assert how_to(plain) is HTTP1
    assert how_to(replace(plain, protocol=BackendProtocol.H2C)) is H2C
    asked = replace(TRUSTED, hostnames=("a",), uris=("b:c",))
    secured = How(http2=True, tls=TLS(NAME, TRUSTED.authorities, ("a",), ("b:c",)))
    for protocol in BackendProtocol:
        assert how_to(replace(plain, protocol=protocol, tls=asked)) == secured


def test_a_websocket_in_tls(factory: LoopFactory) -> None:
    """``kubernetes.io/wss``: over HTTP/1.1, whatever else the backend speaks."""
    chosen: list[str | None] = []

    async def switch(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        chosen.append(writer.get_extra_info("ssl_object").selected_alpn_protocol())
        head = await head_of(reader)
        assert b"\r\nupgrade: websocket\r\n" in head
        key = head.partition(b"sec-websocket-key: ")[2].partition(b"\r\n")[0]
        assert key == KEY
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + ACCEPT + b"\r\n\r\n"
        )
        await reader.read()

    async def main(port: int) -> int:
        async with UpstreamTransport() as transport:
            how = how_to(Backend("b", 1, tls=TRUSTED))
            pool = transport.pool("127.0.0.1", port, how)
            fields = [
                (b"host", b"a"), (b"connection", b"Upgrade"), (b"upgrade", b"websocket"), (b"sec-websocket-key", KEY),
            ]  # fmt: skip
            exchange = await transport.exchange(pool, "GET", b"/", fields, None, DEFAULT, upgrade=True)
            exchange.close()
            return exchange.status

    with speaking(switch, certified(NAME)) as port, asyncio.Runner(loop_factory=factory) as runner:
        assert runner.run(main(port)) == 101
    assert chosen == ["http/1.1"]
