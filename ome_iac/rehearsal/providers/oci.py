"""The `oci` package, rehearsed: resources checked against the SDK's own schema and OCI's rules, and kept on disk.

OCIDs are a digest of the resource's URN and of the OCIDs that the state already had for it: the same program gives
the same ones, an interrupted `up` finds what it made, and a replacement is another resource.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from ome_iac.rehearsal.providers import oci_facts, oci_lookups, oci_rules, oci_schema, oci_validation
from ome_iac.rehearsal.providers.diffing import changes
from ome_iac.rehearsal.providers.oci_errors import ERRORS
from ome_iac.rehearsal.providers.oci_records import Record, Records
from ome_iac.rehearsal.providers.oci_region import Region, is_bounded, room_problems
from ome_iac.rehearsal.providers.package import (
    Connection,
    Difference,
    Existing,
    Failure,
    Naming,
    Package,
    Properties,
    ProviderError,
    Resource,
)
from ome_iac.rehearsal.providers.values import UNKNOWN, Value, mark_secrets, plain, without_nulls

_DEFAULT_REGION: Final = "us-ashburn-1"
_STATES: Final = ("state", "lifecycleState")
# The state of a healthy resource where the service does not call it ACTIVE (descriptions of `state` in pulumi_oci).
_RUNNING: Final = {"Instance", "InstancePool", "ClusterNetwork"}
_ACTIVE_IN_CORE: Final = {"ComputeCapacityReservation", "ComputeCluster", "ComputeGpuMemoryCluster", "ComputeHostGroup"}


class OciPackage(Package):
    """Every resource type that the installed SDK has, in the region that `Region.load` finds beside the records."""

    name = "oci"

    def __init__(self, records: Records) -> None:
        self.version = importlib.metadata.version("pulumi_oci")
        self._records = records
        self._region = Region.load(records.root.parent.parent / "region.yaml")
        self._making = threading.Lock()

    def check(
        self, connection: Connection, resource: Resource, old: Properties, new: Properties, naming: Naming | None
    ) -> tuple[Properties, Sequence[Failure]]:
        """The inputs, and what the SDK's schema says against them."""
        inputs = without_nulls(new)
        try:
            failures = oci_validation.problems(oci_schema.resource(resource.type), inputs)
        except oci_schema.UnknownTypeError:
            return inputs, [Failure((), f"{resource.type} is no resource type of pulumi_oci {self.version}")]
        return inputs, failures or [
            *oci_facts.problems(resource.type, inputs),
            *oci_rules.problems(resource.type, old, inputs, self._region),
        ]

    def diff(
        self, connection: Connection, resource: Resource, resource_id: str, old: Properties, new: Properties
    ) -> Difference:
        """What changed; a property that cannot be updated needs a new resource."""
        schema = oci_schema.resource(resource.type)
        found = changes(old, new)
        replacing = (change.path for change in found if oci_validation.replaces(schema, change.path))
        return Difference(found, frozenset(replacing))

    def create(
        self, connection: Connection, resource: Resource, inputs: Properties, timeout: float, preview: bool
    ) -> Existing:
        """Writes the record; one that an interrupted run has left is overwritten, keeping its time."""
        schema = oci_schema.resource(resource.type)
        if preview:
            hidden = dict.fromkeys(_computed(schema, resource, "", "", {}), UNKNOWN)
            return Existing("", {**hidden, **inputs}, inputs)
        known = sorted(connection.ids_in_state(resource.urn))
        resource_id = _ocid(schema, region_name(connection), resource.urn, known)
        with self._making:
            self._admit(resource, resource_id, inputs)
            earlier = self._records.read(resource_id, {})
            now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
            created = earlier.time_created if earlier else now
            computed = _computed(schema, resource, resource_id, created, inputs)
            record = Record(resource_id, resource.type, resource.urn, created, inputs, computed)
            self._records.write(record)
        return Existing(resource_id, _outputs(record, inputs), inputs)

    def _admit(self, resource: Resource, resource_id: str, inputs: Properties) -> None:
        """Refuses what names a resource that is gone, and what finds no room beside the others."""
        for named in oci_facts.names(resource.type, inputs):
            if oci_facts.made_here(named.id) and self._records.read(named.id, {}) is None:
                raise ERRORS["not-found"].raised(f"{named.id} is there no more")
        if not (is_bounded(self._region, resource.type) or resource.type in oci_rules.BESIDE_OTHERS):
            return
        others = {record.id: record for record in self._records if record.id != resource_id}
        for problem in room_problems(self._region, resource.type, inputs, others):
            raise problem
        for problem in oci_rules.conflicts(resource.type, inputs, others):
            raise problem

    def read(
        self, connection: Connection, resource: Resource, resource_id: str, inputs: Properties, outputs: Properties
    ) -> Existing | None:
        """The record as it is on disk, secrets filled in from the state."""
        record = self._records.read(resource_id, inputs)
        if record is None:
            return None
        if record.type != resource.type:
            raise ProviderError(f"{resource_id} is a {record.type}, not a {resource.type}")
        alive = {**record.inputs, **self._added_tags(connection, record)}
        return Existing(resource_id, {**_outputs(record, inputs), **alive}, alive)

    def _added_tags(self, connection: Connection, record: Record) -> Properties:
        """The defined tags, where the tenancy has added some that the provider was not told to ignore."""
        ignored = _listed(plain(connection.config.get("ignoreDefinedTags")))
        added = {key: value for key, value in self._region.tag_defaults.items() if key not in ignored}
        if not added or "definedTags" not in oci_schema.resource(record.type).inputs:
            return {}
        return {"definedTags": {**(plain(record.inputs.get("definedTags")) or {}), **added}}

    def update(
        self,
        connection: Connection,
        resource: Resource,
        current: Existing,
        inputs: Properties,
        timeout: float,
        preview: bool,
    ) -> Properties:
        """Rewrites the record's inputs."""
        kept = {name: value for name, value in current.outputs.items() if name not in current.inputs}
        if preview:
            return {**kept, **inputs}
        with self._making:
            record = self._records.read(current.id, inputs)
            if record is None:
                raise ProviderError(f"{current.id} no longer exists; refresh the stack to have it made again")
            self._admit(resource, current.id, inputs)
            schema = oci_schema.resource(resource.type)
            computed = _computed(schema, resource, record.id, record.time_created, inputs)
            changed = Record(record.id, record.type, resource.urn, record.time_created, inputs, computed)
            self._records.write(changed)
        return _outputs(changed, inputs)

    def delete(self, connection: Connection, resource: Resource, current: Existing, timeout: float) -> None:
        """Removes the record, and those of what cannot live without it; refuses while another still needs it."""
        with self._making:
            self._remove(current.id)

    def _remove(self, resource_id: str) -> None:
        following = []
        for record in self._records:
            for named in oci_facts.names(record.type, record.inputs):
                if named.id != resource_id or record.id == resource_id or named.reference.then == "stay":
                    continue
                if named.reference.then == "refuse":
                    raise ERRORS["conflict"].raised(f"{resource_id} is still used by {record.id}")
                following.append(record.id)
        for other in following:
            self._remove(other)
        self._records.remove(resource_id)

    def invoke(self, connection: Connection, token: str, arguments: Properties) -> Mapping[str, Value]:
        """The lookups that programs begin with."""
        return oci_lookups.answer(token, plain(arguments), self._region, region_name(connection))


