"""The part of the Kubernetes API that the gateway uses, and what is stored there."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from routes.resources.meta import Key

Object = Mapping[str, Any]


class ApiError(Exception):
    """The API server refused a request, or could not be asked (``status`` 0).

    ``reason`` is the API's word for it, such as ``Conflict``; ``retry_after`` the seconds that the server asks for.
    """

    def __init__(self, status: int, reason: str, message: str, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message
        self.retry_after = retry_after


class Api(Protocol):
    """Requests for one object each. ``path`` is the object's or its collection's, without host: ``/api/v1/…``.

    All raise ApiError, and try nothing again.
    """

    #: The namespace that we are in.
    namespace: str

    async def get(self, path: str) -> Object:
        """The object at ``path``."""
        ...

    async def create(self, path: str, body: Object) -> Object:
        """Create ``body`` in the collection at ``path``."""
        ...

    async def replace(self, path: str, body: Object) -> Object:
        """PUT ``body``; where it bears a resourceVersion that is not the stored one it is a Conflict (409)."""
        ...

    async def merge(self, path: str, body: Object) -> Object:
        """A JSON merge patch (RFC 7396), of a subresource where ``path`` ends in one; 409 as in :meth:`replace`."""
        ...

    async def apply(self, path: str, body: Object) -> Object:
        """Server-side apply as field manager ``moongate``, which takes fields over from others (``force``)."""
        ...

    async def delete(self, path: str) -> None:
        """Delete the object; that it is not there is no error."""
        ...


class Stored(NamedTuple):
    """What an API server last said of an object, as far as who writes its status has to know."""

    path: str
    uid: str
    resource_version: str
    generation: int
    api_version: str
    status: Object


class Statuses(Protocol):
    """The stored statuses of GatewayClasses, Gateways, ListenerSets, routes and policies."""

    def stored(self, key: Key) -> Stored | None:
        """What is stored of ``key``; None where it is not known, or is gone."""
        ...

    def take_changed(self) -> set[Key]:
        """The objects whose stored status has changed since the last call, by whomever."""
        ...
