"""Where in a config the language model, the vision tower and the audio tower are described."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ome_iac.models.families.config import Config, Notes
from ome_iac.models.families.defaults import defaults_of
from ome_iac.models.families.towers import VISION

TEXT_KEYS = ("text_config", "llm_config", "language_config", "thinker_config", "lm_config", "text_model_config", "llm")
VISION_KEYS = ("vision_config", "visual", "vision_tower_config", "vit_config", "vision_encoder_config")
AUDIO_KEYS = ("audio_config", "speech_config", "audio_encoder_config", "encoder_config")

TEXT_TYPES: dict[str, str] = {
    "mllama": "mllama_text_model",
    "llama4": "llama4_text",
    "llava": "llama",
    "llava_next": "llama",
    "llava_next_video": "llama",
    "llava_onevision": "qwen2",
    "vipllava": "llama",
    "video_llava": "llama",
    "gemma3": "gemma3_text",
    "gemma3n": "gemma3n_text",
    "gemma4": "gemma4_text",
    "paligemma": "gemma",
    "mistral3": "mistral",
    "qwen2_vl": "qwen2_vl_text",
    "qwen2_5_vl": "qwen2_5_vl_text",
    "qwen3_vl": "qwen3_vl_text",
    "qwen3_vl_moe": "qwen3_vl_moe_text",
    "qwen3_5": "qwen3_5_text",
    "qwen3_5_moe": "qwen3_5_moe_text",
    "qwen2_audio": "qwen2",
    "qwen2_5_omni": "qwen2_5_omni_text",
    "qwen2_5_omni_thinker": "qwen2_5_omni_text",
    "qwen3_omni_moe": "qwen3_omni_moe_text",
    "qwen3_omni_moe_thinker": "qwen3_omni_moe_text",
    "idefics3": "llama",
    "smolvlm": "llama",
    "internvl": "qwen2",
    "glm4v": "glm4v_text",
    "glm4v_moe": "glm4v_moe_text",
    "deepseek_vl_v2": "deepseek_v2",
    "multi_modality": "llama",
    "janus": "llama",
    "aya_vision": "cohere2",
    "cohere2_vision": "cohere2",
    "voxtral": "llama",
    "clip": "clip_text_model",
    "siglip": "siglip_text_model",
    "kimi_vl": "deepseek_v3",
    "kimi_k25": "kimi_k2",
}
"""Outer model_type to the text level's, where the text level does not name its own."""

VISION_TYPES: dict[str, str] = {
    "mllama": "mllama_vision_model",
    "llama4": "llama4_vision_model",
    "llava": "clip_vision_model",
    "llava_next": "clip_vision_model",
    "vipllava": "clip_vision_model",
    "llava_onevision": "siglip_vision_model",
    "gemma3": "siglip_vision_model",
    "paligemma": "siglip_vision_model",
    "mistral3": "pixtral",
    "qwen2_vl": "qwen2_vl_vision",
    "qwen2_5_vl": "qwen2_5_vl_vision",
    "qwen3_vl": "qwen3_vl_vision",
    "qwen3_vl_moe": "qwen3_vl_moe_vision",
    "qwen3_5": "qwen3_5_vision",
    "qwen3_5_moe": "qwen3_5_moe_vision",
    "qwen2_5_omni_thinker": "qwen2_5_omni_vision_encoder",
    "qwen3_omni_moe_thinker": "qwen3_omni_moe_vision_encoder",
    "idefics3": "idefics3_vision",
    "smolvlm": "smolvlm_vision",
    "internvl": "internvl_vision",
    "glm4v": "glm4v_vision",
    "glm4v_moe": "glm4v_moe_vision",
    "gemma4": "gemma4_vision",
    "clip": "clip_vision_model",
    "siglip": "siglip_vision_model",
}
"""Outer model_type to the vision level's; a vision level's own model_type may repeat the outer one."""

MINICPM_TYPES = {"2.5": "llama", "2.6": "qwen2", "4.5": "qwen3"}
"""MiniCPM-V's `version` to the text level's model_type."""

AUDIO_TYPES: dict[str, str] = {
    "qwen2_audio": "qwen2_audio_encoder",
    "qwen2_5_omni_thinker": "qwen2_5_omni_audio_encoder",
    "qwen3_omni_moe_thinker": "qwen3_omni_moe_audio_encoder",
    "voxtral": "voxtral_encoder",
}


@dataclass(frozen=True)
class Levels:
    """A config and its levels.

    `top` is the whole, `outer` the level that joins text and towers (`top`, or Qwen-Omni's `thinker_config`); `text`
    may be `outer` itself.
    """

    top: Config
    outer: Config
    text: Config
    vision: Config | None
    audio: Config | None


def levels_of(raw: Mapping[str, Any], notes: Notes, override: Mapping[str, Any] | None = None) -> Levels:
    """Find the levels; `override` replaces keys of the text level (what the weights' headers say instead)."""
    top = outer = text = _level(raw, notes, "", "")
    for _ in range(3):  # Qwen-Omni nests twice: thinker_config.text_config
        key = next((key for key in TEXT_KEYS if isinstance(text.raw.get(key), Mapping) and text.raw[key]), None)
        if key is None:
            break
        outer = text
        text = _level(text.raw[key], notes, outer._at(key), TEXT_TYPES.get(outer.model_type, ""))
        text = _inheriting(text, outer)
    kind = TEXT_TYPES.get(outer.model_type, "")
    if outer.model_type == "minicpmv":
        kind = MINICPM_TYPES.get(str(outer.raw.get("version")), "")
    if text is outer and kind:  # flat configs: Qwen2-VL keeps the text keys outside
        text = Config(outer.raw, defaults_of(kind), notes, outer.path, kind)
    if override:
        text = Config({**text.raw, **override}, text.defaults, notes, text.path, text.model_type)
    vision = _tower(outer, notes, VISION_KEYS, VISION_TYPES)
    audio = _tower(outer, notes, AUDIO_KEYS, AUDIO_TYPES)
    return Levels(top, outer, text, vision, audio)


def _level(raw: object, notes: Notes, path: str, default_type: str) -> Config:
    stated = raw.get("model_type") if isinstance(raw, Mapping) else None
    kind = stated if isinstance(stated, str) and stated else default_type
    return Config(raw, defaults_of(kind), notes, path, kind)


def _inheriting(text: Config, outer: Config) -> Config:
    """The text level with what older configs state only outside: tying, dtype and vocabulary."""
    given = {
        key: outer.raw[key]
        for key in (
            "tie_word_embeddings",
            "dtype",
            "torch_dtype",
            "vocab_size",
            "rope_scaling",
            "max_position_embeddings",
        )
        if text.raw.get(key) is None and outer.raw.get(key) is not None and key not in text.raw
    }
    if "tie_word_embeddings" in outer.raw and isinstance(outer.raw["tie_word_embeddings"], bool):
        given["tie_word_embeddings"] = outer.raw["tie_word_embeddings"]  # the joined model's word counts
    return Config({**text.raw, **given}, text.defaults, text.notes, text.path, text.model_type)


def _tower(outer: Config, notes: Notes, keys: tuple[str, ...], types: Mapping[str, str]) -> Config | None:
    for key in keys:
        raw = outer.raw.get(key)
        if isinstance(raw, Mapping) and raw:
            level = _level(raw, notes, outer._at(key), "")
            kind = types.get(outer.model_type, level.model_type)
            own = level.model_type
            if own and own not in (outer.model_type, kind) and (own in VISION or defaults_of(own)):
                kind = own
            return Config(raw, defaults_of(kind), notes, level.path, kind)
    return None
