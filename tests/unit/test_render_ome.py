"""Target `ome`: OME's own documents, read by our parser, held against its CRDs, and selected by its rules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from ome_iac.cli.render import ome_files
from ome_iac.manifests import service_objects
from ome_iac.planning.ome_profile import check, select
from ome_iac.planning.plan import Plan
from ome_iac.planning.planner import plan_stack
from ome_iac.problems import Problem, ProblemsError
from ome_iac.project import Project, plan_project
from ome_iac.spec.document import Document
from ome_iac.spec.models import ClusterBaseModel, ModelDocument
from ome_iac.spec.runtimes import RuntimeDocument
from ome_iac.spec.services import InferenceService
from ome_iac.spec.stack import Stack, load_stack
from ome_iac.spec.validation import parse
from ome_iac.spec.yaml_documents import read_documents
from tests.unit.facts import decoder, llama_70b, model, pool, service, stack
from tests.unit.ome_documents import shared

ROOT = Path(__file__).parents[2]
SMALL, LARGE = "hf://example/small", "hf://example/large"
FACTS = {SMALL: decoder(SMALL), LARGE: llama_70b(LARGE)}
MODELS = (model("small", SMALL), model("large", LARGE))
H100 = pool("gpus", "BM.GPU.H100.8", 4)
APART = {"pattern": "prefill-decode", "contextLength": 8192}
Made = dict[str, dict[str, Any]]


def planned(folder: Path, *documents: dict[str, Any]) -> tuple[Plan, Stack]:
    known = stack(folder, *MODELS, H100, *([RUNTIME] if NAMED in documents else []), *documents)
    plan, problems = plan_stack(known, FACTS)
    assert plan is not None, problems
    return plan, known


def rendered(folder: Path, *documents: dict[str, Any]) -> Made:
    """The documents by kind; of two of a kind, the last."""
    return {
        one["kind"]: one
        for text in ome_files(*planned(folder, *documents)).values()
        for one in yaml.safe_load_all(text)
    }


def refused(folder: Path, *documents: dict[str, Any]) -> str:
    with pytest.raises(ProblemsError) as caught:
        ome_files(*planned(folder, *documents))
    return "\n".join(map(str, caught.value.problems))


RUNTIME = {
    "apiVersion": "ome.io/v1beta1",
    "kind": "ClusterServingRuntime",
    "metadata": {"name": "mine"},
    "spec": {
        "supportedModelFormats": [{"modelFormat": {"name": "safetensors"}, "autoSelect": True}],
        "engineConfig": {
            "runner": {
                "name": "ome-container",
                "image": "docker.io/vllm/vllm-openai:v0.33.0",
                "command": ["vllm", "serve", "$(MODEL_PATH)"],
                "args": ["--max-model-len", "4096"],
                "resources": {"limits": {"nvidia.com/gpu": "1"}},
            },
            "containers": [{"name": "beside", "image": "example.com/beside:1"}],
        },
    },
}
NAMED = service(
    "chat",
    "small",
    runtime={"name": "mine"},
    engine={"runner": {"name": "ome-container", "args": ["--max-num-seqs", "8"]}},
)
CASES: dict[str, tuple[dict[str, Any], ...]] = {
    "standard": (service("chat", "small"),),
    "multi-node": (service("chat", "large", intent={"tensorParallel": 16}),),
    "apart": (service("chat", "small", intent=APART),),
    "groups apart": (service("chat", "large", intent={**APART, "tensorParallel": 16}),),
    "routed": (service("chat", "small", engine={"minReplicas": 2}, router={"minReplicas": 2}),),
    "autoscaled": (service("chat", "small", engine={"minReplicas": 1, "maxReplicas": 3}),),
    "declared": (NAMED,),
    "several": (service("chat", "small"), service("large", "large")),
}


def parsed(folder: Path, files: dict[str, str]) -> list[Document]:
    """Every document of OME's kinds, by the parser of our own specs."""
    problems: list[Problem] = []
    found: list[Document | None] = []
    for number, text in enumerate(files.values()):
        file = folder / f"{number}.read.yaml"
        file.write_text(text)
        for raw in read_documents(file, file.name, problems):
            found += [parse(raw, problems)] if raw.data["apiVersion"] == "ome.io/v1beta1" else []
    assert problems == []
    return [one for one in found if one]


@pytest.mark.parametrize("case", CASES)
def test_ome_s_own_rules_take_the_runtime_for_the_model(tmp_path: Path, case: str) -> None:
    documents = parsed(tmp_path, ome_files(*planned(tmp_path, *CASES[case])))
    models = {one.name: one for one in documents if isinstance(one, ModelDocument)}
    runtimes = [one for one in documents if isinstance(one, RuntimeDocument)]
    services = [one for one in documents if isinstance(one, InferenceService)]
    assert len(services) == len(runtimes) == len(CASES[case])
    for each in services:
        assert each.spec.runtime is not None
        wanted = models[each.spec.model.name].spec
        assert check(wanted, each.spec.runtime.name, runtimes, each).valid
        own = [one for one in runtimes if one.name == each.spec.runtime.name]
        assert select(wanted, own, each).selected == each.spec.runtime.name


