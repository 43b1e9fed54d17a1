"""`OciPlan`: what a stack makes in OCI below Kubernetes, decided; plain data, part of the `Plan`."""

from __future__ import annotations

import base64
from typing import Literal

from pydantic import Field

from ome_iac.planning.decision import Decision

Role = Literal["api", "workers", "pods", "load-balancers", "storage"]
Mode = Literal["managed", "managed-rdma", "cluster-network", "gpu-memory-cluster"]
Tags = dict[str, str]


class SubnetPlan(Decision):
    """One regional subnet."""

    role: Role
    cidr: str
    public: bool
    dns_label: str
    addresses: int = Field(description="that resources can have: OCI keeps three of each subnet")


class RulePlan(Decision):
    """One stateful rule of a network security group."""

    name: str = Field(description="unique in the network; also what the resource is called")
    group: Role = Field(description="whose rule it is")
    direction: Literal["INGRESS", "EGRESS"]
    protocol: Literal["all", "tcp", "udp", "icmp"]
    ports: tuple[int, int] | None = Field(description="first and last destination port; None: all")
    icmp: tuple[int, int] | None = Field(default=None, description="type and code")
    peer_kind: Literal["group", "cidr", "services"]
    peer: str = Field(description="a role, a CIDR, or empty for Oracle's own services")
    why: str


class PodAddresses(Decision):
    """How many addresses the pools' pods take, and how many the pod subnet has."""

    pool: str
    nodes: int
    per_node: int

    @property
    def total(self) -> int:
        """Of the pool at its largest."""
        return self.nodes * self.per_node


class NetworkPlan(Decision):
    """A VCN that this stack makes."""

    name: str
    compartment_id: str
    cidr_blocks: tuple[str, ...]
    dns_label: str
    subnets: tuple[SubnetPlan, ...]
    internet_gateway: bool = Field(description="only where a subnet is public")
    rules: tuple[RulePlan, ...]
    pods: tuple[PodAddresses, ...]
    protect: bool
    tags: Tags

    def subnet(self, role: Role) -> SubnetPlan:
        """The subnet of a role."""
        return next(subnet for subnet in self.subnets if subnet.role == role)


class NetworkIds(Decision):
    """Subnets and groups that are there, by role."""

    vcn_id: str | None = Field(description="None: unknown, and not needed")
    subnets: dict[Role, str]
    groups: dict[Role, tuple[str, ...]]


class AddOnPlan(Decision):
    """A cluster add-on at one version."""

    name: str
    version: str
    configuration: dict[str, str]


class ClusterPlan(Decision):
    """An enhanced OKE cluster that this stack makes."""

    name: str
    compartment_id: str
    region: str
    kubernetes_version: str
    network: NetworkIds | None = Field(description="None: the network this stack makes")
    public_endpoint: bool
    services_cidr: str
    add_ons: tuple[AddOnPlan, ...]
    kms_key_id: str | None
    image_policy_key_ids: tuple[str, ...]
    protect: bool
    tags: Tags


class ExistingCluster(Decision):
    """An OKE cluster that is there, as far as new pools need to know it."""

    cluster_id: str
    network: NetworkIds
    vcn_native: bool = Field(description="pods have addresses of the VCN; False: flannel overlay")
    api_host: str | None
    ca_certificate: str | None


class NodePoolPlan(Decision):
    """A pool whose nodes this stack makes."""

    name: str
    mode: Mode
    compartment_id: str
    shape: str
    ocpus: int | None = Field(description="of flexible shapes")
    memory_gb: int | None
    nodes: int = Field(description="the size; with autoscaling, the size it begins with")
    autoscale: tuple[int, int] | None = Field(description="fewest and most nodes; None: the size is fixed")
    kubernetes_version: str
    image_id: str
    boot_volume_gb: int
    availability_domains: tuple[str, ...]
    max_pods: int
    labels: Tags = Field(description="that the nodes register with")
    taints: tuple[str, ...] = Field(description="key=value:effect, beside OKE's own")
    cloud_init: str = Field(description="text; see `user_data`")
    metadata: Tags = Field(description="instance metadata beside user_data")
    agent_plugins: dict[str, bool] = Field(description="Oracle Cloud Agent plugins, on or off; empty: as the image has")
    ssh_public_key: str | None
    capacity_reservation_id: str | None = Field(description="one that is there")
    reservation: str | None = Field(description="the CapacityReservation of the stack that the nodes come from")
    compute_cluster_id: str | None = Field(description="one that is there; None: this stack makes one if the mode asks")
    host_group_id: str | None
    hpc_island_id: str | None
    network_block_ids: tuple[str, ...]
    gpu_memory_fabric_id: str | None
    cycling: tuple[str, int, int] | None = Field(description="mode, nodes beyond the size, nodes that may be missing")
    protect: bool
    tags: Tags
    cost_per_hour: float = Field(description="USD list, of all nodes")
    notes: tuple[str, ...]

    @property
    def user_data(self) -> str:
        """The cloud-init, as OCI takes it."""
        return base64.b64encode(self.cloud_init.encode()).decode()

    @property
    def self_managed(self) -> bool:
        """Whether the nodes join the cluster by themselves."""
        return self.mode in ("cluster-network", "gpu-memory-cluster")


class PolicyPlan(Decision):
    """IAM statements that the pools cannot do without."""

    name: str
    compartment_id: str
    home_region: str | None
    statements: tuple[str, ...]
    joining: str | None = Field(description="matching rule of the dynamic group of nodes that join by themselves")
    tenancy_id: str | None
    tags: Tags


class OciPlan(Decision):
    """Everything below Kubernetes."""

    region: str | None = Field(description="None: as the provider is configured")
    ignore_defined_tags: tuple[str, ...]
    network: NetworkPlan | None
    cluster: ClusterPlan | None
    existing: ExistingCluster | None
    pools: tuple[NodePoolPlan, ...]
    policy: PolicyPlan | None

    @property
    def empty(self) -> bool:
        """Whether nothing is made."""
        return not (self.network or self.cluster or self.pools)
