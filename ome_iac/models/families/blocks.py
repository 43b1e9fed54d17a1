"""What decoder and encoder layers are made of: each block names its weights' shapes and its attention geometry.

Shapes are (rows, columns) as torch prints them, (output, input). The names are Hugging Face's canonical ones; a family
whose own names differ (fused QKV, `h.0.attn.c_attn`) has the same weights under these.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

Shape = tuple[int, ...]
Weight = tuple[str, Shape]

AttentionKind = Literal["full", "sliding", "chunked", "mla", "linear", "mamba", "cross", "encoder"]


def linear(name: str, rows: int, columns: int, bias: bool = False) -> Iterator[Weight]:
    """A matrix and, perhaps, its bias."""
    yield f"{name}.weight", (rows, columns)
    if bias:
        yield f"{name}.bias", (rows,)


def norm(name: str, size: int, kind: str) -> Iterator[Weight]:
    """A norm: `rms` and `layer-nobias` have a weight, `layer` a bias as well, `none` nothing."""
    if kind != "none":
        yield f"{name}.weight", (size,)
    if kind == "layer":
        yield f"{name}.bias", (size,)


@dataclass(frozen=True)
class Geometry:
    """What an `Attention` fact says of one layer; see `ome_iac.models.metadata.Attention` for the units."""

    kind: AttentionKind
    heads: int
    kv_heads: int
    head_dim: int
    value_head_dim: int | None = None
    window: int | None = None
    latent_dim: int | None = None
    rope_head_dim: int | None = None
    state_values: int = 0
    """Values of the state in the dtype of computation, per sequence and layer."""
    state_float32: int = 0
    """Values of the state that are kept in float32 whatever that dtype is."""


@dataclass(frozen=True)
class Mixer:
    """What mixes tokens in a layer; the weights' names are relative to the layer."""

    geometry: Geometry | None
    weights: tuple[Weight, ...] = field(repr=False)


@dataclass(frozen=True)
class Feed:
    """What follows the mixer: a dense MLP, experts (then `experts` is not 0), or nothing."""

    weights: tuple[Weight, ...] = field(repr=False, default=())
    experts: int = 0
    active: int = 0
    shared: int = 0


@dataclass(frozen=True)
class Layer:
    """One layer: what mixes (self-attention, perhaps cross-attention too), a feed-forward, and the rest (norms ...)."""

    mixers: tuple[Mixer, ...]
    feed: Feed
    rest: tuple[Weight, ...] = ()

    def weights(self) -> Iterator[Weight]:
        """Names relative to the layer, and shapes."""
        for mixer in self.mixers:
            yield from mixer.weights
        yield from self.feed.weights
        yield from self.rest


@dataclass(frozen=True)
class Layout:
    """A whole model as its config describes it.

    `layers` lie under `prefix`; all other weights have full names, and the first embedding is the input table. `towers`
    are vision and audio encoders and what joins them to the language model, `predictors` the multi-token-prediction
    layers. `head` is empty where it is `tied` to the embedding, and in a model that has none.
    """

    hidden: int
    vocabulary: int | None
    embeddings: tuple[Weight, ...]
    layers: tuple[Layer, ...]
    after: tuple[Weight, ...]
    head: tuple[Weight, ...] = ()
    prefix: str = "model.layers"
    tied: bool = False
    towers: tuple[Weight, ...] = field(repr=False, default=())
    predictors: tuple[Weight, ...] = field(repr=False, default=())

    def weights(self) -> Iterator[Weight]:
        """Every weight's full name and shape."""
        yield from self.embeddings
        for index, layer in enumerate(self.layers):
            for name, shape in layer.weights():
                yield f"{self.prefix}.{index}.{name}", shape
        yield from self.after
        yield from self.head
        yield from self.towers
        yield from self.predictors


