"""TensorRT-LLM's `trtllm-serve` with its PyTorch backend: what it runs on, its memory, and its command line.

It profiles a batch, sees what is used, and gives `free_gpu_memory_fraction` of the rest to the KV cache
(KvCacheConfig). The package index holds only a stub of 10 kB, so architectures and flags are those of the docs.
"""

from __future__ import annotations

import json
from typing import Any

from packaging.version import Version

from ome_iac.hardware import Gpu
from ome_iac.models.metadata import ModelMetadata
from ome_iac.runtimes.catalog import Task
from ome_iac.runtimes.engines.assumed import activations, context, graphs
from ome_iac.runtimes.engines.base import Engine, Launch, uneven_experts
from ome_iac.runtimes.kv_cache import whole_layouts
from ome_iac.runtimes.memory import Stage, gib, line
from ome_iac.runtimes.quantization import TENSORRT_LLM
from ome_iac.runtimes.splits import DEFAULTS, Split, Tuning, extra_first, layer_count
from ome_iac.runtimes.weights import stage_share

BLOCK_TOKENS = 32
"""tokens_per_block of KvCacheConfig."""
BATCH = (2048, 8192)
"""max_batch_size and max_num_tokens by default (BuildConfig)."""
OTHER_GIB = 3.5
"""Beside weights, activations and NCCL, by aiconfigurator's model of TensorRT-LLM."""
SERVED = "/tmp/served"
"""The model's name in the API is the last part of its path (openai_server.py; `--served_model_name` is 1.3's), so the
model is served through a link of that name. Options without a flag are read from a file beside it."""
START = (
    f'mkdir -p {SERVED} && ln -sfn "$1" "{SERVED}/$2" && printf %s "$3" > {SERVED}/options.yaml'
    ' && shift 3 && exec trtllm-serve "$@"'
)


