"""Moongate: the Kubernetes Gateway API as an ASGI application.

``uvicorn app:gateway`` serves it, configured by ``MOONGATE_…`` variables. To embed one, make your own
:class:`Gateway` from :class:`Settings`. Importing this package reads no file and opens no socket.
"""

from app.application import Gateway
from app.settings import Settings

__all__ = ["Gateway", "Settings", "gateway"]

#: The gateway that a server runs: as the server's own application it opens the listeners that the server does not.
gateway = Gateway(listeners=True)
