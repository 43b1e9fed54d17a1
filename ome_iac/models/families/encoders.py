"""Encoders (BERT and its kin) and encoder-decoders (T5, BART, Whisper).

An encoder keeps no KV cache; the layers of an encoder-decoder are its decoder's, each with self- and cross-attention.
Which head there is depends on the architecture: `...Model` a pooler, `...ForSequenceClassification` a classifier.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ome_iac.models.families.blocks import AttentionKind, Feed, Layer, Layout, Mixer, Weight, attention, linear, mlp, norm
from ome_iac.models.families.config import Config
from ome_iac.models.families.decoders import MAX_LAYERS, Sizes, bounded, sizes


def _architecture(config: Config) -> str:
    names = config.items("architectures")
    return str(names[0]) if names else ""


def _labels(config: Config) -> int:
    labels = config.value("id2label")
    return len(labels) if isinstance(labels, dict) and labels else config.maybe("num_labels") or 2


def _named(prefix: str, weights: Iterable[Weight]) -> tuple[Weight, ...]:
    return tuple((f"{prefix}.{name}", shape) for name, shape in weights)


def _encoding(
    size: Sizes,
    inner: int,
    *,
    bias: bool = True,
    gated: bool = False,
    mlp_bias: bool | None = None,
    out_mlp_bias: bool | None = None,
    norms: str = "layer",
    norm_count: int = 2,
    extra: tuple[Weight, ...] = (),
) -> Layer:
    """A bidirectional layer."""
    mixer = attention(
        size.hidden, size.heads, size.kv_heads, size.head_dim, kind="encoder", qkv_bias=bias, out_bias=bias, extra=extra
    )
    feed = Feed(
        mlp(size.hidden, inner, gated=gated, bias=bias if mlp_bias is None else mlp_bias, out_bias=out_mlp_bias)
    )
    rest = [weight for index in range(norm_count) for weight in norm(f"norm{index + 1}", size.hidden, norms)]
    return Layer((mixer,), feed, tuple(rest))


def _bert_like(
    config: Config,
    *,
    token_types: bool = True,
    pooler: bool = True,
    dense_classifier: bool = False,
    embedding: int | None = None,
    extra: Callable[[Sizes], tuple[Weight, ...]] | None = None,
) -> Layout:
    """Learned positions, post-norm layers with biases, a GELU MLP."""
    config.need("intermediate_size", "max_position_embeddings")
    size = sizes(config)
    width = embedding or size.hidden
    embeddings: list[Weight] = [
        ("embeddings.word_embeddings.weight", (size.vocabulary, width)),
        ("embeddings.position_embeddings.weight", (config.positive("max_position_embeddings"), width)),
    ]
    types = config.whole("type_vocab_size", 0) if token_types else 0
    if types:
        embeddings.append(("embeddings.token_type_embeddings.weight", (types, width)))
    embeddings += norm("embeddings.LayerNorm", width, "layer")
    if width != size.hidden:
        embeddings += linear("embeddings_project", size.hidden, width, True)
    after = tuple(extra(size)) if extra else ()
    layer = _encoding(size, config.positive("intermediate_size"))
    head = _bert_head(config, size, width, pooler=pooler, dense_classifier=dense_classifier)
    return Layout(
        size.hidden, size.vocabulary, tuple(embeddings), (layer,) * size.layers, after, head=head, prefix="encoder.layer"
    )


def _bert_head(
    config: Config, size: Sizes, width: int, *, pooler: bool, dense_classifier: bool
) -> tuple[Weight, ...]:
    architecture, hidden = _architecture(config), size.hidden
    pool = tuple(linear("pooler.dense", hidden, hidden, True)) if pooler else ()
    if "ForMaskedLM" in architecture or "LMHead" in architecture or architecture.endswith("ForPreTraining"):
        head = (*linear("lm_head.dense", width, hidden, True), *norm("lm_head.layer_norm", width, "layer"))
        return (*head, ("lm_head.bias", (size.vocabulary,)))
    if "ForSequenceClassification" in architecture:
        labels = _labels(config)
        if dense_classifier:
            return (*linear("classifier.dense", hidden, hidden, True), *linear("classifier.out_proj", labels, hidden, True))
        return (*pool, *linear("classifier", labels, hidden, True))
    if "ForTokenClassification" in architecture:
        return tuple(linear("classifier", _labels(config), hidden, True))
    if "ForQuestionAnswering" in architecture:
        return tuple(linear("qa_outputs", 2, hidden, True))
    return pool


def bert(config: Config) -> Layout:
    """BERT, BGE, E5, MiniLM, GTE v1."""
    return _bert_like(config)


def roberta(config: Config) -> Layout:
    """RoBERTa, XLM-RoBERTa, CamemBERT: two of the positions are padding's."""
    return _bert_like(config, dense_classifier=True)


