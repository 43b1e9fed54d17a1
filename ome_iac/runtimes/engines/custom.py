"""`custom`: a ServingRuntime's own containers, as an engine among the others.

The container says which engine it runs and how it divides the model; memory is then that engine's, by its own rules at
the image's version. Where the engine or the version is not known, `unknown` says so, and no memory is claimed.
"""

from __future__ import annotations

from collections.abc import Iterator

from packaging.version import InvalidVersion, Version

from ome_iac.hardware import Gpu, Shape, find_gpu
from ome_iac.models.metadata import ModelMetadata
from ome_iac.problems import ProblemsError
from ome_iac.runtimes.catalog import Catalog, Task
from ome_iac.runtimes.engines import KINDS, engine
from ome_iac.runtimes.engines.base import Engine, Launch
from ome_iac.runtimes.engines.custom_container import Process, processes
from ome_iac.runtimes.engines.custom_declared import Finding, Subject, declared, named_elsewhere
from ome_iac.runtimes.engines.custom_settings import Settings, read_settings
from ome_iac.runtimes.memory import Stage
from ome_iac.runtimes.splits import DEFAULTS, Split, Tuning
from ome_iac.spec.document import Metadata
from ome_iac.spec.models import ModelDocument
from ome_iac.spec.runtimes import RuntimeDocument
from ome_iac.spec.services import ServiceDeclaration

ENTRYPOINTS = {
    "vllm": ("python3", "-m", "vllm.entrypoints.openai.api_server"),
    "tgi": ("text-generation-launcher",),
    "tei": ("text-embeddings-router",),
}
"""What an engine's published image starts where a container gives arguments alone."""

LONGER_CONTEXT = ("--hf-overrides", "--json-model-override-args", "--rope-scaling")
LONGER_CONTEXT_SWITCHES = ("VLLM_ALLOW_LONG_MAX_MODEL_LEN", "SGLANG_ALLOW_OVERWRITE_LONGER_CONTEXT_LEN")
"""With one of these a context beyond the model's own is meant."""

FP8_METHODS = ("fp8", "fbgemm_fp8", "compressed-tensors", "modelopt", "w8a8_fp8")


