"""vLLM's memory beside weights and KV cache, by version.

While it starts, vLLM runs the largest batch once and keeps the peak free. What that peak consists of is read from the
source (`profile_run`, `_dummy_sampler_run`), its sizes are fitted to llm-d-planner's published runs on H100 with the
defaults of 1,024 sequences and 8,192 tokens: 54 runs of 35 models on 0.19, six on 0.16 and before. Worst of the 0.19
runs: 0.2 GiB (Qwen3-30B-A3B, Kimi-VL); dense models within 0.1.
"""

from __future__ import annotations

from packaging.version import Version

from ome_iac.hardware import GIB
from ome_iac.models.metadata import ModelMetadata, Role
from ome_iac.runtimes.memory import LedgerLine, gib, line
from ome_iac.runtimes.splits import Split, Tuning
from ome_iac.runtimes.weights import expert_width

RUNS = "fitted to llm-d-planner's runs on H100, vLLM 0.15 to 0.19"
LEAN_SAMPLER = Version("0.17")
"""From here the sampler no longer sorts all logits of the profiled batch."""
MORE_RUNTIME = Version("0.18")
"""From here CUDA libraries take more: 0.13 to 0.25 GiB on one GPU."""
GRAPHS_INSIDE = Version("0.21")
"""From here CUDA graphs are taken from the budget (gpu_worker.py of 0.33.0 says so)."""

SAMPLER_BYTES = 12
"""Per logit, beside the logit itself: its float32 copy, its probability, its random number."""
SORTING_SAMPLER_BYTES = 36
"""The same while the sampler still sorted: values, indices and their buffers (38 with the logit fits five runs)."""
SLACK_GIB = 0.06
TOWER_GIB = 0.25
"""Outputs of the image encoder, held while the language model is profiled: mean of six runs (0.0 to 0.3)."""
GRAPH_GIB = 1.04

_NON_TORCH = {1: 0.25, 2: 2.07, 4: 2.15, 8: 2.25, 16: 2.35}
_NON_TORCH_BEFORE = {1: 0.13, 2: 0.55, 4: 0.58, 8: 0.62, 16: 0.66}
_PIPELINE_GIB = 0.07


def activation(
    version: Version,
    model: ModelMetadata,
    split: Split,
    tuning: Tuning,
    batch: tuple[int, int],
    generates: bool,
    last: bool,
) -> LedgerLine:
    """Peak of the profiled batch of (sequences, tokens): the sampler's on the last stage, or an MLP's.

    Expert layers keep their workspace during both; MXFP4 kernels have none to speak of (three runs).
    """
    sequences, tokens = batch
    width = tuning.compute_bytes(model)
    hidden = tokens * (model.hidden_size or 0) * width
    per_logit = width + (SAMPLER_BYTES if version >= LEAN_SAMPLER else SORTING_SAMPLER_BYTES)
    sampler = sequences * (model.vocabulary_size or 0) * per_logit + 2 * hidden if generates and last else 0
    held = 4 + 2 * (split.pipeline > 1)  # a stage also holds what it received
    inner = -(-(model.intermediate_size or 0) // split.tensor)
    mlp = 3 * tokens * inner * width + held * hidden
    experts = _workspace(model, split, tokens, width)
    towers = TOWER_GIB * GIB if has_towers(model) else 0
    total = max(sampler, mlp) + experts + towers + SLACK_GIB * GIB
    parts = [f"{sequences} sequences x {model.vocabulary_size} logits x {per_logit} B + 2 x hidden"] if sampler else []
    parts.append(f"{tokens} tokens x (3 x {inner} + {held} x {model.hidden_size}) x {width} B")
    formula = f"max({', '.join(parts)})" if sampler else parts[0]
    formula += f" + {gib(experts)} for experts" if experts else ""
    formula += f" + {TOWER_GIB} for images" if towers else ""
    return line("activation", total, f"{formula} + {SLACK_GIB}", RUNS)


def non_torch(version: Version, split: Split) -> LedgerLine:
    """What CUDA and NCCL take beside PyTorch's allocator."""
    if split.pipeline > 1 and split.stage_gpus == 1:
        return line("nonTorch", _PIPELINE_GIB * GIB, "mean of runs with one GPU a stage", RUNS)
    table = _NON_TORCH if version >= MORE_RUNTIME else _NON_TORCH_BEFORE
    ways = min((size for size in table if size >= split.stage_gpus), default=max(table))
    source = RUNS if ways <= 4 else f"assumed; {RUNS} to 4 GPUs, carried on"
    return line("nonTorch", table[ways] * GIB, f"mean of runs at TP {ways}", source)


def cuda_graphs(version: Version) -> tuple[tuple[LedgerLine, ...], tuple[LedgerLine, ...]]:
    """The line of CUDA graphs, inside of the budget or beside it."""
    graphs = line("cudaGraph", GRAPH_GIB * GIB, "mean of runs, 0.51 to 1.85 GiB", RUNS)
    return ((graphs,), ()) if version >= GRAPHS_INSIDE else ((), (graphs,))


def has_towers(model: ModelMetadata) -> bool:
    """Whether the model looks or listens."""
    roles = model.weights.by_role if model.weights else {}
    return bool(roles.get(Role.VISION) or roles.get(Role.AUDIO))


def _workspace(model: ModelMetadata, split: Split, tokens: int, width: int) -> int:
    """Two buffers of the fused expert kernel: tokens x active experts x its widest and its inner dimension."""
    inner, experts = expert_width(model), model.experts
    if not inner or not experts or (model.quantization and model.quantization.method == "mxfp4"):
        return 0
    own = inner if split.expert > 1 else -(-inner // split.stage_gpus)
    rows = tokens * experts.active
    return rows * (max(2 * own, model.hidden_size or 0) + own) * width
