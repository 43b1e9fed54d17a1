"""Config normalisation, unknown families, and headers that contradict the config."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import ome_iac.models.families
from ome_iac.models.config_files import ConfigFiles
from ome_iac.models.families import Description, derived_tensors, describe
from ome_iac.models.families.audio_towers import AUDIO
from ome_iac.models.families.library import ALIASES, LAYOUTS
from ome_iac.models.families.recipes import RECIPES
from ome_iac.models.families.towers import VISION
from ome_iac.models.metadata import Evidence, ModelMetadata, Role, Source
from ome_iac.models.tensors import TensorTable
from tests.make_weights import MODELS
from tests.unit.published import PUBLISHED, Config, Published, decoder, llama
from tests.unit.test_quantization import table

SMALL = llama(64, 128, 2, 4, 2, 256, max_position_embeddings=2048)


def described(config: Config, tensors: TensorTable | None = None, **others: Any) -> Description:
    return describe(ConfigFiles({"config.json": config, **others}), tensors)


def stored(config: Config) -> TensorTable:
    tensors = derived_tensors(ConfigFiles({"config.json": config}))
    assert tensors is not None
    return tensors


def test_description_has_the_fields_of_the_metadata() -> None:
    of_the_source = {"source", "revision", "gated", "files"}
    assert Description.model_fields.keys() == ModelMetadata.model_fields.keys() - of_the_source


@pytest.mark.parametrize("model", PUBLISHED, ids=lambda model: model.name)
def test_headers_of_the_derived_list_give_the_same(model: Published) -> None:
    """Header path and derivation agree for every family: names are understood, nothing is counted twice."""
    config = {"torch_dtype": "float32", **model.config}
    alone, read = described(config), described(config, stored(config))
    assert read.parameters == alone.parameters
    assert read.weights == alone.weights
    assert read.attention == alone.attention
    assert (read.layers, read.hidden_size, read.vocabulary_size) == (
        alone.layers,
        alone.hidden_size,
        alone.vocabulary_size,
    )
    assert read.weights is not None
    assert not read.weights.by_role.get(Role.OTHER, 0) > 0.001 * read.weights.bytes
    contradictions = [warning for warning in read.warnings if "weights win" in warning]
    assert contradictions == []


@pytest.mark.parametrize(
    ("name", "total", "bytes_"),
    [
        ("llama-3.1-405b", 405_853_388_800, 811_706_777_600),
        ("deepseek-v3", 671_026_419_200, None),
        ("gpt-oss-120b", 116_829_156_672, None),
        ("qwen2.5-7b-awq", 7_615_616_512, None),
        ("mixtral-8x22b", 140_630_071_296, 281_260_142_592),
    ],
)
def test_real_headers_are_counted_exactly(name: str, total: int, bytes_: int | None) -> None:
    model = MODELS[name]
    tensors = table(model.tensors())
    made = described(model.config, tensors)
    assert made.parameters is not None
    assert made.weights is not None
    assert made.parameters.total == total
    assert made.weights.bytes == (bytes_ or tensors.bytes)
    assert made.provenance["parameters"].source is Source.HEADER
    assert made.weights.by_role.get(Role.OTHER) is None
    derived = described(model.config)
    assert derived.parameters == made.parameters


def test_other_spellings_mean_the_same() -> None:
    other = {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "dtype": "bfloat16",
        "n_embd": 64,
        "ffn_hidden_size": 128,
        "n_layer": 2,
        "n_head": 4,
        "num_kv_heads": 2,
        "vocab_size": 256,
        "max_position_embeddings": 2048,
    }
    ours, theirs = described(SMALL), described(other)
    assert (ours.parameters, ours.weights, ours.attention) == (theirs.parameters, theirs.weights, theirs.attention)
    assert theirs.provenance["hiddenSize"] == Evidence(source=Source.CONFIG, file="config.json", detail="n_embd")


@pytest.mark.parametrize("key", ["text_config", "llm_config", "language_config"])
def test_nested_text_configs(key: str) -> None:
    config = {"model_type": "llava", "architectures": ["LlavaForConditionalGeneration"], key: SMALL}
    made = described(config)
    assert (made.layers, made.hidden_size, made.vocabulary_size) == (2, 64, 256)
    assert made.provenance["hiddenSize"].detail == f"{key}.hidden_size"
    assert made.parameters is None
    assert any("vision_config" in reason for reason in made.missing)


def test_missing_keys_are_the_familys_and_say_so() -> None:
    made = described({"model_type": "llama", "architectures": ["LlamaForCausalLM"], "torch_dtype": "float16"})
    assert made.parameters is not None
    assert made.parameters.total == 6_738_415_616
    assert made.provenance["hiddenSize"].source is Source.FAMILY
    assert made.provenance["dtype"].source is Source.CONFIG


def test_order_of_keys_does_not_matter() -> None:
    assert described(dict(reversed(SMALL.items()))) == described(SMALL)


def test_everything_missing_is_said_at_once() -> None:
    made = described({"model_type": "internlm2", "architectures": ["InternLM2ForCausalLM"]})
    for key in ("hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size"):
        assert any(f"{key} is not in config.json" in reason for reason in made.missing)


@pytest.mark.parametrize(
    "changed",
    [
        {"hidden_size": "4096"},
        {"num_hidden_layers": -1},
        {"num_hidden_layers": 10**9},
        {"vocab_size": float("inf")},
        {"vocab_size": 2**80},
        {"num_attention_heads": [4]},
        {"num_attention_heads": 10**6},
    ],
)
def test_garbage_is_named_not_guessed(changed: Config) -> None:
    made = described({**SMALL, **changed})
    assert made.parameters is None
    assert made.weights is None
    assert any(next(iter(changed)) in reason for reason in made.missing)


@pytest.mark.parametrize(
    "config", [{}, {"model_type": 7}, {"architectures": "x"}, {"text_config": [], "model_type": None}]
)
def test_an_empty_or_wrong_config_is_unknown(config: Config) -> None:
    made = described(config)
    assert made.parameters is None
    assert made.missing


UNKNOWN = {
    "model_type": "brandnew",
    "architectures": ["BrandNewForCausalLM"],
    "torch_dtype": "bfloat16",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 256,
    "max_position_embeddings": 2048,
    "rms_norm_eps": 1e-6,
    "hidden_act": "silu",
    "tie_word_embeddings": False,
}


def test_an_unknown_family_by_the_standard_keys() -> None:
    known, unknown = described(SMALL), described(UNKNOWN)
    assert (known.parameters, known.attention) == (unknown.parameters, unknown.attention)


@pytest.mark.parametrize(
    "changed",
    [
        {"num_experts": 8},
        {"kv_lora_rank": 512},
        {"use_qk_norm": True},
        {"hidden_act": "gelu"},
        {"tie_word_embeddings": None},
        {"mamba_d_state": 16},
        {"shared_attention_every": 3},
    ],
)
def test_an_unknown_family_with_anything_more_is_unknown(changed: Config) -> None:
    made = described({**UNKNOWN, **changed})
    assert made.parameters is None
    assert any("brandnew" in reason for reason in made.missing)


def test_an_unknown_family_works_from_headers() -> None:
    config = {**UNKNOWN, "new_kind_of_experts": 3}
    made = described(config, stored(SMALL))
    plain = described(SMALL)
    assert made.parameters == plain.parameters
    assert made.weights == plain.weights
    assert (made.layers, made.hidden_size, made.vocabulary_size, made.intermediate_size) == (2, 64, 256, 128)
    assert [(one.kind, one.layers, one.heads, one.kv_heads, one.head_dim) for one in made.attention] == [
        ("full", "0-1", 4, 2, 16)
    ]
    assert made.provenance["attention"].source is Source.HEADER
    assert made.missing == () or all("chats" in reason for reason in made.missing)


def test_headers_without_any_config() -> None:
    made = describe(ConfigFiles({}), stored(SMALL))
    assert made.parameters is not None
    assert made.parameters == described(SMALL).parameters
    assert (made.layers, made.hidden_size, made.vocabulary_size) == (2, 64, 256)
    assert made.attention == ()
    assert any("heads" in reason for reason in made.missing)


def test_an_unknown_mixture_without_its_number_of_active_experts() -> None:
    config = decoder("mixtral", "MixtralForCausalLM", 64, 128, 2, 4, 2, 256, num_local_experts=4, num_experts_per_tok=2)
    tensors = stored(config)
    unknown = {"model_type": "brandnew", "architectures": ["BrandNewForCausalLM"], "num_attention_heads": 4}
    silent, stated = described(unknown, tensors), described({**unknown, "num_experts_per_tok": 2}, tensors)
    assert silent.experts is None
    assert any("parameters.active" in reason for reason in silent.missing)
    assert stated.experts is not None
    assert (stated.experts.routed, stated.experts.active, stated.experts.layers) == (4, 2, "0-1")
    assert stated.parameters == described(config).parameters


@pytest.mark.parametrize(
    ("wrong", "key"),
    [
        ({"num_hidden_layers": 3}, "layers"),
        ({"hidden_size": 128, "head_dim": 16}, "hidden_size"),
        ({"vocab_size": 300}, "vocabulary_size"),
        ({"num_key_value_heads": 4}, "attention"),
    ],
)
def test_headers_win_over_the_config(wrong: Config, key: str) -> None:
    right, made = described(SMALL), described({**SMALL, **wrong}, stored(SMALL))
    assert made.parameters == right.parameters
    assert getattr(made, key) == getattr(right, key)
    assert any("the weights win" in warning for warning in made.warnings)


def test_a_head_stored_beside_the_embedding_it_is_tied_to_counts_once() -> None:
    tensors = stored(SMALL)
    untied, tied = described(SMALL, tensors), described({**SMALL, "tie_word_embeddings": True}, tensors)
    assert untied.parameters is not None
    assert tied.parameters is not None
    assert untied.weights is not None
    assert tied.weights is not None
    assert untied.parameters.total - tied.parameters.total == 256 * 64
    assert untied.weights.bytes - tied.weights.bytes == 2 * 256 * 64


def test_without_a_stored_head_the_embedding_is_it() -> None:
    config = {key: value for key, value in SMALL.items() if key != "tie_word_embeddings"}
    tensors = stored({**SMALL, "tie_word_embeddings": True})
    made = described(config, tensors)
    assert made.tied_embeddings
    assert not described(config, stored(SMALL)).tied_embeddings


def test_the_headers_confirm_sizes_and_dtype() -> None:
    config = {key: value for key, value in SMALL.items() if key != "torch_dtype"}
    made = described(config, stored(SMALL))
    assert made.dtype == "bfloat16"
    for fact in ("layers", "hiddenSize", "vocabularySize", "dtype"):
        assert made.provenance[fact].source is Source.HEADER


def test_buffers_are_bytes_not_parameters() -> None:
    rows = [(tensor.name, tensor.dtype, tensor.shape) for tensor in stored(SMALL)]
    rows += [
        ("model.layers.0.self_attn.rotary_emb.inv_freq", "F32", (8,)),
        ("embeddings.position_ids", "I64", (1, 512)),
    ]
    rows += [("transformer.h.0.attn.bias", "F32", (1, 1, 8, 8))]
    made = described(SMALL, table(rows))
    assert made.parameters == described(SMALL).parameters
    assert made.weights is not None
    assert made.weights.bytes == table(rows).bytes


def test_mistrals_own_params() -> None:
    params = {
        "dim": 4096,
        "n_layers": 32,
        "head_dim": 128,
        "hidden_dim": 14336,
        "n_heads": 32,
        "n_kv_heads": 8,
        "vocab_size": 32000,
    }
    made = describe(ConfigFiles({"params.json": params}), None)
    assert made.parameters is not None
    assert made.parameters.total == 7_241_732_096
    assert made.provenance["layers"].file == "params.json"


def test_every_line_of_defaults_is_some_familys() -> None:
    text = (Path(ome_iac.models.families.__file__).parent / "defaults.yaml").read_text()
    assert yaml.safe_load(text).keys() <= {*RECIPES, *LAYOUTS, *ALIASES, *VISION, *AUDIO}


def test_the_reference_page_is_up_to_date() -> None:
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "docs/generate_families.py", "--check"], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_same_input_same_bytes() -> None:
    config = MODELS["gpt-oss-120b"].config
    first, second = described(config), described(config)
    assert first.model_dump_json(by_alias=True) == second.model_dump_json(by_alias=True)
