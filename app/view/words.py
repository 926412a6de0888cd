"""What is the same in all views: names, conditions, health."""

from collections.abc import Iterable

from app.view.model import ConditionView, Counts, Health
from routes.graph.nodes import Condition
from routes.resources.meta import GATEWAY_GROUP, Key

#: Conditions that are bad where they are true; all others are where they are false.
NEGATIVE = frozenset({"Conflicted", "OverlappingTLSConfig", "PartiallyInvalid"})


def id_of(key: Key) -> str:
    """``namespace/name``, and ``@group`` where that is not the Gateway API's."""
    return key.qualified_name if key.group == GATEWAY_GROUP else f"{key.qualified_name}@{key.group}"


def key_of(id: str, kind: str) -> Key | None:
    """The key of which :func:`id_of` made ``id``."""
    name, _, group = id.partition("@")
    namespace, slash, name = name.partition("/")
    return Key(group or GATEWAY_GROUP, kind, namespace, name) if slash else None


def is_good(condition: Condition) -> bool:
    """Whether it says that all is well."""
    return condition.status != (condition.type in NEGATIVE)


def conditions(found: Iterable[Condition]) -> tuple[ConditionView, ...]:
    """Conditions as they are shown."""
    return tuple(ConditionView(each.type, each.status, each.reason, each.message, is_good(each)) for each in found)


def trouble(found: Iterable[Condition]) -> str:
    """The first of the conditions that is not well, in a sentence; "" where all are."""
    return next((f"{each.reason}: {each.message}" for each in found if not is_good(each)), "")


def counted(found: Iterable[Health]) -> Counts:
    """How many do how well."""
    all_ = list(found)
    return Counts(len(all_), all_.count(Health.WARNING), all_.count(Health.DISABLED))
