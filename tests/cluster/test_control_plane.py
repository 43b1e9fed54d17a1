import json
import os
import signal
import ssl
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from ome_iac.problems import ProblemsError
from ome_iac.rehearsal.components import COMPONENTS
from ome_iac.rehearsal.control_plane import ControlPlane
from ome_iac.rehearsal.nodes import make_nodes
from ome_iac.rehearsal.processes import ProcessId, process_id
from tests.cluster.waiting import pods_by_phase, refusals, wait_until

pytestmark = pytest.mark.cluster

H100 = make_nodes("h100", shape="BM.GPU.H100.8", count=1, cpu=224, memory_gib=2048, gpus=8)


def pod_spec(gpus: int) -> dict[str, Any]:
    return {
        "containers": [
            {"name": "main", "image": "example.test/image", "resources": {"limits": {"nvidia.com/gpu": str(gpus)}}}
        ],
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
        "terminationGracePeriodSeconds": 0,
    }


def test_only_as_many_pods_run_as_there_are_gpus(
    control_plane: ControlPlane, client: httpx.Client, namespace: str
) -> None:
    control_plane.add_nodes(H100)
    for index in range(3):
        pod = {"metadata": {"name": f"four-{index}"}, "spec": pod_spec(gpus=4)}
        client.post(f"/api/v1/namespaces/{namespace}/pods", json=pod).raise_for_status()

    def settled() -> bool:
        phases = pods_by_phase(client, namespace)
        refused = [pod for pod in phases.get("Pending", []) if "Insufficient nvidia.com/gpu" in refusals(pod)]
        return len(phases.get("Running", [])) == 2 and len(refused) == 1

    wait_until(settled, control_plane)

    # A second node takes the third.
    control_plane.add_nodes(make_nodes("h100", shape="BM.GPU.H100.8", count=2, cpu=224, memory_gib=2048, gpus=8))
    wait_until(lambda: len(pods_by_phase(client, namespace).get("Running", [])) == 3, control_plane)


def test_a_pod_without_the_toleration_stays_off_gpu_nodes(
    control_plane: ControlPlane, client: httpx.Client, namespace: str
) -> None:
    control_plane.add_nodes(H100)
    spec = {**pod_spec(gpus=1), "tolerations": []}
    client.post(f"/api/v1/namespaces/{namespace}/pods", json={"metadata": {"name": "one"}, "spec": spec})

    def refused() -> bool:
        (pod,) = client.get(f"/api/v1/namespaces/{namespace}/pods").json()["items"]
        assert pod["status"]["phase"] == "Pending"
        return "untolerated taint" in refusals(pod)

    wait_until(refused, control_plane)


def test_the_controllers_work(control_plane: ControlPlane, client: httpx.Client, namespace: str) -> None:
    control_plane.add_nodes(H100)
    template = {"metadata": {"labels": {"app": "chat"}}, "spec": pod_spec(gpus=1)}
    deployment = {
        "metadata": {"name": "chat"},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "chat"}}, "template": template},
    }
    job = {"metadata": {"name": "job"}, "spec": {"template": {"spec": {**pod_spec(gpus=1), "restartPolicy": "Never"}}}}
    deployments, jobs = (
        f"/apis/apps/v1/namespaces/{namespace}/deployments",
        f"/apis/batch/v1/namespaces/{namespace}/jobs",
    )
    client.post(deployments, json=deployment).raise_for_status()
    client.post(jobs, json=job).raise_for_status()
    wait_until(lambda: client.get(f"{deployments}/chat").json()["status"].get("readyReplicas") == 2, control_plane)
    wait_until(lambda: client.get(f"{jobs}/job").json()["status"].get("succeeded") == 1, control_plane)


def test_a_namespace_ends_with_all_that_is_in_it(control_plane: ControlPlane, client: httpx.Client) -> None:
    client.post("/api/v1/namespaces", json={"metadata": {"name": "ends"}}).raise_for_status()
    client.post("/api/v1/namespaces/ends/secrets", json={"metadata": {"name": "in-it"}}).raise_for_status()
    client.delete("/api/v1/namespaces/ends").raise_for_status()
    wait_until(lambda: client.get("/api/v1/namespaces/ends").status_code == 404, control_plane)


def test_adding_nodes_again_changes_them_and_nothing_else(control_plane: ControlPlane, client: httpx.Client) -> None:
    control_plane.add_nodes(H100)
    before = client.get("/api/v1/nodes/h100-0").json()
    control_plane.add_nodes(H100)
    after = client.get("/api/v1/nodes/h100-0").json()
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["spec"]["taints"] == H100[0]["spec"]["taints"]
    assert after["status"]["capacity"] == H100[0]["status"]["capacity"]
    smaller = make_nodes("h100", shape="BM.GPU.H100.8", count=1, cpu=224, memory_gib=2048, gpus=4)
    control_plane.add_nodes(smaller)
    assert client.get("/api/v1/nodes/h100-0").json()["status"]["allocatable"]["nvidia.com/gpu"] == "4"
    assert len(client.get("/api/v1/nodes").json()["items"]) == 1


def test_a_node_that_the_server_refuses_is_a_problem(control_plane: ControlPlane) -> None:
    with pytest.raises(ProblemsError, match=r"Not_A_Name.*refused"):
        control_plane.add_nodes(make_nodes("Not_A_Name", shape="x", count=1, cpu=1, memory_gib=1))


