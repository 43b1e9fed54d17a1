"""Encoder-decoders: T5, BART, Whisper. Their layers are the decoder's, each with self- and cross-attention."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ome_iac.models.families.blocks import (
    AttentionKind,
    Feed,
    Layer,
    Layout,
    Mixer,
    Weight,
    attention,
    mlp,
    norm,
)
from ome_iac.models.families.config import MAX_LAYERS, Config
from ome_iac.models.families.decoders import bounded
from ome_iac.models.families.encoders import architecture_of


def _named(prefix: str, weights: Iterable[Weight]) -> tuple[Weight, ...]:
    return tuple((f"{prefix}.{name}", shape) for name, shape in weights)


def t5(config: Config) -> Layout:
    """T5, mT5, UMT5, Flan-T5: relative positions, a gated MLP where `feed_forward_proj` says, RMS norms."""
    config.need(
        "hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size", "head_dim", "intermediate_size"
    )
    hidden, heads = config.positive("hidden_size"), config.positive("num_attention_heads")
    head_dim, inner = config.positive("head_dim"), config.positive("intermediate_size")
    vocabulary = config.positive("vocab_size")
    gated = config.text("feed_forward_proj", "relu").startswith("gated")
    deep = bounded(config, "num_hidden_layers", MAX_LAYERS)
    decoding = min(config.maybe("num_decoder_layers") or deep, MAX_LAYERS)
    everywhere = config.model_type == "umt5"  # each layer its own relative bias
    bias = (("relative_attention_bias.weight", (config.positive("relative_attention_num_buckets", 32), heads)),)
    feed = Feed(mlp(hidden, inner, gated=gated))
    encoding = attention(hidden, heads, heads, head_dim, kind="encoder")
    own = attention(hidden, heads, heads, head_dim)
    cross = attention(hidden, heads, heads, head_dim, kind="cross", name="cross_attn")
    two = (*norm("norm1", hidden, "rms"), *norm("norm2", hidden, "rms"))
    three = (*two, *norm("norm3", hidden, "rms"))

    def biased(prefix: str, layer: int) -> tuple[Weight, ...]:
        return _named(prefix, bias) if layer == 0 or everywhere else ()

    before: list[Weight] = [("shared.weight", (vocabulary, hidden))]
    for index in range(deep):
        layer = Layer((encoding,), feed, (*two, *biased("self_attn", index)))
        before += _named(f"encoder.layers.{index}", layer.weights())
    before += norm("encoder.final_layer_norm", hidden, "rms")
    if "EncoderModel" in architecture_of(config):
        layers = tuple(Layer((encoding,), feed, (*two, *biased("self_attn", index))) for index in range(deep))
        after = tuple(norm("encoder.final_layer_norm", hidden, "rms"))
        return Layout(hidden, vocabulary, (before[0],), layers, after, prefix="encoder.layers", tied=True)
    layers = tuple(Layer((own, cross), feed, (*three, *biased("self_attn", index))) for index in range(decoding))
    tied = config.flag("tie_word_embeddings", True)
    return Layout(
        hidden,
        vocabulary,
        tuple(before),
        layers,
        tuple(norm("decoder.final_layer_norm", hidden, "rms")),
        head=() if tied else (("lm_head.weight", (vocabulary, hidden)),),
        prefix="decoder.layers",
        tied=tied,
    )


def bart(config: Config) -> Layout:
    """BART and mBART."""
    return _translating(config, offset=2, audio=False)


def whisper(config: Config) -> Layout:
    """Whisper: two convolutions over mel bins before the encoder; keys have no bias."""
    return _translating(config, offset=0, audio=True)


def _translating(config: Config, *, offset: int, audio: bool) -> Layout:
    config.need("d_model", "encoder_layers", "decoder_layers", "encoder_attention_heads", "decoder_attention_heads")
    config.need("encoder_ffn_dim", "decoder_ffn_dim", "vocab_size")
    hidden, vocabulary = config.positive("d_model"), config.positive("vocab_size")
    norms = tuple(weight for index in range(3) for weight in norm(f"norm{index + 1}", hidden, "layer"))

    def stack(side: str) -> tuple[int, int, int]:
        heads = config.positive(f"{side}_attention_heads")
        return bounded(config, f"{side}_layers", MAX_LAYERS), heads, config.positive(f"{side}_ffn_dim")

    def mixer(heads: int, name: str, kind: AttentionKind) -> Mixer:
        head_dim = hidden // heads or 1
        shape = attention(hidden, heads, heads, head_dim, kind=kind, qkv_bias=True, out_bias=True, name=name)
        if audio:
            shape = Mixer(
                shape.geometry, tuple(weight for weight in shape.weights if not weight[0].endswith("k_proj.bias"))
            )
        return shape

    deep, heads, inner = stack("encoder")
    encoding = Layer(
        (mixer(heads, "self_attn", "encoder"),), Feed(mlp(hidden, inner, gated=False, bias=True)), norms[:4]
    )
    before: list[Weight] = [("decoder.embed_tokens.weight", (vocabulary, hidden))]
    if audio:
        mels = config.positive("num_mel_bins", 80)
        before += [("encoder.conv1.weight", (hidden, mels, 3)), ("encoder.conv1.bias", (hidden,))]
        before += [("encoder.conv2.weight", (hidden, hidden, 3)), ("encoder.conv2.bias", (hidden,))]
        rows = config.positive("max_source_positions", 1500), config.positive("max_target_positions", 448)
    else:
        rows = (config.positive("max_position_embeddings") + offset,) * 2
        before += [
            *norm("encoder.layernorm_embedding", hidden, "layer"),
            *norm("decoder.layernorm_embedding", hidden, "layer"),
        ]
    before += [
        ("encoder.embed_positions.weight", (rows[0], hidden)),
        ("decoder.embed_positions.weight", (rows[1], hidden)),
    ]
    for index in range(deep):
        before += _named(f"encoder.layers.{index}", encoding.weights())
    deep, heads, inner = stack("decoder")
    mixers = (mixer(heads, "self_attn", "full"), mixer(heads, "encoder_attn", "cross"))
    decoding = Layer(mixers, Feed(mlp(hidden, inner, gated=False, bias=True)), norms)
    final = audio or config.model_type == "mbart"
    if final:
        before += norm("encoder.layer_norm", hidden, "layer")
    after = tuple(norm("decoder.layer_norm", hidden, "layer")) if final else ()
    return Layout(hidden, vocabulary, tuple(before), (decoding,) * deep, after, prefix="decoder.layers", tied=True)


LAYOUTS: dict[str, Callable[[Config], Layout]] = {
    "t5": t5,
    "mt5": t5,
    "umt5": t5,
    "bart": bart,
    "mbart": bart,
    "whisper": whisper,
}
