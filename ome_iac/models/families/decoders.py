"""Decoders that stand on full or sliding attention, dense or with experts, as their recipe says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ome_iac.models.families.blocks import (
    AttentionKind,
    Feed,
    Layer,
    Layout,
    Mixer,
    Weight,
    attention,
    experts,
    mlp,
    norm,
)
from ome_iac.models.families.config import MAX_LAYERS, Config, UnknownError
from ome_iac.models.families.recipes import Recipe, Rule

MAX_EXPERTS = 4_096
MAX_WEIGHTS = 500_000
"""Bounds of what is derived: a config that asks for more tensors than any model has is garbage, not a model."""


def decides(config: Config, rule: Rule) -> bool:
    """The rule's answer for this config."""
    return config.flag(rule) if isinstance(rule, str) else rule


@dataclass(frozen=True)
class Sizes:
    """The sizes every decoder has."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int


def sizes(config: Config) -> Sizes:
    """Raises UnknownError naming every size that is missing."""
    config.need("hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size")
    hidden, heads = config.positive("hidden_size"), config.positive("num_attention_heads")
    layers = bounded(config, "num_hidden_layers", MAX_LAYERS)
    head_dim = config.maybe("head_dim") or hidden // heads
    if not head_dim:
        raise UnknownError([f"head_dim is not in {config.notes.file}, and hidden_size is below num_attention_heads"])
    kv_heads = config.maybe("num_key_value_heads") or heads
    return Sizes(hidden, layers, heads, kv_heads, head_dim, config.positive("vocab_size"))


def bounded(config: Config, key: str, most: int) -> int:
    """A count that is at most `most`. Raises UnknownError."""
    value = config.positive(key)
    if value > most:
        raise UnknownError([f"{key} in {config.notes.file} is {value}: no model has more than {most:,}"])
    return value


def refuse_more_than_any_model_has(config: Config, weights: int) -> None:
    """Raises UnknownError where a config asks for more tensors than there can be."""
    if weights > MAX_WEIGHTS:
        raise UnknownError([f"{config.notes.file} asks for more than {MAX_WEIGHTS:,} tensors: no model has as many"])


def reach(config: Config, layer: int) -> tuple[AttentionKind, int | None]:
    """How far the layer's attention looks: its kind and its window in tokens.

    The rules are transformers': `layer_types` where given; else `sliding_window` with its pattern (every n-th layer is
    full), with `max_window_layers` (layers from there on slide), or on every layer. A window that holds the whole
    context is none.
    """
    window = config.maybe("sliding_window")
    context = config.maybe("max_position_embeddings")
    types = config.items("layer_types")
    if layer < len(types):
        if types[layer] == "chunked_attention":
            return "chunked", config.maybe("attention_chunk_size")
        slides = types[layer] == "sliding_attention"
    else:
        slides = _slides(config, layer)
    if not slides or not window or (context and window >= context):
        return "full", None
    return "sliding", window


def _slides(config: Config, layer: int) -> bool:
    if not config.flag("use_sliding_window", True):
        return False
    pattern = config.value("sliding_window_pattern")
    if isinstance(pattern, str) and pattern:
        return pattern[layer % len(pattern)] == "L"
    if isinstance(pattern, int) and pattern > 0:
        return (layer + 1) % pattern != 0
    if config.has("use_sliding_window") or "use_sliding_window" in config.defaults:
        return layer >= (config.maybe("max_window_layers") or 0)
    return True


def self_attention(config: Config, recipe: Recipe, size: Sizes, layer: int) -> Mixer:
    """The family's attention at that layer."""
    kind, window = reach(config, layer)
    return attention(
        size.hidden,
        size.heads,
        size.kv_heads,
        size.head_dim,
        kind=kind,
        window=window,
        qkv_bias=decides(config, recipe.qkv_bias),
        out_bias=decides(config, recipe.out_bias),
        qk_norm=recipe.qk_norm if decides(config, recipe.qk_norm_when) else "none",
        norm_kind=recipe.norm,
        sinks=recipe.sinks,
    )


