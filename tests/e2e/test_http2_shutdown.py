"""SIGTERM under load of HTTP/2: what the last GOAWAY covers is answered in full, the rest may be asked elsewhere."""

import asyncio
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from itertools import cycle
from pathlib import Path

import pytest
from h2.errors import ErrorCodes
from starlette.types import Receive, Scope, Send

from tests.e2e.test_shutdown import WORKERS, Run, by_moongate, by_uvicorn, manifests
from tests.helpers.http2 import Answer, Http2Client
from tests.helpers.processes import Process, free_port, is_listening
from tests.helpers.upstreams import serving
from tests.helpers.waiting import wait_until

BODY = bytes(range(256)) * 400
DIGEST = sha256(BODY).hexdigest().encode()
LARGE = BODY * 10
#: What a client asks for in turns, and how it is answered.
ANSWERS = {"/": DIGEST, "/slow": DIGEST, "/upload": DIGEST, "/large": LARGE}
#: The last stream of a GOAWAY that names none.
ANY = 2**31 - 1


class Backend:
    """Answers with the digest of what it got, or with much; to ``/slow`` when the test says so."""

    def __init__(self) -> None:
        self.slow = 0
        self.release = threading.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = sha256(b"" if scope["path"] == "/upload" else BODY)
        more = True
        while more:
            message = await receive()
            body.update(message.get("body", b""))
            more = message.get("more_body", False)
        answer = LARGE if scope["path"] == "/large" else body.hexdigest().encode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": answer[:10], "more_body": True})
        if scope["path"] == "/slow":
            self.slow += 1
            while not self.release.is_set():
                await asyncio.sleep(0.01)
        await send({"type": "http.response.body", "body": answer[10:]})


class Load:
    """Clients that keep several streams under way until there is nobody any more to take them."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.faults: list[str] = []
        self.answered: Counter[str] = Counter()
        self.refused = 0
        self._threads = [threading.Thread(target=self._ask_on, args=(size,)) for size in (8, 8, 1)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive()

    def _ask_on(self, size: int) -> None:
        try:
            while not self.faults:
                with Http2Client(self._port, host="whoami") as client:
                    self._ask(client, size)
        except ConnectionRefusedError:
            pass
        except Exception as error:
            self.faults.append(repr(error))

    def _ask(self, client: Http2Client, size: int) -> None:
        """``size`` requests at a time until the connection takes no more, and all of them to their end."""
        under_way: dict[int, tuple[str, Answer]] = {}
        paths = cycle(ANSWERS)
        while True:
            while len(under_way) < size and (not client.last_named or client.last_named[-1] == ANY):
                path = next(paths)
                stream, answer = client.open(path, method="PUT" if path == "/upload" else "GET", end=path != "/upload")
                under_way[stream] = path, answer
                if path == "/upload":
                    client.send(stream, BODY, end=True)
            last = client.last_named[-1] if client.last_named else ANY
            for stream, (path, answer) in list(under_way.items()):
                if answer.over or (client.closed and stream > last):
                    del under_way[stream]
                    self._judge(stream, last, path, answer)
            if client.closed or (last != ANY and not under_way):
                self.faults += [f"{path} on {stream} of {last} was cut off" for stream, (path, _) in under_way.items()]
                return
            client.receive()

    def _judge(self, stream: int, last: int, path: str, answer: Answer) -> None:
        if answer.status == 200 and answer.ended and answer.body == ANSWERS[path]:
            self.answered[path] += 1
        elif stream > last and not answer.status and answer.reset in (None, ErrorCodes.REFUSED_STREAM):
            self.refused += 1
        else:
            self.faults.append(f"{path} on {stream} of {last}: {answer.status}, {len(answer.body)}, {answer.reset}")


@contextmanager
def running_for(
    backend: Backend, folder: Path, run: Run, arguments: tuple[str, ...], delay: float
) -> Iterator[Process]:
    port = free_port()
    with serving(backend) as upstream:
        manifests(folder, port, upstream)
        with run(folder, port, *arguments, drain_delay=str(delay)) as running:
            count = 2 if arguments == WORKERS else 1
            wait_until(lambda: running.log.count("Application startup complete") == count, what="all have started")
            running.port = port
            yield running


@pytest.mark.parametrize(
    ("run", "arguments", "delay"),
    [
        pytest.param(by_moongate, (), 0.0, id="moongate"),
        pytest.param(by_moongate, (), 1.5, id="moongate-after-a-drain-delay"),
        pytest.param(by_moongate, WORKERS, 0.0, id="moongate-2-workers"),
        pytest.param(by_uvicorn, ("--loop", "asyncio"), 0.0, id="uvicorn-on-asyncio"),
        pytest.param(by_uvicorn, WORKERS, 0.5, id="uvicorn-2-workers"),
    ],
)
def test_term_under_load_cuts_nobody_off(tmp_path: Path, run: Run, arguments: tuple[str, ...], delay: float) -> None:
    backend = Backend()
    with running_for(backend, tmp_path, run, arguments, delay) as running:
        with Load(running.port) as load:
            try:
                wait_until(lambda: load.faults or (backend.slow >= 5 and len(load.answered) == 3), what="all is asked")
                running.send(signal.SIGTERM)
                wait_until(lambda: load.faults or not is_listening(running.port), what="no new connection is taken")
                assert not running.ended
            finally:
                backend.release.set()
        assert load.faults == []
        assert load.answered["/slow"] >= 5
        assert running.wait() in (0, -signal.SIGTERM)
        assert "Traceback" not in running.log
