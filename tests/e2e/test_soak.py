"""Backends that are killed at random moments under load: no client sees anything of it but the end of an answer that
had begun, which nobody can take back."""

import random
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.helpers.manifests import backend, route, write
from tests.helpers.processes import free_port, gateway, is_listening
from tests.helpers.waiting import wait_until

KILLS = 12
CLIENTS = 8

#: Answers every request in two halves, the second a moment later; begins within a tenth of a second, unlike ours.
BACKEND = """
import asyncio, random, sys

async def answer(reader, writer):
    try:
        while await reader.readuntil(b"\\r\\n\\r\\n"):
            writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 8\\r\\n\\r\\nhalf")
            await asyncio.sleep(random.random() / 500)
            writer.write(b"half")
    except asyncio.IncompleteReadError:
        writer.close()

async def main():
    await (await asyncio.start_server(answer, "127.0.0.1", int(sys.argv[1]), backlog=1024)).serve_forever()

asyncio.run(main())
"""


class Victim:
    """A backend that can be killed and be there again."""

    def __init__(self) -> None:
        self.port = free_port()
        self._popen: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._popen = subprocess.Popen([sys.executable, "-c", BACKEND, str(self.port)], stderr=subprocess.DEVNULL)
        wait_until(lambda: is_listening(self.port), every=0.002, what="the backend listens")

    def kill(self) -> None:
        if self._popen is not None:
            self._popen.send_signal(signal.SIGKILL)
            self._popen.wait(10)
            self._popen = None


class Clients:
    """Threads that ask without a pause, on connections that are kept: what came of it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(index,)) for index in range(CLIENTS)]
        self.answered: Counter[int] = Counter()
        self.cut: Counter[int] = Counter()
        self.failed: list[bytes] = []

    def __enter__(self) -> "Clients":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive()

    def go_on(self, count: int) -> None:
        """Wait until ``count`` more have been answered, or one has failed."""
        goal = self.answered.total() + count
        wait_until(lambda: self.failed or self.answered.total() >= goal, every=0.001, what="answers go on")

    def _run(self, index: int) -> None:
        while not self._stop.is_set():
            with socket.create_connection(("127.0.0.1", self._port), timeout=30) as connection:
                while self._ask(index, connection) and not self._stop.is_set():
                    pass

    def _ask(self, index: int, connection: socket.socket) -> bool:
        """Whether the connection can be used again."""
        got = b""
        try:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: soak\r\n\r\n")
            while not got.endswith(b"\r\n\r\nhalfhalf"):
                data = connection.recv(65536)
                if not data:
                    break
                got += data
        except OSError as error:
            got += repr(error).encode()
        if got.endswith(b"\r\n\r\nhalfhalf") and got.startswith(b"HTTP/1.1 200 "):
            self.answered[index] += 1
            return True
        if got.startswith(b"HTTP/1.1 200 ") and b"\r\n\r\nhalf" in got:
            self.cut[index] += 1
        else:
            self.failed.append(got)
        return False


@contextmanager
def two_victims() -> Iterator[tuple[Victim, Victim]]:
    pair = Victim(), Victim()
    try:
        for victim in pair:
            victim.start()
        yield pair
    finally:
        for victim in pair:
            victim.kill()


def test_backends_killed_at_random_fail_no_repeatable_request(tmp_path: Path) -> None:
    chance = random.Random(7)
    with two_victims() as pair:
        write(
            tmp_path / "all.yaml", *backend("soak", *(victim.port for victim in pair)), route("s", "soak", host="soak")
        )
        with (
            gateway(tmp_path, "--http", "app.listeners.http:GatewayProtocol") as running,
            Clients(running.port) as clients,
        ):
            for _ in range(KILLS):
                # One of the two is always there; when it is killed is left to the pace of the answers.
                clients.go_on(chance.randrange(50, 500))
                victim = chance.choice(pair)
                victim.kill()
                clients.go_on(chance.randrange(50, 500))
                victim.start()
    print(f"{clients.answered.total()} answered, {clients.cut.total()} cut in the middle, {len(clients.failed)} failed")
    assert clients.failed == []
    assert len(clients.answered) == CLIENTS
    # Each kill ends what is half sent on that backend, and nothing else does.
    assert clients.cut.total() <= KILLS * CLIENTS
