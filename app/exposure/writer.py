"""Writes the Services and EndpointSlices of a cluster's Gateways, and only where something is not as it should be."""

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Final, NamedTuple

from app.exposure.objects import (
    GATEWAY_CLASS_NAME,
    differs,
    endpoint_slices,
    is_ours,
    listener_ports,
    owner_of,
    service,
    service_names,
    static_address,
)
from app.exposure.seal import Seal
from app.exposure.stored import SERVICES, SLICES, Stored
from app.patience import Patience
from app.providers.kubernetes.api import Api, ApiError, Object
from app.settings import Settings
from routes.graph.nodes import GatewayNode, Graph
from routes.resources.meta import Key
from routes.table.types import PortKey

logger = logging.getLogger(__name__)

#: Writes at a time.
_AT_ONCE: Final = 8
#: Seconds until a write is tried again: at first, and at most.
_FIRST, _LAST = 0.5, 60.0
#: Seconds after which it is forgotten that others changed what is ours.
_CALM: Final = 600.0
#: How often in that time before it is told.
_OFTEN: Final = 3


class _Step(NamedTuple):
    """One write: ``body`` is applied at ``path``, None is deleted. ``known``: what is there, None for nothing."""

    path: str
    body: Object | None
    known: Object | None


@dataclass(slots=True)
class _Trouble:
    """What was tried in vain for a Gateway, or has to be done over and over. ``since``: what was wanted."""

    since: object
    patience: Patience = field(default_factory=partial(Patience, _FIRST, _LAST))
    tries: int = 0
    not_before: float = 0.0
    sentence: str = ""


