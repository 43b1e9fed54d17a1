"""How a replica is divided over GPUs, what is tuned about it, and which layers stand on which pipeline stage."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from ome_iac.models.metadata import ModelMetadata

DTYPE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


class _Choice(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)


class Split(_Choice):
    """One replica's GPUs: `tensor` x `pipeline` x `data` of them.

    Attention, norms and the KV cache are divided over `tensor` and repeated for each of the `data` ranks. Experts are
    divided over `tensor` x `data`: by their inner dimension, or as whole experts over `expert` GPUs (1: not so).
    """

    tensor: int = Field(1, gt=0)
    pipeline: int = Field(1, gt=0)
    data: int = Field(1, gt=0)
    expert: int = Field(1, gt=0)

    @property
    def gpus(self) -> int:
        """GPUs of the replica."""
        return self.tensor * self.pipeline * self.data

    @property
    def stage_gpus(self) -> int:
        """GPUs of one pipeline stage; over them experts are divided."""
        return self.tensor * self.data

    def __str__(self) -> str:
        parts = [f"TP {self.tensor}"]
        parts += [f"PP {self.pipeline}"] if self.pipeline > 1 else []
        parts += [f"DP {self.data}"] if self.data > 1 else []
        parts += [f"EP {self.expert}"] if self.expert > 1 else []
        return " x ".join(parts)


class Tuning(_Choice):
    """What may be told an engine beside the split; None: the engine's own default."""

    gpu_memory_utilization: float | None = Field(None, gt=0, le=1, description="SGLang: mem-fraction-static")
    kv_cache_dtype: str | None = Field(None, description="auto, or fp8 in one of its spellings")
    dtype: str | None = Field(None, description="auto, bfloat16, float16 or float32: what is computed in")
    quantization: str | None = Field(None, description="fp8: quantize plain weights while they are loaded")
    max_num_seqs: int | None = Field(None, gt=0, description="SGLang: max-running-requests")
    max_num_batched_tokens: int | None = Field(None, gt=0, description="SGLang: chunked-prefill-size")

    def compute_bytes(self, model: ModelMetadata) -> int:
        """Bytes of an activation or of a weight that is not quantized.

        Both engines' `auto` computes in 16 bits what was stored in 32.
        """
        if self.dtype in DTYPE_BYTES:
            return DTYPE_BYTES[self.dtype]
        return 2

    def kv_bytes(self, model: ModelMetadata) -> int:
        """Bytes of an element of the KV cache."""
        return 1 if (self.kv_cache_dtype or "").startswith("fp8") else self.compute_bytes(model)


DEFAULTS = Tuning()


def layer_count(model: ModelMetadata) -> int:
    """Decoder layers; 1 where nothing tells."""
    known = [index + 1 for group in model.attention for index in group.layer_indices[-1:]]
    by_layer = len(model.weights.by_layer) if model.weights else 0
    return model.layers or max(known, default=0) or by_layer or 1


def extra_before_last(layers: int, stages: int) -> tuple[range, ...]:
    """vLLM's division (`get_pp_indices`, 0.33.0): what does not divide goes to the stages before the last."""
    sizes = [layers // stages] * stages
    for stage in range(2, layers % stages + 2):
        sizes[-stage] += 1
    return _ranges(sizes)


def extra_last(layers: int, stages: int) -> tuple[range, ...]:
    """SGLang's division (`get_pp_indices`, 0.5.23): what does not divide goes to the last stages."""
    sizes = [layers // stages] * stages
    for stage in range(1, layers % stages + 1):
        sizes[-stage] += 1
    return _ranges(sizes)


def extra_first(layers: int, stages: int) -> tuple[range, ...]:
    """TensorRT-LLM's division (`Mapping.pp_layers`, by torch.tensor_split): what does not divide goes first."""
    return _ranges([layers // stages + (stage < layers % stages) for stage in range(stages)])


def _ranges(sizes: list[int]) -> tuple[range, ...]:
    ends = [sum(sizes[: index + 1]) for index in range(len(sizes))]
    return tuple(range(end - size, end) for end, size in zip(ends, sizes, strict=True))
