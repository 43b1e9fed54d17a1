"""What the planner asks of every engine."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

from packaging.version import Version

from ome_iac.hardware import Gpu
from ome_iac.models.metadata import Capability, ModelMetadata
from ome_iac.runtimes.catalog import Catalog, Task
from ome_iac.runtimes.memory import Ledger, Stage, tightest
from ome_iac.runtimes.quantization import Method, broken_blocks, unknown_method, unsuited_gpu, unsuited_tuning
from ome_iac.runtimes.splits import DEFAULTS, Split, Tuning, layer_count
from ome_iac.runtimes.weights import padded_vocabulary


@dataclass(frozen=True)
class Launch:
    """How a replica is started: the model, the split, and where its files are in the container."""

    model: ModelMetadata
    task: Task
    gpu: Gpu
    split: Split
    context_length: int
    served_name: str
    model_path: str
    revision: str | None
    tuning: Tuning = DEFAULTS


class Engine(ABC):
    """An inference server at one version."""

    port: int
    health_path = "/health"
    minimum_capability: str
    """The oldest CUDA compute capability that the engine's released kernels are built for."""
    newest_capability: str | None = None
    """The newest compute capability that they are built for; None: whatever NVIDIA makes."""
    methods: Mapping[str, Method]
    vendors: tuple[str, ...] = ("nvidia", "amd")
    """Whose GPUs there is an image for."""
    only_when_named: str | None = None
    """Why it is not taken unless a service names it; None: it is looked at for every service."""
    catalogued_as: str | None = None
    """Whose catalogue it has, where that is another engine's."""
    protocol = "openAI"
    """What it speaks, as OME's `protocolVersions` names it."""
    secrets: tuple[str, ...] = ()
    """Environment variables that the container needs and that come from a Secret."""
    memory_assumed = False
    """Whether its memory rules are guesses with a margin, neither fitted to runs nor read in its source."""
    quantizes_on_load = True
    """Whether it can make plain weights FP8 while it loads them."""
    multi_node = True
    """Whether one replica can stand on several nodes."""
    lora = False
    """Whether it serves LoRA adapters beside their base model."""
    disaggregation: tuple[str, ...] = ()
    """Ways for KV cache to get from a prefill replica to a decode replica, by the engine's own names."""

    def __init__(self, catalog: Catalog, notes: tuple[str, ...] = ()) -> None:
        self.catalog = catalog
        self.version = Version(catalog.version)
        said = list(notes)
        if catalog.source:
            said.append(f"flags and architectures of {catalog.name} are from its docs, not read from the release")
        if self.memory_assumed:
            said.append(f"memory of {catalog.name} is reckoned by assumed rules, it was not measured")
        self.notes = tuple(dict.fromkeys(said))
        """What a plan made with it has to say: whose flags these are, whose memory rules."""

    @property
    def name(self) -> str:
        """`vllm 0.33.0`."""
        return self.catalog.name

    @abstractmethod
    def image(self, gpu: Gpu) -> str:
        """The container image for the GPU's vendor."""

    def refusals(self, model: ModelMetadata, task: Task) -> tuple[str, ...]:
        """Why the engine cannot serve the model at all; empty if it can."""
        architectures = self.catalog.architectures.get(task, frozenset())
        if model.architecture not in architectures:
            return (f"{self.name} has no {model.architecture} for {task}",)
        return unknown_method(self.name, self.version, self.methods, model)

    def gpu_refusals(self, model: ModelMetadata, gpu: Gpu, tuning: Tuning = DEFAULTS) -> tuple[str, ...]:
        """Why the engine, in the image for the GPU, cannot serve the model on it; empty if it can."""
        if gpu.vendor not in self.vendors:
            return (f"{self.name} has no image for {gpu.name} ({gpu.vendor})",)
        if gpu.vendor == "nvidia":
            capability = Version(gpu.compute_capability or "0")
            if capability < Version(self.minimum_capability):
                return (f"{gpu.name} has compute capability {capability}, {self.name} needs {self.minimum_capability}",)
            if self.newest_capability and capability > Version(self.newest_capability):
                return (
                    f"{gpu.name} has compute capability {capability}, {self.name} ends at {self.newest_capability}",
                )
        if model.dtype == "bfloat16" and tuning.dtype in (None, "auto") and "bf16" not in gpu.teraflops:
            return (f"{gpu.name} does not compute in bfloat16",)
        if tuning.quantization and not self.quantizes_on_load:
            return (f"{self.name} does not quantize while loading; weights stored in {tuning.quantization} would do",)
        return (*unsuited_gpu(self.name, self.methods, model, gpu, tuning), *unsuited_tuning(model, gpu, tuning))

    def illegal_splits(self, model: ModelMetadata, split: Split) -> tuple[str, ...]:
        """Why the model cannot be split so; empty if it can."""
        tensor, reasons = split.tensor, []
        for group in model.attention:
            if group.heads % tensor:
                reasons.append(f"{group.heads} attention heads are not divisible by {tensor}")
            elif group.kind != "mla" and group.kv_heads and group.kv_heads % tensor and tensor % group.kv_heads:
                reasons.append(f"{group.kv_heads} KV heads can be neither divided by nor repeated to {tensor}")
        if padded_vocabulary(model) % tensor:
            reasons.append(f"the vocabulary, padded to {padded_vocabulary(model)}, is not divisible by {tensor}")
        if split.pipeline > layer_count(model):
            reasons.append(f"{layer_count(model)} layers do not make {split.pipeline} pipeline stages")
        if split.expert > 1 and model.experts is None:
            reasons.append("the model has no experts to divide")
        elif split.expert > 1 and model.experts:
            reasons += self.illegal_expert_parallel(model, split)
        reasons += broken_blocks(model, split)
        return tuple(dict.fromkeys(reasons))

    def most_requests(self, gpu: Gpu, split: Split, tuning: Tuning = DEFAULTS) -> int:
        """Requests that a replica computes at once, whatever its KV cache holds; 256 where nobody says (assumed)."""
        return split.data * (tuning.max_num_seqs or 256)

    @abstractmethod
    def illegal_expert_parallel(self, model: ModelMetadata, split: Split) -> tuple[str, ...]:
        """Why the experts cannot be divided so; the model has some."""

    @abstractmethod
    def stages(
        self, model: ModelMetadata, task: Task, gpu: Gpu, split: Split, tuning: Tuning = DEFAULTS
    ) -> tuple[Stage, ...]:
        """The memory of one GPU of each pipeline stage, whatever the context length."""

    def ledger(
        self, model: ModelMetadata, task: Task, gpu: Gpu, split: Split, context_length: int, tuning: Tuning = DEFAULTS
    ) -> Ledger:
        """The memory of one GPU of the stage with least room."""
        return tightest(self.stages(model, task, gpu, split, tuning), context_length)

    @abstractmethod
    def command(self, launch: Launch) -> tuple[str, ...]:
        """The container's command line, every flag of which exists in this version."""

    def environment(self, launch: Launch) -> tuple[tuple[str, str], ...]:
        """What configures it beside the command line, as (name, value); what is secret is in `secrets`."""
        return ()


