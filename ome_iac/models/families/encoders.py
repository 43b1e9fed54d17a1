"""Encoders: BERT and its kin. They keep no KV cache.

Which head there is depends on the architecture: `...Model` a pooler, `...ForSequenceClassification` a classifier.
"""

from __future__ import annotations

from collections.abc import Callable

from ome_iac.models.families.blocks import (
    Feed,
    Layer,
    Layout,
    Mixer,
    Weight,
    attention,
    linear,
    mlp,
    norm,
)
from ome_iac.models.families.config import Config
from ome_iac.models.families.decoders import Sizes, sizes


def architecture_of(config: Config) -> str:
    """architectures[0], or empty."""
    names = config.items("architectures")
    return str(names[0]) if names else ""


def _labels(config: Config) -> int:
    labels = config.value("id2label")
    return len(labels) if isinstance(labels, dict) and labels else config.maybe("num_labels") or 2


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
        size.hidden,
        size.vocabulary,
        tuple(embeddings),
        (layer,) * size.layers,
        after,
        head=head,
        prefix="encoder.layer",
    )


def _bert_head(config: Config, size: Sizes, width: int, *, pooler: bool, dense_classifier: bool) -> tuple[Weight, ...]:
    architecture, hidden = architecture_of(config), size.hidden
    pool = tuple(linear("pooler.dense", hidden, hidden, True)) if pooler else ()
    if "ForMaskedLM" in architecture or "LMHead" in architecture or architecture.endswith("ForPreTraining"):
        head = (*linear("lm_head.dense", width, hidden, True), *norm("lm_head.layer_norm", width, "layer"))
        return (*head, ("lm_head.bias", (size.vocabulary,)))
    if "ForSequenceClassification" in architecture:
        labels = _labels(config)
        if dense_classifier:
            return (
                *linear("classifier.dense", hidden, hidden, True),
                *linear("classifier.out_proj", labels, hidden, True),
            )
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
        embeddings.append(
            ("embeddings.position_embeddings.weight", (config.positive("max_position_embeddings"), width))
        )
    if types := config.whole("type_vocab_size", 0):
        embeddings.append(("embeddings.token_type_embeddings.weight", (types, width)))
    embeddings += norm("embeddings.LayerNorm", size.hidden, "layer")
    after: list[Weight] = [("encoder.rel_embeddings.weight", (2 * reach, size.hidden))]
    if "layer_norm" in config.text("norm_rel_ebd", "none"):
        after += norm("encoder.LayerNorm", size.hidden, "layer")
    if kernel := config.maybe("conv_kernel_size"):
        after += [
            ("encoder.conv.conv.weight", (size.hidden, size.hidden, kernel)),
            ("encoder.conv.conv.bias", (size.hidden,)),
        ]
        after += norm("encoder.conv.LayerNorm", size.hidden, "layer")
    extra: list[Weight] = []
    if not config.flag("share_att_key"):
        kinds = str(config.value("pos_att_type") or "")
        for kind, name in (("c2p", "pos_key_proj"), ("p2c", "pos_query_proj")):
            if kind in kinds:
                extra += linear(f"self_attn.{name}", size.heads * size.head_dim, size.hidden, True)
    layer = _encoding(size, config.positive("intermediate_size"), extra=tuple(extra))
    pooled = "ForSequenceClassification" in architecture_of(config)
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
    architecture = architecture_of(config)
    head: list[Weight] = []
    if "For" in architecture:
        head += [
            *linear("head.dense", size.hidden, size.hidden, config.flag("classifier_bias")),
            *norm("head.norm", size.hidden, kind),
        ]
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
    embeddings: list[Weight] = [("embeddings.word_embeddings.weight", (size.vocabulary, size.hidden))]
    if types:
        embeddings.append(("embeddings.token_type_embeddings.weight", (types, size.hidden)))
    embeddings += norm("embeddings.LayerNorm", size.hidden, "layer")
    layer = _encoding(size, config.positive("intermediate_size"), gated=True, mlp_bias=False, out_mlp_bias=True)
    head: tuple[Weight, ...] = ()
    if "Classification" in architecture_of(config):
        head = (
            *linear("pooler.dense", size.hidden, size.hidden, True),
            *linear("classifier", _labels(config), size.hidden, True),
        )
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
}
