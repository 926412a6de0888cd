"""What is served, as Traefik would have it: routers, services and middlewares, made from the graph and kept until it
changes."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from app.admin.api.listing import worst
from app.admin.api.middlewares import configuration, type_of
from app.admin.api.naming import part, router_name, rule_name
from app.admin.api.rules import priority_of, rule_of
from app.admin.source import Source
from app.reconciler import State
from app.view.model import Health
from routes.graph.nodes import Graph, RouteNode, RuleNode
from routes.graph.support import can_look_up
from routes.resources.filters import HTTPRequestMirrorFilter
from routes.resources.meta import Key
from routes.table.explain import outcome
from routes.table.types import Backend, Filter, PortKey, Rule

#: Routes that are looked at before anybody else has a turn.
_SLICE: Final = 64

#: Seconds for which it is kept where nobody asks for it again: some kilobytes a route.
KEPT: Final = 60.0

#: A listener, by the object in which it stands and its name: the port of a Gateway that it is on, and whether by TLS.
_Listeners = Mapping[tuple[Key, str], tuple[PortKey, bool]]


@dataclass(frozen=True, slots=True)
class Router:
    """A match of a rule on one listener."""

    name: str
    entry_point: str
    rule: str
    priority: int
    service: str
    middlewares: tuple[str, ...]
    tls: bool
    status: Health
    errors: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Service:
    """Where requests go: one backend of a rule, its backends by weight, or these and copies for others.

    ``backend`` is the place of the one backend: the route, the rule and its index there. ``weighted`` are the others by
    name and weight, ``mirrors`` by name and percentage.
    """

    name: str
    type: str
    used_by: tuple[str, ...]
    status: Health
    errors: tuple[str, ...] = ()
    backend: tuple[Key, int, int] | None = None
    urls: tuple[str, ...] = ()
    weighted: tuple[tuple[str, int], ...] = ()
    main: str = ""
    mirrors: tuple[tuple[str, int], ...] = ()
    middlewares: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Middleware:
    """A filter of a rule or of a backend. ``configured``: see :func:`app.admin.api.middlewares.configuration`."""

    name: str
    type: str
    configured: Mapping[str, Any]
    used_by: tuple[str, ...]
    status: Health
    errors: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Configuration:
    """Everything that one state serves, by name."""

    routers: Mapping[str, Router] = field(default_factory=dict)
    services: Mapping[str, Service] = field(default_factory=dict)
    middlewares: Mapping[str, Middleware] = field(default_factory=dict)


class Configurations:
    """Makes the present configuration when it is asked for; of a route that did not change it keeps what it made."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._one_by_one = asyncio.Lock()
        # The mutable state, changed by present alone.
        self._graph: Graph | None = None  # of the state that it was made of; not that itself, which holds connections
        self._made = Configuration()
        self._listeners: _Listeners = {}
        self._parts: dict[Key, tuple[RouteNode, _Parts]] = {}
        self._timer: asyncio.TimerHandle | None = None

    async def present(self) -> Configuration:
        """The configuration of the present state. Others have a turn while it is made."""
        async with self._one_by_one:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = asyncio.get_running_loop().call_later(KEPT, self._forget)
            state = self._source.state()
            if state is not None and state.graph is not self._graph:
                self._made = await self._of(state)
                self._graph = state.graph
            return self._made

    def _forget(self) -> None:
        self._timer = None
        if not self._one_by_one.locked():
            self._graph, self._made, self._listeners, self._parts = None, Configuration(), {}, {}

    async def _of(self, state: State) -> Configuration:
        listeners = _listeners(state.graph)
        known = self._parts if listeners == self._listeners else {}
        parts: dict[Key, tuple[RouteNode, _Parts]] = {}
        routers: dict[str, Router] = {}
        services: dict[str, Service] = {}
        middlewares: dict[str, Middleware] = {}
        for number, (key, node) in enumerate(state.graph.routes.items()):
            found = known.get(key)
            if found is None or found[0] is not node:
                rules = tuple(proxy.rule for proxy in self._source.proxies(key))
                found = node, _Parts.of(node, rules, listeners)
            parts[key] = found
            for router in found[1].routers:
                routers[router.name] = router
            for service in found[1].services:
                services[service.name] = service
            for middleware in found[1].middlewares:
                middlewares[middleware.name] = middleware
            if number % _SLICE == 0:
                await asyncio.sleep(0)
        self._parts, self._listeners = parts, listeners
        return Configuration(routers, services, middlewares)


def _listeners(graph: Graph) -> _Listeners:
    return {
        (listener.owner, listener.source.name): (
            PortKey(listener.gateway, listener.source.port),
            listener.source.protocol == "HTTPS",
        )
        for gateway in graph.gateways.values()
        for listener in gateway.all_listeners
        if listener.valid
    }


@dataclass(frozen=True, slots=True)
class _Parts:
    """What one route adds."""

    routers: tuple[Router, ...]
    services: tuple[Service, ...]
    middlewares: tuple[Middleware, ...]

    @classmethod
    def of(cls, node: RouteNode, rules: Sequence[Rule], listeners: _Listeners) -> "_Parts":
        """``rules`` are those that are served; there are none where the route is on no listener."""
        routers: list[Router] = []
        services: list[Service] = []
        middlewares: list[Middleware] = []
        places = _places(node, listeners)
        for rule_node, rule in zip(node.rules, rules, strict=False):
            made = _OfRule(rule, rule_node, places)
            routers += made.routers
            services += made.services()
            middlewares += made.middlewares
        return cls(tuple(routers), tuple(services), tuple(middlewares))


@dataclass(frozen=True, slots=True)
class _Place:
    """A listener that a route is on, and the hostnames that it has there."""

    listener: tuple[Key, str]
    port: PortKey
    tls: bool
    hostnames: tuple[str, ...]