class Writer:
    """Keeps what is ``stored`` what Gateways want, while it leads.

    ``bound`` says which port a listener is bound to. ``changed`` is called when a Gateway's :meth:`trouble` is another.
    Each Gateway is seen to by itself: what holds one up is not the others' matter.
    """

    def __init__(
        self,
        api: Api,
        settings: Settings,
        stored: Stored,
        bound: Callable[[PortKey], int],
        seal: Seal,
        changed: Callable[[], None],
    ) -> None:
        self._api = api
        self._settings = settings
        self._stored = stored
        self._bound = bound
        self._seal = seal
        self._changed = changed
        #: The Gateways and what is wanted of them, None as long as nothing is known.
        self.graph: Graph | None = None
        self._leading = False
        self._wake = asyncio.Event()
        self._at_once = asyncio.Semaphore(_AT_ONCE)
        self._busy: set[Key] = set()
        self._right: dict[Key, object] = {}
        self._written: dict[Key, tuple[object, float]] = {}
        self._troubles: dict[Key, _Trouble] = {}
        self._others: set[tuple[str, str]] = set()

    async def run(self) -> None:
        """Write whenever something is not right, until cancelled."""
        async with asyncio.TaskGroup() as writes:
            while await self._wake.wait():
                self._wake.clear()
                for key in self._to_write():
                    self._busy.add(key)
                    writes.create_task(self._write(key))

    def lead(self, leading: bool) -> None:
        """Write from now on, or write no more."""
        self._leading = leading
        if not leading:
            self._troubles.clear()

    def wake(self) -> None:
        """Look whether something is to be written."""
        self._wake.set()

    def trouble(self, key: Key) -> str:
        """Why a Gateway's objects cannot be written, "" where nothing is known to be in the way."""
        trouble = self._troubles.get(key)
        return trouble.sentence if trouble is not None else ""

    @property
    def gateways(self) -> Mapping[Key, GatewayNode]:
        """The Gateways of ours."""
        return self.graph.gateways if self.graph is not None else {}

    def name_of(self, node: GatewayNode) -> tuple[str, str]:
        """Namespace and name of the Gateway's Service: the one that it has, or one that nobody has."""
        namespace = node.source.metadata.namespace or ""
        names = [(namespace, name) for name in service_names(node.source)]
        there = self._stored.services_of(node.source.key)
        free = (name for name in names if name not in self._others and name not in self._stored.services)
        return next((name for name in names if name in there), next(free, names[-1]))

    def _to_write(self) -> list[Key]:
        """The Gateways for which something is to be written now."""
        if not self._leading or self.graph is None or self._stored.unread:
            return []
        now = asyncio.get_running_loop().time()
        foreign = {gateway.key: gateway.spec.gateway_class_name for gateway in self.graph.foreign}
        found: list[Key] = []
        for key in {**self.gateways, **dict.fromkeys(sorted(self._stored.owners()))}:
            if key in self._busy:
                continue
            wanted = self._wish(key)
            trouble = self._troubles.get(key)
            if trouble is not None and trouble.since == wanted and now < trouble.not_before:
                continue
            seen = (wanted, self._seen(key), foreign.get(key))
            if self._right.get(key) == seen:
                continue
            if self._is_right(key):
                self._right[key] = seen
            else:
                found.append(key)
        for key in self._right.keys() - self.gateways.keys() - self._stored.owners():
            del self._right[key]
            self._written.pop(key, None)
            self._troubles.pop(key, None)
        return found

    def _is_right(self, key: Key) -> bool:
        try:
            return next(self._steps(key), None) is None
        except Exception:
            return False  # whoever tries to put it right tells why that cannot be

    def _wish(self, key: Key) -> object:
        """What decides what is wanted for a Gateway."""
        node = self.gateways.get(key)
        if node is None:
            return None
        ports = listener_ports(node)
        return (
            node.source.api_version,
            node.source.metadata.uid,
            node.source.metadata.generation,
            node.source.metadata.deletion_timestamp,
            ports,
            tuple(self._bound(PortKey(key, port)) for port in ports),
            self._stored.replicas_version,
        )

    def _seen(self, key: Key) -> object:
        named = (self._stored.services_of(key), self._stored.slices_of(key))
        every = (each["metadata"] for objects in named for each in objects.values())
        return frozenset((each["uid"], each["resourceVersion"]) for each in every)

    def _later(self, trouble: _Trouble, asked_for: float) -> None:
        """Try again after a while, the longer the more was in vain."""
        trouble.tries += 1
        loop = asyncio.get_running_loop()
        trouble.not_before = loop.time() + max(trouble.patience.after(None), min(asked_for, _LAST))
        loop.call_at(trouble.not_before, self._wake.set)

    async def _write(self, key: Key) -> None:
        """Take all steps for one Gateway, as long as we lead."""
        wanted = self._wish(key)
        try:
            async with self._at_once:
                taken: set[str] = set()
                while self._leading and self._wish(key) == wanted:
                    step = next(self._steps(key), None)
                    if step is None or step.path in taken:  # it was changed on its way
                        break
                    await self._take(step)
                    taken.add(step.path)
            self._succeed(key, wanted)
        except ApiError as error:
            self._fail(key, wanted, error)
        except Exception:
            logger.exception("%s: its Service and EndpointSlices cannot be made", key)
            self._fail(key, wanted, ApiError(0, "Internal", "see the log"))
        finally:
            self._busy.discard(key)
            self._wake.set()

    def _succeed(self, key: Key, wanted: object) -> None:
        now = asyncio.get_running_loop().time()
        last, when = self._written.get(key, (None, 0.0))
        self._written[key] = (wanted, now)
        trouble = self._troubles.pop(key, None)
        if trouble is not None and trouble.sentence:
            logger.info("%s: its Service and EndpointSlices are written", key)
            self._changed()
        elif last == wanted and now - when < _CALM:
            # Somebody else changes what is ours. It is put right at once, and if that goes on ever more slowly.
            trouble = self._troubles[key] = trouble or _Trouble(wanted)
            self._later(trouble, 0.0)
            if trouble.tries == _OFTEN:
                logger.warning("%s: somebody else changes its Service or EndpointSlices time and again", key)

    def _fail(self, key: Key, wanted: object, error: ApiError) -> None:
        trouble = self._troubles.get(key)
        if trouble is None or trouble.since != wanted:
            before = trouble.sentence if trouble is not None else ""
            trouble = self._troubles[key] = _Trouble(wanted, sentence=before)
        sentence = f"{error.message} ({error.status} {error.reason})" if error.status else error.message
        if error.status == 403:
            sentence += "; let Moongate's ServiceAccount get, list, watch, create, patch and delete it"
        self._later(trouble, error.retry_after)
        if trouble.sentence != sentence:
            logger.error("%s: its Service and EndpointSlices cannot be written: %s", key, sentence)
            trouble.sentence = sentence
            self._changed()

    def _steps(self, key: Key) -> Iterator[_Step]:
        """What is to be done for a Gateway, in order: its Service, its slices, and then away with what is too much."""
        assert self.graph is not None, "there are Gateways"
        services, slices = self._stored.services_of(key), self._stored.slices_of(key)
        node = self.gateways.get(key)
        if node is None:
            yield from self._cleared(key)
            return
        # What goes with its owner is not made anew.
        deleted = node.source.metadata.deletion_timestamp is not None
        name = self.name_of(node)
        stored = services.get(name)
        kept = {name}
        kept_slices: set[tuple[str, str]] = set()
        if not listener_ports(node):
            # Its address stays its own, for when it has a good listener again.
            kept |= {(name[0], each) for each in service_names(node.source)}
        else:
            asked, problem = static_address(node.source, self._settings.static_addresses)
            if asked or not problem:
                body = service(
                    node,
                    name[1],
                    self._bound,
                    self._settings.service_type,
                    asked,
                    self._settings.controller_name,
                    self._seal,
                )
                if not body["spec"]["ports"]:
                    return  # no port is free
                if not deleted if stored is None else differs(body, stored):
                    yield _Step(_service_path(name), body, stored)
            if asked or not problem or stored is not None:
                for body in endpoint_slices(
                    node, name[1], self._bound, self._stored.endpoints, self._settings.controller_name
                ):
                    slice_name = (name[0], body["metadata"]["name"])
                    kept_slices.add(slice_name)
                    known = slices.get(slice_name)
                    if not deleted if known is None else differs(body, known):
                        yield _Step(_slice_path(slice_name), body, known)
        for each in slices:
            if each not in kept_slices:
                yield _Step(_slice_path(each), None, slices[each])
        for each in services:
            if each not in kept:
                yield _Step(_service_path(each), None, services[each])

    def _cleared(self, key: Key) -> Iterator[_Step]:
        """What is to go of a Gateway that is not ours any more. Of one that is gone it goes with its owner; and where
        we only cannot read it nothing must."""
        assert self.graph is not None, "there are Gateways"
        gateway = next((each for each in self.graph.foreign if each.key == key), None)
        if gateway is None:
            return
        for each, stored in self._stored.slices_of(key).items():
            yield _Step(_slice_path(each), None, stored)
        for each, stored in self._stored.services_of(key).items():
            # A class that is away for a moment must not cost the address.
            labels = stored["metadata"].get("labels") or {}
            if labels.get(GATEWAY_CLASS_NAME) != gateway.spec.gateway_class_name:
                yield _Step(_service_path(each), None, stored)

    async def _take(self, step: _Step) -> None:
        """Raises ApiError."""
        path, body, known = step
        put = self._stored.put_service if path.startswith(f"{SERVICES}/") else self._stored.put_slice
        if body is None:
            assert known is not None, "what is deleted is there"
            await self._api.delete(path)
            logger.info("deleted %s", path)
            put(known["metadata"]["namespace"], known["metadata"]["name"], None)
            return
        metadata = body["metadata"]
        name = (metadata["namespace"], metadata["name"])
        if known is None and (known := await self._found(path)) is not None and not self._belongs(known, body):
            if body["kind"] != "Service" or name in self._others:
                raise ApiError(0, "", f"{path} is somebody else's: delete it, or give the Gateway another name")
            self._others.add(name)
            return
        if known is not None:
            # What has come in the place of what is known is not taken over.
            body = {**body, "metadata": {**metadata, "uid": known["metadata"]["uid"]}}
        try:
            put(*name, await self._api.apply(path, body))
        except ApiError as error:
            if error.status == 409:  # it is not what we know: whatever it is now, the next try begins from there
                put(*name, await self._found(path))
            raise
        logger.info("applied %s", path)

    async def _found(self, path: str) -> Object | None:
        try:
            return await self._api.get(path)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def _belongs(self, stored: Object, body: Object) -> bool:
        """Whether what is stored was made for the Gateway that ``body`` is for."""
        one, other = owner_of(stored), owner_of(body)
        return (
            is_ours(stored, self._settings.controller_name)
            and one is not None
            and other is not None
            and one[0] == other[0]
        )


def _service_path(name: tuple[str, str]) -> str:
    return f"{SERVICES}/namespaces/{name[0]}/services/{name[1]}"


def _slice_path(name: tuple[str, str]) -> str:
    return f"{SLICES}/namespaces/{name[0]}/endpointslices/{name[1]}"
