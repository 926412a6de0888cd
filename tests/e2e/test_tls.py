"""TLS over real sockets: which certificate a handshake gets, and what happens when certificates change."""

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import Backends
from tests.helpers.client import Connection, ask, insecure, shown_certificate
from tests.helpers.manifests import (
    backend,
    gateway_object,
    http_listener,
    https_listener,
    pair,
    route,
    secret,
    write,
)
from tests.helpers.processes import Process, free_port, gateway, is_listening
from tests.helpers.waiting import wait_until


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, backends: Backends) -> Path:
    """The manifests of this module's gateway. Each test adds a file with a Gateway on a port of its own."""
    folder = tmp_path_factory.mktemp("tls")
    write(folder / "backends.yaml", *backend("whoami", *backends.whoami))
    return folder


@pytest.fixture(scope="module")
def running(folder: Path) -> Iterator[Process]:
    port = free_port()
    write(
        folder / "plain.yaml", gateway_object("plain", http_listener(port)), route("plain", "whoami", gateway="plain")
    )
    with gateway(folder, port=port) as running:
        yield running


def der(certificate: bytes) -> bytes:
    """The first certificate of a PEM chain, as DER."""
    end = "-----END CERTIFICATE-----"
    return ssl.PEM_cert_to_DER_cert(certificate.decode().partition(end)[0] + end)


def shown(port: int, server_name: str | None = None) -> bytes:
    wait_until(lambda: is_listening(port), what=f"somebody listens on port {port}")
    return shown_certificate(port, server_name)


def test_each_server_name_gets_the_secret_that_bears_it(running: Process, folder: Path) -> None:
    port = free_port()
    one, two = pair("one.example"), pair("two.example", "*.two.example")
    write(
        folder / "two-secrets.yaml",
        secret("one", *one),
        secret("two", *two),
        gateway_object("two-secrets", https_listener(port, "one", "two")),
    )
    found = {
        name: shown(port, name)
        for name in ("one.example", "two.example", "a.two.example", "ONE.example", "other.example", None)
    }
    assert found == {
        "one.example": der(one[0]),
        "two.example": der(two[0]),
        "a.two.example": der(two[0]),
        "ONE.example": der(one[0]),
        "other.example": der(one[0]),
        None: der(one[0]),
    }


def test_each_listener_hostname_has_its_own_secret(running: Process, folder: Path) -> None:
    port = free_port()
    one, two = pair("whatever.example"), pair("whatever.example")
    write(
        folder / "two-listeners.yaml",
        secret("left", *one),
        secret("right", *two),
        gateway_object(
            "two-listeners",
            https_listener(port, "left", name="left", hostname="left.example"),
            https_listener(port, "right", name="right", hostname="*.right.example"),
        ),
    )
    assert shown(port, "left.example") == der(one[0])
    assert shown(port, "a.right.example") == der(two[0])


def test_a_name_that_no_listener_is_for_ends_the_handshake(running: Process, folder: Path) -> None:
    port = free_port()
    write(
        folder / "one-name.yaml",
        secret("one-name", *pair("one-name.example")),
        gateway_object("one-name", https_listener(port, "one-name", hostname="one-name.example")),
    )
    wait_until(lambda: is_listening(port))
    with pytest.raises(ssl.SSLError):  # asyncio closes without the alert that says why
        shown_certificate(port, "other.example")


def test_a_new_certificate_is_shown_to_new_handshakes_and_open_connections_go_on(
    running: Process, folder: Path
) -> None:
    port = free_port()
    old, new = pair("swap.example"), pair("swap.example")
    parts = [
        gateway_object("swap", https_listener(port, "swap")),
        route("swap", "whoami", host="swap.example", gateway="swap"),
    ]
    write(folder / "swap.yaml", secret("swap", *old), *parts)
    assert shown(port, "swap.example") == der(old[0])
    with Connection(port, tls=insecure(), server_name="swap.example") as open_before:
        assert open_before.ask("/", "swap.example").status == 200
        write(folder / "swap.yaml", secret("swap", *new), *parts)
        wait_until(lambda: shown(port, "swap.example") == der(new[0]), what="the new certificate is shown")
        assert open_before.ask("/", "swap.example").status == 200
        assert open_before.certificate == der(old[0])


