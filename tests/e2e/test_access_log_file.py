"""The access log in a file, with real processes: every line once, whole, through every rotation."""

import json
import os
import signal
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from app.whoami import whoami
from tests.helpers.client import Connection, ask, insecure
from tests.helpers.manifests import backend, gateway_object, http_listener, https_listener, pair, route, secret, write
from tests.helpers.processes import Process, free_port, gateway, moongate, process, settings
from tests.helpers.upstreams import serving
from tests.helpers.waiting import wait_until


@pytest.fixture(scope="module")
def upstream() -> Iterator[int]:
    with serving(whoami("logged")) as port:
        yield port


@contextmanager
def logging_run(folder: Path, upstream: int, *arguments: str, **names: str) -> Iterator[Process]:
    """``moongate run`` with a listener on its ``port`` and a JSON log in ``access.log``."""
    port = free_port()
    manifests = folder / "manifests.yaml"
    listener = gateway_object("edge", http_listener(port))
    write(manifests, listener, *backend("whoami", upstream), route("all", "whoami", gateway="edge"))
    names = {"access_log": "json", "access_log_file": str(folder / "access.log"), **names}
    environment = settings(manifests=str(manifests), **names)
    with process(["app", "run", *arguments], environment, port=port) as running:
        wait_until(lambda: running.log.count("Application startup complete") == max(1, len(arguments)), seconds=30)
        yield running


def entries(*files: Path) -> list[dict[str, Any]]:
    """The lines of ``files``, each of which is whole."""
    found = []
    for file in files:
        text = file.read_text() if file.exists() else ""
        assert text == "" or text.endswith("\n")
        found += [json.loads(line) for line in text.splitlines()]
    return found


def paths(*files: Path) -> list[str]:
    return [entry["RequestPath"] for entry in entries(*files)]


def test_lines_go_to_the_file_and_nowhere_else(tmp_path: Path, upstream: int) -> None:
    log = tmp_path / "access.log"
    with logging_run(tmp_path, upstream, request_id="X-Request-Id") as running:
        answer = ask(running.port, "/one")
        wait_until(lambda: log.read_text().endswith("\n"))
        (entry,) = entries(log)
        assert running.output == ""
    assert entry["RequestPath"] == "/one"
    assert entry["RequestId"] == answer.echo["X-Request-Id"] == answer.values("x-request-id")[0]
    assert entry["ServiceAddr"] == f"127.0.0.1:{upstream}"


def test_others_may_not_read_a_new_file(tmp_path: Path, upstream: int) -> None:
    before = os.umask(0o027)
    try:
        with logging_run(tmp_path, upstream):
            assert stat.S_IMODE((tmp_path / "access.log").stat().st_mode) == 0o640
    finally:
        os.umask(before)


def test_what_is_there_stays(tmp_path: Path, upstream: int) -> None:
    log = tmp_path / "access.log"
    log.write_text('{"RequestPath":"/before"}\n')
    with logging_run(tmp_path, upstream) as running:
        ask(running.port, "/after")
        running.send(signal.SIGTERM)
        running.wait()
    assert paths(log) == ["/before", "/after"]


def test_after_a_rename_and_usr1_lines_go_to_a_new_file(tmp_path: Path, upstream: int) -> None:
    log, old = tmp_path / "access.log", tmp_path / "access.log.1"
    with logging_run(tmp_path, upstream) as running:
        ask(running.port, "/one")
        log.rename(old)
        ask(running.port, "/two")
        running.send(signal.SIGUSR1)
        wait_until(log.exists)
        ask(running.port, "/three")
        running.send(signal.SIGTERM)
        running.wait()
    assert (paths(old), paths(log)) == (["/one", "/two"], ["/three"])


class Load:
    """Clients that ask for paths of their own, each once, until they are told to stop."""

    def __init__(self, port: int, clients: int) -> None:
        self._port = port
        self._stop = threading.Event()
        self.asked: list[str] = []
        self._threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(clients)]
        for thread in self._threads:
            thread.start()

    def _ask(self, number: int) -> None:
        count = 0
        while not self._stop.is_set():
            # A few at a time on a connection, so that all workers have their share.
            with Connection(self._port) as connection:
                for _ in range(5):
                    path = f"/{number}/{count}"
                    assert connection.ask(path).status == 200
                    self.asked.append(path)
                    count += 1

    def stop(self) -> list[str]:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        return self.asked


