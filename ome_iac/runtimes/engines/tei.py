"""Hugging Face's text-embeddings-inference: embeddings, re-ranking and classification by encoders, on one GPU.

Nothing is kept between requests, so memory is weights and the largest batch. There is one image for each generation of
NVIDIA's GPUs (README of 1.9), and one for CPUs.
"""

from __future__ import annotations

from packaging.version import Version

from ome_iac.hardware import GIB, Gpu
from ome_iac.models.metadata import ModelMetadata
from ome_iac.runtimes.catalog import Task
from ome_iac.runtimes.engines.assumed import context
from ome_iac.runtimes.engines.base import Engine, Launch
from ome_iac.runtimes.kv_cache import NOTHING
from ome_iac.runtimes.memory import LedgerLine, Stage, gib, line
from ome_iac.runtimes.splits import DEFAULTS, Split, Tuning, layer_count
from ome_iac.runtimes.weights import stage_share

IMAGES = {"7.5": "turing-", "8.0": "", "8.6": "86-", "8.9": "89-", "9.0": "hopper-", "10.0": "100-", "12.0": "120-"}
"""Compute capability to the prefix of the tag; one between two takes the lower (10.3: assumed)."""
BATCH_TOKENS = 16384
"""--max-batch-tokens by default."""
FLASH_ONLY = frozenset({"MistralModel", "MistralForCausalLM"})
"""Need flash attention 2, which Turing has not (backends/candle/src/lib.rs)."""


class Tei(Engine):
    """`text-embeddings-router`."""

    port = 8080
    minimum_capability = "7.5"
    methods = {}  # noqa: RUF012  none: it computes in float16 or float32
    vendors = ("nvidia",)
    quantizes_on_load = False
    memory_assumed = True
    multi_node = False

    def image(self, gpu: Gpu) -> str:
        """The image of the GPU's generation."""
        capability = Version(gpu.compute_capability or "0")
        prefix = [tag for least, tag in IMAGES.items() if Version(least) <= capability][-1]
        return self.catalog.image.replace(":", f":{prefix}")

    @property
    def cpu_image(self) -> str:
        """The image for nodes without GPUs; it takes the same command."""
        return self.catalog.image.replace(":", ":cpu-")

    def gpu_refusals(self, model: ModelMetadata, gpu: Gpu, tuning: Tuning = DEFAULTS) -> tuple[str, ...]:
        """Weights are computed in float16 whatever they are stored in, so bfloat16 need not be there."""
        if tuning.dtype == "bfloat16":
            return (f"{self.name} computes in float16 or float32, not in bfloat16",)
        if model.architecture in FLASH_ONLY and gpu.arch == "sm_75":
            return (f"{self.name} runs {model.architecture} from compute capability 8.0, {gpu.name} has 7.5",)
        return super().gpu_refusals(model, gpu, tuning.model_copy(update={"dtype": tuning.dtype or "float16"}))

    def illegal_splits(self, model: ModelMetadata, split: Split) -> tuple[str, ...]:
        """Models stand on one GPU."""
        return (f"{self.name} serves from one GPU: more replicas do the same",) if split.gpus > 1 else ()

    def illegal_expert_parallel(self, model: ModelMetadata, split: Split) -> tuple[str, ...]:
        """Never asked: nothing is divided."""
        return self.illegal_splits(model, split)

    def batch_tokens(self, tuning: Tuning, longest: int) -> int:
        """Tokens of one batch; a prompt is not cut, so it holds the `longest`."""
        return max(tuning.max_num_batched_tokens or BATCH_TOKENS, longest)

    def stages(
        self, model: ModelMetadata, task: Task, gpu: Gpu, split: Split, tuning: Tuning = DEFAULTS
    ) -> tuple[Stage, ...]:
        """Weights and one batch; there is no cache, and no limit but the GPU's memory."""
        layers = range(layer_count(model))
        share = stage_share(model, split, layers, tuning)
        lines = (
            line("weights", share.bytes, share.formula, "the weights' headers, in the dtype computed in"),
            self._batch(model, gpu, tuning),
            context(self.name, gpu, 1),
        )
        stage = Stage(
            number=0,
            total=gpu.memory_bytes,
            budget=gpu.memory_bytes,
            budget_formula=f"all of {gpu.memory_gib} GiB",
            lines=lines,
            beside=(),
            layout=NOTHING,
            copies=1,
        )
        return (stage,)

    def _batch(self, model: ModelMetadata, gpu: Gpu, tuning: Tuning) -> LedgerLine:
        """One layer's buffers for the largest batch, and on Turing (no flash attention) the attention scores."""
        longest = model.context_length or 0
        tokens, width = self.batch_tokens(tuning, longest), tuning.compute_bytes(model)
        inner, hidden = model.intermediate_size or 0, model.hidden_size or 0
        buffers = tokens * (3 * inner + 4 * hidden) * width
        heads = max((group.heads for group in model.attention), default=0)
        scores = tokens * longest * heads * width if gpu.arch == "sm_75" else 0
        formula = f"{tokens} tokens x (3 x {inner} + 4 x {hidden}) x {width} B"
        formula += f" + {gib(scores)} of attention scores" if scores else ""
        return line("activation", buffers + scores + 0.1 * GIB, f"{formula} + 0.1", f"assumed for {self.name}")

    def command(self, launch: Launch) -> tuple[str, ...]:
        """The router; prompts longer than the context are cut off by default."""
        tuning = launch.tuning
        command = [
            *("text-embeddings-router", "--model-id", launch.model_path),
            *("--served-model-name", launch.served_name),
            *("--hostname", "0.0.0.0"),
            *("--port", str(self.port)),
            *("--dtype", tuning.dtype or "float16"),
            *("--max-batch-tokens", str(self.batch_tokens(tuning, launch.context_length))),
            *(("--max-concurrent-requests", str(tuning.max_num_seqs)) if tuning.max_num_seqs else ()),
        ]
        if launch.revision:
            command += ["--revision", launch.revision]
        return tuple(command)
