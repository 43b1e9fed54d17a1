"""The `kubernetes` package, rehearsed: the official provider's meaning over a folder or a local API server.

What it keeps of the official provider: type tokens, ids, server-side apply with one field manager a resource,
auto-naming, which changes replace, the `pulumi.com/` annotations, waiting. A fixed name means that its holder goes
before its replacement comes. An object that an interrupted `up` of the same resource has left is adopted: its field
manager, derived from the resource's URN and from this rehearsal's identity, is on it, and the stack's state has never
heard of it. Anybody else's object of the same name is an AlreadyExists error.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import json
from collections.abc import Callable, Sequence
from typing import Any, Final

import yaml

from ome_iac.rehearsal.providers import kubernetes_validation
from ome_iac.rehearsal.providers.diffing import changes, touches
from ome_iac.rehearsal.providers.kubernetes_kinds import ObjectKind, ObjectRef, immutable_fields, kind_of_token
from ome_iac.rehearsal.providers.managed_shape import managed_part, with_secret_data, with_string_data
from ome_iac.rehearsal.providers.object_store import (
    Document,
    KindUnknownError,
    ObjectStore,
    Owner,
    StillWaitingError,
    StoreError,
    Waiting,
    managers,
)
from ome_iac.rehearsal.providers.package import (
    Connection,
    Difference,
    Existing,
    Failure,
    Naming,
    NotReadyError,
    Package,
    Properties,
    ProviderError,
    Resource,
)
from ome_iac.rehearsal.providers.values import UNKNOWN, Unknown, Value, has_unknown, mark_secrets, plain, without_nulls

_AUTONAMED: Final = "pulumi.com/autonamed"
_SKIP_AWAIT: Final = "pulumi.com/skipAwait"
_TIMEOUT: Final = "pulumi.com/timeoutSeconds"
_PATCH_FORCE: Final = "pulumi.com/patchForce"
_PROPAGATION: Final = "pulumi.com/deletionPropagationPolicy"
_FIELD_MANAGER: Final = "__fieldManager"
_DEFAULT_TIMEOUT: Final = 600.0
_KEPT_BY_THE_SERVER: Final = (
    "creationTimestamp", "deletionGracePeriodSeconds", "deletionTimestamp", "generation", "managedFields",
    "resourceVersion", "selfLink", "uid",
)  # fmt: skip


def cluster_name(config: Properties) -> str:
    """Which cluster a provider's inputs mean: its identifier, else its context, else its kubeconfig's current one."""
    for field in ("clusterIdentifier", "context"):
        if config.get(field) and isinstance(plain(config[field]), str):
            return str(plain(config[field]))
    try:
        kubeconfig = yaml.safe_load(str(plain(config.get("kubeconfig", ""))))
    except yaml.YAMLError:
        return "default"
    return str(kubeconfig.get("current-context") or "default") if isinstance(kubeconfig, dict) else "default"


class KubernetesPackage(Package):
    """All kinds of objects, in the store that `stores` gives for a cluster's name.

    `one_cluster`: every provider means the same cluster, whatever its inputs say. `identity` sets this rehearsal's
    objects apart from those of others in the same cluster.
    """

    name = "kubernetes"

    def __init__(self, stores: Callable[[str], ObjectStore], identity: str, one_cluster: bool) -> None:
        self.version = importlib.metadata.version("pulumi_kubernetes")
        self._stores = stores
        self._identity = identity
        self._one_cluster = one_cluster

    def diff_config(self, old: Properties, new: Properties) -> Difference:
        """Another cluster is another place; a new token for the same one is not."""
        found = changes(old, new)
        moved = not self._one_cluster and not has_unknown(new) and cluster_name(old) != cluster_name(new)
        return Difference(found, frozenset(change.path for change in found) if moved else frozenset())

    def check(
        self, connection: Connection, resource: Resource, old: Properties, new: Properties, naming: Naming | None
    ) -> tuple[Properties, Sequence[Failure]]:
        """Names the object, puts it into the provider's namespace, and finds what no API server would take."""
        inputs = without_nulls(new)
        failures = kubernetes_validation.token_problems(resource.type, inputs)
        if failures:
            return inputs, failures
        kind = kind_of_token(resource.type)
        metadata = inputs.setdefault("metadata", {})
        if isinstance(metadata, dict):
            inputs["metadata"] = metadata = dict(metadata)
            if not metadata.get("name"):
                failures += self._name(connection, resource, metadata, plain(old.get("metadata") or {}), naming)
            if not metadata.get("namespace") and self._is_namespaced(connection, kind):
                metadata["namespace"] = plain(connection.config.get("namespace")) or "default"
        failures += kubernetes_validation.problems(kind, inputs)
        return with_secret_data(inputs) if kind == ObjectKind("v1", "Secret") else inputs, failures

    def diff(
        self, connection: Connection, resource: Resource, resource_id: str, old: Properties, new: Properties
    ) -> Difference:
        """Compares inputs; another name or a changed immutable field needs another object."""
        kind = ObjectKind(plain(new["apiVersion"]), plain(new["kind"]))
        found = changes(old, new)
        metadata, before = plain(new["metadata"]), plain(old.get("metadata") or {})
        if ObjectRef.from_id(kind, resource_id).namespace == metadata.get("namespace") != before.get("namespace"):
            # It was made before its definition told the scope; a default namespace written out moves nothing.
            found = [change for change in found if change.path != ("metadata", "namespace")]
        mutable = frozenset(
            name for name in ("ConfigMap", "Secret") if _is_true(connection.config.get(f"enable{name}Mutable"))
        )
        fields = immutable_fields(kind, mutable)
        replacing = frozenset(change.path for change in found if touches(change.path, fields))
        moves = any(change.path in (("metadata", "name"), ("metadata", "namespace")) for change in found)
        autonamed = _AUTONAMED in (metadata.get("annotations") or {})
        return Difference(found, replacing, delete_first=bool(replacing) and not moves and not autonamed)

    def create(
        self, connection: Connection, resource: Resource, inputs: Properties, timeout: float, preview: bool
    ) -> Existing:
        """Makes the object, or goes on with one that an interrupted run of this very resource has left."""
        if preview and has_unknown(inputs):
            return _foretold(inputs, {})
        store, document = self._store(connection), plain(inputs)
        owner = Owner(self._manager(resource.urn), resource.urn)
        try:
            ref = ObjectRef.of(document)
            if ref.namespace is None and store.is_namespaced(ref.kind):
                ref = dataclasses.replace(ref, namespace="default")
            live = store.get(ref)
            known = ref.id in connection.ids_in_state(resource.urn)
            if preview and known:  # it will have been deleted by then
                return _foretold(inputs, {})
            if live is None:
                live = store.create(ref, document, owner, dry_run=preview)
            elif known or owner.manager not in managers(live):
                raise StoreError(
                    "AlreadyExists",
                    f"{ref} already exists and is not this resource's; import it, or give one of them another name",
                )
            else:
                live = store.apply(ref, document, {}, owner, force=False, dry_run=preview)
        except StoreError as error:
            if preview and error.reason == "NotFound":  # its namespace or definition may come in the same run
                return _foretold(inputs, {})
            raise
        if preview:
            return _foretold(inputs, {})
        return self._settled(connection, resource, ref, live, inputs, owner.manager, timeout)

    def read(
        self, connection: Connection, resource: Resource, resource_id: str, inputs: Properties, outputs: Properties
    ) -> Existing | None:
        """The live object; its inputs are the part of it that was deployed, or all of it in an import."""
        kind = kind_of_token(resource.type)
        try:
            live = self._store(connection).get(ObjectRef.from_id(kind, resource_id))
        except KindUnknownError:
            return None
        if live is None:
            return None
        if kind == ObjectKind("v1", "Secret"):
            live = with_string_data(live, inputs)
        seen = managed_part(live, inputs) if inputs else _importable(live)
        seen = mark_secrets(seen, inputs)
        if kind == ObjectKind("v1", "Secret"):
            seen = with_secret_data(seen)
            live.pop("stringData", None)
        manager = plain(outputs.get(_FIELD_MANAGER)) or self._manager(resource.urn)
        return Existing(resource_id, _outputs(live, inputs, manager), seen)

    def update(
        self,
        connection: Connection,
        resource: Resource,
        current: Existing,
        inputs: Properties,
        timeout: float,
        preview: bool,
    ) -> Properties:
        """Applies the object with the field manager that made it."""
        if preview and has_unknown(inputs):
            return _foretold(inputs, current.outputs).outputs
        document = plain(inputs)
        ref = ObjectRef.from_id(kind_of_token(resource.type), current.id)
        manager = plain(current.outputs.get(_FIELD_MANAGER)) or self._manager(resource.urn)
        force = _annotation(document, _PATCH_FORCE) == "true" or _is_true(connection.config.get("enablePatchForce"))
        try:
            live = self._store(connection).apply(
                ref, document, plain(current.inputs), Owner(manager, resource.urn), force, dry_run=preview
            )
        except StoreError as error:
            if preview and error.reason == "NotFound":
                return _foretold(inputs, current.outputs).outputs
            raise
        if preview:
            return _foretold(inputs, current.outputs).outputs
        return self._settled(connection, resource, ref, live, inputs, manager, timeout).outputs

    def delete(self, connection: Connection, resource: Resource, current: Existing, timeout: float) -> None:
        """Deletes the object and waits until it is gone."""
        ref = ObjectRef.from_id(kind_of_token(resource.type), current.id)
        document = plain(current.inputs)
        propagation = (_annotation(document, _PROPAGATION) or "background").capitalize()
        try:
            self._store(connection).delete(ref, propagation, self._waiting(connection, resource, document, timeout))
        except KindUnknownError:
            return  # with its definition went all its objects
        except StillWaitingError as error:
            raise ProviderError(f"{ref} is still there: {error}") from error

    def _settled(
        self,
        connection: Connection,
        resource: Resource,
        ref: ObjectRef,
        live: Document,
        inputs: Properties,
        manager: str,
        timeout: float,
    ) -> Existing:
        """The object when it is ready; NotReadyError with what there is when it does not become so in time."""
        document = plain(inputs)
        if _annotation(document, _SKIP_AWAIT) == "true":
            return Existing(ref.id, _outputs(live, inputs, manager), inputs)
        try:
            waiting = self._waiting(connection, resource, document, timeout)
            live = self._store(connection).wait_until_ready(ref, waiting)
        except (StillWaitingError, StoreError) as error:
            raise NotReadyError(f"{ref} is {error}", ref.id, _outputs(live, inputs, manager), inputs) from error
        return Existing(ref.id, _outputs(live, inputs, manager), inputs)

    def _name(
        self, connection: Connection, resource: Resource, metadata: Properties, old: Properties, naming: Naming | None
    ) -> list[Failure]:
        """Gives the object a name, the one it has if it was named by us before.

        The digits follow from the URN and from what the state knows of it, so that an interrupted `up` finds the
        object it has made, and a replacement gets a name of its own.
        """
        path = ("metadata", "name")
        if _AUTONAMED in (old.get("annotations") or {}):
            metadata["name"] = old["name"]
        elif naming is not None and naming.mode == "DISABLE":
            return [Failure(path, "is missing, and pulumi:autonaming is disabled")]
        elif naming is not None and naming.proposed:
            metadata["name"] = naming.proposed
        else:
            stem = plain(metadata.get("generateName")) or f"{resource.name}-"
            known = sorted(connection.ids_in_state(resource.urn))
            metadata["name"] = stem + self._digest("name", resource.urn, *known)
        annotations = metadata.get("annotations") or {}
        if isinstance(annotations, dict):
            metadata["annotations"] = {**annotations, _AUTONAMED: "true"}
        return []

    def _digest(self, *parts: str) -> str:
        return hashlib.sha256(json.dumps([self._identity, *parts]).encode()).hexdigest()[:8]

    def _manager(self, urn: str) -> str:
        return "pulumi-" + self._digest("manager", urn)

    def _store(self, connection: Connection) -> ObjectStore:
        return self._stores(cluster_name(connection.config))

    def _is_namespaced(self, connection: Connection, kind: ObjectKind) -> bool:
        try:
            return self._store(connection).is_namespaced(kind)
        except KindUnknownError:
            return False  # its definition may come in the same run; a namespace is not invented for it

    def _waiting(self, connection: Connection, resource: Resource, document: Document, timeout: float) -> Waiting:
        annotated = _annotation(document, _TIMEOUT)
        seconds = timeout or (float(annotated) if annotated and annotated.isdecimal() else _DEFAULT_TIMEOUT)
        return Waiting(seconds, connection.cancelled, lambda message: connection.tell(resource.urn, message))


