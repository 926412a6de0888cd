"""How statuses are written: what, when, how often, and what comes of it where somebody else writes or nothing works."""

import asyncio
import logging
from typing import Any

import pytest

from app.providers.kubernetes.api import ApiError
from tests.app.status.world import (
    CLASS,
    GATEWAY,
    OURS,
    THEIRS,
    Controller,
    Server,
    gateway,
    leading,
    path_of,
    route,
    route_key,
    wait,
)


def conditions(status: dict[str, Any]) -> dict[str, tuple[str, int]]:
    return {each["type"]: (each["status"], each["observedGeneration"]) for each in status["conditions"]}


def attached(server: Server) -> int:
    found: int = server.status(GATEWAY)["listeners"][0]["attachedRoutes"]
    return found


def foreign(**fields: Any) -> dict[str, Any]:
    return {"controllerName": THEIRS, "parentRef": {"name": "other"}, "conditions": [], **fields}


def test_a_class_comes_before_its_gateways_and_these_before_routes(server: Server) -> None:
    server.apply(gateway("another"))
    leading(server)
    assert server.written == ["c", "another", "g", "r"]


def test_what_is_written_is_the_status_of_each_object(server: Server) -> None:
    leading(server)
    assert conditions(server.status(CLASS))["Accepted"] == ("True", 1)
    features = [each["name"] for each in server.status(CLASS)["supportedFeatures"]]
    assert "HTTPRoute" in features
    assert features == sorted(features)
    assert conditions(server.status(GATEWAY))["Programmed"] == ("True", 1)
    assert attached(server) == 1
    [parent] = server.status(route_key("r"))["parents"]
    assert parent["controllerName"] == OURS
    assert conditions(parent)["Accepted"] == ("True", 1)


def test_a_write_is_a_patch_of_the_status_that_fails_where_another_one_is_stored(server: Server) -> None:
    before = dict(server.objects[path_of(CLASS)]["metadata"])
    leading(server)
    _, path, body = server.log[0]
    assert path == "/apis/gateway.networking.k8s.io/v1/gatewayclasses/c/status"
    assert body["metadata"] == {"uid": before["uid"], "resourceVersion": before["resourceVersion"]}
    assert set(body) == {"metadata", "status"}


def test_a_patch_holds_what_is_new_and_takes_out_what_is_gone(server: Server) -> None:
    present = {"addresses": [{"type": "IPAddress", "value": "10.0.0.1"}], "attachedListenerSets": 0}
    server.set_status(GATEWAY, present)
    leading(server)
    [body] = [body for _, path, body in server.log if path == f"{path_of(GATEWAY)}/status"]
    assert set(body["status"]) == {"addresses", "conditions", "listeners"}
    assert body["status"]["addresses"] is None
    assert "addresses" not in server.status(GATEWAY)


def test_who_does_not_lead_writes_nothing(server: Server) -> None:
    controller = Controller(server)
    controller.reconcile()
    wait(server.loop, 5)
    assert not server.log


def test_who_leads_before_anything_is_known_writes_as_soon_as_it_is(server: Server) -> None:
    controller = Controller(server)
    controller.writer.lead(True)
    wait(server.loop, 2)
    assert not server.log
    controller.reconcile()
    wait(server.loop, 0.1)
    assert server.written == ["c", "g", "r"]


def test_a_new_leader_writes_nothing_where_all_is_right(server: Server) -> None:
    leading(server).writer.lead(False)
    server.log.clear()
    leading(server)
    assert not server.log


def test_who_leads_no_more_leaves_the_rest_to_others(server: Server) -> None:
    controller = leading(server)
    server.log.clear()
    for number in range(20):
        server.apply(route(f"r{number}", "g"))
    holding = asyncio.Event()
    server.during = lambda path: holding.wait()
    controller.reconcile()
    wait(server.loop, 0.1)
    controller.writer.lead(False)
    holding.set()
    wait(server.loop, 10)
    assert len(server.log) == 8
    server.during = None
    controller.writer.lead(True)
    wait(server.loop, 2)
    assert attached(server) == 21


