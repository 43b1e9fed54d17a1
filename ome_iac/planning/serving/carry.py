"""From where a service runs to how it is carried: the network between its pods, who scales it, the way to it, and the
controllers that takes."""

from __future__ import annotations

from collections.abc import Iterable

from ome_iac.hardware import shapes
from ome_iac.planning.admission.plan import AdmissionPlan
from ome_iac.planning.plan import Pattern, PoolPlan, RolePlan, ServicePlan
from ome_iac.planning.runtime_choice import Runtimes
from ome_iac.planning.serving.decisions import Controller, Route
from ome_iac.planning.serving.fabric import fabric_of
from ome_iac.planning.serving.handover import connected
from ome_iac.planning.serving.routes import route_of
from ome_iac.planning.serving.routing import clashes, router_of
from ome_iac.planning.serving.scaling import Asked, scaling_of
from ome_iac.planning.serving.written import pod_fields, written
from ome_iac.planning.tenancy.plan import TenantPlan
from ome_iac.problems import Problem, ProblemsError
from ome_iac.runtimes.engines.groups import Executor, group_commands
from ome_iac.spec.platform import Platform, PlatformSpec
from ome_iac.spec.services import InferenceService
from ome_iac.spec.stack import Stack

DEPLOYMENT_MODE = "ome.io/deploymentMode"
RAY, SERVERLESS = "MultiNodeRayVLLM", "Serverless"
GATEWAYS: dict[str, Controller] = {"gateway": "gateway-api", "istio": "istio"}


def platform_of(stack: Stack) -> PlatformSpec:
    """What the stack's cluster offers; nothing declared is every default."""
    declared = stack.of(Platform)
    return declared[0].spec if declared else PlatformSpec()


def carry_all(
    stack: Stack,
    services: Iterable[ServicePlan],
    runtimes: Runtimes,
    pools: dict[str, PoolPlan],
    problems: list[Problem],
) -> list[ServicePlan]:
    """Every placed service, by namespace and name, with everything between and around its replicas decided."""
    platform = platform_of(stack)
    documents = {(document.namespace, document.name): document for document in stack.of(InferenceService)}
    carried = [
        _carry(documents[service.namespace, service.name], service, runtimes, pools, platform, problems)
        for service in sorted(services, key=lambda service: (service.namespace, service.name))
    ]
    problems += (documents[key].problem("metadata.name", what, "another name") for key, what in clashes(carried))
    return [_beside_others(service, carried, pools) for service in carried]


def _beside_others(service: ServicePlan, all_services: list[ServicePlan], pools: dict[str, PoolPlan]) -> ServicePlan:
    """A group takes whole nodes, and the scheduler knows nothing of that: it spreads smaller pods over all of them."""
    grouped = {role.pool for role in service.roles if role.nodes > 1 and not role.queue}
    smaller = {
        role.pool
        for other in all_services
        for role in other.roles
        if role.gpus_per_node < pools[role.pool].gpus_per_node
    }
    notes = tuple(
        f"needs whole nodes of {pool}, over which the scheduler may spread pods with fewer GPUs: "
        "give groups a pool of their own, or a Kueue queue (Platform spec.queue)"
        for pool in sorted(grouped & smaller)
    )
    return service.model_copy(update={"notes": (*service.notes, *notes)}) if notes else service


def _carry(
    document: InferenceService,
    service: ServicePlan,
    runtimes: Runtimes,
    pools: dict[str, PoolPlan],
    platform: PlatformSpec,
    problems: list[Problem],
) -> ServicePlan:
    before = len(problems)
    executor: Executor = "ray" if document.metadata.annotations.get(DEPLOYMENT_MODE) == RAY else "mp"
    service = service.model_copy(update={"pattern": _pattern(document, service, platform, problems)})
    roles, notes = [], list(service.notes)
    for planned in service.roles:
        role = _written(planned, service, document, runtimes)
        try:
            joined = _joined(role, pools[role.pool].shape, platform, executor) if role.nodes > 1 else role
            if service.pattern == "prefill-decode" and not service.together:
                shape = shapes()[pools[role.pool].shape]
                joined = connected(joined, joined.fabric or fabric_of(shape, role.gpus_per_node, platform.rdma))
        except ProblemsError as error:
            problems += (document.problem("", item.what, item.remedy) for item in error.problems)
            continue
        scaling, wrong, more = scaling_of(_asked(document, role), service, joined, platform)
        problems += wrong
        notes += more
        roles.append(joined.model_copy(update={"scaling": scaling}))
    if len(problems) > before:
        return service
    service = service.model_copy(
        update={
            "roles": tuple(roles),
            "notes": tuple(notes),
            "monitored": "prometheus-operator" in (platform.controllers or ()) or _measured(roles),
        }
    )
    service, wrong = router_of(document, service, platform)
    problems += wrong
    carried = service.model_copy(update={"route": route_of(service, platform)})
    problems += _missing(document, carried, platform)
    return carried


