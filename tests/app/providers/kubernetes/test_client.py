"""Requests to an API server, over sockets, with every way to be someone there."""

import asyncio
import base64
import json
import logging
import ssl
import sys
import textwrap
from collections.abc import Callable, Coroutine
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
import trustme
import yaml

from app.providers.kubernetes import client as module
from app.providers.kubernetes import credentials
from app.providers.kubernetes.api import ApiError
from app.providers.kubernetes.client import Client
from app.providers.kubernetes.credentials import ConfigurationError, Credentials
from tests.helpers.apikinds import Object
from tests.helpers.apiserver import ApiServer
from tests.helpers.upstreams import head_of, speaking

SERVICES = "/api/v1/namespaces/default/services"
SECRETS = "/api/v1/namespaces/default/secrets"
GATEWAYS = "/apis/gateway.networking.k8s.io/v1/namespaces/default/gateways"

Use = Callable[[ApiServer, Client], Coroutine[Any, Any, None]]


def secret(name: str, **more: Any) -> Object:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, **more}


def gateway(name: str, **more: Any) -> Object:
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "Gateway",
        "metadata": {"name": name},
        "spec": {"gatewayClassName": "moongate", "listeners": []},
        **more,
    }


def plain(url: str, **more: Any) -> Credentials:
    return Credentials(url, "default", ssl.create_default_context(), None, **more)


def with_server(use: Use) -> None:
    async def main() -> None:
        async with ApiServer() as server, Client(plain(server.url)) as client:
            await use(server, client)

    asyncio.run(main())


async def refused(asked: Coroutine[Any, Any, Any]) -> ApiError:
    with pytest.raises(ApiError) as raised:
        await asked
    return raised.value


# Objects


def test_an_object_is_made_read_replaced_and_deleted() -> None:
    async def use(server: ApiServer, client: Client) -> None:
        made = await client.create(SECRETS, secret("a", data={"x": "MQ=="}))
        assert made["metadata"]["uid"]
        assert await client.get(f"{SECRETS}/a") == made
        replaced = await client.replace(f"{SECRETS}/a", {**made, "data": {"x": "Mg=="}})
        assert replaced["data"] == {"x": "Mg=="}
        assert replaced["metadata"]["resourceVersion"] != made["metadata"]["resourceVersion"]
        await client.delete(f"{SECRETS}/a")
        assert (await refused(client.get(f"{SECRETS}/a"))).status == 404

    with_server(use)


def test_deleting_what_is_not_there_is_no_error() -> None:
    async def use(server: ApiServer, client: Client) -> None:
        await client.delete(f"{SECRETS}/never")

    with_server(use)


def test_a_status_is_merged_through_its_subresource() -> None:
    async def use(server: ApiServer, client: Client) -> None:
        server.put(gateway("web"))
        merged = await client.merge(f"{GATEWAYS}/web/status", {"status": {"addresses": [{"value": "192.0.2.1"}]}})
        assert merged["status"] == {"addresses": [{"value": "192.0.2.1"}]}
        assert server.writes[-1].headers["content-type"] == "application/merge-patch+json"

    with_server(use)


def test_an_apply_is_forced_and_says_whose_it_is() -> None:
    async def use(server: ApiServer, client: Client) -> None:
        made = await client.apply(f"{SECRETS}/a", secret("a", data={"x": "MQ=="}))
        assert made["data"] == {"x": "MQ=="}
        assert server.writes[-1].query == {"fieldManager": "moongate", "force": "true"}

    with_server(use)


def test_a_refusal_has_the_servers_words() -> None:
    async def use(server: ApiServer, client: Client) -> None:
        error = await refused(client.get(f"{SECRETS}/a"))
        assert (error.status, error.reason, error.message) == (404, "NotFound", 'secrets "a" not found')
        server.put(secret("a"))
        error = await refused(client.create(SECRETS, secret("a")))
        assert (error.status, error.reason) == (409, "AlreadyExists")
        stale = secret("a") | {"metadata": {"name": "a", "resourceVersion": "1"}}
        error = await refused(client.replace(f"{SECRETS}/a", stale))
        assert (error.status, error.reason) == (409, "Conflict")
        server.forbid("secrets")
        error = await refused(client.get(f"{SECRETS}/a"))
        assert (error.status, error.reason) == (403, "Forbidden")
        assert 'cannot get resource "secrets"' in error.message

    with_server(use)


