"""Which endpoint a client's session is bound to (GEP-1619), told by the client's own token.

Nothing is kept here: a token holds, for each backend of the rule that has served the session, a keyed digest of the
backend's name and the endpoint's address. Who does not know the key can neither make one nor find out the address. With
the same key all processes read each other's tokens, and those from before a restart.

The weights of a rule choose the backend of each request, whatever its session says; the session says which of that
backend's endpoints serves it ("Session persistence MUST NOT override which backend is selected").
"""

import binascii
import hashlib
import hmac
import math
import multiprocessing
import time
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence
from typing import Final
from urllib.parse import quote

from starlette.types import Scope

from app.upstream.fields import Fields
from app.upstream.health import Endpoint
from routes.resources.fields import duration_seconds
from routes.resources.http import SessionPersistence

#: Bytes of a digest, of its beginning that says which backend it is of, of the time when it was given out (seconds
#: since 1970), and of the seal on both.
DIGEST: Final = 16
TAG: Final = 4
STAMP: Final = 5
SEAL: Final = 11

#: What a cookie's Path may hold as it is (RFC 6265 §4.1.1: no control characters and no semicolon).
_IN_PATH: Final = "/!\"#$%&'()*+,-.:<=>?@[\\]^_`{|}~"


def common_key() -> bytes:
    """A random secret that the workers of one server have in common, for as long as that runs."""
    return bytes(multiprocessing.current_process().authkey)


