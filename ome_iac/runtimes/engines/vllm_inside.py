"""Images of others that start a vLLM of their own: NVIDIA's NIM, Triton's vLLM backend."""

from __future__ import annotations

from typing import ClassVar

from packaging.version import Version

from ome_iac.models.metadata import ModelMetadata
from ome_iac.runtimes.catalog import Catalog
from ome_iac.runtimes.engines.vllm import Vllm
from ome_iac.runtimes.splits import Split


class VllmInside(Vllm):
    """vLLM's memory and legality at the version inside; image, port and start are the image's own."""

    vendors = ("nvidia",)
    multi_node = False
    disaggregation = ()
    vllm: ClassVar[str]
    """The version inside."""
    vllm_source: ClassVar[str]
    """Who says so."""

    def __init__(self, catalog: Catalog, notes: tuple[str, ...] = ()) -> None:
        inside = f"memory is reckoned as that of vLLM {self.vllm}, which is inside ({self.vllm_source})"
        super().__init__(catalog, (*notes, inside))
        self.version = Version(self.vllm)

    def illegal_splits(self, model: ModelMetadata, split: Split) -> tuple[str, ...]:
        """As vLLM, but there is no data parallel: it takes a launcher of its own."""
        alone = (f"{self.name} has no data parallel: more replicas do the same",) if split.data > 1 else ()
        return (*alone, *super().illegal_splits(model, split))
