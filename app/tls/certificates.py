"""Certificates and keys from PEM: what is wrong with them, which names they serve, and a TLS context for each pair."""

import logging
import os
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from routes.graph.nodes import CertificatePair
from routes.table.hostnames import HostMap

logger = logging.getLogger(__name__)


@lru_cache(maxsize=4096)
def check_pair(certificate: bytes, key: bytes) -> str:
    """What is wrong with a certificate chain and its private key, both PEM; "" if they can serve TLS.

    Never repeats what it was given. An expired certificate is not wrong: it serves, and a warning is logged when it
    is loaded.
    """
    try:
        chain = x509.load_pem_x509_certificates(certificate)
    except ValueError:
        return "tls.crt holds no readable PEM certificate"
    try:
        private = load_pem_private_key(key, password=None)
    except TypeError:
        return "tls.key is encrypted; a gateway needs the key without a passphrase"
    except (ValueError, UnsupportedAlgorithm):
        return "tls.key holds no readable PEM private key"
    spki = PublicFormat.SubjectPublicKeyInfo
    if private.public_key().public_bytes(Encoding.DER, spki) != chain[0].public_key().public_bytes(Encoding.DER, spki):
        return "tls.key is not the key of tls.crt's first certificate"
    return ""


@lru_cache(maxsize=4096)
def dns_names(certificate: bytes) -> tuple[str, ...]:
    """The DNS names of the first certificate of a chain in PEM that passed :func:`check_pair`."""
    return tuple(_names(x509.load_pem_x509_certificates(certificate)[0]))


def check_authorities(authorities: str) -> str:
    """What is wrong with the certificates of authorities, PEM; "" if there is at least one and all can be read.

    One that has expired is not wrong: nothing that it signed is believed.
    """
    try:
        x509.load_pem_x509_certificates(authorities.encode())
    except ValueError:
        return "holds no readable PEM certificate"
    return ""


@dataclass(frozen=True, slots=True)
class ServerCertificate:
    """A loaded pair: its TLS context, the names it serves, and when it ends."""

    context: ssl.SSLContext
    names: HostMap[bool]
    not_after: datetime


def load(pair: CertificatePair) -> ServerCertificate:
    """Make the TLS context of ``pair``, which must have passed :func:`check_pair`.

    Raises ``ssl.SSLError`` where OpenSSL refuses what cryptography could read, such as a key that is too short.
    """
    leaf = x509.load_pem_x509_certificates(pair.certificate)[0]
    context = server_context()
    with _as_file(pair.certificate + b"\n" + pair.key) as path:
        context.load_cert_chain(path)
    if leaf.not_valid_after_utc < datetime.now(UTC):
        logger.warning("%s: the certificate has expired on %s", pair.secret, leaf.not_valid_after_utc.date())
    return ServerCertificate(context, HostMap(dict.fromkeys(_names(leaf), True)), leaf.not_valid_after_utc)


def server_context() -> ssl.SSLContext:
    """A context for a listener, see :func:`secure`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    secure(context)
    return context


def secure(context: ssl.SSLContext) -> None:
    """Have ``context`` speak TLS 1.2 or later, without renegotiation and compression, and HTTP/2 or HTTP/1.1 in it
    (RFC 9113 §9.2)."""
    context.minimum_version = max(context.minimum_version, ssl.TLSVersion.TLSv1_2)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.set_alpn_protocols(["h2", "http/1.1"])


def _names(certificate: x509.Certificate) -> Iterator[str]:
    """The DNS names of the subjectAltName extension, in lower case (RFC 6125 leaves the common name out)."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (x509.ExtensionNotFound, ValueError):
        return
    for name in extension.value.get_values_for_type(x509.DNSName):
        yield name.lower()


@contextmanager
def _as_file(content: bytes) -> Iterator[str]:
    """A path under which OpenSSL can read ``content``, which only takes paths: in memory where Linux allows it."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("certificate")
        try:
            os.write(descriptor, content)
            yield f"/proc/self/fd/{descriptor}"
        finally:
            os.close(descriptor)
    else:
        with tempfile.NamedTemporaryFile(mode="wb") as file:  # made with mode 0600, gone when closed
            file.write(content)
            file.flush()
            yield file.name
