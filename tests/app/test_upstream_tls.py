"""Endpoints in TLS, over real sockets and in both event loops: who they are, and what they speak."""

import asyncio
import datetime
import logging
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import trustme
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from app.upstream import how as how_module
from app.upstream.how import H2C, HTTP1, TLS, How
from app.upstream.transport import UpstreamTransport
from middleware.errors import ConnectFailed
from tests.helpers.http2_backend import Http2Backend, Request, http2_backend
from tests.helpers.upstreams import head_of, speaking

AUTHORITY = trustme.CA()
NAME = "backend.example"

LoopFactory = Callable[[], asyncio.AbstractEventLoop]


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def factory(request: pytest.FixtureRequest) -> LoopFactory:
    found: LoopFactory = request.param
    return found


def pem(authority: trustme.CA) -> str:
    return authority.cert_pem.bytes().decode()


def trusting(*, http2: bool = True, name: str = NAME, authority: trustme.CA = AUTHORITY) -> How:
    return How(http2=http2, tls=TLS(name, pem(authority)))


def certified(*names: str, protocols: tuple[str, ...] = ("h2", "http/1.1"), **options: Any) -> ssl.SSLContext:
    """A server's context with a certificate for ``names``."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert(*names, **options).configure_cert(context)
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context


async def echo(request: Request) -> None:
    """The request's scheme, authority and body."""
    body = await request.body()
    request.respond(200, (b"x-name", request.authority.encode()))
    await request.write(b"%b %b" % (request.scheme.encode(), body))
    request.end()


async def http1(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        await head_of(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nHTTP/1.1")
        await writer.drain()


@pytest.fixture(scope="module")
def backend() -> Iterator[Http2Backend]:
    with http2_backend(echo, certified(NAME, "127.0.0.1")) as backend:
        yield backend


def ask(factory: LoopFactory, port: int, how: How, body: bytes = b"", times: int = 1) -> list[httpx2.Response]:
    """The answers to so many requests at once."""

    async def one(transport: UpstreamTransport) -> httpx2.Response:
        pool = transport.pool("127.0.0.1", port, how)
        request = httpx2.Request("POST", "https://a/", content=body, extensions={"pool": pool})
        response = await transport.handle_async_request(request)
        await response.aread()
        return response

    async def main() -> list[httpx2.Response]:
        async with UpstreamTransport() as transport:
            return await asyncio.gather(*(one(transport) for _ in range(times)))

    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(main())


def test_http2_where_the_endpoint_chooses_it(factory: LoopFactory, backend: Http2Backend) -> None:
    before = backend.accepted
    answers = ask(factory, backend.port, trusting(), b"x" * 300_000, times=20)
    assert [answer.content for answer in answers] == [b"https " + b"x" * 300_000] * 20
    assert {value for answer in answers for name, value in answer.extensions["fields"]} == {b"a"}
    assert backend.accepted == before + 1, "they share one connection"


@pytest.mark.parametrize("protocols", [("http/1.1",), ()], ids=["chosen", "without ALPN"])
def test_http1_where_the_endpoint_chooses_it(factory: LoopFactory, protocols: tuple[str, ...]) -> None:
    with speaking(http1, certified(NAME, protocols=protocols)) as port:
        answers = ask(factory, port, trusting(), times=5)
        assert [answer.content for answer in answers] == [b"HTTP/1.1"] * 5


def test_http1_where_nothing_else_is_offered(factory: LoopFactory) -> None:
    with speaking(http1, certified(NAME)) as port:
        assert ask(factory, port, trusting(http2=False))[0].content == b"HTTP/1.1"


def test_http2_in_clear(factory: LoopFactory) -> None:
    with http2_backend(echo) as backend:
        assert ask(factory, backend.port, H2C, b"hi")[0].content == b"http hi"


def test_the_address_is_the_name_where_no_other_is_given(factory: LoopFactory, backend: Http2Backend) -> None:
    assert ask(factory, backend.port, trusting(name=""))[0].status_code == 200


@pytest.mark.parametrize(
    ("trusted", "reason"),
    [
        pytest.param(trusting(name="other.example"), "Hostname mismatch", id="another name"),
        pytest.param(
            trusting(authority=trustme.CA()), "unable to get local issuer certificate", id="another authority"
        ),
        pytest.param(How(tls=TLS(NAME)), "unable to get local issuer certificate", id="the system's authorities"),
    ],
)
def test_who_is_not_trusted_is_told_nothing(
    factory: LoopFactory, backend: Http2Backend, trusted: How, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    before = backend.accepted
    with pytest.raises(ConnectFailed) as caught:
        ask(factory, backend.port, trusted)
    assert caught.value.flag == "UF"
    assert (caught.value.status, caught.value.message) == (502, "the backend cannot be reached")
    assert backend.accepted == before
    [line] = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert line.startswith(f"127.0.0.1:{backend.port} is not trusted: ")
    assert reason in line


def test_a_certificate_that_has_expired(factory: LoopFactory, caplog: pytest.LogCaptureFixture) -> None:
    past = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    before = datetime.datetime(2019, 1, 1, tzinfo=datetime.UTC)
    with (
        http2_backend(echo, certified(NAME, not_before=before, not_after=past)) as backend,
        pytest.raises(ConnectFailed),
    ):
        ask(factory, backend.port, trusting())
    assert "certificate has expired" in caplog.text


def test_the_log_does_not_repeat_itself(
    factory: LoopFactory, backend: Http2Backend, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with UpstreamTransport() as transport:
            pool = transport.pool("127.0.0.1", backend.port, trusting(name="other.example"))
            for _ in range(3):
                with pytest.raises(ConnectFailed):
                    await pool.connect(10)

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())
    assert caplog.text.count("is not trusted") == 1


def test_an_endpoint_that_speaks_no_tls(factory: LoopFactory) -> None:
    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with speaking(plain) as port, pytest.raises(ConnectFailed):
        ask(factory, port, trusting())


def test_a_handshake_counts_into_the_time_for_connecting(factory: LoopFactory) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async def main(port: int) -> None:
        async with UpstreamTransport() as transport:
            with pytest.raises(ConnectFailed, match="TimeoutError"):
                await transport.pool("127.0.0.1", port, trusting()).connect(0.2)

    with speaking(silent) as port, asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main(port))


@pytest.mark.parametrize("how", [H2C, trusting()], ids=["in clear", "in TLS"])
def test_tcp_notices_an_endpoint_that_is_gone(factory: LoopFactory, backend: Http2Backend, how: How) -> None:
    async def main(port: int) -> None:
        async with UpstreamTransport() as transport:
            pool = transport.pool("127.0.0.1", port, how)
            request = httpx2.Request("GET", "https://a/", extensions={"pool": pool})
            await (await transport.handle_async_request(request)).aread()
            connection: Any = pool.take()
            found = connection._transport.get_extra_info("socket")
            assert found.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)

    with http2_backend(echo) as clear, asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main(clear.port if how is H2C else backend.port))