def test_a_secret_that_turns_bad_leaves_the_last_good_certificate_served_until_it_is_mended_or_gone(
    running: Process, folder: Path
) -> None:
    port = free_port()
    old, new = pair("renewed.example"), pair("renewed.example")
    parts = [
        gateway_object("renewed", https_listener(port, "renewed")),
        route("renewed", "whoami", host="renewed.example", gateway="renewed"),
    ]
    write(folder / "renewed.yaml", secret("renewed", *old), *parts)
    assert shown(port, "renewed.example") == der(old[0])
    said = (
        r"ERROR: .*/renewed\.yaml:\d+: error: Gateway default/renewed spec\.listeners\[0\]: InvalidCertificateRef: "
        r"Secret default/renewed: tls\.%s \(its last good certificate is kept\)"
    )
    with Connection(port, tls=insecure(), server_name="renewed.example") as open_before:
        write(folder / "renewed.yaml", secret("renewed", new[0], old[1]), *parts)
        running.wait_for(said % r"key is not the key of tls\.crt's first certificate")
        write(folder / "renewed.yaml", secret("renewed", b"not a certificate", b"not a key"), *parts)
        running.wait_for(said % r"crt holds no readable PEM certificate")
        assert open_before.ask("/", "renewed.example").status == 200
        with Connection(port, tls=insecure(), server_name="renewed.example") as opened_since:
            assert opened_since.certificate == der(old[0])
            assert opened_since.ask("/", "renewed.example").status == 200
        write(folder / "renewed.yaml", secret("renewed", *new), *parts)
        running.wait_for(r"INFO: .*mended: .*Secret default/renewed: tls\.crt holds no readable PEM certificate")
        assert shown(port, "renewed.example") == der(new[0])
        assert open_before.ask("/", "renewed.example").status == 200
    write(folder / "renewed.yaml", *parts)
    wait_until(lambda: not is_listening(port), what="nobody listens for a Secret that is gone")


def test_a_secret_of_garbage_is_reported_and_the_other_listeners_serve(running: Process, folder: Path) -> None:
    port = free_port()
    write(
        folder / "garbage.yaml",
        secret("garbage", b"not a certificate", b"not a key"),
        gateway_object("garbage", https_listener(port, "garbage")),
    )
    running.wait_for(
        r"ERROR: .*/garbage\.yaml:\d+: error: Gateway default/garbage spec\.listeners\[0\]: InvalidCertificateRef: "
        r"Secret default/garbage: tls\.crt holds no readable PEM certificate"
    )
    assert not is_listening(port)
    assert ask(running.port).status == 200


def test_a_key_of_another_certificate_is_reported_and_the_other_listeners_serve(running: Process, folder: Path) -> None:
    port = free_port()
    write(
        folder / "mismatch.yaml",
        secret("mismatch", pair("mismatch.example")[0], pair("mismatch.example")[1]),
        gateway_object("mismatch", https_listener(port, "mismatch")),
    )
    running.wait_for(
        r"ERROR: .*/mismatch\.yaml:\d+: error: Gateway default/mismatch spec\.listeners\[0\]: InvalidCertificateRef: "
        r"Secret default/mismatch: tls\.key is not the key of tls\.crt's first certificate"
    )
    assert not is_listening(port)
    assert ask(running.port).status == 200


def test_a_certificate_that_is_mended_opens_its_listener(running: Process, folder: Path) -> None:
    port = free_port()
    good = pair("later.example")
    listener = gateway_object("later", https_listener(port, "later"))
    write(folder / "later.yaml", secret("later", b"not a certificate", good[1]), listener)
    running.wait_for(r"ERROR: .*/later\.yaml")
    write(folder / "later.yaml", secret("later", *good), listener)
    assert shown(port) == der(good[0])


def test_the_servers_own_certificate_serves_the_routes_over_https(tmp_path: Path, backends: Backends) -> None:
    certificate, key = pair("own.example")
    (tmp_path / "own.crt").write_bytes(certificate)
    (tmp_path / "own.key").write_bytes(key)
    manifests = tmp_path / "manifests"
    manifests.mkdir()
    write(manifests / "all.yaml", *backend("whoami", *backends.whoami), route("own", "whoami"))
    files = ("--ssl-keyfile", str(tmp_path / "own.key"), "--ssl-certfile", str(tmp_path / "own.crt"))
    with gateway(manifests, *files) as running:
        assert shown(running.port) == der(certificate)
        answer = ask(running.port, tls=insecure())
        assert answer.status == 200
        assert answer.echo["X-Forwarded-Proto"] == "https"
