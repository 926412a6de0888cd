"""Listeners that want the same, inside a Gateway and across its ListenerSets, case by case."""

import pytest

from routes.graph.conflicts import Claims, inside
from routes.resources.gateway import Listener

PROTOCOL, HOSTNAME = "ProtocolConflict", "HostnameConflict"


def listener(text: str) -> Listener:
    """``HTTP 80 a.com``."""
    protocol, port, *hostname = text.split()
    return Listener.model_construct(name="a", port=int(port), protocol=protocol, hostname="".join(hostname) or None)


@pytest.mark.parametrize(
    ("listeners", "reasons"),
    [
        (["HTTP 80", "HTTP 80 a.com", "HTTP 80 *.a.com", "HTTP 81"], ["", "", "", ""]),
        (["HTTP 80 a.com", "HTTP 80 a.com", "HTTP 80 b.com"], [HOSTNAME, HOSTNAME, ""]),
        (["HTTP 80", "HTTP 80", "HTTP 80"], [HOSTNAME] * 3),
        (["HTTP 80 a.com", "HTTPS 80 b.com", "HTTP 81"], [PROTOCOL, PROTOCOL, ""]),
        (["HTTP 80", "HTTP 80", "HTTPS 80"], [PROTOCOL] * 3),
        (["HTTP 80", "TCP 80", "UDP 80", "TLS 80", "example.com/x 80"], [""] * 5),
    ],
)
def test_inside_a_gateway_every_listener_of_a_conflict_loses(listeners: list[str], reasons: list[str]) -> None:
    found = inside([listener(text) for text in listeners])
    assert [conflict.reason if conflict else "" for conflict in found] == reasons


@pytest.mark.parametrize(
    ("own", "entries", "reasons"),
    [
        ([], ["HTTP 80 a.com", "HTTP 80 a.com", "HTTP 80 b.com"], ["", HOSTNAME, ""]),
        ([], ["HTTP 80", "HTTPS 80", "HTTP 80 a.com"], ["", PROTOCOL, ""]),
        ([], ["HTTPS 80", "HTTP 80", "TCP 80", "TLS 80", "UDP 80"], ["", PROTOCOL, PROTOCOL, PROTOCOL, ""]),
        (["HTTP 80 a.com"], ["HTTP 80 a.com", "HTTP 80"], [HOSTNAME, ""]),
        (["HTTP 80", "HTTPS 80"], ["HTTP 80 a.com", "HTTPS 80 a.com"], [PROTOCOL, PROTOCOL]),
        (["TCP 80"], ["HTTP 80"], [""]),
        ([], ["TCP 80", "HTTP 80", "TCP 80"], ["", "", PROTOCOL]),
        ([], ["example.com/x 80", "HTTP 80", "example.com/x 80"], ["", "", ""]),
    ],
)
def test_across_listener_sets_the_first_claimant_wins(own: list[str], entries: list[str], reasons: list[str]) -> None:
    """A protocol that is not served wins nothing, and loses against what is there."""
    claims = Claims([listener(text) for text in own])
    found = [claims.claim(listener(text)) for text in entries]
    assert [conflict.reason if conflict else "" for conflict in found] == reasons


def test_the_sentence_names_no_other_object() -> None:
    """Who else adds to a Gateway is not for every author of a ListenerSet to know."""
    claims = Claims([listener("HTTP 80 a.com")])
    assert [claims.claim(listener(text)) for text in ("HTTP 80 a.com", "HTTPS 80")] == [
        (HOSTNAME, "a.com is taken on port 80"),
        (PROTOCOL, "port 80 is taken for HTTP"),
    ]
