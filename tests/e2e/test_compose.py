"""docker-compose.yml as it is, with a real engine: the image, Docker's DNS, the mount, the hardening."""

import json
import os
import shutil
import ssl
import subprocess
import time
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import pytest
import trustme


def missing() -> str:
    """Why there is no compose to test with; empty where there is."""
    if shutil.which("docker") is None:
        return "there is no docker command"
    for question, answer in (
        (["info", "--format", "{{.ServerVersion}}"], "no Docker engine answers (docker info)"),
        (["compose", "version"], "docker has no compose"),
    ):
        try:
            asked = subprocess.run(["docker", *question], capture_output=True, timeout=10, check=False)
        except subprocess.TimeoutExpired:
            return answer
        if asked.returncode or not asked.stdout.strip():
            return answer
    return ""


# Asked here, so that it is said once and not by every test.
if reason := missing():
    pytest.skip(reason, allow_module_level=True)

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]

ROOT = Path(__file__).resolve().parents[2]
#: The gateway's `stop_grace_period`, after which Docker kills it.
GRACE = 35

Manifest = dict[str, Any]


class Stack:
    """The compose project under a name that nobody else has, on free ports, with a copy of the manifests."""

    def __init__(self, manifests: Path, authority: trustme.CA) -> None:
        self.manifests = manifests
        self.authority = authority
        self.project = f"moongate-test-{uuid4().hex[:12]}"
        self._environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("MOONGATE_", "COMPOSE_"))
        } | {
            "MOONGATE_HTTP_PORT": "0",  # Docker takes a free one
            "MOONGATE_HTTPS_PORT": "0",
            "MOONGATE_ADMIN_PORT": "0",
            "MOONGATE_MANIFESTS_FOLDER": str(manifests),
            "MOONGATE_CERTIFICATES": json.dumps([{"group": "core", "kind": "Secret", "name": "mysecret"}]),
        }

    def compose(self, *arguments: str) -> str:
        """Run ``docker compose`` on this project alone."""
        command = ["docker", "compose", "--project-name", self.project, "--file", str(ROOT / "docker-compose.yml")]
        done = subprocess.run(
            [*command, *arguments], env=self._environment, text=True, capture_output=True, timeout=500, check=False
        )
        assert done.returncode == 0, f"docker compose {' '.join(arguments)}: {done.stdout}{done.stderr}"
        return done.stdout

    def up(self, *arguments: str) -> None:
        try:
            self.compose("up", "--detach", "--wait", "--wait-timeout", "120", *arguments)
        except AssertionError as error:
            pytest.fail(f"{error}\n{self.compose('logs', '--no-color')}")

    def containers(self, service: str) -> list[str]:
        return self.compose("ps", "--all", "--quiet", "--no-trunc", service).split()

    def inspect(self, service: str) -> Manifest:
        """What the engine says of a service's container, or of its first."""
        described: list[Manifest] = json.loads(docker("inspect", self.containers(service)[0]))
        return described[0]

    def client(self, host: str, *, tls: bool = False) -> httpx2.Client:
        """A client of the published port, which is another one after every start. ``host`` is for Host and SNI."""
        address = self.compose("port", "gateway", "8443" if tls else "8000").strip()
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        return httpx2.Client(
            base_url=f"{'https' if tls else 'http'}://{address}",
            headers={"Host": host},
            verify=context,
            trust_env=False,
            timeout=30,
        )


def docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], text=True, capture_output=True, timeout=60, check=True).stdout


def until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Ask again and again until it is so; fail after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.05)


def get(client: httpx2.Client, path: str) -> httpx2.Response:
    """GET with an SNI that says the same as Host, where it is HTTPS."""
    return client.get(path, extensions={"sni_hostname": client.headers["Host"]})


def name_of(response: httpx2.Response) -> str:
    """The container that a whoami runs in: its host name is the first twelve digits of its id."""
    assert response.status_code == 200, response.text
    return next(line for line in response.text.splitlines() if line.startswith("Hostname: ")).split()[1]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    manifests = tmp_path_factory.mktemp("compose") / "manifests"
    shutil.copytree(ROOT / "deploy" / "compose" / "manifests", manifests)
    authority = trustme.CA()
    leaf = authority.issue_cert("whoami")
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": {"name": "mysecret", "namespace": "default"},
        "data": {
            "tls.crt": b64encode(b"".join(blob.bytes() for blob in leaf.cert_chain_pems)).decode(),
            "tls.key": b64encode(leaf.private_key_pem.bytes()).decode(),
        },
    }
    (manifests / "04-secret.json").write_text(json.dumps(secret))
    # The container's user is not ours.
    for path in (manifests, *manifests.iterdir()):
        path.chmod(0o755 if path.is_dir() else 0o644)

    stack = Stack(manifests, authority)
    try:
        stack.compose("build")
        stack.up()
        yield stack
    finally:
        stack.compose("down", "--volumes", "--rmi", "local", "--timeout", "5")


def test_the_dashboard_is_published_for_this_machine_alone(stack: Stack) -> None:
    address = stack.compose("port", "gateway", "9000").strip()
    assert address.startswith("127.0.0.1:")
    answer = httpx2.get(f"http://{address}/dashboard/", trust_env=False)
    assert (answer.status_code, "Overview" in answer.text) == (200, True)


