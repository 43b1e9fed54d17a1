"""Attention decoders whose layers a recipe cannot say: one short function each."""

from __future__ import annotations

from dataclasses import replace

from ome_iac.models.families.blocks import Feed, Layout, Mixer, Weight, attention, experts, linear, mlp, norm
from ome_iac.models.families.config import Config
from ome_iac.models.families.decoders import (
    MAX_EXPERTS,
    Sizes,
    bounded,
    decoder,
    is_sparse,
    reach,
    self_attention,
    sizes,
)
from ome_iac.models.families.recipes import FOUR_NORMS, LLAMA, Recipe
from ome_iac.models.metadata import Role

GPT_OSS = Recipe(qkv_bias=True, out_bias=True, sinks=True, sparse=True, inactive=(Role.EMBEDDING,))


def gpt_oss(config: Config) -> Layout:
    """gpt-oss: experts in one stack, with biases; attention sinks."""

    def feed(config: Config, recipe: Recipe, size: Sizes, layer: int) -> Feed:
        count, inner = bounded(config, "num_experts", MAX_EXPERTS), config.positive("intermediate_size")
        weights: list[Weight] = [
            *linear("mlp.router", count, size.hidden, True),
            ("mlp.experts.gate_up_proj", (count, 2 * inner, size.hidden)),
            ("mlp.experts.gate_up_proj_bias", (count, 2 * inner)),
            ("mlp.experts.down_proj", (count, size.hidden, inner)),
            ("mlp.experts.down_proj_bias", (count, size.hidden)),
        ]
        active = config.positive("num_experts_per_tok")
        return Feed(tuple(weights), experts=count, active=min(active, count))

    return decoder(config, GPT_OSS, feed=feed)


def llama4(config: Config) -> Layout:
    """Llama 4's text model: chunked attention but for layers without rotary positions, which see everything; one
    shared expert beside the routed ones.
    """
    chunk = config.maybe("attention_chunk_size")
    no_rope = config.wholes("no_rope_layers")
    interval = config.maybe("nope_layer_interval") or config.maybe("no_rope_layer_interval") or 4

    def mixers(config: Config, recipe: Recipe, size: Sizes, layer: int) -> tuple[Mixer, ...]:
        rotary = bool(no_rope[layer]) if layer < len(no_rope) else (layer + 1) % interval != 0
        bias = config.flag("attention_bias")
        return (
            attention(
                size.hidden,
                size.heads,
                size.kv_heads,
                size.head_dim,
                kind="chunked" if rotary and chunk else "full",
                window=chunk if rotary else None,
                qkv_bias=bias,
                out_bias=bias,
            ),
        )

    def feed(config: Config, recipe: Recipe, size: Sizes, layer: int) -> Feed:
        inner = config.positive("intermediate_size")
        if not is_sparse(config, layer, size.layers):
            return Feed(mlp(size.hidden, config.positive("intermediate_size_mlp"), name="feed_forward"))
        count = bounded(config, "num_experts", MAX_EXPERTS)
        weights: list[Weight] = [
            *linear("feed_forward.router", count, size.hidden),
            ("feed_forward.experts.gate_up_proj", (count, size.hidden, 2 * inner)),
            ("feed_forward.experts.down_proj", (count, inner, size.hidden)),
            *mlp(size.hidden, inner, name="feed_forward.shared_expert"),
        ]
        active = config.positive("num_experts_per_tok")
        return Feed(tuple(weights), experts=count, active=min(active, count), shared=1)

    return decoder(config, Recipe(sparse=True), mixers=mixers, feed=feed)


def mllama(config: Config) -> Layout:
    """Llama 3.2 Vision's text model: on `cross_attention_layers` the layer looks at the image instead of the text."""
    crossing = config.wholes("cross_attention_layers")

    def mixers(config: Config, recipe: Recipe, size: Sizes, layer: int) -> tuple[Mixer, ...]:
        if layer not in crossing:
            return (self_attention(config, recipe, size, layer),)
        gates = (("cross_attn_attn_gate", (1,)), ("cross_attn_mlp_gate", (1,)))
        cross = attention(
            size.hidden,
            size.heads,
            size.kv_heads,
            size.head_dim,
            kind="cross",
            qk_norm="head",
            name="cross_attn",
            extra=gates,
        )
        return (cross,)

    layout = decoder(config, Recipe(), mixers=mixers)
    name, (rows, columns) = layout.embeddings[0][0], layout.embeddings[0][1]
    return replace(layout, embeddings=((name, (rows + 8, columns)),))  # eight rows for the image tokens


