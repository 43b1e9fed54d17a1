"""Pools as Kueue's flavors, and the replicas of services as gangs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ome_iac.hardware import GIB, shapes
from ome_iac.planning.admission.model import Amounts, Block, Flavor, Gang, Topology
from ome_iac.planning.plan import PoolPlan, RolePlan, ServicePlan

VIRTUAL_FUNCTION = "nvidia.com/rdma-vf"
"""OKE's name of an RDMA virtual function (oci-hpc-oke's SriovNetworkNodePolicy)."""
CPU, MEMORY, DISK = "cpu", "memory", "ephemeral-storage"
UNKNOWN_DISK = 2**50
"""Of a node whose disk nothing tells: no limit, since Kueue admits nothing that has no quota at all."""
PRIORITY_LABEL = "kueue.x-k8s.io/priority-class"

OCI_RDMA = Topology(
    name="oci-rdma",
    levels=(
        "oci.oraclecloud.com/rdma.hpc_island_id",
        "oci.oraclecloud.com/rdma.network_block_id",
        "oci.oraclecloud.com/rdma.local_block_id",
        "kubernetes.io/hostname",
    ),
)
"""The levels of OCI's RDMA network, by the labels that OKE puts on its nodes (oci-hpc-oke,
docs/using-rdma-network-locality-when-running-workloads-on-oke.md)."""


def flavor_of(
    pool: PoolPlan, blocks: Sequence[Block], networked: bool, dedicated: tuple[str, str, str] | None
) -> Flavor:
    """A pool's flavor; `blocks` are the network blocks of its nodes as far as they are declared, `networked` says
    whether the pool's mode puts its nodes on the cluster network, `dedicated` is the taint that keeps others off."""
    in_topology = shapes()[pool.shape].rdma is not None and (bool(blocks) or networked)
    return Flavor(
        name=pool.name,
        node=node_amounts(pool),
        blocks=_filled(blocks, pool.nodes),
        node_labels=pool.labels,
        taints=tuple(taint for taint in pool.taints if taint != dedicated),
        dedicated=dedicated,
        topology=OCI_RDMA.name if in_topology else None,
    )


def node_amounts(pool: PoolPlan) -> Amounts:
    """What a node has for pods, as the planner's ledger has it."""
    held, rdma = pool.capacity, shapes()[pool.shape].rdma
    found = {
        CPU: held.cpus // pool.nodes,
        MEMORY: held.memory_bytes // pool.nodes,
        DISK: UNKNOWN_DISK if held.disk_bytes is None else held.disk_bytes // pool.nodes,
        pool.gpu_resource: pool.gpus_per_node,
    }
    if rdma and rdma.virtual_functions:
        found[VIRTUAL_FUNCTION] = rdma.virtual_functions
    return found


def gangs_of(
    services: Iterable[ServicePlan],
    queues: Mapping[tuple[str, str], str],
    priorities: Mapping[str, int],
    gpu: Mapping[str, str],
) -> list[Gang]:
    """Each replica on a pool that has a queue for its namespace.

    `queues` is by namespace and pool; `priorities` by the name of the class; `gpu` is each pool's GPU resource.
    """
    found: list[Gang] = []
    for service in services:
        priority = priorities.get(service.labels.get(PRIORITY_LABEL, ""), 0)
        for role in service.roles:
            queue = queues.get((service.namespace, role.pool))
            if queue is None:
                continue
            found.extend(
                Gang(
                    name=f"{service.namespace}/{service.name}/{role.role}/{replica}",
                    queue=queue,
                    priority=priority,
                    pods=role.nodes,
                    requests=_requests(role, gpu[role.pool]),
                    flavors=(role.pool,),
                    one_block=role.nodes > 1 and role.fabric is not None,
                )
                for replica in range(role.replicas)
            )
    return found


def _requests(role: RolePlan, gpu: str) -> Amounts:
    found = {
        CPU: role.host.cpus,
        MEMORY: role.host.memory_bytes // GIB * GIB,
        DISK: -(-role.host.scratch_bytes // GIB) * GIB,
        gpu: role.gpus_per_node,
    }
    if role.fabric and role.fabric.devices:
        found[VIRTUAL_FUNCTION] = role.fabric.devices
    return found


def _filled(blocks: Sequence[Block], nodes: int) -> tuple[Block, ...]:
    """The pool's nodes in the declared blocks, in the order of their names; what is left over has no known block."""
    found: list[Block] = []
    rest = nodes
    for block in sorted(blocks, key=lambda block: block.name):
        here = min(block.nodes, rest)
        if here:
            found.append(Block(name=block.name, nodes=here))
        rest -= here
    if rest or not found:
        found.append(Block(name="", nodes=rest))
    return tuple(found)
