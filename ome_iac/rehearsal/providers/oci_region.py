"""The region that is played: availability domains, hosts, limits and quotas, and what of them is used.

Everything is reckoned from the records anew, so that it is right after a restart, and after somebody removed a file.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from ome_iac.problems import Problem, ProblemsError
from ome_iac.rehearsal.providers.oci_errors import ERRORS
from ome_iac.rehearsal.providers.oci_records import Record
from ome_iac.rehearsal.providers.package import Properties, ProviderError
from ome_iac.rehearsal.providers.values import plain

NODE_POOL: Final = "oci:ContainerEngine/nodePool:NodePool"
CLUSTER_NETWORK: Final = "oci:Core/clusterNetwork:ClusterNetwork"
GPU_MEMORY_CLUSTER: Final = "oci:Core/computeGpuMemoryCluster:ComputeGpuMemoryCluster"
INSTANCE_CONFIGURATION: Final = "oci:Core/instanceConfiguration:InstanceConfiguration"
RESERVATION: Final = "oci:Core/computeCapacityReservation:ComputeCapacityReservation"
_SAMPLE: Final = "write it like ome_iac/rehearsal/region.yaml"
_DOMAIN: Final = re.compile(r"AD-(?P<number>\d+)$")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)


class Quota(_Part):
    """An administrator's bound in one compartment."""

    compartment: str
    of: str = Field(description="a resource type, or a shape")
    most: int


class Region(_Part):
    """A region as region.yaml declares it."""

    key: str
    availability_domains: int = Field(ge=1)
    kubernetes_versions: tuple[str, ...]
    hosts: dict[str, tuple[int, ...]]
    limits: dict[str, int]
    quotas: tuple[Quota, ...]
    tag_defaults: dict[str, str] = Field(default_factory=dict, description="defined tags put on every resource")

    @classmethod
    def load(cls, own: Path) -> Region:
        """The project's own region file where it is there, else the one that comes with the package.

        Raises ProblemsError with everything that is wrong with it.
        """
        path = own if own.is_file() else resources.files("ome_iac.rehearsal").joinpath("region.yaml")
        try:
            return cls.model_validate(yaml.load(path.read_text("utf-8"), Loader=yaml.CSafeLoader))
        except ValidationError as error:
            raise ProblemsError(
                Problem(str(path), ".".join(map(str, detail["loc"])), detail["msg"], _SAMPLE)
                for detail in error.errors()
            ) from error
        except (OSError, yaml.YAMLError) as error:
            what = f"cannot be read: {str(error).splitlines()[0]}"
            raise ProblemsError([Problem(str(path), "", what, _SAMPLE)]) from error

    def domain(self, name: str) -> int | None:
        """The number of an availability domain, from 1; None for one that the region does not have."""
        match = _DOMAIN.search(name)
        number = int(match["number"]) if match else 0
        return number if 1 <= number <= self.availability_domains else None

    def free_hosts(self, shape: str, domain: int) -> int:
        """Hosts of a shape in a domain before anything was made."""
        counts = self.hosts.get(shape) or self.hosts.get("other") or ()
        return counts[domain - 1] if domain <= len(counts) else 0


@dataclass(frozen=True)
class Claim:
    """Hosts that a resource takes: from the region, or from a reservation."""

    shape: str
    domain: str
    count: int
    reservation: str | None = None


def claims(resource_type: str, inputs: Properties, records: Mapping[str, Record]) -> list[Claim]:
    """The hosts of a resource; `records` by id tell the shape of a pool that names an instance configuration."""
    values: dict[str, Any] = plain(inputs)
    found: list[Claim] = []
    if resource_type == NODE_POOL:
        details = values.get("nodeConfigDetails") or {}
        places = details.get("placementConfigs") or []
        size = int(details.get("size") or 0)
        for index, place in enumerate(places):
            count = size // len(places) + (1 if index < size % len(places) else 0)
            reservation = place.get("capacityReservationId")
            found.append(Claim(values["nodeShape"], str(place["availabilityDomain"]), count, reservation))
    elif resource_type == CLUSTER_NETWORK:
        domain = str((values.get("placementConfiguration") or {}).get("availabilityDomain"))
        for pool in values.get("instancePools") or []:
            found += _launched(pool.get("instanceConfigurationId"), domain, int(pool.get("size") or 0), records)
    elif resource_type == GPU_MEMORY_CLUSTER:
        size = int(values.get("size") or 1)
        found += _launched(values.get("instanceConfigurationId"), str(values["availabilityDomain"]), size, records)
    elif resource_type == RESERVATION:
        for config in values.get("instanceReservationConfigs") or []:
            count = int(config.get("reservedCount") or 0)
            found.append(Claim(str(config["instanceShape"]), str(values["availabilityDomain"]), count))
    return [claim for claim in found if claim.count]