def qwen(config: Config) -> Layout:
    """Qwen 1: one width, halved between gate and up."""

    def feed(config: Config, recipe: Recipe, size: Sizes, layer: int) -> Feed:
        return Feed(mlp(size.hidden, config.positive("intermediate_size") // 2))

    return decoder(config, Recipe(qkv_bias=True), feed=feed)


def falcon(config: Config) -> Layout:
    """Falcon 7B, 40B, 180B, RW and Falcon 2: how many KV heads and norms depends on three switches."""
    config.need("hidden_size", "num_attention_heads")
    new, parallel = config.flag("new_decoder_architecture"), config.flag("parallel_attn", True)
    heads = config.positive("num_attention_heads")
    single = not new and config.flag("multi_query", True)
    kv_heads = 1 if single else (config.maybe("num_key_value_heads") if new else None) or heads
    norms: tuple[str, ...] = ("input_layernorm", "post_attention_layernorm")
    if parallel:
        norms = ("ln_attn", "ln_mlp") if new and config.whole("num_ln_in_parallel_attn", 2) == 2 else norms[:1]
    recipe = Recipe(norm="layer", norms=norms, qkv_bias="bias", out_bias="bias", gated=False, mlp_bias="bias")
    return decoder(config, recipe, size=replace(sizes(config), kv_heads=kv_heads))


def bloom(config: Config) -> Layout:
    """BLOOM: a norm on the embedding."""
    recipe = Recipe(norm="layer", qkv_bias=True, out_bias=True, gated=False, mlp_bias=True)
    layout = decoder(config, recipe)
    return replace(
        layout, embeddings=(*layout.embeddings, *norm("model.word_embeddings_layernorm", layout.hidden, "layer"))
    )


def mpt(config: Config) -> Layout:
    """MPT: no bias anywhere, ALiBi instead of positions (a learned table where `attn_config.alibi` is false)."""
    inner_config = config.below("attn_config")
    heads = inner_config.maybe("kv_n_heads")
    learned = inner_config.has("alibi") and not inner_config.flag("alibi")
    ratio = config.number("expansion_ratio", 4.0)

    def feed(config: Config, recipe: Recipe, size: Sizes, layer: int) -> Feed:
        return Feed(mlp(size.hidden, int(ratio * size.hidden), gated=False))

    size = sizes(config)
    recipe = Recipe(norm="layer-nobias", gated=False, positions=0 if learned else None)
    return decoder(config, recipe, feed=feed, size=replace(size, kv_heads=heads or size.kv_heads))


def opt(config: Config) -> Layout:
    """OPT: learned positions with an offset of two, and projections where the embedding is narrower."""
    recipe = Recipe(
        norm="layer",
        qkv_bias="enable_bias",
        out_bias="enable_bias",
        gated=False,
        mlp_bias="enable_bias",
        positions=2,
        final_norm=config.flag("do_layer_norm_before", True) and not config.flag("_remove_final_layer_norm"),
    )
    layout = decoder(config, recipe)
    width = config.maybe("word_embed_proj_dim") or layout.hidden
    if width == layout.hidden:
        return layout
    (name, (rows, _)), *others = layout.embeddings
    weights = [(name, (rows, width)), *others]
    weights += linear("model.project_in", layout.hidden, width)
    weights += linear("model.project_out", width, layout.hidden)
    return replace(layout, embeddings=tuple(weights))


def gpt_bigcode(config: Config) -> Layout:
    """StarCoder 1: one KV head for all where `multi_query`."""
    size = sizes(config)
    recipe = Recipe(norm="layer", qkv_bias=True, out_bias=True, gated=False, mlp_bias=True, positions=0)
    return decoder(config, recipe, size=replace(size, kv_heads=1 if config.flag("multi_query", True) else size.heads))


def gpt_neo(config: Config) -> Layout:
    """GPT-Neo: every other layer looks back `window_size` tokens only."""
    window = config.maybe("sliding_window")

    def mixers(config: Config, recipe: Recipe, size: Sizes, layer: int) -> tuple[Mixer, ...]:
        local = layer % 2 == 1 and window
        return (
            attention(
                size.hidden,
                size.heads,
                size.kv_heads,
                size.head_dim,
                kind="sliding" if local else "full",
                window=window if local else None,
                out_bias=True,
            ),
        )

    recipe = Recipe(norm="layer", gated=False, mlp_bias=True, positions=0)
    return decoder(config, recipe, mixers=mixers)


def dbrx(config: Config) -> Layout:
    """DBRX: sizes in `attn_config` and `ffn_config`."""
    heads, inner = config.below("attn_config"), config.below("ffn_config")

    def feed(config: Config, recipe: Recipe, size: Sizes, layer: int) -> Feed:
        count = bounded(inner, "num_experts", MAX_EXPERTS)
        return experts(size.hidden, inner.positive("intermediate_size"), count, inner.positive("num_experts_per_tok"))

    size = sizes(config)
    size = replace(size, kv_heads=heads.maybe("num_key_value_heads") or 1)
    return decoder(config, Recipe(norm="layer-nobias", sparse=True), feed=feed, size=size)


def stablelm(config: Config) -> Layout:
    """StableLM: one norm where attention and MLP run in parallel; norms for each head where `qk_layernorm`."""
    norms = (
        ("input_layernorm",)
        if config.flag("use_parallel_residual")
        else ("input_layernorm", "post_attention_layernorm")
    )
    recipe = Recipe(norm="layer", norms=norms, qkv_bias="use_qkv_bias", qk_norm="heads", qk_norm_when="qk_layernorm")
    return decoder(config, recipe)


def phi3_small(config: Config) -> Layout:
    """Phi-3-small: biases everywhere, and a tied embedding."""
    return decoder(config, Recipe(norm="layer", qkv_bias=True, out_bias=True, mlp_bias=True))


def apertus(config: Config) -> Layout:
    """Apertus: an activation with two learned values a layer."""
    recipe = replace(LLAMA, norms=("attention_layernorm", "feedforward_layernorm"), gated=False, qk_norm="head")
    return decoder(config, recipe, rest=(("mlp.act_fn.alpha_p", (1,)), ("mlp.act_fn.alpha_n", (1,))))


def bitnet(config: Config) -> Layout:
    """BitNet b1.58: a norm inside attention and inside the MLP."""
    inner, hidden = config.positive("intermediate_size"), config.positive("hidden_size")
    rest = (*norm("self_attn.attn_sub_norm", hidden, "rms"), *norm("mlp.ffn_sub_norm", inner, "rms"))
    return decoder(config, LLAMA, rest=rest)


def hunyuan_moe(config: Config) -> Layout:
    """Hunyuan: counts and widths may be given layer by layer; shared experts where `num_shared_expert` says."""

    def at(key: str, layer: int, default: int) -> int:
        values = config.value(key)
        if isinstance(values, list):
            whole = config.wholes(key)
            return whole[min(layer, len(whole) - 1)] if whole else default
        return config.maybe(key) or default

    def feed(config: Config, recipe: Recipe, size: Sizes, layer: int) -> Feed:
        inner = at("moe_intermediate_size", layer, config.positive("intermediate_size"))
        count = bounded(config, "num_experts", MAX_EXPERTS)
        if count == 1:
            return Feed(mlp(size.hidden, config.positive("intermediate_size")))
        shared = at("n_shared_experts", layer, 0) if config.flag("use_mixed_mlp_moe", True) else 0
        shared_inner = shared * config.positive("intermediate_size")
        active = min(at("num_experts_per_tok", layer, 1), count)
        return experts(size.hidden, inner, count, active, shared=shared, shared_inner=shared_inner)

    recipe = Recipe(qkv_bias="attention_bias", out_bias="attention_bias", qk_norm="head", sparse=True)
    if config.has("use_qk_norm"):
        recipe = replace(recipe, qk_norm_when="use_qk_norm")
    return decoder(config, recipe, feed=feed)


def afmoe(config: Config) -> Layout:
    """Arcee Trinity: gated attention, four norms, every `global_attn_every_n_layers`-th layer full."""
    every = config.maybe("global_attn_every_n_layers") or 4
    window = config.maybe("sliding_window")

    def mixers(config: Config, recipe: Recipe, size: Sizes, layer: int) -> tuple[Mixer, ...]:
        kind, seen = reach(config, layer) if config.has("layer_types") else ("sliding", window)
        if not config.has("layer_types") and ((layer + 1) % every == 0 or not window):
            kind, seen = "full", None
        gate = tuple(linear("self_attn.gate_proj", size.heads * size.head_dim, size.hidden))
        return (
            attention(
                size.hidden,
                size.heads,
                size.kv_heads,
                size.head_dim,
                kind=kind,
                window=seen,
                qk_norm="head",
                extra=gate,
            ),
        )

    return decoder(config, Recipe(norms=FOUR_NORMS, sparse=True, correction_bias=True), mixers=mixers)
