"""The proxies that are compared, each with one worker, no access log, and the forwarded fields that Moongate sets.

Moongate counts requests, as it does unless told not to, and as Envoy does. What that costs, and what the access log and
tracing do, is seen from Moongate with other settings beside it.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from benchmarks import programs, pythons
from benchmarks.install import CACHE, program
from benchmarks.measure import PROXY_CPUS, run_on
from benchmarks.place import Place
from benchmarks.rows import SMALL, Front, Load, Row

ROOT = Path(__file__).parents[1]

#: What a row may need beyond its front.
MANY_HOSTS = "many hosts"

_NO_HTTP2: dict[str, str] = {Front.HTTP2_TLS: "speaks no HTTP/2", Front.H2C: "speaks no HTTP/2"}
_NO_TLS: dict[str, str] = {
    Front.HTTP1_TLS: "no TLS on HTTP entry points",
    Load.HANDSHAKES: "no TLS on HTTP entry points",
}
_INSTALL = "python -m benchmarks.install"


@dataclass(frozen=True, slots=True)
class Peer:
    """A proxy. ``find`` gives its program where it is installed, ``configure`` the command that serves a place,
    ``version`` what to ask for its version. ``lacks`` says which fronts and loads it cannot do, and why. ``settings``
    are variables of its environment; ``small_only``: it is held against another, in rows of small answers."""

    name: str
    find: Callable[[], str | None]
    configure: Callable[[str, Place], list[str]]
    version: Callable[[str], list[str]]
    install: str = _INSTALL
    lacks: Mapping[str, str] = field(default_factory=dict)
    note: str = ""
    h2c_apart: bool = False  # HTTP/2 without TLS needs a port of its own
    settings: Mapping[str, str] = field(default_factory=dict)
    small_only: bool = False

    def start(self, program: str, place: Place) -> subprocess.Popen[bytes]:
        """Start it, with its words in the file ``log`` of its folder."""
        command = self.configure(program, place)
        home = str(place.folder)
        environment = os.environ | {
            "MOONGATE_ADMIN": "off",
            "GOMAXPROCS": "1",  # Go's word for one worker
            "XDG_CONFIG_HOME": home,
            "XDG_DATA_HOME": home,
            **self.settings,
        }
        with (place.folder / "log").open("wb") as log:
            pin = partial(run_on, PROXY_CPUS)
            return subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=ROOT, preexec_fn=pin)

    def cannot(self, row: Row) -> str | None:
        """Why it cannot do a row, if that is known beforehand."""
        if self.small_only and (row.load is not Load.GET or row.size != SMALL or row.hosts > 1):
            return "of interest with small answers"
        return (
            self.lacks.get(row.front)
            or self.lacks.get(row.load)
            or (self.lacks.get(MANY_HOSTS) if row.hosts > 1 else None)
        )

    def installed_version(self, program: str) -> str:
        """Its version."""
        done = subprocess.run(self.version(program), capture_output=True, text=True, check=False)
        match = re.search(r"\d+\.\d+\.\d+", done.stdout + done.stderr)
        return match[0] if match else "unknown"


def _says(option: str) -> Callable[[str], list[str]]:
    return lambda program: [program, option]


def _package(name: str) -> Callable[[str], list[str]]:
    code = f"from importlib.metadata import version; print(version({name!r}))"
    return lambda program: [str(Path(program).with_name("python")), "-c", code]


def _envoy() -> str | None:
    """The program itself: what pip puts on the path is a Python script that starts it."""
    return next(map(str, (CACHE / "programs").glob("lib/python*/site-packages/envoy/_bin/envoy")), None)


def _moongate(name: str, **settings: str) -> Peer:
    return Peer(
        name,
        lambda: sys.executable,
        programs.moongate,
        _package("moongate"),
        settings=settings,
        small_only=bool(settings),
    )


#: Moongate first, the one that ratios are taken to second.
PEERS: Sequence[Peer] = (
    _moongate("moongate"),
    Peer("envoy", _envoy, programs.envoy, _says("--version")),
    _moongate("without-metrics", MOONGATE_METRICS="off"),
    _moongate("json-log", MOONGATE_ACCESS_LOG="json", MOONGATE_ACCESS_LOG_FILE="/dev/null"),
    _moongate("tracing", MOONGATE_TRACING="otlp", OTEL_TRACES_SAMPLER="always_off"),
    Peer(
        "nginx",
        lambda: shutil.which("nginx"),
        programs.nginx,
        _says("-v"),
        "apt-get install nginx-light",
        h2c_apart=True,
    ),
    Peer("haproxy", lambda: shutil.which("haproxy"), programs.haproxy, _says("-v"), "apt-get install haproxy"),
    Peer("caddy", partial(program, "programs", "caddy"), programs.caddy, _says("version")),
    Peer(
        "aiohttp",
        partial(program, "proxies", "python"),
        partial(pythons.ours, "aiohttp_proxy"),
        _package("aiohttp"),
        lacks=_NO_HTTP2,
    ),
    Peer(
        "httpx",
        partial(program, "proxies", "python"),
        partial(pythons.ours, "httpx_proxy"),
        _package("httpx"),
        lacks={**_NO_HTTP2, Front.WEBSOCKET: "httpx has no WebSocket"},
    ),
    Peer(
        "fastapi-proxy-lib",
        partial(program, "proxies", "python"),
        partial(pythons.ours, "fastapi_proxy"),
        _package("fastapi-proxy-lib"),
        lacks={**_NO_HTTP2, MANY_HOSTS: "routes by no host"},
    ),
    Peer(
        "python-traefik",
        partial(program, "python-traefik", "python-traefik"),
        pythons.traefik,
        _package("python-traefik"),
        lacks={
            **_NO_HTTP2,
            **_NO_TLS,
            Front.WEBSOCKET: "routes no WebSocket",
            Load.IDLE: "closes idle connections after 5 s",
        },
        note="python-traefik sets X-Forwarded-For, -Host and -Proto only, and holds whole bodies in memory",
    ),
)
