"""In which protocol an endpoint is spoken to, and how far it is trusted."""

import ssl
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final


@dataclass(frozen=True, slots=True)
class TLS:
    """What an endpoint has to prove before it is told anything. There is no way not to check it.

    ``server_name`` is asked for (SNI) and has to stand in the certificate; "" is the host that is connected to.
    ``authorities``: certificates as PEM of which one has to have signed; "" are those of the system.
    """

    server_name: str = ""
    authorities: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class How:
    """How an endpoint is reached; with its host and port the key of a pool.

    ``http2`` in clear is HTTP/2 from the first byte (prior knowledge, RFC 9113 §3.3). In TLS it is offered beside
    HTTP/1.1, and what the server chooses counts (ALPN, RFC 7301).
    """

    http2: bool = False
    tls: TLS | None = None

    @property
    def scheme(self) -> bytes:
        """Of the URLs that are served so."""
        return b"http" if self.tls is None else b"https"

    @property
    def port(self) -> int:
        """The port of such a URL that names none."""
        return 80 if self.tls is None else 443

    @property
    def context(self) -> ssl.SSLContext | None:
        """For the handshake, one for all connections with these parameters. Raises ValueError for bad authorities."""
        return None if self.tls is None else contexts(self.tls.authorities, self.http2)


HTTP1: Final = How()
H2C: Final = How(http2=True)
#: What a URL with ``https`` says.
HTTPS: Final = How(http2=True, tls=TLS())


@lru_cache(256)
def contexts(authorities: str, http2: bool) -> ssl.SSLContext:
    """The contexts, by their parameters."""
    try:
        context = ssl.create_default_context(cadata=authorities or None)
    except ssl.SSLError as error:
        raise ValueError(f"the certificates of the authorities cannot be read: {error}") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["h2", "http/1.1"] if http2 else ["http/1.1"])
    return context
