"""What is wrong with queues, quotas and dedicated clusters before any service is placed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from ome_iac.hardware import shapes
from ome_iac.planning.dedicated import check_dedicated
from ome_iac.planning.reservations import check_reservations
from ome_iac.problems import Problem, did_you_mean
from ome_iac.spec.capacity import CapacityReservation, ClusterBackend, DedicatedAICluster, Share
from ome_iac.spec.document import Document
from ome_iac.spec.infrastructure import NodePool
from ome_iac.spec.stack import Stack
from ome_iac.spec.tenancy import Tenant


def check_capacity(stack: Stack) -> Iterator[Problem]:
    """Everything that is wrong with reservations, quotas and dedicated clusters, before any service is placed."""
    yield from check_reservations(stack)
    yield from check_dedicated(stack)
    yield from _check_queue_names(stack)
    yield from _check_shares(stack)


def cohorts_of(stack: Stack) -> dict[str, str]:
    """The cohort of each pool that a reservation covers."""
    return {
        pool: reservation.spec.cohort or reservation.name
        for reservation in stack.of(CapacityReservation)
        for pool in reservation.spec.pools
    }


def dedicated_pools(stack: Stack) -> dict[str, DedicatedAICluster]:
    """Dedicated clusters on pools of our own, by pool."""
    return {
        cluster.spec.pool: cluster
        for cluster in stack.of(DedicatedAICluster)
        if isinstance(cluster.spec, ClusterBackend)
    }


def _check_queue_names(stack: Stack) -> Iterator[Problem]:
    """ClusterQueues are not namespaced: reservations, tenants and dedicated clusters share one set of names."""
    first: dict[str, str] = {}
    for document, path, name in _named_queues(stack):
        owner = first.setdefault(name, document.label)
        if owner != document.label:
            yield document.problem(path, f"queue {name} is {owner}'s already", "rename one of them")
    seen: Counter[tuple[str, str]] = Counter()
    for reservation in stack.of(CapacityReservation):
        for index, queue in enumerate(reservation.spec.queues):
            seen[reservation.name, queue.name] += 1
            if seen[reservation.name, queue.name] > 1:
                yield reservation.problem(
                    f"spec.queues.{index}.name", f"queue {queue.name} is there twice", "rename one"
                )


def _named_queues(stack: Stack) -> Iterator[tuple[Document, str, str]]:
    for reservation in stack.of(CapacityReservation):
        for index, queue in enumerate(reservation.spec.queues):
            yield reservation, f"spec.queues.{index}.name", queue.name
        if not reservation.spec.queues:
            yield reservation, "metadata.name", reservation.name
    for cluster in stack.of(DedicatedAICluster):
        if isinstance(cluster.spec, ClusterBackend):
            yield cluster, "metadata.name", cluster.name
    for tenant in stack.of(Tenant):
        yield tenant, "metadata.name", tenant.name


def _shares(stack: Stack) -> Iterator[tuple[Document, str, Share]]:
    """Every share that is written down, with its document and path."""
    for reservation in stack.of(CapacityReservation):
        for number, queue in enumerate(reservation.spec.queues):
            for index, share in enumerate(queue.shares):
                yield reservation, f"spec.queues.{number}.shares.{index}", share
    for tenant in stack.of(Tenant):
        for index, share in enumerate(tenant.spec.quota):
            yield tenant, f"spec.quota.{index}", share


def _check_shares(stack: Stack) -> Iterator[Problem]:
    pools = {pool.name: pool for pool in stack.of(NodePool)}
    dedicated, cohorts = dedicated_pools(stack), cohorts_of(stack)
    given: Counter[str] = Counter()
    holders: dict[str, list[str]] = {}
    for document, path, share in _shares(stack):
        if share.pool not in pools:
            if ("NodePool", share.pool) not in stack.unusable:
                yield document.problem(
                    f"{path}.pool", f"there is no NodePool {share.pool}", did_you_mean(share.pool, pools)
                )
            continue
        if share.pool in dedicated:
            what = f"{share.pool} is {dedicated[share.pool].label}'s alone"
            yield document.problem(f"{path}.pool", what, "share another pool out")
        if isinstance(document, CapacityReservation) and share.pool not in document.spec.pools:
            what = f"{share.pool} is not one of the reservation's pools"
            yield document.problem(f"{path}.pool", what, did_you_mean(share.pool, document.spec.pools))
        if share.lend is not None and share.lend > share.gpus:
            yield document.problem(f"{path}.lend", f"lends {share.lend} of {share.gpus} GPUs", f"{share.gpus} at most")
        given[share.pool] += share.gpus
        holders.setdefault(share.pool, []).append(f"{document.label} {share.gpus}")
    for name in sorted(given):
        shape = shapes().get(pools[name].spec.shape)
        have = pools[name].spec.nodes * shape.gpus if shape else given[name]
        if given[name] > have:
            what = f"has {have} GPUs, {given[name]} are shared out ({', '.join(sorted(holders[name]))})"
            yield pools[name].problem("spec.nodes", what, "lower the quotas, or add nodes")
    for tenant in stack.of(Tenant):
        several = sorted({cohorts[share.pool] for share in tenant.spec.quota if share.pool in cohorts})
        if len(several) > 1 and not tenant.spec.dedicated:
            what = f"draws on cohorts {', '.join(several)}: a queue is in one"
            yield tenant.problem("spec.quota", what, "give the reservations one cohort, or write dedicated: true")
