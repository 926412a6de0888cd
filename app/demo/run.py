"""``moongate demo``: the gateway and its backends in one process, on manifests that may be edited while it runs."""

import contextlib
import shutil
import tempfile
from base64 import b64encode
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from app.application import Gateway
from app.listeners.server import Sockets, bound_port
from app.serve import serve
from app.settings import Settings
from app.whoami import whoami
from routes.graph.gateways import HTTP_PORT, HTTPS_PORT
from routes.resources.gateway import SecretObjectReference

#: The backends: Service, and a name for each of its replicas.
BACKENDS = {"whoami": ("whoami-1", "whoami-2"), "nginx": ("nginx",)}

_TRY = f"""
The gateway is ready. In another terminal:

  curl -H "Host: whoami" http://127.0.0.1:{HTTP_PORT}/
  curl --insecure -H "Host: whoami" https://127.0.0.1:{HTTPS_PORT}/
  for i in 1 2 3 4; do curl -s -H "Host: canary" http://127.0.0.1:{HTTP_PORT}/ | head -1; done
  curl -i -H "Host: whoami" http://127.0.0.1:{HTTP_PORT}/foo

The dashboard: http://127.0.0.1:9000/dashboard/

Edit {{folder}}/02-route.yaml: a change is served when it is saved.
Control-C ends it.
"""


def demonstrate() -> None:
    """Serve the demo on 127.0.0.1 until a signal ends it."""
    manifests = Path(tempfile.mkdtemp(prefix="moongate-demo-"))
    with as_file(files("app.demo") / "manifests") as originals:
        shutil.copytree(originals, manifests, dirs_exist_ok=True)
    (manifests / "04-secret.yaml").write_text(yaml.safe_dump(_secret("mysecret", "whoami")))
    settings = Settings(
        manifests=(manifests,), host="127.0.0.1", certificates=(SecretObjectReference(name="mysecret"),)
    )
    serve(_Demo(settings, manifests))


class _Demo(Gateway):
    """A gateway that has its backends with it."""

    def __init__(self, settings: Settings, manifests: Path) -> None:
        super().__init__(settings, listeners=True)
        self._manifests = manifests

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Open the backends and write their endpoints among the manifests, before anything is served."""
        async with contextlib.AsyncExitStack() as stack:
            # Here and not where it was made: the signal that ends the server ends the process as well.
            stack.callback(shutil.rmtree, self._manifests, ignore_errors=True)
            slices = []
            for service, replicas in BACKENDS.items():
                for replica in replicas:
                    sockets = Sockets(whoami(replica), None)
                    stack.push_async_callback(sockets.drain, 1.0)
                    port = bound_port(await sockets.open("127.0.0.1", 0, {}))
                    slices.append(_endpoint_slice(service, replica, port))
            (self._manifests / "05-endpoints.yaml").write_text(yaml.safe_dump_all(slices))
            async with super().serving():
                print(_TRY.format(folder=self._manifests), flush=True)
                yield


def _endpoint_slice(service: str, name: str, port: int) -> dict[str, Any]:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": name, "labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4",
        "ports": [{"port": port}],
        "endpoints": [{"addresses": ["127.0.0.1"]}],
    }


def _secret(name: str, host: str) -> dict[str, Any]:
    """A kubernetes.io/tls Secret with a certificate for ``host`` that is made now and trusted by nobody."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = certificate.public_bytes(serialization.Encoding.PEM)
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": {"name": name},
        "data": {"tls.crt": b64encode(public).decode(), "tls.key": b64encode(private).decode()},
    }
