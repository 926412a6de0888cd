"""What routers, services and middlewares are called.

Traefik's Gateway provider calls a router after its route, Gateway, entry point and rule, with a hash of what it
matches (``httproute-default-whoami-gw-default-edge-ep-web-0-<hash>@kubernetesgateway``), and what belongs to it after
that. Here the names read the same, but the hash is of what tells the object from all others: namespace and name joined
by "-" do not (``a-b/c`` and ``a/b-c``), and a name that changes with every edit of a match is of no use to who follows
it. They end in ``@kubernetesgateway`` wherever the objects are read from: a folder of manifests and the cluster that it
is applied to have the same names.
"""

import hashlib
import re
from typing import Final

from routes.resources.meta import Key

#: Traefik's name for what reads Gateways and routes.
PROVIDER: Final = "kubernetesgateway"

_OTHER: Final = re.compile(r"[^A-Za-z0-9]+")


def router_name(route: Key, gateway: Key, port: int, listener: tuple[Key, str], rule: int, match: int) -> str:
    """A match of a rule on a listener, on whose Gateway's ``port`` it is tried."""
    place = f"gw-{gateway.namespace}-{gateway.name}-ep-{port}"
    return _qualified(f"{_of(route)}-{place}-{rule}", *route, *listener[0], listener[1], str(rule), str(match))


def rule_name(route: Key, rule: int) -> str:
    """What the names of a rule's services and middlewares begin with; see :func:`part`."""
    return _qualified(f"{_of(route)}-{rule}", *route, str(rule))


def part(rule: str, *words: str | int) -> str:
    """The name of something that belongs to the rule of that name."""
    return f"{rule.removesuffix(f'@{PROVIDER}')}-{_plain('-'.join(map(str, words)).lower())}@{PROVIDER}"


def _of(route: Key) -> str:
    return f"{route.kind.lower()}-{route.namespace}-{route.name}"


def _qualified(text: str, *identity: str) -> str:
    digest = hashlib.sha256("\0".join(identity).encode()).hexdigest()[:20]
    return f"{_plain(text)}-{digest}@{PROVIDER}"


def _plain(text: str) -> str:
    return _OTHER.sub("-", text).strip("-")
