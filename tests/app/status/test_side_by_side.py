"""Several controllers write the statuses of the same objects, and none loses what another one wrote."""

import asyncio
from typing import Any

from routes.resources.meta import Key
from tests.app.status.world import (
    CLASS,
    GATEWAY,
    GROUP,
    OURS,
    THEIRS,
    Controller,
    Server,
    gateway,
    gateway_class,
    leading,
    route,
    route_key,
    wait,
)

SECOND = "moongate.dev/second"
FOREIGN = {
    "type": "example.com/Own",
    "status": "Unknown",
    "reason": "x",
    "message": "of others",
    "lastTransitionTime": "2024-01-01T00:00:00Z",
    "observedGeneration": 1,
}


def both(server: Server) -> tuple[Controller, Controller]:
    """Two Moongates, each with a class and a Gateway of its own; the route is on both."""
    server.apply(gateway_class("d", SECOND))
    server.apply(gateway("h", "d"))
    server.apply(route("r", "g", "h"))
    return leading(server), leading(server, SECOND)


def entries(server: Server) -> dict[str, tuple[str, int]]:
    """Of each controller's entry for the route: the Gateway, and the generation that it is of."""
    return {
        each["controllerName"]: (each["parentRef"]["name"], each["conditions"][0]["observedGeneration"])
        for each in server.status(route_key("r"))["parents"]
    }


def test_two_moongates_each_tell_their_own(server: Server) -> None:
    both(server)
    assert entries(server) == {OURS: ("g", 2), SECOND: ("h", 2)}
    assert server.status(CLASS)["conditions"]
    assert server.status(Key(GROUP, "Gateway", "a", "h"))["listeners"][0]["attachedRoutes"] == 1


def test_two_moongates_do_not_answer_each_others_writes(server: Server) -> None:
    both(server)
    server.log.clear()
    wait(server.loop, 60)
    assert not server.log


def test_two_moongates_that_write_at_once_lose_nothing(server: Server) -> None:
    """Each request is under way for a while, so that both have read what neither has written yet."""
    controllers = both(server)

    async def slow(path: str) -> None:
        await asyncio.sleep(0.02)

    server.during = slow
    for number in range(20):
        server.apply(route("r", "g", "h", path=f"/{number}"))
        for controller in controllers:
            controller.reconcile()
        wait(server.loop, 0.05)
    wait(server.loop, 5)
    assert entries(server) == {OURS: ("g", 22), SECOND: ("h", 22)}


def test_a_route_that_leaves_one_of_them_keeps_the_others_entry(server: Server) -> None:
    controllers = both(server)
    server.apply(route("r", "h"))
    for controller in controllers:
        controller.reconcile()
    wait(server.loop, 5)
    assert entries(server) == {SECOND: ("h", 3)}


def test_another_implementations_entry_stays_as_it_is(server: Server) -> None:
    """HTTPRoutePreserveForeignStatus"""
    controller = leading(server)
    theirs = {"controllerName": THEIRS, "parentRef": {"name": "g"}, "conditions": [FOREIGN]}
    server.set_status(route_key("r"), {"parents": [theirs, *server.status(route_key("r"))["parents"]]})
    server.apply(route("r", "g", path="/else"))
    controller.reconcile()
    wait(server.loop, 2)
    assert server.status(route_key("r"))["parents"][0] == theirs
    assert entries(server)[OURS] == ("g", 2)


def test_conditions_of_others_on_a_gateway_and_its_listeners_stay_as_they_are(server: Server) -> None:
    """GatewayPreserveForeignConditions"""
    controller = leading(server)
    status: dict[str, Any] = server.status(GATEWAY)
    status["conditions"].append(FOREIGN)
    status["listeners"][0]["conditions"].append(FOREIGN)
    server.set_status(GATEWAY, status)
    server.apply(gateway("g", listeners=(("http", 80), ("more", 81))))
    controller.reconcile()
    wait(server.loop, 2)
    status = server.status(GATEWAY)
    for place in (status, status["listeners"][0]):
        assert FOREIGN in place["conditions"]
        ours = [each for each in place["conditions"] if each != FOREIGN]
        assert {each["observedGeneration"] for each in ours} == {2}


def policy(hostname: str) -> dict[str, Any]:
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": "BackendTLSPolicy",
        "metadata": {"name": "p", "namespace": "a"},
        "spec": {
            "targetRefs": [{"group": "", "kind": "Service", "name": "s"}],
            "validation": {"hostname": hostname, "wellKnownCACertificates": "System"},
        },
    }


def test_another_implementations_ancestor_stays_and_ours_goes_with_the_last_route(server: Server) -> None:
    """BackendTLSPolicyPreserveForeignStatus"""
    key = Key(GROUP, "BackendTLSPolicy", "a", "p")
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s", "namespace": "a"}}
    server.apply(service | {"spec": {"ports": [{"port": 443}]}})
    server.apply(policy("a.example.com"))
    tls = route("tls", "g")
    tls["spec"]["rules"] = [{"backendRefs": [{"name": "s", "port": 443}]}]
    server.apply(tls)
    controller = leading(server)
    assert [each["controllerName"] for each in server.status(key)["ancestors"]] == [OURS]
    theirs = {"controllerName": THEIRS, "ancestorRef": {"name": "g"}, "conditions": [FOREIGN]}
    server.set_status(key, {"ancestors": [theirs, *server.status(key)["ancestors"]]})
    server.apply(policy("b.example.com"))
    controller.reconcile()
    wait(server.loop, 2)
    kept, ours = server.status(key)["ancestors"]
    assert kept == theirs
    assert {each["observedGeneration"] for each in ours["conditions"]} == {2}
    server.delete_object(route_key("tls"))
    controller.reconcile()
    wait(server.loop, 2)
    assert server.status(key)["ancestors"] == [theirs]
