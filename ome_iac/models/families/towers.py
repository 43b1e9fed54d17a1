"""Vision encoders: their weights from their own config level. They keep no KV cache."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ome_iac.models.families.blocks import Weight, linear, mlp, norm
from ome_iac.models.families.config import Config
from ome_iac.models.families.decoders import bounded

MAX_DEPTH = 500


def named(prefix: str, weights: Iterable[Weight]) -> list[Weight]:
    """The weights under a prefix."""
    return [(f"{prefix}.{name}", shape) for name, shape in weights]


def stacked(prefix: str, layer: list[Weight], count: int) -> list[Weight]:
    """The layer's weights, once for each layer."""
    return [weight for index in range(count) for weight in named(f"{prefix}.{index}", layer)]


def block(
    width: int,
    inner: int,
    *,
    attention_bias: bool = True,
    out_bias: bool | None = None,
    gated: bool = False,
    mlp_bias: bool = True,
    norm_kind: str = "layer",
    norms: int = 2,
    attention_width: int | None = None,
    kv_width: int | None = None,
) -> list[Weight]:
    """A transformer layer: queries, keys and values, output, MLP, norms."""
    across = attention_width or width
    weights: list[Weight] = [*linear("attn.q_proj", across, width, attention_bias)]
    for part in ("k_proj", "v_proj"):
        weights += linear(f"attn.{part}", kv_width or across, width, attention_bias)
    weights += linear("attn.o_proj", width, across, attention_bias if out_bias is None else out_bias)
    weights += mlp(width, inner, gated=gated, bias=mlp_bias)
    for index in range(norms):
        weights += norm(f"norm{index + 1}", width, norm_kind)
    return weights


def _side(config: Config, key: str) -> int:
    """A length that may be given as [height, width]."""
    value = config.value(key)
    if isinstance(value, list):
        whole = config.wholes(key)
        if whole and whole[0] > 0:
            return whole[0]
    return config.positive(key)


