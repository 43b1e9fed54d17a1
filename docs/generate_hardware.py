"""Write docs/reference/hardware.md from the hardware tables; with --check, fail where the file is out of date."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # docs is no package that is installed

from docs.page import write_or_check
from ome_iac.hardware import Gpu, Shape, gpus, nccl_environment, nccl_parameters, shapes, sources

PAGE = Path(__file__).parent / "reference" / "hardware.md"
PRECISIONS = ("bf16", "fp16", "fp8", "fp4", "int8")


def render() -> str:
    """The page, Markdown."""
    sections = [
        "# GPUs and OCI shapes",
        "Generated from `ome_iac/hardware/*.yaml` by `docs/generate_hardware.py`; do not edit.",
        *_gpu_section(),
        *_shape_section(),
        *_nccl_section(),
        *_source_section(),
    ]
    return "\n\n".join(sections) + "\n"


def _gpu_section() -> list[str]:
    header = [
        "GPU",
        "Memory GiB",
        "TB/s",
        *PRECISIONS,
        "Link",
        "GB/s one way",
        "GPUs joined",
        "PCIe",
        "Target",
        "Resource",
    ]
    rows = [
        [
            gpu.name,
            f"{gpu.memory_gib:.2f}",
            _number(gpu.bandwidth_tb_s),
            *(_number(gpu.teraflops.get(precision)) for precision in PRECISIONS),
            gpu.link,
            _number(gpu.link_gb_s),
            _number(gpu.scale_up_gpus),
            str(gpu.pcie_generation),
            gpu.arch,
            f"`{gpu.resource_name}`",
        ]
        for gpu in gpus().values()
    ]
    legend = (
        "Memory is what CUDA or ROCm reports. Rates are dense, 10^12 per second; a dash is a precision without matrix "
        "units. Every name below finds its GPU, in any case and punctuation."
    )
    units = [
        [gpu.name, ", ".join(f"`{alias}`" for alias in gpu.aliases), ", ".join(gpu.dedicated_unit_shapes) or "-"]
        for gpu in gpus().values()
    ]
    return [
        "## GPUs",
        legend,
        _table(header, rows),
        _table(["GPU", "Also called", "Dedicated AI cluster units"], units),
        _notes(gpus().values()),
    ]


def _shape_section() -> list[str]:
    header = ["Shape", "GPUs", "GPU memory GB", "OCPU", "vCPU", "RAM GB", "NVMe", "Gbps", "RDMA Gbps", "HCAs", "VFs"]
    header += ["Bus GB/s", "Part", "$/GPU h", "$/h", "OME"]
    legend = (
        "A question mark is unknown: plans then reckon with no local drive, and with the slowest front end of any bare "
        "metal GPU shape. *Bus* is the least two-node all-reduce bandwidth that passes Oracle's health check. VFs 0: "
        "host network only. *Italic* prices and figures are derived; the sources below say how."
    )
    return [
        "## Shapes",
        legend,
        _table(header, [_shape_row(shape) for shape in shapes().values()]),
        _notes(shapes().values()),
    ]


def _shape_row(shape: Shape) -> list[str]:
    drives = shape.published_nvme
    nvme = "?" if drives is None else f"{drives.drives} x {drives.bytes / 1e12:.2f} TB" if drives.drives else "-"
    network = ["-"] * 4
    if rdma := shape.rdma:
        passing = _number(rdma.bus_bandwidth_gb_s)
        network = [_derived(shape, "rdma", str(rdma.gbps)), str(rdma.ports), str(rdma.virtual_functions), passing]
    return [
        f"`{shape.name}`",
        f"{shape.gpus} x {shape.gpu.name}",
        str(shape.gpu_memory_gb),
        _derived(shape, "host", str(shape.ocpus)),
        str(shape.vcpus),
        _derived(shape, "host", str(shape.memory_gb)),
        _derived(shape, "nvme", nvme),
        _derived(
            shape, "networkGbps", "?" if shape.published_network_gbps is None else _number(shape.published_network_gbps)
        ),
        *network,
        shape.price.part_number or "?",
        _derived(shape, "price", _number(shape.price.per_gpu_hour)),
        f"{shape.price_per_hour:.2f}",
        shape.ome_alias or "-",
    ]


def _nccl_section() -> list[str]:
    parts = [
        "## NCCL on the cluster network",
        "Host network; with virtual functions `NCCL_IB_HCA=mlx5`, the rest as here.",
    ]
    for name, parameters in nccl_parameters().items():
        lines = "\n".join(f"{key}={value}" for key, value in nccl_environment(shapes()[name], "host").items())
        parts.append(f"### {name}\n\n```\n{lines}\n```")
        if parameters.note:
            parts.append("\n".join(f"- {note}" for note in parameters.note))
    return parts


def _source_section() -> list[str]:
    listed = [[f"`{name}`", source.state, source.text] for name, source in sources().items()]
    facts = [
        [f"`{row.name}`", field, "; ".join(f"`{origin}`" if origin in sources() else origin for origin in origins)]
        for table in (gpus(), shapes())
        for row in table.values()
        for field, origins in row.source.items()
    ]
    return ["## Sources", _table(["Source", "State", ""], listed), _table(["Row", "Fact", "From"], facts)]


def _notes(rows: Iterable[Gpu | Shape]) -> str:
    return "\n".join(f"- **{row.name}**: {note}" for row in rows for note in row.note)


def _derived(shape: Shape, field: str, text: str) -> str:
    derived = any(origin.startswith("derived:") for origin in shape.source[field])
    return f"*{text}*" if derived else text


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.10g}"


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def main() -> int:
    """Write or check the page; 1 where the check fails."""
    return write_or_check(PAGE, render(), "generate_hardware.py")


if __name__ == "__main__":
    sys.exit(main())
