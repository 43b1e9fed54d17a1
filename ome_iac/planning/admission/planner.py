"""From reservations, tenants and dedicated clusters to queues; and what Kueue will do with the stack's gangs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from ome_iac.models.metadata import ModelMetadata
from ome_iac.planning.admission.checks import cohorts_of, dedicated_pools
from ome_iac.planning.admission.model import Amounts, Flavor, Gang, Preemption, Queue, Quota
from ome_iac.planning.admission.nodes import DISK, OCI_RDMA, PRIORITY_LABEL, flavor_of, gangs_of
from ome_iac.planning.admission.plan import AdmissionPlan, PriorityPlan
from ome_iac.planning.admission.simulate import admit
from ome_iac.planning.dedicated import dedicated_taint, plan_dedicated
from ome_iac.planning.plan import PoolPlan, ServicePlan
from ome_iac.planning.reservations import declared_blocks, plan_reservations, priorities_of
from ome_iac.problems import Problem, did_you_mean
from ome_iac.spec.capacity import CapacityReservation, ClusterBackend, DedicatedAICluster, Share
from ome_iac.spec.infrastructure import NodePool
from ome_iac.spec.services import InferenceService
from ome_iac.spec.stack import Stack
from ome_iac.spec.tenancy import Tenant


def plan_admission(
    stack: Stack,
    pools: Sequence[PoolPlan],
    services: Iterable[ServicePlan],
    metadata: Mapping[str, ModelMetadata],
    problems: list[Problem],
    running: Mapping[str, str] | None = None,
    jobs: Sequence[Gang] = (),
) -> AdmissionPlan | None:
    """Queues and verdicts; None for a stack that declares no capacity, and so has no queues.

    `running` names gangs that hold quota already, and their flavor. `jobs` are gangs that are no services', called
    `namespace/...`: one that names no queue gets its namespace's for its first flavor; where there is none it is not
    Kueue's, and left out. A gang that has to wait is no problem; it stands in the plan, with the reason.
    """
    if not any(isinstance(item, CapacityReservation | DedicatedAICluster | Tenant) for item in stack.documents):
        return None
    placed = tuple(services)
    blocks, documents = declared_blocks(stack, pools), {pool.name: pool for pool in stack.of(NodePool)}
    flavors = [
        flavor_of(
            pool,
            blocks.get(pool.name, ()),
            networked=_networked(documents[pool.name], placed),
            dedicated=dedicated_taint(stack, pool.name),
        )
        for pool in pools
        if pool.name in _shared_out(stack)
    ]
    dedicated = plan_dedicated(stack, metadata, pools, placed, problems)
    queues = tuple(sorted(_queues(stack, flavors, placed), key=lambda queue: queue.name))
    by_place = {
        (namespace, quota.flavor): queue.name
        for queue in queues
        for namespace in queue.namespaces
        for quota in queue.quotas
    }
    problems.extend(_beside_the_queues(stack, queues, by_place, placed))
    gangs = gangs_of(placed, by_place, priorities_of(stack), {pool.name: pool.gpu_resource for pool in pools})
    gangs += [_queued(job, by_place) for job in jobs]
    admission = admit(queues, flavors, [gang for gang in gangs if gang.queue], running)
    return AdmissionPlan(
        reservations=plan_reservations(stack, pools),
        dedicated=dedicated,
        topologies=(OCI_RDMA,) if any(flavor.topology for flavor in flavors) else (),
        flavors=tuple(flavors),
        queues=queues,
        priorities=tuple(PriorityPlan(name=name, value=value) for name, value in sorted(priorities_of(stack).items())),
        admission=admission,
    )


def _networked(pool: NodePool, services: Sequence[ServicePlan]) -> bool:
    """Whether OKE tells where in the RDMA network the pool's nodes are: by its mode, or as groups are placed there."""
    grouped = any(role.pool == pool.name and role.nodes > 1 for service in services for role in service.roles)
    return grouped or pool.spec.mode not in ("existing", "managed")


def _beside_the_queues(
    stack: Stack, queues: Sequence[Queue], by_place: Mapping[tuple[str, str], str], services: Sequence[ServicePlan]
) -> Iterator[Problem]:
    """Services on pools that are shared out, but not to them: they would take nodes that Kueue counts as free."""
    documents = {(service.namespace, service.name): service for service in stack.of(InferenceService)}
    known = priorities_of(stack)
    for service in services:
        document = documents[service.namespace, service.name]
        for pool in sorted({role.pool for role in service.roles}):
            there = [queue.name for queue in queues if queue.quota(pool)]
            if there and (service.namespace, pool) not in by_place:
                yield document.problem(
                    "",
                    f"is placed on {pool}, whose queues ({', '.join(there)}) do not admit "
                    f"namespace {service.namespace}",
                    f"add {service.namespace} to the namespaces of one of them, or give it a queue of its own",
                )
        priority = service.labels.get(PRIORITY_LABEL)
        if priority is not None and priority not in known:
            yield document.problem(
                "spec.engine.labels", f"there is no priority class {priority}", did_you_mean(priority, known)
            )


