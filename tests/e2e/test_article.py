"""The article, step by step, over real sockets: its own manifests, and the same routes written in v1."""

import json
import os
import socket
import ssl
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.conftest import Backends
from tests.helpers.client import Answer, Connection, ask, insecure, shown_certificate
from tests.helpers.manifests import endpoint_slices, gateway_object, http_listener, https_listener, write
from tests.helpers.processes import Process, free_port, gateway
from tests.helpers.waiting import wait_until

HERE = Path(__file__).parent
SEED = HERE / "seed"
#: Where the routes are, by the API version they are written in; all other files are the article's in any case.
ROUTES = {"v1alpha1": SEED, "v1": HERE / "v1"}

WHOAMI, ROUTE, PATHS, SECRET = "01-whoami", "02-whoami-httproute", "03-whoami-httproute-paths", "04-tls-dummy-cert"
NGINX, NGINX_AS_PRINTED, CANARY = "06-nginx", "06-nginx.as-printed", "07-whoami-nginx-canary"


class Story:
    """A running gateway and the folder that it serves, in which one step of the article follows another."""

    def __init__(self, folder: Path, version: str, backends: Backends) -> None:
        self.folder = folder
        self.version = version
        self._backends = backends
        self._turn = 0
        self.process: Process

    @property
    def manifests(self) -> Path:
        """The present step's folder; a link, so that a step takes the place of the one before at once."""
        return self.folder / "manifests"

    def lay(self, *names: str) -> None:
        """Let the manifests be the files called ``names``, byte for byte, and the addresses of the backends."""
        self._turn += 1
        step = self.folder / f"step-{self._turn}"
        step.mkdir()
        for name in names:
            own = ROUTES[self.version] / f"{name}.yaml"
            source = own if own.exists() else SEED / own.name
            (step / own.name).write_bytes(source.read_bytes())
        addresses = endpoint_slices("whoami", *self._backends.whoami)
        if NGINX in names:
            addresses += endpoint_slices("nginx", self._backends.nginx)
        write(step / "endpoints.yaml", *addresses)
        link = self.folder / "next"
        link.symlink_to(step)
        os.replace(link, self.manifests)

    def ask(self, path: str = "/", host: str = "whoami") -> Answer:
        return ask(self.process.port, path, host)

    def until(self, path: str, status: int) -> None:
        wait_until(lambda: self.ask(path).status == status, what=f"{path} is answered {status}")


@pytest.fixture(scope="module", params=ROUTES)
def story(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, backends: Backends
) -> Iterator[Story]:
    """The article on ``uvicorn app:gateway`` and the Gateway that is there without being written."""
    story = Story(tmp_path_factory.mktemp("article"), request.param, backends)
    story.lay(WHOAMI, ROUTE)
    with gateway(story.manifests) as running:
        story.process = running
        yield story


def shares(story: Story, requests: int) -> Counter[str]:
    """Who answers ``requests`` requests on one connection: names of backends, or the status where it is not 200."""
    with Connection(story.process.port) as connection:
        answers = [connection.ask() for _ in range(requests)]
    return Counter(
        (answer.name.rpartition("-")[0] or answer.name) if answer.status == 200 else str(answer.status)
        for answer in answers
    )


def names_on(port: int, path: str, tls: ssl.SSLContext | None = None) -> set[str]:
    """Who answers 64 requests; that one of two is never chosen among them is as likely as 1 in 2⁶³."""
    with Connection(port, tls=tls) as connection:
        return {connection.ask(path).name for _ in range(64)}


# 01 and 02: a Service and its route


def test_the_routes_host_and_path_reach_the_backend(story: Story) -> None:
    story.lay(WHOAMI, ROUTE)
    story.until("/", 200)
    assert story.ask("/").text.startswith("Name: whoami-")


def test_the_backend_gets_the_forwarded_headers(story: Story) -> None:
    story.lay(WHOAMI, ROUTE)
    story.until("/", 200)
    assert story.ask("/").echo == {
        "Host": "whoami",
        "X-Forwarded-For": "127.0.0.1",
        "X-Forwarded-Host": "whoami",
        "X-Forwarded-Port": "80",
        "X-Forwarded-Proto": "http",
        "X-Forwarded-Server": socket.gethostname(),
        "X-Real-Ip": "127.0.0.1",
    }


def test_both_replicas_answer(story: Story) -> None:
    story.lay(WHOAMI, ROUTE)
    story.until("/", 200)
    assert names_on(story.process.port, "/") == {"whoami-1", "whoami-2"}


@pytest.mark.parametrize(("path", "host"), [("/foo", "whoami"), ("/", "whoami.example"), ("/", "127.0.0.1")])
def test_any_other_path_or_host_is_answered_404(story: Story, path: str, host: str) -> None:
    story.lay(WHOAMI, ROUTE)
    story.until("/", 200)
    assert story.ask(path, host).status == 404


# 03: the route's new path


def test_a_new_path_takes_the_place_of_the_old_one(story: Story) -> None:
    story.lay(WHOAMI, PATHS)
    story.until("/foo", 200)
    assert story.ask("/").status == 404


@pytest.mark.parametrize("path", ["/foo/", "/foobar", "/foo/bar", "/FOO"])
def test_an_exact_path_takes_no_other(story: Story, path: str) -> None:
    story.lay(WHOAMI, PATHS)
    story.until("/foo", 200)
    assert story.ask(path).status == 404


# 06 and 07: the canary


def test_the_canary_gets_exactly_every_fourth_request(story: Story) -> None:
    story.lay(WHOAMI, NGINX, CANARY)
    wait_until(lambda: shares(story, 4) == {"whoami": 3, "nginx": 1}, what="the canary is served")
    assert shares(story, 400) == {"whoami": 300, "nginx": 100}


