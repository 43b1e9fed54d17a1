"""The roofline bound, the choice between it and recorded answers, and what a bound may refuse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ome_iac.hardware import gpus
from ome_iac.models.metadata import Experts, ModelMetadata, Parameters, Role, Weights
from ome_iac.planning.roofline import precision, roofline
from ome_iac.planning.speed import (
    BOUND,
    DEFAULT_INPUT_TOKENS,
    DEFAULT_OUTPUT_TOKENS,
    Lengths,
    Question,
    Speed,
    best_known,
    fastest_first,
    lengths_within,
    pattern_question,
    shortfalls,
)
from ome_iac.runtimes.catalog import Task
from ome_iac.runtimes.splits import Split, Tuning
from tests.unit.facts import decoder, encoder, llama_70b

RECORDED = Path(__file__).parents[1] / "data" / "estimates"
H100 = gpus()["H100-80GB"]
CHAT = Lengths(input_tokens=1024, output_tokens=256)


def recorded(name: str) -> list[dict[str, Any]]:
    loaded: list[dict[str, Any]] = json.loads((RECORDED / f"{name}.json").read_text())
    return loaded


MODELS = {model.source: model for model in map(ModelMetadata.model_validate, recorded("models"))}
ANSWERED = [entry for entry in recorded("speeds") if "answer" in entry]


def bound(model: ModelMetadata, split: Split, concurrency: int = 1, lengths: Lengths = CHAT, **more: Any) -> Speed:
    found = roofline(model, more.pop("gpu", H100), split, lengths, concurrency, more.pop("tuning", Tuning()), **more)
    assert found is not None
    return found


def mixture(routed: int = 64, active: int = 4) -> ModelMetadata:
    """16 GB of experts beside 2 GB of the rest."""
    weights = Weights(
        bytes=18_000_000_000,
        by_dtype={"BF16": 18_000_000_000},
        by_role={Role.EXPERT: 16_000_000_000, Role.ATTENTION: 2_000_000_000},
    )
    parameters = Parameters(total=9_000_000_000, active=1_000_000_000 + 8_000_000_000 * active // routed)
    experts = Experts(routed=routed, active=active, layers="0-31")
    return decoder().model_copy(update={"weights": weights, "parameters": parameters, "experts": experts})


@pytest.mark.parametrize("entry", ANSWERED, ids=lambda entry: entry["question"]["model"].rpartition("/")[2])
def test_the_bound_is_never_slower_than_what_was_measured(entry: dict[str, Any]) -> None:
    question, answer = Question.model_validate(entry["question"]), Speed.model_validate(entry["answer"])
    found = bound(
        MODELS[question.model],
        question.split,
        question.concurrency,
        question.lengths,
        gpu=gpus()[question.gpu],
        tuning=question.tuning,
        nodes=question.nodes,
    )
    assert found.time_per_output_token_ms is not None
    assert answer.time_per_output_token_ms is not None
    assert found.tokens_per_second is not None
    assert answer.tokens_per_second is not None
    assert found.time_per_output_token_ms <= answer.time_per_output_token_ms * 1.005
    assert found.time_to_first_token_ms <= answer.time_to_first_token_ms * 1.005
    assert found.tokens_per_second >= answer.tokens_per_second * 0.995


def test_a_dense_decode_step_reads_the_weights_once() -> None:
    model = decoder()
    assert model.weights
    found = bound(model, Split(), lengths=Lengths(input_tokens=1, output_tokens=1))
    weights_ms = model.weights.bytes / 3.35e12 * 1000
    assert found.time_per_output_token_ms == pytest.approx(weights_ms, rel=0.001)


def test_a_prompt_costs_two_operations_a_parameter_and_its_attention() -> None:
    model = decoder()
    assert model.parameters
    found = bound(model, Split(), lengths=Lengths(input_tokens=4096, output_tokens=1))
    linear = 2 * model.parameters.active * 4096
    scores = 2 * 32 * 32 * (128 + 128) * 4096 * 4096 / 2
    assert found.time_to_first_token_ms == pytest.approx((linear + scores) / 989e12 * 1000, rel=0.001)


def test_attention_makes_long_prompts_cost_more_than_their_length() -> None:
    short = bound(decoder(), Split(), lengths=Lengths(input_tokens=8192, output_tokens=1))
    long = bound(decoder(), Split(), lengths=Lengths(input_tokens=65536, output_tokens=1))
    assert long.time_to_first_token_ms > 8 * 1.3 * short.time_to_first_token_ms


def test_few_requests_read_few_experts_and_many_read_all() -> None:
    model = mixture()
    one, many = bound(model, Split()), bound(model, Split(), 256)
    assert one.time_per_output_token_ms is not None
    assert many.time_per_output_token_ms is not None
    active = (2e9 + 16e9 * 4 / 64) / 3.35e12 * 1000
    assert one.time_per_output_token_ms == pytest.approx(active, rel=0.06)  # the KV cache comes on top
    assert many.time_per_output_token_ms > 18e9 / 3.35e12 * 1000


def test_pipeline_stages_do_not_shorten_a_token_but_carry_more_requests() -> None:
    flat, staged = bound(llama_70b(), Split(tensor=4), 64), bound(llama_70b(), Split(tensor=4, pipeline=2), 64)
    assert staged.time_per_output_token_ms is not None
    assert flat.time_per_output_token_ms is not None
    assert staged.time_per_output_token_ms > 0.8 * flat.time_per_output_token_ms
    assert staged.tokens_per_second is not None
    assert flat.tokens_per_second is not None
    assert staged.tokens_per_second > flat.tokens_per_second


def test_data_parallel_ranks_each_read_the_dense_part() -> None:
    tensor, data = bound(mixture(), Split(tensor=4), 8), bound(mixture(), Split(data=4), 8)
    assert tensor.time_per_output_token_ms is not None
    assert data.time_per_output_token_ms is not None
    assert data.time_per_output_token_ms > tensor.time_per_output_token_ms


def test_tensor_parallel_across_nodes_is_bound_by_the_network() -> None:
    across: dict[str, Any] = {"nodes": 2, "network_gbps": 0.5}
    near, far = bound(llama_70b(), Split(tensor=8), 64), bound(llama_70b(), Split(tensor=8), 64, **across)
    assert far.time_per_output_token_ms is not None
    assert near.time_per_output_token_ms is not None
    assert far.time_per_output_token_ms > 2 * near.time_per_output_token_ms
    assert "network decides" in far.detail[0]


def test_fp8_weights_and_cache_halve_what_is_read() -> None:
    plain, quantized = bound(decoder(), Split()), bound(decoder(), Split(), tuning=Tuning(quantization="fp8"))
    assert plain.time_per_output_token_ms is not None
    assert quantized.time_per_output_token_ms is not None
    assert quantized.time_per_output_token_ms == pytest.approx(plain.time_per_output_token_ms / 2, rel=0.05)
    assert precision(decoder(), H100, Tuning(quantization="fp8")) == "fp8"
    assert precision(decoder(), gpus()["A100-80GB"], Tuning(quantization="fp8")) == "bf16"


def test_an_encoder_gives_sequences_and_no_tokens() -> None:
    found = bound(encoder(), Split(), 8, Lengths(input_tokens=256, output_tokens=1), task=Task.EMBED)
    assert found.time_per_output_token_ms is None
    assert found.tokens_per_second is None
    assert found.requests_per_second > 1000


def test_unknown_weights_have_no_bound() -> None:
    assert roofline(decoder().model_copy(update={"weights": None}), H100, Split(), CHAT, 1) is None


def test_a_bound_says_that_it_is_one() -> None:
    found = bound(decoder(), Split())
    assert found.source == BOUND
    assert found.is_bound
    assert any("no replica is faster" in line for line in found.detail)


tensors = st.sampled_from([1, 2, 4, 8])
batches = st.integers(1, 512)


@given(batches, batches, tensors)
def test_more_requests_never_make_a_token_faster_nor_the_replica_slower(one: int, other: int, tensor: int) -> None:
    few, many = sorted((one, other))
    less, more = bound(mixture(), Split(tensor=tensor), few), bound(mixture(), Split(tensor=tensor), many)
    assert less.time_per_output_token_ms is not None
    assert more.time_per_output_token_ms is not None
    assert less.time_per_output_token_ms <= more.time_per_output_token_ms
    assert less.requests_per_second <= more.requests_per_second * 1.001


@given(batches, tensors, st.integers(1, 30_000), st.integers(1, 2_000))
def test_more_gpus_or_bandwidth_are_never_slower(batch: int, tensor: int, prompt: int, answer: int) -> None:
    lengths = Lengths(input_tokens=prompt, output_tokens=answer)
    here = bound(decoder(), Split(tensor=tensor), batch, lengths)
    wider = bound(decoder(), Split(tensor=2 * tensor), batch, lengths)
    newer = bound(decoder(), Split(tensor=tensor), batch, lengths, gpu=gpus()["H200"])
    assert here.time_per_output_token_ms is not None
    for other in (wider, newer):
        assert other.time_per_output_token_ms is not None
        assert other.time_to_first_token_ms <= here.time_to_first_token_ms
        assert other.time_per_output_token_ms <= here.time_per_output_token_ms * 1.001


@given(st.integers(1, 200_000))
def test_default_lengths_fit_the_context(context: int) -> None:
    lengths = lengths_within(context)
    assert lengths.input_tokens <= DEFAULT_INPUT_TOKENS
    assert lengths.output_tokens <= DEFAULT_OUTPUT_TOKENS
    assert context == 1 or lengths.input_tokens + lengths.output_tokens <= context


def test_a_recorded_answer_is_taken_for_exactly_its_question() -> None:
    entry = ANSWERED[0]
    question, answer = Question.model_validate(entry["question"]), Speed.model_validate(entry["answer"])
    other = question.model_copy(update={"concurrency": question.concurrency + 1})
    guess = bound(decoder(), Split())
    assert best_known(question, guess, {question: answer}) == answer
    assert best_known(other, guess, {question: answer}) == guess
    assert not answer.is_bound


def test_a_bound_refuses_only_what_cannot_be() -> None:
    found = bound(llama_70b(), Split(tensor=4))
    assert shortfalls(found, time_per_token_ms=1000) == ()
    (reason,) = shortfalls(found, time_per_token_ms=1)
    assert "at best" in reason
    assert "1 ms are asked" in reason
    assert len(shortfalls(found, 0.1, 0.1)) == 2
    assert shortfalls(None, 1, 1) == ()


def test_what_was_estimated_comes_before_what_is_only_bounded() -> None:
    estimate = Speed.model_validate(ANSWERED[0]["answer"])
    assert sorted([bound(decoder(), Split()), estimate, None], key=fastest_first)[0] is estimate


def test_without_a_stated_time_there_is_no_question_of_pattern() -> None:
    asked = (decoder(), "vllm 0.33.0", "H100-80GB", 16, CHAT)
    assert pattern_question(*asked, None, None) is None
    question = pattern_question(*asked, None, 20.0)
    assert question
    assert question.time_per_token_ms == 20
