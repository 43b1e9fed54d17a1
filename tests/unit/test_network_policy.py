"""Who reaches whom: NetworkPolicies and Istio's policies, evaluated over every pair of pods."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from ome_iac.manifests import service_objects
from ome_iac.manifests.mesh import mesh_objects, sidecar_label
from ome_iac.manifests.tenancy import namespace_objects
from ome_iac.planning.network_policy import Pod, World, matches
from ome_iac.planning.plan import ServicePlan
from ome_iac.planning.planner import plan_stack
from ome_iac.planning.serving.decisions import Fabric
from ome_iac.planning.serving.routing import endpoint_picker, sglang_router
from ome_iac.planning.tenancy.plan import TenantPlan
from ome_iac.planning.tenancy.planner import plan_tenants
from tests.unit.facts import stack
from tests.unit.test_reservations import CLUSTER, chat, tenant
from tests.unit.test_tenancy import FACTS, H100, ISTIO, MODELS

PORTS = (53, 80, 443, 5600, 6443, 8000, 8080, 8200, 8998, 9002, 9090, 15012, 29000, 30000, 45678)
DECODE = {"app.kubernetes.io/name": "split", "app.kubernetes.io/component": "decode"}
OUTSIDE = (
    Pod("kube-system", "dns", {"k8s-app": "kube-dns"}, "10.0.0.2"),
    Pod("istio-system", "istiod", {"app": "istiod"}, "10.0.0.3"),
    Pod("gateways", "gateway", {"app": "gateway"}, "10.0.0.4", sidecar=True),
    Pod("monitoring", "prometheus", {"app": "prometheus"}, "10.0.0.5", sidecar=True),
    Pod("default", "stranger", {}, "10.0.0.6"),
    Pod(
        "default", "disguised", {"app.kubernetes.io/name": "split", "app.kubernetes.io/component": "decode"}, "10.0.0.7"
    ),
)
INGRESS = {"kind": "gateway", "parent": "gateways/public", "host": "{service}.{namespace}.example.com"}


def split(service: ServicePlan) -> ServicePlan:
    """The service as prefill and decode behind SGLang's router."""
    roles = tuple(service.engine.model_copy(update={"role": role}) for role in ("prefill", "decode"))
    apart = service.model_copy(update={"pattern": "prefill-decode", "roles": roles})
    return apart.model_copy(update={"router": sglang_router(apart, None)})


def grouped(service: ServicePlan) -> ServicePlan:
    """The service as a group of two pods on the cluster network."""
    fabric = Fabric(mode="rdma-vf", devices=16, network="default/rdma-vf", environment=(), block_label="block")
    role = service.engine.model_copy(update={"nodes": 2, "fabric": fabric, "worker_command": ("worker",)})
    return service.model_copy(update={"pattern": "multi-node", "roles": (role,)})


def picked(service: ServicePlan) -> ServicePlan:
    """The service behind llm-d's picker, as prefill and decode with a proxy before decode."""
    apart = split(service).model_copy(update={"router": None})
    return apart.model_copy(update={"router": endpoint_picker(apart, "prefill-decode")})


SHAPES = {"split": split, "group": grouped, "picked": picked}


