"""Usable context: how many positions the model takes, rope scaling included.

`max_position_embeddings` is what it says unless rope scaling changes it. Published configs come in two kinds: those
whose number already includes the scaling (Llama 3.1, DeepSeek, gpt-oss, Phi 3) and those whose number is the length
before it (Qwen 2.5 with YaRN switched on, Vicuna 16k). vLLM's rule, followed here: for `linear`, `dynamic` and `yarn`
multiply by `factor`, for `yarn` starting from `original_max_position_embeddings`; `llama3`, `longrope`, `su`, `mrope`
and `default` are not multiplied. For `yarn` the larger of that product and the stated number that it already includes
are the same for a consistent config.
"""

from __future__ import annotations

from collections.abc import Mapping

from ome_iac.models.families.config import Config
from ome_iac.models.metadata import Evidence, Source

_MULTIPLIED = frozenset({"linear", "dynamic", "yarn", "deepseek_yarn", "ntk"})


def context_length(config: Config) -> tuple[int, Evidence] | None:
    """Tokens usable in one sequence, with the evidence; None where the config does not say."""
    stated = config.maybe("max_position_embeddings")
    if not stated:
        return None
    evidence = config.notes.read[f"{config.path}.max_position_embeddings".lstrip(".")]
    scaling = config.value("rope_scaling") or config.value("rope_parameters")
    if not isinstance(scaling, Mapping):
        return stated, evidence
    kind = str(scaling.get("rope_type") or scaling.get("type") or "default")
    factor = scaling.get("factor", 1.0)
    if kind not in _MULTIPLIED or isinstance(factor, bool) or not isinstance(factor, int | float):
        return stated, evidence
    original = scaling.get("original_max_position_embeddings")
    base = original if kind.endswith("yarn") and isinstance(original, int) and original > 0 else stated
    if not 1 < factor < 10_000:
        return stated, evidence
    return max(stated, int(base * factor)), Evidence(
        source=Source.CONFIG,
        file=config.notes.file,
        detail=f"{kind} rope scaling, {base} positions times {factor:g}",
    )
