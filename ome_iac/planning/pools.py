"""Pools as the planner sees them: shape facts joined to what was declared, and what each node has left."""

from __future__ import annotations

from dataclasses import dataclass

from ome_iac.hardware import Shape, shapes
from ome_iac.planning.capacity import Capacity, Room
from ome_iac.planning.cost import pool_cost
from ome_iac.planning.dedicated import dedicated_taint
from ome_iac.planning.plan import CapacityPlan, PoolPlan
from ome_iac.planning.workload import SYSTEM_DISK_BYTES, host_resources
from ome_iac.spec.infrastructure import MadePool, NodePool
from ome_iac.spec.stack import Stack

POOL_LABEL = "ome-iac/pool"
SHAPE_LABEL = "node.kubernetes.io/instance-type"


@dataclass
class Pool:
    """A pool and, while services are placed, what each of its nodes has left."""

    document: NodePool
    shape: Shape
    nodes: int
    disk_bytes: int | None
    """Disk of a node for pods; None where nothing says so (existing nodes without local drives)."""
    capacity: Capacity
    dedicated: tuple[str, str, str] | None = None
    """Taint (key, value, effect) of a pool that serves one namespace alone; key and value are a label too."""

    @classmethod
    def empty(
        cls,
        document: NodePool,
        shape: Shape,
        nodes: int | None = None,
        dedicated: tuple[str, str, str] | None = None,
    ) -> Pool:
        """With nothing on it; `nodes` instead of the declared number."""
        nodes, disk = nodes or document.spec.nodes, _disk_bytes(document, shape)
        all_of_it = host_resources(shape, shape.gpus, 0)
        room = Room(shape.gpus, all_of_it.cpus, all_of_it.memory_bytes, disk)
        return cls(document, shape, nodes, disk, Capacity(room, nodes), dedicated)

    @property
    def name(self) -> str:
        """The pool's name."""
        return self.document.name

    def plan(self) -> PoolPlan:
        """The pool as decided."""
        spec = self.document.spec
        labels = {SHAPE_LABEL: self.shape.name, **spec.node_selector}
        if isinstance(spec, MadePool):
            labels[POOL_LABEL] = self.name
        if self.dedicated:
            labels[self.dedicated[0]] = self.dedicated[1]
        own = spec.taints if isinstance(spec, MadePool) else ()
        used = self.nodes * self.shape.gpus - self.capacity.free_gpus
        cost = pool_cost(self.shape.price.per_gpu_hour, self.nodes, self.shape.gpus, used)
        return PoolPlan(
            name=self.name,
            shape=self.shape.name,
            gpu=self.shape.gpu.name,
            gpu_resource=self.shape.gpu.resource_name,
            nodes=spec.nodes,
            gpus_per_node=self.shape.gpus,
            gpus_used=used,
            capacity=self._capacity(),
            labels=dict(sorted(labels.items())),
            taints=(
                (self.shape.gpu.resource_name, "present", "NoSchedule"),  # as OKE taints GPU nodes
                *((taint.key, taint.value, str(taint.effect)) for taint in own),
                *((self.dedicated,) if self.dedicated else ()),
            ),
            cost_per_hour=cost.per_hour,
            idle_per_hour=cost.idle_per_hour,
            made=isinstance(spec, MadePool),
        )

    def _capacity(self) -> CapacityPlan:
        """The ledger's sums, over all nodes."""
        held, nodes = self.capacity, self.nodes
        return CapacityPlan(
            empty_nodes=held.untouched,
            cpus=nodes * held.size.cpus,
            cpus_used=sum(pod.cpus for pod in held.taken),
            memory_bytes=nodes * held.size.memory,
            memory_used=sum(pod.memory for pod in held.taken),
            disk_bytes=None if self.disk_bytes is None else nodes * self.disk_bytes,
            disk_used=sum(pod.disk for pod in held.taken) + held.weights,
        )


def declared_pools(stack: Stack) -> list[Pool]:
    """The stack's pools of GPU nodes by name. A shape that does not exist is a problem that `plan_oci` tells."""
    return [
        Pool.empty(document, shapes()[document.spec.shape], dedicated=dedicated_taint(stack, document.name))
        for document in stack.of(NodePool)
        if document.spec.shape in shapes()
    ]


def _disk_bytes(document: NodePool, shape: Shape) -> int | None:
    if shape.nvme.drives:
        return shape.nvme.drives * shape.nvme.bytes
    spec = document.spec
    return spec.boot_volume_gb * 10**9 - SYSTEM_DISK_BYTES if isinstance(spec, MadePool) else None
