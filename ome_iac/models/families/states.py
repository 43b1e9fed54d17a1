"""Mixers that keep a state instead of a KV cache: Mamba, Mamba 2, gated delta nets, lightning attention, convolutions.

State is per sequence and layer, whatever the sequence's length: the convolution's last inputs, and the recurrent state.
"""

from __future__ import annotations

import math

from ome_iac.models.families.blocks import Geometry, Mixer, Weight, linear, norm
from ome_iac.models.families.config import Config, UnknownError


def _state(config: Config, convolution: int, recurrent: int) -> tuple[int, int]:
    """Values in the dtype of computation and in float32; configs say when the recurrent state is kept in float32."""
    kept = config.text("mamba_ssm_cache_dtype") or config.text("mamba_ssm_dtype")
    return (convolution, recurrent) if kept == "float32" else (convolution + recurrent, 0)


def mamba(
    config: Config,
    hidden: int,
    *,
    inner: int,
    state: int,
    kernel: int,
    rank: int,
    conv_bias: bool,
    bias: bool,
    inner_norms: bool = False,
    name: str = "mixer",
) -> Mixer:
    """Mamba 1. `inner_norms` are Jamba's, on the time step and on B and C."""
    weights: list[Weight] = [
        *linear(f"{name}.in_proj", 2 * inner, hidden, bias),
        (f"{name}.conv1d.weight", (inner, 1, kernel)),
        *linear(f"{name}.x_proj", rank + 2 * state, inner),
        *linear(f"{name}.dt_proj", inner, rank, True),
        (f"{name}.A_log", (inner, state)),
        (f"{name}.D", (inner,)),
        *linear(f"{name}.out_proj", hidden, inner, bias),
    ]
    if conv_bias:
        weights.append((f"{name}.conv1d.bias", (inner,)))
    if inner_norms:
        weights += norm(f"{name}.dt_layernorm", rank, "rms")
        weights += [*norm(f"{name}.b_layernorm", state, "rms"), *norm(f"{name}.c_layernorm", state, "rms")]
    values, float32 = _state(config, inner * (kernel - 1), inner * state)
    return Mixer(Geometry("mamba", 0, 0, 0, state_values=values, state_float32=float32), tuple(weights))


def mamba2(
    config: Config,
    hidden: int,
    *,
    heads: int,
    head_dim: int,
    inner: int,
    groups: int,
    state: int,
    kernel: int,
    conv_bias: bool,
    bias: bool,
    out_bias: bool | None = None,
    gated_norm: bool = True,
    name: str = "mixer",
) -> Mixer:
    """Mamba 2; `inner` is heads times head size."""
    channels = inner + 2 * groups * state
    weights: list[Weight] = [
        *linear(f"{name}.in_proj", inner + channels + heads, hidden, bias),
        (f"{name}.conv1d.weight", (channels, 1, kernel)),
        (f"{name}.dt_bias", (heads,)),
        (f"{name}.A_log", (heads,)),
        (f"{name}.D", (heads,)),
        *linear(f"{name}.out_proj", hidden, inner, bias if out_bias is None else out_bias),
    ]
    if conv_bias:
        weights.append((f"{name}.conv1d.bias", (channels,)))
    if gated_norm:
        weights += norm(f"{name}.norm", inner, "rms")
    values, float32 = _state(config, channels * (kernel - 1), heads * head_dim * state)
    return Mixer(Geometry("mamba", heads, 0, head_dim, state_values=values, state_float32=float32), tuple(weights))


