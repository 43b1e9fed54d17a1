"""The main job, end to end, on the real engine: documents and weights in, objects out."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml

from components import deploy
from ome_iac.planning.plan import Plan
from ome_iac.project import Project, plan_project
from ome_iac.rehearsal.engine import Engine
from tests.engine.harness import deployment, files
from tests.engine.project import COMMAND, ROOT, ProjectCopy

pytestmark = pytest.mark.engine

EVERYTHING = 27
"""Resources of stacks/quickstart: stack, two providers, namespace, 2 pools with a node pool each, 3 models, a runtime,
and 3 services of 4 objects."""


@pytest.fixture
def project(tmp_path: Path, engine: Engine) -> ProjectCopy:
    return ProjectCopy.make(tmp_path / "project", "quickstart", "quickstart-unfit", "existing-cluster")


def test_quickstart_through_our_command(project: ProjectCopy) -> None:
    first = project.run("up", "-s", "quickstart", "--rehearse", "--json").json()
    assert first["succeeded"]
    assert first["changes"] == {"create": EVERYTHING}
    assert first["diagnostics"] == []
    assert first["outputs"]["services"]["quickstart/chat-large"] == "http://chat-large.quickstart.svc"
    assert first["outputs"]["costPerHour"] == 88
    again = project.run("up", "-s", "quickstart", "--rehearse", "--json").json()
    assert again["changes"] == {"same": EVERYTHING}
    held = project.objects()
    assert len([name for name in held if name.startswith("kubernetes/")]) == 13
    assert len([name for name in held if name.startswith("oci/nodepool/")]) == 2
    outputs = project.run("outputs", "-s", "quickstart", "--rehearse", "--json").json()
    assert outputs == first["outputs"]
    gone = project.run("destroy", "-s", "quickstart", "--rehearse", "--json").json()
    assert gone["changes"] == {"delete": EVERYTHING}
    assert project.objects() == []


def test_quickstart_through_plain_pulumi(project: ProjectCopy) -> None:
    preview = project.pulumi("preview", "-s", "quickstart", "--non-interactive")
    assert preview.code == 0, preview.text
    assert project.objects() == []
    assert project.pulumi("up", "--yes", "--skip-preview", "-s", "quickstart").code == 0
    held = project.objects()
    assert project.pulumi("preview", "--expect-no-changes", "-s", "quickstart").code == 0

    project.edit("quickstart/services.yaml", lambda text: text.replace("contextLength: 16384", "contextLength: 8192"))
    assert project.pulumi("preview", "--expect-no-changes", "-s", "quickstart").code != 0
    changed = project.pulumi("up", "--yes", "--skip-preview", "-s", "quickstart")
    assert changed.code == 0, changed.text
    assert re.search(r"~ 2 updated", changed.text), changed.text  # the decision and its Deployment
    assert project.objects() == held
    [deployment_file] = [name for name in held if name.endswith("Deployment.apps/chat-small.yaml")]
    stored = yaml.safe_load((project.root / ".rehearsal" / "on-folder" / deployment_file).read_text())
    assert "8192" in stored["spec"]["template"]["spec"]["containers"][0]["args"]

    assert project.pulumi("refresh", "--yes", "--expect-no-changes", "-s", "quickstart").code == 0
    assert project.pulumi("destroy", "--yes", "--skip-preview", "-s", "quickstart").code == 0
    assert project.objects() == []


def test_a_rehearsal_leaves_the_projects_own_files_alone(project: ProjectCopy) -> None:
    before = {path: path.read_bytes() for path in (project.root / "stacks").rglob("*.yaml")}
    assert project.run("up", "-s", "quickstart", "--rehearse", "--json").code == 0
    assert project.pulumi("preview", "-s", "quickstart").code == 0
    assert {path: path.read_bytes() for path in (project.root / "stacks").rglob("*.yaml")} == before


def test_the_preview_shows_the_choice_and_every_way_not_taken(project: ProjectCopy) -> None:
    shown = project.run("diff", "-s", "quickstart", "--rehearse").text
    plan = Plan.model_validate_json(project.run("plan", "-s", "quickstart", "--json").out)
    [large] = [item for item in plan.services if item.name == "chat-large"]
    assert large.why in shown
    for rejection in large.rejected:
        assert f"{rejection.runtime} on {rejection.pool}" in shown
        assert rejection.reasons[0] in shown


def test_a_drifted_object_is_found_and_put_right(project: ProjectCopy) -> None:
    assert project.run("up", "-s", "quickstart", "--rehearse", "--json").code == 0
    held = project.objects()
    [drifted] = [name for name in held if name.endswith("Service/chat-small.yaml")]
    (project.root / ".rehearsal" / "on-folder" / drifted).unlink()
    assert project.pulumi("refresh", "--yes", "-s", "quickstart").code == 0
    repaired = project.run("up", "-s", "quickstart", "--rehearse", "--json").json()
    assert repaired["changes"]["create"] == 1
    assert project.objects() == held


def test_through_the_automation_api(tmp_path: Path, engine: Engine) -> None:
    example = Project(ROOT)
    plan = plan_project(example, example.settings("existing-cluster"))
    fewer = plan.model_copy(update={"services": ()})
    with deployment(tmp_path, engine) as stack:
        assert stack.preview(lambda: _deploy(plan)).changes == {"create": 11}
        assert stack.up(lambda: _deploy(plan)).changes == {"create": 11}
        assert stack.preview(lambda: _deploy(plan), expect_no_changes=True).changes == {"same": 11}
        assert stack.up(lambda: _deploy(fewer)).changes == {"same": 6, "delete": 5}
        assert stack.up(lambda: _deploy(plan)).changes == {"same": 6, "create": 5}
        assert stack.refresh().changes == {"same": 11}
        stack.destroy()
        assert files(stack.rehearsal.kubernetes_folder) == []


def _deploy(plan: Plan) -> None:
    deploy(plan, context="somewhere")


@pytest.mark.parametrize("through", ["ome-iac", "pulumi"])
def test_a_stack_that_does_not_fit_is_refused_in_lines(project: ProjectCopy, through: str) -> None:
    if through == "pulumi":
        refused = project.pulumi("up", "--yes", "--skip-preview", "-s", "quickstart-unfit")
    else:
        refused = project.run("up", "-s", "quickstart-unfit", "--rehearse")
    assert refused.code != 0
    assert "Traceback" not in refused.text
    assert "stacks/quickstart-unfit/stack.yaml:35 InferenceService/chat-long spec.intent.contextLength" in refused.text
    assert "stacks/quickstart-unfit/stack.yaml:43 InferenceService/chat-large spec.model.name" in refused.text
    assert project.objects() == []


def test_a_refused_change_touches_nothing_that_runs(project: ProjectCopy) -> None:
    assert project.run("up", "-s", "quickstart", "--rehearse", "--json").code == 0
    held = {name: (project.root / ".rehearsal/on-folder" / name).read_bytes() for name in project.objects()}
    project.edit("quickstart/services.yaml", lambda text: text.replace("contextLength: 32768", "contextLength: 999999"))
    assert project.pulumi("up", "--yes", "--skip-preview", "-s", "quickstart").code != 0
    assert {name: (project.root / ".rehearsal/on-folder" / name).read_bytes() for name in project.objects()} == held


def test_an_unknown_key_of_ours_stops_pulumi_too(project: ProjectCopy) -> None:
    (project.root / "stacks" / "Pulumi.quickstart.yaml").write_text("config:\n  ome-iac:documnts: quickstart\n")
    refused = project.pulumi("preview", "-s", "quickstart")
    assert refused.code != 0
    assert 'ome-iac:documnts: is not a known key; did you mean "documents"?' in refused.text
    assert "Traceback" not in refused.text


@pytest.mark.parametrize("victim", ["pulumi", "program"])
def test_an_up_that_was_killed_is_finished_by_running_it_again(project: ProjectCopy, victim: str) -> None:
    """Each object is made slow, so that there is a middle to be killed in."""
    faults = project.root / "faults.json"
    faults.write_text('{"kubernetes:apps/v1:Deployment": {"create": {"delaySeconds": 2}}}')
    running = subprocess.Popen(
        [COMMAND, "up", "-s", "quickstart", "--rehearse", "--faults", str(faults)],
        cwd=project.root,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while not any("Namespace" in name for name in project.objects()):
        assert time.monotonic() < deadline
        assert running.poll() is None
        time.sleep(0.05)
    for process in _children(running.pid, "pulumi" if victim == "pulumi" else "host_program"):
        os.kill(process, signal.SIGKILL)
    assert running.wait(60) != 0
    finished = project.run("up", "-s", "quickstart", "--rehearse", "--json")
    assert finished.code == 0, finished.text
    assert len(project.objects()) == 15
    assert project.pulumi("preview", "--expect-no-changes", "-s", "quickstart").code == 0


def _children(session: int, name: str) -> list[int]:
    """Processes of a session whose command line's first words name a program."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")[:4]
            if os.getsid(int(entry.name)) == session and any(
                name.encode() in Path(w.decode()).name.encode() for w in words
            ):
                found.append(int(entry.name))
        except (OSError, ProcessLookupError):
            continue
    assert found
    return found


def test_secrets_are_never_in_the_state_in_clear(tmp_path: Path, engine: Engine) -> None:
    import pulumi

    from components import KubernetesObject

    secret = "correct-horse-battery-staple"

    def program() -> None:
        manifest = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "hf-token", "namespace": "default"},
            "stringData": {"token": pulumi.Output.secret(secret)},
        }
        KubernetesObject("token", manifest, pulumi.ResourceOptions())

    with deployment(tmp_path, engine) as stack:
        stack.up(program)
        assert secret not in stack.state_text()
