"""What a document declares of a model, held against what was read of it. The weights win; the difference is said."""

from __future__ import annotations

from collections.abc import Iterator

from ome_iac.models.metadata import Capability, ModelMetadata
from ome_iac.spec.models import ModelDeclaration
from ome_iac.spec.sizes import parameters

SIZE_TOLERANCE = 0.1
"""A declared size is a rounded name ("70B" for 70.55): a difference below this share is no contradiction."""

CAPABILITIES = {
    "TEXT_TO_TEXT": {Capability.CHAT, Capability.COMPLETION},
    "TEXT_TO_EMBEDDING": {Capability.EMBEDDING},
    "EMBEDDING": {Capability.EMBEDDING},
    "TEXT_EMBEDDINGS": {Capability.EMBEDDING},
    "IMAGE_TEXT_TO_TEXT": {Capability.VISION},
    "IMAGE_TEXT_TO_EMBEDDING": {Capability.VISION, Capability.EMBEDDING},
    "VIDEO_TEXT_TO_TEXT": {Capability.VIDEO, Capability.VISION},
    "AUDIO_TEXT_TO_TEXT": {Capability.AUDIO_INPUT},
    "AUDIO_TO_TEXT": {Capability.AUDIO_INPUT},
    "RERANK": {Capability.RERANK},
    "TEXT_RERANK": {Capability.RERANK},
    "REWARD_SCORING": {Capability.REWARD},
}
"""OME's names of capabilities, as its catalogue uses them, and ours of which at least one must be there."""


def contradictions(declared: ModelDeclaration, read: ModelMetadata) -> tuple[str, ...]:
    """One line for each declared value that the weights deny; what was not read denies nothing."""
    return tuple(
        f"declares {field} {said}, the weights say {found}: the weights count"
        for field, said, found in _all(declared, read)
    )


def _all(declared: ModelDeclaration, read: ModelMetadata) -> Iterator[tuple[str, str, str]]:
    texts = (
        ("modelFormat", declared.model_format.name if declared.model_format else None, read.format),
        ("modelFramework", declared.model_framework.name if declared.model_framework else None, read.framework),
        (
            "modelFramework.version",
            declared.model_framework.version if declared.model_framework else None,
            read.framework_version,
        ),
        ("modelArchitecture", declared.model_architecture, read.architecture),
        ("modelType", declared.model_type, read.model_type),
    )
    for field, said, found in texts:
        if said and found and said.lower() != found.lower():
            yield field, said, found
    if declared.quantization and read.weights and read.architecture:
        found_quantization = read.quantization.ome_name or read.quantization.method if read.quantization else "none"
        if declared.quantization != found_quantization:
            yield "quantization", declared.quantization, found_quantization
    size = parameters(declared.model_parameter_size) if declared.model_parameter_size else None
    if size and read.parameters and abs(size - read.parameters.total) > SIZE_TOLERANCE * read.parameters.total:
        yield "modelParameterSize", str(declared.model_parameter_size), f"{read.parameters.total / 1e9:.2f}B"
    if declared.max_tokens and read.context_length and declared.max_tokens > read.context_length:
        yield "maxTokens", f"{declared.max_tokens:,}", f"{read.context_length:,}"
    if read.capabilities:
        for name in declared.model_capabilities:
            if name in CAPABILITIES and not CAPABILITIES[name] & set(read.capabilities):
                yield "modelCapabilities", name, ", ".join(sorted(read.capabilities))