def test_among_all_of_ome_s_runtimes_it_selects_exactly_ours(tmp_path: Path) -> None:
    from ome_iac.planning.ome_profile.documents import RUNTIMES
    from tests.unit.ome_documents import documents

    theirs = documents(shared("ome/runtimes"), RUNTIMES, RuntimeDocument)
    ours = parsed(tmp_path, ome_files(*planned(tmp_path, *CASES["standard"])))
    [wanted] = [one for one in ours if isinstance(one, ClusterBaseModel)]
    runtimes = [*theirs, *(one for one in ours if isinstance(one, RuntimeDocument))]
    assert select(wanted.spec, runtimes).selected == "chat"


@pytest.fixture(scope="module")
def schemas() -> dict[str, dict[str, Any]]:
    """OME's definitions of the kinds that are written, by kind."""
    found = {}
    for kind in ("clusterbasemodels", "servingruntimes", "inferenceservices"):
        path = shared("crds/ome") / f"ome.io_{kind}.yaml"
        definition = yaml.load(path.read_text(), Loader=yaml.CSafeLoader)["spec"]
        [version] = [one for one in definition["versions"] if one["name"] == "v1beta1"]
        found[definition["names"]["kind"]] = version["schema"]["openAPIV3Schema"]
    return found


@pytest.mark.parametrize("case", CASES)
def test_ome_s_definitions_take_every_document(tmp_path: Path, schemas: dict[str, dict[str, Any]], case: str) -> None:
    checked = 0
    for text in ome_files(*planned(tmp_path, *CASES[case])).values():
        for one in yaml.safe_load_all(text):
            if one["kind"] in schemas:
                assert list(faults(one, schemas[one["kind"]], one["kind"])) == []
                checked += 1
    assert checked == sum(2 for _ in CASES[case]) + len({each["spec"]["model"]["name"] for each in CASES[case]})


def faults(value: Any, schema: dict[str, Any], path: str) -> list[str]:
    """What strict validation of the API server would say of fields, types and values."""
    found: list[str] = []
    types = {"object": dict, "array": list, "string": str, "boolean": bool, "integer": int}
    if schema.get("x-kubernetes-int-or-string"):
        return [] if isinstance(value, int | str) else [f"{path} is {value!r}"]
    if "type" in schema and schema["type"] in types and not isinstance(value, types[schema["type"]]):
        return [f"{path} is {value!r}, not {schema['type']}"]
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{path} is {value!r}")
    if isinstance(value, dict):
        found += [f"{path}.{key} is missing" for key in schema.get("required", []) if key not in value]
        more = schema.get("additionalProperties")
        known = schema.get("properties", {})
        for key, inner in value.items():
            if key in known:
                found += faults(inner, known[key], f"{path}.{key}")
            elif isinstance(more, dict):
                found += faults(inner, more, f"{path}.{key}")
            elif known and not schema.get("x-kubernetes-preserve-unknown-fields"):
                found.append(f"{path}.{key} is not known")
    if isinstance(value, list):
        found += [
            fault for index, each in enumerate(value) for fault in faults(each, schema["items"], f"{path}.{index}")
        ]
    return found


def test_the_runtime_has_the_pods_that_we_would_make(tmp_path: Path) -> None:
    plan, known = planned(tmp_path, *CASES["standard"])
    [deployment] = [one for one in service_objects(plan, plan.services[0]) if one["kind"] == "Deployment"]
    ours = deployment["spec"]["template"]["spec"]
    [runtime, asked] = yaml.safe_load_all(ome_files(plan, known)["default/chat.yaml"])
    engine = runtime["spec"]["engineConfig"]
    assert engine.pop("runner") == ours["containers"][0] | {"name": "ome-container"}
    assert engine.pop("labels") == deployment["spec"]["template"]["metadata"]["labels"]
    assert engine.pop("deploymentStrategy") == deployment["spec"]["strategy"]
    assert engine == {key: value for key, value in ours.items() if key not in ("containers", "serviceAccountName")}
    assert asked["spec"] == {
        "model": {"name": "small", "kind": "ClusterBaseModel"},
        "runtime": {"name": "chat", "kind": "ServingRuntime"},
        "engine": {"minReplicas": 1},
    }


def test_a_group_is_a_leader_and_its_workers(tmp_path: Path) -> None:
    engine = rendered(tmp_path, *CASES["multi-node"])["ServingRuntime"]["spec"]["engineConfig"]
    assert engine["worker"]["size"] == 1
    assert "runner" not in engine
    leader, worker = engine["leader"]["runner"], engine["worker"]["runner"]
    assert leader["name"] == worker["name"] == "ome-container"
    assert leader["args"] != worker["args"]
    assert "readinessProbe" in leader
    assert "readinessProbe" not in worker


