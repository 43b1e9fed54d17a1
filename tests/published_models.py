"""Names, shapes and dtypes of published models' tensors, and the config.json beside them.

Shapes are those that the models' published config.json and modelling code lead to; shard counts and file names are
the ones on the Hub.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

Tensor = tuple[str, str, tuple[int, ...]]
"""Name, safetensors dtype, shape."""


@dataclass(frozen=True)
class Published:
    """A model as it lies on the Hub; `shard_name` takes the shard's number from 0 and the count."""

    config: dict[str, Any]
    tensors: Callable[[], Iterator[Tensor]]
    shards: int
    shard_name: Callable[[int, int], str] = lambda number, count: f"model-{number + 1:05d}-of-{count:05d}.safetensors"
    others: dict[str, Any] = field(default_factory=dict)


# --- Llama ----------------------------------------------------------------------------------------------------------


def llama_config(**changed: Any) -> dict[str, Any]:
    """config.json of Llama-3.1-8B-Instruct with the given keys changed."""
    config: dict[str, Any] = {
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": 128000,
        "eos_token_id": [128001, 128008, 128009],
        "hidden_act": "silu",
        "hidden_size": 4096,
        "initializer_range": 0.02,
        "intermediate_size": 14336,
        "max_position_embeddings": 131072,
        "mlp_bias": False,
        "model_type": "llama",
        "num_attention_heads": 32,
        "num_hidden_layers": 32,
        "num_key_value_heads": 8,
        "pretraining_tp": 1,
        "rms_norm_eps": 1e-05,
        "rope_scaling": {
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192,
            "rope_type": "llama3",
        },
        "rope_theta": 500000.0,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "transformers_version": "4.42.3",
        "use_cache": True,
        "vocab_size": 128256,
    }
    return config | changed


