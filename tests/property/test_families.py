"""Whatever a config says, `describe` answers: consistent where it knows, silent where not, never with a traceback."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ome_iac.models.config_files import ConfigFiles
from ome_iac.models.families import Description, derived_tensors, describe
from ome_iac.models.families.library import LAYOUTS
from ome_iac.models.families.recipes import RECIPES
from ome_iac.models.metadata import Role
from ome_iac.models.tensors import TensorTable
from tests.unit.published import PUBLISHED

FAMILIES = sorted(
    {*RECIPES, *LAYOUTS, "llava", "gemma3", "qwen2_vl", "mllama", "llama4", "brandnew", "minicpmv", "clip"}
)
EXPERTS = {"mixtral", "qwen2_moe", "qwen3_moe", "olmoe", "granitemoe", "phimoe"}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
KEYS = sorted(
    {
        key
        for model in PUBLISHED
        for level in (model.config, *(value for value in model.config.values() if isinstance(value, dict)))
        for key in level
    }
    | {"rope_scaling", "quantization_config", "auto_map", "layer_types", "sliding_window", "num_nextn_predict_layers"}
)


@st.composite
def configs(draw: st.DrawFn, families: list[str]) -> dict[str, Any]:
    """A small, valid decoder's config."""
    heads = draw(st.sampled_from([2, 4, 8]))
    return {
        "model_type": draw(st.sampled_from(families)),
        "architectures": ["AnyForCausalLM"],
        "torch_dtype": draw(st.sampled_from(["bfloat16", "float16", "float32"])),
        "hidden_size": heads * draw(st.sampled_from([8, 16, 24])),
        "intermediate_size": draw(st.integers(1, 64)) * 8,
        "num_hidden_layers": draw(st.integers(1, 6)),
        "num_attention_heads": heads,
        "num_key_value_heads": draw(st.sampled_from([1, 2])),
        "head_dim": draw(st.sampled_from([8, 16])),
        "vocab_size": draw(st.integers(10, 500)),
        "max_position_embeddings": draw(st.integers(16, 100_000)),
        "num_local_experts": 4,
        "num_experts": 4,
        "num_experts_per_tok": draw(st.integers(1, 4)),
        "moe_intermediate_size": 16,
        "shared_expert_intermediate_size": 16,
        "tie_word_embeddings": draw(st.booleans()),
        "attention_bias": draw(st.booleans()),
    }


def described(config: dict[str, Any], tensors: TensorTable | None = None) -> Description:
    return describe(ConfigFiles({"config.json": config}), tensors)


@given(configs(sorted(RECIPES)))
def test_a_derived_list_is_consistent(config: dict[str, Any]) -> None:
    made = described(config)
    assert made.parameters is not None
    assert made.weights is not None
    assert 0 < made.parameters.active <= made.parameters.total
    assert sum(made.weights.by_role.values()) == made.weights.bytes == sum(made.weights.by_dtype.values())
    assert len(made.weights.by_layer) == made.layers == config["num_hidden_layers"]
    assert sum(made.weights.by_layer) <= made.weights.bytes
    assert Role.OTHER not in made.weights.by_role
    seen = sorted(layer for one in made.attention for layer in one.layer_indices)
    assert seen == list(range(config["num_hidden_layers"]))
    read = described(config, derived_tensors(ConfigFiles({"config.json": config})))
    assert (read.parameters, read.weights, read.attention) == (made.parameters, made.weights, made.attention)


@given(configs(sorted(RECIPES)), st.sampled_from(["num_hidden_layers", "vocab_size", "intermediate_size"]))
def test_a_larger_model_has_more_parameters(config: dict[str, Any], key: str) -> None:
    smaller, larger = described(config), described({**config, key: config[key] + 8})
    assert smaller.parameters is not None
    assert larger.parameters is not None
    assert larger.parameters.total >= smaller.parameters.total
    if key != "intermediate_size" or larger.experts is None:
        assert larger.parameters.total > smaller.parameters.total


