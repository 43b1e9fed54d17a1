"""Cluster and NodePool: what the services stand on (ome-iac/v1), and Kubernetes' own Namespace."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, StringConstraints

from ome_iac.spec.document import OME_IAC, Document, Part

Ocid = Annotated[
    str,
    StringConstraints(pattern=r"^ocid1\.[a-z0-9]+\.[a-z0-9]*\.[a-z0-9-]*\.\S+$"),
    Field(description="an OCID: ocid1.<type>.<realm>.[region].<id>"),
]
"""An Oracle Cloud identifier."""


class Oke(Part):
    """The OKE cluster that node pools are added to."""

    cluster_id: Ocid
    compartment_id: Ocid
    kubernetes_version: str = Field(pattern=r"^v\d+\.\d+\.\d+$", description="of new node pools: v1.34.1")
    node_subnet_id: Ocid
    pod_subnet_id: Ocid | None = Field(default=None, description="VCN-native pods; left out: flannel overlay")


class ClusterSpec(Part):
    """Left empty, the cluster is whatever the kubeconfig names, and no OCI resource is made."""

    oke: Oke | None = None


class Cluster(Document):
    """The Kubernetes cluster of the stack."""

    API_VERSION: ClassVar[str] = OME_IAC
    KIND: ClassVar[str] = "Cluster"
    spec: ClusterSpec = ClusterSpec()


class Taint(Part):
    """A node's taint."""

    key: str
    value: str = ""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] = "NoSchedule"


class PoolBase(Part):
    """What both modes have."""

    shape: str = Field(description="OCI compute shape, such as BM.GPU.H100.8")
    nodes: int = Field(ge=1)
    node_selector: dict[str, str] = Field(
        default_factory=dict, description="labels of the pool's nodes beside those OKE sets"
    )


class ExistingPool(PoolBase):
    """Nodes that are there already; nothing is made."""

    mode: Literal["existing"]


class ManagedPool(PoolBase):
    """An OKE-managed node pool that this stack makes."""

    mode: Literal["managed"]
    image_id: Ocid
    availability_domains: tuple[str, ...] = Field(min_length=1)
    boot_volume_gb: int = Field(default=256, alias="bootVolumeGB", ge=50)
    ssh_public_key: str | None = None


class NodePool(Document):
    """GPU nodes of one shape."""

    API_VERSION: ClassVar[str] = OME_IAC
    KIND: ClassVar[str] = "NodePool"
    spec: Annotated[ExistingPool | ManagedPool, Field(discriminator="mode")]


class Namespace(Document):
    """A namespace that this stack makes."""

    API_VERSION: ClassVar[str] = "v1"
    KIND: ClassVar[str] = "Namespace"
    spec: dict[str, Any] = Field(default_factory=dict, max_length=0)
