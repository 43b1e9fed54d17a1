"""LeaderWorkerSet and JobSet as they really behave, on nodes in the shape of an H100 pool."""

import time
from collections.abc import Iterable
from typing import Any

import httpx
import pytest

from ome_iac.hardware import shapes
from ome_iac.rehearsal.control_plane import ControlPlane
from ome_iac.rehearsal.nodes import TOPOLOGY_LABELS, make_nodes, make_oke_nodes
from tests.cluster.waiting import pods_by_phase, pods_of, refusals, wait_until

pytestmark = pytest.mark.cluster

H100 = shapes()["BM.GPU.H100.8"]
NETWORK_BLOCK = TOPOLOGY_LABELS["network_block"]


def whole_node(**more: Any) -> dict[str, Any]:
    """A pod that takes every GPU and virtual function of a node."""
    assert H100.rdma is not None
    amounts = {
        "nvidia.com/gpu": str(H100.gpus),
        "nvidia.com/rdma-vf": str(H100.rdma.virtual_functions),
        "memory": "1000Gi",
        "ephemeral-storage": "1Ti",
    }
    container = {"name": "engine", "image": "example.test/engine", "resources": {"limits": amounts}}
    return {
        "containers": [container],
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
        "nodeSelector": {"node.kubernetes.io/instance-type": H100.name},
        "terminationGracePeriodSeconds": 0,
        **more,
    }


def leader_worker_set(name: str, groups: int, size: int, exclusive: str | None = NETWORK_BLOCK) -> dict[str, Any]:
    annotations = {"leaderworkerset.sigs.k8s.io/exclusive-topology": exclusive} if exclusive else {}
    return {
        "apiVersion": "leaderworkerset.x-k8s.io/v1",
        "kind": "LeaderWorkerSet",
        "metadata": {"name": name, "annotations": annotations},
        "spec": {
            "replicas": groups,
            "leaderWorkerTemplate": {"size": size, "workerTemplate": {"spec": whole_node()}},
        },
    }


def create(client: httpx.Client, namespace: str, wanted: dict[str, Any]) -> httpx.Response:
    group, _, version = wanted["apiVersion"].partition("/")
    path = f"/apis/{group}/{version}/namespaces/{namespace}/{wanted['kind'].lower()}s"
    return client.post(path, params={"fieldValidation": "Strict"}, json=wanted)


def status_of(client: httpx.Client, namespace: str, kind: str, name: str) -> dict[str, Any]:
    path = {"LeaderWorkerSet": "leaderworkerset.x-k8s.io/v1", "JobSet": "jobset.x-k8s.io/v1alpha2"}[kind]
    answer = client.get(f"/apis/{path}/namespaces/{namespace}/{kind.lower()}s/{name}").raise_for_status()
    status: dict[str, Any] = answer.json().get("status", {})
    return status


def conditions(status: dict[str, Any]) -> set[str]:
    return {found["type"] for found in status.get("conditions", []) if found["status"] == "True"}


def environment(pod: dict[str, Any]) -> dict[str, str]:
    return {entry["name"]: entry.get("value", "") for entry in pod["spec"]["containers"][0].get("env", [])}


def blocks(client: httpx.Client, pods: Iterable[dict[str, Any]]) -> set[str]:
    nodes = [client.get(f"/api/v1/nodes/{pod['spec']['nodeName']}").raise_for_status().json() for pod in pods]
    return {node["metadata"]["labels"][NETWORK_BLOCK] for node in nodes}


