"""A run that serves manifests, and its admin port's application without a socket."""

import asyncio
import json
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from app.admin.application import Admin, admin_app
from app.admin.source import Source
from app.reconciler import State
from app.runtime import Runtime
from app.settings import Settings
from tests.app.admin.asking import LOCAL, asked, fields_of
from tests.helpers.asgi import Answer, answered

T = TypeVar("T")


class Asked:
    """The admin port of a run, asked from this machine."""

    def __init__(self, runner: asyncio.Runner, runtime: Runtime, source: Source) -> None:
        self._runner = runner
        self.runtime = runtime
        self.source = source
        self.app: Admin = admin_app(source)

    @property
    def state(self) -> State | None:
        return self.runtime.state

    def get(self, target: str, method: str = "GET", **fields: str) -> Answer:
        return self._runner.run(answered(self.app, asked(target, method, fields_of(fields), LOCAL)))

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run something in the run's event loop."""
        return self._runner.run(coroutine)

    def json(self, target: str) -> Any:
        """What is answered with 200."""
        answer = self.get(target)
        assert answer.status == 200, answer.body
        assert answer.values(b"content-type") == [b"application/json"]
        return json.loads(answer.body)


@contextmanager
def running(folder: Path, **settings: Any) -> Iterator[Asked]:
    """Serve the manifests of ``folder`` without any socket."""
    with asyncio.Runner() as runner:
        runtime = runner.run(_started(Settings(manifests=(folder,), admin="off", **settings)))
        reconciler = runtime._reconciler
        assert reconciler is not None
        source = Source(
            settings=runtime.settings,
            serving=lambda: runtime.serving,
            state=lambda: runtime.state,
            proxies=reconciler.proxies,
            bound=dict,
            numbers=None,
            journal=runtime.journal,
        )
        try:
            yield Asked(runner, runtime, source)
        finally:
            runner.run(runtime.__aexit__())


async def _started(settings: Settings) -> Runtime:
    return await Runtime(settings).__aenter__()
