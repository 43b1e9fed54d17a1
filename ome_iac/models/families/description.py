"""What `describe` answers: the fields of `ModelMetadata` that config and tensors tell."""

from __future__ import annotations

from pydantic import Field

from ome_iac.models.metadata import (
    Attention,
    Capability,
    Evidence,
    Experts,
    Facts,
    Parameters,
    Quantization,
    Weights,
)


class Description(Facts):
    """As in `ModelMetadata`, field by field, but for what only the source knows (revision, files, gating)."""

    architecture: str | None = None
    model_type: str | None = None
    format: str | None = None
    framework: str | None = None
    framework_version: str | None = None
    parameters: Parameters | None = None
    weights: Weights | None = None
    quantization: Quantization | None = None
    context_length: int | None = None
    layers: int | None = None
    hidden_size: int | None = None
    intermediate_size: int | None = None
    vocabulary_size: int | None = None
    attention: tuple[Attention, ...] = ()
    experts: Experts | None = None
    dtype: str | None = None
    tied_embeddings: bool = False
    capabilities: tuple[Capability, ...] = ()
    licence: str | None = None
    warnings: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    provenance: dict[str, Evidence] = Field(default_factory=dict)
