"""Families that mix attention with layers that keep a state, or have no attention at all."""

from __future__ import annotations

from dataclasses import replace

from ome_iac.models.families.blocks import Feed, Layer, Layout, Mixer, attention, linear, mlp, norm
from ome_iac.models.families.config import MAX_LAYERS, Config, UnknownError
from ome_iac.models.families.decoders import (
    Sizes,
    bounded,
    decoder,
    feed_forward,
    routed,
    self_attention,
    sizes,
)
from ome_iac.models.families.mla import DEEPSEEK_V3, latent_attention, latent_sizes
from ome_iac.models.families.recipes import QWEN3, Recipe
from ome_iac.models.families.states import (
    delta_attention,
    gated_delta,
    lightning,
    mamba,
    mamba2,
    short_convolution,
    time_step_rank,
)


def layer_type(config: Config, layer: int) -> str:
    """The layer's entry in `layer_types` or `layers_block_type`; empty where there is none."""
    for key in ("layer_types", "layers_block_type", "block_types"):
        types = config.items(key)
        if layer < len(types):
            return str(types[layer])
    return ""


def _gated_attention(config: Config, recipe: Recipe, size: Sizes, layer: int) -> Mixer:
    bias = config.flag("attention_bias")
    return attention(
        size.hidden, size.heads, size.kv_heads, size.head_dim, qkv_bias=bias, out_bias=bias, qk_norm="head", gate="full"
    )


def qwen3_next(config: Config) -> Layout:
    """Qwen3-Next and Qwen3.5: every `full_attention_interval`-th layer attends, the others are gated delta nets."""
    interval = config.maybe("full_attention_interval") or 4

    def mixers(config: Config, recipe: Recipe, size: Sizes, layer: int) -> tuple[Mixer, ...]:
        kind = layer_type(config, layer) or ("full_attention" if (layer + 1) % interval == 0 else "linear_attention")
        if kind == "full_attention":
            return (_gated_attention(config, recipe, size, layer),)
        return (gated_delta(config, size.hidden),)

    sparse = bool(config.maybe("num_experts"))
    recipe = replace(QWEN3, sparse=sparse, shared_gate=sparse)
    layout = decoder(config, recipe, mixers=mixers)
    count = config.maybe("num_nextn_predict_layers") or 0
    if not count or count > 8:
        return layout
    size = sizes(config)
    layer = Layer(
        (_gated_attention(config, recipe, size, 0),),
        feed_forward(config, recipe, size, size.layers - 1),
        (*norm("input_layernorm", size.hidden, "rms"), *norm("post_attention_layernorm", size.hidden, "rms")),
    )
    weights = [(f"mtp.layers.{index}.{name}", shape) for index in range(count) for name, shape in layer.weights()]
    weights += linear("mtp.fc", size.hidden, 2 * size.hidden)
    for name in ("norm", "pre_fc_norm_embedding", "pre_fc_norm_hidden"):
        weights += norm(f"mtp.{name}", size.hidden, "rms")
    return replace(layout, predictors=tuple(weights))


def minimax(config: Config) -> Layout:
    """MiniMax-Text-01 and M1: lightning attention, and full attention where `attn_type_list` or `layer_types` says."""
    kinds = config.items("attn_type_list")

    def mixers(config: Config, recipe: Recipe, size: Sizes, layer: int) -> tuple[Mixer, ...]:
        kind = layer_type(config, layer)
        full = kind == "full_attention" if kind else layer < len(kinds) and kinds[layer] == 1
        if full:
            return (self_attention(config, recipe, size, layer),)
        return (lightning(config, size.hidden, size.heads, size.head_dim),)

    if not kinds and not config.items("layer_types"):
        raise UnknownError([f"attn_type_list is not in {config.notes.file}"])
    return decoder(config, Recipe(sparse=True), mixers=mixers)


