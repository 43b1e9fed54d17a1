"""What one replica of a service has to hold, from what the service asks for."""

from __future__ import annotations

from dataclasses import dataclass

from ome_iac.models.metadata import ModelMetadata
from ome_iac.planning.speed import Lengths, lengths_within
from ome_iac.runtimes.catalog import Task
from ome_iac.runtimes.splits import Tuning
from ome_iac.spec.services import Intent, milliseconds

SHORTEST_CONTEXT = 2048
"""Where no context is asked for, a plan that holds less than this is no plan."""
FP8_KV = "fp8_e4m3"
"""The one spelling of an FP8 KV cache that every engine takes."""


@dataclass(frozen=True, slots=True)
class Demand:
    """What a replica has to hold, how fast it has to be, and what was insisted on about how."""

    task: Task
    context_length: int
    insisted: bool
    concurrency: int
    objective: str
    scratch_bytes: int
    tuning: Tuning
    tensor: int | None
    lengths: Lengths
    first_token_ms: float | None
    per_token_ms: float | None
    pattern: str = "auto"

    def allows(self, nodes: int) -> bool:
        """Whether a replica on so many nodes is what the pattern asks for."""
        return nodes == 1 if self.pattern == "standard" else nodes > 1 or self.pattern != "multi-node"

    @property
    def timed(self) -> bool:
        """Whether the choice hangs on speed."""
        return self.objective == "fastest" or self.first_token_ms is not None or self.per_token_ms is not None


def demand_of(model: ModelMetadata, task: Task, intent: Intent, replicas: int, scratch_bytes: int) -> Demand:
    """The asked context, or the model's own; the asked concurrency, shared by the replicas."""
    context = intent.context_length or model.context_length or SHORTEST_CONTEXT
    return Demand(
        task=task,
        context_length=context,
        insisted=intent.context_length is not None,
        concurrency=-(-intent.concurrency // replicas),
        objective=intent.objective,
        scratch_bytes=scratch_bytes,
        tuning=Tuning(quantization=intent.quantization, kv_cache_dtype=FP8_KV if intent.kv_cache_dtype else None),
        tensor=intent.tensor_parallel,
        lengths=lengths_within(context, intent.input_tokens, intent.output_tokens),
        first_token_ms=_limit(intent.time_to_first_token),
        per_token_ms=_limit(intent.time_per_token),
        pattern=intent.pattern,
    )


def _limit(duration: str | None) -> float | None:
    return None if duration is None else milliseconds(duration)
