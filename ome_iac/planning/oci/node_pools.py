"""Pools that a stack makes, decided: one `NodePoolPlan` each, whatever the mode."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ome_iac.hardware import Shape
from ome_iac.planning.oci.cloud_init import render
from ome_iac.planning.oci.plan import NodePoolPlan, Tags
from ome_iac.planning.oci.pool_checks import AnyShape, most_pods
from ome_iac.planning.oci.tags import pool_tags
from ome_iac.planning.oci.tenancy import TenancyFacts, capacity_notes, domains_of
from ome_iac.planning.pools import POOL_LABEL
from ome_iac.spec.infrastructure import (
    ClusterNetworkPool,
    Cycling,
    GpuMemoryClusterPool,
    MadePool,
    ManagedPool,
    ManagedRdmaPool,
    NewOke,
    NodePool,
    Oke,
    RdmaPool,
)

AGENT_PLUGINS: Mapping[str, bool] = {
    "Bastion": False,
    "Block Volume Management": False,
    "Compute HPC RDMA Authentication": True,
    "Compute HPC RDMA Auto-Configuration": True,
    "Compute Instance Monitoring": True,
    "Compute Instance Run Command": True,
    "Compute RDMA GPU Monitoring": True,
    "OS Management Service Agent": False,
    "Oracle Autonomous Linux": False,
}
"""Oracle Cloud Agent's plugins on nodes of a cluster network (oci-hpc-oke, terraform/oke-workers.tf)."""

_CYCLE_MODES = {"replace": "INSTANCE_REPLACE", "boot-volume": "BOOT_VOLUME_REPLACE"}


def plan_pool(
    pool: NodePool,
    shape: AnyShape,
    cluster: NewOke | Oke,
    common: Tags,
    services: Sequence[str],
    reservation: str | None,
    tenancy: TenancyFacts | None = None,
    dedicated: tuple[str, str, str] | None = None,
) -> NodePoolPlan:
    """A pool without problems, as it is made.

    `services` are the names of those that run there, for its tags; `reservation` is the stack's own that covers it;
    `tenancy` is what a real one answered; `dedicated` is the taint of a pool that serves one namespace alone, and a
    label of its nodes too.
    """
    spec = pool.spec
    assert isinstance(spec, MadePool)
    version = spec.kubernetes_version or cluster.kubernetes_version
    autoscale = getattr(spec, "autoscale", None)
    self_managed = isinstance(spec, ClusterNetworkPool | GpuMemoryClusterPool)
    taints = tuple(f"{taint.key}={taint.value}:{taint.effect}" for taint in spec.taints)
    labels = {**spec.node_selector, POOL_LABEL: pool.name}
    if dedicated:
        key, value, effect = dedicated
        taints = (*taints, f"{key}={value}:{effect}")
        labels[key] = value
    labels = dict(sorted(labels.items()))
    max_pods = spec.max_pods_per_node or most_pods(spec, shape)
    protect = isinstance(cluster, NewOke) and cluster.protect and isinstance(shape, Shape)
    return NodePoolPlan(
        name=pool.name,
        mode=spec.mode,
        compartment_id=cluster.compartment_id,
        shape=shape.name,
        ocpus=getattr(spec, "ocpus", None),
        memory_gb=getattr(spec, "memory_gb", None),
        nodes=spec.nodes,
        autoscale=(autoscale.min_nodes, autoscale.max_nodes) if autoscale else None,
        kubernetes_version=version,
        image_id=spec.image_id,
        boot_volume_gb=spec.boot_volume_gb,
        availability_domains=domains_of(spec),
        max_pods=max_pods,
        labels=labels,
        taints=taints,
        cloud_init=render(
            kubernetes=version,
            nvme_drives=shape.nvme.drives if isinstance(shape, Shape) else 0,
            taints=taints,
            rdma=isinstance(spec, RdmaPool),
            gpu_memory_cluster=isinstance(spec, GpuMemoryClusterPool),
            self_managed=self_managed,
        ),
        metadata=_metadata(cluster, version, labels, max_pods) if self_managed else {},
        agent_plugins=dict(AGENT_PLUGINS) if self_managed else {},
        ssh_public_key=spec.ssh_public_key,
        capacity_reservation_id=spec.capacity_reservation_id,
        reservation=reservation,
        compute_cluster_id=getattr(spec, "compute_cluster_id", None),
        host_group_id=spec.host_group_id if isinstance(spec, ManagedRdmaPool) else None,
        hpc_island_id=spec.hpc_island_id if isinstance(spec, ClusterNetworkPool) else None,
        network_block_ids=spec.network_block_ids if isinstance(spec, ClusterNetworkPool) else (),
        gpu_memory_fabric_id=spec.gpu_memory_fabric_id if isinstance(spec, GpuMemoryClusterPool) else None,
        cycling=_cycling(getattr(spec, "cycling", None)),
        protect=protect if spec.protect is None else spec.protect,
        tags=pool_tags(common, spec.tenant, services),
        cost_per_hour=spec.nodes * node_price(spec, shape),
        notes=(*_notes(pool, spec, shape, tenancy), *(capacity_notes(spec, tenancy) if tenancy else ())),
    )


def largest_size(spec: MadePool) -> int:
    """Nodes that the pool may come to have, those of a roll-out included."""
    autoscale, cycling = getattr(spec, "autoscale", None), getattr(spec, "cycling", None)
    return (autoscale.max_nodes if autoscale else spec.nodes) + (cycling.max_surge if cycling else 0)


def node_price(spec: MadePool, shape: AnyShape) -> float:
    """List price of one node, USD per hour."""
    if isinstance(shape, Shape):
        return shape.price_per_hour
    sized = spec if isinstance(spec, ManagedPool) else None
    return shape.price_per_hour(sized.ocpus or 0, sized.memory_gb or 0) if sized else 0.0


def _metadata(cluster: NewOke | Oke, version: str, labels: Tags, max_pods: int) -> Tags:
    """What a self-managed node's metadata must say (terraform-oci-oke, modules/workers/instanceconfig.tf); where the
    cluster's endpoint, certificate and subnets are known only later, the component adds them."""
    return {
        "areLegacyImdsEndpointsDisabled": "true",
        "oke-initial-node-labels": ",".join(f"{key}={value}" for key, value in labels.items()),
        "oke-k8version": version,
        "oke-kubeproxy-proxy-mode": "iptables",
        "oke-max-pods": str(max_pods),
        "oke-native-pod-networking": "true",
        "oke-tenancy-id": cluster.tenancy_id or "",
    }


def _cycling(cycling: Cycling | None) -> tuple[str, int, int] | None:
    return (_CYCLE_MODES[cycling.mode], cycling.max_surge, cycling.max_unavailable) if cycling else None


def _notes(pool: NodePool, spec: MadePool, shape: AnyShape, tenancy: TenancyFacts | None) -> list[str]:
    notes = []
    if spec.image_name is None and not (tenancy and tenancy.image_name(spec.image_id)):
        notes.append("imageName is not given: whether the image suits the shape and the version was not checked")
    if isinstance(shape, Shape) and shape.rdma and not isinstance(spec, RdmaPool):
        notes.append(f"{shape.name} has a cluster network, which mode {pool.spec.mode} does not use")
    return notes
