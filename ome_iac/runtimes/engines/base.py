"""What the planner asks of every engine."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from packaging.version import Version

from ome_iac.hardware import Gpu
from ome_iac.models.metadata import Capability, ModelMetadata
from ome_iac.runtimes.catalog import Catalog, Task
from ome_iac.runtimes.memory import Ledger

VOCABULARY_PADDING = 64
"""Both engines pad the vocabulary to a multiple of this before they shard it."""


@dataclass(frozen=True)
class Launch:
    """How a replica is started: the model, the split, and where its files are in the container."""

    model: ModelMetadata
    task: Task
    gpu: Gpu
    tensor_parallel: int
    context_length: int
    served_name: str
    model_path: str
    revision: str | None


class Engine(ABC):
    """An inference server at one version."""

    port: int
    health_path = "/health"
    minimum_capability: str
    """The oldest CUDA compute capability that the engine's released kernels are built for."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog

    @property
    def name(self) -> str:
        """`vllm 0.33.0`."""
        return self.catalog.name

    def refusals(self, model: ModelMetadata, task: Task) -> tuple[str, ...]:
        """Why the engine cannot serve the model at all; empty if it can."""
        architectures = self.catalog.architectures.get(task, frozenset())
        if model.architecture not in architectures:
            return (f"{self.name} has no {model.architecture} for {task}",)
        return ()

    def gpu_refusals(self, model: ModelMetadata, gpu: Gpu) -> tuple[str, ...]:
        """Why the engine, in the image we run, cannot serve the model on this GPU; empty if it can."""
        if gpu.vendor != "nvidia" or gpu.compute_capability is None:
            return (f"{self.name} in {self.catalog.image} is built for NVIDIA GPUs",)
        capability = Version(gpu.compute_capability)
        if capability < Version(self.minimum_capability):
            return (f"{gpu.name} has compute capability {capability}, {self.name} needs {self.minimum_capability}",)
        if model.dtype == "bfloat16" and "bf16" not in gpu.teraflops:
            return (f"{gpu.name} does not compute in bfloat16",)
        return ()

    def illegal_splits(self, model: ModelMetadata, tensor_parallel: int) -> tuple[str, ...]:
        """Why the model cannot be split over so many GPUs; empty if it can."""
        reasons = []
        for group in model.attention:
            if group.heads % tensor_parallel:
                reasons.append(f"{group.heads} attention heads are not divisible by {tensor_parallel}")
            elif group.kv_heads and group.kv_heads % tensor_parallel and tensor_parallel % group.kv_heads:
                reasons.append(f"{group.kv_heads} KV heads can be neither divided by nor repeated to {tensor_parallel}")
        vocabulary = model.vocabulary_size or 0
        padded = -(-vocabulary // VOCABULARY_PADDING) * VOCABULARY_PADDING
        if padded % tensor_parallel:
            reasons.append(f"the vocabulary, padded to {padded}, is not divisible by {tensor_parallel}")
        return tuple(dict.fromkeys(reasons))

    @abstractmethod
    def ledger(self, model: ModelMetadata, task: Task, gpu: Gpu, tensor_parallel: int, context_length: int) -> Ledger:
        """The memory of one GPU."""

    @abstractmethod
    def command(self, launch: Launch) -> tuple[str, ...]:
        """The container's command line, every flag of which exists in this version."""


def task_of(model: ModelMetadata) -> Task | None:
    """What a model is served for; None where its capabilities are unknown or no engine's business."""
    for capability, task in (
        (Capability.CHAT, Task.GENERATE),
        (Capability.COMPLETION, Task.GENERATE),
        (Capability.EMBEDDING, Task.EMBED),
        (Capability.RERANK, Task.CLASSIFY),
        (Capability.CLASSIFICATION, Task.CLASSIFY),
        (Capability.REWARD, Task.REWARD),
    ):
        if capability in model.capabilities:
            return task
    return None
