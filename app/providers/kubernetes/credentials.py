"""Where the API server is and who we are: from the pod that we run in, or from a kubeconfig.

lightkube finds, reads and merges the configuration. Of its own are here what it leaves out: ``tls-server-name`` and
``proxy-url``, exec plugins of ``client.authentication.k8s.io/v1``, and tokens that many requests share.
"""

import asyncio
import json
import os
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from time import monotonic, time
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx2
import yaml

if TYPE_CHECKING:
    from lightkube.config.kubeconfig import SingleConfig
    from lightkube.config.models import UserExec

#: Seconds after which a token is read from its file again; the kubelet replaces it long before it expires.
_FRESH: Final = 60.0
#: Seconds before its end at which a token of an exec plugin is replaced.
_EARLY: Final = 10.0
#: Seconds that an exec plugin may take.
_PLUGIN_TIMEOUT: Final = 60.0
#: Characters of its complaint that are told.
_COMPLAINT: Final = 500


class ConfigurationError(Exception):
    """There is no usable configuration, or no credentials are to be had from it. Says so in a sentence."""


class Credentials(NamedTuple):
    """How to speak with the API server."""

    server: str
    namespace: str
    verify: ssl.SSLContext
    auth: httpx2.Auth | None
    #: The name in the server's certificate, where it is not the host's.
    server_name: str = ""
    #: The kubeconfig's, or else one from the environment, as kubectl does; from within a cluster the way is direct.
    proxy: str | None = None

    @classmethod
    def from_environment(cls) -> "Credentials":
        """Those of the pod's service account, or else of the kubeconfig that ``KUBECONFIG`` names, or of
        ``~/.kube/config``; reads files. Raises ConfigurationError."""
        try:
            from lightkube.config import client_adapter
            from lightkube.config.kubeconfig import KubeConfig
            from lightkube.config.models import User
        except ModuleNotFoundError as error:
            raise ConfigurationError(
                f"the kubernetes provider needs {error.name}: pip install 'moongate[kubernetes]'"
            ) from error
        try:
            config = KubeConfig.from_env().get()
            assert config is not None
            user = config.user or User()
            cluster, own = _more(config)
            return cls(
                server=config.cluster.server,
                namespace=config.namespace.strip(),
                verify=client_adapter.verify_cluster(config.cluster, user, config.abs_file),
                auth=_auth(config, cluster, own),
                server_name=str(cluster.get("tls-server-name") or ""),
                proxy=_proxy(config, cluster),
            )
        except KeyError as error:
            raise ConfigurationError(f"no way into a cluster: {error.args[0]} is missing") from error
        except (
            ValueError,
            TypeError,
            AttributeError,
            yaml.YAMLError,
        ) as error:  # parts of the file are not told, it holds secrets
            raise ConfigurationError(f"the kubeconfig cannot be read: {type(error).__name__}") from error
        except Exception as error:  # lightkube's own errors, and those of files and certificates
            raise ConfigurationError(f"no way into a cluster: {error}") from error


class Token(httpx2.Auth):
    """A bearer token that is fetched when it is first needed, when it has had its time, and when it is refused; by one
    request for all that wait for it."""

    def __init__(self, fetch: Callable[[], Awaitable[tuple[str, float]]]) -> None:
        """``fetch`` gives a token and when to fetch the next, on the monotonic clock."""
        self._fetch = fetch
        self._field = ""
        self._until = 0.0
        self._lock = asyncio.Lock()

    async def async_auth_flow(self, request: httpx2.Request) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        field = await self._current(refused="")
        request.headers["Authorization"] = field
        response = yield request
        if response.status_code == 401:
            request.headers["Authorization"] = await self._current(refused=field)
            yield request

    async def _current(self, refused: str) -> str:
        if not self._field or self._field == refused or monotonic() >= self._until:
            async with self._lock:
                if not self._field or self._field == refused or monotonic() >= self._until:
                    token, self._until = await self._fetch()
                    self._field = f"Bearer {token}"
        return self._field


