"""Proof that bound ports in a Service were written by us.

Whoever may write Services in a namespace may write any port into one, and claim with it the port that somebody else's
listener is bound to. What bears no seal of ours claims nothing. Nothing is read or written here.
"""

import json
from collections.abc import Mapping
from hashlib import blake2b, sha256
from hmac import compare_digest
from typing import Final

from routes.resources.meta import Key

_BYTES: Final = 16


class Seal:
    """Seals of who knows ``key``, which the replicas share. Without one there are no seals, and everything fits."""

    def __init__(self, key: bytes) -> None:
        self._key = sha256(key).digest() if key else b""

    def of(self, gateway: Key, ports: Mapping[int, int]) -> str:
        """The seal of a Gateway's ``ports`` and what they are bound to; "" without a key."""
        if not self._key:
            return ""
        text = json.dumps([*gateway, sorted(ports.items())]).encode()
        return blake2b(text, key=self._key, digest_size=_BYTES, person=b"moongate.ports").hexdigest()

    def fits(self, seal: str, gateway: Key, ports: Mapping[int, int]) -> bool:
        """Whether ``seal`` is the one of these ports."""
        return compare_digest(seal.encode(), self.of(gateway, ports).encode()) if self._key else True
