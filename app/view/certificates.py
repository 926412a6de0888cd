"""The certificates that are served: whose they are, for which names, and how long."""

from dataclasses import replace
from functools import lru_cache

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID

from app.admin.source import Source
from app.tls.certificates import dns_names
from app.view.model import CertificateView


def certificates(source: Source) -> list[CertificateView]:
    """Each that a listener has, once, the one that ends first at the head."""
    state = source.state()
    found: dict[str, CertificateView] = {}
    places: dict[str, dict[str, None]] = {}
    for gateway in state.graph.gateways.values() if state is not None else ():
        for listener in gateway.all_listeners:
            for pair in listener.certificates:
                view = replace(_read(pair.certificate), secret=pair.secret.qualified_name)
                found.setdefault(view.id, view)
                places.setdefault(view.id, {})[f"{listener.owner.qualified_name}/{listener.source.name}"] = None
    views = (replace(view, listeners=tuple(places[id])) for id, view in found.items())
    return sorted(views, key=lambda view: (view.not_after, view.id))


@lru_cache(maxsize=4096)
def _read(pem: bytes) -> CertificateView:
    """What stands in the first certificate of a chain that has been checked."""
    leaf = x509.load_pem_x509_certificates(pem)[0]
    return CertificateView(
        id=leaf.fingerprint(SHA256()).hex(),
        secret="",
        common_name=_common_name(leaf.subject),
        names=dns_names(pem),
        issuer=_common_name(leaf.issuer) or leaf.issuer.rfc4514_string(),
        serial=f"{leaf.serial_number:x}",
        not_before=leaf.not_valid_before_utc,
        not_after=leaf.not_valid_after_utc,
        listeners=(),
    )


def _common_name(name: x509.Name) -> str:
    return next((str(each.value) for each in name.get_attributes_for_oid(NameOID.COMMON_NAME)), "")
