"""Whatever happens in whatever order: in the end each status is ours laid over others', and theirs are untouched."""

import asyncio
from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from app.providers.kubernetes.api import ApiError
from app.status.merge import Ownership, merge
from app.status.patches import frame, status
from routes.resources.meta import Key
from tests.app.status.world import (
    CLASS,
    GATEWAY,
    OURS,
    THEIRS,
    Controller,
    Object,
    Server,
    gateway,
    gateway_class,
    path_of,
    route,
    route_key,
    wait,
)
from tests.wire.harness import Loop

ROUTES = ("r0", "r1", "r2")
KEYS = (CLASS, GATEWAY, *map(route_key, ROUTES))

APPLIED = st.tuples(st.just("apply"), st.sampled_from(ROUTES), st.sampled_from([("g",), ("other",), ("g", "other")]))
EVENTS = st.one_of(
    APPLIED,
    APPLIED,
    st.tuples(st.just("delete"), st.sampled_from(ROUTES)),
    st.tuples(st.just("listeners"), st.integers(1, 3)),
    # Others write; as if they knew what is there, or as if nothing but theirs were.
    st.tuples(st.just("foreign"), st.sampled_from(KEYS), st.booleans()),
    st.tuples(st.just("meddle"), st.sampled_from(KEYS), st.booleans()),
    st.tuples(st.just("fail"), st.sampled_from([0, 403, 404, 409, 422, 429, 500, 503]), st.integers(1, 12)),
    st.tuples(st.just("slow"), st.sampled_from([0.0, 0.01, 1.0])),
    st.tuples(st.just("deaf"), st.booleans()),
    st.tuples(st.just("listen"), st.integers(1, 3)),
    st.tuples(st.just("lead"), st.booleans()),
    st.tuples(st.just("publish")),
    st.tuples(st.just("publish")),
    st.tuples(st.just("wait"), st.sampled_from([0.0, 0.1, 2.0, 40.0])),
)


class Others:
    """Another controller, which writes a number into its own parts."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.number = 0
        #: What it wrote last, by object.
        self.last: dict[tuple[Key, str], Object] = {}

    def write(self, key: Key, heedless: bool) -> None:
        stored = self.server.objects.get(path_of(key))
        if stored is None:
            return
        self.number += 1
        mine: Object = {"type": "example.com/Own", "status": "Unknown", "reason": str(self.number)}
        if key.kind == "HTTPRoute":
            mine = {"controllerName": THEIRS, "parentRef": {"name": "g"}, "conditions": [mine]}
        field, present = _field(key), {} if heedless else stored.get("status", {})
        kept = [each for each in present.get(field, ()) if not _is_foreign(each)]
        self.server.set_status(key, {**present, field: [*kept, mine]})
        self.last[key, stored["metadata"]["uid"]] = mine


def _field(key: Key) -> str:
    return "parents" if key.kind == "HTTPRoute" else "conditions"


def _is_foreign(each: Object) -> bool:
    return each.get("controllerName") == THEIRS or each.get("type") == "example.com/Own"


class Faults:
    """What goes wrong with requests: so many are refused, all take a while, and somebody writes meanwhile."""

    def __init__(self, server: Server) -> None:
        self.codes: list[int] = []
        self.seconds = 0.0
        self.meddling: list[Callable[[], None]] = []
        server.refuse = self.refuse
        server.during = self.during

    def refuse(self, path: str) -> None:
        if self.codes:
            raise ApiError(self.codes.pop(), "", "out of order")

    async def during(self, path: str) -> None:
        if self.meddling:
            self.meddling.pop()()
        if self.seconds:
            await asyncio.sleep(self.seconds)


@settings(max_examples=60, deadline=None)
@given(st.lists(EVENTS, max_size=30))
def test_it_all_comes_right_in_the_end(events: list[Any]) -> None:
    loop = Loop()
    asyncio.set_event_loop(loop)
    try:
        server = Server(loop)
        for document in (gateway_class(), gateway(), *(route(name, "g") for name in ROUTES)):
            server.apply(document)
        others, faults, controller = Others(server), Faults(server), Controller(server)
        controller.reconcile()
        controller.writer.lead(True)
        for number, (what, *arguments) in enumerate(events):
            happen(what, arguments, number, controller, others, faults)
        faults.__init__(server)  # type: ignore[misc]
        controller.known.deaf = False
        controller.known.listen()
        controller.reconcile()
        controller.writer.lead(True)
        wait(loop, 700)
        check(controller, others)
        server.log.clear()
        wait(loop, 700)
        assert not server.log
        loop.finish()
    finally:
        asyncio.set_event_loop(None)


def happen(
    what: str, arguments: list[Any], number: int, controller: Controller, others: Others, faults: Faults
) -> None:
    server = controller.server
    match what, *arguments:
        case "apply", name, parents:
            server.apply(route(name, *parents, path=f"/{number}"))
        case "delete", name:
            server.delete_object(route_key(name))
        case "listeners", count:
            server.apply(gateway(listeners=tuple((f"p{port}", port) for port in range(80, 80 + count))))
        case "foreign", key, heedless:
            others.write(key, heedless)
        case "meddle", key, heedless:
            faults.meddling.append(lambda: others.write(key, heedless))
        case "fail", code, count:
            faults.codes += [code] * count
        case "slow", seconds:
            faults.seconds = seconds
        case "deaf", deaf:
            controller.known.deaf = deaf
        case "listen", count:
            controller.known.listen(count)
        case "lead", leading:
            controller.writer.lead(leading)
        case ("publish",):
            controller.reconcile()
        case "wait", seconds:
            wait(server.loop, seconds)


def check(controller: Controller, others: Others) -> None:
    graph = controller.graph
    nodes = {**frame(graph), **graph.routes}
    for key in KEYS:
        stored = controller.server.objects.get(path_of(key))
        if stored is None:
            continue
        present = stored.get("status", {})
        ours = status(nodes[key], OURS)
        again = merge(present, ours, Ownership(OURS), controller._now())
        assert again is None, f"{key} is not as it should be"
        theirs = [each for each in present.get(_field(key), ()) if _is_foreign(each)]
        last = others.last.get((key, stored["metadata"]["uid"]))
        assert theirs == ([last] if last else [])
