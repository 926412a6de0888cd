"""Manifests that change while requests come in."""

import os
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from tests.e2e.conftest import Backends
from tests.helpers.client import Connection, ask
from tests.helpers.manifests import backend, replace, route, write
from tests.helpers.processes import Process, gateway
from tests.helpers.waiting import wait_until

BURSTS = 5
WRITES = 40
CLIENTS = 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, backends: Backends) -> Path:
    """The manifests of this module's gateway; each test has a file and a host of its own in it."""
    folder = tmp_path_factory.mktemp("changes")
    write(folder / "backends.yaml", *backend("whoami", *backends.whoami))
    return folder


@pytest.fixture(scope="module")
def running(folder: Path) -> Iterator[Process]:
    with gateway(folder) as running:
        yield running


def is_served(running: Process, path: str, host: str) -> bool:
    return ask(running.port, path, host).status == 200


@contextmanager
def steady_load(port: int, host: str) -> Iterator[list[str]]:
    """Requests on CLIENTS connections that are kept alive; gives the list of what goes wrong with them, and at the
    end there have been requests on each of them."""
    faults: list[str] = []
    counts = [0] * CLIENTS
    stop = threading.Event()

    def client(index: int) -> None:
        with Connection(port) as connection:
            while not stop.wait(0.002):
                try:
                    status = connection.ask("/steady", host).status
                except Exception as error:
                    faults.append(repr(error))
                    return
                counts[index] += 1
                if status != 200:
                    faults.append(f"status {status}")

    threads = [threading.Thread(target=client, args=(index,)) for index in range(CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        wait_until(lambda: all(counts) or faults, what="every client is being answered")
        yield faults
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    print(f"{sum(counts)} requests on {CLIENTS} connections")


def version(number: int) -> str:
    """The route in one of its versions: all have /steady, and each has a path of its own."""
    manifest = route("changing", "whoami", host="changing", path="/steady", kind="Exact")
    manifest["spec"]["rules"].append(
        {
            "matches": [{"path": {"type": "Exact", "value": f"/version-{number}"}}],
            "backendRefs": [{"name": "whoami", "port": 80}],
        }
    )
    return yaml.safe_dump(manifest)


def write_in_place(path: Path, text: str) -> None:
    """As an editor or a shell does it: the file is empty, then half there, then whole."""
    with path.open("w") as file:
        file.write(text[: len(text) // 2])
        file.flush()
        file.write(text[len(text) // 2 :])


def test_200_rewrites_under_load_fail_no_request_and_the_last_is_served_at_once(running: Process, folder: Path) -> None:
    path = folder / "changing.yaml"
    replace(path, version(0))
    wait_until(lambda: is_served(running, "/version-0", "changing"))
    latencies: list[float] = []
    with steady_load(running.port, "changing") as faults, Connection(running.port) as watcher:

        def serve(number: int) -> None:
            wait_until(
                lambda: watcher.ask(f"/version-{number}", "changing").status == 200,
                every=0.001,
                what=f"version {number} is served",
            )

        for number in range(1, BURSTS * WRITES + 1):
            (replace if number % 3 else write_in_place)(path, version(number))
            written = time.perf_counter()
            if number % 4 == 0:
                serve(number)  # the others come while the one before is being read
            if number % WRITES == 0:
                latencies.append(time.perf_counter() - written)
    print("served after the last of 40 writes:", ", ".join(f"{latency * 1000:.0f} ms" for latency in latencies))
    assert faults == []
    # Some 40 ms; the promise is 100. The bound is what a busy machine keeps as well and a lost notice would not:
    # without one the files are looked at every five seconds.
    assert statistics.median(latencies) <= 1.0


def test_a_configmap_is_served_when_its_link_is_swapped(running: Process, folder: Path) -> None:
    volume = folder / "configmap"

    def publish(number: int) -> None:
        """What the kubelet does: a new folder, and a link that takes the place of the one before."""
        data = volume / f"..{number}"
        data.mkdir()
        write(data / "route.yaml", route("mounted", "whoami", host="mounted", path=f"/{number}"))
        (volume / "..data_tmp").symlink_to(data.name)
        os.replace(volume / "..data_tmp", volume / "..data")

    volume.mkdir()
    publish(1)
    (volume / "route.yaml").symlink_to(Path("..data", "route.yaml"))
    wait_until(lambda: is_served(running, "/1", "mounted"))
    publish(2)
    wait_until(lambda: is_served(running, "/2", "mounted"))
    assert not is_served(running, "/1", "mounted")


def test_a_broken_file_keeps_what_was_served_and_is_named_with_its_line(running: Process, folder: Path) -> None:
    path = folder / "broken.yaml"
    write(path, route("broken", "whoami", host="broken"))
    wait_until(lambda: is_served(running, "/", "broken"))
    replace(path, "kind: HTTPRoute\nspec: [\n")
    running.wait_for(r"ERROR: +\S+/broken\.yaml:3: error: is not YAML: .+ \(1 object from before kept\)")
    assert is_served(running, "/", "broken")


def test_a_broken_file_is_served_when_it_is_mended(running: Process, folder: Path) -> None:
    path = folder / "mended.yaml"
    replace(path, "kind: HTTPRoute\nspec: [\n")
    running.wait_for(r"ERROR: +\S+/mended\.yaml:3: error: is not YAML")
    write(path, route("mended", "whoami", host="mended"))
    wait_until(lambda: is_served(running, "/", "mended"))
    running.wait_for(r"INFO: +mended: \S+/mended\.yaml:3: error: is not YAML")


def test_a_deleted_file_takes_its_route_away(running: Process, folder: Path) -> None:
    path = folder / "deleted.yaml"
    write(path, route("deleted", "whoami", host="deleted"))
    wait_until(lambda: is_served(running, "/", "deleted"))
    path.unlink()
    wait_until(lambda: ask(running.port, "/", "deleted").status == 404)


def test_a_new_folder_is_served(running: Process, folder: Path) -> None:
    (folder / "new").mkdir()
    write(folder / "new" / "route.yaml", route("new", "whoami", host="new"))
    wait_until(lambda: is_served(running, "/", "new"))
