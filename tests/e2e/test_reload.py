"""HUP has everything looked at again."""

import os
import signal
from pathlib import Path

from app.whoami import whoami
from tests.helpers.client import ask
from tests.helpers.manifests import backend, gateway_object, http_listener, route, write
from tests.helpers.processes import free_port, moongate
from tests.helpers.upstreams import serving
from tests.helpers.waiting import wait_until


def test_hup_looks_at_all_objects_and_ends_nothing(tmp_path: Path) -> None:
    port = free_port()
    with serving(whoami("whoami")) as upstream:
        write(tmp_path / "a.yaml", gateway_object("one", http_listener(port)), *backend("whoami", upstream))
        with moongate("run", manifests=str(tmp_path)) as running:
            running.wait_for("Application startup complete")
            os.kill(running.pid, signal.SIGHUP)
            running.wait_for("looking at all objects again")
            write(tmp_path / "b.yaml", route("all", "whoami", gateway="one"))
            os.kill(running.pid, signal.SIGHUP)
            wait_until(lambda: ask(port).status == 200, what="the route is served")
            assert not running.ended