def test_prefill_is_the_engine_and_decode_the_decoder(tmp_path: Path) -> None:
    made = rendered(tmp_path, *CASES["apart"])
    spec, asked = made["ServingRuntime"]["spec"], made["InferenceService"]["spec"]
    assert "prefill" in spec["engineConfig"]["runner"]["args"]
    assert "decode" in spec["decoderConfig"]["runner"]["args"]
    assert spec["routerConfig"]["runner"]["name"] == "router"
    assert (asked["engine"], asked["decoder"], asked["router"]) == ({"minReplicas": 1},) * 3


def test_what_the_service_says_of_its_pods_stands_once(tmp_path: Path) -> None:
    asked = service(
        "chat",
        "small",
        engine={"priorityClassName": "high", "labels": {"team": "a"}, "minReplicas": 2, "maxReplicas": 3},
    )
    made = rendered(tmp_path, asked)
    assert made["ServingRuntime"]["spec"]["engineConfig"]["priorityClassName"] == "high"
    assert made["ServingRuntime"]["spec"]["engineConfig"]["labels"]["team"] == "a"
    assert made["InferenceService"]["spec"]["engine"] == {"minReplicas": 2, "maxReplicas": 3}


def test_a_declared_runtime_is_merged_with_the_service_once(tmp_path: Path) -> None:
    made = rendered(tmp_path, NAMED)
    engine = made["ServingRuntime"]["spec"]["engineConfig"]
    assert engine["runner"]["args"] == ["--max-model-len", "4096", "--max-num-seqs", "8"]
    assert [one["name"] for one in engine["containers"]] == ["beside"]
    assert made["InferenceService"]["spec"]["engine"] == {"minReplicas": 1}


def test_a_model_that_ome_mounts_is_mounted_once_and_read_there(tmp_path: Path) -> None:
    hub = model("hub", SMALL)
    hub["spec"]["storage"]["path"] = "/mnt/small"
    made = rendered(tmp_path, hub, service("chat", "hub"))
    args = made["ServingRuntime"]["spec"]["engineConfig"]["runner"]["args"]
    assert "/mnt/small" in args
    assert "example/small" not in args


def test_a_folder_of_the_nodes_is_not_mounted_twice_in_one_place(tmp_path: Path) -> None:
    here = model("here", "local://weights")
    here["spec"]["storage"]["path"] = "/models"
    known = stack(tmp_path, here, H100, service("chat", "here"))
    plan, problems = plan_stack(known, {"local://weights": decoder("local://weights")})
    assert plan is not None, problems
    [runtime, _] = yaml.safe_load_all(ome_files(plan, known)["default/chat.yaml"])
    mounts = [one["mountPath"] for one in runtime["spec"]["engineConfig"]["runner"]["volumeMounts"]]
    assert "/models" not in mounts
    assert "/dev/shm" in mounts


def test_what_a_model_declares_is_kept_and_the_rest_is_filled_in(tmp_path: Path) -> None:
    declared = model("mine", SMALL)
    declared["spec"] |= {"modelArchitecture": "Mine", "vendor": "me", "modelFormat": {"name": "safetensors"}}
    made = rendered(tmp_path, declared, service("chat", "mine"))
    spec = made["ClusterBaseModel"]["spec"]
    assert (spec["modelArchitecture"], spec["vendor"]) == ("Mine", "me")
    [entry] = made["ServingRuntime"]["spec"]["supportedModelFormats"]
    assert (entry["modelArchitecture"], entry["autoSelect"]) == ("Mine", True)
    assert "vendor" not in entry


def test_what_ome_has_no_way_to_say_is_refused_all_at_once(tmp_path: Path) -> None:
    gateway = {"ingress": {"kind": "gateway", "parent": "edge/public"}}
    documents = (
        {"apiVersion": "ome-iac/v1", "kind": "Platform", "metadata": {"name": "p"}, "spec": gateway},
        service("picked", "small", engine={"minReplicas": 2}, router={"config": {"kind": "endpoint-picker"}}),
        service("picked-too", "small", engine={"minReplicas": 2}, router={"config": {"kind": "endpoint-picker"}}),
    )
    text = refused(tmp_path, *documents)
    assert text.count("is an endpoint picker behind a gateway, which OME does not run; render target objects") == 2


def test_a_model_named_as_another_volume_is_refused(tmp_path: Path) -> None:
    shm = model("shm", SMALL)
    shm["spec"]["storage"]["path"] = "/mnt/small"
    assert "shm is the name of another volume of its pods" in refused(tmp_path, shm, service("chat", "shm"))


@pytest.mark.parametrize("name", ["quickstart", "existing-cluster"])
def test_the_stacks_of_the_project(tmp_path: Path, name: str) -> None:
    project = Project(ROOT)
    plan = plan_project(project, project.settings(name))
    files = ome_files(plan, load_stack(name, ROOT / "stacks" / name)[0])
    assert len(parsed(tmp_path, files)) > 2
    assert files == ome_files(plan, load_stack(name, ROOT / "stacks" / name)[0])
