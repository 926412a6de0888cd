"""Objects of other people's kinds, which an ExtensionRef may name: what is in them is for their own code to read."""

from typing import Any, ClassVar

from pydantic import Field

from routes.resources.meta import Resource


class Extension(Resource):
    """An object that configures somebody's own filter. ``spec`` is as it was written."""

    group: ClassVar[str] = ""

    spec: dict[str, Any] = Field(default_factory=dict)
