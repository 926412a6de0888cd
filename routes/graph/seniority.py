"""Who was there first: the API's last resort where two objects want the same thing."""

from datetime import UTC, datetime

from routes.resources.meta import Resource

#: A file's object has no age; where ages are known the known one is older.
_NO_AGE = datetime.max.replace(tzinfo=UTC)


def seniority(resource: Resource) -> tuple[datetime, str]:
    """Creation time, then ``namespace/name`` in alphabetical order: the smaller one wins."""
    created = resource.metadata.creation_timestamp or _NO_AGE
    # The API server always writes a zone; a person may forget it.
    return created if created.tzinfo else created.replace(tzinfo=UTC), resource.key.qualified_name
