"""Attention facts: layers that share a geometry are one entry."""

from __future__ import annotations

from collections.abc import Iterable

from ome_iac.models.families.blocks import Geometry, Layout
from ome_iac.models.families.counts import ranges
from ome_iac.models.metadata import Attention, Experts

DTYPE_BYTES = {"float64": 8, "float32": 4, "float": 4, "float8_e4m3fn": 1}


def attention_of(layout: Layout, dtype: str | None) -> tuple[Attention, ...]:
    """The layout's attention, in the order of each geometry's first layer; states in the dtype of computation."""
    return grouped(
        ((index, mixer.geometry) for index, layer in enumerate(layout.layers) for mixer in layer.mixers), dtype
    )


def grouped(geometries: Iterable[tuple[int, Geometry | None]], dtype: str | None) -> tuple[Attention, ...]:
    """One entry for all layers that share a geometry; None is a layer without attention."""
    groups: dict[Geometry, list[int]] = {}
    for index, geometry in geometries:
        if geometry is not None:
            groups.setdefault(geometry, []).append(index)
    value_bytes = DTYPE_BYTES.get(dtype or "", 2)
    return tuple(
        Attention(
            kind=shape.kind,
            layers=ranges(layers),
            heads=shape.heads,
            kv_heads=shape.kv_heads,
            head_dim=shape.head_dim,
            value_head_dim=shape.value_head_dim,
            window=shape.window,
            latent_dim=shape.latent_dim,
            rope_head_dim=shape.rope_head_dim,
            state_bytes=(shape.state_values * value_bytes + shape.state_float32 * 4) or None,
        )
        for shape, layers in groups.items()
    )


def experts_of(layout: Layout) -> Experts | None:
    """The layout's experts; None for a dense model. Counts are those of its widest layer."""
    layers = [index for index, layer in enumerate(layout.layers) if layer.feed.experts]
    if not layers:
        return None
    widest = max((layout.layers[index].feed for index in layers), key=lambda feed: feed.experts)
    return Experts(routed=widest.experts, active=widest.active, shared=widest.shared, layers=ranges(layers))