class TensorRtLlm(Engine):
    """`trtllm-serve`."""

    port = 8000
    minimum_capability = "8.0"
    methods = TENSORRT_LLM
    vendors = ("nvidia",)
    memory_assumed = True
    multi_node = False  # several nodes take MPI between their pods
    quantizes_on_load = False  # ModelOpt writes the checkpoint before
    lora = True
    disaggregation = ("UCX", "NIXL", "MOONCAKE", "MPI")

    def image(self, gpu: Gpu) -> str:
        """One image for every generation."""
        return self.catalog.image

    def gpu_refusals(self, model: ModelMetadata, gpu: Gpu, tuning: Tuning = DEFAULTS) -> tuple[str, ...]:
        """FP8 with a scale per block has kernels for Hopper and for data-centre Blackwell only."""
        reasons = super().gpu_refusals(model, gpu, tuning)
        if reasons or gpu.vendor != "nvidia" or not model.quantization:
            return reasons
        capability = Version(gpu.compute_capability or "0")
        blocks = model.quantization.method == "fp8" and model.quantization.block_shape
        if blocks and not Version("9.0") <= capability < Version("12.0"):
            return (
                f"{self.name} has block-scaled fp8 for compute capability 9.0 to 10.3, {gpu.name} has {capability}",
            )
        return ()

    def batch_limits(self, model: ModelMetadata, gpu: Gpu, tuning: Tuning, longest: int) -> tuple[int, int]:
        """Sequences and tokens of one batch: as tuned, or the defaults; the `longest` prompt where none is cut."""
        tokens = tuning.max_num_batched_tokens or BATCH[1]
        cut = chunks_prompts(model, gpu)
        return tuning.max_num_seqs or BATCH[0], tokens if cut else max(tokens, longest)

    def fraction(self, tuning: Tuning) -> float:
        """The share of free memory that the KV cache takes."""
        return tuning.gpu_memory_utilization or 0.9

    def illegal_splits(self, model: ModelMetadata, split: Split) -> tuple[str, ...]:
        """Attention is either divided or repeated (attention data parallel), not both."""
        reasons = super().illegal_splits(model, split)
        if split.data > 1 and split.tensor > 1:
            reasons += (f"attention data parallel puts whole heads on each GPU: TP 1 x DP {split.stage_gpus} would do",)
        return reasons

    def illegal_expert_parallel(self, model: ModelMetadata, split: Split) -> tuple[str, ...]:
        """moe_expert_parallel_size divides tensor parallel, and the experts are divided evenly."""
        return uneven_experts(model, split)

    def stages(
        self, model: ModelMetadata, task: Task, gpu: Gpu, split: Split, tuning: Tuning = DEFAULTS
    ) -> tuple[Stage, ...]:
        """What is used before the KV cache, and the share of the rest."""
        layers = extra_first(layer_count(model), split.pipeline)
        layouts = whole_layouts(model, layers, split.tensor, tuning.kv_bytes(model), BLOCK_TOKENS)
        batch = self.batch_limits(model, gpu, tuning, model.context_length or 0)
        fraction, stages = self.fraction(tuning), []
        for number, held in enumerate(layers):
            share = stage_share(model, split, held, tuning)
            generates, last = task is Task.GENERATE, number == split.pipeline - 1
            lines = (
                line("weights", share.bytes, share.formula, "the weights' headers, divided as vLLM does (assumed)"),
                activations(self.name, model, split, tuning, batch, generates, last),
                context(self.name, gpu, split.stage_gpus, OTHER_GIB),
                graphs(self.name),  # captured last, on what the cache leaves: kept free beforehand
            )
            used = sum(one.bytes for one in lines)
            stages.append(
                Stage(
                    number=number,
                    total=gpu.memory_bytes,
                    budget=used + int(fraction * max(0, gpu.memory_bytes - used)) - max(0, used - gpu.memory_bytes),
                    budget_formula=f"used + free_gpu_memory_fraction {fraction} x ({gpu.memory_gib} GiB - {gib(used)})",
                    lines=lines,
                    beside=(),
                    layout=layouts[number],
                    copies=split.data,
                )
            )
        return tuple(stages)

    def command(self, launch: Launch) -> tuple[str, ...]:
        """`trtllm-serve` under the declared name, with every limit spelt out."""
        split, tuning = launch.split, launch.tuning
        sequences, tokens = self.batch_limits(launch.model, launch.gpu, tuning, launch.context_length)
        served = f"{SERVED}/{launch.served_name}"
        command = [
            *("sh", "-c", START, "trtllm-serve", launch.model_path, launch.served_name, self._options(launch)),
            *(served, "--backend", "pytorch"),
            *("--host", "0.0.0.0"),
            *("--port", str(self.port)),
            *("--tp_size", str(split.stage_gpus)),
            *(("--pp_size", str(split.pipeline)) if split.pipeline > 1 else ()),
            *(("--ep_size", str(split.expert)) if split.expert > 1 else ()),
            *("--max_seq_len", str(launch.context_length)),
            *("--max_batch_size", str(sequences)),
            *("--max_num_tokens", str(tokens)),
            *("--extra_llm_api_options", f"{SERVED}/options.yaml"),
        ]
        if launch.revision:
            command += ["--revision", launch.revision]
        return tuple(command)

    def _options(self, launch: Launch) -> str:
        """Options that no flag has, as JSON, which is YAML; `kv_cache_config` replaces the flags' as a whole."""
        tuning = launch.tuning
        cache: dict[str, Any] = {"free_gpu_memory_fraction": self.fraction(tuning)}
        cache |= {"dtype": "fp8"} if tuning.kv_bytes(launch.model) == 1 else {}
        cut = chunks_prompts(launch.model, launch.gpu)
        options: dict[str, Any] = {"enable_chunked_prefill": cut, "kv_cache_config": cache}
        options |= {"enable_attention_dp": True} if launch.split.data > 1 else {}
        options |= {"dtype": tuning.dtype} if tuning.dtype else {}
        return json.dumps(options, sort_keys=True)


def chunks_prompts(model: ModelMetadata, gpu: Gpu) -> bool:
    """Whether long prompts are cut into chunks: with MLA on data-centre Blackwell only (supported-models.md, 1.2)."""
    latent = any(group.kind == "mla" for group in model.attention)
    return not latent or gpu.arch in ("sm_100", "sm_103")
