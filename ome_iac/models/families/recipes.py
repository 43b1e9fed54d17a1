"""One row a family: what its decoder layer is made of where the config does not say.

A rule is True, False, or the name of the config key that decides.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ome_iac.models.metadata import Role

Rule = bool | str
TWO_NORMS = ("input_layernorm", "post_attention_layernorm")
POST_NORMS = ("post_attention_layernorm", "post_feedforward_layernorm")
FOUR_NORMS = (*TWO_NORMS, "pre_feedforward_layernorm", "post_feedforward_layernorm")
TABLES = (Role.EMBEDDING, Role.HEAD)
TOWERS = (Role.VISION, Role.AUDIO, Role.PROJECTOR)


@dataclass(frozen=True)
class Recipe:
    """What a family's decoder layer is made of."""

    norm: str = "rms"
    norms: tuple[str, ...] = TWO_NORMS
    final_norm: bool = True
    qkv_bias: Rule = False
    out_bias: Rule = False
    qk_norm: str = "none"
    qk_norm_when: Rule = True
    gated: bool = True
    mlp_bias: Rule = False
    head_bias: Rule = False
    positions: int | None = None  # learned positions, and how many rows more than max_position_embeddings
    sinks: bool = False
    sparse: bool = False
    router_bias: bool = False
    correction_bias: Rule = False
    shared_gate: bool = False
    inactive: tuple[Role, ...] = ()  # what the publisher leaves out of the active parameters besides idle experts


LLAMA = Recipe(qkv_bias="attention_bias", out_bias="attention_bias", mlp_bias="mlp_bias")
GPT = Recipe(norm="layer", qkv_bias=True, out_bias=True, gated=False, mlp_bias=True)
QWEN3 = Recipe(qkv_bias="attention_bias", out_bias="attention_bias", qk_norm="head")
QWEN3_MOE = replace(QWEN3, sparse=True)
GPTJ = replace(GPT, norms=("input_layernorm",), qkv_bias=False, out_bias=False, head_bias=True)
COHERE = Recipe(norm="layer-nobias", norms=("input_layernorm",), qkv_bias="attention_bias", out_bias="attention_bias")

RECIPES: dict[str, Recipe] = {
    "llama": LLAMA,
    "mistral": Recipe(),
    "ministral": Recipe(),
    "ministral3": Recipe(),
    "qwen2": Recipe(qkv_bias=True),
    "qwen3": QWEN3,
    "gemma": LLAMA,
    "gemma2": replace(LLAMA, norms=FOUR_NORMS),
    "vaultgemma": replace(LLAMA, norms=("input_layernorm", "pre_feedforward_layernorm")),
    "gemma3_text": replace(LLAMA, norms=FOUR_NORMS, qk_norm="head"),
    "phi3": Recipe(),
    "phi": replace(GPT, norms=("input_layernorm",), head_bias=True, qk_norm="head", qk_norm_when="qk_layernorm"),
    "gpt2": replace(GPT, positions=0),
    "gptj": GPTJ,
    "codegen": GPTJ,
    "gpt_neox": replace(GPT, qkv_bias="attention_bias", out_bias="attention_bias"),
    "starcoder2": replace(GPT, qkv_bias="use_bias", out_bias="use_bias", mlp_bias="use_bias"),
    "biogpt": replace(GPT, positions=2),
    "persimmon": replace(GPT, qk_norm="head", qk_norm_when="qk_layernorm"),
    "glm": Recipe(qkv_bias="attention_bias"),
    "glm4": Recipe(qkv_bias="attention_bias", norms=FOUR_NORMS),
    "glm4v_text": Recipe(qkv_bias=True, norms=FOUR_NORMS),
    "chatglm": Recipe(qkv_bias="add_qkv_bias", out_bias="add_bias_linear", mlp_bias="add_bias_linear"),
    "baichuan": Recipe(),
    "internlm": Recipe(qkv_bias="bias", out_bias="bias"),
    "internlm2": Recipe(qkv_bias="bias", out_bias="bias"),
    "internlm3": Recipe(qkv_bias="qkv_bias", out_bias="bias", mlp_bias="bias"),
    "minicpm": LLAMA,
    "exaone": Recipe(),
    "exaone4": Recipe(norms=POST_NORMS, qk_norm="head"),
    "cohere": replace(COHERE, qk_norm="heads", qk_norm_when="use_qk_norm"),
    "cohere2": COHERE,
    "nemotron": replace(LLAMA, norm="layer", gated=False),
    "olmo": replace(LLAMA, norm="none"),
    "olmo2": replace(LLAMA, norms=POST_NORMS, qk_norm="full"),
    "olmo3": replace(LLAMA, norms=POST_NORMS, qk_norm="full"),
    "granite": LLAMA,
    "xverse": Recipe(),
    "smollm3": LLAMA,
    "arcee": replace(LLAMA, gated=False),
    "seed_oss": Recipe(qkv_bias="attention_bias", out_bias="attention_out_bias", mlp_bias="mlp_bias"),
    "helium": LLAMA,
    "ernie4_5": Recipe(qkv_bias="use_bias", out_bias="use_bias", mlp_bias="use_bias"),
    "hunyuan_v1_dense": QWEN3,
    "mixtral": Recipe(sparse=True),
    "phimoe": Recipe(
        norm="layer", qkv_bias="attention_bias", out_bias="attention_bias", head_bias="lm_head_bias", sparse=True
    ),
    "qwen2_moe": Recipe(qkv_bias="qkv_bias", sparse=True, shared_gate=True),
    "qwen3_moe": QWEN3_MOE,
    "olmoe": replace(LLAMA, qk_norm="full", sparse=True),
    "flex_olmo": replace(LLAMA, norms=POST_NORMS, qk_norm="full", sparse=True),
    "granitemoe": replace(LLAMA, sparse=True, inactive=TABLES),
    "granitemoeshared": replace(LLAMA, sparse=True, inactive=TABLES),
    "glm4_moe": Recipe(
        qkv_bias="attention_bias",
        qk_norm="head",
        qk_norm_when="use_qk_norm",
        sparse=True,
        correction_bias=True,
        inactive=TABLES,
    ),
    "dots1": Recipe(
        qkv_bias="attention_bias", out_bias="attention_bias", qk_norm="head", sparse=True, correction_bias=True
    ),
    "ernie4_5_moe": Recipe(
        qkv_bias="use_bias",
        out_bias="use_bias",
        mlp_bias="use_bias",
        sparse=True,
        correction_bias=True,
        inactive=TABLES,
    ),
    "minimax_m2": Recipe(qk_norm="full", sparse=True, correction_bias=True, inactive=TABLES),
    "exaone_moe": Recipe(norms=POST_NORMS, qk_norm="head", sparse=True, correction_bias=True),
    "solar_open": Recipe(qkv_bias="attention_bias", sparse=True, correction_bias=True),
    "grok-1": Recipe(norms=FOUR_NORMS, sparse=True),
}
"""Families whose layers are all alike but for windows and experts; the others have a function of their own."""
