"""Where a proxy is to serve, and what."""

import datetime
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from benchmarks.processes import free_port
from benchmarks.rows import Front

#: What X-Forwarded-Server says.
SERVER = socket.gethostname()


@dataclass(frozen=True, slots=True)
class Place:
    """A folder for configuration, the port of the backend, the hosts that have a route, and the ports to serve on:
    without TLS, with it, and for HTTP/2 without it. Few need the last, as others tell both on one port. All hosts are
    served on the first port; the others need only one."""

    folder: Path
    backend: int
    hosts: Sequence[str]
    http: int
    https: int
    h2c: int
    certificate: Path
    key: Path

    @classmethod
    def make(cls, folder: Path, backend: int, hosts: int = 1, *, h2c_apart: bool = False) -> "Place":
        """A place on free ports."""
        folder.mkdir()
        certificate, key = write_certificate(folder)
        http = free_port()
        names = [f"host-{number}.test" for number in range(hosts)]
        h2c = free_port() if h2c_apart else http
        return cls(folder, backend, names, http, free_port(), h2c, certificate, key)

    def port(self, front: Front) -> int:
        """The port that speaks ``front``."""
        if front is Front.H2C:
            return self.h2c
        return self.https if front in (Front.HTTP1_TLS, Front.HTTP2_TLS) else self.http


def write_certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for host-0.test and its key (P-256), as PEM files."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "host-0.test")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("host-0.test")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    files = folder / "tls.crt", folder / "tls.key"
    files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return files
