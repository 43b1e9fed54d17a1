"""From our questions to aiconfigurator's arguments, and what of ours it has no words for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ome_iac.hardware import gpus
from ome_iac.models.metadata import ModelMetadata
from ome_iac.planning.speed import PatternQuestion, Question
from ome_iac.runtimes.splits import Split

BACKENDS = {"vllm": "vllm", "sglang": "sglang", "tensorrt-llm": "trtllm"}
"""Our engines that aiconfigurator measured, by its names."""


def not_askable(question: Question | PatternQuestion) -> str:
    """Why aiconfigurator cannot be asked at all; empty if it can."""
    engine = question.engine.split()[0]
    if engine not in BACKENDS:
        return f"{engine} is none of the engines that aiconfigurator measured ({', '.join(BACKENDS)})"
    if gpus()[question.gpu].vendor != "nvidia":
        return f"aiconfigurator measured NVIDIA GPUs only, not {question.gpu}"
    if isinstance(question, Question) and question.tuning.dtype == "float32":
        return "aiconfigurator measured no kernels in float32"
    return ""


def speed_request(question: Question, model: ModelMetadata, base: Path) -> dict[str, Any]:
    """The worker's form of the question; `base` is the folder of the document that declares the model.

    aiconfigurator's batch is that of one data parallel rank and one pipeline stage: as many batches are in flight.
    """
    split, tuning = question.split, question.tuning
    arguments: dict[str, Any] = {
        "backend_name": BACKENDS[question.engine.split()[0]],
        "isl": question.lengths.input_tokens,
        "osl": question.lengths.output_tokens,
        "batch_size": -(-question.concurrency // (split.data * split.pipeline)),
        "tp_size": split.tensor,
        "pp_size": split.pipeline,
        "attention_dp_size": split.data,
    }
    if model.experts:
        arguments |= {"moe_tp_size": split.stage_gpus // split.expert, "moe_ep_size": split.expert}
    if (tuning.kv_cache_dtype or "").startswith("fp8"):
        arguments["kvcache_quant_mode"] = "fp8"
    if tuning.quantization == "fp8":
        arguments |= {"gemm_quant_mode": "fp8", "moe_quant_mode": "fp8"}
    return {**_subject(question, model, base), "concurrency": question.concurrency, "arguments": arguments}


def pattern_request(question: PatternQuestion, model: ModelMetadata, base: Path) -> dict[str, Any]:
    """The worker's form of the question."""
    arguments = {
        "backend": BACKENDS[question.engine.split()[0]],
        "isl": question.lengths.input_tokens,
        "osl": question.lengths.output_tokens,
        "ttft": question.time_to_first_token_ms,
        "tpot": question.time_per_token_ms,
    }
    return {**_subject(question, model, base), "gpus": question.gpus, "arguments": arguments}


def split_of(sizes: dict[str, int]) -> Split:
    """Our words for aiconfigurator's parallel sizes."""
    expert = max(1, sizes["moe_ep"])
    return Split(tensor=sizes["tp"], pipeline=sizes["pp"], data=sizes["dp"], expert=expert)


def geometry(model: ModelMetadata) -> dict[str, Any]:
    """What two models must share for one's kernels to be the other's; keys as in the worker's `_geometry`."""
    heads = {(group.heads, group.kv_heads) for group in model.attention if group.heads}
    one = next(iter(heads)) if len(heads) == 1 else (None, None)
    return {
        "architecture": model.architecture,
        "layers": model.layers,
        "hidden": model.hidden_size,
        "intermediate": model.intermediate_size,
        "vocabulary": model.vocabulary_size,
        "heads": one[0],
        "kvHeads": one[1],
        "experts": model.experts.routed if model.experts else None,
        "activeExperts": model.experts.active if model.experts else None,
        "quantization": model.quantization.method if model.quantization else None,
    }


def _subject(question: Question | PatternQuestion, model: ModelMetadata, base: Path) -> dict[str, Any]:
    scheme, _, rest = question.model.partition("://")
    folder = (base / rest).resolve() if scheme == "local" else None
    gpu = gpus()[question.gpu]
    return {
        "name": rest.partition("@")[0] if scheme == "hf" else "",
        "folder": str(folder) if folder and (folder / "config.json").is_file() else "",
        "geometry": geometry(model),
        "gpu": gpu.name,
        "systems": sorted({name.lower().replace("-", "_") for name in (gpu.name, *gpu.aliases)}),
    }
