"""`plan_stack`: from what is wanted and what was read to everything decided. Pure; order of input does not matter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ome_iac.models.metadata import ModelMetadata
from ome_iac.planning.candidates import Candidate, Demand, Proofs, Search, demand_of, search
from ome_iac.planning.declared import contradictions
from ome_iac.planning.flips import cheaper_ways, ways_to_fit
from ome_iac.planning.plan import ModelPlan, Plan, Rejection, RolePlan, RuntimePlan, ServicePlan, Volume
from ome_iac.planning.pools import Pool, declared_pools
from ome_iac.planning.serving.carry import carry_all, controllers_of, platform_of
from ome_iac.planning.serving.routes import externals_of, splits_of
from ome_iac.planning.workload import host_resources, scratch_bytes, startup_of, volume_of
from ome_iac.problems import Problem, did_you_mean
from ome_iac.runtimes.catalog import Task
from ome_iac.runtimes.engines import Engine, Launch, engines, task_of
from ome_iac.spec.infrastructure import Namespace, NodePool
from ome_iac.spec.models import BaseModel
from ome_iac.spec.services import InferenceService
from ome_iac.spec.stack import AnyModel, Stack


@dataclass(frozen=True)
class _Wanted:
    """A service that can be placed: what it serves, and all ways to do so."""

    service: InferenceService
    document: AnyModel
    metadata: ModelMetadata
    volume: Volume
    demand: Demand
    found: Search
    engines: tuple[Engine, ...]
    proofs: Proofs


def plan_stack(stack: Stack, metadata: Mapping[str, ModelMetadata]) -> tuple[Plan | None, list[Problem]]:
    """Decide the stack. `metadata` is by the model's storageUri; a model that is not in it is left out silently, since
    whoever read the models has said why. With any problem there is no plan."""
    problems: list[Problem] = []
    pools = declared_pools(stack, problems)
    broken_pools = len(pools) < len(stack.of(NodePool)) or any(kind == "NodePool" for kind, _ in stack.unusable)
    searches: dict[tuple[str, Demand, str], Search] = {}
    proofs = Proofs()
    wanted = [
        found
        for service in stack.of(InferenceService)
        if (found := _wanted(stack, service, metadata, pools, searches, proofs, problems, broken_pools))
    ]
    services = [
        plan
        for item in sorted(wanted, key=_placement_order)
        if (plan := _place(item, pools, problems, silent=broken_pools))
    ]
    pool_plans = {pool.name: pool.plan(stack) for pool in pools}
    services = carry_all(stack, [_with_surge(service, pools) for service in services], pool_plans, problems)
    splits = splits_of(stack, services, platform_of(stack), problems)
    if problems:
        return None, problems
    used = {role.runtime: role for service in services for role in service.roles}
    return (
        Plan(
            stack=stack.name,
            namespaces=tuple(namespace.name for namespace in stack.of(Namespace)),
            pools=tuple(pool_plans.values()),
            models=tuple(
                ModelPlan(
                    name=model.name,
                    kind=model.KIND,
                    namespace=(model.metadata.namespace or "default") if isinstance(model, BaseModel) else None,
                    metadata=metadata[model.spec.storage.storage_uri],
                    notes=_model_notes(model, metadata[model.spec.storage.storage_uri]),
                )
                for model in stack.models
                if model.spec.storage.storage_uri in metadata
            ),
            runtimes=tuple(
                RuntimePlan(name=name, engine=name.split()[0], version=name.split()[1], image=used[name].image)
                for name in sorted(used)
            ),
            services=tuple(services),
            externals=externals_of(stack),
            splits=splits,
            controllers=controllers_of(services, splits),
        ),
        [],
    )


def _model_notes(model: AnyModel, read: ModelMetadata) -> tuple[str, ...]:
    return (*contradictions(model.spec, read), *read.warnings)


def _wanted(
    stack: Stack,
    service: InferenceService,
    metadata: Mapping[str, ModelMetadata],
    pools: list[Pool],
    searches: dict[tuple[str, Demand, str], Search],
    proofs: Proofs,
    problems: list[Problem],
    broken_pools: bool,
) -> _Wanted | None:
    chosen = _engines_for(service, problems)
    document = stack.model_of(service)
    facts = metadata.get(document.spec.storage.storage_uri) if document else None
    if not chosen or document is None or document.spec.disabled or facts is None:
        return None
    before = len(problems)
    volume = volume_of(document, problems)
    task = task_of(facts)
    if facts.weights is None or task is None:
        missing = "; ".join(facts.missing) or "its capability is unknown"
        problems.append(service.problem("spec.model.name", f"{document.name} cannot be planned: {missing}", ""))
    declared_context = service.spec.intent.context_length
    if facts.context_length and declared_context and declared_context > facts.context_length:
        problems.append(
            service.problem(
                "spec.intent.contextLength",
                f"{declared_context:,} tokens are more than {document.name} can read",
                f"{facts.context_length:,} at most",
            )
        )
    if not pools and not broken_pools:
        problems.append(service.problem("", "has no pool to run on", "declare a NodePool"))
    if len(problems) > before or task is None or volume is None or not pools:
        return None
    scratch = scratch_bytes(facts, volume)
    demand = demand_of(facts, task, service.spec.intent, service.replicas, scratch)
    key = (document.spec.storage.storage_uri, demand, ",".join(chosen))
    if key not in searches:
        searches[key] = search(facts, demand, chosen.values(), pools, proofs)
    return _Wanted(service, document, facts, volume, demand, searches[key], tuple(chosen.values()), proofs)


def _engines_for(service: InferenceService, problems: list[Problem]) -> dict[str, Engine]:
    named = service.spec.runtime
    if named is None:
        return engines()
    if named.name not in engines():
        problems.append(
            service.problem(
                "spec.runtime.name", f"there is no runtime {named.name}", did_you_mean(named.name, engines())
            )
        )
        return {}
    return {named.name: engines()[named.name]}


def _placement_order(item: _Wanted) -> tuple[int, str, str]:
    """Whoever needs most GPUs is placed first: small services fit into what is left, not the reverse."""
    best = item.found.fitting[0].split.gpus if item.found.fitting else 0
    return (-best, item.service.namespace, item.service.name)


def _place(item: _Wanted, pools: list[Pool], problems: list[Problem], silent: bool) -> ServicePlan | None:
    replicas = item.service.replicas
    full: list[Rejection] = []
    for index, candidate in enumerate(item.found.fitting):
        on_a_node, pods = candidate.split.gpus // candidate.nodes, replicas * candidate.nodes
        if candidate.pool.place(on_a_node, pods):
            rejected = (*full, *_others(candidate, item, index), *item.found.rejected)
            return _service_plan(item, candidate, rejected, pools)
        full.append(
            candidate.rejection(
                f"{candidate.pool.name} has {candidate.pool.free_gpus} GPUs left, {pods} x {on_a_node} are needed"
            )
        )
    if not silent:
        problems.append(_refusal(item, full, pools))
    return None


def _with_surge(service: ServicePlan, pools: list[Pool]) -> ServicePlan:
    """A roll-out starts the new pod first where its pool has a node with GPUs to spare once everything is placed."""
    by_name = {pool.name: pool for pool in pools}
    roles = tuple(
        role.model_copy(update={"max_surge": int(role.nodes == 1 and by_name[role.pool].has_room(role.gpus_per_node))})
        for role in service.roles
    )
    return service.model_copy(update={"roles": roles})


def _others(chosen: Candidate, item: _Wanted, index: int) -> tuple[Rejection, ...]:
    """Ways that fit and were not taken, in their order."""
    return tuple(
        candidate.rejection(_comparison(chosen, candidate, item.demand))
        for candidate in item.found.fitting[index + 1 :]
    )


def _comparison(chosen: Candidate, other: Candidate, demand: Demand) -> str:
    if other.ledger.context_length < chosen.ledger.context_length:
        return f"fits, but holds only {other.ledger.context_length:,} tokens"
    if other.cost_per_hour != chosen.cost_per_hour:
        return f"fits, at ${other.cost_per_hour:.2f}/h against ${chosen.cost_per_hour:.2f}/h"
    held, best = other.ledger.concurrency, chosen.ledger.concurrency
    if held is not None and best is not None and int(held) < int(best):
        return f"fits at the same price, but holds {int(held)} requests against {int(best)}"
    if (other.engine, other.pool) == (chosen.engine, chosen.pool):
        return f"fits at the same price; {chosen.split} needs less between GPUs"
    return f"fits equally; {chosen.engine.name} on {chosen.pool.name} comes first by name"


def _refusal(item: _Wanted, full: list[Rejection], pools: list[Pool]) -> Problem:
    service, demand, found = item.service, item.demand, item.found
    if full:
        reasons = "; ".join(dict.fromkeys(reason for rejection in full for reason in rejection.reasons))
        return service.problem("", f"finds no room: {reasons}", "add nodes, or lower minReplicas")
    tokens, where = found.longest_context
    if not tokens:
        what = f"{item.document.name} fits nowhere: {_nearest_miss(item)}"
        return service.problem("spec.model.name", what, _or(_more_memory(pools), item, pools))
    if demand.context_length > tokens:
        need = max(1, demand.context_length)
        return service.problem(
            "spec.intent.contextLength",
            f"{need:,} tokens for one request are more than any plan on this stack holds: {tokens:,} ({where})",
            _or(f"{tokens // 1000 * 1000:,} or less here, or a pool with more memory per node", item, pools),
        )
    return service.problem(
        "spec.intent.concurrency",
        f"no plan holds {demand.concurrency} requests of {demand.context_length:,} tokens at once in one replica: "
        f"{_nearest_miss(item)}",
        _or("more replicas (engine.minReplicas), fewer requests, or a pool with more memory per node", item, pools),
    )


def _or(remedy: str, item: _Wanted, pools: list[Pool]) -> str:
    """The remedy, and what small changes would make the service fit."""
    ways = ways_to_fit(item.metadata, item.demand, item.engines, pools, item.proofs)
    return "; ".join((remedy, *ways))


def _nearest_miss(item: _Wanted) -> str:
    """The reasons of the last (largest) split of the last pool that was looked at, engine by engine."""
    last: dict[str, Rejection] = {rejection.runtime: rejection for rejection in item.found.rejected}
    return "; ".join(
        f"{rejection.runtime}"
        + (f" on {rejection.pool}, {rejection.split}" if rejection.split else "")
        + f": {', '.join(rejection.reasons)}"
        for rejection in last.values()
    )


def _more_memory(pools: list[Pool]) -> str:
    largest = max(pools, key=lambda pool: pool.shape.gpus * pool.shape.gpu.memory_gib)
    per_node = largest.shape.gpus * largest.shape.gpu.memory_gib
    return (
        f"the largest node here is {largest.shape.name} with {per_node:.0f} GiB of GPU memory; a larger shape is needed"
    )


def _service_plan(item: _Wanted, chosen: Candidate, rejected: tuple[Rejection, ...], pools: list[Pool]) -> ServicePlan:
    service, engine, shape = item.service, chosen.engine, chosen.pool.shape
    replicas = service.replicas
    context = chosen.ledger.context_length
    notes = list(engine.notes)
    if context < item.demand.context_length:
        notes.append(
            f"context reduced from the model's {item.demand.context_length:,} to {context:,} tokens: "
            "set intent.contextLength to insist"
        )
    revision = item.metadata.revision if item.volume.kind == "hub" else None
    launch = Launch(
        model=item.metadata,
        task=item.demand.task,
        gpu=shape.gpu,
        split=chosen.split,
        context_length=context,
        served_name=item.document.name,
        model_path=item.volume.mount or item.volume.source,
        revision=revision,
        tuning=chosen.tuning,
    )
    role = RolePlan(
        role="engine",
        runtime=engine.name,
        image=engine.image(shape.gpu),
        command=engine.command(launch),
        port=engine.port,
        health_path=engine.health_path,
        pool=chosen.pool.name,
        gpu=shape.gpu.name,
        split=chosen.split,
        nodes=chosen.nodes,
        tuning=chosen.tuning,
        replicas=replicas,
        max_surge=0,
        memory=chosen.ledger,
        startup=startup_of(item.metadata, item.volume, shape),
        host=host_resources(shape, chosen.split.gpus // chosen.nodes, item.demand.scratch_bytes),
        cost_per_hour=replicas * chosen.cost_per_hour,
    )
    return ServicePlan(
        name=service.name,
        namespace=service.namespace,
        model=item.document.name,
        task=item.demand.task,
        pattern="standard" if chosen.nodes == 1 else "multi-node",
        roles=(role,),
        context_length=context,
        volume=item.volume,
        labels=dict(sorted(service.spec.engine.labels.items())),
        annotations=dict(sorted(service.spec.engine.annotations.items())),
        cost_per_hour=role.cost_per_hour,
        milliseconds_per_token_bound=_token_bound(item, chosen),
        why=_why(item.demand, chosen, len(item.found.fitting)),
        rejected=rejected,
        flips=cheaper_ways(item.metadata, item.demand, chosen, replicas, pools, item.proofs),
        notes=tuple(notes),
    )


def _why(demand: Demand, chosen: Candidate, count: int) -> str:
    superlative = "fewest GPUs" if demand.objective == "fewest-gpus" else "cheapest"
    if count == 1:
        return f"the only way that fits: ${chosen.cost_per_hour:.2f}/h a replica"
    return f"{superlative} of {count} that fit: ${chosen.cost_per_hour:.2f}/h a replica"


def _token_bound(item: _Wanted, chosen: Candidate) -> float | None:
    """Milliseconds in which the GPUs can read the weights a token needs once: no decode step is faster."""
    metadata = item.metadata
    if item.demand.task is not Task.GENERATE or not metadata.weights or not metadata.parameters:
        return None
    read = metadata.weights.bytes * metadata.parameters.active / metadata.parameters.total
    bandwidth = chosen.pool.shape.gpu.bandwidth_tb_s * 1e12 * chosen.split.tensor
    return round(read / bandwidth * 1000, 2)