def test_authorities_that_are_none() -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        _ = How(tls=TLS(authorities="no PEM")).context


def test_one_context_for_all_that_have_the_same_parameters() -> None:
    assert trusting().context is trusting(name="other.example").context
    assert trusting().context is not trusting(http2=False).context
    assert HTTP1.context is None


def test_a_url_says_what_is_spoken(
    factory: LoopFactory, backend: Http2Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """https is TLS with the system's authorities, and HTTP/2 where both can."""
    with AUTHORITY.cert_pem.tempfile() as path:
        monkeypatch.setenv("SSL_CERT_FILE", path)
        how_module.contexts.cache_clear()

        async def main() -> httpx2.Response:
            async with httpx2.AsyncClient(transport=UpstreamTransport()) as client:
                return await client.post(f"https://127.0.0.1:{backend.port}/", content=b"hi")

        with asyncio.Runner(loop_factory=factory) as runner:
            assert runner.run(main()).content == b"https hi"
        how_module.contexts.cache_clear()


def bare_certificates() -> tuple[str, str]:
    """An authority's certificate and, with its key, one for NAME; both only with what TLS cannot do without."""
    now = datetime.datetime.now(datetime.UTC)
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    issuer, subject = (x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in ("authority", NAME))
    found = []
    for name, key in zip((issuer, subject), keys, strict=True):
        builder = x509.CertificateBuilder(issuer, name, key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
        builder = builder.add_extension(x509.BasicConstraints(ca=name is issuer, path_length=None), critical=True)
        if name is subject:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        found.append(builder.sign(keys[0], hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode())
    plain = serialization.NoEncryption()
    private = keys[1].private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain).decode()
    return found[0], found[1] + private


def test_certificates_without_key_identifiers_are_trusted(factory: LoopFactory, tmp_path: Path) -> None:
    authority, certificate = bare_certificates()
    (tmp_path / "backend.pem").write_text(certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "backend.pem")
    context.set_alpn_protocols(["h2"])
    with http2_backend(echo, context) as backend:
        (answer,) = ask(factory, backend.port, How(http2=True, tls=TLS(NAME, authority)))
    assert answer.status_code == 200


def test_an_authority_that_another_has_signed_is_trusted_without_that_other(factory: LoopFactory) -> None:
    between = AUTHORITY.create_child_ca()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    between.issue_cert(NAME).configure_cert(context)
    context.set_alpn_protocols(["h2"])
    with http2_backend(echo, context) as backend:
        (answer,) = ask(factory, backend.port, trusting(authority=between))
    assert answer.status_code == 200
