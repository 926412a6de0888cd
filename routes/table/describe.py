"""A routing table as plain data: for people, for golden files."""

from typing import Any

from routes.table.features import describe_backend, describe_features
from routes.table.matches import Entry
from routes.table.types import Port, RoutingTable, Rule, VirtualHost

#: The types of path matches in the order in which they are tried.
_TYPES = ("Exact", "RegularExpression", "PathPrefix")


def describe(table: RoutingTable[Rule]) -> dict[str, Any]:
    """Ports → listeners → hostnames → matches in the order in which they are tried; nothing that has no value."""
    return {str(key): _port(port) for key, port in table.ports.items()}


def _port(port: Port[Rule]) -> dict[str, Any]:
    described: dict[str, Any] = {"protocol": port.protocol}
    certificates = {
        hostname or "*": [str(pair.secret) for pair in pairs] for hostname, pairs in port.certificates.items() if pairs
    }
    if certificates:
        described["certificates"] = certificates
    described["listeners"] = {
        f"{listener.name} ({hostname or '*'})": {host or "*": _matches(found) for host, found in listener.hosts.items()}
        for hostname, listener in port.listeners.items()
    }
    return described


def _matches(host: VirtualHost[Rule]) -> list[dict[str, Any]]:
    return [
        {f"{kind} {path}": _predicates(entry) | _rule(entry.handler)}
        for kind, path, entries in sorted(
            host.items(), key=lambda item: (_TYPES.index(item[0]), -len(item[1]), item[1])
        )
        for entry in entries
    ]


def _predicates(entry: Entry[Rule]) -> dict[str, Any]:
    described: dict[str, Any] = {}
    if entry.method:
        described["method"] = entry.method
    if entry.headers:
        described["headers"] = {
            name.decode(): value.decode() if isinstance(value, bytes) else f"~ {value.text}"
            for name, value in entry.headers
        }
    if entry.query:
        described["query"] = {
            name: value if isinstance(value, str) else f"~ {value.text}" for name, value in entry.query
        }
    return described


def _rule(rule: Rule) -> dict[str, Any]:
    described: dict[str, Any] = {"rule": rule.name}
    if rule.invalid:
        described["invalid"] = rule.invalid
    else:
        described |= describe_features(rule)
        if rule.backends or not rule.filters:
            described["backends"] = [describe_backend(backend) for backend in rule.backends]
    return described
