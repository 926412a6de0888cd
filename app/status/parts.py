"""What the statuses of all objects and of both versions of the API are made of."""

from collections.abc import Iterable
from ipaddress import ip_address
from typing import Any

from routes.graph.nodes import Condition

Status = dict[str, Any]

#: How much the API takes.
_MOST_ADDRESSES = 16
_LONGEST_MESSAGE = 32768


def conditions(found: Iterable[Condition]) -> list[Status]:
    """Conditions as the API spells them."""
    return [
        {
            "type": condition.type,
            "status": "True" if condition.status else "False",
            "reason": condition.reason,
            "message": condition.message[:_LONGEST_MESSAGE],
            "observedGeneration": condition.observed_generation,
        }
        for condition in found
    ]


def addresses(values: Iterable[str], *, named: str = "Hostname") -> Status:
    """The field ``addresses``, {} where there is none. ``named`` is the type of what is no IP address: some clouds'
    load balancers have a host name only."""
    found = [{"type": "IPAddress" if _is_ip(value) else named, "value": value} for value in values]
    return {"addresses": found[:_MOST_ADDRESSES]} if found else {}


def _is_ip(value: str) -> bool:
    try:
        ip_address(value)
    except ValueError:
        return False
    return True
