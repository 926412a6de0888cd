"""What happened to which object, when, and what came of it."""

from datetime import UTC, datetime
from pathlib import Path

from app.journal import CAPACITY, Build, Event, Journal
from tests.app.admin.running import running
from tests.app.view.test_views import CANARY, GATEWAY, PLAIN, change, http_route

SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: absent, namespace: default}
spec: {ports: [{port: 80}]}
"""
MOMENT = datetime(2021, 2, 3, tzinfo=UTC)


def test_events_are_numbered_and_the_newest_comes_first() -> None:
    journal = Journal(lambda: MOMENT)
    journal.note("added", "HTTPRoute a/b", "on Gateway a/c")
    journal.note("removed", "HTTPRoute a/b", "")
    assert list(journal.latest()) == [
        Event(2, MOMENT, "removed", "HTTPRoute a/b", ""),
        Event(1, MOMENT, "added", "HTTPRoute a/b", "on Gateway a/c"),
    ]


def test_the_oldest_events_are_forgotten_and_their_numbers_are_not_used_again() -> None:
    journal = Journal()
    for _ in range(CAPACITY + 1):
        journal.note("gateway", "", "again")
    kept = list(journal.latest())
    assert (len(kept), kept[0].number, kept[-1].number) == (CAPACITY, CAPACITY + 1, 2)


def test_builds_are_counted_and_the_last_is_kept() -> None:
    journal = Journal(lambda: MOMENT)
    journal.built(0.5)
    journal.built(0.1, "no")
    assert (journal.builds, journal.failed_builds) == (2, 1)
    assert journal.last_build == Build(MOMENT, 0.1, "no")


def test_who_listens_hears_of_events_and_builds() -> None:
    journal, heard = Journal(), []
    journal.heard.add(lambda: heard.append(1))
    journal.note("gateway", "", "a")
    journal.built(0.1)
    assert len(heard) == 2


def test_a_start_is_one_event(tmp_path: Path) -> None:
    tmp_path.joinpath("all.yaml").write_text(GATEWAY + http_route("one", PLAIN))
    with running(tmp_path) as asked:
        (event,) = asked.runtime.journal.latest()
    assert (event.kind, event.text) == ("gateway", "serving 1 route of 1 Gateway")


def test_a_change_tells_what_is_served_of_the_object(tmp_path: Path) -> None:
    tmp_path.joinpath("all.yaml").write_text(GATEWAY)
    with running(tmp_path) as asked:
        change(asked, tmp_path / "one.yaml", http_route("one", PLAIN))
        change(asked, tmp_path / "one.yaml", http_route("one", PLAIN, section="own"))
        found = [(each.kind, each.subject, each.text) for each in asked.runtime.journal.latest()]
    assert found[-2] == ("added", "HTTPRoute default/one", "on Gateway infra/edge (web) for a.example")
    assert ("changed", "HTTPRoute default/one") in [each[:2] for each in found]
    assert any(text.startswith("refused by Gateway infra/edge: NotAllowedByListeners") for _, _, text in found)


def test_what_another_objects_change_did_to_a_route_is_told(tmp_path: Path) -> None:
    tmp_path.joinpath("all.yaml").write_text(GATEWAY + http_route("one", CANARY))
    with running(tmp_path) as asked:
        service = (
            "apiVersion: v1\nkind: Service\nmetadata: {name: absent, namespace: default}\nspec: {ports: [{port: 80}]}\n"
        )
        change(asked, tmp_path / "service.yaml", service)
        found = [(each.kind, each.subject, each.text) for each in asked.runtime.journal.latest()]
    assert ("changed", "HTTPRoute default/one", "on Gateway infra/edge (web) for a.example") in found
    assert ("added", "Service default/absent", "") in found


def test_a_burst_is_told_in_numbers(tmp_path: Path) -> None:
    tmp_path.joinpath("all.yaml").write_text(GATEWAY)
    with running(tmp_path) as asked:
        many = "".join(http_route(f"r{number}", PLAIN, hosts=f"[h{number}.example]") for number in range(300))
        change(asked, tmp_path / "many.yaml", many)
        (event,) = [each for each in asked.runtime.journal.latest() if each.kind == "added"]
    assert event.text == "300 HTTPRoutes added"
