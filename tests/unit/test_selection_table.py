"""Published configs through both profiles: a plan or a true refusal each, and nobody gets another model's runtime."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from ome_iac.hardware import shapes
from ome_iac.models.read import read_config
from ome_iac.planning.default_profile import Question, select
from ome_iac.planning.default_profile.proving import plan_alone
from ome_iac.spec.services import Intent
from tests.unit.ome_documents import shared

GENERATOR = Path(__file__).parents[2] / "docs" / "generate_selection.py"
TRUE_REFUSALS = {"qwen_7b": "dtype is not in config.json"}
"""Configs that cannot be planned, and what of them says so."""
RIGHT_ONES = {"mistral_7b_instruct": "vllm-mistral-7b-instruct"}
"""Of OME's own runtimes, those that the default profile selects; every other config gets an engine of ours."""


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_selection", GENERATOR)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_every_published_config_gets_a_plan_or_a_true_refusal(generator: ModuleType) -> None:
    known = generator.runtimes(shared("ome/runtimes"))
    found = {row.name: row for row in generator.rows(known, shared("hf-configs"))}
    assert len(found) == 34
    for name, row in found.items():
        assert bool(row.plan) != bool(row.refusal), name
    assert {name for name, row in found.items() if row.refusal} == set(TRUE_REFUSALS)
    for name, why in TRUE_REFUSALS.items():
        assert why in found[name].refusal


def test_no_config_gets_another_model_s_runtime(generator: ModuleType) -> None:
    known = generator.runtimes(shared("ome/runtimes"))
    declared: dict[str, str] = {}
    for path in sorted(shared("hf-configs").glob("*.json")):
        model = read_config(path)
        chosen = select(Question(generator.as_ome_reads_it(path.stem, model), model), known)
        if chosen.candidates and chosen.candidates[0].declared:
            declared[path.stem] = chosen.candidates[0].name
        assert (chosen.selected is None) == (path.stem in TRUE_REFUSALS), path.stem
    assert declared == RIGHT_ONES


def test_the_page_is_what_the_generator_writes_whatever_the_order(generator: ModuleType) -> None:
    known = generator.runtimes(shared("ome/runtimes"))
    rows = list(generator.rows(known, shared("hf-configs")))
    page = generator.render(rows, known)
    assert page == generator.render(list(generator.rows(known[::-1], shared("hf-configs"))), known)
    assert f"Ours plans {34 - len(TRUE_REFUSALS)} of 34" in page


def test_without_the_data_the_page_is_left_as_it_is(
    generator: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = generator.PAGE.read_bytes()
    monkeypatch.setattr(generator, "DATA", tmp_path)
    for arguments in (["generate_selection.py"], ["generate_selection.py", "--check"]):
        monkeypatch.setattr(sys, "argv", arguments)
        assert generator.main() == 0
        assert "../shared/data has no hf-configs and no ome/runtimes" in capsys.readouterr().err
    assert generator.PAGE.read_bytes() == before


DENSE = {
    "hidden_size": 4096,
    "intermediate_size": 12800,
    "num_hidden_layers": 40,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 49155,
    "max_position_embeddings": 32768,
    "torch_dtype": "bfloat16",
}
STRANGERS: dict[str, dict[str, Any]] = {
    "granite": {"architectures": ["GraniteForCausalLM"], "model_type": "granite", **DENSE},
    "starcoder2": {
        **DENSE,
        "architectures": ["Starcoder2ForCausalLM"],
        "model_type": "starcoder2",
        "hidden_size": 4608,
        "num_attention_heads": 36,
        "num_key_value_heads": 4,
        "use_bias": True,
    },
    "mixtral": {
        **DENSE,
        "architectures": ["MixtralForCausalLM"],
        "model_type": "mixtral",
        "num_local_experts": 8,
        "num_experts_per_tok": 2,
    },
    "xlm-roberta": {
        "architectures": ["XLMRobertaModel"],
        "model_type": "xlm-roberta",
        "hidden_size": 1024,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "intermediate_size": 4096,
        "vocab_size": 250002,
        "max_position_embeddings": 8194,
        "type_vocab_size": 1,
        "torch_dtype": "float32",
    },
    "awq": {
        **DENSE,
        "architectures": ["Qwen2ForCausalLM"],
        "model_type": "qwen2",
        "torch_dtype": "float16",
        "quantization_config": {"quant_method": "awq", "bits": 4, "group_size": 128, "zero_point": True},
    },
}


@pytest.mark.parametrize("family", sorted(STRANGERS))
def test_families_that_are_not_in_the_folder_are_planned_too(family: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(STRANGERS[family]))
    plan, problems = plan_alone(read_config(tmp_path / "config.json"), Intent(), shapes())
    assert problems == []
    assert plan is not None


@pytest.mark.parametrize(
    ("config", "why"),
    [
        (
            {**DENSE, "architectures": ["FooBarForCausalLM"], "model_type": "foobar"},
            "tensor shapes of model_type foobar",
        ),
        ({**DENSE, "architectures": ["SomeForCausalLM"], "model_type": "llama"}, "has no SomeForCausalLM for generate"),
    ],
)
def test_what_nothing_serves_is_refused_in_words(config: dict[str, Any], why: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    plan, problems = plan_alone(read_config(tmp_path / "config.json"), Intent(), shapes())
    assert plan is None
    assert why in "; ".join(problem.what for problem in problems)
