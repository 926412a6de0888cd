"""How Moongate and the programs that are not in Python are configured: one function each, which writes the
configuration of a place and gives the command that serves it."""

import base64
import json
from typing import Any

import yaml

from benchmarks.place import SERVER, Place

#: Far more than any row has: no limit of this kind is measured.
MANY = 1_000_000


def moongate(program: str, place: Place) -> list[str]:
    """A Gateway with two listeners, and a route for each host."""
    data = {
        name: base64.b64encode(path.read_bytes()).decode()
        for name, path in (("tls.crt", place.certificate), ("tls.key", place.key))
    }
    certificate = {"mode": "Terminate", "certificateRefs": [{"name": "certificate"}]}
    listeners = [
        {"name": "http", "protocol": "HTTP", "port": place.http},
        {"name": "https", "protocol": "HTTPS", "port": place.https, "tls": certificate},
    ]
    endpoints = {
        "addressType": "IPv4",
        "ports": [{"port": place.backend}],
        "endpoints": [{"addresses": ["127.0.0.1"]}],
    }
    labels = {"labels": {"kubernetes.io/service-name": "backend"}}
    objects = [
        _object("v1", "Service", "backend", spec={"ports": [{"port": 80}]}),
        _object("v1", "Secret", "certificate", type="kubernetes.io/tls", data=data),
        _object("discovery.k8s.io/v1", "EndpointSlice", "backend", labels, **endpoints),
        _gateway_object("Gateway", "gateway", {"gatewayClassName": "moongate", "listeners": listeners}),
    ]
    for number, host in enumerate(place.hosts):
        rules = [{"backendRefs": [{"name": "backend", "port": 80}]}]
        spec = {"parentRefs": [{"name": "gateway"}], "hostnames": [host], "rules": rules}
        objects.append(_gateway_object("HTTPRoute", f"route-{number}", spec))
    manifests = place.folder / "manifests"
    manifests.mkdir()
    (manifests / "all.yaml").write_text(yaml.dump_all(objects, Dumper=yaml.CSafeDumper))
    return [program, "-m", "app", "run", "--manifests", str(manifests)]


def _object(version: str, kind: str, name: str, metadata: dict[str, Any] | None = None, **rest: Any) -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, **(metadata or {})}, **rest}


def _gateway_object(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return _object("gateway.networking.k8s.io/v1", kind, name, spec=spec)


def envoy(program: str, place: Place) -> list[str]:
    """One virtual host for each host. What Envoy adds of its own, request ids and fields, is left out."""
    types = "type.googleapis.com/envoy.extensions"
    fields = {
        "X-Forwarded-Host": "%REQ(:authority)%",
        "X-Forwarded-Port": "%DOWNSTREAM_LOCAL_PORT%",
        "X-Forwarded-Server": SERVER,
        "X-Real-Ip": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
    }
    router = {"@type": f"{types}.filters.http.router.v3.Router", "suppress_envoy_headers": True}
    manager = {
        "@type": f"{types}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "in",
        "use_remote_address": True,  # sets X-Forwarded-For and -Proto
        "generate_request_id": False,
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "route_config": {
            "request_headers_to_add": [
                {"header": {"key": key, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
                for key, value in fields.items()
            ],
            "virtual_hosts": [
                {
                    "name": host,
                    "domains": [host],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "backend", "timeout": "0s"}}],
                }
                for host in place.hosts
            ],
        },
        "http_filters": [{"name": "router", "typed_config": router}],
    }
    files = {"certificate_chain": place.certificate, "private_key": place.key}
    certificate = {name: {"filename": str(path)} for name, path in files.items()}
    tls = {
        "@type": f"{types}.transport_sockets.tls.v3.DownstreamTlsContext",
        "common_tls_context": {"alpn_protocols": ["h2", "http/1.1"], "tls_certificates": [certificate]},
    }
    chain = {"filters": [{"name": "http", "typed_config": manager}]}
    secure = {**chain, "transport_socket": {"name": "tls", "typed_config": tls}}
    endpoint = {"endpoint": {"address": _socket_address(place.backend)}}
    limits = dict.fromkeys(("max_connections", "max_pending_requests", "max_requests"), MANY)
    cluster = {
        "name": "backend",
        "type": "STATIC",
        "circuit_breakers": {"thresholds": [limits]},
        "load_assignment": {"cluster_name": "backend", "endpoints": [{"lb_endpoints": [endpoint]}]},
    }
    listeners = [
        {"address": _socket_address(place.http), "filter_chains": [chain]},
        {"address": _socket_address(place.https), "filter_chains": [secure]},
    ]
    path = place.folder / "envoy.json"
    path.write_text(json.dumps({"static_resources": {"listeners": listeners, "clusters": [cluster]}}))
    return [program, "-c", str(path), "--concurrency", "1", "--disable-hot-restart", "-l", "error"]


