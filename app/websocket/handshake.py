"""The handshake of HTTP/1.1: what a client must send, and what a backend must answer (RFC 6455 §4)."""

import base64
import binascii
import hashlib
import secrets
from collections.abc import Iterable, Sequence
from typing import Final

from middleware.errors import BadGateway, BadRequest

Fields = list[tuple[bytes, bytes]]

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

#: Fields of a handshake that say how the WebSocket of one connection is framed, and not what it is about.
FRAMING: Final = frozenset(
    {
        b"sec-websocket-accept",
        b"sec-websocket-extensions",
        b"sec-websocket-key",
        b"sec-websocket-protocol",
        b"sec-websocket-version",
    }
)


class UpgradeRequired(BadRequest):
    """A version of the protocol that nobody speaks (RFC 6455 §4.4)."""

    status = 426
    message = "the version of WebSocket is not served"

    def __init__(self) -> None:
        # RFC 9110 §15.5.22: the answer says in Upgrade what would be served.
        super().__init__(
            headers=((b"connection", b"upgrade"), (b"upgrade", b"websocket"), (b"sec-websocket-version", b"13"))
        )


def new_key() -> bytes:
    """A key for a handshake of our own."""
    return base64.b64encode(secrets.token_bytes(16))


def accept_of(key: bytes) -> bytes:
    """What a server answers to a handshake with ``key``."""
    return base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())


def checked_key(fields: Fields) -> bytes:
    """The key of a client's handshake (RFC 6455 §4.2.1). Raises UpgradeRequired, or BadRequest for no or a bad key."""
    if _values(fields, b"sec-websocket-version") != [b"13"]:
        raise UpgradeRequired
    keys = _values(fields, b"sec-websocket-key")
    try:
        if len(keys) == 1 and len(base64.b64decode(keys[0], validate=True)) == 16:
            return keys[0]
    except binascii.Error:
        pass
    raise BadRequest("the WebSocket handshake has no valid key")


def check_version(fields: Fields) -> None:
    """Raises BadRequest where a client's handshake in HTTP/2, which has no Upgrade to name, is of another version."""
    if _values(fields, b"sec-websocket-version") != [b"13"]:
        raise BadRequest(UpgradeRequired.message, headers=((b"sec-websocket-version", b"13"),))


def offered(fields: Fields) -> list[str]:
    """The subprotocols that a client would speak, the one that it likes best first."""
    return _tokens(_values(fields, b"sec-websocket-protocol"))


def switched(fields: Fields, key: bytes, subprotocols: Sequence[str]) -> str | None:
    """The subprotocol that a backend chose in its 101 to our handshake (RFC 6455 §4.1).

    Raises BadGateway where the answer is not to this handshake.
    """
    if [token.lower() for token in _tokens(_values(fields, b"upgrade"))] != ["websocket"]:
        raise BadGateway(detail="switched to another protocol than WebSocket")
    if _values(fields, b"sec-websocket-accept") != [accept_of(key)]:
        raise BadGateway(detail="Sec-WebSocket-Accept does not fit the key")
    chosen = _values(fields, b"sec-websocket-protocol")
    if not chosen:
        return None
    subprotocol = chosen[0].decode("latin-1")
    if len(chosen) > 1 or subprotocol not in subprotocols:
        raise BadGateway(detail="a subprotocol that was not offered")
    return subprotocol


def names_websocket(fields: Fields) -> bool:
    """Whether ``Upgrade`` asks for WebSocket."""
    return any(token.lower() == "websocket" for token in _tokens(_values(fields, b"upgrade")))


def _values(fields: Fields, name: bytes) -> list[bytes]:
    return [value for field, value in fields if field == name]


def _tokens(values: Iterable[bytes]) -> list[str]:
    return [token for value in values for part in value.decode("latin-1").split(",") if (token := part.strip())]
