"""The endpoints of a cluster's Services, which change by the minute: read at each request, beside graph and table."""

from weakref import WeakValueDictionary

from routes.graph.backends import SERVICE_NAME, Serving, serving_in, together
from routes.graph.nodes import Address, ServiceTarget
from routes.resources.core import EndpointSlice
from routes.resources.meta import Key

#: A Service's namespace and name.
_Name = tuple[str, str]


class ServiceEndpoints:
    """EndpointSlices by their Service. A change costs what the slices of that one Service take to read.

    All of it happens in the event loop. Services without a slice are forgotten once nobody holds them.
    """

    def __init__(self) -> None:
        self._services: WeakValueDictionary[_Name, ServicePorts] = WeakValueDictionary()
        # The Service of each slice, by the slice; it is what holds those that have any.
        self._homes: dict[Key, ServicePorts] = {}

    def of(self, target: ServiceTarget) -> tuple[Address, ...]:
        """Where ``target`` is served now. While that stays so and anyone holds its Service, it is the same object."""
        service = self._services.get((target.namespace, target.name))
        return service.at(target.port) if service is not None else ()

    def follow(self, target: ServiceTarget) -> "ServicePorts":
        """The Service of ``target``, for who asks often."""
        return self._service((target.namespace, target.name))

    def put(self, found: EndpointSlice) -> None:
        """There is a slice, or it is another one now. One that says of no Service is nobody's."""
        name = found.metadata.labels.get(SERVICE_NAME)
        key = found.key
        service = self._service((found.metadata.namespace or "", name)) if name else None
        if self._homes.get(key) is not service:
            self.remove(key)
        if service is not None:
            self._homes[key] = service
            service.put(found)

    def remove(self, key: Key) -> None:
        """A slice is gone."""
        service = self._homes.pop(key, None)
        if service is not None:
            service.remove(key)

    def __len__(self) -> int:
        """How many Services are known."""
        return len(self._services)

    def _service(self, name: _Name) -> "ServicePorts":
        service = self._services.get(name)
        if service is None:
            service = self._services[name] = ServicePorts()
        return service


class ServicePorts:
    """One Service: the addresses of its ports, by the ports' names."""

    __slots__ = ("__weakref__", "_addresses", "_serving", "_slices")

    def __init__(self) -> None:
        self._slices: dict[Key, EndpointSlice] = {}
        #: Of those ports that somebody has asked for, what each slice says and what that comes to.
        self._serving: dict[str, dict[Key, Serving]] = {}
        self._addresses: dict[str, tuple[Address, ...]] = {}

    def at(self, port: str) -> tuple[Address, ...]:
        """Where a port is served now; the same object while that stays so."""
        known = self._addresses.get(port)
        if known is None:
            self._serving[port] = {key: serving_in(each, port) for key, each in self._slices.items()}
            known = self._addresses[port] = self._all(port)
        return known

    def put(self, found: EndpointSlice) -> None:
        """Take a slice for what it was before."""
        self._slices[found.key] = found
        for port, serving in self._serving.items():
            serving[found.key] = serving_in(found, port)
            self._look(port)

    def remove(self, key: Key) -> None:
        """Forget a slice."""
        if self._slices.pop(key, None) is not None:
            for port, serving in self._serving.items():
                del serving[key]
                self._look(port)

    def _look(self, port: str) -> None:
        found = self._all(port)
        if found != self._addresses[port]:
            self._addresses[port] = found

    def _all(self, port: str) -> tuple[Address, ...]:
        # In whatever order they came: the same slices are the same endpoints.
        serving = self._serving[port]
        return together(serving[key] for key in sorted(serving))
