"""SGLang: what it runs on, its memory, and its command line.

`mem_fraction_static` is the share of memory that weights and KV cache may take; the rest is reserved by the rule in
SGLang's own source (0.5.23, arg_groups/memory_hook.py), which we evaluate here and pass on explicitly.
"""

from __future__ import annotations

from packaging.version import Version

from ome_iac.hardware import GIB, Gpu
from ome_iac.models.metadata import ModelMetadata
from ome_iac.runtimes.catalog import Task
from ome_iac.runtimes.engines.base import Engine, Launch, uneven_experts
from ome_iac.runtimes.engines.vllm_memory import has_towers
from ome_iac.runtimes.kv_cache import sglang_layouts
from ome_iac.runtimes.memory import Stage, line
from ome_iac.runtimes.quantization import SGLANG
from ome_iac.runtimes.splits import DEFAULTS, Split, Tuning, extra_last, layer_count
from ome_iac.runtimes.weights import stage_share

MIB = 1024**2
ROCM_7_2 = Version("0.5.9")
"""From here there are images on ROCm 7.2, as far as tags in public use tell; those before are on 7.0."""
NON_TORCH_GIB = {1: 0.5, 2: 1.1, 4: 1.2, 8: 1.3, 16: 1.4}
SOURCE = "SGLang 0.5.23, memory_hook.py"
TOWER_FACTOR = 0.95
"""Of the share, what is left where images are encoded: SGLang's factor for an encoder of ViT-L's size."""