def _places(node: RouteNode, listeners: _Listeners) -> list[_Place]:
    found: dict[tuple[Key, str], _Place] = {}
    for parent in node.parents:
        for attachment in parent.attachments:
            key = parent.owner, attachment.listener
            if key in listeners:
                found[key] = _Place(key, *listeners[key], attachment.hostnames)
    return list(found.values())


class _OfRule:
    """What one rule adds."""

    def __init__(self, rule: Rule, node: RuleNode, places: Sequence[_Place]) -> None:
        self._rule = rule
        self._name = rule_name(rule.route, rule.index)
        self._main = part(self._name, "wrr")
        mirrored = any(_mirrors(filter_) for filter_ in rule.filters)
        self._first = part(self._name, "mirroring") if mirrored else self._main
        self.routers = list(self._routers(node, places))
        self._used_by = tuple(sorted(router.name for router in self.routers))
        self.middlewares = list(self._middlewares(self._name, rule.filters, self._used_by))

    def _routers(self, node: RuleNode, places: Sequence[_Place]) -> Iterator[Router]:
        rule = self._rule
        status, errors = _health(rule)
        passed = tuple(name for name, _ in _named(self._name, rule.filters))
        for place in places:
            for index, match in enumerate(node.source.matches):
                if can_look_up(match):
                    yield Router(
                        router_name(rule.route, place.port.gateway, place.port.port, place.listener, rule.index, index),
                        str(place.port),
                        rule_of(place.hostnames, match),
                        priority_of(match),
                        self._first,
                        passed,
                        place.tls,
                        status,
                        errors,
                    )

    def _middlewares(self, name: str, filters: Sequence[Filter], used_by: tuple[str, ...]) -> Iterator[Middleware]:
        for called, filter_ in _named(name, filters):
            configured = configuration(filter_, self._rule.prefix)
            errors = (filter_.invalid,) if filter_.invalid else ()
            status = Health.DISABLED if errors else Health.ENABLED
            yield Middleware(called, type_of(configured), configured, used_by, status, errors)

    def services(self) -> Iterator[Service]:
        """The rule's own, one for each backend, and those of mirrors."""
        rule = self._rule
        backends = [self._backend(index, backend) for index, backend in enumerate(rule.backends)]
        yield from backends
        weighted = tuple((each.name, backend.weight) for each, backend in zip(backends, rule.backends, strict=True))
        asked = [each.status for each, backend in zip(backends, rule.backends, strict=True) if backend.weight]
        status = worst(asked)
        if status is Health.DISABLED and any(each is not Health.DISABLED for each in asked):
            status = Health.WARNING
        errors = tuple(dict.fromkeys(error for each in backends for error in each.errors))
        yield Service(self._main, "weighted", self._used_by, status, errors, weighted=weighted)
        mirrors: list[tuple[str, int]] = []
        for index, filter_ in enumerate(rule.filters):
            if (share := _mirrors(filter_)) is not None and filter_.backend is not None:
                copy = self._of_backend(part(self._name, "mirror", index), filter_.backend)
                yield copy
                mirrors.append((copy.name, share))
        if mirrors:
            yield Service(
                self._first, "mirroring", self._used_by, Health.ENABLED, main=self._main, mirrors=tuple(mirrors)
            )

    def _backend(self, index: int, backend: Backend) -> Service:
        name = part(self._name, "svc", backend.name, index)
        place = (self._rule.route, self._rule.index, index)
        filters = list(self._middlewares(name, backend.filters, self._used_by))
        self.middlewares += filters
        return self._of_backend(name, backend, place, tuple(each.name for each in filters))

    def _of_backend(
        self,
        name: str,
        backend: Backend,
        place: tuple[Key, int, int] | None = None,
        middlewares: tuple[str, ...] = (),
    ) -> Service:
        urls = tuple(url(backend, str(address)) for address in (backend.dns, *backend.addresses) if address is not None)
        status = Health.ENABLED
        errors: tuple[str, ...] = ()
        if backend.invalid:
            status, errors = Health.DISABLED, (backend.invalid,)
        elif not urls and backend.service is None:
            status, errors = Health.WARNING, ("no ready endpoint",)
        return Service(name, "loadbalancer", self._used_by, status, errors, place, urls, middlewares=middlewares)


def url(backend: Backend, address: str) -> str:
    """How an endpoint of ``backend`` is spoken to."""
    scheme = "https" if backend.tls is not None else str(backend.protocol)
    return f"{scheme}://{address}"


def _named(name: str, filters: Sequence[Filter]) -> Iterator[tuple[str, Filter]]:
    """The filters that are middlewares, and what they are called."""
    for index, filter_ in enumerate(filters):
        if _mirrors(filter_) is None:
            yield part(name, filter_.type, index), filter_


def _mirrors(filter_: Filter) -> int | None:
    """The percentage of requests that a RequestMirror copies, None of any other filter."""
    config = filter_.config
    if not isinstance(config, HTTPRequestMirrorFilter):
        return None
    if config.fraction is not None:
        # Traefik has whole numbers; what gets some requests is not to look like what gets none.
        share = 100 * config.fraction.numerator / config.fraction.denominator
        return max(1, round(share)) if share else 0
    return 100 if config.percent is None else config.percent


def _health(rule: Rule) -> tuple[Health, tuple[str, ...]]:
    """Disabled where all requests are answered by an error of ours, a warning where some are, and why."""
    status, reason = outcome(rule)
    if status:
        return (Health.DISABLED if status == 500 else Health.WARNING), (reason,)
    faults = tuple(dict.fromkeys(each.invalid for each in rule.backends if each.invalid and each.weight))
    return (Health.WARNING, faults) if faults else (Health.ENABLED, ())
