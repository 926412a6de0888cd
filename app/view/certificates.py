"""The certificates that are served: whose they are, for which names, and how long."""

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID

from app.admin.source import Source
from app.tls.certificates import dns_names
from app.view.model import CertificateView
from routes.graph.nodes import CertificatePair


def certificates(source: Source) -> list[CertificateView]:
    """Each that a listener has, once, the one that ends first at the head."""
    found: dict[str, CertificateView] = {}
    places: dict[str, dict[str, None]] = {}
    for pair, listener in served(source):
        view = replace(_read(pair.certificate), secret=pair.secret.qualified_name)
        found.setdefault(view.id, view)
        places.setdefault(view.id, {})[listener] = None
    views = (replace(view, listeners=tuple(places[id])) for id, view in found.items())
    return sorted(views, key=lambda view: (view.not_after, view.id))


def served(source: Source) -> Iterator[tuple[CertificatePair, str]]:
    """The pairs that listeners have, and each time the listener: ``namespace/object/listener``."""
    state = source.state()
    for gateway in state.graph.gateways.values() if state is not None else ():
        for listener in gateway.all_listeners:
            for pair in listener.certificates:
                yield pair, f"{listener.owner.qualified_name}/{listener.source.name}"


def attribute(name: x509.Name, oid: x509.ObjectIdentifier) -> str:
    """The first attribute of that kind of a subject or an issuer, "" where there is none."""
    return next((str(each.value) for each in name.get_attributes_for_oid(oid)), "")


@lru_cache(maxsize=4096)
def _read(pem: bytes) -> CertificateView:
    """What stands in the first certificate of a chain that has been checked."""
    leaf = x509.load_pem_x509_certificates(pem)[0]
    return CertificateView(
        id=leaf.fingerprint(SHA256()).hex(),
        secret="",
        common_name=attribute(leaf.subject, NameOID.COMMON_NAME),
        names=dns_names(pem),
        issuer=attribute(leaf.issuer, NameOID.COMMON_NAME) or leaf.issuer.rfc4514_string(),
        serial=f"{leaf.serial_number:x}",
        not_before=leaf.not_valid_before_utc,
        not_after=leaf.not_valid_after_utc,
        listeners=(),
    )
