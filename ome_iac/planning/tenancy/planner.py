"""From Tenant documents and placed services to what each tenant has, may do, and lets through."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import ceil

from ome_iac.hardware import GIB
from ome_iac.planning import iam
from ome_iac.planning.oci.tags import TENANT, stack_tags
from ome_iac.planning.plan import PoolPlan, RolePlan, ServicePlan
from ome_iac.planning.serving.carry import platform_of
from ome_iac.planning.tenancy.access import policies_of
from ome_iac.planning.tenancy.flows import mesh, names, outside_mesh, service_flows, together
from ome_iac.planning.tenancy.plan import LEVELS, CompartmentPlan, Flow, NamespacePlan, TenantPlan
from ome_iac.planning.tenancy.pod_security import strictest
from ome_iac.problems import Problem
from ome_iac.spec.capacity import ClusterBackend, DedicatedAICluster
from ome_iac.spec.infrastructure import Namespace
from ome_iac.spec.platform import PlatformSpec
from ome_iac.spec.stack import Stack
from ome_iac.spec.tenancy import Tenant

SPARE = 1.5
"""A namespace may have this many times what its services ask for: surge, jobs, a person's own pod."""
SPARE_PODS = 10
SYSTEM = ("kube-", "istio-", "knative-", "kueue-")
ENFORCED = "NetworkPolicies hold where something enforces them: on OKE that is Calico (Oracle, Pod Networking)"
MONITORING = "monitoring"
"""Prometheus' namespace where the Platform does not give its address."""


def check_tenants(stack: Stack) -> Iterator[Problem]:
    """What is wrong with tenants, whatever the services turn out to need."""
    owners: dict[str, Tenant] = {}
    made = {document.name: document for document in stack.of(Namespace)}
    for tenant in stack.of(Tenant):
        spec = tenant.spec
        if not spec.quota and not _dedicated_pools(stack, tenant):
            yield tenant.problem("spec.quota", "is missing", "say how many GPUs of which pool it may have")
        for index, name in enumerate(spec.namespaces):
            first = owners.setdefault(name, tenant)
            if first is not tenant:
                what = f"namespace {name} is {first.label}'s already"
                yield tenant.problem(f"spec.namespaces.{index}", what, "one tenant has a namespace")
            elif spec.namespaces.index(name) != index:
                yield tenant.problem(f"spec.namespaces.{index}", f"{name} is there twice", "name it once")
            if name in made:
                what = f"namespace {name} is {tenant.label}'s, which makes it"
                yield made[name].problem("metadata.name", what, "leave this document out")
            if name == "default" or name.startswith(SYSTEM):
                what = f"namespace {name} is the cluster's own"
                yield tenant.problem(f"spec.namespaces.{index}", what, "a namespace of its own")
        if spec.compartment and spec.compartment_id:
            yield tenant.problem("spec.compartmentId", "stands beside spec.compartment", "make one, or name one")
        yield from _check_quota_policies(stack, tenant)


def plan_tenants(
    stack: Stack, pools: Sequence[PoolPlan], services: Sequence[ServicePlan], problems: list[Problem]
) -> tuple[TenantPlan, ...]:
    """Every tenant, by name; a service that its tenant's limits do not let run becomes a problem."""
    by_name = {pool.name: pool for pool in pools}
    return tuple(_plan(stack, tenant, by_name, services, problems) for tenant in stack.of(Tenant))


