"""DedicatedAICluster: OCI's units for one model, or a pool of our own for one namespace."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from ome_iac.models.metadata import ModelMetadata
from ome_iac.planning.admission.hosting import model_of, plan_units
from ome_iac.planning.admission.plan import (
    DedicatedNodesPlan,
    DedicatedPlan,
)
from ome_iac.planning.plan import PoolPlan, ServicePlan
from ome_iac.planning.reservations import compartment_of
from ome_iac.problems import Problem, did_you_mean
from ome_iac.spec.capacity import ClusterBackend, DedicatedAICluster, OciBackend
from ome_iac.spec.infrastructure import Namespace, NodePool
from ome_iac.spec.stack import Stack
from ome_iac.spec.tenancy import Tenant

TAINT = "ome-iac/dedicated"
"""Key of the taint and of the label that a dedicated pool's nodes carry; the value is the cluster's name."""


def check_dedicated(stack: Stack) -> Iterator[Problem]:
    """What is wrong with dedicated clusters, whatever the services turn out to need."""
    pools = {pool.name: pool for pool in stack.of(NodePool)}
    taken: dict[str, DedicatedAICluster] = {}
    namespaces: dict[str, DedicatedAICluster] = {}
    for cluster in stack.of(DedicatedAICluster):
        spec = cluster.spec
        if isinstance(spec, OciBackend):
            yield from _check_oci(stack, cluster, spec)
            continue
        if spec.pool not in pools and ("NodePool", spec.pool) not in stack.unusable:
            yield cluster.problem("spec.pool", f"there is no NodePool {spec.pool}", did_you_mean(spec.pool, pools))
        for path, name, known in (("pool", spec.pool, taken), ("namespace", spec.namespace, namespaces)):
            first = known.setdefault(name, cluster)
            if first is not cluster:
                what = f"{name} is {first.label}'s already"
                yield cluster.problem(f"spec.{path}", what, f"a {path} is dedicated once")


def allowed_pools(stack: Stack, namespace: str) -> frozenset[str]:
    """Pools that services of a namespace may be placed on.

    A dedicated namespace has its own pool, a tenant's the pools of its quota; all others have what is not dedicated.
    """
    dedicated = {
        cluster.spec.namespace: cluster.spec.pool
        for cluster in stack.of(DedicatedAICluster)
        if isinstance(cluster.spec, ClusterBackend)
    }
    if namespace in dedicated:
        return frozenset({dedicated[namespace]})
    free = frozenset(pool.name for pool in stack.of(NodePool)) - frozenset(dedicated.values())
    quotas = [
        frozenset(share.pool for share in tenant.spec.quota)
        for tenant in stack.of(Tenant)
        if namespace in tenant.spec.namespaces
    ]
    return free.intersection(*quotas)


def dedicated_taint(stack: Stack, pool: str) -> tuple[str, str, str] | None:
    """The taint (key, value, effect) of a dedicated pool's nodes; key and value are a label of theirs too."""
    for cluster in stack.of(DedicatedAICluster):
        if isinstance(cluster.spec, ClusterBackend) and cluster.spec.pool == pool:
            return (TAINT, cluster.name, "NoSchedule")
    return None


def plan_dedicated(
    stack: Stack,
    metadata: Mapping[str, ModelMetadata],
    pools: Sequence[PoolPlan],
    services: Iterable[ServicePlan],
    problems: list[Problem],
) -> tuple[DedicatedPlan, ...]:
    """The dedicated clusters; `metadata` is by storageUri, as for `plan_stack`. What cannot be is a problem."""
    by_name = {pool.name: pool for pool in pools}
    placed = tuple(services)
    found: list[DedicatedPlan] = []
    for cluster in stack.of(DedicatedAICluster):
        spec = cluster.spec
        if isinstance(spec, ClusterBackend):
            if spec.pool in by_name:
                found.append(_nodes(stack, cluster, spec, by_name[spec.pool], placed, problems))
        elif plan := plan_units(stack, cluster, spec, metadata, problems):
            found.append(plan)
    return tuple(found)


def _check_oci(stack: Stack, cluster: DedicatedAICluster, spec: OciBackend) -> Iterator[Problem]:
    needed = {
        "HOSTING": ("model",),
        "FINE_TUNING": ("base_model_id", "training_data", "unit_shape", "unit_count"),
    }[spec.type]
    alien = {"HOSTING": ("base_model_id", "training_data"), "FINE_TUNING": ("model", "private_endpoint")}[spec.type]
    for field in needed:
        if getattr(spec, field) is None:
            yield cluster.problem(f"spec.{_camel(field)}", "is missing", f"a {spec.type} cluster needs it")
    for field in alien:
        if getattr(spec, field) is not None:
            yield cluster.problem(f"spec.{_camel(field)}", f"has no meaning for {spec.type}", "leave it out")
    if compartment_of(stack, spec.compartment_id) is None:
        yield cluster.problem("spec.compartmentId", "is missing", "no cluster of the stack has one either")
    if spec.model is not None and model_of(stack, spec.model) is None:
        broken = {name for kind, name in stack.unusable if kind in ("BaseModel", "ClusterBaseModel")}
        if spec.model not in broken:
            remedy = did_you_mean(spec.model, {model.name for model in stack.models})
            yield cluster.problem("spec.model", f"there is no model {spec.model}", remedy)


def _nodes(
    stack: Stack,
    cluster: DedicatedAICluster,
    spec: ClusterBackend,
    pool: PoolPlan,
    services: Sequence[ServicePlan],
    problems: list[Problem],
) -> DedicatedNodesPlan:
    for service in services:
        on_it = any(role.pool == spec.pool for role in service.roles)
        if on_it and service.namespace != spec.namespace:
            what = f"{spec.pool} is {spec.namespace}'s alone, but {service.namespace}/{service.name} is placed on it"
            problems.append(cluster.problem("spec.pool", what, "another pool for that service"))
    made = {document.name for document in stack.of(Namespace)} | {"default"}
    made |= {name for tenant in stack.of(Tenant) for name in tenant.spec.namespaces}
    own = sorted(f"{s.namespace}/{s.name}" for s in services if s.namespace == spec.namespace)
    idle = pool.capacity.empty_nodes
    notes = [f"{idle} of {pool.nodes} nodes serve nobody"] if idle else []
    if any(document.name == spec.pool and document.spec.mode == "existing" for document in stack.of(NodePool)):
        notes.append(f"its nodes are there already: taint them {TAINT}={cluster.name}:NoSchedule and label them alike")
    return DedicatedNodesPlan(
        name=cluster.name,
        pool=spec.pool,
        namespace=spec.namespace,
        makes_namespace=spec.namespace not in made,
        unit_shape=pool.shape,
        unit_count=pool.nodes,
        units_needed=pool.nodes - idle,
        taint=(TAINT, cluster.name, "NoSchedule"),
        label=(TAINT, cluster.name),
        services=tuple(own),
        cost_per_hour=pool.cost_per_hour,
        notes=tuple(notes),
    )


def _camel(field: str) -> str:
    first, *rest = field.split("_")
    return first + "".join(word.title() for word in rest)
