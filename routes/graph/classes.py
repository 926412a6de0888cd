"""GatewayClasses that are ours."""

from routes.graph import conditions
from routes.graph.nodes import Condition, GatewayClassNode, Options
from routes.resources.gateway import GatewayClass, GatewayClassSpec
from routes.resources.meta import GATEWAY_GROUP, ObjectMeta
from routes.snapshot import Snapshot

#: The class that is there without being written, and the name of the default Gateway.
BUILT_IN = "moongate"


def our_classes(snapshot: Snapshot, options: Options) -> dict[str, GatewayClassNode]:
    """The GatewayClasses of our controller by name, accepted or not, with ``moongate`` if nobody defines it."""
    written = [source for _, source in sorted(snapshot.of(GatewayClass).items())]
    ours = {
        source.metadata.name: source for source in written if source.spec.controller_name == options.controller_name
    }
    if all(source.metadata.name != BUILT_IN for source in written):
        ours[BUILT_IN] = GatewayClass(
            api_version=f"{GATEWAY_GROUP}/v1",
            kind="GatewayClass",
            metadata=ObjectMeta(name=BUILT_IN),
            spec=GatewayClassSpec(controller_name=options.controller_name),
        )
    return {name: GatewayClassNode(source, (_accepted(source),)) for name, source in ours.items()}


def _accepted(source: GatewayClass) -> Condition:
    """No kind of object holds parameters for us: a class that names one asks for what it would not get."""
    generation = source.metadata.generation
    ref = source.spec.parameters_ref
    if ref is None:
        return conditions.class_accepted(generation)
    message = f"spec.parametersRef: {ref.kind} of group {ref.group!r}: Moongate takes no parameters"
    return conditions.class_invalid_parameters(generation, message)