def test_each_object_is_written_once_for_a_change_and_eight_of_them_together(server: Server) -> None:
    controller = leading(server)
    server.log.clear()
    names = [f"r{number}" for number in range(100)]
    for name in names:
        server.apply(route(name, "g"))

    async def slow(path: str) -> None:
        await asyncio.sleep(0.01)

    server.during = slow
    controller.reconcile()
    wait(server.loop, 5)
    assert sorted(server.written) == sorted([*names, "g"])
    assert server.most_under_way == 8


def test_a_change_costs_what_it_changes_and_not_what_there_is(server: Server) -> None:
    for number in range(500):
        server.apply(route(f"r{number}", "g"))
    controller = leading(server)
    controller.known.asked = 0
    server.apply(route("r7", "g", path="/else"))
    controller.reconcile()
    wait(server.loop, 5)
    assert controller.known.asked < 10


def test_nothing_is_written_where_only_the_time_would_be_another(server: Server) -> None:
    controller = leading(server)
    server.log.clear()
    wait(server.loop, 100)
    server.apply(gateway("g") | {"metadata": {"name": "g", "namespace": "a", "labels": {"new": "label"}}})
    controller.reconcile()
    wait(server.loop, 5)
    assert not server.log


def test_a_conflict_is_resolved_with_what_is_stored_then(server: Server) -> None:
    """The watch is behind: only the object itself tells what the other one has written."""
    controller = leading(server)
    controller.known.deaf = True
    server.set_status(route_key("r"), {"parents": [foreign(), *server.status(route_key("r"))["parents"]]})
    server.apply(route("r", "g", path="/else"))
    controller.reconcile()
    wait(server.loop, 1)
    theirs, ours = server.status(route_key("r"))["parents"]
    assert theirs == foreign()
    assert conditions(ours)["Accepted"] == ("True", 2)
    assert server.gets == [path_of(route_key("r"))]


def test_conflict_after_conflict_is_tried_less_and_less_often(server: Server) -> None:
    controller = leading(server)
    server.log.clear()

    async def meddle(path: str) -> None:
        server.set_status(route_key("r"), {"parents": [foreign(), foreign(parentRef={"name": str(server.version)})]})

    server.during = meddle
    server.apply(route("r", "g", path="/else"))
    controller.reconcile()
    wait(server.loop, 120)
    assert 8 < len(server.log) < 60
    server.during = None
    wait(server.loop, 61)
    assert [each["controllerName"] for each in server.status(route_key("r"))["parents"]] == [THEIRS, THEIRS, OURS]


def test_our_own_write_is_known_before_the_watch_tells_it(server: Server) -> None:
    controller = leading(server)
    controller.known.deaf = True
    for number in range(3):
        server.apply(route("r", "g", path=f"/{number}"))
        controller.known.listen()
        controller.reconcile()
        wait(server.loop, 0.1)
        server.apply(route("r", "g", path=f"/{number}") | {"metadata": {"name": "r", "namespace": "a"}})
    server.gets.clear()
    controller.sockets = controller.sockets.__class__(refused={(GATEWAY, 80): "in use"})
    controller.reconcile()
    wait(server.loop, 0.1)
    controller.sockets = controller.sockets.__class__()
    controller.reconcile()
    wait(server.loop, 0.1)
    assert conditions(server.status(GATEWAY))["Programmed"][0] == "True"
    assert not server.gets


def test_an_object_that_is_gone_is_forgotten(server: Server) -> None:
    controller = leading(server)
    server.log.clear()
    controller.known.deaf = True
    server.apply(route("r", "g", path="/else"))
    controller.reconcile()
    server.delete_object(route_key("r"))
    wait(server.loop, 0.1)
    assert server.written == ["r"]
    controller.known.listen()
    wait(server.loop, 600)
    assert server.written == ["r"]


def test_an_object_that_was_made_anew_waits_until_we_know_it(server: Server) -> None:
    """What was found out is of another object with the same name."""
    controller = leading(server)
    server.delete_object(route_key("r"))
    server.apply(route("r", "nobody"))
    server.log.clear()
    controller.writer.lead(False)
    controller.writer.lead(True)
    wait(server.loop, 5)
    assert not server.log
    assert "status" not in server.objects[path_of(route_key("r"))]


def forbidding(*names: str) -> Any:
    def refuse(path: str) -> None:
        if any(f"/{name}/" in f"{path}/" for name in names):
            raise ApiError(403, "Forbidden", f'cannot patch resource "{names[0]}/status"')

    return refuse


