"""What there is of our Services and EndpointSlices, and where our replicas are, as every replica follows it."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, Protocol

from app.exposure.objects import MANAGED_BY, MANAGER, SERVICE_NAME, endpoints_by_family, is_ours, owner_of, stored_ports
from app.exposure.seal import Seal
from app.providers.kubernetes.api import Object
from routes.resources.meta import Key
from routes.table.types import PortKey

logger = logging.getLogger(__name__)

SERVICES = "/api/v1"
SLICES = "/apis/discovery.k8s.io/v1"

_OURS = {"labelSelector": f"{MANAGED_BY}={MANAGER}"}

Named = dict[tuple[str, str], Object]

#: Objects that are gone of which that is remembered: many more than there can be answers on their way.
_MOST_GONE: Final = 1024


class Follower(Protocol):
    """Follows a collection: :class:`app.providers.kubernetes.reflector.Reflector`."""

    settled: asyncio.Event
    why: str

    async def run(self) -> None:
        """Follow, until cancelled."""
        ...

    def again(self) -> None:
        """Look now, where the collection could not be read."""
        ...


class Follow(Protocol):
    """Makes what follows the collection at ``path``: a partial of Reflector with its client."""

    def __call__(
        self,
        path: str,
        params: Mapping[str, str],
        on_change: Callable[[str, str, dict[str, Any] | None], None],
        *,
        on_state: Callable[[Any], None],
    ) -> Follower:
        """``on_change`` is called for each object by namespace and name, ``on_state`` where ``why`` is another."""
        ...


class Stored:
    """The objects as the API server last said them. ``changed`` is called after each change of any of them.

    ``namespaces`` are those in which Gateways are, () for all; ``replicas`` the namespace and the name of the Service
    that chooses our own pods.
    """

    def __init__(
        self,
        follow: Follow,
        namespaces: Sequence[str],
        replicas: tuple[str, str],
        controller_name: str,
        seal: Seal,
        changed: Callable[[], None],
    ) -> None:
        self._controller_name = controller_name
        self._seal = seal
        self._changed = changed
        self.services: Named = {}
        self.slices: Named = {}
        self._replicas: Named = {}
        # Of those that are ours: by the Gateway that owns them.
        self._services_of: defaultdict[Key, Named] = defaultdict(dict)
        # The uids of what was there, those that went last; no other object ever gets one of them.
        self._gone: dict[str, None] = {}
        # Of each Service, found out once: seals take their time.
        self._ports: dict[tuple[str, str], dict[PortKey, int]] = {}
        self._slices_of: defaultdict[Key, Named] = defaultdict(dict)
        #: The endpoints of our own pods, by family of addresses, and how often they changed.
        self.endpoints: Mapping[str, Sequence[Object]] = {}
        self.replicas_version = 0
        folders = [f"/namespaces/{namespace}" for namespace in namespaces] or [""]
        namespace, name = replicas
        chosen = {"labelSelector": f"{SERVICE_NAME}={name}"}
        collections: list[tuple[str, Mapping[str, str], Callable[[str, str, dict[str, Any] | None], None]]] = [
            *(
                (f"{SERVICES}{folder}/services", _OURS, partial(self._told, self.services, self.put_service))
                for folder in folders
            ),
            *(
                (f"{SLICES}{folder}/endpointslices", _OURS, partial(self._told, self.slices, self.put_slice))
                for folder in folders
            ),
            (f"{SLICES}/namespaces/{namespace}/endpointslices", chosen, self._put_replicas),
        ]
        self._unread: dict[str, str] = {}
        self._followers = [
            follow(path, params, put, on_state=partial(self._known, path)) for path, params, put in collections
        ]
        self._following: list[asyncio.Task[None]] = []

    async def load(self) -> None:
        """Begin to follow, and wait until everything is known, or why it cannot be."""
        self._following = [asyncio.create_task(follower.run()) for follower in self._followers]
        for follower in self._followers:
            await follower.settled.wait()

    def again(self) -> None:
        """Ask again for what could not be read."""
        for follower in self._followers:
            follower.again()

    async def stop(self) -> None:
        """Follow no more."""
        for task in self._following:
            task.cancel()
        await asyncio.gather(*self._following, return_exceptions=True)

    @property
    def unread(self) -> str:
        """Why something cannot be read, "" where all can."""
        return "; ".join(dict.fromkeys(self._unread.values()))

    def services_of(self, gateway: Key) -> Named:
        """The Services of ours that ``gateway`` owns."""
        return self._services_of.get(gateway, {})

    def slices_of(self, gateway: Key) -> Named:
        """The EndpointSlices of ours that ``gateway`` owns."""
        return self._slices_of.get(gateway, {})

    def owners(self) -> set[Key]:
        """The Gateways that own something of ours."""
        return {*self._services_of, *self._slices_of}

    def ports(self) -> dict[PortKey, int]:
        """What Services of ours say of bound ports. Where a Gateway has several, the last by name counts."""
        found: dict[PortKey, int] = {}
        for services in self._services_of.values():
            for name in sorted(services):
                found |= self._ports[name]
        return found

    def put_service(self, namespace: str, name: str, stored: Object | None) -> None:
        """Know a Service as ``stored``, None where it is gone."""
        self._put(self.services, self._services_of, (namespace, name), stored)
        if (known := self.services.get((namespace, name))) is None:
            self._ports.pop((namespace, name), None)
        else:
            self._ports[namespace, name] = stored_ports(known, self._seal)

    def put_slice(self, namespace: str, name: str, stored: Object | None) -> None:
        """Know an EndpointSlice as ``stored``, None where it is gone."""
        self._put(self.slices, self._slices_of, (namespace, name), stored)

    def _told(
        self,
        every: Named,
        put: Callable[[str, str, Object | None], None],
        namespace: str,
        name: str,
        stored: Object | None,
    ) -> None:
        """Take what a watch says, which knows best what is gone."""
        if stored is None and (before := every.get((namespace, name))) is not None:
            self._gone[before["metadata"]["uid"]] = None
            if len(self._gone) > _MOST_GONE:
                del self._gone[next(iter(self._gone))]
        put(namespace, name, stored)

    def _put(
        self, every: Named, by_owner: defaultdict[Key, Named], name: tuple[str, str], stored: Object | None
    ) -> None:
        before = every.get(name)
        if stored is not None and stored["metadata"].get("uid") in self._gone:
            return  # the answer to a write that came after the news of the object's end
        if before is not None and stored is not None and _is_older(stored, before):
            return
        if before is not None:
            del every[name]
            owner = owner_of(before)
            if owner is not None and name in by_owner.get(owner[0], {}):
                del by_owner[owner[0]][name]
                if not by_owner[owner[0]]:
                    del by_owner[owner[0]]
        if stored is not None:
            every[name] = stored
            owner = owner_of(stored)
            if owner is not None and is_ours(stored, self._controller_name):
                by_owner[owner[0]][name] = stored
        self._changed()

    def _known(self, path: str, follower: Follower) -> None:
        if follower.why == self._unread.get(path, ""):
            return
        if follower.why:
            self._unread[path] = follower.why
            logger.warning("%s cannot be followed: %s", path, follower.why)
        else:
            del self._unread[path]
            logger.info("%s is followed again", path)
        self._changed()

    def _put_replicas(self, namespace: str, name: str, stored: Object | None) -> None:
        if stored is None:
            self._replicas.pop((namespace, name), None)
        else:
            self._replicas[namespace, name] = stored
        endpoints = endpoints_by_family(self._replicas.values())
        if endpoints != self.endpoints:
            self.endpoints = endpoints
            self.replicas_version += 1
            self._changed()


def _is_older(stored: Object, known: Object) -> bool:
    """Whether a watch tells what was there before an answer to a write of ours: the versions of an object count up."""
    one, other = stored["metadata"], known["metadata"]
    if one.get("uid") != other.get("uid"):
        return False
    versions = one.get("resourceVersion", ""), other.get("resourceVersion", "")
    return all(version.isdigit() for version in versions) and int(versions[0]) < int(versions[1])
