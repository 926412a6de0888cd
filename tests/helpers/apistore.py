"""What the API server of tests stores: objects, their versions, and everything that has happened to them."""

import copy
import re
import threading
import uuid
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, NamedTuple

from tests.helpers import apiapply
from tests.helpers.apikinds import BUILT_IN, Kind, Object, defined

Collection = tuple[str, str]
Name = tuple[str, str]

_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_SERVICE = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_LABEL = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?")
#: What the server alone sets, or keeps for good.
_KEPT = ("uid", "creationTimestamp", "generation", "deletionTimestamp", "namespace", "name", "resourceVersion")


class Refusal(Exception):
    """An answer with a ``Status`` object."""

    def __init__(self, code: int, reason: str, message: str, *, details: Object | None = None, **headers: str) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.headers = headers
        self.details = details
        #: The ``continue`` with which a list can go on although its version is gone.
        self.go_on = ""

    @property
    def status(self) -> Object:
        """The ``Status`` object."""
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {"continue": self.go_on} if self.go_on else {},
            "status": "Failure",
            "message": str(self),
            "reason": self.reason,
            **({"details": self.details} if self.details else {}),
            "code": self.code,
        }


def not_found(kind: Kind, name: str) -> Refusal:
    details = {"name": name, **({"group": kind.group} if kind.group else {}), "kind": kind.plural}
    return Refusal(404, "NotFound", f'{kind.qualified} "{name}" not found', details=details)


def _invalid(kind: Kind, name: str, why: str) -> Refusal:
    called = f"{kind.kind}.{kind.group}" if kind.group else kind.kind
    return Refusal(422, "Invalid", f'{called} "{name}" is invalid: {why}')


def _conflict(kind: Kind, name: str) -> Refusal:
    return Refusal(
        409,
        "Conflict",
        f'Operation cannot be fulfilled on {kind.qualified} "{name}": the object has been modified; '
        "please apply your changes to the latest version and try again",
        details={"name": name, "kind": kind.plural},
    )


class Event(NamedTuple):
    """What happened to one object at ``version``; ``old`` None: it is new, ``new`` None: it is gone."""

    version: int
    old: Object | None
    new: Object | None