def test_06_as_printed_costs_only_the_share_of_the_service_that_it_fails_to_define(story: Story) -> None:
    story.lay(WHOAMI, NGINX_AS_PRINTED, CANARY)
    wait_until(lambda: shares(story, 4) == {"whoami": 3, "500": 1}, what="06 as printed is served")
    assert shares(story, 400) == {"whoami": 300, "500": 100}


def test_the_conflict_of_06_as_printed_is_reported_with_both_places(story: Story) -> None:
    story.lay(WHOAMI, NGINX_AS_PRINTED, CANARY)
    story.process.wait_for(
        r"ERROR: .*/06-nginx\.as-printed\.yaml:25: error: Service default/whoami: is defined in "
        r".*/01-whoami\.yaml:25 already: this definition is passed over"
    )


def test_the_service_that_06_as_printed_never_defines_is_reported_where_the_route_names_it(story: Story) -> None:
    story.lay(WHOAMI, NGINX_AS_PRINTED, CANARY)
    line, refs = {"v1alpha1": (18, "forwardTo"), "v1": (17, "backendRefs")}[story.version]
    story.process.wait_for(
        rf"ERROR: .*/07-whoami-nginx-canary\.yaml:{line}: error: "
        rf"HTTPRoute default/http-app-1 spec\.rules\[0\]\.{refs}\[1\]: "
        r"BackendNotFound: Service default/nginx does not exist; its share of the requests is answered 500"
    )


# 04 and 05: TLS


def the_articles_certificates() -> list[dict[str, str]]:
    values: Any = yaml.safe_load((SEED / "05-values.yaml").read_text())
    certificates: list[dict[str, str]] = values["experimental"]["kubernetesGateway"]["certificates"]
    return certificates


def the_articles_certificate() -> bytes:
    """The Secret's certificate, as DER."""
    manifest = yaml.safe_load((SEED / f"{SECRET}.yaml").read_text())
    return ssl.PEM_cert_to_DER_cert(yaml.safe_load(f"!!binary {manifest['data']['tls.crt']}").decode())


def own_gateway(version: str, http: int, https: int) -> dict[str, Any]:
    """A Gateway as the article's Helm chart makes it, on ports of its own."""
    if version == "v1":
        return gateway_object("moongate", http_listener(http), https_listener(https, "mysecret"))
    routes = {"kind": "HTTPRoute", "selector": {"matchLabels": {"app": "traefik"}}}
    tls = {"certificateRef": the_articles_certificates()[0]}
    return {
        "apiVersion": "networking.x-k8s.io/v1alpha1",
        "kind": "Gateway",
        "metadata": {"name": "moongate"},
        "spec": {
            "gatewayClassName": "moongate",
            "listeners": [
                {"port": http, "protocol": "HTTP", "routes": routes},
                {"port": https, "protocol": "HTTPS", "routes": routes, "tls": tls},
            ],
        },
    }


def can_be_opened(port: int) -> bool:
    with socket.socket() as probe, suppress(OSError):
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))
        return True
    return False


@pytest.fixture(
    scope="module", params=[(version, place) for version in ROUTES for place in ("own", "default")], ids="-".join
)
def https(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, backends: Backends
) -> Iterator[tuple[Story, int]]:
    """The article with TLS, and its HTTPS port: of a Gateway of our own, or 8443 of the default one."""
    version, place = request.param
    story = Story(tmp_path_factory.mktemp("https"), version, backends)
    story.lay(WHOAMI, PATHS, SECRET)
    if place == "own":
        http, port = free_port(), free_port()
        write(story.manifests / "gateway.yaml", own_gateway(version, http, port))
        settings = {}
    else:
        http, port = free_port(), 8443
        wait_until(lambda: can_be_opened(port), seconds=45, what=f"port {port} is free")
        settings = {"certificates": json.dumps(the_articles_certificates())}
    with gateway(story.manifests, port=http, **settings) as running:
        story.process = running
        wait_until(lambda: f"listening on 127.0.0.1:{port}, HTTPS" in running.log)
        yield story, port


@pytest.mark.parametrize("server_name", ["localhost", "whoami", "anything.example", None])
def test_every_handshake_gets_the_secrets_certificate(https: tuple[Story, int], server_name: str | None) -> None:
    assert shown_certificate(https[1], server_name) == the_articles_certificate()


def test_a_certificate_that_has_expired_is_served_with_a_warning(https: tuple[Story, int]) -> None:
    https[0].process.wait_for(r"WARNING: +Secret default/mysecret: the certificate has expired on 2023-03-04")


def test_a_request_over_https_says_so_to_the_backend(https: tuple[Story, int]) -> None:
    answer = ask(https[1], "/foo", "whoami", tls=insecure(), server_name="localhost")
    assert answer.status == 200
    assert answer.echo["X-Forwarded-Proto"] == "https"
    assert answer.echo["X-Forwarded-Port"] == "443"


def test_the_port_that_the_client_names_is_the_one_the_backend_is_told(https: tuple[Story, int]) -> None:
    answer = ask(https[1], "/foo", f"whoami:{https[1]}", tls=insecure())
    assert answer.echo["X-Forwarded-Port"] == str(https[1])


def test_https_serves_the_same_paths_as_http(https: tuple[Story, int]) -> None:
    story, port = https
    for path, status in {"/foo": 200, "/": 404, "/foo/": 404}.items():
        assert ask(port, path, tls=insecure()).status == story.ask(path).status == status


def test_both_replicas_answer_over_https(https: tuple[Story, int]) -> None:
    assert names_on(https[1], "/foo", tls=insecure()) == {"whoami-1", "whoami-2"}