def _socket_address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def nginx(program: str, place: Place) -> list[str]:
    """A server for each host."""
    folder = place.folder
    location = "location / { proxy_pass http://backend; }"
    ports = f"listen 127.0.0.1:{place.https} ssl http2; listen 127.0.0.1:{place.h2c} http2;"
    servers = "\n".join(
        f"server {{ listen 127.0.0.1:{place.http}{'' if number else ' backlog=8192'}; {'' if number else ports} "
        f"server_name {host}; {location} }}"
        for number, host in enumerate(place.hosts)
    )
    path = folder / "nginx.conf"
    path.write_text(f"""
worker_processes 1; daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 16384; }}
http {{
  access_log off; keepalive_requests {MANY}000; keepalive_timeout 600s;
  server_names_hash_max_size 65536; server_names_hash_bucket_size 128;
  client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder}; uwsgi_temp_path {folder};
  scgi_temp_path {folder}; proxy_max_temp_file_size 0; proxy_buffers 16 64k; proxy_buffer_size 64k;
  proxy_busy_buffers_size 128k; proxy_http_version 1.1; proxy_request_buffering off; client_max_body_size 0;
  client_body_buffer_size 64k;
  proxy_read_timeout 600s; proxy_send_timeout 600s; client_body_timeout 600s;
  ssl_certificate {place.certificate}; ssl_certificate_key {place.key}; ssl_protocols TLSv1.2 TLSv1.3;
  map $http_upgrade $connection_out {{ default upgrade; "" ""; }}
  proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_out;
  proxy_set_header Host $host; proxy_set_header X-Real-Ip $remote_addr; proxy_set_header X-Forwarded-Host $host;
  proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Proto $scheme;
  proxy_set_header X-Forwarded-Port $server_port; proxy_set_header X-Forwarded-Server {SERVER};
  upstream backend {{ server 127.0.0.1:{place.backend}; keepalive 256; }}
  {servers}
}}
""")
    return [program, "-c", str(path)]


def haproxy(program: str, place: Place) -> list[str]:
    """A map from hosts to the backend."""
    folder = place.folder
    (folder / "hosts.map").write_text("".join(f"{host} backend\n" for host in place.hosts))
    both = folder / "both.pem"
    both.write_bytes(place.certificate.read_bytes() + place.key.read_bytes())
    path = folder / "haproxy.cfg"
    path.write_text(f"""
global
  nbthread 1
  maxconn 8192
defaults
  mode http
  http-reuse always
  timeout connect 5s
  timeout client 600s
  timeout server 600s
  timeout tunnel 600s
frontend in
  bind 127.0.0.1:{place.http} backlog 8192
  bind 127.0.0.1:{place.https} ssl crt {both} alpn h2,http/1.1
  http-request set-header X-Forwarded-For %[src]
  http-request set-header X-Real-Ip %[src]
  http-request set-header X-Forwarded-Host %[req.hdr(host)]
  http-request set-header X-Forwarded-Port %[dst_port]
  http-request set-header X-Forwarded-Proto %[ssl_fc,iif(https,http)]
  http-request set-header X-Forwarded-Server {SERVER}
  use_backend %[req.hdr(host),lower,map({folder}/hosts.map)]
backend backend
  server one 127.0.0.1:{place.backend}
""")
    return [program, "-f", str(path)]


def caddy(program: str, place: Place) -> list[str]:
    """A route for each host. Caddy sets X-Forwarded-For, -Host and -Proto by itself."""
    fields = {
        "X-Forwarded-Port": "{http.request.local.port}",
        "X-Forwarded-Server": SERVER,
        "X-Real-Ip": "{http.request.remote.host}",
    }
    handler = {
        "handler": "reverse_proxy",
        "upstreams": [{"dial": f"127.0.0.1:{place.backend}"}],
        "transport": {"protocol": "http", "compression": False, "keep_alive": {"max_idle_conns_per_host": 256}},
        "headers": {"request": {"set": {name: [value] for name, value in fields.items()}}},
    }
    routes = [{"match": [{"host": [host]}], "handle": [handler], "terminal": True} for host in place.hosts]
    shared = {"automatic_https": {"disable": True}, "routes": routes, "idle_timeout": "10m"}
    plain = {**shared, "listen": [f"127.0.0.1:{place.http}"], "protocols": ["h1", "h2c"]}
    secure = {**shared, "listen": [f"127.0.0.1:{place.https}"], "protocols": ["h1", "h2"]}
    policies = [{"default_sni": place.hosts[0]}]
    files = [{"certificate": str(place.certificate), "key": str(place.key)}]
    config = {
        "admin": {"disabled": True},
        "logging": {"logs": {"default": {"level": "ERROR"}}},
        "apps": {
            "tls": {"certificates": {"load_files": files}},
            "http": {
                "servers": {
                    "plain": plain,
                    "secure": {**secure, "tls_connection_policies": policies, "routes": routes[:1]},
                }
            },
        },
    }
    path = place.folder / "caddy.json"
    path.write_text(json.dumps(config))
    return [program, "run", "--config", str(path)]
