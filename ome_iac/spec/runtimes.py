"""ServingRuntime and ClusterServingRuntime, with OME's field names (ome.io/v1beta1)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import ClassVar

from pydantic import Field

from ome_iac.problems import Problem
from ome_iac.spec.components import Container, EngineComponent, Plain, RouterComponent
from ome_iac.spec.document import OME, Document, Part
from ome_iac.spec.models import DiffusionPipeline, Versioned, operator_faults
from ome_iac.spec.sizes import nearest_size, parameters


class TensorParallelismOverride(Part):
    """Parallel sizes on one accelerator class."""

    tensor_parallel_size: int | None = Field(default=None, ge=0)
    pipeline_parallel_size: int | None = Field(default=None, ge=0)
    data_parallel_size: int | None = Field(default=None, ge=0)


class AcceleratorModelConfig(Part):
    """What changes when the format is served on one accelerator class."""

    min_memory_per_billion_params: int | None = Field(default=None, ge=0)
    tensor_parallelism_override: TensorParallelismOverride | None = None
    runtime_args_override: tuple[str, ...] = ()
    environment_override: dict[str, str] = Field(default_factory=dict)


class SupportedFormat(Part):
    """One entry of supportedModelFormats. `name`, `modelType` and `version` are deprecated and decide nothing."""

    name: str | None = None
    model_type: str | None = None
    version: str | None = None
    model_format: Versioned | None = None
    model_framework: Versioned | None = None
    model_architecture: str | None = None
    quantization: str | None = None
    diffusion_pipeline: DiffusionPipeline | None = None
    auto_select: bool | None = None
    priority: int | None = None
    accelerator_config: dict[str, AcceleratorModelConfig] = Field(default_factory=dict)

    @property
    def serves(self) -> str:
        """Everything that decides which models the entry is for, as JSON."""
        versioned = {"name": True, "version": True, "operator": True}
        deciding = {"model_architecture": True, "quantization": True, "diffusion_pipeline": True}
        return self.model_dump_json(include={"model_format": versioned, "model_framework": versioned, **deciding})


class SizeRange(Part):
    """From `min` to `max` parameters, both included."""

    min: str | None = None
    max: str | None = None


class AcceleratorRequirements(Part):
    """On what the runtime runs; of all this OME reads the classes only. Memory in GiB."""

    accelerator_classes: tuple[str, ...] = ()
    min_memory: int | None = Field(default=None, ge=0)
    min_compute_performance_tflops: int | None = Field(default=None, ge=0, alias="minComputePerformanceTFLOPS")
    min_architecture_version: str | None = None
    required_features: tuple[str, ...] = ()
    preferred_precisions: tuple[str, ...] = ()


class LegacyPods(Part):
    """Pods as KServe's runtimes wrote them, before engineConfig."""

    containers: tuple[Container, ...] = ()
    volumes: tuple[Plain, ...] = ()
    node_selector: dict[str, str] = Field(default_factory=dict)
    affinity: Plain | None = None
    tolerations: tuple[Plain, ...] = ()
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    image_pull_secrets: tuple[Plain, ...] = ()
    scheduler_name: str | None = None
    host_ipc: bool | None = Field(default=None, alias="hostIPC")
    host_network: bool | None = None
    dns_policy: str | None = None


class LegacyWorkers(LegacyPods):
    """The other nodes of a legacy runtime."""

    size: int | None = None


class ServingRuntimeSpec(LegacyPods):
    """OME's ServingRuntimeSpec."""

    supported_model_formats: tuple[SupportedFormat, ...] = ()
    model_size_range: SizeRange | None = None
    disabled: bool | None = None
    protocol_versions: tuple[str, ...] = ()
    engine_config: EngineComponent | None = None
    decoder_config: EngineComponent | None = None
    router_config: RouterComponent | None = None
    accelerator_requirements: AcceleratorRequirements | None = None
    workers: LegacyWorkers | None = None

    @property
    def accelerator_classes(self) -> tuple[str, ...]:
        """The classes it lists; none listed says nothing about where it runs."""
        return self.accelerator_requirements.accelerator_classes if self.accelerator_requirements else ()


class RuntimeDocument(Document):
    """What both kinds have."""

    spec: ServingRuntimeSpec

    def faults(self) -> Iterator[Problem]:
        """Values that have a legal type and that OME misreads or stumbles over."""
        yield from self._size_faults()
        entries = self.spec.supported_model_formats
        first: dict[tuple[str, int], int] = {}
        taken = {1 if entry.priority is None else entry.priority for entry in entries}
        for index, entry in enumerate(entries):
            path = f"spec.supportedModelFormats.{index}"
            if entry.model_format is None:
                yield self.problem(path, "has no modelFormat: no model matches it", "write modelFormat: {name: ...}")
            yield from operator_faults(self, path, entry.model_format, entry.model_framework)
            priority = 1 if entry.priority is None else entry.priority
            twin = first.setdefault((entry.serves, priority), index)
            if priority < 1:
                yield self.problem(f"{path}.priority", f"{priority} is less than 1", "write 1 or more")
            elif twin != index:
                free = next(number for number in count(1) if number not in taken)
                taken.add(free)
                what = f"{priority} is also the priority of entry {twin}, which serves the same models"
                yield self.problem(f"{path}.priority", what, f"write {free}, or remove one of the two")

    def _size_faults(self) -> Iterator[Problem]:
        sizes = self.spec.model_size_range
        if sizes is None:
            return
        path, values = "spec.modelSizeRange", {"min": sizes.min, "max": sizes.max}
        for bound, text in values.items():
            if text is not None and parameters(text) is None:
                yield self.problem(f"{path}.{bound}", f'"{text}" is not a size: OME reads 0', nearest_size(text))
        if sizes.min is None and sizes.max is None:
            yield self.problem(path, "has neither min nor max", "write both, or leave modelSizeRange out")
        elif sizes.min is None:
            yield self.problem(path, "has no min: OME crashes on it", f'write min too, "{sizes.max}" or less')
        elif sizes.max is None:
            yield self.problem(path, "has no max: OME crashes on it", f'write max too, "{sizes.min}" or more')
        else:
            low, high = parameters(sizes.min), parameters(sizes.max)
            if low is not None and high is not None and low > high:
                what = f'min "{sizes.min}" is more than max "{sizes.max}": no model is in it'
                yield self.problem(path, what, f'write min: "{sizes.max}", max: "{sizes.min}"')


class ServingRuntime(RuntimeDocument):
    """A runtime for the services of one namespace."""

    API_VERSION: ClassVar[str] = OME
    KIND: ClassVar[str] = "ServingRuntime"


class ClusterServingRuntime(RuntimeDocument):
    """A runtime for the services of every namespace."""

    API_VERSION: ClassVar[str] = OME
    KIND: ClassVar[str] = "ClusterServingRuntime"
