"""Multi-head latent attention (DeepSeek) and the families that have it.

The KV cache holds, per token and layer, one latent vector of `kv_lora_rank` and one rotary key of `qk_rope_head_dim`,
for all heads together.
"""

from __future__ import annotations

from dataclasses import replace

from ome_iac.models.families.blocks import Geometry, Layer, Layout, Mixer, Weight, linear, norm
from ome_iac.models.families.config import MAX_LAYERS, Config
from ome_iac.models.families.decoders import Sizes, bounded, decoder, self_attention
from ome_iac.models.families.recipes import Recipe
from ome_iac.models.metadata import Role


def latent_sizes(config: Config) -> Sizes:
    """As `sizes`, with the head as MLA computes it."""
    config.need("hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size", "kv_lora_rank")
    config.need("qk_nope_head_dim", "qk_rope_head_dim")
    heads = config.positive("num_attention_heads")
    return Sizes(
        config.positive("hidden_size"),
        bounded(config, "num_hidden_layers", MAX_LAYERS),
        heads,
        config.maybe("num_key_value_heads") or heads,
        config.positive("qk_nope_head_dim") + config.positive("qk_rope_head_dim"),
        config.positive("vocab_size"),
    )


def latent_attention(config: Config, size: Sizes) -> Mixer:
    """MLA; without `q_lora_rank` the query is projected in one step, with `index_n_heads` an indexer picks the keys."""
    latent, rope = config.positive("kv_lora_rank"), config.positive("qk_rope_head_dim")
    nope = config.positive("qk_nope_head_dim")
    value = config.maybe("v_head_dim") or size.hidden // size.heads
    query_rank = config.maybe("q_lora_rank")
    bias = config.flag("attention_bias")
    weights: list[Weight] = []
    if query_rank:
        weights += linear("self_attn.q_a_proj", query_rank, size.hidden, bias)
        weights += norm("self_attn.q_a_layernorm", query_rank, "rms")
        weights += linear("self_attn.q_b_proj", size.heads * size.head_dim, query_rank)
    else:
        weights += linear("self_attn.q_proj", size.heads * size.head_dim, size.hidden)
    weights += linear("self_attn.kv_a_proj_with_mqa", latent + rope, size.hidden, bias)
    weights += norm("self_attn.kv_a_layernorm", latent, "rms")
    weights += linear("self_attn.kv_b_proj", size.heads * (nope + value), latent)
    weights += linear("self_attn.o_proj", size.hidden, size.heads * value, bias)
    if (index_heads := config.maybe("index_n_heads")) and query_rank:
        index_dim = config.positive("index_head_dim")
        weights += linear("self_attn.indexer.wq_b", index_heads * index_dim, query_rank)
        weights += linear("self_attn.indexer.wk", index_dim, size.hidden)
        weights += norm("self_attn.indexer.k_norm", index_dim, "layer")
        weights += linear("self_attn.indexer.weights_proj", index_heads, size.hidden)
    geometry = Geometry(
        "mla", size.heads, size.kv_heads, size.head_dim, value_head_dim=value, latent_dim=latent, rope_head_dim=rope
    )
    return Mixer(geometry, tuple(weights))


def _mixers(config: Config, recipe: Recipe, size: Sizes, layer: int) -> tuple[Mixer, ...]:
    return (latent_attention(config, size),)


def _plain(config: Config, recipe: Recipe, size: Sizes, layer: int) -> tuple[Mixer, ...]:
    return (self_attention(config, recipe, size, layer),)


DEEPSEEK = Recipe(mlp_bias="mlp_bias", sparse=True, inactive=(Role.EMBEDDING,))
DEEPSEEK_V3 = replace(DEEPSEEK, correction_bias=True)


def deepseek(config: Config, recipe: Recipe) -> Layout:
    """DeepSeek-V2 and its like; `use_mla: false` (DeepSeek-VL2-tiny) means ordinary attention."""
    if config.value("use_mla") is False:
        return decoder(config, recipe, mixers=_plain)
    return decoder(config, recipe, mixers=_mixers, size=latent_sizes(config))


def deepseek_v2(config: Config) -> Layout:
    """DeepSeek-V2, V2.5, Coder-V2: no bias corrects the router."""
    return deepseek(config, DEEPSEEK)


def deepseek_v3(config: Config) -> Layout:
    """DeepSeek-V3, R1, V3.2, Kimi K2, GLM-5: with the layers that predict further tokens."""
    return with_next_layers(config, deepseek(config, DEEPSEEK_V3))


def latent_dense(config: Config) -> Layout:
    """MLA with a dense MLP: MiniCPM3, Youtu-LLM."""
    return decoder(config, Recipe(), mixers=_mixers, size=latent_sizes(config))


def with_next_layers(config: Config, layout: Layout) -> Layout:
    """Add DeepSeek's multi-token-prediction layers: a further decoder layer each, with its own copy of embedding and
    head, numbered behind the model's own.
    """
    count = config.maybe("num_nextn_predict_layers") or 0
    if not count or not layout.layers or count > 8:
        return layout
    weights: list[Weight] = []
    for index in range(len(layout.layers), len(layout.layers) + count):
        weights += _next_layer(f"{layout.prefix}.{index}", layout.layers[-1], layout.hidden, layout.vocabulary or 0)
    return replace(layout, predictors=tuple(weights))


def _next_layer(prefix: str, layer: Layer, hidden: int, vocabulary: int) -> list[Weight]:
    return [
        *((f"{prefix}.{name}", shape) for name, shape in layer.weights()),
        *norm(f"{prefix}.enorm", hidden, "rms"),
        *norm(f"{prefix}.hnorm", hidden, "rms"),
        *linear(f"{prefix}.eh_proj", hidden, 2 * hidden),
        (f"{prefix}.embed_tokens.weight", (vocabulary, hidden)),
        *norm(f"{prefix}.shared_head.norm", hidden, "rms"),
        (f"{prefix}.shared_head.head.weight", (vocabulary, hidden)),
    ]
