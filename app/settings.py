"""Everything that can be set: as arguments, by ``MOONGATE_…`` environment variables, or in a file that one names."""

import json
import os
import re
from collections.abc import Iterable
from functools import partial
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from app.configfile import ConfigFileSource, config_file
from app.tls.certificates import check_authorities, check_pair, dns_names
from middleware.via import PSEUDONYM
from routes.graph.nodes import Options
from routes.resources.gateway import SecretObjectReference
from routes.resources.meta import PortNumber

#: Where manifests are looked for when nobody says where.
DEFAULT_MANIFESTS = Path("manifests")


def _paths(value: Any) -> Any:
    """Paths as in PATH: separated by ":" (";" on Windows)."""
    return [part for part in value.split(os.pathsep) if part] if isinstance(value, str) else value


def _networks(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return tuple(ip_network(part.strip()) for part in value.split(",") if part.strip())
    except ValueError as error:
        raise ValueError(f"{error}; write networks such as 10.0.0.0/8, separated by commas") from None


def _words(value: Any) -> Any:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _secrets(value: Any) -> Any:
    """References to Secrets, from JSON in the environment. The article writes the core group as "core"; in the API its
    name is empty."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except json.JSONDecodeError as error:
            raise ValueError(f'is not JSON, such as [{{"name": "mysecret"}}]: {error}') from None
    if not isinstance(value, list | tuple):
        raise ValueError('must be a list, such as [{"name": "mysecret"}]')
    return [
        {**entry, "group": ""} if isinstance(entry, dict) and entry.get("group") == "core" else entry for entry in value
    ]


def _ports(value: Any) -> Any:
    """Pairs as ``80=8000,443=8443``."""
    if not isinstance(value, str):
        return value
    found: dict[int, int] = {}
    for part in value.split(","):
        listener, equals, bound = (each.strip() for each in part.partition("="))
        if not (equals and all(port.isascii() and port.isdigit() for port in (listener, bound))):
            raise ValueError(f"write pairs such as 80=8000,443=8443, not {part.strip()!r}")
        if int(listener) in found:
            raise ValueError(f"has port {int(listener)} twice")
        found[int(listener)] = int(bound)
    return found


def _listener_name(value: str) -> str:
    if value and not re.fullmatch(r"[^/]+/[^/]+/[^/]+", value):
        raise ValueError(f"must be namespace/gateway/listener, not {value!r}")
    return value


def _address(value: str) -> str:
    host, _, port = value.rpartition(":")
    if value != "off" and not (host and port.isascii() and port.isdigit() and int(port) < 65536):
        raise ValueError(f"must be host:port or off, not {value!r}")
    return value


def _pseudonym(value: str) -> str:
    if value and PSEUDONYM.fullmatch(value) is None:
        raise ValueError(f"must be one word of letters, digits and -._~ such as moongate, not {value!r}")
    return value


def _session_key(value: SecretStr) -> SecretStr:
    if value and len(value.get_secret_value()) < 16:
        raise ValueError("must be 16 characters or more: whoever guesses it can tell the addresses of endpoints")
    return value


def _buckets(value: tuple[float, ...]) -> tuple[float, ...]:
    if not value or any(bound <= 0 for bound in value) or list(value) != sorted(set(value)):
        raise ValueError("must be numbers above 0, each larger than the one before")
    return value


def _field_name(value: str) -> str:
    if value and not PSEUDONYM.fullmatch(value):
        raise ValueError(f"must be the name of a header field such as X-Request-Id, not {value!r}")
    return value


def _status_ranges(value: tuple[str, ...]) -> tuple[str, ...]:
    for part in value:
        first, dash, last = part.partition("-")
        if not all(re.fullmatch(r"[1-5][0-9]{2}", each) for each in ((first, last) if dash else (first,))):
            raise ValueError(f"write statuses such as 404,500-599, not {part!r}")
        if dash and int(first) > int(last):
            raise ValueError(f"{part!r} ends before it begins")
    return value


def _fates(value: Any) -> Any:
    """Pairs as ``User-Agent=keep,Cookie=drop``."""
    if not isinstance(value, str):
        return value
    found: dict[str, str] = {}
    for part in value.split(","):
        name, equals, fate = (each.strip() for each in part.partition("="))
        if not equals or not PSEUDONYM.fullmatch(name):
            raise ValueError(f"write pairs such as User-Agent=keep,Cookie=drop, not {part.strip()!r}")
        found[name.lower()] = fate
    return found


class Settings(BaseSettings):
    """The settings of one gateway, read once when it starts; routes are read from manifests while it runs.

    An argument goes before a variable, a variable before the file that ``MOONGATE_CONFIG`` names, and that before the
    default. Raises pydantic's ValidationError, or :class:`~app.configfile.ConfigFileError`.
    """

    model_config = SettingsConfigDict(env_prefix="MOONGATE_", env_ignore_empty=True, frozen=True)

    manifests: Annotated[tuple[Path, ...], NoDecode, BeforeValidator(_paths)] = Field(
        default_factory=lambda: (DEFAULT_MANIFESTS,) if DEFAULT_MANIFESTS.exists() else (),
        description="Files and folders with manifests, separated as in PATH; `./manifests` where it exists.",
    )
    provider: Literal["files", "kubernetes"] = Field(
        default="files",
        description="Where objects come from: `files`, or the API server of the cluster that this runs in or that "
        "`KUBECONFIG` names.",
    )
    namespaces: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_words)] = Field(
        default=(), description="Namespaces of the cluster to read, separated by commas; by default all."
    )
    lease: str = Field(
        default="",
        description="Name of the Lease in our own namespace whose holder writes status, Services and EndpointSlices; "
        "without one nothing is written.",
    )
    replicas_service: str = Field(
        default="",
        description="Name of the Service in our own namespace whose endpoints are the gateway's replicas. With it each "
        "Gateway gets a Service of its own, which leads to them.",
    )
    service_type: Literal["LoadBalancer", "ClusterIP", "NodePort"] = Field(
        default="LoadBalancer", description="The type of the Gateways' Services."
    )
    static_addresses: Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode, BeforeValidator(_networks)] = Field(
        default=(),
        description="Networks, separated by commas, of the addresses that Gateways in a cluster may ask for.",
    )
    controller_name: str = Field(
        default="moongate.dev/gateway", description="GatewayClasses with this `controllerName` are served."
    )
    app_label_selector: str = Field(
        default="traefik", description="The label `app` by which the default Gateway chooses v1alpha1 routes."
    )
    certificates: Annotated[tuple[SecretObjectReference, ...], NoDecode, BeforeValidator(_secrets)] = Field(
        default=(),
        description="Secrets for the default Gateway's HTTPS listener, as JSON: "
        '`[{"group": "core", "kind": "Secret", "name": "mysecret"}]`.',
    )
    listener: Annotated[str, AfterValidator(_listener_name)] = Field(
        default="",
        description="The listener, `namespace/gateway/listener`, that a port of the server's stands for when it is no "
        "listener's; by default the first HTTP listener of the first Gateway.",
    )
    host: str = Field(
        default="",
        description="The address on which listeners are opened; by default the server's own, else 127.0.0.1.",
    )
    ports: Annotated[dict[PortNumber, PortNumber], NoDecode, BeforeValidator(_ports)] = Field(
        default_factory=dict,
        description="What listeners' ports are bound to where that differs: `80=8000,443=8443`.",
    )
    admin: Annotated[str, AfterValidator(_address)] = Field(
        default="127.0.0.1:9000",
        description="`host:port` of the admin port (`/ping`, `/ready`, `/metrics`, `/dashboard/`, `/api/…`), or `off`; "
        "opened by `app:gateway` and `moongate run` only.",
    )
    admin_hosts: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_words)] = Field(
        default=(),
        description="Host names, separated by commas, by which the admin port may be asked, beside `localhost` and IP "
        "addresses.",
    )
    dashboard: Literal["local", "on", "off"] = Field(
        default="local",
        description="Who may see `/dashboard/` and `/api/…`: clients on this machine (`local`), all that reach the "
        "admin port (`on`), or nobody (`off`).",
    )
    metrics: bool = Field(default=True, description="Count requests, and answer `/metrics` on the admin port.")
    metrics_buckets: Annotated[tuple[float, ...], NoDecode, BeforeValidator(_words), AfterValidator(_buckets)] = Field(
        default=(0.005, 0.025, 0.1, 0.3, 1.2, 5.0),
        description="Upper bounds in seconds of the durations' histograms, separated by commas.",
    )
    service_dns: str = Field(
        default="{name}",
        description="The host name of a Service without endpoints in the manifests, from `{name}` and `{namespace}`.",
    )
    dns_refresh: float = Field(default=5.0, gt=0, description="Seconds after which a host name is looked up again.")
    drain_delay: float = Field(
        default=0.0,
        ge=0,
        description="Seconds after a stop signal for which requests are still taken while `/ping` answers 503 already.",
    )
    drain_timeout: float = Field(
        default=30.0, ge=0, description="Seconds that requests under way have to end once the sockets are closed."
    )
    trusted_proxies: Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode, BeforeValidator(_networks)] = Field(
        default=(), description="Networks, separated by commas, whose `X-Forwarded-…` fields are believed."
    )
    via: Annotated[str, AfterValidator(_pseudonym)] = Field(
        default="",
        description="The gateway's name in the `Via` field of requests and answers; without one there is none.",
    )
    session_key: Annotated[SecretStr, AfterValidator(_session_key)] = Field(
        default_factory=partial(SecretStr, ""),
        description="A secret, 16 characters or more, from which the tokens of `sessionPersistence` are made. Replicas "
        "with the same one know each other's sessions, and sessions outlive a restart; by default it is random. In a "
        "cluster it seals the bound ports in Gateways' Services as well, so that nobody else can claim them.",
    )
    request_id: Annotated[str, AfterValidator(_field_name)] = Field(
        default="",
        description="The header field, such as `X-Request-Id`, that bears the id of each request; without a name there "
        "are no ids. Of trusted proxies it is taken over, else made anew.",
    )
    access_log: Literal["off", "common", "json"] = Field(
        default="off", description="Write a line for each request, in Traefik's common format or as JSON."
    )
    access_log_file: Path | None = Field(
        default=None,
        description="The file for these lines, by default standard output; opened anew on the signal USR1.",
    )
    access_log_status: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_words), AfterValidator(_status_ranges)] = (
        Field(
            default=(),
            description="Write lines of requests with these statuses, such as `404,500-599`. Of this and the next two "
            "any that fits is enough; without them all have lines.",
        )
    )
    access_log_min_duration: float = Field(
        default=0.0, ge=0, description="Write lines of requests that took this many seconds or more."
    )
    access_log_retries: bool = Field(default=False, description="Write lines of requests that were sent again.")
    access_log_headers: Literal["drop", "redact", "keep"] = Field(
        default="drop", description="What JSON lines tell of header fields: nothing, their names, or their values too."
    )
    access_log_header: Annotated[dict[str, Literal["drop", "redact", "keep"]], NoDecode, BeforeValidator(_fates)] = (
        Field(
            default_factory=dict,
            description="The same for single fields: `User-Agent=keep,Cookie=drop`. `Authorization`, `Cookie` and "
            "the like are kept only where they are named here.",
        )
    )
    tracing: Literal["off", "otlp"] = Field(
        default="off",
        description="Send spans by OTLP, as the `OTEL_…` variables say; needs `moongate[otel]`. `traceparent` and "
        "`tracestate` are passed on in any case.",
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Where settings come from, the first that has one first."""
        return init_settings, env_settings, ConfigFileSource(settings_cls)

    def options(self, extensions: Iterable[tuple[str, str]] = ()) -> Options:
        """What of the settings the graph is built with; ``extensions`` are the groups and kinds of filters."""
        return Options(
            controller_name=self.controller_name,
            app_label_selector=self.app_label_selector,
            certificates=self.certificates,
            service_dns=self.service_dns,
            check_certificate=check_pair,
            certificate_names=dns_names,
            check_authorities=check_authorities,
            extensions=frozenset(extensions),
            cluster=self.provider == "kubernetes",
        )


def complaint(error: ValidationError) -> str:
    """What is wrong with the settings, in sentences that name the variable, or file and line."""
    return "; ".join(
        f"{_place(str(fault['loc'][0]))}{_rest(fault['loc'][1:])}: {fault['msg'].removeprefix('Value error, ')}"
        for fault in error.errors(include_url=False, include_input=False)
    )


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return f"{Settings.model_config.get('env_prefix', '')}{name.upper()}"


def _place(name: str) -> str:
    place = config_file(frozenset(Settings.model_fields)).place(name)
    return f"{place}: {name}" if place and not os.environ.get(variable(name)) else variable(name)


def _rest(path: tuple[int | str, ...]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
