"""Documents in, typed objects or one clear line per mistake out."""

from __future__ import annotations

from pathlib import Path

import pytest

from ome_iac.problems import Problem
from ome_iac.spec.infrastructure import NodePool
from ome_iac.spec.models import BaseModel, ClusterBaseModel
from ome_iac.spec.services import InferenceService
from ome_iac.spec.stack import Stack, load_stack
from ome_iac.spec.validation import parse
from ome_iac.spec.yaml_documents import read_documents
from tests.unit.facts import model, pool, service, write

OME_MODELS = Path(__file__).parents[3] / "shared" / "data" / "ome" / "models"


def load(folder: Path, text: str) -> tuple[Stack, list[Problem]]:
    (folder / "stack.yaml").write_text(text)
    return load_stack("test", folder, "stacks/test")


def only(problems: list[Problem]) -> str:
    assert len(problems) == 1, problems
    return str(problems[0])


AT = "stacks/test/stack.yaml"
SERVICE = """\
apiVersion: ome.io/v1beta1
kind: ClusterBaseModel
metadata: {name: llama}
spec: {storage: {storageUri: hf://org/llama}}
---
apiVersion: ome.io/v1beta1
kind: InferenceService
metadata:
  name: chat
spec:
  model:
    name: llama
"""


def test_documents_become_typed_objects(tmp_path: Path) -> None:
    stack, problems = load(tmp_path, SERVICE + "  intent: {contextLength: 4096, concurrency: 3}\n")
    assert problems == []
    [chat] = stack.of(InferenceService)
    assert (chat.spec.intent.context_length, chat.spec.intent.concurrency) == (4096, 3)
    found = stack.model_of(chat)
    assert found is not None
    assert found.name == "llama"


@pytest.mark.parametrize(
    ("added", "message"),
    [
        (
            "  intent: {contextLenght: 4096}\n",
            f"{AT}:13 InferenceService/chat spec.intent.contextLenght: is not a known field; "
            'did you mean "contextLength"?',
        ),
        (
            "  intent:\n    contextLength: many\n",
            f'{AT}:14 InferenceService/chat spec.intent.contextLength: must be a whole number, not "many"; '
            "tokens of the longest request, answer included",
        ),
        (
            '  intent: {contextLength: "4096"}\n',
            f'{AT}:13 InferenceService/chat spec.intent.contextLength: must be a whole number, not "4096"; '
            "tokens of the longest request, answer included",
        ),
        (
            "  intent: {objective: nicest}\n",
            f"{AT}:13 InferenceService/chat spec.intent.objective: "
            "must be 'cheapest', 'fewest-gpus' or 'fastest', not \"nicest\"",
        ),
        (
            "  engine: {minReplicas: 3, maxReplicas: 2}\n",
            f"{AT}:13 InferenceService/chat spec.engine.maxReplicas: 2 is less than minReplicas 3; "
            "raise it or lower minReplicas",
        ),
        (
            "  engine: {minReplicas: -1}\n",
            f"{AT}:13 InferenceService/chat spec.engine.minReplicas: "
            "input should be greater than or equal to 0, not -1",
        ),
    ],
)
def test_a_mistake_is_one_line_with_place_and_remedy(tmp_path: Path, added: str, message: str) -> None:
    _, problems = load(tmp_path, SERVICE + added)
    assert only(problems) == message


def test_a_missing_field_is_named_at_its_parent(tmp_path: Path) -> None:
    _, problems = load(
        tmp_path, "apiVersion: ome.io/v1beta1\nkind: InferenceService\nmetadata: {name: x}\nspec:\n  engine: {}\n"
    )
    assert only(problems) == f"{AT}:4 InferenceService/x spec.model: is missing"


def test_unknown_kind_and_version_name_the_right_ones(tmp_path: Path) -> None:
    _, problems = load(tmp_path, "apiVersion: ome.io/v1beta1\nkind: InferenceServise\nmetadata: {name: x}\n")
    assert 'did you mean "InferenceService"?' in only(problems)
    _, problems = load(tmp_path, SERVICE.replace("ome.io/v1beta1\nkind: Inf", "ome.io/v1\nkind: Inf"))
    assert 'write "ome.io/v1beta1"' in only(problems)


def test_a_pool_without_or_with_a_wrong_mode_names_the_modes(tmp_path: Path) -> None:
    write(tmp_path, {**pool("a", "BM.GPU.H100.8"), "spec": {"shape": "BM.GPU.H100.8", "nodes": 1}})
    _, problems = load_stack("test", tmp_path)
    assert "mode is missing; known: existing, managed" in only(problems)
    write(tmp_path, {**pool("a", "BM.GPU.H100.8"), "spec": {"mode": "manged", "shape": "x", "nodes": 1}})
    _, problems = load_stack("test", tmp_path)
    assert "mode is manged; known: 'existing', 'managed'" in only(problems)


def test_a_field_inside_the_chosen_mode_is_placed_without_the_mode(tmp_path: Path) -> None:
    wrong = pool("a", "BM.GPU.H100.8")
    wrong["spec"]["nodez"] = 2
    write(tmp_path, wrong)
    _, problems = load_stack("test", tmp_path)
    assert 'NodePool/a spec.nodez: is not a known field; did you mean "nodes"?' in only(problems)


