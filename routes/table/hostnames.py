"""Look-up by host name: exact names by hash, wildcards label by label, whatever the size of the table."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Generic, Self, TypeVar

T = TypeVar("T")

#: No name in DNS is longer (RFC 1035 §2.3.4), so none in a table is met by a longer one.
MAX_HOSTNAME = 253


class HostMap(Generic[T]):
    """Values by hostname: ``whoami``, ``*.example.com`` (one or more labels more), or "" for any host."""

    __slots__ = ("_any", "_exact", "_wildcards")

    def __init__(self, values: Mapping[str, T]) -> None:
        self._any = values.get("")
        self._exact = {name: value for name, value in values.items() if name and not name.startswith("*.")}
        # Kept as ".example.com": the part of a host from one of its dots on.
        self._wildcards = {name[1:]: value for name, value in values.items() if name.startswith("*.")}

    def with_(self, changes: Mapping[str, T | None]) -> Self:
        """A map in which ``changes`` are added or replaced, and those that are None taken away."""
        changed = type(self).__new__(type(self))
        changed._any = self._any
        changed._exact, changed._wildcards = self._exact, self._wildcards
        if any(name and not name.startswith("*.") for name in changes):
            changed._exact = self._exact.copy()
        if any(name.startswith("*.") for name in changes):
            changed._wildcards = self._wildcards.copy()
        for name, value in changes.items():
            if not name:
                changed._any = value
                continue
            key, values = (name[1:], changed._wildcards) if name.startswith("*.") else (name, changed._exact)
            if value is None:
                values.pop(key, None)
            else:
                values[key] = value
        return changed

    def get(self, hostname: str) -> T | None:
        """The value of a hostname as it was written."""
        if not hostname:
            return self._any
        return self._wildcards.get(hostname[1:]) if hostname.startswith("*.") else self._exact.get(hostname)

    def candidates(self, host: str) -> Sequence[T]:
        """The values that ``host`` (lower case, without port) fits, the most specific first."""
        found: list[T] = []
        if len(host) <= MAX_HOSTNAME:
            exact = self._exact.get(host)
            if exact is not None:
                found.append(exact)
            if self._wildcards:
                # A leading dot would be an empty label, which stands for nothing.
                dot = host.find(".", 1)
                while dot > 0:
                    value = self._wildcards.get(host[dot:])
                    if value is not None:
                        found.append(value)
                    dot = host.find(".", dot + 1)
        if self._any is not None:
            found.append(self._any)
        return found

    def best(self, host: str) -> T | None:
        """The value of the most specific hostname that ``host`` fits."""
        if not self._exact and not self._wildcards:
            return self._any
        found = self.candidates(host)
        return found[0] if found else None

    def items(self) -> Iterator[tuple[str, T]]:
        """All hostnames as they were written, with their values."""
        yield from self._exact.items()
        for name, value in self._wildcards.items():
            yield f"*{name}", value
        if self._any is not None:
            yield "", self._any


def host_of(authority: str) -> str:
    """The host of a Host field in lower case, without port; IPv6 literals keep their brackets."""
    if authority.startswith("["):
        return authority[: authority.find("]") + 1].lower()
    return authority.partition(":")[0].lower()
