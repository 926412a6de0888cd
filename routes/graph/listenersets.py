"""ListenerSets: which of them a Gateway lets in, and what each one's conditions are (GEP-1713)."""

from collections.abc import Iterable

from routes.graph import conditions
from routes.graph.conflicts import Claims
from routes.graph.listeners import Surroundings, build_listeners, refused
from routes.graph.namespaces import Namespaces
from routes.graph.nodes import Condition, ListenerNode, ListenerSetNode
from routes.graph.seniority import seniority
from routes.resources.gateway import Gateway, ListenerSet
from routes.resources.meta import GATEWAY_GROUP, Key


def by_gateway(sets: Iterable[ListenerSet]) -> dict[Key, list[ListenerSet]]:
    """The sets by the Gateway that they name, in order of precedence: the oldest first, then by ``namespace/name``."""
    found: dict[Key, list[ListenerSet]] = {}
    for source in sorted(sets, key=seniority):
        found.setdefault(parent_of(source), []).append(source)
    return found


def parent_of(source: ListenerSet) -> Key:
    """What ``spec.parentRef`` names, which need not be a Gateway."""
    ref = source.spec.parent_ref
    return Key(ref.group, ref.kind, ref.namespace or source.metadata.namespace or "", ref.name)


def build_sets(
    gateway: Gateway,
    waiting: str,
    sets: Iterable[ListenerSet],
    namespaces: Namespaces,
    surroundings: Surroundings,
) -> tuple[ListenerSetNode, ...]:
    """The nodes of the ``sets`` that name ``gateway``, without the conditions that the whole Gateway decides on.

    ``waiting`` is why the Gateway itself is not accepted, "" if it is. A set that is not let in claims nothing.
    """
    claims = Claims(gateway.spec.listeners)
    home = gateway.metadata.namespace or ""
    allowed = gateway.spec.allowed_listeners.namespaces
    nodes: list[ListenerSetNode] = []
    for source in sets:
        namespace = source.metadata.namespace or ""
        if not namespaces.admit(allowed, home, namespace):
            message = f"{gateway.key} takes no ListenerSets from namespace {namespace}"
            message += namespaces.doubt(allowed, namespace)
            refusal = conditions.set_not_allowed(source.metadata.generation, message)
            nodes.append(ListenerSetNode(source, gateway.key, (), refusal, attached=False))
            continue
        conflicts = [claims.claim(listener) for listener in source.spec.listeners]
        listeners = build_listeners(source, gateway, conflicts, waiting, surroundings)
        nodes.append(ListenerSetNode(source, gateway.key, listeners, (), attached=not waiting and _some(listeners)))
    return tuple(nodes)


def set_conditions(
    node: ListenerSetNode, waiting: str, programmed: Condition, surroundings: Surroundings
) -> tuple[Condition, ...]:
    """The conditions of a set's node, as ``waiting`` and the Gateway's condition Programmed have it."""
    generation = node.source.metadata.generation
    if node.conditions:
        return node.conditions
    if waiting:
        return conditions.set_parent_not_accepted(generation, waiting)
    bad = [listener.source.name for listener in node.listeners if not listener.valid]
    closed = [listener.source.name for listener in node.listeners if refused(listener, surroundings.sockets)]
    if bad or closed:
        accepted = conditions.set_listeners_not_valid(generation, bad + closed, some_good=node.attached)
    else:
        accepted = conditions.set_accepted(generation)
    if not node.attached:
        return accepted, conditions.set_not_programmed(generation)
    if len(bad) + len(closed) == len(node.listeners):
        return accepted, conditions.set_port_unavailable(generation)
    if not programmed.status:
        message = f"{node.gateway}: {programmed.message}"
        return accepted, conditions.set_parent_not_programmed(generation, message)
    return accepted, conditions.set_programmed(generation)


def is_for_gateway(key: Key) -> bool:
    """Whether a set's parentRef names the kind of object that a set can add to."""
    return (key.group, key.kind) == (GATEWAY_GROUP, "Gateway")


def _some(listeners: Iterable[ListenerNode]) -> bool:
    return any(listener.valid for listener in listeners)