def distilbert(config: Config) -> Layout:
    """DistilBERT: no token types, no pooler."""
    return _bert_like(config, token_types=False, pooler=False, dense_classifier=True)


def mpnet(config: Config) -> Layout:
    """MPNet: one relative attention bias for all layers."""

    def buckets(size: Sizes) -> tuple[Weight, ...]:
        rows = config.positive("relative_attention_num_buckets", 32)
        return (("encoder.relative_attention_bias.weight", (rows, size.heads)),)

    return _bert_like(config, token_types=False, dense_classifier=True, extra=buckets)


def electra(config: Config) -> Layout:
    """ELECTRA: an embedding of its own width, no pooler."""
    return _bert_like(config, pooler=False, dense_classifier=True, embedding=config.maybe("embedding_size"))


def deberta_v2(config: Config) -> Layout:
    """DeBERTa v2 and v3: relative positions, perhaps a convolution beside the first layer."""
    size = sizes(config)
    width = config.maybe("embedding_size") or size.hidden
    reach = config.maybe("position_buckets") or config.maybe("max_relative_positions") or 0
    if reach <= 0:
        reach = config.positive("max_position_embeddings")
    embeddings: list[Weight] = [("embeddings.word_embeddings.weight", (size.vocabulary, width))]
    if config.flag("position_biased_input", True):
        embeddings.append(("embeddings.position_embeddings.weight", (config.positive("max_position_embeddings"), width)))
    if types := config.whole("type_vocab_size", 0):
        embeddings.append(("embeddings.token_type_embeddings.weight", (types, width)))
    embeddings += norm("embeddings.LayerNorm", size.hidden, "layer")
    after: list[Weight] = [("encoder.rel_embeddings.weight", (2 * reach, size.hidden))]
    if "layer_norm" in config.text("norm_rel_ebd", "none"):
        after += norm("encoder.LayerNorm", size.hidden, "layer")
    if kernel := config.maybe("conv_kernel_size"):
        after += [("encoder.conv.conv.weight", (size.hidden, size.hidden, kernel)), ("encoder.conv.conv.bias", (size.hidden,))]
        after += norm("encoder.conv.LayerNorm", size.hidden, "layer")
    extra: list[Weight] = []
    if not config.flag("share_att_key"):
        kinds = str(config.value("pos_att_type") or "")
        for kind, name in (("c2p", "pos_key_proj"), ("p2c", "pos_query_proj")):
            if kind in kinds:
                extra += linear(f"self_attn.{name}", size.heads * size.head_dim, size.hidden, True)
    layer = _encoding(size, config.positive("intermediate_size"), extra=tuple(extra))
    pooled = "ForSequenceClassification" in _architecture(config)
    head = _bert_head(config, size, width, pooler=pooled, dense_classifier=False)
    return Layout(
        size.hidden,
        size.vocabulary,
        tuple(embeddings),
        (layer,) * size.layers,
        tuple(after),
        head=head,
        prefix="encoder.layer",
    )


