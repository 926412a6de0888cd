"""GatewayClasses that are ours."""

from collections.abc import Iterable, Mapping
from itertools import chain

from routes.graph import conditions
from routes.graph.nodes import Condition, GatewayClassNode, Options
from routes.resources.core import CustomResourceDefinition
from routes.resources.gateway import Gateway, GatewayClass, GatewayClassSpec, UnreadableGatewayClass
from routes.resources.meta import GATEWAY_GROUP, V1ALPHA1_GROUP, Key, ObjectMeta
from routes.snapshot import Snapshot

#: The class that is there without being written, and the name of the default Gateway.
BUILT_IN = "moongate"
#: Where a CustomResourceDefinition of the Gateway API says with which release it came.
BUNDLE_VERSION = "gateway.networking.k8s.io/bundle-version"
#: The releases of the API that this is made for and tested with. Of others the parts are read that are as they were.
BUNDLES = ("v1.5", "v1.6", "v1.7")


def our_classes(snapshot: Snapshot, options: Options) -> dict[Key, GatewayClassNode]:
    """The GatewayClasses of our controller by key, accepted or not.

    Outside of a cluster ``moongate`` is among them if nobody defines it.
    """
    written = [source for _, source in sorted(snapshot.of(GatewayClass).items())]
    ours = [source for source in written if source.spec.controller_name == options.controller_name]
    if not options.cluster and all(source.metadata.name != BUILT_IN for source in written):
        built_in = GatewayClass(
            api_version=f"{GATEWAY_GROUP}/v1",
            kind="GatewayClass",
            metadata=ObjectMeta(name=BUILT_IN),
            spec=GatewayClassSpec(controller_name=options.controller_name),
        )
        ours.append(built_in)
    unknown = _unknown_bundles(snapshot.of(CustomResourceDefinition).values())
    return {
        source.key: GatewayClassNode(source, tuple(chain([_accepted(source)], _supported(source, unknown))))
        for source in ours
    }


def class_of(gateway: Gateway, classes: Mapping[Key, GatewayClassNode]) -> GatewayClassNode | None:
    """The class that ``gateway`` names, None where it is not ours.

    Of two with one name, in today's API and in v1alpha1, it is the one of the Gateway's own.
    """
    name = gateway.spec.gateway_class_name
    named = {key.group: node for key, node in classes.items() if key.name == name}
    return named.get(gateway.key.group) or next(iter(named.values()), None)


def _accepted(source: GatewayClass) -> Condition:
    """No kind of object holds parameters for us: a class that names one asks for what it would not get."""
    generation = source.metadata.generation
    if isinstance(source, UnreadableGatewayClass):
        return conditions.class_invalid_parameters(generation, f"spec.{source.fault}")
    ref = source.spec.parameters_ref
    if ref is None:
        return conditions.class_accepted(generation)
    message = f"spec.parametersRef: {ref.kind} of group {ref.group!r}: Moongate takes no parameters"
    return conditions.class_invalid_parameters(generation, message)


def _supported(source: GatewayClass, unknown: str | None) -> Iterable[Condition]:
    """SupportedVersion, where there are definitions to tell it from.

    Other releases get what they can be given ("best effort"): a class stays accepted when the API is upgraded.
    """
    generation = source.metadata.generation
    if unknown:
        yield conditions.class_unsupported_version(generation, f"{unknown}: known are {', '.join(BUNDLES)}")
    elif unknown is not None:
        yield conditions.class_supported_version(generation)


def _unknown_bundles(definitions: Iterable[CustomResourceDefinition]) -> str | None:
    """Which definitions are of a release that is not known here, "" if none is; None where there are no definitions.

    v1alpha1's bear no release: it is told from its group.
    """
    bundles: dict[str, list[str]] = {}
    for definition in definitions:
        name = definition.metadata.name
        if name.partition(".")[2] != V1ALPHA1_GROUP:
            bundles.setdefault(definition.metadata.annotations.get(BUNDLE_VERSION, ""), []).append(name)
    if not bundles:
        return None
    return "; ".join(
        f"{', '.join(sorted(names))} of release {bundle or '(none)'}"
        for bundle, names in sorted(bundles.items())
        if ".".join(bundle.split("-")[0].split(".")[:2]) not in BUNDLES
    )
