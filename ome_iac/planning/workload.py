"""What a replica needs beside GPU memory: the weights' place, host memory, /dev/shm, and time to start."""

from __future__ import annotations

from ome_iac.hardware import GIB, Shape
from ome_iac.models.metadata import ModelMetadata
from ome_iac.planning.capacity import Pod
from ome_iac.planning.plan import HostResources, Startup, Volume
from ome_iac.problems import Problem
from ome_iac.spec.models import BaseModel, ClusterBaseModel

HOST_SHARE = 0.85
"""Of a node's CPUs and memory, what its GPUs' pods may have together; the rest is the system's and the daemons'."""

HUB_BANDWIDTH = 250_000_000
"""Bytes per second from the Hub to one node: a planning floor, not a measurement."""
DRIVE_BANDWIDTH = 2_000_000_000
"""Bytes per second from one local NVMe drive, read in order."""
BLOCK_BANDWIDTH = 480_000_000
"""Bytes per second of an OCI block volume at balanced performance (its documented maximum)."""
CLAIM_BANDWIDTH = 250_000_000
"""Bytes per second from a shared file system: a planning floor."""

ENGINE_START_SECONDS = 120
"""Process start, compilation, graph capture and warm-up of an engine, the weights aside."""
MODEL_MOUNT = "/models"
SCRATCH_BYTES = 10 * GIB
"""Compiled kernels and logs of an engine; downloaded weights come on top."""
SYSTEM_DISK_BYTES = 50 * GIB
"""Of a boot volume, what system and images take."""

START_MARGIN = 2
"""The probe allows this many times the expected start."""


def volume_of(model: BaseModel | ClusterBaseModel, problems: list[Problem]) -> Volume | None:
    """Where the replica finds the weights; a scheme that no object of ours can mount yet is a problem."""
    storage = model.spec.storage
    scheme, _, rest = storage.storage_uri.partition("://")
    if scheme == "hf":
        repository = rest.split("@", 1)[0]
        return Volume(kind="hub", source=repository, mount="", token_secret=storage.key)
    if scheme == "local":
        folder = storage.path or (rest if rest.startswith("/") else None)
        if folder is None:
            problems.append(
                model.problem("spec.storage.path", "is missing", "say in which folder of the nodes the weights lie")
            )
            return None
        return Volume(kind="hostPath", source=folder, mount=MODEL_MOUNT)
    if scheme == "pvc":
        claim, _, path = rest.rpartition(":")[2].partition("/")
        return Volume(kind="claim", source=claim, mount=MODEL_MOUNT, sub_path=path)
    problems.append(
        model.problem(
            "spec.storage.storageUri",
            f"no service can be started from {scheme}:// yet",
            "serve it from hf://, pvc:// or local://",
        )
    )
    return None


def startup_of(metadata: ModelMetadata, volume: Volume, shape: Shape) -> Startup:
    """Bytes over bandwidth, plus the engine's own start."""
    assert metadata.weights is not None
    bandwidth, source = _bandwidth(volume, shape)
    expected = -(-metadata.weights.bytes // bandwidth) + ENGINE_START_SECONDS
    return Startup(
        load_bytes=metadata.weights.bytes,
        bandwidth=bandwidth,
        bandwidth_source=source,
        expected_seconds=expected,
        budget_seconds=START_MARGIN * expected,
    )


def _bandwidth(volume: Volume, shape: Shape) -> tuple[int, str]:
    if volume.kind == "hub":
        line = shape.network_gbps * 125_000_000
        return min(HUB_BANDWIDTH, line), "download from the Hub, planning floor"
    if volume.kind == "claim":
        return CLAIM_BANDWIDTH, "shared file system, planning floor"
    if shape.nvme.drives:
        return DRIVE_BANDWIDTH, "one local NVMe drive"
    return BLOCK_BANDWIDTH, "OCI block volume, balanced performance"


def scratch_bytes(metadata: ModelMetadata, volume: Volume) -> int:
    """Ephemeral storage a replica takes of its node."""
    downloaded = metadata.weights.bytes if volume.kind == "hub" and metadata.weights else 0
    return SCRATCH_BYTES + downloaded


def host_resources(shape: Shape, gpus: int, scratch: int) -> HostResources:
    """The node's CPUs and memory, shared by GPU: what a pod with `gpus` of them asks for."""
    share = HOST_SHARE * gpus / shape.gpus
    return HostResources(
        cpus=max(1, int(shape.vcpus * share)),
        memory_bytes=int(shape.memory_gb * 1_000_000_000 * share) // GIB * GIB,
        shared_memory_bytes=shared_memory(gpus),
        scratch_bytes=scratch,
    )


def weights_on_node(metadata: ModelMetadata, volume: Volume) -> tuple[str, int] | None:
    """The folder of the nodes that the weights lie in, and their bytes: once on each node, whoever reads them."""
    if volume.kind != "hostPath" or metadata.weights is None:
        return None
    return volume.source, metadata.weights.bytes


def pod_of(shape: Shape, gpus: int, scratch: int, shared: tuple[str, int] | None) -> Pod:
    """What one pod with `gpus` GPUs takes of a node."""
    host = host_resources(shape, gpus, scratch)
    return Pod(gpus, host.cpus, host.memory_bytes, host.scratch_bytes, shared)


def shared_memory(gpus: int) -> int:
    """/dev/shm: the engine's message rings, and NCCL's buffers between the GPUs of one pod."""
    return (1 if gpus == 1 else 1 + 2 * gpus) * GIB
