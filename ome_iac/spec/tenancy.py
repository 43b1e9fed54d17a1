"""Tenant: people, their namespaces, and what they may have and do (ome-iac/v1)."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from ome_iac.spec.capacity import Share
from ome_iac.spec.document import OME_IAC, DnsLabel, Document, Part
from ome_iac.spec.infrastructure import Ocid


class NewCompartment(Part):
    """A compartment that this stack makes."""

    parent_id: Ocid
    name: str | None = Field(default=None, description="left out: the tenant's name")


class People(Part):
    """OCI groups by what their members may do in the namespaces: on OKE a group's OCID is its name in RBAC."""

    admin: tuple[Ocid, ...] = ()
    deployer: tuple[Ocid, ...] = ()
    viewer: tuple[Ocid, ...] = ()


class PodLimits(Part):
    """What a namespace may have beside GPUs; left out: what its services ask for, and half as much again."""

    pods: int | None = Field(default=None, ge=1)
    cpus: int | None = Field(default=None, ge=1)
    memory_gib: int | None = Field(default=None, alias="memoryGiB", ge=1)


class TenantSpec(Part):
    """Who, where, how much."""

    compartment: NewCompartment | None = None
    compartment_id: Ocid | None = Field(default=None, description="a compartment that is there")
    models_compartment_id: Ocid | None = Field(
        default=None, description="of the buckets with its models; left out: its own, else the cluster's"
    )
    namespaces: tuple[DnsLabel, ...] = Field(min_length=1, description="of this tenant alone; the stack makes them")
    people: People = People()
    quota: tuple[Share, ...] = Field(default=(), description="GPUs of each pool; a tenant has no others")
    limits: PodLimits = PodLimits()
    pod_security: Literal["privileged", "baseline", "restricted"] | None = Field(
        default=None, description="of Kubernetes' Pod Security Standards; left out: the strictest its services allow"
    )
    oci_quota: tuple[str, ...] = Field(
        default=(), description="quota policies, such as `zero compute-core quotas in compartment blue`"
    )
    dedicated: bool = Field(default=False, description="its queue neither borrows nor lends")


class Tenant(Document):
    """A team on the cluster that no other team can reach."""

    API_VERSION: ClassVar[str] = OME_IAC
    KIND: ClassVar[str] = "Tenant"
    spec: TenantSpec
