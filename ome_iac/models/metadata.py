"""`ModelMetadata`: what the planner knows of a model, each fact with where it was read."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

Indices = Annotated[str, StringConstraints(pattern=r"^\d+(-\d+)?(,\d+(-\d+)?)*$")]
"""Layer numbers as ranges, ascending: `0-2,4,6-60`."""


class Facts(BaseModel):
    """Frozen, camelCase in JSON, and strict about names: a misspelt key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)


class Capability(StrEnum):
    """What a model is for."""

    CHAT = "chat"
    COMPLETION = "completion"
    EMBEDDING = "embedding"
    RERANK = "rerank"
    REWARD = "reward"
    CLASSIFICATION = "classification"
    VISION = "vision"
    VIDEO = "video"
    AUDIO_INPUT = "audio-input"
    AUDIO_OUTPUT = "audio-output"
    IMAGE_OUTPUT = "image-output"
    DRAFT = "draft"
    ADAPTER = "adapter"
    TOOLS = "tools"
    REASONING = "reasoning"


class Role(StrEnum):
    """What a tensor does; `weights.byRole` sums bytes by it."""

    EMBEDDING = "embedding"
    ATTENTION = "attention"
    MLP = "mlp"
    EXPERT = "expert"
    SHARED_EXPERT = "shared-expert"
    ROUTER = "router"
    NORM = "norm"
    HEAD = "head"
    VISION = "vision"
    AUDIO = "audio"
    PROJECTOR = "projector"
    MULTI_TOKEN_PREDICTION = "multi-token-prediction"
    STATE = "state"  # Mamba, linear attention
    ADAPTER = "adapter"
    OTHER = "other"


class Source(StrEnum):
    """Where a fact comes from, best first."""

    HEADER = "header"  # the weights' own headers
    CONFIG = "config"  # config.json and the files beside it
    CARD = "card"  # the model card
    DECLARED = "declared"  # a user's document
    DERIVED = "derived"  # computed from the config by the family's tensor shapes
    FAMILY = "family"  # the family's published default for a missing key


class Evidence(Facts):
    """Why a fact is believed: `file` is relative to the model's folder."""

    source: Source
    file: str = ""
    detail: str = ""


class Parameters(Facts):
    """Counts of weights; a packed weight counts as the number of values it holds, scales and zeros as none."""

    total: int = Field(ge=0)
    active: int = Field(ge=0, description="parameters that one token passes through (MoE: routed experts only)")
    multi_token_prediction: int = Field(
        default=0, ge=0, description="parameters of the layers that predict further tokens; in neither of the others"
    )


class Weights(Facts):
    """Bytes as stored, scales and zero points included; tied embeddings once."""

    bytes: int = Field(ge=0)
    by_dtype: dict[str, int] = Field(description="safetensors dtype (BF16, F8_E4M3, U8 ...) to bytes")
    by_role: dict[Role, int]
    by_layer: tuple[int, ...] = Field(
        default=(), description="bytes of each decoder layer in order; what is in no layer is in byRole only"
    )


class Quantization(Facts):
    """How the stored weights are packed; None in `ModelMetadata` for plain floating point."""

    method: str = Field(description="fp8, awq, gptq, mxfp4, nvfp4, bitsandbytes, compressed-tensors, hqq, gguf ...")
    bits: int = Field(gt=0)
    group_size: int | None = Field(default=None, description="weights that share one scale, along the input")
    block_shape: tuple[int, int] | None = Field(default=None, description="rows, columns that share one scale")
    activations: str | None = Field(default=None, description="dtype activations are quantized to, if they are")
    ome_name: str | None = Field(default=None, description="how OME's documents name it: fp8, fbgemm_fp8, int4")


class Attention(Facts):
    """The layers that share one attention geometry.

    KV bytes per token and layer: `2 * kvHeads * headDim * dtype` (`kvHeads * (headDim + valueHeadDim)` where they
    differ), for `mla` `(latentDim + ropeHeadDim) * dtype`; none for `linear` and `mamba`, which keep `stateBytes`
    per sequence.
    """

    kind: Literal["full", "sliding", "chunked", "mla", "linear", "mamba", "cross", "encoder"]
    layers: Indices
    heads: int = Field(ge=0)
    kv_heads: int = Field(ge=0)
    head_dim: int = Field(ge=0)
    value_head_dim: int | None = None
    window: int | None = Field(default=None, description="tokens, for sliding and chunked")
    latent_dim: int | None = Field(default=None, description="kv_lora_rank, for mla")
    rope_head_dim: int | None = Field(default=None, description="qk_rope_head_dim, for mla")
    state_bytes: int | None = Field(default=None, description="bytes per sequence and layer, for linear and mamba")

    @property
    def layer_indices(self) -> tuple[int, ...]:
        """The layer numbers, ascending."""
        found: list[int] = []
        for part in self.layers.split(","):
            first, _, last = part.partition("-")
            found.extend(range(int(first), int(last or first) + 1))
        return tuple(found)


class Experts(Facts):
    """Mixture of experts; counts are per MoE layer."""

    routed: int = Field(gt=0)
    active: int = Field(gt=0, description="routed experts a token passes through")
    shared: int = Field(default=0, ge=0)
    layers: Indices


class ModelFile(Facts):
    """A file of the model's folder as its source lists it."""

    path: str
    size: int = Field(ge=0)
    sha256: str | None = Field(default=None, description="hex; None where the source does not say")


class ModelMetadata(Facts):
    """Everything read of one model. `None` and empty mean unknown, never a guess; `missing` says what to fetch."""

    source: str = Field(description="the URI as declared, in OME's grammar")
    revision: str | None = Field(default=None, description="commit of the Hub; etag digest elsewhere")
    architecture: str | None = Field(default=None, description="architectures[0], such as LlamaForCausalLM")
    model_type: str | None = Field(default=None, description="config.json's model_type")
    format: str | None = Field(default=None, description="safetensors, gguf, pickle")
    framework: str | None = Field(default=None, description="transformers, diffusers, as OME's documents name it")
    framework_version: str | None = None
    parameters: Parameters | None = None
    weights: Weights | None = None
    quantization: Quantization | None = None
    context_length: int | None = Field(default=None, description="tokens usable, rope scaling included")
    layers: int | None = None
    hidden_size: int | None = None
    intermediate_size: int | None = None
    vocabulary_size: int | None = None
    attention: tuple[Attention, ...] = ()
    experts: Experts | None = None
    dtype: str | None = Field(default=None, description="dtype of computation: bfloat16, float16, float32")
    tied_embeddings: bool = False
    capabilities: tuple[Capability, ...] = ()
    licence: str | None = None
    gated: bool | None = None
    warnings: tuple[str, ...] = Field(default=(), description="said to the user: pickle files, remote code needed")
    missing: tuple[str, ...] = Field(default=(), description="what could not be read, and what would tell it")
    files: tuple[ModelFile, ...] = ()
    provenance: dict[str, Evidence] = Field(
        default_factory=dict, description="field (parameters, contextLength, capabilities.chat ...) to its evidence"
    )
