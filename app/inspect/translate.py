"""``moongate translate``: what becomes of manifests, as data: problems, the status of each object, and the table."""

from typing import Any

from app.inspect.loaded import Loaded
from app.inspect.printing import plain
from app.status.patches import statuses
from routes.resources.meta import GATEWAY_GROUP, Key
from routes.table.describe import describe


def translated(loaded: Loaded, controller_name: str) -> dict[str, Any]:
    """Status by object and the routing table, in the form of the golden files in ``tests/golden``."""
    found = statuses(loaded.graph, controller_name)
    return {
        "problems": [plain(problem) for problem in loaded.problems],
        "status": {_title(key): status for key, status in found.items()},
        "table": describe(loaded.table),
    }


def _title(key: Key) -> str:
    return str(key) if key.group == GATEWAY_GROUP else f"{key} of {key.group}"
