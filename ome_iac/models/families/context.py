"""Usable context: how many positions the model takes, rope scaling included.

Published configs come in two kinds: those whose `max_position_embeddings` already includes the scaling (Llama 3.1,
DeepSeek, gpt-oss, Phi 3) and those that state the length before it (Qwen 2.5 with YaRN switched on, Vicuna 16k). The
rule is vLLM's (`_get_and_verify_max_len`): of several keys that state a length the smallest counts; `yarn` multiplies
`original_max_position_embeddings` by `factor`, `linear` and `dynamic` multiply the stated length; `llama3`, `longrope`,
`su`, `mrope` and `default` change nothing, nor does Gemma 3's scaling, whose length includes it.
"""

from __future__ import annotations

from collections.abc import Mapping

from ome_iac.models.config_files import ConfigFiles
from ome_iac.models.families.config import Config
from ome_iac.models.metadata import Evidence, Source

_KEYS = (
    "max_position_embeddings",
    "n_positions",
    "max_seq_len",
    "seq_length",
    "model_max_length",
    "max_sequence_length",
    "max_target_positions",
    "n_ctx",
)
_PADDED = frozenset({"roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "mpnet"})
"""Families that number positions from `pad_token_id` + 1: so many rows of the table are never used."""


def context_length(config: Config, files: ConfigFiles) -> tuple[int, Evidence] | None:
    """Tokens usable in one sequence, with the evidence; None where the config does not say."""
    stated = {key: value for key in _KEYS if key in config.raw and (value := config.maybe(key))}
    if stated:
        key = min(stated, key=lambda name: stated[name])
        found = stated[key], _evidence(config, f"{config.path}.{key}".lstrip("."))
    elif length := config.maybe("max_position_embeddings"):
        found = length, config.notes.read[f"{config.path}.max_position_embeddings".lstrip(".")]
    else:
        return None
    if config.model_type in _PADDED:
        unused = (config.maybe("pad_token_id") or 1) + 1
        found = max(1, found[0] - unused), _evidence(config, f"{found[1].detail} less {unused} rows for padding")
    else:
        found = _scaled(config, *found)
    pooled = (files.object("sentence_bert_config.json") or {}).get("max_seq_length")
    if isinstance(pooled, int) and not isinstance(pooled, bool) and 0 < pooled < found[0]:
        return pooled, Evidence(source=Source.CONFIG, file="sentence_bert_config.json", detail="max_seq_length")
    return found


def _scaled(config: Config, stated: int, evidence: Evidence) -> tuple[int, Evidence]:
    scaling = config.value("rope_scaling") or config.value("rope_parameters")
    if not isinstance(scaling, Mapping) or config.model_type.startswith("gemma3"):
        return stated, evidence
    kind, factor = str(scaling.get("rope_type") or scaling.get("type") or "default"), scaling.get("factor", 1.0)
    if isinstance(factor, bool) or not isinstance(factor, int | float) or not 1 < factor < 10_000:
        return stated, evidence
    original = scaling.get("original_max_position_embeddings")
    if kind in ("yarn", "deepseek_yarn"):
        base = original if isinstance(original, int) and 0 < original < 2**40 else stated
    elif kind in ("linear", "dynamic"):
        base = stated
    else:
        return stated, evidence
    scaled = int(base * factor)
    if scaled <= stated:  # the stated length includes the scaling already
        return stated, evidence
    return scaled, _evidence(config, f"{kind} rope scaling, {base} positions times {factor:g}")


def _evidence(config: Config, detail: str) -> Evidence:
    return Evidence(source=Source.CONFIG, file=config.notes.file, detail=detail)
