"""The serving gallery on a real API server, with real controllers and the real scheduler: every pattern at once."""

from __future__ import annotations

import os
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from ome_iac.hardware import shapes
from ome_iac.rehearsal.control_plane import ControlPlane
from ome_iac.rehearsal.engine import Engine
from ome_iac.rehearsal.nodes import TOPOLOGY_LABELS, make_oke_nodes
from tests.cluster.waiting import pods_of, wait_until
from tests.engine.project import ProjectCopy

pytestmark = [pytest.mark.engine, pytest.mark.cluster]

NAMESPACE = "gallery"
LABELS = "app.kubernetes.io/name", "app.kubernetes.io/component"
GROUP = "leaderworkerset.sigs.k8s.io/name", "leaderworkerset.sigs.k8s.io/group-index"
OF_THE_CLUSTER = {"nodes", "csinodes", "events", "leases", "componentstatuses"}
"""Resources that come and go without the stack."""

Identity = tuple[str, str, str]


@pytest.fixture
def project(tmp_path: Path, engine: Engine) -> Iterator[ProjectCopy]:
    """The gallery, and a local control plane that keeps its data below the test's folder."""
    copy = ProjectCopy.make(tmp_path / "project", "serving-gallery")
    copy.environment["XDG_STATE_HOME"] = str(tmp_path / "state")
    assert copy.run("cluster", "start").code == 0
    yield copy
    assert copy.run("cluster", "stop", "--delete").code == 0


def test_every_pattern_runs_as_planned(project: ProjectCopy, capsys: pytest.CaptureFixture[str]) -> None:
    """Each group whole in one local block, though another block has room; GPUs used are GPUs planned."""
    plane = ControlPlane(Path(project.run("cluster", "kubeconfig").out.strip()).parent)
    more = make_oke_nodes("elsewhere", shapes()["BM.GPU.H100.8"], 2, labels={"example.com/pool": "h100-rdma"})
    plane.add_nodes(more)
    flags = ("-s", "serving-gallery", "--rehearse", "--cluster", "--json")
    with plane.client() as client:
        before = everything(client)
        started = datetime.now(UTC)
        first = project.run("up", *flags)
        deployed = datetime.now(UTC) - started
        assert first.code == 0, first.text
        plan = first.json()["plan"]
        wait_until(lambda: pods_running(client) == pods_planned(plan), plane)
        with capsys.disabled():
            load = ", ".join(f"{average:.1f}" for average in os.getloadavg())
            scheduled = last_scheduled(client) - started
            count = pods_planned(plan).total()
            print(f"\nserving-gallery: {count} pods scheduled {scheduled.total_seconds():.0f} s after `up` was called,")
            print(f"which took {deployed.total_seconds():.1f} s (load {load})")

        assert_every_pattern(plan)
        nodes = {node["metadata"]["name"]: node for node in listed(client, "/api/v1/nodes")}
        pods = pods_of(client, NAMESPACE)
        assert gpus_used(pods, nodes) == gpus_planned(plan)
        assert sorted(map(len, groups(pods).values())) == [2]
        for members in groups(pods).values():
            labels = [nodes[pod["spec"]["nodeName"]]["metadata"]["labels"] for pod in members]
            assert len({found[TOPOLOGY_LABELS["local_block"]] for found in labels}) == 1
            assert len({found[TOPOLOGY_LABELS["host"]] for found in labels}) == 2
        wait_until(lambda: not unanswered(client), plane)
        assert weights(client, "llama") == {"chat-large": 90, "chat-large-ashburn": 10}

        made = sum(first.json()["changes"].values())
        assert first.json()["changes"] == {"create": made}
        assert project.run("up", *flags).json()["changes"] == {"same": made}
        refresh = ("pulumi", "refresh", "--yes", "--expect-no-changes", *flags[:2])
        refreshed = project.run("rehearse", "--cluster", "--", *refresh)
        assert refreshed.code == 0, refreshed.text
        assert project.run("destroy", *flags).json()["changes"] == {"delete": made}
        wait_until(lambda: everything(client) <= before, plane)


def assert_every_pattern(plan: dict[str, Any]) -> None:
    services = {service["name"]: service for service in plan["services"]}
    roles = [role for service in services.values() for role in service["roles"]]
    assert {service["pattern"] for service in services.values()} == {
        *("standard", "multi-node", "prefill-decode", "serverless")
    }
    assert {service["router"]["kind"] for service in services.values() if service["router"]} == {
        *("sglang-router", "endpoint-picker")
    }
    assert services["chat-small"]["router"]["policy"] == "cache_aware"
    assert {role["scaling"]["owner"] for role in roles if role["scaling"]} == {"keda", "knative"}
    assert [role["nodes"] for role in services["reasoning"]["roles"]] == [2]
    assert all(service["route"] for service in services.values() if service["pattern"] != "serverless")
    assert all(pool["gpusUsed"] > (pool["nodes"] - 1) * pool["gpusPerNode"] for pool in plan["pools"])