def is_sparse(config: Config, layer: int, layers: int) -> bool:
    """Whether the layer has experts, by whichever of the publishers' ways to say it the config uses."""
    types = config.items("mlp_layer_types")
    if layer < len(types):
        return types[layer] == "sparse"
    if config.has("moe_layers"):
        return layer in config.wholes("moe_layers")
    if layer in config.wholes("mlp_only_layers"):
        return False
    if layer < (config.maybe("first_k_dense_replace") or config.maybe("num_dense_layers") or 0):
        return False
    if (start := config.maybe("moe_layer_start_index")) is not None:
        end = config.maybe("moe_layer_end_index")
        step = config.maybe("moe_layer_interval") or 1
        return start <= layer <= (layers - 1 if end is None else end) and (layer + 1) % step == 0
    if every := config.maybe("decoder_sparse_step") or config.maybe("interleave_moe_layer_step"):
        return (layer + 1) % every == 0
    if period := config.maybe("expert_layer_period"):
        return layer % period == (config.maybe("expert_layer_offset") or 0)
    return layer % (config.maybe("moe_layer_freq") or 1) == 0


def routed(config: Config, recipe: Recipe, hidden: int) -> Feed:
    """The experts of one layer."""
    count = bounded(config, "num_experts", MAX_EXPERTS)
    inner = config.maybe("moe_intermediate_size") or config.positive("intermediate_size")
    shared_inner = (
        config.maybe("shared_expert_intermediate_size")
        or config.maybe("shared_intermediate_size")
        or inner * (config.maybe("n_shared_experts") or 0)
    )
    return experts(
        hidden,
        inner,
        count,
        config.positive("num_experts_per_tok"),
        shared=(config.maybe("n_shared_experts") or 1) if shared_inner else 0,
        shared_inner=shared_inner,
        shared_gate=recipe.shared_gate,
        router_bias=recipe.router_bias,
        correction_bias=decides(config, recipe.correction_bias),
        gated=recipe.gated,
    )


def feed_forward(config: Config, recipe: Recipe, size: Sizes, layer: int) -> Feed:
    """The family's feed-forward at that layer."""
    if recipe.sparse and is_sparse(config, layer, size.layers):
        return routed(config, recipe, size.hidden)
    inner = config.maybe("intermediate_size") or 4 * size.hidden
    return Feed(mlp(size.hidden, inner, gated=recipe.gated, bias=decides(config, recipe.mlp_bias)))


LayerPart = Callable[[Config, Recipe, Sizes, int], tuple[Mixer, ...]]
FeedPart = Callable[[Config, Recipe, Sizes, int], Feed]


def _one_attention(config: Config, recipe: Recipe, size: Sizes, layer: int) -> tuple[Mixer, ...]:
    return (self_attention(config, recipe, size, layer),)


def decoder(
    config: Config,
    recipe: Recipe,
    *,
    mixers: LayerPart = _one_attention,
    feed: FeedPart = feed_forward,
    size: Sizes | None = None,
    rest: tuple[Weight, ...] = (),
) -> Layout:
    """A decoder: embedding, layers, final norm, head. Raises UnknownError where the config does not say enough."""
    size = size or sizes(config)
    norms = tuple(weight for name in recipe.norms for weight in norm(name, size.hidden, recipe.norm))
    layers: list[Layer] = []
    weights = 0
    for index in range(size.layers):
        layer = Layer(
            mixers(config, recipe, size, index), _same(layers, feed(config, recipe, size, index)), norms + rest
        )
        weights += sum(1 for _ in layer.weights())
        refuse_more_than_any_model_has(config, weights)
        layers.append(layer)
    embeddings: list[Weight] = [("model.embed_tokens.weight", (size.vocabulary, size.hidden))]
    if recipe.positions is not None:
        rows = config.positive("max_position_embeddings") + recipe.positions
        embeddings.append(("model.embed_positions.weight", (rows, size.hidden)))
    after = list(norm("model.norm", size.hidden, recipe.norm)) if recipe.final_norm else []
    tied = config.flag("tie_word_embeddings")
    head: list[Weight] = [] if tied else [("lm_head.weight", (size.vocabulary, size.hidden))]
    if decides(config, recipe.head_bias):
        head.append(("lm_head.bias", (size.vocabulary,)))
    return Layout(
        size.hidden, size.vocabulary, tuple(embeddings), tuple(layers), tuple(after), head=tuple(head), tied=tied
    )


def _same(layers: list[Layer], feed: Feed) -> Feed:
    """The previous layer's feed where it is equal: DeepSeek-V3's 58 expert lists are then one."""
    return layers[-1].feed if layers and layers[-1].feed == feed else feed
