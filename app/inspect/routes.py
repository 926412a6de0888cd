"""``moongate routes``: what is served, a match a line, in the order in which matches are tried."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from app.inspect.printing import columns
from routes.table.explain import predicates
from routes.table.matches import Entry
from routes.table.types import Backend, Port, RoutingTable, Rule

_TYPES = ("Exact", "RegularExpression", "PathPrefix")
#: How a path says its type, as nginx has it.
_PATHS = {"Exact": "= {}", "RegularExpression": "~ {}", "PathPrefix": "{}"}


@dataclass(frozen=True, slots=True)
class Line:
    """A match and where its requests go."""

    listener: str
    host: str
    path: str
    predicates: tuple[str, ...]
    rule: str
    filters: tuple[str, ...]
    backends: tuple[str, ...]

    @property
    def cells(self) -> tuple[str, ...]:
        """The line of the table for people."""
        return (
            self.listener,
            self.host,
            self.path,
            ", ".join(self.predicates) or "-",
            self.rule,
            ", ".join(self.filters) or "-",
            ", ".join(self.backends),
        )


HEADINGS = ("LISTENER", "HOST", "PATH", "PREDICATES", "RULE", "FILTERS", "BACKENDS")


def lines(table: RoutingTable[Rule]) -> list[Line]:
    """All matches: by port and listener, the more specific host first, then in the order of precedence."""
    return [line for port in table.ports.values() for line in _port(port)]


def as_table(found: list[Line]) -> str:
    """For people."""
    return columns([HEADINGS, *(line.cells for line in found)]) if found else "no routes"


def as_data(found: list[Line]) -> list[dict[str, Any]]:
    """For programs."""
    return [asdict(line) for line in found]


def _port(port: Port[Rule]) -> Iterator[Line]:
    for _, listener in port.listeners.items():
        name = f"{port.key} {listener.name}"
        for hostname, host in sorted(listener.hosts.items(), key=lambda each: _specific(each[0])):
            lists = sorted(host.items(), key=lambda each: (_TYPES.index(each[0]), -len(each[1]), each[1]))
            for type_, path, entries in lists:
                for entry in entries:
                    yield _line(name, hostname, _PATHS[type_].format(path), entry)


def _specific(hostname: str) -> tuple[bool, bool, int, str]:
    """Exact names, then wildcards, the longer first, then any host."""
    return not hostname, hostname.startswith("*."), -len(hostname), hostname


def _line(listener: str, hostname: str, path: str, entry: Entry[Rule]) -> Line:
    rule = entry.handler
    return Line(
        listener,
        hostname or "*",
        path,
        tuple(predicates(entry)),
        rule.name,
        tuple(each.type for each in rule.filters),
        tuple(_backends(rule)),
    )


def _backends(rule: Rule) -> Iterator[str]:
    if rule.invalid:
        yield f"500: {rule.invalid}"
    elif not rule.backends:
        yield "-" if any(each.type == "RequestRedirect" for each in rule.filters) else "500: no backends"
    else:
        yield from map(_backend, rule.backends)


def _backend(backend: Backend) -> str:
    return f"{backend.weight}×{backend.name}" + (" (500)" if backend.invalid else "")
