"""HTTPS listeners that overlap: against every pair, looked at one by one."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from routes.graph import conditions
from routes.graph.nodes import CertificatePair, Condition, ListenerNode, Options
from routes.graph.overlaps import overlaps
from routes.resources.gateway import Listener
from routes.resources.meta import GATEWAY_GROUP, Key

GATEWAY = Key(GATEWAY_GROUP, "Gateway", "default", "a")
OPTIONS = Options(certificate_names=lambda certificate: tuple(certificate.decode().split()))

LABELS = st.lists(st.sampled_from(["a", "b"]), min_size=1, max_size=3).map(".".join)
NAMES = LABELS | LABELS.map("*.{}".format)


def node(hostname: str, names: Sequence[str] = (), port: int = 443, *, conflicted: bool = False) -> ListenerNode:
    source = Listener.model_construct(name="a", port=port, protocol="HTTPS", hostname=hostname or None)
    pair = CertificatePair(Key("", "Secret", "default", "a"), " ".join(names).encode(), b"")
    conflict = conditions.listener_conflict(4, "HostnameConflict", "")
    found = (conditions.listener_accepted(4), conflict if conflicted else conditions.listener_no_conflicts(4))
    return ListenerNode(source, GATEWAY, GATEWAY, (), (pair,), found, valid=True)


def reasons(*listeners: ListenerNode) -> list[str]:
    return [overlap.reason if overlap else "" for overlap in overlaps(listeners, OPTIONS)]


def serves(pattern: str, host: str) -> bool:
    return not pattern or host == pattern or (pattern[:2] == "*." and host.endswith(pattern[1:]))


def test_a_condition_is_true_and_of_the_listeners_generation() -> None:
    [first, second] = overlaps([node("*.a.com"), node("b.a.com")], OPTIONS)
    message = "another listener on port 443 has hostnames that overlap with its own"
    assert first == second == Condition("OverlappingTLSConfig", True, "OverlappingHostnames", message, 4)


def test_one_listener_does_not_overlap_with_itself() -> None:
    """A certificate may hold a wildcard and a name under it."""
    assert reasons(node("a.com", ["*.a.com", "b.a.com"])) == [""]
    assert reasons(node("a.com", ["*.a.com", "b.a.com"]), node("b.org", ["b.org"])) == ["", ""]


def test_a_listener_in_conflict_takes_no_part() -> None:
    assert reasons(node("a.com", conflicted=True), node("a.com", conflicted=True), node("")) == ["", "", ""]


def test_listeners_of_different_ports_do_not_overlap() -> None:
    assert reasons(node("a.com"), node("a.com", port=8443)) == ["", ""]


@given(st.lists(NAMES | st.just(""), min_size=2, max_size=5))
def test_hostnames_overlap_where_one_covers_the_other(hostnames: list[str]) -> None:
    expected = [
        "OverlappingHostnames"
        if any(serves(one, other) or serves(other, one) for other in hostnames[:index] + hostnames[index + 1 :])
        else ""
        for index, one in enumerate(hostnames)
    ]
    assert reasons(*map(node, hostnames)) == expected


def secures(pattern: str, name: str) -> bool:
    return name == pattern or (pattern[:2] == "*." and name[:1] != "*" and name.partition(".")[2] == pattern[2:])


@given(st.lists(st.lists(NAMES, max_size=3), min_size=2, max_size=4))
def test_certificates_overlap_where_a_name_of_one_is_good_for_the_other(names: list[list[str]]) -> None:
    expected = [
        "OverlappingCertificates"
        if any(
            secures(one, other) or secures(other, one)
            for place, others in enumerate(names)
            if place != index
            for one in mine
            for other in others
        )
        else ""
        for index, mine in enumerate(names)
    ]
    listeners = [node(f"{'abcd'[index]}.example.com", several) for index, several in enumerate(names)]
    assert reasons(*listeners) == expected
