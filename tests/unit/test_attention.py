"""Attention geometry, states, and the usable context."""

from __future__ import annotations

from typing import Any

import pytest

from ome_iac.models.config_files import ConfigFiles
from ome_iac.models.families import Description, describe
from ome_iac.models.metadata import Attention
from tests.unit.published import LARGE, PUBLISHED, Config, bert_like, decoder, deepseek, llama, of

KNOWN = {model.name: model.config for model in PUBLISHED}


def described(config: Config, **others: Any) -> Description:
    return describe(ConfigFiles({"config.json": config, **others}), None)


def groups(config: Config) -> list[tuple[str, str, int, int, int, int | None]]:
    return [(one.kind, one.layers, one.heads, one.kv_heads, one.head_dim, one.window) for one in attention(config)]


def attention(config: Config) -> tuple[Attention, ...]:
    return described(config).attention


def test_grouped_queries() -> None:
    assert groups(KNOWN["Llama-3.1-8B"]) == [("full", "0-31", 32, 8, 128, None)]


def test_all_heads_where_the_config_leaves_kv_heads_out() -> None:
    config = llama(64, 128, 2, 4, 4, 256)
    del config["num_key_value_heads"]
    assert groups(config) == [("full", "0-1", 4, 4, 16, None)]


def test_one_kv_head() -> None:
    assert groups(KNOWN["StarCoder"])[0][3] == 1
    assert groups(KNOWN["Falcon-7B"])[0][3] == 1
    assert groups(KNOWN["Falcon-40B"])[0][3] == 8


def test_the_familys_head_size_is_used_where_the_config_leaves_it_out() -> None:
    assert groups(KNOWN["Gemma-7B"]) == [("full", "0-27", 16, 16, 256, None)]


@pytest.mark.parametrize(
    ("keys", "sliding"),
    [
        ({"sliding_window": 4096}, "0-3"),
        ({"sliding_window": None}, None),
        ({"sliding_window": 4096, "use_sliding_window": False}, None),
        ({"sliding_window": 4096, "use_sliding_window": True, "max_window_layers": 3}, "3"),
        ({"sliding_window": 65536}, None),  # holds the whole context
        ({"sliding_window": 4096, "layer_types": ["full_attention", *["sliding_attention"] * 3]}, "1-3"),
        ({"sliding_window": 4096, "sliding_window_pattern": 2}, "0,2"),
        ({"sliding_window": 4096, "sliding_window_pattern": "LLGL"}, "0-1,3"),
    ],
)
def test_sliding_windows(keys: Config, sliding: str | None) -> None:
    config = decoder("mistral", "MistralForCausalLM", 64, 128, 4, 4, 2, 256, max_position_embeddings=32768, **keys)
    found = {one.kind: one.layers for one in attention(config)}
    assert found.get("sliding") == sliding
    assert set(found) == ({"sliding"} if sliding == "0-3" else {"full"} if sliding is None else {"sliding", "full"})


def test_mistral_slides_by_default_and_not_where_null() -> None:
    base = decoder("mistral", "MistralForCausalLM", 64, 128, 2, 4, 2, 256, max_position_embeddings=32768)
    assert groups(base)[0][0::5] == ("sliding", 4096)
    assert groups({**base, "sliding_window": None})[0][0] == "full"


def test_gemma_3_has_one_full_layer_in_six() -> None:
    config = decoder("gemma3_text", "Gemma3ForCausalLM", 64, 128, 12, 4, 1, 256, head_dim=16, sliding_window=512)
    assert groups(config) == [("sliding", "0-4,6-10", 4, 1, 16, 512), ("full", "5,11", 4, 1, 16, None)]


def test_gemma_4_has_global_layers_of_another_shape() -> None:
    config = decoder("gemma4_text", "Gemma4ForCausalLM", 64, 128, 6, 4, 2, 256, head_dim=16)
    config |= {"global_head_dim": 32, "num_global_key_value_heads": 1, "attention_k_eq_v": True, "sliding_window": 512}
    assert groups(config) == [("sliding", "0-4", 4, 2, 16, 512), ("full", "5", 4, 1, 32, None)]


def test_layers_that_share_a_cache_keep_none() -> None:
    config = of("gemma3n_text", "Gemma3nForCausalLM")
    cached = sum(len(one.layer_indices) for one in attention(config) if one.kv_heads)
    assert cached == 35 - 15


def test_llama_4_chunks_but_for_every_fourth_layer() -> None:
    text = KNOWN["Llama-4-Scout"]["text_config"]
    found = attention({**text, "model_type": "llama4_text"})
    assert [(one.kind, one.window, len(one.layer_indices)) for one in found] == [
        ("chunked", 8192, 36),
        ("full", None, 12),
    ]


def test_latent_attention() -> None:
    (found,) = attention(KNOWN["DeepSeek-V2"])
    assert (found.kind, found.heads, found.head_dim, found.value_head_dim) == ("mla", 128, 192, 128)
    assert (found.latent_dim, found.rope_head_dim) == (512, 64)


