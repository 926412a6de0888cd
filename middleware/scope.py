"""What the gateway keeps in a request's ASGI scope for a rule and its filters."""

from typing import Final

#: The path below the gateway's mount as bytes, still encoded and without the query: what is sent to the backend.
TARGET_PATH: Final = "moongate.path"

#: Which of the Gateway's ports the request came to, by the number in the Gateway's ``listeners``.
LISTENER_PORT: Final = "moongate.port"
