"""In which protocol an endpoint is spoken to, and how far it is trusted."""

import ssl
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final


@dataclass(frozen=True, slots=True)
class TLS:
    """What an endpoint has to prove before it is told anything. There is no way not to check it.

    ``server_name`` is asked for (SNI) and has to stand in the certificate; "" is the host that is connected to.
    ``authorities``: certificates as PEM of which one has to have signed; "" are those of the system. Where there are
    ``hostnames`` or ``uris``, one of them has to stand in the certificate, and not ``server_name``.
    """

    server_name: str = ""
    authorities: str = field(default="", repr=False)
    hostnames: tuple[str, ...] = ()
    uris: tuple[str, ...] = ()

    @property
    def names_others(self) -> bool:
        """Whether it is not ``server_name`` that has to stand in the certificate."""
        return bool(self.hostnames or self.uris)

    def accepts(self, names: Iterable[tuple[str, str]]) -> bool:
        """Whether one of a certificate's ``names``, as :meth:`ssl.SSLObject.getpeercert` gives them, is asked for.

        A DNS name may begin with a whole label ``*``, which stands for one label (RFC 9525 §6.3). A URI has to be the
        same, byte by byte, as SPIFFE wants it.
        """
        for kind, name in names:
            if kind == "DNS" and any(_is_name_of(name, hostname) for hostname in self.hostnames):
                return True
            if kind == "URI" and name in self.uris:
                return True
        return False


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
        tls = self.tls
        return None if tls is None else contexts(tls.authorities, self.http2, not tls.names_others)


HTTP1: Final = How()
H2C: Final = How(http2=True)
#: What a URL with ``https`` says.
HTTPS: Final = How(http2=True, tls=TLS())


@lru_cache(256)
def contexts(authorities: str, http2: bool, check_hostname: bool = True) -> ssl.SSLContext:
    """The contexts, by their parameters."""
    try:
        context = ssl.create_default_context(cadata=authorities or None)
    except ssl.SSLError as error:
        raise ValueError(f"the certificates of the authorities cannot be read: {error}") from None
    # The same in every Python: 3.13 trusts an authority that another one has signed, and wants what RFC 5280 has every
    # certificate bear, such as key identifiers. Authorities of backends often leave that out.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.check_hostname = check_hostname
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["h2", "http/1.1"] if http2 else ["http/1.1"])
    return context


def _is_name_of(name: str, hostname: str) -> bool:
    """Whether ``name`` in a certificate is one of ``hostname``, in which ``*.`` stands for itself alone."""
    name, hostname = name.lower(), hostname.lower()
    if name == hostname:
        return True
    label, dot, rest = hostname.partition(".")
    return name == f"*.{rest}" and bool(dot) and label not in ("", "*") and "." in rest