def kimi_linear(config: Config) -> Layout:
    """Kimi Linear: delta attention, and MLA on the layers `linear_attn_config.full_attn_layers` counts from 1."""
    full = config.below("linear_attn_config").wholes("full_attn_layers")

    def mixers(config: Config, recipe: Recipe, size: Sizes, layer: int) -> tuple[Mixer, ...]:
        return (latent_attention(config, size) if layer + 1 in full else delta_attention(config, size.hidden),)

    return decoder(config, DEEPSEEK_V3, mixers=mixers, size=latent_sizes(config))


def _mamba2_of(config: Config, hidden: int, *, inner: int | None, gated_norm: bool, out_bias: bool | None) -> Mixer:
    """Mamba 2 as Bamba, Granite 4 and Falcon-H1 spell it."""
    heads, expand = config.positive("mamba_n_heads"), config.positive("mamba_expand", 2)
    width = inner or expand * hidden
    head_dim = config.value("mamba_d_head")
    return mamba2(
        config,
        hidden,
        heads=heads,
        head_dim=config.positive("mamba_d_head") if head_dim not in (None, "auto") else width // heads,
        inner=width,
        groups=config.positive("mamba_n_groups", 1),
        state=config.positive("mamba_d_state"),
        kernel=config.positive("mamba_d_conv", 4),
        conv_bias=config.flag("mamba_conv_bias", True),
        bias=config.flag("mamba_proj_bias"),
        out_bias=out_bias,
        gated_norm=gated_norm,
        name="mamba",
    )


def granite_hybrid(config: Config) -> Layout:
    """Granite 4: Mamba 2 or attention, then a shared MLP, and routed experts where there are any."""
    shared = config.positive("shared_intermediate_size")

    def mixers(config: Config, recipe: Recipe, size: Sizes, layer: int) -> tuple[Mixer, ...]:
        if layer_type(config, layer) in ("mamba", "linear_attention"):
            return (_mamba2_of(config, size.hidden, inner=None, gated_norm=True, out_bias=None),)
        return (self_attention(config, recipe, size, layer),)

    def feed(config: Config, recipe: Recipe, size: Sizes, layer: int) -> Feed:
        if config.maybe("num_experts"):
            return routed(config, recipe, size.hidden)
        return Feed(mlp(size.hidden, shared))

    return decoder(config, Recipe(qkv_bias="attention_bias", out_bias="attention_bias"), mixers=mixers, feed=feed)


def bamba(config: Config) -> Layout:
    """Bamba: Mamba 2, and attention on `attn_layer_indices`."""
    attending = config.wholes("attn_layer_indices")

    def mixers(config: Config, recipe: Recipe, size: Sizes, layer: int) -> tuple[Mixer, ...]:
        if layer in attending:
            return (self_attention(config, recipe, size, layer),)
        return (_mamba2_of(config, size.hidden, inner=None, gated_norm=True, out_bias=None),)

    return decoder(config, Recipe(mlp_bias="mlp_bias"), mixers=mixers)


def falcon_h1(config: Config) -> Layout:
    """Falcon-H1: attention and Mamba 2 side by side in every layer."""

    def mixers(config: Config, recipe: Recipe, size: Sizes, layer: int) -> tuple[Mixer, ...]:
        beside = _mamba2_of(
            config,
            size.hidden,
            inner=config.maybe("mamba_d_ssm"),
            gated_norm=config.flag("mamba_rms_norm"),
            out_bias=config.flag("projectors_bias"),
        )
        return self_attention(config, recipe, size, layer), beside

    recipe = Recipe(qkv_bias="attention_bias", out_bias="attention_bias", mlp_bias="mlp_bias")
    return decoder(config, recipe, mixers=mixers)


