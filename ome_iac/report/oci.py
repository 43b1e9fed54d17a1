"""What a stack makes below Kubernetes, as lines for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.markup import escape

from ome_iac.planning.oci.plan import ClusterPlan, NetworkPlan, NodePoolPlan, OciPlan


def oci_lines(plan: OciPlan) -> Iterator[str]:
    """Network, cluster, and how each pool is made, in rich markup; nothing for a stack that makes nothing."""
    if plan.network:
        yield ""
        yield from _network_lines(plan.network)
    if plan.cluster:
        yield ""
        yield from _cluster_lines(plan.cluster)
    for pool in plan.pools:
        yield ""
        yield from _pool_lines(pool)


def _network_lines(network: NetworkPlan) -> Iterator[str]:
    public = sorted(subnet.role for subnet in network.subnets if subnet.public)
    access = f"public: {', '.join(public)}" if public else "private"
    yield f"[bold]network {network.name}[/]   {', '.join(network.cidr_blocks)}, {access}"
    parts = " + ".join(f"{pool.pool} {pool.nodes} x {pool.per_node}" for pool in network.pods) or "no pool"
    needed, held = sum(pool.total for pool in network.pods), network.subnet("pods").addresses
    yield f"  pods     {needed:,} of {held:,} addresses in {network.subnet('pods').cidr}: {parts}"
    yield f"  rules    {len(network.rules)} in {len({rule.group for rule in network.rules})} security groups"


def _cluster_lines(cluster: ClusterPlan) -> Iterator[str]:
    api = "public API" if cluster.public_endpoint else "private API"
    kept = ", protected" if cluster.protect else ""
    yield f"[bold]cluster {cluster.name}[/]   OKE {cluster.kubernetes_version}, {cluster.region}, {api}{kept}"
    if cluster.add_ons:
        listed = ", ".join(f"{add_on.name} {add_on.version}" for add_on in cluster.add_ons)
        yield f"  add-ons  {listed}"


def _pool_lines(pool: NodePoolPlan) -> Iterator[str]:
    size = f"{pool.nodes} nodes" if pool.nodes != 1 else "1 node"
    if pool.autoscale:
        size += f" ({pool.autoscale[0]} to {pool.autoscale[1]}, the autoscaler decides)"
    flexible = f" of {pool.ocpus} OCPUs, {pool.memory_gb} GB" if pool.ocpus else ""
    where = escape(", ".join(pool.availability_domains))
    yield f"[bold]nodes {pool.name}[/]   {pool.mode}, {size} {pool.shape}{flexible}, ${pool.cost_per_hour:.2f}/h"
    yield f"  in       {where}, Kubernetes {pool.kubernetes_version}, {pool.max_pods} pods a node"
    reserved = pool.reservation or pool.capacity_reservation_id
    if reserved:
        yield f"  on       capacity reservation {escape(reserved)}"
    if pool.taints:
        yield f"  taints   {escape(', '.join(pool.taints))}"
    for note in pool.notes:
        yield f"  note     {escape(note)}"
