"""Where a runtime runs: a declared one at the split of its command, an engine of ours at whatever split is cheapest."""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping, Sequence

from ome_iac.hardware import GIB, Shape, find_gpu, shapes
from ome_iac.models.metadata import ModelMetadata
from ome_iac.planning.default_profile.answers import Fit
from ome_iac.planning.fit import derived_bytes
from ome_iac.planning.plan import Plan
from ome_iac.planning.planner import plan_stack
from ome_iac.problems import Problem, ProblemsError
from ome_iac.runtimes.catalog import Task
from ome_iac.runtimes.engines.custom import Custom
from ome_iac.runtimes.memory import longest_context, tightest
from ome_iac.spec.components import AcceleratorSelector
from ome_iac.spec.infrastructure import NodePool
from ome_iac.spec.models import ClusterBaseModel
from ome_iac.spec.services import InferenceService, Intent
from ome_iac.spec.stack import Stack

NODES = 8
"""Of each shape: where RDMA joins them, a replica may stand on several."""
UNKNOWN_CONTEXT = 2048
"""Tokens of a request where neither the model nor the service says."""
URI = "hf://select/model"
NO_SHAPE = "no OCI shape has the accelerator that the service asks for"
INSISTS = ("vllm",)
"""Engines that do not start where one request of the whole context does not fit; others take shorter ones."""


def prove_declared(
    roles: Mapping[str, Custom], model: ModelMetadata, task: Task | None, intent: Intent, allowed: Collection[str]
) -> Fit:
    """The cheapest of the allowed shapes that holds every role; costs are those of one replica of each."""
    if not allowed:
        return Fit(reasons=(NO_SHAPE,))
    fits = [_prove_role(role, model, task, intent, allowed) for _, role in sorted(roles.items())]
    reasons = tuple(dict.fromkeys(reason for fit in fits for reason in fit.reasons))
    if reasons:
        return Fit(reasons=reasons)
    unknown = "; ".join(dict.fromkeys(fit.unknown for fit in fits if fit.unknown))
    if unknown:
        return Fit(gpus=sum(fit.gpus for fit in fits), unknown=unknown)
    return Fit(
        shape=" and ".join(dict.fromkeys(fit.shape for fit in fits)),
        split=" and ".join(dict.fromkeys(fit.split for fit in fits)),
        gpus=sum(fit.gpus for fit in fits),
        context_length=min(fit.context_length for fit in fits),
        whole_context=all(fit.whole_context for fit in fits),
        concurrency=min((fit.concurrency for fit in fits if fit.concurrency is not None), default=None),
        cost_per_hour=sum(fit.cost_per_hour for fit in fits),
        derived=derived_bytes(model),
    )


def _prove_role(role: Custom, model: ModelMetadata, task: Task | None, intent: Intent, allowed: Collection[str]) -> Fit:
    gpus = role.gpus_per_pod * role.pods
    places = sorted((shapes()[name] for name in allowed), key=lambda shape: (shape.price.per_gpu_hour, shape.name))
    against = {shape.name: (*role.shape_refusals(shape), *role.gpu_refusals(model, shape.gpu)) for shape in places}
    suitable = [shape for shape in places if not against[shape.name]]
    if not suitable:
        near = min(places, key=lambda shape: (len(against[shape.name]), -shape.gpus * shape.gpu.memory_bytes))
        text = f"runs on none of {len(places)} shapes; nearest is {near.name}: {'; '.join(against[near.name])}"
        return Fit(reasons=(text,))
    if role.unknown:
        return Fit(gpus=gpus, unknown=role.unknown)
    if model.weights is None or task is None:
        missing = "; ".join(model.missing) or "nothing tells how large the weights are"
        return Fit(gpus=gpus, unknown=missing if model.weights is None else "what the model is for is not known")
    illegal = role.illegal_splits(model, role.split)
    if illegal:
        return Fit(reasons=tuple(f"{role.split}: {reason}" for reason in illegal))
    found = [_on(role, model, task, intent, shape) for shape in suitable]
    fitting = [fit for _, fit in found if not fit.reasons]
    if fitting:
        return min(fitting, key=lambda fit: (not fit.whole_context, fit.cost_per_hour, fit.shape))
    nearest = max(range(len(found)), key=lambda index: found[index][0])
    reasons = "; ".join(found[nearest][1].reasons)
    return Fit(reasons=(f"fits none of {len(suitable)} shapes; nearest is {suitable[nearest].name}: {reasons}",))