class Custom(Engine):
    """One role of a runtime document. `split` and `tuning` are what its command says; no other split is legal."""

    minimum_capability = "0"

    def __init__(
        self, document: RuntimeDocument, model: ModelDocument | None, process: Process | None, *, whole: bool = True
    ) -> None:
        self.document, self.model_document, self.process, self.whole = document, model, process, whole
        self.inner, notes, self.unknown = _engine_of(process)
        kind, version = (process.engine, process.version) if process else (None, None)
        placeholder = Catalog(
            engine=kind or "custom",
            version=version or "0",
            image=process.image if process else "",
            architectures={},
            flags=frozenset(),
        )
        super().__init__(self.inner.catalog if self.inner else placeholder, notes)
        flags = self.inner.catalog.flags if self.inner else frozenset()
        self.settings: Settings | None = read_settings(process, flags) if process else None
        self.methods = self.inner.methods if self.inner else {}
        self.lora = self.inner.lora if self.inner else False
        self.protocol = self.inner.protocol if self.inner else "openAI"
        self.port = (process.port if process else None) or (self.inner.port if self.inner else 8080)
        self.health_path = (process.health_path if process else None) or self.health_path
        if self.settings and self.settings.unproven and not self.unknown:
            self.unknown = f"what {', '.join(self.settings.unproven)} does to memory is not known"

    @property
    def name(self) -> str:
        """The document's name."""
        return self.document.name

    @property
    def split(self) -> Split:
        """As the command says; one GPU where nothing does."""
        return self.settings.split if self.settings else Split()

    @property
    def pods(self) -> int:
        """Pods of one replica."""
        return self.process.pods if self.process else 1

    @property
    def gpus_per_pod(self) -> int:
        """As the container's resources say; where they do not, what the split needs."""
        if self.process is None:
            return 0
        return self.process.gpus or -(-(self.settings.gpus if self.settings else 1) // self.pods)

    def image(self, gpu: Gpu) -> str:
        """The container's own."""
        return self.process.image if self.process else ""

    def tuning(self, model: ModelMetadata) -> Tuning:
        """What the command tunes; a quantization that names how the weights are stored changes nothing."""
        found = self.settings.tuning if self.settings else DEFAULTS
        return found.model_copy(update={"quantization": None}) if model.quantization else found

    def examine(self, model: ModelMetadata, task: Task | None) -> Finding:
        """All that speaks against serving the model, and what cannot be told; `task` is None where it is not known."""
        subject = Subject.of(self.model_document, model)
        found = declared(self.document.spec, subject)
        notes, reasons = [*found.notes], [*found.reasons]
        if self.process and self.settings:
            reasons += self._command_reasons(subject, self.process, self.settings, notes)
            reasons += self._model_reasons(model, task, self.settings)
        spoken = {name.lower() for name in self.document.spec.protocol_versions}
        if self.inner and spoken and self.protocol.lower() not in spoken:
            stated = ", ".join(self.document.spec.protocol_versions)
            reasons.append(f"declares protocol {stated}, {self.inner.name} speaks {self.protocol}")
        if self.inner and model.architecture and task:
            against = self.inner.refusals(model, task)
            unlisted = model.architecture not in self.inner.catalog.architectures.get(task, frozenset())
            named = found.entry is not None and found.entry.model_architecture == model.architecture
            if unlisted and named and self.notes:
                notes.append(f"{against[0]}; taken on the document's word")
            else:
                reasons += against
        return Finding(tuple(dict.fromkeys(reasons)), found.unknown, tuple(dict.fromkeys(notes)), found.entry)

    def refusals(self, model: ModelMetadata, task: Task) -> tuple[str, ...]:
        """All reasons; what cannot be told of a model that was read is one too."""
        found = self.examine(model, task)
        return (*found.reasons, *found.unknown)

    def gpu_refusals(self, model: ModelMetadata, gpu: Gpu, tuning: Tuning = DEFAULTS) -> tuple[str, ...]:
        """What the document requires of the accelerator, then what the engine does."""
        reasons = list(self._accelerator_reasons(gpu))
        if self.inner and not reasons:
            reasons += self.inner.gpu_refusals(model, gpu, self.tuning(model))
        return tuple(reasons)

    def shape_refusals(self, shape: Shape) -> tuple[str, ...]:
        """Why its pods find no place on nodes of the shape."""
        reasons = []
        if self.process and self.process.shapes and shape.name not in self.process.shapes:
            reasons.append(f"it asks for nodes of {', '.join(self.process.shapes)}")
        if self.gpus_per_pod > shape.gpus:
            reasons.append(f"a pod asks for {self.gpus_per_pod} GPUs, {shape.name} has {shape.gpus}")
        if self.pods > 1 and shape.rdma is None:
            reasons.append(f"{self.pods} pods of a replica need RDMA between them, {shape.name} has none")
        return tuple(reasons)

    def illegal_splits(self, model: ModelMetadata, split: Split) -> tuple[str, ...]:
        """Any split but its own, and its own where the model cannot be divided so or the memory is unknown."""
        if split != self.split:
            return (f"its command says {self.split}",)
        if self.unknown:
            return (self.unknown,)
        return self.inner.illegal_splits(model, split) if self.inner else ()

    def illegal_expert_parallel(self, model: ModelMetadata, split: Split) -> tuple[str, ...]:
        """The engine's own rule."""
        return self.inner.illegal_expert_parallel(model, split) if self.inner else ()

    def stages(
        self, model: ModelMetadata, task: Task, gpu: Gpu, split: Split, tuning: Tuning = DEFAULTS
    ) -> tuple[Stage, ...]:
        """The engine's own memory with the command's settings. Raises ValueError where `unknown` says it is unknown."""
        if self.inner is None or self.unknown:
            raise ValueError(f"{self.name}: {self.unknown}")
        return self.inner.stages(model, task, gpu, split, self.tuning(model))

    def command(self, launch: Launch) -> tuple[str, ...]:
        """The container's own; Kubernetes fills in what only the cluster knows, such as $(MODEL_PATH)."""
        if self.process is None:
            return ()
        before = ENTRYPOINTS.get(self.process.engine or "", ()) if self.process.by_entrypoint else ()
        return (*before, *self.process.command)

    def environment(self, launch: Launch) -> tuple[tuple[str, str], ...]:
        """OME's variables, then the container's own that have a value; LeaderWorkerSet adds its own."""
        if self.process is None:
            return ()
        own = ((name, value) for name, value in self.process.environment.items() if not name.startswith("LWS_"))
        return (("MODEL_PATH", launch.model_path), *own)

    def _command_reasons(
        self, subject: Subject, process: Process, settings: Settings, notes: list[str]
    ) -> Iterator[str]:
        yield from settings.wrong
        for name in named_elsewhere(settings.names, subject):
            yield f"its command serves the model as {name}, which is another model's name"
        for name in named_elsewhere(settings.weights, subject):
            yield f"its command loads {name}, which is another model"
        notes += [f"nothing fills in {placeholder}" for placeholder in process.unfilled]
        if settings.disaggregated and self.whole:
            yield f"it runs {settings.disaggregated} alone and declares no other half (decoderConfig)"
        asked = process.gpus * process.pods
        if not process.gpus and not self.document.spec.accelerator_classes:
            yield "its container asks for no GPU: write nvidia.com/gpu into resources.limits"
        elif process.gpus and asked < settings.gpus:
            yield f"{settings.split} needs {settings.gpus} GPUs, its pods ask for {asked}"
        elif asked > settings.gpus:
            notes.append(f"its pods ask for {asked} GPUs, {settings.split} uses {settings.gpus}")

    def _model_reasons(self, model: ModelMetadata, task: Task | None, settings: Settings) -> Iterator[str]:
        """The command's settings, held against what was read of the model."""
        process = self.process
        assert process is not None
        longer = process.arguments.has(*LONGER_CONTEXT) or any(
            process.environment.get(name, "0").lower() in ("1", "true") for name in LONGER_CONTEXT_SWITCHES
        )
        context, own = settings.context_length, model.context_length
        if context and own and context > own and not longer:
            yield f"its command asks for a context of {context:,} tokens, the model has {own:,}"
        asked, stored = settings.tuning.quantization, model.quantization
        if asked and stored and not _reads(asked, stored.method):
            yield f"its command reads {asked} weights, the model's are {stored.method}"
        if asked and asked != "fp8" and stored is None and model.weights is not None:
            yield f"its command reads {asked} weights, the model's are not quantized"
        if task is None:
            return
        if task is Task.GENERATE and settings.pools:
            yield "its command makes the engine embed or classify, the model generates"
        elif task is not Task.GENERATE and settings.pools is False:
            yield f"its command makes the engine generate, the model is for {task}"
        elif task is Task.EMBED and process.engine == "sglang" and settings.pools is None and _generates(model):
            yield "its command lacks --is-embedding: SGLang would generate with this model"

    def _accelerator_reasons(self, gpu: Gpu) -> Iterator[str]:
        if self.process and self.process.vendor and self.process.vendor != gpu.vendor:
            yield f"its container asks for {self.process.vendor}.com/gpu, {gpu.name} is {gpu.resource_name}"
        wanted = self.document.spec.accelerator_requirements
        if wanted is None:
            return
        classes = [_gpu_named(name) for name in wanted.accelerator_classes]
        if classes and None not in classes and gpu not in classes:
            yield f"it runs on {', '.join(wanted.accelerator_classes)}, not on {gpu.name}"
        if wanted.min_memory and gpu.memory_bytes < wanted.min_memory * 10**9:
            yield f"it asks for {wanted.min_memory} GB a GPU, {gpu.name} has {gpu.memory_bytes / 1e9:.0f}"
        least, rate = (
            wanted.min_compute_performance_tflops,
            max(gpu.teraflops.get("fp16", 0), gpu.teraflops.get("bf16", 0)),
        )
        if least and rate < least:
            yield f"it asks for {least} TFLOPS, {gpu.name} has {rate:g}"
        oldest = wanted.min_architecture_version
        if oldest and gpu.compute_capability and _older(gpu.compute_capability, oldest):
            yield f"it asks for compute capability {oldest}, {gpu.name} has {gpu.compute_capability}"


def custom_engines(
    document: RuntimeDocument,
    model: ModelDocument | None = None,
    service: Metadata | None = None,
    written: ServiceDeclaration | None = None,
) -> dict[str, Custom]:
    """The document's roles as engines: `engine`, and `decoder` where prefill and decode are apart.

    `model` is the document whose declarations and names count beside what was read. `service` fills in `{{.Name}}`;
    `written` is what the service writes over the runtime's containers. A document without containers is one engine of
    which nothing is known.
    """
    found = processes(document.spec, service, written)
    if not found:
        return {"engine": Custom(document, model, None)}
    return {role: Custom(document, model, process, whole=len(found) == 1) for role, process in found.items()}


def _engine_of(process: Process | None) -> tuple[Engine | None, tuple[str, ...], str | None]:
    """The engine whose rules hold, what to say of it, and why nothing is known where that is so."""
    if process is None:
        return None, (), "it declares no container: nothing tells what it runs"
    if process.engine not in KINDS:
        what = process.engine or f"what {process.image or 'a container without an image'} runs"
        return None, (), f"how {what} uses memory is not known"
    if process.by_entrypoint and process.engine not in ENTRYPOINTS:
        return None, (), f"its container names no command, and what starts in {process.image} is not known"
    if process.version is None:
        found = engine(process.engine)
        note = f"the tag of {process.image} names no version: memory is reckoned as {found.name} does (assumed)"
        return found, (*found.notes, note), None
    try:
        found = engine(process.engine, process.version)
    except ProblemsError as error:
        return None, (), error.problems[0].what
    return found, found.notes, None


def _reads(asked: str, stored: str) -> bool:
    """Whether a `--quantization` reads the stored method; awq_marlin reads awq, gptq_marlin gptq."""
    return stored in asked or (asked in FP8_METHODS and stored in FP8_METHODS)


def _generates(model: ModelMetadata) -> bool:
    """SGLang tells by the architecture's name (is_generation_model, 0.5.23)."""
    return (model.architecture or "").endswith(("ForCausalLM", "ForConditionalGeneration"))


def _gpu_named(name: str) -> Gpu | None:
    try:
        return find_gpu(name)
    except ProblemsError:
        return None


def _older(ours: str, wanted: str) -> bool:
    try:
        return Version(ours) < Version(wanted)
    except InvalidVersion:
        return False