def _outputs(live: Document, inputs: Properties, manager: str) -> Properties:
    """The live object with the inputs' secret marks; a Secret's data is marked whatever the inputs say."""
    metadata = {key: value for key, value in live["metadata"].items() if key != "managedFields"}
    outputs: Properties = mark_secrets({**live, "metadata": metadata}, inputs)
    if (live.get("apiVersion"), live.get("kind")) == ("v1", "Secret"):
        outputs = with_secret_data(outputs)
    return {**outputs, _FIELD_MANAGER: manager}


def _foretold(inputs: Properties, current: Properties) -> Existing:
    """What a preview can say: the inputs, and of the server's metadata only what an update leaves alone."""
    metadata = inputs.get("metadata")
    if not isinstance(metadata, dict):
        return Existing("", inputs, inputs)
    before = current.get("metadata") or {}
    server = {"generation": UNKNOWN, "resourceVersion": UNKNOWN, "uid": before.get("uid", UNKNOWN)}
    return Existing("", {**inputs, "metadata": {**server, **metadata}}, inputs)


def _importable(live: Document) -> Document:
    metadata = {key: value for key, value in live["metadata"].items() if key not in _KEPT_BY_THE_SERVER}
    return {**{key: value for key, value in live.items() if key != "status"}, "metadata": metadata}


def _annotation(document: Document, key: str) -> str | None:
    value: Any = (document.get("metadata", {}).get("annotations") or {}).get(key)
    return None if value is None else str(value).lower()


def _is_true(value: Value) -> bool:
    return not isinstance(value, Unknown) and str(plain(value)).lower() == "true"
