"""Which certificate a handshake gets: by the listener of the name asked for, then by the names of its certificates."""

import logging
import ssl
from collections.abc import Callable
from typing import Any, Final

from app.tls.certificates import ServerCertificate, load, server_context
from routes.graph.nodes import CertificatePair
from routes.table.hostnames import HostMap

logger = logging.getLogger(__name__)

#: The attribute of a connection that keeps the server name, which the ssl module only tells its callback.
_ASKED: Final = "_moongate_server_name"

#: For each listener hostname of a port, its pairs in the order of certificateRefs.
Pairs = HostMap[tuple[CertificatePair, ...]]


class Certificates:
    """Loaded certificates by their pair. A pair that is no longer in the table is forgotten by :meth:`keep`."""

    def __init__(self) -> None:
        self._loaded: dict[CertificatePair, ServerCertificate | None] = {}

    def keep(self, pairs: set[CertificatePair]) -> None:
        """Load what is new of ``pairs`` and forget all others; a pair that cannot be loaded is logged once."""
        self._loaded = {pair: self._loaded[pair] if pair in self._loaded else self._load(pair) for pair in pairs}

    def context(self, pairs: Pairs, server_name: str | None) -> ssl.SSLContext | None:
        """The context for a client that asks for ``server_name``, None where no listener is for it.

        The listener is the most specific one that the name fits. Of its certificates the first that bears the name is
        taken, else the first: an HTTPS listener without hostname answers any name. A client that names nothing gets
        what the first listener would.
        """
        name = (server_name or "").lower().rstrip(".")
        found = pairs.best(name)
        if found is None and not name:
            found = next((pairs for _, pairs in pairs.items()), None)
        loaded = [certificate for pair in found or () if (certificate := self._loaded.get(pair))]
        if not loaded:
            return None
        fitting = (certificate for certificate in loaded if certificate.names.best(name))
        return next(fitting, loaded[0]).context

    def _load(self, pair: CertificatePair) -> ServerCertificate | None:
        try:
            return load(pair)
        except (ssl.SSLError, OSError, ValueError) as error:
            logger.error("%s: not usable for TLS: %s", pair.secret, error)
            return None


def listener_context(find: Callable[[str | None], ssl.SSLContext | None]) -> ssl.SSLContext:
    """A context for a socket that asks ``find`` for the real one at every handshake, so that a swap needs no restart.

    ``find`` gets the server name of the ClientHello (RFC 6066 §3), None where there is none; where it finds nothing the
    handshake fails.
    """
    context = server_context()

    def choose(connection: ssl.SSLSocket | ssl.SSLObject, server_name: str | None, _: ssl.SSLContext) -> int | None:
        chosen = find(server_name)
        if chosen is None:
            return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
        connection.context = chosen
        vars(connection)[_ASKED] = server_name
        return None

    context.sni_callback = choose
    return context


def server_name_of(connection: Any) -> str | None:
    """What the client of a TLS connection asked for, in lower case; None where it named nothing.

    None as well on a socket whose context is not of :func:`listener_context`: nobody is told there.
    """
    name: str | None = vars(connection).get(_ASKED)
    return name.lower().rstrip(".") if name else None
