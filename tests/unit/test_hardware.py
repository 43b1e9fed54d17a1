"""The hardware tables: every figure plausible against every other, and the traps of Oracle's own documents."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from ome_iac.hardware import Gpu, Shape, find_gpu, gpus, nccl_environment, nccl_parameters, shapes, sources
from ome_iac.problems import ProblemsError

ROOT = Path(__file__).parents[2]

# research/peers.md 6.4: part number and USD per GPU and hour, each GPU's
PRICES = {
    "A10": ("B95909", 2.0),
    "A100-40GB": ("B92740", 3.05),
    "A100-80GB": ("B95907", 4.0),
    "L40S": ("B109479", 3.5),
    "H100-80GB": ("B98415", 10.0),
    "H200": ("B110519", 10.0),
    "B200": ("B110978", 14.0),
    "B300": ("B112237", 15.0),
    "GB200": ("B110979", 16.0),
    "GB300": ("B112140", 18.0),
    "MI300X": ("B109485", 6.0),
    "MI355X": ("B111758", 8.6),
    "RTX-PRO-6000": ("B112613", 4.5),
    "V100-16GB": ("B89734", 2.95),
    "P100-16GB": (None, 1.275),
}
# and the list price of one node
NODE_PRICES = {
    "VM.GPU.A10.1": 2.0,
    "VM.GPU.A10.2": 4.0,
    "BM.GPU.A10.4": 8.0,
    "BM.GPU4.8": 24.4,
    "BM.GPU.A100-v2.8": 32,
    "BM.GPU.L40S.4": 14,
    "BM.GPU.H100.8": 80,
    "BM.GPU.H200.8": 80,
    "BM.GPU.B200.8": 112,
    "BM.GPU.B300.8": 120,
    "BM.GPU.GB200.4": 64,
    "BM.GPU.GB300.4": 72,
    "BM.GPU.MI300X.8": 48,
    "BM.GPU.MI355X.8": 68.8,
    "BM.GPU.RTXPRO.8": 36,
}
VIRTUAL_FUNCTIONS = {
    **dict.fromkeys(["BM.GPU4.8", "BM.GPU.B4.8", "BM.GPU.A100-v2.8", "BM.GPU.H100.8", "BM.GPU.B300.8"], 16),
    **dict.fromkeys(["BM.GPU.H200.8", "BM.GPU.B200.8", "BM.GPU.MI300X.8", "BM.GPU.MI355X-v1.8"], 8),
}
OME_ALIASES = {
    "BM.GPU.A10.4": "A10",
    "BM.GPU.A100-v2.8": "A100-80G",
    "BM.GPU4.8": "A100-40G",
    "BM.GPU.B4.8": "A100-40G",
    "BM.GPU.H100.8": "H100",
    "BM.GPU.H100-NC.8": "H100",
    "BM.GPU.H200.8": "H200",
    "BM.GPU.H200-NC.8": "H200",
    "BM.GPU.B200.8": "B200",
}
every_gpu = pytest.mark.parametrize("gpu", gpus().values(), ids=list(gpus()))
every_shape = pytest.mark.parametrize("shape", shapes().values(), ids=list(shapes()))


def by_name(*names: str) -> list[Shape]:
    return [shapes()[name] for name in names]


# GPUs


@every_gpu
def test_memory_is_what_software_sees_and_never_more_than_its_marketing_name(gpu: Gpu) -> None:
    marketed = re.search(r"-(\d+)GB$", gpu.name)
    if marketed:
        assert 0.97 * int(marketed[1]) < gpu.memory_gib < int(marketed[1])
    assert gpu.memory_bytes == int(gpu.memory_gib * 2**30)


def test_the_memory_figures_that_the_memory_model_is_held_to() -> None:
    assert {name: gpus()[name].memory_gib for name in ("A10", "A100-80GB", "H100-80GB")} == {
        "A10": 22.06,
        "A100-80GB": 79.14,
        "H100-80GB": 79.19,
    }


@every_gpu
def test_rates_are_dense_and_ordered(gpu: Gpu) -> None:
    rates = gpu.teraflops
    assert set(rates) <= {"bf16", "fp16", "fp8", "fp4", "int8"}
    assert rates.get("bf16", rates["fp16"]) == rates["fp16"]
    if "fp8" in rates:
        # the sparse figure would be four times the half rate
        assert 1.9 * rates["bf16"] < rates["fp8"] < 2.1 * rates["bf16"]
    if "fp4" in rates:
        assert 1.9 * rates["fp8"] < rates["fp4"] < 3.1 * rates["fp8"]


@every_gpu
def test_vendor_target_and_link_belong_together(gpu: Gpu) -> None:
    if gpu.vendor == "nvidia":
        assert gpu.compute_capability is not None
        assert gpu.arch == "sm_" + gpu.compute_capability.replace(".", "")
        assert gpu.resource_name == "nvidia.com/gpu"
        assert gpu.link in ("pcie", "nvlink")
        generation = float(gpu.compute_capability)
        assert ("fp8" in gpu.teraflops) == (generation >= 8.9)
        assert ("fp4" in gpu.teraflops) == (generation >= 10)
        assert ("bf16" in gpu.teraflops) == (generation >= 8)
    else:
        assert gpu.compute_capability is None
        assert gpu.arch.startswith("gfx9")
        assert gpu.resource_name == "amd.com/gpu"
        assert gpu.link == "infinity-fabric"
    assert (gpu.scale_up_gpus is None) == (gpu.link == "pcie")


def test_pcie_speed_follows_its_generation() -> None:
    for gpu in gpus().values():
        if gpu.link == "pcie":
            assert gpu.link_gb_s == 2 ** (gpu.pcie_generation + 1)


def test_only_the_racks_join_more_than_a_node() -> None:
    assert {name for name, gpu in gpus().items() if (gpu.scale_up_gpus or 0) > 8} == {"GB200", "GB300"}
    assert gpus()["GB200"].scale_up_gpus == gpus()["GB300"].scale_up_gpus == 72


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("H100", "H100-80GB"),
        ("h100-80gb", "H100-80GB"),
        ("nvidia-h100-80gb", "H100-80GB"),
        ("NVIDIA H100 80GB HBM3", "H100-80GB"),
        ("NVIDIA-H100-80GB-HBM3", "H100-80GB"),
        ("A100-SXM4-80GB", "A100-80GB"),
        ("NVIDIA-A100-SXM4-40GB", "A100-40GB"),
        ("A100-80G", "A100-80GB"),
        ("MI300X", "MI300X"),
        ("AMD_Instinct_MI300X_OAM", "MI300X"),
        ("Tesla V100-SXM2-16GB", "V100-16GB"),
        ("NVIDIA B300 SXM6 AC", "B300"),
        ("gb200", "GB200"),
        ("NVIDIA-RTX-PRO-6000-Blackwell-Server-Edition", "RTX-PRO-6000"),
    ],
)
def test_a_gpu_is_found_by_any_of_its_names(name: str, found: str) -> None:
    assert find_gpu(name).name == found


@every_gpu
def test_every_alias_finds_its_gpu_and_no_other(gpu: Gpu) -> None:
    assert {find_gpu(alias).name for alias in (gpu.name, *gpu.aliases)} == {gpu.name}


def test_every_ome_alias_finds_the_gpu_of_its_shape() -> None:
    assert all(find_gpu(shape.ome_alias) is shape.gpu for shape in shapes().values() if shape.ome_alias)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("H10O", 'no GPU is called "H10O"; did you mean "H100"?'),
        ("A100", '"A100" is more than one GPU; say which: A100-40GB, A100-80GB'),
        ("", "known: A10, A100-40GB"),
        ("TPU v5e", "known: A10, A100-40GB"),
    ],
)
def test_an_unknown_gpu_is_refused_with_the_nearest(name: str, said: str) -> None:
    with pytest.raises(ProblemsError, match=re.escape(said)) as refused:
        find_gpu(name, where="models.yaml:3")
    (problem,) = refused.value.problems
    assert problem.where == "models.yaml:3"


@pytest.mark.parametrize("name", ["H100 PCIe", "H100 NVL", "NVIDIA A100 80GB PCIe", "A10G", "L40", "MI300A", "H20"])
def test_a_cousin_is_not_taken_for_the_gpu(name: str) -> None:
    with pytest.raises(ProblemsError):
        find_gpu(name)


# shapes


@every_shape
def test_a_shape_ends_in_its_number_of_gpus(shape: Shape) -> None:
    assert shape.name.rsplit(".", 1)[1] == str(shape.gpus)
    assert shape.bare_metal == shape.name.startswith("BM.")
    assert shape.gpu is gpus()[shape.gpu.name]


@every_shape
def test_gpu_memory_is_the_total_of_all_gpus(shape: Shape) -> None:
    assert 0.97 < shape.gpu_memory_gb / (shape.gpus * shape.gpu.memory_gib) < 1.1


@every_shape
def test_host_figures_are_in_their_units(shape: Shape) -> None:
    assert 2.5 < shape.memory_gb / shape.ocpus < 48
    if shape.nvme.drives:
        assert shape.nvme.bytes in (3_840_000_000_000, 6_800_000_000_000, 7_680_000_000_000)
    else:
        assert shape.nvme.bytes == 0
    assert 4 <= shape.network_gbps <= 400


@every_shape
def test_cpus_are_counted_as_kubernetes_does(shape: Shape) -> None:
    grace = shape.gpu.name in ("GB200", "GB300")
    assert shape.cpu_architecture == ("arm64" if grace else "amd64")
    assert shape.vcpus == (shape.ocpus if grace else 2 * shape.ocpus)


@every_shape
def test_prices_are_the_research_table_s(shape: Shape) -> None:
    assert (shape.price.part_number, shape.price.per_gpu_hour) == PRICES[shape.gpu.name]
    assert shape.price_per_hour == pytest.approx(shape.gpus * PRICES[shape.gpu.name][1])


def test_node_prices_are_the_research_table_s() -> None:
    assert {name: shapes()[name].price_per_hour for name in NODE_PRICES} == pytest.approx(NODE_PRICES)


@every_shape
def test_the_cluster_network_is_the_sum_of_its_ports(shape: Shape) -> None:
    if shape.rdma is None:
        assert "rdma" not in shape.source
        return
    assert shape.bare_metal
    assert shape.rdma.gbps % shape.rdma.ports == 0
    assert shape.rdma.gbps // shape.rdma.ports in (100, 200, 400)
    assert shape.rdma.virtual_functions in (0, shape.rdma.ports)
    if shape.rdma.bus_bandwidth_gb_s and not shape.gpu_memory_cluster and shape.gpus == 8:
        # NVLink SHARP lets an all-reduce over two nodes pass the network's own rate, never 1.2 times it
        assert shape.rdma.bus_bandwidth_gb_s < 1.2 * shape.rdma.gbps / 8


def test_virtual_functions_are_those_of_oke_s_policy() -> None:
    given = {name: shape.rdma.virtual_functions for name, shape in shapes().items() if shape.rdma}
    assert {name: count for name, count in given.items() if count} == VIRTUAL_FUNCTIONS


def test_shapes_without_a_cluster_network_say_so_in_their_name() -> None:
    without, with_network = by_name("BM.GPU.H100-NC.8", "BM.GPU.H100.8")
    assert without.rdma is None
    assert with_network.rdma is not None
    assert {name for name in shapes() if "-NC." in name} == {
        "BM.GPU.L40S-NC.4",
        "BM.GPU.H100-NC.8",
        "BM.GPU.H200-NC.8",
    }
    assert all(shape.rdma is None for name, shape in shapes().items() if "-NC." in name or name.startswith("VM."))


def test_ome_s_short_names() -> None:
    assert {name: shape.ome_alias for name, shape in shapes().items() if shape.ome_alias} == OME_ALIASES


def test_b4_is_an_a100_and_no_b200() -> None:
    shape = shapes()["BM.GPU.B4.8"]
    assert shape.gpu.name == "A100-40GB"
    assert shape.gpu_memory_gb == 320
    assert nccl_parameters()["BM.GPU.B4.8"].hcas == nccl_parameters()["BM.GPU.A100-v2.8"].hcas
    assert nccl_parameters()["BM.GPU.B4.8"].hcas != nccl_parameters()["BM.GPU4.8"].hcas


def test_the_three_gb200_are_three() -> None:
    first, second, third = by_name("BM.GPU.GB200.4", "BM.GPU.GB200-v2.4", "BM.GPU.GB200-v3.4")
    assert [shape.rdma and (shape.rdma.ports, shape.rdma.gbps) for shape in (first, second, third)] == [
        (4, 1600),
        (4, 1600),
        (8, 3200),
    ]
    assert nccl_environment(first, "host") == nccl_environment(second, "host") != nccl_environment(third, "host")
    assert "BM.GPU.GB200" not in shapes()
    assert [shape.gpu_memory_cluster for shape in (first, second, third)] == [True] * 3
    assert {name for name, shape in shapes().items() if shape.gpu_memory_cluster} == {
        name for name in shapes() if ".GB200" in name or ".GB300" in name
    }


def test_the_two_mi355x_do_not_share_nics() -> None:
    ionic, mellanox = (nccl_environment(shape, "host") for shape in by_name("BM.GPU.MI355X.8", "BM.GPU.MI355X-v1.8"))
    assert ionic["NCCL_IB_HCA"].startswith("=ionic_0,")
    assert mellanox["NCCL_IB_HCA"].startswith("=mlx5_0,")


def test_oracle_s_slips_are_put_right() -> None:
    mi355x, mi300x, gb200, gb300, gpu4 = by_name(
        "BM.GPU.MI355X.8", "BM.GPU.MI300X.8", "BM.GPU.GB200.4", "BM.GPU.GB300.4", "BM.GPU4.8"
    )
    assert mi355x.gpu_memory_gb == 2304
    assert gb300.gpu_memory_gb == 1112
    assert (gb200.gpu_memory_gb, gb200.ocpus) == (768, 144)
    assert mi300x.nvme.drives * mi300x.nvme.bytes == pytest.approx(30.72e12)
    assert gpu4.nvme.drives * gpu4.nvme.bytes == pytest.approx(27.2e12)


def test_a_rack_s_link_reaches_beyond_the_node_and_no_other_does() -> None:
    assert {name: shape.scale_up_gpus for name, shape in shapes().items() if shape.scale_up_gpus != shape.gpus} == {
        name: 72 for name in shapes() if ".GB200" in name or ".GB300" in name
    }


def test_unknown_cells_are_null_and_planned_with_the_worse() -> None:
    unknown = {name for name, shape in shapes().items() if shape.published_network_gbps is None}
    assert unknown == {
        "BM.GPU.B300.8",
        "BM.GPU.RTXPRO.8",
        "BM.GPU.GB200-v2.4",
        "BM.GPU.GB200-v3.4",
        "BM.GPU.MI355X-v1.8",
    }
    known = [int(s.published_network_gbps) for s in shapes().values() if s.bare_metal and s.published_network_gbps]
    assert {shapes()[name].network_gbps for name in unknown} == {min(known)}
    for name, shape in shapes().items():
        assert ("unknown" in shape.source["nvme"]) == (shape.published_nvme is None), name
        assert ("unknown" in shape.source["networkGbps"]) == (shape.published_network_gbps is None), name
        if shape.published_nvme is None:
            assert shape.nvme.drives == 0


# NCCL


def test_host_mode_names_the_hcas_exactly() -> None:
    environment = nccl_environment(shapes()["BM.GPU.H100.8"], "host")
    assert environment == {
        "NCCL_CUMEM_ENABLE": "0",
        "NCCL_DEBUG": "WARN",
        "NCCL_IB_GID_INDEX": "3",
        "NCCL_IB_HCA": "=mlx5_0,mlx5_1,mlx5_3,mlx5_4,mlx5_5,mlx5_6,mlx5_7,mlx5_8,mlx5_9,mlx5_10,mlx5_12,mlx5_13,"
        "mlx5_14,mlx5_15,mlx5_16,mlx5_17",
        "NCCL_IB_SL": "0",
        "NCCL_IB_SPLIT_DATA_ON_QPS": "0",
        "NCCL_IB_TC": "41",
        "NCCL_IB_TIMEOUT": "22",
        "NCCL_IGNORE_CPU_AFFINITY": "1",
        "NCCL_SOCKET_IFNAME": "eth0",
    }
    assert list(environment) == sorted(environment)


@pytest.mark.parametrize("name", sorted(nccl_parameters()))
def test_modes_differ_in_the_hcas_alone(name: str) -> None:
    shape = shapes()[name]
    host = nccl_environment(shape, "host")
    assert shape.rdma is not None
    assert len(nccl_parameters()[name].hcas) == len(set(nccl_parameters()[name].hcas)) == shape.rdma.ports
    assert all(key.startswith(("NCCL_", "RCCL_")) for key in host)
    if shape.rdma.virtual_functions:
        assert nccl_environment(shape, "vf") == {**host, "NCCL_IB_HCA": "mlx5"}
    else:
        with pytest.raises(ProblemsError, match=f"{name} has no RDMA virtual functions on OKE; use the host network"):
            nccl_environment(shape, "vf")


def test_nccl_s_callers_cannot_change_the_table() -> None:
    shape = shapes()["BM.GPU.H200.8"]
    nccl_environment(shape, "host")["NCCL_DEBUG"] = "TRACE"
    assert nccl_environment(shape, "host")["NCCL_DEBUG"] == "WARN"


@pytest.mark.parametrize(
    ("name", "lack"),
    [
        ("VM.GPU.A10.1", "has no cluster network"),
        ("BM.GPU.H100-NC.8", "has no cluster network"),
        ("BM.GPU.L40S.4", "has no published NCCL parameters"),
    ],
)
def test_nccl_is_refused_where_there_is_nothing_to_set(name: str, lack: str) -> None:
    with pytest.raises(ProblemsError, match=f"{name} {lack}"):
        nccl_environment(shapes()[name], "host")


def test_every_cluster_network_but_the_l40s_one_has_parameters() -> None:
    assert {name for name, shape in shapes().items() if shape.rdma} - set(nccl_parameters()) == {"BM.GPU.L40S.4"}
    assert set(nccl_parameters()) <= set(shapes())


# the tables themselves


def test_every_fact_has_a_source() -> None:
    for gpu in gpus().values():
        wanted = {"memoryGiB", "bandwidthTBs", "teraflops", "link", "computeCapability"}
        assert set(gpu.source) == wanted | ({"dedicatedUnits"} if gpu.dedicated_units else set()), gpu.name
    for shape in shapes().values():
        wanted = {"host", "nvme", "networkGbps", "price"} | ({"rdma"} if shape.rdma else set())
        wanted |= ({"omeAlias"} if shape.ome_alias else set()) | (
            {"gpuMemoryCluster"} if shape.gpu_memory_cluster else set()
        )
        assert set(shape.source) == wanted, shape.name
    named = [
        origin
        for table in (gpus(), shapes())
        for row in table.values()
        for all_ in row.source.values()
        for origin in all_
    ]
    assert {origin for origin in named if not origin.startswith("derived: ")} <= set(sources())
    assert not set(sources()) - set(named) - {"recalled"}


def test_dedicated_units_are_the_sdk_s() -> None:
    found = importlib.util.find_spec("oci")
    assert found
    assert found.submodule_search_locations
    model = Path(found.submodule_search_locations[0]) / "generative_ai" / "models" / "dedicated_ai_cluster.py"
    constants = set(
        re.findall(r'"((?:A10|A100_40G|A100_80G|L40S|H100|H200|B200|B300|MI300X)_X\d+)"', model.read_text())
    )
    assert {unit for gpu in gpus().values() for unit in gpu.dedicated_unit_shapes} == constants
    assert gpus()["A100-80GB"].dedicated_unit_shapes == {f"A100_80G_X{size}": size for size in (1, 2, 4, 8)}


def test_rows_are_frozen() -> None:
    with pytest.raises(ValidationError):
        gpus()["A10"].memory_gib = 24.0  # type: ignore[misc]
    assert gpus() is gpus()
    assert shapes() is shapes()


def test_no_row_stands_twice() -> None:
    for file, table in (("gpus.yaml", gpus()), ("shapes.yaml", shapes()), ("nccl.yaml", nccl_parameters())):
        text = (ROOT / "ome_iac" / "hardware" / file).read_text()
        rows = re.findall(r"^(\S+):$", text, re.MULTILINE)
        assert len(rows) == len(set(rows)) == len(table)
        assert yaml.safe_load(text).keys() == table.keys()


def test_the_page_is_what_the_generator_writes() -> None:
    checked = subprocess.run(
        [sys.executable, "docs/generate_hardware.py", "--check"], cwd=ROOT, capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stderr
