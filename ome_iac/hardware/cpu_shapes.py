"""Shapes without GPUs; `shapes()` does not list them, so that nothing is planned onto them."""

from __future__ import annotations

import functools
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from ome_iac.hardware.tables import read_table

_CAMEL = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)


class UnitPrice(BaseModel):
    """Oracle's list price of one OCPU or one GB, USD per hour."""

    model_config = _CAMEL

    part_number: str
    per_hour: float


class CpuShape(BaseModel):
    """A flexible virtual machine without GPUs."""

    model_config = _CAMEL

    name: str
    cpu_architecture: Literal["amd64", "arm64"]
    max_ocpus: int
    max_memory_gb: int = Field(alias="maxMemoryGB")
    max_memory_per_ocpu_gb: int = Field(alias="maxMemoryPerOcpuGB")
    ocpu_price: UnitPrice
    memory_price: UnitPrice

    def price_per_hour(self, ocpus: int, memory_gb: int) -> float:
        """List price of one node, USD per hour."""
        return ocpus * self.ocpu_price.per_hour + memory_gb * self.memory_price.per_hour


@functools.cache
def cpu_shapes() -> dict[str, CpuShape]:
    """The shapes by OCI's name."""
    return {name: CpuShape(name=name, **row) for name, row in read_table("cpu_shapes.yaml").items()}
