"""What a reference to a certificate leads to: a pair of certificate and key, or a sentence on why there is none."""

from collections.abc import Mapping
from typing import NamedTuple

from routes.graph.grants import Grants
from routes.graph.nodes import CertificatePair, Options
from routes.resources.core import Secret
from routes.resources.gateway import SecretObjectReference
from routes.resources.meta import CORE_GROUP, Key


class NoCertificate(NamedTuple):
    """Why a reference leads to no certificate. ``permitted`` is False where a ReferenceGrant is missing."""

    message: str
    permitted: bool = True


def resolve(
    owner: Key, ref: SecretObjectReference, secrets: Mapping[Key, Secret], grants: Grants, options: Options
) -> CertificatePair | NoCertificate:
    """The pair that ``ref`` of the object ``owner`` leads to.

    Permission comes before existence: whether a Secret of another namespace is there is nobody's business.
    """
    namespace = ref.namespace or owner.namespace
    target = Key(ref.group, ref.kind, namespace, ref.name)
    if (ref.group, ref.kind) != (CORE_GROUP, "Secret"):
        return NoCertificate(f"{ref.kind} of group {ref.group!r}: a certificate is a Secret of the core group")
    if not grants.permit(owner, target):
        return NoCertificate(f"no ReferenceGrant in {namespace} lets {owner} use {target}", permitted=False)
    secret = secrets.get(target)
    if secret is None:
        return NoCertificate(f"{target} does not exist")
    certificate, key = secret.data.get("tls.crt", b""), secret.data.get("tls.key", b"")
    if not certificate or not key:
        missing = " and ".join(name for name in ("tls.crt", "tls.key") if not secret.data.get(name))
        return NoCertificate(f"{target} has no {missing}")
    fault = options.check_certificate(certificate, key)
    if fault:
        return NoCertificate(f"{target}: {fault}")
    return CertificatePair(target, certificate, key)
