"""Hugging Face's text-generation-inference 3: what it runs on, its memory, and its command line.

It warms up with the largest prefill and gives what is then free, less a tenth of the GPU, to the KV cache
(`warmup` of flash_causal_lm.py: MEMORY_FRACTION x TGI_WIGGLE_ROOM; `get_free_memory` counts from the GPU's total).
"""

from __future__ import annotations

from ome_iac.hardware import Gpu
from ome_iac.models.metadata import ModelMetadata
from ome_iac.runtimes.catalog import Task
from ome_iac.runtimes.engines.assumed import activations, context, graphs
from ome_iac.runtimes.engines.base import Engine, Launch
from ome_iac.runtimes.kv_cache import whole_layouts
from ome_iac.runtimes.memory import Stage, line
from ome_iac.runtimes.quantization import TGI
from ome_iac.runtimes.splits import DEFAULTS, Split, Tuning, layer_count
from ome_iac.runtimes.weights import stage_share

WIGGLE_ROOM = 0.9
"""TGI_WIGGLE_ROOM."""
PREFILL_TOKENS = 4096
"""--max-batch-prefill-tokens where prompts are cut into chunks; ours, so that the proof does not hang on a default."""
SEQUENCES = 128
"""--max-concurrent-requests by default."""
KV_TYPES = {"fp8": "fp8_e4m3fn", "fp8_e4m3": "fp8_e4m3fn", "fp8_e5m2": "fp8_e5m2"}


class Tgi(Engine):
    """`text-generation-launcher`. It answers whatever model name a client sends: none is declared to it."""

    port = 8080
    minimum_capability = "7.5"
    newest_capability = "9.0"  # assumed: built before there was Blackwell
    methods = TGI
    only_when_named = "it is in maintenance mode, and its makers recommend vLLM and SGLang"
    memory_assumed = True
    multi_node = False
    lora = True

    def image(self, gpu: Gpu) -> str:
        """One image for CUDA and one for ROCm."""
        return f"{self.catalog.image}-rocm" if gpu.vendor == "amd" else self.catalog.image

    def gpu_refusals(self, model: ModelMetadata, gpu: Gpu, tuning: Tuning = DEFAULTS) -> tuple[str, ...]:
        """`--dtype` takes 16 bits only, and not together with `--quantize`."""
        reasons = super().gpu_refusals(model, gpu, tuning)
        if tuning.dtype == "float32":
            reasons += (f"{self.name} computes in float16 or bfloat16, not in float32",)
        if tuning.dtype in ("float16", "bfloat16") and tuning.quantization:
            reasons += (f"{self.name} takes a dtype or a quantization, not both",)
        return reasons

    def illegal_splits(self, model: ModelMetadata, split: Split) -> tuple[str, ...]:
        """`--num-shard` is tensor parallel within a node, and all there is."""
        reasons = super().illegal_splits(model, split)
        if split.pipeline > 1 or split.data > 1:
            reasons += (f"{self.name} shards by tensor parallel only: TP {split.gpus} would do",)
        return reasons

    def illegal_expert_parallel(self, model: ModelMetadata, split: Split) -> tuple[str, ...]:
        """Experts are sharded like everything else."""
        return (f"{self.name} has no expert parallel",)

    def prefill_tokens(self, gpu: Gpu, tuning: Tuning, longest: int) -> int:
        """Tokens of one prefill; before Ampere prompts are not cut (no flash attention 2), and the `longest` counts."""
        tokens = tuning.max_num_batched_tokens or PREFILL_TOKENS
        return max(tokens, longest) if gpu.arch == "sm_75" else tokens

    def stages(
        self, model: ModelMetadata, task: Task, gpu: Gpu, split: Split, tuning: Tuning = DEFAULTS
    ) -> tuple[Stage, ...]:
        """The one stage: weights and the warm-up's peak within the fraction, less the wiggle room."""
        held = range(layer_count(model))
        share = stage_share(model, split, held, tuning)
        fraction = tuning.gpu_memory_utilization or 1.0
        batch = (tuning.max_num_seqs or SEQUENCES, self.prefill_tokens(gpu, tuning, model.context_length or 0))
        stage = Stage(
            number=0,
            total=gpu.memory_bytes,
            budget=int(fraction * WIGGLE_ROOM * gpu.memory_bytes),
            budget_formula=f"cuda-memory-fraction {fraction} x {WIGGLE_ROOM} x {gpu.memory_gib} GiB",
            lines=(
                line("weights", share.bytes, share.formula, "the weights' headers, divided as vLLM does (assumed)"),
                activations(self.name, model, split, tuning, batch, task is Task.GENERATE, True),
                context(self.name, gpu, split.tensor),
            ),
            beside=(graphs(self.name),),
            layout=whole_layouts(model, (held,), split.tensor, tuning.kv_bytes(model), 1)[0],
            copies=1,
        )
        return (stage,)

    def command(self, launch: Launch) -> tuple[str, ...]:
        """The launcher with every limit spelt out."""
        split, tuning = launch.split, launch.tuning
        kv_type = KV_TYPES.get(tuning.kv_cache_dtype or "")
        command = [
            *("text-generation-launcher", "--model-id", launch.model_path),
            *("--hostname", "0.0.0.0"),
            *("--port", str(self.port)),
            *("--num-shard", str(split.tensor)),
            *("--max-total-tokens", str(launch.context_length)),
            *("--max-input-tokens", str(max(1, launch.context_length - 1))),
            *("--max-batch-prefill-tokens", str(self.prefill_tokens(launch.gpu, tuning, launch.context_length))),
            *("--max-concurrent-requests", str(tuning.max_num_seqs or SEQUENCES)),
            *("--cuda-memory-fraction", str(tuning.gpu_memory_utilization or 1.0)),
            *(("--kv-cache-dtype", kv_type) if kv_type else ()),
            *(("--dtype", tuning.dtype) if tuning.dtype in ("float16", "bfloat16") else ()),
            *(("--quantize", tuning.quantization) if tuning.quantization else ()),
        ]
        if launch.revision:
            command += ["--revision", launch.revision]
        return tuple(command)