def pods_planned(plan: dict[str, Any]) -> Counter[tuple[str, str]]:
    """Of each service's roles and routers; Knative's pods are its controller's, which does not run here."""
    found: Counter[tuple[str, str]] = Counter()
    for service in plan["services"]:
        if service["pattern"] == "serverless":
            continue
        for role in service["roles"]:
            found[service["name"], role["role"]] += role["replicas"] * role["nodes"]
        if router := service["router"]:
            component = "router" if router["kind"] == "sglang-router" else "epp"
            found[service["name"], component] += router["replicas"]
    return found


def pods_running(client: httpx.Client) -> Counter[tuple[str, str]]:
    """By service and component; a pod in any other phase counts as one of its own."""
    found: Counter[tuple[str, str]] = Counter()
    for pod in pods_of(client, NAMESPACE):
        service, component = (pod["metadata"]["labels"][label] for label in LABELS)
        phase = pod["status"]["phase"]
        found[service, component if phase == "Running" else f"{component} {phase}"] += 1
    return found


def last_scheduled(client: httpx.Client) -> datetime:
    """When the last pod got its node, to the second."""
    conditions = [found for pod in pods_of(client, NAMESPACE) for found in pod["status"]["conditions"]]
    return max(
        datetime.fromisoformat(found["lastTransitionTime"]) for found in conditions if found["type"] == "PodScheduled"
    )


def gpus_planned(plan: dict[str, Any]) -> dict[str, int]:
    """By shape, without what is kept free for serverless services."""
    shape_of = {pool["name"]: pool["shape"] for pool in plan["pools"]}
    found: Counter[str] = Counter()
    for pool in plan["pools"]:
        found[pool["shape"]] += pool["gpusUsed"]
    for service in plan["services"]:
        if service["pattern"] == "serverless":
            for role in service["roles"]:
                split = role["split"]
                found[shape_of[role["pool"]]] -= split["tensor"] * split["pipeline"] * split["data"] * role["replicas"]
    return dict(found)


def gpus_used(pods: list[dict[str, Any]], nodes: dict[str, dict[str, Any]]) -> dict[str, int]:
    """By shape: what the pods on its nodes are limited to."""
    found: Counter[str] = Counter()
    for pod in pods:
        shape = nodes[pod["spec"]["nodeName"]]["metadata"]["labels"]["node.kubernetes.io/instance-type"]
        for container in pod["spec"]["containers"]:
            found[shape] += int(container.get("resources", {}).get("limits", {}).get("nvidia.com/gpu", 0))
    return {shape: gpus for shape, gpus in found.items() if gpus}


def groups(pods: list[dict[str, Any]]) -> dict[tuple[str, ...], list[dict[str, Any]]]:
    """The pods of each group of each LeaderWorkerSet."""
    found: dict[tuple[str, ...], list[dict[str, Any]]] = defaultdict(list)
    for pod in pods:
        labels = pod["metadata"]["labels"]
        if GROUP[0] in labels:
            found[tuple(labels[label] for label in GROUP)].append(pod)
    return found


def unanswered(client: httpx.Client) -> set[str]:
    """Services whose selector matches no ready pod."""
    services = listed(client, f"/api/v1/namespaces/{NAMESPACE}/services")
    slices = listed(client, f"/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices")
    ready = {
        found["metadata"]["labels"]["kubernetes.io/service-name"]
        for found in slices
        if any(endpoint["conditions"]["ready"] for endpoint in found["endpoints"] or ())
    }
    return {service["metadata"]["name"] for service in services if service["spec"].get("selector")} - ready


def weights(client: httpx.Client, name: str) -> dict[str, int]:
    """Of the HTTPRoute's backends."""
    path = f"/apis/gateway.networking.k8s.io/v1/namespaces/{NAMESPACE}/httproutes/{name}"
    route = client.get(path).raise_for_status().json()
    return {backend["name"]: backend["weight"] for rule in route["spec"]["rules"] for backend in rule["backendRefs"]}


def everything(client: httpx.Client) -> set[Identity]:
    """Every object that the API server holds, by resource, namespace and name."""
    preferred = [group["preferredVersion"]["groupVersion"] for group in client.get("/apis").json()["groups"]]
    found: set[Identity] = set()
    for path in ("/api/v1", *(f"/apis/{version}" for version in preferred)):
        for resource in client.get(path).raise_for_status().json()["resources"]:
            if "list" in resource["verbs"] and resource["name"] not in OF_THE_CLUSTER:
                for item in listed(client, f"{path}/{resource['name']}"):
                    metadata = item["metadata"]
                    found.add((f"{path}/{resource['name']}", metadata.get("namespace", ""), metadata["name"]))
    return found


def listed(client: httpx.Client, path: str) -> list[dict[str, Any]]:
    while (answer := client.get(path)).status_code == httpx.codes.TOO_MANY_REQUESTS:
        time.sleep(float(answer.headers["Retry-After"]))  # a new definition's storage is being made ready
    items: list[dict[str, Any]] = answer.raise_for_status().json()["items"]
    return items