def _written(role: RolePlan, service: ServicePlan, document: InferenceService, runtimes: Runtimes) -> RolePlan:
    """The role with the pods of the runtime document that it runs, where it runs one."""
    runtime = runtimes.document(service.namespace, role.runtime)
    pods = written(runtime, document, service.volume, role.split.gpus) if runtime else None
    return role.model_copy(update={"written": pods} if pods else {"pod": pod_fields(document)})


def _asked(document: InferenceService, role: RolePlan) -> Asked:
    """The component of the document that speaks of a role: OME's engine is prefill where there is a decoder."""
    decoder = document.spec.decoder
    if role.role == "decode" and decoder:
        return Asked(document, "spec.decoder", decoder, 1 if decoder.min_replicas is None else decoder.min_replicas)
    engine = document.spec.engine
    return Asked(document, "spec.engine", engine, engine.min_replicas)


def _measured(roles: Iterable[RolePlan]) -> bool:
    return any(role.scaling is not None and role.scaling.owner == "keda" for role in roles)


def _pattern(
    document: InferenceService, service: ServicePlan, platform: PlatformSpec, problems: list[Problem]
) -> Pattern:
    """As planned; or serverless, where one pod is a replica and it may be none. KEDA does that where Knative is not."""
    asked = document.spec.intent.pattern == "serverless"
    mode = document.metadata.annotations.get(DEPLOYMENT_MODE)
    alone = service.pattern == "standard" and service.router is None
    if asked and not alone:
        what = f"cannot be serverless: one replica is {service.engine.nodes} nodes of {service.engine.pool}"
        remedy = "minReplicas: 0 without a pattern, which KEDA scales; or a pool of which one node holds it"
        problems.append(document.problem("spec.intent.pattern", what, remedy))
    without_knative = platform.controllers is not None and "knative" not in platform.controllers
    to_zero = document.spec.engine.min_replicas == 0 and not without_knative and document.spec.intent.pattern == "auto"
    return "serverless" if alone and (asked or mode == SERVERLESS or to_zero) else service.pattern


def controllers_of(
    services: Iterable[ServicePlan],
    splits: Iterable[Route],
    admission: AdmissionPlan | None = None,
    tenants: Iterable[TenantPlan] = (),
) -> tuple[Controller, ...]:
    """What has to run in the cluster for these services and routes, queues and tenants, sorted."""
    needed = {controller for service in services for controller in _needed(service)}
    if admission is not None and admission.has_queues:
        needed.add("kueue")
    if any(tenant.mesh for tenant in tenants):
        needed.add("istio")
    return tuple(sorted(needed | {GATEWAYS[route.kind] for route in splits if route.kind in GATEWAYS}))


def without_kueue(stack: Stack, admission: AdmissionPlan | None) -> Iterable[Problem]:
    """What is wrong where the stack has queues, and the Platform lists its controllers without Kueue."""
    offered = platform_of(stack).controllers
    if admission is None or not admission.has_queues or offered is None or "kueue" in offered:
        return
    what = "has no kueue, by which the stack's queues admit services"
    yield stack.of(Platform)[0].problem("spec.controllers", what, "install it and add kueue")


def _joined(role: RolePlan, shape: str, platform: PlatformSpec, executor: Executor) -> RolePlan:
    fabric = fabric_of(shapes()[shape], role.gpus_per_node, platform.rdma)
    if role.written:
        return role.model_copy(update={"fabric": fabric, "queue": platform.queue})
    commands = group_commands(role.runtime.split()[0], role.command, role.split, role.nodes, executor)
    return role.model_copy(
        update={
            "fabric": fabric,
            "queue": platform.queue,
            "command": commands.leader,
            "worker_command": commands.worker,
        }
    )


def _needed(service: ServicePlan) -> set[Controller]:
    needed: set[Controller] = set()
    if any(role.nodes > 1 for role in service.roles):
        needed.add("leader-worker-set")
    if any(role.queue for role in service.roles):
        needed.add("kueue")
    if service.monitored:
        needed.add("prometheus-operator")
    if service.pattern == "serverless":
        needed.add("knative")
    if _measured(service.roles):
        needed.add("keda")
    if service.route and service.route.kind in GATEWAYS:
        needed.add(GATEWAYS[service.route.kind])
    if service.router and service.router.kind == "endpoint-picker":
        needed.add("inference-extension")
    return needed


def _missing(document: InferenceService, service: ServicePlan, platform: PlatformSpec) -> Iterable[Problem]:
    if platform.controllers is None:
        return
    for controller in sorted(_needed(service) - set(platform.controllers)):
        what = f"as {service.pattern} needs {controller}, which the Platform does not list"
        yield document.problem("", what, f"install it and add {controller} to the Platform's spec.controllers")
