"""`plan_stack`: from what is wanted and what was read to everything decided. Pure; order of input does not matter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from ome_iac.models.metadata import ModelMetadata
from ome_iac.planning.admission.plan import AdmissionPlan
from ome_iac.planning.admission.sharing import check_sharing, plan_sharing, queued
from ome_iac.planning.candidates import Candidate, Rejections, Search, full_speed_of, speed_of
from ome_iac.planning.cost import service_cost
from ome_iac.planning.declared import contradictions
from ome_iac.planning.dedicated import allowed_pools
from ome_iac.planning.demand import Demand, demand_of
from ome_iac.planning.flips import Asker, cheaper_ways, roles_apart
from ome_iac.planning.oci.planner import plan_oci
from ome_iac.planning.oci.pool_checks import unknown_shapes
from ome_iac.planning.oci.tenancy import TenancyFacts
from ome_iac.planning.pairs import apart, pair_service, place_pairs
from ome_iac.planning.placement import Placed, Wanted, place_all
from ome_iac.planning.plan import ModelPlan, Plan, Rejection, RuntimePlan, ServicePlan
from ome_iac.planning.pools import Pool, declared_pools
from ome_iac.planning.proofs import Proofs
from ome_iac.planning.refusals import refusal
from ome_iac.planning.roles import role_plan
from ome_iac.planning.runtime_choice import Runtimes
from ome_iac.planning.serving.carry import carry_all, controllers_of, platform_of, without_kueue
from ome_iac.planning.serving.routes import externals_of, splits_of
from ome_iac.planning.speed import NO_ESTIMATES, NO_PATTERNS, Estimates, PatternEstimates, Speed
from ome_iac.planning.tenancy.plan import TenantPlan
from ome_iac.planning.workload import scratch_bytes, volume_of, weights_on_node
from ome_iac.problems import Problem
from ome_iac.runtimes.engines import Engine, nearest_legal, task_of
from ome_iac.runtimes.engines.custom import Custom
from ome_iac.runtimes.engines.custom_faults import container_faults
from ome_iac.runtimes.splits import Split
from ome_iac.spec.infrastructure import Namespace
from ome_iac.spec.models import BaseModel
from ome_iac.spec.services import InferenceService
from ome_iac.spec.stack import AnyModel, Stack


@dataclass
class _Planning:
    """What holds for one run: the input, and what was found for it so far."""

    stack: Stack
    models: Stack
    """Models only: each service looks its own up among these, however many services there are."""
    metadata: Mapping[str, ModelMetadata]
    pools: list[Pool]
    pools_broken: bool
    sharing_broken: bool
    """Reservations, dedicated clusters or tenants are wrong, so that nothing can be said of who may run where."""
    runtimes: Runtimes
    estimates: Estimates
    patterns: PatternEstimates
    problems: list[Problem]
    proofs: Proofs = field(default_factory=Proofs)
    rejections: Rejections = field(default_factory=Rejections)
    searches: dict[tuple[object, ...], Search] = field(default_factory=dict)
    allowed: dict[str, tuple[Pool, ...]] = field(default_factory=dict)

    def pools_for(self, namespace: str) -> tuple[Pool, ...]:
        """The pools that services of a namespace may be placed on, by name."""
        if namespace not in self.allowed:
            names = allowed_pools(self.stack, namespace)
            self.allowed[namespace] = tuple(pool for pool in self.pools if pool.name in names)
        return self.allowed[namespace]


def plan_stack(
    stack: Stack,
    metadata: Mapping[str, ModelMetadata],
    estimates: Estimates = NO_ESTIMATES,
    patterns: PatternEstimates = NO_PATTERNS,
    tenancy: TenancyFacts | None = None,
) -> tuple[Plan | None, list[Problem]]:
    """Decide the stack. `metadata` is by the model's storageUri; a model that is not in it is left out silently, since
    whoever read the models has said why. `estimates` and `patterns` are recorded answers about speed, and about prefill
    and decode apart; `tenancy` are OCI's, about the stack's region. With any problem there is no plan."""
    problems: list[Problem] = [*check_sharing(stack, metadata)]
    sharing_broken = bool(problems)
    pools = declared_pools(stack)
    broken_pools = unknown_shapes(stack) or any(kind == "NodePool" for kind, _ in stack.unusable)
    models = replace(stack, documents=stack.models)
    run = _Planning(
        stack, models, metadata, pools, broken_pools, sharing_broken, Runtimes.of(stack), estimates, patterns, problems
    )
    for _, document in sorted(run.runtimes.documents.items(), key=lambda each: (each[0][0] or "", each[0][1])):
        problems += container_faults(document)
    wanted = [found for service in stack.of(InferenceService) if (found := _wanted(service, run))]
    pairs, unpaired = place_pairs([item for item in wanted if apart(item.service)], platform_of(stack))
    placed, waiting = place_all([item for item in wanted if not apart(item.service)], pools, run.rejections)
    if not broken_pools:
        problems += (*unpaired, *(refusal(item, placed) for item in waiting))
    services = [_with_surge(_service_plan(item, run), item) for item in placed]
    services += (pair_service(pair) for pair in pairs)
    pool_plans = {pool.name: pool.plan() for pool in pools}
    services = carry_all(stack, services, run.runtimes, pool_plans, problems)
    admission: AdmissionPlan | None = None
    tenants: tuple[TenantPlan, ...] = ()
    if not sharing_broken:
        admission, tenants = plan_sharing(stack, tuple(pool_plans.values()), services, metadata, problems)
        services = queued(services, admission)
        problems += without_kueue(stack, admission)
    splits = splits_of(stack, services, platform_of(stack), problems)
    on_pools: dict[str, list[str]] = {}
    for service in services:
        for name in sorted({role.pool for role in service.roles}):
            on_pools.setdefault(name, []).append(f"{service.namespace}/{service.name}")
    oci = plan_oci(stack, problems, on_pools, tenancy)
    if problems or oci is None:
        return None, problems
    used = {each.chosen.engine.name: each.chosen.engine for each in placed}
    used |= {pair.chosen.decode.engine.name: pair.chosen.decode.engine for pair in pairs}
    images = {role.runtime: role.image for service in services for role in service.roles}
    return (
        Plan(
            stack=stack.name,
            namespaces=tuple(namespace.name for namespace in stack.of(Namespace)),
            oci=oci,
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
                RuntimePlan(name=name, engine=engine.catalog.engine, version=engine.catalog.version, image=images[name])
                for name, engine in sorted(used.items())
            ),
            services=tuple(services),
            externals=externals_of(stack),
            splits=splits,
            controllers=controllers_of(services, splits, admission, tenants),
            admission=admission,
            tenants=tenants,
        ),
        [],
    )


def _model_notes(model: AnyModel, read: ModelMetadata) -> tuple[str, ...]:
    return (*contradictions(model.spec, read), *read.warnings)


def _wanted(service: InferenceService, run: _Planning) -> Wanted | None:
    """The service with all ways to serve it; None, and problems, where what it says is wrong in itself."""
    problems = run.problems
    before = len(problems)
    document = run.models.model_of(service)
    facts = run.metadata.get(document.spec.storage.storage_uri) if document else None
    if document is None or document.spec.disabled or facts is None:
        return None
    choice = run.runtimes.for_service(service, document, facts, problems)
    engines = choice.engines
    volume = volume_of(document, problems)
    task = task_of(facts)
    if facts.weights is None or task is None:
        missing = "; ".join(facts.missing) or "its capability is unknown"
        problems.append(service.problem("spec.model.name", f"{document.name} cannot be planned: {missing}", ""))
    problems += _contradictions(service, document, facts, engines)
    pools = run.pools_for(service.namespace)
    if not pools and not run.pools_broken:
        problems += _without_pools(service, run)
    if len(problems) > before or task is None or volume is None or not pools:
        return None
    demand = demand_of(facts, task, service.spec.intent, service.replicas, scratch_bytes(facts, volume))
    asker = Asker(facts, demand, engines, service.replicas, weights_on_node(facts, volume), run.proofs, run.estimates)
    key = (document.spec.storage.storage_uri, demand, engines, tuple(pool.name for pool in pools))
    if key not in run.searches:
        run.searches[key] = asker.search(pools)
    return Wanted(service, document, facts, volume, asker, run.searches[key], pools, choice.refused)


def _without_pools(service: InferenceService, run: _Planning) -> Iterator[Problem]:
    """Nothing where the documents that share the pools out are wrong themselves: that is told already."""
    if not run.pools:
        yield service.problem("", "has no pool to run on", "declare a NodePool of a shape with GPUs")
    elif not run.sharing_broken:
        what = f"has no pool to run on: all with GPUs are kept from namespace {service.namespace}"
        yield service.problem("", what, "a NodePool that is not dedicated, or its tenant's quota of one")


def _contradictions(
    service: InferenceService, document: AnyModel, facts: ModelMetadata, engines: tuple[Engine, ...]
) -> Iterator[Problem]:
    """What is asked for and cannot be, on whatever hardware."""
    intent, own = service.spec.intent, facts.context_length
    if own and intent.context_length and intent.context_length > own:
        what = f"{intent.context_length:,} tokens are more than {document.name} can read"
        yield service.problem("spec.intent.contextLength", what, f"{own:,} at most")
    usual = (intent.input_tokens or 0) + (intent.output_tokens or 0)
    longest = intent.context_length or own
    if longest and usual > longest:
        field_ = "inputTokens" if intent.input_tokens else "outputTokens"
        what = f"a usual request of {usual:,} tokens is longer than the longest, {longest:,}"
        yield service.problem(f"spec.intent.{field_}", what, "lower inputTokens or outputTokens")
    if intent.tensor_parallel and engines:
        split = Split(tensor=intent.tensor_parallel)
        illegal = [engine.illegal_splits(facts, split) for engine in engines]
        if all(illegal):
            nearest = nearest_legal(engines[0], facts, split)
            what = f"{document.name} cannot be divided so: {'; '.join(illegal[0])}"
            yield service.problem("spec.intent.tensorParallel", what, f"the nearest is {nearest}" if nearest else "")
    if intent.quantization and facts.quantization:
        what = f"the weights are stored as {facts.quantization.method} already"
        yield service.problem("spec.intent.quantization", what, "leave it out")


def _with_surge(service: ServicePlan, placed: Placed) -> ServicePlan:
    """A roll-out starts the new pod first where its pool has a node with room to spare once everything is placed."""
    way = placed.chosen
    surge = int(way.nodes == 1 and way.pool.capacity.has_room(placed.item.asker.pod(way)))
    roles = tuple(role.model_copy(update={"max_surge": surge}) for role in service.roles)
    return service.model_copy(update={"roles": roles})


def _others(placed: Placed, rejections: Rejections) -> Iterator[Rejection]:
    """Ways that were not taken: those that fit, in their order, then the rest."""
    item, chosen = placed.item, placed.chosen
    for candidate in item.found.fitting[placed.index + 1 :]:
        yield rejections.way(candidate, _comparison(chosen, candidate, item.asker.demand))
    for failure in item.found.failed:
        yield rejections.failure(failure)
    yield from item.refused


def _comparison(chosen: Candidate, other: Candidate, demand: Demand) -> str:
    if other.standing != chosen.standing:
        if chosen.declared:
            return f"fits, but {chosen.engine.name} is the stack's own runtime"
        return f"fits by the documentation of {other.engine.name}, which was not read in a release"
    if other.context_length < chosen.context_length:
        return f"fits, but holds only {other.context_length:,} tokens"
    if demand.objective == "fastest" and other.speed and chosen.speed and other.speed != chosen.speed:
        return f"fits, with {_pace(other.speed)} against {_pace(chosen.speed)}"
    if other.cost_per_hour != chosen.cost_per_hour:
        return f"fits, at ${other.cost_per_hour:.2f}/h against ${chosen.cost_per_hour:.2f}/h"
    held, best = other.concurrency, chosen.concurrency
    if held is not None and best is not None and int(held) < int(best):
        return f"fits at the same price, but holds {int(held)} requests against {int(best)}"
    apart = other.split.expert > 1 and chosen.split.expert == 1
    if apart or (other.engine, other.pool) == (chosen.engine, chosen.pool):
        return f"fits at the same price; {chosen.split} needs less between GPUs"
    return f"fits equally; {chosen.engine.name} on {chosen.pool.name} comes first by name"


def _service_plan(placed: Placed, run: _Planning) -> ServicePlan:
    item, chosen = placed.item, placed.chosen
    demand, asker = item.asker.demand, item.asker
    service, replicas, context = item.service, item.service.replicas, chosen.context_length
    notes = list(chosen.engine.notes)
    if isinstance(chosen.engine, Custom):
        notes += chosen.engine.examine(item.metadata, demand.task).notes
    elif context < demand.context_length:
        notes.append(
            f"context reduced from the model's {demand.context_length:,} to {context:,} tokens: "
            "set intent.contextLength to insist"
        )
    speed = chosen.speed or speed_of(item.metadata, demand, chosen, run.estimates)
    role = role_plan(
        "engine",
        chosen,
        replicas,
        model=item.metadata,
        task=demand.task,
        volume=item.volume,
        served_name=item.document.name,
        scratch_bytes=demand.scratch_bytes,
    )
    return ServicePlan(
        name=service.name,
        namespace=service.namespace,
        model=item.document.name,
        task=demand.task,
        pattern="standard" if chosen.nodes == 1 else "multi-node",
        roles=(role,),
        context_length=context,
        volume=item.volume,
        labels=dict(sorted(service.spec.engine.labels.items())),
        annotations=dict(sorted(service.spec.engine.annotations.items())),
        cost_per_hour=role.cost_per_hour,
        speed=speed,
        price=service_cost(
            chosen.cost_per_hour, replicas, speed, full_speed_of(item.metadata, demand, chosen, run.estimates)
        ),
        intent=service.spec.intent,
        why=_why(demand, chosen, sum(way.standing == chosen.standing for way in item.found.fitting)),
        rejected=(*placed.full, *_others(placed, run.rejections)),
        flips=(
            *cheaper_ways(asker, chosen, item.found.fitting, item.pools),
            *roles_apart(item.metadata, service.spec.intent, chosen, demand.lengths, run.patterns),
        ),
        notes=tuple(notes),
    )


def _why(demand: Demand, chosen: Candidate, count: int) -> str:
    superlative = {"fewest-gpus": "fewest GPUs", "fastest": "fastest"}.get(demand.objective, "cheapest")
    if count == 1:
        return f"the only way that fits: ${chosen.cost_per_hour:.2f}/h a replica"
    return f"{superlative} of {count} that fit: ${chosen.cost_per_hour:.2f}/h a replica"


def _pace(speed: Speed) -> str:
    """`>= 5.1 ms a token` for a bound, without the sign for an estimate."""
    sign = ">= " if speed.is_bound else ""
    if speed.time_per_output_token_ms is None:
        return f"{sign}{speed.time_to_first_token_ms:.3g} ms a sequence"
    return f"{sign}{speed.time_per_output_token_ms:.3g} ms a token"