def test_a_request_reaches_a_backend_and_says_where_it_came_from(stack: Stack) -> None:
    with stack.client("whoami") as client:
        response = get(client, "/foo")
        elsewhere = get(client, "/bar")
    assert response.status_code == 200
    echo = dict(line.split(": ", 1) for line in response.text.splitlines() if ": " in line)
    assert echo["Host"] == echo["X-Forwarded-Host"] == "whoami"
    assert echo["X-Forwarded-Proto"] == "http"
    assert echo["X-Forwarded-For"] == echo["X-Real-Ip"]
    assert elsewhere.status_code == 404


def test_https_has_the_mounted_secrets_certificate(stack: Stack) -> None:
    with stack.client("whoami", tls=True) as client:
        response = get(client, "/foo")
    assert response.status_code == 200
    assert "X-Forwarded-Proto: https" in response.text.splitlines()


def test_every_replica_answers(stack: Stack) -> None:
    replicas = {container[:12] for container in stack.containers("whoami")}
    assert len(replicas) >= 2
    with stack.client("whoami") as client:
        assert {name_of(get(client, "/foo")) for _ in range(100)} == replicas


def test_the_canary_gets_exactly_its_share(stack: Stack) -> None:
    with stack.client("canary") as client:
        answers = [get(client, "/") for _ in range(400)]
    assert {answer.status_code for answer in answers} == {200}
    served = Counter("whoami" if answer.text.startswith("Name: whoami") else "nginx" for answer in answers)
    assert served == {"whoami": 300, "nginx": 100}


def test_a_changed_manifest_is_served_without_a_restart(stack: Stack) -> None:
    route = stack.manifests / "02-route.yaml"
    original = route.read_text()
    before = stack.inspect("gateway")["State"]
    with stack.client("whoami") as client:

        def served(path: str) -> bool:
            return get(client, path).status_code == 200

        route.write_text(original.replace("value: /foo", "value: /bar"))
        until(lambda: served("/bar"), 10, "a file is written")
        assert not served("/foo")

        # As most editors save: another file takes the name.
        other = stack.manifests / "02-route.yaml.new"
        other.write_text(original)
        other.replace(route)
        until(lambda: served("/foo"), 10, "a file is replaced")
        assert not served("/bar")
    after = stack.inspect("gateway")["State"]
    assert (after["Pid"], after["StartedAt"]) == (before["Pid"], before["StartedAt"])


def test_a_replica_more_is_found(stack: Stack) -> None:
    before = stack.containers("whoami")
    stack.up("--no-recreate", "--scale", f"whoami={len(before) + 1}")
    (new,) = set(stack.containers("whoami")) - set(before)
    with stack.client("whoami") as client:
        until(lambda: name_of(get(client, "/foo")) == new[:12], 10, "the new replica gets requests")


@pytest.mark.parametrize("service", ["gateway", "whoami"])
def test_it_runs_with_no_rights(stack: Stack, service: str) -> None:
    question = """if True:
        import json, os
        processes = [
            dict(line.split(":", 1) for line in open(f"/proc/{each}/status"))
            for each in os.listdir("/proc") if each.isdecimal()
        ]
        places = [place for place in ("/", "/tmp", "/etc/moongate/manifests") if os.path.isdir(place)]
        print(json.dumps({
            "users": [one for each in processes for one in (each["Uid"] + each["Gid"]).split()],
            "capabilities": [int(each[of], 16) for each in processes for of in ("CapEff", "CapPrm", "CapBnd")],
            "no new privileges": [int(each["NoNewPrivs"]) for each in processes],
            "writable": [place for place in places if not os.statvfs(place).f_flag & os.ST_RDONLY],
        }))
    """
    answer = json.loads(stack.compose("exec", "-T", service, "python", "-c", question))
    assert set(answer["users"]) == {"65532"}
    assert set(answer["capabilities"]) == {0}
    assert set(answer["no new privileges"]) == {1}
    assert answer["writable"] == []
    # Kubernetes' runAsNonRoot wants a number.
    assert stack.inspect(service)["Config"]["User"] == "65532:65532"


def test_all_is_healthy(stack: Stack) -> None:
    lines = [json.loads(line) for line in stack.compose("ps", "--format", "json").splitlines()]
    found = {(line["Service"], line["State"], line["Health"]) for line in lines}
    assert found == {("gateway", "running", "healthy"), ("whoami", "running", "healthy"), ("nginx", "running", "")}


def test_it_stops_when_told(stack: Stack) -> None:
    with stack.client("whoami") as client:
        get(client, "/foo")  # a connection is kept open
        began = time.monotonic()
        stack.compose("stop", "gateway", "whoami")
        took = time.monotonic() - began
    try:
        states = [json.loads(docker("inspect", each))[0]["State"] for each in stack.containers("gateway")]
        states += [json.loads(docker("inspect", each))[0]["State"] for each in stack.containers("whoami")]
        # 137 is what Docker killed.
        assert {state["ExitCode"] for state in states} <= {0, 143}
        assert took < GRACE
    finally:
        stack.up()


def test_the_image_has_nothing_of_development(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    image = json.loads(docker("image", "inspect", stack.inspect("gateway")["Image"]))[0]
    with capsys.disabled():
        print(f"\nThe image has {image['Size'] / 1e6:.0f} MB.")
    listed = "from importlib.metadata import distributions as d; print(*(each.name.lower() for each in d()))"
    installed = stack.compose("exec", "-T", "gateway", "python", "-c", listed).split()
    assert {"moongate", "uvloop"} <= set(installed)
    assert not {"pytest", "mypy", "ruff", "hatchling", "fastapi", "pip"} & set(installed)
