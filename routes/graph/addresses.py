"""The addresses that a Gateway asks for and those that it has (``spec.addresses``, ``status.addresses``)."""

from ipaddress import ip_address

from routes.graph import conditions
from routes.graph.nodes import Condition, Sockets
from routes.resources.gateway import Gateway


def unsupported_type(gateway: Gateway) -> Condition | None:
    """Not accepted, where one of the addresses is of a type that nothing can be bound to; else None."""
    others = [
        f"{address.type} {address.value or ''}".strip() for address in gateway.spec.addresses if not _ip(address.type)
    ]
    if not others:
        return None
    message = f"spec.addresses: {', '.join(others)}: an address is of type IPAddress"
    return conditions.gateway_unsupported_address(gateway.metadata.generation, message)


def not_reached(gateway: Gateway, sockets: Sockets) -> Condition | None:
    """Not programmed, where an address that is asked for could not be bound, or none is there; else None.

    As long as nothing is known of the sockets, all is taken to go well.
    """
    bound = sockets.addresses.get(gateway.key)
    if bound is None:
        return None
    generation = gateway.metadata.generation
    there = {ip_address(address) for address in bound}
    asked = [address.value for address in gateway.spec.addresses if address.value and _ip(address.type)]
    lost = [value for value in asked if ip_address(value) not in there]
    if lost:
        message = f"spec.addresses: {', '.join(lost)} cannot be bound here: take it out, or give it to this machine"
        return conditions.gateway_address_not_usable(generation, message)
    if not bound:
        return conditions.gateway_address_not_assigned(generation, "no address could be bound")
    return None


def _ip(type_: str) -> bool:
    return type_ == "IPAddress"
