"""The `oci` package, rehearsed: resources checked against the SDK's own schema and kept on disk.

OCIDs are a digest of the resource's URN and of the OCIDs that the state already had for it: the same program gives
the same ones, an interrupted `up` finds what it made, and a replacement is another resource.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from ome_iac.rehearsal.providers import oci_schema, oci_validation
from ome_iac.rehearsal.providers.diffing import changes
from ome_iac.rehearsal.providers.oci_records import Record, Records
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
    """Every resource type that the installed SDK has."""

    name = "oci"

    def __init__(self, records: Records) -> None:
        self.version = importlib.metadata.version("pulumi_oci")
        self._records = records

    def check(
        self, connection: Connection, resource: Resource, old: Properties, new: Properties, naming: Naming | None
    ) -> tuple[Properties, Sequence[Failure]]:
        """The inputs, and what the SDK's schema says against them."""
        inputs = without_nulls(new)
        try:
            return inputs, oci_validation.problems(oci_schema.resource(resource.type), inputs)
        except oci_schema.UnknownTypeError:
            return inputs, [Failure((), f"{resource.type} is no resource type of pulumi_oci {self.version}")]

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
        resource_id = _ocid(schema, _region(connection), resource.urn, known)
        earlier = self._records.read(resource_id, {})
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        created = earlier.time_created if earlier else now
        computed = _computed(schema, resource, resource_id, created, inputs)
        record = Record(resource_id, resource.type, resource.urn, created, inputs, computed)
        self._records.write(record)
        return Existing(resource_id, _outputs(record, inputs), inputs)

    def read(
        self, connection: Connection, resource: Resource, resource_id: str, inputs: Properties, outputs: Properties
    ) -> Existing | None:
        """The record as it is on disk, secrets filled in from the state."""
        record = self._records.read(resource_id, inputs)
        if record is None:
            return None
        if record.type != resource.type:
            raise ProviderError(f"{resource_id} is a {record.type}, not a {resource.type}")
        return Existing(resource_id, _outputs(record, inputs), record.inputs)

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
        record = self._records.read(current.id, inputs)
        if record is None:
            raise ProviderError(f"{current.id} no longer exists; refresh the stack to have it made again")
        schema = oci_schema.resource(resource.type)
        computed = _computed(schema, resource, record.id, record.time_created, inputs)
        changed = Record(record.id, record.type, resource.urn, record.time_created, inputs, computed)
        self._records.write(changed)
        return _outputs(changed, inputs)

    def delete(self, connection: Connection, resource: Resource, current: Existing, timeout: float) -> None:
        """Removes the record."""
        self._records.remove(current.id)

    def invoke(self, connection: Connection, token: str, arguments: Properties) -> Mapping[str, Value]:
        """The lookups that programs begin with."""
        region = _region(connection)
        compartment = plain(arguments.get("compartmentId"))
        if token == "oci:Identity/getAvailabilityDomains:getAvailabilityDomains":
            domains = [
                {
                    "compartmentId": compartment,
                    "id": f"ocid1.availabilitydomain.oc1..{_digest(region, str(number))}",
                    "name": f"Rhrs:{region.upper()}-AD-{number}",
                }
                for number in (1, 2, 3)
            ]
            return {"availabilityDomains": domains, "compartmentId": compartment, "id": _digest(token, region)}
        if token == "oci:ObjectStorage/getNamespace:getNamespace":
            return {"namespace": "rehearsal", "compartmentId": compartment, "id": _digest(token)}
        raise ProviderError(
            f"{token} is not rehearsed: only getAvailabilityDomains and getNamespace are; "
            "give the program what it looks up as configuration"
        )


def _outputs(record: Record, inputs: Properties) -> Properties:
    outputs: Properties = mark_secrets({**record.computed, **record.inputs}, inputs)
    return outputs


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
        computed["endpoints"] = [{"kubernetes": "", "privateEndpoint": "10.0.0.10:6443", "publicEndpoint": ""}]
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


def _region(connection: Connection) -> str:
    return str(plain(connection.config.get("region")) or _DEFAULT_REGION)