def albert(config: Config) -> Layout:
    """ALBERT: the layers share `num_hidden_groups` sets of weights, held here by the first layers."""
    size = sizes(config)
    width, groups = config.positive("embedding_size"), config.positive("num_hidden_groups", 1)
    types = config.whole("type_vocab_size", 2)
    layer = _encoding(size, config.positive("intermediate_size"))
    again = Layer(tuple(Mixer(mixer.geometry, ()) for mixer in layer.mixers), Feed())
    return Layout(
        size.hidden,
        size.vocabulary,
        (
            ("embeddings.word_embeddings.weight", (size.vocabulary, width)),
            ("embeddings.position_embeddings.weight", (config.positive("max_position_embeddings"), width)),
            ("embeddings.token_type_embeddings.weight", (types, width)),
            *norm("embeddings.LayerNorm", width, "layer"),
            *linear("embeddings_project", size.hidden, width, True),
        ),
        tuple(layer if index < groups else again for index in range(size.layers)),
        (),
        head=_bert_head(config, size, width, pooler=True, dense_classifier=False),
        prefix="encoder.layer",
    )


def modernbert(config: Config) -> Layout:
    """ModernBERT: rotary positions, gated MLP, norms before, the first without one."""
    size = sizes(config)
    kind = "layer" if config.flag("norm_bias") else "layer-nobias"
    bias, mlp_bias = config.flag("attention_bias"), config.flag("mlp_bias")
    inner = config.positive("intermediate_size")
    first = _encoding(size, inner, bias=bias, gated=True, mlp_bias=mlp_bias, norms=kind, norm_count=1)
    other = _encoding(size, inner, bias=bias, gated=True, mlp_bias=mlp_bias, norms=kind)
    embeddings = (
        ("embeddings.tok_embeddings.weight", (size.vocabulary, size.hidden)),
        *norm("embeddings.norm", size.hidden, kind),
    )
    architecture = _architecture(config)
    head: list[Weight] = []
    if "For" in architecture:
        head += [*linear("head.dense", size.hidden, size.hidden, config.flag("classifier_bias")), *norm("head.norm", size.hidden, kind)]
    if "ForMaskedLM" in architecture and config.flag("decoder_bias", True):
        head.append(("decoder.bias", (size.vocabulary,)))
    if "Classification" in architecture:
        head += linear("classifier", _labels(config), size.hidden, True)
    layers = (first, *(other,) * (size.layers - 1))
    after = tuple(norm("final_norm", size.hidden, kind))
    return Layout(size.hidden, size.vocabulary, embeddings, layers, after, head=tuple(head), prefix="layers")


def nomic_bert(config: Config) -> Layout:
    """Nomic Embed: rotary positions, gated MLP, no biases."""
    size = sizes(config)
    inner = config.maybe("intermediate_size") or 4 * size.hidden
    embeddings = (
        ("embeddings.word_embeddings.weight", (size.vocabulary, size.hidden)),
        ("embeddings.token_type_embeddings.weight", (config.positive("type_vocab_size", 2), size.hidden)),
        *norm("emb_ln", size.hidden, "layer"),
    )
    layer = _encoding(size, inner, bias=config.flag("qkv_proj_bias"), gated=True, mlp_bias=config.flag("mlp_fc1_bias"))
    return Layout(size.hidden, size.vocabulary, embeddings, (layer,) * size.layers, (), prefix="encoder.layers")


def gte(config: Config) -> Layout:
    """GTE v1.5 and multilingual (`NewModel`): rotary positions, gated MLP with a bias on the way down."""
    size = sizes(config)
    types = config.whole("type_vocab_size", 0)
    embeddings = [("embeddings.word_embeddings.weight", (size.vocabulary, size.hidden))]
    if types:
        embeddings.append(("embeddings.token_type_embeddings.weight", (types, size.hidden)))
    embeddings += norm("embeddings.LayerNorm", size.hidden, "layer")
    layer = _encoding(size, config.positive("intermediate_size"), gated=True, mlp_bias=False, out_mlp_bias=True)
    head: tuple[Weight, ...] = ()
    if "Classification" in _architecture(config):
        head = (*linear("pooler.dense", size.hidden, size.hidden, True), *linear("classifier", _labels(config), size.hidden, True))
    return Layout(
        size.hidden, size.vocabulary, tuple(embeddings), (layer,) * size.layers, (), head=head, prefix="encoder.layer"
    )


