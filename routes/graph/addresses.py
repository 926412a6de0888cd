"""The addresses that a Gateway asks for and those that it has (``spec.addresses``, ``status.addresses``)."""

from ipaddress import IPv4Address, IPv6Address, ip_address

from routes.graph import conditions
from routes.graph.nodes import Condition, Options, Sockets
from routes.resources.gateway import Gateway


def listens_on(gateway: Gateway, options: Options) -> tuple[str, ...]:
    """The IP addresses on which a Gateway's sockets are to be opened; without any they are wherever others are.

    In a cluster its addresses are those of what stands before us, and nothing that could be bound here.
    """
    if options.cluster:
        return ()
    return tuple(dict.fromkeys(_asked(gateway)))


def unsupported_type(gateway: Gateway) -> Condition | None:
    """Not accepted, where one of the addresses is of a type that nothing can be bound to; else None."""
    others = [
        f"{address.type} {address.value or ''}".strip() for address in gateway.spec.addresses if not _ip(address.type)
    ]
    if not others:
        return None
    message = f"spec.addresses: {', '.join(others)}: an address is of type IPAddress"
    return conditions.gateway_unsupported_address(gateway.metadata.generation, message)


def not_reached(gateway: Gateway, sockets: Sockets, options: Options) -> Condition | None:
    """Not programmed, where an address that is asked for is not to be had, or none is there; else None.

    As long as nothing is known of the sockets, all is taken to go well, but in a cluster, where nobody can reach a
    Gateway before it has got an address.
    """
    generation = gateway.metadata.generation
    if why := sockets.unusable.get(gateway.key):
        return conditions.gateway_address_not_usable(generation, f"spec.addresses: {why}")
    bound = sockets.addresses.get(gateway.key)
    waits = sockets.unassigned.get(gateway.key, "")
    if bound is None:
        return conditions.gateway_pending(generation, waits or "it has no address yet") if options.cluster else None
    if waits and not bound:
        return conditions.gateway_address_not_assigned(generation, waits)
    there = {_comparable(address) for address in bound}
    lost = [value for value in _asked(gateway) if _comparable(value) not in there]
    if lost:
        remedy = (
            "is not given to it" if options.cluster else "cannot be bound here: take it out, or give it to this machine"
        )
        return conditions.gateway_address_not_usable(generation, f"spec.addresses: {', '.join(lost)} {remedy}")
    if not bound:
        message = "it was given no address" if options.cluster else "no address could be bound"
        return conditions.gateway_address_not_assigned(generation, message)
    return None


def _asked(gateway: Gateway) -> list[str]:
    return [address.value for address in gateway.spec.addresses if address.value and _ip(address.type)]


def _comparable(address: str) -> IPv4Address | IPv6Address | str:
    try:
        return ip_address(address)
    except ValueError:
        return address.lower()


def _ip(type_: str) -> bool:
    return type_ == "IPAddress"
