"""Rules of OCI's that reach beyond one property: domains, versions, addresses, shapes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import IPv4Network
from typing import Any, Final

from packaging.version import InvalidVersion, Version

from ome_iac.rehearsal.providers.oci_errors import ServiceError
from ome_iac.rehearsal.providers.oci_records import Record
from ome_iac.rehearsal.providers.oci_region import NODE_POOL, Region, domains_of
from ome_iac.rehearsal.providers.package import Failure, Properties, ProviderError
from ome_iac.rehearsal.providers.values import has_unknown, plain

CLUSTER: Final = "oci:ContainerEngine/cluster:Cluster"
VCN: Final = "oci:Core/vcn:Vcn"
SUBNET: Final = "oci:Core/subnet:Subnet"
BESIDE_OTHERS: Final = (NODE_POOL, SUBNET)
"""Types whose resources `conflicts` compares with others."""
_INVALID: Final = ServiceError(400, "InvalidParameter", "A value is not valid", "correct it")


def problems(resource_type: str, old: Properties, inputs: Properties, region: Region) -> Iterator[Failure]:
    """What is wrong with the inputs by themselves, and with the step from the old ones to them."""
    values: dict[str, Any] = plain(inputs)
    for domain in sorted(set(domains_of(values))):
        if region.domain(domain) is None:
            known = ", ".join(f"AD-{number}" for number in range(1, region.availability_domains + 1))
            yield Failure((), f"the region has no availability domain {domain}; it has {known}")
    if resource_type in (VCN, SUBNET):
        yield from _address_problems(values)
    if resource_type == CLUSTER:
        yield from _version_problems(values, plain(old), region)
    if resource_type == NODE_POOL:
        yield from _pool_problems(values)


def conflicts(resource_type: str, inputs: Properties, others: Mapping[str, Record]) -> Iterator[ProviderError]:
    """What is wrong with the resource beside the others."""
    values: dict[str, Any] = plain(inputs)
    if resource_type == SUBNET:
        yield from _subnet_conflicts(values, others)
    if resource_type == NODE_POOL:
        cluster = others.get(str(values.get("clusterId")))
        control = (plain(cluster.inputs) if cluster else {}).get("kubernetesVersion")
        version = values.get("kubernetesVersion")
        if control and version and _version(version) > _version(control):
            yield _INVALID.raised(f"nodes of {version} are newer than their cluster's {control}")


def _address_problems(values: dict[str, Any]) -> Iterator[Failure]:
    blocks = {"cidrBlock": [values.get("cidrBlock")], "cidrBlocks": values.get("cidrBlocks") or []}
    for name, given in blocks.items():
        for block in given:
            if isinstance(block, str) and not _is_network(block):
                yield Failure((name,), f"{block} is no IPv4 network, such as 10.0.0.0/16")


def _is_network(text: str) -> bool:
    try:
        IPv4Network(text)
    except ValueError:
        return False
    return True


def _version_problems(values: dict[str, Any], old: dict[str, Any], region: Region) -> Iterator[Failure]:
    path = ("kubernetesVersion",)
    wanted, before = values.get("kubernetesVersion"), old.get("kubernetesVersion")
    if not isinstance(wanted, str) or has_unknown(wanted):
        return
    minor = ".".join(wanted.removeprefix("v").split(".")[:2])
    if minor not in region.kubernetes_versions and wanted != before:
        yield Failure(
            path, f"{wanted} is not offered; {', '.join(f'v{known}' for known in region.kubernetes_versions)} are"
        )
    if isinstance(before, str) and _version(wanted) < _version(before):
        yield Failure(path, f"a cluster of {before} cannot go back to {wanted}")
    elif isinstance(before, str) and _version(wanted).minor > _version(before).minor + 1:
        yield Failure(path, f"from {before} to {wanted} is more than one minor version; upgrade one after another")


def _pool_problems(values: dict[str, Any]) -> Iterator[Failure]:
    shape, config = str(values.get("nodeShape")), values.get("nodeShapeConfig")
    flexible = shape.endswith(".Flex")
    if flexible and not config:
        yield Failure(("nodeShapeConfig",), f"{shape} is flexible: ocpus and memoryInGbs are wanted")
    if config and not flexible:
        yield Failure(("nodeShapeConfig",), f"{shape} is not flexible: it takes none")
    details = values.get("nodeConfigDetails")
    if isinstance(details, dict) and details.get("computeClusterId") and len(details.get("placementConfigs") or []) > 1:
        yield Failure(("nodeConfigDetails", "placementConfigs"), "a compute cluster is in one availability domain")


def _subnet_conflicts(values: dict[str, Any], others: Mapping[str, Record]) -> Iterator[ProviderError]:
    block = values.get("cidrBlock")
    network = others.get(str(values.get("vcnId")))
    if not isinstance(block, str):
        return
    mine = IPv4Network(block)
    if network:
        inputs = plain(network.inputs)
        blocks = inputs.get("cidrBlocks") or [inputs["cidrBlock"]]
        if not any(mine.subnet_of(IPv4Network(whole)) for whole in blocks):
            yield _INVALID.raised(f"{block} is outside its network's {', '.join(blocks)}")
    for record in others.values():
        inputs = plain(record.inputs)
        if record.type == SUBNET and inputs.get("vcnId") == values.get("vcnId"):
            other = inputs.get("cidrBlock")
            if isinstance(other, str) and mine.overlaps(IPv4Network(other)):
                yield _INVALID.raised(f"{block} overlaps {other} of {record.id}")


def _version(text: str) -> Version:
    try:
        return Version(text)
    except InvalidVersion:
        return Version("0")
