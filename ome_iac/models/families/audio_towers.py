"""Audio encoders: their weights from their own config level. They keep no KV cache."""

from __future__ import annotations

from collections.abc import Callable

from ome_iac.models.families.blocks import Weight, linear, norm
from ome_iac.models.families.config import Config
from ome_iac.models.families.towers import block, depth, stacked


def whisper_encoder(config: Config) -> list[Weight]:
    """The encoder of Qwen2-Audio and Voxtral: Whisper's, with learned positions."""
    width = config.positive("hidden_size")
    return [
        *_mel_convolutions(config, width),
        ("embed_positions.weight", (config.positive("max_source_positions", 1500), width)),
        *stacked("layers", _whisper_layer(config, width), depth(config)),
        *norm("layer_norm", width, "layer"),
    ]


def qwen2_5_omni_audio(config: Config) -> list[Weight]:
    """Qwen2.5-Omni: computed positions, and a projection inside the tower."""
    width, out = config.positive("hidden_size"), config.positive("output_dim", 3584)
    return [
        *_mel_convolutions(config, width),
        ("audio_bos_eos_token.weight", (2, out)),
        *stacked("layers", _whisper_layer(config, width), depth(config)),
        *norm("ln_post", width, "layer"),
        *linear("proj", out, width, True),
    ]


def qwen3_omni_audio(config: Config) -> list[Weight]:
    """Qwen3-Omni: three two-dimensional convolutions before the layers."""
    width, out = config.positive("hidden_size"), config.positive("output_dim", 3584)
    narrow, mels = config.positive("downsample_hidden_size", 480), config.positive("num_mel_bins", 128)
    weights: list[Weight] = []
    for index, channels in enumerate((1, narrow, narrow), start=1):
        weights += [(f"conv2d{index}.weight", (narrow, channels, 3, 3)), (f"conv2d{index}.bias", (narrow,))]
        mels = (mels + 1) // 2
    layer = block(width, config.positive("intermediate_size"))
    return [
        *weights,
        *linear("conv_out", width, narrow * mels),
        *stacked("layers", layer, depth(config)),
        *norm("ln_post", width, "layer"),
        *linear("proj1", width, width, True),
        *linear("proj2", out, width, True),
    ]


def _mel_convolutions(config: Config, width: int) -> list[Weight]:
    mels = config.positive("num_mel_bins", 128)
    return [
        ("conv1.weight", (width, mels, 3)),
        ("conv1.bias", (width,)),
        ("conv2.weight", (width, width, 3)),
        ("conv2.bias", (width,)),
    ]


def _whisper_layer(config: Config, width: int) -> list[Weight]:
    layer = block(width, config.positive("intermediate_size"))
    return [weight for weight in layer if weight[0] != "attn.k_proj.bias"]


AUDIO: dict[str, Callable[[Config], list[Weight]]] = {
    "qwen2_audio_encoder": whisper_encoder,
    "voxtral_encoder": whisper_encoder,
    "qwen2_5_omni_audio_encoder": qwen2_5_omni_audio,
    "qwen3_omni_moe_audio_encoder": qwen3_omni_audio,
}
