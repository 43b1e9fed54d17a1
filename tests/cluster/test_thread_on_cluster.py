"""The example stacks on a real API server, with real controllers and the real scheduler."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ome_iac.rehearsal.control_plane import ControlPlane
from ome_iac.rehearsal.engine import Engine
from tests.engine.project import ProjectCopy

pytestmark = [pytest.mark.engine, pytest.mark.cluster]


@pytest.fixture
def project(tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[ProjectCopy]:
    """A project copy whose local control plane keeps its data below the test's folder."""
    copy = ProjectCopy.make(tmp_path / "project", "quickstart", "existing-cluster")
    copy.environment["XDG_STATE_HOME"] = str(tmp_path / "state")
    assert copy.run("cluster", "start").code == 0
    yield copy
    assert copy.run("cluster", "stop", "--delete").code == 0


def test_existing_cluster_is_deployed_updated_and_destroyed(project: ProjectCopy) -> None:
    flags = ("-s", "existing-cluster", "--rehearse", "--cluster", "--json")
    first = project.run("up", *flags)
    assert first.code == 0, first.text
    assert first.json()["changes"] == {"create": 11}
    assert project.run("up", *flags).json()["changes"] == {"same": 11}
    project.edit("existing-cluster/stack.yaml", lambda text: text + "  intent:\n    contextLength: 4096\n")
    assert project.run("up", *flags).json()["changes"] == {"same": 9, "update": 2}
    refreshed = project.run(
        "rehearse", "--cluster", "--", "pulumi", "refresh", "--yes", "--expect-no-changes", *flags[:2]
    )
    assert refreshed.code == 0, refreshed.text
    pods = _pods(project, "serving")
    assert [(pod["status"]["phase"], pod["spec"]["nodeName"]) for pod in pods] == [
        ("Running", "existing-cluster-h100-0")
    ]
    assert project.run("destroy", *flags).json()["changes"] == {"delete": 11}
    assert _pods(project, "serving") == []


def test_quickstart_runs_on_its_pools(project: ProjectCopy) -> None:
    done = project.run("up", "-s", "quickstart", "--rehearse", "--cluster", "--json")
    assert done.code == 0, done.text
    placed = {
        pod["metadata"]["labels"]["app.kubernetes.io/name"]: pod["spec"]["nodeName"]
        for pod in _pods(project, "quickstart")
    }
    assert placed["chat-large"] == "quickstart-h100-0"
    assert {placed["chat-small"].rpartition("-")[0], placed["embeddings"].rpartition("-")[0]} == {"quickstart-a10"}
    assert project.run("destroy", "-s", "quickstart", "--rehearse", "--cluster", "--json").code == 0


def test_what_the_api_server_refuses_is_said_at_preview(project: ProjectCopy) -> None:
    """A label that Kubernetes does not take: our documents let it pass, the server does not."""
    project.edit(
        "existing-cluster/stack.yaml", lambda text: text + "  engine:\n    labels:\n      team: not/a/label value\n"
    )
    flags = ("-s", "existing-cluster", "--rehearse", "--cluster")
    refused = project.run("diff", *flags)
    assert refused.code != 0
    assert "Traceback" not in refused.text


def _pods(project: ProjectCopy, namespace: str) -> list[dict[str, Any]]:
    kubeconfig = Path(project.run("cluster", "kubeconfig").out.strip())
    with ControlPlane(kubeconfig.parent).client() as client:
        found: list[dict[str, Any]] = client.get(f"/api/v1/namespaces/{namespace}/pods").json()["items"]
    return found
