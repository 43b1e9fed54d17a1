"""A whole plan, registered."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_kubernetes as kubernetes
import pulumi_oci as oci

from components.capacity_reservation import CapacityReservation, Queues
from components.dedicated_ai_cluster import DedicatedAICluster
from components.inference_service import InferenceService
from components.kubernetes_object import KubernetesObject
from components.model import Model
from components.node_pool import NodePool
from components.oci import OciResources, home_provider, oci_provider, register_oci
from components.oke_cluster import OkeCluster
from components.serving_runtime import ServingRuntime
from components.tenant import Tenant
from ome_iac.manifests import namespace_object, stack_objects
from ome_iac.planning.plan import Plan


@dataclass(frozen=True)
class Deployed:
    """The components of a plan, by name; services by `namespace/name`."""

    pools: dict[str, NodePool]
    models: dict[str, Model]
    runtimes: dict[str, ServingRuntime]
    services: dict[str, InferenceService]
    tenants: dict[str, Tenant]
    reservations: dict[str, CapacityReservation]
    dedicated: dict[str, DedicatedAICluster]


@dataclass(frozen=True)
class _Oci:
    """What is made at OCI before the cluster is spoken to, and with which providers."""

    provider: oci.Provider | None
    home: oci.Provider | None
    made: OciResources
    reservations: dict[str, CapacityReservation]

    @property
    def options(self) -> pulumi.ResourceOptions:
        """Of components with parts at OCI."""
        return pulumi.ResourceOptions(providers=[self.provider] if self.provider else None)


def cluster_provider(
    plan: Plan, made: OkeCluster | None, kubeconfig: str | None, context: str | None
) -> kubernetes.Provider:
    """The provider for the stack's cluster. Its identity is the cluster's, not the kubeconfig's, so that a renewed
    kubeconfig replaces nothing."""
    existing = plan.oci.existing.cluster_id if plan.oci.existing else context
    return kubernetes.Provider(
        "cluster",
        kubeconfig=kubeconfig or (made.kubeconfig if made else None),
        context=context,
        cluster_identifier=made.cluster_id if made else existing,
    )


def deploy(
    plan: Plan,
    kubeconfig: str | None = None,
    context: str | None = None,
    token: pulumi.Input[str] | None = None,
) -> Deployed:
    """Register everything the plan decided; `kubeconfig` is a path or text, both default to what kubectl would use.
    `token` opens gated repositories of the Hub to OCI's dedicated clusters."""
    at_oci = _at_oci(plan)
    below = at_oci.made
    provider = cluster_provider(plan, below.cluster, kubeconfig, context)
    on_cluster = pulumi.ResourceOptions(provider=provider)
    namespaces: dict[str, pulumi.Resource] = {
        name: KubernetesObject(f"namespace-{name}", namespace_object(plan, name), on_cluster)
        for name in plan.namespaces
    }
    there = {pool.name: NodePool(pool.name, pool, None) for pool in plan.pools if not pool.made}
    pools = {**there, **below.pools}
    tenants = {
        tenant.name: Tenant(
            tenant.name,
            tenant,
            provider,
            plan.admission,
            below.cluster.cluster_id if below.cluster else None,
            at_oci.home,
            at_oci.options,
        )
        for tenant in plan.tenants
    }
    dedicated = {}
    for item in plan.admission.dedicated if plan.admission else ():
        dedicated[item.name] = made = DedicatedAICluster(item.name, item, provider, token, at_oci.options)
        if made.made and item.backend == "cluster":
            namespaces[item.namespace] = made.made
    owners: dict[str, pulumi.Resource] = {
        space.name: tenants[tenant.name] for tenant in plan.tenants for space in tenant.namespaces
    }
    queues = None
    if plan.admission and plan.admission.has_queues:
        queues = Queues("queues", plan.admission, provider, namespaces, owners)
    models = {model.name: Model(model.name, model) for model in plan.models}
    runtimes = {runtime.name: ServingRuntime(runtime.name.replace(" ", "-"), runtime) for runtime in plan.runtimes}
    services = {}
    for service in plan.services:
        after: list[pulumi.Resource] = [pools[name] for name in sorted({role.pool for role in service.roles})]
        # A tenant's fences stand before its pods, and a queue goes after what it admitted.
        after += [found[service.namespace] for found in (namespaces, owners) if service.namespace in found]
        after += [queues] if queues and any(role.queue for role in service.roles) else []
        label = service.name if service.namespace == "default" else f"{service.namespace}-{service.name}"
        services[f"{service.namespace}/{service.name}"] = InferenceService(
            label, plan, service, provider, pulumi.ResourceOptions(depends_on=after)
        )
    for manifest in stack_objects(plan):
        kind, meta = str(manifest["kind"]).lower(), manifest["metadata"]
        KubernetesObject(f"{meta['namespace']}-{meta['name']}-{kind}", manifest, on_cluster)
    pulumi.export("services", {name: service.url for name, service in services.items()})
    pulumi.export("costPerHour", plan.cost_per_hour)
    return Deployed(pools, models, runtimes, services, tenants, at_oci.reservations, dedicated)


def _at_oci(plan: Plan) -> _Oci:
    """What is made in OCI; a stack that makes nothing there has no provider for it."""
    reserved = plan.admission.reservations if plan.admission else ()
    owners = [tenant for tenant in plan.tenants if tenant.at_oci]
    if plan.oci.empty and not owners and not (plan.admission and plan.admission.at_oci):
        reservations = {item.name: CapacityReservation(item.name, item) for item in reserved}
        return _Oci(None, None, OciResources(None, None, {}), reservations)
    provider = oci_provider(plan.oci)
    home = home_provider(plan.oci, provider, owners[0].home_region) if owners else None
    options = pulumi.ResourceOptions(providers=[provider])
    reservations = {item.name: CapacityReservation(item.name, item, options) for item in reserved}
    made = register_oci(
        plan.oci,
        provider,
        {pool.name: pool for pool in plan.pools},
        {name: reservation.reservation_id for name, reservation in reservations.items()},
        home,
    )
    return _Oci(provider, home, made, reservations)
