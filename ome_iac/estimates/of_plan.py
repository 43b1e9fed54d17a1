"""What to ask about a plan: each service's chosen way, its neighbours, and `pattern: auto` for the stated times."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from ome_iac.estimates.asking import Asked
from ome_iac.planning.plan import Plan, RolePlan, ServicePlan
from ome_iac.planning.speed import Question, pattern_question
from ome_iac.runtimes.catalog import Task
from ome_iac.runtimes.splits import Split
from ome_iac.spec.services import milliseconds


def questions_of(plan: Plan, service: ServicePlan, folders: Mapping[str, Path], neighbours: int) -> list[Asked]:
    """The chosen way, as asked and full; up to `neighbours` of the others that fit, in the plan's order; the pattern.

    `folders` are those of the documents, by the model's name. Empty for a service that gives no tokens.
    """
    if service.task != Task.GENERATE or service.speed is None:
        return []
    model, base = plan.model(service.model).metadata, folders[service.model]
    asked = [Asked(question, model, base) for question in _ways(plan, service, neighbours)]
    intent, role = service.intent, service.engine
    if intent.pattern == "auto":
        pool = plan.pool(role.pool)
        question = pattern_question(
            model,
            role.runtime,
            role.gpu,
            pool.nodes * pool.gpus_per_node,
            service.speed.lengths,
            milliseconds(intent.time_to_first_token) if intent.time_to_first_token else None,
            milliseconds(intent.time_per_token) if intent.time_per_token else None,
        )
        asked += [Asked(question, model, base)] if question else []
    return asked


def _ways(plan: Plan, service: ServicePlan, neighbours: int) -> Iterator[Question]:
    if len(service.roles) > 1:  # prefill and decode apart are no replica that holds requests from start to end
        return
    role = service.engine
    chosen = _question(plan, service, role, role.runtime, role.gpu, role.split, role.nodes)
    yield chosen
    full = service.price.full_concurrency
    if full and full != chosen.concurrency:
        yield chosen.model_copy(update={"concurrency": full})
    others = [(other, other.split) for other in service.rejected if other.fits and other.split]
    for other, split in others[:neighbours]:
        pool = plan.pool(other.pool)
        nodes = -(-split.gpus // pool.gpus_per_node)
        yield _question(plan, service, role, other.runtime, pool.gpu, split, nodes)


def _question(
    plan: Plan, service: ServicePlan, role: RolePlan, runtime: str, gpu: str, split: Split, nodes: int
) -> Question:
    assert service.speed is not None
    model = plan.model(service.model).metadata
    return Question(
        model=model.source,
        revision=model.revision,
        engine=runtime,
        gpu=gpu,
        nodes=nodes,
        split=split,
        tuning=role.tuning,
        lengths=service.speed.lengths,
        concurrency=service.speed.concurrency,
    )
