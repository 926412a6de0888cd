"""Which sockets a table asks for, and who gets one that several want."""

import pytest

from app.listeners.places import OwnPlace, Place, Plan, as_set, plan, stands_for
from routes.resources.meta import GATEWAY_GROUP, Key
from routes.table.hostnames import HostMap
from routes.table.types import Port, PortKey, RoutingTable

LOCAL = ("127.0.0.1",)
SAME = as_set({})


def key(gateway: str, port: int) -> PortKey:
    return PortKey(Key(GATEWAY_GROUP, "Gateway", "default", gateway), port)


def table(*ports: tuple[str, int, tuple[str, ...]], protocol: str = "HTTP") -> RoutingTable[str]:
    found: dict[PortKey, Port[str]] = {
        key(gateway, port): Port(key(gateway, port), protocol, HostMap({}), HostMap({}), addresses)
        for gateway, port, addresses in ports
    }
    return RoutingTable(found, {f"default/{gateway}/web": key(gateway, port) for gateway, port, _ in ports})


def test_a_gateway_without_addresses_listens_where_the_host_is() -> None:
    asked = plan(table(("one", 80, ())), ("127.0.0.1", "::1"), SAME)
    assert asked == Plan({Place("127.0.0.1", 80): key("one", 80), Place("::1", 80): key("one", 80)})


def test_a_gateway_with_addresses_listens_there_and_nowhere_else() -> None:
    asked = plan(table(("one", 80, ("127.0.0.2", "0:0::2"))), LOCAL, SAME)
    assert list(asked.wanted) == [Place("127.0.0.2", 80), Place("::2", 80)]


def test_listeners_ports_are_mapped_onto_bound_ports() -> None:
    asked = plan(table(("one", 80, ()), ("one", 81, ())), LOCAL, as_set({80: 8000}))
    assert asked.wanted == {Place("127.0.0.1", 8000): key("one", 80), Place("127.0.0.1", 81): key("one", 81)}


@pytest.mark.parametrize(
    ("first", "second"),
    [((), ()), (("127.0.0.1",), ()), (("127.0.0.1",), ("127.0.0.1",)), (("0.0.0.0",), ("127.0.0.2",)),
     (("127.0.0.2",), ("0.0.0.0",)), (("::1",), ("0::1",))],
)  # fmt: skip
def test_the_second_gateway_for_a_socket_is_refused(first: tuple[str, ...], second: tuple[str, ...]) -> None:
    asked = plan(table(("one", 80, first), ("two", 80, second)), LOCAL, SAME)
    assert set(asked.wanted.values()) == {key("one", 80)}
    assert list(asked.refused) == [key("two", 80)]
    assert asked.refused[key("two", 80)].endswith("Gateway default/one, port 80, has it already")


def test_mapped_ports_of_two_gateways_do_not_share_a_socket_either() -> None:
    asked = plan(table(("one", 80, ()), ("two", 8000, ())), LOCAL, as_set({80: 8000}))
    assert (set(asked.wanted.values()), set(asked.refused)) == ({key("one", 80)}, {key("two", 8000)})


def test_all_addresses_of_one_family_leave_those_of_the_other() -> None:
    asked = plan(table(("one", 80, ("0.0.0.0",)), ("two", 80, ("::1",))), LOCAL, SAME)
    assert asked.refused == {}


def test_what_the_servers_own_socket_serves_is_not_opened() -> None:
    asked = plan(table(("one", 80, ()), ("one", 81, ())), LOCAL, SAME, OwnPlace("http", "127.0.0.1", 80))
    assert asked == Plan({Place("127.0.0.1", 81): key("one", 81)}, {}, (key("one", 80),))


def test_a_gateway_with_another_address_than_the_servers_has_a_socket_of_its_own() -> None:
    own = OwnPlace("http", "127.0.0.1", 80)
    asked = plan(table(("one", 80, ("127.0.0.2",)), ("two", 80, ())), LOCAL, SAME, own)
    assert asked == Plan({Place("127.0.0.2", 80): key("one", 80)}, {}, (key("two", 80),))


def test_another_protocol_than_the_servers_is_refused_on_its_port() -> None:
    asked = plan(table(("one", 80, ()), protocol="HTTPS"), LOCAL, SAME, OwnPlace("http", "127.0.0.1", 80))
    assert asked.refused == {key("one", 80): "127.0.0.1:80: the server around us has it already"}


@pytest.mark.parametrize(("listener", "admin"), [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::1", "::")])
def test_no_socket_is_asked_for_in_the_admin_ports_place(listener: str, admin: str) -> None:
    asked = plan(table(("one", 9000, (listener,))), LOCAL, SAME, reserved=(Place(admin, 9000),))
    assert asked.wanted == {}
    assert "MOONGATE_ADMIN" in asked.refused[key("one", 9000)]


def test_the_admin_port_leaves_other_addresses_and_ports_alone() -> None:
    asked = plan(
        table(("one", 9000, ("127.0.0.2",)), ("two", 9001, ())), LOCAL, SAME, reserved=(Place("127.0.0.1", 9000),)
    )
    assert asked.refused == {}


def test_a_connection_is_for_the_gateway_with_its_address_before_one_without() -> None:
    both = table(("one", 80, ()), ("two", 80, ("127.0.0.2",)))
    for address, gateway in (("127.0.0.1", "one"), ("127.0.0.2", "two")):
        assert stands_for(OwnPlace("http", address, 80), both, SAME, "") == (key(gateway, 80), True)


def test_a_port_that_is_no_listeners_is_for_the_one_that_is_named_else_the_first() -> None:
    both, own = table(("one", 80, ()), ("two", 81, ())), OwnPlace("http", "127.0.0.1", 9)
    assert stands_for(own, both, SAME, "") == (key("one", 80), False)
    assert stands_for(own, both, SAME, "default/two/web") == (key("two", 81), False)
    assert stands_for(own, both, SAME, "default/three/web") == (None, False)


def test_listeners_with_one_port_may_be_bound_to_two() -> None:
    found = {key("one", 80): 10080, key("two", 80): 10081}
    asked = plan(table(("one", 80, ()), ("two", 80, ())), LOCAL, found.__getitem__)
    assert asked == Plan({Place("127.0.0.1", 10080): key("one", 80), Place("127.0.0.1", 10081): key("two", 80)})


def test_a_listener_without_a_port_to_bind_is_refused() -> None:
    asked = plan(table(("one", 80, ()), ("two", 80, ())), LOCAL, lambda port: 0 if port.gateway.name == "one" else 80)
    assert asked == Plan({Place("127.0.0.1", 80): key("two", 80)}, {key("one", 80): "no port is free for it"})