def clip_text(config: Config) -> Layout:
    """CLIP's and SigLIP's text encoder."""
    size = sizes(config)
    siglip = config.model_type == "siglip_text_model"
    embeddings = (
        ("text_model.embeddings.token_embedding.weight", (size.vocabulary, size.hidden)),
        ("text_model.embeddings.position_embedding.weight", (config.positive("max_position_embeddings"), size.hidden)),
    )
    after = list(norm("text_model.final_layer_norm", size.hidden, "layer"))
    if siglip:
        after += linear("text_model.head", config.maybe("projection_size") or size.hidden, size.hidden, True)
    layer = _encoding(size, config.positive("intermediate_size"))
    return Layout(
        size.hidden,
        size.vocabulary,
        embeddings,
        (layer,) * size.layers,
        tuple(after),
        prefix="text_model.encoder.layers",
    )


def t5(config: Config) -> Layout:
    """T5, mT5, UMT5, Flan-T5: relative positions, a gated MLP where `feed_forward_proj` says, RMS norms."""
    config.need("hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size", "head_dim", "intermediate_size")
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
    if "EncoderModel" in _architecture(config):
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
            shape = Mixer(shape.geometry, tuple(weight for weight in shape.weights if not weight[0].endswith("k_proj.bias")))
        return shape

    deep, heads, inner = stack("encoder")
    encoding = Layer((mixer(heads, "self_attn", "encoder"),), Feed(mlp(hidden, inner, gated=False, bias=True)), norms[:4])
    before: list[Weight] = []
    if audio:
        mels = config.positive("num_mel_bins", 80)
        before += [("encoder.conv1.weight", (hidden, mels, 3)), ("encoder.conv1.bias", (hidden,))]
        before += [("encoder.conv2.weight", (hidden, hidden, 3)), ("encoder.conv2.bias", (hidden,))]
        rows = config.positive("max_source_positions", 1500), config.positive("max_target_positions", 448)
    else:
        rows = (config.positive("max_position_embeddings") + offset,) * 2
        before += [*norm("encoder.layernorm_embedding", hidden, "layer"), *norm("decoder.layernorm_embedding", hidden, "layer")]
    before += [("encoder.embed_positions.weight", (rows[0], hidden)), ("decoder.embed_positions.weight", (rows[1], hidden))]
    before.append(("decoder.embed_tokens.weight", (vocabulary, hidden)))
    for index in range(deep):
        before += _named(f"encoder.layers.{index}", encoding.weights())
    deep, heads, inner = stack("decoder")
    mixers = (mixer(heads, "self_attn", "full"), mixer(heads, "encoder_attn", "cross"))
    decoding = Layer(mixers, Feed(mlp(hidden, inner, gated=False, bias=True)), norms)
    final = audio or config.model_type == "mbart"
    if final:
        before += norm("encoder.layer_norm", hidden, "layer")
    after = tuple(norm("decoder.layer_norm", hidden, "layer")) if final else ()
    return Layout(
        hidden, vocabulary, tuple(before), (decoding,) * deep, after, prefix="decoder.layers", tied=True
    )


LAYOUTS: dict[str, Callable[[Config], Layout]] = {
    "bert": bert,
    "roberta": roberta,
    "xlm-roberta": roberta,
    "xlm-roberta-xl": roberta,
    "camembert": roberta,
    "distilbert": distilbert,
    "mpnet": mpnet,
    "electra": electra,
    "deberta-v2": deberta_v2,
    "albert": albert,
    "modernbert": modernbert,
    "nomic_bert": nomic_bert,
    "gte": gte,
    "new": gte,
    "clip_text_model": clip_text,
    "siglip_text_model": clip_text,
    "t5": t5,
    "mt5": t5,
    "umt5": t5,
    "bart": bart,
    "mbart": bart,
    "whisper": whisper,
}
