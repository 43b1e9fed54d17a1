from ome_iac.rehearsal.nodes import make_nodes


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
    assert first["status"]["allocatable"] == first["status"]["capacity"]
    assert first["status"]["capacity"]["nvidia.com/gpu"] == "8"
    assert first["status"]["capacity"]["nvidia.com/rdma-vf"] == "16"
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
    first["spec"]["taints"].clear()
    assert second["status"]["capacity"]["cpu"] == "1"
    assert second["spec"]["taints"]
    assert first["status"]["allocatable"]["cpu"] == "1"
