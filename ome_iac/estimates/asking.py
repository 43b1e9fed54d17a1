"""Ask aiconfigurator a batch of questions in one process, so that its start is paid once."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ome_iac.estimates import environment
from ome_iac.estimates.questions import not_askable, pattern_request, speed_request, split_of
from ome_iac.models.metadata import ModelMetadata
from ome_iac.planning.speed import Deployment, PatternAnswer, PatternQuestion, Question, Speed, Workers
from ome_iac.problems import Problem, ProblemsError

WORKER = Path(__file__).parent / "worker.py"


@dataclass(frozen=True)
class Asked:
    """A question and whose it is; `base` is the folder that a local:// model is relative to."""

    question: Question | PatternQuestion
    model: ModelMetadata
    base: Path


@dataclass(frozen=True)
class Answered:
    """What came back: an answer, or why there is none."""

    question: Question | PatternQuestion
    answer: Speed | PatternAnswer | None
    uncovered: str = ""


def ask(asked: Sequence[Asked]) -> list[Answered]:
    """The answers, in the order of the questions; raises ProblemsError where aiconfigurator is not there, or fails."""
    reasons = [not_askable(item.question) for item in asked]
    open_ = [item for item, reason in zip(asked, reasons, strict=True) if not reason]
    speeds = [item for item in open_ if isinstance(item.question, Question)]
    patterns = [item for item in open_ if isinstance(item.question, PatternQuestion)]
    found: dict[int, Answered] = {}
    if open_:
        batch = {"speeds": [_speed(item) for item in speeds], "patterns": [_pattern(item) for item in patterns]}
        reply = _run(batch)
        source = f"{environment.NAME} {reply['version']}"
        for item, said in zip([*speeds, *patterns], [*reply["speeds"], *reply["patterns"]], strict=True):
            found[id(item)] = _answered(item, said, source)
    return [
        Answered(item.question, None, reason) if reason else found[id(item)]
        for item, reason in zip(asked, reasons, strict=True)
    ]


def _speed(item: Asked) -> dict[str, Any]:
    assert isinstance(item.question, Question)
    return speed_request(item.question, item.model, item.base)


def _pattern(item: Asked) -> dict[str, Any]:
    assert isinstance(item.question, PatternQuestion)
    return pattern_request(item.question, item.model, item.base)


def _run(batch: dict[str, Any]) -> Any:
    done = subprocess.run(
        [str(environment.python()), "-I", str(WORKER)],
        input=json.dumps(batch),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = " ".join(done.stderr.split())[-400:]
        remedy = f"remove {environment.folder()} and run ome-iac estimate install"
        raise ProblemsError([Problem("", "", f"{environment.source()} failed: {said}", remedy)])
    return json.loads(done.stdout)


def _answered(item: Asked, said: dict[str, Any], source: str) -> Answered:
    answer = said.get("answer")
    if answer is None:
        return Answered(item.question, None, said["uncovered"])
    if isinstance(item.question, Question):
        return Answered(item.question, speed_of(item.question, answer, source))
    return Answered(item.question, pattern_of(item.question, answer, source))


def speed_of(question: Question, answer: dict[str, Any], source: str) -> Speed:
    """The worker's answer as a `Speed`."""
    return Speed(
        time_to_first_token_ms=_four(answer["ttft"]),
        time_per_output_token_ms=_four(answer["tpot"]),
        tokens_per_second=_four(answer["tokensPerSecond"]),
        requests_per_second=_four(answer["requestsPerSecond"]),
        lengths=question.lengths,
        concurrency=question.concurrency,
        source=source,
        detail=tuple(answer["detail"]),
    )


def pattern_of(question: PatternQuestion, answer: dict[str, Any], source: str) -> PatternAnswer:
    """The worker's answer as a `PatternAnswer`."""
    return PatternAnswer(
        pattern="prefill-decode" if answer["chosen"] == "disagg" else "standard",
        standard=_deployment(answer["agg"], question.gpus),
        prefill_decode=_deployment(answer["disagg"], question.gpus),
        source=source,
        detail=tuple(answer["detail"]),
    )


def _deployment(found: dict[str, Any] | None, budget: int) -> Deployment | None:
    if found is None:
        return None
    roles = {role: _workers(found[role]) for role in ("workers", "prefill", "decode") if role in found}
    return Deployment(
        time_to_first_token_ms=_four(found["ttft"]),
        time_per_output_token_ms=_four(found["tpot"]),
        tokens_per_second_per_gpu=_four(found["tokensPerSecondPerGpu"]),
        units=max(1, budget // sum(workers.replicas * workers.split.gpus for workers in roles.values())),
        concurrency=found["concurrency"],
        **roles,
    )


def _workers(found: dict[str, int]) -> Workers:
    return Workers(replicas=found["workers"], split=split_of(found), batch=found["bs"])


def _four(value: float) -> float:
    """Four figures are more than it knows, and the same in every lock."""
    return float(f"{value:.4g}")