class Sessions:
    """The sessions of one rule.

    ``key`` is a secret and ``rule`` the rule's name: the tokens of one mean nothing to another. ``backends``: how many
    there are. ``clock``: seconds since 1970.
    """

    def __init__(
        self,
        source: SessionPersistence,
        rule: str,
        key: bytes,
        backends: int = 1,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._clock = clock
        self._backends = backends
        self._key = hashlib.blake2b(rule.encode(), key=hashlib.sha256(key).digest()).digest()
        #: Seconds for which a token counts; 0 is without end.
        self._lifetime = duration_seconds(source.absolute_timeout) if source.absolute_timeout is not None else 0.0
        self._header: bytes | None = None
        self._attributes = b""
        if source.header is not None:
            self._header = source.header.name.lower().encode()
        else:
            cookie = source.cookie
            given = cookie.name if cookie is not None else None
            name = given or f"moongate-{hashlib.blake2b(rule.encode(), digest_size=4).hexdigest()}"
            path = quote(cookie.path, safe=_IN_PATH) if cookie is not None else "/"
            self._attributes = f"; Path={path or '/'}; HttpOnly; SameSite=Strict".encode()
            if cookie is not None and cookie.lifetime_type == "Permanent" and self._lifetime:
                self._attributes += b"; Max-Age=%d" % math.ceil(self._lifetime)
            self._cookie = name.encode()
        #: The endpoints of each backend by their digests, of the addresses that it had last.
        self._digests: dict[str, tuple[Sequence[Endpoint], Mapping[bytes, Endpoint], bytes]] = {}

    def of(self, scope: Scope, backend: str, endpoints: Sequence[Endpoint]) -> "Session":
        """The session of a request that goes to ``backend``, which is at ``endpoints``."""
        by_digest, tag = self._by_digest(backend, endpoints)
        bound: Endpoint | None = None
        others: dict[bytes, bytes] = {}
        for part in self._parts(scope):
            digest = self._digest(part)
            if digest is not None:
                if digest[:TAG] != tag:
                    others.setdefault(digest[:TAG], part)
                elif bound is None:
                    bound = by_digest.get(digest)  # none where the endpoint is gone
        if bound is not None and not bound.settled:
            now = bound.clock()
            bound = None if bound.ejected_until > now and not bound.reachable else bound.chosen(now)
        kept = list(others.values())[: self._backends - 1]
        return Session(self, backend, bound, kept, scope["scheme"] in ("https", "wss"))

    def fields(self, backend: str, endpoint: Endpoint, others: Sequence[bytes], *, secure: bool) -> Fields:
        """What binds a client to ``endpoint``, and to those of other backends that its token has named."""
        raw = self._digest_of(backend, endpoint)
        if self._lifetime:
            raw += int(self._clock()).to_bytes(STAMP, "big")
            raw += self._seal(raw)
        token = b".".join((urlsafe_b64encode(raw).rstrip(b"="), *others))
        if self._header is not None:
            return [(self._header, token)]
        return [(b"set-cookie", b"%b=%b%b%b" % (self._cookie, token, self._attributes, b"; Secure" if secure else b""))]

    def _parts(self, scope: Scope) -> list[bytes]:
        """The parts of what the client says, of which it may say several, and anything."""
        if self._header is not None:
            values = [value for name, value in scope["headers"] if name == self._header]
        else:
            values = []
            for name, field in scope["headers"]:
                if name == b"cookie" and self._cookie in field:
                    for pair in field.split(b";"):
                        key, _, value = pair.strip().partition(b"=")
                        if key == self._cookie:
                            values.append(value)
        return b".".join(values).split(b".", 4 * self._backends)[: 4 * self._backends] if values else []

    def _digest(self, part: bytes) -> bytes | None:
        """The digest in a part of a token, None where it is none, or is too old."""
        size = DIGEST + STAMP + SEAL if self._lifetime else DIGEST
        padding = b"=" * (-size % 3)
        if len(part) + len(padding) != 4 * math.ceil(size / 3):
            return None
        try:
            raw = b64decode(part + padding, b"-_", validate=True)
        except binascii.Error:
            return None
        if self._lifetime:
            sealed, seal = raw[:-SEAL], raw[-SEAL:]
            if not hmac.compare_digest(seal, self._seal(sealed)):
                return None
            if self._clock() - int.from_bytes(sealed[DIGEST:], "big") >= self._lifetime:
                return None
        return raw[:DIGEST]

    def _by_digest(self, backend: str, endpoints: Sequence[Endpoint]) -> tuple[Mapping[bytes, Endpoint], bytes]:
        """The endpoints of a backend by their digests, and what all of these begin with."""
        known = self._digests.get(backend)
        if known is None or known[0] is not endpoints:
            found = {self._digest_of(backend, endpoint): endpoint for endpoint in endpoints}
            known = self._digests[backend] = endpoints, found, self._tag(backend)
        return known[1:]

    def _digest_of(self, backend: str, endpoint: Endpoint) -> bytes:
        address = endpoint.address
        named = f"{backend} {address.host} {address.port}".encode()
        digest = hashlib.blake2b(named, key=self._key, digest_size=DIGEST - TAG, person=b"endpoint").digest()
        return self._tag(backend) + digest

    def _tag(self, backend: str) -> bytes:
        return hashlib.blake2b(backend.encode(), key=self._key, digest_size=TAG, person=b"backend").digest()

    def _seal(self, sealed: bytes) -> bytes:
        return hashlib.blake2b(sealed, key=self._key, digest_size=SEAL, person=b"stamp").digest()


class Session:
    """One request's: ``endpoint`` is the one it is bound to, None where it is new, or that endpoint is gone."""

    __slots__ = ("_backend", "_others", "_secure", "_sessions", "endpoint")

    def __init__(
        self, sessions: Sessions, backend: str, endpoint: Endpoint | None, others: Sequence[bytes], secure: bool
    ) -> None:
        self._sessions = sessions
        self._backend = backend
        self._others = others
        self._secure = secure
        self.endpoint = endpoint

    def adds(self, endpoint: Endpoint) -> Fields:
        """What the answer of ``endpoint`` gets: nothing where the client is bound to it already."""
        if endpoint is self.endpoint:
            return []
        return self._sessions.fields(self._backend, endpoint, self._others, secure=self._secure)
