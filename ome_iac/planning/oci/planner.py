"""`plan_oci`: from Cluster and NodePool documents to everything below Kubernetes, or to what is wrong with them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from ome_iac.hardware.cpu_shapes import cpu_shapes
from ome_iac.planning.dedicated import dedicated_taint
from ome_iac.planning.oci.cluster import (
    cluster_problems,
    existing_cluster,
    plan_cluster,
    pod_subnet,
)
from ome_iac.planning.oci.network import plan_network, pod_addresses, pod_problems
from ome_iac.planning.oci.node_pools import largest_size, plan_pool
from ome_iac.planning.oci.plan import OciPlan, PodAddresses
from ome_iac.planning.oci.policy import plan_policy
from ome_iac.planning.oci.pool_checks import (
    AnyShape,
    carries_system_pods,
    fabric_problems,
    find_shape,
    most_pods,
    pool_problems,
    shape_problem,
)
from ome_iac.planning.oci.tags import stack_tags, tag_problems
from ome_iac.planning.oci.tenancy import TenancyFacts, cluster_answers
from ome_iac.problems import Problem
from ome_iac.spec.capacity import CapacityReservation
from ome_iac.spec.infrastructure import (
    Cluster,
    ClusterNetworkPool,
    GpuMemoryClusterPool,
    MadePool,
    NewOke,
    NodePool,
    Oke,
)
from ome_iac.spec.network import ManagedNetwork
from ome_iac.spec.stack import Stack


def plan_oci(
    stack: Stack,
    problems: list[Problem],
    services: Mapping[str, Sequence[str]] | None = None,
    tenancy: TenancyFacts | None = None,
) -> OciPlan | None:
    """Decide what the stack makes in OCI. `services` are the names of those that run on each pool, for its tags;
    `tenancy` is what a real one answered, where it was asked.

    All that is wrong goes to `problems`, and then there is no plan. A stack that makes nothing has an empty plan.
    """
    before = len(problems)
    document = stack.cluster
    cluster = document.spec.create or document.spec.oke
    pools = {pool.name: pool for pool in stack.of(NodePool)}
    known = {name: shape for name, pool in pools.items() if (shape := find_shape(pool.spec.shape))}
    made = {name: pool for name, pool in pools.items() if isinstance(pool.spec, MadePool)}
    reserved = _reservations(stack)
    problems.extend(shape_problem(pool) for name, pool in pools.items() if name not in known)
    for name, pool in made.items():
        if name in known:
            version = cluster.kubernetes_version if cluster else None
            problems.extend(pool_problems(pool, known[name], version, reserved.get(name), tenancy))
    problems.extend([*fabric_problems(made), *cluster_problems(document), *tag_problems(document)])
    if tenancy and isinstance(cluster, NewOke):
        problems.extend(cluster_answers(document, cluster, tenancy))
    problems.extend(_pools_and_cluster(stack, cluster, made.values()))
    pods = [_pods(pool, known[name]) for name, pool in made.items() if name in known]
    tags = stack_tags(stack.name, document)
    network = None
    if isinstance(cluster, NewOke) and isinstance(cluster.network, ManagedNetwork):
        network = plan_network(document, cluster, pods, tags, problems)
    elif given := pod_subnet(document):
        problems.extend(pod_problems(document, *given, pods))
    if len(problems) > before:
        return None
    if cluster is None:
        return _nothing(document)
    planned = tuple(
        plan_pool(
            pool,
            known[name],
            cluster,
            tags,
            (services or {}).get(name, ()),
            reserved.get(name),
            tenancy,
            dedicated_taint(stack, name),
        )
        for name, pool in made.items()
    )
    return OciPlan(
        region=cluster.region if isinstance(cluster, NewOke) else None,
        ignore_defined_tags=tuple(sorted(document.spec.ignore_defined_tags)),
        network=network,
        cluster=plan_cluster(document, cluster, tags) if isinstance(cluster, NewOke) else None,
        existing=existing_cluster(cluster) if isinstance(cluster, Oke) else None,
        pools=planned,
        policy=plan_policy(document, cluster, planned, tags),
    )


def _nothing(document: Cluster) -> OciPlan:
    ignored = tuple(sorted(document.spec.ignore_defined_tags))
    return OciPlan(
        region=None, ignore_defined_tags=ignored, network=None, cluster=None, existing=None, pools=(), policy=None
    )


def _reservations(stack: Stack) -> dict[str, str]:
    """The stack's own capacity reservation of each pool that has one."""
    return {
        pool: reservation.name
        for reservation in stack.of(CapacityReservation)
        if reservation.spec.oci
        for pool in reservation.spec.pools
    }


def _pods(pool: NodePool, shape: AnyShape) -> PodAddresses:
    spec = pool.spec
    assert isinstance(spec, MadePool)
    return pod_addresses(pool.name, largest_size(spec), spec.max_pods_per_node or most_pods(spec, shape))


def _pools_and_cluster(stack: Stack, cluster: NewOke | Oke | None, made: Collection[NodePool]) -> Iterator[Problem]:
    """What is wrong between pools and the cluster; nothing about a document that is unusable for other reasons."""
    unusable = {kind for kind, _ in stack.unusable}
    if cluster is None:
        for pool in made if "Cluster" not in unusable else ():
            remedy = "give Cluster spec.create or spec.oke, or write mode: existing"
            yield pool.problem("spec.mode", "a managed pool needs an OKE cluster", remedy)
        return
    yield from _joining_problems(stack.cluster, cluster, made)
    if isinstance(cluster, NewOke) and "NodePool" not in unusable:
        shared = [pool for pool in stack.of(NodePool) if dedicated_taint(stack, pool.name) is None]
        yield from _system_pods_problem(stack.cluster, shared)


def _joining_problems(document: Cluster, cluster: NewOke | Oke, pools: Iterable[NodePool]) -> Iterator[Problem]:
    """What nodes that join by themselves must be told, and nothing tells."""
    joining = [pool for pool in pools if isinstance(pool.spec, ClusterNetworkPool | GpuMemoryClusterPool)]
    if not joining:
        return
    path = "spec.create" if isinstance(cluster, NewOke) else "spec.oke"
    missing = {"tenancyId": cluster.tenancy_id}
    if isinstance(cluster, Oke):
        missing |= {
            "apiHost": cluster.api_host,
            "caCertificate": cluster.ca_certificate,
            "podSubnetId": cluster.pod_subnet_id,
        }
    for field, value in missing.items():
        if value is None:
            names = ", ".join(pool.name for pool in joining)
            what = f"is missing: the nodes of {names} join the cluster by themselves"
            yield document.problem(f"{path}.{field}", what, "give it, or use mode managed-rdma, which OKE joins")


def _system_pods_problem(document: Cluster, pools: Iterable[NodePool]) -> Iterator[Problem]:
    """A new cluster whose nodes are all tainted has no place for CoreDNS, and nothing in it resolves a name."""
    if not any(carries_system_pods(pool) for pool in pools):
        example = ", ".join(sorted(cpu_shapes()))
        yield document.problem(
            "spec.create",
            "has no node that CoreDNS may run on: OKE taints GPU nodes",
            f"declare a NodePool of a CPU shape ({example}) without taints",
        )
