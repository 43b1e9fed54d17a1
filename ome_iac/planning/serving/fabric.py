"""The network between the pods of a replica, from the shape's facts."""

from __future__ import annotations

from ome_iac.hardware import Shape, nccl_environment
from ome_iac.planning.serving.decisions import Fabric
from ome_iac.spec.platform import RdmaNetwork

LOCAL_BLOCK = "oci.oraclecloud.com/rdma.local_block_id"
"""OKE's label of nodes below one switch; the next level up is network_block_id."""


def fabric_of(shape: Shape, gpus: int, wanted: RdmaNetwork) -> Fabric:
    """What a pod with `gpus` GPUs of the shape needs to reach the GPUs of other pods.

    A GPU memory cluster's nodes share NVLink; else virtual functions where the shape has them and nobody asked for the
    node's own network. A pod gets as many virtual functions as its part of the GPUs, at least one. Raises ProblemsError
    for a shape without a cluster network, or without the mode that was asked for.
    """
    assert shape.rdma is not None, shape.name
    virtual = shape.rdma.virtual_functions
    mode = wanted.mode or ("vf" if virtual else "host")
    environment = tuple(nccl_environment(shape, mode).items())
    if shape.gpu_memory_cluster:
        return Fabric(mode="nvlink-domain", devices=0, network="", environment=environment, block_label=LOCAL_BLOCK)
    if mode == "host":
        return Fabric(mode="rdma-host", devices=0, network="", environment=environment, block_label=LOCAL_BLOCK)
    return Fabric(
        mode="rdma-vf",
        devices=max(1, virtual * gpus // shape.gpus),
        network=wanted.network,
        environment=environment,
        block_label=LOCAL_BLOCK,
    )
