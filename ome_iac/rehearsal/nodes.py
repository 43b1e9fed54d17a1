"""Node objects in the shape of a node pool: what kwok plays, and what the real scheduler places pods on."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from ome_iac.hardware import Shape

GIBIBYTE = 2**30
MEBIBYTE = 2**20
# OKE puts this taint, and the label `<resource>=true`, on the nodes of a GPU shape.
GPU_TAINT_VALUE = "present"
RDMA_RESOURCE = "nvidia.com/rdma-vf"
# Assumed where nothing says otherwise: what OKE's node pools are commonly given.
BOOT_VOLUME_BYTES = 200 * 10**9
# The labels that OKE sets from the instance metadata's rdmaTopologyData, from the whole to the part (Oracle's guide to
# network locality on OKE). Their values are hashes.
TOPOLOGY_LABELS = {
    level: f"oci.oraclecloud.com/rdma.{level}_id" for level in ("hpc_island", "network_block", "local_block", "host")
}
# Share of the memory reserved, up to so many GiB, and of the cores, up to so many: the ladder of GKE and others, which
# Oracle's sample of a cloud-init for OKE nodes follows (oracle-devrel/technology-engineering, reserving memory and CPU
# for system daemons). What OKE's own kubelet reserves is not published: assumed to be no more than this.
_MEMORY_RESERVED = ((4, 0.25), (8, 0.20), (16, 0.10), (128, 0.06), (float("inf"), 0.02))
_CPU_RESERVED = ((1, 0.06), (2, 0.01), (4, 0.005), (float("inf"), 0.0025))
# kubelet's default hard eviction thresholds, which it takes off what is allocatable: memory.available<100Mi,
# nodefs.available<10% (Kubernetes, "Node-pressure Eviction").
_EVICTION_MEMORY = 100 * MEBIBYTE
_EVICTION_DISK = 0.10


def make_nodes(
    pool: str,
    *,
    shape: str,
    count: int,
    cpu: int,
    memory_gib: float,
    gpus: int = 0,
    gpu_resource: str = "nvidia.com/gpu",
    extra_resources: Mapping[str, int] | None = None,
    labels: Mapping[str, str] | None = None,
    taints: Sequence[Mapping[str, str]] | None = None,
    ephemeral_storage_gib: float = 200,
    max_pods: int = 110,
) -> list[dict[str, Any]]:
    """`count` Nodes named `<pool>-0` and on, each with `cpu` (virtual CPUs), memory, GPUs and `extra_resources`.

    `extra_resources` are further extended resources, such as `{"nvidia.com/rdma-vf": 16}`. `labels` are added to the
    well-known ones, or replace them. `taints` are objects of key, value and effect; without them a node with GPUs gets
    OKE's `<gpu_resource>=present:NoSchedule`, another node none. Of CPU, memory and disk less is allocatable than there
    is (see `allocatable`).
    """
    capacity = {
        "cpu": str(cpu),
        "memory": str(round(memory_gib * GIBIBYTE)),
        "ephemeral-storage": str(round(ephemeral_storage_gib * GIBIBYTE)),
        "pods": str(max_pods),
        **{name: str(amount) for name, amount in sorted((extra_resources or {}).items())},
    }
    all_labels = {
        "kubernetes.io/arch": "amd64",
        "kubernetes.io/os": "linux",
        "node.kubernetes.io/instance-type": shape,
        **(labels or {}),
    }
    all_taints = list(taints or ())
    if gpus:
        capacity[gpu_resource] = str(gpus)
        all_labels.setdefault(gpu_resource, "true")
        if taints is None:
            all_taints.append({"key": gpu_resource, "value": GPU_TAINT_VALUE, "effect": "NoSchedule"})
    return [
        {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": name,
                "labels": dict(sorted({**all_labels, "kubernetes.io/hostname": name}.items())),
            },
            "spec": {"taints": [dict(taint) for taint in all_taints]} if all_taints else {},
            "status": {"capacity": dict(capacity), "allocatable": allocatable(capacity)},
        }
        for name in (f"{pool}-{index}" for index in range(count))
    ]


def make_oke_nodes(
    pool: str,
    shape: Shape,
    count: int,
    *,
    labels: Mapping[str, str] | None = None,
    taints: Sequence[Mapping[str, str]] | None = None,
    boot_volume_bytes: int = BOOT_VOLUME_BYTES,
    nodes_per_network_block: int | None = None,
    nodes_per_local_block: int | None = None,
) -> list[dict[str, Any]]:
    """`count` Nodes of an OCI shape as OKE shows them: GPUs, virtual functions, disk, taint and topology labels.

    Ephemeral storage is that of the local drives, or else of the boot volume. A shape with a cluster network has OKE's
    RDMA labels: one HPC island for the pool, in it network blocks of `nodes_per_network_block` nodes, in these local
    blocks of `nodes_per_local_block` nodes; None makes one block of all. How OCI would really lay out a pool is known
    only once its hosts are there.
    """
    functions = shape.rdma.virtual_functions if shape.rdma else 0
    nodes = make_nodes(
        pool,
        shape=shape.name,
        count=count,
        cpu=shape.vcpus,
        memory_gib=shape.memory_gb * 10**9 / GIBIBYTE,
        gpus=shape.gpus,
        gpu_resource=shape.gpu.resource_name,
        extra_resources={RDMA_RESOURCE: functions} if functions else None,
        labels={"kubernetes.io/arch": shape.cpu_architecture, **(labels or {})},
        taints=taints,
        ephemeral_storage_gib=(shape.nvme.drives * shape.nvme.bytes or boot_volume_bytes) / GIBIBYTE,
    )
    if shape.rdma:
        for index, node in enumerate(nodes):
            network_block = index // (nodes_per_network_block or count)
            place = index - network_block * (nodes_per_network_block or count)
            local_block = place // (nodes_per_local_block or count)
            node["metadata"]["labels"] |= _topology(pool, network_block, local_block, index)
    return nodes


def allocatable(capacity: Mapping[str, str]) -> dict[str, str]:
    """What pods may have of a node: its capacity less what is reserved and kept back from eviction.

    Extended resources and pods are given out whole, as kubelet does.
    """
    cores, memory, disk = (int(capacity[name]) for name in ("cpu", "memory", "ephemeral-storage"))
    reserved = _reserved(memory / GIBIBYTE, _MEMORY_RESERVED) * GIBIBYTE
    return {
        **capacity,
        "cpu": f"{max(0, cores * 1000 - round(_reserved(cores, _CPU_RESERVED) * 1000))}m",
        "memory": str(max(0, memory - round(reserved) - _EVICTION_MEMORY)),
        "ephemeral-storage": str(round(disk * (1 - _EVICTION_DISK))),
    }


def _reserved(amount: float, ladder: Sequence[tuple[float, float]]) -> float:
    total, below = 0.0, 0.0
    for upto, share in ladder:
        total += max(0.0, min(amount, upto) - below) * share
        below = upto
    return total


def _topology(pool: str, network_block: int, local_block: int, host: int) -> dict[str, str]:
    path = {
        "hpc_island": (pool,),
        "network_block": (pool, network_block),
        "local_block": (pool, network_block, local_block),
        "host": (pool, network_block, local_block, host),
    }
    return {label: _hash(level, *path[level]) for level, label in TOPOLOGY_LABELS.items()}


def _hash(*parts: object) -> str:
    """Eleven letters and digits, as in OKE's labels."""
    digest = hashlib.sha256("\0".join(map(str, parts)).encode()).digest()
    return base64.b32encode(digest).decode().lower()[:11]