def jamba(config: Config) -> Layout:
    """Jamba: attention on every `attn_layer_period`-th layer from its offset, experts likewise, Mamba elsewhere."""
    period, offset = config.positive("attn_layer_period"), config.whole("attn_layer_offset", 0)

    def mixers(config: Config, recipe: Recipe, size: Sizes, layer: int) -> tuple[Mixer, ...]:
        if layer % period == offset:
            return (self_attention(config, recipe, size, layer),)
        return (
            mamba(
                config,
                size.hidden,
                inner=config.positive("mamba_expand", 2) * size.hidden,
                state=config.positive("mamba_d_state"),
                kernel=config.positive("mamba_d_conv"),
                rank=time_step_rank(config, "mamba_dt_rank", size.hidden),
                conv_bias=config.flag("mamba_conv_bias", True),
                bias=config.flag("mamba_proj_bias"),
                inner_norms=True,
                name="mamba",
            ),
        )

    return decoder(config, Recipe(sparse=True), mixers=mixers)


def lfm2(config: Config) -> Layout:
    """LFM2: short convolutions, and attention on `full_attn_idxs` or where `layer_types` says."""
    attending = config.wholes("full_attn_idxs")

    def mixers(config: Config, recipe: Recipe, size: Sizes, layer: int) -> tuple[Mixer, ...]:
        kind = layer_type(config, layer)
        if kind == "full_attention" or (not kind and layer in attending):
            return (self_attention(config, recipe, size, layer),)
        return (short_convolution(config, size.hidden),)

    def feed(config: Config, recipe: Recipe, size: Sizes, layer: int) -> Feed:
        if recipe.sparse:
            return feed_forward(config, recipe, size, layer)
        inner = config.maybe("block_ff_dim") or config.positive("intermediate_size")
        if config.flag("block_auto_adjust_ff_dim"):
            multiple = config.positive("block_multiple_of", 256)
            inner = int(config.number("block_ffn_dim_multiplier", 1.0) * int(2 * inner / 3))
            inner = multiple * ((inner + multiple - 1) // multiple)
        return Feed(mlp(size.hidden, inner))

    recipe = Recipe(qk_norm="head", sparse=bool(config.maybe("num_experts")), correction_bias="use_expert_bias")
    return decoder(config, recipe, mixers=mixers, feed=feed)


def mamba_only(config: Config) -> Layout:
    """Mamba and Falcon-Mamba: no attention, no MLP."""
    config.need("hidden_size", "num_hidden_layers", "vocab_size", "state_size")
    hidden = config.positive("hidden_size")
    mixer = mamba(
        config,
        hidden,
        inner=config.maybe("intermediate_size") or config.positive("expand", 2) * hidden,
        state=config.positive("state_size"),
        kernel=config.positive("conv_kernel", 4),
        rank=time_step_rank(config, "time_step_rank", hidden),
        conv_bias=config.flag("use_conv_bias", True),
        bias=config.flag("use_bias"),
    )
    return _stateful(config, hidden, mixer)


def mamba2_only(config: Config) -> Layout:
    """Mamba 2: no attention, no MLP."""
    config.need("hidden_size", "num_hidden_layers", "vocab_size", "state_size")
    hidden, inner = config.positive("hidden_size"), config.positive("expand", 2) * config.positive("hidden_size")
    head_dim = config.positive("head_dim", 64)
    mixer = mamba2(
        config,
        hidden,
        heads=inner // head_dim or 1,
        head_dim=head_dim,
        inner=inner,
        groups=config.positive("n_groups", 8),
        state=config.positive("state_size"),
        kernel=config.positive("conv_kernel", 4),
        conv_bias=config.flag("use_conv_bias", True),
        bias=config.flag("use_bias"),
    )
    return _stateful(config, hidden, mixer)


def _stateful(config: Config, hidden: int, mixer: Mixer) -> Layout:
    vocabulary, count = config.positive("vocab_size"), bounded(config, "num_hidden_layers", MAX_LAYERS)
    layer = Layer((mixer,), Feed(), tuple(norm("norm", hidden, "rms")))
    tied = config.flag("tie_word_embeddings", True)
    return Layout(
        hidden,
        vocabulary,
        (("backbone.embeddings.weight", (vocabulary, hidden)),),
        (layer,) * count,
        tuple(norm("backbone.norm_f", hidden, "rms")),
        head=() if tied else (("lm_head.weight", (vocabulary, hidden)),),
        prefix="backbone.layers",
        tied=tied,
    )
