"""Models that join a language model with towers: what lies between, by the outer model_type."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ome_iac.models.families.audio_towers import AUDIO
from ome_iac.models.families.blocks import Layout, Weight, linear, norm
from ome_iac.models.families.config import Config, UnknownError
from ome_iac.models.families.levels import Levels
from ome_iac.models.families.towers import VISION, clip, named, siglip

Projector = Callable[[Levels, int], list[Weight]]


def _vision(levels: Levels) -> Config:
    if levels.vision is None:
        raise UnknownError([f"vision_config is not in {levels.outer.notes.file}"])
    return levels.vision


def _two_linears(levels: Levels, text: int) -> list[Weight]:
    """LLaVA's projector."""
    width, bias = _vision(levels).positive("hidden_size"), levels.outer.flag("multimodal_projector_bias", True)
    first, second = "multi_modal_projector.linear_1", "multi_modal_projector.linear_2"
    return [*linear(first, text, width, bias), *linear(second, text, text, bias)]


def _with_newline(levels: Levels, text: int) -> list[Weight]:
    return [*_two_linears(levels, text), ("image_newline", (text,))]


def _mllama(levels: Levels, text: int) -> list[Weight]:
    return list(linear("multi_modal_projector", text, _vision(levels).positive("vision_output_dim"), True))


def _llama4(levels: Levels, text: int) -> list[Weight]:
    return list(linear("multi_modal_projector.linear_1", text, _vision(levels).positive("vision_output_dim")))


def _gemma3(levels: Levels, text: int) -> list[Weight]:
    width = _vision(levels).positive("hidden_size")
    return [
        ("multi_modal_projector.mm_input_projection_weight", (width, text)),
        *norm("multi_modal_projector.mm_soft_emb_norm", width, "rms"),
    ]


def _gemma4(levels: Levels, text: int) -> list[Weight]:
    return list(linear("embed_vision.embedding_projection", text, _vision(levels).positive("hidden_size")))


def _paligemma(levels: Levels, text: int) -> list[Weight]:
    vision = _vision(levels)
    out = vision.maybe("projection_dim") or levels.outer.maybe("projection_dim") or text
    return list(linear("multi_modal_projector.linear", out, vision.positive("hidden_size"), True))


def _mistral3(levels: Levels, text: int) -> list[Weight]:
    width, merge = _vision(levels).positive("hidden_size"), levels.outer.maybe("spatial_merge_size") or 2
    bias = levels.outer.flag("multimodal_projector_bias")
    return [
        *norm("multi_modal_projector.norm", width, "rms"),
        *linear("multi_modal_projector.patch_merger.merging_layer", width, width * merge**2),
        *linear("multi_modal_projector.linear_1", text, width, bias),
        *linear("multi_modal_projector.linear_2", text, text, bias),
    ]


def _idefics3(levels: Levels, text: int) -> list[Weight]:
    width, scale = _vision(levels).positive("hidden_size"), levels.outer.maybe("scale_factor") or 2
    return list(linear("connector.modality_projection.proj", text, width * scale**2))


def _internvl(levels: Levels, text: int) -> list[Weight]:
    ratio = levels.outer.number("downsample_ratio", 0.5)
    wide = _vision(levels).positive("hidden_size") * int(1 / ratio if 0 < ratio <= 1 else 2) ** 2
    return [*norm("mlp1.0", wide, "layer"), *linear("mlp1.1", text, wide, True), *linear("mlp1.3", text, text, True)]


def _deepseek_vl2(levels: Levels, text: int) -> list[Weight]:
    config = levels.outer.below("projector_config")
    width = config.maybe("input_dim") or _vision(levels).positive("width")
    wide = text * int(config.number("mlp_ratio", 1.0))
    weights = [*linear("projector.layers.0", wide, 4 * width, True)]
    for index in range(1, min(config.positive("depth", 2), 16) - 1):
        weights += linear(f"projector.layers.{2 * index}", wide, wide, True)
    weights += linear("projector.layers.out", text, wide, True)
    return [*weights, ("image_newline", (text,)), ("view_seperator", (text,))]


