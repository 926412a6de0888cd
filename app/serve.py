"""``moongate run``: a uvicorn server of which the gateway opens every socket."""

import gc
import os
import signal
import sys
from contextlib import suppress
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from app.listeners.server import SocketlessConfig
from app.observability.workers import remove
from app.runtime import COLLECTED


class _Workers(Multiprocess):
    """uvicorn's processes, told to open their log files anew as the one is that starts them."""

    def handle_usr1(self) -> None:
        """Pass the signal on, to each worker when it has taken care that it is none that ends it."""
        for process in self.processes:
            if process.wait_until_ready(self.config.timeout_worker_healthcheck, self.should_exit) and process.pid:
                with suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGUSR1)


def serve(app: ASGIApp | str = "app:gateway", *, workers: int = 1, **options: Any) -> None:
    """Run ``app`` until a signal ends it, then let requests under way end. ``options`` are uvicorn's.

    With several ``workers`` it runs in as many processes, and must be named by a string.
    """
    config = SocketlessConfig(
        app,
        http="app.listeners.http:GatewayProtocol",
        timeout_keep_alive=75,
        lifespan="on",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        workers=workers,
        **options,
    )
    if hasattr(signal, "SIGUSR1"):
        # Until there is a log file to open anew, and something to look at again.
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    if workers > 1:
        supervisor = _Workers(config, [])
        try:
            supervisor.run()
        finally:
            remove(os.getpid())
        if any(process.exitcode == STARTUP_FAILURE for process in supervisor.processes):
            sys.exit(STARTUP_FAILURE)
        return
    # What a cluster has is read object by object, all of it to stay: looking for circles meanwhile is a seventh of it.
    gc.set_threshold(*COLLECTED)
    # uvicorn raises the signal that ended it once more, when all is done; Control-C is no error.
    with suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[])