@given(configs(sorted(EXPERTS)))
def test_more_active_experts_never_fewer_active_parameters(config: dict[str, Any]) -> None:
    one, all_ = described({**config, "num_experts_per_tok": 1}), described({**config, "num_experts_per_tok": 4})
    assert one.parameters is not None
    assert all_.parameters is not None
    assert one.parameters.total == all_.parameters.total
    assert one.parameters.active <= all_.parameters.active


@given(st.sampled_from(PUBLISHED), st.randoms(use_true_random=False))
@settings(max_examples=20, deadline=None)
def test_order_of_keys_does_not_matter(model: Any, random: Any) -> None:
    keys = list(model.config)
    random.shuffle(keys)
    assert described({key: model.config[key] for key in keys}) == described(model.config)


@given(configs(FAMILIES), st.dictionaries(st.sampled_from(KEYS), JSON, max_size=6))
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_garbage_in_a_valid_config_is_survived(config: dict[str, Any], garbage: dict[str, Any]) -> None:
    made = described(config | garbage)
    assert made.parameters is not None or made.missing
    assert Description.model_validate_json(made.model_dump_json(by_alias=True)) == made


@given(st.sampled_from(FAMILIES), st.dictionaries(st.sampled_from(KEYS), JSON, max_size=10))
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_garbage_alone_is_survived(family: str, garbage: dict[str, Any]) -> None:
    described({"model_type": family, "architectures": ["AnyForCausalLM"], **garbage})


FILES = (
    "config.json",
    "adapter_config.json",
    "model_index.json",
    "modules.json",
    "params.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "hf_quant_config.json",
    "quantize_config.json",
    "sentence_bert_config.json",
    "preprocessor_config.json",
    "README.md",
)


@given(
    st.dictionaries(st.sampled_from(FILES), JSON, max_size=4), st.none() | st.dictionaries(st.text(), JSON, max_size=4)
)
def test_garbage_in_any_file_is_survived(files: dict[str, Any], gguf: dict[str, Any] | None) -> None:
    describe(ConfigFiles(files, gguf=gguf), None)


WORDS = st.sampled_from(
    [
        "model",
        "layers",
        "0",
        "1",
        "7",
        "self_attn",
        "mlp",
        "experts",
        "q_proj",
        "k_proj",
        "gate",
        "up_proj",
        "weight",
        "qweight",
        "scales",
        "qzeros",
        "weight_scale",
        "bias",
        "weight_packed",
        "W_q",
        "absmax",
        "_blocks",
        "lm_head",
        "embed_tokens",
        "visual",
        "lora_A",
        "mtp",
        "eh_proj",
        "norm",
        "A_log",
        "99999999999",
    ]
)
TENSORS = st.lists(
    st.tuples(
        st.lists(WORDS, min_size=1, max_size=7).map(".".join),
        st.sampled_from(["BF16", "F32", "F8_E4M3", "U8", "I8", "I32", "I64", "BOOL", "F8_E8M0"]),
        st.lists(st.integers(0, 4096), max_size=4).map(tuple),
        st.integers(0, 10**9),
    ),
    max_size=30,
    unique_by=lambda row: row[0],
)
DECLARED = st.none() | st.fixed_dictionaries(
    {"quant_method": st.sampled_from(["awq", "gptq", "fp8", "hqq", "compressed-tensors", "bitnet", "?"])},
    optional={"bits": JSON, "group_size": JSON, "weight_block_size": JSON, "config_groups": JSON, "ignore": JSON},
)


@given(configs(FAMILIES), TENSORS, DECLARED, st.sampled_from(["safetensors", "gguf"]))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_header_is_survived_and_adds_up(
    config: dict[str, Any], rows: list[Any], declared: dict[str, Any] | None, weight_format: str
) -> None:
    table = TensorTable(weight_format)
    for name, dtype, shape, size in rows:
        table.append(name, dtype, shape, size, "model.safetensors")
    made = described({**config, "quantization_config": declared, "tie_word_embeddings": False}, table)
    if rows:
        assert made.weights is not None
        assert made.weights.bytes == table.bytes == sum(made.weights.by_role.values())