def test_a_managed_pool_needs_a_cluster(tmp_path: Path) -> None:
    managed = pool("a", "BM.GPU.H100.8")
    managed["spec"] |= {"mode": "managed", "imageId": "ocid1.image.oc1.x.y", "availabilityDomains": ["AD-1"]}
    write(tmp_path, managed)
    _, problems = load_stack("test", tmp_path)
    assert "a managed pool needs an OKE cluster" in only(problems)


def test_all_problems_of_all_documents_come_at_once(tmp_path: Path) -> None:
    write(
        tmp_path,
        model("llama", "hf://org/llama"),
        service("one", "lama"),
        service("two", "llama", intnt={}),
        {**pool("p", "BM.GPU.H100.8"), "metadata": {"name": "Not_A_Name"}},
    )
    _, problems = load_stack("test", tmp_path)
    text = "\n".join(map(str, problems))
    assert len(problems) == 3, text
    assert 'there is no model lama; did you mean "llama"?' in text
    assert 'did you mean "intent"?' in text
    assert "an RFC 1123 label" in text


def test_a_reference_to_a_broken_document_is_not_a_second_problem(tmp_path: Path) -> None:
    broken = model("llama", "hf://org/llama")
    broken["spec"]["stroage"] = {}
    write(tmp_path, broken, service("chat", "llama"))
    _, problems = load_stack("test", tmp_path)
    assert "stroage" in only(problems)


def test_a_name_taken_twice_names_the_first(tmp_path: Path) -> None:
    write(tmp_path, pool("p", "BM.GPU.H100.8"), pool("p", "BM.GPU.H100.8"))
    _, problems = load_stack("test", tmp_path)
    assert "stack.yaml:4" in only(problems)


def test_the_same_name_in_two_namespaces_is_two_services(tmp_path: Path) -> None:
    other = service("chat", "llama")
    other["metadata"]["namespace"] = "second"
    write(tmp_path, model("llama", "hf://org/llama"), service("chat", "llama"), other)
    stack, problems = load_stack("test", tmp_path)
    assert problems == []
    assert [item.namespace for item in stack.of(InferenceService)] == ["default", "second"]


def test_a_model_of_the_namespace_comes_before_one_of_the_cluster(tmp_path: Path) -> None:
    local = {**model("llama", "hf://org/local"), "kind": "BaseModel"}
    elsewhere = {**model("llama", "hf://org/elsewhere"), "kind": "BaseModel"}
    elsewhere["metadata"] = {"name": "llama", "namespace": "other"}
    write(tmp_path, elsewhere, model("llama", "hf://org/cluster"), local, service("chat", "llama"))
    stack, problems = load_stack("test", tmp_path)
    assert problems == []
    found = stack.model_of(stack.of(InferenceService)[0])
    assert isinstance(found, BaseModel)
    assert found.spec.storage.storage_uri == "hf://org/local"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1, 2", "is not valid YAML"),
        ("kind: A\nkind: B\nmetadata: {name: x}\n", f"{AT}:2 kind: is given twice"),
        ("- a\n- b\n", "is not a document"),
        ("a: !!python/object:os.system {}\n", "kind is missing"),
        ("a: !custom 1\n", "has a value YAML cannot take"),
    ],
)
def test_broken_yaml_is_a_line_not_a_traceback(tmp_path: Path, text: str, message: str) -> None:
    _, problems = load(tmp_path, text)
    assert message in "\n".join(map(str, problems))


def test_an_alias_bomb_is_refused(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    _, problems = load(tmp_path, "\n".join(lines))
    assert "too many nodes" in "\n".join(map(str, problems))


def test_a_missing_folder_is_a_problem(tmp_path: Path) -> None:
    _, problems = load_stack("test", tmp_path / "nowhere", "stacks/nowhere")
    assert "is not a folder of documents" in only(problems)


def test_a_document_made_in_python_is_the_one_read_from_yaml(tmp_path: Path) -> None:
    stack, _ = load(tmp_path, SERVICE)
    [read] = stack.of(InferenceService)
    made = InferenceService.model_validate({"metadata": {"name": "chat"}, "spec": {"model": {"name": "llama"}}})
    assert read.to_yaml_data() == made.to_yaml_data() == service("chat", "llama")


def test_documents_are_frozen(tmp_path: Path) -> None:
    stack, _ = load(tmp_path, SERVICE)
    with pytest.raises(ValueError, match="frozen"):
        stack.of(InferenceService)[0].spec.model.name = "other"  # type: ignore[misc]


@pytest.mark.skipif(not OME_MODELS.is_dir(), reason="shared/data/ome is not here")
def test_every_model_of_omes_catalogue_loads_unchanged() -> None:
    problems: list[Problem] = []
    files = [path for path in sorted(OME_MODELS.rglob("*.yaml")) if path.name != "kustomization.yaml"]
    documents = [parse(raw, problems) for path in files for raw in read_documents(path, path.name, problems)]
    assert problems == []
    assert len([document for document in documents if isinstance(document, ClusterBaseModel)]) == 207


def test_pools_know_their_mode(tmp_path: Path) -> None:
    write(tmp_path, pool("p", "BM.GPU.H100.8", nodes=2))
    stack, _ = load_stack("test", tmp_path)
    assert stack.of(NodePool)[0].spec.mode == "existing"