class Store:
    """Objects by collection. What is stored is never changed, only replaced. Safe to use from any thread."""

    def __init__(self) -> None:
        self.kinds: dict[Collection, Kind] = {}
        #: The one counter that all resourceVersions are of.
        self.version = 1
        #: Watches and lists from before this version are told that it is gone.
        self.compacted = 0
        self.lock = threading.RLock()
        #: Called after every change.
        self.changed: Callable[[], None] = lambda: None
        self._objects: dict[Collection, dict[Name, Object]] = {}
        self._events: dict[Collection, list[Event]] = {}
        #: How often a collection was defined anew: watches of what it was before end.
        self._epochs: dict[Collection, int] = {}
        self._owners: dict[tuple[Collection, Name, bool], apiapply.Owners] = {}
        self._uids: dict[str, str] = {}
        self._addresses = 0
        self._ports = 30000
        for kind in BUILT_IN:
            self._register(kind)
        for namespace in ("default", "kube-system"):
            self.create(("", "namespaces"), "", {"metadata": {"name": namespace}})

    # Reading

    def kind(self, collection: Collection) -> Kind | None:
        return self.kinds.get(collection)

    def epoch(self, collection: Collection) -> int:
        return self._epochs.get(collection, 0)

    def get(self, collection: Collection, namespace: str, name: str) -> Object:
        """Refusal (404) where there is none."""
        found = self._objects[collection].get((namespace, name))
        if found is None:
            raise not_found(self.kinds[collection], name)
        return found

    def objects(self, collection: Collection, namespace: str = "") -> list[Object]:
        """In order; all namespaces' by default."""
        with self.lock:
            found = self._objects.get(collection, {})
            return [found[name] for name in sorted(found) if not namespace or name[0] == namespace]

    def events(self, collection: Collection, after: int) -> list[Event]:
        """What happened after version ``after``."""
        with self.lock:
            return [event for event in self._events.get(collection, ()) if event.version > after]

    # Writing, as requests do

    def create(self, collection: Collection, namespace: str, body: Object) -> Object:
        with self.lock:
            kind = self.kinds[collection]
            made = copy.deepcopy(body)
            metadata = made.setdefault("metadata", {})
            if not metadata.get("name") and metadata.get("generateName"):
                metadata["name"] = f"{metadata['generateName']}{uuid.uuid4().hex[:5]}"
            name = str(metadata.get("name", ""))
            if kind.namespaced and ("", namespace) not in self._objects["", "namespaces"]:
                raise not_found(self.kinds["", "namespaces"], namespace)
            if metadata.get("namespace", namespace) != namespace:
                raise Refusal(
                    400,
                    "BadRequest",
                    "the namespace of the provided object does not match the namespace sent on the request",
                )
            if metadata.get("resourceVersion"):
                raise Refusal(500, "", "resourceVersion should not be set on objects to be created")
            if (namespace, name) in self._objects[collection]:
                details = {"name": name, "kind": kind.plural}
                raise Refusal(409, "AlreadyExists", f'{kind.qualified} "{name}" already exists', details=details)
            if kind.status:
                made.pop("status", None)
            for field in ("deletionTimestamp", "managedFields", "selfLink"):
                metadata.pop(field, None)
            metadata.update(uid=str(uuid.uuid4()), creationTimestamp=_now(), name=name)
            if kind.namespaced:
                metadata["namespace"] = namespace
            if kind.generation:
                metadata["generation"] = 1
            if kind.kind == "Namespace":
                metadata.setdefault("labels", {})["kubernetes.io/metadata.name"] = name
                made["status"] = {"phase": "Active"}
            self._default(kind, made, None)
            self._validate(kind, made, None)
            return self._put(collection, (namespace, name), None, made)

    def replace(self, collection: Collection, namespace: str, name: str, body: Object, *, status: bool) -> Object:
        with self.lock:
            kind = self.kinds[collection]
            old = self.get(collection, namespace, name)
            version = (body.get("metadata") or {}).get("resourceVersion")
            if not version and not status and (kind.custom or kind.kind == "Lease"):
                why = "metadata.resourceVersion: Invalid value: 0: must be specified for an update"
                raise _invalid(kind, name, why)
            return self._update(collection, old, body, status=status)

    def merge(self, collection: Collection, namespace: str, name: str, body: Object, *, status: bool) -> Object:
        with self.lock:
            old = self.get(collection, namespace, name)
            wanted = apiapply.merged(old, body)
            if not (body.get("metadata") or {}).get("resourceVersion"):
                wanted["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"]
            return self._update(collection, old, wanted, status=status)

    def apply(
        self,
        collection: Collection,
        namespace: str,
        name: str,
        body: Object,
        *,
        manager: str,
        force: bool,
        status: bool,
    ) -> tuple[Object, bool]:
        """The object, and whether it is new."""
        with self.lock:
            kind = self.kinds[collection]
            metadata = body.get("metadata") or {}
            if "managedFields" in metadata:
                raise Refusal(400, "BadRequest", "metadata.managedFields must be nil")
            if metadata.get("name", name) != name:
                raise Refusal(400, "BadRequest", "the name of the object does not match the name on the URL")
            old = self._objects[collection].get((namespace, name))
            if old is None and (status or metadata.get("resourceVersion")):
                raise not_found(kind, name)
            owners = copy.deepcopy(self._owners.get((collection, (namespace, name), status), {}))
            if status:
                wanted = {"status": body.get("status", {})}
            else:
                wanted = {field: value for field, value in body.items() if field not in ("apiVersion", "kind")}
                if kind.status:
                    wanted.pop("status", None)
                wanted["metadata"] = {field: value for field, value in metadata.items() if field not in _KEPT}
                if not wanted["metadata"]:
                    del wanted["metadata"]
            try:
                made = apiapply.applied(
                    old or {}, wanted, manager, owners, force=force, mapped_ports=kind.kind == "Service"
                )
            except apiapply.Conflict as conflict:
                raise Refusal(409, "Conflict", str(conflict)) from None
            made.setdefault("metadata", {})["name"] = name
            if old is None:
                made["apiVersion"] = body["apiVersion"]
                stored = self.create(collection, namespace, made)
            else:
                for field in ("resourceVersion", "uid"):
                    made["metadata"][field] = metadata.get(field, old["metadata"][field])
                stored = self._update(collection, old, made, status=status)
            self._owners[collection, (namespace, name), status] = owners
            return stored, old is None

    def delete(self, collection: Collection, namespace: str, name: str, preconditions: Object | None = None) -> Object:
        """The object as it was last. With finalizers it only begins to go."""
        with self.lock:
            kind = self.kinds[collection]
            old = self.get(collection, namespace, name)
            for field, value in (preconditions or {}).items():
                if old["metadata"].get(field) != value:
                    raise _conflict(kind, name)
            if old["metadata"].get("finalizers"):
                if "deletionTimestamp" in old["metadata"]:
                    return old
                made = {**old, "metadata": {**old["metadata"], "deletionTimestamp": _now()}}
                return self._put(collection, (namespace, name), old, made)
            if kind.kind == "Namespace":
                for other, each in self.kinds.items():
                    for inside in self.objects(other, name) if each.namespaced else ():
                        self._put(other, (name, inside["metadata"]["name"]), inside, None)
            if kind.kind == "CustomResourceDefinition":
                self._undefine(old)
            return self._put(collection, (namespace, name), old, None)

    def collect_garbage(self) -> None:
        """Delete, as the cluster's controller does, what has owners of which none is there any more."""
        with self.lock:
            while True:
                there = {
                    each["metadata"]["uid"] for collection in self.kinds for each in self._objects[collection].values()
                }
                orphans = [
                    (collection, each["metadata"])
                    for collection in self.kinds
                    for each in self._objects[collection].values()
                    if (owners := each["metadata"].get("ownerReferences"))
                    and not any(owner["uid"] in there for owner in owners)
                ]
                for collection, metadata in orphans:
                    self.delete(collection, metadata.get("namespace", ""), metadata["name"])
                if not orphans:
                    return

    def compact(self) -> None:
        """Forget what has happened up to now."""
        with self.lock:
            self.compacted = self.version  # what watches have begun with they still get, as from the server's cache

    def redefine(self, collection: Collection) -> None:
        """End the watches of a collection, as a change of its definition does."""
        self._epochs[collection] = self.epoch(collection) + 1

    # What all of them share

    def _register(self, kind: Kind) -> None:
        collection = kind.group, kind.plural
        self.kinds[collection] = kind
        self._objects.setdefault(collection, {})
        self._events.setdefault(collection, [])
        self.redefine(collection)

    def _undefine(self, crd: Object) -> None:
        collection = crd["spec"]["group"], crd["spec"]["names"]["plural"]
        if collection not in self.kinds:
            return
        for each in self.objects(collection):
            metadata = each["metadata"]
            self._put(collection, (metadata.get("namespace", ""), metadata["name"]), each, None)
        del self.kinds[collection]
        self.redefine(collection)

    def _update(self, collection: Collection, old: Object, wanted: Object, *, status: bool) -> Object:
        kind = self.kinds[collection]
        before = old["metadata"]
        name = before.get("namespace", ""), before["name"]
        metadata = wanted.get("metadata") or {}
        if metadata.get("resourceVersion", before["resourceVersion"]) != before["resourceVersion"]:
            raise _conflict(kind, name[1])
        if metadata.get("uid", before["uid"]) != before["uid"]:
            raise Refusal(409, "Conflict", f"Precondition failed: UID in precondition: {metadata['uid']}")
        if status:
            made = {**old, "status": copy.deepcopy(wanted.get("status", {}))}
        else:
            made = copy.deepcopy(wanted)
            made["metadata"] = {
                **{field: value for field, value in made["metadata"].items() if field not in _KEPT},
                **{field: before[field] for field in _KEPT if field in before},
            }
            if kind.status:
                made.pop("status", None)
                if "status" in old:
                    made["status"] = old["status"]
            self._default(kind, made, old)
            self._validate(kind, made, old)
            if kind.generation and _desired(made) != _desired(old):
                made["metadata"]["generation"] = before["generation"] + 1
        made.update({field: old[field] for field in ("apiVersion", "kind")})
        if made == old:
            return old
        for subresource in (False, True):
            apiapply.disowned(made, self._owners.get((collection, name, subresource), {}))
        if "deletionTimestamp" in before and not made["metadata"].get("finalizers"):
            self._put(collection, name, old, None)
            return made
        return self._put(collection, name, old, made)

    def _put(self, collection: Collection, name: Name, old: Object | None, new: Object | None) -> Object:
        self.version += 1
        kind = self.kinds[collection]
        if new is None:
            del self._objects[collection][name]
            for subresource in (False, True):
                self._owners.pop((collection, name, subresource), None)
        else:
            new["kind"] = kind.kind
            new.setdefault("apiVersion", kind.api_version(kind.versions[0]))
            new["metadata"] = {**new["metadata"], "resourceVersion": str(self.version)}
            self._objects[collection][name] = new
        self._events[collection].append(Event(self.version, old, new))
        if new is not None and kind.kind == "CustomResourceDefinition":
            was = defined(old) if old is not None else None
            made = defined(new)
            if made is None:
                self._undefine(new)
            elif made != was or (made.group, made.plural) not in self.kinds:
                self._register(made)
        self.changed()
        stored = old if new is None else new
        assert stored is not None
        return stored

    def _default(self, kind: Kind, made: Object, old: Object | None) -> None:
        if kind.kind == "Secret":
            made.setdefault("type", "Opaque")
        if kind.kind != "Service":
            return
        spec = made.setdefault("spec", {})
        was = (old or {}).get("spec", {})
        spec.setdefault("type", "ClusterIP")
        spec.setdefault("sessionAffinity", "None")
        if spec["type"] != "ExternalName" and not spec.get("clusterIP"):
            if not was.get("clusterIP"):
                self._addresses += 1
            spec["clusterIP"] = was.get("clusterIP") or f"10.96.{self._addresses // 250}.{self._addresses % 250 + 1}"
            spec["clusterIPs"] = [spec["clusterIP"]]
        nodes = {(port["port"], port["protocol"]): port.get("nodePort") for port in was.get("ports", ())}
        for port in spec.get("ports") or ():
            port.setdefault("protocol", "TCP")
            port.setdefault("targetPort", port["port"])
            if spec["type"] in ("LoadBalancer", "NodePort") and not port.get("nodePort"):
                self._ports += 1
                port["nodePort"] = nodes.get((port["port"], port["protocol"])) or self._ports
        if not kind.status or "status" not in made:
            made["status"] = {"loadBalancer": {}}

    def _validate(self, kind: Kind, made: Object, old: Object | None) -> None:
        metadata = made["metadata"]
        name = metadata["name"]
        if kind.kind in ("Service", "Namespace"):
            pattern, longest = (_SERVICE if kind.kind == "Service" else _SUBDOMAIN), 63
        else:
            pattern, longest = _SUBDOMAIN, 253
        if len(name) > longest:
            raise _invalid(kind, name, f"metadata.name: Invalid value: {name!r}: must be no more than {longest} bytes")
        if not pattern.fullmatch(name):
            raise _invalid(kind, name, f"metadata.name: Invalid value: {name!r}")
        for label, value in (metadata.get("labels") or {}).items():
            if len(value) > 63 or not _LABEL.fullmatch(value):
                raise _invalid(kind, name, f"metadata.labels: Invalid value: {value!r}: for {label}")
        for owner in metadata.get("ownerReferences") or ():
            if not all(owner.get(field) for field in ("apiVersion", "kind", "name", "uid")):
                raise _invalid(kind, name, "metadata.ownerReferences: Invalid value: must not be empty")
        if kind.kind == "Service":
            ports = made["spec"].get("ports") or []
            if not ports and made["spec"]["type"] != "ExternalName" and made["spec"].get("clusterIP") != "None":
                raise _invalid(kind, name, "spec.ports: Required value")
            names = [port.get("name", "") for port in ports]
            if len(ports) > 1 and not all(names):
                raise _invalid(kind, name, "spec.ports[0].name: Required value")
            if len(set(names)) < len(names):
                raise _invalid(kind, name, "spec.ports[1].name: Duplicate value")
            if len({(port["port"], port["protocol"]) for port in ports}) < len(ports):
                raise _invalid(kind, name, "spec.ports[1]: Duplicate value")
        if kind.kind == "Secret" and old is not None and made["type"] != old["type"]:
            raise _invalid(kind, name, f"type: Invalid value: {made['type']!r}: field is immutable")
        if kind.kind == "EndpointSlice":
            if made.get("addressType") not in ("IPv4", "IPv6", "FQDN"):
                raise _invalid(kind, name, "addressType: Required value")
            if old is not None and made["addressType"] != old["addressType"]:
                raise _invalid(kind, name, "addressType: Invalid value: field is immutable")
            if len(made.get("endpoints") or ()) > 1000:
                raise _invalid(kind, name, "endpoints: Too many: must have at most 1000 items")
            if len(made.get("ports") or ()) > 100:
                raise _invalid(kind, name, "ports: Too many: must have at most 100 items")


