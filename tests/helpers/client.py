"""A client that sends what it is told and nothing else."""

import http.client
import socket
import ssl
from dataclasses import dataclass
from types import TracebackType
from typing import Self


@dataclass(frozen=True)
class Answer:
    """A whole answer. Names of fields are in lower case, and repeated fields are all there."""

    status: int
    fields: tuple[tuple[str, str], ...]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    def values(self, name: str) -> list[str]:
        return [value for field, value in self.fields if field == name]

    @property
    def echo(self) -> dict[str, str]:
        """The header fields that whoami got, from its print-out; one that came twice is an error."""
        request = self.text.partition("\r\n")[2]
        fields = [line.split(": ", 1) for line in request.split("\r\n") if line]
        assert len({name for name, _ in fields}) == len(fields), request
        return dict(fields)

    @property
    def name(self) -> str:
        """The name of the whoami that answered."""
        first, _, rest = self.text.partition("\n")[0].partition(": ")
        assert first == "Name", self.text
        return rest


def insecure() -> ssl.SSLContext:
    """A client's context that takes any certificate, as ``curl --insecure`` does."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Connection:
    """One connection to ``address``, kept alive from request to request.

    With ``tls`` it is TLS and names ``server_name`` in its handshake, or nothing where that is None.
    """

    def __init__(
        self,
        port: int,
        *,
        tls: ssl.SSLContext | None = None,
        server_name: str | None = None,
        timeout: float = 10.0,
        address: str = "127.0.0.1",
    ) -> None:
        self._http = http.client.HTTPConnection(address, port)
        self.socket = socket.create_connection((address, port), timeout)
        if tls is not None:
            try:
                self.socket = tls.wrap_socket(self.socket, server_hostname=server_name)
            except BaseException:
                self.socket.close()
                raise
        self._http.sock = self.socket

    def ask(
        self,
        path: str = "/",
        host: str = "whoami",
        *,
        method: str = "GET",
        fields: tuple[tuple[str, str], ...] = (),
        body: bytes = b"",
    ) -> Answer:
        """Send a request and read its answer to the end."""
        length = (("Content-Length", str(len(body))),) if body else ()
        self.begin(method, path, host, *fields, *length)
        if body:
            self.socket.sendall(body)
        return self.finish()

    def begin(self, method: str, path: str, host: str, *fields: tuple[str, str]) -> None:
        """Send the head of a request; its body, if it has one, is sent with ``socket``."""
        self._http.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in (("Host", host), *fields):
            self._http.putheader(name, value)
        self._http.endheaders()

    def response(self) -> http.client.HTTPResponse:
        """The answer's head, and its body to be read."""
        return self._http.getresponse()

    def finish(self) -> Answer:
        """The whole answer."""
        with self.response() as response:
            content = response.read()
        return Answer(response.status, tuple((name.lower(), value) for name, value in response.getheaders()), content)

    @property
    def certificate(self) -> bytes:
        """The certificate that the server showed, as DER."""
        assert isinstance(self.socket, ssl.SSLSocket)
        found = self.socket.getpeercert(binary_form=True)
        assert found
        return found

    def close(self) -> None:
        self._http.close()
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def ask(
    port: int,
    path: str = "/",
    host: str = "whoami",
    *,
    method: str = "GET",
    fields: tuple[tuple[str, str], ...] = (),
    body: bytes = b"",
    tls: ssl.SSLContext | None = None,
    server_name: str | None = None,
) -> Answer:
    """One request on a connection of its own."""
    with Connection(port, tls=tls, server_name=server_name) as connection:
        return connection.ask(path, host, method=method, fields=fields, body=body)


def shown_certificate(port: int, server_name: str | None = None) -> bytes:
    """The certificate, as DER, that a handshake gets which names ``server_name``."""
    with Connection(port, tls=insecure(), server_name=server_name) as connection:
        return connection.certificate
