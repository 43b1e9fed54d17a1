"""Gemma 3n and Gemma 4: an embedding for each layer, borrowed KV caches, global layers of another shape."""

from __future__ import annotations

from dataclasses import replace

from ome_iac.models.families.blocks import Feed, Layout, Mixer, Weight, attention, linear, mlp, norm
from ome_iac.models.families.config import Config
from ome_iac.models.families.decoders import MAX_EXPERTS, Sizes, bounded, decoder, reach, sizes
from ome_iac.models.families.recipes import FOUR_NORMS, Recipe


def _shares(config: Config, size: Sizes, layer: int) -> bool:
    """Whether the layer reads another's keys and values."""
    return layer >= size.layers - (config.maybe("num_kv_shared_layers") or 0)


def gemma3n(config: Config) -> Layout:
    """Gemma 3n: AltUp, LAuReL, and a per-layer embedding; shared layers still have weights for keys and values."""
    size = sizes(config)
    config.need("hidden_size_per_layer_input", "vocab_size_per_layer_input", "altup_num_inputs", "laurel_rank")
    hidden, side = size.hidden, config.positive("hidden_size_per_layer_input")
    inputs, rank = bounded(config, "altup_num_inputs", 64), config.positive("laurel_rank")
    inner = config.value("intermediate_size")

    def mixers(config: Config, recipe: Recipe, size: Sizes, layer: int) -> tuple[Mixer, ...]:
        kind, window = reach(config, layer)
        bias, shared = config.flag("attention_bias"), _shares(config, size, layer)
        return (
            attention(
                hidden,
                size.heads,
                size.kv_heads,
                size.head_dim,
                kind=kind,
                window=window,
                qkv_bias=bias,
                out_bias=bias,
                qk_norm="head",
                shared_kv=shared,
            ),
        )

    def feed(config: Config, recipe: Recipe, size: Sizes, layer: int) -> Feed:
        if isinstance(inner, list):
            widths = config.wholes("intermediate_size")
            return Feed(mlp(hidden, widths[min(layer, len(widths) - 1)] if widths else 4 * hidden))
        return Feed(mlp(hidden, config.positive("intermediate_size")))

    rest: list[Weight] = [
        ("altup.correct_output_scale", (hidden,)),
        *linear("altup.correction_coefs", inputs, inputs),
        *linear("altup.prediction_coefs", inputs * inputs, inputs),
        *linear("altup.modality_router", inputs, hidden),
        *norm("altup.router_norm", hidden, "rms"),
        *linear("laurel.linear_left", rank, hidden),
        *linear("laurel.linear_right", hidden, rank),
        *norm("laurel.post_laurel_norm", hidden, "rms"),
        *_per_layer(hidden, side),
    ]
    layout = decoder(config, Recipe(norms=FOUR_NORMS), mixers=mixers, feed=feed, size=size, rest=tuple(rest))
    after = list(layout.after)
    for name in ("altup_projections", "altup_unembed_projections"):
        for index in range(inputs - 1):
            after += linear(f"model.{name}.{index}", hidden, hidden)
    return _with_side_embedding(config, replace(layout, after=tuple(after)), side, size.layers)


def gemma4(config: Config) -> Layout:
    """Gemma 4: full layers have `global_head_dim`, their own number of KV heads and, perhaps, keys that are values."""
    size = sizes(config)
    hidden, side = size.hidden, config.maybe("hidden_size_per_layer_input") or 0
    global_dim = config.maybe("global_head_dim") or 512
    same = config.flag("attention_k_eq_v")
    global_kv = (config.maybe("num_global_key_value_heads") if same else None) or size.kv_heads

    def mixers(config: Config, recipe: Recipe, size: Sizes, layer: int) -> tuple[Mixer, ...]:
        kind, window = reach(config, layer)
        if layer == size.layers - 1 and not config.has("layer_types"):
            kind, window = "full", None
        full = kind == "full"
        return (
            _gemma4_attention(
                config,
                size,
                layer,
                global_dim if full else size.head_dim,
                global_kv if full else size.kv_heads,
                kind == "full",
                window,
                same and full,
            ),
        )

    def feed(config: Config, recipe: Recipe, size: Sizes, layer: int) -> Feed:
        wide = config.flag("use_double_wide_mlp") and _shares(config, size, layer)
        weights = mlp(hidden, config.positive("intermediate_size") * (2 if wide else 1))
        if not config.flag("enable_moe_block"):
            return Feed(weights)
        count, inner = bounded(config, "num_experts", MAX_EXPERTS), config.positive("moe_intermediate_size")
        weights += (
            *linear("router.proj", count, hidden),
            ("router.scale", (hidden,)),
            ("router.per_expert_scale", (count,)),
            ("experts.gate_up_proj", (count, 2 * inner, hidden)),
            ("experts.down_proj", (count, hidden, inner)),
        )
        for name in ("post_feedforward_layernorm_1", "post_feedforward_layernorm_2", "pre_feedforward_layernorm_2"):
            weights += tuple(norm(name, hidden, "rms"))
        return Feed(weights, experts=count, active=min(config.positive("num_experts_per_tok"), count), shared=1)

    rest = tuple(_per_layer(hidden, side)) if side else ()
    layout = decoder(config, Recipe(norms=FOUR_NORMS), mixers=mixers, feed=feed, size=size, rest=rest)
    return _with_side_embedding(config, layout, side, size.layers) if side else layout


def _gemma4_attention(
    config: Config, size: Sizes, layer: int, head_dim: int, kv_heads: int, full: bool, window: int | None, same: bool
) -> Mixer:
    bias, shared = config.flag("attention_bias"), _shares(config, size, layer)
    mixer = attention(
        size.hidden,
        size.heads,
        kv_heads,
        head_dim,
        kind="full" if full else "sliding",
        window=window,
        qkv_bias=bias,
        out_bias=bias,
        qk_norm="head",
        shared_kv=shared,
        keys_are_values=same,
    )
    if not shared:
        return mixer
    own = (".q_proj", ".o_proj", ".q_norm")  # shared layers have no weights for keys and values
    return replace(mixer, weights=tuple(weight for weight in mixer.weights if any(part in weight[0] for part in own)))


def _per_layer(hidden: int, side: int) -> list[Weight]:
    return [
        *linear("per_layer_input_gate", side, hidden),
        *linear("per_layer_projection", hidden, side),
        *norm("post_per_layer_input_norm", hidden, "rms"),
    ]


def _with_side_embedding(config: Config, layout: Layout, side: int, layers: int) -> Layout:
    rows = config.positive("vocab_size_per_layer_input")
    weights = [
        *layout.embeddings,
        ("model.embed_tokens_per_layer.weight", (rows, layers * side)),
        *linear("model.per_layer_model_projection", layers * side, layout.hidden),
        *norm("model.per_layer_projection_norm", side, "rms"),
    ]
    return replace(layout, embeddings=tuple(weights))
