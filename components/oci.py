"""What a stack makes in OCI, registered: network, cluster, policy and pools, in the order they need each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
import pulumi_oci as oci

from components.network import Network
from components.node_pool import Joining, Launch, NodePool
from components.oke_cluster import OkeCluster, Place
from ome_iac.planning.oci.plan import ClusterPlan, NetworkIds, OciPlan, PolicyPlan
from ome_iac.planning.plan import PoolPlan


@dataclass(frozen=True)
class OciResources:
    """The components of an `OciPlan`; pools by name. `kubeconfig` is None where the cluster is not made here."""

    network: Network | None
    cluster: OkeCluster | None
    pools: dict[str, NodePool]

    @property
    def kubeconfig(self) -> pulumi.Output[str] | None:
        """Of the cluster that is made."""
        return self.cluster.kubeconfig if self.cluster else None


def oci_provider(plan: OciPlan) -> oci.Provider:
    """The provider of everything in OCI: of the stack's region, blind to tags that the tenancy adds by itself."""
    return oci.Provider("oci", region=plan.region, ignore_defined_tags=list(plan.ignore_defined_tags))


def register_oci(
    plan: OciPlan,
    provider: oci.Provider,
    uses: Mapping[str, PoolPlan] | None = None,
    reservations: Mapping[str, pulumi.Output[str | None]] | None = None,
    home: oci.Provider | None = None,
) -> OciResources:
    """Register everything below Kubernetes.

    `uses` are what the pools' GPUs are for, by the pools' names, `reservations` the OCIDs of the stack's own by theirs;
    `home` is the provider of the home region, where there is one already.
    """
    options = pulumi.ResourceOptions(providers=[provider])
    network = Network(plan.network.name, plan.network, options) if plan.network else None
    cluster, place, joining = None, None, None
    if plan.cluster:
        place = Place.of(network or _given(plan.cluster))
        after = pulumi.ResourceOptions(providers=[provider], depends_on=[network] if network else None)
        cluster = OkeCluster(plan.cluster.name, plan.cluster, place, after)
        host = cluster.endpoint.apply(lambda endpoint: endpoint.rpartition(":")[0])
        joining = Joining(cluster.cluster_id, host, cluster.certificate, vcn_native=True)
    elif plan.existing:
        place = Place.of(plan.existing.network)
        joining = Joining(
            plan.existing.cluster_id,
            plan.existing.api_host or "",
            plan.existing.ca_certificate or "",
            plan.existing.vcn_native,
        )
    allowed = []
    if plan.policy:
        allowed = _allow(plan.policy, home or home_provider(plan, provider, plan.policy.home_region))
    pools = {}
    if place and joining:
        after = pulumi.ResourceOptions(providers=[provider], depends_on=[*([network] if network else []), *allowed])
        for pool in plan.pools:
            reservation = (reservations or {})[pool.reservation] if pool.reservation else None
            launch = Launch(pool, place, joining, reservation)
            pools[pool.name] = NodePool(pool.name, (uses or {}).get(pool.name), launch, after)
    return OciResources(network, cluster, pools)


def _given(cluster: ClusterPlan) -> NetworkIds:
    if cluster.network is None:
        raise ValueError(f"the plan of {cluster.name} has no network")
    return cluster.network


def home_provider(plan: OciPlan, provider: oci.Provider, region: str | None) -> oci.Provider:
    """The provider of the tenancy's home region, where IAM is written: the stack's own where that is there."""
    return oci.Provider("oci-home", region=region) if region and region != plan.region else provider


def _allow(policy: PolicyPlan, provider: oci.Provider) -> list[pulumi.Resource]:
    options = pulumi.ResourceOptions(provider=provider)
    made: list[pulumi.Resource] = []
    if policy.joining and policy.tenancy_id:
        group = oci.identity.DynamicGroup(
            f"{policy.name}-joining",
            name=policy.name,
            compartment_id=policy.tenancy_id,
            description="nodes that join the cluster by themselves",
            matching_rule=policy.joining,
            freeform_tags=policy.tags,
            opts=options,
        )
        made.append(group)
    made.append(
        oci.identity.Policy(
            policy.name,
            name=policy.name,
            compartment_id=policy.compartment_id,
            description="what the cluster's pools need to launch and join",
            statements=list(policy.statements),
            freeform_tags=policy.tags,
            opts=pulumi.ResourceOptions.merge(options, pulumi.ResourceOptions(depends_on=list(made))),
        )
    )
    return made
