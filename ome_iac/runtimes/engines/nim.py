"""NVIDIA's NIM for any model (multi-LLM NIM, `llm-nim`): configured by its environment, started by its entry point.

NIM chooses an engine for the model and the GPU by itself (TensorRT-LLM, SGLang or vLLM); what it needs is reckoned as
vLLM's. It runs under NVIDIA AI Enterprise's licence.
"""

from __future__ import annotations

from ome_iac.hardware import Gpu
from ome_iac.models.metadata import ModelMetadata
from ome_iac.runtimes.engines.base import Launch
from ome_iac.runtimes.engines.vllm_inside import VllmInside
from ome_iac.runtimes.splits import DEFAULTS, Split, Tuning


class Nim(VllmInside):
    """The container as it starts by itself."""

    vllm = "0.10.0"
    vllm_source = "assumed; and NIM may take another engine"
    health_path = "/v1/health/ready"
    only_when_named = "it needs a licence for NVIDIA AI Enterprise"
    secrets = ("NGC_API_KEY",)

    def image(self, gpu: Gpu) -> str:
        """One image for every generation."""
        return self.catalog.image

    def gpu_refusals(self, model: ModelMetadata, gpu: Gpu, tuning: Tuning = DEFAULTS) -> tuple[str, ...]:
        """Of all that can be tuned, only the share of memory has a variable."""
        asked = tuning.model_dump(exclude_defaults=True, exclude={"gpu_memory_utilization"})
        untold = (f"{self.name} cannot be told {', '.join(sorted(asked))}",) if asked else ()
        return (*untold, *super().gpu_refusals(model, gpu, tuning))

    def illegal_expert_parallel(self, model: ModelMetadata, split: Split) -> tuple[str, ...]:
        """Nothing in the docs tells NIM to divide experts."""
        return (f"{self.name} cannot be told to use expert parallel",)

    def command(self, launch: Launch) -> tuple[str, ...]:
        """None: the image's entry point starts the server, everything else is environment."""
        return ()

    def environment(self, launch: Launch) -> tuple[tuple[str, str], ...]:
        """Model, name, split and limits."""
        split, tuning = launch.split, launch.tuning
        found = {
            "NIM_MODEL_NAME": launch.model_path,
            "NIM_SERVED_MODEL_NAME": launch.served_name,
            "NIM_SERVER_PORT": str(self.port),
            "NIM_TENSOR_PARALLEL_SIZE": str(split.tensor),
            "NIM_PIPELINE_PARALLEL_SIZE": str(split.pipeline),
            "NIM_MAX_MODEL_LEN": str(launch.context_length),
            "NIM_KVCACHE_PERCENT": str(self.utilization(tuning)),
        }
        return tuple(sorted(found.items()))