def _on(role: Custom, model: ModelMetadata, task: Task, intent: Intent, shape: Shape) -> tuple[int, Fit]:
    """Bytes left for the KV cache, and what that makes of it."""
    stated = role.settings.context_length if role.settings else None
    most = stated or model.context_length or UNKNOWN_CONTEXT
    stages = role.stages(model, task, shape.gpu, role.split)
    ledger = tightest(stages, most)
    room = ledger.kv_cache
    if room < 0:
        return room, _no(f"weights and overhead exceed the budget by {-room / GIB:.1f} GiB per GPU")
    reachable = longest_context(stages, most)
    kind = role.process.engine if role.process else None
    if reachable < most and kind in INSISTS:
        need = ledger.kv_bytes_per_request / GIB
        left = f"{room / GIB:.1f} are left: it would not start"
        return room, _no(f"{most:,} tokens need {need:.1f} GiB of KV per GPU, {left}")
    wanted = intent.context_length
    if wanted and wanted > reachable:
        return room, _no(f"holds {reachable:,} tokens, the service asks for {wanted:,}")
    if reachable < min(UNKNOWN_CONTEXT, most):
        return room, _no(f"leaves room for {reachable:,} tokens")
    held = tightest(stages, wanted or reachable).concurrency
    if held is not None and held < intent.concurrency:
        return room, _no(f"holds {int(held)} of {intent.concurrency} requests of {wanted or reachable:,} tokens")
    gpus = role.gpus_per_pod * role.pods
    return room, Fit(
        shape=shape.name,
        split=str(role.split),
        gpus=gpus,
        context_length=wanted or reachable,
        whole_context=reachable >= min(most, wanted or most),
        concurrency=held,
        cost_per_hour=gpus * shape.price.per_gpu_hour,
    )


def _no(reason: str) -> Fit:
    return Fit(reasons=(reason,))


def prove_engine(name: str, model: ModelMetadata, intent: Intent, allowed: Collection[str]) -> Fit:
    """What the planner makes of the model with the engine on a stack that has the allowed shapes."""
    if not allowed:
        return Fit(reasons=(NO_SHAPE,))
    plan, problems = plan_alone(model, intent, allowed, name)
    if plan is None:
        return Fit(reasons=tuple(dict.fromkeys(problem.what for problem in problems)))
    [service] = plan.services
    return Fit(
        shape=plan.pool(service.engine.pool).shape,
        split=str(service.engine.split),
        gpus=service.gpus,
        context_length=service.context_length,
        whole_context=service.context_length >= (intent.context_length or model.context_length or 0),
        concurrency=service.engine.memory.concurrency,
        cost_per_hour=service.cost_per_hour,
        derived=derived_bytes(model),
    )


def plan_alone(
    model: ModelMetadata, intent: Intent, allowed: Collection[str], engine: str | None = None
) -> tuple[Plan | None, list[Problem]]:
    """The plan of one replica on a stack with nodes of each of the shapes, with the engine or with any."""
    wanted = intent.model_dump(by_alias=True, exclude_unset=True, mode="json")
    spec = {"model": {"name": "model"}, "intent": wanted} | ({"runtime": {"name": engine}} if engine else {})
    asked = (
        ClusterBaseModel.model_validate({"metadata": {"name": "model"}, "spec": {"storage": {"storageUri": URI}}}),
        InferenceService.model_validate({"metadata": {"name": "service"}, "spec": spec}),
    )
    pools = [pool for pool in _pools() if pool.spec.shape in allowed]
    return plan_stack(Stack("select", (*pools, *asked)), {URI: model})


@functools.cache
def _pools() -> tuple[NodePool, ...]:
    """A pool of each shape."""
    return tuple(
        NodePool.model_validate(
            {
                "metadata": {"name": name.lower().replace(".", "-").replace("_", "-")},
                "spec": {"mode": "existing", "shape": name, "nodes": NODES},
            }
        )
        for name in sorted(shapes())
    )


def allowed_shapes(
    classes: Collection[str], selectors: Sequence[AcceleratorSelector]
) -> tuple[frozenset[str], list[str]]:
    """The shapes whose GPU the service's classes and constraints admit, and what of them could not be read."""
    names, notes = set(shapes()), []
    for wanted in sorted(classes):
        try:
            gpu = find_gpu(wanted)
        except ProblemsError:
            notes.append(f"accelerator class {wanted} names no GPU that is known: it narrows nothing")
        else:
            names = {name for name in names if shapes()[name].gpu == gpu}
    for selector in selectors:
        bounds = selector.constraints
        if bounds is None:
            continue
        low, high = bounds.min_memory or 0, bounds.max_memory
        names = {
            name
            for name in names
            if shapes()[name].gpu.memory_bytes >= low * 10**9
            and (high is None or shapes()[name].gpu.memory_gib <= high)
            and not any(_is(excluded, shapes()[name]) for excluded in bounds.excluded_classes)
        }
    return frozenset(names), notes


def _is(name: str, shape: Shape) -> bool:
    try:
        return find_gpu(name) == shape.gpu
    except ProblemsError:
        return False
