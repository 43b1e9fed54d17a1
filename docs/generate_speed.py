"""Write docs/reference/speed.md from recorded answers; with --check, fail where the file is out of date."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # docs is no package that is installed

from docs.page import write_or_check
from ome_iac.cli.estimate import deployment_text
from ome_iac.hardware import gpus
from ome_iac.models.metadata import ModelMetadata
from ome_iac.planning.roofline import roofline
from ome_iac.planning.speed import PatternAnswer, PatternQuestion, Question, Speed

PAGE = Path(__file__).parent / "reference" / "speed.md"
RECORDED = Path(__file__).parents[1] / "tests" / "data" / "estimates"

INTRODUCTION = """\
# Speed: our bound beside aiconfigurator's answer

Generated from `tests/data/estimates/` by `docs/generate_speed.py`; do not edit. The answers are those of NVIDIA's
{source}, asked on a machine without a GPU: it adds up kernels that were measured elsewhere, it does not run
the model. `ome-iac estimate install` and `ome-iac estimate -s STACK` ask it about a stack and keep what it says in the
stack's ome.lock; a plan only looks there. What it does not cover has a bound instead, and says so.

The bound is ours (`ome_iac/planning/roofline.py`): bytes, operations and traffic at the hardware's published peak, all
at once. A ratio of 2 says that the estimate is twice as slow as the hardware allows; one below 1 would prove one of the
two wrong, and a test fails on it.

Every cell is bound / estimate (ratio). Times are in milliseconds, rates in output tokens per second of the replica.
Weights are those of the published config; prefill is of one prompt in the bound, and with its wait for the batch in the
estimate, so the first token's ratio grows with concurrency."""

HEAD = ("Model", "Engine", "GPU", "Split", "In / out", "Requests", "Time per token", "First token", "Tokens/s")


def render() -> str:
    """The page, Markdown."""
    models = {model.source: model for model in map(ModelMetadata.model_validate, _read("models"))}
    entries = _read("speeds")
    answered = [
        (Question.model_validate(e["question"]), Speed.model_validate(e["answer"])) for e in entries if "answer" in e
    ]
    refused = [(Question.model_validate(e["question"]), e["uncovered"]) for e in entries if "uncovered" in e]
    pairs = [(question, _bound(question, models[question.model]), answer) for question, answer in answered]
    ratios = [_ratio(bound.time_per_output_token_ms, answer.time_per_output_token_ms) for _, bound, answer in pairs]
    summary = (
        f"{len(pairs)} answers: time per token {min(ratios):.2f} to {max(ratios):.2f} times the bound, "
        f"median {median(ratios):.2f}."
    )
    parts = [
        INTRODUCTION.format(source=answered[0][1].source),
        summary,
        "\n".join(_table([_row(*pair) for pair in pairs])),
        "## Not covered\n\n" + "\n".join(f"- {_way(question)}: {why}" for question, why in refused),
        "\n".join(_patterns()),
    ]
    return "\n\n".join(parts) + "\n"


def _read(name: str) -> list[dict[str, Any]]:
    loaded: list[dict[str, Any]] = json.loads((RECORDED / f"{name}.json").read_text(encoding="utf-8"))
    return loaded


def _bound(question: Question, model: ModelMetadata) -> Speed:
    found = roofline(
        model,
        gpus()[question.gpu],
        question.split,
        question.lengths,
        question.concurrency,
        question.tuning,
        nodes=question.nodes,
    )
    assert found is not None
    return found


def _row(question: Question, bound: Speed, answer: Speed) -> list[str]:
    tuned = question.tuning.quantization or question.tuning.kv_cache_dtype
    note = f" ({'weights' if question.tuning.quantization else 'KV cache'} {tuned})" if tuned else ""
    return [
        question.model.rpartition("/")[2] + note,
        question.engine.split()[0],
        question.gpu,
        str(question.split),
        f"{question.lengths.input_tokens:,} / {question.lengths.output_tokens:,}",
        str(question.concurrency),
        _cell(bound.time_per_output_token_ms, answer.time_per_output_token_ms),
        _cell(bound.time_to_first_token_ms, answer.time_to_first_token_ms),
        _cell(bound.tokens_per_second, answer.tokens_per_second, rate=True),
    ]


def _cell(bound: float | None, answer: float | None, rate: bool = False) -> str:
    assert bound
    assert answer
    if rate:
        return f"{bound:,.0f} / {answer:,.0f} ({bound / answer:.2f})"
    return f"{_ms(bound)} / {_ms(answer)} ({_ratio(bound, answer):.2f})"


def _ms(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _ratio(bound: float | None, answer: float | None) -> float:
    assert bound
    assert answer
    return answer / bound


def _way(question: Question) -> str:
    model = question.model.rpartition("/")[2]
    return f"{model}, {question.engine.split()[0]} on {question.gpu}, {question.split}"


def _patterns() -> Iterator[str]:
    yield "## `pattern: auto`"
    yield ""
    yield "Which of the two gives more tokens a GPU within stated times, searched over a budget of GPUs."
    for entry in _read("patterns"):
        question = PatternQuestion.model_validate(entry["question"])
        yield ""
        yield (
            f"- **{question.model.rpartition('/')[2]}**, {question.engine.split()[0]}, "
            f"{question.gpus} x {question.gpu}, "
            f"{question.lengths.input_tokens:,} / {question.lengths.output_tokens:,} tokens, first token within "
            f"{question.time_to_first_token_ms:g} ms, then {question.time_per_token_ms:g} ms a token: "
            + (f"**{entry['answer']['pattern']}**" if "answer" in entry else f"no answer ({entry['uncovered']})")
        )
        if "answer" in entry:
            answer = PatternAnswer.model_validate(entry["answer"])
            yield f"    - standard: {deployment_text(answer.standard)}"
            yield f"    - prefill-decode: {deployment_text(answer.prefill_decode)}"


def _table(rows: list[list[str]]) -> Iterator[str]:
    yield "| " + " | ".join(HEAD) + " |"
    yield "|" + "---|" * len(HEAD)
    for row in rows:
        yield "| " + " | ".join(row) + " |"


def main() -> int:
    """Write or check the page; 1 where the check fails."""
    return write_or_check(PAGE, render(), "generate_speed.py")


if __name__ == "__main__":
    sys.exit(main())
