"""Counts derived from configs alone, held against what the publishers say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ome_iac.models.config_files import ConfigFiles
from ome_iac.models.families import Description, describe
from ome_iac.models.metadata import Role, Source
from tests.unit.published import FOLDER, PUBLISHED, Config, Published, llama, of

CONFIGS = Path(__file__).parents[2] / "../shared/data/hf-configs"


def described(config: Config) -> Description:
    return describe(ConfigFiles({"config.json": config}), None)


@pytest.mark.parametrize("model", PUBLISHED, ids=lambda model: model.name)
def test_derived_count_is_the_published_one(model: Published) -> None:
    made = described(model.config)
    assert made.parameters is not None, made.missing
    if model.exact:
        assert made.parameters.total == model.total
    else:
        assert made.parameters.total == pytest.approx(model.total, rel=0.01)
    assert made.provenance["parameters"].source is Source.DERIVED


@pytest.mark.parametrize("model", [model for model in PUBLISHED if model.active], ids=lambda model: model.name)
def test_active_parameters_are_those_on_the_card(model: Published) -> None:
    made = described(model.config)
    assert made.parameters is not None
    assert made.parameters.active == pytest.approx(model.active, rel=0.035)  # cards round to two digits
    assert made.experts is not None


def test_a_dense_model_is_wholly_active() -> None:
    for model in PUBLISHED:
        made = described(model.config)
        assert made.parameters is not None
        if made.experts is None:
            assert made.parameters.active == made.parameters.total, model.name


@pytest.mark.parametrize("name", sorted(FOLDER))
def test_the_shared_configs(name: str) -> None:
    path = CONFIGS / f"{name}.json"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    total, source = FOLDER[name]
    made = described(json.loads(path.read_text()))
    assert made.parameters is not None, made.missing
    if source == "Hub":
        assert made.parameters.total == total
    else:
        assert made.parameters.total == pytest.approx(total, rel=0.01)


def test_every_shared_config_is_in_the_table() -> None:
    if not CONFIGS.is_dir():
        pytest.skip(f"{CONFIGS} is not there")
    assert {path.stem for path in CONFIGS.glob("*.json")} == FOLDER.keys()


def test_active_of_the_openai_models() -> None:
    """5.13B and 3.61B on the card, which leaves the input embedding out."""
    for name, active in (("gpt_oss_120b", 5.13e9), ("gpt_oss_20b", 3.61e9)):
        path = CONFIGS / f"{name}.json"
        if not path.exists():
            pytest.skip(f"{path} is not there")
        made = described(json.loads(path.read_text()))
        assert made.parameters is not None
        assert made.parameters.active == pytest.approx(active, rel=0.002)


def test_multi_token_prediction_is_counted_apart() -> None:
    """DeepSeek-V3: 671B and 13.5B more in its files, which hold a second copy of embedding and head."""
    path = CONFIGS / "deepseek_v3.json"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    made = described(json.loads(path.read_text()))
    assert made.parameters is not None
    assert made.weights is not None
    assert made.parameters.total == 671_026_419_200
    assert made.parameters.total + made.parameters.multi_token_prediction == 684_489_845_504
    assert made.parameters.active == pytest.approx(36.7e9, rel=0.005)  # README_WEIGHTS.md of the publisher
    assert made.weights.by_role[Role.MULTI_TOKEN_PREDICTION] == 2 * made.parameters.multi_token_prediction
    assert made.layers == 61
    assert len(made.weights.by_layer) == 61


def test_bytes_follow_the_dtype_and_add_up() -> None:
    config = llama(4096, 14336, 32, 32, 8, 128256)
    half, whole = described(config), described({**config, "torch_dtype": "float32"})
    assert half.weights is not None
    assert whole.weights is not None
    assert half.weights.bytes == 16_060_522_496
    assert whole.weights.bytes == 2 * half.weights.bytes
    assert half.weights.by_dtype == {"BF16": half.weights.bytes}
    assert sum(half.weights.by_role.values()) == half.weights.bytes
    assert len(set(half.weights.by_layer)) == 1
    in_layers = sum(half.weights.by_layer)
    assert half.weights.bytes - in_layers == 2 * (2 * 128256 * 4096 + 4096)


def test_dtype_is_read_under_both_names() -> None:
    config = llama(64, 128, 2, 4, 4, 256)
    del config["torch_dtype"]
    assert described({**config, "dtype": "torch.bfloat16"}).dtype == "bfloat16"
    unknown = described(config)
    assert unknown.parameters is not None
    assert unknown.weights is None
    assert any(reason.startswith("weights: dtype") for reason in unknown.missing)


def test_tied_embeddings_count_once() -> None:
    config = llama(64, 128, 2, 4, 4, 256)
    untied, tied = described(config), described({**config, "tie_word_embeddings": True})
    assert untied.parameters is not None
    assert tied.parameters is not None
    assert untied.parameters.total - tied.parameters.total == 256 * 64
    assert tied.tied_embeddings
    assert not untied.tied_embeddings


def test_a_score_replaces_the_head() -> None:
    config = llama(64, 128, 2, 4, 4, 256)
    causal = described(config)
    scoring = described({**config, "architectures": ["LlamaForSequenceClassification"], "id2label": {"0": "reward"}})
    bare = described({**config, "architectures": ["LlamaModel"]})
    assert causal.parameters is not None
    assert scoring.parameters is not None
    assert bare.parameters is not None
    assert causal.parameters.total - bare.parameters.total == 256 * 64
    assert scoring.parameters.total - bare.parameters.total == 64


def test_experts_are_described() -> None:
    made = described(of("mixtral", "MixtralForCausalLM"))
    assert made.experts is not None
    assert (made.experts.routed, made.experts.active, made.experts.shared) == (8, 2, 0)
    assert made.experts.layers == "0-31"
