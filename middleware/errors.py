"""What goes wrong with a request, and the gateway's own answers to it."""

# ruff: noqa: N818 - the errors are named as the situations they are; "Error" behind each would say nothing

import logging
from collections.abc import Iterable
from contextlib import suppress
from enum import StrEnum
from http import HTTPStatus

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from middleware.answer import answer_behind
from middleware.record import record_of

logger = logging.getLogger(__name__)

Headers = Iterable[tuple[bytes, bytes]]


class Source(StrEnum):
    """On which side of the gateway a request failed."""

    CLIENT = "client"
    GATEWAY = "gateway"
    UPSTREAM = "upstream"


class GatewayError(Exception):
    """A request that cannot be served as asked. Raised anywhere on the way, answered by :class:`ErrorMiddleware`.

    The class gives the rule and an instance may differ from it in ``flag`` and ``retryable``: a connection that broke
    while it was being reused is worth another attempt. ``message`` is shown to the client, so it names no address and
    no setting; ``detail`` is for the log only. ``headers`` are added to the answer.
    """

    status: int = 500
    """The status of the answer."""
    source: Source = Source.GATEWAY
    """On which side the request failed."""
    flag: str = ""
    """Envoy's response flag for it."""
    retryable: bool = False
    """Whether nothing of the request was worked on, so that sending it again cannot do it twice."""
    message: str = "the gateway could not serve this request"
    """What the client is told."""

    def __init__(
        self,
        message: str = "",
        *,
        detail: str = "",
        flag: str | None = None,
        retryable: bool | None = None,
        headers: Headers = (),
    ) -> None:
        self.message = message or type(self).message
        self.detail = detail
        if flag is not None:
            self.flag = flag
        if retryable is not None:
            self.retryable = retryable
        self.headers = tuple(headers)
        super().__init__(f"{self.message}: {detail}" if detail else self.message)


class BadRequest(GatewayError):
    """The request breaks the rules of HTTP."""

    status = 400
    source = Source.CLIENT
    flag = "DPE"
    message = "the request is malformed"


class NoRoute(GatewayError):
    """No route of this listener matches."""

    status = 404
    source = Source.CLIENT
    flag = "NR"
    message = "no route matches this request"


class RequestTimeout(GatewayError):
    """The client took too long to send its request."""

    status = 408
    source = Source.CLIENT
    flag = "SI"
    message = "the request took too long to arrive"


class HeadTooLarge(GatewayError):
    """The head is larger than any that we serve (RFC 6585 §5)."""

    status = 431
    source = Source.CLIENT
    flag = "DPE"
    message = "the request's head is too large"


class TargetTooLong(GatewayError):
    """The request line is longer than any that we serve (RFC 9110 §15.5.15)."""

    status = 414
    source = Source.CLIENT
    flag = "DPE"
    message = "the request target is too long"


class NotImplementedHere(GatewayError):
    """A method or a coding that a gateway has no use for (RFC 9110 §15.6.2)."""

    status = 501
    source = Source.CLIENT
    flag = "DPE"
    message = "the method is not served"


class Misdirected(GatewayError):
    """The host is not one that this connection may ask for (RFC 9110, 15.5.20)."""

    status = 421
    source = Source.CLIENT
    flag = "NR"
    message = "this connection does not serve the requested host"


class NoValidBackend(GatewayError):
    """The rule names no backend that exists, is allowed and is understood."""

    status = 500
    flag = "NC"
    message = "the matching route has no valid backend"


class BadGateway(GatewayError):
    """The endpoint's answer is not HTTP, or its connection broke."""

    status = 502
    source = Source.UPSTREAM
    flag = "UC"
    message = "the backend gave no valid answer"


class ConnectFailed(BadGateway):
    """No connection to the endpoint: nothing was sent yet."""

    flag = "UF"
    retryable = True
    message = "the backend cannot be reached"


class NoReadyEndpoint(GatewayError):
    """The backend is valid and has no endpoint that could serve."""

    status = 503
    source = Source.UPSTREAM
    flag = "UH"
    message = "the backend has no ready endpoint"


class TooManyConnections(GatewayError):
    """The server has as many clients as it may have."""

    status = 503
    flag = "OM"
    message = "too many connections"


class UpstreamTimeout(GatewayError):
    """The endpoint did not answer in the time given to it."""

    status = 504
    source = Source.UPSTREAM
    flag = "UT"
    message = "the backend did not answer in time"