def test_two_groups_run_whole_each_in_a_network_block_of_its_own(
    control_plane: ControlPlane, client: httpx.Client, namespace: str
) -> None:
    control_plane.add_nodes(make_oke_nodes("h100", H100, 4, nodes_per_network_block=2))
    create(client, namespace, leader_worker_set("chat", groups=2, size=2)).raise_for_status()
    wait_until(lambda: len(pods_by_phase(client, namespace).get("Running", [])) == 4, control_plane)
    wait_until(
        lambda: "Available" in conditions(status_of(client, namespace, "LeaderWorkerSet", "chat")), control_plane
    )

    pods = {pod["metadata"]["name"]: pod for pod in pods_of(client, namespace)}
    assert sorted(pods) == ["chat-0", "chat-0-1", "chat-1", "chat-1-1"]
    assert len({pod["spec"]["nodeName"] for pod in pods.values()}) == 4
    first, second = (blocks(client, (pods[leader], pods[f"{leader}-1"])) for leader in ("chat-0", "chat-1"))
    assert len(first) == len(second) == 1
    assert first != second
    for name, pod in pods.items():
        found = environment(pod)
        assert found["LWS_LEADER_ADDRESS"] == f"chat-{name.split('-')[1]}.chat.{namespace}"
        assert found["LWS_GROUP_SIZE"] == "2"
        assert found["LWS_WORKER_INDEX"] == ("1" if name.count("-") == 2 else "0")
    sets = client.get(f"/apis/apps/v1/namespaces/{namespace}/statefulsets").json()["items"]
    assert sorted(found["metadata"]["name"] for found in sets) == ["chat", "chat-0", "chat-1"]


def test_a_group_without_room_in_one_block_stays_pending_though_the_pool_has_room(
    control_plane: ControlPlane, client: httpx.Client, namespace: str
) -> None:
    """The leader takes a node of some block, and the controller ties its workers to that block by a node selector."""
    control_plane.add_nodes(make_oke_nodes("h100", H100, 4, nodes_per_network_block=2))
    create(client, namespace, leader_worker_set("wide", groups=1, size=3)).raise_for_status()

    def settled() -> bool:
        phases = pods_by_phase(client, namespace)
        return len(phases.get("Running", [])) == 2 and "2 node(s) didn't match Pod's node affinity/selector" in "".join(
            map(refusals, phases.get("Pending", []))
        )

    wait_until(settled, control_plane)
    assert len(blocks(client, pods_by_phase(client, namespace)["Running"])) == 1


def test_a_group_on_a_pool_one_node_too_small_runs_in_part_and_is_called_available(
    control_plane: ControlPlane, client: httpx.Client, namespace: str
) -> None:
    """LeaderWorkerSet alone is no gang: what fits runs and holds its GPUs, the rest waits. That is Kueue's part.

    Nor does its status tell: version 0.7.0 counts a group as ready once its leader is and its workers were made
    (pkg/utils/statefulset, StatefulsetReady). Whoever waits for a group must look at its pods.
    """
    control_plane.add_nodes(make_oke_nodes("h100", H100, 2))
    create(client, namespace, leader_worker_set("big", groups=1, size=3)).raise_for_status()

    def settled() -> bool:
        phases = pods_by_phase(client, namespace)
        return len(phases.get("Running", [])) == 2 and "Insufficient nvidia.com/gpu" in "".join(
            map(refusals, phases.get("Pending", []))
        )

    wait_until(settled, control_plane)
    assert "big-0" in {pod["metadata"]["name"] for pod in pods_by_phase(client, namespace)["Running"]}
    wait_until(lambda: "Available" in conditions(status_of(client, namespace, "LeaderWorkerSet", "big")), control_plane)
    assert len(pods_by_phase(client, namespace)["Pending"]) == 1

    # The missing node completes it.
    control_plane.add_nodes(make_oke_nodes("h100", H100, 3))
    wait_until(lambda: len(pods_by_phase(client, namespace).get("Running", [])) == 3, control_plane)


def test_what_the_webhook_refuses_is_refused(client: httpx.Client, namespace: str) -> None:
    wanted = leader_worker_set("bad", groups=1, size=4)
    wanted["spec"]["leaderWorkerTemplate"]["subGroupPolicy"] = {"subGroupSize": 8}
    answer = create(client, namespace, wanted)
    assert answer.is_client_error
    assert "subGroupSize" in answer.json()["message"]