def test_nothing_is_open_without_the_token(control_plane: ControlPlane, client: httpx.Client) -> None:
    context = ssl.create_default_context(cafile=str(control_plane.data_dir / "credentials" / "ca.crt"))
    server = control_plane.status().server
    with httpx.Client(verify=context, trust_env=False) as stranger:
        assert stranger.get(f"{server}/api/v1/nodes").status_code == 403
        assert stranger.get(f"{server}/api/v1/nodes", headers={"Authorization": "Bearer guess"}).status_code == 401
        ports = json.loads((control_plane.data_dir / "state.json").read_text())["ports"]
        with pytest.raises(httpx.TransportError):
            stranger.get(f"https://127.0.0.1:{ports['etcd']}/health")
    # A token opens no more than its user's role: the scheduler reads no secrets.
    kubeconfig = yaml.safe_load((control_plane.data_dir / "scheduler.kubeconfig").read_text())
    token = kubeconfig["users"][0]["user"]["token"]
    assert client.get("/api/v1/secrets", headers={"Authorization": f"Bearer {token}"}).status_code == 403


def test_secrets_are_for_the_owner_only(control_plane: ControlPlane) -> None:
    assert stat.S_IMODE(control_plane.data_dir.stat().st_mode) == 0o700
    for file in [*(control_plane.data_dir / "credentials").iterdir(), *control_plane.data_dir.glob("*.kubeconfig")]:
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file


def test_the_kubeconfig_names_its_context(control_plane: ControlPlane) -> None:
    kubeconfig = yaml.safe_load(control_plane.kubeconfig.read_text())
    assert kubeconfig["current-context"] == "ome-iac-rehearsal"
    assert kubeconfig["clusters"][0]["cluster"]["server"] == control_plane.status().server


def test_it_tells_its_true_version(client: httpx.Client) -> None:
    pinned = next(component.tool.version for component in COMPONENTS if component.name == "kube-apiserver")
    assert client.get("/version").json()["gitVersion"] == f"v{pinned}"


def processes_of(plane: ControlPlane) -> dict[str, ProcessId]:
    state = json.loads((plane.data_dir / "state.json").read_text())
    return {name: ProcessId(*process) for name, process in state["processes"].items()}


def test_a_life(tmp_path: Path) -> None:
    """Started twice, stopped by another, started again with what was in it, deleted."""
    with ControlPlane(tmp_path / "plane", bound_to_parent=True) as plane:
        server, processes = plane.start().server, processes_of(plane)
        assert ControlPlane(plane.data_dir).start().server == server
        assert processes_of(plane) == processes
        assert all(process.is_running() for process in processes.values())
        with plane.client() as client:
            client.post("/api/v1/namespaces", json={"metadata": {"name": "kept"}}).raise_for_status()

        ControlPlane(plane.data_dir).stop()
        assert not any(process.is_running() for process in processes.values())
        assert not any(plane.status().components.values())
        plane.stop()

        assert plane.start().server == server
        with plane.client() as client:
            assert client.get("/api/v1/namespaces/kept").is_success

        # What is left of one that lost a component is replaced as a whole.
        processes = processes_of(plane)
        assert plane.deaths() == []
        os.kill(processes["lws"].number, signal.SIGKILL)
        assert processes["lws"].wait(60)
        assert not plane.status().running
        (death,) = plane.deaths()
        assert death.path == "lws"
        assert "ended by itself" in death.what
        assert "it said nothing" not in death.what
        assert str(plane.data_dir / "logs" / "lws.log") in death.remedy
        assert plane.start().running
        assert not any(process.is_running() for process in processes.values())
        plane.delete()
        assert not plane.data_dir.exists()


STARTS = """
import sys
from pathlib import Path
from ome_iac.rehearsal.control_plane import ControlPlane
plane = ControlPlane(Path(sys.argv[1]), bound_to_parent=True)
plane.start()
print("started", flush=True)
sys.stdin.read()
"""


def test_bound_to_its_parent_it_ends_when_that_is_killed(tmp_path: Path) -> None:
    folder = tmp_path / "plane"
    command = [sys.executable, "-c", STARTS, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"started\n"
        processes = processes_of(ControlPlane(folder))
        parent.kill()
    for process in processes.values():
        while process.is_running():
            time.sleep(0.05)


def test_a_start_that_fails_half_way_tells_why_and_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "plane"
    folder.mkdir()
    (folder / "etcd").write_text("not a folder")
    plane = ControlPlane(folder, bound_to_parent=True)
    with pytest.raises(ProblemsError) as raised:
        plane.start()
    (problem,) = raised.value.problems
    assert problem.path == "etcd"
    assert "not a directory" in problem.what
    assert str(folder / "logs" / "etcd.log") in problem.remedy
    assert not any(plane.status().components.values())
    listed = subprocess.run(["ps", "-ww", "-eo", "args="], capture_output=True, text=True, check=True).stdout
    assert str(folder) not in listed


def test_a_stranger_with_a_reused_number_is_left_alone(tmp_path: Path) -> None:
    stranger = subprocess.Popen(["sleep", "3600"])
    try:
        identity = process_id(stranger.pid)
        state = {"ports": {}, "processes": {"etcd": [identity.number, "1"], "kwok": [identity.number, "2"]}}
        (tmp_path / "state.json").write_text(json.dumps(state))
        plane = ControlPlane(tmp_path)
        assert not any(plane.status().components.values())
        plane.stop()
        assert identity.is_running()
    finally:
        stranger.kill()
        stranger.wait()


def test_stopping_or_asking_what_was_never_started_makes_nothing(tmp_path: Path) -> None:
    plane = ControlPlane(tmp_path / "never")
    plane.stop()
    assert not plane.status().running
    assert not plane.data_dir.exists()
    with pytest.raises(ProblemsError, match="ome-iac cluster start"):
        plane.client()
