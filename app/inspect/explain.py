"""``moongate explain``: a request as a client would send it, and what each Gateway makes of it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from ipaddress import ip_address
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

from app.inspect.printing import flat
from routes.table.explain import Candidate, Explanation, Request, explain
from routes.table.features import describe_backend, describe_filters
from routes.table.hostnames import host_of
from routes.table.types import Port, PortKey, RoutingTable, Rule

H = TypeVar("H")

_PROTOCOLS = {"http": ("HTTP", 80), "https": ("HTTPS", 443), "ws": ("HTTP", 80), "wss": ("HTTPS", 443)}


class UsageError(ValueError):
    """The request cannot be read; the message says what of it, and ``parameter`` which part: ``url`` or ``header``."""

    def __init__(self, message: str, parameter: str) -> None:
        super().__init__(message)
        self.parameter = parameter


def read_request(method: str, url: str, headers: Sequence[str]) -> tuple[Request, str, int, str]:
    """The request, and the protocol, port and host that a client connects to."""
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise UsageError(f"{url!r} is no URL: {error}", "url") from None
    if parts.scheme not in _PROTOCOLS or not parts.hostname:
        raise UsageError(f"{url!r} is no URL such as http://example.com/path", "url")
    protocol, usual = _PROTOCOLS[parts.scheme]
    try:
        port = parts.port or usual
    except ValueError:
        raise UsageError(f"{url!r} has no port between 0 and 65535", "url") from None
    fields: list[tuple[bytes, bytes]] = []
    host = parts.hostname
    for header in headers:
        name, colon, value = header.partition(":")
        if not colon or not name.strip():
            raise UsageError(f"{header!r} is no header such as 'Name: value'", "header")
        fields.append((name.strip().lower().encode(), value.strip().encode()))
        if name.strip().lower() == "host":
            host = value.strip()
    target = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~")
    server_name = None
    if protocol == "HTTPS":
        server_name = "" if _is_address(parts.hostname) else parts.hostname.lower()
    request = Request(method.upper(), host_of(host), target, parts.query, tuple(fields), server_name)
    return request, protocol, port, parts.hostname


def ports_for(
    table: RoutingTable[H], protocol: str, number: int, host: str, bound: Callable[[PortKey], int]
) -> list[Port[H]]:
    """The Gateways' ports that a client may mean: by their own number or, where there is none, the one that they are
    ``bound`` to; where ``host`` is an address that a Gateway asks for, that Gateway's."""
    fitting = [port for port in table.ports.values() if port.protocol == protocol]
    found = [port for port in fitting if port.key.port == number]
    if not found:
        found = [port for port in fitting if bound(port.key) == number]
    return [port for port in found if host in port.addresses] or found


def outcomes(request: Request, ports: Sequence[Port[H]], rule_of: Callable[[H], Rule]) -> dict[PortKey, Explanation]:
    """What becomes of the request on each of ``ports``, in whose table ``rule_of`` says which rule a handler serves."""
    return {port.key: explain(port, request, rule_of) for port in ports}


def served(found: Mapping[PortKey, Explanation]) -> bool:
    """Whether a rule takes the request on some port, and has somebody to answer it."""
    return any(each.taken is not None and each.status == 0 for each in found.values())


def as_data(found: Mapping[PortKey, Explanation]) -> list[dict[str, Any]]:
    """For programs."""
    return [
        {
            "gateway": key.gateway.qualified_name,
            "port": key.port,
            "listener": each.listener,
            "status": each.status or None,
            "reason": each.reason,
            "taken": asdict(each.taken) if each.taken else None,
            "decided": each.decided,
            "filters": describe_filters(each.rule.filters) if each.rule else [],
            "backends": [describe_backend(backend) for backend in each.rule.backends] if each.rule else [],
            "also": [asdict(candidate) for candidate in each.also],
            "close": [asdict(candidate) for candidate in each.close],
        }
        for key, each in found.items()
    ]


def as_text(found: Mapping[PortKey, Explanation]) -> str:
    """For people."""
    return "\n\n".join("\n".join(_text(key, each)) for key, each in found.items())


def nobody(table: RoutingTable[Any], protocol: str, number: int) -> str:
    """Why no Gateway is reached."""
    known = ", ".join(f"{key} ({port.protocol})" for key, port in table.ports.items())
    return f"nobody listens for {protocol} on port {number}; there is {known or 'nothing'}"


def _text(key: PortKey, explanation: Explanation) -> Iterator[str]:
    yield f"Gateway {key.gateway.qualified_name}, port {key.port}, listener {explanation.listener or '(none)'}"
    taken = explanation.taken
    if explanation.status:
        yield f"  answer    {explanation.status}: {explanation.reason}"
    else:
        yield f"  outcome   {explanation.reason}"
    if taken is not None:
        yield f"  rule      {taken.rule}"
        yield f"  match     {_match(taken)}"
    if explanation.decided:
        yield f"  because   {explanation.decided}"
    if explanation.rule is not None:
        for filter_ in describe_filters(explanation.rule.filters):
            yield f"  filter    {flat(filter_)}"
        for backend in explanation.rule.backends:
            yield f"  backend   {flat(describe_backend(backend))}"
    for candidate in explanation.also:
        yield f"  lost      {candidate.rule}: {_match(candidate)}"
    for candidate in explanation.close:
        yield f"  no match  {candidate.rule}: {_match(candidate)}: {candidate.failed}"


def _match(candidate: Candidate) -> str:
    return ", ".join((f"host {candidate.hostname}", candidate.path, *candidate.predicates))


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
