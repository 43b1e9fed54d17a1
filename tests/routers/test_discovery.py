"""Routers that find their pods: the real router, with the rights and the selectors that we emit, on a real API server.

Pods are only written down there, each with a loopback address of its own at which a stub engine answers.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from ome_iac.manifests.names import labels
from ome_iac.manifests.routers import router_objects
from ome_iac.planning.plan import Plan, ServicePlan
from ome_iac.planning.serving.routing import LEADER, sglang_router
from ome_iac.rehearsal.control_plane import ControlPlane
from tests.routers.plans import planned
from tests.routers.program import free_port, replaced, running
from tests.routers.workers import Worker, started
from tests.unit.facts import pool, service

pytestmark = pytest.mark.cluster

KINDS = {
    "ServiceAccount": "api/v1/namespaces/{}/serviceaccounts",
    "Role": "apis/rbac.authorization.k8s.io/v1/namespaces/{}/roles",
    "RoleBinding": "apis/rbac.authorization.k8s.io/v1/namespaces/{}/rolebindings",
}


@pytest.fixture
def client(control_plane: ControlPlane) -> Iterator[httpx.Client]:
    with control_plane.client() as opened:
        yield opened


@pytest.fixture
def namespace(client: httpx.Client) -> Iterator[str]:
    body = {"metadata": {"generateName": "routers-"}}
    name: str = client.post("/api/v1/namespaces", json=body).raise_for_status().json()["metadata"]["name"]
    yield name
    client.delete(f"/api/v1/namespaces/{name}").raise_for_status()


def decided(folder: Path, namespace: str, name: str) -> tuple[Plan, ServicePlan]:
    document = service(name, "small", engine={"minReplicas": 2})
    document["metadata"]["namespace"] = namespace
    plan = planned(folder, pool("h100", "BM.GPU.H100.8"), document)
    return plan, plan.services[0]


def apart(service: ServicePlan, nodes: int = 1) -> ServicePlan:
    roles = tuple(
        service.engine.model_copy(update={"role": role, "replicas": 1, "nodes": nodes})
        for role in ("prefill", "decode")
    )
    return service.model_copy(update={"pattern": "prefill-decode", "roles": roles})


def allowed(client: httpx.Client, plane: ControlPlane, plan: Plan, routed: ServicePlan, folder: Path) -> dict[str, str]:
    """The environment of a router with its own account and no more rights than that has."""
    made = {each["kind"]: each for each in router_objects(plan, routed)}
    for kind, path in KINDS.items():
        client.post("/" + path.format(routed.namespace), json=made[kind]).raise_for_status()
    account = made["ServiceAccount"]["metadata"]["name"]
    path = f"/{KINDS['ServiceAccount'].format(routed.namespace)}/{account}/token"
    token = client.post(path, json={"spec": {}}).raise_for_status().json()["status"]["token"]
    configuration: dict[str, Any] = yaml.safe_load(plane.kubeconfig.read_text())
    for user in configuration["users"]:
        user["user"] = {"token": token}
    file = folder / "kubeconfig"
    file.write_text(yaml.safe_dump(configuration))
    return {"KUBECONFIG": str(file)}


def write_down(
    client: httpx.Client, plan: Plan, owner: ServicePlan, role: str, worker: Worker, **more: dict[str, str]
) -> None:
    """A ready pod of a role at the worker's address."""
    pods = f"/api/v1/namespaces/{owner.namespace}/pods"
    metadata = {
        "name": worker.name,
        "labels": labels(plan, owner, role) | more.get("labels", {}),
        "annotations": more.get("annotations", {}),
    }
    containers = [{"name": "engine", "image": "example.test/image"}]
    spec = {"containers": containers, "schedulerName": "nobody", "terminationGracePeriodSeconds": 0}
    client.post(pods, json={"metadata": metadata, "spec": spec}).raise_for_status()
    ready = {"type": "Ready", "status": "True"}
    status = {"phase": "Running", "podIP": worker.host, "podIPs": [{"ip": worker.host}], "conditions": [ready]}
    headers = {"Content-Type": "application/merge-patch+json"}
    client.patch(f"{pods}/{worker.name}/status", json={"status": status}, headers=headers).raise_for_status()