def test_pods_of_others_pass_no_webhook_of_these_controllers(client: httpx.Client) -> None:
    for kind in ("mutating", "validating"):
        path = f"/apis/admissionregistration.k8s.io/v1/{kind}webhookconfigurations"
        for configuration in client.get(path).raise_for_status().json()["items"]:
            for hook in configuration["webhooks"]:
                assert hook["clientConfig"]["url"].startswith("https://127.0.0.1:")
                if any("pods" in rule["resources"] for rule in hook["rules"]):
                    (expression,) = hook["objectSelector"]["matchExpressions"]
                    assert expression["operator"] == "Exists"


def test_a_job_sets_pods_run_and_complete(control_plane: ControlPlane, client: httpx.Client, namespace: str) -> None:
    control_plane.add_nodes(make_oke_nodes("h100", H100, 2))
    template = {"spec": whole_node(restartPolicy="Never")}
    job = {"parallelism": 2, "completions": 2, "completionMode": "Indexed", "backoffLimit": 0, "template": template}
    wanted = {
        "apiVersion": "jobset.x-k8s.io/v1alpha2",
        "kind": "JobSet",
        "metadata": {"name": "train"},
        "spec": {"replicatedJobs": [{"name": "workers", "replicas": 1, "template": {"spec": job}}]},
    }
    create(client, namespace, wanted).raise_for_status()
    wait_until(lambda: "Completed" in conditions(status_of(client, namespace, "JobSet", "train")), control_plane)
    pods = pods_of(client, namespace)
    assert [pod["status"]["phase"] for pod in pods] == ["Succeeded"] * 2
    assert len({pod["spec"]["nodeName"] for pod in pods}) == 2
    # JobSet's own service gives them names.
    assert client.get(f"/api/v1/namespaces/{namespace}/services/train").is_success


def test_500_pods_on_64_nodes(
    control_plane: ControlPlane, client: httpx.Client, namespace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    started = time.monotonic()
    control_plane.add_nodes(make_oke_nodes("h100", H100, 64, nodes_per_network_block=16))
    nodes_ready = time.monotonic()
    container = {"name": "engine", "image": "example.test/engine", "resources": {"limits": {"nvidia.com/gpu": "1"}}}
    template = {"metadata": {"labels": {"app": "many"}}, "spec": {**whole_node(), "containers": [container]}}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "many"},
        "spec": {"replicas": 500, "selector": {"matchLabels": {"app": "many"}}, "template": template},
    }
    create(client, namespace, deployment).raise_for_status()
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments/many"
    wait_until(lambda: client.get(path).json()["status"].get("readyReplicas") == 500, control_plane)
    ended = time.monotonic()
    per_node: dict[str, int] = {}
    for pod in pods_of(client, namespace):
        per_node[pod["spec"]["nodeName"]] = per_node.get(pod["spec"]["nodeName"], 0) + 1
    assert sum(per_node.values()) == 500
    assert max(per_node.values()) <= H100.gpus
    with capsys.disabled():
        print(f"\n64 nodes ready after {nodes_ready - started:.1f} s, 500 pods after {ended - nodes_ready:.1f} s more")


def test_memory_that_only_the_capacity_has_is_not_given_out(
    control_plane: ControlPlane, client: httpx.Client, namespace: str
) -> None:
    control_plane.add_nodes(make_nodes("cpu", shape="VM.Standard.E5.Flex", count=1, cpu=4, memory_gib=16))
    container = {"name": "c", "image": "example.test/c", "resources": {"requests": {"memory": "15Gi"}}}
    pod = {"metadata": {"name": "all"}, "spec": {"containers": [container]}}
    client.post(f"/api/v1/namespaces/{namespace}/pods", json=pod).raise_for_status()
    wait_until(lambda: "Insufficient memory" in refusals(pods_of(client, namespace)[0]), control_plane)