def gated_delta(config: Config, hidden: int) -> Mixer:
    """The gated delta net of Qwen3-Next and Qwen3.5."""
    config.need("linear_num_key_heads", "linear_num_value_heads", "linear_key_head_dim", "linear_value_head_dim")
    key_heads, value_heads = config.positive("linear_num_key_heads"), config.positive("linear_num_value_heads")
    key_dim, value_dim = config.positive("linear_key_head_dim"), config.positive("linear_value_head_dim")
    kernel = config.positive("linear_conv_kernel_dim", 4)
    keys, values = key_heads * key_dim, value_heads * value_dim
    channels = 2 * keys + values
    weights: list[Weight] = [
        *linear("linear_attn.in_proj_qkvz", channels + values, hidden),
        *linear("linear_attn.in_proj_ba", 2 * value_heads, hidden),
        ("linear_attn.conv1d.weight", (channels, 1, kernel)),
        ("linear_attn.dt_bias", (value_heads,)),
        ("linear_attn.A_log", (value_heads,)),
        *norm("linear_attn.norm", value_dim, "rms"),
        *linear("linear_attn.out_proj", hidden, values),
    ]
    kept, float32 = _state(config, channels * (kernel - 1), value_heads * key_dim * value_dim)
    geometry = Geometry(
        "linear",
        value_heads,
        0,
        key_dim,
        value_head_dim=value_dim if value_dim != key_dim else None,
        state_values=kept,
        state_float32=float32,
    )
    return Mixer(geometry, tuple(weights))


def delta_attention(config: Config, hidden: int) -> Mixer:
    """Kimi Delta Attention: heads, head size and kernel are in `linear_attn_config`."""
    inner = config.below("linear_attn_config")
    inner.need("num_heads", "head_dim")
    heads, head_dim = inner.positive("num_heads"), inner.positive("head_dim")
    kernel = inner.positive("short_conv_kernel_size", 4)
    width = heads * head_dim
    weights: list[Weight] = []
    for part in ("q", "k", "v"):
        weights += linear(f"linear_attn.{part}_proj", width, hidden)
        weights.append((f"linear_attn.{part}_conv1d.weight", (width, 1, kernel)))
    for part in ("f", "g"):
        weights += linear(f"linear_attn.{part}_a_proj", head_dim, hidden)
        weights += linear(f"linear_attn.{part}_b_proj", width, head_dim)
    weights += linear("linear_attn.b_proj", heads, hidden)
    weights += [("linear_attn.A_log", (heads,)), ("linear_attn.dt_bias", (width,))]
    weights += [*norm("linear_attn.o_norm", head_dim, "rms"), *linear("linear_attn.o_proj", hidden, width)]
    values, float32 = _state(config, 3 * width * (kernel - 1), width * head_dim)
    return Mixer(Geometry("linear", heads, 0, head_dim, state_values=values, state_float32=float32), tuple(weights))


def lightning(config: Config, hidden: int, heads: int, head_dim: int) -> Mixer:
    """MiniMax's lightning attention: one matrix a head."""
    width = heads * head_dim
    weights = (
        *linear("self_attn.qkv_proj", 3 * width, hidden),
        *linear("self_attn.output_gate", width, hidden),
        *norm("self_attn.norm", width, "rms"),
        *linear("self_attn.out_proj", hidden, width),
    )
    values, float32 = _state(config, 0, width * head_dim)
    return Mixer(Geometry("linear", heads, 0, head_dim, state_values=values, state_float32=float32), weights)


def short_convolution(config: Config, hidden: int) -> Mixer:
    """LFM2's gated convolution over `conv_L_cache` tokens."""
    reach, bias = config.positive("conv_L_cache", 3), config.flag("conv_bias")
    weights: list[Weight] = [
        ("conv.conv.weight", (hidden, 1, reach)),
        *linear("conv.in_proj", 3 * hidden, hidden, bias),
        *linear("conv.out_proj", hidden, hidden, bias),
    ]
    if bias:
        weights.append(("conv.conv.bias", (hidden,)))
    return Mixer(Geometry("linear", 0, 0, 0, state_values=hidden * reach), tuple(weights))


def time_step_rank(config: Config, key: str, hidden: int) -> int:
    """Mamba 1's rank: a number, or `auto`, a sixteenth of the width."""
    value = config.value(key)
    if value in (None, "auto"):
        return math.ceil(hidden / 16)
    rank = config.maybe(key)
    if not rank:
        raise UnknownError([config.notes.problems.get(key, f"{key} is not in {config.notes.file}")])
    return rank
