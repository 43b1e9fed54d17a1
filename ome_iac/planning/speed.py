"""How fast a replica is: what an estimator answered where it was asked, else a bound that nothing beats.

`roofline` (planning/roofline.py) gives the bound, `Question` is what an estimator is asked, word for word, and the key
under which its answer is kept in the stack's lock. A preview only looks answers up.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from ome_iac.models.metadata import ModelMetadata
from ome_iac.runtimes.splits import DEFAULTS, Split, Tuning

BOUND = "roofline bound"
"""The source of a figure that is no estimate: the hardware cannot be faster."""

DEFAULT_INPUT_TOKENS = 1024
DEFAULT_OUTPUT_TOKENS = 256
"""Of one request where a service does not say: a chat turn with some history before it, and a few paragraphs of answer.
An assumption, the same for every service, so that two plans can be compared."""


class _Fact(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)


class Lengths(_Fact):
    """Tokens of one request."""

    input_tokens: int = Field(gt=0)
    output_tokens: int = Field(gt=0)


def lengths_within(context_length: int, input_tokens: int | None = None, output_tokens: int | None = None) -> Lengths:
    """The asked lengths, or the default ones, cut to what a request of `context_length` tokens can hold."""
    answer = min(output_tokens or DEFAULT_OUTPUT_TOKENS, max(1, context_length // 2))
    prompt = min(input_tokens or DEFAULT_INPUT_TOKENS, max(1, context_length - answer))
    return Lengths(input_tokens=prompt, output_tokens=answer)


class Question(_Fact):
    """One replica under one load: all that its speed depends on."""

    model: str = Field(description="storageUri as declared")
    revision: str | None = None
    engine: str = Field(description="`vllm 0.33.0`")
    gpu: str
    nodes: int = Field(1, gt=0)
    split: Split
    tuning: Tuning = DEFAULTS
    lengths: Lengths
    concurrency: int = Field(gt=0, description="requests in flight in this replica")


class Speed(_Fact):
    """The speed of one replica with `concurrency` requests in flight.

    Times are in milliseconds, rates per second of the whole replica. A bound is no prediction: no replica is faster.
    """

    time_to_first_token_ms: float = Field(description="of a prompt that waits for nobody; encoders: of a sequence")
    time_per_output_token_ms: float | None = Field(description="None: the model gives no tokens")
    tokens_per_second: float | None = Field(description="output tokens of all requests; None: no tokens")
    requests_per_second: float
    lengths: Lengths
    concurrency: int
    source: str = Field(description='"roofline bound", or the estimator and its version')
    detail: tuple[str, ...] = Field(description="formulas of a bound, grounds of an estimate")

    @property
    def is_bound(self) -> bool:
        """Whether the figures only say what cannot be."""
        return self.source == BOUND


Estimates = Mapping[Question, Speed]
"""Recorded answers, as a lock has them."""

NO_ESTIMATES: Estimates = {}


def best_known(question: Question, bound: Speed | None, estimates: Estimates = NO_ESTIMATES) -> Speed | None:
    """The recorded answer to exactly this question, else the bound (None: nothing is known of the weights)."""
    return estimates.get(question, bound)


def shortfalls(
    speed: Speed | None, time_to_first_token_ms: float | None = None, time_per_token_ms: float | None = None
) -> tuple[str, ...]:
    """Why the speed is not what was asked; empty where it may be.

    A bound that is too slow proves a refusal; one that is fast enough proves nothing and refuses nothing.
    """
    if speed is None:
        return ()
    limits = (
        ("to the first token", speed.time_to_first_token_ms, time_to_first_token_ms),
        ("per token", speed.time_per_output_token_ms, time_per_token_ms),
    )
    said = "at best" if speed.is_bound else f"by {speed.source}"
    return tuple(
        f"{_figure(found)} ms {what} {said} ({speed.concurrency} requests of {speed.lengths.input_tokens:,} + "
        f"{speed.lengths.output_tokens:,} tokens), {asked:g} ms are asked"
        for what, found, asked in limits
        if found is not None and asked is not None and found > asked
    )


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def fastest_first(speed: Speed | None) -> tuple[bool, float, float, float]:
    """Sort key of the objective `fastest`.

    What was estimated comes before what is only bounded: a bound always looks faster than an estimate of the same. Then
    time per token, time to the first, and requests per second, more first.
    """
    if speed is None:
        return (True, float("inf"), float("inf"), 0.0)
    per_token = speed.time_per_output_token_ms or 0.0
    return (speed.is_bound, per_token, speed.time_to_first_token_ms, -speed.requests_per_second)


class PatternQuestion(_Fact):
    """Whether prefill and decode do better apart, for stated times, with a budget of GPUs."""

    model: str = Field(description="storageUri as declared")
    revision: str | None = None
    engine: str
    gpu: str
    gpus: int = Field(gt=0, description="the budget")
    lengths: Lengths
    time_to_first_token_ms: float = Field(gt=0)
    time_per_token_ms: float = Field(gt=0)


class Workers(_Fact):
    """Replicas of one role."""

    replicas: int = Field(gt=0)
    split: Split
    batch: int = Field(gt=0, description="requests in flight of each replica")


class Deployment(_Fact):
    """One way to spend the budget, and what it gives."""

    time_to_first_token_ms: float
    time_per_output_token_ms: float
    tokens_per_second_per_gpu: float = Field(description="output tokens, over all GPUs of the budget")
    units: int = Field(gt=0, description="how often the budget holds the workers named here")
    concurrency: int = Field(description="requests in flight of one replica, or of one unit of both roles")
    workers: Workers | None = Field(None, description="of the pattern standard")
    prefill: Workers | None = None
    decode: Workers | None = None


class PatternAnswer(_Fact):
    """Which of the two gives more tokens within the times; None: it cannot keep them."""

    pattern: Literal["standard", "prefill-decode"]
    standard: Deployment | None
    prefill_decode: Deployment | None
    source: str
    detail: tuple[str, ...] = ()


PatternEstimates = Mapping[PatternQuestion, PatternAnswer]
"""Recorded answers for `pattern: auto`."""

NO_PATTERNS: PatternEstimates = {}

UNHURRIED_FIRST_TOKEN_MS = 60_000.0
UNHURRIED_TOKEN_MS = 1_000.0
"""Limits for the time that a service does not state while it states the other."""


def pattern_question(
    model: ModelMetadata,
    engine: str,
    gpu: str,
    gpus: int,
    lengths: Lengths,
    time_to_first_token_ms: float | None,
    time_per_token_ms: float | None,
) -> PatternQuestion | None:
    """What is asked for `pattern: auto` with a budget of `gpus`; None where no time is stated: one role is simpler."""
    if time_to_first_token_ms is None and time_per_token_ms is None:
        return None
    return PatternQuestion(
        model=model.source,
        revision=model.revision,
        engine=engine,
        gpu=gpu,
        gpus=gpus,
        lengths=lengths,
        time_to_first_token_ms=time_to_first_token_ms or UNHURRIED_FIRST_TOKEN_MS,
        time_per_token_ms=time_per_token_ms or UNHURRIED_TOKEN_MS,
    )
