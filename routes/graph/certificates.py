"""What a reference to a certificate leads to: a pair of certificate and key, or a sentence on why there is none."""

from typing import NamedTuple

from routes.graph.grants import Grants
from routes.graph.nodes import CertificatePair, Graph, Options
from routes.resources.core import Secret
from routes.resources.gateway import SecretObjectReference
from routes.resources.meta import CORE_GROUP, Key
from routes.snapshot import Snapshot


class NoCertificate(NamedTuple):
    """Why a reference leads to no certificate. ``permitted`` is False where a ReferenceGrant is missing.

    ``secret`` is the Secret that may be used and is there, but for its content, or may be there and cannot be read.
    """

    message: str
    permitted: bool = True
    secret: Key | None = None


def resolve(
    owner: Key, ref: SecretObjectReference, snapshot: Snapshot, grants: Grants, options: Options
) -> CertificatePair | NoCertificate:
    """The pair that ``ref`` of the object ``owner`` leads to.

    Permission comes before existence: whether a Secret of another namespace is there is nobody's business.
    """
    namespace = ref.namespace or owner.namespace
    target = Key(ref.group, ref.kind, namespace, ref.name)
    if (ref.group, ref.kind) != (CORE_GROUP, "Secret"):
        return NoCertificate(f"{ref.kind} of group {ref.group!r}: a certificate is a Secret of the core group")
    if refusal := grants.refusal(owner, target):
        return NoCertificate(refusal, permitted=False)
    secret = snapshot.of(Secret).get(target)
    if secret is None:
        return NoCertificate(snapshot.absence(target), secret=target if snapshot.why_unread(target) else None)
    certificate, key = secret.data.get("tls.crt", b""), secret.data.get("tls.key", b"")
    if not certificate or not key:
        missing = " and ".join(name for name in ("tls.crt", "tls.key") if not secret.data.get(name))
        return NoCertificate(f"{target} has no {missing}", secret=target)
    fault = options.check_certificate(certificate, key)
    if fault:
        return NoCertificate(f"{target}: {fault}", secret=target)
    return CertificatePair(target, certificate, key)


def last_good(graph: Graph) -> dict[Key, CertificatePair]:
    """The certificates that listeners have, by Secret: what :class:`Sockets` keeps for the next graph.

    Of a Secret that is gone, that no listener names any more or that none may use there is none.
    """
    return {
        pair.secret: pair
        for gateway in graph.gateways.values()
        for listener in gateway.all_listeners
        for pair in listener.certificates
    }
