"""Cluster and NodePool: what the services stand on (ome-iac/v1), and Kubernetes' own Namespace."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from ome_iac.spec.document import OME_IAC, DnsLabel, Document, Part
from ome_iac.spec.network import Cidr, ExistingNetwork, ManagedNetwork
from ome_iac.spec.network import Ocid as Ocid

KubernetesVersion = Annotated[str, Field(pattern=r"^v\d+\.\d+\.\d+$", description="with its patch: v1.34.1")]


class Oke(Part):
    """An OKE cluster that is there, to which node pools are added."""

    cluster_id: Ocid
    compartment_id: Ocid
    kubernetes_version: KubernetesVersion
    node_subnet_id: Ocid
    pod_subnet_id: Ocid | None = Field(default=None, description="VCN-native pods; left out: flannel overlay")
    tenancy_id: Ocid | None = Field(default=None, description="needed by self-managed nodes")
    api_host: str | None = Field(default=None, description="private address of the API; needed by self-managed nodes")
    ca_certificate: str | None = Field(
        default=None, description="the cluster's, base64 as in a kubeconfig; needed by self-managed nodes"
    )


class AddOn(Part):
    """An OKE cluster add-on at one version, so that Oracle does not update it by itself."""

    name: str = Field(description="OKE's name of it: CoreDNS, KubeProxy, OciVcnIpNative, NvidiaGpuPlugin, ...")
    version: str = Field(pattern=r"^v\d+\.\d+\.\d+", description="in full, as OKE lists it: v1.11.1")
    configuration: dict[str, str] = Field(default_factory=dict)


class NewOke(Part):
    """An enhanced OKE cluster that this stack makes, with VCN-native pods."""

    compartment_id: Ocid
    tenancy_id: Ocid | None = Field(default=None, description="needed by self-managed nodes")
    region: str = Field(pattern=r"^[a-z]+-[a-z]+-\d+$", description="us-ashburn-1")
    home_region: str | None = Field(
        default=None, pattern=r"^[a-z]+-[a-z]+-\d+$", description="where IAM is written; left out: region"
    )
    kubernetes_version: KubernetesVersion
    network: Annotated[ManagedNetwork | ExistingNetwork, Field(discriminator="mode", description="the VCN it is in")]
    api: Literal["private", "public"] = Field(default="private", description="where the Kubernetes API is reached")
    api_allowed_cidrs: tuple[Cidr, ...] = Field(default=(), description="who may reach the API beside the cluster")
    services_cidr: Cidr = Field(default="10.96.0.0/16", description="Kubernetes Services; no other network's")
    add_ons: tuple[AddOn, ...] = Field(default=(), description="OKE's add-ons, each with name, version, configuration")
    kms_key_id: Ocid | None = Field(default=None, description="encrypts Kubernetes secrets")
    image_policy_key_ids: tuple[Ocid, ...] = Field(
        default=(), description="only images signed with one of these keys may run; none: no such policy"
    )
    protect: bool = Field(
        default=True, description="the cluster and its GPU pools are neither deleted nor replaced while this holds"
    )


class Tags(Part):
    """What bills and people sort OCI resources by, beside the stack's name, which every resource carries."""

    cost_centre: str | None = None
    freeform: dict[str, str] = Field(default_factory=dict)


class ClusterSpec(Part):
    """Left empty, the cluster is whatever the kubeconfig names, and no OCI resource is made."""

    oke: Oke | None = Field(default=None, description="a cluster that is there")
    create: NewOke | None = Field(default=None, description="a cluster that this stack makes")
    tags: Tags = Tags()
    ignore_defined_tags: tuple[str, ...] = Field(
        default=("Oracle-Tags.CreatedBy", "Oracle-Tags.CreatedOn"),
        description="defined tags that the tenancy puts on by itself",
    )


class Cluster(Document):
    """The Kubernetes cluster of the stack."""

    API_VERSION: ClassVar[str] = OME_IAC
    KIND: ClassVar[str] = "Cluster"
    spec: ClusterSpec = ClusterSpec()


LABEL_KEY = r"^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"
LABEL_VALUE = r"^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$"
"""What Kubernetes takes as the key and the value of a label or a taint."""


class Taint(Part):
    """A node's taint."""

    key: str = Field(pattern=LABEL_KEY, description="a label's key: example.com/reserved")
    value: str = Field(
        default="", pattern=LABEL_VALUE, description="a label's value: 63 letters, digits, - _ . at most"
    )
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] = "NoSchedule"