class Town:
    """Two tenants with the same names of services, and everybody around them."""

    def __init__(self, folder: Path, mesh: bool) -> None:
        platform = {
            **ISTIO,
            "spec": {"controllers": ["gateway-api", "kueue", "prometheus-operator"], "ingress": INGRESS},
        }
        if mesh:
            platform["spec"]["controllers"].append("istio")
        loaded = stack(
            folder,
            CLUSTER,
            *MODELS,
            {**H100, "spec": {**H100["spec"], "nodes": 4}},
            platform,
            tenant("blue", "blue", "blue-dev", quota={"h100": 16}),
            tenant("red", "red", quota={"h100": 16}),
            *(chat("chat", space) for space in ("blue", "red")),
            *(chat("split", space, runtime={"name": "sglang"}) for space in ("blue", "red")),
            *(chat(name, space, runtime={"name": "vllm"}) for name in ("group", "picked") for space in ("blue", "red")),
        )
        plan, problems = plan_stack(loaded, FACTS)
        assert plan, problems
        services = tuple(SHAPES[item.name](item) if item.name in SHAPES else item for item in plan.services)
        plan = plan.model_copy(update={"services": services})
        found: list[Any] = []
        self.tenants = plan_tenants(loaded, plan.pools, services, found)
        assert found == []
        plan = plan.model_copy(update={"tenants": self.tenants})
        self.services = {(item.namespace, item.name): item for item in services}
        spaces = {pod.namespace: {"kubernetes.io/metadata.name": pod.namespace} for pod in OUTSIDE}
        objects: list[dict[str, Any]] = []
        for owner in self.tenants:
            for space in owner.namespaces:
                made = [*namespace_objects(owner, space), *mesh_objects(owner, space)]
                spaces[space.name] = {**made[0]["metadata"]["labels"], "kubernetes.io/metadata.name": space.name}
                objects += made[1:]
        self.world = World(spaces, objects)
        self.pods = [*OUTSIDE, *self._pods(plan, mesh)]

    def _pods(self, plan: Any, mesh: bool) -> Iterator[Pod]:
        address = 16
        for owner in self.tenants:
            for space in owner.namespaces:
                yield Pod(space.name, f"{space.name}/person", {"app": "own"}, f"10.0.0.{address}", sidecar=mesh)
                address += 1
                for service in plan.services:
                    if service.namespace != space.name:
                        continue
                    for name, labels in templates(service_objects(plan, service)):
                        kept_out = bool(sidecar_label(space, labels))
                        where = f"10.0.0.{address}"
                        yield Pod(space.name, f"{space.name}/{name}", labels, where, sidecar=mesh and not kept_out)
                        address += 1

    def pod(self, name: str) -> Pod:
        return next(pod for pod in self.pods if pod.name == name)

    def open_ports(self, origin: str, end: str) -> set[int]:
        return {port for port in PORTS if not self.world.refusals(self.pod(origin), self.pod(end), port)}

    def owner(self, pod: Pod) -> TenantPlan | None:
        return next((t for t in self.tenants for space in t.namespaces if space.name == pod.namespace), None)


def templates(objects: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, str]]]:
    for item in objects:
        if item["kind"] == "Deployment":
            yield item["metadata"]["name"], item["spec"]["template"]["metadata"]["labels"]
        elif item["kind"] == "LeaderWorkerSet":
            group = item["spec"]["leaderWorkerTemplate"]
            yield f"{item['metadata']['name']}-leader", group["leaderTemplate"]["metadata"]["labels"]
            yield f"{item['metadata']['name']}-worker", group["workerTemplate"]["metadata"]["labels"]


