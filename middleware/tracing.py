"""W3C Trace Context: the ids by which a request's spans in many services belong together, and their seam.

https://www.w3.org/TR/trace-context/. Without tracing ``traceparent``, ``tracestate`` and ``baggage`` pass as any other
field. With it a request's scope has a :class:`Trace` under :data:`~middleware.scope.TRACE`, which whoever sends the
request somewhere asks for an :class:`Attempt`.
"""

import re
from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

from middleware.connection import Fields
from middleware.record import RequestRecord

TRACEPARENT: Final = b"traceparent"
TRACESTATE: Final = b"tracestate"

#: The flag of a trace whose spans are recorded, and the one that says that its id is random.
SAMPLED: Final = 1
RANDOM: Final = 2

_TRACEPARENT: Final = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")

# A member of tracestate (§3.3.1.3 there).
_KEY: Final = rb"[a-z][-a-z0-9_*/]{0,255}|[a-z0-9][-a-z0-9_*/]{0,240}@[a-z][-a-z0-9_*/]{0,13}"
_MEMBER: Final = re.compile(rb"(%b)=([\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e])" % _KEY)
#: Members of one that are read.
_MAX_MEMBERS: Final = 32


class Parent(NamedTuple):
    """What a ``traceparent`` says: the trace, the span that asks, and the flags."""

    trace_id: int
    span_id: int
    flags: int


def parse(values: Sequence[bytes]) -> Parent | None:
    """The parent that the values of a message's ``traceparent`` lines name. None for what is none, or more than one.

    Of versions that are to come the part is read that version 00 has (§4.3 there).
    """
    if len(values) != 1 or (match := _TRACEPARENT.fullmatch(values[0].strip(b" \t"))) is None:
        return None
    version, trace_id, span_id, flags, more = match.groups()
    if version == b"ff" or (version == b"00" and more is not None):
        return None
    parent = Parent(int(trace_id, 16), int(span_id, 16), int(flags, 16))
    return parent if parent.trace_id and parent.span_id else None


def traceparent(trace_id: int, span_id: int, flags: int) -> bytes:
    """The field's value in version 00."""
    return b"00-%032x-%016x-%02x" % (trace_id, span_id, flags & (SAMPLED | RANDOM))


def members(tracestate: bytes) -> list[tuple[str, str]]:
    """The well-formed members of a ``tracestate``, each key once."""
    found: dict[str, str] = {}
    for member in tracestate.split(b",", 4 * _MAX_MEMBERS):
        match = _MEMBER.fullmatch(member.strip(b" \t"))
        if match is not None and len(found) < _MAX_MEMBERS:
            found.setdefault(match[1].decode("ascii"), match[2].decode("ascii"))
    return list(found.items())


class Attempt(Protocol):
    """One sending of a request to an endpoint."""

    def carried(self, fields: Fields) -> Fields:
        """``fields`` with the context of this attempt, for the backend."""

    def end(self, status: int, error: BaseException | None = None) -> None:
        """It is over, with the ``status`` that the endpoint gave (0: none) and what went wrong."""


class Trace(Protocol):
    """The part of one request in its trace."""

    def attempt(self, method: str, target: bytes, record: RequestRecord, *, secured: bool) -> Attempt:
        """Another sending, to the endpoint of ``record``, in TLS where it is ``secured``."""
