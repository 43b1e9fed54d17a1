"""From a project on disk to a plan, and every mistake on the way."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from ome_iac.models.config_files import parse_json
from ome_iac.problems import ProblemsError
from ome_iac.project import Project, Settings, plan_project
from tests.unit.facts import model, pool, service, write

ROOT = Path(__file__).parents[2]
SMALL = "hf://meta-llama/Llama-3.1-8B-Instruct"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project with one stack, `team`, whose only model is locked."""
    (tmp_path / "Pulumi.yaml").write_text("name: ome-iac\nruntime: python\nmain: stacks\n")
    documents = tmp_path / "stacks" / "team"
    write(documents, model("small", SMALL), pool("h100", "BM.GPU.H100.8"), service("chat", "small"))
    (documents / "ome.lock").write_text((ROOT / "stacks" / "existing-cluster" / "ome.lock").read_text())
    (tmp_path / "stacks" / "Pulumi.team.yaml").write_text("config: {}\n")
    return Project(tmp_path)


def problems_of(project: Project, stack: str = "team") -> str:
    with pytest.raises(ProblemsError) as caught:
        plan_project(project, project.settings(stack))
    return "\n".join(map(str, caught.value.problems))


def test_a_locked_stack_plans_without_a_socket(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object, **__: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket.socket, "connect", denied)
    monkeypatch.setattr(socket, "getaddrinfo", denied)
    plan = plan_project(project, project.settings("team"))
    assert [item.name for item in plan.services] == ["chat"]


def test_the_same_input_gives_the_same_bytes(project: Project) -> None:
    plans = {plan_project(project, project.settings("team")).model_dump_json() for _ in range(3)}
    assert len(plans) == 1


def test_documents_may_stand_in_a_folder_of_another_name(project: Project) -> None:
    (project.stacks / "Pulumi.prod.yaml").write_text("config:\n  ome-iac:documents: team\n")
    plan = plan_project(project, project.settings("prod"))
    assert plan.stack == "prod"


def test_problems_of_every_layer_come_at_once(project: Project) -> None:
    write(
        project.stacks / "team",
        model("local", "local://nowhere"),
        pool("bad", "BM.GPU.NOPE.8"),
        service("one", "local"),
        service("two", "missing"),
        service("three", "small", runtime={"name": "nope"}),
        service("four", "small", intnt={}),
        file="more.yaml",
    )
    text = problems_of(project)
    for expected in (
        "there is no GPU shape BM.GPU.NOPE.8",
        "there is no model missing",
        "there is no runtime nope",
        'did you mean "intent"?',
        "ClusterBaseModel/local",
    ):
        assert expected in text
    assert "stacks/team/more.yaml:" in text
    assert str(project.root) not in text.replace(str(project.stacks / "team" / "nowhere"), "")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("ome-iac:documnts: x", 'ome-iac:documnts: is not a known key; did you mean "documents"?'),
        ("ome-iac:context: 3", "ome-iac:context: must be text, not 3"),
        ("ome-iac:zzz: x", "known: context, documents, huggingFaceToken, kubeconfig"),
    ],
)
def test_a_wrong_key_of_our_namespace_is_an_error(project: Project, config: str, message: str) -> None:
    (project.stacks / "Pulumi.team.yaml").write_text(f"config:\n  {config}\n")
    with pytest.raises(ProblemsError) as caught:
        project.settings("team")
    assert message in str(caught.value)


def test_a_secret_of_ours_is_the_engines_to_open() -> None:
    """The settings file has it sealed; a plan does without it."""
    sealed = {"ome-iac:huggingFaceToken": {"secure": "v1:abc"}}
    assert Settings.parse("s", sealed) == Settings("s")


def test_a_key_of_another_namespace_is_not_ours() -> None:
    assert Settings.parse("team", {"oci:region": "x", "kubernetes:context": 1}) == Settings("team")


def test_a_stack_that_does_not_exist_names_the_nearest(project: Project) -> None:
    with pytest.raises(ProblemsError) as caught:
        project.settings("teem")
    assert 'there is no stack teem; did you mean "team"?' in str(caught.value)


def test_a_folder_outside_any_project_is_said(tmp_path_factory: pytest.TempPathFactory) -> None:
    with pytest.raises(ProblemsError, match="is in no project"):
        Project.find(tmp_path_factory.mktemp("empty"))


def test_a_field_of_omes_that_cannot_be_carried_out_is_never_ignored(project: Project) -> None:
    chat = service("routed", "small", router={"runner": {"name": "router"}}, engine={"canaryTrafficPercent": 10})
    write(project.stacks / "team", chat, file="more.yaml")
    text = problems_of(project)
    assert "InferenceService/routed spec.router.runner: is a field of OME's" in text
    assert "InferenceService/routed spec.engine.canaryTrafficPercent" in text


def test_a_lock_that_was_edited_is_refused_with_its_line(project: Project) -> None:
    lock = project.stacks / "team" / "ome.lock"
    lock.write_text(lock.read_text().replace("8030261248", "8030261249"))
    assert "stacks/team/ome.lock:" in problems_of(project)


def test_a_truncated_lock_is_refused(project: Project) -> None:
    lock = project.stacks / "team" / "ome.lock"
    lock.write_text(lock.read_text()[:800])
    assert "stacks/team/ome.lock:" in problems_of(project)


@pytest.mark.parametrize("name", ["quickstart", "existing-cluster", "serving-gallery"])
def test_the_example_stacks_plan(name: str) -> None:
    if name == "quickstart" and not (ROOT / "stacks/quickstart/weights/all-MiniLM-L6-v2/config.json").exists():
        pytest.skip("the weights of stacks/quickstart are not here: make setup links them")
    project = Project(ROOT)
    assert plan_project(project, project.settings(name)).services


def test_the_unfit_stack_is_refused_for_both_services() -> None:
    project = Project(ROOT)
    text = problems_of(project, "quickstart-unfit")
    assert "chat-long spec.intent.contextLength: 65,536 tokens" in text
    assert "llama-3-3-70b-instruct fits nowhere" in text


def test_published_facts_of_the_example_models() -> None:
    """Parameter counts of the weights on the Hub (safetensors metadata of the repositories)."""
    lock = parse_json((ROOT / "stacks/quickstart/ome.lock").read_text(), "ome.lock")
    assert isinstance(lock, dict)
    counts = {uri: entry["metadata"]["parameters"]["total"] for uri, entry in lock["models"].items()}
    assert counts == {SMALL: 8_030_261_248, "hf://meta-llama/Llama-3.3-70B-Instruct": 70_553_706_496}
