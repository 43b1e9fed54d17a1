"""Configs that are not Hugging Face's, said in its keys: a GGUF file's header, and Mistral's `params.json`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

GGUF_FAMILIES: dict[str, str] = {
    "llama": "llama",
    "llama4": "llama4_text",
    "mistral3": "mistral",
    "qwen2": "qwen2",
    "qwen2moe": "qwen2_moe",
    "qwen2vl": "qwen2",
    "qwen3": "qwen3",
    "qwen3moe": "qwen3_moe",
    "qwen3vl": "qwen3",
    "qwen3vlmoe": "qwen3_moe",
    "gemma": "gemma",
    "gemma2": "gemma2",
    "gemma3": "gemma3_text",
    "phi2": "phi",
    "phi3": "phi3",
    "deepseek2": "deepseek_v3",
    "gpt-oss": "gpt_oss",
    "gpt2": "gpt2",
    "gptneox": "gpt_neox",
    "falcon": "falcon",
    "bloom": "bloom",
    "mpt": "mpt",
    "starcoder2": "starcoder2",
    "stablelm": "stablelm",
    "command-r": "cohere",
    "cohere2": "cohere2",
    "olmo2": "olmo2",
    "granite": "granite",
    "granitemoe": "granitemoe",
    "glm4": "glm4",
    "glm4moe": "glm4_moe",
    "internlm2": "internlm2",
    "chatglm": "chatglm",
    "exaone": "exaone",
    "smollm3": "smollm3",
    "bert": "bert",
    "nomic-bert": "nomic_bert",
}
"""`general.architecture` to model_type."""

_GGUF_KEYS: dict[str, str] = {
    "context_length": "max_position_embeddings",
    "embedding_length": "hidden_size",
    "block_count": "num_hidden_layers",
    "feed_forward_length": "intermediate_size",
    "expert_feed_forward_length": "moe_intermediate_size",
    "expert_shared_feed_forward_length": "shared_expert_intermediate_size",
    "expert_count": "num_experts",
    "expert_used_count": "num_experts_per_tok",
    "expert_shared_count": "n_shared_experts",
    "leading_dense_block_count": "first_k_dense_replace",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.sliding_window": "sliding_window",
    "attention.kv_lora_rank": "kv_lora_rank",
    "attention.q_lora_rank": "q_lora_rank",
    "nextn_predict_layers": "num_nextn_predict_layers",
    "vocab_size": "vocab_size",
}

_PARAMS_KEYS: dict[str, str] = {
    "dim": "hidden_size",
    "n_layers": "num_hidden_layers",
    "head_dim": "head_dim",
    "hidden_dim": "intermediate_size",
    "n_heads": "num_attention_heads",
    "n_kv_heads": "num_key_value_heads",
    "vocab_size": "vocab_size",
    "max_position_embeddings": "max_position_embeddings",
    "max_seq_len": "max_position_embeddings",
    "sliding_window": "sliding_window",
    "tied_embeddings": "tie_word_embeddings",
}


def config_of_gguf(keys: Mapping[str, Any]) -> dict[str, Any]:
    """A config from a GGUF header; a list of counts by layer is its largest value."""
    name = keys.get("general.architecture")
    if not isinstance(name, str):
        return {}
    config: dict[str, Any] = {"model_type": GGUF_FAMILIES.get(name, name)}
    for key, ours in _GGUF_KEYS.items():
        value = keys.get(f"{name}.{key}")
        if isinstance(value, list) and value and all(isinstance(item, int) for item in value):
            value = max(value)
        if value is not None:
            config[ours] = value
    tokens = keys.get("tokenizer.ggml.tokens.length")
    if "vocab_size" not in config and isinstance(tokens, int):
        config["vocab_size"] = tokens
    _heads_of_gguf(keys, name, config)
    scaling = keys.get(f"{name}.rope.scaling.type")
    if isinstance(scaling, str) and scaling != "none":
        config["rope_scaling"] = {
            "rope_type": scaling,
            "factor": keys.get(f"{name}.rope.scaling.factor", 1.0),
            "original_max_position_embeddings": keys.get(f"{name}.rope.scaling.original_context_length"),
        }
    return config


def _heads_of_gguf(keys: Mapping[str, Any], name: str, config: dict[str, Any]) -> None:
    """Head sizes; with MLA `key_length` is the latent's, and the heads' are `key_length_mla`."""
    length, rope = keys.get(f"{name}.attention.key_length"), keys.get(f"{name}.rope.dimension_count")
    if "kv_lora_rank" not in config:
        if isinstance(length, int):
            config["head_dim"] = length
        return
    whole = keys.get(f"{name}.attention.key_length_mla", length)
    value = keys.get(f"{name}.attention.value_length_mla", keys.get(f"{name}.attention.value_length"))
    if isinstance(whole, int) and isinstance(rope, int) and whole > rope:
        config.update(qk_rope_head_dim=rope, qk_nope_head_dim=whole - rope)
    if isinstance(value, int):
        config["v_head_dim"] = value


def config_of_params(params: Mapping[str, Any]) -> dict[str, Any]:
    """A config from Mistral's `params.json`."""
    config: dict[str, Any] = {ours: params[key] for key, ours in _PARAMS_KEYS.items() if params.get(key) is not None}
    experts = params.get("moe")
    config["model_type"] = "mixtral" if isinstance(experts, Mapping) else "mistral"
    if isinstance(experts, Mapping):
        config["num_local_experts"] = experts.get("num_experts")
        config["num_experts_per_tok"] = experts.get("num_experts_per_tok")
    config["sliding_window"] = params.get("sliding_window")
    config["architectures"] = ["MixtralForCausalLM" if isinstance(experts, Mapping) else "MistralForCausalLM"]
    return config