def attention(
    hidden: int,
    heads: int,
    kv_heads: int,
    head_dim: int,
    *,
    kind: AttentionKind = "full",
    value_head_dim: int | None = None,
    window: int | None = None,
    qkv_bias: bool = False,
    out_bias: bool = False,
    qk_norm: str = "none",
    norm_kind: str = "rms",
    gate: str = "none",
    sinks: bool = False,
    shared_kv: bool = False,
    keys_are_values: bool = False,
    name: str = "self_attn",
    extra: tuple[Weight, ...] = (),
) -> Mixer:
    """Multi-head or grouped-query attention.

    `qk_norm`: `none`, `head` (one head's width, for all), `heads` (each head its own), `full` (queries and keys
    whole), `query-head` (queries only). `gate`: `full` doubles the query projection (Qwen3-Next). `shared_kv`: the
    layer reads another's KV cache.
    """
    value_dim = value_head_dim or head_dim
    gate_rows = heads * value_dim if gate == "full" else 0
    weights = [
        *linear(f"{name}.q_proj", heads * head_dim + gate_rows, hidden, qkv_bias),
        *linear(f"{name}.k_proj", kv_heads * head_dim, hidden, qkv_bias),
    ]
    if not keys_are_values:
        weights += linear(f"{name}.v_proj", kv_heads * value_dim, hidden, qkv_bias)
    weights += linear(f"{name}.o_proj", hidden, heads * value_dim, out_bias)
    if qk_norm == "head":
        weights += [*norm(f"{name}.q_norm", head_dim, norm_kind), *norm(f"{name}.k_norm", head_dim, norm_kind)]
    elif qk_norm == "heads":
        weights += [(f"{name}.q_norm.weight", (heads, head_dim)), (f"{name}.k_norm.weight", (kv_heads, head_dim))]
    elif qk_norm == "full":
        weights += norm(f"{name}.q_norm", heads * head_dim, norm_kind)
        weights += norm(f"{name}.k_norm", kv_heads * head_dim, norm_kind)
    if sinks:
        weights.append((f"{name}.sinks", (heads,)))
    weights += extra
    geometry = Geometry(
        kind=kind,
        heads=heads,
        kv_heads=0 if shared_kv else kv_heads,
        head_dim=head_dim,
        value_head_dim=value_dim if value_dim != head_dim else None,
        window=window,
    )
    return Mixer(geometry, tuple(weights))


def mlp(
    hidden: int, inner: int, *, gated: bool = True, bias: bool = False, name: str = "mlp", out_bias: bool | None = None
) -> tuple[Weight, ...]:
    """Gate, up and down (gated), or up and down."""
    down_bias = bias if out_bias is None else out_bias
    gate = tuple(linear(f"{name}.gate_proj", inner, hidden, bias)) if gated else ()
    return (
        *gate,
        *linear(f"{name}.up_proj", inner, hidden, bias),
        *linear(f"{name}.down_proj", hidden, inner, down_bias),
    )


def experts(
    hidden: int,
    inner: int,
    count: int,
    active: int,
    *,
    shared: int = 0,
    shared_inner: int = 0,
    shared_gate: bool = False,
    router_bias: bool = False,
    correction_bias: bool = False,
    gated: bool = True,
    extra: tuple[Weight, ...] = (),
    name: str = "mlp",
) -> Feed:
    """Routed experts, their router, and the shared expert of width `shared_inner`."""
    weights: list[Weight] = [*linear(f"{name}.gate", count, hidden, router_bias)]
    if correction_bias:
        weights.append((f"{name}.gate.e_score_correction_bias", (count,)))
    for index in range(count):
        weights += mlp(hidden, inner, gated=gated, name=f"{name}.experts.{index}")
    if shared_inner:
        weights += mlp(hidden, shared_inner, gated=gated, name=f"{name}.shared_expert")
    if shared_gate:
        weights += linear(f"{name}.shared_expert_gate", 1, hidden)
    weights += extra
    return Feed(tuple(weights), experts=count, active=min(active, count), shared=shared)
