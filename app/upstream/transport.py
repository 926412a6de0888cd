"""The exchange with an endpoint: one request there, one answer back, both as streams."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2

from middleware.errors import BadGateway, ConnectFailed, UpstreamTimeout

#: Seconds. An answer may take as long as it likes; a connection may not.
CONNECT_TIMEOUT = 10.0

TIMEOUT = httpx2.Timeout(None, connect=CONNECT_TIMEOUT).as_dict()


def make_transport() -> httpx2.AsyncBaseTransport:
    """A transport with connections of its own, kept alive for reuse, as many as there are requests under way.

    It goes straight to the endpoint, whatever proxy the environment names.
    """
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=256, keepalive_expiry=60)
    # Endpoints are plain HTTP: a context that trusts nothing spares reading the system's certificates.
    return httpx2.AsyncHTTPTransport(verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), limits=limits, trust_env=False)


@contextmanager
def mapped_errors() -> Iterator[None]:
    """Turn the transport's exceptions into the gateway's, here and nowhere else."""
    try:
        yield
    except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
        raise ConnectFailed(detail=repr(error)) from error
    except httpx2.TimeoutException as error:
        raise UpstreamTimeout(detail=repr(error)) from error
    except httpx2.TransportError as error:
        raise BadGateway(detail=repr(error)) from error
