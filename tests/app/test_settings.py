"""Settings, from the environment and as arguments, and what is said of bad ones."""

import os
from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path

import pytest
from pydantic import ValidationError
from starlette.testclient import TestClient

from app import Gateway, Settings
from app.settings import complaint
from routes.resources.gateway import SecretObjectReference
from tests.helpers.processes import free_port, process

Setting = Callable[..., Settings]


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Setting:
    """Makes settings in an empty folder, from an environment of nothing but the given ``MOONGATE_…`` variables."""
    for name in [name for name in os.environ if name.startswith("MOONGATE_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)

    def make(**variables: str) -> Settings:
        for name, value in variables.items():
            monkeypatch.setenv(f"MOONGATE_{name.upper()}", value)
        return Settings()

    return make


def test_nothing_has_to_be_set(settings: Setting) -> None:
    found = settings()
    assert found.manifests == ()
    assert found.certificates == ()
    assert found.trusted_proxies == ()
    assert found.admin == "127.0.0.1:9000"
    assert found.access_log == "off"
    assert found.via == ""
    assert found.options().service_dns == "{name}"


def test_a_folder_called_manifests_is_taken_where_nobody_says_where(settings: Setting) -> None:
    Path("manifests").mkdir()
    assert settings().manifests == (Path("manifests"),)


def test_manifests_are_separated_as_in_path(settings: Setting) -> None:
    assert settings(manifests=os.pathsep.join(["/a", "b/c.yaml"])).manifests == (Path("/a"), Path("b/c.yaml"))


def test_empty_entries_of_manifests_are_passed_over(settings: Setting) -> None:
    assert settings(manifests=os.pathsep.join(["", "/a", ""])).manifests == (Path("/a"),)


def test_a_variable_that_is_empty_counts_as_not_set(settings: Setting) -> None:
    found = settings(manifests="", certificates="", trusted_proxies="", admin="", listener="")
    assert (found.manifests, found.certificates, found.trusted_proxies, found.admin, found.listener) == (
        (), (), (), "127.0.0.1:9000", "",
    )  # fmt: skip


def test_certificates_are_the_articles_values_as_json(settings: Setting) -> None:
    found = settings(certificates='[{"group": "core", "kind": "Secret", "name": "mysecret"}]').certificates
    assert found == (SecretObjectReference(group="", kind="Secret", name="mysecret"),)


def test_of_a_certificate_the_name_is_enough(settings: Setting) -> None:
    assert settings(certificates='[{"name": "a"}, {"name": "b"}]').certificates == (
        SecretObjectReference(name="a"),
        SecretObjectReference(name="b"),
    )


def test_certificates_can_be_given_as_arguments() -> None:
    reference = SecretObjectReference(name="mysecret")
    assert Settings(certificates=(reference,)).certificates == (reference,)


def test_trusted_proxies_are_networks_and_addresses_separated_by_commas(settings: Setting) -> None:
    found = settings(trusted_proxies="10.0.0.0/8, 192.0.2.1,fd00::/8").trusted_proxies
    assert found == tuple(map(ip_network, ("10.0.0.0/8", "192.0.2.1/32", "fd00::/8")))


def test_settings_stay_as_they_were_made() -> None:
    with pytest.raises(ValidationError):
        Settings().host = "0.0.0.0"  # type: ignore[misc]


SENTENCES = {
    "access_log": ("xml", "MOONGATE_ACCESS_LOG: Input should be 'off', 'common' or 'json'"),
    "admin": ("nowhere", "MOONGATE_ADMIN: must be host:port or off, not 'nowhere'"),
    "listener": ("web", "MOONGATE_LISTENER: must be namespace/gateway/listener, not 'web'"),
    "via": ("a b", "MOONGATE_VIA: must be one word of letters, digits and -._~ such as moongate, not 'a b'"),
    "dns_refresh": ("0", "MOONGATE_DNS_REFRESH: Input should be greater than 0"),
    "trusted_proxies": (
        "10.0.0.0/8,moon",
        "MOONGATE_TRUSTED_PROXIES: 'moon' does not appear to be an IPv4 or IPv6 network; "
        "write networks such as 10.0.0.0/8, separated by commas",
    ),
}


@pytest.mark.parametrize(("name", "value", "sentence"), [(name, *rest) for name, rest in SENTENCES.items()])
def test_a_bad_value_is_told_with_the_name_of_its_variable(
    settings: Setting, name: str, value: str, sentence: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        settings(**{name: value})
    assert complaint(caught.value) == sentence


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("mysecret", 'is not JSON, such as [{"name": "mysecret"}]: Expecting value: line 1 column 1 (char 0)'),
        ('{"name": "mysecret"}', 'must be a list, such as [{"name": "mysecret"}]'),
        ("null", 'must be a list, such as [{"name": "mysecret"}]'),
    ],
)
def test_certificates_that_are_no_list_are_told_with_an_example(settings: Setting, value: str, sentence: str) -> None:
    with pytest.raises(ValidationError) as caught:
        settings(certificates=value)
    assert complaint(caught.value) == f"MOONGATE_CERTIFICATES: {sentence}"


def test_a_certificate_without_a_name_is_told_with_its_place(settings: Setting) -> None:
    with pytest.raises(ValidationError) as caught:
        settings(certificates='[{"name": "a"}, {"kind": "Secret"}]')
    assert complaint(caught.value) == "MOONGATE_CERTIFICATES[1].name: Field required"


@pytest.mark.parametrize("port", ["65536", "", "-1", "http", "٣"])
def test_the_admin_address_needs_a_port_that_there_is(settings: Setting, port: str) -> None:
    with pytest.raises(ValidationError, match="must be host:port or off"):
        settings(admin=f"127.0.0.1:{port}")


def test_all_bad_values_are_told_at_once(settings: Setting) -> None:
    with pytest.raises(ValidationError) as caught:
        settings(access_log="xml", admin="nowhere")
    assert complaint(caught.value) == "; ".join(SENTENCES[name][1] for name in ("admin", "access_log"))


def test_a_gateway_reads_the_environment_when_it_starts_and_not_before(settings: Setting) -> None:
    gateway = Gateway()
    with pytest.raises(ValidationError):
        settings(access_log="xml")
    with pytest.raises(ValidationError), TestClient(gateway):
        pass


def test_a_bad_value_keeps_uvicorn_from_starting_with_one_sentence() -> None:
    port = free_port()
    arguments = ["uvicorn", "app:gateway", "--port", str(port)]
    with process(arguments, {"MOONGATE_ACCESS_LOG": "xml"}) as running:
        assert running.wait() == 3
        told = [line for line in running.log.splitlines() if line.startswith("ERROR")]
        assert told == [f"ERROR:    {SENTENCES['access_log'][1]}", "ERROR:    Application startup failed. Exiting."]
        assert "Traceback" not in running.log


def test_ports_are_pairs_of_a_listeners_port_and_a_bound_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOONGATE_PORTS", "80=8000, 443=8443")
    assert Settings().ports == {80: 8000, 443: 8443}
    assert Settings(ports={80: 8080}).ports == {80: 8080}


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("8000", "write pairs such as 80=8000,443=8443, not '8000'"),
        ("80:8000", "write pairs such as 80=8000,443=8443, not '80:8000'"),
        ("80=8000,80=8001", "has port 80 twice"),
    ],
)
def test_other_ports_are_refused(value: str, sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOONGATE_PORTS", value)
    with pytest.raises(ValidationError) as caught:
        Settings()
    assert complaint(caught.value) == f"MOONGATE_PORTS: {sentence}"


def test_a_session_key_is_a_secret(settings: Setting) -> None:
    found = settings(session_key="sixteen letters.")
    assert found.session_key.get_secret_value() == "sixteen letters."
    assert "sixteen" not in repr(found)
    assert settings(session_key="").session_key.get_secret_value() == ""


def test_a_session_key_that_can_be_guessed(settings: Setting) -> None:
    with pytest.raises(ValidationError) as caught:
        settings(session_key="hunter2")
    assert complaint(caught.value).startswith("MOONGATE_SESSION_KEY: must be 16 characters or more")
    assert "hunter2" not in complaint(caught.value)