def _launched(configuration: str | None, domain: str, count: int, records: Mapping[str, Record]) -> Iterator[Claim]:
    record = records.get(configuration or "")
    if record is None or record.type != INSTANCE_CONFIGURATION:
        return
    launch = ((plain(record.inputs).get("instanceDetails") or {}).get("launchDetails")) or {}
    if launch.get("shape"):
        yield Claim(str(launch["shape"]), domain, count, launch.get("capacityReservationId"))


def is_bounded(region: Region, resource_type: str) -> bool:
    """Whether the region has only so much room for resources of that type."""
    hosts = {NODE_POOL, CLUSTER_NETWORK, GPU_MEMORY_CLUSTER, RESERVATION}
    return resource_type in hosts or resource_type in {*region.limits, *(quota.of for quota in region.quotas)}


def room_problems(
    region: Region, resource_type: str, inputs: Properties, others: Mapping[str, Record]
) -> Iterator[ProviderError]:
    """Why the resource cannot be made beside the others: no hosts, a limit, a quota."""
    wanted = claims(resource_type, inputs, others)
    taken = [claim for record in others.values() for claim in claims(record.type, record.inputs, others)]
    for claim in wanted:
        yield from _host_problems(region, claim, taken, others)
    new_nodes: Counter[str] = Counter()
    for claim in wanted:
        new_nodes[claim.shape] += claim.count
    yield from _limit_problems(region, resource_type, new_nodes, inputs, others)


def _host_problems(
    region: Region, claim: Claim, taken: Iterable[Claim], others: Mapping[str, Record]
) -> Iterator[ProviderError]:
    same = [other for other in taken if other.shape == claim.shape]
    if claim.reservation:
        record = others.get(claim.reservation)
        if record is None:
            return  # the tenancy's own: how large it is, nobody here knows
        reserved = sum(part.count for part in claims(RESERVATION, record.inputs, others) if part.shape == claim.shape)
        left = reserved - sum(other.count for other in same if other.reservation == claim.reservation)
        where = "the capacity reservation"
    else:
        domain = region.domain(claim.domain)
        if domain is None:
            return  # said when the inputs were checked
        used = sum(other.count for other in same if not other.reservation and region.domain(other.domain) == domain)
        left = region.free_hosts(claim.shape, domain) - used
        where = claim.domain
    if claim.count > left:
        detail = f"{where} has {max(left, 0)} {claim.shape} left, {claim.count} are wanted"
        yield ERRORS["out-of-capacity"].raised(detail)


def _limit_problems(
    region: Region, resource_type: str, new_nodes: Counter[str], inputs: Properties, others: Mapping[str, Record]
) -> Iterator[ProviderError]:
    compartment = plain(inputs.get("compartmentId"))

    def used(of: str, within: str | None) -> int:
        counted = 0
        for record in others.values():
            if within and plain(record.inputs.get("compartmentId")) != within:
                continue
            counted += record.type == of
            counted += sum(claim.count for claim in claims(record.type, record.inputs, others) if claim.shape == of)
        return counted

    bounds: list[tuple[str, str, int, str | None]]
    bounds = [("limit-exceeded", of, most, None) for of, most in region.limits.items()]
    bounds += [
        ("quota-exceeded", quota.of, quota.most, quota.compartment)
        for quota in region.quotas
        if quota.compartment == compartment
    ]
    for error, of, most, within in bounds:
        new = 1 if of == resource_type else new_nodes.get(of, 0)
        if new and used(of, within) + new > most:
            name = of.rpartition(":")[2]
            yield ERRORS[error].raised(
                f"{most} {name} are allowed, {used(of, within)} are there, {new} more are wanted"
            )


def domains_of(value: Any) -> Iterator[str]:
    """Every availability domain that the inputs name, at whatever depth."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key == "availabilityDomain" and isinstance(item, str):
                yield item
            else:
                yield from domains_of(item)
    elif isinstance(value, list):
        for item in value:
            yield from domains_of(item)
