"""Moongate: the Kubernetes Gateway API as an ASGI application.

``uvicorn app:gateway`` serves it, configured by ``MOONGATE_…`` variables. To embed one, make your own
:class:`Gateway` from :class:`Settings`. Importing this package reads no file and opens no socket.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from app.application import Gateway
    from app.settings import Settings

    gateway: Gateway

__all__ = ["Gateway", "Settings", "gateway"]


def __getattr__(name: str) -> Any:
    """What is asked for is loaded then: a command that only looks at something does not wait for all the rest."""
    if name == "Settings":
        from app.settings import Settings

        return Settings
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from app.application import Gateway

    globals()["Gateway"] = Gateway
    if name == "Gateway":
        return Gateway
    # The gateway that a server runs: as the server's own application it opens the listeners that the server does not.
    made = globals()["gateway"] = Gateway(listeners=True)
    return made
