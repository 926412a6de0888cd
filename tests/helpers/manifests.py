"""Manifests that tests write, and files replaced in the ways in which people and programs do it."""

import os
from base64 import b64encode
from pathlib import Path
from typing import Any

import trustme
import yaml


def write(path: Path, *objects: dict[str, Any]) -> None:
    """Write ``objects`` as YAML documents, so that no half of the file is ever seen."""
    replace(path, yaml.safe_dump_all(objects))


def replace(path: Path, text: str | bytes) -> None:
    """Put ``text`` in the place of the file at once: a new file takes over the name."""
    beside = path.with_name(f".{path.name}.new")
    beside.write_bytes(text.encode() if isinstance(text, str) else text)
    os.replace(beside, path)


def endpoint_slice(service: str, *ports: int, name: str = "") -> dict[str, Any]:
    """The endpoints of ``service`` on ``ports`` of this machine. A slice has one port for all its endpoints, so that
    endpoints on ports of their own take one slice each: see :func:`endpoint_slices`."""
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": name or service, "labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4",
        "ports": [{"port": port} for port in ports],
        "endpoints": [{"addresses": ["127.0.0.1"]}],
    }


def endpoint_slices(service: str, *ports: int) -> list[dict[str, Any]]:
    """An EndpointSlice for each of ``ports``, as replicas on one machine have them."""
    return [endpoint_slice(service, port, name=f"{service}-{index}") for index, port in enumerate(ports)]


def service(name: str, port: int = 80) -> dict[str, Any]:
    """A Service with one port."""
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {"ports": [{"port": port}]}}


def backend(name: str, *ports: int) -> list[dict[str, Any]]:
    """A Service ``name`` on port 80 with endpoints at ``ports``."""
    return [service(name), *endpoint_slices(name, *ports)]


def route(
    name: str,
    *backends: str,
    host: str = "whoami",
    path: str = "/",
    kind: str = "PathPrefix",
    gateway: str = "",
    section: str = "",
    port: int = 80,
) -> dict[str, Any]:
    """An HTTPRoute with one rule to the Services ``backends``; without ``gateway`` it names no parent."""
    spec: dict[str, Any] = {
        "hostnames": [host],
        "rules": [
            {
                "matches": [{"path": {"type": kind, "value": path}}],
                "backendRefs": [{"name": backend, "port": port} for backend in backends],
            }
        ],
    }
    if gateway:
        spec["parentRefs"] = [{"name": gateway} | ({"sectionName": section} if section else {})]
    return {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {"name": name}, "spec": spec}


def gateway_object(name: str, *listeners: dict[str, Any]) -> dict[str, Any]:
    """A Gateway of the class that is there without being written."""
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "Gateway",
        "metadata": {"name": name},
        "spec": {"gatewayClassName": "moongate", "listeners": list(listeners)},
    }


def http_listener(port: int, name: str = "web") -> dict[str, Any]:
    """An HTTP listener for any host."""
    return {"name": name, "port": port, "protocol": "HTTP"}


def https_listener(port: int, *secrets: str, name: str = "websecure", hostname: str = "") -> dict[str, Any]:
    """An HTTPS listener with the certificates of ``secrets``."""
    listener: dict[str, Any] = {
        "name": name,
        "port": port,
        "protocol": "HTTPS",
        "tls": {"certificateRefs": [{"name": secret} for secret in secrets]},
    }
    return listener | ({"hostname": hostname} if hostname else {})


def secret(name: str, certificate: bytes, key: bytes) -> dict[str, Any]:
    """A kubernetes.io/tls Secret of PEM bytes."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": {"name": name},
        "data": {"tls.crt": b64encode(certificate).decode(), "tls.key": b64encode(key).decode()},
    }


def pair(*names: str) -> tuple[bytes, bytes]:
    """A certificate for ``names`` that is made now, and its key, as PEM."""
    issued = trustme.CA().issue_cert(*names)
    return b"".join(blob.bytes() for blob in issued.cert_chain_pems), issued.private_key_pem.bytes()