def llama_tensors(config: dict[str, Any], dtype: str = "BF16") -> Iterator[Tensor]:
    hidden, inner, vocabulary = config["hidden_size"], config["intermediate_size"], config["vocab_size"]
    head_dim = config.get("head_dim", hidden // config["num_attention_heads"])
    queries, keys = config["num_attention_heads"] * head_dim, config["num_key_value_heads"] * head_dim
    yield "model.embed_tokens.weight", dtype, (vocabulary, hidden)
    for layer in range(config["num_hidden_layers"]):
        prefix = f"model.layers.{layer}"
        yield f"{prefix}.input_layernorm.weight", dtype, (hidden,)
        yield f"{prefix}.mlp.down_proj.weight", dtype, (hidden, inner)
        yield f"{prefix}.mlp.gate_proj.weight", dtype, (inner, hidden)
        yield f"{prefix}.mlp.up_proj.weight", dtype, (inner, hidden)
        yield f"{prefix}.post_attention_layernorm.weight", dtype, (hidden,)
        yield f"{prefix}.self_attn.k_proj.weight", dtype, (keys, hidden)
        yield f"{prefix}.self_attn.o_proj.weight", dtype, (hidden, queries)
        yield f"{prefix}.self_attn.q_proj.weight", dtype, (queries, hidden)
        yield f"{prefix}.self_attn.v_proj.weight", dtype, (keys, hidden)
    yield "model.norm.weight", dtype, (hidden,)
    if not config["tie_word_embeddings"]:
        yield "lm_head.weight", dtype, (vocabulary, hidden)


LLAMA_3_1_8B = llama_config()
LLAMA_3_1_405B = llama_config(
    hidden_size=16384, intermediate_size=53248, num_attention_heads=128, num_hidden_layers=126
)
LLAMA_TINY = llama_config(
    hidden_size=64,
    intermediate_size=128,
    num_attention_heads=4,
    num_key_value_heads=2,
    num_hidden_layers=2,
    vocab_size=256,
    max_position_embeddings=2048,
    rope_scaling=None,
)

# --- DeepSeek-V3: FP8 with a scale for each block of 128 x 128, and one layer of multi-token prediction -------------

DEEPSEEK_V3: dict[str, Any] = {
    "architectures": ["DeepseekV3ForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "auto_map": {
        "AutoConfig": "configuration_deepseek.DeepseekV3Config",
        "AutoModel": "modeling_deepseek.DeepseekV3Model",
        "AutoModelForCausalLM": "modeling_deepseek.DeepseekV3ForCausalLM",
    },
    "bos_token_id": 0,
    "eos_token_id": 1,
    "ep_size": 1,
    "first_k_dense_replace": 3,
    "hidden_act": "silu",
    "hidden_size": 7168,
    "initializer_range": 0.02,
    "intermediate_size": 18432,
    "kv_lora_rank": 512,
    "max_position_embeddings": 163840,
    "model_type": "deepseek_v3",
    "moe_intermediate_size": 2048,
    "moe_layer_freq": 1,
    "n_group": 8,
    "n_routed_experts": 256,
    "n_shared_experts": 1,
    "norm_topk_prob": True,
    "num_attention_heads": 128,
    "num_experts_per_tok": 8,
    "num_hidden_layers": 61,
    "num_key_value_heads": 128,
    "num_nextn_predict_layers": 1,
    "q_lora_rank": 1536,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "quantization_config": {
        "activation_scheme": "dynamic",
        "fmt": "e4m3",
        "quant_method": "fp8",
        "weight_block_size": [128, 128],
    },
    "rms_norm_eps": 1e-06,
    "rope_scaling": {
        "beta_fast": 32,
        "beta_slow": 1,
        "factor": 40,
        "mscale": 1.0,
        "mscale_all_dim": 1.0,
        "original_max_position_embeddings": 4096,
        "type": "yarn",
    },
    "rope_theta": 10000,
    "routed_scaling_factor": 2.5,
    "scoring_func": "sigmoid",
    "tie_word_embeddings": False,
    "topk_group": 4,
    "topk_method": "noaux_tc",
    "torch_dtype": "bfloat16",
    "transformers_version": "4.33.1",
    "use_cache": True,
    "v_head_dim": 128,
    "vocab_size": 129280,
}


def deepseek_v3_tensors() -> Iterator[Tensor]:
    hidden, vocabulary = 7168, 129280

    def block_fp8(name: str, rows: int, columns: int) -> Iterator[Tensor]:
        yield f"{name}.weight", "F8_E4M3", (rows, columns)
        yield f"{name}.weight_scale_inv", "F32", (-(-rows // 128), -(-columns // 128))

    def gated(prefix: str, inner: int) -> Iterator[Tensor]:
        yield from block_fp8(f"{prefix}.gate_proj", inner, hidden)
        yield from block_fp8(f"{prefix}.up_proj", inner, hidden)
        yield from block_fp8(f"{prefix}.down_proj", hidden, inner)

    yield "model.embed_tokens.weight", "BF16", (vocabulary, hidden)
    for layer in range(62):
        prefix = f"model.layers.{layer}"
        if layer == 61:
            yield f"{prefix}.embed_tokens.weight", "BF16", (vocabulary, hidden)
            yield f"{prefix}.enorm.weight", "BF16", (hidden,)
            yield f"{prefix}.hnorm.weight", "BF16", (hidden,)
            yield f"{prefix}.eh_proj.weight", "BF16", (hidden, 2 * hidden)
        yield from block_fp8(f"{prefix}.self_attn.q_a_proj", 1536, hidden)
        yield f"{prefix}.self_attn.q_a_layernorm.weight", "BF16", (1536,)
        yield from block_fp8(f"{prefix}.self_attn.q_b_proj", 128 * 192, 1536)
        yield from block_fp8(f"{prefix}.self_attn.kv_a_proj_with_mqa", 512 + 64, hidden)
        yield f"{prefix}.self_attn.kv_a_layernorm.weight", "BF16", (512,)
        yield from block_fp8(f"{prefix}.self_attn.kv_b_proj", 128 * 256, 512)
        yield from block_fp8(f"{prefix}.self_attn.o_proj", hidden, 128 * 128)
        if layer < 3:
            yield from gated(f"{prefix}.mlp", 18432)
        else:
            yield f"{prefix}.mlp.gate.weight", "BF16", (256, hidden)
            yield f"{prefix}.mlp.gate.e_score_correction_bias", "F32", (256,)
            yield from gated(f"{prefix}.mlp.shared_experts", 2048)
            for expert in range(256):
                yield from gated(f"{prefix}.mlp.experts.{expert}", 2048)
        yield f"{prefix}.input_layernorm.weight", "BF16", (hidden,)
        yield f"{prefix}.post_attention_layernorm.weight", "BF16", (hidden,)
        if layer == 61:
            yield f"{prefix}.shared_head.norm.weight", "BF16", (hidden,)
            yield f"{prefix}.shared_head.head.weight", "BF16", (vocabulary, hidden)
    yield "model.norm.weight", "BF16", (hidden,)
    yield "lm_head.weight", "BF16", (vocabulary, hidden)


# --- gpt-oss-120b: MXFP4 experts, packed two to a byte in blocks of 32 ----------------------------------------------

GPT_OSS_120B: dict[str, Any] = {
    "architectures": ["GptOssForCausalLM"],
    "attention_bias": True,
    "attention_dropout": 0.0,
    "eos_token_id": 200002,
    "experts_per_token": 4,
    "head_dim": 64,
    "hidden_act": "silu",
    "hidden_size": 2880,
    "initial_context_length": 4096,
    "initializer_range": 0.02,
    "intermediate_size": 2880,
    "layer_types": ["sliding_attention", "full_attention"] * 18,
    "max_position_embeddings": 131072,
    "model_type": "gpt_oss",
    "num_attention_heads": 64,
    "num_experts_per_tok": 4,
    "num_hidden_layers": 36,
    "num_key_value_heads": 8,
    "num_local_experts": 128,
    "output_router_logits": False,
    "pad_token_id": 199999,
    "quantization_config": {
        "modules_to_not_convert": [
            "model.layers.*.self_attn",
            "model.layers.*.mlp.router",
            "model.embed_tokens",
            "lm_head",
        ],
        "quant_method": "mxfp4",
    },
    "rms_norm_eps": 1e-05,
    "rope_scaling": {
        "beta_fast": 32.0,
        "beta_slow": 1.0,
        "factor": 32.0,
        "original_max_position_embeddings": 4096,
        "rope_type": "yarn",
        "truncate": False,
    },
    "rope_theta": 150000,
    "router_aux_loss_coef": 0.9,
    "sliding_window": 128,
    "swiglu_limit": 7.0,
    "tie_word_embeddings": False,
    "transformers_version": "4.55.0.dev0",
    "use_cache": True,
    "vocab_size": 201088,
}


def gpt_oss_tensors(layers: int, experts: int) -> Iterator[Tensor]:
    hidden, vocabulary, blocks = 2880, 201088, 2880 // 32
    yield "model.embed_tokens.weight", "BF16", (vocabulary, hidden)
    for layer in range(layers):
        prefix = f"model.layers.{layer}"
        yield f"{prefix}.input_layernorm.weight", "BF16", (hidden,)
        for role, rows in (("gate_up_proj", 2 * hidden), ("down_proj", hidden)):
            yield f"{prefix}.mlp.experts.{role}_bias", "BF16", (experts, rows)
            yield f"{prefix}.mlp.experts.{role}_blocks", "U8", (experts, rows, blocks, 16)
            yield f"{prefix}.mlp.experts.{role}_scales", "U8", (experts, rows, blocks)
        yield f"{prefix}.mlp.router.bias", "BF16", (experts,)
        yield f"{prefix}.mlp.router.weight", "BF16", (experts, hidden)
        yield f"{prefix}.post_attention_layernorm.weight", "BF16", (hidden,)
        for role, rows, columns in (
            ("k_proj", 512, hidden),
            ("o_proj", hidden, 4096),
            ("q_proj", 4096, hidden),
            ("v_proj", 512, hidden),
        ):
            yield f"{prefix}.self_attn.{role}.bias", "BF16", (rows,)
            yield f"{prefix}.self_attn.{role}.weight", "BF16", (rows, columns)
        yield f"{prefix}.self_attn.sinks", "BF16", (64,)
    yield "model.norm.weight", "BF16", (hidden,)
    yield "lm_head.weight", "BF16", (vocabulary, hidden)


# --- Qwen2.5-7B-Instruct-AWQ: four-bit weights, eight to an I32, groups of 128 --------------------------------------

QWEN_2_5_7B_AWQ: dict[str, Any] = {
    "architectures": ["Qwen2ForCausalLM"],
    "attention_dropout": 0.0,
    "bos_token_id": 151643,
    "eos_token_id": 151645,
    "hidden_act": "silu",
    "hidden_size": 3584,
    "initializer_range": 0.02,
    "intermediate_size": 18944,
    "max_position_embeddings": 32768,
    "max_window_layers": 28,
    "model_type": "qwen2",
    "num_attention_heads": 28,
    "num_hidden_layers": 28,
    "num_key_value_heads": 4,
    "quantization_config": {
        "bits": 4,
        "group_size": 128,
        "modules_to_not_convert": None,
        "quant_method": "awq",
        "version": "gemm",
        "zero_point": True,
    },
    "rms_norm_eps": 1e-06,
    "rope_theta": 1000000.0,
    "sliding_window": 131072,
    "tie_word_embeddings": False,
    "torch_dtype": "float16",
    "transformers_version": "4.41.1",
    "use_cache": True,
    "use_sliding_window": False,
    "vocab_size": 152064,
}


def qwen_2_5_7b_awq_tensors() -> Iterator[Tensor]:
    hidden, inner, vocabulary, keys = 3584, 18944, 152064, 512

    def awq(name: str, inputs: int, outputs: int) -> Iterator[Tensor]:
        yield f"{name}.qweight", "I32", (inputs, outputs // 8)
        yield f"{name}.qzeros", "I32", (inputs // 128, outputs // 8)
        yield f"{name}.scales", "F16", (inputs // 128, outputs)

    yield "model.embed_tokens.weight", "F16", (vocabulary, hidden)
    for layer in range(28):
        prefix = f"model.layers.{layer}"
        for role, outputs in (("q_proj", hidden), ("k_proj", keys), ("v_proj", keys)):
            yield f"{prefix}.self_attn.{role}.bias", "F16", (outputs,)
            yield from awq(f"{prefix}.self_attn.{role}", hidden, outputs)
        yield from awq(f"{prefix}.self_attn.o_proj", hidden, hidden)
        yield from awq(f"{prefix}.mlp.gate_proj", hidden, inner)
        yield from awq(f"{prefix}.mlp.up_proj", hidden, inner)
        yield from awq(f"{prefix}.mlp.down_proj", inner, hidden)
        yield f"{prefix}.input_layernorm.weight", "F16", (hidden,)
        yield f"{prefix}.post_attention_layernorm.weight", "F16", (hidden,)
    yield "model.norm.weight", "F16", (hidden,)
    yield "lm_head.weight", "F16", (vocabulary, hidden)


# --- Mixtral-8x22B-Instruct-v0.1 ------------------------------------------------------------------------------------

MIXTRAL_8X22B: dict[str, Any] = {
    "architectures": ["MixtralForCausalLM"],
    "attention_dropout": 0.0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "hidden_act": "silu",
    "hidden_size": 6144,
    "initializer_range": 0.02,
    "intermediate_size": 16384,
    "max_position_embeddings": 65536,
    "model_type": "mixtral",
    "num_attention_heads": 48,
    "num_experts_per_tok": 2,
    "num_hidden_layers": 56,
    "num_key_value_heads": 8,
    "num_local_experts": 8,
    "output_router_logits": False,
    "rms_norm_eps": 1e-05,
    "rope_theta": 1000000.0,
    "router_aux_loss_coef": 0.001,
    "router_jitter_noise": 0.0,
    "sliding_window": None,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "transformers_version": "4.40.0.dev0",
    "use_cache": True,
    "vocab_size": 32768,
}


def mixtral_8x22b_tensors() -> Iterator[Tensor]:
    hidden, inner, vocabulary = 6144, 16384, 32768
    yield "model.embed_tokens.weight", "BF16", (vocabulary, hidden)
    for layer in range(56):
        prefix = f"model.layers.{layer}"
        for role, rows in (("k_proj", 1024), ("o_proj", hidden), ("q_proj", hidden), ("v_proj", 1024)):
            yield f"{prefix}.self_attn.{role}.weight", "BF16", (rows, hidden)
        yield f"{prefix}.block_sparse_moe.gate.weight", "BF16", (8, hidden)
        for expert in range(8):
            yield f"{prefix}.block_sparse_moe.experts.{expert}.w1.weight", "BF16", (inner, hidden)
            yield f"{prefix}.block_sparse_moe.experts.{expert}.w2.weight", "BF16", (hidden, inner)
            yield f"{prefix}.block_sparse_moe.experts.{expert}.w3.weight", "BF16", (inner, hidden)
        yield f"{prefix}.input_layernorm.weight", "BF16", (hidden,)
        yield f"{prefix}.post_attention_layernorm.weight", "BF16", (hidden,)
    yield "model.norm.weight", "BF16", (hidden,)
    yield "lm_head.weight", "BF16", (vocabulary, hidden)


MODELS: dict[str, Published] = {
    "llama-tiny": Published(LLAMA_TINY, lambda: llama_tensors(LLAMA_TINY), 1),
    "llama-tiny-sharded": Published(LLAMA_TINY, lambda: llama_tensors(LLAMA_TINY), 3),
    "llama-3.1-8b": Published(LLAMA_3_1_8B, lambda: llama_tensors(LLAMA_3_1_8B), 4),
    "llama-3.1-405b": Published(LLAMA_3_1_405B, lambda: llama_tensors(LLAMA_3_1_405B), 191),
    "deepseek-v3": Published(
        DEEPSEEK_V3,
        deepseek_v3_tensors,
        163,
        lambda number, count: f"model-{number + 1:05d}-of-{count:06d}.safetensors",
    ),
    "gpt-oss-120b": Published(
        GPT_OSS_120B,
        lambda: gpt_oss_tensors(layers=36, experts=128),
        15,
        lambda number, count: f"model-{number:05d}-of-{count - 1:05d}.safetensors",
    ),
    "qwen2.5-7b-awq": Published(QWEN_2_5_7B_AWQ, qwen_2_5_7b_awq_tensors, 2),
    "mixtral-8x22b": Published(MIXTRAL_8X22B, mixtral_8x22b_tensors, 59),
}
