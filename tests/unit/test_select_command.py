"""`ome-iac select`: documents in, JSON or text and an exit code out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from typer.testing import CliRunner, Result

from ome_iac.cli.select import select
from ome_iac.problems import ProblemsError
from tests.unit.ome_documents import entry, shared

app = typer.Typer()
app.command()(select)


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def problems(*arguments: str | Path) -> list[str]:
    result = run(*arguments)
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
    result = run("--model", folder / "model.yaml", "--runtimes", folder / "runtimes", "--profile", "ome", "--json")
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
    result = run(
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
    good = run(*asked, "--runtime", "good")
    assert (good.exit_code, json.loads(good.stdout)) == (0, {"valid": True, "reasons": [], "error": None})
    off = run(*asked, "--runtime", "off")
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
    assert json.loads(run(*asked).stdout)["selected"] is None
    (folder / "s.yaml").write_text(yaml.safe_dump(document("InferenceService", "s", {"runtime": {"name": "off"}})))
    assert json.loads(run(*asked).stdout)["valid"] is False
    assert json.loads(run(*asked, "--runtime", "good").stdout)["valid"] is True


def test_runtimes_of_one_namespace_are_in_reach_without_a_service(folder: Path) -> None:
    mine = document("ServingRuntime", "mine", {"supportedModelFormats": [entry()]}, namespace="team")
    (folder / "runtimes" / "mine.yaml").write_text(yaml.safe_dump(mine))
    asked = ("--model", folder / "model.yaml", "--runtimes", folder / "runtimes", "--json")
    assert json.loads(run(*asked).stdout)["selected"] == "mine"
    (folder / "s.yaml").write_text(yaml.safe_dump(document("InferenceService", "s", {}, namespace="else")))
    assert json.loads(run(*asked, "--service", folder / "s.yaml").stdout)["selected"] == "good"


def test_the_text(folder: Path) -> None:
    asked = ("--model", folder / "model.yaml", "--runtimes", folder / "runtimes")
    assert run(*asked).stdout == "selected  good, score 10\nnot       off: runtime is disabled\n"
    assert run(*asked, "--runtime", "good").stdout == "valid     good\n"
    assert run(*asked, "--runtime", "off").stdout == "refused   off\n          runtime is disabled\n"
    (folder / "runtimes" / "good.yaml").unlink()
    none = run(*asked)
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
    result = run("--model", folder / "model.yaml", "--runtimes", folder / "runtimes", "--json")
    assert json.loads(result.stdout)["selected"] == "good"
    assert 'half spec.modelSizeRange.min: "7b" is not a size: OME reads 0; write "7B"' in result.stderr
    assert "half spec.modelSizeRange: has no max: OME crashes on it" in result.stderr
    assert "ClusterServingRuntime/good is declared 2 times; the last one counts" in result.stderr


def test_half_a_range_that_ome_would_panic_on_is_an_error(folder: Path) -> None:
    (folder / "model.yaml").write_text(yaml.safe_dump({**MODEL, "spec": {**MODEL["spec"], "modelParameterSize": "7B"}}))
    half = {"modelSizeRange": {"min": "5B"}, "supportedModelFormats": [entry()]}
    (folder / "runtimes" / "half.yaml").write_text(yaml.safe_dump(document("ClusterServingRuntime", "half", half)))
    result = run("--model", folder / "model.yaml", "--runtimes", folder / "runtimes", "--json")
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


def test_only_profiles_that_work_are_offered(folder: Path) -> None:
    result = run("--model", folder / "model.yaml", "--runtimes", folder / "runtimes", "--profile", "default")
    assert result.exit_code == 2
    assert "'ome'" in result.output


def test_a_model_of_ome_s_among_its_runtimes() -> None:
    runtimes = shared("ome/runtimes")
    path = next(path for path in sorted(shared("ome/models").rglob("*.yaml")) if "modelFormat" in path.read_text())
    result = run("--model", path, "--runtimes", runtimes, "--json")
    answer = json.loads(result.stdout)
    assert len(answer["candidates"]) + len(answer["rejected"]) == 203
