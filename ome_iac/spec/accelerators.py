"""AcceleratorClass, with OME's field names (ome.io/v1beta1), and Kubernetes' quantities."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from ome_iac.problems import Problem
from ome_iac.spec.document import OME, Document, Part

GIB = 1 << 30
_POWERS = {
    **{"n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"), "": Decimal(1), "k": Decimal(1000)},
    **{letter: Decimal(1000) ** power for power, letter in enumerate("MGTPE", start=2)},
    **{f"{letter}i": Decimal(1024) ** power for power, letter in enumerate("KMGTPE", start=1)},
}
_QUANTITY = re.compile(r"([+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+))(?:([KMGTPE]i|[numkMGTPE])|[eE]([+-]?[0-9]+))?")


def _as_written(value: object) -> object:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, str) and _QUANTITY.fullmatch(value):
        return value
    raise PydanticCustomError("quantity", 'must be a Kubernetes quantity such as "80Gi" or "2.5"')


Quantity = Annotated[str, BeforeValidator(_as_written)]
"""A number with a unit of Kubernetes', as text."""


def quantity(text: str) -> Decimal:
    """What a Kubernetes quantity stands for: `80Gi` is 85,899,345,920, `80G` 80,000,000,000, `80` eighty.

    Raises ValueError for what is no quantity.
    """
    found = _QUANTITY.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not a Kubernetes quantity")
    number, suffix, exponent = found.groups()
    return Decimal(number) * (Decimal(10) ** int(exponent) if exponent else _POWERS[suffix or ""])


class Discovery(Part):
    """By which nodes the accelerator is found."""

    node_selector: dict[str, str] = Field(default_factory=dict)
    affinity: dict[str, Any] | None = None
    pci_vendor_id: str | None = Field(default=None, alias="pciVendorID")
    device_ids: tuple[str, ...] = Field(default=(), alias="deviceIDs")


class Latency(Part):
    """Milliseconds."""

    average_millis: int | None = None
    maximum_millis: int | None = None


class Performance(Part):
    """Dense tera-operations per second."""

    fp32_tflops: int | None = None
    fp16_tflops: int | None = None
    int8_tops: int | None = None
    int4_tops: int | None = None
    latency: Latency | None = None


class Capabilities(Part):
    """What one accelerator can do. `memoryGB` is a quantity of bytes in spite of its name."""

    memory_gb: Quantity | None = Field(default=None, alias="memoryGB")
    compute_capability: str | None = None
    level_zero_version: str | None = None
    clock_speed_mhz: int | None = Field(default=None, alias="clockSpeedMHz")
    memory_bandwidth_gbps: Quantity | None = Field(default=None, alias="memoryBandwidthGBps")
    features: tuple[str, ...] = ()
    performance: Performance | None = None

    @property
    def memory_bytes(self) -> int | None:
        """Memory of one accelerator."""
        return None if self.memory_gb is None else int(quantity(self.memory_gb))


class AcceleratorResource(Part):
    """A resource name under which nodes offer the accelerator."""

    name: str
    quantity: Quantity = "1"
    divisible: bool | None = None


class Integration(Part):
    """What other schedulers call it."""

    kueue_resource_flavor: str | None = None
    volcano_gpu_type: str | None = Field(default=None, alias="volcanoGPUType")


class Cost(Part):
    """Dollars, as quantities, or a tier."""

    per_hour: Quantity | None = None
    per_million_tokens: Quantity | None = None
    spot_per_hour: Quantity | None = None
    tier: str | None = None


class AcceleratorClassSpec(Part):
    """OME's AcceleratorClassSpec."""

    discovery: Discovery
    capabilities: Capabilities
    vendor: str | None = None
    family: str | None = None
    model: str | None = None
    resources: tuple[AcceleratorResource, ...] = ()
    integration: Integration | None = None
    cost: Cost | None = None


class AcceleratorClass(Document):
    """A kind of accelerator that runtimes and services refer to by name."""

    API_VERSION: ClassVar[str] = OME
    KIND: ClassVar[str] = "AcceleratorClass"
    spec: AcceleratorClassSpec

    def faults(self) -> Iterator[Problem]:
        """Values that OME takes without a word and reads otherwise than meant."""
        written = self.spec.capabilities.memory_gb
        if written is None:
            return
        size, path = quantity(written), "spec.capabilities.memoryGB"
        number = written.rstrip("numkMGTPEi")
        if size < GIB:
            remedy = f'write "{number}Gi"' if number.isdigit() and int(number) > 0 else 'as in "80Gi"'
            yield self.problem(path, f'"{written}" is {size:f} bytes, and OME reads 0 GiB', remedy)
        elif written[-1] in "kMGTPE":
            meant = f'write "{written}i"' if written[-1] in "GT" else f'write "{size / GIB:.0f}Gi"'
            yield self.problem(
                path, f'"{written}" is decimal, {size / GIB:.1f} GiB, and OME reads {size // GIB}', meant
            )
