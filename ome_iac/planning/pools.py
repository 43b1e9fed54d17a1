"""Pools as the planner sees them: shape facts joined to what was declared, and the GPUs each node has left."""

from __future__ import annotations

from dataclasses import dataclass

from ome_iac.hardware import Shape, shapes
from ome_iac.planning.plan import OkePlacement, PoolPlan
from ome_iac.planning.workload import SYSTEM_DISK_BYTES
from ome_iac.problems import Problem, did_you_mean
from ome_iac.spec.infrastructure import ManagedPool, NodePool
from ome_iac.spec.stack import Stack

POOL_LABEL = "ome-iac/pool"
SHAPE_LABEL = "node.kubernetes.io/instance-type"


@dataclass
class Pool:
    """A pool and, while services are placed, the GPUs each of its nodes has left."""

    document: NodePool
    shape: Shape
    free: list[int]

    @property
    def name(self) -> str:
        """The pool's name."""
        return self.document.name

    @property
    def free_gpus(self) -> int:
        """GPUs left on all nodes."""
        return sum(self.free)

    @property
    def disk_bytes(self) -> int | None:
        """Disk of a node for pods; None where nothing says so (existing nodes without local drives)."""
        if self.shape.nvme.drives:
            return self.shape.nvme.drives * self.shape.nvme.bytes
        spec = self.document.spec
        return spec.boot_volume_gb * 10**9 - SYSTEM_DISK_BYTES if isinstance(spec, ManagedPool) else None

    def place(self, gpus: int, replicas: int) -> bool:
        """Take `gpus` on one node for each replica, fullest node first; all or nothing."""
        left = list(self.free)
        for _ in range(replicas):
            fitting = [index for index, free in enumerate(left) if free >= gpus]
            if not fitting:
                return False
            left[min(fitting, key=lambda index: (left[index], index))] -= gpus
        self.free = left
        return True

    def has_room(self, gpus: int) -> bool:
        """Whether one more replica would find a node."""
        return max(self.free) >= gpus

    def plan(self, stack: Stack) -> PoolPlan:
        """The pool as decided."""
        spec, oke = self.document.spec, stack.cluster.spec.oke
        managed = isinstance(spec, ManagedPool)
        labels = {SHAPE_LABEL: self.shape.name, **spec.node_selector}
        if managed:
            labels[POOL_LABEL] = self.name
        total = spec.nodes * self.shape.gpus
        return PoolPlan(
            name=self.name,
            shape=self.shape.name,
            gpu=self.shape.gpu.name,
            gpu_resource=self.shape.gpu.resource_name,
            nodes=spec.nodes,
            gpus_per_node=self.shape.gpus,
            gpus_used=total - self.free_gpus,
            labels=dict(sorted(labels.items())),
            taints=((self.shape.gpu.resource_name, "present", "NoSchedule"),),  # as OKE taints GPU nodes
            cost_per_hour=spec.nodes * self.shape.price_per_hour,
            oke=OkePlacement(
                cluster_id=oke.cluster_id,
                compartment_id=oke.compartment_id,
                kubernetes_version=oke.kubernetes_version,
                node_subnet_id=oke.node_subnet_id,
                pod_subnet_id=oke.pod_subnet_id,
                image_id=spec.image_id,
                availability_domains=tuple(sorted(spec.availability_domains)),
                boot_volume_gb=spec.boot_volume_gb,
                ssh_public_key=spec.ssh_public_key,
            )
            if isinstance(spec, ManagedPool) and oke
            else None,
        )


def declared_pools(stack: Stack, problems: list[Problem]) -> list[Pool]:
    """The stack's pools by name; a shape that does not exist becomes a problem."""
    pools = []
    for document in stack.of(NodePool):
        shape = shapes().get(document.spec.shape)
        if shape is None:
            what = f"there is no GPU shape {document.spec.shape}"
            problems.append(document.problem("spec.shape", what, did_you_mean(document.spec.shape, shapes())))
        else:
            pools.append(Pool(document, shape, [shape.gpus] * document.spec.nodes))
    return pools
