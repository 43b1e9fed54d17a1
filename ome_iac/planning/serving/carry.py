"""From where a service runs to how it is carried: the network between its pods, and the controllers that takes."""

from __future__ import annotations

from collections.abc import Iterable

from ome_iac.hardware import shapes
from ome_iac.planning.plan import PoolPlan, RolePlan, ServicePlan
from ome_iac.planning.serving.decisions import Controller
from ome_iac.planning.serving.fabric import fabric_of
from ome_iac.problems import Problem, ProblemsError
from ome_iac.runtimes.engines.groups import Executor, group_commands
from ome_iac.spec.platform import Platform, PlatformSpec
from ome_iac.spec.services import InferenceService
from ome_iac.spec.stack import Stack

DEPLOYMENT_MODE = "ome.io/deploymentMode"
RAY = "MultiNodeRayVLLM"


def _platform_of(stack: Stack) -> PlatformSpec:
    """What the stack's cluster offers; nothing declared is every default."""
    declared = stack.of(Platform)
    return declared[0].spec if declared else PlatformSpec()


def carry_all(
    stack: Stack, services: Iterable[ServicePlan], pools: dict[str, PoolPlan], problems: list[Problem]
) -> list[ServicePlan]:
    """Every placed service, by namespace and name, carried."""
    platform = _platform_of(stack)
    documents = {(document.namespace, document.name): document for document in stack.of(InferenceService)}
    return [
        _carry(documents[service.namespace, service.name], service, pools, platform, problems)
        for service in sorted(services, key=lambda service: (service.namespace, service.name))
    ]


def _carry(
    document: InferenceService,
    service: ServicePlan,
    pools: dict[str, PoolPlan],
    platform: PlatformSpec,
    problems: list[Problem],
) -> ServicePlan:
    """The service with everything between and around its replicas decided."""
    executor: Executor = "ray" if document.metadata.annotations.get(DEPLOYMENT_MODE) == RAY else "mp"
    roles = []
    for role in service.roles:
        try:
            roles.append(_joined(role, pools[role.pool].shape, platform, executor) if role.nodes > 1 else role)
        except ProblemsError as error:
            problems += (document.problem("", item.what, item.remedy) for item in error.problems)
            return service
    monitored = "prometheus-operator" in (platform.controllers or ())
    carried = service.model_copy(update={"roles": tuple(roles), "monitored": monitored})
    problems += _missing(document, carried, platform)
    return carried


def controllers_of(services: Iterable[ServicePlan]) -> tuple[Controller, ...]:
    """What has to run in the cluster for these services, sorted."""
    return tuple(sorted({controller for service in services for controller in _needed(service)}))


def _joined(role: RolePlan, shape: str, platform: PlatformSpec, executor: Executor) -> RolePlan:
    fabric = fabric_of(shapes()[shape], role.gpus_per_node, platform.rdma)
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
    return needed


def _missing(document: InferenceService, service: ServicePlan, platform: PlatformSpec) -> Iterable[Problem]:
    if platform.controllers is None:
        return
    for controller in sorted(_needed(service) - set(platform.controllers)):
        what = f"as {service.pattern} needs {controller}, which the Platform does not list"
        yield document.problem("", what, f"install it and add {controller} to the Platform's spec.controllers")