class Sglang(Engine):
    """`python3 -m sglang.launch_server`."""

    port = 30000
    minimum_capability = "7.5"
    methods = SGLANG
    lora = True
    disaggregation = ("mooncake", "nixl", "mori")

    def image(self, gpu: Gpu) -> str:
        """SGLang publishes a CUDA image and, for ROCm, one for each generation of AMD's GPUs."""
        if gpu.vendor == "amd":
            generation = "mi35x" if gpu.arch == "gfx950" else "mi30x"
            rocm = "rocm720" if self.version >= ROCM_7_2 else "rocm700"
            return f"docker.io/lmsysorg/sglang:v{self.catalog.version}-{rocm}-{generation}"
        return self.catalog.image

    def batch_limits(self, gpu: Gpu, split: Split, tuning: Tuning = DEFAULTS) -> tuple[int, int]:
        """Tokens of a prefill chunk and sequences of the largest decode graph: as tuned, or SGLang's for the GPU."""
        many = split.stage_gpus >= 4
        chunk, sequences = 16384, 512
        if gpu.memory_gib < 20:
            chunk, sequences = 2048, 8
        elif gpu.memory_gib < 35:
            chunk, sequences = 4096, 160 if many else 48
        elif gpu.memory_gib < 60:
            chunk, sequences = 4096, 160 if many else 32
        elif gpu.memory_gib < 160:
            chunk, sequences = 8192, 512 if many else 256
        return tuning.max_num_batched_tokens or chunk, min(sequences, tuning.max_num_seqs or sequences)

    def most_requests(self, gpu: Gpu, split: Split, tuning: Tuning = DEFAULTS) -> int:
        """Sequences of the largest decode graph of each data parallel rank; what is more runs without a graph."""
        return split.data * self.batch_limits(gpu, split, tuning)[1]

    def reserved_mib(self, model: ModelMetadata, gpu: Gpu, split: Split, tuning: Tuning) -> tuple[float, float]:
        """What SGLang keeps for activations, and for CUDA graphs."""
        chunk, sequences = self.batch_limits(gpu, split, tuning)
        activations = 512 + max(chunk, 2048) * 1.5 + split.gpus / 8 * 1024
        graphs = sequences * 2.0
        if split.data > 1:
            graphs += sequences * split.data * (4.5 if sequences > 300 else 3)
        latent = any(group.kind == "mla" for group in model.attention)
        graphs += 1.5 * 1024 if latent else _prefill_graphs(chunk) * 8
        if gpu.memory_gib > 60:
            activations = max(activations, 10 * 1024 - graphs)
        return activations, graphs

    def static_fraction(self, model: ModelMetadata, gpu: Gpu, split: Split, tuning: Tuning = DEFAULTS) -> float:
        """The share for weights and KV cache; 0 where what SGLang keeps free is more than the GPU has."""
        if tuning.gpu_memory_utilization:
            return tuning.gpu_memory_utilization
        total = gpu.memory_bytes / MIB
        share = (total - sum(self.reserved_mib(model, gpu, split, tuning))) / total
        return max(0.0, round(share * (TOWER_FACTOR if has_towers(model) else 1), 3))

    def illegal_expert_parallel(self, model: ModelMetadata, split: Split) -> tuple[str, ...]:
        """Experts are divided evenly, over GPUs that divide the stage's."""
        return uneven_experts(model, split)

    def stages(
        self, model: ModelMetadata, task: Task, gpu: Gpu, split: Split, tuning: Tuning = DEFAULTS
    ) -> tuple[Stage, ...]:
        """Weights and runtime of each stage; activations and graphs are what the budget leaves outside."""
        layers = extra_last(layer_count(model), split.pipeline)
        fraction = self.static_fraction(model, gpu, split, tuning)
        layouts = sglang_layouts(model, layers, split.tensor, tuning.kv_bytes(model))
        outside = gpu.memory_bytes - int(fraction * gpu.memory_bytes)
        activations, graphs = (amount * MIB for amount in self.reserved_mib(model, gpu, split, tuning))
        beside = (
            line("activation", min(activations, max(0.0, outside - graphs)), "what the share leaves", SOURCE),
            line("cudaGraph", min(graphs, outside), "2 MiB a decode, 8 MiB a prefill graph; 1.5 GiB for MLA", SOURCE),
        )
        ways = min((size for size in NON_TORCH_GIB if size >= split.gpus), default=16)
        runtime = line(
            "nonTorch",
            NON_TORCH_GIB[ways] * fraction * GIB,
            f"{fraction} x (CUDA context and NCCL over {ways} GPUs)",
            "assumed; SGLang does not say",
        )
        stages = []
        for number, held in enumerate(layers):
            share = stage_share(model, split, held, tuning)
            weights = line("weights", share.bytes, share.formula, "the weights' headers, divided as SGLang 0.5.23 does")
            stages.append(
                Stage(
                    number=number,
                    total=gpu.memory_bytes,
                    budget=int(fraction * gpu.memory_bytes),
                    budget_formula=f"mem-fraction-static {fraction} x {gpu.memory_gib} GiB",
                    lines=(weights, runtime),
                    beside=beside,
                    layout=layouts[number],
                    copies=split.data,
                )
            )
        return tuple(stages)

    def command(self, launch: Launch) -> tuple[str, ...]:
        """The server with every limit spelt out; data parallel is data parallel attention within one world."""
        split, tuning = launch.split, launch.tuning
        chunk, sequences = self.batch_limits(launch.gpu, split, tuning)
        command = [
            *("python3", "-m", "sglang.launch_server"),
            *("--model-path", launch.model_path),
            *("--served-model-name", launch.served_name),
            *("--host", "0.0.0.0"),
            *("--port", str(self.port)),
            *("--tp-size", str(split.stage_gpus)),
            *(("--pp-size", str(split.pipeline)) if split.pipeline > 1 else ()),
            *(("--dp-size", str(split.data), "--enable-dp-attention") if split.data > 1 else ()),
            *(("--ep-size", str(split.expert)) if split.expert > 1 else ()),
            *("--context-length", str(launch.context_length)),
            *("--chunked-prefill-size", str(chunk)),
            *(self._graphs_flag, str(sequences)),
            *("--mem-fraction-static", str(self.static_fraction(launch.model, launch.gpu, split, tuning))),
            *(("--max-running-requests", str(tuning.max_num_seqs)) if tuning.max_num_seqs else ()),
            *(("--kv-cache-dtype", tuning.kv_cache_dtype) if tuning.kv_cache_dtype else ()),
            *(("--dtype", tuning.dtype) if tuning.dtype else ()),
            *(("--quantization", tuning.quantization) if tuning.quantization else ()),
            "--enable-metrics",
        ]
        if launch.task is not Task.GENERATE:
            command.append("--is-embedding")
        if launch.revision:
            command += ["--revision", launch.revision]
        return tuple(command)

    @property
    def _graphs_flag(self) -> str:
        """Decode graphs have a flag of their own since prefill has graphs too."""
        own = "--cuda-graph-max-bs-decode"
        return own if own in self.catalog.flags else "--cuda-graph-max-bs"


def _prefill_graphs(chunk: int) -> int:
    """How many prefill graphs SGLang captures up to `chunk` tokens (generate_prefill_cuda_graph_batch_sizes)."""
    ladder = ((4, 32, 4), (48, 256, 16), (288, 512, 32), (576, 1024, 64), (1280, 4096, 256), (4608, chunk, 512))
    return sum(1 for first, last, step in ladder for size in range(first, last + 1, step) if size <= chunk)
