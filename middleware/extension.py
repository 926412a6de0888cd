"""ExtensionRef: ASGI middleware of your own as a filter."""

import logging
from collections.abc import Mapping
from typing import Any, Final, Protocol

from pydantic.alias_generators import to_snake
from starlette.types import ASGIApp

from middleware.invalid import InvalidFilterMiddleware
from routes.resources.extension import Extension

logger = logging.getLogger(__name__)


class FilterClass(Protocol):
    """A class of ASGI middleware: called with the application behind it, and with what its object has in ``spec``.

    The fields of ``spec`` are its keyword arguments, their names in snake_case: ``requestsPerSecond: 5`` comes as
    ``requests_per_second=5``. What is within a field is as it was written. So a filter need not know of Moongate, and
    middleware of Starlette's and of other people's can be one as it is. It is made once for each rule or backendRef
    that names the object, anew when either changes, and it may be made in another thread than the event loop's.

    It gets ``http`` and ``websocket`` scopes. The request's fields are in ``scope["headers"]``, to be changed in a copy
    of the scope. The path that is forwarded is ``scope["moongate.path"]``; ``path`` and ``raw_path`` are the client's.
    """

    def __call__(self, app: ASGIApp, /, *args: Any, **spec: Any) -> ASGIApp: ...


#: Filter classes by the group and kind of the objects that configure them.
Extensions = Mapping[tuple[str, str], FilterClass]

NO_EXTENSIONS: Final[Extensions] = {}


def extended(app: ASGIApp, extension: Extension | None, extensions: Extensions) -> ASGIApp:
    """``app`` behind the filter that ``extension`` configures.

    Where it cannot be made, requests that would pass it are answered 500 and the log says why. Never raises.
    """
    if extension is None:
        return InvalidFilterMiddleware(app, detail="an ExtensionRef to nothing")
    group, kind = extension.key.group, extension.kind
    made = extensions.get((group, kind))
    if made is None:
        detail = f"no filter is installed for {kind}.{group}"
        logger.error("%s: %s; its rules are answered 500", extension.key, detail)
        return InvalidFilterMiddleware(app, detail=f"{extension.key}: {detail}")
    try:
        arguments = {to_snake(name): value for name, value in extension.spec.items()}
        if len(arguments) != len(extension.spec):
            raise TypeError("spec has a field in two spellings")
        return made(app, **arguments)
    except Exception as error:
        detail = f"the filter {kind}.{group} could not be made: {error}"
        logger.exception("%s: %s; its rules are answered 500", extension.key, detail)
        return InvalidFilterMiddleware(app, detail=f"{extension.key}: {detail}")
