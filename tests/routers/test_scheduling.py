"""Pods of services with prefill and decode apart, placed by the real scheduler on nodes as OKE shows them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from ome_iac.hardware import shapes
from ome_iac.manifests import service_objects
from ome_iac.rehearsal.control_plane import ControlPlane
from ome_iac.rehearsal.nodes import make_oke_nodes
from tests.property.test_selectors import named, planned
from tests.routers.test_objects import path_of

pytestmark = pytest.mark.cluster

ONE_BLOCK = make_oke_nodes("h100", shapes()["BM.GPU.H100.8"], 4)
TWO_BLOCKS = make_oke_nodes("h100", shapes()["BM.GPU.H100.8"], 4, nodes_per_local_block=2)


@pytest.fixture
def client(control_plane: ControlPlane) -> Iterator[httpx.Client]:
    with control_plane.client() as opened:
        yield opened
        opened.delete("/api/v1/nodes").raise_for_status()


@pytest.fixture
def namespace(client: httpx.Client) -> Iterator[str]:
    body = {"metadata": {"generateName": "apart-"}}
    name: str = client.post("/api/v1/namespaces", json=body).raise_for_status().json()["metadata"]["name"]
    yield name
    client.delete(f"/api/v1/namespaces/{name}").raise_for_status()


def gpus(pod: dict[str, Any]) -> int:
    return sum(int(each["resources"].get("limits", {}).get("nvidia.com/gpu", 0)) for each in pod["spec"]["containers"])


@pytest.mark.parametrize("nodes", [ONE_BLOCK, TWO_BLOCKS], ids=["one-block", "two-blocks"])
@pytest.mark.parametrize("kind", ["apart-sglang", "apart-vllm", "apart-groups"])
def test_every_pod_runs_and_the_gpus_are_those_of_the_plan(
    control_plane: ControlPlane, client: httpx.Client, namespace: str, kind: str, nodes: list[dict[str, Any]]
) -> None:
    control_plane.add_nodes(nodes)
    service = named(kind, "chat", {}).model_copy(update={"namespace": namespace})
    plan = planned().model_copy(update={"services": (service,)})
    for made in service_objects(plan, service):
        client.post(path_of(client, made["apiVersion"], made["kind"], namespace), json=made).raise_for_status()
    expected = 1 + sum(role.replicas * role.nodes for role in service.roles)

    def running() -> list[dict[str, Any]]:
        items = client.get(f"/api/v1/namespaces/{namespace}/pods").raise_for_status().json()["items"]
        return [pod for pod in items if pod["status"]["phase"] == "Running"]

    while len(running()) < expected:
        time.sleep(0.2)
    pods = running()
    assert len(pods) == expected
    assert sum(gpus(pod) for pod in pods) == service.gpus
    blocks = {
        node["metadata"]["name"]: node["metadata"]["labels"]["oci.oraclecloud.com/rdma.local_block_id"]
        for node in nodes
    }
    for role in service.roles:
        if role.nodes > 1:
            group = [pod for pod in pods if pod["metadata"]["labels"]["app.kubernetes.io/component"] == role.role]
            assert len({blocks[pod["spec"]["nodeName"]] for pod in group}) == 1
