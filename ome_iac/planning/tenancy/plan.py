"""What is decided of tenants: plain data, part of the `Plan`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ome_iac.planning.decision import Decision

PodSecurity = Literal["privileged", "baseline", "restricted"]
LEVELS: tuple[PodSecurity, ...] = ("privileged", "baseline", "restricted")
"""Of Kubernetes' Pod Security Standards, the strictest last."""


class End(Decision):
    """Pods at one end of a flow: of a namespace, with these labels (none: all of them); or addresses."""

    namespace: str = ""
    labels: dict[str, str] = Field(default_factory=dict)
    cidr: str | None = Field(default=None, description="addresses instead of pods")
    excepted: tuple[str, ...] = Field(default=(), description="addresses of `cidr` that are not meant")


class Flow(Decision):
    """Traffic that must pass for the plan to work; what no flow names is dropped."""

    origin: End
    end: End
    ports: tuple[int, ...] = Field(description="destination ports; none: all")
    protocols: tuple[Literal["TCP", "UDP"], ...] = ("TCP",)
    http: bool = Field(default=False, description="requests that a mesh can tell apart, by path and caller")
    paths: tuple[str, ...] = Field(default=(), description="of requests; none: all")
    why: str


class NamespacePlan(Decision):
    """A namespace of a tenant."""

    name: str
    pod_security: PodSecurity
    pod_security_why: str
    quota: dict[str, str] = Field(description="ResourceQuota's `hard`")
    flows: tuple[Flow, ...]
    outside_mesh: tuple[dict[str, str], ...] = Field(
        description="labels of pods that talk to each other at ports nobody knows beforehand: no sidecar, no mTLS"
    )


class CompartmentPlan(Decision):
    """The tenant's compartment; `compartment_id` is one that is there, else it is made below `parent_id`."""

    name: str
    compartment_id: str | None
    parent_id: str | None


class PolicyPlan(Decision):
    """An IAM policy. In a statement {cluster} stands for the OCID of the cluster that this stack makes."""

    name: str
    compartment_id: str = Field(description="where it is attached, and what its statements are about")
    statements: tuple[str, ...]


class TenantPlan(Decision):
    """A Tenant, decided."""

    name: str
    compartment: CompartmentPlan | None
    cluster_id: str | None = Field(description="of an OKE cluster that is there; None: this stack's, or none at OCI")
    namespaces: tuple[NamespacePlan, ...]
    queue: str | None
    groups: dict[Literal["admin", "deployer", "viewer"], tuple[str, ...]]
    policies: tuple[PolicyPlan, ...]
    home_region: str | None = Field(description="where IAM is written; None: in the provider's own region")
    oci_quota: tuple[str, ...]
    tenancy_id: str | None = Field(description="where OCI keeps quotas; None: there are none")
    tags: dict[str, str]
    mesh: bool = Field(description="Istio's objects are part of it")
    gpus: dict[str, int] = Field(description="of each pool")
    cost_per_hour: float = Field(description="USD list, of the GPUs that its services use")
    notes: tuple[str, ...]

    @property
    def at_oci(self) -> bool:
        """Whether anything of it is made in OCI."""
        return bool(self.compartment or self.policies or self.oci_quota)
