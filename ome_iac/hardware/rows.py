"""The rows of the hardware tables."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel

GIB = 1024**3

Origin = Annotated[tuple[str, ...], BeforeValidator(lambda value: (value,) if isinstance(value, str) else value)]


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)


class Source(_Row):
    """Where facts come from, and whether anybody looked."""

    state: Literal["checked", "recalled", "unknown"]
    text: str


class DedicatedUnits(_Row):
    """The units of a GPU that OCI Generative AI's dedicated clusters are made of."""

    prefix: str
    sizes: tuple[int, ...]


class Gpu(_Row):
    """One GPU model."""

    name: str
    aliases: tuple[str, ...] = Field(description="its names in drivers, node labels and other tables")
    vendor: Literal["nvidia", "amd"]
    memory_gib: float = Field(alias="memoryGiB", description="total memory as CUDA or ROCm reports it, GiB")
    bandwidth_tb_s: float = Field(alias="bandwidthTBs", description="memory bandwidth, 10^12 bytes per second")
    teraflops: dict[str, float] = Field(
        description="dense rate by precision (bf16, fp16, fp8, fp4, int8), 10^12 per second; no key: not in hardware"
    )
    link: Literal["pcie", "nvlink", "infinity-fabric"]
    link_gb_s: float = Field(alias="linkGBs", description="to its peers in the node, one way, 10^9 bytes per second")
    scale_up_gpus: int | None = Field(description="GPUs that `link` joins at most; None where that is only PCIe")
    pcie_generation: int = Field(description="of the GPU; the host's may be older")
    compute_capability: str | None = Field(description="CUDA's, such as 9.0; None for AMD")
    arch: str = Field(description="LLVM target: sm_90, gfx942")
    dedicated_units: DedicatedUnits | None
    source: dict[str, Origin]
    note: tuple[str, ...] = ()

    @property
    def memory_bytes(self) -> int:
        """Total memory as CUDA or ROCm reports it."""
        return int(self.memory_gib * GIB)

    @property
    def resource_name(self) -> str:
        """The device plugin's resource, such as nvidia.com/gpu."""
        return f"{self.vendor}.com/gpu"

    @property
    def dedicated_unit_shapes(self) -> dict[str, int]:
        """OCI Generative AI's unit shapes for imported models, and the GPUs in each."""
        units = self.dedicated_units
        return {f"{units.prefix}_X{size}": size for size in units.sizes} if units else {}


class Nvme(_Row):
    """Local drives: how many, and bytes of one."""

    drives: int
    bytes: int


class Rdma(_Row):
    """The cluster network of a shape."""

    gbps: int = Field(description="of a node, one way")
    ports: int = Field(description="HCAs of a node")
    virtual_functions: int = Field(description="nvidia.com/rdma-vf of a node on OKE; 0: host network only")
    bus_bandwidth_gb_s: int | None = Field(
        alias="busBandwidthGBs", description="least all-reduce of two nodes that passes, 10^9 bytes per second"
    )


class Price(_Row):
    """Oracle's list price, USD."""

    part_number: str | None
    per_gpu_hour: float


class Shape(_Row):
    """One OCI compute shape."""

    name: str
    gpu: Gpu
    gpus: int = Field(gt=0)
    gpu_memory_gb: int = Field(alias="gpuMemoryGB", description="of all GPUs, GB as OCI states it; not to plan with")
    cpu_architecture: Literal["amd64", "arm64"]
    ocpus: int
    memory_gb: int = Field(alias="memoryGB", description="host memory, GB as OCI states it")
    published_nvme: Nvme | None = Field(alias="nvme", description="None: unknown")
    published_network_gbps: float | None = Field(alias="networkGbps", description="front end, all NICs; None: unknown")
    rdma: Rdma | None
    price: Price
    gpu_memory_cluster: bool = Field(False, description="nodes come only in an OCI GPU memory cluster")
    ome_alias: str | None = Field(None, description="OME's short name of the shape")
    source: dict[str, Origin]
    note: tuple[str, ...] = ()

    @property
    def nvme(self) -> Nvme:
        """Local drives to plan with: none where they are unknown, so nothing is placed on a drive that may not be."""
        return self.published_nvme or Nvme(drives=0, bytes=0)

    @property
    def network_gbps(self) -> int:
        """Front-end bandwidth to plan with, whole Gbps; the slowest of any bare metal GPU shape where it is unknown."""
        return SLOWEST_BARE_METAL_GBPS if self.published_network_gbps is None else int(self.published_network_gbps)

    @property
    def vcpus(self) -> int:
        """CPUs as Linux and Kubernetes count them: two threads to an x86 OCPU, one to a Grace core."""
        return self.ocpus * (1 if self.cpu_architecture == "arm64" else 2)

    @property
    def scale_up_gpus(self) -> int:
        """GPUs within the fastest link's reach of one another: a rack's in a GPU memory cluster, else the node's."""
        rack = self.gpu.scale_up_gpus if self.gpu_memory_cluster else None
        return rack or self.gpus

    @property
    def price_per_hour(self) -> float:
        """List price of one node, USD per hour."""
        return self.gpus * self.price.per_gpu_hour

    @property
    def bare_metal(self) -> bool:
        """Whether the shape is a whole machine."""
        return self.name.startswith("BM.")


SLOWEST_BARE_METAL_GBPS = 50
