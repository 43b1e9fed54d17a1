"""OME's runtimes and services load as they are; values that OME misreads are named with the nearest legal one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from ome_iac.problems import Problem
from ome_iac.spec.document import Document
from ome_iac.spec.runtimes import ClusterServingRuntime, RuntimeDocument
from ome_iac.spec.services import InferenceService, unsupported
from ome_iac.spec.stack import load_stack
from ome_iac.spec.validation import parse, parse_as_written
from ome_iac.spec.yaml_documents import Origin, RawDocument, read_documents
from tests.unit.facts import model, service, write
from tests.unit.ome_documents import entry, shared

WRONG_SAMPLES = {"exaone-3-5-7-8b-instruct-isvc.yaml", "glm-4-5v.yaml"}
"""Not valid by OME's own CRD: spec.model.modelName, spec.modelRef."""


def load(folder: Path, kind: type[Document]) -> tuple[list[tuple[dict[str, Any], Document]], list[Problem]]:
    """Each document of the kind as written and as loaded, and what is wrong."""
    problems: list[Problem] = []
    pairs = []
    for path in sorted(folder.rglob("*.yaml")):
        for raw in read_documents(path, path.name, problems):
            if raw.data.get("kind") == kind.KIND:
                document = parse(raw, problems)
                if document:
                    pairs.append((raw.data, document))
    return pairs, problems


def test_all_of_ome_s_runtimes_load_unchanged() -> None:
    pairs, problems = load(shared("ome/runtimes"), ClusterServingRuntime)
    assert problems == []
    assert len(pairs) == 207
    for written, document in pairs:
        assert document.to_yaml_data() == written


def test_all_of_ome_s_services_load_unchanged_but_the_two_that_its_schema_refuses() -> None:
    pairs, problems = load(shared("ome/samples"), InferenceService)
    assert len(pairs) == 146
    assert {problem.where.partition(":")[0] for problem in problems} == WRONG_SAMPLES
    for written, document in pairs:
        assert document.to_yaml_data() == written


@pytest.mark.parametrize(
    "kind",
    [
        "BaseModel",
        "ClusterBaseModel",
        "ServingRuntime",
        "ClusterServingRuntime",
        "AcceleratorClass",
        "InferenceService",
    ],
)
def test_a_document_with_every_field_of_ome_s_schema_loads(kind: str) -> None:
    plural = {"AcceleratorClass": "acceleratorclasses"}.get(kind, f"{kind.lower()}s")
    crd = yaml.load(shared(f"crds/ome/ome.io_{plural}.yaml").read_text(), yaml.CSafeLoader)
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    full = {"apiVersion": "ome.io/v1beta1", "kind": kind, "metadata": {"name": "full"}, "spec": filled(schema)}
    problems: list[Problem] = []
    document = parse_as_written(RawDocument(full, Origin("full.yaml", Path(), {})), problems)
    assert problems == []
    assert document is not None
    assert set(document.to_yaml_data()["spec"]) == set(schema["properties"])


def filled(schema: dict[str, Any]) -> Any:
    """A value that the schema allows, with everything in it that may be."""
    if "default" in schema:
        return schema["default"]
    if "enum" in schema:
        return schema["enum"][0]
    if "properties" in schema:
        return {name: filled(below) for name, below in schema["properties"].items()}
    if isinstance(schema.get("additionalProperties"), dict):
        return {"key": filled(schema["additionalProperties"])}
    if "items" in schema:
        return [filled(schema["items"])]
    values: dict[str, Any] = {"string": "text", "boolean": True, "object": {}}
    return values.get(schema.get("type", ""), 1)


def runtime(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "ome.io/v1beta1",
        "kind": "ClusterServingRuntime",
        "metadata": {"name": "r"},
        "spec": {"supportedModelFormats": [entry()], **spec},
    }


