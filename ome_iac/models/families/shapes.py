"""What the headers' shapes tell without knowing the family: width, vocabulary, layers, and each layer's attention."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass

from ome_iac.models.families.blocks import Geometry, Layout
from ome_iac.models.families.config import MAX_LAYERS, Config
from ome_iac.models.families.decoders import reach
from ome_iac.models.families.roles import place
from ome_iac.models.metadata import Role
from ome_iac.models.tensors import TensorInfo, TensorTable

_TABLES = re.compile(
    r"(?:^|\.)(?:embed_tokens|wte|word_embeddings?|tok_embeddings|token_embd|embed_in|shared|embeddings|in_out_embed)\.weight$"
)
_HEADS = re.compile(r"(?:^|\.)(?:lm_head|embed_out|output_layer|output|head)\.weight$")
_PARTS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("latent", re.compile(r"\.(?:kv_a_proj_with_mqa|attn_kv_a_mqa)$")),
    ("q", re.compile(r"\.(?:q_proj|wq|query|attn_q|q_lin|q)$")),
    ("k", re.compile(r"\.(?:k_proj|wk|key|attn_k|k_lin|k)$")),
    ("v", re.compile(r"\.(?:v_proj|wv|value|attn_v|v_lin|v)$")),
    ("qkv", re.compile(r"\.(?:qkv_proj|Wqkv|wqkv|W_pack|query_key_value|c_attn|attn_qkv|qkv)$")),
    ("q_norm", re.compile(r"\.(?:q_norm|q_layernorm|query_layernorm|attn_q_norm)$")),
    ("up", re.compile(r"\.(?:up_proj|w3|fc1|c_fc|fc_in|dense_h_to_4h|ffn_up|gate_up_proj|intermediate\.dense)$")),
)


_PLAIN = frozenset({"full", "sliding", "chunked"})


@dataclass(frozen=True)
class Shapes:
    """Sizes the headers tell; None where they do not. `has_head`: an output matrix is stored."""

    hidden: int | None
    vocabulary: int | None
    intermediate: int | None
    has_head: bool
    parts: dict[int, dict[str, int]]
    """Layer to the rows of what its attention is made of: q, k, v, qkv, q_norm, latent; `state` where it keeps one."""


def read_shapes(table: TensorTable, predictors: frozenset[int]) -> Shapes:
    """Look at every tensor once."""
    hidden = vocabulary = None
    inner: Counter[int] = Counter()
    has_head = False
    parts: dict[int, dict[str, int]] = defaultdict(dict)
    encoders = any(".decoder." in f".{name}" for name in table.names)
    for tensor, _ in table.groups():
        if ".experts." in tensor.name:  # nine tenths of a mixture's tensors, and none says anything here
            continue
        spot, numbers = place(tensor.name)
        if (
            spot.role is Role.EMBEDDING
            and len(tensor.shape) == 2
            and vocabulary is None
            and _TABLES.search(tensor.name)
        ):
            vocabulary, hidden = tensor.shape
        elif spot.role is Role.HEAD and _HEADS.search(tensor.name):
            has_head = True
        if spot.layer_at is None or (encoders and spot.stack == "encoder"):
            continue
        layer = numbers[spot.layer_at]
        if layer in predictors or layer >= MAX_LAYERS:
            continue
        if spot.role is Role.STATE:
            parts[layer]["state"] = 1
        base, rows = _module(tensor, table)
        if rows is None:
            continue
        for part, pattern in _PARTS:
            if pattern.search(base) and "cross" not in base and "encoder_attn" not in base:
                if part == "up":
                    inner[rows // 2 if base.endswith("gate_up_proj") else rows] += spot.role is Role.MLP
                else:
                    parts[layer][part] = rows
    width = inner.most_common(1)[0][0] if +inner else None
    return Shapes(hidden, vocabulary, width, has_head, dict(parts))


def _module(tensor: TensorInfo, table: TensorTable) -> tuple[str, int | None]:
    """The module a weight belongs to, and how many outputs it has; None where its packing is flat."""
    base, _, last = tensor.name.rpartition(".")
    if last == "qweight":
        scales = table.get(base + ".scales")
        return base, scales.shape[1] if scales is not None and len(scales.shape) == 2 else None
    if last in ("weight", "weight_packed") and tensor.shape and tensor.name + ".absmax" not in table:
        return base, tensor.shape[0]
    return base, None


def geometries(shapes: Shapes, config: Config, layers: int, encoder: bool) -> tuple[list[Geometry | None], list[str]]:
    """Each layer's attention from shapes and whatever the config says of heads, and what could not be told."""
    heads = config.maybe("num_attention_heads")
    stated = config.maybe("head_dim")
    found: list[Geometry | None] = []
    missing: set[str] = set()
    for layer in range(layers):
        parts = shapes.parts.get(layer, {})
        if "latent" in parts and (rank := config.maybe("kv_lora_rank")) and heads:
            value = config.maybe("v_head_dim")
            head = (config.maybe("qk_nope_head_dim") or 0) + (config.maybe("qk_rope_head_dim") or 0)
            found.append(
                Geometry("mla", heads, heads, head, value, latent_dim=rank, rope_head_dim=parts["latent"] - rank)
            )
            continue
        if "q" not in parts and "qkv" not in parts:
            found.append(Geometry("linear", 0, 0, 0) if "state" in parts else None)
            missing.add("attention.stateBytes: the family's state is not known" if "state" in parts else "")
            continue
        head_dim = parts.get("q_norm") if _divides(parts.get("q_norm"), parts.get("q")) else None
        head_dim = stated or head_dim or (parts["q"] // heads if heads and "q" in parts else None)
        if head_dim is None and heads and shapes.hidden:
            head_dim = shapes.hidden // heads
        geometry = _geometry(parts, heads, head_dim, config, layer, encoder)
        if geometry is None:
            missing.add("attention: num_attention_heads or head_dim would tell the heads")
        found.append(geometry)
    return found, sorted(missing - {""})


def _geometry(
    parts: dict[str, int], heads: int | None, head_dim: int | None, config: Config, layer: int, encoder: bool
) -> Geometry | None:
    if not head_dim:
        return None
    if "q" in parts:
        heads = parts["q"] // head_dim if not heads or parts["q"] != 2 * heads * head_dim else heads
        kv_rows = parts.get("k", parts["q"])
    else:
        heads = heads or config.maybe("num_key_value_heads")
        if not heads:
            return None
        kv_rows = max(0, parts["qkv"] - heads * head_dim) // 2
    kind, window = reach(config, layer)
    return Geometry("encoder" if encoder else kind, heads, kv_rows // head_dim, head_dim, window=window)


def different_heads(shapes: Shapes, layout: Layout) -> list[tuple[str, int, int]]:
    """Head counts that the projections' rows contradict: config key, the weights' number, the config's.

    Only where all layers attend alike; a head's size is the config's.
    """
    found = {mixer.geometry for layer in layout.layers for mixer in layer.mixers}
    plain = {(shape.heads, shape.kv_heads, shape.head_dim) for shape in found if shape and shape.kind in _PLAIN}
    first = shapes.parts.get(0, {})
    if len(plain) != 1 or any(shape is None or shape.kind not in _PLAIN for shape in found) or "k" not in first:
        return []
    heads, kv_heads, head_dim = next(iter(plain))
    different = []
    for key, part, theirs in (("num_attention_heads", "q", heads), ("num_key_value_heads", "k", kv_heads)):
        ours, rest = divmod(first.get(part, 0), head_dim)
        if ours and not rest and ours not in (theirs, 2 * theirs if part == "q" else theirs):
            different.append((key, ours, theirs))
    return different


def _divides(part: int | None, whole: int | None) -> bool:
    return bool(part and whole and whole % part == 0 and part < whole)