def test_how_long_to_wait_is_in_a_refusal() -> None:
    async def use(server: ApiServer, client: Client) -> None:
        server.answer_next(429, "TooManyRequests", "too many requests", retry_after=7)
        error = await refused(client.get(f"{SECRETS}/a"))
        assert (error.status, error.reason, error.retry_after) == (429, "TooManyRequests", 7.0)

    with_server(use)


def test_the_request_says_who_asks() -> None:
    async def use(server: ApiServer, client: Client) -> None:
        await client.get("/version")
        assert server.requests[-1].headers["user-agent"].startswith("moongate/")

    with_server(use)


def test_a_server_that_is_not_there_is_status_0_and_one_that_comes_back_is_asked() -> None:
    async def use(server: ApiServer, client: Client) -> None:
        await client.get("/version")  # leaves a connection, which is of no use afterwards
        await server.stop()
        error = await refused(client.get("/version"))
        assert (error.status, error.reason) == (0, "Unreachable")
        await server.start()
        assert await client.get("/version")

    with_server(use)


def test_an_answer_that_does_not_come_is_status_0(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_READ", 0.01)

    async def use(server: ApiServer, client: Client) -> None:
        server.hold()
        error = await refused(client.get("/version"))
        assert (error.status, error.reason) == (0, "Timeout")

    with_server(use)


@pytest.mark.parametrize(
    ("answer", "status", "message"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n<ht>", 0, "/version: the answer is not JSON"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]", 0, "/version: the answer is no object"),
        (b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 10\r\n\r\n no\n route", 502, "no route"),
        (b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n", 503, "Service Unavailable"),
        (b"HTTP/1.1 302 Found\r\nlocation: http://192.0.2.1/\r\ncontent-length: 0\r\n\r\n", 302, "Found"),
        (b"HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\n[]", 403, "[]"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{", 0, None),
        (b"what is this\r\n\r\n", 0, None),
        (b"", 0, None),
    ],
)
def test_whatever_is_answered_ends_as_an_api_error(answer: bytes, status: int, message: str | None) -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        writer.write(answer)
        await writer.drain()

    async def main(port: int) -> None:
        async with Client(plain(f"http://127.0.0.1:{port}")) as client:
            error = await refused(client.get("/version"))
        assert error.status == status
        assert error.message == message or message is None
        assert error.message

    with speaking(speak) as port:
        asyncio.run(main(port))


# Collections


def test_a_collection_comes_in_pages_of_one_version() -> None:
    async def use(server: ApiServer, client: Client) -> None:
        for number in range(5):
            server.put(secret(f"s{number}"))
        pages = []
        async with aclosing(client.list("/api/v1/secrets", {"limit": "2"})) as found:
            async for page in found:
                pages.append(page)
                server.put(secret("later"))
        assert [[item["metadata"]["name"] for item in page["items"]] for page in pages] == [
            ["s0", "s1"],
            ["s2", "s3"],
            ["s4"],
        ]
        assert len({page["metadata"]["resourceVersion"] for page in pages}) == 1

    with_server(use)


def test_a_page_has_500_objects_by_default_and_selectors_are_sent_with_each() -> None:
    async def use(server: ApiServer, client: Client) -> None:
        for number in range(501):
            server.put(secret(f"s{number}", type="kubernetes.io/tls"))
        selected = {"fieldSelector": "type=kubernetes.io/tls"}
        pages = [page async for page in client.list("/api/v1/secrets", selected)]
        assert [len(page["items"]) for page in pages] == [500, 1]
        assert [each.query["fieldSelector"] for each in server.requests] == ["type=kubernetes.io/tls"] * 2

    with_server(use)


def test_a_list_whose_version_is_forgotten_between_pages_is_refused() -> None:
    async def use(server: ApiServer, client: Client) -> None:
        for number in range(3):
            server.put(secret(f"s{number}"))
        async with aclosing(client.list("/api/v1/secrets", {"limit": "2"})) as pages:
            await anext(pages)
            server.compact()
            with pytest.raises(ApiError) as raised:
                await anext(pages)
        assert (raised.value.status, raised.value.reason) == (410, "Expired")
        assert [len(page["items"]) async for page in client.list("/api/v1/secrets", {"limit": "0"})] == [3]

    with_server(use)


def test_metadata_alone_can_be_asked_for() -> None:
    async def use(server: ApiServer, client: Client) -> None:
        server.put(secret("s", data={"password": "c2VjcmV0"}))
        [page] = [page async for page in client.list("/api/v1/secrets", metadata_only=True)]
        assert page["items"][0]["metadata"]["name"] == "s"
        assert "data" not in page["items"][0]
        async with aclosing(client.watch("/api/v1/secrets", metadata_only=True)) as lines:
            assert await anext(lines) == b""
            assert "data" not in json.loads(await anext(lines))["object"]

    with_server(use)


# Watches


def test_a_watch_is_an_empty_line_and_then_events_until_the_server_ends_it() -> None:
    async def use(server: ApiServer, client: Client) -> None:
        version = str(server.store.version)
        async with aclosing(client.watch("/api/v1/secrets", {"resourceVersion": version})) as lines:
            assert await anext(lines) == b""
            server.put(secret("a"))
            server.delete(secret("a"))
            server.end_watches()
            assert [json.loads(line)["type"] async for line in lines] == ["ADDED", "DELETED"]
        assert 300 <= int(server.found("WATCH")[0].query["timeoutSeconds"]) <= 600

    with_server(use)


def test_a_watch_that_breaks_is_status_0() -> None:
    async def use(server: ApiServer, client: Client) -> None:
        async with aclosing(client.watch("/api/v1/secrets")) as lines:
            assert await anext(lines) == b""
            server.cut_watches()
            assert (await refused(anext(lines))).status == 0

    with_server(use)


def test_a_silent_watch_is_status_0(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SILENCE", 0.01)

    async def use(server: ApiServer, client: Client) -> None:
        async with aclosing(client.watch("/api/v1/secrets")) as lines:
            assert await anext(lines) == b""
            error = await refused(anext(lines))
            assert (error.status, error.reason) == (0, "Timeout")

    with_server(use)


def test_a_watch_from_a_version_that_is_gone_is_refused_or_ends_with_an_event() -> None:
    async def use(server: ApiServer, client: Client) -> None:
        server.compact()
        async with aclosing(client.watch("/api/v1/secrets", {"resourceVersion": "1"})) as lines:
            assert await anext(lines) == b""
            assert json.loads(await anext(lines))["object"]["code"] == 410
        server.gone_as_status = True
        async with aclosing(client.watch("/api/v1/secrets", {"resourceVersion": "1"})) as lines:
            assert (await refused(anext(lines))).status == 410

    with_server(use)


def test_leaving_a_watch_closes_its_connection() -> None:
    async def use(server: ApiServer, client: Client) -> None:
        async with aclosing(client.watch("/api/v1/secrets")) as lines:
            await anext(lines)
            assert server.watching() == 1
        await server.until(lambda: not server.watching())

    with_server(use)


def lines_of(stream: bytes, size: int) -> list[bytes]:
    """The lines of a watch whose answer comes in chunks of ``size`` bytes."""

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        for start in range(0, len(stream), size):
            piece = stream[start : start + size]
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            await writer.drain()
        writer.write(b"0\r\n\r\n")
        await writer.drain()

    async def main(port: int) -> list[bytes]:
        async with Client(plain(f"http://127.0.0.1:{port}")) as client:
            return [line async for line in client.watch("/api/v1/secrets")]

    with speaking(speak) as port:
        return asyncio.run(main(port))


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 9, 1000])
def test_lines_come_whole_however_they_are_cut(size: int) -> None:
    assert lines_of(b'{"a":1}\n{"b":22}\n\n{"c":333}\n', size) == [b"", b'{"a":1}', b'{"b":22}', b'{"c":333}']


@pytest.mark.parametrize("size", [1, 1000])
def test_half_a_line_at_the_end_is_none(size: int) -> None:
    assert lines_of(b'{"a":1}\n{"b":', size) == [b"", b'{"a":1}']


def test_a_line_without_end_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LINE", 100)
    assert len(lines_of(b"x" * 100 + b"\n", 10)) == 2
    with pytest.raises(ApiError, match="an event of more than 100 bytes"):
        lines_of(b"x" * 200, 10)


# Who we are


async def identified(server: ApiServer) -> ApiError | None:
    """What becomes of a request with the environment's credentials."""
    async with Client.from_environment() as client:
        try:
            await client.get("/version")
        except ApiError as error:
            return error
    return None


@pytest.fixture(autouse=True)
def _no_configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("KUBECONFIG", "HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


def test_the_kubeconfig_says_where_and_in_which_namespace(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async def main() -> None:
        async with ApiServer() as server:
            path = server.kubeconfig(tmp_path / "config", user={"token": "t0p"}, namespace="infra")
            monkeypatch.setenv("KUBECONFIG", str(path))
            server.tokens = {"t0p"}
            async with Client.from_environment() as client:
                assert client.namespace == "infra"
                await client.get("/version")

    asyncio.run(main())


def test_an_unknown_token_is_refused_and_not_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    async def main() -> None:
        async with ApiServer() as server:
            path = server.kubeconfig(tmp_path / "config", user={"token": "hush-hush"})
            monkeypatch.setenv("KUBECONFIG", str(path))
            server.tokens = {"another"}
            error = await identified(server)
            assert error is not None
            assert (error.status, error.message) == (401, "Unauthorized")

    asyncio.run(main())
    assert "hush-hush" not in caplog.text


class Account:
    """The folder of a pod's service account."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, server: ApiServer, authority: trustme.CA) -> None:
        self.folder = folder
        (folder / "namespace").write_text("moongate-system\n")
        (folder / "token").write_text("first\n")
        authority.cert_pem.write_to_path(str(folder / "ca.crt"))
        monkeypatch.setattr(
            "lightkube.config.kubeconfig.KubeConfig.from_service_account.__func__.__defaults__", (str(folder),)
        )
        monkeypatch.setattr(
            "lightkube.config.kubeconfig.KubeConfig.from_env.__func__.__defaults__",
            (str(folder), "~/.kube/config"),
        )
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(server.port))

    def rotate(self, token: str) -> None:
        (self.folder / "token").write_text(token)


def secure(*names: str) -> tuple[trustme.CA, ssl.SSLContext]:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return authority, context


def test_in_a_pod_the_service_account_is_used_and_a_rotated_token_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")  # is for the way out of the cluster

    async def main() -> None:
        authority, context = secure("127.0.0.1")
        async with ApiServer(context=context) as server:
            account = Account(tmp_path, monkeypatch, server, authority)
            server.tokens = {"first"}
            async with Client.from_environment() as client:
                assert client.namespace == "moongate-system"
                await client.get("/version")
                account.rotate("second\n")
                await client.get("/version")
                assert server.count() == 2  # the first token is good still, and the file is not read each time
                server.tokens = {"second"}
                await client.get("/version")
                assert [each.headers["authorization"] for each in server.requests] == [
                    *["Bearer first"] * 3,
                    "Bearer second",
                ]
                server.tokens = {"third"}
                error = await refused(client.get("/version"))
                assert (error.status, error.reason) == (401, "Unauthorized")
                account.rotate("third")
                async with aclosing(client.watch("/api/v1/secrets")) as lines:
                    assert await anext(lines) == b""

    asyncio.run(main())


def test_a_token_file_is_read_again_every_minute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    now = 1000.0
    monkeypatch.setattr(credentials, "monotonic", lambda: now)

    async def main() -> None:
        nonlocal now
        async with ApiServer() as server:
            (tmp_path / "token").write_text("first")
            path = server.kubeconfig(tmp_path / "config", user={"tokenFile": "token"})
            monkeypatch.setenv("KUBECONFIG", str(path))
            async with Client.from_environment() as client:
                await client.get("/version")
                (tmp_path / "token").write_text("second")
                now += 59
                await client.get("/version")
                now += 1
                await client.get("/version")
            tokens = [each.headers["authorization"] for each in server.requests]
            assert tokens == ["Bearer first", "Bearer first", "Bearer second"]

    asyncio.run(main())


def test_a_token_file_that_is_gone_is_an_error_until_it_is_back(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def main() -> None:
        async with ApiServer() as server:
            path = server.kubeconfig(tmp_path / "config", user={"tokenFile": "token"})
            monkeypatch.setenv("KUBECONFIG", str(path))
            async with Client.from_environment() as client:
                error = await refused(client.get("/version"))
                assert (error.status, error.reason) == (0, "Credentials")
                assert "token cannot be read" in error.message
                (tmp_path / "token").write_text("first")
                await client.get("/version")

    asyncio.run(main())


def plugin(folder: Path, script: str, **more: Any) -> Object:
    """A user of an exec plugin, whose script notes that it ran."""
    path = folder / "plugin.py"
    path.write_text(f"import json, os, sys\nopen({str(folder / 'runs')!r}, 'a').write('x')\n{textwrap.dedent(script)}")
    return {
        "exec": {
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": sys.executable,
            "args": ["-S", str(path)],
            "env": [{"name": "PLUGIN_SAYS", "value": "t0p"}],
            "interactiveMode": "Never",
            **more,
        }
    }


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
def test_an_exec_plugin_gives_the_token_in_the_version_that_it_is_asked_in(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, version: str
) -> None:
    script = """
        asked = json.loads(os.environ["KUBERNETES_EXEC_INFO"])
        assert asked["kind"] == "ExecCredential" and asked["spec"] == {"interactive": False}
        print(json.dumps({**asked, "status": {"token": os.environ["PLUGIN_SAYS"] + asked["apiVersion"][-2:]}}))
        """

    async def main() -> None:
        async with ApiServer() as server:
            user = plugin(tmp_path, script, apiVersion=f"client.authentication.k8s.io/{version}")
            monkeypatch.setenv("KUBECONFIG", str(server.kubeconfig(tmp_path / "config", user=user)))
            server.tokens = {f"t0p{version[-2:]}"}
            assert await identified(server) is None

    asyncio.run(main())


def test_an_exec_plugin_that_wants_to_know_is_told_the_cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = """
        cluster = json.loads(os.environ["KUBERNETES_EXEC_INFO"])["spec"]["cluster"]
        print(json.dumps({"status": {"token": cluster["server"]}}))
        """

    async def main() -> None:
        async with ApiServer() as server:
            user = plugin(tmp_path, script, provideClusterInfo=True)
            monkeypatch.setenv("KUBECONFIG", str(server.kubeconfig(tmp_path / "config", user=user)))
            server.tokens = {server.url}
            assert await identified(server) is None

    asyncio.run(main())


def test_an_exec_plugin_runs_once_for_all_that_wait_and_again_when_its_token_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    script = f"""
        print(json.dumps({{"status": {{"token": "t" + str(os.path.getsize({str(tmp_path / "runs")!r}))}}}}))
        """

    async def main() -> None:
        async with ApiServer() as server:
            user = plugin(tmp_path, script)
            monkeypatch.setenv("KUBECONFIG", str(server.kubeconfig(tmp_path / "config", user=user)))
            server.tokens = {"t1"}
            async with Client.from_environment() as client:
                await asyncio.gather(*(client.get("/version") for _ in range(5)))
                assert (tmp_path / "runs").read_text() == "x"
                server.tokens = {"t2"}
                await asyncio.gather(*(client.get("/version") for _ in range(5)))
                assert (tmp_path / "runs").read_text() == "xx"

    asyncio.run(main())


def test_a_plugins_token_is_replaced_when_it_ends(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    now = 1000.0
    monkeypatch.setattr(credentials, "monotonic", lambda: now)
    monkeypatch.setattr(credentials, "time", lambda: 1767225600.0)  # 2026-01-01T00:00:00Z
    script = """
        print(json.dumps({"status": {"token": "t0p", "expirationTimestamp": "2026-01-01T00:05:00Z"}}))
        """

    async def main() -> None:
        nonlocal now
        async with ApiServer() as server:
            user = plugin(tmp_path, script)
            monkeypatch.setenv("KUBECONFIG", str(server.kubeconfig(tmp_path / "config", user=user)))
            async with Client.from_environment() as client:
                await client.get("/version")
                now += 289
                await client.get("/version")
                assert (tmp_path / "runs").read_text() == "x"
                now += 1
                await client.get("/version")
                assert (tmp_path / "runs").read_text() == "xx"

    asyncio.run(main())


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("sys.exit('log in first')", "failed (1): log in first"),
        ("print('no json, but s3cret')", "gave no token: JSONDecodeError"),
        ("print(json.dumps({'status': {'clientKeyData': 's3cret'}}))", "gave no token: KeyError"),
        ("print(json.dumps(['s3cret']))", "gave no token: TypeError"),
    ],
)
def test_an_exec_plugin_that_fails_is_named_and_its_answer_is_not_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str, told: str
) -> None:
    async def main() -> None:
        async with ApiServer() as server:
            user = plugin(tmp_path, script)
            monkeypatch.setenv("KUBECONFIG", str(server.kubeconfig(tmp_path / "config", user=user)))
            error = await identified(server)
            assert error is not None
            assert (error.status, error.reason) == (0, "Credentials")
            assert error.message == f"{sys.executable} {told}"
            assert not server.requests

    asyncio.run(main())


def test_an_exec_plugin_that_is_not_there_or_does_not_end_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(credentials, "_PLUGIN_TIMEOUT", 0.01)

    async def main() -> None:
        async with ApiServer() as server:
            user = plugin(tmp_path, "", command="./not-there")
            monkeypatch.setenv("KUBECONFIG", str(server.kubeconfig(tmp_path / "config", user=user)))
            error = await identified(server)
            assert error is not None
            assert error.message == f"{tmp_path / 'not-there'} cannot be run: No such file or directory"
            user = plugin(tmp_path, "sys.stdin.read(); import time; time.sleep(60)")
            monkeypatch.setenv("KUBECONFIG", str(server.kubeconfig(tmp_path / "config", user=user)))
            error = await identified(server)
            assert error is not None
            assert error.message.endswith("gave no token in 0.01 s")

    asyncio.run(main())


@pytest.mark.parametrize("inline", [False, True], ids=["files", "data"])
def test_a_client_certificate_and_the_name_that_the_servers_is_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, inline: bool
) -> None:
    authority, context = secure("kubernetes.default.svc")
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    ours = authority.issue_cert("us@example.org")
    parts = {
        "certificate-authority": authority.cert_pem.bytes(),
        "client-certificate": ours.cert_chain_pems[0].bytes(),
        "client-key": ours.private_key_pem.bytes(),
    }
    if inline:
        given = {f"{name}-data": base64.b64encode(content).decode() for name, content in parts.items()}
    else:
        for name, content in parts.items():
            (tmp_path / f"{name}.pem").write_bytes(content)
        given = {name: f"{name}.pem" for name in parts}
    user = {name: value for name, value in given.items() if name.startswith("client")}
    cluster = {name: value for name, value in given.items() if name.startswith("certificate")}

    async def main() -> None:
        async with ApiServer(context=context) as server:
            named = {**cluster, "tls-server-name": "kubernetes.default.svc"}
            path = server.kubeconfig(tmp_path / "config", user=user, cluster=named)
            monkeypatch.setenv("KUBECONFIG", str(path))
            assert await identified(server) is None
            server.kubeconfig(path, user=user, cluster=cluster)
            error = await identified(server)
            assert error is not None
            assert "CERTIFICATE_VERIFY_FAILED" in error.message
            server.kubeconfig(path, cluster=named)
            error = await identified(server)
            assert error is not None
            assert error.status == 0

    asyncio.run(main())


def test_an_unknown_authority_is_refused_unless_that_is_said_to_be_fine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def main() -> None:
        async with ApiServer(context=secure("127.0.0.1")[1]) as server:
            path = server.kubeconfig(tmp_path / "config")
            monkeypatch.setenv("KUBECONFIG", str(path))
            error = await identified(server)
            assert error is not None
            assert "CERTIFICATE_VERIFY_FAILED" in error.message
            server.kubeconfig(path, cluster={"insecure-skip-tls-verify": True})
            assert await identified(server) is None

    asyncio.run(main())


def test_a_kubeconfigs_cluster_is_reached_through_its_proxy_or_the_environments(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    heads = []

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append((await head_of(reader)).partition(b"\r\n")[0])
        writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}")
        await writer.drain()

    async def main(proxy: str) -> None:
        async with ApiServer() as server:
            path = server.kubeconfig(
                tmp_path / "config", cluster={"server": "http://cluster.example", "proxy-url": proxy}
            )
            monkeypatch.setenv("KUBECONFIG", str(path))
            assert await identified(server) is None
            server.kubeconfig(path, cluster={"server": "http://cluster.example"})
            monkeypatch.setenv("http_proxy", proxy)
            assert await identified(server) is None
            server.kubeconfig(path)
            monkeypatch.setenv("no_proxy", "127.0.0.1")
            assert await identified(server) is None
            assert server.count() == 1

    with speaking(speak) as port:
        asyncio.run(main(f"http://127.0.0.1:{port}"))
    assert heads == [b"GET http://cluster.example/version HTTP/1.1"] * 2


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "no way into a cluster: Configuration file"),
        ("a: [s3cret", "the kubeconfig cannot be read: ParserError"),
        ("s3cret", "the kubeconfig cannot be read: AttributeError"),
        ("{}", "no way into a cluster: clusters is missing"),
        (
            yaml.safe_dump({"clusters": [], "contexts": [], "current-context": "lab"}),
            "no way into a cluster: Context 'lab' not found",
        ),
    ],
)
def test_without_a_usable_configuration_it_is_said_what_is_wrong(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str | None, told: str
) -> None:
    path = tmp_path / "config"
    if content is not None:
        path.write_text(content)
    monkeypatch.setenv("KUBECONFIG", str(path))
    with pytest.raises(ConfigurationError) as raised:
        Client.from_environment()
    assert str(raised.value).startswith(told)
    assert "s3cret" not in str(raised.value)


def test_without_lightkube_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lightkube.config", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'moongate\[kubernetes\]'"):
        Client.from_environment()