@pytest.fixture(scope="module", params=[False, True], ids=["policies", "mesh"])
def town(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Town:
    return Town(tmp_path_factory.mktemp("town"), mesh=request.param)


def test_no_pod_of_one_tenant_reaches_a_pod_of_another(town: Town) -> None:
    pairs = 0
    for origin, end in permutations(town.pods, 2):
        first, second = town.owner(origin), town.owner(end)
        if first and second and first.name != second.name:
            pairs += 1
            for port in PORTS:
                for protocol in ("TCP", "UDP"):
                    assert town.world.refusals(origin, end, port, protocol), (origin.name, end.name, port, protocol)
    assert pairs >= 40


def test_strangers_reach_no_tenant_whatever_labels_they_wear(town: Town) -> None:
    for origin in OUTSIDE:
        if origin.namespace != "default":
            continue
        for end in town.pods:
            if town.owner(end):
                assert not town.open_ports(origin.name, end.name)


def test_tenants_reach_nobody_outside_but_names_and_the_mesh(town: Town) -> None:
    open_to = {
        "dns": {53},
        "istiod": set(),
        "gateway": set(),
        "prometheus": set(),
        "stranger": set(),
        "disguised": set(),
    }
    for end, expected in open_to.items():
        assert town.open_ports("blue/chat", end) - {15012, 443, 6443} == expected
    # The API server's address is not known beforehand: a router may ask any address at its ports, tenants excepted.
    assert town.open_ports("blue/chat", "stranger") == set()


def test_the_gateway_and_prometheus_come_as_far_as_they_must(town: Town) -> None:
    assert town.open_ports("gateway", "blue/chat") == {town.services["blue", "chat"].engine.port}
    assert town.open_ports("gateway", "blue/split-decode") == set()
    assert town.open_ports("gateway", "blue/person") == set()
    prometheus, pod = town.pod("prometheus"), town.pod("blue/chat")
    port = town.services["blue", "chat"].engine.port
    assert not town.world.refusals(prometheus, pod, port, path="/metrics")
    assert bool(town.world.refusals(prometheus, pod, port, path="/v1/completions")) is pod.sidecar


def test_a_tenants_own_pods_ask_its_services_and_nothing_else(town: Town) -> None:
    port = town.services["blue", "chat"].engine.port
    assert town.open_ports("blue/person", "blue/chat") == {port}
    assert town.open_ports("blue-dev/person", "blue/chat") == {port}
    assert town.open_ports("blue/person", "blue-dev/person") == set()
    assert town.open_ports("blue/person", "blue/split-prefill") == set()


def test_router_prefill_and_decode_meet(town: Town) -> None:
    split_service = town.services["blue", "split"]
    assert split_service.router
    assert town.open_ports("blue/split-prefill", "blue/split-decode") == set(PORTS)
    assert town.open_ports("blue/split-decode", "blue/split-prefill") == set(PORTS)
    assert town.open_ports("blue/split-router", "blue/split-decode") >= {split_service.engine.port}
    assert split_service.router.port in town.open_ports("blue/person", "blue/split-router")
    assert town.open_ports("blue/chat", "blue/split-decode") == set()
    # Pods that meet at ports chosen at start have no sidecar; the router before them has one where there is a mesh.
    assert town.pod("blue/split-router").sidecar is town.pod("blue/chat").sidecar
    assert not town.pod("blue/split-decode").sidecar
    assert town.open_ports("blue/split-router", "blue/split-decode") == {split_service.engine.port}


def test_the_pods_of_a_group_meet(town: Town) -> None:
    port = town.services["blue", "group"].engine.port
    assert town.open_ports("blue/group-engine-leader", "blue/group-engine-worker") == set(PORTS)
    assert town.open_ports("blue/group-engine-worker", "blue/group-engine-leader") == set(PORTS)
    assert town.open_ports("blue/person", "blue/group-engine-leader") == {port}
    assert town.open_ports("blue/chat", "blue/group-engine-worker") == {port}
    assert town.open_ports("red/group-engine-leader", "blue/group-engine-worker") == set()


def test_behind_a_proxy_only_the_gateway_asks(town: Town) -> None:
    """The proxy sends a prompt wherever the gateway's header says: nobody else may send it one."""
    router = town.services["blue", "picked"].router
    assert router
    assert town.open_ports("gateway", "blue/picked-decode") == {router.target_port}
    assert town.open_ports("gateway", "blue/picked-epp") == {9002}
    for asking in ("blue/person", "blue/chat", "red/chat", "stranger"):
        assert town.open_ports(asking, "blue/picked-decode") == set()
    assert town.services["blue", "picked"].engine.port in town.open_ports("blue/picked-epp", "blue/picked-decode")


def test_the_policies_do_it_and_not_their_absence(town: Town) -> None:
    """Without a tenant's objects everything is open: what keeps pods apart is what we make."""
    bare = World(town.world.namespaces, [])
    assert not bare.refusals(town.pod("red/chat"), town.pod("blue/chat"), 8000)
    without_deny = World(
        town.world.namespaces, [item for item in town.world.objects if item["metadata"]["name"] != "default-deny"]
    )
    assert not without_deny.refusals(town.pod("gateway"), town.pod("blue/person"), 8000)


def test_pods_on_the_nodes_network_are_not_held(town: Town) -> None:
    """Which is why a namespace that admits them is privileged, and the plan says so."""
    free = Pod("red", "free", {}, "10.1.0.1", host_network=True)
    assert town.world.refusals(free, town.pod("blue/chat"), 8000)
    assert not town.world.refusals(free, Pod("red", "also", {}, "10.1.0.2", host_network=True), 8000)


def test_a_router_asks_no_public_address(town: Town) -> None:
    public = Pod("default", "public", {}, "203.0.113.7", host_network=True)
    for port in PORTS:
        assert town.world.refusals(town.pod("blue/split-router"), public, port) or port == 443
    # 443 is open for the weights, to the internet only.
    assert not town.world.refusals(town.pod("blue/chat"), public, 443)
    assert town.world.refusals(town.pod("blue/chat"), Pod("default", "node", {}, "10.0.0.9", host_network=True), 443)


def test_selectors() -> None:
    assert matches({}, {})
    assert matches({"matchExpressions": [{"key": "a", "operator": "In", "values": ["1"]}]}, {"a": "1"})
    assert not matches({"matchExpressions": [{"key": "a", "operator": "Exists"}]}, {})
    assert matches({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["1"]}]}, {})