class ClientDisconnected(GatewayError):
    """The client left. There is nobody to answer: ``status`` is for the log alone."""

    status = 499
    source = Source.CLIENT
    flag = "DC"
    message = "the client left"


async def respond(
    send: Send, status: int, message: str, *, method: str = "GET", headers: Headers = (), websocket: bool = False
) -> None:
    """Send a whole answer in plain text: ``404 Not Found: no route matches this request``.

    HEAD (``method``) gets the same head, with the length of the body that GET would get, and no body (RFC 9110, 9.3.2).
    ``websocket`` answers a handshake instead of a request, on a server with the ``websocket.http.response`` extension.
    """
    body = f"{status} {_phrase(status)}: {message}\n".encode()
    prefix = "websocket.http.response" if websocket else "http.response"
    await send(
        {
            "type": f"{prefix}.start",
            "status": status,
            "headers": [
                (b"content-type", b"text/plain; charset=utf-8"),
                (b"content-length", b"%d" % len(body)),
                *headers,
            ],
        }
    )
    await send({"type": f"{prefix}.body", "body": b"" if method == "HEAD" else body})


class ErrorMiddleware:
    """Turns what the application raises into an answer, as long as none has begun.

    A :class:`GatewayError` becomes the answer it stands for, any other exception a 500, logged once with its traceback.
    When the response has begun the exception goes on to the server, which breaks the connection: a cut answer must
    never look like a whole one. A client that left is nobody's error and ends here. The error's flag goes to the
    request's record.

    An OSError of ``send``, by which the ASGI specification says that the client left, becomes
    :class:`ClientDisconnected`, so that no application takes it for an error of its upstream.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        # The server's own connection knows whether the answer has begun: then nobody has to listen.
        answer = answer_behind(scope, send)
        responder = _Responder(send)
        try:
            await self.app(scope, receive, responder.send if answer is None else send)
        except GatewayError as error:
            _flag(scope, error.flag)
            if isinstance(error, ClientDisconnected):
                return
            if responder.began or (answer is not None and answer.started):
                raise
            logger.debug("%s %a: %d: %s", _method(scope), scope["path"], error.status, error)
            await _answer(scope, responder, error.status, error.message, error.headers)
        except Exception as error:
            if answer is not None and answer.disconnected and isinstance(error, OSError):
                _flag(scope, ClientDisconnected.flag)
                return
            if responder.began or (answer is not None and answer.started):
                _flag(scope, "LR")
                raise
            logger.exception("%s %a failed", _method(scope), scope["path"])
            await _answer(scope, responder, 500, GatewayError.message, ())


class _Responder:
    """One request's way back to the client: knows whether it was used."""

    __slots__ = ("_send", "began")

    def __init__(self, send: Send) -> None:
        self.began = False
        self._send = send

    async def send(self, message: Message) -> None:
        if not self.began and message["type"] in _BEGINNINGS:
            self.began = True
        try:
            await self._send(message)
        except OSError as error:
            raise ClientDisconnected(detail=str(error)) from error


# An early hint (103) is not among them: a final answer can still follow it.
_BEGINNINGS = frozenset({"http.response.start", "websocket.accept", "websocket.close", "websocket.http.response.start"})


async def _answer(scope: Scope, responder: _Responder, status: int, message: str, headers: Headers) -> None:
    if status == 408 and scope.get("http_version", "1.1").startswith("1"):
        # The rest of the request may still come, and must not be read as the next one (RFC 9110, 15.5.9).
        headers = (*headers, (b"connection", b"close"))
    websocket = scope["type"] == "websocket"
    try:
        if websocket and "websocket.http.response" not in (scope.get("extensions") or {}):
            await responder.send({"type": "websocket.close", "code": 1011})  # answered with 403 by such a server
        else:
            await respond(responder.send, status, message, method=_method(scope), headers=headers, websocket=websocket)
    except ClientDisconnected as error:
        _flag(scope, error.flag)


def _flag(scope: Scope, flag: str) -> None:
    if record := record_of(scope):
        record.add_flag(flag)


def _method(scope: Scope) -> str:
    method: str = scope.get("method", "GET")
    return method


def _phrase(status: int) -> str:
    with suppress(ValueError):
        return HTTPStatus(status).phrase
    return "Error"