class Autoscale(Part):
    """The bounds within which the cluster autoscaler decides how many nodes there are."""

    min_nodes: int = Field(ge=0)
    max_nodes: int = Field(ge=1)


class Cycling(Part):
    """How nodes are renewed when the pool's image, version or settings change."""

    mode: Literal["replace", "boot-volume"] = Field(
        default="replace", description="a new instance, or the same one with a new boot volume"
    )
    max_surge: int = Field(default=0, ge=0, description="nodes beyond the size; GPUs for them must be there")
    max_unavailable: int = Field(default=1, ge=0)


class PoolBase(Part):
    """What all modes have."""

    shape: str = Field(description="OCI compute shape, such as BM.GPU.H100.8")
    nodes: int = Field(ge=1, description="how many; with autoscale, how many to begin with")
    node_selector: dict[str, str] = Field(
        default_factory=dict, description="labels of the pool's nodes beside those OKE sets"
    )


class ExistingPool(PoolBase):
    """Nodes that are there already; nothing is made."""

    mode: Literal["existing"]


class MadePool(PoolBase):
    """What all modes have whose nodes this stack makes."""

    image_id: Ocid
    image_name: str | None = Field(
        default=None, description="the image's name in OCI, from which its system, drivers and version are read"
    )
    kubernetes_version: KubernetesVersion | None = Field(default=None, description="left out: the cluster's")
    boot_volume_gb: int = Field(default=256, alias="bootVolumeGB", ge=50)
    max_pods_per_node: int | None = Field(
        default=None, ge=1, le=110, description="left out: as many as the node's interfaces carry, 110 at most"
    )
    taints: tuple[Taint, ...] = Field(default=(), description="beside OKE's own on GPU nodes")
    ssh_public_key: str | None = None
    capacity_reservation_id: Ocid | None = Field(
        default=None, description="one that is there; one of the stack names its pools itself"
    )
    tenant: DnsLabel | None = Field(default=None, description="who pays: a tag")
    protect: bool | None = Field(default=None, description="left out: as the cluster, for pools with GPUs")


class ManagedPool(MadePool):
    """An OKE-managed node pool that this stack makes; of GPU nodes, or of CPU nodes."""

    mode: Literal["managed"]
    availability_domains: tuple[str, ...] = Field(min_length=1)
    ocpus: int | None = Field(default=None, ge=1, description="of a node, for flexible shapes")
    memory_gb: int | None = Field(default=None, alias="memoryGB", ge=1, description="of a node, for flexible shapes")
    autoscale: Autoscale | None = None
    cycling: Cycling | None = None


class RdmaPool(MadePool):
    """What the modes have whose nodes share a cluster network: one availability domain, an image that can."""

    availability_domain: str
    image_name: str = Field(description="the image's name in OCI: an RDMA pool needs drivers that not every one has")


class ManagedRdmaPool(RdmaPool):
    """An OKE-managed node pool whose nodes are in one compute cluster."""

    mode: Literal["managed-rdma"]
    compute_cluster_id: Ocid | None = Field(default=None, description="left out: one is made")
    host_group_id: Ocid | None = None
    cycling: Cycling | None = None


class ClusterNetworkPool(RdmaPool):
    """Self-managed nodes of an OCI cluster network."""

    mode: Literal["cluster-network"]
    hpc_island_id: Ocid | None = None
    network_block_ids: tuple[Ocid, ...] = ()


class GpuMemoryClusterPool(RdmaPool):
    """Self-managed nodes of an OCI GPU memory cluster: a GB200 or GB300 rack, or part of one."""

    mode: Literal["gpu-memory-cluster"]
    compute_cluster_id: Ocid | None = Field(default=None, description="left out: one is made")
    gpu_memory_fabric_id: Ocid | None = Field(default=None, description="left out: OCI chooses the rack")
    autoscale: Autoscale | None = None


PoolSpec = ExistingPool | ManagedPool | ManagedRdmaPool | ClusterNetworkPool | GpuMemoryClusterPool


class NodePool(Document):
    """Nodes of one shape."""

    API_VERSION: ClassVar[str] = OME_IAC
    KIND: ClassVar[str] = "NodePool"
    spec: Annotated[PoolSpec, Field(discriminator="mode")]


class Namespace(Document):
    """A namespace that this stack makes."""

    API_VERSION: ClassVar[str] = "v1"
    KIND: ClassVar[str] = "Namespace"
    spec: dict[str, Any] = Field(default_factory=dict, max_length=0)