def _queued(job: Gang, by_place: Mapping[tuple[str, str], str]) -> Gang:
    if job.queue or not job.flavors:
        return job
    return job.model_copy(update={"queue": by_place.get((job.name.partition("/")[0], job.flavors[0]), "")})


def _shared_out(stack: Stack) -> set[str]:
    """Pools that some queue has a quota of; the pods of others run as if there were no Kueue."""
    found = {name for reservation in stack.of(CapacityReservation) for name in reservation.spec.pools}
    found |= {cluster.spec.pool for cluster in stack.of(DedicatedAICluster) if isinstance(cluster.spec, ClusterBackend)}
    return found | {share.pool for tenant in stack.of(Tenant) for share in tenant.spec.quota}


def _queues(stack: Stack, flavors: Sequence[Flavor], services: Sequence[ServicePlan]) -> Iterator[Queue]:
    by_name = {flavor.name: flavor for flavor in flavors}
    cohorts = cohorts_of(stack)
    dedicated = dedicated_pools(stack)
    for pool, cluster in sorted(dedicated.items()):
        flavor, spec = by_name.get(pool), cluster.spec
        if flavor is not None and isinstance(spec, ClusterBackend):
            quota = Quota(flavor=pool, nominal=_times(flavor, flavor.nodes * _gpus_of(flavor)))
            yield Queue(name=cluster.name, quotas=(quota,), namespaces=(spec.namespace,))
    for tenant in stack.of(Tenant):
        shares = [share for share in tenant.spec.quota if share.pool in by_name]
        if shares:
            cohort = None if tenant.spec.dedicated else next((c for s in shares if (c := cohorts.get(s.pool))), None)
            yield Queue(
                name=tenant.name,
                cohort=cohort,
                quotas=_quotas(shares, by_name, cohort),
                namespaces=tuple(sorted(set(tenant.spec.namespaces))),
            )
    for reservation in stack.of(CapacityReservation):
        cohort = reservation.spec.cohort or reservation.name
        for queue in reservation.spec.queues:
            yield Queue(
                name=queue.name,
                cohort=cohort,
                quotas=_quotas(queue.shares, by_name, cohort),
                strategy=queue.strategy,
                preemption=Preemption(
                    within_queue=queue.within_queue, reclaim_within_cohort=queue.reclaim_within_cohort
                ),
                namespaces=tuple(sorted(set(queue.namespaces))),
            )
        if not reservation.spec.queues:
            rest = [
                Share(pool=name, gpus=_rest(stack, by_name[name]))
                for name in sorted(set(reservation.spec.pools) - set(dedicated))
                if name in by_name
            ]
            if rest:
                yield Queue(
                    name=reservation.name,
                    cohort=cohort,
                    quotas=_quotas(rest, by_name, cohort),
                    namespaces=_others(stack, services, set(reservation.spec.pools)),
                )


def _quotas(shares: Iterable[Share], flavors: Mapping[str, Flavor], cohort: str | None) -> tuple[Quota, ...]:
    found = []
    for share in sorted(shares, key=lambda share: share.pool):
        flavor = flavors.get(share.pool)
        if flavor is None:
            continue
        found.append(
            Quota(
                flavor=flavor.name,
                nominal=_times(flavor, share.gpus),
                borrowing=None if cohort is None or share.borrow is None else _times(flavor, share.borrow),
                lending=None if cohort is None or share.lend is None else _times(flavor, share.lend),
            )
        )
    return tuple(found)


def _times(flavor: Flavor, gpus: int) -> Amounts:
    """So many GPUs, and of every other resource the part of a node that goes with them. The disk is not shared out:
    what a pod needs of it depends on its model, not on its GPUs, and the scheduler looks at each node's."""
    shared = {name: amount * gpus // _gpus_of(flavor) for name, amount in flavor.node.items()}
    return {**shared, DISK: flavor.node[DISK] * flavor.nodes}


def _rest(stack: Stack, flavor: Flavor) -> int:
    """GPUs of a pool that no tenant has."""
    given = sum(share.gpus for tenant in stack.of(Tenant) for share in tenant.spec.quota if share.pool == flavor.name)
    return max(0, flavor.nodes * _gpus_of(flavor) - given)


def _others(stack: Stack, services: Sequence[ServicePlan], pools: set[str]) -> tuple[str, ...]:
    """Namespaces with services on these pools that are neither a tenant's nor dedicated."""
    own = {namespace for tenant in stack.of(Tenant) for namespace in tenant.spec.namespaces}
    own |= {c.spec.namespace for c in dedicated_pools(stack).values() if isinstance(c.spec, ClusterBackend)}
    here = {service.namespace for service in services if any(role.pool in pools for role in service.roles)}
    return tuple(sorted(here - own))


def _gpus_of(flavor: Flavor) -> int:
    return next(amount for name, amount in flavor.node.items() if name.endswith(".com/gpu"))
