import pytest
from hypothesis import given
from hypothesis import strategies as st

from ome_iac.hardware import shapes
from ome_iac.rehearsal.nodes import GIBIBYTE, TOPOLOGY_LABELS, allocatable, make_nodes, make_oke_nodes

NETWORK_BLOCK, LOCAL_BLOCK = TOPOLOGY_LABELS["network_block"], TOPOLOGY_LABELS["local_block"]


def test_a_gpu_pool_is_labelled_and_tainted_as_oke_does() -> None:
    nodes = make_nodes(
        "h100",
        shape="BM.GPU.H100.8",
        count=2,
        cpu=224,
        memory_gib=2048,
        gpus=8,
        extra_resources={"nvidia.com/rdma-vf": 16},
        labels={"pool": "h100"},
    )
    assert [node["metadata"]["name"] for node in nodes] == ["h100-0", "h100-1"]
    first = nodes[0]
    assert first["metadata"]["labels"] == {
        "kubernetes.io/arch": "amd64",
        "kubernetes.io/hostname": "h100-0",
        "kubernetes.io/os": "linux",
        "node.kubernetes.io/instance-type": "BM.GPU.H100.8",
        "nvidia.com/gpu": "true",
        "pool": "h100",
    }
    assert first["spec"]["taints"] == [{"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}]
    for amounts in (first["status"]["capacity"], first["status"]["allocatable"]):
        assert amounts["nvidia.com/gpu"] == "8"
        assert amounts["nvidia.com/rdma-vf"] == "16"
        assert amounts["pods"] == "110"
    assert first["status"]["capacity"]["memory"] == str(2048 * 2**30)


def test_amd_gpus_and_no_taint() -> None:
    (node,) = make_nodes(
        "mi300x",
        shape="BM.GPU.MI300X.8",
        count=1,
        cpu=224,
        memory_gib=2048,
        gpus=8,
        gpu_resource="amd.com/gpu",
        taints=(),
    )
    assert node["metadata"]["labels"]["amd.com/gpu"] == "true"
    assert node["status"]["capacity"]["amd.com/gpu"] == "8"
    assert node["spec"] == {}


def test_a_pool_without_gpus_is_open_to_every_pod() -> None:
    (node,) = make_nodes("cpu", shape="VM.Standard.E5.Flex", count=1, cpu=16, memory_gib=64)
    assert node["spec"] == {}
    assert not any("gpu" in key for key in [*node["metadata"]["labels"], *node["status"]["capacity"]])


def test_nothing_is_shared_between_nodes() -> None:
    first, second = make_nodes("a", shape="s", count=2, cpu=1, memory_gib=1, gpus=1)
    first["status"]["capacity"]["cpu"] = "9"
    first["status"]["allocatable"]["memory"] = "9"
    first["spec"]["taints"].clear()
    assert second["status"]["capacity"]["cpu"] == "1"
    assert second["spec"]["taints"]
    assert second["status"]["allocatable"]["memory"] != "9"


def test_what_is_reserved_by_hand() -> None:
    """16 GiB: a quarter of 4, a fifth of 4, a tenth of 8, and 100 MiB; 4 cores: 6 % + 1 % + 2 x 0.5 %."""
    capacity = {"cpu": "4", "memory": str(16 * GIBIBYTE), "ephemeral-storage": str(1000), "nvidia.com/gpu": "2"}
    left = allocatable(capacity)
    assert int(left["memory"]) == round((16 - 1 - 0.8 - 0.8) * GIBIBYTE) - 100 * 2**20
    assert left["cpu"] == "3920m"
    assert left["ephemeral-storage"] == "900"
    assert left["nvidia.com/gpu"] == "2"


@given(st.integers(1, 1000), st.floats(0.01, 5000), st.floats(1, 100_000))
def test_less_is_allocatable_than_there_is_and_more_of_more(cores: int, memory: float, disk: float) -> None:
    def left(factor: int) -> dict[str, str]:
        (node,) = make_nodes(
            "p", shape="s", count=1, cpu=cores * factor, memory_gib=memory * factor, ephemeral_storage_gib=disk * factor
        )
        status = node["status"]
        assert 0 <= int(status["allocatable"]["cpu"].removesuffix("m")) < int(status["capacity"]["cpu"]) * 1000
        for name in ("memory", "ephemeral-storage"):
            assert 0 <= int(status["allocatable"][name]) < int(status["capacity"][name])
        allocatable: dict[str, str] = status["allocatable"]
        return allocatable

    one, two = left(1), left(2)
    for name in ("cpu", "memory", "ephemeral-storage"):
        assert int(one[name].removesuffix("m")) <= int(two[name].removesuffix("m"))


@pytest.mark.parametrize("name", sorted(shapes()))
def test_a_node_of_every_shape_has_what_the_shape_has(name: str) -> None:
    shape = shapes()[name]
    (node,) = make_oke_nodes("p", shape, 1)
    labels, capacity = node["metadata"]["labels"], node["status"]["capacity"]
    assert labels["node.kubernetes.io/instance-type"] == name
    assert labels["kubernetes.io/arch"] == shape.cpu_architecture
    assert capacity[shape.gpu.resource_name] == str(shape.gpus)
    assert capacity.get("nvidia.com/rdma-vf", "0") == str(shape.rdma.virtual_functions if shape.rdma else 0)
    assert (shape.rdma is not None) == (NETWORK_BLOCK in labels)
    drives = shape.nvme.drives * shape.nvme.bytes
    assert int(capacity["ephemeral-storage"]) == (drives or 200 * 10**9)


def test_blocks_nest_and_have_the_asked_size() -> None:
    nodes = make_oke_nodes("p", shapes()["BM.GPU.H100.8"], 10, nodes_per_network_block=4, nodes_per_local_block=2)
    labels = [node["metadata"]["labels"] for node in nodes]
    assert [[found[NETWORK_BLOCK] for found in labels].count(block) for block in blocks(labels, NETWORK_BLOCK)] == [
        4,
        4,
        2,
    ]
    assert [[found[LOCAL_BLOCK] for found in labels].count(block) for block in blocks(labels, LOCAL_BLOCK)] == [2] * 5
    for local in blocks(labels, LOCAL_BLOCK):
        assert len({found[NETWORK_BLOCK] for found in labels if found[LOCAL_BLOCK] == local}) == 1
    assert len(blocks(labels, TOPOLOGY_LABELS["hpc_island"])) == 1
    assert len(blocks(labels, TOPOLOGY_LABELS["host"])) == 10


def test_the_blocks_of_two_pools_are_not_the_same_and_of_one_pool_always_are() -> None:
    shape = shapes()["BM.GPU.H100.8"]
    (one,), (other,) = make_oke_nodes("a", shape, 1), make_oke_nodes("b", shape, 1)
    assert one["metadata"]["labels"][NETWORK_BLOCK] != other["metadata"]["labels"][NETWORK_BLOCK]
    assert make_oke_nodes("a", shape, 1) == [one]


def blocks(labels: list[dict[str, str]], label: str) -> list[str]:
    return list(dict.fromkeys(found[label] for found in labels))
