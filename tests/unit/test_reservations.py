"""CapacityReservation: what is refused, what is used, what the rest costs, and the queues on its pools."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ome_iac.planning.admission.checks import check_capacity
from ome_iac.planning.admission.plan import AdmissionPlan
from ome_iac.planning.planner import plan_stack
from ome_iac.problems import Problem
from ome_iac.spec.stack import Stack
from tests.unit.facts import decoder, model, pool, service, stack

SMALL = "hf://example/small"
FACTS = {SMALL: decoder(SMALL)}
CLUSTER = {
    "apiVersion": "ome-iac/v1",
    "kind": "Cluster",
    "metadata": {"name": "c"},
    "spec": {
        "oke": {
            "clusterId": "ocid1.cluster.oc1.iad.c",
            "compartmentId": "ocid1.compartment.oc1..c",
            "kubernetesVersion": "v1.34.1",
            "nodeSubnetId": "ocid1.subnet.oc1.iad.n",
        }
    },
}
BLOCKS = [{"id": "ocid1.block.a", "nodes": 2}, {"id": "ocid1.block.b", "nodes": 2}]


def managed(name: str, shape: str, nodes: int, *domains: str) -> dict[str, Any]:
    document = pool(name, shape, nodes)
    image = "ocid1.image.oc1.iad.i"
    document["spec"] |= {"mode": "managed", "imageId": image, "availabilityDomains": list(domains) or ["AD-1"]}
    return document


def reservation(name: str, pools: list[str], **spec: Any) -> dict[str, Any]:
    body = {"pools": pools, **spec}
    return {"apiVersion": "ome-iac/v1", "kind": "CapacityReservation", "metadata": {"name": name}, "spec": body}


def oci(nodes: int, shape: str = "BM.GPU.H100.8", **more: Any) -> dict[str, Any]:
    return {"availabilityDomain": "AD-1", "capacity": [{"shape": shape, "nodes": nodes, **more}]}


def tenant(name: str, *namespaces: str, quota: dict[str, int] | None = None, **spec: Any) -> dict[str, Any]:
    body: dict[str, Any] = {"namespaces": list(namespaces), **spec}
    if quota:
        body["quota"] = [{"pool": key, "gpus": gpus} for key, gpus in quota.items()]
    return {"apiVersion": "ome-iac/v1", "kind": "Tenant", "metadata": {"name": name}, "spec": body}


def chat(name: str, namespace: str = "default", **spec: Any) -> dict[str, Any]:
    document = service(name, "small", intent={"contextLength": 8192}, **spec)
    document["metadata"]["namespace"] = namespace
    return document


def decide(loaded: Stack) -> tuple[AdmissionPlan | None, list[Problem]]:
    plan, problems = plan_stack(loaded, FACTS)
    return plan.admission if plan else None, problems


def admission(folder: Path, *documents: dict[str, Any]) -> AdmissionPlan:
    plan, problems = decide(stack(folder, CLUSTER, model("small", SMALL), *documents))
    assert problems == []
    assert plan
    return plan


def refusals(folder: Path, *documents: dict[str, Any]) -> list[Problem]:
    return sorted(check_capacity(stack(folder, CLUSTER, model("small", SMALL), *documents)))


def test_what_is_reserved_and_not_launched_costs_85_percent(tmp_path: Path) -> None:
    plan = admission(
        tmp_path, managed("h100", "BM.GPU.H100.8", 2), reservation("r", ["h100"], oci=oci(3)), chat("chat")
    )
    [reserved] = plan.reservations
    assert reserved.oci
    [nodes] = reserved.oci.capacity
    assert (nodes.nodes, nodes.launched) == (3, 2)
    assert reserved.unused_cost_per_hour == 80 * 0.85
    assert plan.cost_per_hour == 68.0
    assert (reserved.gpus, reserved.gpus_used) == (16, 1)
    assert reserved.idle_cost_per_hour == 150.0
    assert "1 of 3 BM.GPU.H100.8 are reserved and not launched: $68.00/h at 85% of the list price" in reserved.notes
    assert plan.reservation_of("h100") == "r"


def test_all_that_is_wrong_with_a_reservation_is_said_together(tmp_path: Path) -> None:
    found = refusals(
        tmp_path,
        managed("h100", "BM.GPU.H100.8", 4, "AD-1", "AD-2"),
        managed("a10", "VM.GPU.A10.1", 1),
        reservation(
            "r",
            ["h100", "a10", "h10"],
            oci={
                "availabilityDomain": "AD-1",
                "capacity": [
                    {"shape": "BM.GPU.H100.8", "nodes": 3, "placement": {"hpcIslandId": "i", "blocks": BLOCKS}},
                    {"shape": "VM.GPU.A10.1", "nodes": 1, "placement": {"hpcIslandId": "i"}},
                ],
            },
            priorities=[{"name": "high", "value": 1}, {"name": "high", "value": 2}],
        ),
        reservation("again", ["a10"]),
    )
    text = [f"{problem.path}: {problem.what}" for problem in found]
    r = "CapacityReservation/r spec."
    assert f"{r}oci.capacity: reserves 3 BM.GPU.H100.8, its pools (h100) have 4 nodes" in text
    assert f"{r}oci.availabilityDomain: is AD-1, but NodePool/h100 is in AD-2 too" in text
    assert f"{r}pools.2: there is no NodePool h10" in text
    assert f"{r}oci.capacity.0.placement.blocks: the blocks have 4 nodes, 3 are reserved" in text
    assert f"{r}oci.capacity.1.placement: VM.GPU.A10.1 has no cluster network" in text
    assert f"{r}priorities.0.name: high is there twice" in text
    assert f"{r}pools.1: a10 is covered by CapacityReservation/again already" in text
    assert len(text) == 8
    assert all(problem.where.startswith(str(tmp_path)) and ":" in problem.where for problem in found)


def test_a_pool_that_may_grow_is_covered_at_its_largest(tmp_path: Path) -> None:
    growing = managed("h100", "BM.GPU.H100.8", 2)
    growing["spec"]["autoscale"] = {"minNodes": 1, "maxNodes": 6}
    [problem] = refusals(tmp_path, growing, reservation("r", ["h100"], oci=oci(4)))
    assert problem.what == "reserves 4 BM.GPU.H100.8, its pools (h100) have 6 nodes"


def test_more_gpus_than_a_pool_has_are_not_shared_out(tmp_path: Path) -> None:
    found = refusals(
        tmp_path,
        pool("h100", "BM.GPU.H100.8", 2),
        reservation(
            "r",
            ["h100"],
            queues=[{"name": "q", "namespaces": ["default"], "shares": [{"pool": "h100", "gpus": 8, "lend": 9}]}],
        ),
        tenant("blue", "blue", quota={"h100": 6}),
        tenant("red", "red", quota={"h100": 4}),
    )
    assert {problem.what for problem in found} == {
        "lends 9 of 8 GPUs",
        "has 16 GPUs, 18 are shared out (CapacityReservation/r 8, Tenant/blue 6, Tenant/red 4)",
    }


def test_queues_of_reservations_tenants_and_dedicated_clusters_share_their_names(tmp_path: Path) -> None:
    found = refusals(
        tmp_path,
        pool("h100", "BM.GPU.H100.8", 2),
        reservation("blue", ["h100"]),
        tenant("blue", "blue", quota={"h100": 6}),
    )
    assert [problem.what for problem in found] == ["queue blue is CapacityReservation/blue's already"]


def test_without_queues_the_rest_is_one_queue(tmp_path: Path) -> None:
    plan = admission(
        tmp_path,
        pool("h100", "BM.GPU.H100.8", 2),
        reservation("r", ["h100"], cohort="all"),
        tenant("blue", "blue", quota={"h100": 6}),
        chat("ours"),
        chat("theirs", "blue"),
    )
    rest, blue = (next(queue for queue in plan.queues if queue.name == name) for name in ("r", "blue"))
    gpus = {queue.name: queue.quotas[0].nominal["nvidia.com/gpu"] for queue in plan.queues}
    assert gpus == {"r": 10, "blue": 6}
    assert (rest.namespaces, blue.namespaces) == (("default",), ("blue",))
    assert rest.cohort == blue.cohort == "all"
    assert "nvidia.com/rdma-vf" in rest.resources
    assert {verdict.gang: verdict.state for verdict in plan.admission.verdicts} == {
        "blue/theirs/engine/0": "admitted",
        "default/ours/engine/0": "admitted",
    }


def test_blocks_of_a_reservation_are_those_of_its_pools(tmp_path: Path) -> None:
    placement = {"hpcIslandId": "island", "blocks": BLOCKS}
    plan = admission(
        tmp_path,
        managed("h100", "BM.GPU.H100.8", 3),
        managed("more", "BM.GPU.H100.8", 1),
        reservation("r", ["h100", "more"], oci=oci(5, placement=placement)),
        chat("chat"),
    )
    blocks = {flavor.name: [(block.name, block.nodes) for block in flavor.blocks] for flavor in plan.flavors}
    assert blocks == {"h100": [("ocid1.block.a", 2), ("ocid1.block.b", 1)], "more": [("ocid1.block.b", 1)]}
    assert {flavor.topology for flavor in plan.flavors} == {"oci-rdma"}


def test_a_stack_without_capacity_documents_has_no_queues(tmp_path: Path) -> None:
    plan, problems = decide(stack(tmp_path, CLUSTER, model("small", SMALL), pool("h", "BM.GPU.H100.8"), chat("chat")))
    assert plan is None
    assert problems == []


def test_a_service_without_quota_waits_and_the_plan_says_for_what(tmp_path: Path) -> None:
    plan = admission(
        tmp_path,
        pool("h100", "BM.GPU.H100.8", 1),
        tenant("blue", "blue", quota={"h100": 2}, dedicated=True),
        chat("chat", "blue", engine={"minReplicas": 3}),
    )
    states = [verdict.state for verdict in plan.admission.verdicts]
    assert states == ["admitted", "admitted", "waiting"]
    [waiting] = plan.admission.waiting
    assert waiting.why.startswith("blue lacks ")
    assert "1 nvidia.com/gpu" in waiting.why
    assert "more quota of h100 for blue" in waiting.helps[0]


def test_a_service_beside_the_queues_of_its_pool_is_refused(tmp_path: Path) -> None:
    queue = {"name": "q", "namespaces": ["blue"], "shares": [{"pool": "h100", "gpus": 8}]}
    documents = (
        pool("h100", "BM.GPU.H100.8", 1),
        reservation("r", ["h100"], queues=[queue]),
        chat("chat", engine={"labels": {"kueue.x-k8s.io/priority-class": "high"}}),
    )
    _, problems = decide(stack(tmp_path, CLUSTER, model("small", SMALL), *documents))
    assert [(problem.path, problem.what) for problem in problems] == [
        ("InferenceService/chat", "is placed on h100, whose queues (q) do not admit namespace default"),
        ("InferenceService/chat spec.engine.labels", "there is no priority class high"),
    ]
    assert "add default to" in problems[0].remedy


def test_the_plan_is_plain_data(tmp_path: Path) -> None:
    plan = admission(tmp_path, pool("h100", "BM.GPU.H100.8", 2), reservation("r", ["h100"]), chat("chat"))
    assert AdmissionPlan.model_validate_json(plan.model_dump_json(by_alias=True)) == plan
