"""Unit shapes of OCI Generative AI's dedicated clusters, and which of them hold a model."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from ome_iac.hardware import Gpu, gpus, shapes
from ome_iac.models.metadata import ModelMetadata
from ome_iac.planning.fit import Fit, fit_model
from ome_iac.runtimes.engines import engine
from ome_iac.runtimes.splits import DEFAULTS, Split

IMPORTED_UNITS = {"A10": 4, "A100_40G": 8, "A100_80G": 8, "H100": 8, "H200": 8}
"""Unit shapes for imported models: prefix and the most GPUs (pulumi-oci 5.5, generativeai.DedicatedAiCluster)."""


@dataclass(frozen=True)
class Unit:
    """A unit shape, and the proof that one unit holds the model or does not."""

    name: str
    gpu: Gpu
    gpus: int
    fit: Fit

    @property
    def concurrency(self) -> float | None:
        """Requests of full length that one unit holds at once."""
        return self.fit.ledger.concurrency if self.fit.ledger else 0.0

    def count(self, concurrency: int) -> int:
        """Units for so many requests at once; 0 where one does not even hold one."""
        if not self.fit.fits:
            return 0
        each = self.concurrency
        return 1 if each is None else max(1, ceil(concurrency / int(each)))

    def cost(self, count: int) -> float:
        """USD per hour, list."""
        return count * self.gpus * price_of(self.gpu)


def units_for(model: ModelMetadata, context_length: int | None) -> tuple[Unit, ...]:
    """Every unit shape for imported models with its proof, smallest first within a GPU."""
    found = []
    for gpu in gpus().values():
        prefix = gpu.dedicated_units.prefix if gpu.dedicated_units else ""
        for name, count in gpu.dedicated_unit_shapes.items():
            if count <= IMPORTED_UNITS.get(prefix, 0):
                fit = fit_model(model, engine("vllm"), gpu, Split(tensor=count), DEFAULTS, context_length, count)
                found.append(Unit(name, gpu, count, fit))
    return tuple(found)


def price_of(gpu: Gpu) -> float:
    """USD per GPU and hour, list: the cheapest shape that has it."""
    return min(shape.price.per_gpu_hour for shape in shapes().values() if shape.gpu.name == gpu.name)
