"""What of a change is told in the journal: the objects, and what came of them in what is served."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final

from app.journal import Journal, What
from routes.graph.nodes import Condition, GatewayNode, Graph, RouteNode
from routes.problems import Problem
from routes.resources.meta import Key

#: Of more objects than this only the number is told.
SINGLY: Final = 20

#: Objects that people write. Endpoints come and go by the second, and what they do is seen in the pages.
_TOLD: Final = frozenset(
    {
        "BackendTLSPolicy", "Gateway", "GatewayClass", "HTTPRoute", "ListenerSet", "Namespace", "ReferenceGrant",
        "Secret", "Service",
    }
)  # fmt: skip


class Notes:
    """Writes into ``journal``. Of objects it tells names and what is in their status, never what is in them."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._graph: Graph | None = None

    def changed(self, what: Mapping[Key, What], routes: Collection[Key], graph: Graph, served: int) -> None:
        """``what`` has happened to objects; ``graph`` is what came of it, and ``routes`` those that it has other nodes
        of than the last. ``served`` is how many are served."""
        before, self._graph = self._graph, graph
        if before is None:
            gateways = _number(len(graph.gateways), "Gateway")
            self._journal.note("gateway", "", f"serving {_number(served, 'route')} of {gateways}")
            return
        told = {key: kind for key, kind in what.items() if key.kind in _TOLD}
        if len(told) > SINGLY:
            for (kind, verb), number in Counter((key.kind, verb) for key, verb in told.items()).items():
                self._journal.note(verb, "", f"{_number(number, kind)} {verb}")
        else:
            for key, verb in told.items():
                self._journal.note(verb, str(key), _outcome(key, graph) if verb != "removed" else "")
        # What others' changes did to routes that are themselves as they were.
        others = [key for key in routes if key not in what]
        affected = [key for key in others if _outcome(key, before) != _outcome(key, graph)]
        if len(affected) > SINGLY:
            self._journal.note("changed", "", f"{_number(len(affected), 'HTTPRoute')} affected")
        else:
            for key in affected:
                self._journal.note("changed", str(key), _outcome(key, graph))

    def problems(self, new: Sequence[Problem], mended: Sequence[Problem]) -> None:
        """These have come up, and those are no more."""
        self._problems("problem", new, "came up")
        self._problems("mended", mended, "mended")

    def _problems(self, kind: What, problems: Sequence[Problem], verb: str) -> None:
        if len(problems) > SINGLY:
            self._journal.note(kind, "", f"{_number(len(problems), 'problem')} {verb}")
            return
        for problem in problems:
            field = f"{problem.field}: " if problem.field else ""
            self._journal.note(kind, str(problem.key or problem.file), f"{field}{problem.message}")


def _outcome(key: Key, graph: Graph) -> str:
    """What is served of an object, in a sentence; "" where there is nothing to say."""
    if (route := graph.routes.get(key)) is not None:
        return "; ".join(_of_route(route)) or "names no Gateway of ours"
    if (gateway := graph.gateways.get(key)) is not None:
        return _of_gateway(gateway)
    return ""


def _of_route(route: RouteNode) -> Iterator[str]:
    for parent in route.parents:
        name = parent.gateway.qualified_name
        listeners = ", ".join(each.listener for each in parent.attachments)
        fault = _fault(parent.conditions)
        if listeners and parent.accepted:
            named = dict.fromkeys(host for each in parent.attachments for host in each.hostnames)
            hosts = ", ".join(named) or "any host"
            yield f"on Gateway {name} ({listeners}) for {hosts}" + (f", but {fault}" if fault else "")
        else:
            yield f"refused by Gateway {name}: {fault}"
    for rule in route.rules:
        if rule.unsupported:
            yield f"rule {rule.index} answers 500: {rule.unsupported}"
        for backend in rule.backends:
            if backend.reason:
                yield f"rule {rule.index}: {backend.name} is answered 500: {backend.message}"


def _of_gateway(gateway: GatewayNode) -> str:
    listeners = list(gateway.all_listeners)
    good = [each for each in listeners if each.valid]
    served = f"{len(good)} of {_number(len(listeners), 'listener')} served"
    fault = _fault(gateway.conditions)
    return f"{served}: {fault}" if fault else served


def _fault(conditions: Iterable[Condition]) -> str:
    for each in conditions:
        if not each.status and each.type in ("Accepted", "ResolvedRefs", "Programmed"):
            return f"{each.reason}: {each.message}"
    return ""


def _number(number: int, noun: str) -> str:
    if number != 1:
        noun = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{number:,} {noun}"
