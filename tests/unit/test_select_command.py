"""`ome-iac select`: documents in, JSON or text and an exit code out."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from typer.testing import CliRunner, Result

from ome_iac.cli.select import select
from ome_iac.models.lock import Lock, LockEntry
from ome_iac.models.read import read_config
from ome_iac.problems import ProblemsError
from tests.unit.ome_documents import entry, shared

app = typer.Typer()
app.command()(select)


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def ome(*arguments: str | Path) -> Result:
    return run(*arguments, "--profile", "ome")


def problems(*arguments: str | Path) -> list[str]:
    result = ome(*arguments)
    assert isinstance(result.exception, ProblemsError), result.output
    assert result.stdout == ""
    return [str(problem) for problem in result.exception.problems]


def document(kind: str, name: str, spec: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    return {"apiVersion": "ome.io/v1beta1", "kind": kind, "metadata": {"name": name, **metadata}, "spec": spec}


MODEL = document("ClusterBaseModel", "m", {"modelFormat": {"name": "safetensors"}})
GOOD = document("ClusterServingRuntime", "good", {"supportedModelFormats": [entry()]})
OFF = document("ClusterServingRuntime", "off", {"disabled": True, "supportedModelFormats": [entry()]})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "runtimes" / "below").mkdir(parents=True)
    (tmp_path / "model.yaml").write_text(yaml.safe_dump(MODEL))
    (tmp_path / "runtimes" / "kustomization.yaml").write_text("kind: Kustomization\nresources: [good.yaml]\n")
    (tmp_path / "runtimes" / "good.yaml").write_text(yaml.safe_dump_all([GOOD, MODEL]))
    (tmp_path / "runtimes" / "below" / "off.json").write_text(json.dumps(OFF, indent="\t"))
    return tmp_path


def test_the_json_of_a_selection(folder: Path) -> None:
    result = ome("--model", folder / "model.yaml", "--runtimes", folder / "runtimes", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {
        "selected": "good",
        "candidates": [{"name": "good", "score": 10}],
        "rejected": [{"name": "off", "reasons": ["runtime is disabled"]}],
        "error": None,
    }


def test_the_json_of_no_selection(folder: Path) -> None:
    (folder / "runtimes" / "good.yaml").unlink()
    (folder / "model.json").write_text(json.dumps(MODEL))
    (folder / "service.json").write_text(json.dumps(document("InferenceService", "s", {}, namespace="ns")))
    result = ome(
        *("--model", folder / "model.json", "--runtimes", folder / "runtimes"),
        *("--service", folder / "service.json", "--json"),
    )
    assert result.exit_code == 1
    assert json.loads(result.stdout) == {
        "selected": None,
        "candidates": [],
        "rejected": [{"name": "off", "reasons": ["runtime is disabled"]}],
        "error": "no runtime found to support model safetensors with format safetensors in namespace ns. "
        "Checked 1 runtimes (0 namespace-scoped, 1 cluster-scoped). Excluded runtimes: off (runtime is disabled)",
    }


def test_the_json_of_a_check(folder: Path) -> None:
    asked = ("--model", folder / "model.yaml", "--runtimes", folder / "runtimes", "--json")
    good = ome(*asked, "--runtime", "good")
    assert (good.exit_code, json.loads(good.stdout)) == (0, {"valid": True, "reasons": [], "error": None})
    off = ome(*asked, "--runtime", "off")
    refused = {"valid": False, "reasons": ["runtime is disabled"], "error": "cluster-scoped runtime off is disabled"}
    assert (off.exit_code, json.loads(off.stdout)) == (1, refused)


def test_a_service_s_accelerators_and_its_runtime_count(folder: Path) -> None:
    asked = (
        "--model",
        folder / "model.yaml",
        "--runtimes",
        folder / "runtimes",
        "--service",
        folder / "s.yaml",
        "--json",
    )
    annotated = document(
        "InferenceService", "s", {"model": {"name": "m"}}, annotations={"ome.io/accelerator-class": "x"}
    )
    (folder / "s.yaml").write_text(yaml.safe_dump(annotated))
    assert json.loads(ome(*asked).stdout)["selected"] is None
    (folder / "s.yaml").write_text(yaml.safe_dump(document("InferenceService", "s", {"runtime": {"name": "off"}})))
    assert json.loads(ome(*asked).stdout)["valid"] is False
    assert json.loads(ome(*asked, "--runtime", "good").stdout)["valid"] is True


def test_runtimes_of_one_namespace_are_in_reach_without_a_service(folder: Path) -> None:
    mine = document("ServingRuntime", "mine", {"supportedModelFormats": [entry()]}, namespace="team")
    (folder / "runtimes" / "mine.yaml").write_text(yaml.safe_dump(mine))
    asked = ("--model", folder / "model.yaml", "--runtimes", folder / "runtimes", "--json")
    assert json.loads(ome(*asked).stdout)["selected"] == "mine"
    (folder / "s.yaml").write_text(yaml.safe_dump(document("InferenceService", "s", {}, namespace="else")))
    assert json.loads(ome(*asked, "--service", folder / "s.yaml").stdout)["selected"] == "good"


def test_the_text(folder: Path) -> None:
    asked = ("--model", folder / "model.yaml", "--runtimes", folder / "runtimes")
    assert ome(*asked).stdout == "selected  good, score 10\nnot       off: runtime is disabled\n"
    assert ome(*asked, "--runtime", "good").stdout == "valid     good\n"
    assert ome(*asked, "--runtime", "off").stdout == "refused   off\n          runtime is disabled\n"
    (folder / "runtimes" / "good.yaml").unlink()
    none = ome(*asked)
    assert none.exit_code == 1
    assert none.stdout == (
        "none      no runtime found to support model safetensors with format safetensors in namespace default. "
        "Checked 1 runtimes (0 namespace-scoped, 1 cluster-scoped)\n"
        "not       off: runtime is disabled\n"
    )


def test_what_ome_misreads_is_noted_beside_the_answer(folder: Path) -> None:
    half = {"modelSizeRange": {"min": "7b"}, "supportedModelFormats": [entry()]}
    (folder / "runtimes" / "half.yaml").write_text(
        yaml.safe_dump_all([document("ClusterServingRuntime", "half", half), GOOD])
    )
    result = ome("--model", folder / "model.yaml", "--runtimes", folder / "runtimes", "--json")
    assert json.loads(result.stdout)["selected"] == "good"
    assert 'half spec.modelSizeRange.min: "7b" is not a size: OME reads 0; write "7B"' in result.stderr
    assert "half spec.modelSizeRange: has no max: OME crashes on it" in result.stderr
    assert "ClusterServingRuntime/good is declared 2 times; the last one counts" in result.stderr


def test_half_a_range_that_ome_would_panic_on_is_an_error(folder: Path) -> None:
    (folder / "model.yaml").write_text(yaml.safe_dump({**MODEL, "spec": {**MODEL["spec"], "modelParameterSize": "7B"}}))
    half = {"modelSizeRange": {"min": "5B"}, "supportedModelFormats": [entry()]}
    (folder / "runtimes" / "half.yaml").write_text(yaml.safe_dump(document("ClusterServingRuntime", "half", half)))
    result = ome("--model", folder / "model.yaml", "--runtimes", folder / "runtimes", "--json")
    assert result.exit_code == 1
    answer = json.loads(result.stdout)
    assert (answer["selected"], answer["candidates"]) == (None, [])
    assert "half: spec.modelSizeRange has no max" in answer["error"]


def test_wrong_documents_are_named_all_at_once(folder: Path) -> None:
    (folder / "model.yaml").write_text(
        yaml.safe_dump(document("ClusterBaseModel", "m", {"modelFromat": {"name": "x"}}))
    )
    (folder / "runtimes" / "typo.yaml").write_text(yaml.safe_dump({**GOOD, "kind": "ClusterServingRuntme"}))
    (folder / "runtimes" / "broken.json").write_text("{")
    text = "\n".join(problems("--model", folder / "model.yaml", "--runtimes", folder / "runtimes", "--json"))
    assert 'did you mean "modelFormat"?' in text
    assert 'did you mean "ClusterServingRuntime"?' in text
    assert "broken.json" in text
    assert len(text.splitlines()) == 3


def test_a_file_that_holds_none_or_several_models(folder: Path) -> None:
    good = folder / "runtimes" / "below" / "off.json"
    [problem] = problems("--model", good, "--runtimes", folder / "runtimes")
    assert problem.endswith("off.json: holds none; one BaseModel or ClusterBaseModel is asked for")
    other = {**MODEL, "metadata": {"name": "n"}}
    (folder / "model.yaml").write_text(yaml.safe_dump_all([MODEL, other]))
    [problem] = problems("--model", folder / "model.yaml", "--runtimes", folder / "runtimes")
    assert "holds ClusterBaseModel/m, ClusterBaseModel/n;" in problem


def test_only_profiles_that_there_are_are_offered(folder: Path) -> None:
    result = run("--model", folder / "model.yaml", "--runtimes", folder / "runtimes", "--profile", "best")
    assert result.exit_code == 2
    assert "'default'" in result.output
    assert "'ome'" in result.output


def test_a_model_of_ome_s_among_its_runtimes() -> None:
    runtimes = shared("ome/runtimes")
    path = next(path for path in sorted(shared("ome/models").rglob("*.yaml")) if "modelFormat" in path.read_text())
    result = ome("--model", path, "--runtimes", runtimes, "--json")
    answer = json.loads(result.stdout)
    assert len(answer["candidates"]) + len(answer["rejected"]) == 203


CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_hidden_layers": 16,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 64,
    "vocab_size": 128256,
    "max_position_embeddings": 8192,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
}
RUNNER = {
    "name": "ome-container",
    "image": "docker.io/vllm/vllm-openai:v0.33.0",
    "command": ["vllm", "serve", "$(MODEL_PATH)"],
    "resources": {"limits": {"nvidia.com/gpu": 1}},
}
SERVES = {"supportedModelFormats": [entry()], "engineConfig": {"runner": RUNNER}}


def with_runner(**fields: Any) -> dict[str, Any]:
    return {"engineConfig": {"runner": {**RUNNER, **fields}}}


@pytest.fixture
def on_hub(tmp_path: Path) -> Path:
    """A model of the Hub of which nothing was read, and a runtime for any."""
    (tmp_path / "runtimes").mkdir()
    stored = {"storage": {"storageUri": "hf://example/tiny-llama"}}
    (tmp_path / "model.yaml").write_text(yaml.safe_dump(document("ClusterBaseModel", "tiny-llama", stored)))
    (tmp_path / "runtimes" / "any.yaml").write_text(yaml.safe_dump(document("ClusterServingRuntime", "any", SERVES)))
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    return tmp_path


def asked(folder: Path) -> tuple[str | Path, ...]:
    return ("--model", folder / "model.yaml", "--runtimes", folder / "runtimes")


def test_what_was_not_read_is_unknown_and_the_command_that_reads_it_is_given(on_hub: Path) -> None:
    result = run(*asked(on_hub), "--json")
    answer = json.loads(result.stdout)
    assert (result.exit_code, answer["selected"], answer["candidates"]) == (1, None, [])
    assert answer["error"] == (
        "unknown: nothing was read of tiny-llama; fetch it with: `ome-iac model inspect hf://example/tiny-llama --json "
        "> tiny-llama.json` then add `--metadata tiny-llama.json`"
    )
    assert answer["rejected"] == [{"name": "any", "reasons": [answer["error"]]}]


def test_a_named_runtime_is_checked_by_what_is_declared(on_hub: Path) -> None:
    result = run(*asked(on_hub), "--runtime", "any", "--json")
    answer = json.loads(result.stdout)
    assert (result.exit_code, answer["valid"], answer["reasons"], answer["error"]) == (0, True, [], None)
    assert answer["fit"].startswith("unknown: nothing was read of the model; fetch it with: `ome-iac model inspect")


def test_the_default_profile_selects_by_what_was_read(on_hub: Path) -> None:
    result = run(*asked(on_hub), "--config", on_hub / "config.json", "--json")
    answer = json.loads(result.stdout)
    assert (result.exit_code, answer["selected"], answer["error"]) == (0, "any", None)
    names = [candidate["name"] for candidate in answer["candidates"]]
    assert names[0] == "any"
    assert any(name.startswith("vllm ") for name in names)
    assert answer["candidates"][0]["score"].startswith("fits 1 GPU of ")
    assert all("(bytes derived from the configuration)" in found["score"] for found in answer["candidates"])
    assert answer["candidates"][0]["score"].endswith("declared, priority 1, for any architecture, cluster-scoped")
    assert set(answer) == {"selected", "candidates", "rejected", "error"}


def test_metadata_come_from_inspect_from_a_lock_and_from_a_local_folder(on_hub: Path) -> None:
    metadata = read_config(on_hub / "config.json", "hf://example/tiny-llama")
    (on_hub / "tiny.json").write_text(metadata.model_dump_json(by_alias=True, indent=2))
    by_metadata = run(*asked(on_hub), "--metadata", on_hub / "tiny.json", "--json").stdout
    lock = Lock(on_hub / "some.lock").with_entry(
        "hf://example/tiny-llama", LockEntry.of(metadata, "test", datetime.now(UTC), derived=True)
    )
    lock.write()
    by_lock = run(*asked(on_hub), "--lock", on_hub / "some.lock", "--json").stdout
    (on_hub / "some.lock").rename(on_hub / "ome.lock")
    beside = run(*asked(on_hub), "--json").stdout
    assert json.loads(by_metadata)["selected"] == "any"
    assert by_metadata == by_lock == beside
    (on_hub / "ome.lock").unlink()
    (on_hub / "weights").mkdir()
    (on_hub / "config.json").rename(on_hub / "weights" / "config.json")
    stored = {"storage": {"storageUri": "local://weights"}}
    (on_hub / "model.yaml").write_text(yaml.safe_dump(document("ClusterBaseModel", "tiny-llama", stored)))
    assert json.loads(run(*asked(on_hub), "--json").stdout)["selected"] == "any"
    (on_hub / "weights" / "config.json").unlink()
    (on_hub / "weights").rmdir()
    assert "`ome-iac model inspect weights --json" in json.loads(run(*asked(on_hub), "--json").stdout)["error"]


def test_what_was_read_wins_over_the_document_and_the_difference_is_noted(on_hub: Path) -> None:
    stored = {"storage": {"storageUri": "hf://example/tiny-llama"}, "modelArchitecture": "Qwen2ForCausalLM"}
    (on_hub / "model.yaml").write_text(yaml.safe_dump(document("ClusterBaseModel", "tiny-llama", stored)))
    result = run(*asked(on_hub), "--config", on_hub / "config.json", "--json")
    assert json.loads(result.stdout)["selected"] == "any"
    assert "tiny-llama declares modelArchitecture Qwen2ForCausalLM, the weights say LlamaForCausalLM" in result.stderr


def test_a_wrong_metadata_file_is_named(on_hub: Path) -> None:
    answer = json.loads(run(*asked(on_hub), "--metadata", on_hub / "config.json", "--json").stdout)
    assert "config.json: is not what `ome-iac model inspect MODEL --json` prints" in answer["error"]


def test_without_files_the_declarations_are_all_there_is(folder: Path) -> None:
    result = run("--model", folder / "model.yaml", "--runtimes", folder / "runtimes", "--json")
    answer = json.loads(result.stdout)
    assert answer["selected"] == "good"
    assert answer["candidates"][0]["score"].startswith("fit unknown: ")
    assert answer["rejected"] == [{"name": "off", "reasons": ["it is disabled"]}]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"modelSizeRange": {"min": "5B"}}, "spec.modelSizeRange: has no max"),
        ({"modelSizeRange": {"min": "7b", "max": "9B"}}, 'write "7B"'),
        ({"modelSizeRange": {"min": "8x7B", "max": "90B"}}, '"56B" at most'),
        ({"modelSizeRange": {"min": 7, "max": "9B"}}, "spec.modelSizeRange.min"),
        ({"disabled": "often"}, "spec.disabled"),
        (with_runner(args=["--port", 8080]), 'spec.engineConfig.runner.args.1: 8080 is no text; write "8080"'),
        (with_runner(command="vllm serve"), "spec.engineConfig.runner.command: is text, a list is wanted"),
        (with_runner(env=[{"name": "A", "value": True}]), "spec.engineConfig.runner.env.0.value: true is no text"),
        (with_runner(env={"A": "b"}), "spec.engineConfig.runner.env: is no list"),
        (with_runner(resources={"limits": {"nvidia.com/gpu": "one"}}), "nvidia.com/gpu: one is no whole number"),
    ],
)
def test_bad_input_is_an_error_with_file_document_and_path(on_hub: Path, spec: dict[str, Any], message: str) -> None:
    bad = document("ClusterServingRuntime", "bad", {**SERVES, **spec})
    (on_hub / "runtimes" / "bad.yaml").write_text(yaml.safe_dump(bad))
    arguments = (*asked(on_hub), "--config", on_hub / "config.json")
    text = run(*arguments)
    assert isinstance(text.exception, ProblemsError)
    result = run(*arguments, "--json")
    answer = json.loads(result.stdout)
    assert (result.exit_code, answer["selected"], answer["candidates"], answer["rejected"]) == (1, None, [], [])
    assert answer["error"] == str(text.exception)
    assert "bad.yaml:" in answer["error"]
    assert "ClusterServingRuntime/bad" in answer["error"]
    assert message in answer["error"]
    named = json.loads(run(*arguments, "--runtime", "any", "--json").stdout)
    assert (named["valid"], named["error"]) == (False, answer["error"])


def test_the_text_of_the_default_profile(on_hub: Path) -> None:
    config = ("--config", on_hub / "config.json")
    lines = run(*asked(on_hub), *config).stdout.splitlines()
    assert lines[0].startswith("selected  any, fits 1 GPU of ")
    assert run(*asked(on_hub), *config, "--runtime", "any").stdout.startswith("valid     any\n          fits 1 GPU of ")
    refused = run(*asked(on_hub), *config, "--runtime", "anny")
    assert refused.exit_code == 1
    assert refused.stdout.startswith("refused   anny\n          there is no runtime anny in namespace default")
    assert 'did you mean "any"?' in refused.stdout
