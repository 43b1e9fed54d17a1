"""The ledger of a pool's nodes, and who is admitted, who waits, and what would admit them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ome_iac.hardware import GIB
from ome_iac.models.metadata import ModelMetadata
from ome_iac.planning.capacity import Capacity, Pod, Room
from ome_iac.planning.plan import Plan
from ome_iac.planning.planner import plan_stack
from ome_iac.problems import Problem
from tests.unit.facts import decoder, llama_70b, model, pool, service, stack

NODE = Room(gpus=8, cpus=80, memory=800 * GIB, disk=1000 * GIB)


def pod(gpus: int, disk: int = 0, cpus: int = 0, shared: tuple[str, int] | None = None) -> Pod:
    return Pod(gpus=gpus, cpus=cpus or 10 * gpus, memory=100 * gpus * GIB, disk=disk, shared=shared)


def test_a_pod_goes_to_the_fullest_node_that_has_room() -> None:
    held = Capacity(NODE, 2)
    assert held.place(pod(6), 1)
    assert held.place(pod(2), 1)
    assert (held.untouched, held.free_gpus) == (1, 8)
    assert held.place(pod(8), 1)
    assert held.free_gpus == 0


def test_placing_is_all_or_nothing() -> None:
    held = Capacity(NODE, 1)
    assert not held.place(pod(4), 3)
    assert (held.untouched, held.free_gpus, held.taken) == (1, 8, [])
    assert held.place(pod(4), 2)


def test_gpus_of_two_nodes_are_no_node() -> None:
    held = Capacity(NODE, 2)
    assert held.place(pod(5), 2)
    assert held.free_gpus == 6
    assert not held.has_room(pod(4))
    assert held.shortage("h100", pod(4), 1) == "h100 has 6 GPUs left, 1 x 4 are needed"


@pytest.mark.parametrize(
    ("asked", "missing"),
    [
        (pod(1, disk=1500 * GIB), "500 GiB too little disk"),
        (pod(1, cpus=81), "1 too little CPUs"),
        (Pod(1, 1, 900 * GIB, 0), "100 GiB too little memory"),
    ],
)
def test_every_resource_counts_and_the_shortage_says_which_by_how_much(asked: Pod, missing: str) -> None:
    held = Capacity(NODE, 1)
    assert not held.has_room(asked)
    assert held.shortage("p", asked, 1) == f"p has 8 GPUs left, and {missing} on a node that has 1"


def test_an_unknown_disk_limits_nothing() -> None:
    assert Capacity(Room(8, 80, 800 * GIB, None), 1).place(pod(1, disk=10**18), 1)


def test_weights_on_the_node_are_counted_once_for_all_its_pods() -> None:
    held = Capacity(NODE, 2)
    weights = ("/mnt/nvme/llama", 600 * GIB)
    assert held.place(pod(2, shared=weights), 4)
    assert held.weights == 600 * GIB
    assert held.place(pod(2, shared=weights), 1)
    assert held.weights == 1200 * GIB
    other = ("/mnt/nvme/other", 600 * GIB)
    assert not held.has_room(pod(2, shared=other))
    assert not Capacity(NODE, 1).has_room(pod(1, disk=600 * GIB), 2)  # each has its own


def test_more_nodes_leave_what_is_placed_where_it_is() -> None:
    held = Capacity(NODE, 1)
    held.place(pod(8), 1)
    grown = held.with_more(1)
    assert grown.has_room(pod(8))
    assert not held.has_room(pod(1))


SMALL, LARGE = "hf://example/small", "hf://example/large"
FACTS: dict[str, ModelMetadata] = {SMALL: decoder(SMALL), LARGE: llama_70b(LARGE)}
MODELS = (model("small", SMALL), model("large", LARGE))


def decide(folder: Path, *documents: dict[str, Any]) -> tuple[Plan | None, list[Problem]]:
    return plan_stack(stack(folder, *MODELS, *documents), FACTS)


def chats(number: int, **spec: Any) -> list[dict[str, Any]]:
    return [service(f"chat-{i}", "large", intent={"contextLength": 32768}, **spec) for i in range(number)]


def test_a_service_without_room_is_told_who_is_in_the_way_and_what_admits_it(tmp_path: Path) -> None:
    plan, [problem] = decide(tmp_path, pool("h100", "BM.GPU.H100.8"), *chats(3))
    assert plan is None
    assert problem.path == "InferenceService/chat-2"
    assert "h100 has 0 GPUs left, 1 x 4 are needed" in problem.what
    assert problem.what.endswith("admitted are chat-0 4 in h100, chat-1 4 in h100")
    assert "one BM.GPU.H100.8 node more in h100 admits it (+$80.00/h)" in problem.remedy


def test_what_is_said_to_admit_a_service_admits_it(tmp_path: Path) -> None:
    documents = [
        pool("h100", "BM.GPU.H100.8"),
        service("a-first", "large", intent={"contextLength": 32768, "tensorParallel": 4}),
    ]
    second = chats(1, engine={"minReplicas": 2})[0]
    _, [problem] = decide(tmp_path / "a", *documents, second)
    assert "1 of 2 replicas would find room" in problem.remedy
    assert "FP8 weights would find room: vllm 0.33.0 on h100, TP 2: $20.00/h a replica" in problem.remedy
    assert "one BM.GPU.H100.8 node more in h100 admits it" in problem.remedy
    fewer, fp8 = chats(1, engine={"minReplicas": 1})[0], chats(1, engine={"minReplicas": 2})[0]
    fp8["spec"]["intent"]["quantization"] = "fp8"
    for name, ways in (("b", [*documents, fewer]), ("c", [*documents, fp8])):
        plan, problems = decide(tmp_path / name, *ways)
        assert plan is not None, problems
    plan, problems = decide(tmp_path / "d", pool("h100", "BM.GPU.H100.8", 2), documents[1], second)
    assert plan is not None, problems


def test_the_flexible_makes_room_for_the_one_that_has_no_other_way(tmp_path: Path) -> None:
    """By size the fastest service is placed first and takes all eight GPUs; four do as well."""
    documents = (
        pool("h100", "BM.GPU.H100.8"),
        service("greedy", "small", intent={"objective": "fastest"}),
        service("modest", "small", intent={"contextLength": 131_072}),
    )
    alone, _ = decide(tmp_path / "a", *documents[:2])
    assert alone is not None
    assert alone.services[0].gpus == 8
    plan, problems = decide(tmp_path / "b", *documents)
    assert plan is not None, problems
    assert [item.gpus for item in plan.services] == [4, 1]
    assert "h100 has 7 GPUs left, 1 x 8 are needed" in plan.services[0].rejected[0].reasons


def test_the_pools_ledger_stands_in_the_plan(tmp_path: Path) -> None:
    plan, _ = decide(tmp_path, pool("h100", "BM.GPU.H100.8", 2), *chats(1))
    assert plan is not None
    capacity = plan.pool("h100").capacity
    [host] = [role.host for item in plan.services for role in item.roles]
    assert capacity.empty_nodes == 1
    assert capacity.disk_bytes == 2 * 16 * 3_840_000_000_000
    assert (capacity.cpus_used, capacity.memory_used, capacity.disk_used) == (
        host.cpus,
        host.memory_bytes,
        host.scratch_bytes,
    )


def test_disks_run_out_like_gpus_do(tmp_path: Path) -> None:
    """Three copies of 131 GiB do not go onto 256 GB less what the system takes."""
    cluster = {
        "apiVersion": "ome-iac/v1",
        "kind": "Cluster",
        "metadata": {"name": "c"},
        "spec": {
            "oke": {
                "clusterId": "ocid1.cluster.oc1.r.c",
                "compartmentId": "ocid1.compartment.oc1..c",
                "kubernetesVersion": "v1.34.1",
                "nodeSubnetId": "ocid1.subnet.oc1.r.s",
            }
        },
    }
    managed = pool("gb200", "BM.GPU.GB200-v2.4")
    managed["spec"] |= {"mode": "managed", "imageId": "ocid1.image.oc1.r.i", "availabilityDomains": ["AD-1"]}
    plan, problems = decide(tmp_path, cluster, managed, *chats(2))
    assert plan is None
    assert "too little disk on a node that has" in "\n".join(problem.what for problem in problems)
