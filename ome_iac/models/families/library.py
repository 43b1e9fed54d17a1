"""Which function lays out which model_type."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from ome_iac.models.families import encoder_decoders, encoders, gemmas, hybrids, mla, nemotron, singular
from ome_iac.models.families.blocks import Layout, Weight, linear
from ome_iac.models.families.config import Config
from ome_iac.models.families.decoders import decoder
from ome_iac.models.families.recipes import RECIPES, TABLES, TOWERS, Recipe
from ome_iac.models.families.standard import standard_layout
from ome_iac.models.metadata import Role

ALIASES: dict[str, str] = {
    "qwen2_vl_text": "qwen2",
    "qwen2_5_vl_text": "qwen2",
    "qwen2_5_omni_text": "qwen2",
    "qwen3_vl_text": "qwen3",
    "qwen3_vl_moe_text": "qwen3_moe",
    "qwen3_omni_moe_text": "qwen3_moe",
    "glm4v_moe_text": "glm4_moe",
    "Yi": "llama",
    "yi": "llama",
    "phi3_v": "phi3",
    "phi4mm": "phi3",
}
"""model_type to the one whose layers it has."""

LAYOUTS: dict[str, Callable[[Config], Layout]] = {
    "gpt_oss": singular.gpt_oss,
    "llama4_text": singular.llama4,
    "mllama_text_model": singular.mllama,
    "qwen": singular.qwen,
    "falcon": singular.falcon,
    "bloom": singular.bloom,
    "mpt": singular.mpt,
    "opt": singular.opt,
    "gpt_bigcode": singular.gpt_bigcode,
    "gpt_neo": singular.gpt_neo,
    "dbrx": singular.dbrx,
    "stablelm": singular.stablelm,
    "phi3small": singular.phi3_small,
    "apertus": singular.apertus,
    "bitnet": singular.bitnet,
    "hunyuan_v1_moe": singular.hunyuan_moe,
    "hunyuan": singular.hunyuan_moe,
    "afmoe": singular.afmoe,
    "gemma3n_text": gemmas.gemma3n,
    "gemma4_text": gemmas.gemma4,
    "deepseek": mla.deepseek_v2,
    "deepseek_v2": mla.deepseek_v2,
    "deepseek_v3": mla.deepseek_v3,
    "deepseek_v32": mla.deepseek_v3,
    "kimi_k2": mla.deepseek_v3,
    "glm_moe_dsa": mla.deepseek_v3,
    "glm4_moe_lite": mla.deepseek_v3,
    "mistral4": mla.deepseek_v2,
    "minicpm3": mla.latent_dense,
    "youtu": mla.latent_dense,
    "qwen3_next": hybrids.qwen3_next,
    "qwen3_5_text": hybrids.qwen3_next,
    "qwen3_5_moe_text": hybrids.qwen3_next,
    "minimax": hybrids.minimax,
    "minimax_text_01": hybrids.minimax,
    "minimax_m1": hybrids.minimax,
    "kimi_linear": hybrids.kimi_linear,
    "granitemoehybrid": hybrids.granite_hybrid,
    "bamba": hybrids.bamba,
    "falcon_h1": hybrids.falcon_h1,
    "jamba": hybrids.jamba,
    "lfm2": hybrids.lfm2,
    "lfm2_moe": hybrids.lfm2,
    "mamba": hybrids.mamba_only,
    "falcon_mamba": hybrids.mamba_only,
    "mamba2": hybrids.mamba2_only,
    "nemotron_h": nemotron.nemotron_h,
    **encoders.LAYOUTS,
    **encoder_decoders.LAYOUTS,
}
"""Families with a function of their own."""

_OWN_HEADS = encoders.LAYOUTS.keys() | encoder_decoders.LAYOUTS.keys()

_NAMED_MODEL = frozenset({"chatglm"})
"""Families whose language model is called `...Model`, head and all."""

_PREDICTING = frozenset({"glm4_moe", "mimo", "dots1"})
"""Recipe families whose checkpoints hold multi-token-prediction layers of DeepSeek's form where the config says so."""


def family_of(model_type: str) -> str | None:
    """The name under which this model_type is laid out; None for an unknown family."""
    name = ALIASES.get(model_type, model_type)
    return name if name in RECIPES or name in LAYOUTS else None


def inactive_roles(model_type: str, outer_type: str) -> tuple[Role, ...]:
    """What the family's publisher leaves out of a mixture's active parameters besides idle experts."""
    towers = () if outer_type == "deepseek_vl_v2" else TOWERS
    return (*towers, *_inactive_tables(ALIASES.get(model_type, model_type)))


def _inactive_tables(name: str) -> tuple[Role, ...]:
    own = LAYOUTS.get(name)
    if own in (mla.deepseek_v2, mla.deepseek_v3):
        return mla.DEEPSEEK.inactive
    if name == "qwen3_next" or own is hybrids.minimax:
        return TABLES
    return singular.GPT_OSS.inactive if own is singular.gpt_oss else RECIPES.get(name, Recipe()).inactive


def layout_of(config: Config, architecture: str) -> Layout:
    """Lay the level out. Raises UnknownError for an unknown family or a config that does not say enough."""
    family = family_of(config.model_type)
    if family is None:
        layout = standard_layout(config, architecture)
    elif family in LAYOUTS:
        layout = LAYOUTS[family](config)
    else:
        layout = decoder(config, RECIPES[family])
        if family in _PREDICTING:
            layout = mla.with_next_layers(config, layout)
    return _with_head(layout, config, architecture, family or "")


def _with_head(layout: Layout, config: Config, architecture: str, family: str) -> Layout:
    """A decoder's head by its architecture: a language model's, a score, or none."""
    if family in _OWN_HEADS or not architecture:
        return layout
    hidden = layout.hidden
    head: tuple[Weight, ...]
    if architecture.endswith("RewardModel"):
        if family == "internlm2":
            head = (("v_head.weight", (1, hidden)),)
        else:  # Qwen2.5-Math: two layers
            outputs = 2 if "Process" in architecture else 1
            head = (*linear("score.0", hidden, hidden, True), *linear("score.2", outputs, hidden, True))
    elif architecture.endswith(("ForSequenceClassification", "ForTokenClassification")):
        labels = config.value("id2label")
        count = len(labels) if isinstance(labels, dict) and labels else config.maybe("num_labels") or 2
        head = (("score.weight", (count, hidden)),)
    elif re.search(r"(?<!LMHead)Model$", architecture) and family not in _NAMED_MODEL:
        head = ()
    else:
        return layout
    return replace(layout, head=head, tied=False)