def collection_of(store: Store, api_version: str, kind: str) -> Collection:
    """The collection that objects of ``kind`` are in. AssertionError where the store knows no such kind."""
    group = api_version.rpartition("/")[0]
    found = [collection for collection, each in store.kinds.items() if (each.group, each.kind) == (group, kind)]
    assert found, f"no kind {api_version} {kind}"
    return found[0]


def selected(made: Object | None, labels: str, fields: str) -> bool:
    """Whether an object is what ``labelSelector`` and ``fieldSelector`` ask for."""
    if made is None:
        return False
    own = made["metadata"].get("labels") or {}
    return all(_label_fits(own, part) for part in _parts(labels)) and all(
        _field_fits(made, part) for part in _parts(fields)
    )


def check_fields(kind: Kind, fields: str) -> None:
    """Refusal (400) where objects of ``kind`` cannot be selected by one of ``fields``."""
    for part in _parts(fields):
        field = re.split("!=|==?", part)[0]
        if field not in ("metadata.name", "metadata.namespace") and not (
            (field == "type" and kind.kind == "Secret") or (field == "spec.clusterIP" and kind.kind == "Service")
        ):
            raise Refusal(400, "BadRequest", f"field label not supported: {field}")


def _parts(selector: str) -> Iterable[str]:
    return [part.strip() for part in re.split(r",(?![^(]*\))", selector) if part.strip()]


def _label_fits(own: dict[str, str], part: str) -> bool:
    if found := re.fullmatch(r"(\S+)\s+(in|notin)\s+\(([^)]*)\)", part):
        label, word, values = found.groups()
        return (own.get(label) in {value.strip() for value in values.split(",")}) == (word == "in")
    if found := re.fullmatch(r"([^=!\s]+)\s*(==|=|!=)\s*([^=!\s]*)", part):
        label, word, value = found.groups()
        return (own.get(label) == value) == (word != "!=")
    if found := re.fullmatch(r"(!?)([^=!\s]+)", part):
        return (found[2] in own) != bool(found[1])
    raise Refusal(400, "BadRequest", f"unable to parse requirement: {part}")


def _field_fits(made: Object, part: str) -> bool:
    field, word, value = re.split("(!=|==|=)", part)
    own: Any = made
    for step in field.split("."):
        own = own.get(step, "")
    return bool(own == value) == (word != "!=")


def _desired(made: Object) -> Object:
    return {field: value for field, value in made.items() if field not in ("metadata", "status", "apiVersion", "kind")}


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
