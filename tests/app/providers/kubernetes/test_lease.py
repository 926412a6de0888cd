"""Who holds the Lease: replicas in time that the test moves, over an API server's store."""

import asyncio
import logging
import re
from collections.abc import Iterator

import pytest

from app.providers.kubernetes.api import ApiError
from app.providers.kubernetes.lease import Lease
from tests.helpers.apidirect import Direct
from tests.helpers.apikinds import Object
from tests.helpers.apistore import Store
from tests.wire.harness import Loop

LEASES = ("coordination.k8s.io", "leases")
GONE = ApiError(0, "Unreachable", "All connection attempts failed")


class Replica:
    """A replica that wants the Lease, and what it was told."""

    def __init__(self, loop: Loop, store: Store, name: str) -> None:
        self.api = Direct(store)
        self.told: list[bool] = []
        self.lease = Lease(self.api, "moongate", name, self.told.append)
        self._loop = loop
        self._task = loop.create_task(self.lease.run())
        loop.settle()

    @property
    def held(self) -> bool:
        return self.lease.held

    def stop(self) -> None:
        """Stop in order."""
        self._task.cancel()
        self._loop.settle()

    def kill(self) -> None:
        """Stop without a word to the server."""
        self.api.error = GONE
        self.stop()


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.finish()


@pytest.fixture
def store() -> Store:
    return Store()


def spec_in(store: Store) -> Object:
    spec: Object = store.get(LEASES, "default", "moongate")["spec"]
    return spec


def seize(store: Store, holder: str) -> None:
    """Write a holder into the Lease as somebody with no respect for it."""
    spec = {**spec_in(store), "holderIdentity": holder}
    store.merge(LEASES, "default", "moongate", {"spec": spec}, status=False)