def test_a_router_finds_the_replicas_of_its_service_and_no_others(
    control_plane: ControlPlane, client: httpx.Client, namespace: str, tmp_path: Path
) -> None:
    plan, chat = decided(tmp_path / "chat", namespace, "chat")
    _, other = decided(tmp_path / "other", namespace, "chat-2")
    routed = chat.model_copy(update={"router": sglang_router(chat, "round_robin")})
    assert routed.router is not None
    environment = allowed(client, control_plane, plan, routed, tmp_path)
    port = free_port("127.0.0.2")
    ours = [Worker(f"ours-{n}", f"127.0.0.{n}", port) for n in (2, 3)]
    theirs = Worker("theirs", "127.0.0.4", port)
    command = replaced(routed.router.command, {"--service-discovery-port": str(port)})
    with started(*ours, theirs):
        for worker in ours:
            write_down(client, plan, chat, "engine", worker)
        write_down(client, plan, other, "engine", theirs)
        with running(command, tmp_path / "log", environment) as router:
            router.wait_for(2)
            answered = {router.answered_by(f"{number}") for number in range(8)}
            assert answered == {"ours-2", "ours-3"}
            # A pod that goes is forgotten, one that comes is found.
            client.delete(f"/api/v1/namespaces/{namespace}/pods/ours-2").raise_for_status()
            router.wait_for(1)
            late = Worker("ours-5", "127.0.0.5", port)
            with started(late):
                write_down(client, plan, chat, "engine", late)
                router.wait_for(2)
                assert {router.answered_by(f"{number}") for number in range(8)} == {"ours-3", "ours-5"}
    assert theirs.asked == []


def test_a_router_may_look_at_the_pods_of_its_namespace_and_nothing_else(
    control_plane: ControlPlane, client: httpx.Client, namespace: str, tmp_path: Path
) -> None:
    plan, chat = decided(tmp_path / "chat", namespace, "chat")
    routed = chat.model_copy(update={"router": sglang_router(chat, None)})
    configuration = yaml.safe_load(
        Path(allowed(client, control_plane, plan, routed, tmp_path)["KUBECONFIG"]).read_text()
    )
    token = configuration["users"][0]["user"]["token"]
    headers = {"Authorization": f"Bearer {token}"}
    with control_plane.client() as router:
        for path, status in (
            (f"/api/v1/namespaces/{namespace}/pods", 200),
            (f"/api/v1/namespaces/{namespace}/secrets", 403),
            ("/api/v1/namespaces/kube-system/pods", 403),
            ("/api/v1/pods", 403),
        ):
            assert router.get(path, headers=headers).status_code == status, path


def test_prefill_and_decode_are_found_by_role_and_groups_by_their_leader(
    control_plane: ControlPlane, client: httpx.Client, namespace: str, tmp_path: Path
) -> None:
    plan, chat = decided(tmp_path / "chat", namespace, "chat")
    groups = apart(chat, nodes=2)
    routed = groups.model_copy(update={"router": sglang_router(groups, None)})
    assert routed.router is not None
    environment = allowed(client, control_plane, plan, routed, tmp_path)
    port = free_port("127.0.0.2")
    prefill, decode = Worker("prefill", "127.0.0.2", port), Worker("decode", "127.0.0.3", port)
    follower = Worker("follower", "127.0.0.4", port)
    bootstrap = {"sglang.ai/bootstrap-port": "8998"}
    command = replaced(routed.router.command, {"--service-discovery-port": str(port)})
    with started(prefill, decode, follower):
        write_down(client, plan, routed, "prefill", prefill, labels=LEADER, annotations=bootstrap)
        write_down(client, plan, routed, "decode", decode, labels=LEADER)
        [key] = LEADER
        write_down(client, plan, routed, "decode", follower, labels={key: "1"})
        with running(command, tmp_path / "log", environment) as router:
            router.wait_for(2)
            assert {router.answered_by(f"{number}") for number in range(6)} == {"decode"}
    assert len(prefill.asked) == len(decode.asked) == 6
    assert {body["bootstrap_port"] for body in prefill.asked} == {8998}
    assert {body["bootstrap_host"] for body in prefill.asked} == {"127.0.0.2"}
    assert follower.asked == []
