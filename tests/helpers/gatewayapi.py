"""The Gateway API's own Go module: its CRDs and its example manifests, as the release has them."""

import hashlib
import json
import os
import shutil
import subprocess
import urllib.request
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

MODULE = "sigs.k8s.io/gateway-api"
VERSION = "v1.7.0"
#: The release that v1alpha1 is of.
OLDER = "v0.1.0"
SHA256 = {
    VERSION: "f9041f93ad3b2572089afa858ceac74e0545e7769490ae774039ed0f841f3d6d",
    OLDER: "145c6ec9f8554bdf5f3083d2866429a2407426977035d3cbc9b0edd921125d84",
}

_CRDS = {
    VERSION: "config/crd/experimental/gateway.networking.k8s.io_",
    OLDER: "config/crd/bases/networking.x-k8s.io_",
}

PROXY = f"https://proxy.golang.org/{MODULE}/@v"


def files(*prefixes: str, version: str = VERSION) -> dict[str, str]:
    """The texts of the module's YAML files below ``prefixes``, by their path in the module. Skips the test where the
    module cannot be had."""
    archive, reason = _archive(version)
    if archive is None:
        pytest.skip(f"{MODULE}@{version} cannot be had: {reason}")
    root = f"{MODULE}@{version}/"
    with zipfile.ZipFile(archive) as opened:
        return {
            name.removeprefix(root): opened.read(name).decode()
            for name in sorted(opened.namelist())
            if name.endswith(".yaml") and name.removeprefix(root).startswith(prefixes)
        }


def schemas(version: str = VERSION) -> dict[tuple[str, str], dict[str, Any]]:
    """The OpenAPI schema of each (apiVersion, kind) that is served, from the CRDs of the experimental channel, which
    v0.1.0 did not know yet."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for text in files(_CRDS[version], version=version).values():
        for document in yaml.load_all(text, yaml.CSafeLoader):
            if document["kind"] != "CustomResourceDefinition":
                continue
            spec = document["spec"]
            for each in spec["versions"]:
                if each["served"]:
                    name = f"{spec['group']}/{each['name']}", spec["names"]["kind"]
                    found[name] = each["schema"]["openAPIV3Schema"]
    return found


@cache
def _archive(version: str) -> tuple[Path | None, str]:
    """The module's zip file, from Go's cache or Go's proxy; or why there is none."""
    reasons = []
    for get in (_from_go, _from_proxy):
        try:
            path = get(version)
            if hashlib.sha256(path.read_bytes()).hexdigest() == SHA256[version]:
                return path, ""
            reasons.append(f"{path} is another file than it was")
        except (OSError, ValueError, KeyError, subprocess.SubprocessError) as error:
            reasons.append(str(error))
    return None, "; ".join(reasons)


def _from_go(version: str) -> Path:
    go = shutil.which("go")
    if go is None:
        raise FileNotFoundError("go is not installed")
    # It fails where the module asks for a newer Go, and names the zip all the same.
    command = [go, "mod", "download", "-json", f"{MODULE}@{version}"]
    told = subprocess.run(command, capture_output=True, cwd="/", timeout=60, check=False).stdout
    return Path(json.loads(told)["Zip"])


def _from_proxy(version: str) -> Path:
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "moongate"
    path = folder / f"gateway-api-{version}.zip"
    if not path.exists():
        with urllib.request.urlopen(f"{PROXY}/{version}.zip", timeout=60) as answer:
            content = answer.read()
        folder.mkdir(parents=True, exist_ok=True)
        beside = path.with_suffix(f".{os.getpid()}")
        beside.write_bytes(content)
        beside.replace(path)
    return path