def _patches(config: Config) -> int:
    return (_side(config, "image_size") // _side(config, "patch_size")) ** 2


def _patch(config: Config, width: int, name: str, *, bias: bool, frames: int = 0) -> list[Weight]:
    side = _side(config, "patch_size")
    channels = config.maybe("num_channels") or config.maybe("in_channels") or config.maybe("in_chans") or 3
    shape = (width, channels, frames, side, side) if frames else (width, channels, side, side)
    return [(f"{name}.weight", shape), *([(f"{name}.bias", (width,))] if bias else [])]


def depth(config: Config) -> int:
    """How many layers the tower has."""
    return bounded(config, "num_hidden_layers", MAX_DEPTH)


def clip(config: Config) -> list[Weight]:
    """CLIP: a class token, learned positions, norms before and after."""
    width = config.positive("hidden_size")
    return [
        ("embeddings.class_embedding", (width,)),
        *_patch(config, width, "embeddings.patch_embedding", bias=False),
        ("embeddings.position_embedding.weight", (_patches(config) + 1, width)),
        *norm("pre_layrnorm", width, "layer"),
        *stacked("encoder.layers", block(width, config.positive("intermediate_size")), depth(config)),
        *norm("post_layernorm", width, "layer"),
    ]


def siglip(config: Config) -> list[Weight]:
    """SigLIP and Idefics' variant of it: learned positions, a norm after; a pooling head where `vision_use_head`."""
    width, inner = config.positive("hidden_size"), config.positive("intermediate_size")
    weights = [
        *_patch(config, width, "embeddings.patch_embedding", bias=True),
        ("embeddings.position_embedding.weight", (_patches(config), width)),
        *stacked("encoder.layers", block(width, inner), depth(config)),
        *norm("post_layernorm", width, "layer"),
    ]
    if config.model_type == "siglip_vision_model" and config.flag("vision_use_head", True):
        weights += [
            ("head.probe", (1, 1, width)),
            ("head.attention.in_proj_weight", (3 * width, width)),
            ("head.attention.in_proj_bias", (3 * width,)),
            *linear("head.attention.out_proj", width, width, True),
            *norm("head.layernorm", width, "layer"),
            *mlp(width, inner, gated=False, bias=True, name="head.mlp"),
        ]
    return weights


def pixtral(config: Config) -> list[Weight]:
    """Pixtral: rotary positions, gated MLP, no biases."""
    width = config.positive("hidden_size")
    layer = block(
        width,
        config.positive("intermediate_size"),
        attention_bias=False,
        gated=True,
        mlp_bias=False,
        norm_kind="rms",
    )
    return [
        *_patch(config, width, "patch_conv", bias=False),
        *norm("ln_pre", width, "rms"),
        *stacked("transformer.layers", layer, depth(config)),
    ]


def mllama(config: Config) -> list[Weight]:
    """Llama 3.2 Vision: local layers, then gated global ones; positions for tiles and aspect ratios."""
    width, patches = config.positive("hidden_size"), _patches(config) + 1
    tiles = config.positive("max_num_tiles", 4)
    ratios = len(config.items("supported_aspect_ratios")) or 8
    layer = block(width, config.positive("intermediate_size"), attention_bias=False)
    gated = [*layer, ("gate_attn", (1,)), ("gate_ffn", (1,))]
    weights: list[Weight] = [
        *_patch(config, width, "patch_embedding", bias=False),
        ("class_embedding", (width,)),
        ("gated_positional_embedding.embedding", (patches, width)),
        ("gated_positional_embedding.gate", (1,)),
        ("gated_positional_embedding.tile_embedding.weight", (ratios + 1, tiles * patches * width)),
    ]
    for name in ("pre", "post"):
        weights.append((f"{name}_tile_positional_embedding.embedding.weight", (ratios + 1, tiles * width)))
        weights.append((f"{name}_tile_positional_embedding.gate", (1,)))
        weights += norm(f"layernorm_{name}", width, "layer")
    weights += stacked("transformer.layers", layer, depth(config))
    return weights + stacked("global_transformer.layers", gated, bounded(config, "num_global_layers", MAX_DEPTH))


def llama4(config: Config) -> list[Weight]:
    """Llama 4: a class token, learned positions, a pixel shuffle with an MLP."""
    width = config.positive("hidden_size")
    side = _side(config, "patch_size")
    shuffled, projected = config.positive("projector_input_dim"), config.positive("projector_output_dim")
    return [
        *linear("patch_embedding.linear", width, config.positive("num_channels", 3) * side * side),
        ("class_embedding", (width,)),
        ("positional_embedding_vlm", (_patches(config) + 1, width)),
        *norm("layernorm_pre", width, "layer"),
        *norm("layernorm_post", width, "layer"),
        *stacked("model.layers", block(width, config.positive("intermediate_size")), depth(config)),
        *linear("vision_adapter.mlp.fc1", shuffled, config.positive("intermediate_size")),
        *linear("vision_adapter.mlp.fc2", projected, projected),
    ]


def qwen2_vl(config: Config) -> list[Weight]:
    """Qwen2-VL: `embed_dim` is the tower's width, `hidden_size` the language model's."""
    width = config.positive("embed_dim")
    inner = int(config.number("mlp_ratio", 4.0) * width)
    return [
        *_patch(config, width, "patch_embed.proj", bias=False, frames=config.positive("temporal_patch_size", 2)),
        *stacked("blocks", block(width, inner), depth(config)),
        *_merger("merger", width, config.positive("hidden_size"), config, "layer"),
    ]


def qwen2_5_vl(config: Config) -> list[Weight]:
    """Qwen2.5-VL: RMS norms and a gated MLP with biases."""
    width = config.positive("hidden_size")
    layer = block(width, config.positive("intermediate_size"), gated=True, norm_kind="rms")
    return [
        *_patch(config, width, "patch_embed.proj", bias=False, frames=config.positive("temporal_patch_size", 2)),
        *stacked("blocks", layer, depth(config)),
        *_merger("merger", width, config.positive("out_hidden_size"), config, "rms"),
    ]


def qwen3_vl(config: Config) -> list[Weight]:
    """Qwen3-VL and Qwen3.5: learned positions; a merger for each of `deepstack_visual_indexes`."""
    width, out = config.positive("hidden_size"), config.positive("out_hidden_size")
    wide = width * config.positive("spatial_merge_size", 2) ** 2
    weights = [
        *_patch(config, width, "patch_embed.proj", bias=True, frames=config.positive("temporal_patch_size", 2)),
        ("pos_embed.weight", (config.positive("num_position_embeddings"), width)),
        *stacked("blocks", block(width, config.positive("intermediate_size")), depth(config)),
        *_merger("merger", width, out, config, "layer"),
    ]
    for index in range(min(len(config.items("deepstack_visual_indexes")), MAX_DEPTH)):
        prefix = f"deepstack_merger_list.{index}"
        weights += [
            *norm(f"{prefix}.norm", wide, "layer"),
            *linear(f"{prefix}.linear_fc1", wide, wide, True),
            *linear(f"{prefix}.linear_fc2", out, wide, True),
        ]
    return weights


def _merger(prefix: str, width: int, out: int, config: Config, norm_kind: str) -> list[Weight]:
    wide = width * config.positive("spatial_merge_size", 2) ** 2
    return [
        *norm(f"{prefix}.norm", width, norm_kind),
        *linear(f"{prefix}.mlp.0", wide, wide, True),
        *linear(f"{prefix}.mlp.2", out, wide, True),
    ]


def glm4v(config: Config) -> list[Weight]:
    """GLM-4.1V and 4.5V: a convolution that merges patches, and a gated merger."""
    width, out = config.positive("hidden_size"), config.positive("out_hidden_size")
    inner, merge = config.positive("intermediate_size"), config.positive("spatial_merge_size", 2)
    layer = block(
        width,
        out,
        attention_bias=config.flag("attention_bias"),
        out_bias=False,
        gated=True,
        mlp_bias=False,
        norm_kind="rms",
    )
    return [
        *_patch(config, width, "patch_embed.proj", bias=True, frames=config.positive("temporal_patch_size", 2)),
        ("embeddings.position_embedding.weight", (_patches(config), width)),
        *norm("post_conv_layernorm", width, "rms"),
        *stacked("blocks", layer, depth(config)),
        *norm("post_layernorm", width, "rms"),
        ("downsample.weight", (out, width, merge, merge)),
        ("downsample.bias", (out,)),
        *linear("merger.proj", out, out),
        *norm("merger.post_projection_norm", out, "layer"),
        *mlp(out, inner, name="merger"),
    ]


def intern_vit(config: Config) -> list[Weight]:
    """InternViT, in its own and in transformers' spelling: a scale after attention and after the MLP."""
    width = config.positive("hidden_size")
    kind = "rms" if config.text("norm_type", "layer_norm") == "rms_norm" else "layer"
    layer = block(
        width,
        config.positive("intermediate_size"),
        attention_bias=config.flag("qkv_bias", config.flag("attention_bias")),
        out_bias=True,
        norm_kind=kind,
    )
    layer += [("ls1", (width,)), ("ls2", (width,))]
    if config.flag("qk_normalization", config.flag("use_qk_norm")):
        layer += [*norm("attn.q_norm", width, "rms"), *norm("attn.k_norm", width, "rms")]
    return [
        ("embeddings.class_embedding", (1, 1, width)),
        *_patch(config, width, "embeddings.patch_embedding", bias=True),
        ("embeddings.position_embedding", (1, _patches(config) + 1, width)),
        *stacked("encoder.layers", layer, depth(config)),
    ]


def gemma4(config: Config) -> list[Weight]:
    """Gemma 4: a table of positions for each axis, four norms, gated MLP."""
    width, head = config.positive("hidden_size"), config.positive("head_dim")
    layer = block(
        width,
        config.positive("intermediate_size"),
        attention_bias=False,
        gated=True,
        mlp_bias=False,
        norm_kind="rms",
        norms=4,
        attention_width=config.positive("num_attention_heads") * head,
        kv_width=config.positive("num_key_value_heads") * head,
    )
    layer += [*norm("attn.q_norm", head, "rms"), *norm("attn.k_norm", head, "rms")]
    side = config.positive("patch_size")
    return [
        *linear("patch_embedder.input_proj", width, 3 * side * side),
        ("patch_embedder.position_embedding_table", (2, config.positive("position_embedding_size"), width)),
        *stacked("encoder.layers", layer, depth(config)),
    ]


def deepseek_vl2(config: Config) -> list[Weight]:
    """DeepSeek-VL2's SigLIP: sizes as `width`, `layers`, `mlp_ratio`; a pooling head that is stored too."""
    config.need("width", "layers", "patch_size")
    width, side = config.positive("width"), config.positive("image_size", 384)
    inner = int(config.number("mlp_ratio", 4.0) * width)
    return [
        *_patch(config, width, "patch_embed.proj", bias=True),
        ("pos_embed", (1, (side // config.positive("patch_size")) ** 2, width)),
        *stacked("blocks", block(width, inner), bounded(config, "layers", MAX_DEPTH)),
        *norm("norm", width, "layer"),
        ("attn_pool.latent", (1, 1, width)),
        *linear("attn_pool.q", width, width, True),
        *linear("attn_pool.kv", 2 * width, width, True),
        *linear("attn_pool.proj", width, width, True),
        *norm("attn_pool.norm", width, "layer"),
        *mlp(width, inner, gated=False, bias=True, name="attn_pool.mlp"),
    ]


VISION: dict[str, Callable[[Config], list[Weight]]] = {
    "clip_vision_model": clip,
    "siglip_vision_model": siglip,
    "idefics3_vision": siglip,
    "smolvlm_vision": siglip,
    "pixtral": pixtral,
    "mllama_vision_model": mllama,
    "llama4_vision_model": llama4,
    "qwen2_vl_vision": qwen2_vl,
    "qwen2_5_vl_vision": qwen2_5_vl,
    "qwen2_5_omni_vision_encoder": qwen2_5_vl,
    "qwen3_vl_vision": qwen3_vl,
    "qwen3_vl_moe_vision": qwen3_vl,
    "qwen3_5_vision": qwen3_vl,
    "qwen3_5_moe_vision": qwen3_vl,
    "qwen3_omni_moe_vision_encoder": qwen3_vl,
    "glm4v_vision": glm4v,
    "glm4v_moe_vision": glm4v,
    "intern_vit_6b": intern_vit,
    "internvl_vision": intern_vit,
    "gemma4_vision": gemma4,
    "vision": deepseek_vl2,
}
