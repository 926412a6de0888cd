"""What is known of one request while it is served: filled on the way, read at its end."""

from collections.abc import Sequence
from dataclasses import dataclass

from starlette.types import Scope

RECORD = "moongate.record"
"""The key of the :class:`RequestRecord` in an ASGI scope. Copies of the scope share the one record."""


@dataclass(slots=True)
class RequestRecord:
    """Who served a request and how it went, for the access log and the metrics.

    The outermost middleware that needs it creates it, the proxy and the error middleware fill it. An empty text or a
    zero says that the request never came so far.
    """

    port: object = None
    """The port of a Gateway that it came by, None where that is not known."""
    route: str = ""
    """The route and rule that matched, as shown to people: ``default/http-app-1[0]``."""
    backend: str = ""
    """The backend the request was sent to: ``default/whoami:80``."""
    endpoint: str = ""
    """The URL of the endpoint that answered: ``http://10.0.0.7:8080``."""
    origin_status: int = 0
    """The status that the endpoint gave, which a filter may have changed on the way to the client."""
    origin_duration_ns: int = 0
    """Nanoseconds spent waiting for the endpoint, all attempts together."""
    origin_fields: Sequence[tuple[bytes, bytes]] = ()
    """The header fields that the endpoint gave, with names in lower case."""
    retries: int = 0
    """How often the request was sent again."""
    ejections: int = 0
    """How many endpoints it was the last straw for, so that they are passed over for a while."""
    tunnel_received: int = 0
    """Bytes that a WebSocket carried from the client where no middleware sees its messages."""
    tunnel_sent: int = 0
    """Bytes that it carried to the client."""
    request_id: str = ""
    """The id by which the request is known, where requests have one."""
    trace_id: str = ""
    """The trace that the request belongs to, in 32 hexadecimal digits (W3C Trace Context)."""
    span_id: str = ""
    """Our own span in it, in 16 digits."""
    flags: str = ""
    """Why the answer is not the endpoint's own: Envoy's response flags, joined by commas (``UF``, ``UH,DC``)."""

    def add_flag(self, flag: str) -> None:
        """Note one more flag; an empty one and one that is already there change nothing."""
        if not self.flags:
            self.flags = flag
        elif flag and flag not in self.flags.split(","):
            self.flags = f"{self.flags},{flag}"


def record_of(scope: Scope) -> RequestRecord | None:
    """The record of the request of ``scope``; None where no middleware has made one."""
    record: RequestRecord | None = scope.get(RECORD)
    return record