def _plan(
    stack: Stack,
    tenant: Tenant,
    pools: Mapping[str, PoolPlan],
    services: Sequence[ServicePlan],
    problems: list[Problem],
) -> TenantPlan:
    platform, spec = platform_of(stack), tenant.spec
    own = [service for service in services if service.namespace in spec.namespaces]
    allowed = {share.pool for share in spec.quota} | _dedicated_pools(stack, tenant)
    for service in own:
        for pool in sorted({role.pool for role in service.roles} - allowed):
            what = f"{service.namespace}/{service.name} is placed on {pool}, of which {tenant.name} has no quota"
            problems.append(tenant.problem("spec.quota", what, f"quota of {pool}, or a pool that it has quota of"))
    with_mesh = _has_istio(platform)
    namespaces = tuple(
        _namespace(tenant, name, [service for service in own if service.namespace == name], pools, platform, problems)
        for name in sorted(set(spec.namespaces))
    )
    policies, notes = policies_of(stack, tenant, own, problems)
    notes.append(ENFORCED)
    if not with_mesh:
        notes.append("the platform has no Istio: NetworkPolicies keep tenants apart, traffic is not encrypted")
    notes += [
        f"namespace {space.name} is privileged ({space.pod_security_why}): who may deploy there can reach the nodes"
        for space in namespaces
        if space.pod_security == "privileged"
    ]
    notes += [
        f"the pods of {service.name} are on their nodes' network, where no NetworkPolicy holds them"
        for service in own
        if any(role.fabric and role.fabric.mode == "rdma-host" for role in service.roles)
    ]
    outside = sorted({service.name for service in own if together(service)}) if with_mesh else []
    if outside:
        notes.append(
            f"no sidecar in {', '.join(outside)}: their pods meet at ports chosen at start; NetworkPolicies hold"
        )
    cluster = stack.cluster.spec
    compartment = _compartment(tenant)
    return TenantPlan(
        name=tenant.name,
        compartment=compartment,
        cluster_id=cluster.oke.cluster_id if cluster.oke else None,
        namespaces=namespaces,
        queue=tenant.name if spec.quota else None,
        groups={
            "admin": tuple(sorted(spec.people.admin)),
            "deployer": tuple(sorted(spec.people.deployer)),
            "viewer": tuple(sorted(spec.people.viewer)),
        },
        policies=policies,
        home_region=cluster.create.home_region or cluster.create.region if cluster.create else None,
        oci_quota=spec.oci_quota,
        tenancy_id=_tenancy(stack) if spec.oci_quota else None,
        tags=dict(sorted({**stack_tags(stack.name, stack.cluster), TENANT: tenant.name}.items())),
        mesh=with_mesh,
        gpus={share.pool: share.gpus for share in sorted(spec.quota, key=lambda share: share.pool)},
        cost_per_hour=sum(service.cost_per_hour for service in own),
        notes=tuple(notes),
    )


def _namespace(
    tenant: Tenant,
    name: str,
    services: Sequence[ServicePlan],
    pools: Mapping[str, PoolPlan],
    platform: PlatformSpec,
    problems: list[Problem],
) -> NamespacePlan:
    level, why = min(
        (strictest(service) for service in services),
        key=lambda found: LEVELS.index(found[0]),
        default=("restricted", "no service runs there"),
    )
    asked = tenant.spec.pod_security
    if asked and LEVELS.index(asked) > LEVELS.index(level):
        problems.append(
            tenant.problem("spec.podSecurity", f"{asked} does not admit namespace {name}'s pods: {why}", level)
        )
    gateway = _gateway(platform)
    flows = [
        names(name),
        *([mesh(name)] if _has_istio(platform) else []),
        *(
            flow
            for service in services
            for flow in service_flows(
                service,
                tuple(sorted(set(tenant.spec.namespaces))),
                gateway if service.route or service.pattern == "serverless" else None,
                _monitoring(platform),
            )
        ),
    ]
    return NamespacePlan(
        name=name,
        pod_security=asked or level,
        pod_security_why="as asked for" if asked else why,
        quota=_quota(tenant, services, pools, problems),
        flows=_unique(flows),
        outside_mesh=tuple(labels for service in services for labels in outside_mesh(service)),
    )


def _quota(
    tenant: Tenant, services: Sequence[ServicePlan], pools: Mapping[str, PoolPlan], problems: list[Problem]
) -> dict[str, str]:
    """ResourceQuota: a ceiling for each namespace. Of GPUs it lets through what the tenant's queue may borrow too;
    that the tenant's namespaces together keep to its quota is Kueue's to see to."""
    limits = tenant.spec.limits
    roles = [(role, _most(role)) for service in services for role in service.roles]
    routers = [service.router for service in services if service.router]
    pods = sum(role.nodes * most for role, most in roles) + sum(router.replicas for router in routers)
    cpus = sum(role.host.cpus * role.nodes * most for role, most in roles) + sum(r.cpus * r.replicas for r in routers)
    memory = sum(role.host.memory_bytes * role.nodes * most for role, most in roles)
    memory += sum(router.memory_bytes * router.replicas for router in routers)
    gib = ceil(memory / GIB)
    for path, limit, needed, unit in (
        ("pods", limits.pods, pods, "pods"),
        ("cpus", limits.cpus, cpus, "CPUs"),
        ("memoryGiB", limits.memory_gib, gib, "GiB"),
    ):
        if limit is not None and limit < needed:
            what = f"{limit} {unit} are less than the {needed:,} that the services of one namespace ask for"
            problems.append(tenant.problem(f"spec.limits.{path}", what, f"{needed:,} or more"))
    hard = {
        "pods": str(limits.pods or ceil(pods * SPARE) + SPARE_PODS),
        "requests.cpu": str(limits.cpus or ceil(cpus * SPARE) + SPARE_PODS),
        "requests.memory": f"{limits.memory_gib or ceil(gib * SPARE) + SPARE_PODS}Gi",
    }
    for resource, gpus in sorted(_gpus(tenant, pools).items()):
        hard[f"requests.{resource}"] = str(gpus)
    return hard


