"""A model_type nobody here knows, whose config follows the standard keys unmistakably.

Many publishers rename a Llama or a BERT. Its shapes are derived only where the config states every standard key and no
key that decides shapes in a way this module does not know; otherwise the answer is UnknownError, naming what stands in
the way. Tensor headers never need this.
"""

from __future__ import annotations

import re

from ome_iac.models.families.blocks import Layout
from ome_iac.models.families.config import Config, UnknownError
from ome_iac.models.families.decoders import decoder
from ome_iac.models.families.encoders import bert
from ome_iac.models.families.recipes import LLAMA

_DECODER_KEYS = (
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "vocab_size",
    "max_position_embeddings",
)
_SHAPING = re.compile(
    r"expert|moe|lora|mamba|ssm|conv|linear_|window|qk_|_norm$|norm_|layernorm|bias|latent|mtp|nextn|altup|laurel|layer_types"
    r"|block|pattern|shared|cross|encoder|decoder|adapter|per_layer|router|parallel|mlp_|hidden_act|mixer|state|rnn|codebook"
    r"|_config$|embedding_size|position_embedding_type|head_dim_|global_|nope|index_|hash|residual_"
)
"""Keys that may decide shapes."""

_KNOWN = frozenset(
    {
        "attention_bias",
        "mlp_bias",
        "hidden_act",
        "tie_word_embeddings",
        "rope_scaling",
        "sliding_window",
        "use_sliding_window",
        "max_window_layers",
        "layer_types",
        "is_decoder",
        "is_encoder_decoder",
        "cross_attention_hidden_size",
        "add_cross_attention",
        "tie_encoder_decoder",
        "quantization_config",
        "generation_config",
        "task_specific_params",
        "parallel",
        "pretraining_tp",
        "position_embedding_type",
        "output_hidden_states",
        "classifier_dropout",
        "encoder_no_repeat_ngram_size",
        "decoder_start_token_id",
        "rope_parameters",
        "chunk_size_feed_forward",
    }
)


def standard_layout(config: Config, architecture: str) -> Layout:
    """A Llama-like decoder or a BERT-like encoder. Raises UnknownError."""
    named = config.model_type or "(none)"
    blocking = sorted(key for key in config.raw if _may_shape(key) and _is_on(config.raw[key]))
    if _is_encoder(config, architecture):
        config.need(*_DECODER_KEYS, "type_vocab_size")
        if not blocking:
            return bert(config)
    elif _is_decoder(config, architecture):
        config.need(*_DECODER_KEYS)
        if not blocking:
            return decoder(config, LLAMA)
    text = f"the tensor shapes of model_type {named} are not known"
    if blocking:
        text += f" (its config has {', '.join(blocking[:6])})"
    raise UnknownError([f"{text}; the weights' headers would tell"])


def _is_decoder(config: Config, architecture: str) -> bool:
    """Stated RMS norm, gated activation, whole heads, and whether the embedding is tied."""
    return (
        architecture.endswith("ForCausalLM")
        and "rms_norm_eps" in config.raw
        and config.text("hidden_act") in ("silu", "swish", "swiglu")
        and isinstance(config.raw.get("tie_word_embeddings"), bool)
        and all(config.has(key) for key in _DECODER_KEYS)
    )


def _is_encoder(config: Config, architecture: str) -> bool:
    return (
        bool(re.search(r"Model$|ForMaskedLM$|Classification$", architecture))
        and "layer_norm_eps" in config.raw
        and config.text("hidden_act") == "gelu"
        and config.text("position_embedding_type", "absolute") == "absolute"
        and config.has("type_vocab_size")
        and not config.flag("is_decoder")
        and all(config.has(key) for key in _DECODER_KEYS)
    )


def _may_shape(key: str) -> bool:
    return key not in _KNOWN and not key.endswith("eps") and bool(_SHAPING.search(key))


def _is_on(value: object) -> bool:
    """Whether a value means anything: null, false, zero and empty do not."""
    return value not in (None, False, 0, "", [], {}, 0.0)
