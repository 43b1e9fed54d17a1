"""Answers in a stack's lock: written by `ome-iac estimate`, looked up by every preview."""

from __future__ import annotations

from collections.abc import Iterable
from types import MappingProxyType
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from ome_iac.models.lock import Lock, RecordedEstimate
from ome_iac.planning.speed import Estimates, PatternAnswer, PatternEstimates, PatternQuestion, Question, Speed
from ome_iac.problems import Problem, ProblemsError

Asked = TypeVar("Asked", bound=BaseModel)
Given = TypeVar("Given", bound=BaseModel)


def recorded_speeds(lock: Lock) -> Estimates:
    """Every recorded speed by its question; raises ProblemsError for what another version of ome-iac recorded."""
    return MappingProxyType(_read(lock, "speed", Question, Speed))


def recorded_patterns(lock: Lock) -> PatternEstimates:
    """Every recorded answer to `pattern: auto` by its question; raises as `recorded_speeds` does."""
    return MappingProxyType(_read(lock, "pattern", PatternQuestion, PatternAnswer))


def with_answers(lock: Lock, answers: Iterable[tuple[Question | PatternQuestion, Speed | PatternAnswer]]) -> Lock:
    """A lock that has exactly these answers, and no others."""
    entries = [
        RecordedEstimate(
            kind="speed" if isinstance(question, Question) else "pattern",
            question=question.model_dump(mode="json", by_alias=True, exclude_none=True),
            answer=answer.model_dump(mode="json", by_alias=True, exclude_none=True),
        )
        for question, answer in answers
    ]
    return lock.with_estimates(entries)


def _read(lock: Lock, kind: str, question: type[Asked], answer: type[Given]) -> dict[Asked, Given]:
    try:
        return {
            question.model_validate(entry.question): answer.model_validate(entry.answer)
            for entry in lock.estimates.values()
            if entry.kind == kind
        }
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        what = f"{place}: {first['msg']}; it was recorded by another version of ome-iac"
        raise ProblemsError([Problem(str(lock.path), "estimates", what, "run ome-iac estimate")]) from None