def _outputs(record: Record, inputs: Properties) -> Properties:
    outputs: Properties = mark_secrets({**record.computed, **record.inputs}, inputs)
    return outputs


def _listed(value: Value) -> list[str]:
    """A provider's list, which comes as JSON text."""
    found = json.loads(value) if isinstance(value, str) and value else value
    return found if isinstance(found, list) else []


def _computed(
    schema: oci_schema.Resource, resource: Resource, resource_id: str, created: str, inputs: Properties
) -> Properties:
    """What the cloud adds and programs use: the state, when it was made, names, OCIDs of what comes with it.

    The rest of the outputs is left out rather than invented.
    """
    computed: Properties = {}
    for name, known in schema.outputs.items():
        if name in inputs or known.type.kind != "string":
            continue
        if name in _STATES:
            computed[name] = _healthy(schema)
        elif name == "timeCreated":
            computed[name] = created
        elif name in ("name", "displayName"):
            computed[name] = resource.name
        elif name.endswith("Id") and name.startswith("default") and name not in schema.inputs:
            computed[name] = f"ocid1.{name.removesuffix('Id').lower()}.oc1..{_digest(resource_id, name)}"
    if schema.token == "oci:ContainerEngine/cluster:Cluster":
        public = (plain(inputs).get("endpointConfig") or {}).get("isPublicIpEnabled")
        endpoint = "192.0.2.10:6443" if public else ""
        computed["endpoints"] = [{"kubernetes": "", "privateEndpoint": "10.0.0.10:6443", "publicEndpoint": endpoint}]
        computed["openIdConnectDiscoveryEndpoint"] = f"https://oidc.invalid/{_digest(resource_id)[:16]}"
    return computed


def _healthy(schema: oci_schema.Resource) -> str:
    if schema.class_name in _RUNNING:
        return "RUNNING"
    in_core = schema.token.startswith("oci:Core/")
    return "AVAILABLE" if in_core and schema.class_name not in _ACTIVE_IN_CORE else "ACTIVE"


def _ocid(schema: oci_schema.Resource, region: str, urn: str, known: Sequence[str]) -> str:
    return f"ocid1.{schema.class_name.lower()}.oc1.{region}.{_digest(urn, *known)}"


def _digest(*parts: str) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:60]


def region_name(connection: Connection) -> str:
    """The region that a provider was given."""
    return str(plain(connection.config.get("region")) or _DEFAULT_REGION)
