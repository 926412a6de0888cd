"""What the requests of an HTTP/2 connection are for, in the words of ASGI (RFC 9113 §8.3.1)."""

from typing import Any, Final, NamedTuple

from starlette.types import Scope

from app.http2.rules import RequestHead
from app.listeners.cycle import ANSWER_EXTENSIONS
from app.listeners.peer import Peer
from app.listeners.reader import MAX_TARGET
from app.listeners.target import Fields, check_authority, decoded, split_target
from app.listeners.websocket import EXTENSIONS
from app.websocket.handshake import check_version, offered
from middleware.errors import BadRequest, TargetTooLong

_ASGI: Final = {"version": "3.0", "spec_version": "2.4"}
_CHUNKED: Final = (b"transfer-encoding", b"chunked")


class _Target(NamedTuple):
    """What is worked out once for all requests that have the same header block."""

    path: str
    raw_path: bytes
    query: bytes
    #: The request's fields behind its Host, which :authority is here.
    fields: Fields
    expects: bool


class Scopes:
    """Makes the scopes of one connection's requests."""

    __slots__ = ("_peer", "_raw_root_path", "_root_path", "_state")

    def __init__(self, peer: Peer, root_path: str, state: dict[str, Any]) -> None:
        self._peer = peer
        self._root_path = root_path
        self._raw_root_path = root_path.encode()
        self._state = state

    def http(self, head: RequestHead, *, ended: bool) -> tuple[Scope, bool]:
        """The scope of a request, and whether its client waits to be told that the body is wanted.

        ``ended``: it has no body. Raises GatewayError for a request that is well-formed and not served.
        """
        target = self._target(head)
        fields = target.fields.copy()
        if not ended and head.length is None:
            fields.append(_CHUNKED)  # By this a proxy knows that there is a body, as with HTTP/1.1.
        peer = self._peer
        scope: Scope = {
            "type": "http",
            "asgi": _ASGI,
            "http_version": "2",
            "method": head.method,
            "scheme": peer.scheme,
            "server": peer.server,
            "client": peer.client,
            "root_path": self._root_path,
            "path": target.path,
            "raw_path": target.raw_path,
            "query_string": target.query,
            "headers": fields,
            "state": peer.state(self._state),
            "extensions": ANSWER_EXTENSIONS,
        }
        return scope, target.expects

    def websocket(self, head: RequestHead) -> Scope:
        """The scope of an extended CONNECT for ``websocket`` (RFC 8441 §5).

        Raises GatewayError for a handshake that is well-formed and not served.
        """
        target = self._target(head)
        check_version(target.fields)
        if head.length is not None:
            raise BadRequest("a WebSocket handshake has no body")
        peer = self._peer
        return {
            "type": "websocket",
            "asgi": _ASGI,
            "http_version": "2",
            "scheme": "wss" if peer.scheme == "https" else "ws",
            "server": peer.server,
            "client": peer.client,
            "root_path": self._root_path,
            "path": target.path,
            "raw_path": target.raw_path,
            "query_string": target.query,
            # A key means nothing here, and must not be taken for one of ours.
            "headers": [field for field in target.fields if field[0] != b"sec-websocket-key"],
            "subprotocols": offered(target.fields),
            "state": peer.state(self._state),
            "extensions": EXTENSIONS,
        }

    def refused(self, head: RequestHead | None) -> Scope:
        """What is known of a request that is not served; None where that is nothing."""
        if head is None:
            head = RequestHead("-", None, None, b"-", None, [], None)
        return {
            "type": "http",
            "http_version": "2",
            "method": head.method,
            "scheme": self._peer.scheme,
            "client": self._peer.client,
            "raw_path": head.path or b"",
            "headers": [*([(b"host", head.authority)] if head.authority else ()), *head.fields],
            "state": self._state,
        }

    def _target(self, head: RequestHead) -> _Target:
        target: _Target | None = head.memo
        if target is None:
            head.memo = target = self._worked_out(head)
        return target

    def _worked_out(self, head: RequestHead) -> _Target:
        if head.scheme not in (b"http", b"https"):
            raise BadRequest("another scheme")
        assert head.path is not None
        if len(head.path) > MAX_TARGET:
            raise TargetTooLong
        if head.path[:1] != b"/" and head.path != b"*":
            raise BadRequest("the request target is no path")
        _, path, query = split_target(head.method, head.path)
        authority = head.authority
        expects = False
        fields: Fields = []
        for field in head.fields:
            if field[0] == b"host":
                if authority is None:
                    authority = field[1]
                elif authority.lower() != field[1].lower():
                    raise BadRequest("more than one host")
                continue
            if field[0] == b"expect":
                expects = field[1].lower() == b"100-continue"
            fields.append(field)
        if authority is None:
            raise BadRequest("no host")
        check_authority(authority)
        fields.insert(0, (b"host", authority))
        return _Target(self._root_path + decoded(path), self._raw_root_path + path, query, fields, expects)
