"""The certificates that are served, in the shape of Traefik's API. Nothing of their keys is looked at."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256, Hash
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from app.admin.api.shapes import moment
from app.admin.source import Source
from app.view.certificates import attribute, served

#: How long before its end a certificate is a warning.
SOON: Final = timedelta(days=30)

#: Certificates that are read before anybody else has a turn.
_SLICE: Final = 16


class Certificate:
    """A certificate that is served, and where: ``secrets`` hold it, ``listeners`` serve it."""

    def __init__(self, read: "dict[str, Any]", not_after: datetime) -> None:
        self.name: str = read["name"]
        self.common_name: str = read["commonName"]
        self.issuer: str = read.get("issuerOrg") or read.get("issuerCN", "")
        self.not_after = not_after
        self.secrets: dict[str, None] = {}
        self.listeners: dict[str, None] = {}
        self._read = read

    @property
    def status(self) -> str:
        """``expired``, ``warning`` where that is soon, else ``enabled``."""
        left = self.not_after - datetime.now(UTC)
        return "expired" if left < timedelta(0) else "warning" if left < SOON else "enabled"

    @property
    def texts(self) -> Iterator[str]:
        """What a search looks into."""
        yield from (self.common_name, self._read.get("issuerOrg", ""), self._read.get("issuerCN", ""))
        yield from self._read["sans"]

    def shape(self) -> dict[str, Any]:
        """Traefik's, and ours: the Secrets and listeners."""
        return {
            **self._read,
            "status": self.status,
            "secrets": list(self.secrets),
            "listeners": list(self.listeners),
        }


async def certificates(source: Source) -> dict[str, Certificate]:
    """All that listeners serve, by their SHA-256 in hexadecimal digits. Others have a turn while they are read."""
    found: dict[str, Certificate] = {}
    for number, (pair, listener) in enumerate(served(source), 1):
        read, not_after = _read(pair.certificate)
        certificate = found.setdefault(read["name"], Certificate(read, not_after))
        certificate.secrets[pair.secret.qualified_name] = None
        certificate.listeners[listener] = None
        if number % _SLICE == 0:
            await asyncio.sleep(0)
    return found


@lru_cache(maxsize=4096)
def _read(pem: bytes) -> tuple[dict[str, Any], datetime]:
    """What stands in the first certificate of a chain that has been checked."""
    leaf = x509.load_pem_x509_certificates(pem)[0]
    public = leaf.public_key()
    fingerprint = leaf.fingerprint(SHA256()).hex()
    digest = Hash(SHA256())
    digest.update(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    kind, size = "Unknown", 0
    if isinstance(public, RSAPublicKey):
        kind, size = "RSA", public.key_size
    elif isinstance(public, EllipticCurvePublicKey):
        kind, size = "ECDSA", public.curve.key_size
    shape = {
        "name": fingerprint,
        "sans": sorted(_names(leaf)),
        "notAfter": moment(leaf.not_valid_after_utc),
        "notBefore": moment(leaf.not_valid_before_utc),
        "serialNumber": str(leaf.serial_number),
        "commonName": attribute(leaf.subject, NameOID.COMMON_NAME),
        "version": f"v{leaf.version.value + 1}",
        "keyType": kind,
        "signatureAlgorithm": _algorithm(leaf),
        "certFingerprint": fingerprint,
        "publicKeyFingerprint": digest.finalize().hex(),
    }
    optional = {
        "keySize": size,
        "issuerOrg": attribute(leaf.issuer, NameOID.ORGANIZATION_NAME),
        "issuerCN": attribute(leaf.issuer, NameOID.COMMON_NAME),
        "issuerCountry": attribute(leaf.issuer, NameOID.COUNTRY_NAME),
        "organization": attribute(leaf.subject, NameOID.ORGANIZATION_NAME),
        "country": attribute(leaf.subject, NameOID.COUNTRY_NAME),
    }
    return shape | {name: value for name, value in optional.items() if value}, leaf.not_valid_after_utc


def _names(leaf: x509.Certificate) -> Iterator[str]:
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return
    yield from names.get_values_for_type(x509.DNSName)
    yield from map(str, names.get_values_for_type(x509.IPAddress))


def _algorithm(leaf: x509.Certificate) -> str:
    """As Go calls it: ``SHA256-RSA``, ``ECDSA-SHA256``."""
    hashed = leaf.signature_hash_algorithm
    digest = hashed.name.upper() if hashed is not None else ""
    called: str = leaf.signature_algorithm_oid._name
    if "RSASSA" in called.upper() and "PSS" in called.upper():
        return f"{digest}-RSAPSS"
    if "RSA" in called.upper():
        return f"{digest}-RSA"
    return f"ECDSA-{digest}" if "ecdsa" in called.lower() else called.title()
