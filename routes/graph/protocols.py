"""Which protocols of listeners are served, and which kinds of route each of them can carry."""

from routes.resources.gateway import RouteGroupKind
from routes.resources.meta import GATEWAY_GROUP

HTTP_ROUTE = RouteGroupKind(group=GATEWAY_GROUP, kind="HTTPRoute")
#: The protocols that are served, with their kinds of route. What is not in it is refused: TLS, TCP and UDP as well.
ROUTE_KINDS: dict[str, tuple[RouteGroupKind, ...]] = {"HTTP": (HTTP_ROUTE,), "HTTPS": (HTTP_ROUTE,)}
#: The protocols that stand in each other's way on a port; UDP has ports of its own.
OVER_TCP = frozenset({"HTTP", "HTTPS", "TLS", "TCP"})
