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
SHA256 = "f9041f93ad3b2572089afa858ceac74e0545e7769490ae774039ed0f841f3d6d"

PROXY = f"https://proxy.golang.org/{MODULE}/@v/{VERSION}.zip"


def files(*prefixes: str) -> dict[str, str]:
    """The texts of the module's YAML files below ``prefixes``, by their path in the module. Skips the test where the
    module cannot be had."""
    archive, reason = _archive()
    if archive is None:
        pytest.skip(f"{MODULE}@{VERSION} cannot be had: {reason}")
    root = f"{MODULE}@{VERSION}/"
    with zipfile.ZipFile(archive) as opened:
        return {
            name.removeprefix(root): opened.read(name).decode()
            for name in sorted(opened.namelist())
            if name.endswith(".yaml") and name.removeprefix(root).startswith(prefixes)
        }


def schemas() -> dict[tuple[str, str], dict[str, Any]]:
    """The OpenAPI schema of each (apiVersion, kind) that is served, from the CRDs of the experimental channel."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for text in files("config/crd/experimental/gateway.networking.k8s.io_").values():
        for document in yaml.load_all(text, yaml.CSafeLoader):
            if document["kind"] != "CustomResourceDefinition":
                continue
            spec = document["spec"]
            for version in spec["versions"]:
                if version["served"]:
                    name = f"{spec['group']}/{version['name']}", spec["names"]["kind"]
                    found[name] = version["schema"]["openAPIV3Schema"]
    return found


@cache
def _archive() -> tuple[Path | None, str]:
    """The module's zip file, from Go's cache or Go's proxy; or why there is none."""
    reasons = []
    for get in (_from_go, _from_proxy):
        try:
            path = get()
            if hashlib.sha256(path.read_bytes()).hexdigest() == SHA256:
                return path, ""
            reasons.append(f"{path} is another file than it was")
        except (OSError, ValueError, KeyError, subprocess.SubprocessError) as error:
            reasons.append(str(error))
    return None, "; ".join(reasons)


def _from_go() -> Path:
    go = shutil.which("go")
    if go is None:
        raise FileNotFoundError("go is not installed")
    # It fails where the module asks for a newer Go, and names the zip all the same.
    command = [go, "mod", "download", "-json", f"{MODULE}@{VERSION}"]
    told = subprocess.run(command, capture_output=True, cwd="/", timeout=60, check=False).stdout
    return Path(json.loads(told)["Zip"])


def _from_proxy() -> Path:
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "moongate"
    path = folder / f"gateway-api-{VERSION}.zip"
    if not path.exists():
        with urllib.request.urlopen(PROXY, timeout=60) as answer:
            content = answer.read()
        folder.mkdir(parents=True, exist_ok=True)
        beside = path.with_suffix(f".{os.getpid()}")
        beside.write_bytes(content)
        beside.replace(path)
    return path
