"""What a real tenancy answered about the things a stack names: images, domains, versions, hosts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from ome_iac.hardware import shapes
from ome_iac.planning.decision import Decision
from ome_iac.problems import Problem, did_you_mean
from ome_iac.spec.infrastructure import Cluster, MadePool, ManagedPool, NewOke, NodePool, RdmaPool
from ome_iac.spec.stack import Stack

Status = Literal["AVAILABLE", "OUT_OF_HOST_CAPACITY", "HARDWARE_NOT_SUPPORTED"]


class HostCapacity(Decision):
    """What a compute capacity report says of a shape in a domain, at the moment it was asked."""

    shape: str
    domain: str
    status: Status
    available: int | None = Field(description="hosts; None: the report does not say")


class TenancyFacts(Decision):
    """The answers. What is not asked for is not in them."""

    region: str
    availability_domains: tuple[str, ...]
    kubernetes_versions: tuple[str, ...] = Field(description="that new clusters can be made with")
    images: dict[str, str | None] = Field(description="display name by OCID; None: there is no such image")
    capacity: tuple[HostCapacity, ...]

    def image_name(self, image_id: str) -> str | None:
        """An image's name, where it was asked for and found."""
        return self.images.get(image_id)

    def hosts(self, shape: str, domain: str) -> HostCapacity | None:
        """What was answered of a shape in a domain."""
        return next((found for found in self.capacity if (found.shape, found.domain) == (shape, domain)), None)


class Questions(Decision):
    """What a stack would have to ask its tenancy."""

    region: str
    tenancy_id: str
    images: tuple[str, ...]
    hosts: tuple[tuple[str, str], ...] = Field(description="shape and availability domain")


def questions(stack: Stack) -> Questions | None:
    """What to ask for a stack that makes a cluster and says which tenancy it is in; None for any other. Hosts are asked
    for of GPU shapes alone: the others are rarely lacking."""
    wanted = stack.cluster.spec.create
    if wanted is None or wanted.tenancy_id is None:
        return None
    pools = [pool.spec for pool in stack.of(NodePool) if isinstance(pool.spec, MadePool)]
    hosts = {(spec.shape, domain) for spec in pools for domain in domains_of(spec) if spec.shape in shapes()}
    return Questions(
        region=wanted.region,
        tenancy_id=wanted.tenancy_id,
        images=tuple(sorted({spec.image_id for spec in pools})),
        hosts=tuple(sorted(hosts)),
    )


def domains_of(spec: MadePool) -> tuple[str, ...]:
    """Availability domains of a pool, sorted."""
    if isinstance(spec, RdmaPool):
        return (spec.availability_domain,)
    return tuple(sorted(spec.availability_domains)) if isinstance(spec, ManagedPool) else ()


def cluster_answers(document: Cluster, wanted: NewOke, facts: TenancyFacts) -> Iterator[Problem]:
    """What the tenancy says against the cluster."""
    if wanted.kubernetes_version not in facts.kubernetes_versions:
        what = f"OKE does not offer {wanted.kubernetes_version} in {facts.region}"
        remedy = f"one of {', '.join(facts.kubernetes_versions)}"
        yield document.problem("spec.create.kubernetesVersion", what, remedy)


def pool_answers(pool: NodePool, facts: TenancyFacts) -> Iterator[Problem]:
    """What the tenancy says against a pool. That hosts are lacking just now is a note, not a problem: the pool may
    have its own already."""
    spec = pool.spec
    assert isinstance(spec, MadePool)
    path = "spec.availabilityDomain" if isinstance(spec, RdmaPool) else "spec.availabilityDomains"
    for domain in domains_of(spec):
        if domain not in facts.availability_domains:
            what = f"there is no {domain} in {facts.region}"
            yield pool.problem(path, what, did_you_mean(domain, facts.availability_domains))
        hosts = facts.hosts(spec.shape, domain)
        if hosts and hosts.status == "HARDWARE_NOT_SUPPORTED":
            others = sorted(found.domain for found in facts.capacity if found.shape == spec.shape and found.available)
            remedy = f"it is in {', '.join(others)}" if others else "take another shape or region"
            yield pool.problem(path, f"{domain} has no {spec.shape} at all", remedy)
    if spec.image_id in facts.images:
        name = facts.images[spec.image_id]
        if name is None:
            what = f"there is no such image in {facts.region}, or you may not read it"
            yield pool.problem("spec.imageId", what, "check the OCID, and import the image into the region")
        elif spec.image_name and spec.image_name != name:
            yield pool.problem("spec.imageName", f"the image is called {name}", "write that, or leave it out")


def capacity_notes(spec: MadePool, facts: TenancyFacts) -> list[str]:
    """How many hosts there were when the tenancy was asked, domain by domain."""
    found = [hosts for domain in domains_of(spec) if (hosts := facts.hosts(spec.shape, domain))]
    return [
        f"{hosts.domain} had {hosts.available if hosts.available is not None else 'some'} free {hosts.shape} when asked"
        if hosts.status == "AVAILABLE"
        else f"{hosts.domain} had no free {hosts.shape} when asked: new nodes may have to wait"
        for hosts in found
    ]
