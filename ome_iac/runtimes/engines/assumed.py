"""Memory of engines that nobody has published measurements of: other engines' rules, marked as assumed."""

from __future__ import annotations

from ome_iac.hardware import GIB, Gpu
from ome_iac.models.metadata import ModelMetadata
from ome_iac.runtimes.engines.vllm_memory import LEAN_SAMPLER, activation
from ome_iac.runtimes.memory import LedgerLine, line
from ome_iac.runtimes.splits import Split, Tuning

CONTEXT_GIB = 0.5
"""A CUDA context with its libraries."""
NCCL_GIB = {1: 0.0, 2: 0.33, 4: 0.38, 8: 0.38}
"""aiconfigurator's figures for TensorRT-LLM and SGLang: 0, 342, 392, 392 MiB."""
GRAPH_GIB = 1.0
MARGIN = 0.05
"""Of the GPU, set aside because nothing was measured: a guess must not win over a proof."""


def activations(
    name: str, model: ModelMetadata, split: Split, tuning: Tuning, batch: tuple[int, int], generates: bool, last: bool
) -> LedgerLine:
    """The peak of one batch of (sequences, tokens) by vLLM's rule: the layers and buffers are the same."""
    found = activation(LEAN_SAMPLER, model, split, tuning, batch, generates, last)
    return found.model_copy(update={"source": f"assumed: vLLM's rule, not measured with {name}"})


def context(name: str, gpu: Gpu, gpus: int, other: float = CONTEXT_GIB) -> LedgerLine:
    """What stands beside PyTorch's allocator: the CUDA context and others' libraries, NCCL over `gpus`; the margin."""
    ways = min((size for size in NCCL_GIB if size >= gpus), default=max(NCCL_GIB))
    margin = MARGIN * gpu.memory_bytes
    formula = f"{other} GiB + {NCCL_GIB[ways]} for NCCL over {ways} GPUs + {MARGIN:.0%} of the GPU, unmeasured"
    return line("nonTorch", (other + NCCL_GIB[ways]) * GIB + margin, formula, f"assumed for {name}")


def graphs(name: str) -> LedgerLine:
    """CUDA graphs."""
    return line("cudaGraph", GRAPH_GIB * GIB, f"{GRAPH_GIB} GiB", f"assumed: vLLM's mean, not measured with {name}")
