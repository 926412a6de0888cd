"""ReferenceGrant: who may point into a namespace from outside. The API: ReferenceGrant v1 and v1beta1."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from routes.resources.fields import GroupName, KindName
from routes.resources.meta import GATEWAY_GROUP, Model, Namespace, ObjectName, Resource


class ReferenceGrantFrom(Model):
    """Objects of one kind in one namespace, as the ones that point."""

    group: GroupName
    kind: KindName
    namespace: Namespace


class ReferenceGrantTo(Model):
    """Objects of one kind in the grant's namespace; ``name`` None is all of them."""

    group: GroupName
    kind: KindName
    name: ObjectName | None = None


class ReferenceGrantSpec(Model):
    """A reference is allowed where one entry of each list fits."""

    from_: Annotated[tuple[ReferenceGrantFrom, ...], Field(min_length=1, max_length=16, alias="from")]
    to: Annotated[tuple[ReferenceGrantTo, ...], Field(min_length=1, max_length=16)]


class ReferenceGrant(Resource):
    """A permission that lives with what is pointed at."""

    group: ClassVar[str] = GATEWAY_GROUP

    api_version: str = f"{GATEWAY_GROUP}/v1"
    kind: Literal["ReferenceGrant"] = "ReferenceGrant"
    spec: ReferenceGrantSpec
