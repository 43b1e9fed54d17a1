"""The one table of GPUs and the one table of OCI shapes; nothing about either stands anywhere else."""

from __future__ import annotations

import functools
from importlib import resources
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

GIB = 1024**3


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)


class Gpu(_Row):
    """One GPU model."""

    name: str
    memory_gib: float = Field(alias="memoryGiB", description="total memory as CUDA reports it, GiB")
    bandwidth_tb_s: float = Field(alias="bandwidthTBs", description="memory bandwidth, 10^12 bytes per second")
    teraflops: dict[str, float] = Field(description="dense rate by precision (bf16, fp8, fp4), 10^12 per second")
    link: Literal["pcie", "nvlink", "infinity-fabric"]
    link_gb_s: float = Field(alias="linkGBs", description="to its peers in the node, one way, 10^9 bytes per second")
    compute_capability: str

    @property
    def memory_bytes(self) -> int:
        """Total memory as CUDA reports it."""
        return int(self.memory_gib * GIB)


class Nvme(_Row):
    """Local drives: how many, and bytes of one."""

    drives: int
    bytes: int


class Rdma(_Row):
    """The cluster network of a shape."""

    gbps: int
    virtual_functions: int


class Price(_Row):
    """Oracle's list price, USD."""

    part_number: str
    per_gpu_hour: float


class Shape(_Row):
    """One OCI compute shape."""

    name: str
    gpu: Gpu
    gpus: int = Field(gt=0)
    ocpus: int
    memory_gb: int = Field(alias="memoryGB", description="host memory, GB as OCI states it")
    nvme: Nvme
    network_gbps: int
    rdma: Rdma | None
    price: Price

    @property
    def price_per_hour(self) -> float:
        """List price of one node, USD per hour."""
        return self.gpus * self.price.per_gpu_hour

    @property
    def bare_metal(self) -> bool:
        """Whether the shape is a whole machine."""
        return self.name.startswith("BM.")


@functools.cache
def gpus() -> dict[str, Gpu]:
    """All GPUs by name."""
    return {name: Gpu(name=name, **row) for name, row in _table("gpus.yaml").items()}


@functools.cache
def shapes() -> dict[str, Shape]:
    """All shapes by OCI's name."""
    return {
        name: Shape(name=name, **{**row, "gpu": gpus()[str(row["gpu"])]}) for name, row in _table("shapes.yaml").items()
    }


def _table(file: str) -> dict[str, dict[str, object]]:
    loaded: dict[str, dict[str, object]] = yaml.load(
        resources.files(__name__).joinpath(file).read_text(), Loader=yaml.CSafeLoader
    )
    return loaded