def uneven_experts(model: ModelMetadata, split: Split) -> tuple[str, ...]:
    """Why a model's experts are not divided evenly, over GPUs that divide the stage's; empty if they are."""
    assert model.experts is not None
    reasons = []
    if split.stage_gpus % split.expert:
        reasons.append(f"expert parallel {split.expert} does not divide the {split.stage_gpus} GPUs of a stage")
    if model.experts.routed % split.expert:
        reasons.append(f"{model.experts.routed} experts are not divisible by {split.expert}")
    return tuple(reasons)


def nearest_legal(engine: Engine, model: ModelMetadata, split: Split, most: int = 64) -> Split | None:
    """The legal split that is nearest to an illegal one.

    Tensor parallel gives way first, then expert parallel, then data and at last pipeline parallel.
    """
    layers = min(split.pipeline, layer_count(model))
    for pipeline, data, expert in dict.fromkeys(
        (pipeline, data, expert) for pipeline in (layers, 1) for data in (split.data, 1) for expert in (split.expert, 1)
    ):
        for tensor in sorted(range(1, most + 1), key=lambda size: (abs(size - split.tensor), size)):
            experts = expert if expert == 1 else tensor * data
            found = Split(tensor=tensor, pipeline=pipeline, data=data, expert=experts)
            if not engine.illegal_splits(model, found):
                return found
    return None


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
