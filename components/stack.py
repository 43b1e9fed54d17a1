"""A whole plan, registered."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_kubernetes as kubernetes

from components.inference_service import InferenceService
from components.kubernetes_object import KubernetesObject
from components.model import Model
from components.node_pool import NodePool
from components.oci import OciResources, oci_provider, register_oci
from components.oke_cluster import OkeCluster
from components.serving_runtime import ServingRuntime
from ome_iac.manifests import namespace_object, stack_objects
from ome_iac.planning.plan import Plan


@dataclass(frozen=True)
class Deployed:
    """The components of a plan, by name; services by `namespace/name`."""

    pools: dict[str, NodePool]
    models: dict[str, Model]
    runtimes: dict[str, ServingRuntime]
    services: dict[str, InferenceService]


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


def deploy(plan: Plan, kubeconfig: str | None = None, context: str | None = None) -> Deployed:
    """Register everything the plan decided; `kubeconfig` is a path or text, both default to what kubectl would use."""
    below = _below(plan)
    provider = cluster_provider(plan, below.cluster, kubeconfig, context)
    on_cluster = pulumi.ResourceOptions(provider=provider)
    namespaces = {
        name: KubernetesObject(f"namespace-{name}", namespace_object(plan, name), on_cluster)
        for name in plan.namespaces
    }
    there = {pool.name: NodePool(pool.name, pool, None) for pool in plan.pools if not pool.made}
    pools = {**there, **below.pools}
    models = {model.name: Model(model.name, model) for model in plan.models}
    runtimes = {runtime.name: ServingRuntime(runtime.name.replace(" ", "-"), runtime) for runtime in plan.runtimes}
    services = {}
    for service in plan.services:
        after: list[pulumi.Resource] = [pools[name] for name in sorted({role.pool for role in service.roles})]
        if service.namespace in namespaces:
            after.append(namespaces[service.namespace])
        label = service.name if service.namespace == "default" else f"{service.namespace}-{service.name}"
        services[f"{service.namespace}/{service.name}"] = InferenceService(
            label, plan, service, provider, pulumi.ResourceOptions(depends_on=after)
        )
    for manifest in stack_objects(plan):
        kind, meta = str(manifest["kind"]).lower(), manifest["metadata"]
        KubernetesObject(f"{meta['namespace']}-{meta['name']}-{kind}", manifest, on_cluster)
    pulumi.export("services", {name: service.url for name, service in services.items()})
    pulumi.export("costPerHour", plan.cost_per_hour)
    return Deployed(pools, models, runtimes, services)


def _below(plan: Plan) -> OciResources:
    """What is made in OCI; a stack that makes nothing there has no provider for it."""
    if plan.oci.empty:
        return OciResources(None, None, {})
    return register_oci(plan.oci, oci_provider(plan.oci), {pool.name: pool for pool in plan.pools})