def test_the_first_makes_the_lease_and_holds_it(loop: Loop, store: Store) -> None:
    a = Replica(loop, store, "a")
    assert a.held
    assert a.told == [True]
    spec = spec_in(store)
    assert spec["holderIdentity"] == "a"
    assert spec["leaseDurationSeconds"] == 15
    assert spec["leaseTransitions"] == 0
    assert spec["acquireTime"] == spec["renewTime"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", spec["renewTime"])


def test_of_two_one_holds_it_for_as_long_as_it_runs(loop: Loop, store: Store) -> None:
    a, b = Replica(loop, store, "a"), Replica(loop, store, "b")
    acquired = spec_in(store)["acquireTime"]
    for _ in range(200):
        loop.advance(0.5)
        assert (a.held, b.held) == (True, False)
    assert (a.told, b.told) == ([True], [])
    assert spec_in(store)["acquireTime"] == acquired
    assert spec_in(store)["leaseTransitions"] == 0


def test_the_server_is_asked_seldom(loop: Loop, store: Store) -> None:
    a, b = Replica(loop, store, "a"), Replica(loop, store, "b")
    loop.advance(120)
    assert 30 <= len(a.api.requests) <= 62  # renewals, and nothing is read for them
    assert {method for method, _ in a.api.requests[2:]} == {"PUT"}
    assert 60 <= len(b.api.requests) <= 122
    assert {method for method, _ in b.api.requests} == {"GET"}


def test_who_stops_gives_it_back_and_the_next_takes_it_at_once(loop: Loop, store: Store) -> None:
    a, b = Replica(loop, store, "a"), Replica(loop, store, "b")
    loop.advance(5)
    a.stop()
    assert a.told == [True, False]
    assert spec_in(store)["holderIdentity"] == ""
    assert spec_in(store)["leaseDurationSeconds"] == 1
    loop.advance(2.5)
    assert b.held
    assert spec_in(store)["leaseTransitions"] == 1


def test_it_stops_being_ours_before_it_is_given_back(loop: Loop, store: Store) -> None:
    holders: list[str] = []
    a = Replica(loop, store, "a")
    a.lease.on_change = lambda held: holders.append(spec_in(store)["holderIdentity"])
    a.stop()
    assert holders == ["a"]


def test_after_the_holders_death_it_is_taken_when_it_has_run_out(loop: Loop, store: Store) -> None:
    a, b = Replica(loop, store, "a"), Replica(loop, store, "b")
    loop.advance(60)
    a.kill()
    loop.advance(11)  # of 15 seconds, less the 4 that its last renewal can be old
    assert not b.held
    loop.advance(6.5)
    assert b.held


def test_a_new_replica_waits_for_a_lease_to_run_out_whatever_time_is_written_in_it(loop: Loop, store: Store) -> None:
    a = Replica(loop, store, "a")
    a.kill()
    old = {**spec_in(store), "renewTime": "2001-01-01T00:00:00.000000Z"}
    store.merge(LEASES, "default", "moongate", {"spec": old}, status=False)
    b = Replica(loop, store, "b")
    loop.advance(14.5)
    assert not b.held
    loop.advance(2.5)
    assert b.held


def test_a_process_with_the_same_identity_goes_on_at_once(loop: Loop, store: Store) -> None:
    Replica(loop, store, "a").kill()
    again = Replica(loop, store, "a")
    assert again.held
    assert spec_in(store)["leaseTransitions"] == 0


@pytest.mark.parametrize("how", ["error", "silent"])
def test_a_holder_that_is_cut_off_stops_before_another_takes_over(loop: Loop, store: Store, how: str) -> None:
    a, b = Replica(loop, store, "a"), Replica(loop, store, "b")
    loop.advance(60)
    if how == "silent":
        a.api.silent = True
    else:
        a.api.error = GONE
    for _ in range(80):
        loop.advance(0.5)
        assert not (a.held and b.held)
    assert (a.told, b.told) == ([True, False], [True])
    a.api.error, a.api.silent = None, False
    loop.advance(30)
    assert (a.held, b.held) == (False, True)


def test_while_the_server_is_gone_nobody_holds_it_and_afterwards_one(loop: Loop, store: Store) -> None:
    a, b = Replica(loop, store, "a"), Replica(loop, store, "b")
    a.api.error = b.api.error = GONE
    loop.advance(9.5)
    assert a.held
    loop.advance(0.5)
    assert not a.held
    loop.advance(300)
    assert (a.told, b.told) == ([True, False], [])
    a.api.error = b.api.error = None
    loop.advance(4)
    assert a.held + b.held == 1


def test_a_short_outage_changes_nothing(loop: Loop, store: Store) -> None:
    a = Replica(loop, store, "a")
    a.api.error = ApiError(503, "ServiceUnavailable", "etcd has no leader")
    loop.advance(7)
    a.api.error = None
    loop.advance(10)
    assert a.told == [True]


def test_who_was_stopped_for_long_does_not_take_itself_for_the_holder(loop: Loop, store: Store) -> None:
    a = Replica(loop, store, "a")
    loop.now += 10.0  # as by SIGSTOP: no turn of the loop
    assert not a.held


def test_a_foreign_change_of_the_lease_is_kept_and_costs_nothing(loop: Loop, store: Store) -> None:
    a = Replica(loop, store, "a")
    store.merge(LEASES, "default", "moongate", {"metadata": {"annotations": {"by": "hand"}}}, status=False)
    loop.advance(60)
    assert a.told == [True]
    assert store.get(LEASES, "default", "moongate")["metadata"]["annotations"] == {"by": "hand"}


def test_a_lease_that_somebody_else_takes_is_lost_at_the_next_renewal(loop: Loop, store: Store) -> None:
    a = Replica(loop, store, "a")
    seize(store, "somebody")
    loop.advance(4.5)
    assert a.told == [True, False]
    loop.advance(17)  # 4 until it was seen, 15 that it lasts, 2 between looks
    assert a.told == [True, False, True]  # somebody did not renew it


def test_a_lease_that_was_deleted_is_made_again(loop: Loop, store: Store) -> None:
    a = Replica(loop, store, "a")
    store.delete(LEASES, "default", "moongate")
    loop.advance(4.5)
    assert a.told == [True]
    assert spec_in(store)["holderIdentity"] == "a"


def test_a_lease_without_a_spec_is_free(loop: Loop, store: Store) -> None:
    store.create(LEASES, "default", {"metadata": {"name": "moongate"}})
    assert Replica(loop, store, "a").held


def test_another_implementations_longer_lease_is_respected(loop: Loop, store: Store) -> None:
    store.create(
        LEASES,
        "default",
        {"metadata": {"name": "moongate"}, "spec": {"holderIdentity": "other", "leaseDurationSeconds": 60}},
    )
    a = Replica(loop, store, "a")
    loop.advance(59.5)
    assert not a.held
    loop.advance(2.5)
    assert a.held


def test_missing_rights_are_told_once_and_found_when_they_come(
    loop: Loop, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    a = Replica(loop, store, "a")
    a.kill()
    b = Replica(loop, store, "b")
    b.api.error = ApiError(403, "Forbidden", 'leases.coordination.k8s.io "moongate" is forbidden: User "x" cannot get')
    loop.advance(60)
    told = [record.getMessage() for record in caplog.records]
    assert told == [
        'the Lease moongate cannot be held: leases.coordination.k8s.io "moongate" is forbidden: '
        'User "x" cannot get; trying again'
    ]
    b.api.error = None
    loop.advance(17)
    assert b.held


def test_a_server_that_asks_for_patience_gets_it(loop: Loop, store: Store) -> None:
    a = Replica(loop, store, "a")
    a.kill()
    b = Replica(loop, store, "b")
    b.api.error = ApiError(429, "TooManyRequests", "too many requests", retry_after=8)
    loop.advance(2)
    asked = len(b.api.requests)
    loop.advance(40)
    assert len(b.api.requests) - asked <= 5


def test_a_replica_that_stops_while_the_server_is_gone_does_not_wait_for_it(loop: Loop, store: Store) -> None:
    a = Replica(loop, store, "a")
    a.api.silent = True
    a.stop()
    assert not a.held
    loop.advance(3)
    assert not asyncio.all_tasks(loop)