def _gpus(tenant: Tenant, pools: Mapping[str, PoolPlan]) -> dict[str, int]:
    """GPUs by resource name: of the quota and, where its queue may borrow, what it may have beside it."""
    found: dict[str, int] = {}
    for share in tenant.spec.quota:
        pool = pools.get(share.pool)
        if pool is None:
            continue
        extra = 0 if tenant.spec.dedicated else pool.gpus if share.borrow is None else share.borrow
        found[pool.gpu_resource] = found.get(pool.gpu_resource, 0) + min(pool.gpus, share.gpus + extra)
    return found


def _most(role: RolePlan) -> int:
    """Replicas at their most, with the one that a roll-out adds."""
    return max(role.replicas, role.scaling.max_replicas if role.scaling else 0) + role.max_surge


def _compartment(tenant: Tenant) -> CompartmentPlan | None:
    spec = tenant.spec
    if spec.compartment:
        name = spec.compartment.name or tenant.name
        return CompartmentPlan(name=name, compartment_id=None, parent_id=spec.compartment.parent_id)
    if spec.compartment_id:
        return CompartmentPlan(name=tenant.name, compartment_id=spec.compartment_id, parent_id=None)
    return None


def _tenancy(stack: Stack) -> str | None:
    cluster = stack.cluster.spec
    return cluster.oke.tenancy_id if cluster.oke else cluster.create.tenancy_id if cluster.create else None


def _check_quota_policies(stack: Stack, tenant: Tenant) -> Iterator[Problem]:
    for index, statement in enumerate(tenant.spec.oci_quota):
        if not iam.is_quota(statement):
            remedy = "such as: zero compute-core quotas in compartment blue"
            yield tenant.problem(f"spec.ociQuota.{index}", f'"{statement}" is no quota policy', remedy)
    if tenant.spec.oci_quota and _tenancy(stack) is None:
        what = "OCI keeps quotas in the tenancy, and the cluster does not say which"
        yield tenant.problem("spec.ociQuota", what, "give Cluster spec.oke.tenancyId or spec.create.tenancyId")


def _dedicated_pools(stack: Stack, tenant: Tenant) -> set[str]:
    """Pools that are dedicated to one of the tenant's namespaces."""
    return {
        cluster.spec.pool
        for cluster in stack.of(DedicatedAICluster)
        if isinstance(cluster.spec, ClusterBackend) and cluster.spec.namespace in tenant.spec.namespaces
    }


def _has_istio(platform: PlatformSpec) -> bool:
    by_route = platform.ingress is not None and platform.ingress.kind == "istio"
    return by_route or "istio" in (platform.controllers or ())


def _gateway(platform: PlatformSpec) -> str | None:
    """The namespace that requests come from outside through."""
    if platform.ingress is None:
        return None
    namespace, slash, _ = platform.ingress.parent.partition("/")
    return namespace if slash else "ingress-nginx"


def _monitoring(platform: PlatformSpec) -> str:
    """Prometheus' namespace: the second part of its Service's name."""
    host = (platform.prometheus or "").partition("://")[2].partition("/")[0].partition(":")[0]
    parts = host.split(".")
    return parts[1] if len(parts) > 1 else MONITORING


def _unique(flows: Sequence[Flow]) -> tuple[Flow, ...]:
    by_text = {flow.model_dump_json(): flow for flow in flows}
    return tuple(by_text[text] for text in sorted(by_text))
