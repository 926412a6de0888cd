"""The first page: what there is, and how it does."""

from importlib.metadata import version

from app.admin.source import Source
from app.view.gateways import health_of, listener_health
from app.view.model import Counts, Health, OverviewView
from app.view.routes import summaries
from app.view.words import counted

#: Problems that are shown.
MOST = 20


def overview(source: Source) -> OverviewView:
    """Everything in numbers."""
    state = source.state()
    nodes = tuple(state.graph.gateways.values()) if state is not None else ()
    return OverviewView(
        version=version("moongate"),
        # The article's name for it is the cluster's; the same objects from files are another provider's.
        providers=("KubernetesGateway",) if source.settings.provider == "kubernetes" else ("File",),
        started=source.started,
        gateways=counted(map(health_of, nodes)),
        listeners=counted(listener_health(each) for node in nodes for each in node.all_listeners),
        routes=counted(each.health for each in summaries(source)),
        services=_services(source),
        problems=tuple(map(str, state.problems[:MOST])) if state is not None else (),
    )


def _services(source: Source) -> Counts:
    """Backends that rules lead to, by name: an error where nothing can be sent there."""
    state = source.state()
    found: dict[str, Health] = {}
    for node in state.graph.routes.values() if state is not None else ():
        for rule in node.rules:
            for backend in rule.backends:
                found[backend.name] = Health.DISABLED if backend.reason else Health.ENABLED
    return counted(found.values())
