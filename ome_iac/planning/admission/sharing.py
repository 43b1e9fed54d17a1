"""Capacity and tenants in one: what `plan_stack` asks before services are placed, and after."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from ome_iac.models.metadata import ModelMetadata
from ome_iac.planning.admission.checks import check_capacity
from ome_iac.planning.admission.model import Gang
from ome_iac.planning.admission.nodes import OCI_RDMA
from ome_iac.planning.admission.plan import AdmissionPlan
from ome_iac.planning.admission.planner import plan_admission
from ome_iac.planning.dedicated import plan_dedicated
from ome_iac.planning.plan import PoolPlan, RolePlan, ServicePlan
from ome_iac.planning.tenancy.plan import TenantPlan
from ome_iac.planning.tenancy.planner import check_tenants, plan_tenants
from ome_iac.problems import Problem
from ome_iac.spec.capacity import DedicatedAICluster, OciBackend
from ome_iac.spec.stack import AnyModel, Stack

NETWORK_BLOCK = OCI_RDMA.levels[1]


def check_sharing(stack: Stack, metadata: Mapping[str, ModelMetadata]) -> Iterator[Problem]:
    """Everything wrong with reservations, dedicated clusters and tenants that no placement is needed to see."""
    yield from check_capacity(stack)
    yield from check_tenants(stack)
    found: list[Problem] = []
    plan_dedicated(stack, metadata, (), (), found)
    yield from found


def plan_sharing(
    stack: Stack,
    pools: Sequence[PoolPlan],
    services: Sequence[ServicePlan],
    metadata: Mapping[str, ModelMetadata],
    problems: list[Problem],
    jobs: Sequence[Gang] = (),
    before: AdmissionPlan | None = None,
) -> tuple[AdmissionPlan | None, tuple[TenantPlan, ...]]:
    """Queues, verdicts and tenants, once services are placed. What `before` admitted is taken to run: whatever of it
    has to go is told as evicted."""
    running = {verdict.gang: verdict.flavor or "" for verdict in before.admission.verdicts} if before else {}
    admission = plan_admission(stack, pools, services, metadata, problems, running, jobs)
    return admission, plan_tenants(stack, pools, services, problems)


def queued(services: Iterable[ServicePlan], admission: AdmissionPlan | None) -> list[ServicePlan]:
    """The services with the queue that admits each of their roles; a group is then kept in the network block that was
    reckoned with. Without queues they are as they were."""
    if admission is None:
        return list(services)
    return [
        service.model_copy(update={"roles": tuple(_queued(service, role, admission) for role in service.roles)})
        for service in services
    ]


def dedicated_models(stack: Stack) -> list[AnyModel]:
    """Models that only a dedicated cluster names: their metadata has to be read too."""
    named = {c.spec.model for c in stack.of(DedicatedAICluster) if isinstance(c.spec, OciBackend)}
    return [model for model in stack.models if model.name in named]


def _queued(service: ServicePlan, role: RolePlan, admission: AdmissionPlan) -> RolePlan:
    queue = admission.queue_of(service.namespace, role.pool)
    if queue is None:
        return role
    fabric = role.fabric and role.fabric.model_copy(update={"block_label": NETWORK_BLOCK})
    return role.model_copy(update={"queue": queue, "fabric": fabric})