def _cohere2_vision(levels: Levels, text: int) -> list[Weight]:
    wide = _vision(levels).positive("hidden_size") * (levels.outer.maybe("downsample_factor") or 2) ** 2
    inner = levels.outer.positive("alignment_intermediate_size", 36864)
    first, second = "multi_modal_projector.linear_1", "multi_modal_projector.linear_2"
    return [*linear(first, inner, wide, True), *linear(second, text, inner // 2, True)]


def _aya_vision(levels: Levels, text: int) -> list[Weight]:
    wide = _vision(levels).positive("hidden_size") * (levels.outer.maybe("downsample_factor") or 2) ** 2
    inner = levels.outer.maybe("alignment_intermediate_size") or text
    return [
        *norm("multi_modal_projector.layernorm", wide, "layer"),
        *linear("multi_modal_projector.linear_1", inner, wide, True),
        *linear("multi_modal_projector.linear_2", text, inner // 2, True),
    ]


def _contrastive(levels: Levels, text: int) -> list[Weight]:
    """CLIP: one projection a side and a temperature."""
    out = levels.outer.positive("projection_dim", 512)
    return [
        *linear("visual_projection", out, _vision(levels).positive("hidden_size")),
        *linear("text_projection", out, text),
        ("logit_scale", ()),
    ]


def _siglip(levels: Levels, text: int) -> list[Weight]:
    return [("logit_scale", (1,)), ("logit_bias", (1,))]


def _qwen2_audio(levels: Levels, text: int) -> list[Weight]:
    audio = levels.audio
    if audio is None:
        raise UnknownError([f"audio_config is not in {levels.outer.notes.file}"])
    return list(linear("multi_modal_projector.linear", text, audio.positive("hidden_size"), True))


def _voxtral(levels: Levels, text: int) -> list[Weight]:
    audio = levels.audio
    if audio is None:
        raise UnknownError([f"audio_config is not in {levels.outer.notes.file}"])
    inner = audio.positive("intermediate_size")
    return [
        *linear("multi_modal_projector.linear_1", text, inner),
        *linear("multi_modal_projector.linear_2", text, text),
    ]


def _inside(levels: Levels, text: int) -> list[Weight]:
    """The projector is part of the tower."""
    return []


PROJECTORS: dict[str, Projector] = {
    "llava": _two_linears,
    "llava_next": _with_newline,
    "llava_onevision": _with_newline,
    "mllama": _mllama,
    "llama4": _llama4,
    "gemma3": _gemma3,
    "gemma4": _gemma4,
    "paligemma": _paligemma,
    "mistral3": _mistral3,
    "idefics3": _idefics3,
    "smolvlm": _idefics3,
    "internvl": _internvl,
    "internvl_chat": _internvl,
    "deepseek_vl_v2": _deepseek_vl2,
    "cohere2_vision": _cohere2_vision,
    "aya_vision": _aya_vision,
    "clip": _contrastive,
    "siglip": _siglip,
    "qwen2_audio": _qwen2_audio,
    "voxtral": _voxtral,
    "qwen2_vl": _inside,
    "qwen2_5_vl": _inside,
    "qwen3_vl": _inside,
    "qwen3_vl_moe": _inside,
    "qwen3_5": _inside,
    "qwen3_5_moe": _inside,
    "qwen2_5_omni_thinker": _inside,
    "qwen3_omni_moe_thinker": _inside,
    "glm4v": _inside,
    "glm4v_moe": _inside,
}

_TOWER_KEYS = (
    "img_processor",
    "audio_processor",
    "embd_layer",
    "mm_vision_tower",
    "mm_projector_type",
    "gen_vision_config",
)
"""Keys of a flat config that say there is a tower, or a generator, beside the language model."""

_SPEAKERS = ("talker_config", "token2wav_config", "code2wav_config", "tts_config")
"""Keys of a model that speaks; its speaking half has weights of its own."""

_WITHOUT_POOLING_HEAD = frozenset({"gemma3", "paligemma", "llava_onevision", "cohere2_vision", "aya_vision"})
"""Joined models that store SigLIP without its pooling head."""


def tower(config: Config) -> list[Weight]:
    """The tower's weights. Raises UnknownError for a tower that is not known."""
    towers = VISION | AUDIO
    if config.model_type not in towers:
        raise UnknownError(
            [f"the tensor shapes of {config.path} ({config.model_type or 'no model_type'}) are not known"]
        )
    return towers[config.model_type](config)


def with_towers(levels: Levels, layout: Layout) -> Layout:
    """The language model's layout with its towers. Raises UnknownError where one of them is not known."""
    outer = levels.outer.model_type
    if outer == "phi3_v":
        return replace(layout, towers=tuple(_phi3_vision(levels.outer, layout.hidden)))
    if outer == "minicpmv" and str(levels.outer.raw.get("version")) == "2.6":
        return replace(layout, towers=tuple(_minicpm_vision(levels, layout.hidden)))
    beside = next((key for key in _TOWER_KEYS if levels.outer.raw.get(key)), None)
    if levels.vision is None and levels.audio is None and levels.text is levels.outer:
        if beside is None:
            return layout
        raise UnknownError([f"the tensor shapes of {beside} in {levels.outer.notes.file} are not known"])
    if speaker := next((key for key in _SPEAKERS if levels.top.raw.get(key)), None):
        raise UnknownError([f"the tensor shapes of {speaker} in {levels.outer.notes.file} are not known"])
    if outer not in PROJECTORS:
        raise UnknownError(
            [f"what model_type {outer or '(none)'} has between its towers and its language model is not known"]
        )
    weights: list[Weight] = []
    if levels.vision is not None:
        weights += named(_vision_prefix(outer), _stored_tower(outer, levels.vision))
    if levels.audio is not None:
        weights += named("audio_tower", tower(levels.audio))
    return replace(layout, towers=(*weights, *PROJECTORS[outer](levels, layout.hidden)))


def _vision_prefix(outer: str) -> str:
    return "vision_model" if outer in ("clip", "siglip", "mllama") else "vision_tower"


def _stored_tower(outer: str, vision: Config) -> list[Weight]:
    weights = tower(vision)
    if outer in _WITHOUT_POOLING_HEAD:
        weights = [weight for weight in weights if not weight[0].startswith("head.")]
    return weights


def _phi3_vision(config: Config, text: int) -> list[Weight]:
    """Phi-3-vision names its tower: CLIP ViT-L/14 at 336 pixels, patches merged four by four."""
    if config.below("img_processor").text("model_name") != "openai/clip-vit-large-patch14-336":
        raise UnknownError([f"img_processor in {config.notes.file} names a vision tower that is not known"])
    sizes = {
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "image_size": 336,
        "patch_size": 14,
    }
    weights = clip(Config(sizes, {}, config.notes, "img_processor", "clip_vision_model"))
    return [
        *named("vision_embed_tokens.img_processor", weights),
        *linear("vision_embed_tokens.img_projection.0", text, 4096, True),
        *linear("vision_embed_tokens.img_projection.2", text, text, True),
        ("vision_embed_tokens.glb_GN", (1, 1, 4096)),
        ("vision_embed_tokens.sub_GN", (1, 1, 1, 4096)),
    ]


def _minicpm_vision(levels: Levels, text: int) -> list[Weight]:
    """MiniCPM-V 2.6: SigLIP without a pooling head, and a resampler to `query_num` tokens."""
    vision = _vision(levels)
    width = vision.positive("hidden_size")
    weights = [weight for weight in siglip(vision) if not weight[0].startswith("head.")]
    resampler = [
        ("query", (levels.outer.positive("query_num", 64), text)),
        *linear("kv_proj", text, width),
        ("attn.in_proj_weight", (3 * text, text)),
        ("attn.in_proj_bias", (3 * text,)),
        *linear("attn.out_proj", text, text, True),
        *norm("ln_q", text, "layer"),
        *norm("ln_kv", text, "layer"),
        *norm("ln_post", text, "layer"),
        ("proj", (text, text)),
    ]
    return [*named("vpm", weights), *named("resampler", resampler)]
