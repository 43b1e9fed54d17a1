"""vLLM: what it runs on, its memory, and its command line."""

from __future__ import annotations

from packaging.version import Version

from ome_iac.hardware import Gpu
from ome_iac.models.metadata import ModelMetadata
from ome_iac.runtimes.catalog import Task
from ome_iac.runtimes.engines.base import Engine, Launch
from ome_iac.runtimes.engines.vllm_memory import activation, cuda_graphs, non_torch
from ome_iac.runtimes.kv_cache import vllm_layouts
from ome_iac.runtimes.memory import Stage, line
from ome_iac.runtimes.quantization import VLLM
from ome_iac.runtimes.splits import DEFAULTS, Split, Tuning, extra_before_last, layer_count
from ome_iac.runtimes.weights import stage_share

MORE_OF_THE_GPU = Version("0.21")
"""From here the default share of memory is 0.92 instead of 0.9 (read in 0.19.0 and 0.33.0; raised with the graphs)."""
BATCHES_OVERLAP = Version("0.20")
"""From here sliding layers keep two batches in flight (one in 0.19.0, two in 0.33.0; when is assumed)."""


class Vllm(Engine):
    """`vllm serve`."""

    port = 8000
    minimum_capability = "7.5"
    methods = VLLM
    lora = True
    disaggregation: tuple[str, ...] = ("NixlConnector", "MooncakeConnector", "MoRIIOConnector", "LMCacheConnectorV1")

    def image(self, gpu: Gpu) -> str:
        """vLLM publishes one image for CUDA and one for ROCm, of the same versions."""
        if gpu.vendor == "amd":
            return f"docker.io/vllm/vllm-openai-rocm:v{self.catalog.version}"
        return self.catalog.image

    def batch_limits(self, gpu: Gpu, tuning: Tuning = DEFAULTS) -> tuple[int, int]:
        """Sequences and tokens of one batch: as tuned, or vLLM's defaults for the GPU (get_batch_defaults)."""
        sequences, tokens = 256, 2048
        if gpu.memory_gib >= 160:
            sequences, tokens = 1024, 16384
        elif gpu.memory_gib >= 70 and not gpu.name.startswith("A100"):
            sequences, tokens = 1024, 8192
        tokens = tuning.max_num_batched_tokens or max(tokens, tuning.max_num_seqs or 0)
        return min(tuning.max_num_seqs or sequences, tokens), tokens

    def most_requests(self, gpu: Gpu, split: Split, tuning: Tuning = DEFAULTS) -> int:
        """`max_num_seqs` of each data parallel rank."""
        return split.data * self.batch_limits(gpu, tuning)[0]

    def utilization(self, tuning: Tuning) -> float:
        """The share of the GPU that vLLM may use."""
        return tuning.gpu_memory_utilization or (0.92 if self.version >= MORE_OF_THE_GPU else 0.9)

    def illegal_expert_parallel(self, model: ModelMetadata, split: Split) -> tuple[str, ...]:
        """Expert parallel spans all GPUs of a stage: `--enable-expert-parallel` takes no number."""
        if split.expert != split.stage_gpus:
            return (f"expert parallel {split.expert} is not the {split.stage_gpus} GPUs of a stage (TP x DP)",)
        return ()

    def stages(
        self, model: ModelMetadata, task: Task, gpu: Gpu, split: Split, tuning: Tuning = DEFAULTS
    ) -> tuple[Stage, ...]:
        """Budget, weights, activation, runtime and graphs of each stage."""
        layers = extra_before_last(layer_count(model), split.pipeline)
        sequences, tokens = self.batch_limits(gpu, tuning)
        if task is not Task.GENERATE:
            tokens = max(tokens, model.context_length or 0)  # prompts of such models are not cut into chunks
        batches = max(2, split.pipeline) if self.version >= BATCHES_OVERLAP else 1
        layouts = vllm_layouts(model, layers, split.tensor, tuning.kv_bytes(model), batches * tokens)
        inside, beside = cuda_graphs(self.version)
        stages = []
        for number, held in enumerate(layers):
            share = stage_share(model, split, held, tuning)
            peak = activation(
                self.version,
                model,
                split,
                tuning,
                (sequences, tokens),
                generates=task is Task.GENERATE,
                last=number == split.pipeline - 1,
            )
            weights = line("weights", share.bytes, share.formula, "the weights' headers, divided as vLLM 0.33.0 does")
            utilization = self.utilization(tuning)
            stages.append(
                Stage(
                    number=number,
                    total=gpu.memory_bytes,
                    budget=int(utilization * gpu.memory_bytes),
                    budget_formula=f"gpu-memory-utilization {utilization} x {gpu.memory_gib} GiB",
                    lines=(weights, peak, non_torch(self.version, split), *inside),
                    beside=beside,
                    layout=layouts[number],
                    copies=split.data,
                )
            )
        return tuple(stages)

    def command(self, launch: Launch) -> tuple[str, ...]:
        """`vllm serve` with every limit spelt out, so that the proof does not hang on the engine's defaults."""
        split, tuning = launch.split, launch.tuning
        sequences, tokens = self.batch_limits(launch.gpu, tuning)
        if launch.task is not Task.GENERATE:
            tokens = max(tokens, launch.context_length)
        command = [
            *("vllm", "serve", launch.model_path),
            *("--served-model-name", launch.served_name),
            *("--host", "0.0.0.0"),
            *("--port", str(self.port)),
            *("--tensor-parallel-size", str(split.tensor)),
            *(("--pipeline-parallel-size", str(split.pipeline)) if split.pipeline > 1 else ()),
            *(("--data-parallel-size", str(split.data)) if split.data > 1 else ()),
            *(("--enable-expert-parallel",) if split.expert > 1 else ()),
            *("--max-model-len", str(launch.context_length)),
            *("--max-num-seqs", str(sequences)),
            *("--max-num-batched-tokens", str(tokens)),
            *("--gpu-memory-utilization", str(self.utilization(tuning))),
            *(("--kv-cache-dtype", tuning.kv_cache_dtype) if tuning.kv_cache_dtype else ()),
            *(("--dtype", tuning.dtype) if tuning.dtype else ()),
            *(("--quantization", tuning.quantization) if tuning.quantization else ()),
            *("--disable-access-log-for-endpoints", "/health,/metrics"),
        ]
        if launch.task is not Task.GENERATE:
            command += ["--runner", "pooling"]
        if launch.revision:
            command += ["--revision", launch.revision]
        return tuple(command)