def test_what_is_forbidden_is_named_once_and_costs_only_itself(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(5):
        server.apply(route(f"r{number}", "g"))
    server.refuse = forbidding("httproutes")
    leading(server)
    wait(server.loop, 600)
    assert conditions(server.status(GATEWAY))["Programmed"] == ("True", 1)
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 1
    assert 'cannot patch resource "httproutes/status"' in errors[0]
    assert len(server.log) < 100
    server.refuse = lambda path: None
    wait(server.loop, 300)
    assert "parents" in server.status(route_key("r"))
    assert "parents" in server.status(route_key("r4"))


def test_a_status_that_the_server_refuses_costs_only_itself(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    def refuse(path: str) -> None:
        if "/httproutes/bad" in path:
            raise ApiError(422, "Invalid", "status.parents: Too many")

    server.refuse = refuse
    server.apply(route("bad", "g"))
    leading(server)
    wait(server.loop, 100)
    assert "parents" in server.status(route_key("r"))
    assert len([name for name in server.written if name == "bad"]) < 10
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR] == [
        "the status of HTTPRoute a/bad cannot be written: status.parents: Too many"
    ]


def unreachable(path: str) -> None:
    raise ApiError(0, "", "no connection")


def test_a_server_that_does_not_answer_is_not_asked_for_each_object(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for number in range(100):
        server.apply(route(f"r{number}", "g"))
    server.refuse = unreachable
    leading(server)
    wait(server.loop, 60)
    assert 8 < len(server.log) < 200
    server.refuse = lambda path: None
    wait(server.loop, 5.5)
    assert attached(server) == 101
    assert "parents" in server.status(route_key("r99"))
    assert [record.getMessage() for record in caplog.records] == [
        "statuses wait: no connection",
        "statuses are written again",
    ]


def test_after_an_outage_the_latest_is_written_and_once(server: Server) -> None:
    controller = leading(server)
    server.refuse = unreachable
    for path in ("/1", "/2", "/3"):
        server.apply(route("r", "g", path=path))
        controller.reconcile()
        wait(server.loop, 10)
    server.refuse = lambda path: None
    server.log.clear()
    wait(server.loop, 10)
    assert server.written == ["r"]
    [parent] = server.status(route_key("r"))["parents"]
    assert conditions(parent)["Accepted"] == ("True", 4)


def test_a_server_that_asks_for_time_gets_it(server: Server) -> None:
    def refuse(path: str) -> None:
        raise ApiError(429, "TooManyRequests", "later", retry_after=7.0)

    server.refuse = refuse
    controller = Controller(server)
    controller.reconcile()
    controller.writer.lead(True)
    wait(server.loop, 6.9)
    assert len(server.log) <= 8
    server.refuse = lambda path: None
    wait(server.loop, 0.2)
    assert attached(server) == 1


def test_an_answer_that_makes_no_sense_ends_nothing(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    """After a conflict the object is asked for, and something on the way answers in the API server's place."""
    controller = leading(server)
    server.apply(route("new", "g"))

    def refuse(path: str) -> None:
        if "/httproutes/new" in path:
            server.objects[path_of(route_key("new"))] = {"kind": "Login"}
            if path.endswith("/status"):
                raise ApiError(409, "Conflict", "another one")

    stored = server.objects[path_of(route_key("new"))]
    server.refuse = refuse
    controller.reconcile()
    wait(server.loop, 1)
    assert "the status of HTTPRoute a/new could not be written" in caplog.text
    server.refuse = lambda path: None
    server.objects[path_of(route_key("new"))] = stored
    wait(server.loop, 600)
    assert "parents" in server.status(route_key("new"))


def test_an_object_that_the_server_fails_at_does_not_hold_up_the_others(server: Server) -> None:
    def refuse(path: str) -> None:
        if "/httproutes/bad" in path:
            raise ApiError(500, "InternalError", "failed calling webhook")

    server.refuse = refuse
    for number in range(100):
        server.apply(route(f"r{number}", "g"))
    server.apply(route("bad", "g"))
    leading(server)
    assert all("parents" in server.status(route_key(f"r{number}")) for number in range(100))
    wait(server.loop, 100)
    assert len([name for name in server.written if name == "bad"]) < 15


@pytest.mark.parametrize("seconds", [1.0, 10.0, 100.0])
def test_a_thousand_new_routes_are_a_handful_of_writes_of_their_gateway(server: Server, seconds: float) -> None:
    """However fast they come; the last count is there a second after the last route."""
    controller = leading(server)
    wait(server.loop, 10)
    server.log.clear()
    began = server.loop.time()
    for number in range(1000):
        server.apply(route(f"r{number}", "g"))
        if number % 5 == 4:
            controller.reconcile()
            wait(server.loop, seconds / 200)
    wait(server.loop, 1)
    assert attached(server) == 1001
    writes = [at for at, path, _ in server.log if path == f"{path_of(GATEWAY)}/status"]
    assert writes[0] == began
    assert len(writes) <= 5 + seconds / 5
    assert len(server.log) - len(writes) == 1000


def test_a_condition_of_a_gateway_waits_for_nothing(server: Server) -> None:
    controller = leading(server)
    server.apply(route("r1", "g"))
    controller.reconcile()
    wait(server.loop, 0.1)
    assert attached(server) == 2
    server.apply(route("r2", "g"))
    controller.reconcile()
    wait(server.loop, 0.1)
    assert attached(server) == 2, "it is counted only"
    server.apply(gateway("g", listeners=(("http", 80), ("more", 81))))
    controller.reconcile()
    wait(server.loop, 0.1)
    assert conditions(server.status(GATEWAY))["Accepted"] == ("True", 2)
    assert attached(server) == 3


def test_what_others_undo_is_done_again(server: Server) -> None:
    leading(server)
    server.set_status(route_key("r"), {"parents": [foreign()]})
    server.set_status(GATEWAY, {})
    wait(server.loop, 1.1)
    assert [each["controllerName"] for each in server.status(route_key("r"))["parents"]] == [THEIRS, OURS]
    assert conditions(server.status(GATEWAY))["Programmed"] == ("True", 1)


def test_somebody_who_always_undoes_is_fought_less_and_less(server: Server) -> None:
    controller = leading(server)
    server.log.clear()
    for _ in range(600):
        server.set_status(route_key("r"), {"parents": [foreign()]})
        wait(server.loop, 0.5)
    assert 5 < len(server.log) < 15
    server.apply(route("r", "g", path="/else"))
    controller.reconcile()
    wait(server.loop, 0.1)
    assert conditions(server.status(route_key("r"))["parents"][1])["Accepted"] == ("True", 2), "what is new is told"
    wait(server.loop, 200)
    server.set_status(route_key("r"), {"parents": [foreign()]})
    wait(server.loop, 1.1)
    assert len(server.status(route_key("r"))["parents"]) == 2, "it was quiet for a while, and is forgiven"


def test_what_others_write_beside_ours_is_no_reason_to_write(server: Server) -> None:
    leading(server)
    ours = server.status(route_key("r"))["parents"]
    server.log.clear()
    for number in range(5):
        server.set_status(route_key("r"), {"parents": [*ours, foreign(parentRef={"name": str(number)})]})
        wait(server.loop, 2)
    assert not server.log


def test_a_route_that_names_us_no_more_loses_our_entry_and_no_other(server: Server) -> None:
    controller = leading(server)
    server.set_status(route_key("r"), {"parents": [foreign(), *server.status(route_key("r"))["parents"]]})
    server.apply(route("r", "other"))
    controller.reconcile()
    wait(server.loop, 1)
    assert server.status(route_key("r"))["parents"] == [foreign()]
    assert attached(server) == 0


def test_a_new_leader_takes_our_entry_from_a_route_that_left_us_while_nobody_led(server: Server) -> None:
    leading(server).writer.lead(False)
    server.apply(route("r", "other"))
    leading(server)
    assert server.status(route_key("r"))["parents"] == []


def test_who_is_behind_leaves_a_status_of_a_later_generation_alone(server: Server) -> None:
    """Another leader has seen the route come to us; we have not yet."""
    server.apply(route("r", "other"))
    late = Controller(server)
    late.reconcile()
    server.apply(route("r", "g"))
    leading(server).writer.lead(False)
    before = server.status(route_key("r"))
    assert before["parents"]
    server.log.clear()
    late.writer.lead(True)
    wait(server.loop, 5)
    assert server.status(route_key("r")) == before
    late.reconcile()
    wait(server.loop, 5)
    assert server.status(route_key("r")) == before
    assert attached(server) == 1
