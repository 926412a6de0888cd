"""How the peers in Python are configured."""

import yaml

from benchmarks.place import SERVER, Place


def ours(name: str, program: str, place: Place) -> list[str]:
    """A proxy of :mod:`benchmarks.proxies`."""
    hosts = place.folder / "hosts"
    hosts.write_text("\n".join(place.hosts))
    options = {
        "http": place.http,
        "https": place.https,
        "backend": place.backend,
        "certificate": place.certificate,
        "key": place.key,
        "hosts": hosts,
        "server": SERVER,
    }
    named = [part for option, value in options.items() for part in (f"--{option}", str(value))]
    return [program, "-m", f"benchmarks.proxies.{name}", *named]


def traefik(program: str, place: Place) -> list[str]:
    """python-traefik: a router for each host."""
    config = {
        "entryPoints": {"web": {"address": f"127.0.0.1:{place.http}"}},
        "routers": {
            f"router-{number}": {"rule": f"Host(`{host}`)", "service": "backend"}
            for number, host in enumerate(place.hosts)
        },
        "services": {"backend": {"loadBalancer": {"servers": [{"url": f"http://127.0.0.1:{place.backend}"}]}}},
        "logging": {"level": "ERROR", "accessLog": False},
    }
    path = place.folder / "traefik.yaml"
    path.write_text(yaml.dump(config, Dumper=yaml.CSafeDumper))
    return [program, "run", "--config", str(path)]