@pytest.mark.parametrize(
    ("spec", "messages"),
    [
        (
            {"modelSizeRange": {"min": "5B"}},
            ['spec.modelSizeRange: has no max: OME crashes on it; write max too, "5B" or more'],
        ),
        (
            {"modelSizeRange": {"max": "9B"}},
            ['spec.modelSizeRange: has no min: OME crashes on it; write min too, "9B" or less'],
        ),
        (
            {"modelSizeRange": {}},
            ["spec.modelSizeRange: has neither min nor max; write both, or leave modelSizeRange out"],
        ),
        (
            {"modelSizeRange": {"min": "9B", "max": "5B"}},
            ['spec.modelSizeRange: min "9B" is more than max "5B": no model is in it; write min: "5B", max: "9B"'],
        ),
        (
            {"modelSizeRange": {"min": "7b", "max": "8x7B"}},
            [
                'spec.modelSizeRange.max: "8x7B" is not a size: OME reads 0; '
                'write all parameters, experts included, as one number: "56B" at most',
                'spec.modelSizeRange.min: "7b" is not a size: OME reads 0; write "7B"',
            ],
        ),
        (
            {"modelSizeRange": {"min": "629.15K", "max": "7 B"}},
            [
                'spec.modelSizeRange.max: "7 B" is not a size: OME reads 0; write "7B"',
                'spec.modelSizeRange.min: "629.15K" is not a size: OME reads 0; write "0.62915M"',
            ],
        ),
        (
            {"modelSizeRange": {"min": "1B", "max": "large"}},
            ['spec.modelSizeRange.max: "large" is not a size: OME reads 0; write a number and T, B or M, as in "7B"'],
        ),
        (
            {"supportedModelFormats": [entry(priority=0)]},
            ["spec.supportedModelFormats.0.priority: 0 is less than 1; write 1 or more"],
        ),
        (
            {"supportedModelFormats": [entry(), entry(priority=2), entry(priority=1), entry(quantization="fp8")]},
            [
                "spec.supportedModelFormats.2.priority: 1 is also the priority of entry 0, "
                "which serves the same models; write 3, or remove one of the two"
            ],
        ),
        (
            {"supportedModelFormats": [{"autoSelect": True}]},
            ["spec.supportedModelFormats.0: has no modelFormat: no model matches it; write modelFormat: {name: ...}"],
        ),
        (
            {"supportedModelFormats": [{"modelFormat": {"name": "a", "version": "1", "operator": "GreaterEqual"}}]},
            [
                "spec.supportedModelFormats.0.modelFormat.operator: GreaterEqual is no operator: "
                'OME takes it for Equal; did you mean "GreaterThanOrEqual"?'
            ],
        ),
        (
            {"supportedModelFormats": [entry(priority="1")]},
            ['spec.supportedModelFormats.0.priority: must be a whole number, not "1"'],
        ),
        (
            {"supportedModelFormats": [entry(autoselect=True)]},
            ['spec.supportedModelFormats.0.autoselect: is not a known field; did you mean "autoSelect"?'],
        ),
        (
            {"engineConfig": {"runner": {"image": "x"}, "maxUnavailable": True, "kedaConfig": {"enabled": True}}},
            [
                'spec.engineConfig.kedaConfig.enabled: is not a known field; did you mean "enableKeda"?',
                "spec.engineConfig.maxUnavailable: must be a whole number or a percentage, not true",
                "spec.engineConfig.runner.name: is missing",
            ],
        ),
    ],
)
def test_a_wrong_runtime_is_told_what_would_be_right(tmp_path: Path, spec: dict[str, Any], messages: list[str]) -> None:
    write(tmp_path, runtime(**spec))
    stack, problems = load_stack("test", tmp_path)
    assert sorted(str(problem).split("ClusterServingRuntime/r ")[1] for problem in problems) == messages
    assert stack.documents == ()


def test_what_two_entries_may_share(tmp_path: Path) -> None:
    """The priority where they serve other models, the models where the priority differs."""
    entries = [
        entry(),
        entry(priority=2),
        entry(modelArchitecture="A"),
        entry(modelFormat={"name": "s", "version": "2"}),
    ]
    write(tmp_path, runtime(supportedModelFormats=entries))
    stack, problems = load_stack("test", tmp_path)
    assert problems == []
    assert len(stack.of(RuntimeDocument)) == 1


def test_a_model_s_size_of_the_wrong_form(tmp_path: Path) -> None:
    wrong = model("mixtral", "hf://org/mixtral")
    wrong["spec"]["modelParameterSize"] = "8x7B"
    write(tmp_path, wrong, service("chat", "mixtral"))
    _, [problem] = load_stack("test", tmp_path)
    assert "ClusterBaseModel/mixtral spec.modelParameterSize" in str(problem)
    assert '"56B" at most' in problem.remedy


def only_service(folder: Path, **spec: Any) -> InferenceService:
    asked = service("chat", "llama")
    asked["spec"] |= spec
    asked["metadata"]["annotations"] = {"ome.io/deploymentMode": "MultiNode", "example.org/team": "a"}
    write(folder, model("llama", "hf://org/llama"), asked)
    stack, problems = load_stack("test", folder)
    assert problems == []
    [document] = stack.of(InferenceService)
    return document


def test_what_a_service_sets_and_no_plan_honours_is_named(tmp_path: Path) -> None:
    asked = only_service(
        tmp_path,
        model={"name": "llama", "fineTunedWeights": ["lora"]},
        runtime={"name": "vllm", "kind": "ServingRuntime"},
        engine={
            "minReplicas": 0,
            "maxReplicas": 3,
            "labels": {"a": "b"},
            "scaleMetric": "rps",
            "nodeSelector": {"pool": "a"},
            "minAvailable": "50%",
            "leader": {"runner": {"name": "l", "image": "x"}},
            "worker": {"size": 1},
        },
        decoder={"minReplicas": 1},
        router={"config": {"policy": "cache_aware"}},
        acceleratorSelector={"policy": "Cheapest", "constraints": {"minMemory": 80}},
        kedaConfig={"enableKeda": True},
        intent={"contextLength": 4096},
    )
    asked.metadata.annotations["ome.io/deploymentMode"] = "VirtualDeployment"
    assert unsupported(asked) == [
        "metadata.annotations.ome.io/deploymentMode",
        "spec.acceleratorSelector",
        "spec.engine.minAvailable",
        "spec.model.fineTunedWeights",
    ]


def test_what_a_plan_honours_is_not_named(tmp_path: Path) -> None:
    asked = only_service(tmp_path, engine={"minReplicas": 2, "annotations": {"x": "y"}}, intent={"concurrency": 3})
    assert unsupported(asked) == []


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"engine": {"minReplicas": -1}}, "input should be greater than or equal to 0, not -1"),
        ({"engine": {"scaleMetric": "gpu"}}, "must be 'cpu', 'memory', 'concurrency' or 'rps', not \"gpu\""),
        ({"acceleratorSelector": {"policy": "Best"}}, "must be 'BestFit', 'Cheapest'"),
        ({"router": {"cofig": {}}}, 'did you mean "config"?'),
        ({"decoder": {"runner": {"image": "x"}}}, "spec.decoder.runner.name: is missing"),
    ],
)
def test_a_service_s_wrong_fields_are_still_wrong(tmp_path: Path, spec: dict[str, Any], message: str) -> None:
    asked = service("chat", "llama")
    asked["spec"] |= spec
    write(tmp_path, model("llama", "hf://org/llama"), asked)
    _, [problem] = load_stack("test", tmp_path)
    assert message in str(problem)
