"""Node objects in the shape of a node pool: what kwok plays, and what the real scheduler places pods on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

GIBIBYTE = 2**30
# OKE puts this taint, and the label `<resource>=true`, on the nodes of a GPU shape.
GPU_TAINT_VALUE = "present"


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
    well-known ones. `taints` are objects of key, value and effect; without them a node with GPUs gets OKE's
    `<gpu_resource>=present:NoSchedule`, another node none.
    """
    resources = {
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
        resources[gpu_resource] = str(gpus)
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
            "status": {"capacity": dict(resources), "allocatable": dict(resources)},
        }
        for name in (f"{pool}-{index}" for index in range(count))
    ]