def _more(config: "SingleConfig") -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """The cluster and the user as they stand in the file, with what lightkube does not read."""
    if config.fname is None:
        return {}, {}
    content = yaml.safe_load(config.fname.read_text())

    def named(kind: str, name: str | None) -> Mapping[str, Any]:
        return next((each[kind] or {} for each in content.get(f"{kind}s") or () if each["name"] == name), {})

    return named("cluster", config.context.cluster), named("user", config.context.user)


def _proxy(config: "SingleConfig", cluster: Mapping[str, Any]) -> str | None:
    server = urlsplit(config.cluster.server)
    if config.fname is None or cluster.get("proxy-url"):
        return cluster.get("proxy-url")
    if proxy_bypass(server.hostname or ""):
        return None
    proxies = getproxies()
    return proxies.get(server.scheme) or proxies.get("all")


def _auth(config: "SingleConfig", cluster: Mapping[str, Any], own: Mapping[str, Any]) -> httpx2.Auth | None:
    from lightkube.config import client_adapter

    user = config.user
    if user is not None and user.token_file is not None:
        return Token(_from_file(Path(config.abs_file(user.token_file))))
    if user is None or user.exec is None or user.token is not None:
        return client_adapter.user_auth(user)
    return Token(_from_plugin(user.exec, _about(user.exec, cluster, own), config))


def _from_file(path: Path) -> Callable[[], Awaitable[tuple[str, float]]]:
    async def fetch() -> tuple[str, float]:
        try:
            # A file in memory, once a minute.
            return path.read_text().strip(), monotonic() + _FRESH  # noqa: ASYNC240
        except OSError as error:
            raise ConfigurationError(f"the token cannot be read: {error}") from error

    return fetch


def _about(plugin: "UserExec", cluster: Mapping[str, Any], own: Mapping[str, Any]) -> str:
    """What a plugin is told, and chooses the version of its answer by."""
    spec: dict[str, Any] = {"interactive": False}
    if own["exec"].get("provideClusterInfo"):
        spec["cluster"] = {
            field: cluster[field]
            for field in (
                "server",
                "tls-server-name",
                "insecure-skip-tls-verify",
                "certificate-authority-data",
                "proxy-url",
            )
            if field in cluster
        }
    return json.dumps({"apiVersion": plugin.apiVersion, "kind": "ExecCredential", "spec": spec})


def _from_plugin(plugin: "UserExec", about: str, config: "SingleConfig") -> Callable[[], Awaitable[tuple[str, float]]]:
    environment = {
        **os.environ,
        **{each.name: each.value for each in plugin.env or ()},
        "KUBERNETES_EXEC_INFO": about,
    }
    # As kubectl has it: a name is looked up in PATH, and a relative path is seen from the kubeconfig.
    command = str(config.abs_file(plugin.command)) if "/" in plugin.command else plugin.command

    async def fetch() -> tuple[str, float]:
        output = await _output([command, *(plugin.args or ())], environment)
        try:
            status = json.loads(output)["status"]
            token = str(status["token"])
            ends = status.get("expirationTimestamp")
            left = datetime.fromisoformat(ends).timestamp() - time() if ends else float("inf")
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            # The answer itself is a secret.
            raise ConfigurationError(f"{plugin.command} gave no token: {type(error).__name__}") from None
        return token, monotonic() + max(left - _EARLY, 0.0)

    return fetch


async def _output(command: list[str], environment: Mapping[str, str]) -> bytes:
    pipe = asyncio.subprocess.PIPE
    name = command[0]
    try:
        process = await asyncio.create_subprocess_exec(
            *command, env=environment, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe
        )
    except OSError as error:
        raise ConfigurationError(f"{name} cannot be run: {error.strerror}") from error
    try:
        async with asyncio.timeout(_PLUGIN_TIMEOUT):
            output, complaint = await process.communicate()
    except TimeoutError:
        raise ConfigurationError(f"{name} gave no token in {_PLUGIN_TIMEOUT:g} s") from None
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if process.returncode:
        said = " ".join(complaint.decode(errors="replace").split())[:_COMPLAINT]
        raise ConfigurationError(f"{name} failed ({process.returncode}): {said}")
    return output