@pytest.mark.parametrize("arguments", [(), ("--workers", "2")], ids=["one process", "workers"])
def test_no_line_is_lost_or_written_twice_while_files_change(
    tmp_path: Path, upstream: int, arguments: tuple[str, ...]
) -> None:
    log = tmp_path / "access.log"
    files = [tmp_path / f"access.log.{number}" for number in range(3)]
    with logging_run(tmp_path, upstream, *arguments) as running:
        load = Load(running.port, 3)
        for file in files:
            seen = len(load.asked)
            wait_until(lambda seen=seen: len(load.asked) > seen + 20)  # type: ignore[misc]
            log.rename(file)
            running.send(signal.SIGUSR1)
            wait_until(log.exists)
        asked = load.stop()
        running.send(signal.SIGTERM)
        running.wait()
    assert sorted(paths(*files, log)) == sorted(asked)
    assert all(paths(file) for file in files)


def test_a_file_that_cannot_be_opened_fails_the_start(tmp_path: Path) -> None:
    manifests = tmp_path / "manifests.yaml"
    write(manifests, gateway_object("edge", http_listener(free_port())))
    path = str(tmp_path / "missing" / "access.log")
    with moongate("run", manifests=str(manifests), access_log="json", access_log_file=path) as running:
        assert running.wait() != 0
        assert f"MOONGATE_ACCESS_LOG_FILE: {path} cannot be opened: No such file or directory" in running.log
        assert "Traceback" not in running.log


def test_a_file_that_cannot_be_opened_anew_is_told_and_the_old_one_goes_on(tmp_path: Path, upstream: int) -> None:
    log, old = tmp_path / "logs" / "access.log", tmp_path / "old"
    log.parent.mkdir()
    with logging_run(tmp_path, upstream, access_log_file=str(log)) as running:
        log.parent.rename(old)
        running.send(signal.SIGUSR1)
        running.wait_for(r"cannot be opened anew, the old file goes on: No such file or directory")
        ask(running.port, "/after")
        running.send(signal.SIGTERM)
        running.wait()
    assert paths(old / "access.log") == ["/after"]


@pytest.mark.parametrize("arguments", [(), ("--workers", "2")], ids=["one process", "workers"])
def test_without_a_file_the_signal_does_nothing(tmp_path: Path, upstream: int, arguments: tuple[str, ...]) -> None:
    with logging_run(tmp_path, upstream, *arguments, access_log="off", access_log_file="") as running:
        running.send(signal.SIGUSR1)
        assert ask(running.port).status == 200
        running.send(signal.SIGTERM)
        running.wait()
        assert "died" not in running.log


def test_behind_uvicorn_it_is_the_same(tmp_path: Path, upstream: int) -> None:
    log, old = tmp_path / "access.log", tmp_path / "old.log"
    manifests = tmp_path / "manifests.yaml"
    write(manifests, *backend("whoami", upstream), route("all", "whoami"))
    with gateway(manifests, access_log="json", access_log_file=str(log)) as running:
        log.rename(old)
        running.send(signal.SIGUSR1)
        wait_until(log.exists)
        ask(running.port, "/one")
        running.send(signal.SIGTERM)
        running.wait()
    assert paths(old, log) == ["/one"]


def test_filters_and_fields_are_the_settings(tmp_path: Path, upstream: int) -> None:
    log = tmp_path / "access.log"
    given = {
        "access_log_status": "400-499",
        "access_log_min_duration": "3600",
        "access_log_headers": "keep",
        "access_log_header": "User-Agent=drop,X-Api-Key=keep",
    }
    with logging_run(tmp_path, upstream, **given) as running:
        fields = (("User-Agent", "me"), ("X-Api-Key", "named"), ("Authorization", "Basic secret"))
        ask(running.port, "/served", fields=fields)
        ask(running.port, "/refused", host="nobody", fields=fields)
        running.send(signal.SIGTERM)
        running.wait()
    (entry,) = entries(log)
    assert entry["RequestPath"] == "/refused"
    assert entry["request_X-Api-Key"] == "named"
    assert entry["request_Authorization"] == "REDACTED"
    assert "request_User-Agent" not in entry
    assert entry["downstream_Content-Type"] == "text/plain; charset=utf-8"


def test_tls_is_told_and_the_backends_fields(tmp_path: Path, upstream: int) -> None:
    log, port = tmp_path / "access.log", free_port()
    manifests = tmp_path / "tls.yaml"
    objects = [secret("mine", *pair("whoami")), gateway_object("edge", https_listener(port, "mine"))]
    write(manifests, *objects, *backend("whoami", upstream), route("all", "whoami", gateway="edge"))
    names = {"access_log": "json", "access_log_file": str(log), "access_log_header": "Content-Length=keep"}
    with moongate("run", manifests=str(manifests), **names) as running:
        running.wait_for("Application startup complete")
        answer = ask(port, tls=insecure(), server_name="whoami")
        running.send(signal.SIGTERM)
        running.wait()
    (entry,) = entries(log)
    assert (entry["TLSVersion"], entry["RequestScheme"]) == ("1.3", "https")
    assert entry["TLSCipher"].startswith("TLS_")
    assert entry["origin_Content-Length"] == entry["downstream_Content-Length"] == str(len(answer.body))
