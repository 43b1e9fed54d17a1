"""`ome-iac render`: files of a stack, all or nothing, and what may not be overwritten."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ome_iac.cli.render import KUSTOMIZATION, MARKER, Target, object_files, render, write_folder, yaml_text
from ome_iac.manifests import service_objects
from ome_iac.planning.planner import plan_stack
from ome_iac.problems import ProblemsError
from tests.unit.facts import decoder, model, pool, service, stack, write

ROOT = Path(__file__).parents[2]
LOCKED = "hf://meta-llama/Llama-3.1-8B-Instruct"
URI = "hf://example/small"
NAMESPACE = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with the stack `team`, which is the current folder."""
    (tmp_path / "Pulumi.yaml").write_text("name: ome-iac\nruntime: python\nmain: stacks\n")
    documents = tmp_path / "stacks" / "team"
    chat = service("chat", "small")
    chat["metadata"]["namespace"] = "team"
    write(documents, NAMESPACE, model("small", LOCKED), pool("h100", "BM.GPU.H100.8"), chat, service("other", "small"))
    (documents / "ome.lock").write_text((ROOT / "stacks" / "existing-cluster" / "ome.lock").read_text())
    (tmp_path / "stacks" / "Pulumi.team.yaml").write_text("config: {}\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def held(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob("*")) if path.is_file()}


def refusal(out: Path) -> str:
    with pytest.raises(ProblemsError) as caught:
        render("team", out)
    [problem] = caught.value.problems
    return str(problem)


def test_a_stack_becomes_a_folder_that_its_kustomization_names(project: Path) -> None:
    render("team", Path("out"))
    files = held(project / "out")
    assert set(files) == {KUSTOMIZATION, "namespaces.yaml", "team/chat.yaml", "default/other.yaml"}
    assert files[KUSTOMIZATION].startswith(MARKER)
    named = yaml.safe_load(files[KUSTOMIZATION])
    assert named["kind"] == "Kustomization"
    assert named["resources"] == ["namespaces.yaml", "default/other.yaml", "team/chat.yaml"]
    kinds = [one["kind"] for one in yaml.safe_load_all(files["team/chat.yaml"])]
    assert kinds == ["ServiceAccount", "Deployment", "PodDisruptionBudget", "Service"]


def test_nothing_is_left_beside_the_folder(project: Path) -> None:
    before = set(project.iterdir())
    render("team", Path("out"))
    render("team", Path("out"))
    assert set(project.iterdir()) - before == {project / "out"}


def test_the_same_stack_is_the_same_bytes(project: Path) -> None:
    render("team", Path("one"))
    render("team", Path("two"))
    assert held(project / "one") == held(project / "two")


def test_what_no_longer_belongs_is_removed(project: Path) -> None:
    render("team", Path("out"))
    documents = project / "stacks" / "team"
    write(documents, model("small", LOCKED), pool("h100", "BM.GPU.H100.8"), service("other", "small"))
    render("team", Path("out"))
    assert set(held(project / "out")) == {KUSTOMIZATION, "default/other.yaml"}
    assert not (project / "out" / "team").exists()


@pytest.mark.parametrize("target", list(Target))
def test_a_refused_stack_writes_nothing_and_leaves_what_is_there(project: Path, target: Target) -> None:
    render("team", Path("out"))
    before = held(project / "out")
    write(project / "stacks" / "team", service("bad", "absent"), file="more.yaml")
    with pytest.raises(ProblemsError, match="there is no model absent"):
        render("team", Path("out"), target)
    with pytest.raises(ProblemsError):
        render("team", Path("new"), target)
    assert held(project / "out") == before
    assert not (project / "new").exists()


def test_an_empty_folder_is_taken(project: Path) -> None:
    (project / "deep" / "out").mkdir(parents=True)
    render("team", Path("deep/out"))
    assert KUSTOMIZATION in held(project / "deep" / "out")


@pytest.mark.parametrize("kustomization", [None, "resources: []\n", f"{MARKER}\nresources: 3\n", f"{MARKER}\n[\n"])
def test_another_s_folder_is_refused_and_kept(project: Path, kustomization: str | None) -> None:
    (project / "out").mkdir()
    (project / "out" / "mine.yaml").write_text("mine")
    if kustomization is not None:
        (project / "out" / KUSTOMIZATION).write_text(kustomization)
    before = held(project / "out")
    assert "is not empty, and has no kustomization.yaml that render wrote" in refusal(Path("out"))
    assert held(project / "out") == before


@pytest.mark.parametrize("path", ["mine.yaml", "team/mine.yaml", ".git/HEAD"])
def test_a_file_put_into_our_folder_is_not_lost(project: Path, path: str) -> None:
    render("team", Path("out"))
    (project / "out" / path).parent.mkdir(exist_ok=True)
    (project / "out" / path).write_text("mine")
    assert f"would lose it: {path}; keep it outside" in refusal(Path("out"))
    assert (project / "out" / path).read_text() == "mine"


def test_a_file_is_no_folder(project: Path) -> None:
    (project / "out").write_text("mine")
    assert refusal(Path("out")) == "out: is a file; name a folder"
    assert "cannot be written" in refusal(Path("out/below"))


def test_a_link_to_a_folder_stays_one(project: Path) -> None:
    (project / "real").mkdir()
    (project / "out").symlink_to("real")
    render("team", Path("out"))
    assert (project / "out").is_symlink()
    assert KUSTOMIZATION in held(project / "real")


def test_a_failure_between_the_two_renames_brings_the_old_folder_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    write_folder(tmp_path / "out", {KUSTOMIZATION: f"{MARKER}\nresources: []\n"})
    before, rename = held(tmp_path / "out"), os.rename

    def failing(source: Path, target: Path) -> None:
        if source.name == "new":
            raise KeyboardInterrupt
        rename(source, target)

    monkeypatch.setattr(os, "rename", failing)
    with pytest.raises(KeyboardInterrupt):
        write_folder(tmp_path / "out", {KUSTOMIZATION: f"{MARKER}\nresources: [x]\n"})
    assert held(tmp_path / "out") == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_files_hold_the_very_objects_in_their_order(tmp_path: Path) -> None:
    documents = (model("small", URI), pool("h100", "BM.GPU.H100.8", 4))
    apart = service("chat", "small", intent={"pattern": "prefill-decode", "contextLength": 8192})
    plan, problems = plan_stack(stack(tmp_path, *documents, apart), {URI: decoder(URI)})
    assert plan is not None, problems
    text = object_files(plan)["default/chat.yaml"]
    assert list(yaml.safe_load_all(text)) == service_objects(plan, plan.services[0])
    assert "&id" not in text


def test_routes_over_several_services_have_a_file_of_their_own(tmp_path: Path) -> None:
    gateway = {"ingress": {"kind": "gateway", "parent": "edge/public"}}
    split = {"services": [{"service": "a", "weight": 90}, {"service": "b", "weight": 10}]}
    documents = (
        model("small", URI),
        pool("h100", "BM.GPU.H100.8"),
        {"apiVersion": "ome-iac/v1", "kind": "Platform", "metadata": {"name": "p"}, "spec": gateway},
        {"apiVersion": "ome-iac/v1", "kind": "TrafficSplit", "metadata": {"name": "both"}, "spec": split},
        *(service(name, "small") for name in "ab"),
    )
    plan, problems = plan_stack(stack(tmp_path, *documents), {URI: decoder(URI)})
    assert plan is not None, problems
    files = object_files(plan)
    assert yaml.safe_load(files[KUSTOMIZATION])["resources"][-1] == "routes.yaml"
    assert [one["kind"] for one in yaml.safe_load_all(files["routes.yaml"])] == ["HTTPRoute"]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", min_size=1), inner, max_size=3),
)


@given(VALUES)
def test_what_is_written_reads_as_the_same(value: Any) -> None:
    assert list(yaml.safe_load_all(yaml_text([{"value": value}]))) == [{"value": value}]


@pytest.mark.parametrize(
    "text", ["1e3", "12e03", "0o14", "0x1F", "1_000", "1.5", ".5", "-1", "+1", "0777", "1.", "yes"]
)
def test_text_that_another_reader_takes_for_a_number_is_quoted(text: str) -> None:
    assert re.search(rf"value: '{re.escape(text)}'\n", yaml_text([{"value": text}]))


def test_quantities_stand_plain() -> None:
    assert "memory: 8Gi\n" in yaml_text([{"memory": "8Gi"}])