def test_deepseek_without_latent_attention() -> None:
    config = deepseek("deepseek_v2", "DeepseekV2ForCausalLM", 64, 128, 2, 4, vocab=256, use_mla=False)
    config |= {"n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "n_shared_experts": 1}
    assert groups(config) == [("full", "0-1", 4, 4, 16, None)]


def test_gated_delta_nets_keep_a_state() -> None:
    linear, full = attention(KNOWN["Qwen3-Next-80B-A3B"])
    assert (linear.kind, len(linear.layer_indices), full.layers) == ("linear", 36, "3,7,11,15,19,23,27,31,35,39,43,47")
    assert linear.state_bytes == 2 * (3 * (2 * 16 * 128 + 32 * 128) + 32 * 128 * 128)
    assert (full.heads, full.kv_heads, full.head_dim) == (16, 2, 256)


def test_a_state_kept_in_float32_is_larger() -> None:
    config = {**KNOWN["Qwen3-Next-80B-A3B"], "mamba_ssm_dtype": "float32"}
    assert attention(config)[0].state_bytes == 2 * 3 * 8192 + 4 * 32 * 128 * 128


def test_jamba() -> None:
    mamba, full = attention(KNOWN["Jamba-v0.1"])
    assert (mamba.kind, len(mamba.layer_indices), mamba.state_bytes) == ("mamba", 28, 2 * (8192 * 3 + 8192 * 16))
    assert full.layers == "4,12,20,28"


def test_mamba_has_no_kv_cache() -> None:
    (found,) = attention(KNOWN["Mamba-130M"])
    assert (found.kind, found.kv_heads, found.state_bytes) == ("mamba", 0, 2 * 1536 * (3 + 16))


def test_nemotron_h_reads_its_pattern() -> None:
    found = {one.kind: len(one.layer_indices) for one in attention(KNOWN["Nemotron-H-8B"])}
    assert found == {"mamba": 24, "full": 4}


def test_lightning_attention() -> None:
    found = {one.kind: len(one.layer_indices) for one in attention(KNOWN["MiniMax-Text-01"])}
    assert found == {"linear": 70, "full": 10}


def test_cross_attention_of_llama_vision() -> None:
    config = decoder("mllama_text_model", "MllamaForCausalLM", 64, 128, 5, 4, 2, 256, cross_attention_layers=[1, 3])
    assert [(one.kind, one.layers) for one in attention(config)] == [("full", "0,2,4"), ("cross", "1,3")]


def test_an_encoder_decoder_attends_twice() -> None:
    assert [(one.kind, one.layers) for one in attention(KNOWN["t5-base"])] == [("full", "0-11"), ("cross", "0-11")]


def test_encoders_have_no_cache() -> None:
    assert [one.kind for one in attention(KNOWN["bert-base-uncased"])] == ["encoder"]


def scaled(positions: int, **scaling: Any) -> int | None:
    config = llama(64, 128, 2, 4, 4, 256, max_position_embeddings=positions, rope_scaling=scaling or None)
    return described(config).context_length


def test_context_includes_scaling_once() -> None:
    llama3 = {"rope_type": "llama3", "factor": 8.0, "original_max_position_embeddings": 8192}
    yarn = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}
    assert scaled(8192) == 8192
    assert scaled(131072, **llama3) == 131072
    assert scaled(32768, **yarn) == 131072
    assert scaled(131072, **yarn) == 131072
    assert scaled(40960, type="yarn", factor=4.0, original_max_position_embeddings=32768) == 131072
    assert scaled(4096, type="linear", factor=4.0) == 16384
    assert scaled(4096, type="dynamic", factor=2.0) == 8192
    assert scaled(131072, type="longrope", short_factor=[1.0], long_factor=[4.0]) == 131072
    assert scaled(32768, type="mrope", mrope_section=[16, 24, 24]) == 32768


@pytest.mark.parametrize("factor", ["four", None, True, [], -2, 1e300, float("nan"), float("inf")])
def test_scaling_that_makes_no_sense_is_left_alone(factor: object) -> None:
    assert scaled(4096, type="linear", factor=factor) == 4096


def test_gemma_3_states_its_scaled_length() -> None:
    assert described(KNOWN["gemma-3-27b-it"]).context_length == 131072


def test_the_smallest_of_several_lengths_counts() -> None:
    config = of("qwen", "QWenLMHeadModel", hidden_size=64, max_position_embeddings=32768, seq_length=8192)
    assert described(config).context_length == 8192


def test_learned_positions_are_the_limit() -> None:
    assert described(KNOWN["GPT-2"]).context_length == 1024
    assert described(KNOWN["bert-base-uncased"]).context_length == 512
    assert described(KNOWN["whisper-large-v3"]).context_length == 448


def test_paddings_rows_are_not_positions() -> None:
    assert described(KNOWN["bge-m3"]).context_length == 8192
    roberta = bert_like("roberta", "RobertaModel", 50265, max_position_embeddings=514, pad_token_id=1, **LARGE)
    assert described(roberta).context_length == 512


def test_sentence_transformers_limit_comes_first() -> None:
    made = described(KNOWN["bert-base-uncased"], **{"sentence_bert_config.json": {"max_seq_length": 256}})
    assert made.context_length == 256
    assert made.provenance["contextLength"].file == "sentence_bert_config.json"
