"""The proxies that are compared: how each is configured and started with one worker."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import yaml

Command = list[str]

#: Writes a configuration into a folder and answers the command that serves it: (folder, port, backend's port, hosts).
Configure = Callable[[Path, int, int, Sequence[str]], Command]


@dataclass(frozen=True, slots=True)
class Peer:
    """A proxy. ``configure`` gives None where it is not installed here."""

    name: str
    find: Callable[[], str | None]
    configure: Callable[[str, Path, int, int, Sequence[str]], Command]

    def start(self, folder: Path, port: int, backend: int, hosts: Sequence[str]) -> subprocess.Popen[bytes] | None:
        """Start it on ``port`` with a route for each of ``hosts``; None where it is not installed."""
        program = self.find()
        if program is None:
            return None
        command = self.configure(program, folder, port, backend, hosts)
        environment = os.environ | {"MOONGATE_MANIFESTS": str(folder), "MOONGATE_ADMIN": "off"}
        with (folder / "log").open("wb") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=Path(__file__).parents[1])


def _moongate(program: str, folder: Path, port: int, backend: int, hosts: Sequence[str]) -> Command:
    objects = [
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "backend"}, "spec": {"ports": [{"port": 80}]}},
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": "backend", "labels": {"kubernetes.io/service-name": "backend"}},
            "addressType": "IPv4",
            "ports": [{"port": backend}],
            "endpoints": [{"addresses": ["127.0.0.1"]}],
        },
    ]
    objects += [
        {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "HTTPRoute",
            "metadata": {"name": f"route-{number}"},
            "spec": {"hostnames": [host], "rules": [{"backendRefs": [{"name": "backend", "port": 80}]}]},
        }
        for number, host in enumerate(hosts)
    ]
    (folder / "manifests.yaml").write_text(yaml.dump_all(objects, Dumper=yaml.CSafeDumper))
    options = ["--http", "app.listeners.http:GatewayProtocol", "--log-level", "error", "--port", str(port)]
    return [program, "-m", "uvicorn", "app:gateway", *options]


def _envoy(program: str, folder: Path, port: int, backend: int, hosts: Sequence[str]) -> Command:
    types = "type.googleapis.com/envoy.extensions.filters"
    address = {"socket_address": {"address": "127.0.0.1"}}
    manager = {
        "@type": f"{types}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "in",
        "use_remote_address": True,
        "route_config": {
            "virtual_hosts": [
                {
                    "name": host,
                    "domains": [host],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "backend", "timeout": "0s"}}],
                }
                for host in hosts
            ]
        },
        "http_filters": [
            {"name": "envoy.filters.http.router", "typed_config": {"@type": f"{types}.http.router.v3.Router"}}
        ],
    }
    endpoint = {"socket_address": {"address": "127.0.0.1", "port_value": backend}}
    config = {
        "static_resources": {
            "listeners": [
                {
                    "address": {"socket_address": {**address["socket_address"], "port_value": port}},
                    "filter_chains": [
                        {"filters": [{"name": "envoy.http_connection_manager", "typed_config": manager}]}
                    ],
                }
            ],
            "clusters": [
                {
                    "name": "backend",
                    "type": "STATIC",
                    "load_assignment": {
                        "cluster_name": "backend",
                        "endpoints": [{"lb_endpoints": [{"endpoint": {"address": endpoint}}]}],
                    },
                }
            ],
        }
    }
    path = folder / "envoy.yaml"
    path.write_text(yaml.dump(config, Dumper=yaml.CSafeDumper))
    return [program, "-c", str(path), "--concurrency", "1", "--base-id", str(port), "-l", "error"]


def _nginx(program: str, folder: Path, port: int, backend: int, hosts: Sequence[str]) -> Command:
    servers = "\n".join(
        f"server {{ listen 127.0.0.1:{port}; server_name {host}; location / {{ proxy_pass http://backend; }} }}"
        for host in hosts
    )
    path = folder / "nginx.conf"
    path.write_text(f"""
worker_processes 1; daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 8192; }}
http {{
  access_log off; keepalive_requests 1000000; server_names_hash_max_size 65536; server_names_hash_bucket_size 128;
  client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder}; uwsgi_temp_path {folder};
  scgi_temp_path {folder}; proxy_max_temp_file_size 0; proxy_buffers 16 64k; proxy_buffer_size 64k;
  proxy_busy_buffers_size 128k; proxy_http_version 1.1; proxy_set_header Connection "";
  proxy_set_header Host $host; proxy_set_header X-Real-Ip $remote_addr; proxy_set_header X-Forwarded-Host $host;
  proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Proto $scheme;
  upstream backend {{ server 127.0.0.1:{backend}; keepalive 256; }}
  {servers}
}}
""")
    return [program, "-c", str(path)]


def _haproxy(program: str, folder: Path, port: int, backend: int, hosts: Sequence[str]) -> Command:
    (folder / "hosts").write_text("\n".join(hosts))
    path = folder / "haproxy.cfg"
    path.write_text(f"""
global
  nbthread 1
  maxconn 8192
defaults
  mode http
  option forwardfor
  http-reuse always
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend in
  bind 127.0.0.1:{port}
  http-request deny unless {{ req.hdr(host) -f {folder}/hosts }}
  http-request set-header X-Forwarded-Proto http
  default_backend backend
backend backend
  server one 127.0.0.1:{backend}
""")
    return [program, "-f", str(path)]


def _packaged(module: str, *names: str) -> Callable[[], str | None]:
    """Finds a program that a Python package brings along."""

    def find() -> str | None:
        try:
            folder = Path(str(import_module(module).__file__)).parent
        except ImportError:
            return None
        return next((str(path) for name in names for path in folder.rglob(name) if os.access(path, os.X_OK)), None)

    return find


#: Moongate first, the one that ratios are taken to second.
PEERS = (
    Peer("moongate", lambda: sys.executable, _moongate),
    Peer("envoy", _packaged("envoy", "envoy"), _envoy),
    Peer("nginx", lambda: shutil.which("nginx"), _nginx),
    Peer("haproxy", lambda: shutil.which("haproxy"), _haproxy),
)
